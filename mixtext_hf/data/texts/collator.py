"""From a list of dataset rows to one padded batch. Nothing in it is random: mixing happens later, on the device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from mixtext_hf.data.tables.columns import recognise_columns
from mixtext_hf.mixing import HIDDEN_SCORE, IGNORE_INDEX


# `tokenizer.model_max_length` is about 1e30 where the tokenizer does not know it.
_NO_MAX_LENGTH = 1_000_000


@dataclass
class MixDataCollator:
    """
    Collate rows of text, or rows that are tokenised already, into a batch.

    Rows with `input_ids` are padded as they are. Other rows are tokenised here, which lets a dataset keep its raw
    columns: the texts are cut to `max_length` and padded to the longest of the batch.

    Args:
        tokenizer (`PreTrainedTokenizerBase`):
            Tokenizer of the model.
        text_column (`str`, *optional*):
            Column of the text. Of rows without `input_ids` it is recognised by its usual names if it is not given, see
            [`recognise_columns`].
        text_pair_column (`str`, *optional*):
            Column of the second text.
        label_column (`str`, *optional*, defaults to `"label"`):
            Column of the label. Where it is absent, `labels` or `label_ids` is taken.
        max_length (`int`, *optional*):
            Longest sequence in tokens; by default what the tokenizer says its model can take.
        pad_to_multiple_of (`int`, *optional*):
            Round the padded length up to a multiple of this, for the tensor cores of a GPU.
        is_regression (`bool`, *optional*, defaults to `False`):
            Whether the labels are scores: whole numbers are then floats like the others, and -1 is one of them.
    """

    tokenizer: PreTrainedTokenizerBase
    text_column: str | None = None
    text_pair_column: str | None = None
    label_column: str = "label"
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    is_regression: bool = False

    def __post_init__(self) -> None:
        if self.text_pair_column is not None and self.text_column is None:
            raise ValueError(
                f"`text_pair_column` is {self.text_pair_column!r} without a `text_column`: name the first text too."
            )
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"`max_length` is {self.max_length}: it must be at least 1.")
        if self.pad_to_multiple_of is not None and self.pad_to_multiple_of < 1:
            raise ValueError(f"`pad_to_multiple_of` is {self.pad_to_multiple_of}: it must be at least 1, such as 8.")

    @property
    def columns(self) -> list[str]:
        """The columns of a dataset it reads; whoever removes unused columns must keep these."""
        texts = [column for column in (self.text_column, self.text_pair_column) if column is not None]
        return list(dict.fromkeys([*texts, *self.tokenizer.model_input_names, *self.label_columns]))

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Where it looks for the label, in this order."""
        return (self.label_column, "labels", "label_ids")

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Args:
            features (`list[dict[str, Any]]`):
                The rows of the batch, all tokenised or all raw.

        Returns:
            `dict[str, torch.Tensor]`: the inputs of the model, each `(B, L)`, and, where the rows have labels,
            `labels`: int64 `(B,)` for class ids, float32 `(B,)` for scores, float32 `(B, C)` for lists. A hidden
            label is -100 (`None`, or the class id -1), or NaN where labels are floats (`None`).

        Raises:
            `ValueError`: for scores or lists that are not finite, and for a text without a token; names the row.
        """
        is_ready = "input_ids" in features[0]
        if not is_ready and self.text_column is None:
            self._recognise(features[0])
        batch = self._pad_ready(features) if is_ready else self._tokenise(features)
        label_column = next((column for column in self.label_columns if column in features[0]), None)
        if label_column is not None:
            batch["labels"] = label_tensor([row[label_column] for row in features], label_column, self.is_regression)
        return batch

    def _pad_ready(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        inputs = self.tokenizer.model_input_names
        for row, feature in enumerate(features):
            if feature["input_ids"] is None or not len(feature["input_ids"]):
                raise ValueError(
                    f"`input_ids` of row {row} of the batch is {feature['input_ids']!r}, and a model cannot read a text without a token: "
                    "remove such rows."
                )
        ready: dict[str, list[Any]] = {name: [row[name] for row in features] for name in inputs if name in features[0]}
        return self._pad(ready)

    def _recognise(self, row: dict[str, Any]) -> None:
        """The columns of rows that nobody could look at before, such as those of a stream."""
        try:
            found = recognise_columns(row, require_label=False)
        except ValueError as error:
            raise ValueError(
                f"The rows have no `input_ids` (they have {sorted(row)}) and the collator has no `text_column`: tokenise the "
                f"dataset, or name the column of the text. {error}"
            ) from error
        self.text_column, self.text_pair_column = found.text, found.text_pair
        if isinstance(found.label, str) and not set(self.label_columns) & set(row):
            self.label_column = found.label

    def _tokenise(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        assert self.text_column is not None
        texts = self._texts(features, self.text_column)
        pairs = None if self.text_pair_column is None else self._texts(features, self.text_pair_column)
        max_length = self.max_length or self.tokenizer.model_max_length
        truncation = max_length < _NO_MAX_LENGTH
        encoded = self.tokenizer(texts, pairs, truncation=truncation, max_length=max_length if truncation else None)
        for row, ids in enumerate(encoded["input_ids"]):
            if not len(ids):
                raise ValueError(
                    f"The tokenizer makes no token of the text {texts[row]!r} (row {row} of the batch), and a model cannot read none: "
                    "remove such rows."
                )
        # Padded apart: in one call, a `max_length` that is no multiple of `pad_to_multiple_of` is refused.
        return self._pad({name: encoded[name] for name in self.tokenizer.model_input_names if name in encoded})

    def _pad(self, inputs: dict[str, list[Any]]) -> dict[str, torch.Tensor]:
        return dict(self.tokenizer.pad(inputs, pad_to_multiple_of=self.pad_to_multiple_of, return_tensors="pt"))

    def _texts(self, features: list[dict[str, Any]], column: str) -> list[str]:
        texts = []
        for row, feature in enumerate(features):
            if column not in feature:
                raise ValueError(
                    f"Row {row} of the batch has no column {column!r}, it has {sorted(feature)}. A `Trainer` removes "
                    "columns its model does not take unless `remove_unused_columns=False`."
                )
            text = feature[column]
            if not isinstance(text, str):
                raise TypeError(
                    f"The text column {column!r} holds {text!r} of type {type(text).__name__} in row {row} of the "
                    "batch: every text must be a str. Remove or correct such rows."
                )
            texts.append(text)
        return texts


def label_tensor(labels: list[Any], column: str, is_regression: bool = False) -> torch.Tensor:
    """The labels of a batch as [`MixDataCollator`] gives them; `column` is their name in errors."""
    labels = [
        label.tolist() if isinstance(label, np.ndarray | np.generic | torch.Tensor) else label for label in labels
    ]
    lists = [label for label in labels if isinstance(label, list)]
    if lists:
        lengths = sorted({len(label) for label in lists})
        if len(lengths) > 1 or any(not isinstance(label, list) and label is not None for label in labels):
            raise ValueError(
                f"The label column {column!r} must hold lists of one length in all rows of a batch, "
                f"the lengths found are {lengths}: encode multi-label data as one 0 or 1 a class."
            )
        for row, label in enumerate(labels):
            if label is not None and None in label:
                raise ValueError(
                    f"The label column {column!r} holds {label!r} in row {row} of the batch: give one number a class, or None in "
                    "place of the list for a row without a label."
                )
        hidden_row = [HIDDEN_SCORE] * lengths[0]
        return _finite([hidden_row if label is None else label for label in labels], labels, column)
    for row, label in enumerate(labels):
        if label is not None and not isinstance(label, int | float):
            raise TypeError(
                f"The label column {column!r} holds {label!r} of type {type(label).__name__} in row {row} of the "
                "batch: labels are class ids, scores or lists of 0/1. Give class names ids before training."
            )
    if is_regression or any(isinstance(label, float) for label in labels):
        return _finite([HIDDEN_SCORE if label is None else label for label in labels], labels, column)
    # -1 is how the test splits on the Hub hide a class; it is no class, and the loss would refuse it.
    return torch.tensor([IGNORE_INDEX if label in (None, -1) else label for label in labels], dtype=torch.int64)


def _finite(numbers: list[Any], labels: list[Any], column: str) -> torch.Tensor:
    """`numbers` as float32, of which only those may be NaN whose label is `None`."""
    tensor = torch.tensor(numbers, dtype=torch.float32)
    wrong = ~tensor.isfinite().reshape(len(tensor), -1).all(dim=1)
    row = next((row for row in wrong.nonzero().flatten().tolist() if labels[row] is not None), None)
    if row is not None:
        raise ValueError(
            f"The label column {column!r} holds {labels[row]} in row {row} of the batch: labels must be finite in float32. Correct "
            "the row or remove it; a row that is to have no label has None, in a data set without a format."
        )
    return tensor
