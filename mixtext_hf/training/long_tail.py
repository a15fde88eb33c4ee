"""What a trainer makes of classes that are not equally frequent: its loss, and the draw of its rows, by the labels of its training rows."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence, Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from mixtext_hf._messages import listed
from mixtext_hf.data.balanced import BalancedDraw
from mixtext_hf.data.in_batches import column_values
from mixtext_hf.methods import MixMethod
from mixtext_hf.mixing import LongTail, MixedLoss, TokenLoss
from mixtext_hf.mixing.long_tail import mean_one
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.problem_types import SINGLE_LABEL

from .arguments import MixTrainingArguments
from .long_tail_arguments import BALANCED, read_class_weights
from .unlabeled import LABEL_COLUMNS, data_seed
from .visits import check_random_order, is_stream


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)


def check_long_tail(
    args: MixTrainingArguments, loss: MixedLoss, method: MixMethod, *, in_search: bool = False
) -> None:
    """Raise `ValueError` where the task has not one class a row, or the method mixes no labels that Remix could weigh."""
    given = args.long_tail_given
    if given and isinstance(loss, TokenLoss):
        raise ValueError(
            f"{given[0]} is of the one class that a row has, and here each token has a label: leave it out."
        )
    if given and loss.problem_type != SINGLE_LABEL:
        raise ValueError(
            f"{given[0]} is of the one class that a row has, and the task is {loss.problem_type}: leave it out."
        )
    if args.remix_kappa is not None and not method.mixes and not in_search:
        raise ValueError(
            f"remix_kappa={args.remix_kappa} weighs the labels of mixed rows, but {method.name} does not mix: name a mixing method or "
            "drop it."
        )


def loss_for_long_tail(trainer: MixTrainer, *, warns: bool = False) -> MixedLoss:
    """
    The loss of a trainer, with what its arguments make of classes that are not equally frequent among its training rows.

    Args:
        trainer ([`MixTrainer`]): Whose model, method and data are settled.
        warns (`bool`, *optional*, defaults to `False`): Whether to say what may be meant otherwise.

    Raises:
        `ValueError`: for streams, rows without classes, classes without a row, and weights of other classes than the model has.
    """
    args, loss = trainer.args, replace(trainer.loss, long_tail=None)
    if not args.long_tail_given:
        return loss
    names = names_of_classes(trainer._config)
    weights = weights_by_class(args.class_weights, names)  # those that are wrong are so whatever the rows
    if trainer.train_dataset is None:
        return loss
    counts = class_counts(labels_to_count(trainer), loss.num_labels)
    if args.sampler == BALANCED:
        draw_of(trainer)
    if warns and trainer.is_world_process_zero():
        _warn_of_doubling(args)
        _warn_of_missing(args, counts, names)
    if args.class_weights == BALANCED:
        _check_all_there(counts, names, "class_weights='balanced' divides by the rows of a class")
        weights = (1 / counts).tolist()
    if args.logit_adjustment:
        _check_all_there(counts, names, f"logit_adjustment={args.logit_adjustment:g} takes the logarithm of its share")
    # As the rows are drawn.
    seen = (counts > 0) if args.sampler == BALANCED else counts
    if weights is not None:
        if not any(weight for weight, count in zip(weights, counts, strict=True) if count):
            raise ValueError(
                f"class_weights={args.class_weights!r} are 0 for every class that has training rows: give one of these a number above 0."
            )
        weights = mean_one(weights, (seen / seen.sum()).tolist())
    prior = np.log(counts / counts.sum()) * args.logit_adjustment if args.logit_adjustment else None
    tail = LongTail(
        weights=None if weights is None or all(weight == 1 for weight in weights) else torch.tensor(weights),
        log_prior=None if prior is None else torch.tensor(prior, dtype=torch.float32),
        counts=None if args.remix_kappa is None else torch.tensor(counts, dtype=torch.float32),
        kappa=args.remix_kappa,
        tau=args.remix_tau,
    )
    return replace(loss, long_tail=tail.to(args.device)) if tail else loss


def weights_by_class(given: Any, names: Sequence[str]) -> list[float] | None:
    """
    Weights in the order of the classes, which are called `names`; `None` where they hang on the rows, or nobody gave any.

    Raises:
        `ValueError`: for another number of them, and for names of no class.
    """
    given = read_class_weights(given)  # a search may have set what it likes
    if given is None or isinstance(given, str):
        return None
    if isinstance(given, dict):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(
                f"class_weights names {unknown[0]!r}, which is no class of the model: it has {listed(names)}."
            )
        return [given.get(name, 1.0) for name in names]
    if len(given) != len(names):
        raise ValueError(
            f"class_weights has {len(given)} numbers, {given}, but there are {len(names)} classes ({listed(names)}): give one for each, in "
            "this order."
        )
    return list(given)


def labels_to_count(trainer: MixTrainer) -> list[Any]:
    """
    The labels of the training rows, as the data has them.

    Raises:
        `ValueError`: if they cannot be counted before training.
    """
    rows, asked = trainer.train_dataset, trainer.args.long_tail_given[0]
    if is_stream(rows) or not isinstance(rows, Sized) or not hasattr(rows, "__getitem__"):
        raise ValueError(
            f"{asked} counts the rows of each class before training, and `train_dataset` is a stream ({type(rows).__name__}): give a "
            "`datasets.Dataset`, which stays on disk."
        )
    columns = getattr(trainer.data_collator, "label_columns", LABEL_COLUMNS)
    found = list(column_values(rows, columns))
    if all(label is None for label in found):
        raise ValueError(
            f"{asked} counts the rows of each class, and the rows of `train_dataset` have no label in a column called "
            f"{' or '.join(map(repr, columns))}: name the label column 'label', or give the collator its name."
        )
    wrong = next((row for row, label in enumerate(found) if isinstance(label, str)), None)
    if wrong is not None:
        raise ValueError(
            f"{asked} counts the rows of each class, and the label of row {wrong} of `train_dataset` is {found[wrong]!r}: give class ids, "
            "whole numbers from 0."
        )
    return found


def class_counts(labels: Iterable[Any], num_labels: int) -> NDArray[np.float64]:
    """Rows of each class `(C,)`; those without a label count nothing, and soft labels by their shares."""
    counts = np.zeros(num_labels)
    for label in labels:
        if label is None:
            continue
        if isinstance(label, Sequence):
            shares = np.asarray([np.nan if share is None else share for share in label], dtype=np.float64)
            if shares.shape == counts.shape and np.isfinite(shares).all():
                counts += shares
        elif 0 <= label < num_labels:
            counts[int(label)] += 1
    return counts


def draw_of(trainer: MixTrainer) -> BalancedDraw | None:
    """
    What draws the training rows where classes are to come up alike; `None` where they are not.

    Raises:
        `ValueError`: for rows that cannot be drawn so.
    """
    if trainer.args.sampler != BALANCED:
        return None
    check_random_order(trainer.args, "rows of balanced classes (sampler='balanced')")
    labels = labels_to_count(trainer)
    soft = next((row for row, label in enumerate(labels) if isinstance(label, Sequence)), None)
    if soft is not None:
        raise ValueError(
            f"sampler='balanced' draws by the one class of a row, and the label of row {soft} of `train_dataset` is {labels[soft]!r}: give "
            "integer classes, or leave it out."
        )
    return BalancedDraw([-1 if label is None else int(label) for label in labels], seed=data_seed(trainer.args))


def _check_all_there(counts: NDArray[np.float64], names: Sequence[str], why: str) -> None:
    """Raise `ValueError` if a class has no row, and say `why` it must."""
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing:
        raise ValueError(
            f"{why}, and of {listed(missing)} there is no training row: add rows, load the model without that class, or give class_weights "
            "as numbers."
        )


def _warn_of_missing(args: MixTrainingArguments, counts: NDArray[np.float64], names: Sequence[str]) -> None:
    missing = [name for name, count in zip(names, counts, strict=True) if not count]
    if missing and args.sampler == BALANCED:
        logger.warning("sampler='balanced': of %s there is no training row, the others are drawn.", listed(missing))


def _warn_of_doubling(args: MixTrainingArguments) -> None:
    """Say so where two ways are taken that each make rare classes as good as frequent ones."""
    both = [
        name
        for name, is_so in (
            ("class_weights='balanced'", args.class_weights == BALANCED),
            (f"logit_adjustment={args.logit_adjustment:g}", args.logit_adjustment > 0),
            ("sampler='balanced'", args.sampler == BALANCED),
        )
        if is_so
    ]
    if len(both) > 1:
        logger.warning(
            "%s each make up for rare classes: together they favour these above frequent ones.", " and ".join(both)
        )
