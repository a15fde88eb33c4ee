"""A checkpoint is gone on with by the run that wrote it: what shapes its weights is noted beside it, and compared.

What only says how much is told, saved or evaluated, and where, may differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sized
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mixtext_hf.data.in_batches import some_rows
from mixtext_hf.errors import RunError

from .long_tail_arguments import LONG_TAIL
from .whole_checkpoints import MANIFEST


if TYPE_CHECKING:
    from .trainer import MixTrainer

# Arguments that shape the weights; those of the method are seen in the method itself.
_ARGUMENTS = (
    "per_device_train_batch_size",
    "per_device_unlabeled_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "head_learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "weight_decay",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "label_smoothing_factor",
    "neftune_noise_alpha",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
    "dataloader_drop_last",
    "train_sampling_strategy",
    "mix_start",
    "mix_end",
    "mix_loss",
    "view_columns",
    "augmenters",
    "image_augmentations",
    "pixel_mean",
    "pixel_std",
    *LONG_TAIL,
)
_SAMPLED = 32


class AnotherRun(RunError, ValueError):
    """A run was to go on with the checkpoint of another."""


def identity_of(trainer: MixTrainer) -> dict[str, Any]:
    """What shapes the weights of a run, by the names that a user knows; JSON-serialisable."""
    args = trainer.args
    length = "max_steps" if args.max_steps > 0 else "num_train_epochs"
    found: dict[str, Any] = {
        "mix_method": trainer.method.name,
        **{f"mix_{name}": value for name, value in trainer.method.hyperparameters().items()},
        length: getattr(args, length),
        **{name: getattr(args, name, None) for name in _ARGUMENTS},
        "number of processes": args.world_size,
        "model": type(trainer.mixer.model).__name__,
        "training rows": _rows(trainer.train_dataset, trainer),
    }
    if trainer.method.uses_unlabeled:
        found["unlabelled rows"] = _rows(trainer.unlabeled_dataset, trainer)
    plain = {name: value.value if isinstance(value, Enum) else value for name, value in found.items()}
    as_read: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return as_read


def check_same_run(trainer: MixTrainer, checkpoint: Path) -> None:
    """
    Compare a run with the one that wrote a checkpoint; those without a manifest say nothing of it.

    Raises:
        [`AnotherRun`]: that lists what differs, unless `resume_changed` allows it.
    """
    path = checkpoint / MANIFEST
    noted: Mapping[str, Any] | None = None
    if path.is_file():
        noted = json.loads(path.read_text(encoding="utf-8"))["about"].get("run")
    if noted is None or trainer.args.resume_changed:
        return
    now = identity_of(trainer)
    # A release that did not know an argument or a hyper-parameter did what its default does.
    usual = {one.name: one.default for one in fields(trainer.args) if one.name in LONG_TAIL}
    noted = {**usual, **noted}
    if noted.get("mix_method") == trainer.method.name:
        defaults = {f"mix_{one.name}": one.default for one in fields(trainer.method) if one.default is not MISSING}
        noted = {**json.loads(json.dumps(defaults, default=str)), **noted}
    different = [
        f"{name}: {_told(noted.get(name))} then, {_told(now.get(name))} now"
        for name in dict.fromkeys([*noted, *now])
        if noted.get(name) != now.get(name)
    ]
    if different:
        raise AnotherRun(
            f"{checkpoint} is of another run ({'; '.join(different)}): give the arguments and data of that run, or go on "
            "otherwise on purpose by resume_changed=True."
        )


def _told(value: Any) -> str:
    return "not given" if value is None else str(value)


def _rows(dataset: Any, trainer: MixTrainer) -> str | None:
    """How many there are, and a digest of some: their texts and labels, for pixels would have to be read."""
    if not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        return None
    count = len(dataset)
    columns = {*getattr(trainer.data_collator, "columns", ()), "input_ids", "label", "labels"}
    digest = hashlib.sha256()
    for i in range(_SAMPLED if count and not trainer._takes_pixels else 0):
        at = i * (count - 1) // (_SAMPLED - 1)
        (row,) = some_rows(dataset, range(at, at + 1))
        kept = [(name, _plain(row[name])) for name in sorted(row) if name in columns]
        digest.update(repr(kept).encode())
    return f"{count} ({digest.hexdigest()[:8]})"


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
