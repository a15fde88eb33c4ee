"""Label columns of numbers as people have them: written with a point, with words for missing ones, in several files at once."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image

from mixtext_hf.data import load_image_datasets, load_text_datasets
from mixtext_hf.data.described_rows import DescribedRows
from mixtext_hf.data.labels.class_matching import match_outputs
from mixtext_hf.data.labels.class_names import folded, in_order
from mixtext_hf.data.labels.written_numbers import number_in, plain_number, truth_of


SINGLE, REGRESSION = "single_label_classification", "regression"


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """A csv file with these labels, as they are written."""

    def write(name: str, labels: list[str], header: str = "text,label") -> str:
        lines = [header, *(f"text {i} of {name},{label}" for i, label in enumerate(labels))]
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(tmp_path / name)

    return write


def named(data: Any, split: Any) -> list[str | None]:
    return [None if i is None else data.label_names[i] for i in split["label"]]


# ---- whole numbers with a point ----


@pytest.mark.parametrize(
    "labels", [["1.0", "2.0", "1.0"], ["1.", "2.", "1."], ["0.0", "10.0", "9.0"], ["1.0", "2", "2"], ["-2.00", "3.00"]]
)
def test_whole_numbers_with_a_point_are_called_what_is_written(write: Any, labels: list[str]) -> None:
    data = load_text_datasets(train_file=write("a.csv", labels))
    assert data.problem_type == SINGLE and data.train is not None and named(data, data.train) == labels
    assert data.label_names == sorted(set(labels), key=float)


def test_another_file_may_write_them_otherwise(write: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, test = write("a.csv", ["1.0", "2.0", "1.0"]), write("b.csv", ["2", "1"])
    caplog.set_level(logging.INFO, "mixtext_hf")
    data = load_text_datasets(train_file=train, test_file=test)
    assert named(data, data.test["test"]) == ["2.0", "1.0"] and "'2' for '2.0'" in caplog.text
    other_way = load_text_datasets(train_file=write("c.csv", ["1", "2"]), test_file=train)
    assert other_way.label_names == ["1", "2"] and named(other_way, other_way.test["test"]) == ["1", "2", "1"]
    # Numbers of json and parquet are numbers, not writings.
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps({"text": "x", "label": n}) for n in (2.0, 1.0)))
    typed = load_text_datasets(train_file=train, test_file=str(tmp_path / "d.jsonl"))
    assert named(typed, typed.test["test"]) == ["2.0", "1.0"]
    more = load_text_datasets(train_file=train, unlabeled_file=test)
    assert more.unlabeled is not None and list(more.unlabeled["label"]) == [1, 0]


@pytest.mark.parametrize("labels", [["1", "1.0", "2"], ["1.0", "1.00", "2.0"], ["3.", "3", "4"]])
def test_two_writings_of_a_number_in_one_column_look_alike(write: Any, labels: list[str]) -> None:
    path = write("a.csv", labels)
    with pytest.raises(ValueError, match=r"letters or numbers alone: .* in 1 rows.*--similar_labels merge"):
        load_text_datasets(train_file=path)
    assert len(load_text_datasets(train_file=path, similar_labels="merge").label_names) == 2


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["2.0", "0.0"], [2, 0]),
        (["bad", "fair", "good"], ["2.0", "0.0"], [2, 0]),
        (["1", "2", "3"], ["3.0", "1.0"], [2, 0]),
        (["1.0", "2.0", "3.0"], ["3", "1"], [2, 0]),
    ],
)
def test_they_are_the_classes_of_a_model(write: Any, names: list[str], labels: list[str], expected: list[int]) -> None:
    path = write("a.csv", labels)
    data = load_text_datasets(test_file=path, label_names=names)
    assert list(data.test["test"]["label"]) == expected
    rows = Dataset.from_dict({"label": labels})
    described = DescribedRows(rows, label="label", problem_type=SINGLE, label_names=names)
    described.look_at_labels()
    assert described.slice(0, 2)[2].to_pylist() == [names[i] for i in expected]


@pytest.mark.parametrize("names", [["001", "002"], ["1.5", "2.5"], ["+1", "+2"]])
def test_a_number_is_not_the_place_of_a_class_that_is_called_by_a_number(write: Any, names: list[str]) -> None:
    # 001 whose zeros were lost on the way is no output 1.
    with pytest.raises(ValueError, match=r"does not have: \['0', '1'\].*--label_map"):
        load_text_datasets(test_file=write("a.csv", ["1", "0"]), label_names=names)


def test_missing_numbers_among_them_are_no_class(write: Any) -> None:
    for missing in ("", "nan", "-1.0"):
        with pytest.raises(ValueError, match=r"1 labels of the training split are hidden.* at row 1"):
            load_text_datasets(train_file=write("a.csv", ["1.0", missing, "2.0"]))
    hidden = load_text_datasets(train_file=write("b.csv", ["1.0", "2.0"]), test_file=write("c.csv", ["-1.0", "-1.0"]))
    assert list(hidden.test["test"]["label"]) == [None, None] and hidden.label_names == ["1.0", "2.0"]


def test_columns_of_marks_with_a_point(write: Any) -> None:
    path = write("a.csv", ["1.0,0.0", "0.0,0.0"], "text,rude,toxic")
    data = load_text_datasets(train_file=path, label_column="rude,toxic")
    assert data.train is not None and list(data.train["label"]) == [[1.0, 0.0], [0.0, 0.0]]
    rows = Dataset.from_dict({"rude": ["1.0", "False"], "toxic": ["True", "0.0"]})
    described = DescribedRows(
        rows, label=("rude", "toxic"), problem_type="multi_label_classification", label_names=["rude", "toxic"]
    )
    assert described.slice(0, 2)[2].to_pylist() == [["rude", "toxic"], []]


@pytest.mark.parametrize("asked", [{"problem_type": REGRESSION}, {"task_name": "stsb"}])
def test_they_are_scores_where_scores_are_asked_for(tmp_path: Path, asked: dict[str, str]) -> None:
    lines = ["sentence1\tsentence2\tlabel", "a\tb\t4.0", "c\td\t2.00"]
    (tmp_path / "a.tsv").write_text("\n".join(lines) + "\n")
    data = load_text_datasets(train_file=str(tmp_path / "a.tsv"), **asked)  # type: ignore[arg-type]
    assert data.problem_type == REGRESSION and data.train is not None and list(data.train["label"]) == [4.0, 2.0]


def test_the_pieces() -> None:
    assert list(map(plain_number, ["1.0", "-3.", "01.0", "1.5", "v1.0", "1"])) == [
        "1",
        "-3",
        "01.0",
        "1.5",
        "v1.0",
        "1",
    ]
    assert folded(" 1.00") == folded("1") and folded("1.0.0") != folded("1") and folded("01.0") != folded("1")
    assert in_order(["10.0", "9", "2.0"]) == ["2.0", "9", "10.0"]
    assert [number_in(c) for c in ("1,5", "1.5 ", "+.5", "1e3", "", ".")] == [None, 1.5, 0.5, 1000.0, None, None]
    assert [truth_of(v) for v in ("TRUE", "false", "1.0", "0", 1, "yes")] == [1, 0, 1.0, 0.0, 1, "yes"]


def test_labels_of_images_are_read_alike(tmp_path: Path) -> None:
    lines = []
    for i, label in enumerate(["1.0", "10.0", "2.0", "1.0"]):
        Image.new("RGB", (4, 4), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
        lines.append(f"{i}.png;{label}")
    (tmp_path / "a.csv").write_text("\n".join(["file_name; label", *lines]) + "\n")
    noisy = {"label_map": {"10.0": "ten"}, "similar_labels": "merge"}
    assert load_image_datasets(train_file=str(tmp_path / "a.csv")).label_names == ["1.0", "2.0", "10.0"]
    mapped = load_image_datasets(train_file=str(tmp_path / "a.csv"), **noisy)  # type: ignore[arg-type]
    assert mapped.label_names == ["1.0", "2.0", "ten"]


# ---- scores with words among them ----


@pytest.mark.parametrize("word", ["NA", "n/a", "#N/A", "None", "?", "-", "missing", "good"])
def test_scores_with_a_word_among_them_are_no_classes(write: Any, word: str) -> None:
    path = write("a.csv", ["0.5", "1.25", word, "3.0", word])
    with pytest.raises(ValueError) as caught:
        load_text_datasets(train_file=path)
    said = str(caught.value)
    assert f"scores such as '0.5', and '{word}' at row 2 of the split 'train' (the first of 2 such rows)" in said
    assert "remove rows without a score" in said and "--problem_type single_label_classification" in said
    kept = load_text_datasets(train_file=path, problem_type=SINGLE)
    assert len(kept.label_names) == 4 and word in kept.label_names
    with pytest.raises(ValueError, match=f"holds '{word}' at row 2".replace("?", r"\?")):
        load_text_datasets(train_file=path, problem_type=REGRESSION)


@pytest.mark.parametrize("word", ["NA", "?", ""])
def test_a_split_of_nothing_but_such_words_has_hidden_scores(
    write: Any, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "mixtext_hf")
    train, test = write("a.csv", ["0.5", "1.25", "3.0"]), write("b.csv", [word, word])
    data = load_text_datasets(train_file=train, test_file=test)
    assert data.problem_type == REGRESSION and data.train is not None and list(data.train["label"]) == [0.5, 1.25, 3.0]
    assert list(data.test["test"]["label"]) == [None, None] and data.columns.label == "label"
    assert not word or f"'label' holds scores; {word!r} stands for hidden ones" in caplog.text


@pytest.mark.parametrize(
    "labels",
    [
        ["1", "2", "NA", "1"],  # NA is a word
        ["0.5", "low", "high", "middle", "low"],
        ["v1.5", "v2.0", "NA"],
        ["1.2.3", "1.2.4", "NA"],
    ],
)
def test_words_with_some_numbers_are_classes(write: Any, labels: list[str]) -> None:
    data = load_text_datasets(train_file=write("a.csv", labels))
    assert data.problem_type == SINGLE and data.train is not None and named(data, data.train) == labels


@pytest.mark.parametrize("labels", [["0,5", "1,25", "2,5"], ["0,5", "NA", "1,5"], ["1,0", "2,0"]])
def test_scores_with_a_decimal_comma(tmp_path: Path, labels: list[str]) -> None:
    (tmp_path / "a.csv").write_text("text;label\n" + "".join(f"t{i};{label}\n" for i, label in enumerate(labels)))
    path = str(tmp_path / "a.csv")
    with pytest.raises(
        ValueError, match=r"'train' holds '.,.+' at row 0: write scores with a point.*--label_separator"
    ):
        load_text_datasets(train_file=path)
    assert load_text_datasets(train_file=path, label_separator=",").problem_type == "multi_label_classification"
    assert load_text_datasets(train_file=path, problem_type=SINGLE).problem_type == SINGLE


def test_scores_of_a_file_to_predict() -> None:
    def scores(values: list[Any]) -> list[float | None]:
        described = DescribedRows(
            Dataset.from_dict({"label": values}), label="label", problem_type=REGRESSION, label_names=[]
        )
        described.look_at_labels()
        return described.slice(0, len(values))[2].to_pylist()

    assert scores(["1.0", "n/a", "2.5", ""]) == [1.0, None, 2.5, None]
    with pytest.raises(ValueError, match="'label' holds 'good'"):
        scores(["1.0", "good"])


# ---- other types of columns ----


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array(["y", "x", "y", "x"]).dictionary_encode(), ["x", "y"]),
        (pa.array([7, 5, 7, 5]).dictionary_encode(), ["5", "7"]),
        (pa.array([True, False] * 2), ["False", "True"]),
        (pa.array([1, 2, 1, 2], pa.int8()), ["1", "2"]),
        (pa.array([1.0, 2.0, 1.0, 2.0]), ["1", "2"]),
        (pa.array([["x"], ["y"], [], ["x", "y"]], pa.large_list(pa.string())), ["x", "y"]),
        (pa.array([["x"], ["y"], [], ["x", "y"]], pa.list_(pa.large_string())), ["x", "y"]),
        (pa.array([[0, 1], [1, 0], [1, 1], [0, 0]], pa.list_(pa.int64(), 2)), ["0", "1"]),
    ],
)
def test_types_that_hold_classes(tmp_path: Path, values: pa.Array, names: list[str]) -> None:
    pq.write_table(pa.table({"text": list("abcd"), "label": values}), tmp_path / "a.parquet")
    assert load_text_datasets(train_file=str(tmp_path / "a.parquet")).label_names == names


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0, 1, 0, 1], pa.timestamp("us")),
        pa.array([0, 1, 0, 1], pa.date32()),
        pa.array([b"x", b"y"] * 2),
        pa.array([{"name": "x"}] * 4),
        pa.array([1, 2, 1, 2], pa.decimal128(38, 0)),
    ],
)
def test_types_that_hold_none(tmp_path: Path, values: pa.Array) -> None:
    pq.write_table(pa.table({"text": list("abcd"), "label": values}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"The label column 'label' has the type .*--label_column"):
        load_text_datasets(train_file=str(tmp_path / "a.parquet"))


# ---- other columns and other models that a map is for ----


def test_a_map_is_for_the_noisy_labels_too(write: Any, tmp_path: Path) -> None:
    rows = ["ham,H", "spam,spam", "ham,S", "spam,s "]
    path = write("a.csv", rows, "text,label,given")
    with pytest.raises(ValueError, match=r"`noisy_label_column` 'given': .*does not have: \['H', 'S', 's '\]"):
        load_text_datasets(train_file=path, noisy_label_column="given", similar_labels="merge")
    wanted = {"H": "ham", "S": "spam"}
    data = load_text_datasets(
        train_file=path, noisy_label_column="given", label_map=wanted, names_of_others=["H"], similar_labels="merge"
    )
    assert data.train is not None and list(data.train["label"]) == [0, 1, 1, 1]
    assert list(data.train["clean_label"]) == [0, 1, 0, 1]
    # A map of the right labels alone, and one that leaves a noisy one out.
    path = write("b.csv", ["h,ham", "spam,spam", "h,spam", "spam,none"], "text,label,given")
    with pytest.raises(ValueError, match=r"'given': `label_map` leaves out 1 of its rows.*name a class"):
        load_text_datasets(train_file=path, noisy_label_column="given", label_map={"h": "ham", "none": None})
    path = write("c.csv", ["h,ham", "spam,spam", "h,spam"], "text,label,given")
    data = load_text_datasets(train_file=path, noisy_label_column="given", label_map={"h": "ham"})
    assert data.train is not None and list(data.train["label"]) == [0, 1, 1]


def test_a_map_that_is_for_nothing_is_refused(write: Any) -> None:
    path = write("a.csv", ["ham", "spam"])
    with pytest.raises(ValueError, match="`label_map` changes no label of the data"):
        load_text_datasets(train_file=path, label_map={"H": "ham"}, names_of_others=["X"])
    assert load_text_datasets(train_file=path, label_map={"H": "ham"}, names_of_others=["H"]).label_names == [
        "ham",
        "spam",
    ]


@pytest.mark.parametrize(
    ("wanted", "own", "label_map", "expected"),
    [
        (["ant", "bee"], ["bee", "ant"], {}, [[1], [0]]),
        (["ant", "bee"], ["Bee ", "ANT"], {}, [[1], [0]]),
        (["1.0", "0.0"], ["0", "1"], {}, [[1], [0]]),
        (["0", "1"], ["LABEL_0", "LABEL_1"], {}, [[0], [1]]),
        (["ant", "bee"], ["b", "A"], {"a": "ant", "b": "bee"}, [[1], [0]]),
        (["bad", "good"], ["1", "2", "4", "5"], {"1": "bad", "2": "bad", "4": "good", "5": "good"}, [[0, 1], [2, 3]]),
        (["ant", "bee"], ["LABEL_0", "LABEL_1"], {}, None),  # which is which, nobody can tell
        (["ant", "bee"], ["ant", "bee", "cat"], {}, None),
        (["ant", "bee", "cat"], ["ant", "bee"], {}, None),
        (["ant"], ["Ant", "ANT"], {}, None),
        (["ant", "bee"], ["ant", "bee", "cat"], {"cat": None}, None),
    ],
)
def test_outputs_of_a_model_by_its_classes(
    wanted: list[str], own: list[str], label_map: dict[str, str | None], expected: list[list[int]] | None
) -> None:
    assert match_outputs(wanted, own, label_map) == expected


def test_named_classes_beside_numbers_with_a_point(write: Any, tmp_path: Path) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).to_parquet(tmp_path / "b.parquet")
    data = load_text_datasets(train_file=write("a.csv", ["0.0", "1.0"]), test_file=str(tmp_path / "b.parquet"))
    assert list(data.test["test"]["label"]) == [1, 0]
