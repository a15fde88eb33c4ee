"""One line on the weights that a checkpoint did not hold, in place of the table that transformers prints for every new head."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import AbstractContextManager

from transformers import PreTrainedModel

from mixtext_hf._quiet import holding_back


logger = logging.getLogger(__name__)

_LOGGERS = ("transformers.integrations.peft", "transformers.modeling_utils", "transformers.utils.loading_report")
_SHOWN = 6


def without_load_report() -> AbstractContextManager[None]:
    """Within it transformers' table is held back, unless loading fails."""
    return holding_back("LOAD REPORT", _LOGGERS, unless_it_fails=True)


def holding_load_report() -> AbstractContextManager[None]:
    """The same, also where loading fails: for who says why."""
    return holding_back("LOAD REPORT", _LOGGERS)


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
