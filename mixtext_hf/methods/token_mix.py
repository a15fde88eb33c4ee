"""What methods have in common that mix texts token by token, by how much each token matters to the loss on the texts as they are.

The saliency comes from the backward pass of that loss, which is learnt from too: a step is two passes, and no third one is made.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_whole
from mixtext_hf.mixing import MixPlan, SpanDraws, has_label
from mixtext_hf.mixing.saliency import is_degenerate

from .base import MixMethod, Step, Watched
from .kept_rows import or_one, rows_of
from .kept_tokens import keep_texts, kept_texts, texts_due


TOKENS = "input_ids"

Saliency = Literal["gradient", "random"]


class TokenMixture(NamedTuple):
    """
    The mixed rows of a step.

    Args:
        inputs (`dict[str, torch.Tensor]`): What the model reads.
        weight (`torch.Tensor` of shape `(B,)`, float32): The realised weight of each row's own label.
        inside ([`MixPlan`], *optional*): What the model mixes by; `None`: its inputs are mixed already.
    """

    inputs: dict[str, Any]
    weight: torch.Tensor
    inside: MixPlan | None = None


class Seen(NamedTuple):
    """
    What was seen of the tokens of the texts as they are.

    Args:
        saliency (`torch.Tensor` of shape `(B, T)`, float32, >= 0): How much each matters.
        states (`torch.Tensor` of shape `(B, T, H)`, *optional*): The hidden states of the plan's layer.
    """

    saliency: torch.Tensor
    states: torch.Tensor | None = None


@dataclass(frozen=True)
class TokenMix(MixMethod):
    r"""
    Base of the methods that mix token by token.

    With `saliency_every` above 1 the pass of the texts as they are is made of those alone that are due: whose saliency is that many epochs
    old, or that have none yet. A step in which no text is due is one pass. Every loss of a text, mixed or as it is, then has its weight, and
    the loss is `(sum of l(mixed) + clean_lam sum over the due of l(clean)) / (B + clean_lam B_due)`: of each micro-batch for itself, over its
    `B` texts that have a label, of which `B_due` are due. With all of them due it is the loss of `saliency_every=1`. A text must have the same
    tokens in every epoch.

    Args:
        clean_lam (`float`):
            Weight of the loss on the texts as they are, beside that on the mixed ones; the loss is the mean of both by these weights,
            with 1 half of each. By the gradient it must be above 0.
        saliency (`"gradient"` or `"random"`): What says how much a token matters; `"random"`: chance, as an ablation, in one pass.
        saliency_every (`int`):
            For how many epochs the saliency of a text serves; 1: it is measured in every step. Kept is a number for each token, also where
            a layer is drawn in every step: that of the visit in which it was measured.
    """

    labels_tokens: ClassVar[bool] = False  # they move tokens, whose labels would have to come along

    clean_lam: float = 1.0
    saliency: Saliency = "gradient"
    saliency_every: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.saliency not in get_args(Saliency):
            raise ValueError(f"saliency must be one of {get_args(Saliency)}, got {self.saliency!r}.")
        if not is_whole(self.saliency_every) or self.saliency_every < 1:
            raise ValueError(f"saliency_every must be a whole number >= 1, got {self.saliency_every!r}.")
        if self.saliency_every > 1 and not self.watches_states:
            raise ValueError(
                f"saliency_every={self.saliency_every} saves passes for the saliency, and saliency={self.saliency!r} takes none: drop one "
                "of them."
            )
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
        draws = None if self.watches_states else self.chance(batch_size, rng, text_length)
        return plan if plan.is_identity else replace(plan, detail=draws)

    def chance(self, batch_size: int, rng: np.random.Generator, text_length: int | None) -> SpanDraws:
        """A number for each token, in place of its saliency."""
        if text_length is None:
            raise ValueError(f"{self.name} draws a number for each token: give text_length, that of the padded texts.")
        # A generator for each row: longer padding takes more numbers from each, and they stay the same.
        numbers = [child.random(text_length, dtype=np.float32) for child in rng.spawn(batch_size)]
        return SpanDraws(torch.from_numpy(np.stack(numbers)))

    # ---- what is minimised ----

    @property
    def reads_tokens(self) -> bool:
        return True

    @property
    def kept_formula(self) -> str:
        """What [`~MixMethod.formula`] adds where saliency is kept."""
        if not self.keeps_rows:
            return ""
        return (
            f"\nwith the saliency of a text kept for {self.saliency_every} epochs, and l(clean rows) of those alone that are due:\n"
            "L = (sum l(mixed rows) + clean_lam sum l(due rows)) / (rows + clean_lam due rows)"
        )

    @property
    def watches_states(self) -> bool:
        return self.saliency == "gradient"

    @property
    def keeps_rows(self) -> bool:
        return self.saliency_every > 1

    def passes_of(self, step: Step) -> int:
        """[`MixMethod.passes_of`]; with `saliency_every` two where a text is due in any process, and else one."""
        if not self.keeps_rows:
            return super().passes_of(step)
        return 1 if texts_due(step, self.saliency_every) is None else 2

    @property
    def most_passes(self) -> int:
        return 2 if self.watches_states else 1

    @property
    def sees_clean_rows(self) -> bool:
        # Where the saliency is the gradient of their loss, they have a pass of their own before there is anything mixed.
        return super().sees_clean_rows and not self.watches_states

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        # Before anything that the processes do not do alike: each draws a plan of its own, and what one measures all of them keep.
        due = texts_due(step, self.saliency_every) if self.keeps_rows else None
        if step.plan.is_identity and due is None:
            yield from super().losses(step)
            return
        # A row that has no label, or whose partner has none, stays itself.
        plan = step.plan.among(has_label(step.labels))
        self.check_segments(step)
        share_of_mixed, seen = 1 / (1 + self.clean_lam), None
        if self.keeps_rows:
            share_of_mixed = self._share_of_mixed(step, due)
            seen = yield from self._look_at_due(step, plan, due, 1 - share_of_mixed)
        elif self.watches_states:
            # The gradient of this loss serves twice: for the parameters and as saliency.
            watched = yield from self._pass_of(step, plan, self.clean_lam * share_of_mixed)
            seen = self.look(watched, step, has_label(step.labels))
        if step.plan.is_identity:
            # One that looked at a text for company.
            yield from super().losses(step)
            return
        mixture = self.mix(step, plan, seen)
        terms = self.supervised(step, mixture.inputs, plan, mixture.weight, inside=mixture.inside)
        yield {name: share_of_mixed * value for name, value in terms.items()}

    def check_segments(self, step: Step) -> None:
        """Raise `TypeError` for a step that does not tell which tokens are words."""
        if step.segments is None:
            raise TypeError(
                f"{self.name} mixes words alone, and the step has no `segments` that tell which tokens are some."
            )

    def _pass_of(self, step: Step, plan: MixPlan, weight: float) -> Generator[dict[str, torch.Tensor], None, Watched]:
        """The loss of the rows as they are, by its `weight`; returns the states of that pass, after backward."""
        logits, watched = self.watch_states(step, plan)
        yield {"loss_clean": weight * (step.loss.size * step.loss.cross_entropy(logits, step.labels))}
        return watched

    def _look_at_due(
        self, step: Step, plan: MixPlan, due: torch.Tensor | None, weight: float
    ) -> Generator[dict[str, torch.Tensor], None, Seen]:
        """The same of those rows `(n,)` alone that are due, if any are; returns what is measured of them and kept of the others."""
        if due is None:
            return self._noted(Seen(kept_texts(step)), step, has_label(step.labels))
        own = rows_of(step, or_one(due).to(step.labels.device))
        watched = yield from self._pass_of(own, plan, weight)
        assert own.segments is not None
        # Of a text that was looked at for company there is no gradient.
        measured = self.token_saliency(watched, own.segments)[: len(due)]
        keep_texts(step, due, measured)
        saliency = kept_texts(step)
        saliency[due.to(saliency.device)] = measured
        return self._noted(Seen(saliency), step, has_label(step.labels))

    def _share_of_mixed(self, step: Step, due: torch.Tensor | None) -> float:
        """What the mixed rows weigh in the loss; the rest is that of the rows `(n,)` as they are that are due."""
        if due is None or not len(due):
            return 1.0
        count = int(has_label(step.labels).sum())
        return count / (count + self.clean_lam * len(due))

    def watch_states(self, step: Step, plan: MixPlan) -> tuple[torch.Tensor, Watched]:
        """The pass of the rows as they are: their logits `(B, C)`, and the states of the layer that `plan` mixes (0: of the embeddings)."""
        if step.watching_forward is None:
            raise TypeError(
                f"{self.name} asks how much a token matters to the loss, and the step has no `watching_forward` that would tell it."
            )
        return step.watching_forward(step.inputs, plan.layer if isinstance(plan.layer, int) else 0)

    @torch.no_grad()
    def look(self, watched: Watched, step: Step, has_loss: torch.Tensor) -> Seen:
        """
        What a backward pass told of the tokens.

        Args:
            watched ([`Watched`]): The states of the pass, after backward on a loss of it.
            step ([`Step`]): That of the pass.
            has_loss (`torch.Tensor` of shape `(B,)`, bool): Rows that had a part in that loss; others have no gradient, and need none.
        """
        assert step.segments is not None
        return self._noted(Seen(self.token_saliency(watched, step.segments), watched.states), step, has_loss)

    @staticmethod
    def _noted(seen: Seen, step: Step, has_loss: torch.Tensor) -> Seen:
        """The same; of how many rows `(B,)` nothing is known that should be is logged."""
        undefined = is_degenerate(seen.saliency.unsqueeze(2)) & has_loss
        step.note({"saliency_undefined": undefined.float().mean()})
        return seen

    @abstractmethod
    def token_saliency(self, watched: Watched, segments: torch.Tensor) -> torch.Tensor:
        """The saliency `(B, T)` of each token, float32, >= 0, 0 outside the `segments` `(B, T)`."""

    @abstractmethod
    def mix(self, step: Step, plan: MixPlan, seen: Seen | None) -> TokenMixture:
        """
        The mixed rows.

        Args:
            step ([`Step`]): Its inputs are those of the rows as they are.
            plan ([`MixPlan`]): Who mixes with whom.
            seen ([`Seen`], *optional*): Of the rows as they are; `None` where chance chooses.
        """
