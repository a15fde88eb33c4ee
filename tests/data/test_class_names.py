"""Names of classes as people write them, through the loader of texts: what is one class, what is another, what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Features, List, Value
from table_files import write_table

from mixtext_hf.data import load_text_datasets
from mixtext_hf.data.labels.class_names import folded, in_order, look_alikes
from mixtext_hf.data.labels.lists import read_list
from mixtext_hf.data.labels.mapping import read_label_map


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(name: str, labels: list[Any], label: Any = None) -> str:
        rows = [{"text": f"text {i}", "label": value} for i, value in enumerate(labels)]
        features = None if label is None else Features({"text": Value("string"), "label": label})
        return write_table(tmp_path / name, rows, features)

    return write


def names_of(split: Any) -> list[str]:
    return [split.features["label"].int2str(i) for i in split["label"]]


# ---- what is written is the name ----


def test_codes_keep_their_zeros(write: Any) -> None:
    path = write("codes.parquet", ["001", "010", "002", "001"])
    data = load_text_datasets(train_file=path)
    assert data.label_names == ["001", "002", "010"] and names_of(data.train) == ["001", "010", "002", "001"]
    # They are no numbers of classes.
    with pytest.raises(ValueError, match=r"'test' has labels that the model does not have: \['001', '002', '010'\]"):
        load_text_datasets(test_file=path, label_names=["LABEL_0", "LABEL_1", "LABEL_2"])


@pytest.mark.parametrize(
    ("labels", "names"), [(["true", "false"], ["false", "true"]), (["1.0", "2.0"], ["1.0", "2.0"])]
)
def test_words_for_values_are_words(write: Any, labels: list[str], names: list[str]) -> None:
    assert load_text_datasets(train_file=write("a.parquet", labels)).label_names == names


# ---- whole numbers ----


@pytest.mark.parametrize("names", [["LABEL_0", "LABEL_1", "LABEL_2"], ["bad", "fair", "good"]])
def test_digits_in_strings_are_the_integers(write: Any, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mixtext_hf")
    strings = load_text_datasets(test_file=write("a.jsonl", ["2", "0", "1"], Value("string")), label_names=names)
    numbers = load_text_datasets(test_file=write("b.parquet", [2, 0, 1]), label_names=names)
    assert strings.test["test"]["label"][:] == numbers.test["test"]["label"][:] == [2, 0, 1]
    assert strings.matching.how == numbers.matching.how == "number"
    assert caplog.text.count("label i") == 2


def test_digits_in_strings_are_in_the_order_of_numbers(write: Any) -> None:
    labels = [str(i) for i in (10, 2, 1, 0, 9, 11)]
    strings = load_text_datasets(train_file=write("a.parquet", labels), test_file=write("b.parquet", [11, 2]))
    assert strings.label_names == ["0", "1", "2", "9", "10", "11"]
    assert strings.test["test"]["label"][:] == [5, 2]
    assert load_text_datasets(train_file=write("c.parquet", list(map(int, labels)))).label_names == strings.label_names
    # The classes of a ClassLabel beside digits are its ids.
    named = write("d.parquet", [1, 0], ClassLabel(names=["no", "yes"]))
    both = load_text_datasets(train_file=write("e.parquet", ["0", "1"]), test_file=named)
    assert both.test["test"]["label"][:] == [1, 0]


@pytest.mark.parametrize("dtype", ["int64", "uint64", "string"])
def test_large_numbers_are_exact(tmp_path: Path, dtype: str) -> None:
    large = [2**63 - 2, 2**63 - 1] if dtype == "int64" else [2**64 - 2, 2**64 - 1]
    values = pa.array(list(map(str, large)) if dtype == "string" else large, dtype)
    pq.write_table(pa.table({"text": ["a", "b"], "label": values}), tmp_path / "a.parquet")
    assert load_text_datasets(train_file=tmp_path / "a.parquet").label_names == list(map(str, large))  # type: ignore[arg-type]


def test_large_floats_are_refused(write: Any) -> None:
    with pytest.raises(ValueError, match=r"is 9007199254740994 at row 1, stored as a float.*as strings"):
        load_text_datasets(train_file=write("a.parquet", [1.0, 2.0**53 + 2]))


# ---- missing labels ----


@pytest.mark.parametrize(
    ("labels", "label"),
    [
        ([0.0, 1.0, float("nan"), 1.0], Value("float64")),
        ([0.0, 1.0, None, 1.0], Value("float32")),
        (["ham", "spam", None, "ham"], Value("string")),
        (["ham", "spam", " \u00a0", "ham"], Value("string")),
        (["1", "2", "-1", "1"], Value("string")),
        ([0, 1, None, 1], ClassLabel(names=["ham", "spam"])),
    ],
)
def test_a_row_without_a_class_is_named(write: Any, labels: list[Any], label: Any) -> None:
    with pytest.raises(
        ValueError, match=r"1 labels of the training split are hidden \(None, NaN.*first at row 2: remove"
    ):
        load_text_datasets(train_file=write("a.parquet", labels, label))


def test_scores_with_a_missing_one_stay_scores(write: Any) -> None:
    with pytest.raises(ValueError, match=r"holds nan at row 1: scores must be finite"):
        load_text_datasets(train_file=write("a.parquet", [0.5, float("nan")]))


def test_a_split_of_missing_numbers_has_hidden_labels(write: Any) -> None:
    hidden = write("b.parquet", [float("nan")] * 2, Value("float64"))
    data = load_text_datasets(train_file=write("a.parquet", [0.0, 1.0]), test_file=hidden)
    assert data.test["test"]["label"][:] == [None, None]


# ---- names that look alike ----

ALIKE = {
    "case": ["Spam", "spam", "spam", "ham"],
    "blanks": ["spam ", "spam", "spam", "ham"],
    "blank inside": ["not  spam", "not spam", "not spam", "ham"],
    "no-break": ["not\u00a0spam", "not spam", "not spam", "ham"],
    "decomposed": ["cafe\u0301", "caf\u00e9", "caf\u00e9", "ham"],
    "invisible": ["spam\u200b", "spam", "spam", "ham"],
}


@pytest.mark.parametrize("labels", ALIKE.values(), ids=ALIKE)
def test_names_that_look_alike(write: Any, labels: list[str], caplog: pytest.LogCaptureFixture) -> None:
    path = write("a.parquet", labels)
    with pytest.raises(
        ValueError, match=r"differ by case, blanks .*: .* in 2 rows, .* in 1 rows\. .*--similar_labels merge"
    ):
        load_text_datasets(train_file=path)
    caplog.set_level(logging.INFO, "mixtext_hf")
    merged = load_text_datasets(train_file=path, similar_labels="merge")
    assert merged.label_names == sorted({labels[1], "ham"}) and names_of(merged.train) == [*[labels[1]] * 3, "ham"]
    assert "Merged into the class" in caplog.text and merged.source["similar_labels"] == "merge"
    assert len(load_text_datasets(train_file=path, similar_labels="keep").label_names) == 3


def test_merging_takes_the_most_frequent_spelling_without_blanks(write: Any) -> None:
    path = write("a.parquet", ["A ", "A ", "A", "a", "b"])
    data = load_text_datasets(train_file=path, test_file=write("b.parquet", ["a ", "B"]), similar_labels="merge")
    assert data.label_names == ["A", "b"] and names_of(data.test["test"]) == ["A", "b"]
    assert look_alikes({"X": 2, "x": 2}) == {"x": {"X": 2, "x": 2}}


def test_declared_names_that_look_alike(write: Any) -> None:
    declared = ClassLabel(names=["Cat", "cat", "dog", "unused", "Unused"])
    path = write("a.parquet", [0, 1, 1, 2], declared)
    with pytest.raises(ValueError, match=r"'cat' in 2 rows, 'Cat' in 1 rows\. Make"):
        load_text_datasets(train_file=path)
    data = load_text_datasets(train_file=path, similar_labels="merge")
    assert data.label_names[:2] == ["cat", "dog"] and data.train["label"][:] == [0, 0, 0, 1]
    assert load_text_datasets(train_file=path, similar_labels="keep").label_names == declared.names


def test_a_wrong_word_for_similar_labels(write: Any) -> None:
    with pytest.raises(ValueError, match=r"`similar_labels` is 'join': it must be one of refuse, merge, keep"):
        load_text_datasets(train_file=write("a.parquet", ["a", "b"]), similar_labels="join")  # type: ignore[arg-type]


# ---- classes that are known beforehand ----


@pytest.mark.parametrize("names", [["World", "Sports"], ["WORLD ", "sports"], ["wo\u0301rld", "sports"]])
def test_case_and_blanks_do_not_move_classes(write: Any, names: list[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mixtext_hf")
    given = ["w\u00f3rld", "Sports"] if "\u0301" in names[0] else ["World", "Sports"]
    data = load_text_datasets(test_file=write("a.parquet", [names[1], names[0]]), label_names=given)
    assert data.test["test"]["label"][:] == [1, 0] and data.label_names == given
    assert data.matching.renamed == {name: other for name, other in zip(names, given, strict=True) if name != other}
    assert caplog.text.count("case or blanks alone") == bool(data.matching.renamed)


def test_what_two_classes_of_a_model_have_in_common_is_none_of_them(write: Any) -> None:
    path = write("a.parquet", ["a", "b"])
    with pytest.raises(ValueError, match=r"does not have: \['a'\].*\['A', 'A ', 'b'\].*--label_map.*--new_head"):
        load_text_datasets(test_file=path, label_names=["A", "A ", "b"])


def test_other_splits_are_matched_as_well(write: Any) -> None:
    train = write("a.parquet", ["spam", "ham"])
    data = load_text_datasets(train_file=train, test_file=write("b.parquet", ["SPAM", "ham "]))
    assert names_of(data.test["test"]) == ["spam", "ham"]
    # Numbers are no names: which one would be meant, nobody can tell.
    with pytest.raises(ValueError, match=r"'test' has labels that the training split does not have: \['0', '1'\]"):
        load_text_datasets(train_file=train, test_file=write("c.parquet", ["0", "1"]))


# ---- a map ----


@pytest.mark.parametrize("suffix", ["json", "yaml", "csv", "tsv", "semicolon.csv"])
def test_a_map_in_a_file(write: Any, tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture) -> None:
    pairs = {"001": "yes", "no": "off", "junk": None, "On": "yes"}
    text = {
        "json": json.dumps(pairs),
        "yaml": "001: yes\nno: off\njunk:\nOn: yes\n",
        "csv": "data,model\n001,yes\nno,off\njunk,\nOn,yes\n",
        "tsv": "001\tyes\nno\toff\njunk\t\nOn\tyes\n",
        "semicolon.csv": "\ufeff001;yes\nno;off\njunk;\nOn;yes\n",
    }[suffix]
    path = tmp_path / f"map.{suffix}"
    path.write_text(text, encoding="utf-8")
    caplog.set_level(logging.INFO, "mixtext_hf")
    rows = write("a.parquet", ["001", "no", "junk", "on", "no"])
    data = load_text_datasets(test_file=rows, label_names=["off", "yes"], label_map=path)
    assert data.test["test"]["label"][:] == [1, 0, 1, 0]
    assert data.test["test"]["text"][:] == ["text 0", "text 1", "text 3", "text 4"]
    assert "leaves out 1 of the 5 rows of test" in caplog.text and data.source["label_map"]["001"] == "yes"


def test_a_map_names_the_classes_of_training(write: Any) -> None:
    train, more = write("a.parquet", [-1, 0, 1, 2]), write("b.parquet", [1, 2, -1])
    meant = {-1: "bad", 0: "fair", "1": "good", 2: "good"}
    data = load_text_datasets(train_file=train, unlabeled_file=more, label_map=meant)  # type: ignore[arg-type]
    assert names_of(data.train) == ["bad", "fair", "good", "good"]
    assert data.unlabeled is not None and data.unlabeled["label"][:] == [2, 2, 0]
    declared = write("c.parquet", [0, 1, 2], ClassLabel(names=["x", "y", "z"]))
    assert load_text_datasets(train_file=declared, label_map={"z": "x"}).label_names == ["x", "y"]


def test_a_map_for_several_classes_a_row(write: Any, tmp_path: Path) -> None:
    path = write("a.parquet", [["a", "b"], ["c"], []])
    data = load_text_datasets(train_file=path, label_map={"b": "A2", "c": None})
    assert data.label_names == ["A2", "a"] and data.train["label"][:] == [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]
    rows = [{"text": "x", "t": 1, "r": 0, "z": 1}, {"text": "y", "t": 0, "r": 1, "z": 0}]
    columns = write_table(tmp_path / "b.csv", rows)
    data = load_text_datasets(
        test_file=columns,
        label_column="t,r,z",
        label_map={"t": "Toxic", "r": "rude", "z": None},
        label_names=["rude", "toxic"],
    )
    assert data.test["test"]["label"][:] == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("m.json", "{", "not valid JSON"),
        ("m.json", "[1]", "holds no object"),
        ("m.json", '{"a": "x", "a": "y"}', "maps 'a' to both 'x' and 'y'"),
        ("m.json", '{"a": ["x"]}', "maps 'a' to"),
        ("m.yaml", "a: [x]", "line 1"),
        ("m.yaml", "- a", "holds no"),
        ("m.csv", "a,b,c\n", "two columns"),
        ("m.csv", "\n", "two columns"),
        ("m.txt", "a,b\n", "suffix '.txt'"),
        ("m.json", '{"z": "b"}', "changes no label of the data"),
        ("m.json", '{"a": null, "b": null}', "leaves out all 2 rows"),
    ],
)
def test_wrong_maps(write: Any, tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match="`label_map`") as raised:
        load_text_datasets(train_file=write("a.parquet", ["a", "b"]), label_map=tmp_path / name)
    assert said in str(raised.value)


def test_a_map_that_is_not_there_or_not_for_scores(write: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"`label_map`: there is no file 'none\.json'"):
        read_label_map("none.json")
    with pytest.raises(ValueError, match="`label_map` is for names of classes"):
        load_text_datasets(train_file=write("a.parquet", [0.5, 1.0]), label_map={"a": "b"})


# ---- lists in strings ----


@pytest.mark.parametrize(
    "labels",
    [
        ["['billing', 'urgent']", "['billing']", "[]"],
        ['["billing", "urgent"]', '["billing"]', "[]"],
        ["('billing', 'urgent')", "('billing',)", " [] "],
        ["{'urgent', 'billing'}", '["billing"]', "[]"],
    ],
)
def test_lists_written_as_strings_are_lists(write: Any, labels: list[str]) -> None:
    path = write("a.parquet", labels)
    data = load_text_datasets(train_file=path, test_file=write("b.parquet", labels[:1]))
    assert data.problem_type == "multi_label_classification" and data.label_names == ["billing", "urgent"]
    assert data.train["label"][:] == [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]
    assert data.test["test"]["label"][:] == [[1.0, 1.0]]
    kept = load_text_datasets(train_file=path, problem_type="single_label_classification")
    assert kept.label_names == sorted(labels)


@pytest.mark.parametrize("other", ["billing", "['a' 'b']", "[billing, urgent]", "['a', 0.5]"])
def test_lists_and_other_strings_are_refused(write: Any, other: str) -> None:
    with pytest.raises(
        ValueError, match=r"'label' holds lists written as strings in 2 rows, and .* at row 1 of the split 'train'"
    ):
        load_text_datasets(train_file=write("a.parquet", ["['a']", other, "['b']"]))


@pytest.mark.parametrize(
    "labels",
    [["[billing, urgent]", "[billing]"], ["['a' 'b']", "['b' 'c']"], ["[a,b]", "[b,c]"]],
)
def test_brackets_around_all_labels_are_no_names(write: Any, labels: list[str]) -> None:
    path = write("a.parquet", labels)
    with pytest.raises(
        ValueError, match=r"at row 0 of the split 'train', and all others in brackets too.*multi-label"
    ):
        load_text_datasets(train_file=path)
    kept = load_text_datasets(train_file=path, problem_type="single_label_classification")
    assert kept.label_names == sorted(labels)
    assert load_text_datasets(train_file=write("b.parquet", ["[PAD]", "[UNK]"])).label_names == ["[PAD]", "[UNK]"]


def test_strings_that_are_no_lists() -> None:
    assert [read_list(text) for text in ("", "a", "[PAD]", "[a]", "{}", "('a')", "['a' 'b']", "[True]")] == [None] * 8
    assert read_list("[1, 2]") == ["1", "2"]


def test_classes_with_a_separator(write: Any) -> None:
    path = write("a.parquet", ["a|b", "b", "c |a"])
    assert load_text_datasets(train_file=path).problem_type == "single_label_classification"
    data = load_text_datasets(train_file=path, label_separator="|")
    assert data.label_names == ["a", "b", "c"] and data.train["label"][:] == [[1.0, 1, 0], [0, 1.0, 0], [1.0, 0, 1.0]]


def test_lists_of_named_classes_go_by_name(write: Any) -> None:
    train = write("a.parquet", [[0, 1], [2]], List(ClassLabel(names=["x", "y", "z"])))
    test = write("b.parquet", [[0], [1]], List(ClassLabel(names=["Z", "x"])))
    data = load_text_datasets(train_file=train, test_file=test)
    assert data.test["test"]["label"][:] == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


# ---- few labels ----


def test_few_labels_of_what_there_is(write: Any) -> None:
    path = write("a.parquet", [0, 0, 0, 2], ClassLabel(names=["a", "unused", "c"]))
    with pytest.raises(ValueError, match=r"`labeled_per_class` is 2, but class 'c' has only 1 examples: .*up_to"):
        load_text_datasets(train_file=path, labeled_per_class=2)
    data = load_text_datasets(train_file=path, labeled_per_class=2, up_to=True)
    assert sorted(names_of(data.train)) == ["a", "a", "c"] and names_of(data.rest) == ["a"]
    assert data.label_names == ["a", "unused", "c"] and data.source["up_to"] is True


def test_order_and_forms() -> None:
    assert in_order(["10", "9", "-1"]) == ["-1", "9", "10"] and in_order(["10", "9", "x"]) == ["10", "9", "x"]
    assert folded(" A\u00a0b\u200b ") == folded("a  B") == "a b"
