"""Mixup-family training for Hugging Face models. The public names; each module is imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__


if TYPE_CHECKING:
    from .cli.comparing import compare as compare
    from .data import ImageCollator as ImageCollator
    from .data import MixDataCollator as MixDataCollator
    from .data import TokenCollator as TokenCollator
    from .data import few_shot_split as few_shot_split
    from .data import load_image_datasets as load_image_datasets
    from .data import load_text_datasets as load_text_datasets
    from .data import load_token_datasets as load_token_datasets
    from .evaluation import make_compute_metrics as make_compute_metrics
    from .evaluation import make_token_metrics as make_token_metrics
    from .functional import MixPlan as MixPlan
    from .functional import draw_plan as draw_plan
    from .functional import make_mixable as make_mixable
    from .functional import mix_targets as mix_targets
    from .functional import mix_tensors as mix_tensors
    from .functional import mixed_cross_entropy as mixed_cross_entropy
    from .functional import puzzle_mix as puzzle_mix
    from .functional import solve_grid_cut as solve_grid_cut
    from .methods import ERM as ERM
    from .methods import LADA as LADA
    from .methods import UDA as UDA
    from .methods import AugMix as AugMix
    from .methods import CutMix as CutMix
    from .methods import EmbedMixup as EmbedMixup
    from .methods import ManifoldMixup as ManifoldMixup
    from .methods import MaskMix as MaskMix
    from .methods import MixText as MixText
    from .methods import Mixup as Mixup
    from .methods import MixupCutMix as MixupCutMix
    from .methods import PooledMixup as PooledMixup
    from .methods import PuzzleMix as PuzzleMix
    from .methods import PuzzleTMix as PuzzleTMix
    from .methods import ResizeMix as ResizeMix
    from .methods import SSMix as SSMix
    from .methods import TMix as TMix
    from .methods import TransMix as TransMix
    from .models import MeanPoolingForSequenceClassification as MeanPoolingForSequenceClassification
    from .models import MixableModelForImageClassification as MixableModelForImageClassification
    from .models import MixableModelForSequenceClassification as MixableModelForSequenceClassification
    from .models import MixableModelForTokenClassification as MixableModelForTokenClassification
    from .training import MixTrainer as MixTrainer
    from .training import MixTrainingArguments as MixTrainingArguments

_HOMES = {
    "cli.comparing": ("compare",),
    "data": (
        "ImageCollator",
        "MixDataCollator",
        "TokenCollator",
        "few_shot_split",
        "load_image_datasets",
        "load_text_datasets",
        "load_token_datasets",
    ),
    "evaluation": ("make_compute_metrics", "make_token_metrics"),
    "functional": (
        "MixPlan",
        "draw_plan",
        "make_mixable",
        "mix_targets",
        "mix_tensors",
        "mixed_cross_entropy",
        "puzzle_mix",
        "solve_grid_cut",
    ),
    "methods": (
        "ERM",
        "LADA",
        "UDA",
        "AugMix",
        "CutMix",
        "EmbedMixup",
        "ManifoldMixup",
        "MaskMix",
        "MixText",
        "Mixup",
        "MixupCutMix",
        "PooledMixup",
        "PuzzleMix",
        "PuzzleTMix",
        "ResizeMix",
        "SSMix",
        "TMix",
        "TransMix",
    ),
    "models": (
        "MeanPoolingForSequenceClassification",
        "MixableModelForImageClassification",
        "MixableModelForSequenceClassification",
        "MixableModelForTokenClassification",
    ),
    "training": ("MixTrainer", "MixTrainingArguments"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
