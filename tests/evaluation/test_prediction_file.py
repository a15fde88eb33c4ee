"""The file of predictions: every cell as a csv or json reader finds it again, whatever classes, texts and ids hold."""

from __future__ import annotations

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixtext_hf.evaluation.measures.metrics import sigmoid, softmax
from mixtext_hf.evaluation.prediction_file import PredictionTable, prediction_file


SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
RNG = np.random.default_rng(0)
TEXTS = [
    'a "quoted" one',
    "with, comma",
    "two\nlines",
    "tab\there",
    "",
    "=1+1",
    "plain",
    "\rcarriage",
    "façade ☕",
    "- no",
]
NAMES = ["id", "a,b", 'q"', "line\nend", "id"]
LOGITS = (RNG.normal(size=(10, 5)) * 4).astype(np.float32)


def write(path, problem_type=SINGLE, names=NAMES, logits=LOGITS, labels=None, texts=TEXTS, chunk=4, **settings):
    escape = settings.pop("escape_formulas", False)
    table = PredictionTable(problem_type, names, inputs=["text"], has_labels=labels is not None, **settings)
    with prediction_file(path, table, escape_formulas=escape) as writer:
        for first in range(0, len(logits), chunk):
            part = slice(first, first + chunk)
            ids = pa.array(np.arange(len(logits))[part])
            of_part = None if labels is None else pa.array(labels[part])
            writer.write(table.columns(ids, [pa.array(texts[part], pa.string())], of_part, logits[part]))
    return table.names


def read(path):
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return table.column_names, [list(row.values()) for row in table.to_pylist()]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
        return list(rows[0]), [list(row.values()) for row in rows]
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
    return found[0], found[1:]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"p.{suffix}"
    names = write(path, labels=[*NAMES[:4], None] * 2)
    header, rows = read(path)
    assert header == names == ["id", "text", "label", "prediction", "confidence", *names[5:]]
    # Both classes called "id" have a column of their own.
    assert names[5:] == [*(f"probability_{name}" for name in NAMES[:4]), "probability_id_2"]
    probabilities = softmax(LOGITS)
    hidden = None if suffix in ("jsonl", "parquet") else ""
    for number, (row, expected) in enumerate(zip(rows, probabilities, strict=True)):
        label = (*NAMES[:4], hidden)[number % 5]
        assert [str(row[0]), *row[1:4]] == [str(number), TEXTS[number], label, NAMES[expected.argmax()]]
        assert np.array(row[4:], dtype=np.float32).tolist() == [
            np.float32(value) for value in (expected.max(), *expected)
        ]


def test_columns_of_inputs_make_room_for_those_of_the_file():
    table = PredictionTable(SINGLE, ["a", "b"], inputs=["prediction", "id"], has_labels=True)
    assert table.names[:6] == ["id", "prediction_2", "id_2", "label", "prediction", "confidence"]
    assert len(set(table.names)) == len(table.names) == 8


def test_the_likeliest_classes_alone(tmp_path):
    write(tmp_path / "p.csv", names=list("abcde"), top_k=3)
    header, rows = read(tmp_path / "p.csv")
    places = ["top_2", "top_2_probability", "top_3", "top_3_probability"]
    assert header == ["id", "text", "prediction", "confidence", *places]
    for row, expected in zip(rows, softmax(LOGITS), strict=True):
        order = np.argsort(-expected)
        assert row[2::2] == ["abcde"[i] for i in order[:3]]
        assert np.allclose(np.array(row[3::2], dtype=float), expected[order[:3]], atol=1e-7)
    for wrong in (0, 6):
        with pytest.raises(ValueError, match=f"--top_k {wrong}: the model has 5 classes"):
            PredictionTable(SINGLE, list("abcde"), top_k=wrong)


@pytest.mark.parametrize("names, joined", [(list("abcde"), "|".join), (["a|b", *"bcde"], json.dumps)])
def test_several_labels_an_example(tmp_path, names, joined):
    labels = [[names[0], names[1]], [], None, *[[names[2]]] * 7]
    logits = LOGITS.copy()
    logits[3] = -9  # none of them
    write(tmp_path / "p.csv", SEVERAL, names, logits=logits, labels=labels)
    write(tmp_path / "p.jsonl", SEVERAL, names, logits=logits, labels=labels)
    _, rows = read(tmp_path / "p.csv")
    _, lists = read(tmp_path / "p.jsonl")
    probabilities = sigmoid(logits)
    for row, as_list, label, expected in zip(rows, lists, labels, probabilities, strict=True):
        found = [name for name, p in zip(names, expected, strict=True) if p > 0.5]
        assert row[3] == joined(found) and as_list[3] == found and as_list[2] == label
        assert row[2] == ("" if label is None else joined(label))
        # The least sure of the decisions.
        assert float(row[4]) == pytest.approx(np.maximum(expected, 1 - expected).min())


def test_scores_have_no_confidence(tmp_path):
    scores = LOGITS[:, :1]
    write(tmp_path / "p.csv", REGRESSION, [], logits=scores, labels=[0.5, *[None] * 9])
    header, rows = read(tmp_path / "p.csv")
    assert header == ["id", "text", "label", "prediction"] and [row[2] for row in rows[:2]] == ["0.5", ""]
    assert [np.float32(row[3]) for row in rows] == scores[:, 0].tolist()
    with pytest.raises(ValueError, match="--top_k 1: the model predicts a number"):
        PredictionTable(REGRESSION, [], top_k=1)


def test_formulas_are_escaped_on_request_alone(tmp_path):
    names = ["=cmd()", "+1", "@x", "-y", "plain"]
    for escape in (False, True):
        path = tmp_path / f"{escape}.csv"
        write(path, names=names, escape_formulas=escape)
        for row, text, expected in zip(read(path)[1], TEXTS, LOGITS.argmax(axis=1), strict=True):
            for cell, value in ((row[1], text), (row[2], names[expected])):
                dangerous = value[:1] in ("=", "+", "-", "@", "\t", "\r")
                assert cell == (f"'{value}" if escape and dangerous else value)
    with pytest.raises(ValueError, match="--escape_formulas is for spreadsheets"):
        write(tmp_path / "p.parquet", escape_formulas=True)


def test_the_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("of before")
    broken = LOGITS.copy()
    broken[9] = np.nan
    with pytest.raises(ValueError, match="nan"):
        write(path, logits=broken)
    assert path.read_text() == "of before" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"suffix '.xlsx': choose from .csv"):
        write(tmp_path / "p.xlsx")
