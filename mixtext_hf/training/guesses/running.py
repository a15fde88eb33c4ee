"""A trainer's model over rows: features of its encoder, and what a classifier says, batch by batch as the trainer is set up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mixtext_hf.data import in_batches
from mixtext_hf.data.in_batches import BatchFunction, column_values
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.features import text_features
from mixtext_hf.models.modes import evaluating
from mixtext_hf.models.stack import unwrap
from mixtext_hf.training.unlabeled import label_columns


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer

_SMALLEST_BATCH = 32


def model_of(trainer: MixTrainer) -> nn.Module:
    """The model of a trainer that trains."""
    assert isinstance(trainer.model, nn.Module)
    return trainer.model


def encoder_of(model: nn.Module, trainer: MixTrainer) -> BatchFunction:
    """Features of a batch `(B, D)`, as in evaluation."""
    model.to(trainer.args.device)

    def encode(batch: Mapping[str, Any]) -> torch.Tensor:
        with evaluating(model), _precision(trainer):
            return text_features(model, batch)

    return encode


def classifier_of(model: nn.Module, trainer: MixTrainer) -> BatchFunction:
    """Log-probabilities of a batch `(B, C)`, as in evaluation."""
    model.to(trainer.args.device)

    def predict(batch: Mapping[str, Any]) -> torch.Tensor:
        with evaluating(model), _precision(trainer):
            logits: torch.Tensor = model(**batch).logits.float()
        return logits.log_softmax(dim=-1)

    return predict


def _precision(trainer: MixTrainer) -> Any:
    args = trainer.args
    if args.bf16 or args.fp16:
        return torch.autocast(args.device.type, dtype=torch.bfloat16 if args.bf16 else torch.float16)
    return nullcontext()


def batch_size_of(trainer: MixTrainer) -> int:
    return max(_SMALLEST_BATCH, int(trainer.args.per_device_eval_batch_size))


def run_over(
    trainer: MixTrainer, rows: Any, function: BatchFunction, *, title: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """[`~mixtext_hf.data.in_batches.run_over`] as the trainer is set up."""
    return in_batches.run_over(
        rows,
        trainer.data_collator,
        function,
        device=trainer.args.device,
        batch_size=batch_size_of(trainer),
        title=None if trainer.args.disable_tqdm else title,
    )


def select(rows: Any, which: NDArray[np.int64]) -> Any:
    """Some rows of a data set, as a data set."""
    return rows.select(which) if isinstance(rows, datasets.Dataset) else [rows[int(i)] for i in which]


def labels_of(rows: Any, collator: Any) -> NDArray[np.int64]:
    """The classes of the labelled rows, which have been checked."""
    return np.fromiter(column_values(rows, label_columns(collator)), dtype=np.int64, count=len(rows))


def label_names(trainer: MixTrainer) -> list[str]:
    """The names of the classes of a trainer's model."""
    return names_of_classes(unwrap(model_of(trainer)).config)
