"""The names of a model's classes, in all the places that its config keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def name_classes(config: Any, names: Sequence[str]) -> None:
    """
    Write the names of the classes into a config.

    Args:
        config (`PretrainedConfig`): Of the model. That of timm's models keeps what it was read with in `label_names` beside
            `id2label`, and saves and loads the former alone.
        names (`Sequence[str]`): One a class, in the order of the outputs.
    """
    config.id2label = dict(enumerate(names))
    config.label2id = {name: i for i, name in enumerate(names)}
    agree_on_names(config)


def names_of_classes(config: Any) -> list[str]:
    """The names of the classes that a config has, in the order of the outputs."""
    names = config.id2label or {}  # those of models that were saved without any are as transformers calls them
    return [str(names.get(i, f"LABEL_{i}")) for i in range(config.num_labels)]


def agree_on_names(config: Any) -> None:
    """Give all places the names of `id2label`: `from_pretrained(..., id2label=...)` leaves `label_names` of timm's models as it was."""
    if getattr(config, "label_names", None) is not None:
        config.label_names = [config.id2label[i] for i in range(config.num_labels)]
