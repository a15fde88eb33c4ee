"""Whether a checkpoint is a classifier of texts, of their words or of images, by its config alone, or a model by its class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING


_KINDS = {"text": "SequenceClassification", "image": "ImageClassification"}


def modality_of(
    name: str, config: Any, adapter: Mapping[str, Any] | None = None, argument: str = "model_name_or_path"
) -> str:
    """
    `"text"`, `"token"` or `"image"`: what a classifier has a label for, by the class that its config names, or else by its type.

    Raises:
        `ValueError`: if it is no classifier of texts, their words or images.
    """
    architectures = _architectures(config)
    if _labels_tokens(architectures) or (adapter is not None and adapter.get("task_type") == "TOKEN_CLS"):
        return "token"
    for modality in _KINDS:
        if _is_named(modality, architectures):
            return modality
    of_type = _modality_of_type(config)
    # An adapter brings the classifier along, its base model need not be one.
    if adapter is not None or not architectures:
        if of_type is not None:
            return of_type
        if adapter is not None and adapter.get("task_type") == "SEQ_CLS":
            return "text"
    raise ValueError(
        f"{argument}={name!r} is no classifier of texts or images: its config says architectures={architectures} "
        f"({config.model_type}). Name a ...ForSequenceClassification, ...ForTokenClassification or ...ForImageClassification."
    )


def check_modality(name: str, config: Any, modality: str, argument: str = "model_name_or_path") -> None:
    """
    Raise for a model of images where one of texts is needed, or the other way round, be it a classifier or an encoder alone.

    Raises:
        `ValueError`: that names the `argument`.
    """
    (other,) = _KINDS.keys() - {modality}
    architectures = _architectures(config)
    if _is_named(other, architectures):
        raise ValueError(
            f"{argument}={name!r} is a classifier of {other}s ({architectures[0]}), and a model of {modality}s is needed here: name "
            f"one. Those of {other}s are trained by mixtext-hf train-{other}."
        )
    if _modality_of_type(config) == other:
        raise ValueError(
            f"{argument}={name!r} is a model of {other}s ({config.model_type}), and one of {modality}s is needed here: name one. Those "
            f"of {other}s are trained by mixtext-hf train-{other}."
        )


def _modality_of_type(config: Any) -> str | None:
    """What the classifiers of this type take; `None` where transformers has classifiers of both, or of neither."""
    is_text, is_image = (
        type(config) in mapping
        for mapping in (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING)
    )
    if is_text == is_image:
        return None
    return "text" if is_text else "image"


def _architectures(config: Any) -> list[str]:
    return [str(architecture) for architecture in config.architectures or ()]


def check_labels_texts(name: str, config: Any, argument: str = "model_name_or_path") -> None:
    """Raise `ValueError` for a classifier of words where one of texts is needed."""
    if _labels_tokens(architectures := _architectures(config)):
        raise ValueError(
            f"{argument}={name!r} gives each word a tag ({architectures[0]}), and a model that has one for each text is needed here: name "
            "one, or train by --task ner."
        )


def classifies_tokens(model: nn.Module) -> bool:
    """Whether a model of transformers has logits for each token, `(B, T, C)`, and not for each text."""
    return any(kind.__name__.endswith("ForTokenClassification") for kind in type(model).__mro__)


def _labels_tokens(architectures: Sequence[str]) -> bool:
    return any("ForTokenClassification" in architecture for architecture in architectures)


def _is_named(modality: str, architectures: Sequence[str]) -> bool:
    return any(f"For{_KINDS[modality]}" in architecture for architecture in architectures)
