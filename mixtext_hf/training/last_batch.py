"""A last batch of a single row, and BatchNorm: found before training, with what to change."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sized
from typing import TYPE_CHECKING, Any

import datasets
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import IterableDataset
from transformers import TrainingArguments, default_data_collator

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.methods import AugMix

from .evaluating import without_labels


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

# How torch begins what BatchNorm says of it.
_ONE_VALUE = "Expected more than 1 value per channel"


def check_batches(trainer: MixTrainer) -> None:
    """
    [`check_last_batch`] of what a trainer trains on, with its first row. Of streams nobody knows how many rows they have.

    Raises:
        `ValueError`: if a batch would hold a single row, and the model cannot learn from it.
    """
    rows: Any = trainer.train_dataset
    method, args = trainer.method, trainer.args
    is_stream = isinstance(rows, IterableDataset | datasets.IterableDataset) or not isinstance(rows, Sized)
    # Views and unlabelled texts go through the model together with a row.
    if is_stream or not len(rows) or isinstance(method, AugMix) or method.uses_unlabeled:
        return
    if args.fsdp or args.deepspeed_plugin is not None:
        return  # the model may be in pieces
    check_last_batch(trainer.mixer.model, len(rows), args, lambda: _first_row(trainer))


def _first_row(trainer: MixTrainer) -> dict[str, Any]:
    """A batch of the first row, as the model is called with it."""
    rows: Any = trainer.train_dataset
    model = trainer.mixer.model
    # The Trainer chooses its own later.
    collator = trainer.data_collator or default_data_collator
    row = rows[0]
    is_own = isinstance(collator, MixDataCollator | ImageCollator)
    if not is_own and trainer.args.remove_unused_columns and not _is_transformed(rows):
        known = {*inspect.signature(model.forward).parameters, "label", "label_ids"}
        row = {name: value for name, value in row.items() if name in known}
    batch = without_labels(collator([row]))
    return {
        name: value.to(model.device, model.dtype if value.is_floating_point() else None)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in batch.items()
    }


def _is_transformed(rows: Any) -> bool:
    return isinstance(rows, datasets.Dataset) and rows.format["type"] == "custom"


def check_last_batch(
    model: nn.Module, rows: int, args: TrainingArguments, one_row: Callable[[], Mapping[str, Any]]
) -> None:
    """
    Warn of batches of a single row where the model takes statistics over the batch.

    Args:
        model (`nn.Module`): It is what it was afterwards.
        rows (`int`): Training rows.
        args (`TrainingArguments`): Which say how many rows a batch has. Several processes fill the last batch up.
        one_row (`Callable[[], Mapping[str, torch.Tensor]]`):
            Makes a batch of one row, for trying whether the model can learn from it. Called where there is something to try.

    Raises:
        `ValueError`: if it cannot: BatchNorm refuses one row where there is but one value of each channel.
    """
    size = args.train_batch_size
    has_one_row = size == 1 or (args.world_size == 1 and rows % size == 1 and not args.dataloader_drop_last)
    if not has_one_row or not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return
    if size == 1:
        which, remedy = "Every batch", "give per_device_train_batch_size=2 or more"
    else:
        which = f"The last batch of each epoch ({rows} training rows, {size} a batch)"
        remedy = (
            f"give another per_device_train_batch_size than {args.per_device_train_batch_size}, dataloader_drop_last=True, or one "
            f"training row less, {rows - 1} (--max_train_samples {rows - 1})"
        )
    refusal = _refusal(model, one_row())
    if refusal is not None:
        raise ValueError(f"{which} has a single row, on which the model cannot be trained ({refusal}): {remedy}.")
    logger.warning(
        "%s has a single row, and the model's BatchNorm takes its statistics of that alone: %s.", which, remedy
    )


def _refusal(model: nn.Module, one_row: Mapping[str, Any]) -> str | None:
    """What BatchNorm says in training mode, if anything; the model's statistics and the random numbers stay what they are."""
    saved = {name: buffer.clone() for name, buffer in model.named_buffers()}
    was_training = model.training
    try:
        with torch.random.fork_rng(), torch.no_grad():
            model.train()(**one_row)
    except (ValueError, RuntimeError, TypeError) as error:
        # What else may be wrong with the row is wrong with all, and has nothing to do with its being alone.
        return str(error) if _ONE_VALUE in str(error) else None
    finally:
        model.train(was_training)
        for name, buffer in model.named_buffers():
            buffer.copy_(saved[name])
    return None
