"""PuzzleMix (Kim, Choo & Song, ICML 2020) in the hidden states of a text encoder: TMix with a mask over the tokens.

What is minimised, and why it is exact on a sentence, is in `mixing/sentence_puzzle.py`; here is what a training step makes of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch

from mixtext_hf._numbers import is_number, is_whole
from mixtext_hf.mixing import HEAD, MixPlan, SpanDraws, TokenShares
from mixtext_hf.mixing.sentence_puzzle import LabelWeight, Special, kept_by_saliency, sentence_puzzle, token_shares
from mixtext_hf.mixing.spans import state_saliency
from mixtext_hf.mixing.token_transport import move_tokens, transport_tokens

from .base import Step, Watched, scaled_layers
from .citation import Citation
from .constant_masks import CONSTANT, MASKS, share_constant
from .pixels import check_not_negative
from .puzzlemix import PuzzleMix
from .tmix import TMix
from .token_mix import Seen, TokenMix, TokenMixture


@dataclass(frozen=True)
class PuzzleTMix(TokenMix):
    r"""
    Mix the hidden states of two texts at a drawn layer by a mask over the tokens that keeps what is salient in either.

    A step is a pass of the texts as they are, whose loss is learnt from and whose gradient at that layer is the saliency of the
    tokens, and a pass of the mixed ones (`saliency`, `saliency_every` and `clean_lam`: see [`TokenMix`]). No official code exists: this method is this
    package's.

    Args:
        n_labels (`int`): Mask levels `{0, 1/m, .., 1}`, `m = n_labels - 1`.
        beta (`float`): The cost of a seam between both texts, as a share of the saliency of one.
        gamma (`float`): How much dearer a seam is where the hidden states do not go on alike, in units of `beta`.
        eta (`float`): Weight of the prior that ties the mask to `lam`.
        xi (`float`, *optional*): Price of moving a token by one position, in saliencies of an average token; `None`: nothing is moved.
        special (`"lam"` or `"own"`): What special tokens are mixed by: the drawn weight, or not at all.
        label_weight (`"count"` or `"saliency"`): By which share of what is shown the label is weighed.
    """

    alpha: float = 0.2
    pad: Literal["mix", "keep"] = "keep"
    n_labels: int = 3
    beta: float = 0.075
    gamma: float = 0.0
    eta: float = 0.2
    xi: float | None = None
    special: Special = "lam"
    label_weight: LabelWeight = "count"

    name: ClassVar[str] = "puzzle_tmix"
    equation: ClassVar[str] = (
        "min_z -sum (1 - z_i) s_i - sum z_i s'_i + beta sum (z_i - z_{i+1})^2 - eta / n sum log p(z_i),  "
        "h_m <- (1 - z) h_m(x_i) + z h_m(x_j),\n"
        "L = (l(mixed rows) + clean_lam l(clean rows)) / (1 + clean_lam)"
    )
    citation: ClassVar[Citation] = PuzzleMix.citation

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(beta=self.beta, gamma=self.gamma, eta=self.eta)
        if not is_whole(self.n_labels) or self.n_labels < 2:
            raise ValueError(f"n_labels must be a whole number >= 2, got {self.n_labels!r}.")
        if self.xi is not None and (not is_number(self.xi) or self.xi < 0):
            raise ValueError(f"xi must be a finite number >= 0, or null where nothing is moved, got {self.xi!r}.")
        for name, allowed in (("special", Special), ("label_weight", LabelWeight)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} must be one of {get_args(allowed)}, got {getattr(self, name)!r}.")
        if self.gamma and not self.watches_states:
            raise ValueError(
                f"gamma={self.gamma} compares hidden states, and saliency={self.saliency!r} makes no pass that shows them: leave out one."
            )
        if self.gamma and self.keeps_rows:
            raise ValueError(
                f"gamma={self.gamma} compares hidden states of the pass that saliency_every={self.saliency_every} saves: set gamma to 0, or "
                "saliency_every to 1."
            )
        if HEAD in (self.layers or ()):
            raise ValueError(
                f"mix_layers={list(self.layers or ())}: the head reads one vector a text, and there are no tokens to choose from: name "
                "layers by number."
            )

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        return scaled_layers((3, 6, 9), depth)

    @property
    def formula(self) -> str:
        moved = (
            ""
            if self.xi is None
            else "\nwith the salient tokens of either moved, in their order, to where z shows them"
        )
        drawn = "" if self.watches_states else "\ns_i, s'_i drawn by chance"
        return self.equation + moved + drawn + self.kept_formula

    @property
    def further_citations(self) -> tuple[Citation, ...]:
        return (TMix.citation,)

    def token_saliency(self, watched: Watched, segments: torch.Tensor) -> torch.Tensor:
        assert watched.states is not None
        return state_saliency(watched.gradient, watched.states, segments)

    def mix(self, step: Step, plan: MixPlan, seen: Seen | None) -> TokenMixture:
        assert step.segments is not None
        if seen is None:
            assert isinstance(plan.detail, SpanDraws)
            seen = Seen(plan.detail.numbers[:, : step.segments.shape[1]])
        shares, weight = self.mask(plan, seen, step)
        step.note({"mix_weight": weight.mean(), **_constant_masks(shares.own, plan.index, step.segments)})
        step.show("saliency", seen.saliency)
        step.show("mask", shares.own)
        if shares.sources is not None:
            step.show("sources", torch.stack(shares.sources, dim=2))
        return TokenMixture(step.inputs, weight, replace(plan, detail=shares))

    @torch.no_grad()
    def mask(self, plan: MixPlan, seen: Seen, step: Step) -> tuple[TokenShares, torch.Tensor]:
        """
        What each token keeps of itself, and the label weight `(B,)` of the rows, float32.

        Args:
            plan ([`MixPlan`]): The partners, and the weights that were drawn.
            seen ([`Seen`]): Of the tokens of the rows.
            step ([`Step`]): Whose segments and attention mask are looked at.
        """
        assert step.segments is not None
        z, weight = sentence_puzzle(
            seen.saliency,
            plan.index,
            plan.lam,
            step.segments,
            attention_mask=step.inputs.get("attention_mask"),
            hidden_states=seen.states if self.gamma else None,
            n_labels=self.n_labels,
            beta=self.beta,
            gamma=self.gamma,
            eta=self.eta,
            pad=plan.pad,
            special=self.special,
            label_weight=self.label_weight,
        )
        if self.xi is None:
            return TokenShares(1 - z), weight
        own_share, segments = token_shares(seen.saliency, step.segments), step.segments
        partner_share = own_share[plan.index]
        sources = (
            transport_tokens(1 - z, own_share, segments, self.xi),
            transport_tokens(z, partner_share, segments[plan.index], self.xi),
        )
        if self.label_weight == "saliency":
            own_share, partner_share = move_tokens(own_share, sources[0]), move_tokens(partner_share, sources[1])
            weight = kept_by_saliency(z, own_share, partner_share, weight)
        return TokenShares(1 - z, sources), weight

    def summarise(self, averages: dict[str, Any]) -> dict[str, float]:
        """Of the masks: `mask_constant`, the share of those that are of one level throughout, among the rows that have a partner."""
        return share_constant(averages)


def _constant_masks(own: torch.Tensor, index: torch.Tensor, segments: torch.Tensor) -> dict[str, torch.Tensor]:
    """How many rows mix with another, and how many of these by a mask `(B, T)` of one level wherever both have a word."""
    is_chosen = (segments > 0) & (segments[index] > 0)
    is_mixed = index != torch.arange(len(index), device=index.device)
    lowest, highest = own.where(is_chosen, torch.inf).amin(dim=1), own.where(is_chosen, -torch.inf).amax(dim=1)
    return {MASKS: is_mixed.sum(), CONSTANT: (is_mixed & (lowest >= highest)).sum()}
