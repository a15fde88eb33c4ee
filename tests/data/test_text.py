import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from table_files import write_table

from mixtext_hf.data import GLUE_TASKS, TextColumns, TextDatasets, has_labels, load_text_datasets
from mixtext_hf.data.labels.class_keys import Naming
from mixtext_hf.data.labels.class_names import cleaned
from mixtext_hf.data.labels.classes import normalise_labels
from mixtext_hf.data.tables import sources


Row = dict[str, Any]
ROWS: list[Row] = [{"text": f"text {i}", "label": "ham" if i % 3 else "spam", "idx": i} for i in range(12)]


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path: Path) -> Any:
    return lambda name, rows, features=None: write_table(tmp_path / name, rows, features)


def with_labels(labels: list[Any], column: str = "label") -> list[Row]:
    return [{"text": f"text {i}", column: label} for i, label in enumerate(labels)]


def labels_of(split: Dataset | None) -> list[Any]:
    assert split is not None
    return list(split["label"])


# Files


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv", "json", "jsonl"])
def test_every_file_type_gives_the_same_data(write: Any, suffix: str) -> None:
    data = load_text_datasets(train_file=write(f"a.{suffix}", ROWS), test_file=write(f"b.{suffix}", ROWS[:4]))
    assert data.columns == TextColumns("text", None, "label")
    assert data.problem_type == "single_label_classification"
    assert (data.label_names, data.num_labels) == (["ham", "spam"], 2)
    assert data.metrics == ("accuracy", "macro_f1")
    assert labels_of(data.train) == [0 if i % 3 else 1 for i in range(12)]
    assert list(data.test["test"]["text"]) == [row["text"] for row in ROWS[:4]]
    assert list(data.test["test"]["idx"]) == [0, 1, 2, 3]
    assert data.validation == {} and data.rest is None


def test_words_that_pandas_takes_for_missing_values_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\nNA,null\n"",NA\n"two\nlines, ""quoted""",NA\nNone,null\n', encoding="utf-8")
    data = load_text_datasets(train_file=str(path))
    assert data.train is not None
    assert list(data.train["text"]) == ["NA", "", 'two\nlines, "quoted"', "None"]
    assert data.label_names == ["NA", "null"]


def test_several_files_of_one_split(write: Any, tmp_path: Path) -> None:
    one, two = write("part-0.parquet", ROWS[:5]), write("part-1.parquet", ROWS[5:])
    for given_files in (f"{one},{two}", [one, two], str(tmp_path / "part-*.parquet")):
        data = load_text_datasets(train_file=given_files)
        assert data.train is not None and list(data.train["idx"]) == list(range(12))
        assert data.source["files"] == {"train_file": [one, two]}


def test_a_path_with_a_comma_or_a_bracket_is_one_file(write: Any) -> None:
    assert load_text_datasets(train_file=write("a,b[1].csv", ROWS)).train is not None


def test_files_that_cannot_be_read_are_named(write: Any, tmp_path: Path) -> None:
    good = write("good.csv", ROWS)
    with pytest.raises(FileNotFoundError, match=r"`validation_file`.*nowhere\.csv.*Check the path"):
        load_text_datasets(train_file=good, validation_file=str(tmp_path / "nowhere.csv"))
    with pytest.raises(FileNotFoundError, match=r"`train_file`.*no\*\.csv"):
        load_text_datasets(train_file=str(tmp_path / "no*.csv"))
    with pytest.raises(ValueError, match=r"`train_file`.*is a folder"):
        load_text_datasets(train_file=str(tmp_path))
    (tmp_path / "a.doc").write_text("x")
    with pytest.raises(ValueError, match=r"`train_file`.*suffix '\.doc'.*parquet"):
        load_text_datasets(train_file=str(tmp_path / "a.doc"))
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"`test_file`.*empty\.jsonl' is empty"):
        load_text_datasets(train_file=good, test_file=str(tmp_path / "empty.jsonl"))
    (tmp_path / "header.csv").write_text("text,label\n")
    with pytest.raises(ValueError, match=r"`train_file`.*header\.csv' has no rows"):
        load_text_datasets(train_file=str(tmp_path / "header.csv"))
    (tmp_path / "ragged.csv").write_text("text,label\na,b,c\n")
    with pytest.raises(ValueError, match=r"`train_file`.*ragged\.csv' could not be read as csv"):
        load_text_datasets(train_file=str(tmp_path / "ragged.csv"))
    (tmp_path / "twice.csv").write_text("text,text,label\na,b,c\n")
    with pytest.raises(ValueError, match=r"`train_file`.*twice\.csv'.*has a name twice"):
        load_text_datasets(train_file=str(tmp_path / "twice.csv"))
    (tmp_path / "broken.json").write_text('{"text": "a", "lab')
    with pytest.raises(ValueError, match=r"`train_file`.*broken\.json' could not be read as json"):
        load_text_datasets(train_file=str(tmp_path / "broken.json"))
    with pytest.raises(ValueError, match="`train_file` is '': give the path"):
        load_text_datasets(train_file="")


def test_a_file_without_rows_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    with pytest.raises(ValueError, match=r"`train_file`.*none\.json'.*Check that it has rows"):
        load_text_datasets(train_file=str(tmp_path / "none.json"))
    Dataset.from_dict({"text": [], "label": []}).to_parquet(tmp_path / "none.parquet")
    with pytest.raises(ValueError, match=r"`train_file`.*none\.parquet'.*Check that it has rows"):
        load_text_datasets(train_file=str(tmp_path / "none.parquet"))


def test_files_of_one_split_must_have_the_same_columns(write: Any) -> None:
    one = write("one.csv", ROWS)
    for name, other in (
        ("two.csv", [{"text": "a", "label": "ham"}]),
        ("three.parquet", [{"text": "a", "label": 1, "idx": 2}]),
    ):
        with pytest.raises(ValueError, match=rf"`train_file`.*same columns.*label: string.*{name}.*only files that"):
            load_text_datasets(train_file=f"{one},{write(name, other)}")


# Labels


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        ([2, 0, 1, 1], ["0", "1", "2"], [2, 0, 1, 1]),
        ([5, 2, 9, 2], ["2", "5", "9"], [1, 0, 2, 0]),
        ([1.0, 0.0, 1.0], ["0", "1"], [1, 0, 1]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        (["b", "a", "c"], ["a", "b", "c"], [1, 0, 2]),
    ],
)
def test_class_labels(write: Any, labels: list[Any], names: list[str], ids: list[int]) -> None:
    data = load_text_datasets(train_file=write("a.parquet", with_labels(labels)))
    assert (data.label_names, labels_of(data.train)) == (names, ids)
    assert data.train is not None and data.train.features["label"] == ClassLabel(names=names)


@examples(40)
@given(
    st.one_of(
        st.lists(st.integers(0, 30), min_size=2, max_size=20),
        st.lists(st.text(min_size=1, max_size=3), min_size=2, max_size=20),
    ).filter(lambda labels: len(set(labels)) > 1 and all(cleaned(str(label)) for label in labels)),
    st.data(),
)
def test_labels_survive_the_round_trip(labels: list[Any], data: st.DataObject) -> None:
    some = data.draw(st.lists(st.sampled_from(labels), min_size=1, max_size=5))
    splits = {"train": Dataset.from_list(with_labels(labels)), "test": Dataset.from_list(with_labels(some))}
    # "A" and "a" are refused unless they are kept apart.
    found = normalise_labels(
        splits, "label", naming=Naming(similar="keep"), problem_type="single_label_classification"
    )
    normalised, names = found.splits, found.names
    assert found.problem_type == "single_label_classification"
    assert [names[i] for i in labels_of(normalised["train"])] == [str(label) for label in labels]
    assert [names[i] for i in labels_of(normalised["test"])] == [str(label) for label in some]
    assert sorted(set(labels_of(normalised["train"]))) == list(range(len(names)))
    assert list(normalised["test"]["text"]) == [f"text {i}" for i in range(len(some))]


def test_class_names_of_the_file_are_kept_and_matched_by_name(write: Any) -> None:
    def features(*names: str) -> Features:
        return Features({"text": Value("string"), "label": ClassLabel(names=list(names))})

    train = write("a.parquet", with_labels([0, 1, 0, 2]), features("zebra", "ant", "last"))
    data = load_text_datasets(
        train_file=train,
        validation_file=write("b.parquet", with_labels([0, 1]), features("ant", "zebra")),
        test_file=write("c.parquet", with_labels(["zebra", "last"])),
    )
    assert data.label_names == ["zebra", "ant", "last"]
    assert labels_of(data.train) == [0, 1, 0, 2]
    assert labels_of(data.validation["validation"]) == [1, 0]
    assert labels_of(data.test["test"]) == [0, 2]


def test_labels_that_train_has_not_are_listed(write: Any) -> None:
    train = write("a.csv", ROWS)
    with pytest.raises(ValueError, match=r"'validation' has labels that the training split does not.*\['eggs'\].*Add"):
        load_text_datasets(train_file=train, validation_file=write("b.csv", with_labels(["ham", "eggs"])))
    with pytest.raises(ValueError, match=r"'test' has labels.*\['3'\]"):
        load_text_datasets(
            train_file=write("c.csv", with_labels([0, 1])), test_file=write("d.csv", with_labels([1, 3]))
        )
    # A class that has a name and no text in train is as unseen as any other.
    features = Features({"text": Value("string"), "label": ClassLabel(names=["zebra", "ant", "unused"])})
    named = write("e.parquet", with_labels([0, 1, 0]), features)
    with pytest.raises(ValueError, match=r"'test' has labels.*\['unused'\]"):
        load_text_datasets(train_file=named, test_file=write("f.csv", with_labels(["zebra", "unused"])))
    # The reverse is fine.
    data = load_text_datasets(train_file=train, test_file=write("e.csv", with_labels(["spam"])))
    assert labels_of(data.test["test"]) == [1]


def test_a_label_column_of_another_name_is_renamed(write: Any) -> None:
    rows = [{"text": "a", "topic": topic, "label": "unused"} for topic in ("x", "y")]
    data = load_text_datasets(train_file=write("a.csv", rows), label_column="topic")
    assert data.columns.label == "label"
    assert labels_of(data.train) == [0, 1]
    assert data.train is not None and set(data.train.column_names) == {"text", "label"}
    with pytest.raises(ValueError, match=r"named 'label', but that is a text column"):
        load_text_datasets(train_file=write("b.csv", rows), text_column="label", label_column="topic")


@pytest.mark.parametrize("hidden", [[-1, -1], [None, None]])
def test_hidden_labels(write: Any, hidden: list[Any]) -> None:
    features = Features({"text": Value("string"), "label": Value("int64")})
    train = write("a.parquet", with_labels([0, 1]))
    data = load_text_datasets(train_file=train, test_file=write("b.parquet", with_labels(hidden), features))
    assert labels_of(data.test["test"]) == [None, None]
    assert data.train is not None
    assert (has_labels(data.train), has_labels(data.test["test"])) == (True, False)
    assert data.test["test"].features == data.train.features

    mixed = write("c.parquet", with_labels([hidden[0], 1]), features)
    with pytest.raises(ValueError, match=r"1 of the 2 labels of the split 'validation' are hidden.*at row 0.*Remove"):
        load_text_datasets(train_file=train, validation_file=mixed)
    with pytest.raises(ValueError, match=r"1 labels of the training split are hidden.*at row 0: remove"):
        load_text_datasets(train_file=mixed)


def test_an_empty_cell_is_a_hidden_label_and_no_class(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,ham\nb,\nc,spam\n")
    with pytest.raises(ValueError, match=r"1 labels of the training split are hidden.*at row 1"):
        load_text_datasets(train_file=str(tmp_path / "a.csv"))


def test_has_labels_reads_raw_splits_too() -> None:
    assert not has_labels(Dataset.from_dict({"text": ["a"]}))
    assert not has_labels(Dataset.from_dict({"label": [-1, -1]}))
    assert has_labels(Dataset.from_dict({"label": [-1, 0]}))
    assert has_labels(Dataset.from_dict({"label": [[0.0, 1.0]]}))


def test_texts_alone_can_be_predicted(write: Any) -> None:
    data = load_text_datasets(test_file=write("a.csv", [{"text": "a"}, {"text": "b"}]))
    assert (data.train, data.columns, data.label_names) == (None, TextColumns("text"), [])
    assert not has_labels(data.test["test"])
    # A test file without the label column of the training file, too.
    data = load_text_datasets(train_file=write("b.csv", ROWS), test_file=write("c.csv", [{"text": "a"}]))
    assert labels_of(data.test["test"]) == [None]


def test_hidden_labels_alone_are_no_labels(write: Any) -> None:
    data = load_text_datasets(test_file=write("a.csv", with_labels([-1, -1])))
    assert data.columns.label is None
    assert not has_labels(data.test["test"])


def test_one_class_is_no_task(write: Any) -> None:
    with pytest.raises(ValueError, match=r"'label'.*single class \('ham'\).*at least 2.*--label_column"):
        load_text_datasets(train_file=write("a.csv", with_labels(["ham", "ham"])))


def test_regression(write: Any) -> None:
    train, test = write("a.csv", with_labels([0.5, -1.0, 2.0])), write("b.csv", with_labels([-1, -1]))
    data = load_text_datasets(train_file=train, test_file=test)
    assert (data.problem_type, data.num_labels, data.label_names) == ("regression", 1, [])
    assert data.metrics == ("pearson", "spearman", "mse")
    assert data.train is not None and data.train.features["label"] == Value("float32")
    # -1 is a score, except where a split holds nothing else.
    assert labels_of(data.train) == [0.5, -1.0, 2.0]
    assert labels_of(data.test["test"]) == [None, None]
    assert not has_labels(data.test["test"])

    whole = write("c.csv", with_labels([1, 2, 3]))
    assert load_text_datasets(train_file=whole).problem_type == "single_label_classification"
    assert labels_of(load_text_datasets(train_file=whole, problem_type="regression").train) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e39])
@pytest.mark.parametrize("split", ["train", "test"])
def test_scores_must_be_finite(write: Any, split: str, bad: float) -> None:
    # The last of them is infinite in float32, as which scores are kept.
    good = {"train_file": write("a.parquet", with_labels([0.5, -100.0, 2.5]))}
    wrong = {f"{split}_file": write("b.parquet", with_labels([0.5, 1.0, bad]))}
    with pytest.raises(ValueError, match=rf"'label' of the split '{split}' holds (nan|inf|-1e\+39) at row 2.*finite"):
        load_text_datasets(**{**good, **wrong})


def test_multi_label_targets_must_be_finite(write: Any) -> None:
    lists = write("a.parquet", with_labels([[1.0, 0.0], [float("nan"), 1.0]]))
    with pytest.raises(ValueError, match=r"'label' of the split 'train' holds \[nan, 1.0\] at row 1"):
        load_text_datasets(train_file=lists)
    columns = write("b.parquet", [{"text": f"w{i}", "a": 1.0, "b": b} for i, b in enumerate([0.0, float("inf")])])
    with pytest.raises(ValueError, match=r"'b' of the split 'train' holds inf at row 1: .* 0 or 1"):
        load_text_datasets(train_file=columns, label_column=["a", "b"])


def test_a_problem_type_that_the_labels_contradict(write: Any) -> None:
    words, scores = write("a.csv", ROWS), write("b.csv", with_labels([0.5, 1.0]))
    lists = write("c.parquet", with_labels([["a"], ["b"]]))
    with pytest.raises(ValueError, match=r"'spam' at row 0, which is no number.*--problem_type"):
        load_text_datasets(train_file=words, problem_type="regression")
    with pytest.raises(ValueError, match=r"0\.5 at row 0, which is no class.*'regression'"):
        load_text_datasets(train_file=scores, problem_type="single_label_classification")
    with pytest.raises(ValueError, match=r"list \['a'\] at row 0.*'multi_label_classification'"):
        load_text_datasets(train_file=lists, problem_type="single_label_classification")
    with pytest.raises(ValueError, match=r"'spam' at row 0: multi-label data needs a list"):
        load_text_datasets(train_file=words, problem_type="multi_label_classification")
    with pytest.raises(ValueError, match=r"`problem_type` is 'ranking'.*one of"):
        load_text_datasets(train_file=words, problem_type="ranking")


@pytest.mark.parametrize(
    ("labels", "feature", "names", "expected"),
    [
        ([["b"], ["a", "b"], []], None, ["a", "b"], [[0, 1], [1, 1], [0, 0]]),
        ([[7], [3, 7], [3]], None, ["3", "7"], [[0, 1], [1, 1], [1, 0]]),
        ([[1, 0, 0], [0, 0, 0]], None, ["0", "1", "2"], [[1, 0, 0], [0, 0, 0]]),
        ([[1.0, 0.0], [1.0, 1.0]], None, ["0", "1"], [[1, 0], [1, 1]]),
        ([[1], [0, 1]], List(ClassLabel(names=["z", "y"])), ["z", "y"], [[0, 1], [1, 1]]),
    ],
)
def test_lists_are_multi_label(
    write: Any, labels: list[Any], feature: Any, names: list[str], expected: list[list[float]]
) -> None:
    features = None if feature is None else Features({"text": Value("string"), "label": feature})
    data = load_text_datasets(train_file=write("a.parquet", with_labels(labels), features))
    assert data.problem_type == "multi_label_classification"
    assert data.metrics == ("f1_micro", "f1_macro", "subset_accuracy")
    assert (data.label_names, data.num_labels) == (names, len(names))
    assert labels_of(data.train) == expected
    assert data.train is not None and data.train.features["label"] == List(Value("float32"))


def test_several_label_columns_are_multi_label(write: Any) -> None:
    rows = [{"text": "a", "toxic": 1, "mild": 0}, {"text": "b", "toxic": 0, "mild": 0}]
    hidden = [{"text": "c", "toxic": -1, "mild": -1}]
    data = load_text_datasets(
        train_file=write("a.csv", rows), test_file=write("b.csv", hidden), label_column="toxic,mild"
    )
    assert data.label_names == ["toxic", "mild"]
    assert labels_of(data.train) == [[1.0, 0.0], [0.0, 0.0]]
    assert labels_of(data.test["test"]) == [None]
    assert data.train is not None and set(data.train.column_names) == {"text", "label"}

    rows[1]["mild"] = 2
    with pytest.raises(ValueError, match=r"'mild' of the split 'train' holds 2 at row 1.*0 or 1"):
        load_text_datasets(train_file=write("c.csv", rows), label_column=["toxic", "mild"])


def test_multi_label_errors(write: Any) -> None:
    train = write("a.parquet", with_labels([["a"], ["b", "a"]]))
    with pytest.raises(ValueError, match=r"'test' has labels.*\['c'\]"):
        load_text_datasets(train_file=train, test_file=write("b.parquet", with_labels([["c", "a"]])))
    with pytest.raises(ValueError, match="lists of floats that are not 0/1"):
        load_text_datasets(train_file=write("c.parquet", with_labels([[0.3, 1.0], [1.0, 0.0]])))
    with pytest.raises(ValueError, match=r"`labeled_per_class` needs single-label classes.*max_train_samples"):
        load_text_datasets(train_file=train, labeled_per_class=1)


# Texts


def test_texts_must_be_strings(write: Any) -> None:
    train = write("a.parquet", ROWS)
    with pytest.raises(
        ValueError, match=r"'text' of the split 'test' holds None \(NoneType\) at row 1.*empty strings"
    ):
        load_text_datasets(train_file=train, test_file=write("b.parquet", [{"text": "a"}, {"text": None}]))
    with pytest.raises(ValueError, match=r"'text' of the split 'train' holds int64 from row 0.*--text_column"):
        load_text_datasets(train_file=write("c.parquet", [{"text": 1, "label": 0}, {"text": 2, "label": 1}]))
    with pytest.raises(ValueError, match=r"'label' of the split 'train' holds ClassLabel"):
        features = Features({"label": ClassLabel(names=["a", "b"]), "topic": Value("int64")})
        load_text_datasets(
            train_file=write("d.parquet", [{"label": 0, "topic": 1}], features),
            text_column="label",
            label_column="topic",
        )
    with pytest.raises(ValueError, match=r"'text' of the split 'validation' does not exist.*\['sentence'\]"):
        load_text_datasets(train_file=train, validation_file=write("e.csv", [{"sentence": "a"}]))
    # An empty string is a text.
    assert load_text_datasets(train_file=write("f.csv", [{"text": "", "label": 0}, {"text": "a", "label": 1}])).train


# Selection


def test_validation_few_shot_and_limit_come_in_this_order(write: Any) -> None:
    rows = [{"text": f"text {i}", "label": i % 2, "idx": i} for i in range(100)]
    path = write("a.parquet", rows)
    both = {"validation_split_fraction": 0.2, "labeled_per_class": 10, "seed": 3}
    data = load_text_datasets(train_file=path, **both)
    assert data.train is not None and data.rest is not None
    parts = [data.train, data.rest, data.validation["validation"]]
    assert sorted(row for part in parts for row in part["idx"]) == list(range(100))
    assert [Counter(part["label"]) for part in parts] == [{0: 10, 1: 10}, {0: 30, 1: 30}, {0: 10, 1: 10}]

    # The validation split is the one of a run on all labels, and a limit takes its rows from the chosen examples.
    all_labels = load_text_datasets(train_file=path, validation_split_fraction=0.2, seed=3)
    assert list(all_labels.validation["validation"]["idx"]) == list(data.validation["validation"]["idx"])
    limited = load_text_datasets(train_file=path, max_train_samples=7, **both)
    assert limited.train is not None and len(limited.train) == 7
    assert set(limited.train["idx"]) < set(data.train["idx"])
    assert limited.rest is not None and list(limited.rest["idx"]) == list(data.rest["idx"])

    assert list(load_text_datasets(train_file=path, **both).train["idx"]) == list(data.train["idx"])  # type: ignore[index]
    other = load_text_datasets(train_file=path, **{**both, "seed": 4})
    assert other.train is not None and set(other.train["idx"]) != set(data.train["idx"])
    assert json.loads(json.dumps(data.source))["sizes"] == {
        "train": 20,
        "rest": 60,
        "unlabeled": 60,
        "validation": 20,
    }
    assert (data.source["seed"], data.source["labeled_per_class"]) == (3, 10)


def test_limits(write: Any) -> None:
    rows = [{"text": f"text {i}", "label": int(i >= 50), "idx": i} for i in range(100)]
    path = write("a.parquet", rows)
    data = load_text_datasets(
        train_file=path,
        validation_file=path,
        test_file=path,
        max_train_samples=5,
        max_eval_samples=20,
        max_predict_samples=1000,
    )
    assert data.train is not None and len(data.train) == 5
    validation = list(data.validation["validation"]["idx"])
    # A file sorted by class must not lose one, and the order of the file stays.
    assert len(validation) == 20 and validation == sorted(validation) and max(validation) >= 50
    assert list(data.test["test"]["idx"]) == list(range(100))


@pytest.mark.parametrize("name", ["labeled_per_class", "max_train_samples", "max_eval_samples", "max_predict_samples"])
def test_limits_must_be_positive(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` is 0: it must be at least 1"):
        load_text_datasets(**{name: 0})  # type: ignore[arg-type]


def test_arguments_that_contradict_each_other(write: Any) -> None:
    path, scores = write("a.csv", ROWS), write("b.csv", with_labels([0.5, 1.5]))
    with pytest.raises(ValueError, match=r"`labeled_per_class` needs single-label classes, .*regression"):
        load_text_datasets(train_file=scores, labeled_per_class=1)
    with pytest.raises(ValueError, match=r"`labeled_per_class` is 5, but class 'spam' has only 4"):
        load_text_datasets(train_file=path, labeled_per_class=5)
    with pytest.raises(ValueError, match=r"`labeled_per_class` is 1, but there is no training split"):
        load_text_datasets(test_file=path, labeled_per_class=1)
    for name, kind in (("max_train_samples", "training"), ("max_eval_samples", "validation")):
        with pytest.raises(ValueError, match=rf"`{name}` is 2, but there is no {kind} split: leave it out"):
            load_text_datasets(test_file=path, **{name: 2})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`max_predict_samples` is 2, but there is no test split"):
        load_text_datasets(train_file=path, validation_split_fraction=0.5, max_eval_samples=2, max_predict_samples=2)
    with pytest.raises(
        ValueError, match=r"`validation_split_fraction` is 0\.5, but there is a validation split already"
    ):
        load_text_datasets(train_file=path, validation_file=path, validation_split_fraction=0.5)
    with pytest.raises(ValueError, match=r"`validation_split_fraction` is 0\.5, but there is no training split"):
        load_text_datasets(test_file=path, validation_split_fraction=0.5)
    with pytest.raises(ValueError, match=r"`validation_split_fraction` is 1\.0: it must be between 0 and 1"):
        load_text_datasets(train_file=path, validation_split_fraction=1.0)
    with pytest.raises(ValueError, match=r"`dataset_name` is 'imdb', but \['train_file'\] is given too"):
        load_text_datasets(dataset_name="imdb", train_file=path)
    with pytest.raises(ValueError, match=r"`dataset_name` is 'imdb', but \['task_name'\] is given too"):
        load_text_datasets(dataset_name="imdb", task_name="rte")
    with pytest.raises(ValueError, match=r"`dataset_config_name` is 'x' without a `dataset_name`"):
        load_text_datasets(dataset_config_name="x", train_file=path)
    with pytest.raises(ValueError, match=r"`seed` is -1"):
        load_text_datasets(train_file=path, seed=-1)


# GLUE, the Hub, the embedded corpus


def test_glue_tasks_are_complete() -> None:
    assert set(GLUE_TASKS) == {"sst2", "cola", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"}
    assert {name for name, task in GLUE_TASKS.items() if task.problem_type == "regression"} == {"stsb"}
    assert {name for name, task in GLUE_TASKS.items() if task.text_pair is None} == {"sst2", "cola"}
    assert GLUE_TASKS["cola"].metrics == ("matthews_correlation",)
    assert GLUE_TASKS["mrpc"].metrics == GLUE_TASKS["qqp"].metrics == ("accuracy", "f1")
    assert GLUE_TASKS["mnli"].validation_splits == ("validation_matched", "validation_mismatched")


def test_glue_task_from_files(write: Any) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "label": score} for score in (0.0, 3.0, 5.0)]
    data = load_text_datasets(task_name="stsb", train_file=write("a.csv", rows))
    # Whole numbers, but the task says what they are.
    assert (data.problem_type, data.metrics) == ("regression", ("pearson", "spearman"))
    assert data.columns == TextColumns("sentence1", "sentence2", "label")
    with pytest.raises(ValueError, match=r"`text` is 'question1'.*\['sentence1', 'sentence2', 'label'\]"):
        load_text_datasets(task_name="qqp", train_file=write("b.csv", rows))
    with pytest.raises(ValueError, match=r"`problem_type` is 'single_label_classification', but the task 'stsb'"):
        load_text_datasets(
            task_name="stsb", train_file=write("c.csv", rows), problem_type="single_label_classification"
        )
    with pytest.raises(ValueError, match=r"`task_name` is 'snli'.*one of the GLUE tasks"):
        load_text_datasets(task_name="snli")


def test_two_files_of_mnli_are_matched_and_mismatched(write: Any) -> None:
    rows = [{"premise": "a", "hypothesis": "b", "label": label} for label in (0, 1, 2)]
    train, one, two = write("a.csv", rows), write("b.csv", rows[:1]), write("c.csv", rows[1:])
    data = load_text_datasets(task_name="mnli", train_file=train, validation_file=f"{one},{two}", test_file=one)
    assert {name: len(split) for name, split in data.validation.items()} == {
        "validation_matched": 1,
        "validation_mismatched": 2,
    }
    assert list(data.test) == ["test"]


def test_glue_from_the_hub_by_its_full_id(monkeypatch: pytest.MonkeyPatch) -> None:
    split = Dataset.from_dict({"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, 1], "idx": [0, 1]})
    hidden = Dataset.from_dict({"premise": ["a"], "hypothesis": ["c"], "label": [-1], "idx": [0]})
    hub = DatasetDict(
        train=split, validation_matched=split, validation_mismatched=split, test_matched=hidden, test_mismatched=hidden
    )
    calls: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> DatasetDict:
        calls.append((args, kwargs))
        return hub

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load_text_datasets(task_name="mnli", revision="main", cache_dir="cache", token="secret")
    assert calls == [(("nyu-mll/glue", "mnli"), {"revision": "main", "cache_dir": "cache", "token": "secret"})]
    assert list(data.validation) == ["validation_matched", "validation_mismatched"]
    assert [has_labels(split) for split in data.test.values()] == [False, False]
    assert "secret" not in json.dumps(data.source)

    # The same splits are found without the task.
    by_name = load_text_datasets(dataset_name="nyu-mll/glue", dataset_config_name="mnli")
    assert (list(by_name.validation), list(by_name.test)) == (list(data.validation), list(data.test))
    hub.pop("train"), hub.clear()
    hub["unsupervised"] = split
    with pytest.raises(ValueError, match=r"\['unsupervised'\], none of them is a train, validation or test split"):
        load_text_datasets(dataset_name="someone/else")


@pytest.mark.parametrize("error", [ConnectionError("no route"), FileNotFoundError("no such repository")])
def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def load_dataset(*args: Any, **kwargs: Any) -> DatasetDict:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(
        type(error), match=r"'nyu-mll/glue' \(rte\).*train_file, validation_file and test_file"
    ) as caught:
        load_text_datasets(task_name="rte")
    assert caught.value.__cause__ is error


def test_a_local_folder(write: Any, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    write("corpus/train.csv", with_labels([0, 1]))
    write("corpus/test.csv", with_labels([1]))
    data = load_text_datasets(dataset_name=str(tmp_path / "corpus"))
    assert (labels_of(data.train), labels_of(data.test["test"]), data.validation) == ([0, 1], [1], {})
    with pytest.raises(FileNotFoundError, match=r"nowhere.*train_file"):
        load_text_datasets(dataset_name=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", [None, "docstrings"])
def test_the_embedded_corpus_is_the_default(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["numpy", "scipy"])})
    train = Dataset.from_list([{"text": f"text {i}", "label": i % 2} for i in range(20)], features=features)
    test = train.select([0, 1])
    monkeypatch.setattr(sources, "docstring_corpus", lambda: (train, test, {"numpy": "1", "scipy": "2"}))
    data: TextDatasets = load_text_datasets(dataset_name=name, labeled_per_class=2, seed=5)
    assert data.train is not None and data.rest is not None
    assert (len(data.train), len(data.rest), len(data.test["test"]), data.validation) == (4, 16, 2, {})
    assert data.label_names == ["numpy", "scipy"]
    assert data.source["dataset"] == "docstrings"
    assert data.source["package_versions"] == {"numpy": "1", "scipy": "2"}


# Classes that are known beforehand


@pytest.mark.parametrize(
    ("labels", "names", "ids"),
    [
        (["b", "a", "b"], ["c", "b", "a"], [1, 2, 1]),
        ([2, 0, 2], ["c", "b", "a"], [2, 0, 2]),
        ([2.0, 0.0, 2.0], ["c", "b", "a"], [2, 0, 2]),
        ([4, 1, 4], ["1", "2", "3", "4"], [3, 0, 3]),
        ([True, False, True], ["True", "False"], [0, 1, 0]),
        ([2, 0, 2], ["LABEL_0", "LABEL_1", "LABEL_2"], [2, 0, 2]),
        ([None, None, None], ["c", "b", "a"], [None, None, None]),
    ],
)
def test_labels_are_looked_up_among_given_names(
    write: Any, labels: list[Any], names: list[str], ids: list[Any]
) -> None:
    data = load_text_datasets(test_file=write("a.parquet", with_labels(labels)), label_names=names)
    assert (data.label_names, data.num_labels) == (names, len(names))
    assert labels_of(data.test["test"]) == ids


def test_named_classes_are_looked_up_by_name_unless_none_were_given(write: Any) -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b"])})
    path = write("a.parquet", with_labels([1, 0]), features)
    by_name = load_text_datasets(test_file=path, label_names=["c", "b", "a"])
    assert labels_of(by_name.test["test"]) == [1, 2]
    by_id = load_text_datasets(test_file=path, label_names=["LABEL_0", "LABEL_1"])
    assert labels_of(by_id.test["test"]) == [1, 0]


def test_given_names_are_the_classes_of_data_without_labels(write: Any) -> None:
    path = write("a.csv", [{"text": "a"}, {"text": "b"}])
    data = load_text_datasets(test_file=path, label_names=["yes", "no"])
    assert (data.label_names, data.num_labels, data.columns.label) == (["yes", "no"], 2, None)
    scores = load_text_datasets(test_file=path, label_names=["yes", "no"], problem_type="regression")
    assert (scores.label_names, scores.num_labels) == ([], 1)


def test_multi_label_data_is_brought_to_given_names(write: Any) -> None:
    names = ["c", "b", "a"]
    rows = [{"text": "x", "a": 1, "b": 0, "c": 0}, {"text": "y", "a": 0, "b": 1, "c": 1}]
    expected = [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    data = load_text_datasets(test_file=write("a.csv", rows), label_column="a,b,c", label_names=names)
    assert data.label_names == names and labels_of(data.test["test"]) == expected
    lists = load_text_datasets(test_file=write("a.json", with_labels([["a"], ["c", "b"]])), label_names=names)
    assert lists.label_names == names and labels_of(lists.test["test"]) == expected
    path = write("b.json", with_labels(expected))
    assert labels_of(load_text_datasets(test_file=path, label_names=names).test["test"]) == expected
    with pytest.raises(ValueError, match="3 numbers a row, but the model has 2 classes"):
        load_text_datasets(test_file=path, label_names=["a", "b"])
    with pytest.raises(ValueError, match=r"the model has the classes \['a', 'b'\]"):
        load_text_datasets(test_file=write("a.csv", rows), label_column="a,b,c", label_names=["a", "b"])


def test_labels_that_are_not_among_given_names(write: Any) -> None:
    with pytest.raises(ValueError, match=r"'test' has labels that the model does not have: \['x'\].*\['a', 'b'\]"):
        load_text_datasets(test_file=write("a.csv", with_labels(["a", "x"])), label_names=["a", "b"])
    with pytest.raises(ValueError, match=r"does not have: \['0'\]"):
        load_text_datasets(test_file=write("b.csv", with_labels([1, 0])), label_names=["1", "2"])
