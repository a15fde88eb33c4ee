"""What is said of a data set before training: every kind of concern, each with its remedy, and nothing of data that is well."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image
from table_files import write_table
from tiny import tiny_tokenizer

from mixtext_hf.data import DataSummary, load_image_datasets, load_text_datasets, summarise_data
from mixtext_hf.data.row_hashes import image_hashes, text_hashes


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def rows_of(texts: list[str], labels: Any = ("ham", "spam")) -> list[dict[str, Any]]:
    return [{"text": text, "label": labels[i % len(labels)]} for i, text in enumerate(texts)]


WELL = rows_of([f"well {i}" for i in range(10)])


def summary_of(tmp_path: Path, train: Any, *, suffix: str = "parquet", load: Any = None, **splits: Any) -> DataSummary:
    files = {
        f"{name}_file": write_table(tmp_path / f"{name}.{suffix}", rows)
        for name, rows in {"train": train, **splits}.items()
    }
    return summarise_data(load_text_datasets(**files, **(load or {})))


def said(summary: DataSummary) -> str:
    return " ".join(map(str, summary.concerns))


def test_data_that_is_well(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, WELL, test=rows_of(["other", "one"]))
    assert summary.lines() == ["Data: train 10, test 2 texts.", "Classes in train: 2, of 5 rows each."]
    assert not summary.concerns
    summary.check()


@pytest.mark.parametrize("blanks", ["", " ", "\u00a0"])
def test_rows_of_test_and_validation_that_are_in_train(tmp_path: Path, blanks: str) -> None:
    leak = rows_of([f"well {i}{blanks}" for i in range(4)] + ["new"])
    summary = summary_of(tmp_path, WELL, test=leak, validation=rows_of(["new", "well 1"]))
    assert summary.shared == {"validation": {"train": 1}, "test": {"train": 4}}
    assert "4 of the 5 texts of test are in train too: remove them from one of the two" in said(summary)
    with pytest.raises(
        ValueError, match=r"^--strict_data: 1 of the 2 texts of validation are in train too.*4 of the 5"
    ):
        summary.check()


def test_rows_that_are_among_the_unlabelled_texts(tmp_path: Path) -> None:
    unlabeled = [{"text": text} for text in ("well 0", "well 0", "well 1", "loose", "one")]
    summary = summary_of(tmp_path, WELL, test=rows_of(["one", "two"]), unlabeled=unlabeled)
    assert "1 of the 2 texts of test are in the unlabelled texts too" in said(summary)
    assert summary.lines()[0] == "Data: train 10, test 2, unlabelled 5 texts."
    assert summary.lines()[2] == "Texts: 1 repeated in the unlabelled texts; 2 of train in the unlabelled texts too."


def test_blank_repeated_and_contradictory_texts(tmp_path: Path) -> None:
    train = [*WELL, *rows_of(["", " ", "\t"]), {"text": "well 0", "label": "spam"}, {"text": "well 2", "label": "ham"}]
    summary = summary_of(tmp_path, train)
    found = summary.splits["train"]
    assert (found.blank, found.repeated, found.contradictory) == (3, 2, 5)
    for part in (
        "3 texts of train are empty or blank",
        "2 of the 15 texts of train are repeated",
        "5 texts of train stand there under two",
    ):
        assert part in said(summary)


def test_a_pair_is_one_unit(tmp_path: Path) -> None:
    pairs = [("a", "b"), ("b", "a"), ("a", "c"), ("ab", ""), ("a", "b")]
    rows = [{"premise": one, "hypothesis": two, "label": i % 2} for i, (one, two) in enumerate(pairs)]
    summary = summary_of(tmp_path, rows, test=[{"premise": "c", "hypothesis": "a", "label": i} for i in (0, 1)])
    found = summary.splits["train"]
    assert summary.unit == "pairs" and (found.repeated, found.blank, found.contradictory) == (1, 1, 0)
    assert summary.shared["test"]["train"] == 0


def test_classes_of_very_different_sizes(tmp_path: Path) -> None:
    train = rows_of([f"text {i}" for i in range(24)], ["a"] * 22 + ["b", "b"])
    assert "The class 'a' has 22 rows of train, and 'b' only 2" in said(summary_of(tmp_path, train))
    assert not summary_of(tmp_path, train[2:]).concerns


def test_a_class_for_every_row_is_an_id(tmp_path: Path) -> None:
    rows = rows_of([f"well {i}" for i in range(5)], labels=[f"t{i}" for i in range(5)])
    summary = summary_of(tmp_path, rows)
    assert summary.lines()[1] == "Classes in train: 5, of 1 row each."
    assert "Every row of train has a class of its own, such as 't0', 't1'" in said(summary)
    assert "--label_column" in said(summary)
    twice = [*rows, *rows_of(["more"], labels=["t3"])]
    assert not summary_of(tmp_path / "twice", twice).concerns
    # One row of each was asked for.
    assert not summary_of(tmp_path / "one", [*rows, *twice], load={"labeled_per_class": 1}).concerns


def test_splits_with_classes_of_their_own(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, WELL, test=rows_of(["x", "y"], ["ham"]))
    assert "All rows of test have the class 'ham': give rows of the other classes too" in said(summary)
    few = summary_of(
        tmp_path,
        [*WELL, {"text": "one", "label": "rare"}],
        test=rows_of(["x", "y", "z"], ["ham", "spam", "rare"]),
        load={"max_train_samples": 4, "seed": 0},
    )
    assert "Train has no row of the class 'rare', which test has" in said(few)


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (["nan", "spam"], "A missing label is often written as the class 'nan'"),
        (["-100", "1", "0"], "A missing label is often written as the class '-100'"),
        (
            ["True", "1", "False", "0"],
            "Yes and no are written in several ways, '0', '1', 'False', 'True': make them one by --label_map",
        ),
        (["yes", "no", "1"], "Yes and no are written in several ways, '1', 'no', 'yes'"),
        ([" spam", " ham"], "Blanks stand around or inside the classes ' ham', ' spam'"),
        (
            ["a", "b", "a|b"],
            "Several classes seem to stand in one string, 'a|b': if they do, give --label_separator '|'",
        ),
        (["a", "b", "b; a"], "'b; a': if they do, give --label_separator ';'"),
    ],
)
def test_names_that_are_hardly_names(tmp_path: Path, labels: list[str], what: str) -> None:
    assert what in said(summary_of(tmp_path, rows_of([f"text {i}" for i in range(6)], labels)))


@pytest.mark.parametrize(
    "names", [["true", "no"], ["no", "1", "2"], ["none", "null"], ["a, not b", "b, not a"], ["C|C++", "Java"]]
)
def test_names_that_may_well_be_names(tmp_path: Path, names: list[str]) -> None:
    assert not summary_of(tmp_path, rows_of([f"text {i}" for i in range(6)], names)).concerns


def test_lists_that_are_taken_for_names(tmp_path: Path) -> None:
    rows = rows_of(["x", "y"], ["['a']", "['a', 'b']"])
    summary = summary_of(tmp_path, rows, load={"problem_type": "single_label_classification"})
    assert "Lists written as strings are names of classes" in said(summary) and "--problem_type" in said(summary)
    several = summary_of(tmp_path, rows)
    assert several.splits["train"].classes == {"a": 2, "b": 1} and not several.concerns


def test_texts_that_are_cut(tmp_path: Path) -> None:
    train = rows_of([" ".join(["w1"] * (3 + 20 * (i < 4))) for i in range(10)])
    data = load_text_datasets(train_file=write_table(tmp_path / "a.parquet", train))
    summary = summarise_data(data, tiny_tokenizer(), 16)
    assert (summary.cut, summary.looked_at) == (0.4, 10)
    assert "40 % of the texts are longer than 16 tokens" in said(summary) and "--max_seq_length" in said(summary)
    assert summarise_data(data, tiny_tokenizer(), 32).cut == 0


def test_scores_have_no_classes(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, rows_of(["a", "a", "b"], [0.5, 0.7, 1.0]))
    assert summary.splits["train"].classes == {} and summary.splits["train"].contradictory == 0


def test_chosen_rows_have_the_numbers_of_all(tmp_path: Path) -> None:
    dataset = datasets.Dataset.from_dict({"text": [f" t{i // 2}" for i in range(50)], "other": list(range(50))})
    numbers, blank = text_hashes(dataset, ["text"])
    assert len(set(numbers.tolist())) == 25 and not blank.any()
    for places in (np.random.default_rng(0).permutation(50), [49], [0, 7]):
        assert text_hashes(dataset.select(places), ["text"])[0].tolist() == numbers[places].tolist()


# ---- images ----


def png(seed: int, side: int = 8) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def test_images_by_their_bytes(tmp_path: Path) -> None:
    train = [{"image": png(i, 8 + 4 * (i == 3)), "label": ("cat", "dog")[i % 2]} for i in (0, 1, 2, 3)]
    train.append({"image": png(0), "label": "dog"})
    files = {
        "train_file": write_table(tmp_path / "train.parquet", train),
        "test_file": write_table(tmp_path / "test.parquet", [{"image": png(i), "label": "cat"} for i in (2, 7)]),
    }
    summary = summarise_data(load_image_datasets(**files))
    assert summary.unit == "images" and summary.splits["train"].repeated == 1
    assert summary.splits["train"].contradictory == 2 and summary.shared["test"]["train"] == 1
    assert "8 x 8 to 12 x 12 pixels, RGB" in summary.lines()[2]
    assert "1 of the 2 images of test are in train too" in said(summary)


def test_images_in_files_and_in_arrays(tmp_path: Path) -> None:
    for i, seed in enumerate((0, 1, 0)):
        (tmp_path / f"{i}.png").write_bytes(png(seed))
    for i, last in enumerate((1, 2, 1)):
        (tmp_path / f"large{i}.bin").write_bytes(bytes(100_000) + bytes([last]))
    for names in ([f"{i}.png" for i in range(3)], [f"large{i}.bin" for i in range(3)]):
        paths = [str(tmp_path / name) for name in names]
        files = datasets.Dataset.from_dict({"image": paths}).cast_column("image", datasets.Image())
        one, two, three = image_hashes(files, "image")
        assert one == three != two
    flat = [[[0, 1], [2, 3]], [[0, 1, 2, 3]], [[0, 1], [2, 3]]]
    one, two, three = image_hashes(datasets.Dataset.from_dict({"image": flat}), "image")
    assert one == three != two
