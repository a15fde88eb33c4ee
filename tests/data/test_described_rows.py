"""What stands beside a prediction: the id, however its column is called, the number in the file, the label as people wrote it."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from mixtext_hf.data import load_text_datasets
from mixtext_hf.data.described_rows import DescribedRows, find_id_column


SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def table(**columns):
    return Dataset.from_dict({"text": ["a", "b", "c"], **columns})


def labels_of(values, names, problem_type=SINGLE, feature=None, **settings):
    features = None if feature is None else Features({"label": feature})
    rows = Dataset.from_dict({"label": values}, features=features)
    described = DescribedRows(rows, label="label", problem_type=problem_type, label_names=names, **settings)
    return described.slice(0, len(values))[2].to_pylist()


@pytest.mark.parametrize("name", ["id", "ID", "idx", "index", "guid", "ticket_id", "ticketId", "Ticket ID", "row-id"])
def test_an_id_is_known_by_its_name(name):
    assert find_id_column(table(**{name: ["x", "y", "z"]}), ["text"]) == name
    assert find_id_column(table(**{name: [3, 1, 2]}), ["text"]) == name


@pytest.mark.parametrize("values", [["x", "x", "y"], ["x", None, "y"], ["x", "", "y"], [1.0, 2.0, 3.0]])
def test_an_id_is_whole_and_without_repeats(values):
    assert find_id_column(table(user_id=values), ["text"]) is None
    # Beside one that is better, it is passed over.
    assert find_id_column(table(user_id=values, ticket_id=[1, 2, 3]), ["text"]) == "ticket_id"


@pytest.mark.parametrize("name", ["paid", "grid", "valid", "identity"])
def test_other_words_with_these_letters_are_none(name):
    assert find_id_column(table(**{name: [1, 2, 3]}), ["text"]) is None


def test_an_id_that_is_given():
    rows = table(id=[1, 2, 3], name=["x", "x", "y"], size=[1.5, 2.5, 3.5])
    assert find_id_column(rows, ["text"], "name") == "name"
    assert find_id_column(rows, ["text", "id"]) is None
    with pytest.raises(ValueError, match="--id_column nr: there is no such column, choose from text, id, name, size"):
        find_id_column(rows, ["text"], "nr")
    with pytest.raises(ValueError, match="--id_column size holds"):
        find_id_column(rows, ["text"], "size")


def test_rows_that_were_chosen_have_their_numbers_in_the_file(tmp_path):
    path = tmp_path / "test.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(40)))
    data = load_text_datasets(test_file=str(path), max_predict_samples=6)
    numbers = data.rows["test"]
    assert data.test["test"]["text"][:] == [f"text {i}" for i in numbers] and numbers.tolist() != list(range(6))
    described = DescribedRows(
        data.test["test"], texts=["text"], problem_type=SINGLE, label_names=["a", "b"], numbers=numbers
    )
    ids, (texts,), labels = described.slice(2, 4)
    assert ids.to_pylist() == numbers[2:4].tolist() and labels is None
    assert texts.to_pylist() == [f"text {i}" for i in numbers[2:4]]


@pytest.mark.parametrize(
    "values, feature, expected",
    [
        (["spam", "ham", "", None], None, ["spam", "ham", None, None]),
        ([0, 1, -1, None], None, ["ham", "spam", None, None]),
        (["0", "1", "egg", "7"], None, ["ham", "spam", "egg", "7"]),
        ([0.0, 1.0, None, float("nan")], None, ["ham", "spam", None, None]),
        # The names that the data has for its numbers are meant.
        ([0, 1, -1, 1], ClassLabel(names=["spam", "ham"]), ["spam", "ham", None, "ham"]),
    ],
)
def test_labels_are_shown_as_classes(values, feature, expected):
    assert labels_of(values, ["ham", "spam"], feature=feature) == expected


def test_classes_that_are_named_by_numbers():
    assert labels_of([1, 2, 3], ["2", "1"]) == ["1", "2", "3"]
    assert labels_of([0, 1, -1], ["2", "1"], labels_are_ids=True) == ["2", "1", None]


def test_several_labels():
    names = ["a", "b", "c"]
    multi_hot = List(Value("float32"))
    assert labels_of([[1, 0, 1], [0, 0, 0], None], names, SEVERAL, multi_hot) == [["a", "c"], [], None]
    assert labels_of([["c", "x"], []], names, SEVERAL) == [["c", "x"], []]
    assert labels_of([[2], [0, 1]], names, SEVERAL) == [["c"], ["a", "b"]]
    rows = Dataset.from_dict({"b": [1, 0, -1], "a": [1, 0, -1]})
    described = DescribedRows(rows, label=("b", "a"), problem_type=SEVERAL, label_names=["a", "b"])
    assert described.slice(0, 3)[2].to_pylist() == [["b", "a"], [], None]


def test_scores():
    assert labels_of([0.5, None, 2.0], [], REGRESSION) == [0.5, None, 2.0]
    with pytest.raises(ValueError, match="'label' holds 'good', and the model predicts numbers"):
        labels_of(["good"], [], REGRESSION)


def test_nothing_but_a_number_is_known():
    rows = Dataset.from_dict({"pixels": [[1], [2]]})
    described = DescribedRows(rows, image="pixels", problem_type=SINGLE, label_names=["a"], numbers=np.array([4, 7]))
    assert described.inputs == () and not described.has_labels
    assert described.slice(1, 2)[0].to_pylist() == [7]
