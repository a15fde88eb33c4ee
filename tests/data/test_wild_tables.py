"""Tables as people put them together: of several files, by hand, by Excel, by pandas; each is read, or refused in one sentence."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from mixtext_hf.cli.failures import is_own
from mixtext_hf.data import load_text_datasets
from mixtext_hf.data.tables.files import read_files
from mixtext_hf.data.tables.json_forms import rows_in


ROWS = [("a, b", "x"), ("c", "y"), ("d", "x"), ("e", "y")]


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def pairs(path: Path, **arguments: Any) -> list[tuple[str, str]]:
    data = load_text_datasets(train_file=str(path), **arguments)
    assert data.train is not None
    return [(row[data.columns.text], data.label_names[row["label"]]) for row in data.train]


def refused(path: Path, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load_text_datasets(train_file=str(path))
    assert is_own(caught.value) and path.name in str(caught.value)


# ---- several files in one ----


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_one_after_the_other(tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str, mark: str) -> None:
    one = end.join([f"{mark}text;label", "a, b;x", "c;y", ""])
    two = end.join([f"{mark}text;label", "d;x", "e;y", ""])
    (tmp_path / "a.csv").write_bytes((one + two).encode())
    assert pairs(tmp_path / "a.csv") == ROWS
    said = next(record for record in caplog.records if record.levelname == "WARNING").getMessage()
    assert "1 rows that repeat the header left out; 4 rows" in said and ("1 byte order marks" in said) == bool(mark)


def test_marks_in_front_of_rows(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text('\ufeff\ufefftext;label\n"a, b";x\nc;y\n\ufeffd;x\ne;y\n', encoding="utf-8")
    assert pairs(tmp_path / "a.csv") == ROWS and "1 byte order marks in front of rows" in caplog.text
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines[:2], "\ufeff" + lines[2], lines[3]]), encoding="utf-8")
    assert pairs(tmp_path / "a.jsonl") == ROWS


def test_what_only_looks_like_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\ntext,x\nb,label\n")
    assert pairs(tmp_path / "a.csv") == [("text", "x"), ("b", "label")]
    (tmp_path / "b.txt").write_text("text\ntext\nb\n")
    assert read_files("x", [tmp_path / "b.txt"])["text"][:] == ["text", "b"]
    (tmp_path / "c.csv").write_text("text,label\ntext,label\n")
    refused(tmp_path / "c.csv", "has no rows")


# ---- by hand, and by Excel ----


@pytest.mark.parametrize(
    "text",
    [
        'text, label\n"a, b", x\nc, y\nd, x\ne, y\n',
        'text, label\n"a, b", "x"\n"c", "y"\n"d", "x"\n"e", "y"\n',
        '"text", "label"\n"a, b",x\nc,  y\nd, x\ne, y\n',
        "text; label\na, b; x\nc; y\nd; x\ne; y\n",
        'label, text\nx, "a, b"\ny, c\nx, d\ny, e\n',
    ],
)
def test_a_blank_after_each_delimiter_is_none_of_the_cell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    caplog.set_level(logging.INFO, "mixtext_hf")
    assert pairs(tmp_path / "a.csv") == ROWS and "a blank after each delimiter" in caplog.text


def test_blanks_of_texts_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,text\nx, a\ny,b\n")
    assert pairs(tmp_path / "a.csv") == [(" a", "x"), ("b", "y")]


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.csv.gz"])
def test_the_unicode_text_of_excel(tmp_path: Path, name: str) -> None:
    data = 'text\tlabel\r\n"a ""b"", c"\tx\r\nfaçade\ty\r\n'.encode("utf-16")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert pairs(tmp_path / name) == [('a "b", c', "x"), ("façade", "y")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\n", "has no rows"),
        (b"text,label\n\n\n", "has no rows"),
        (b"\xef\xbb\xbftext,label\r\n", "has no rows"),
        (b"", "is empty"),
        (b"\n \n", "names no column"),
        (b"text,label,label\na,x,z\n", "has a name twice"),
        (b"text,label,n\na,x\nb,y,1\n", "line 2: it has 2 cells, and the header 3"),
        (b"text,label\na\0b,x\n", "line 2 holds a zero byte"),
        ("text,label\na,x\n".encode("utf-16-le"), "line 1 holds a zero byte.*--encoding"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        load_text_datasets(train_file=str(tmp_path / "a.csv"))
    assert is_own(caught.value)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_pointers_of_git_lfs(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    refused(tmp_path / name, "it is a pointer of Git LFS.*`git lfs pull`")


def test_a_carriage_return_within_a_cell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_bytes(b"text,label\na\rb,x\nc,y\n")
    assert pairs(tmp_path / "a.csv") == [("a\rb", "x"), ("c", "y")] and "carriage return" in caplog.text
    (tmp_path / "b.csv").write_bytes(b'text,label\n"a, b",x\n"c",y\nd\re,y\n')
    with pytest.raises(ValueError, match=r"line 4: it has a carriage return.*without quotes, line 2") as caught:
        load_text_datasets(train_file=str(tmp_path / "b.csv"))
    assert is_own(caught.value)


def test_a_table_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("the parcel,x\na refund,y\n")
    with pytest.raises(
        ValueError, match=r"columns are \['the parcel', 'x'\].*if these are no names, write a header above"
    ):
        load_text_datasets(train_file=str(tmp_path / "a.csv"))


# ---- by pandas and other programs ----


@pytest.mark.parametrize("orient", ["columns", "list", "split", "table", "records", "lines"])
def test_json_as_pandas_writes_it(tmp_path: Path, orient: str) -> None:
    frame = pd.DataFrame(ROWS, columns=["text", "label"], index=[5, 7, 8, 9])
    path = tmp_path / "a.json"
    if orient == "lines":
        frame.to_json(path, orient="records", lines=True)
    elif orient == "list":
        path.write_text(json.dumps(frame.to_dict("list"), indent=1))
    else:
        frame.to_json(path, orient=orient)
    assert pairs(path) == ROWS


def test_objects_that_are_rows_and_no_tables(tmp_path: Path) -> None:
    assert rows_in({"text": "a", "label": ["x"]}) is None
    assert rows_in({"words": ["a", "b"], "tags": ["x"]}) is None
    assert rows_in({"text": {"a": 1}, "meta": {"b": 1}}) is None
    assert rows_in({"one": [{"a": 1}], "two": [{"b": 1}]}) is None
    # Lists of one length in each line.
    rows = [{"words": ["a", "b"], "tags": ["x", "y"]}] * 2
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_files("x", [tmp_path / "a.jsonl"])[:] == {"words": [["a", "b"]] * 2, "tags": [["x", "y"]] * 2}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"text": {"body": "a"}, "label": "x"}, "'text' .* holds dict from row 0 on.*--text_column"),
        ({"text": "a", "label": {"name": "x"}}, "'label' has the type .*--label_column"),
        ({"text": ["a"], "label": "x"}, "'text' .* holds List from row 0 on"),
    ],
)
def test_nested_fields_where_one_value_is_needed(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    with pytest.raises(ValueError, match=said):
        load_text_datasets(train_file=str(tmp_path / "a.jsonl"))


def test_nested_fields_beside_the_text(tmp_path: Path) -> None:
    rows = [{"text": t, "label": c, "meta": {"k": i, "tags": [c]}} for i, (t, c) in enumerate(ROWS)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert pairs(tmp_path / "a.jsonl") == ROWS


def test_parquet_whose_columns_cannot_be_told_or_read(tmp_path: Path) -> None:
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["x"]), pa.array(["y"])], ["text", "label", "label"])
    pq.write_table(twice, tmp_path / "a.parquet")
    refused(tmp_path / "a.parquet", "several columns called 'label': give each its own name")
    for kind in (pa.map_(pa.string(), pa.int64()), pa.list_(pa.map_(pa.string(), pa.int64()))):
        table = pa.table({"text": ["a"], "label": ["x"], "m": pa.nulls(1, kind)})
        pq.write_table(table, tmp_path / "b.parquet")
        refused(tmp_path / "b.parquet", "its column 'm' has the type .*map.*: leave the column out")


def test_parquet_of_pandas_with_an_index_and_times(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=["text", "label"], index=[5, 7, 8, 9])
    frame["when"], frame["label"] = pd.Timestamp("2020-01-01"), frame["label"].astype("category")
    frame.to_parquet(tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == ROWS


@pytest.mark.parametrize("suffix", [".feather", ".arrow"])
def test_other_formats_of_arrow_are_named_with_what_to_do(tmp_path: Path, suffix: str) -> None:
    feather.write_feather(pa.table({"text": ["a"], "label": ["x"]}), tmp_path / f"a{suffix}")
    refused(tmp_path / f"a{suffix}", r"has the suffix .*save it as parquet")
