"""What the numbers and names among the arguments may be, each by itself: a wrong one is named, with its value and what would be right.

transformers finds some of these late, by an error from inside, and some never: with `gradient_accumulation_steps=-1` it trains
nothing and is content.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations


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


def check_ranges(args: TrainingArguments) -> None:
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


def check_pixel_statistics(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """
    Raise for what cannot be the normalisation of pixels in `[0, 1]`.

    Raises:
        `ValueError`: that names the argument.
    """
    if mean is None and std is None:
        return
    if mean is None or std is None or len(mean) != len(std) or not mean:
        raise ValueError(
            f"pixel_mean={mean} and pixel_std={std} belong together: give as many numbers of both, one for each channel."
        )
    for name, values, holds, said in (
        ("pixel_mean", mean, lambda value: 0 <= value <= 1, "in [0, 1]"),
        ("pixel_std", std, lambda value: 0 < value <= 1, "in (0, 1]"),
    ):
        if not all(holds(value) for value in values):
            raise ValueError(
                f"{name} must be numbers {said}, got {list(values)}: they are those of pixels in [0, 1]; divide those of grey levels by 255."
            )
