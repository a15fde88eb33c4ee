"""Mixed targets and the losses on them, for classification, multi-label classification and regression.

The losses are computed here, outside the model: soft labels handed to a transformers head switch it to another loss
and write that choice into the config. One rule serves all methods, mixed or not: build the target, then take the mean
over the rows that have one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from mixtext_hf.problem_types import MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL, ProblemType

from .devices import to_device
from .long_tail import LongTail


# What stands for a label that is hidden: in place of a class this, which is none, and in place of a score, where any number
# might be one, no number at all.
IGNORE_INDEX = -100
HIDDEN_SCORE = math.nan

LossKind = Literal["ce", "bce"]


def has_label(labels: torch.Tensor) -> torch.Tensor:
    """Which rows `(B,)` bool carry a label: those without are marked, in any column, by -100, and if they are floats by NaN."""
    present = ~labels.isnan() if labels.is_floating_point() else labels != IGNORE_INDEX
    return present if present.dim() == 1 else present.flatten(1).all(dim=1)


def mix_targets(
    labels: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    *,
    num_labels: int,
    problem_type: ProblemType = SINGLE_LABEL,
) -> torch.Tensor:
    r"""
    Mix the targets as the inputs were mixed: `lam * y + (1 - lam) * y[index]` (Zhang et al. 2018, eq. 1).

    Args:
        labels (`torch.Tensor`):
            Integer classes `(B,)`; float multi-hot rows `(B, C)` for multi-label; float scores `(B,)` or `(B, 1)` for
            regression. Float rows `(B, C)` are taken as they are for single-label tasks too (already soft targets).
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        lam (`torch.Tensor` of shape `(B,)`, float): The realised weight of the original row.
        num_labels (`int`): Number of classes `C` (1 for regression).
        problem_type (`str`, *optional*, defaults to `"single_label_classification"`): As in transformers' config.

    Returns:
        `torch.Tensor` of shape `(B, num_labels)`, float32. Rows without a label are finite and meaningless: see `has_label`.
    """
    targets = to_targets(labels, num_labels=num_labels, problem_type=problem_type)
    return torch.lerp(targets.index_select(0, index), targets, lam.float().unsqueeze(-1))


def to_targets(labels: torch.Tensor, *, num_labels: int, problem_type: ProblemType = SINGLE_LABEL) -> torch.Tensor:
    """Labels as the rows `(B, num_labels)` float32 that can be mixed: one-hot, multi-hot, scores; see [`mix_targets`]."""
    if problem_type == SINGLE_LABEL and labels.dim() == 1:
        # Of all negative labels only -100 may pass: one_hot raises at the others.
        return F.one_hot(labels.masked_fill(labels == IGNORE_INDEX, 0), num_labels).float()
    targets = labels.float().reshape(len(labels), -1)
    if targets.shape[1] != num_labels:
        raise ValueError(
            f"`labels` of shape {tuple(labels.shape)} do not fit num_labels={num_labels} of a {problem_type} task: give "
            f"(B, {num_labels}), also where all labels of a batch are hidden (NaN)."
        )
    # A NaN in the arithmetic would come back as the gradient of a row that is left out of the loss.
    return targets.masked_fill(~has_label(labels).unsqueeze(-1), 0.0)


def soft_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each row against a distribution: logits and targets `(B, C)` -> `(B,)` float32, in nats."""
    return -(targets * F.log_softmax(logits.float(), dim=-1)).sum(dim=-1)


def soft_binary_cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, total: torch.Tensor | float = 1.0
) -> torch.Tensor:
    r"""
    Binary cross-entropy between the softmax of each row and a distribution: logits and targets `(B, C)`, `C >= 2` -> `(B,)`
    float32, the mean over the classes. What the official code of PuzzleMix and of manifold mixup trains with
    (`BCELoss(softmax(logits), targets)`), without its clamping of logarithms.

    Targets may sum to another `total` than 1, `(B, 1)`: they are then the sum of those losses of single classes, by their weights.
    """
    logits = logits.float()
    log_p = F.log_softmax(logits, dim=-1)
    # 1 - p of the likeliest class is the sum of the others: a difference would lose what is left of it.
    likeliest = logits.argmax(dim=-1, keepdim=True)
    is_likeliest = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, likeliest, True)
    log_others = log_p.masked_fill(is_likeliest, -math.inf).logsumexp(dim=-1, keepdim=True)
    log_not_p = torch.where(is_likeliest, log_others, torch.log1p(-log_p.exp().masked_fill(is_likeliest, 0.0)))
    return -(targets * log_p + (total - targets) * log_not_p).mean(dim=-1)


def soft_kl_divergence(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """`KL(targets || softmax(logits))` of each row: logits and targets `(B, C)` -> `(B,)` float32, in nats.

    Its gradient is that of [`soft_cross_entropy`]; its value is 0 where the prediction meets the target.
    """
    return torch.xlogy(targets, targets).sum(dim=-1) + soft_cross_entropy(logits, targets)


def jensen_shannon_divergence(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    r"""
    How much several predictions of the same rows disagree: `1/K sum_k KL(p_k || mean of all p)` (Hendrycks et al. 2020,
    eq. 1).

    Args:
        logits (`Sequence[torch.Tensor]`): `K` tensors of shape `(B, C)`.

    Returns:
        `torch.Tensor` of shape `(B,)`, float32, in nats, between 0 and `ln K`.
    """
    # Logarithms that are finite, and with a finite gradient, where a probability underflows to 0.
    log_p = torch.stack([logit.float().log_softmax(dim=-1) for logit in logits])
    p = log_p.exp()
    # The floor of the official code: a class that no prediction has any weight on must not give the logarithm of 0.
    log_mean = p.mean(dim=0).clamp(min=1e-7).log()
    return (p * (log_p - log_mean)).sum(dim=-1).mean(dim=0)


def sharpen(probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    r"""
    Sharpen distributions `(..., C)`: `p^(1/T) / sum p^(1/T)` (Berthelot et al. 2019; Chen et al. 2020, 3.2).

    Args:
        probabilities (`torch.Tensor` of shape `(..., C)`): Distributions over the classes.
        temperature (`float`): `T > 0`; 1 changes nothing, towards 0 all weight goes to the largest.
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive, got {temperature}: 1 leaves the distribution as it is.")
    # In logarithms: p^(1/T) underflows for small T.
    return torch.softmax(probabilities.log() / temperature, dim=-1)


@dataclass(frozen=True)
class MixedLoss:
    r"""
    The supervised loss of a task on mixed (or plain) targets: the one loss function of all methods and of evaluation.

    single-label: soft cross-entropy (or what `kind` says), equal to `lam CE(y_i) + (1 - lam) CE(y_j)`; multi-label: binary cross-entropy on
    the mixed multi-hot rows; regression: squared error to the mixed score. Computed in float32.

    Args:
        problem_type (`str`): As in transformers' config.
        num_labels (`int`): Number of classes, 1 for regression.
        label_smoothing (`float`, *optional*, defaults to 0.0):
            Acts on the soft target: `(1 - s) * t + s / C` (Szegedy et al. 2016); `(1 - s) * t + s / 2` for
            multi-label. Undefined for regression.
        kind (`"ce"` or `"bce"`, *optional*, defaults to `"ce"`):
            Of single-label tasks: cross-entropy, or binary cross-entropy of the softmax, see [`soft_binary_cross_entropy`].
        long_tail ([`LongTail`], *optional*):
            Of single-label tasks: what is made of classes that are not equally frequent. The mean over the rows stays one, whatever
            they weigh.
    """

    problem_type: ProblemType
    num_labels: int
    label_smoothing: float = 0.0
    kind: LossKind = "ce"
    long_tail: LongTail | None = None

    def __post_init__(self) -> None:
        if self.problem_type not in PROBLEM_TYPES:
            raise ValueError(f"`problem_type` must be one of {PROBLEM_TYPES}, got {self.problem_type!r}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must lie in [0, 1), got {self.label_smoothing}.")
        if self.label_smoothing and self.problem_type == REGRESSION:
            raise ValueError("`label_smoothing` smooths over classes and a regression has none: set it to 0.")
        if self.kind not in get_args(LossKind):
            raise ValueError(f"`kind` must be one of {get_args(LossKind)}, got {self.kind!r}.")
        if self.kind == "bce" and (self.problem_type != SINGLE_LABEL or self.num_labels < 2):
            raise ValueError(
                f"`kind='bce'` compares the softmax of at least 2 classes, of which a row has one; the task is "
                f"{self.problem_type} with num_labels={self.num_labels}: use 'ce', which is what the task has."
            )
        if self.long_tail is not None and self.problem_type != SINGLE_LABEL:
            raise ValueError(
                f"`long_tail` is of the one class that a row has; the task is {self.problem_type}: leave it out."
            )

    @property
    def cross_entropy(self) -> MixedLoss:
        """The loss of `kind="ce"`: what saliency is the gradient of, whatever is trained with."""
        return self if self.kind == "ce" else replace(self, kind="ce")

    @property
    def plain(self) -> MixedLoss:
        """What is evaluated, whatever is trained with: of `kind="ce"`, with all classes alike."""
        return self if self.kind == "ce" and self.long_tail is None else replace(self, kind="ce", long_tail=None)

    @property
    def size(self) -> float:
        """
        What a cross-entropy is multiplied by to weigh like this loss: 1; `2 / C` for `"bce"`, which is a mean over the classes
        (the official code of PuzzleMix).
        """
        return 1.0 if self.kind == "ce" else 2 / self.num_labels

    def rows_with_label(self, labels: torch.Tensor) -> torch.Tensor:
        """Which rows `(B,)` bool have something to learn: those with a label."""
        return has_label(labels)

    def count(self, labels: torch.Tensor) -> torch.Tensor:
        """How many labels a batch has, a scalar: what the loss is a mean over."""
        return has_label(labels).sum()

    def __call__(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        index: torch.Tensor | None = None,
        lam: torch.Tensor | None = None,
    ) -> torch.Tensor:
        r"""
        Args:
            logits (`torch.Tensor` of shape `(B, C)`): The model's outputs for the (mixed) rows.
            labels (`torch.Tensor`): The labels of the unmixed rows, see [`mix_targets`].
            index (`torch.Tensor` of shape `(B,)`, int64, *optional*): The partner of each row; `None` = unmixed.
            lam (`torch.Tensor` of shape `(B,)`, *optional*): The realised weight of the original row.

        Returns:
            Scalar `torch.Tensor`: the mean over the rows that count, see [`~MixedLoss.of_rows`]; 0 (with a gradient of 0) if
            there is no such row.
        """
        return self.mean(*self.of_rows(logits, labels, index, lam))

    @staticmethod
    def mean(losses: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """The mean, a scalar, of the `losses` `(B,)` of the rows that count, `counts` `(B,)` bool; 0 if there is none."""
        return torch.where(counts, losses, 0.0).sum() / counts.sum().clamp(min=1)

    def of_rows(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        index: torch.Tensor | None = None,
        lam: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        The loss of each row `(B,)` float32, and which rows count `(B,)` bool: those that have a label and, where their partner
        takes part, whose partner has one. Arguments as of the mean.
        """
        if (index is None) != (lam is None):
            raise ValueError("`index` and `lam` belong together: give both, or neither for an unmixed batch.")
        counts = has_label(labels)
        if index is None or lam is None:
            targets = to_targets(labels, num_labels=self.num_labels, problem_type=self.problem_type)
        else:
            index, lam = to_device(index, labels.device), to_device(lam, labels.device)
            weight = self.label_weight(labels, index, lam)
            targets = mix_targets(labels, index, weight, num_labels=self.num_labels, problem_type=self.problem_type)
            counts = counts & (counts[index] | (lam == 1))
        if self.label_smoothing:
            uniform = 0.5 if self.problem_type == MULTI_LABEL else 1 / self.num_labels
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing * uniform
        total: torch.Tensor | float = 1.0
        if self.long_tail is not None:
            logits, targets = self.long_tail.adjusted(logits), self.long_tail.weighted(targets)
            if self.long_tail.weights is not None:
                total = targets.sum(dim=-1, keepdim=True)
        if self.kind == "bce":
            losses = soft_binary_cross_entropy(logits, targets, total)
        elif self.problem_type == SINGLE_LABEL:
            losses = soft_cross_entropy(logits, targets)
        elif self.problem_type == MULTI_LABEL:
            losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(dim=-1)
        else:
            losses = F.mse_loss(logits.float().reshape(targets.shape), targets, reduction="none").mean(dim=-1)
        return losses, counts

    def label_weight(self, labels: torch.Tensor, index: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
        """What a row's own label weighs `(B,)` where its input weighs `lam` `(B,)`: the same, unless Remix says otherwise."""
        if self.long_tail is None or self.long_tail.kappa is None:
            return lam
        targets = to_targets(labels, num_labels=self.num_labels, problem_type=self.problem_type)
        return self.long_tail.label_weight(targets, index, lam)


def mixed_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    *,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Mean cross-entropy on mixed labels: [`MixedLoss`] for single-label classification, logits `(B, C)`."""
    return MixedLoss(SINGLE_LABEL, logits.shape[-1], label_smoothing)(logits, labels, index, lam)
