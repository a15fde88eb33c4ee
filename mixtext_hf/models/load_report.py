"""One line on the weights that a checkpoint did not hold, in place of the table that transformers prints for every new head."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


logger = logging.getLogger(__name__)

_LOGGERS = ("transformers.modeling_utils", "transformers.utils.loading_report")
_SHOWN = 6


class _HeldBack(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if "LOAD REPORT" not in record.getMessage():
            return True
        self.records.append(record)
        return False


@contextmanager
def without_load_report() -> Iterator[None]:
    """Within it transformers' table is held back; where loading fails it comes after all, for it says why."""
    held_back, loggers = _HeldBack(), [logging.getLogger(name) for name in _LOGGERS]
    for one in loggers:
        one.addFilter(held_back)
    failed = True
    try:
        yield
        failed = False
    finally:
        for one in loggers:
            one.removeFilter(held_back)
        for record in held_back.records if failed else ():
            logging.getLogger(record.name).handle(record)


def say_new(model: PreTrainedModel, new: Collection[str], *, may_be_new: bool) -> None:
    """
    Log which parameters were made anew.

    Args:
        model (`PreTrainedModel`): As it was loaded.
        new (`Collection[str]`): The parameters that the checkpoint did not hold.
        may_be_new (`bool`): Whether a new head is in order: whoever measures a model wants a trained one.
    """
    if not new:
        return
    names = [*sorted(new)[:_SHOWN], *(["..."] if len(new) > _SHOWN else [])]
    is_head = not any(name.startswith(f"{model.base_model_prefix}.") for name in new)
    if is_head and may_be_new:
        logger.info("The head is new: %s.", ", ".join(names))
    else:
        logger.warning(
            "The checkpoint does not hold %s (%d weights of the %s): made anew, and random until they are trained.",
            ", ".join(names),
            len(new),
            "head" if is_head else "model",
        )
