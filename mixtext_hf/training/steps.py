"""What the arguments that count in steps come to in a run of so many: a warm-up that never ends, evaluations that never come."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sized
from typing import TYPE_CHECKING, Any

import torch
from transformers.trainer_utils import IntervalStrategy

from .arguments import MixTrainingArguments


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

# Schedules that take a warm-up and make nothing of it.
_WITHOUT_WARM_UP = ("constant", "reduce_lr_on_plateau", "greedy")
_SAVE_STEPS = 500


def steps_of_run(trainer: MixTrainer) -> int | None:
    """How many steps a trainer will make; `None` for a stream that ends nobody knows when."""
    args, rows = trainer.args, trainer.train_dataset
    if args.max_steps > 0:
        return args.max_steps
    if not isinstance(rows, Sized) or isinstance(rows, torch.utils.data.IterableDataset):
        return None
    batch = args.per_device_train_batch_size * args.world_size
    whole = args.dataloader_drop_last or trainer.method.uses_unlabeled
    batches = max(len(rows) // batch if whole else math.ceil(len(rows) / batch), 1)
    return math.ceil(args.num_train_epochs * math.ceil(batches / args.gradient_accumulation_steps))


def warn_of_steps(trainer: MixTrainer) -> None:
    """Say, in a line each, what has no effect in a run of this length, or another one than its name says."""
    if not trainer.is_world_process_zero():
        return
    args, steps = trainer.args, steps_of_run(trainer)
    if trainer.optimizer is None:
        for line in _about_the_rate(args, steps, schedule_is_given=trainer.lr_scheduler is not None):
            logger.warning("%s", line)
    if steps is None:
        return
    for line in (*_about_intervals(args, steps), *_about_mixing(args, steps, mixes=trainer.method.mixes)):
        logger.warning("%s", line)


def _about_the_rate(args: MixTrainingArguments, steps: int | None, *, schedule_is_given: bool) -> Iterator[str]:
    if args.learning_rate == 0 and args.head_learning_rate is None:
        yield "learning_rate=0 trains nothing, the weights stay as they are: give one above 0, or head_learning_rate for the head alone."
    if schedule_is_given or not args.warmup_steps:
        return
    schedule = _value(args.lr_scheduler_type)
    if schedule in _WITHOUT_WARM_UP:
        yield (
            f"warmup_steps={args.warmup_steps:g} has no effect: lr_scheduler_type={schedule!r} has no warm-up"
            + (", 'constant_with_warmup' has." if schedule == "constant" else ".")
        )
    elif steps is not None and args.get_warmup_steps(steps) > steps:
        # The last step is made at the rate after so many of them.
        reached = args.learning_rate * (steps - 1) / args.get_warmup_steps(steps)
        yield (
            f"warmup_steps={args.warmup_steps:g} is more than the {_steps(steps)} of the run: the learning rate rises to {reached:.3g} and "
            f"never to {args.learning_rate:g}. Give fewer, or a share of the steps such as 0.1."
        )


def _about_intervals(args: MixTrainingArguments, steps: int) -> Iterator[str]:
    evaluated, saved = IntervalStrategy(args.eval_strategy), _value(args.save_strategy)
    length = f"the {_steps(steps)} of the run"
    ends = {
        IntervalStrategy.STEPS: steps,
        IntervalStrategy.EPOCH: math.inf if args.max_steps > 0 else args.num_train_epochs,
    }
    if args.eval_delay > ends.get(evaluated, math.inf):  # in the unit of the strategy
        yield f"eval_delay={args.eval_delay:g} is beyond {length}: nothing is evaluated in training. Give less."
    elif evaluated == IntervalStrategy.STEPS and (args.eval_steps or 0) > steps:
        yield f"eval_steps={args.eval_steps:g} is more than {length}: it is evaluated once, at the end. Give fewer to see how it learns."
    # Many runs are shorter than the default, which nobody has given.
    if saved == "steps" and args.save_steps > steps and args.save_steps != _SAVE_STEPS:
        yield f"save_steps={args.save_steps:g} is more than {length}: there is one checkpoint, at the end. Give fewer for one to go on from."
    if IntervalStrategy(args.logging_strategy) == IntervalStrategy.STEPS and args.logging_steps > steps:
        yield f"logging_steps={args.logging_steps:g} is more than {length}: no loss is logged. Give fewer, or a share of the steps such as 0.05."


def _about_mixing(args: MixTrainingArguments, steps: int, *, mixes: bool) -> Iterator[str]:
    if mixes and not any(args.mix_start <= step / steps < args.mix_end for step in range(steps)):
        yield (
            f"mix_start={args.mix_start:g} and mix_end={args.mix_end:g} leave no step of {steps} to be mixed: widen them, or name "
            "mix_method='erm'."
        )


def _steps(number: int) -> str:
    return f"{number} step{'' if number == 1 else 's'}"


def _value(name: Any) -> str:
    return str(getattr(name, "value", name))
