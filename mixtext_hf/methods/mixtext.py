"""MixText (Chen, Yang & Yang, ACL 2020, section 3.2): label guesses for unlabelled texts, and TMix across all of them.

Guesses come with the batch (made once for all texts, before training), or from the model in training, as in the paper. The
method does not know who made the former.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
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
    sharpen,
    soft_kl_divergence,
    to_device,
    to_targets,
)
from mixtext_hf.mixing.balance import align, confidence_weights, running_mean

from .base import Preset, Step
from .collapse import CollapseWatch
from .tmix import TMix


logger = logging.getLogger(__name__)

Within = Literal["all", "kind"]
Targets = Literal["hard", "soft"]
Align = Literal["labelled", "uniform", "off"]
Margin = Literal["squared", "entropy"]


@dataclass(frozen=True)
class MixText(TMix):
    r"""
    Take guessed labels for the unlabelled texts, and mix hidden states and labels across all rows of the batch.

    A step has `B` labelled rows and `B_u` unlabelled texts of `K + 1` views each (the original and its augmentations);
    all `B + (K + 1) B_u` rows are mixed in one pass under one permutation. The defaults are what measured best for guesses made
    before training (`docs/results.md`); the presets `paper` and `official_code` guess in every step, as there.

    Args:
        online (`bool`): Guess with the model in training, in every step, in place of the guesses that come with the texts.
        targets (`"hard"` or `"soft"`):
            Learn the likeliest class of a guess that came with its text, or the guess itself, sharpened. Those of the model in
            training are always soft.
        temperature (`float`): `T` of the sharpening (the paper: 0.3 AG News, 0.5 DBpedia and Yahoo, 1 IMDB); 1: none.
        align (`"labelled"`, `"uniform"`, `"off"` or `tuple[float, ...]`):
            The shares of the classes that guesses of the model in training are drawn to, over a window of steps
            ([`~mixtext_hf.mixing.balance.align`]): those among the labelled rows, equal ones, none, or as given.
        align_decay (`float`): How slowly that window forgets.
        balanced_sharpening (`bool`):
            Divide by the running shares after sharpening and not before: `q_c ~ p_c^(1/T) / f_c` (LOTClass).
        confidence_weights (`bool`): Guesses of the model in training that are less sure than usual weigh less (SoftMatch).
        lambda_u (`float`): Weight of the consistency loss.
        ramp_steps (`int`, *optional*):
            Steps over which that weight grows from 0 to `lambda_u`. `None` = the whole run, as in the official code; 0 =
            there at once, as in the paper.
        view_weights (`"all"`, `"original"` or `tuple[float, ...]`):
            Weights of the views in the guess, the original first, then the views in their order: 1 each, the original
            alone, or as given. Views of weight 0 are not run for the guess.
        guess_dropout (`bool`): Guess with dropout on, as the official code does.
        mix_within (`"all"` or `"kind"`): Whether a labelled row may be mixed with an unlabelled one.
        margin_weight (`float`): `gamma_m`, the weight of the margin loss; 0 as in the official runs.
        margin (`float`): `gamma` of the margin loss.
        margin_loss (`"squared"` or `"entropy"`):
            `max(0, gamma - sum p^2)` of the paper, or `max(0, H(p) - gamma)` of the official code; on unmixed
            predictions of the unlabelled originals.
    """

    alpha: float = 1.0
    online: bool = False
    targets: Targets = "soft"
    temperature: float = 0.7
    align: Align | tuple[float, ...] = "labelled"
    align_decay: float = 0.99
    balanced_sharpening: bool = False
    confidence_weights: bool = False
    lambda_u: float = 1.0
    ramp_steps: int | None = 0
    view_weights: Literal["all", "original"] | tuple[float, ...] = "original"
    guess_dropout: bool = False
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
        if not (is_number(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"temperature must be a positive number, got {self.temperature!r}: 1 leaves the guesses as they are."
            )
        for name in ("lambda_u", "margin_weight", "margin"):
            value = getattr(self, name)
            if not is_number(value) or value < 0:
                raise ValueError(f"{name} must be a number >= 0, got {value!r}.")
        steps = self.ramp_steps
        if steps is not None and (not is_whole(steps) or steps < 0):
            raise ValueError(f"ramp_steps must be a whole number >= 0, or null for the whole run, got {steps!r}.")
        for name in ("online", "guess_dropout", "balanced_sharpening", "confidence_weights"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}.")
        for name, allowed in (("targets", Targets), ("mix_within", Within), ("margin_loss", Margin)):
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
        self._check_view_weights()
        self._check_align()

    def _check_align(self) -> None:
        if not (is_number(self.align_decay) and 0 <= self.align_decay < 1):
            raise ValueError(f"align_decay must lie in [0, 1), got {self.align_decay!r}.")
        if isinstance(self.align, str) and self.align in get_args(Align):
            return
        is_list = isinstance(self.align, Sequence) and not isinstance(self.align, str)
        if not is_list or not all(is_number(share) and share >= 0 for share in self.align):
            raise ValueError(
                f"align must be one of {get_args(Align)} or a list of shares >= 0 in the order of the classes, got {self.align!r}."
            )
        if abs(sum(map(float, self.align)) - 1) > 1e-3:
            raise ValueError(f"align must be shares that sum to 1, got {list(self.align)}.")
        object.__setattr__(self, "align", tuple(map(float, self.align)))

    def _check_view_weights(self) -> None:
        weights = self.view_weights
        if isinstance(weights, str) and weights in ("all", "original"):
            return
        is_list = isinstance(weights, Sequence) and not isinstance(weights, str)
        if not is_list or not all(is_number(weight) and weight >= 0 for weight in weights):
            raise ValueError(
                "view_weights must be 'all', 'original' or a list of numbers >= 0 (the original first, then the views), "
                f"got {weights!r}."
            )
        if not any(weights):
            raise ValueError(
                f"view_weights are {list(weights)}: no view is left to guess from, give at least one a weight > 0."
            )
        object.__setattr__(self, "view_weights", tuple(float(weight) for weight in weights))

    def weights_of(self, views: int) -> tuple[float, ...]:
        """
        The weight of each of the `views` views in the guess, the original first.

        Raises:
            `ValueError`: if `view_weights` lists another number of them.
        """
        if self.view_weights == "all":
            return (1.0,) * views
        if self.view_weights == "original":
            return (1.0,) + (0.0,) * (views - 1)
        if len(self.view_weights) != views:
            raise ValueError(
                f"view_weights has {len(self.view_weights)} weights, {list(self.view_weights)}, but the unlabelled texts "
                f"have {views} views: give one for the original and one for each view."
            )
        return tuple(map(float, self.view_weights))

    def check_views(self, views: int) -> None:
        """Raise `ValueError` for weights of another number of views; warn where there is nothing but the originals."""
        self.weights_of(views)
        if self.online and views == 1:
            logger.warning(
                "The unlabelled texts have no views beside the originals: give view_columns or augmenters, or %s learns "
                "its own sharpened guesses.",
                self.name,
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

    @property
    def needs_evaluation(self) -> bool:
        return self.online and not self.guess_dropout

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

    def given_guess(self, step: Step) -> torch.Tensor:
        """The guesses that came with the texts: `(B_u, C)` float32."""
        if step.text_guesses is None:
            raise ValueError(
                f"{self.name} was given unlabelled texts without guesses: train with MixTrainer, which has them made, or set "
                "online=True to have them guessed by the model in training."
            )
        return step.text_guesses.float()

    def targets_of(self, guess: torch.Tensor) -> torch.Tensor:
        """What is learnt of guesses `(B_u, C)`: float32 of the same shape, rows that sum to 1."""
        if self.targets == "hard" and not self.online:
            return torch.nn.functional.one_hot(guess.argmax(dim=-1), guess.shape[1]).float()
        return sharpen(guess, self.temperature)

    @torch.no_grad()
    def balanced(self, step: Step, guess: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Guesses of the model in training `(B_u, C)` in balance and sharpened, and a weight `(B_u,)` each, if they have one."""
        n_classes = guess.shape[1]
        targets = guess
        if self.align != "off":
            shares = self.shares_wanted(step, n_classes, guess.device)
            mean = running_mean(
                step.memory, "guess_mean", step.average(guess.mean(dim=0)), first=shares, decay=self.align_decay
            )
            if self.balanced_sharpening:
                targets = align(sharpen(guess, self.temperature), mean, shares)
            else:
                targets = sharpen(align(guess, mean, shares), self.temperature)
        else:
            targets = sharpen(guess, self.temperature)
        if not self.confidence_weights:
            return targets, None
        sure = guess.max(dim=-1).values
        even = torch.full((), 1 / n_classes, device=guess.device)
        mean = running_mean(step.memory, "guess_sure", step.average(sure.mean()), first=even, decay=self.align_decay)
        spread = step.average((sure - mean).square().mean())
        variance = running_mean(
            step.memory, "guess_spread", spread, first=torch.ones_like(even), decay=self.align_decay
        )
        return targets, confidence_weights(guess, mean, variance)

    def shares_wanted(self, step: Step, n_classes: int, device: torch.device) -> torch.Tensor:
        """The shares `(C,)` that guesses are drawn to."""
        if self.align == "labelled" and step.label_shares is not None:
            return to_device(step.label_shares, device)
        if isinstance(self.align, tuple):
            if len(self.align) != n_classes:
                raise ValueError(
                    f"align has {len(self.align)} shares, but there are {n_classes} classes: give one for each."
                )
            return to_device(torch.tensor(self.align), device)
        return torch.full((n_classes,), 1 / n_classes, device=device)

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

    @torch.no_grad()
    def guess(self, step: Step, labelled: int) -> torch.Tensor:
        """
        The weighted mean of the predictions for the views of each unlabelled text, not sharpened: `(B_u, C)` float32.

        All views that have a weight go through the model in one pass.
        """
        assert step.text_labels is not None
        texts = len(step.text_labels)
        weights = self.weights_of(step.views)
        used = [view for view, weight in enumerate(weights) if weight > 0]
        starts = [labelled + view * texts for view in used]
        inputs = {
            name: torch.cat([value[start : start + texts] for start in starts]) for name, value in step.inputs.items()
        }
        probabilities = step.forward(inputs, None, dropout=self.guess_dropout).float().softmax(dim=-1)
        total = sum(weights)
        share = to_device(torch.tensor([weights[view] / total for view in used]), probabilities.device)
        return torch.einsum("v,vtc->tc", share, probabilities.reshape(len(used), texts, -1))

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

    def _note_guess(self, step: Step, guess: torch.Tensor, targets: torch.Tensor) -> None:
        """What is logged of guesses `(B_u, C)`, and of the targets `(B_u, C)` that were made of them."""
        assert step.text_labels is not None
        known = (step.text_labels >= 0) & (step.text_labels < guess.shape[1])
        step.note(
            {
                "guess_entropy": torch.special.entr(guess).sum(dim=-1).mean(),
                "guess_texts": torch.full((), float(len(guess)), device=guess.device),
                "guess_share": targets.mean(dim=0),
                "guess_known": known.float().mean(),
                "guess_right": (known & (guess.argmax(dim=-1) == step.text_labels)).float().mean(),
            }
        )

    def summarise(self, averages: dict[str, Any]) -> dict[str, float]:
        """
        Of the guesses: `guess_entropy` (nats, before sharpening), `guess_largest_share` (the largest class's share of the
        targets), `guess_balance` (the entropy of these shares, 1 = all classes alike, 0 = one class) and, where labels
        are known, `guess_accuracy`.
        """
        averages = {name: value for name, value in averages.items() if name != "guess_texts"}
        if (shares := averages.pop("guess_share", None)) is not None:
            averages["guess_largest_share"] = max(shares)
            entropy = -sum(share * math.log(share) for share in shares if share > 0)
            averages["guess_balance"] = entropy / math.log(len(shares)) if len(shares) > 1 else 1.0
        known, right = averages.pop("guess_known", 0.0), averages.pop("guess_right", 0.0)
        if known > 0:
            averages["guess_accuracy"] = right / known
        return averages

    def watch(self, label_shares: Sequence[float] | None = None) -> CollapseWatch:
        return CollapseWatch(self, label_shares)
