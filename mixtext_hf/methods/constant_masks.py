"""Masks of one level in all blocks: where PuzzleMix cuts nothing, and shows one image, or a blend of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch


MASKS, CONSTANT = "masks", "masks_constant"
# A network that has learnt nothing finds nothing salient, and nearly all masks are constant.
_LATE, _TOO_MANY, _ENOUGH_MASKS = 0.5, 0.95, 200


class Puzzling(Protocol):
    """What the remedy depends on; [`PuzzleMix`] has it."""

    @property
    def beta(self) -> float: ...

    @property
    def block_nums(self) -> tuple[int, ...]: ...


def is_constant(mask: torch.Tensor) -> torch.Tensor:
    """Which of the masks `(B, h, w)` have one level in all blocks: `(B,)`, bool."""
    of_rows = mask.flatten(1)
    return (of_rows == of_rows[:, :1]).all(dim=1)


def count_constant(mask: torch.Tensor, index: torch.Tensor) -> dict[str, torch.Tensor]:
    """How many of the masks `(B, h, w)` mix a row with another, its partner in `index` `(B,)`, and how many of these are constant."""
    is_mixed = index != torch.arange(len(index), device=index.device)
    return {MASKS: is_mixed.sum(), CONSTANT: (is_mixed & is_constant(mask)).sum()}


def share_constant(averages: Mapping[str, Any]) -> dict[str, Any]:
    """The averages of a logging window with `mask_constant`, the share of constant masks, in place of the two counts it is made of."""
    others = dict(averages)
    masks, constant = others.pop(MASKS, 0.0), others.pop(CONSTANT, 0.0)
    return {**others, "mask_constant": constant / masks} if masks > 0 else others


class MaskWatch:
    """
    Tells once if nearly all masks are constant in the second half of a run: then nothing is cut, for twice the time of a step.
    Judges no fewer than 200 masks, however short the logging windows are.

    Args:
        method ([`PuzzleMix`]): Whose masks.
    """

    def __init__(self, method: Puzzling):
        self.method = method
        self.masks = self.constant = 0.0
        self.is_told = False

    def __call__(self, averages: dict[str, Any], counts: dict[str, int], progress: float = 1.0) -> str | None:
        if self.is_told or progress <= _LATE or MASKS not in averages:
            return None
        self.masks += averages[MASKS] * counts[MASKS]
        self.constant += averages[CONSTANT] * counts[CONSTANT]
        if self.masks < _ENOUGH_MASKS:
            return None
        share = self.constant / self.masks
        self.masks = self.constant = 0.0
        if share <= _TOO_MANY:
            return None
        self.is_told = True
        return (
            f"PuzzleMix cuts hardly anything: {share:.0%} of its masks are constant, and show one image alone or a blend of both. "
            f"{self._why(averages.get('saliency_undefined', 0.0))}: lower beta (now {self.method.beta:g}), name finer block_nums "
            f"(now {list(self.method.block_nums)}), train for longer, or use cutmix, whose steps take about half the time."
        )

    @staticmethod
    def _why(undefined: float) -> str:
        if undefined > 0.5:
            return f"{undefined:.0%} of the images have no saliency, for their loss has no gradient"
        return "The network finds nothing salient enough for the smoothness that is asked of a mask"
