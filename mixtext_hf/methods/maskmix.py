"""MaskMix (Zhao et al., ICLR 2023): cells of a grid, drawn at random, show the partner."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from mixtext_hf._numbers import is_whole
from mixtext_hf.mixing import Cells, MixPlan, PatchAttention
from mixtext_hf.mixing.patches import patches_in_cells, replace_cells

from .attention_labels import AttentionLabels
from .citation import Citation
from .pixels import is_identity, size_for


@dataclass(frozen=True)
class MaskMix(AttentionLabels):
    """
    Lay a grid over the images; a share `lam` of its cells, rounded up and drawn for each row anew, stays, the others show the
    partner. A cell holds whole patches of a vision transformer, so that no patch shows two images.

    Of the paper's MixPro this is the mixing of images, with labels by area. With `area_share` below 1 labels are by attention
    as well, with a constant share where the paper takes for each row how alike prediction and label are ("progressive
    attention labeling"). The weight by area counts pixels, where the official code counts cells, cut ones as whole.

    Args:
        cell_size (`int` or `"auto"`): Side of a cell in pixels, a multiple of the model's patches; `"auto"`: as many whole
            patches as come next to a quarter of the shorter side (56 of 224 pixels with patches of 14, 64 with those of 16).
        area_share (`float`): How much of the label weight is by area; the rest is by attention. With 1 any model will do.
    """

    cell_size: int | Literal["auto"] = "auto"
    area_share: float = 1.0

    name: ClassVar[str] = "maskmix"
    equation: ClassVar[str] = (
        "x <- M x_i + (1 - M) x_j with M constant on cells, ceil(lam n) of n of them 1,  y <- lam y_i + (1 - lam) y_j, lam = area of M"
    )
    citation: ClassVar[Citation] = Citation(
        authors="Zhao, Q., Huang, Y., Hu, W., Zhang, F. and Liu, J.",
        title="MixPro: Data Augmentation with MaskMix and Progressive Attention Labeling for Vision Transformer",
        venue="ICLR",
        year=2023,
        url="https://arxiv.org/abs/2304.12043",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        size: Any = self.cell_size
        if size != "auto" and not (is_whole(size) and size >= 1):
            raise ValueError(f'cell_size must be "auto" or a whole number of pixels >= 1, got {self.cell_size!r}.')

    def grid(self, image_size: tuple[int, int], patch_size: tuple[int, int] = (1, 1)) -> tuple[int, int, int]:
        """
        The side of a cell in pixels, and how many rows and columns of cells there are.

        Args:
            image_size (pair of `int`): `(H, W)`.
            patch_size (pair of `int`): Height and width of the patches that a model sees; `(1, 1)`: it sees none.

        Raises:
            `ValueError`: if a cell is no number of whole patches, or the only one.
        """
        height, width = image_size
        patch = math.lcm(*patch_size)
        if self.cell_size == "auto":
            side = max((2 * min(height, width) + 4 * patch) // (8 * patch), 1) * patch
        else:
            side = self.cell_size
        if side % patch:
            near = max(round(side / patch), 1) * patch
            raise ValueError(
                f"cell_size={self.cell_size} would cut the patches of the model, which are {patch_size[0]} x {patch_size[1]} pixels: "
                f'give a multiple of {patch}, such as {near}, or "auto".'
            )
        rows, columns = math.ceil(height / side), math.ceil(width / side)
        if rows * columns == 1:
            most = (max(height, width) - 1) // patch * patch
            remedy = f"give at most {most}" if most else "it is one patch to the model, take another method"
            raise ValueError(
                f"cell_size={self.cell_size} makes one cell of {side} pixels of an image of {height} x {width}, and nothing is mixed: "
                f"{remedy}."
            )
        return side, rows, columns

    def draw(
        self,
        batch_size: int,
        *,
        rng: np.random.Generator,
        image_size: tuple[int, int] | None = None,
        patch_size: tuple[int, int] = (1, 1),
        **about: Any,
    ) -> MixPlan:
        """Draw this step's plan, see [`MixMethod.draw`]; `patch_size` is that of the model, see [`~MaskMix.grid`]."""
        plan = super().draw(batch_size, rng=rng, **about)
        cells = self.cells(plan.lam, size_for(self.name, image_size), patch_size, rng=rng)
        return plan if is_identity(plan) else replace(plan, detail=cells)

    def cells(
        self,
        lam: torch.Tensor,
        image_size: tuple[int, int],
        patch_size: tuple[int, int] = (1, 1),
        *,
        rng: np.random.Generator,
    ) -> Cells:
        """Which cells stay, `ceil(lam n)` of `n` in each row, for `lam` `(B,)` on the CPU; sizes as in [`~MaskMix.grid`]."""
        side, rows, columns = self.grid(image_size, patch_size)
        rank = rng.random((len(lam), rows * columns)).argsort(axis=1)
        stays = rank < np.ceil(rows * columns * lam.numpy())[:, None]
        return Cells(torch.from_numpy(stays).view(-1, rows, columns), side)

    def mix(self, images: torch.Tensor, plan: MixPlan) -> tuple[torch.Tensor, torch.Tensor]:
        if (cells := _cells_of(plan)) is None:
            return images, plan.lam
        return replace_cells(images, plan.index, cells.is_own, cells.side)

    def partner_patches(self, plan: MixPlan, attention: PatchAttention) -> torch.Tensor:
        cells = _cells_of(plan)
        assert cells is not None
        return patches_in_cells(cells.is_own, cells.side, attention)


def _cells_of(plan: MixPlan) -> Cells | None:
    """The cells of a plan, all of them their own in rows that stay as they are; `None` where it has none."""
    if not isinstance(plan.detail, Cells):
        return None
    return replace(plan.detail, is_own=plan.detail.is_own | (plan.lam == 1).view(-1, 1, 1))
