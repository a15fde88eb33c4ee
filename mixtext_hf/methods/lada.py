"""LADA (Chen et al., EMNLP 2020): mixing for named entity recognition, within a sentence and between sentences that are near."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from mixtext_hf._numbers import is_number, is_whole
from mixtext_hf.mixing import (
    IGNORE_INDEX,
    MixPlan,
    TokenLoss,
    TokenOrder,
    TokenShares,
    permute_places,
    to_token_targets,
)

from .base import MixMethod, Preset, Step, is_by_row, scaled_layers
from .citation import Citation


@dataclass(frozen=True)
class LADA(MixMethod):
    r"""
    Mix the hidden states of a sentence with those of its own words in another order (Intra-LADA), or with those of another sentence
    (Inter-LADA): one of the `k` nearest in the training data with probability `mu`, else any.

    Which it is, is drawn for a step. Within a sentence the positions that have a label change places, and their labels with them; the
    others stay. How near sentences are, the encoder says as it is before training, by the cosine of mean pooled states. Of partners
    only what they add to a row is learnt: a batch has twice the rows, of which half have a loss.

    The defaults are those of the commands in the README of the authors' code: Beta(60, 1.5), at least 1/2, layers {8, 9, 10} of 12,
    `k` 5 and `mu` 0.5; half of the steps of each kind is ours (there it is one or the other, presets `intra` and `inter`). That code
    mixes within a sentence behind the last layer, with words drawn with repetition; here it is a permutation at a layer of the set, as in
    the paper. What the paper does with sentences without labels is not part of it: `mixtext`, with guesses of the model in training.

    Args:
        alpha, beta (`float`): `lam ~ Beta(alpha, beta)`; `beta=None`: `Beta(alpha, alpha)`.
        intra (`float`): Chance that a step mixes within sentences; 1: Intra-LADA, 0: Inter-LADA.
        k (`int`): How many sentences are near.
        mu (`float`): Chance that a partner is one of these.
    """

    alpha: float = 60.0
    fold: bool = True
    beta: float | None = 1.5
    intra: float = 0.5
    k: int = 5
    mu: float = 0.5

    name: ClassVar[str] = "lada"
    equation: ClassVar[str] = (
        "h_m <- lam h_m(x_i) + (1 - lam) h_m(x'),  y <- lam y_i + (1 - lam) y',  x' = x_i permuted, or x_j near x_i,  "
        "lam ~ Beta(alpha, beta)"
    )
    labels_texts: ClassVar[bool] = False
    presets: ClassVar[dict[str, Preset]] = {"intra": Preset({"intra": 1.0}, {}), "inter": Preset({"intra": 0.0}, {})}
    citation: ClassVar[Citation] = Citation(
        authors="Chen, J., Wang, Z., Tian, R., Yang, Z. and Yang, D.",
        title="Local Additivity Based Data Augmentation for Semi-supervised NER",
        venue="EMNLP",
        year=2020,
        url="https://aclanthology.org/2020.emnlp-main.95",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta is not None and not (is_number(self.beta) and self.beta > 0):
            raise ValueError(f"beta must be a number > 0, or null for that of alpha, got {self.beta!r}.")
        for name in ("intra", "mu"):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value <= 1):
                raise ValueError(f"{name} must lie in [0, 1], got {value!r}.")
        if not is_whole(self.k) or self.k < 1:
            raise ValueError(f"k must be a whole number >= 1, got {self.k!r}.")
        if self.partner != "any" or self.per != "batch":
            raise ValueError(
                f"lada finds the partners itself, and draws one lambda for a batch: leave out partner={self.partner!r} and per={self.per!r}."
            )
        if self.clean_lam:
            raise ValueError(
                f"clean_lam={self.clean_lam}: the loss of lada is that of its paper, on mixed rows alone: leave it out, or use tmix."
            )
        if self.layers is not None and "head" in self.layers:
            raise ValueError("mix_layers 'head' is of whole texts, and lada mixes tokens: name layer numbers.")

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        return scaled_layers((8, 9, 10), depth)

    @property
    def draws_by_token(self) -> bool:
        return True

    @property
    def fetches_partners(self) -> bool:
        return self.alpha > 0 and self.prob > 0 and self.intra < 1

    def draw(
        self,
        batch_size: int,
        *,
        depth: int,
        rng: np.random.Generator,
        text_length: int | None = None,
        **about: Any,
    ) -> MixPlan:
        """
        [`MixMethod.draw`] for sentences of `text_length` tokens. Where partners are fetched they are the second half of the rows: a plan within
        sentences has a [`TokenOrder`], one between them pairs row `i` with row `B / 2 + i`.
        """
        if text_length is None:
            raise ValueError("lada mixes sentences by their tokens: give text_length, that of the padded batch.")
        is_mixed, is_intra = rng.random() < self.prob, rng.random() < self.intra
        layers = self.layer_set(depth) or ()
        layer = layers[int(rng.integers(len(layers)))]
        numbers = rng.random((batch_size, text_length), dtype=np.float32)
        if self.alpha == 0 or not is_mixed:
            return MixPlan.identity(batch_size)
        lam = float(np.float32(rng.beta(self.alpha, self.alpha if self.beta is None else self.beta)))
        lam = max(lam, 1 - lam) if self.fold else lam
        own = torch.arange(batch_size)
        if is_intra:
            lams = torch.full((batch_size,), lam)
            return MixPlan(own, lams, layer, self.pad, TokenOrder(torch.from_numpy(numbers)))
        half = batch_size // 2
        return MixPlan(torch.cat([own[half:], own[half:]]), torch.full((batch_size,), lam), layer, self.pad)

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        loss, plan = step.loss, step.plan
        if not isinstance(loss, TokenLoss):
            raise TypeError(
                f"lada learns a label for each token, and the loss is a {type(loss).__name__}: use tmix for texts."
            )
        rows = len(step.labels) - (0 if step.partner_labels is None else len(step.partner_labels))
        labels = step.labels[:rows]
        targets = to_token_targets(labels, num_labels=loss.num_labels)
        if isinstance(plan.detail, TokenOrder) or plan.is_identity:
            # The partners, if there are any, have no part in it.
            inputs = {
                name: value[:rows] if is_by_row(value, len(step.labels)) else value
                for name, value in step.inputs.items()
            }
            inside: MixPlan | None = None
            if isinstance(plan.detail, TokenOrder):
                places = labels != IGNORE_INDEX
                sources = permute_places(plan.detail.numbers[:rows], places)
                stays = torch.arange(labels.shape[1], device=labels.device).expand_as(labels)
                lam = plan.lam[:rows].unsqueeze(1)
                shares = TokenShares(torch.where(places, lam, 1.0), (stays, sources))
                inside = MixPlan(plan.index[:rows], plan.lam[:rows], plan.layer, plan.pad, shares)
                moved = targets.gather(1, sources.unsqueeze(-1).expand_as(targets))
                targets = torch.lerp(moved, targets, lam.unsqueeze(-1))
            logits = step.forward(inputs, inside)
        else:
            if step.partner_labels is None:
                raise ValueError(
                    "lada mixes a sentence with another one of the data, and the batch has none: train with MixTrainer, which fetches them, or "
                    "use intra=1."
                )
            partners = to_token_targets(step.partner_labels, num_labels=loss.num_labels)
            both = torch.cat([labels, step.partner_labels])
            inside = plan.among(loss.rows_with_label(both))
            takes_part = (inside.index[:rows] >= rows).view(-1, 1, 1)
            lam = plan.lam[:rows].view(-1, 1, 1)
            targets = torch.where(takes_part, torch.lerp(partners, targets, lam), targets)
            logits = step.forward(step.inputs, inside)[:rows]
        yield {"loss_supervised": loss.of_targets(logits, targets).sum() / loss.count(labels).clamp(min=1)}
