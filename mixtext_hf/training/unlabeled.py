"""The unlabelled side of a [`MixTrainer`]: from what a user gives to checked texts with views, and to one loader."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import datasets
import pyarrow as pa
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_utils import seed_worker

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.augmenters import make_augmenter
from mixtext_hf.data.two_streams import (
    TwoStreamBatchSampler,
    TwoStreamCollator,
    TwoStreams,
    UnlabeledTexts,
    count_overlap,
    sized,
)

from .arguments import MixTrainingArguments


logger = logging.getLogger(__name__)

_LABEL_COLUMNS = ("label", "labels", "label_ids")


def unlabeled_texts(dataset: Any, collator: Any, args: MixTrainingArguments) -> UnlabeledTexts:
    """
    The unlabelled data with the views that `args` names, its columns checked.

    Args:
        dataset (`datasets.Dataset` or `Sequence[dict]`): Rows of raw text, or tokenised ones where there are no views.
        collator (`Callable`): The collator of the labelled rows; it says which columns are text and label.
    """
    if sized(dataset, "unlabeled_dataset") == 0:
        raise ValueError("`unlabeled_dataset` is empty: give it at least a batch of texts, or drop it and use tmix.")
    names = dataset.column_names if isinstance(dataset, datasets.Dataset) else list(dataset[0])
    columns = (collator.text_column, collator.text_pair_column) if isinstance(collator, MixDataCollator) else ()
    text_columns = () if "input_ids" in names else tuple(column for column in columns if column is not None)
    label_column = next((name for name in label_columns(collator) if name in names), None)
    if label_column is not None and isinstance(dataset, datasets.Dataset):
        dtype = dataset.data.schema.field(label_column).type
        if not pa.types.is_integer(dtype):
            # Labels are never trained on here, so one that cannot be compared with a class is as good as none.
            logger.warning(
                "The label column %r of the unlabelled texts holds %s, no classes: it is ignored.", label_column, dtype
            )
            label_column = None
    return UnlabeledTexts(
        dataset,
        text_columns=text_columns,
        view_columns=args.view_columns or (),
        augmenters=[make_augmenter(spec) for spec in args.augmenters or ()],
        label_column=label_column,
        seed=data_seed(args),
    )


def label_columns(collator: Any) -> tuple[str, ...]:
    """Where a collator looks for the label."""
    return collator.label_columns if isinstance(collator, MixDataCollator) else _LABEL_COLUMNS


def data_seed(args: MixTrainingArguments) -> int:
    """The seed of the order of the data."""
    return args.seed if args.data_seed is None else args.data_seed


def check_all_labelled(labelled: Any, collator: Any) -> None:
    """Every row of the labelled data must have a label: each counts as one in the loss."""
    columns = label_columns(collator)
    for number, row in enumerate(labelled):
        label = next((row[name] for name in columns if name in row), None)
        if label is None or label < 0:
            raise ValueError(
                f"`train_dataset` has no label in row {number} (it is {label}), where each row counts as a labelled one: "
                "move such rows to `unlabeled_dataset`."
            )


def warn_of_overlap(labelled: Any, texts: UnlabeledTexts) -> None:
    """Say how many of the unlabelled texts are labelled ones too."""
    if count := count_overlap(labelled, texts):
        logger.warning(
            "%d of the %d unlabelled texts are labelled texts too: harmless where the guess is right, but they add "
            "nothing; leave them out of the unlabelled data.",
            count,
            len(texts),
        )


def two_stream_sampler(labelled: Any, texts: UnlabeledTexts, args: MixTrainingArguments) -> TwoStreamBatchSampler:
    """The order of labelled and unlabelled rows."""
    return TwoStreamBatchSampler(
        sized(labelled, "train_dataset"),
        len(texts),
        labeled_batch_size=args.per_device_train_batch_size,
        unlabeled_batch_size=args.unlabeled_batch_size,
        seed=data_seed(args),
        world_size=args.world_size,
    )


def two_stream_loader(
    labelled: Any, texts: UnlabeledTexts, sampler: TwoStreamBatchSampler, collator: Any, args: MixTrainingArguments
) -> DataLoader:
    """The loader, not yet prepared for several processes."""
    return DataLoader(
        TwoStreams(labelled, texts),
        batch_sampler=sampler,
        collate_fn=TwoStreamCollator(collator, label_columns(collator)),
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        worker_init_fn=partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index),
    )


class SetEpoch(TrainerCallback):
    """
    Tells a sampler the epoch. Trainer and accelerate tell those they can see; in a resumed epoch the sampler lies two
    wrappers deep, and would start again with the order of the first epoch.
    """

    def __init__(self) -> None:
        self.sampler: TwoStreamBatchSampler | None = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.sampler is not None:
            self.sampler.set_epoch(int(state.epoch))
