"""MixText (Chen, Yang & Yang, ACL 2020, section 3.2): label guesses for unlabelled texts, and TMix, or another mix, across all of them.

Guesses come with the batch (made once for all texts, before training), or from the model in training, as in the paper. The
method does not know who made the former.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_number, is_whole
from mixtext_hf.mixing import (
    HIDDEN_SCORE,
    MixPlan,
    TokenLoss,
    has_label,
    mix_targets,
    soft_kl_divergence,
    to_targets,
)

from .base import MixMethod, Preset, Step
from .citation import Citation
from .guessed_targets import GuessedTargets
from .mix_with import SHARED, MixWith, Pairs, as_pairs, make_part
from .token_guesses import token_losses
from .token_mix import TokenMix, TokenMixture


logger = logging.getLogger(__name__)

Within = Literal["all", "kind"]
Margin = Literal["squared", "entropy"]


class _Learnt(NamedTuple):
    """
    What is learnt of the rows of a batch as they are.

    Args:
        targets (`torch.Tensor` of shape `(B, C)`, float32): Of meaning in rows that are known.
        known (`torch.Tensor` of shape `(B,)`, bool): All but labelled rows whose label is hidden.
        weights (`torch.Tensor` of shape `(B,)`, float32, *optional*): Below 1 for guesses that are unsure; `None`: all 1.
        labelled (`int`): How many rows are labelled; they come first.
        weight (`float`): Of the loss of the others.
    """

    targets: torch.Tensor
    known: torch.Tensor
    weights: torch.Tensor | None
    labelled: int
    weight: float


@dataclass(frozen=True)
class MixText(GuessedTargets):
    r"""
    Take guessed labels for the unlabelled texts, and mix hidden states and labels across all rows of the batch.

    A step has `B` labelled rows and `B_u` unlabelled texts of `K + 1` views each (the original and its augmentations);
    all `B + (K + 1) B_u` rows are mixed in one pass under one permutation, by TMix or by what else `mix_with` names. The defaults
    are what measured best for guesses made before training, mixed by TMix (`docs/results.md`); the presets `paper` and
    `official_code` guess in every step, as there. What says how texts are guessed: [`GuessedTargets`].

    Args:
        lambda_u (`float`): Weight of the consistency loss.
        ramp_steps (`int`, *optional*):
            Steps over which that weight grows from 0 to `lambda_u`. `None` = the whole run, as in the official code; 0 =
            there at once, as in the paper.
        mix_with (`"tmix"`, `"embed_mixup"`, `"ssmix"` or `"puzzle_tmix"`):
            What mixes the rows. `alpha`, `fold`, `per`, `prob`, `partner` and `pad` are those of this method, with its defaults and not
            those of the other, and so are `layers`, of which `None` stands for the other's own. [`SSMix`] draws no lambda and mixes
            no states: `layers`, `pad` and another `alpha` than 1, or 0 to mix nothing, are refused, and `fold` has no part in it. By
            [`SSMix`] and [`PuzzleTMix`] a step is two passes: the losses on the rows as they are, whose gradient is the saliency, and
            those on the mixed ones, weighed by `clean_lam` as in [`TokenMix`]; the margin loss is apart from both. Where the ramp stands
            at 0, in the first step, unlabelled rows have no loss and so no saliency: `saliency_undefined` counts them.
        mix_with_kwargs (`Mapping[str, Any]`, *optional*):
            What hyper-parameters `mix_with` has beside these: `{"share": 0.2}` of ssmix, `{"beta": 0.1}` of puzzle_tmix, `saliency`
            and `clean_lam` of both. Kept as pairs.
        mix_within (`"all"` or `"kind"`): Whether a labelled row may be mixed with an unlabelled one.
        margin_weight (`float`): `gamma_m`, the weight of the margin loss; 0 as in the official runs.
        margin (`float`): `gamma` of the margin loss.
        margin_loss (`"squared"` or `"entropy"`):
            `max(0, gamma - sum p^2)` of the paper, or `max(0, H(p) - gamma)` of the official code; on unmixed
            predictions of the unlabelled originals.

    What the training arguments make of classes that are not equally frequent is for the labelled rows, whose prior is known: class weights
    and logit adjustment are of `L_x` alone, where a labelled row is mixed with an unlabelled one for both shares of its target. `L_u` draws the
    logits as they are to the guesses, which are of whatever shares their guesser took for those of the texts. The labels of Remix are those of
    both losses, by the likeliest class of a guess.
    """

    alpha: float = 1.0
    lambda_u: float = 1.0
    ramp_steps: int | None = 0
    mix_with: MixWith = "tmix"
    mix_with_kwargs: Mapping[str, Any] | Pairs | None = None
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
        for name, allowed in (("mix_with", MixWith), ("mix_within", Within), ("margin_loss", Margin)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, got {getattr(self, name)!r}.")
        if self.partner in ("same_class", "other_class"):
            raise ValueError(
                f"partner={self.partner!r} pairs rows by their class, and {self.name} guesses classes only after the pairs "
                "are drawn: use 'any' or 'nearest_length'."
            )
        if self.mix_within == "kind" and self.partner != "any":
            raise ValueError(f"mix_within='kind' draws the partners itself: drop partner={self.partner!r}.")
        object.__setattr__(self, "mix_with_kwargs", as_pairs(self.mix_with_kwargs))
        by_tokens = self.mixes and isinstance(self.part, TokenMix)
        if self.clean_lam:
            remedy = (
                f"of {self.mix_with} it is one of mix_with_kwargs"
                if by_tokens
                else f"the losses of {self.name} are those of its paper: drop it, or use tmix on the labelled rows alone"
            )
            raise ValueError(
                f"clean_lam={self.clean_lam} adds the loss on rows as they are to that on mixed ones, and {remedy}."
            )
        if by_tokens and self.watches_states and not self.lambda_u:
            raise ValueError(
                f"lambda_u={self.lambda_u} leaves unlabelled rows no loss, whose gradient is where the saliency of their words comes from: "
                'give it a weight above 0, or mix_with_kwargs={"saliency": "random"}.'
            )

    # ---- what mixes ----

    @cached_property
    def part(self) -> MixMethod:
        """The method that mixes the rows."""
        defaults = {name: type(self).__dataclass_fields__[name].default for name in SHARED}
        shared = {name: getattr(self, name) for name in SHARED}
        return make_part(self.mix_with, shared, defaults, as_pairs(self.mix_with_kwargs), of=self.name)

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        return self.part.default_layers(depth)

    @property
    def reads_tokens(self) -> bool:
        return self.part.reads_tokens

    @property
    def draws_lambda(self) -> bool:
        return self.part.draws_lambda

    @property
    def watches_states(self) -> bool:
        return self.part.watches_states

    @property
    def most_passes(self) -> int:
        return self.part.most_passes

    @property
    def formula(self) -> str:
        if self.mix_with == "tmix":
            return super().formula
        inside = ", its l being L" if isinstance(self.part, TokenMix) else ""
        return f"{self.equation.replace('TMix(x)', 'mix(x)')}\nmix: {self.mix_with}{inside}\n{self.part.formula}"

    @property
    def further_citations(self) -> tuple[Citation, ...]:
        if self.mix_with == "tmix":
            return super().further_citations
        papers = (self.part.citation, *self.part.further_citations)
        return tuple(paper for paper in papers if paper is not None and paper != self.citation)

    def hyperparameters(self) -> dict[str, Any]:
        pairs = as_pairs(self.mix_with_kwargs)
        return {**super().hyperparameters(), "mix_with_kwargs": None if pairs is None else dict(pairs)}

    def draw(
        self,
        batch_size: int,
        *,
        labels: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        unlabeled: int = 0,
        **about: Any,
    ) -> MixPlan:
        pairing = self.pairing(batch_size, labels, lengths, unlabeled)
        part = replace(self.part, partner=pairing.pop("partner"))
        return part.draw(batch_size, unlabeled=unlabeled, **pairing, **about)

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

    # ---- what is minimised ----

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        if isinstance(step.loss, TokenLoss):
            yield from token_losses(self, step, self.lambda_u * self.ramp(step.number, step.total))
            return
        if step.text_labels is None:
            raise ValueError(f"{self.name} was given a batch without unlabelled texts: give `unlabeled_dataset`.")
        rows, texts = len(step.labels), len(step.text_labels)
        labelled = rows - texts * step.views
        learnt = self._learnt(step, labelled)
        plan = step.plan.among(learnt.known)

        part, mixture = self.part, TokenMixture(step.inputs, plan.lam, plan)
        share, share_of_clean, is_mixed = 1.0, 0.0, plan.layer is not None
        if isinstance(part, TokenMix) and not step.plan.is_identity:
            part.check_segments(step)
            is_mixed, seen = True, None
            share, share_of_clean = 1 / (1 + part.clean_lam), part.clean_lam / (1 + part.clean_lam)
            if part.watches_states:
                logits, watched = part.watch_states(step, plan)
                yield self._clean_terms(step, logits, learnt, share_of_clean)
                seen, share_of_clean = part.look(watched, step, learnt.known), 0.0
            mixture = part.mix(step, plan, seen)
        step.show("weight", mixture.weight)

        # Behind the mixed rows, as they are: all of them, where their loss had no pass of its own, or else the originals, for the
        # margin loss looks at unmixed predictions.
        inputs, inside, originals = mixture.inputs, mixture.inside, slice(labelled, labelled + texts)
        behind: slice | None = None
        if share_of_clean:
            behind, originals = slice(0, rows), slice(rows + labelled, rows + labelled + texts)
        elif is_mixed and self.margin_weight:
            behind, originals = originals, slice(rows, rows + texts)
        if behind is not None:
            inputs = {name: torch.cat([value, step.inputs[name][behind]]) for name, value in inputs.items()}
            inside = None if inside is None else inside.extended(behind.stop - behind.start)
        logits = step.forward(inputs, inside)

        step.note({"unlabeled_weight": torch.full((), learnt.weight, device=logits.device)})
        mixed = self._terms(step, logits[:rows], learnt, plan, mixture.weight)
        terms = {name: share * value for name, value in mixed.items()}
        if share_of_clean:
            terms |= self._clean_terms(step, logits[rows:], learnt, share_of_clean)
        if self.margin_weight:
            terms["loss_margin"] = self.margin_weight * self.margin_term(logits[originals])
        yield terms

    def _learnt(self, step: Step, labelled: int) -> _Learnt:
        if self.online:
            guess = self.guess(step, labelled)
            guessed, weights = self.balanced(step, guess)
        else:
            guess, weights = self.given_guess(step), None
            guessed = self.targets_of(guess)
        self._note_guess(step, guess, guessed)
        # One row for each of the batch, (B + (K + 1) B_u, C): the guess of a text stands for all its views.
        own = to_targets(step.labels[:labelled], num_labels=guess.shape[1])
        if weights is not None:
            weights = torch.cat([weights.new_ones(labelled), weights.repeat(step.views)])
        # A labelled row whose label is hidden after all has no target: it is not mixed and has no loss.
        known = has_label(step.labels)
        known[labelled:] = True
        return _Learnt(
            targets=torch.cat([own, guessed.repeat(step.views, 1)]),
            known=known,
            weights=weights,
            labelled=labelled,
            weight=self.lambda_u * self.ramp(step.number, step.total),
        )

    def _clean_terms(self, step: Step, logits: torch.Tensor, learnt: _Learnt, share: float) -> dict[str, torch.Tensor]:
        """The share that the losses on the rows as they are have in the whole."""
        terms = self._terms(step, logits, learnt)
        return {
            "loss_clean": share * terms["loss_supervised"],
            "loss_clean_unlabeled": share * terms["loss_unlabeled"],
        }

    @staticmethod
    def _terms(
        step: Step, logits: torch.Tensor, learnt: _Learnt, plan: MixPlan | None = None, lam: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """The losses on all rows, by their `logits` `(B, C)`: as they are, or mixed with the partners of a plan, by the weights `lam` `(B,)`."""
        targets, known, weights, labelled, weight = learnt
        if plan is not None and lam is not None:
            lam = step.loss.label_weight(targets, plan.index, lam)
            targets = mix_targets(targets, plan.index, lam, num_labels=targets.shape[1])
            if weights is not None:
                weights = lam * weights + (1 - lam) * weights[plan.index]
        targets = targets.masked_fill(~known.unsqueeze(-1), HIDDEN_SCORE)
        of_unlabelled = soft_kl_divergence(logits[labelled:], targets[labelled:])
        if weights is not None:
            of_unlabelled = of_unlabelled * weights[labelled:]
        return {
            "loss_supervised": step.loss(logits[:labelled], targets[:labelled]),
            "loss_unlabeled": weight * of_unlabelled.mean(),
        }

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

    def summarise(self, averages: dict[str, Any]) -> dict[str, float]:
        return self.part.summarise(super().summarise(averages))
