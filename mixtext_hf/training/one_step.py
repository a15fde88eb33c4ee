"""From a batch of the trainer to what a method is told of it."""

from __future__ import annotations

from collections.abc import Sized
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from mixtext_hf.data.tokens.collator import WORD_STARTS
from mixtext_hf.data.tokens.neighbours import PARTNER_LABELS
from mixtext_hf.data.visits import VISITS
from mixtext_hf.methods import Step
from mixtext_hf.mixing import MixPlan

from .evaluating import without_labels
from .forwards import Forwards
from .padding import check_batch
from .ranks import mean_of_all, rows_of_all
from .words import segments_of


if TYPE_CHECKING:
    from .trainer import MixTrainer


def step_of(trainer: MixTrainer, model: nn.Module, inputs: dict[str, Any], plan: MixPlan) -> Step:
    """
    A step of training.

    Args:
        trainer ([`MixTrainer`]): In training.
        model (`nn.Module`): The classifier in its wrappers.
        inputs (`dict[str, Any]`): The batch, on the device.
        plan ([`MixPlan`]): What it mixes, on the device.
    """
    check_batch(trainer, inputs)
    if evaluates := trainer.method.needs_evaluation:
        trainer._share_buffers()
    forwards = Forwards(model, trainer.mixer, trainer.accelerator, evaluates, trainer._attention)
    return Step(
        forward=forwards.training,
        inputs=without_labels(inputs),
        labels=inputs["labels"],
        plan=plan,
        loss=trainer.loss,
        text_labels=inputs.get("text_labels"),
        text_guesses=inputs.get("text_guesses"),
        views=trainer.args.num_views,
        number=trainer.state.global_step,
        total=max(trainer.state.max_steps, 1),
        label_shares=trainer._label_shares,
        memory=trainer._memory.tensors,
        archive=trainer._memory.archive,
        visits=inputs.get(VISITS),
        frames=inputs.get("frames"),
        word_starts=inputs.get(WORD_STARTS),
        token_counts=trainer.counts_of_step(),
        partner_labels=inputs.get(PARTNER_LABELS),
        num_rows=len(cast(Sized, trainer.train_dataset)) if VISITS in inputs else 0,
        average=partial(mean_of_all, trainer.accelerator),
        gather=partial(rows_of_all, trainer.accelerator),
        note=trainer._terms.add,
        saliency_forward=forwards.saliency,
        attending_forward=None if trainer._attention is None else forwards.attending,
        watching_forward=forwards.watching,
        segments=segments_of(trainer, inputs) if trainer.method.reads_tokens else None,
        pixel_mean=trainer._pixel_mean,
        pixel_std=trainer._pixel_std,
    )
