"""What is read of the rows of a data set, one by one or by the column."""

import datasets
import numpy as np
import pytest
import torch

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.in_batches import column_values
from mixtext_hf.data.texts.overlap import count_overlap
from mixtext_hf.data.texts.two_streams import UnlabeledTexts
from mixtext_hf.training.guesses import labels_of
from mixtext_hf.training.unlabeled import check_all_labelled


ROWS = [
    {"text": f"t{i}", "labels": i % 3, "soft": [0.25, 0.75], "other": None if i == 2 else f"o{i}"} for i in range(7)
]
FORMATS = pytest.mark.parametrize("change", ["list", "none", "numpy", "torch", "columns", "shuffled", "transform"])


def given(change):
    if change == "list":
        return ROWS
    rows = datasets.Dataset.from_list(ROWS)
    return {
        "none": lambda: rows,
        "numpy": lambda: rows.with_format("numpy"),
        "torch": lambda: rows.with_format("torch"),
        "columns": lambda: rows.with_format("numpy", columns=["text", "labels", "soft", "other"]),
        "shuffled": lambda: rows.select([6, *range(6)]).select([*range(1, 7), 0]),
        "transform": lambda: rows.with_transform(lambda batch: batch),
    }[change]()


@FORMATS
def test_the_values_of_a_column_are_those_of_the_rows(change):
    rows = given(change)
    assert [*column_values(rows, ["label", "labels"])] == [0, 1, 2, 0, 1, 2, 0]
    assert [*column_values(rows, ["other"])] == ["o0", "o1", None, "o3", "o4", "o5", "o6"]
    assert [*column_values(rows, ["soft", "labels"])] == [[0.25, 0.75]] * 7
    assert [*column_values(rows, ["label"])] == [None] * 7
    assert all(type(value) is int for value in column_values(rows, ["labels"]))


def test_a_transform_and_hidden_columns_are_respected():
    rows = datasets.Dataset.from_list(ROWS)
    made = rows.with_transform(lambda batch: {"label": [torch.tensor(5)] * len(batch["text"])})
    assert [*column_values(made, ["label"])] == [5] * 7
    assert [*column_values(rows.with_format(None, columns=["text"]), ["labels"])] == [None] * 7
    whole = rows.with_format("numpy", columns=["text"], output_all_columns=True)
    assert [*column_values(whole, ["labels"])] == [0, 1, 2, 0, 1, 2, 0]


def test_nothing_but_the_column_is_read():
    """A row of these cannot be read at all."""
    rows = datasets.Dataset.from_list([{**row, "image": {"bytes": b"no image", "path": None}} for row in ROWS])
    rows = rows.cast_column("image", datasets.Image())
    with pytest.raises(OSError):
        rows[0]
    collator = MixDataCollator(None, "text")
    check_all_labelled(rows, collator, 3)
    np.testing.assert_array_equal(labels_of(rows, collator), [0, 1, 2, 0, 1, 2, 0])
    texts = UnlabeledTexts([{"text": " t3"}, {"text": "new"}], text_columns=["text"])
    assert count_overlap(rows, texts) == 1
