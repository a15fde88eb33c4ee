"""The unlabelled side of a [`MixTrainer`]: from what a user gives to checked texts with views, and to one loader."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

import datasets
import pyarrow as pa
import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback
from transformers.trainer_pt_utils import AcceleratorConfig
from transformers.trainer_utils import seed_worker

from mixtext_hf._numbers import is_whole
from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.balanced import BalancedDraw, BalancedSampler
from mixtext_hf.data.in_batches import column_values
from mixtext_hf.data.texts.augmenters import make_augmenter
from mixtext_hf.data.texts.overlap import count_overlap
from mixtext_hf.data.texts.two_streams import (
    TwoStreamBatchSampler,
    TwoStreamCollator,
    TwoStreams,
    UnlabeledTexts,
    sized,
)
from mixtext_hf.data.tokens.collator import TokenCollator
from mixtext_hf.data.visits import EpochSampler
from mixtext_hf.guessing import check_shares
from mixtext_hf.methods import MixMethod, MixText
from mixtext_hf.mixing import MixedLoss, TokenLoss
from mixtext_hf.problem_types import SINGLE_LABEL

from .arguments import MixTrainingArguments
from .labels import check_class


logger = logging.getLogger(__name__)

LABEL_COLUMNS = ("label", "labels", "label_ids")


def check_semi_supervised(method: MixText, loss: MixedLoss, dataset: Any, args: MixTrainingArguments) -> None:
    """Can `method` learn from unlabelled texts here? Raises `ValueError` if the task, the data or the arguments forbid it."""
    if loss.problem_type != SINGLE_LABEL:
        raise ValueError(
            f"{method.name} guesses one class for each text, but the task is {loss.problem_type}: use tmix or erm."
        )
    if dataset is None:
        raise ValueError(
            f"{method.name} learns from unlabelled texts and has none: give `unlabeled_dataset` (on the command line "
            "--unlabeled_file, or --labeled_per_class, which leaves the rest of train), or use mix_method='tmix'."
        )
    if isinstance(loss, TokenLoss):
        method.weights_of(args.num_views)
    else:
        method.check_views(args.num_views)
    if not method.online:
        check_shares(args.guess_shares_given, loss.num_labels)
    if args.train_sampling_strategy != "random":
        raise ValueError(
            f"train_sampling_strategy={args.train_sampling_strategy!r}: labelled and unlabelled rows are drawn in an "
            "order of their own, which is random; leave it out."
        )
    config = args.accelerator_config
    if isinstance(config, AcceleratorConfig) and (config.split_batches or config.dispatch_batches):
        raise ValueError(
            "accelerator_config cuts batches into pieces (split_batches or dispatch_batches), but one of labelled and "
            "unlabelled rows cannot be cut: leave both off."
        )


def warn_of_unused(method: MixMethod, dataset: Any, args: MixTrainingArguments) -> None:
    """Say what was given for unlabelled texts to a method that learns from labelled rows alone."""
    if dataset is not None:
        logger.warning(
            "mix_method='%s' learns from labelled rows alone: `unlabeled_dataset` is not used. mixtext and uda use it.",
            method.name,
        )
    if args.num_views > 1:
        logger.warning(
            "view_columns and augmenters make views of unlabelled texts, which mix_method='%s' has no use for.",
            method.name,
        )


def unlabeled_texts(dataset: Any, collator: Any, args: MixTrainingArguments) -> UnlabeledTexts:
    """
    The unlabelled data with the views that `args` names, its columns checked.

    Args:
        dataset (`datasets.Dataset` or `Sequence[dict]`): Rows of raw text, or tokenised ones where there are no views.
        collator (`Callable`): The collator of the labelled rows; it says which columns are text and label.
    """
    names = _names(dataset, "unlabeled_dataset")
    columns = (collator.text_column, collator.text_pair_column) if isinstance(collator, MixDataCollator) else ()
    label_column = next((name for name in (*label_columns(collator), *LABEL_COLUMNS) if name in names), None)
    if isinstance(collator, TokenCollator):
        if args.num_views > 1:
            raise ValueError(
                "view_columns and augmenters reword texts, and the words of two views do not meet position by position, where each has a "
                "label: leave them out."
            )
        # Lists of words, of which there are no views, and of tags, which are not counted as guesses of texts are.
        columns, label_column = (), None
    text_columns = () if "input_ids" in names else tuple(column for column in columns if column is not None)
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


def check_same_kind(labelled: Any, dataset: Any) -> None:
    """Both kinds of rows go through one collator: tokenised ones with the same inputs, or raw texts."""
    if sized(labelled, "train_dataset") == 0:
        raise ValueError("`train_dataset` is empty: give it at least one row.")
    one, other = (
        set(_names(rows, name)) for rows, name in ((labelled, "train_dataset"), (dataset, "unlabeled_dataset"))
    )
    if ("input_ids" in one) != ("input_ids" in other):
        ready, raw = (
            ("train_dataset", "unlabeled_dataset") if "input_ids" in one else ("unlabeled_dataset", "train_dataset")
        )
        raise ValueError(
            f"`{ready}` is tokenised (it has input_ids) and `{raw}` is not: tokenise both, or give raw texts in both (needed "
            "for view_columns and augmenters)."
        )
    differing = sorted((one ^ other) & {"attention_mask", "token_type_ids"})
    if "input_ids" in one and differing:
        raise ValueError(
            f"Only one of `train_dataset` and `unlabeled_dataset` has {', '.join(differing)}: tokenise both alike."
        )


def _names(dataset: Any, argument: str) -> list[str]:
    if sized(dataset, argument) == 0:
        raise ValueError(
            f"`{argument}` is empty: give it at least a batch of texts (of what labeled_per_class leaves of train nothing may "
            "be left), or train with mix_method='tmix', which needs none."
        )
    return list(dataset.column_names if isinstance(dataset, datasets.Dataset) else dataset[0])


def label_columns(collator: Any) -> tuple[str, ...]:
    """Where a collator looks for the label."""
    return collator.label_columns if isinstance(collator, MixDataCollator) else LABEL_COLUMNS


def data_seed(args: MixTrainingArguments) -> int:
    """The seed of the order of the data."""
    return args.seed if args.data_seed is None else args.data_seed


def check_all_labelled(labelled: Any, collator: Any, num_labels: int) -> None:
    """Every row of the labelled data must have a class: each counts as one in the loss."""
    for number, label in enumerate(column_values(labelled, label_columns(collator))):
        if label is not None and not is_whole(label):
            raise ValueError(
                f"The label of row {number} of `train_dataset` is {label!r} ({type(label).__name__}): beside unlabelled texts "
                "labels are class ids, whole numbers from 0."
            )
        if label is None or label < 0:
            raise ValueError(
                f"`train_dataset` has no label in row {number} (it is {label}), where each row counts as a labelled one: "
                "move such rows to `unlabeled_dataset`."
            )
        check_class(label, num_labels, which=f"The label of row {number} of `train_dataset`")


def warn_of_overlap(labelled: Any, texts: UnlabeledTexts) -> None:
    """Say how many of the unlabelled texts are labelled ones too."""
    if count := count_overlap(labelled, texts):
        logger.warning(
            "%d of the %d unlabelled texts are labelled texts too: harmless where the guess is right, but they add "
            "nothing; leave them out of the unlabelled data.",
            count,
            len(texts),
        )


def two_stream_sampler(
    labelled: Any,
    texts: UnlabeledTexts,
    args: MixTrainingArguments,
    batch_size: int,
    draw: BalancedDraw | None = None,
) -> TwoStreamBatchSampler:
    """
    The order of labelled and unlabelled rows, with `batch_size` labelled ones in a batch and others in proportion; the labelled ones as
    they are drawn, where that is given.
    """
    return TwoStreamBatchSampler(
        sized(labelled, "train_dataset"),
        len(texts),
        labeled_batch_size=batch_size,
        unlabeled_batch_size=max(args.unlabeled_batch_size * batch_size // args.per_device_train_batch_size, 1),
        seed=data_seed(args),
        world_size=args.world_size,
        draw=draw,
    )


def two_stream_loader(
    labelled: Any,
    texts: UnlabeledTexts,
    sampler: TwoStreamBatchSampler,
    collator: Any,
    columns: Sequence[str],
    args: MixTrainingArguments,
) -> DataLoader:
    """The loader, not yet prepared for several processes."""
    return DataLoader(
        TwoStreams(labelled, texts),
        batch_sampler=sampler,
        collate_fn=TwoStreamCollator(collator, columns),
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
        worker_init_fn=partial(seed_worker, num_workers=args.dataloader_num_workers, rank=args.process_index),
        # Otherwise the loader takes its seed from the global generator, and so changes what dropout draws: by another
        # amount in a resumed run, where the workers persist.
        generator=torch.Generator().manual_seed(data_seed(args)),
    )


class SetEpoch(TrainerCallback):
    """
    Tells a sampler the epoch. Trainer and accelerate tell those they can see; in a resumed epoch the sampler lies two
    wrappers deep, and would start again with the order of the first epoch.
    """

    def __init__(self) -> None:
        self.sampler: TwoStreamBatchSampler | EpochSampler | BalancedSampler | None = None

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.sampler is not None:
            self.sampler.set_epoch(int(state.epoch))
