"""SSMix (Yoon, Kim & Park, Findings of ACL 2021): the least salient span of a text gives way to the most salient one of its partner.

How spans are chosen and pasted is in `mixing/spans.py`; here is what a training step makes of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import MixPlan, SpanDraws, has_label
from mixtext_hf.mixing.saliency import is_degenerate
from mixtext_hf.mixing.spans import paste_spans, token_saliency

from .base import MixMethod, Preset, Step
from .citation import Citation


TOKENS = "input_ids"
# A text alone is the first sentence of a pair.
SENTENCES = 2

Saliency = Literal["gradient", "random"]

# Why a hyper-parameter of the other methods has no part in this one.
_IDLE = {
    "layers": "is for methods that mix inside the model, such as tmix",
    "pad": "is for methods that mix inside the model, such as tmix",
    "fold": "is for methods that draw a lambda: here `share` says how much comes from the partner",
}
# Below 1 in float32: a row of weight 1 would have no partner.
_MOST_KEPT = 1 - 2.0**-24


@dataclass(frozen=True)
class SSMix(MixMethod):
    r"""
    Replace a span of each sentence by one of the same sentence of the partner, in the ids of the tokens: it mixes for any classifier
    of texts. Special tokens and padding stay where they are.

    The saliency comes from the backward pass of the loss on the texts as they are, which is trained on too: no further pass is made.
    It is the gradient with respect to the output of the embeddings, as in the official code; in models that cannot be mixed inside, with
    respect to the word embeddings. It says little before the model has learnt something: give `mix_start`, or a model that is trained already, as the paper does
    (preset `paper`). There is no lambda: `alpha` has no part in it, but that 0 mixes nothing.

    Args:
        share (`float`): Of a sentence that is replaced, in `(0, 1]`, one token at least.
        saliency (`"gradient"` or `"random"`): What chooses the spans; `"random"`: chance, as an ablation, in one pass.
        contiguous (`bool`): Whether tokens stand next to each other; `False`: the single most and least salient ones, as an ablation.
        clean_lam (`float`):
            Weight of the loss on the texts as they are, beside that on the mixed ones; the loss is the mean of both by these weights,
            with 1 half of each. By the gradient it must be above 0.
    """

    share: float = 0.1
    saliency: Saliency = "gradient"
    contiguous: bool = True
    clean_lam: float = 1.0

    name: ClassVar[str] = "ssmix"
    equation: ClassVar[str] = (
        "x <- x_i with its span s_i replaced by the span s_j of x_j,  s_i = argmin, s_j = argmax of mean |d l(x) / d e|,\n"
        "y <- lam y_i + (1 - lam) y_j,  lam = 1 - |s_i| / |x_i|,  L = (l(mixed rows) + clean_lam l(clean rows)) / (1 + clean_lam)"
    )
    reads_tokens: ClassVar[bool] = True
    draws_lambda: ClassVar[bool] = False
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
        if self.saliency not in get_args(Saliency):
            raise ValueError(f"saliency must be one of {get_args(Saliency)}, got {self.saliency!r}.")
        if not isinstance(self.contiguous, bool):
            raise ValueError(f"contiguous must be true or false, got {self.contiguous!r}.")
        if self.watches_states and not self.clean_lam:
            raise ValueError(
                "clean_lam=0 leaves out the loss on the texts as they are, whose backward pass is where the saliency comes from: give "
                'it a weight above 0, or saliency="random".'
            )

    # ---- what is drawn ----

    def draw(
        self, batch_size: int, *, rng: np.random.Generator, text_length: int | None = None, **about: Any
    ) -> MixPlan:
        """[`MixMethod.draw`]; single tokens that are drawn by chance need `text_length`, that of the padded texts."""
        plan = super().draw(batch_size, rng=rng, **about)
        detail = self._chance(batch_size, rng, text_length)
        if plan.is_identity:
            return plan
        lam = torch.where(plan.lam == 1, 1.0, min(1 - self.share, _MOST_KEPT))
        return replace(plan, lam=lam, detail=detail)

    def _chance(self, batch_size: int, rng: np.random.Generator, text_length: int | None) -> SpanDraws | None:
        if self.saliency != "random":
            return None
        if self.contiguous:
            return SpanDraws(torch.from_numpy(rng.random((batch_size, SENTENCES, 2), dtype=np.float32)))
        if text_length is None:
            raise ValueError(f"{self.name} draws a number for each token: give text_length, that of the padded texts.")
        # A generator for each row: longer padding takes more numbers from each, and they stay the same.
        numbers = [child.random(text_length, dtype=np.float32) for child in rng.spawn(batch_size)]
        return SpanDraws(torch.from_numpy(np.stack(numbers)))

    # ---- what is minimised ----

    @property
    def watches_states(self) -> bool:
        return self.saliency == "gradient"

    @property
    def most_passes(self) -> int:
        return 2 if self.watches_states else 1

    @property
    def sees_clean_rows(self) -> bool:
        # Where the saliency is the gradient of their loss, they have a pass of their own before there is anything mixed.
        return super().sees_clean_rows and not self.watches_states

    @property
    def further_citations(self) -> tuple[Citation, ...]:
        # The loss on clean rows is of its own paper.
        return ()

    @property
    def formula(self) -> str:
        chosen = "" if self.watches_states else "\ns_i, s_j drawn by chance"
        return self.equation + chosen + ("" if self.contiguous else "\ns_i, s_j of single tokens")

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        if step.plan.is_identity:
            yield {"loss_supervised": step.loss(step.forward(step.inputs), step.labels)}
            return
        # A row that has no label, or whose partner has none, stays itself.
        plan = step.plan.among(has_label(step.labels))
        share_of_mixed = 1 / (1 + self.clean_lam)
        if step.segments is None:
            raise TypeError(
                f"{self.name} replaces words alone, and the step has no `segments` that tell which tokens are some."
            )
        saliency = None
        if self.watches_states:
            if step.watching_forward is None:
                raise TypeError(
                    f"{self.name} asks how much a token matters to the loss, and the step has no `watching_forward` that would tell it."
                )
            # The gradient of this loss serves twice: for the parameters and as saliency.
            logits, watched = step.watching_forward(step.inputs)
            clean = step.loss.size * step.loss.cross_entropy(logits, step.labels)
            yield {"loss_clean": self.clean_lam * share_of_mixed * clean}
            saliency = token_saliency(watched.gradient, step.segments)
            # Rows without a label have no gradient, and need none.
            undefined = is_degenerate(saliency.unsqueeze(2)) & has_label(step.labels)
            step.note({"saliency_undefined": undefined.float().mean()})
        draws = plan.detail.numbers if isinstance(plan.detail, SpanDraws) else None
        pasted = paste_spans(
            step.inputs[TOKENS],
            plan.index,
            step.segments,
            sentences=SENTENCES,
            saliency=saliency,
            draws=draws,
            share=self.share,
            contiguous=self.contiguous,
        )
        step.note({"mix_weight": pasted.weight.mean()})
        terms = self.supervised(step, {**step.inputs, TOKENS: pasted.input_ids}, plan, pasted.weight)
        yield {name: share_of_mixed * value for name, value in terms.items()}
