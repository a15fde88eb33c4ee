"""A batch of a run as it enters the network: the rows, who mixes with whom, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import nn

from mixtext_hf.methods import PIXELS, TOKENS, PixelMix, Step
from mixtext_hf.mixing import MixedLoss, MixPlan, PatchAttention

from .evaluating import without_labels
from .terms import total
from .trainer import MixTrainer


# Arrays have no truth value to compare by.
@dataclass(frozen=True, eq=False)
class MixedBatch:
    """
    One micro-batch, on the CPU.

    Args:
        inputs (`dict[str, torch.Tensor]`): Without the labels: `pixel_values` `(B, C, H, W)` or `input_ids` `(B, L)` and their like.
        labels (`torch.Tensor` of shape `(B,)` or `(B, C)`): Those of the rows, unmixed.
        unlabeled (`int`): How many rows at the end are views of unlabelled texts.
        plan ([`MixPlan`]): As drawn, but that a row without a label, or whose partner has none, is its own partner.
        weight (`torch.Tensor` of shape `(B,)`, float32): What a row's own label got; the rest is its partner's.
        images (`torch.Tensor` of shape `(B, C, H, W)`, *optional*): What the network sees, where that is mixed.
        tokens (`torch.Tensor` of shape `(B, L)`, int64, *optional*): The ids that the network sees, where these are mixed.
        masks (`dict[int, torch.Tensor]`):
            The share of the own image, `(h, w)`, or of the own token at each position, `(L,)`, of the rows that were asked for.
        segments (`torch.Tensor` of shape `(B, L)`, int64, *optional*):
            Which sentence each token belongs to, 0 = none, where texts are mixed token by token.
        saliency (`dict[int, torch.Tensor]`):
            How much each token mattered to the loss on the texts as they are, `(L,)`, >= 0 and in any unit, of these rows and of their
            partners; empty where spans are drawn by chance.
        sources (`dict[int, torch.Tensor]`):
            Which token of the row, and which of its partner, stands at each position, `(L, 2)`, int64, of the rows that were asked for;
            empty where tokens stay where they are.
        pixel_mean, pixel_std (`torch.Tensor` of shape `(C,)`, *optional*): What images were normalised with.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    unlabeled: int
    plan: MixPlan
    weight: torch.Tensor
    images: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    masks: dict[int, torch.Tensor] = field(default_factory=dict)
    segments: torch.Tensor | None = None
    saliency: dict[int, torch.Tensor] = field(default_factory=dict)
    sources: dict[int, torch.Tensor] = field(default_factory=dict)
    pixel_mean: torch.Tensor | None = None
    pixel_std: torch.Tensor | None = None

    def is_mixed(self, row: int) -> bool:
        """Whether a row has a partner that takes part in it."""
        return int(self.plan.index[row]) != row and float(self.plan.lam[row]) < 1


class _Found(Exception):
    """Leaves a training at the batch that was looked for; nobody else catches it."""

    def __init__(self, batch: MixedBatch):
        self.batch = batch


def mixed_batch(trainer: MixTrainer, step: int = 0, rows: Sequence[int] | None = None) -> MixedBatch:
    """
    The first micro-batch of a step of a run, as the run itself reads, augments and mixes it: it is really begun, and left there.

    Args:
        trainer ([`MixTrainer`]): Of the run, as it is before `train()`. It has made the steps before when it comes back, and is of
            no further use.
        step (`int`, *optional*, defaults to 0): Of the optimiser; those before it are trained.
        rows (`Sequence[int]`, *optional*): Whose masks and saliency are wanted; those of all rows if not given.

    Raises:
        `ValueError`: if the run has no such step, and as `train()` does.
    """
    train_on = trainer._training_loss

    def look(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        if step >= trainer.state.max_steps:
            raise ValueError(
                f"step={step}: the run has {trainer.state.max_steps} steps, name one of 0 to {trainer.state.max_steps - 1}."
            )
        if trainer.state.global_step < step:
            return train_on(model, inputs)
        raise _Found(_seen(trainer, model, inputs, rows))

    seen: dict[str, Any] = {"_training_loss": look}
    if step == 0 and not trainer.method.reads_tokens:
        # They tell what is learnt of a batch, not what is in it, and take as long as a part of the training. Where saliency chooses
        # the tokens of the mixed rows, it is that of what is learnt.
        seen["_make_guesses"] = _make_none
    try:
        vars(trainer).update(seen)
        trainer.train()
    except _Found as found:
        return found.batch
    finally:
        for name in seen:
            del vars(trainer)[name]
    raise ValueError(f"step={step}: the run ended after step {trainer.state.global_step}.")


def _make_none(*, resume: bool) -> None:
    """In place of making guesses."""


def _seen(trainer: MixTrainer, model: nn.Module, inputs: dict[str, Any], rows: Sequence[int] | None) -> MixedBatch:
    plan = trainer.draw_plan(inputs).to(trainer.args.device)
    labels, method = inputs["labels"], trainer.method
    texts = inputs.get("text_labels")
    batch = MixedBatch(
        inputs={
            name: value.cpu() for name, value in without_labels(inputs).items() if isinstance(value, torch.Tensor)
        },
        labels=labels.cpu(),
        unlabeled=0 if texts is None else len(texts) * trainer.args.num_views,
        plan=(plan if method.uses_unlabeled else plan.among(trainer.loss.rows_with_label(labels))).to("cpu"),
        weight=_label_weight(trainer, labels, plan).cpu(),
        pixel_mean=None if trainer._pixel_mean is None else trainer._pixel_mean.cpu(),
        pixel_std=None if trainer._pixel_std is None else trainer._pixel_std.cpu(),
    )
    if method.mixes and method.mixes_pixels:
        batch = _with_images(batch, trainer, trainer.make_step(model, inputs, plan), rows)
    elif method.mixes and method.reads_tokens and not plan.is_identity:
        batch = _with_tokens(batch, trainer, trainer.make_step(model, inputs, plan), rows)
    alone = batch.plan.index == torch.arange(len(batch.plan))
    return replace(batch, weight=torch.where(alone, 1.0, batch.weight))


def _label_weight(trainer: MixTrainer, labels: torch.Tensor, plan: MixPlan) -> torch.Tensor:
    """What a row's own label weighs `(B,)` by its plan; where classes are guessed, what its input does."""
    if trainer.method.uses_unlabeled:
        return plan.lam
    return trainer.loss.label_weight(labels, plan.index, plan.lam)


@dataclass(frozen=True)
class _Heard(MixedLoss):
    """The loss, and what it was asked: the weights `(B,)` where the labels were mixed."""

    asked: list[torch.Tensor] = field(default_factory=list)

    def of_rows(
        self,
        logits: torch.Tensor,
        labels: torch.Tensor,
        index: torch.Tensor | None = None,
        lam: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if index is not None and lam is not None:
            self.asked.append(self.label_weight(labels, index, lam))
        return super().of_rows(logits, labels, index, lam)


@dataclass(frozen=True, eq=False)
class _Mixed:
    """What a method made of a step: the mixed `inputs` `(B, ...)`, the `weight` `(B,)` of each row's own label, and what it showed."""

    inputs: torch.Tensor
    weight: torch.Tensor
    shown: dict[str, torch.Tensor]


def _run(trainer: MixTrainer, step: Step, name: str) -> _Mixed:
    """What the method makes of the input `name` of a step, which is seen where it hands it to the model."""
    passes: list[torch.Tensor] = []
    shown: dict[str, torch.Tensor] = {}
    loss = trainer.loss
    heard = _Heard(**{one.name: getattr(loss, one.name) for one in fields(MixedLoss)})

    def forward(inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = True) -> torch.Tensor:
        passes.append(inputs[name].detach())
        return step.forward(inputs, plan, dropout=dropout)

    def attending(inputs: dict[str, Any]) -> tuple[torch.Tensor, PatchAttention]:
        assert step.attending_forward is not None
        passes.append(inputs[name].detach())
        return step.attending_forward(inputs)

    watched = replace(
        step,
        forward=forward,
        attending_forward=None if step.attending_forward is None else attending,
        loss=heard,
        note=lambda terms: None,
        show=shown.__setitem__,
    )
    number = trainer.method.passes_of(step)
    losses = trainer.method.losses(watched)
    for _ in range(number - 1):
        trainer.accelerator.backward(total(next(losses)))
    next(losses)
    # Mixed rows come in the last pass, and in it before clean ones.
    weight = shown["weight"] if "weight" in shown else heard.asked[-1]
    return _Mixed(passes[-1][: len(step.labels)], weight, shown)


def _with_images(batch: MixedBatch, trainer: MixTrainer, step: Step, rows: Sequence[int] | None) -> MixedBatch:
    """The batch with what the method makes of its images."""
    mixed = _run(trainer, step, PIXELS)
    return replace(
        batch,
        images=mixed.inputs.float().cpu(),
        weight=mixed.weight.float().cpu(),
        masks=_masks(batch, trainer, step, mixed.shown, rows),
    )


def _with_tokens(batch: MixedBatch, trainer: MixTrainer, step: Step, rows: Sequence[int] | None) -> MixedBatch:
    """The batch with what the method makes of the tokens of its texts."""
    mixed = _run(trainer, step, TOKENS)
    wanted = _wanted(batch, rows)
    both = sorted({*wanted, *batch.plan.index[wanted].tolist()})

    def shown(name: str, rows: Sequence[int]) -> dict[int, torch.Tensor]:
        return {row: mixed.shown[name][row].cpu() for row in rows} if name in mixed.shown else {}

    return replace(
        batch,
        # Where hidden states are mixed the network sees the ids of the rows.
        tokens=mixed.inputs.cpu() if step.plan.layer is None else None,
        weight=mixed.weight.float().cpu(),
        masks=shown("mask", wanted),
        segments=None if step.segments is None else step.segments.cpu(),
        saliency=shown("saliency", both),
        sources=shown("sources", wanted),
    )


def _wanted(batch: MixedBatch, rows: Sequence[int] | None) -> list[int]:
    return [row for row in range(len(batch.plan)) if rows is None or row in rows]


def _masks(
    batch: MixedBatch, trainer: MixTrainer, step: Step, shown: dict[str, torch.Tensor], rows: Sequence[int] | None
) -> dict[int, torch.Tensor]:
    wanted = _wanted(batch, rows)
    if "mask" in shown:
        return {row: shown["mask"][row].cpu() for row in wanted}
    method, pixels = trainer.method, batch.inputs[PIXELS]
    if not isinstance(method, PixelMix):
        return {}
    size = (pixels.shape[-2], pixels.shape[-1])
    if all(not batch.is_mixed(row) for row in range(len(batch.plan))):
        return {row: torch.ones(size) for row in wanted}
    plan = method.pairs_of(step).to("cpu")
    return {row: method.share_of_own(plan, row, size) for row in wanted}
