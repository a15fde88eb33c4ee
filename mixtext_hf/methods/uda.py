"""UDA (Xie et al., NeurIPS 2020), as the consistency training inside MixText: the ablation without mixing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from .base import MixMethod, Preset
from .citation import Citation
from .mixtext import MixText


@dataclass(frozen=True)
class UDA(MixText):
    """
    [`MixText`] with lambda 1: all views of a text are drawn to its guess, and nothing is mixed.

    The baseline of the MixText paper, which has neither the annealing of the labelled loss (TSA) nor the confidence
    mask of Xie et al.
    """

    alpha: float = 0.0
    fold: bool = False
    view_weights: Literal["all", "original"] | tuple[float, ...] = "original"

    name: ClassVar[str] = "uda"
    equation: ClassVar[str] = (
        "L = CE(f(x), y) + w(t) lambda_u KL(y_u || p(x_u^k)),  y_u = Sharpen(p(x_u), T),  k = 0..K"
    )
    mixes: ClassVar[bool] = False
    labels_tokens: ClassVar[bool] = False  # the words of two views do not meet position by position
    presets: ClassVar[dict[str, Preset]] = {}
    citation: ClassVar[Citation] = Citation(
        authors="Xie, Q., Dai, Z., Hovy, E., Luong, M.-T. and Le, Q. V.",
        title="Unsupervised Data Augmentation for Consistency Training",
        venue="NeurIPS",
        year=2020,
        url="https://arxiv.org/abs/1904.12848",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        own = {field.name: field.default for field in fields(self)}
        for name in (*(field.name for field in fields(MixMethod)), "mix_with", "mix_with_kwargs", "mix_within"):
            if getattr(self, name) != own[name]:
                raise ValueError(
                    f"mix_{name.removeprefix('mix_')}={getattr(self, name)} was given, but uda does not mix: use mixtext, or drop it."
                )

    def check_views(self, views: int) -> None:
        if self.online and views == 1:
            raise ValueError(
                "uda asks for the same prediction for every view of a text, and there is only the original: give "
                "view_columns or augmenters."
            )
        super().check_views(views)

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        return None
