"""What one mix is: who mixes with whom, how much, and where. Everything random about a mix is drawn here, before
anything is applied.

A plan knows no model and no trainer. Applying it (`interpolation.py`, `targets.py`, the hooks in `models/`) is a pure
function of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_whole

from .details import Detail, TokenShares
from .devices import to_device


Layer = int | Literal["head"] | None
Per = Literal["batch", "example"]
Partner = Literal["any", "derangement", "same_class", "other_class", "nearest_length"]
Padding = Literal["mix", "keep"]

HEAD: Literal["head"] = "head"


def is_layer(layer: object) -> bool:
    """Whether `layer` can name a place inside a model: an int >= 0 or `"head"`."""
    return layer == HEAD or (is_whole(layer) and layer >= 0)


# Tensors have no truth value to compare plans by.
@dataclass(frozen=True, eq=False)
class MixPlan:
    r"""
    One mix of one batch: row `i` becomes `lam[i] * x[i] + (1 - lam[i]) * x[index[i]]`.

    A row whose `lam` is 1 is its own partner, whatever `index` was given: nothing of it changes, its attention mask
    included.

    Args:
        index (`torch.Tensor` of shape `(B,)`, int64):
            The partner of each row, in `0..B-1`.
        lam (`torch.Tensor` of shape `(B,)`, float32):
            The weight of the ORIGINAL row, in `[0, 1]`; equal in all rows when it was drawn per batch.
        layer (`int`, `"head"` or `None`, *optional*):
            Where hidden states are mixed: 0 = the output of the embeddings, `m` = the output of the `m`-th layer
            (1-based, as in the papers), `"head"` = the input of the last linear layer of the classification head,
            `None` = not inside the model (no mixing at all, or mixing of the inputs).
        pad (`"mix"` or `"keep"`, *optional*, defaults to `"mix"`):
            What happens at positions where only one partner has a real token. `"mix"`: the state of the padding takes
            part (Chen et al. 2020, official code). `"keep"`: the real token's state is kept unscaled.
        detail ([`Boxes`], [`Cells`], [`Blocks`], [`SpanDraws`], [`TokenOrder`] or [`TokenShares`], *optional*):
            What a method that mixes pixels or tokens draws besides, or how much of itself each token keeps at `layer`; `None` where a
            method needs nothing or mixes nothing.

    Raises:
        `ValueError`: if shapes or dtypes are wrong, or (checked on the CPU only, to avoid a device synchronisation)
        if an index or a weight is out of range.
    """

    index: torch.Tensor
    lam: torch.Tensor
    layer: Layer = None
    pad: Padding = "mix"
    detail: Detail | None = None

    def __post_init__(self) -> None:
        if self.index.dim() != 1 or self.index.dtype != torch.int64:
            raise ValueError(f"`index` must be int64 of shape (B,), got {self.index.dtype} {tuple(self.index.shape)}.")
        if self.lam.shape != self.index.shape or self.lam.dtype != torch.float32:
            raise ValueError(
                f"`lam` must be float32 of shape ({len(self.index)},) like `index`, got {self.lam.dtype} "
                f"{tuple(self.lam.shape)}. A lambda for the whole batch is given as `torch.full((B,), lam)`."
            )
        if not (self.layer is None or is_layer(self.layer)):
            raise ValueError(f"`layer` must be an int >= 0, 'head' or None, got {self.layer!r}.")
        if self.pad not in get_args(Padding):
            raise ValueError(f"`pad` must be one of {get_args(Padding)}, got {self.pad!r}.")
        if self.index.device.type == "cpu":
            if len(self.index) and (self.index.min() < 0 or self.index.max() >= len(self.index)):
                raise ValueError(f"`index` must lie in 0..{len(self.index) - 1}, got {self.index.tolist()}.")
            if not bool(((self.lam >= 0) & (self.lam <= 1)).all()):
                raise ValueError(f"`lam` must lie in [0, 1], got {self.lam.tolist()}.")
        if isinstance(self.detail, TokenShares) and (self.layer in (None, HEAD) or len(self.detail.own) != len(self)):
            raise ValueError(
                f"`detail` weighs the tokens of {len(self.detail.own)} rows, and the plan mixes {len(self)} at layer {self.layer!r}: "
                "there must be as many, and the layer a number, where there is a state for each token."
            )
        own = torch.arange(len(self.index), device=self.index.device)
        object.__setattr__(self, "index", torch.where(self.lam == 1, own, self.index))

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def identity(cls, batch_size: int) -> MixPlan:
        """The plan that changes nothing: every row is its own partner with weight 1, at no layer."""
        return cls._of(torch.arange(batch_size), torch.ones(batch_size))

    @classmethod
    def _of(
        cls,
        index: torch.Tensor,
        lam: torch.Tensor,
        layer: Layer = None,
        pad: Padding = "mix",
        detail: Detail | None = None,
    ) -> MixPlan:
        """A plan of parts that are right by construction, rows of weight 1 their own partners: they are not looked at again."""
        plan = object.__new__(cls)
        vars(plan).update(index=index, lam=lam, layer=layer, pad=pad, detail=detail)
        return plan

    def _with(self, **parts: Any) -> MixPlan:
        """[`_of`] what this plan is, but for some parts."""
        return self._of(**{**{one.name: getattr(self, one.name) for one in fields(self)}, **parts})

    @cached_property
    def is_identity(self) -> bool:
        """Whether every row has weight 1. A plan that was drawn on the host knows it when [`to`] has moved it, without waiting."""
        return bool((self.lam == 1).all())

    def among(self, rows: torch.Tensor) -> MixPlan:
        """The plan that mixes only pairs within `rows` `(B,)` bool; every other row is its own partner."""
        rows = rows.to(self.index.device)
        own = torch.arange(len(self.index), device=self.index.device)
        return self._with(index=torch.where(rows & rows[self.index], self.index, own))

    def extended(self, rows: int) -> MixPlan:
        """The plan for a batch that goes on with `rows` more rows, all of them unmixed."""
        device = self.index.device
        own = torch.arange(len(self), len(self) + rows, device=device)
        ones = torch.ones(rows, dtype=self.lam.dtype, device=device)
        detail = self.detail.extended(rows) if isinstance(self.detail, TokenShares) else self.detail
        return self._with(index=torch.cat([self.index, own]), lam=torch.cat([self.lam, ones]), detail=detail)

    def to(self, device: torch.device | str) -> MixPlan:
        """The same plan with its tensors on `device`, without waiting for it; itself if they are there already."""
        device = torch.device(device)
        if self.index.device == device and self.lam.device == device:
            return self
        detail = None if self.detail is None else self.detail.to(device)
        moved = self._with(index=to_device(self.index, device), lam=to_device(self.lam, device), detail=detail)
        vars(moved)["is_identity"] = self.is_identity
        return moved


def draw_plan(
    batch_size: int,
    *,
    alpha: float | np.ndarray,
    rng: np.random.Generator,
    layers: Sequence[int | Literal["head"]] | None = None,
    fold: bool = False,
    per: Per = "batch",
    prob: float = 1.0,
    partner: Partner = "any",
    pad: Padding = "mix",
    labels: torch.Tensor | np.ndarray | None = None,
    lengths: torch.Tensor | np.ndarray | None = None,
) -> MixPlan:
    r"""
    Draw a mix: `lam ~ Beta(alpha, alpha)`, a partner for each row, and one layer for the whole batch.

    The number of random numbers taken from `rng` does not depend on what they turn out to be, so two runs that differ
    in `prob` alone still agree in partners and layers.

    Args:
        batch_size (`int`): Number of rows `B`.
        alpha (`float` or `np.ndarray` of shape `(B,)`):
            Parameter of the Beta distribution; 0 means `lam = 1`, nothing is mixed. One for each row, all above 0, goes with
            `per="example"`.
        rng (`numpy.random.Generator`):
            Source of all randomness. Counted, not remembered: `numpy.random.default_rng([seed, step, micro_step, rank])`.
        layers (`Sequence[int | "head"]`, *optional*):
            The layer is drawn uniformly from this set; `None` = the mix does not happen inside the model.
        fold (`bool`, *optional*, defaults to `False`):
            `lam <- max(lam, 1 - lam)`, so that a row stays nearer to itself than to its partner (Chen et al. 2020, 3.1).
        per (`"batch"` or `"example"`, *optional*, defaults to `"batch"`): One lambda for all rows, or one each.
        prob (`float`, *optional*, defaults to 1.0):
            Chance that the batch is mixed at all; with `per="example"` that of each row, the others keep a lambda of 1.
        partner (`str`, *optional*, defaults to `"any"`):
            `"any"`: a random permutation, in which one row on average meets itself. `"derangement"`: one of those in which
            none does, all alike likely; a row alone stays itself. `"same_class"` and `"other_class"` need `labels`; a row that has no such
            partner is its own. `"nearest_length"` pairs neighbours in order of length and needs `lengths`.
        pad (`"mix"` or `"keep"`, *optional*, defaults to `"mix"`): See [`MixPlan`].
        labels (`torch.Tensor` or `np.ndarray` of shape `(B,)`, *optional*): Integer classes.
        lengths (`torch.Tensor` or `np.ndarray` of shape `(B,)`, *optional*): Number of real tokens.

    Returns:
        [`MixPlan`] on the CPU; the identity plan (`layer=None`) when the batch is not mixed.

    Example:

    ```python
    >>> plan = draw_plan(8, alpha=16.0, layers=[7, 9, 12], fold=True, rng=np.random.default_rng([0, 1]))
    >>> plan.index.shape, plan.layer in (7, 9, 12)
    (torch.Size([8]), True)
    ```
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    if isinstance(alpha, np.ndarray):
        if per != "example" or alpha.shape != (batch_size,) or not (np.isfinite(alpha) & (alpha > 0)).all():
            raise ValueError(
                f"`alpha` of each row must be {batch_size} finite numbers > 0, with `per='example'`, got {alpha} and {per!r}."
            )
    elif not (alpha >= 0 and math.isfinite(alpha)):
        raise ValueError(f"`alpha` must be a finite number >= 0, got {alpha}.")
    if not 0 <= prob <= 1:
        raise ValueError(f"`prob` must lie in [0, 1], got {prob}.")
    if per not in get_args(Per):
        raise ValueError(f"`per` must be one of {get_args(Per)}, got {per!r}.")
    if layers is not None and len(layers) == 0:
        raise ValueError("`layers` is empty: name at least one layer, or give None to mix outside the model.")
    if layers is not None and not all(is_layer(layer) for layer in layers):
        raise ValueError(f"`layers` must be ints >= 0 or 'head', got {list(layers)!r}.")
    if pad not in get_args(Padding):
        raise ValueError(f"`pad` must be one of {get_args(Padding)}, got {pad!r}.")

    # Children of the generator, so that what is drawn for some settings alone moves nothing for the others.
    of_rows, of_order = rng.spawn(2) if partner == "derangement" or (per == "example" and prob < 1) else (rng, rng)
    is_mixed = rng.random() < prob
    layer = None if layers is None else layers[int(rng.integers(len(layers)))]
    # Paired before it is known whether anything is mixed: what is wrong with `partner` shows in the first step.
    order = rng.permutation(batch_size)
    if partner == "derangement":
        order = _derangement(order, of_order)
    index = _partners(partner, order, labels=labels, lengths=lengths)
    by_row = per == "example" and prob < 1
    if np.all(alpha == 0) or not (is_mixed or by_row):
        return MixPlan.identity(batch_size)

    lam = rng.beta(alpha, alpha, size=batch_size if per == "example" else 1)
    if fold:
        lam = np.maximum(lam, 1 - lam)
    lam = np.full(batch_size, lam, dtype=np.float32)
    if by_row:
        lam[of_rows.random(batch_size) >= prob] = 1
        if (lam == 1).all():
            return MixPlan.identity(batch_size)
    if (own := lam == 1).any():
        index[own] = np.flatnonzero(own)
    return MixPlan._of(torch.from_numpy(index), torch.from_numpy(lam), layer, pad)


def _derangement(order: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first of random permutations `(B,)`, `order` and others, in which no row stays in its place: all such are alike likely."""
    rows = np.arange(len(order))
    if len(order) == 1:
        return rows
    # One in e of all permutations.
    while (order == rows).any():
        order = rng.permutation(len(order))
    return order


def _partners(
    partner: Partner,
    order: np.ndarray,
    *,
    labels: torch.Tensor | np.ndarray | None,
    lengths: torch.Tensor | np.ndarray | None,
) -> np.ndarray:
    """The partner of each row as a permutation `(B,)` int64, all chance taken from the random `order` `(B,)`."""
    if partner in ("any", "derangement"):
        return order.astype(np.int64)
    if partner == "nearest_length":
        keys = _per_row("lengths", lengths, len(order), partner)
        ranked = order[np.argsort(keys[order], kind="stable")]
        index = np.arange(len(order))
        left, right = ranked[0 : len(ranked) - 1 : 2], ranked[1::2]
        index[left], index[right] = right, left
        return index
    if partner in ("same_class", "other_class"):
        keys = _per_row("labels", labels, len(order), partner)
        classes = [order[keys[order] == label] for label in dict.fromkeys(keys[order].tolist())]
        index = np.arange(len(order))
        if partner == "same_class":
            for rows in classes:
                index[rows] = np.roll(rows, 1)
            return index
        # What a class holds beyond half of the batch stays alone. The others stand class by class, in random order of
        # the classes: shifted by the size of the largest, no row meets its own.
        largest = max(map(len, classes))
        rows = np.concatenate([rows[: len(order) - largest] for rows in classes])
        index[rows] = np.roll(rows, min(largest, len(order) - largest))
        return index
    raise ValueError(f"`partner` must be one of {get_args(Partner)}, got {partner!r}.")


def _per_row(name: str, values: torch.Tensor | np.ndarray | None, batch_size: int, partner: str) -> np.ndarray:
    """The `values` `(B,)` that partners are found by, on the host."""
    if values is None:
        raise ValueError(f"`partner={partner!r}` needs `{name}`, an array of shape ({batch_size},).")
    array = values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.shape != (batch_size,):
        raise ValueError(f"`{name}` must have shape ({batch_size},), got {array.shape}.")
    return array
