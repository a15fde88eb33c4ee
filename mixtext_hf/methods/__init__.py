"""One file a method. `METHODS` names them all; `make_method` builds one from a name and hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .augmix import AugMix
from .base import AttendingForward, Forward, MixMethod, Preset, Step, Watch, scaled_layers
from .citation import Citation
from .cutmix import CutMix
from .embed_mixup import EmbedMixup
from .erm import ERM
from .lada import LADA
from .manifold_mixup import ManifoldMixup
from .maskmix import MaskMix
from .mixtext import MixText
from .mixup import Mixup
from .mixup_cutmix import MixupCutMix
from .pixels import PIXELS, PixelMix
from .pooled_mixup import PooledMixup
from .puzzle_tmix import PuzzleTMix
from .puzzlemix import PuzzleMix
from .resizemix import ResizeMix
from .ssmix import SSMix
from .tmix import TMix
from .token_mix import TOKENS
from .transmix import TransMix
from .uda import UDA


METHODS: dict[str, type[MixMethod]] = {
    method.name: method
    for method in (
        ERM,
        TMix,
        ManifoldMixup,
        EmbedMixup,
        PooledMixup,
        SSMix,
        PuzzleTMix,
        LADA,
        MixText,
        UDA,
        Mixup,
        CutMix,
        MixupCutMix,
        ResizeMix,
        AugMix,
        PuzzleMix,
        TransMix,
        MaskMix,
    )
}


def make_method(name: str, **hyperparameters: Any) -> MixMethod:
    """
    The method `name` with the paper's defaults, except for the hyper-parameters given.

    Raises:
        `ValueError`: for an unknown method (lists the known ones) or hyper-parameter (lists the method's own).
    """
    if name not in METHODS:
        raise ValueError(f"Unknown mix_method {name!r}: choose from {', '.join(METHODS)}.")
    method = METHODS[name]
    hyperparameters = by_own_names(name, hyperparameters)
    unknown = sorted(set(hyperparameters) - set(method.field_names()))
    if unknown:
        raise ValueError(
            f"{name} has no hyper-parameter {', '.join(map(repr, unknown))}: it has {', '.join(method.field_names())}."
        )
    return method(**hyperparameters)


def by_own_names(name: str, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """
    The hyper-parameters of a method with timm's names replaced by the method's own.

    Raises:
        `ValueError`: if one is given under both names.
    """
    own_names = dict(hyperparameters)
    for alias, own in METHODS[name].aliases.items() if name in METHODS else ():
        if alias in own_names:
            if own in own_names:
                raise ValueError(f"{alias} and {own} are one hyper-parameter of {name}: give it once.")
            own_names[own] = own_names.pop(alias)
    return own_names


def find_preset(name: str, preset: str) -> Preset:
    """
    The preset of a method.

    Raises:
        `ValueError`: if the method has no preset of that name (lists those it has).
    """
    presets = METHODS[name].presets if name in METHODS else {}
    if preset not in presets:
        others = [method for method, kind in METHODS.items() if kind.presets]
        known = (
            f"choose from {', '.join(presets)}"
            if presets
            else f"it has none; {', '.join(others[:-1])} and {others[-1]} have"
        )
        raise ValueError(f"mix_preset={preset!r} is no preset of {name}: {known}.")
    return presets[preset]


__all__ = [
    "ERM",
    "LADA",
    "METHODS",
    "PIXELS",
    "TOKENS",
    "UDA",
    "AttendingForward",
    "AugMix",
    "Citation",
    "CutMix",
    "EmbedMixup",
    "Forward",
    "ManifoldMixup",
    "MaskMix",
    "MixMethod",
    "MixText",
    "Mixup",
    "MixupCutMix",
    "PixelMix",
    "PooledMixup",
    "Preset",
    "PuzzleMix",
    "PuzzleTMix",
    "ResizeMix",
    "SSMix",
    "Step",
    "TMix",
    "TransMix",
    "Watch",
    "by_own_names",
    "find_preset",
    "make_method",
    "scaled_layers",
]
