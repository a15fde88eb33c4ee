"""What a loss makes of classes that are not equally frequent: weights, logits moved by the prior, and labels that favour the rarer partner.

All three change what is trained with, and nothing that is predicted or evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from .devices import to_device


# Compared by identity: arrays have no truth value to compare by.
@dataclass(frozen=True, eq=False)
class LongTail:
    r"""
    The part of [`MixedLoss`] for single-label tasks whose classes are not equally frequent.

    Args:
        weights (`torch.Tensor` of shape `(C,)`, float32, *optional*):
            What a label of each class weighs: the loss of a mixed row is `sum_c w_c y_c (-log p_c)`, so that both partners count by
            the weights of their classes and their shares. They are taken as they are; see [`mean_one`].
        log_prior (`torch.Tensor` of shape `(C,)`, float32, *optional*):
            Added to the logits, `tau log pi_c`: the loss is then that of the model under the prior of the training rows, and the
            logits themselves those of classes as frequent as each other (Menon et al. 2021).
        counts (`torch.Tensor` of shape `(C,)`, float32, *optional*):
            Rows of each class, for `kappa` and `tau`; together with them alone.
        kappa (`float`, *optional*):
            Remix (Chou et al. 2020): where one partner's class has at least `kappa` times as many rows as the other's, and the
            rarer one has more than `1 - tau` of the input, the whole label is that of the rarer one. Above 1.
        tau (`float`, *optional*, defaults to 0.5): See `kappa`; in `[0, 1]`.
    """

    weights: torch.Tensor | None = None
    log_prior: torch.Tensor | None = None
    counts: torch.Tensor | None = None
    kappa: float | None = None
    tau: float = 0.5

    def __post_init__(self) -> None:
        if (self.counts is None) != (self.kappa is None):
            raise ValueError(
                "`counts` and `kappa` belong together: give both for the labels of Remix, or neither of them."
            )
        if self.kappa is not None and not self.kappa > 1:
            raise ValueError(
                f"`kappa` must be above 1, got {self.kappa}: it is how many times more rows the other class has."
            )
        if not 0 <= self.tau <= 1:
            raise ValueError(f"`tau` must lie in [0, 1], got {self.tau}.")

    def __bool__(self) -> bool:
        return any(part is not None for part in (self.weights, self.log_prior, self.kappa))

    def to(self, device: torch.device | str) -> LongTail:
        """The same with its tensors on a device."""
        weights, log_prior, counts = (
            None if part is None else to_device(part, device) for part in (self.weights, self.log_prior, self.counts)
        )
        return LongTail(weights, log_prior, counts, self.kappa, self.tau)

    def adjusted(self, logits: torch.Tensor) -> torch.Tensor:
        """The logits `(B, C)` that the loss is taken of."""
        return logits if self.log_prior is None else logits.float() + to_device(self.log_prior, logits.device)

    def weighted(self, targets: torch.Tensor) -> torch.Tensor:
        """Targets `(B, C)`, each class by its weight; their rows need not sum to 1 any more."""
        return targets if self.weights is None else targets * to_device(self.weights, targets.device)

    def label_weight(self, targets: torch.Tensor, index: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """
        What a row's own label weighs (Remix), where its input weighs `lam`.

        Args:
            targets (`torch.Tensor` of shape `(B, C)`): Of the unmixed rows; the class of a row is its likeliest.
            index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
            lam (`torch.Tensor` of shape `(B,)`, float): The realised weight of the original row.

        Returns:
            `torch.Tensor` of shape `(B,)`, float32: 0, 1 or `lam`; `lam` without `kappa`.
        """
        if self.counts is None or self.kappa is None:
            return lam
        own = to_device(self.counts, targets.device)[targets.argmax(dim=1)]
        other, lam = own[index], lam.float()
        # Products, for a class that is only guessed may have no row.
        is_rarer = (other >= self.kappa * own) & (1 - lam < self.tau)
        is_more_frequent = (own >= self.kappa * other) & (lam < self.tau)
        return lam.masked_fill(is_rarer, 1.0).masked_fill(is_more_frequent, 0.0)


def mean_one(weights: Sequence[float], shares: Sequence[float]) -> list[float]:
    """
    Weights of classes `(C,)`, scaled so that their mean over the rows is 1, where the classes have these `shares` of them.

    So a loss is as large as without weights, and the learning rate means the same; and it is the mean over rows that it was before, of
    which each adds its part wherever it is. PyTorch's division by the weights in a batch would make the part of a row hang on the rows
    that happen to be beside it, and so on the size of micro-batches and the number of processes.

    Raises:
        `ValueError`: if no class with rows has a weight above 0.
    """
    mean = sum(weight * share for weight, share in zip(weights, shares, strict=True))
    if not mean > 0:
        raise ValueError("`weights` are 0 for every class that has rows: give one at least a weight above 0.")
    return [weight / mean for weight in weights]
