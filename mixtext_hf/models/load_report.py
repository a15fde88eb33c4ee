"""One line on the weights that a checkpoint did not hold, in place of the table that transformers prints for every new head."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import logging as hf_logging

from mixtext_hf._quiet import holding_back


logger = logging.getLogger(__name__)

_LOGGERS = ("transformers.modeling_utils", "transformers.utils.loading_report")
_SHOWN = 6


@contextmanager
def without_load_report() -> Iterator[None]:
    """Within it transformers' table is held back, unless loading fails, and its bar of weights, which is of a moment; those of files from the Hub stay."""
    previous = hf_logging.set_tqdm_hook(_without_bar_of_weights)
    try:
        with holding_back("LOAD REPORT", _LOGGERS, unless_it_fails=True):
            yield
    finally:
        hf_logging.set_tqdm_hook(previous)


def _without_bar_of_weights(bar: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return bar(*args, **{**kwargs, "disable": True} if kwargs.get("desc") == "Loading weights" else kwargs)


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
