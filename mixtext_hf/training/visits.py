"""Rows that have numbers, in an order that tells the epoch: for methods that keep something of each row, and images that are
augmented by it.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import datasets
from torch.utils.data import IterableDataset

from mixtext_hf.data.balanced import BalancedDraw
from mixtext_hf.data.visits import EpochSampler
from mixtext_hf.methods import MixMethod

from .arguments import MixTrainingArguments
from .unlabeled import data_seed


def epoch_sampler(rows: Sized, args: MixTrainingArguments, draw: BalancedDraw | None = None) -> EpochSampler:
    """The order of the rows, or what is drawn of them, which also tells each row the epoch."""
    return EpochSampler(len(rows), seed=data_seed(args), draw=draw)


def is_stream(dataset: Any) -> bool:
    """Whether the rows come one after the other, and have no numbers."""
    return isinstance(dataset, IterableDataset | datasets.IterableDataset)


def refuse_stream(asked: str, counts: str) -> None:
    """Raise `ValueError`: a stream was given, and what was `asked` for `counts` something by the number of a row."""
    raise ValueError(
        f"{asked} {counts} by the number of a row, and `train_dataset` is a stream, whose rows have none: give a "
        "`datasets.Dataset`, which stays on disk."
    )


def check_random_order(args: MixTrainingArguments, what: str) -> None:
    """Raise `ValueError` where the rows, which are of the kind `what`, are to be drawn in another order than a random one."""
    if args.train_sampling_strategy != "random":
        raise ValueError(
            f"train_sampling_strategy={args.train_sampling_strategy!r}: {what} are drawn in an order of their own, which "
            "is random; leave it out."
        )


def check_kept_texts(dataset: Any, method: MixMethod, args: MixTrainingArguments) -> None:
    """
    Look before training whether what a method keeps of each text can be found again.

    Raises:
        `ValueError`: for streams, for rows of which nobody knows how many there are, and for another order than a random one.
    """
    if dataset is not None and method.fetches_partners:
        if is_stream(dataset) or not isinstance(dataset, Sized):
            refuse_stream(f"intra={method.hyperparameters()['intra']}", "fetches the partner of a sentence")
        check_random_order(args, f"sentences with partners ({method.name})")
    if dataset is None or not method.keeps_rows:
        return
    asked = f"saliency_every={method.hyperparameters()['saliency_every']}"
    if is_stream(dataset) or not isinstance(dataset, Sized):
        refuse_stream(asked, "keeps the saliency of a text")
    check_random_order(args, f"texts whose saliency is kept ({asked})")
