"""Training that goes on with a classifier: its outputs keep their classes, or it gets a new head, as the user says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from mixtext_hf._messages import listed
from mixtext_hf.data.labels.class_names import are_placeholders, folded, is_whole_number


logger = logging.getLogger(__name__)


def load_for_training(
    load: Callable[[list[str] | None], Any],
    config: Any,
    names: list[str] | None,
    *,
    new_head: bool,
    ignore_mismatched_sizes: bool,
) -> tuple[Any, bool]:
    """
    Load data for the training of a model that may have learnt classes of its own.

    Args:
        load (`Callable`): Loads the data with the classes of a model, or, given `None`, with its own.
        config (`PreTrainedConfig`): Of the model.
        names (`list[str]`, *optional*): The names in it.
        new_head (`bool`): Whether a new head was asked for.
        ignore_mismatched_sizes (`bool`): Whether one was asked for where the old one does not fit.

    Returns:
        `tuple`: the data, and whether the model needs a new head that its shape does not ask for.

    Raises:
        `ValueError`: if the data has classes that the model does not have.
    """
    if new_head or names is None or not _is_trained(config):
        return load(None), new_head and _is_trained(config)
    if are_placeholders(names):
        data = load(None)
        if data.label_names and len(data.label_names) == len(names):
            logger.info(
                "The model's config names no classes: its outputs go on as those of the data, in this order: %s.",
                listed(data.label_names),
            )
        return data, False
    if ignore_mismatched_sizes:
        data = load(None)
        if not _fits(data.label_names, names):
            return data, data.num_labels == len(names)
    data = load(names)
    missing = data.matching.missing
    if missing and data.matching.how == "number":
        raise ValueError(
            f"The model has the classes {listed(names)}, and the labels of the data are fewer numbers: none is {names.index(missing[0])}. "
            "Say which classes are meant by --label_map, or train a new head by --new_head."
        )
    if missing:
        logger.info("The model keeps classes that the data has no row of: %s.", listed(missing))
    return data, False


def _is_trained(config: Any) -> bool:
    """Whether the model is a classifier already, as far as its config tells."""
    architectures = config.architectures or ()
    return not architectures or any("Classification" in str(name) for name in architectures)


def _fits(own: list[str], names: list[str]) -> bool:
    """Whether the classes of the data are those of the model, by name or as so many numbers."""
    if len(own) == len(names) and own == [str(i) for i in range(len(own))] and not any(map(is_whole_number, names)):
        return True
    return len(own) == len(names) and set(map(folded, own)) == set(map(folded, names))
