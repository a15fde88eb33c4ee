"""A last batch of a single row, and BatchNorm: found before training, with what to change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import TrainingArguments


logger = logging.getLogger(__name__)


def check_last_batch(
    model: nn.Module, rows: int, args: TrainingArguments, one_row: Callable[[], Mapping[str, torch.Tensor]]
) -> None:
    """
    Warn of batches of a single row where the model takes statistics over the batch.

    Args:
        model (`nn.Module`): It is what it was afterwards.
        rows (`int`): Training rows.
        args (`TrainingArguments`): Which say how many rows a batch has. Several processes fill the last batch up.
        one_row (`Callable`): Makes a batch of one row, for trying whether the model can learn from it; asked for if it matters.

    Raises:
        `ValueError`: if it cannot: BatchNorm refuses one row where there is but one value of each channel.
    """
    size = args.train_batch_size
    has_one_row = size == 1 or (args.world_size == 1 and rows % size == 1 and not args.dataloader_drop_last)
    if not has_one_row or not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return
    if size == 1:
        which, remedy = "Every batch", "give --per_device_train_batch_size 2 or more"
    else:
        which = f"The last batch of each epoch ({rows} training rows, {size} a batch)"
        remedy = (
            f"give another --per_device_train_batch_size than {args.per_device_train_batch_size}, --dataloader_drop_last True, or "
            f"--max_train_samples {rows - 1}"
        )
    refusal = _refusal(model, one_row())
    if refusal is not None:
        raise ValueError(f"{which} has a single row, on which the model cannot be trained ({refusal}): {remedy}.")
    logger.warning(
        "%s has a single row, and the model's BatchNorm takes its statistics of that alone: %s.", which, remedy
    )


def _refusal(model: nn.Module, one_row: Mapping[str, torch.Tensor]) -> str | None:
    """What the model says in training mode; its statistics and the random numbers stay what they are."""
    saved = {name: buffer.clone() for name, buffer in model.named_buffers()}
    was_training = model.training
    try:
        with torch.random.fork_rng(), torch.no_grad():
            model.train()(**one_row)
    except ValueError as error:
        return str(error)
    except RuntimeError:
        # Not for its one row: images of a size that the model does not take, which others tell.
        return None
    finally:
        model.train(was_training)
        for name, buffer in model.named_buffers():
            buffer.copy_(saved[name])
    return None
