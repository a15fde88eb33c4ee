"""SSMix (Yoon, Kim & Park, Findings of ACL 2021): the least salient span of a text gives way to the most salient one of its partner.

How spans are chosen and pasted is in `mixing/spans.py`; here is what a training step makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import MixPlan, SpanDraws
from mixtext_hf.mixing.spans import paste_spans, token_saliency

from .base import Preset, Step, Watched
from .citation import Citation
from .token_mix import TOKENS, Seen, TokenMix, TokenMixture


# A text alone is the first sentence of a pair.
SENTENCES = 2

# Why a hyper-parameter of the other methods has no part in this one.
_IDLE = {
    "layers": "is for methods that mix inside the model, such as tmix",
    "pad": "is for methods that mix inside the model, such as tmix",
    "fold": "is for methods that draw a lambda: here `share` says how much comes from the partner",
}
# Below 1 in float32: a row of weight 1 would have no partner.
_MOST_KEPT = 1 - 2.0**-24


@dataclass(frozen=True)
class SSMix(TokenMix):
    r"""
    Replace a span of each sentence by one of the same sentence of the partner, in the ids of the tokens: it mixes for any classifier
    of texts. Special tokens and padding stay where they are.

    The saliency comes from the backward pass of the loss on the texts as they are, which is trained on too: no further pass is made.
    It is the gradient with respect to the output of the embeddings, as in the official code; in models that cannot be mixed inside, with
    respect to the word embeddings. It says little before the model has learnt something: give `mix_start`, or a model that is trained already, as the paper does
    (preset `paper`). There is no lambda: `alpha` has no part in it, but that 0 mixes nothing.

    Args:
        share (`float`): Of a sentence that is replaced, in `(0, 1]`, one token at least.
        contiguous (`bool`): Whether tokens stand next to each other; `False`: the single most and least salient ones, as an ablation.
        saliency (`"gradient"` or `"random"`): What chooses the spans, see [`TokenMix`], which says what `clean_lam` and `saliency_every` are too.
    """

    share: float = 0.1
    contiguous: bool = True

    name: ClassVar[str] = "ssmix"
    equation: ClassVar[str] = (
        "x <- x_i with its span s_i replaced by the span s_j of x_j,  s_i = argmin, s_j = argmax of mean |d l(x) / d e|,\n"
        "y <- lam y_i + (1 - lam) y_j,  lam = 1 - |s_i| / |x_i|,  L = (l(mixed rows) + clean_lam l(clean rows)) / (1 + clean_lam)"
    )
    presets: ClassVar[dict[str, Preset]] = {
        # The authors train plainly for 3 epochs at 5e-5, and from the best of these models on, mixed, for 5 epochs at 1e-5. One run
        # has one schedule: it mixes in the last 5 of 8 epochs, at 3e-5 first and at 1.5e-5 in the mean.
        "paper": Preset(
            {"share": 0.1, "saliency": "gradient", "contiguous": True, "clean_lam": 1.0},
            {
                "mix_start": 0.375,
                "learning_rate": 5e-5,
                "head_learning_rate": 5e-5,
                "per_device_train_batch_size": 32,
                "lr_scheduler_type": "linear",
                "warmup_steps": 0.1,
                "weight_decay": 1e-4,
                "max_grad_norm": 1.0,
            },
        )
    }
    citation: ClassVar[Citation] = Citation(
        authors="Yoon, S., Kim, G. and Park, K.",
        title="SSMix: Saliency-Based Span Mixup for Text Classification",
        venue="Findings of ACL",
        year=2021,
        url="https://arxiv.org/abs/2106.08062",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, why in _IDLE.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"mix_{name}={getattr(self, name)} was given, but {self.name} replaces tokens, and {name} {why}; drop it."
                )
        if self.alpha not in (0, 1):
            raise ValueError(
                f"mix_alpha={self.alpha} was given, but {self.name} draws no lambda: give `share`, how much of a sentence comes from "
                "the partner, or mix_alpha=0 to mix nothing."
            )
        if not is_number(self.share) or not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {self.share!r}.")
        if not isinstance(self.contiguous, bool):
            raise ValueError(f"contiguous must be true or false, got {self.contiguous!r}.")

    # ---- what is drawn ----

    @property
    def draws_lambda(self) -> bool:
        return False

    def draw(self, batch_size: int, *, rng: np.random.Generator, **about: Any) -> MixPlan:
        plan = super().draw(batch_size, rng=rng, **about)
        if plan.is_identity:
            return plan
        return replace(plan, lam=torch.where(plan.lam == 1, 1.0, min(1 - self.share, _MOST_KEPT)))

    def chance(self, batch_size: int, rng: np.random.Generator, text_length: int | None) -> SpanDraws:
        if self.contiguous:
            return SpanDraws(torch.from_numpy(rng.random((batch_size, SENTENCES, 2), dtype=np.float32)))
        return super().chance(batch_size, rng, text_length)

    # ---- what is minimised ----

    @property
    def further_citations(self) -> tuple[Citation, ...]:
        # The loss on clean rows is of its own paper.
        return ()

    @property
    def formula(self) -> str:
        chosen = "" if self.watches_states else "\ns_i, s_j drawn by chance"
        return self.equation + chosen + ("" if self.contiguous else "\ns_i, s_j of single tokens") + self.kept_formula

    def token_saliency(self, watched: Watched, segments: torch.Tensor) -> torch.Tensor:
        return token_saliency(watched.gradient, segments)

    def mix(self, step: Step, plan: MixPlan, seen: Seen | None) -> TokenMixture:
        assert step.segments is not None
        pasted = paste_spans(
            step.inputs[TOKENS],
            plan.index,
            step.segments,
            sentences=SENTENCES,
            saliency=None if seen is None else seen.saliency,
            draws=plan.detail.numbers if isinstance(plan.detail, SpanDraws) else None,
            share=self.share,
            contiguous=self.contiguous,
        )
        step.note({"mix_weight": pasted.weight.mean()})
        if seen is not None:
            step.show("saliency", seen.saliency)
        is_own, position = pasted.source < 0, torch.arange(pasted.source.shape[1], device=pasted.source.device)
        step.show("mask", is_own.float())
        step.show("sources", torch.stack([position.expand_as(is_own), pasted.source.where(~is_own, position)], dim=2))
        return TokenMixture({**step.inputs, TOKENS: pasted.input_ids}, pasted.weight)
