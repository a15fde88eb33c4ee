"""What is learnt of texts without a label: guesses that came with them, or of the model in training, kept in balance and sharpened."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import sharpen, to_device
from mixtext_hf.mixing.balance import align, confidence_weights, running_mean

from .base import Step
from .collapse import CollapseWatch
from .tmix import TMix


logger = logging.getLogger(__name__)

Targets = Literal["hard", "soft"]
Align = Literal["labelled", "uniform", "off"]


@dataclass(frozen=True)
class GuessedTargets(TMix):
    r"""
    Base of the methods that learn guessed labels of texts, `K + 1` views each (the original and its augmentations).

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
        view_weights (`"all"`, `"original"` or `tuple[float, ...]`):
            Weights of the views in the guess, the original first, then the views in their order: 1 each, the original
            alone, or as given. Views of weight 0 are not run for the guess.
        guess_dropout (`bool`): Guess with dropout on, as the official code does.
    """

    online: bool = False
    targets: Targets = "soft"
    temperature: float = 0.7
    align: Align | tuple[float, ...] = "labelled"
    align_decay: float = 0.99
    balanced_sharpening: bool = False
    confidence_weights: bool = False
    view_weights: Literal["all", "original"] | tuple[float, ...] = "original"
    guess_dropout: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (is_number(self.temperature) and self.temperature > 0):
            raise ValueError(
                f"temperature must be a positive number, got {self.temperature!r}: 1 leaves the guesses as they are."
            )
        for name in ("online", "guess_dropout", "balanced_sharpening", "confidence_weights"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be true or false, got {getattr(self, name)!r}.")
        if self.targets not in get_args(Targets):
            raise ValueError(f"targets must be one of {get_args(Targets)}, got {self.targets!r}.")
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

    @property
    def needs_evaluation(self) -> bool:
        return self.online and not self.guess_dropout

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
