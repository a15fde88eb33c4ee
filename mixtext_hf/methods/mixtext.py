"""MixText (Chen, Yang & Yang, ACL 2020, section 3.2): label guesses for unlabelled texts, and TMix across all of them.

Guesses come with the batch (made once for all texts, before training), or from the model in training, as in the paper. The
method does not know who made the former.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_number, is_whole
from mixtext_hf.mixing import (
    HIDDEN_SCORE,
    MixPlan,
    has_label,
    mix_targets,
    soft_kl_divergence,
    to_targets,
)

from .base import Preset, Step
from .guessed_targets import GuessedTargets


logger = logging.getLogger(__name__)

Within = Literal["all", "kind"]
Margin = Literal["squared", "entropy"]


@dataclass(frozen=True)
class MixText(GuessedTargets):
    r"""
    Take guessed labels for the unlabelled texts, and mix hidden states and labels across all rows of the batch.

    A step has `B` labelled rows and `B_u` unlabelled texts of `K + 1` views each (the original and its augmentations);
    all `B + (K + 1) B_u` rows are mixed in one pass under one permutation. The defaults are what measured best for guesses made
    before training (`docs/results.md`); the presets `paper` and `official_code` guess in every step, as there.

    Args:
        lambda_u (`float`): Weight of the consistency loss.
        ramp_steps (`int`, *optional*):
            Steps over which that weight grows from 0 to `lambda_u`. `None` = the whole run, as in the official code; 0 =
            there at once, as in the paper.
        mix_within (`"all"` or `"kind"`): Whether a labelled row may be mixed with an unlabelled one.
        margin_weight (`float`): `gamma_m`, the weight of the margin loss; 0 as in the official runs.
        margin (`float`): `gamma` of the margin loss.
        margin_loss (`"squared"` or `"entropy"`):
            `max(0, gamma - sum p^2)` of the paper, or `max(0, H(p) - gamma)` of the official code; on unmixed
            predictions of the unlabelled originals.
    """

    alpha: float = 1.0
    lambda_u: float = 1.0
    ramp_steps: int | None = 0
    mix_within: Within = "all"
    margin_weight: float = 0.0
    margin: float = 0.7
    margin_loss: Margin = "squared"

    name: ClassVar[str] = "mixtext"
    equation: ClassVar[str] = (
        "L = L_x + w(t) lambda_u L_u + gamma_m L_margin,  y_u = Sharpen(sum_k w_k p(x_u^k) / sum_k w_k, T),  "
        "L_u = KL(mix(y) || p(TMix(x)))"
    )
    uses_unlabeled: ClassVar[bool] = True
    presets: ClassVar[dict[str, Preset]] = {
        "ours": Preset({}, {}),
        # The paper gives no gamma and no gamma_m, and the authors' runs had none: the margin loss stays off here too.
        "paper": Preset(
            {
                "online": True,
                "align": "off",
                "alpha": 16.0,
                "temperature": 0.5,
                "ramp_steps": 0,
                "view_weights": "all",
                "margin_loss": "squared",
            },
            {
                "learning_rate": 1e-5,
                "head_learning_rate": 1e-3,
                "per_device_train_batch_size": 4,
                "per_device_unlabeled_batch_size": 8,
                "lr_scheduler_type": "constant",
            },
        ),
        # The README's command. Its missing masks and special tokens are faults, and not reproduced.
        "official_code": Preset(
            {
                "online": True,
                "align": "off",
                "alpha": 16.0,
                "temperature": 0.5,
                "lambda_u": 1.0,
                "ramp_steps": None,
                "view_weights": "original",
                "guess_dropout": True,
                "mix_within": "all",
                "margin_loss": "entropy",
                "margin_weight": 0.0,
            },
            {
                "learning_rate": 5e-6,
                "head_learning_rate": 5e-4,
                "per_device_train_batch_size": 4,
                "per_device_unlabeled_batch_size": 8,
                "lr_scheduler_type": "constant",
                "weight_decay": 0.0,
            },
        ),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lambda_u", "margin_weight", "margin"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise ValueError(f"{name} must be a number >= 0, got {value!r}.")
        steps = self.ramp_steps
        if steps is not None and (not is_whole(steps) or steps < 0):
            raise ValueError(f"ramp_steps must be a whole number >= 0, or null for the whole run, got {steps!r}.")
        for name, allowed in (("mix_within", Within), ("margin_loss", Margin)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, got {getattr(self, name)!r}.")
        if self.partner in ("same_class", "other_class"):
            raise ValueError(
                f"partner={self.partner!r} pairs rows by their class, and {self.name} guesses classes only after the pairs "
                "are drawn: use 'any' or 'nearest_length'."
            )
        if self.mix_within == "kind" and self.partner != "any":
            raise ValueError(f"mix_within='kind' draws the partners itself: drop partner={self.partner!r}.")
        if self.clean_lam:
            raise ValueError(
                f"clean_lam={self.clean_lam} adds the loss on rows as they are to that on mixed ones, and the losses of {self.name} "
                "are those of its paper: drop it, or use tmix on the labelled rows alone."
            )

    def warn_of_idle_margin(self, num_labels: int) -> None:
        """Warn if the margin loss can never be anything but 0 with so many classes."""
        if self.margin_weight and self.margin_loss == "entropy" and self.margin >= math.log(num_labels):
            logger.warning(
                "margin_loss='entropy' with margin=%g is always 0 for %d classes, whose entropy is at most %.3f nats: "
                "choose a smaller margin, or margin_loss='squared'.",
                self.margin,
                num_labels,
                math.log(num_labels),
            )

    def pairing(
        self, batch_size: int, labels: torch.Tensor | None, lengths: torch.Tensor | None, unlabeled: int
    ) -> dict[str, Any]:
        if self.mix_within == "all":
            return super().pairing(batch_size, labels, lengths, unlabeled)
        return {"partner": "same_class", "labels": np.arange(batch_size) >= batch_size - unlabeled}

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        if step.text_labels is None:
            raise ValueError(f"{self.name} was given a batch without unlabelled texts: give `unlabeled_dataset`.")
        rows, texts = len(step.labels), len(step.text_labels)
        labelled = rows - texts * step.views
        if self.online:
            guess = self.guess(step, labelled)
            guessed, weights = self.balanced(step, guess)
        else:
            guess, weights = self.given_guess(step), None
            guessed = self.targets_of(guess)
        self._note_guess(step, guess, guessed)

        # One row for each of the batch, (B + (K + 1) B_u, C): the guess of a text stands for all its views.
        own = to_targets(step.labels[:labelled], num_labels=guess.shape[1])
        targets = torch.cat([own, guessed.repeat(step.views, 1)])
        # A labelled row whose label is hidden after all has no target: it is not mixed and has no loss.
        known = has_label(step.labels)
        known[labelled:] = True
        plan = step.plan.among(known)
        targets = mix_targets(targets, plan.index, plan.lam, num_labels=guess.shape[1])
        targets = targets.masked_fill(~known.unsqueeze(-1), HIDDEN_SCORE)

        originals = slice(labelled, labelled + texts)
        inputs = step.inputs
        if self.margin_weight and plan.layer is not None:
            # The margin loss looks at unmixed predictions: the originals once more, at the end, as they are.
            inputs = {name: torch.cat([value, value[originals]]) for name, value in inputs.items()}
            plan = plan.extended(texts)
            originals = slice(rows, rows + texts)
        logits = step.forward(inputs, plan)

        weight = self.lambda_u * self.ramp(step.number, step.total)
        step.note({"unlabeled_weight": torch.full((), weight, device=logits.device)})
        terms = {
            "loss_supervised": step.loss(logits[:labelled], targets[:labelled]),
            "loss_unlabeled": weight
            * self._weighted(
                soft_kl_divergence(logits[labelled:rows], targets[labelled:]), weights, plan, labelled, step.views
            ),
        }
        if self.margin_weight:
            terms["loss_margin"] = self.margin_weight * self.margin_term(logits[originals])
        yield terms

    @staticmethod
    def _weighted(
        losses: torch.Tensor, weights: torch.Tensor | None, plan: MixPlan, labelled: int, views: int
    ) -> torch.Tensor:
        """
        The mean of the losses `(views * B_u,)` of unlabelled rows. The `weights` `(B_u,)` of their guesses, unsure ones of which
        weigh less, are mixed as the rows of the batch are.
        """
        if weights is None:
            return losses.mean()
        of_rows = torch.cat([weights.new_ones(labelled), weights.repeat(views)])
        lam = plan.lam[: len(of_rows)]
        mixed = lam * of_rows + (1 - lam) * of_rows[plan.index[: len(of_rows)]]
        return (losses * mixed[labelled:]).mean()

    def ramp(self, number: int, total: int) -> float:
        """`w(t)` in `[0, 1]` after `number` of `total` steps."""
        length = total if self.ramp_steps is None else self.ramp_steps
        return min(number / length, 1.0) if length > 0 else 1.0

    def margin_term(self, logits: torch.Tensor) -> torch.Tensor:
        """The margin loss on unmixed predictions `(B_u, C)`, a scalar without its weight."""
        log_probabilities = logits.float().log_softmax(dim=-1)
        probabilities = log_probabilities.exp()
        if self.margin_loss == "squared":
            excess = self.margin - probabilities.square().sum(dim=-1)
        else:
            excess = -(probabilities * log_probabilities).sum(dim=-1) - self.margin
        return excess.clamp_min(0).mean()
