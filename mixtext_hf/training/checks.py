"""What arguments may be, as far as it can be said before training: a wrong one is named, with its value and what would be right.

transformers finds some of these late, by an error from inside, and some never: with `gradient_accumulation_steps=-1` it trains
nothing and is content.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer, get_scheduler
from transformers.integrations import get_available_reporting_integrations

from mixtext_hf.evaluation.loading import is_greater_better
from mixtext_hf.models.any_classifier import is_adapted


if TYPE_CHECKING:
    from .arguments import MixTrainingArguments
    from .trainer import MixTrainer


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Range:
    """What a number may be."""

    holds: Callable[[float], bool]
    said: str


_AT_LEAST_1 = _Range(lambda value: value >= 1, "at least 1")
_AT_LEAST_0 = _Range(lambda value: value >= 0, "at least 0")
# As numpy takes them.
_SEED = _Range(lambda value: 0 <= value < 2**32, "at least 0 and below 2**32")
_POSITIVE = _Range(lambda value: value > 0, "positive")
_DECAY = _Range(lambda value: 0 <= value < 1, "in [0, 1)")
_STEPS = _Range(
    lambda value: value >= 1 or 0 < value < 1, "a number of steps from 1 on, or a part of training between 0 and 1"
)

_RANGES: dict[str, _Range] = {
    "per_device_train_batch_size": _AT_LEAST_1,
    "per_device_eval_batch_size": _AT_LEAST_1,
    "gradient_accumulation_steps": _AT_LEAST_1,
    "learning_rate": _AT_LEAST_0,
    "weight_decay": _AT_LEAST_0,
    "adam_beta1": _DECAY,
    "adam_beta2": _DECAY,
    "adam_epsilon": _POSITIVE,
    "max_grad_norm": _AT_LEAST_0,
    "num_train_epochs": _POSITIVE,
    "max_steps": _Range(
        lambda value: value == -1 or value >= 1,
        "at least 1, or -1 to train for num_train_epochs (0 would train them too)",
    ),
    "warmup_steps": _AT_LEAST_0,
    "logging_steps": _STEPS,
    "eval_steps": _STEPS,
    "save_steps": _STEPS,
    "eval_delay": _AT_LEAST_0,
    "save_total_limit": _AT_LEAST_1,
    "dataloader_num_workers": _AT_LEAST_0,
    "seed": _SEED,
    "data_seed": _SEED,
    "per_device_unlabeled_batch_size": _AT_LEAST_1,
    "head_learning_rate": _POSITIVE,
    "skip_nonfinite_steps": _AT_LEAST_0,
}


def check_ranges(args: MixTrainingArguments) -> None:
    """
    Raise for numbers out of range, and for trackers that are not installed.

    Raises:
        `ValueError`: that names the argument.
    """
    for name, allowed in _RANGES.items():
        value = getattr(args, name, None)
        if value is None or isinstance(value, (str, bool)):
            continue
        if not math.isfinite(value) or not allowed.holds(value):
            raise ValueError(f"{name} must be {allowed.said}, got {value}.")
    wanted = [args.report_to] if isinstance(args.report_to, str) else list(args.report_to or ())
    missing = sorted({*wanted} - {"all", "none", *get_available_reporting_integrations()})
    if missing:
        raise ValueError(
            f"report_to={missing[0]!r} needs a package that is not installed, or is the name of none: install it, or choose from "
            f"{', '.join([*sorted(get_available_reporting_integrations()), 'none'])}."
        )


def settle_best_metric(args: MixTrainingArguments) -> None:
    """Which way `metric_for_best_model` is better, where nobody says: transformers takes all but losses for better if greater."""
    if args.metric_for_best_model is not None and args.greater_is_better is None:
        args.greater_is_better = is_greater_better(args.metric_for_best_model)


def check_before_training(trainer: MixTrainer) -> None:
    """
    Raise for what takes the device or the data to see.

    Raises:
        `ValueError`: that names the argument.
    """
    args = trainer.args
    if args.fp16 and args.device.type == "cpu":
        raise ValueError(
            "fp16=True needs a GPU, and this runs on the CPU: use bf16=True, which it can do, or neither."
        )
    if args.fsdp and args.device.type == "cpu":
        raise ValueError(
            f"fsdp={args.fsdp} needs a GPU, and this runs on the CPU, where accelerate would leave it out without a word: train "
            "without it, by DDP."
        )
    _check_optimizer(trainer)
    _warn_of_frozen_head(trainer)
    rows = trainer.train_dataset
    batch = args.per_device_train_batch_size * args.world_size
    if args.dataloader_drop_last and isinstance(rows, Sized) and len(rows) < batch:
        raise ValueError(
            f"dataloader_drop_last=True leaves nothing of {len(rows)} training rows in batches of {batch}: drop it, or lower "
            f"per_device_train_batch_size={args.per_device_train_batch_size}."
        )


def _warn_of_frozen_head(trainer: MixTrainer) -> None:
    """Say so where an adapter is trained below a head that stays random."""
    model = trainer.mixer.model
    trains = trainer.train_dataset is not None and any(p.requires_grad for p in model.parameters())
    name = trainer.mixer.frozen_head() if trains else None
    if name is None or not is_adapted(model):
        return
    logger.warning(
        "The head of %s (%s) is not trained, only the adapter below it%s: name it in the config of the adapter, "
        "modules_to_save=[%r], or give task_type='SEQ_CLS' for a text classifier.",
        type(model).__name__,
        name,
        ", and it is new" if trainer.mixer.head_is_new else "",
        name.split(".")[-1],
    )


def check_backward_passes(args: MixTrainingArguments, name: str, passes: int) -> None:
    """
    Raise where every backward pass is a step of the optimiser, and there would be several in one step of training.

    Args:
        args ([`MixTrainingArguments`]): Of the run.
        name (`str`): Of the method.
        passes (`int`): How many losses it makes of a batch, one after the other.

    Raises:
        `ValueError`: under DeepSpeed, and with optimisers that update each weight as soon as it has a gradient.
    """
    optim = _value(args.optim)
    steps_by_itself = optim in ("lomo", "adalomo") or optim.endswith("_layerwise")
    if passes == 1 or not (steps_by_itself or args.deepspeed_plugin is not None):
        return
    where, remedy = (
        ("DeepSpeed", "train by DDP or FSDP") if not steps_by_itself else (f"optim={optim!r}", "name another")
    )
    raise ValueError(
        f"{where} steps at every backward pass, and {name} makes {passes} of a batch (PuzzleMix does for clean_lam > 0): {remedy}, "
        "or choose a method with one loss."
    )


def _check_optimizer(trainer: MixTrainer) -> None:
    """Make optimiser and schedule of one number, as the trainer will of all: what they lack, they say."""
    args = trainer.args
    if getattr(trainer, "optimizer", None) is None and getattr(trainer, "optimizer_cls_and_kwargs", None) is None:
        try:
            Trainer.get_optimizer_cls_and_kwargs(args, trainer.mixer.model)
        except (ImportError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"optim={_value(args.optim)!r} with optim_args={args.optim_args!r} cannot be made: {_said(error)}"
            ) from error
    if getattr(trainer, "lr_scheduler", None) is None:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=max(args.learning_rate, 1e-8))
        given: Any = args.lr_scheduler_kwargs or {}
        try:
            get_scheduler(
                args.lr_scheduler_type,
                optimizer,
                num_warmup_steps=1,
                num_training_steps=10,
                scheduler_specific_kwargs=given,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"lr_scheduler_type={_value(args.lr_scheduler_type)!r} with lr_scheduler_kwargs={given} cannot be made: "
                f"{_said(error)}"
            ) from error


def _value(name: Any) -> str:
    return str(getattr(name, "value", name))


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."
