"""Do the labels fit the task, and are all numbers finite? Asked of whole columns before the first step where they are at
hand, and of every batch before it goes to a device, which would answer a class that is not there with an assertion.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from transformers import Trainer

from mixtext_hf._messages import listed
from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.images.collator import ImageCollator, check_finite_pixels
from mixtext_hf.data.labels.class_names import are_placeholders, folded
from mixtext_hf.data.labels.noise import HIDDEN_LABELS
from mixtext_hf.data.tokens.neighbours import PairedCollator, PairedRows
from mixtext_hf.data.visits import VisitCollator, VisitedRows
from mixtext_hf.methods import PIXELS
from mixtext_hf.methods.augmix import VIEWS
from mixtext_hf.mixing import HIDDEN_SCORE, MixedLoss, TokenLoss, has_label
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.stack import unwrap
from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL

from .data_handed_over import splits_to_evaluate
from .token_classification import check_token_column, check_token_labels


if TYPE_CHECKING:
    from .trainer import MixTrainer


logger = logging.getLogger(__name__)

_IS_LIST = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def check_class(label: int, num_labels: int, *, which: str) -> None:
    """Raise `ValueError` if the model has no class of this number; `which` says whose label it is."""
    if not 0 <= label < num_labels:
        raise ValueError(
            f"{which} is {label}, but the model has num_labels={num_labels} (labels 0 to {num_labels - 1}): load it "
            "with the number of classes of the data."
        )


# ---- whole columns ----


def check_label_columns(trainer: MixTrainer) -> None:
    """
    Check the labels of all rows for training and evaluation, where the collator takes a column as it is.

    Raises:
        `ValueError`: that names the data set and the row.
    """
    splits = {"train_dataset": trainer.train_dataset, **splits_to_evaluate(trainer.eval_dataset)}
    for argument, dataset in splits.items():
        if isinstance(trainer.loss, TokenLoss):
            check_token_column(dataset, argument, trainer.data_collator, trainer.loss)
            continue
        _check_label_column(dataset, argument, trainer.data_collator, trainer.loss)
        _check_class_names(dataset, argument, trainer)


def _check_label_column(dataset: Any, argument: str, collator: Any, loss: MixedLoss) -> None:
    found = _label_column(dataset, collator)
    if found is None:
        return
    name, column = found
    where = f"The label column {name!r} of `{argument}`"
    if argument == "train_dataset" and len(column) and _is_all_hidden(column, loss.problem_type):
        raise ValueError(
            f"{where} has no label in any row, so that there is nothing to learn: give labelled rows, or another column."
        )
    if pa.types.is_integer(column.type) and loss.problem_type == SINGLE_LABEL:
        labels = pc.fill_null(column, HIDDEN_LABELS[0]).to_numpy(zero_copy_only=False)
        outside = (labels >= loss.num_labels) | ((labels < 0) & ~np.isin(labels, HIDDEN_LABELS))
        if outside.any():
            row = int(outside.argmax())
            check_class(int(labels[row]), loss.num_labels, which=f"In row {row} of `{argument}` a label")
    elif any(is_list(column.type) for is_list in _IS_LIST):
        rows, numbers = pc.list_parent_indices(column).to_numpy(zero_copy_only=False), pc.list_flatten(column)
        if pa.types.is_integer(numbers.type) or pa.types.is_floating(numbers.type):
            _check_numbers(_float32(numbers), where, rows, are_shares=loss.problem_type != REGRESSION)
    elif pa.types.is_floating(column.type):
        is_hidden = column.is_null().to_numpy(zero_copy_only=False)
        # Rows in any other format than that of `datasets` itself have NaN for None.
        if isinstance(dataset, datasets.Dataset) and dataset.format["type"] is not None:
            is_hidden = np.zeros_like(is_hidden)
        _check_numbers(_float32(column)[~is_hidden], where, np.flatnonzero(~is_hidden), are_shares=False)


def _is_all_hidden(column: pa.Array, problem_type: str | None) -> bool:
    if column.null_count == len(column):
        return True
    if problem_type != SINGLE_LABEL or not pa.types.is_integer(column.type):
        return False
    labels = pc.fill_null(column, HIDDEN_LABELS[0]).to_numpy(zero_copy_only=False)
    return bool(np.isin(labels, HIDDEN_LABELS).all())


def _check_class_names(dataset: Any, argument: str, trainer: MixTrainer) -> None:
    """
    Do the class names of a data set stand in the order of the model's outputs? Their ids alone would move each to another class.
    """
    found = _label_column(dataset, trainer.data_collator)
    feature = dataset.features[found[0]] if found is not None and isinstance(dataset, datasets.Dataset) else None
    config: Any = unwrap(cast(Any, trainer.model)).config
    if not isinstance(feature, datasets.ClassLabel) or feature.num_classes != config.num_labels:
        return
    own = names_of_classes(config)
    if are_placeholders(own) or list(map(folded, own)) == list(map(folded, feature.names)):
        return
    both = f"The classes of `{argument}` are [{listed(feature.names)}], those of model.config.id2label [{listed(own)}]"
    if sorted(map(folded, own)) == sorted(map(folded, feature.names)):
        raise ValueError(
            f"{both}: the same in another order, so that each output would learn another class than it knows. Bring the data into the "
            "order of the model, by load_text_datasets(label_names=...) or dataset.align_labels_with_mapping(model.config.label2id, "
            f"{found[0] if found else None!r})."
        )
    if argument == "train_dataset":
        logger.warning(
            "%s: the head of the one goes on as that of the other, and its names stay. Give id2label and label2id to from_pretrained "
            "if they are new, and new_head=True for a head that has learnt nothing.",
            both,
        )


def _label_column(dataset: Any, collator: Any) -> tuple[str, pa.Array] | None:
    """Name and values of the label, if the package's own collator reads them from a column that is at hand."""
    if not isinstance(collator, MixDataCollator | ImageCollator):
        return None
    if isinstance(dataset, datasets.Dataset):
        name = next((name for name in collator.label_columns if name in dataset.column_names), None)
        # What a transform makes of the column is for the batches to judge.
        if name is None or dataset.format["type"] == "custom":
            return None
        column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
        return name, pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if not isinstance(dataset, Sequence) or not len(dataset) or not isinstance(dataset[0], Mapping):
        return None
    name = next((name for name in collator.label_columns if name in dataset[0]), None)
    if name is None:
        return None
    labels = [row.get(name) for row in dataset]
    try:
        return name, pa.array(
            [label.tolist() if isinstance(label, np.ndarray | torch.Tensor) else label for label in labels]
        )
    except (pa.ArrowException, OverflowError):
        # Of several types: the collator names the row.
        return None


def _float32(numbers: pa.Array) -> NDArray[np.float32]:
    """As the collator will have them; `None` is NaN."""
    with np.errstate(over="ignore"):
        return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64).astype(np.float32)


def _check_numbers(numbers: NDArray[np.float32], where: str, rows: NDArray[np.integer], *, are_shares: bool) -> None:
    """Raise `ValueError` for the first of `numbers` that is no label, naming its row, which is at the same place in `rows`."""
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        place = int(wrong.argmax())
        raise ValueError(
            f"{where} holds {numbers[place]} in row {rows[place]}: labels must be finite in float32. Correct the row or "
            "remove it; a row that is to have no label has None, in a data set without a format."
        )
    wrong = (numbers < 0) | (numbers > 1)
    if are_shares and wrong.any():
        place = int(wrong.argmax())
        raise ValueError(
            f"{where} holds {numbers[place]} in row {rows[place]}: a list has a number in [0, 1] for each class. Correct "
            "the row or remove it; a row that is to have no label has None in place of the list."
        )


# ---- batches ----


def check_labels(labels: torch.Tensor, loss: MixedLoss, problem_type: str | None) -> None:
    """
    Check the labels of a first batch.

    Args:
        labels (`torch.Tensor` of shape `(B,)` or `(B, C)`): As the collator makes them.
        loss ([`MixedLoss`]): The task's loss.
        problem_type (`str`, *optional*): What the config of the model says of the task.

    Raises:
        `ValueError`: if a loss of that kind cannot be taken of them.
    """
    if isinstance(loss, TokenLoss):
        check_token_labels(labels, loss)
        return
    if labels.dim() == 2 and labels.shape[1] > 1 and problem_type is None:
        raise ValueError(
            f"The labels are rows of {labels.shape[1]} numbers and the model does not say what they are: set "
            "model.config.problem_type to 'multi_label_classification' (0/1 for each class) or to "
            "'single_label_classification' (soft targets that sum to 1)."
        )
    if loss.problem_type == REGRESSION and not labels.is_floating_point():
        raise ValueError(
            "The labels are integers, but the task is regression, where -1 is a score and no hidden class: give floats, "
            "or make the collator with is_regression=True."
        )
    check_values(labels, loss)


def check_values(labels: torch.Tensor, loss: MixedLoss) -> None:
    """
    Check the labels `(B,)` or `(B, C)` of any batch, hidden ones aside.

    Raises:
        `ValueError`: if the model has no such class, or a number is no label.
    """
    if isinstance(loss, TokenLoss):
        check_token_labels(labels, loss)
        return
    is_known = has_label(labels).cpu().numpy()
    known = labels.detach().cpu().float().numpy() if labels.is_floating_point() else labels.cpu().numpy()
    known = known[is_known]
    if loss.problem_type == SINGLE_LABEL and labels.dim() == 1:
        if labels.is_floating_point():
            raise ValueError(
                f"The labels are floats, but the model has {loss.num_labels} classes: give integer classes, or "
                "load the model with num_labels=1 for regression."
            )
        outside = (known < 0) | (known >= loss.num_labels)
        if outside.any():
            row = np.flatnonzero(is_known)[outside.argmax()]
            check_class(int(labels[row]), loss.num_labels, which=f"In row {row} of the batch a label")
        return
    per_row = int(np.prod(known.shape[1:]))
    are_shares = loss.problem_type != REGRESSION and labels.dim() == 2
    _check_numbers(
        known.ravel(), "The batch, `labels`,", np.flatnonzero(is_known).repeat(per_row), are_shares=are_shares
    )


def _as_wide_as_the_task(labels: torch.Tensor, loss: MixedLoss) -> torch.Tensor:
    """Where a row has a label for each class and all of a batch are hidden, nothing told the collator how many there are."""
    if labels.dim() == 1 and loss.problem_type != SINGLE_LABEL and loss.num_labels > 1:
        if bool(has_label(labels).any()):
            raise ValueError(
                f"The labels of the batch are single numbers, such as {labels[has_label(labels)][0].item()}, but the task is "
                f"{loss.problem_type} with num_labels={loss.num_labels}: give a list of {loss.num_labels} numbers for each row."
            )
        return torch.full((len(labels), loss.num_labels), HIDDEN_SCORE)
    return labels


class CheckedCollator:
    """
    A collator whose batches are looked at on the host, in the process that made them.

    Args:
        collator (`Callable`): Anybody's. Of the package's own, labels that are hidden on purpose (`None`) come as NaN; of another
            a NaN is one of the data.
        loss ([`MixedLoss`]): The task's loss.
    """

    def __init__(self, collator: Callable[[Any], Any], loss: MixedLoss):
        self.collator, self.loss = collator, loss

    def __call__(self, features: Any) -> Any:
        """
        Raises:
            `ValueError`: that names the row, for labels that are none of the task and pixels that are not finite.
        """
        batch = self.collator(features)
        if not isinstance(batch, Mapping):
            return batch
        is_own = isinstance(self.collator, MixDataCollator | ImageCollator)
        labels = batch.get("labels")
        if isinstance(labels, torch.Tensor) and labels.device.type == "cpu" and isinstance(self.loss, TokenLoss):
            check_token_labels(labels, self.loss)
        elif isinstance(labels, torch.Tensor) and labels.device.type == "cpu" and labels.dim() in (1, 2):
            labels = _as_wide_as_the_task(labels, self.loss)
            batch = {**batch, "labels": labels}
            hidden = ~has_label(labels)
            if not is_own and labels.is_floating_point() and bool(hidden.any()):
                raise ValueError(
                    f"The batch, `labels`, holds NaN in row {int(hidden.int().argmax())}: labels must be finite. Correct the row "
                    "or leave it out; only MixDataCollator and ImageCollator hide labels, those that are None."
                )
            check_values(labels, self.loss)
        if not is_own:
            for name in (PIXELS, VIEWS):
                if isinstance(batch.get(name), torch.Tensor) and batch[name].device.type == "cpu":
                    check_finite_pixels(batch[name], name)
        return batch


class CheckedLoaders(Trainer):
    """A Trainer whose loaders hand out batches that a [`CheckedCollator`] has looked at."""

    loss: MixedLoss

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        # While the collator that says which columns it reads is in its place.
        self._set_signature_columns_if_needed()
        given = self.data_collator
        self.data_collator = CheckedCollator(given, self.loss.plain)
        try:
            if isinstance(dataset, VisitedRows | PairedRows):
                dataset = self._telling_visits(dataset)
            return super()._get_dataloader(dataset, *args, **kwargs)
        finally:
            self.data_collator = given

    def _telling_visits(self, dataset: VisitedRows | PairedRows) -> VisitedRows | PairedRows:
        """The rows with the columns that the collator reads, which it is given as if they did not say which they are."""
        rows, collator = dataset.rows, self.data_collator
        if isinstance(rows, datasets.Dataset):
            rows = self._remove_unused_columns(rows, description="training")
        else:
            collator = self._get_collator_with_removed_columns(collator, description="training")
        if isinstance(dataset, PairedRows):
            self.data_collator = PairedCollator(collator)
            return PairedRows(rows, dataset.nearest, dataset.mu, dataset.seed)
        self.data_collator = VisitCollator(collator)
        return VisitedRows(rows)
