"""Mixed targets of token classification and the loss on them: each position of a text has a label of its own, or none.

A label weighs what its text weighs in the mix, lambda or 1 - lambda, wherever it stands. Where both texts have a label the two make
one distribution, as of whole texts; where one has, its part of the target is all there is; where none has there is no loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from mixtext_hf.problem_types import SINGLE_LABEL

from .devices import to_device
from .targets import IGNORE_INDEX, MixedLoss


def to_token_targets(labels: torch.Tensor, *, num_labels: int) -> torch.Tensor:
    """
    Labels as targets that can be mixed: one-hot where there is a label, zeros where there is none.

    Args:
        labels (`torch.Tensor`): Classes `(B, T)`, int64, -100 where there is none; targets `(B, T, C)`, floats, are taken as they are.
        num_labels (`int`): Number of classes `C`.

    Returns:
        `torch.Tensor` of shape `(B, T, C)`, float32.
    """
    if labels.dim() == 3:
        return labels.float()
    known = labels != IGNORE_INDEX
    # Of all negative labels only -100 may pass: one_hot raises at the others.
    return F.one_hot(labels.masked_fill(~known, 0), num_labels).float() * known.unsqueeze(-1)


def mix_token_targets(
    labels: torch.Tensor, index: torch.Tensor, lam: torch.Tensor, *, num_labels: int
) -> torch.Tensor:
    r"""
    Mix the targets of each position as hidden states are mixed: `lam * y + (1 - lam) * y[index]` (Chen et al. 2020b, eq. 3).

    Args:
        labels (`torch.Tensor` of shape `(B, T)` or `(B, T, C)`): See [`to_token_targets`].
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        lam (`torch.Tensor` of shape `(B,)`, float): The weight of the original row.
        num_labels (`int`): Number of classes `C`.

    Returns:
        `torch.Tensor` of shape `(B, T, C)`, float32. A position sums to 1 where both texts have a label, to `lam` or `1 - lam` where one
        has, to 0 where none has.
    """
    targets = to_token_targets(labels, num_labels=num_labels)
    return torch.lerp(targets.index_select(0, index), targets, lam.float().view(-1, 1, 1))


@dataclass(frozen=True)
class TokenLoss(MixedLoss):
    r"""
    The loss of token classification on mixed (or plain) targets: cross-entropy by position, divided by the number of labels that the
    unmixed rows have.

    What is divided by does not depend on the mix, so a batch in pieces has the loss of the whole. Under one lambda for all rows the
    weights of all targets add up to it: each label stands in two rows, once with lambda and once with 1 - lambda, whichever `pad` the
    plan has. `pad` says what *state* stands where one text has ended: of `"mix"` the real token's and the padding's, of `"keep"` the
    real token's as it is; the target there is the real token's label in both, weighed by its text.

    Args: as of [`MixedLoss`]; `label_smoothing` keeps the weight of a position, `(1 - s) * t + s * sum(t) / C`.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.problem_type != SINGLE_LABEL or self.num_labels < 2:
            raise ValueError(
                f"Each token has one of several classes, but the task is {self.problem_type} with num_labels={self.num_labels}: "
                "give at least 2 labels (the tags of the data, 'O' among them)."
            )
        if self.kind != "ce":
            raise ValueError(
                f"`kind={self.kind!r}` is of whole texts and images: use 'ce', which is what tokens have."
            )

    def rows_with_label(self, labels: torch.Tensor) -> torch.Tensor:
        return (labels != IGNORE_INDEX).any(dim=1)

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        return (labels != IGNORE_INDEX).sum()

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        index: torch.Tensor | None = None,
        lam: torch.Tensor | None = None,
    ) -> torch.Tensor:
        r"""
        Args:
            logits (`torch.Tensor` of shape `(B, T, C)`): The model's outputs for the (mixed) rows.
            labels (`torch.Tensor` of shape `(B, T)`, int64): Of the unmixed rows, -100 where there is none.
            index (`torch.Tensor` of shape `(B,)`, int64, *optional*): The partner of each row; `None` = unmixed.
            lam (`torch.Tensor` of shape `(B,)`, *optional*): The weight of the original row.

        Returns:
            Scalar `torch.Tensor`; 0 (with a gradient of 0) if there is no label.
        """
        losses, _ = self.of_rows(logits, labels, index, lam)
        return losses.sum() / self.count(labels).clamp(min=1)

    def of_rows(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        index: torch.Tensor | None = None,
        lam: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of each position `(B, T)`, float32, and where there is a target at all `(B, T)`, bool. Arguments as of the mean."""
        if (index is None) != (lam is None):
            raise ValueError("`index` and `lam` belong together: give both, or neither for an unmixed batch.")
        if index is None or lam is None:
            targets = to_token_targets(labels, num_labels=self.num_labels)
        else:
            index, lam = to_device(index, labels.device), to_device(lam, labels.device)
            targets = mix_token_targets(labels, index, lam, num_labels=self.num_labels)
        return self.of_targets(logits, targets), targets.sum(dim=-1) > 0

    def of_targets(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss `(B, T)`, float32, of logits `(B, T, C)` by targets `(B, T, C)`, whose sums are the weights of the positions."""
        if self.label_smoothing:
            weight = targets.sum(dim=-1, keepdim=True)
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing * weight / self.num_labels
        return -(targets * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1)
