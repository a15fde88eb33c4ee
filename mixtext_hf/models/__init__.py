"""Ordinary transformers models whose hidden states can be mixed."""

from .auto import (
    MixableModelForImageClassification,
    MixableModelForSequenceClassification,
    MixableModelForTokenClassification,
)
from .embedded import minilm_path, small_image_processor, small_resnet, small_vit
from .mean_pooling import MeanPoolingForSequenceClassification
from .mixable import make_mixable
from .mixer import Mixer
from .stack import REFUSED_MODEL_TYPES, TESTED_MODEL_TYPES, EncoderStack, find_stack


__all__ = [
    "REFUSED_MODEL_TYPES",
    "TESTED_MODEL_TYPES",
    "EncoderStack",
    "MeanPoolingForSequenceClassification",
    "MixableModelForImageClassification",
    "MixableModelForSequenceClassification",
    "MixableModelForTokenClassification",
    "Mixer",
    "find_stack",
    "make_mixable",
    "minilm_path",
    "small_image_processor",
    "small_resnet",
    "small_vit",
]
