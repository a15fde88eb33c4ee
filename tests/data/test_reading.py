"""Tables as people have them: each is read as a person would read it, or refused in one sentence that names the place."""

import bz2
import csv
import gzip
import json
import logging
import lzma
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mixtext_hf.data import load_image_datasets, load_text_datasets
from mixtext_hf.data.tables.files import Reading, read_files
from mixtext_hf.data.tables.folders import tables_in


TEXTS = [
    "the parcel came late",
    "a refund, please",
    "my password is lost",
    "too small; send it back",
    "where is it",
    "hi",
]
LABELS = ["delivery", "billing", "account", "returns", "delivery", "account"]


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def write_csv(path: Path, rows: list[Any], *, sep: str = ",", encoding: str = "utf-8", end: str = "\n") -> str:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=sep, lineterminator=end).writerows([("text", "label"), *rows])
    return str(path)


def pairs(path: Path | str, **arguments: Any) -> list[tuple[str, str]]:
    """Texts and class names as they come out."""
    data = load_text_datasets(train_file=str(path), **arguments)
    assert data.train is not None
    return [(row["text"], data.label_names[row["label"]]) for row in data.train]


def refused(path: Path | str, match: str, **arguments: Any) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        load_text_datasets(train_file=str(path), **arguments)
    assert "train_file" in str(caught.value) and Path(path).name in str(caught.value)


ROWS = list(zip(TEXTS, LABELS, strict=True))


# ---- delimiters ----


@pytest.mark.parametrize(
    ("name", "sep", "said"),
    [
        ("a.csv", ";", "semicolon"),
        ("a.csv", "\t", "tab"),
        ("a.csv", "|", "pipe"),
        ("a.tsv", ",", "comma"),
        ("a.txt", "|", "pipe"),
    ],
)
def test_the_delimiter_is_found_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, sep: str, said: str
) -> None:
    with caplog.at_level(logging.INFO):
        assert pairs(write_csv(tmp_path / name, ROWS, sep=sep)) == ROWS
    assert f"{name}: delimiter {said}; 6 rows, columns ['text', 'label']." in caplog.text


def test_the_usual_delimiter_is_not_worth_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        pairs(write_csv(tmp_path / "a.csv", ROWS)), pairs(write_csv(tmp_path / "a.tsv", ROWS, sep="\t"))
    assert "rows" not in caplog.text


@pytest.mark.parametrize("given", ["^", "space"])
def test_another_delimiter_can_be_named(tmp_path: Path, given: str) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS, sep="^" if given == "^" else " ")
    assert pairs(path, delimiter=given) == ROWS


@pytest.mark.parametrize("given", ["::", "", "x", '"', "\n"])
def test_a_delimiter_that_is_none(tmp_path: Path, given: str) -> None:
    with pytest.raises(ValueError, match=r"`delimiter` is .*: give one character"):
        load_text_datasets(train_file=write_csv(tmp_path / "a.csv", ROWS), delimiter=given)


def test_the_line_in_which_excel_names_the_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\ntext;label\na, b;x\nc;y\n")
    assert pairs(tmp_path / "a.csv") == [("a, b", "x"), ("c", "y")]


def test_one_column_of_texts_with_delimiters_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\none; two\nthree | four\n")
    (tmp_path / "a.txt").write_text('text\none, two\n"I am here,\nhe said"\n')
    assert read_files("x", [tmp_path / "a.csv"])["text"][:] == ["one; two", "three | four"]
    assert read_files("x", [tmp_path / "a.txt"])["text"][:] == ["one, two", '"I am here,', 'he said"']


# ---- encodings and packings ----


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_marked_encodings_are_found(tmp_path: Path, encoding: str) -> None:
    rows = [*ROWS, ("façade 東京", "billing")]
    text = "\ufeff" if encoding == "utf-16-be" else ""
    text += "text,label\n" + "".join(f'"{t}",{label}\n' for t, label in rows)
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    # A mark is certain, whatever was meant for the other files.
    assert pairs(tmp_path / "a.csv") == pairs(tmp_path / "a.csv", encoding="latin-1") == rows


@pytest.mark.parametrize(("encoding", "byte"), [("latin-1", "E7"), ("cp1252", "E7"), ("gb18030", "[0-9A-F]{2}")])
def test_other_encodings_are_refused_and_can_be_named(tmp_path: Path, encoding: str, byte: str) -> None:
    rows = [*ROWS, ("façade" if encoding != "gb18030" else "東京", "billing")]
    path = write_csv(tmp_path / "a.csv", rows, encoding=encoding)
    refused(path, rf"byte 0x{byte} in line 8 is not utf-8.*--encoding.*latin-1")
    assert pairs(path, encoding=encoding) == rows


def test_an_encoding_that_is_none_or_not_that_of_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_csv(tmp_path / "a.csv", [*ROWS, ("façade", "billing")])
    with pytest.raises(ValueError, match=r"`encoding` is 'utf-9', which is no encoding: name one such as utf-8"):
        load_text_datasets(train_file=path, encoding="utf-9")
    with pytest.raises(ValueError, match="`encoding` is 'base64'"):
        load_text_datasets(train_file=path, encoding="base64")
    refused(path, "is not ascii", encoding="ascii")
    pairs(path, encoding="latin-1")
    assert "its bytes are UTF-8" in caplog.text


def test_a_byte_far_into_a_long_file_is_found(tmp_path: Path) -> None:
    lines = [f"{'x' * 100} {i},{i % 2}".encode() for i in range(30_000)]
    lines[25_000] += b"\xff"
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + b"\n".join(lines))
    refused(tmp_path / "a.csv", "0xFF in line 25002")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.tsv.gz", "a.TXT.GZ"])
def test_packed_tables(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = "text\tlabel\n" + "".join(f"{t}\t{label}\n" for t, label in ROWS)
    path.write_bytes(gzip.compress(text.encode()))
    assert pairs(path) == ROWS
    path.write_bytes(path.read_bytes()[:-20])
    refused(path, "damaged, cut off or not gz")
    path.write_bytes(text.encode())
    refused(path, "not gz")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz", "a.jsonl.bz2", "a.json.xz"])
def test_packed_json(tmp_path: Path, name: str) -> None:
    pack: Any = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[Path(name).suffix]
    (tmp_path / name).write_bytes(pack("\n".join(json.dumps({"text": t, "label": c}) for t, c in ROWS).encode()))
    assert pairs(tmp_path / name) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"PK\x03\x04....", "Excel.*save the sheet as csv"),
        ("a.csv", gzip.compress(b"text,label\na,b\n", mtime=0), r"add \.gz to its name"),
        ("a.tsv", b"PAR1....", r"suffix \.parquet"),
        ("a.jsonl", b"\xd0\xcf\x11\xe0....", "Excel"),
        ("a.xlsx", b"PK\x03\x04", r"suffix '\.xlsx' \(save the sheet as csv\)"),
        ("a.csv.zip", b"PK\x03\x04", r"suffix '\.zip' \(unpack it\)"),
        ("a.parquet.gz", b"x", "packed parquet file"),
        ("a.parquet", b"PAR1 and no more", "could not be read as parquet"),
        ("a.csv", b"\n\n", "holds no line"),
        ("a.csv", b"\xef\xbb\xbf", "holds no line"),
    ],
)
def test_what_is_no_table_of_its_suffix(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, said)


# ---- lines and quotes ----


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_line_ends_and_blank_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str, is_ended: bool) -> None:
    lines = ["", "text,label", "a,x", "", '"b, ""c""",y', ""]
    (tmp_path / "a.csv").write_text(end.join(lines[:-1]) + (end if is_ended else ""), newline="")
    assert pairs(tmp_path / "a.csv") == [("a", "x"), ('b, "c"', "y")]
    assert "1 blank lines left out" in caplog.text


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_with_line_breaks_are_one_row_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, end: str
) -> None:
    rows = [(f"first{end}second, and{end}{end}last", "x"), ('say ""no""', "y"), (f"a{end}b", "x")]
    with caplog.at_level(logging.INFO):
        assert pairs(write_csv(tmp_path / "a.csv", rows, end=end)) == rows
    assert "2 rows with line breaks in quotes, the first in line 2; 3 rows" in caplog.text


BARE = [('"the parcel is late', "x"), ("all well", "y"), ('he said "no', "x"), ('it was late"', "y"), ("bye", "x")]


@pytest.mark.parametrize(
    ("name", "sep", "rows"),
    [
        ("a.tsv", "\t", BARE),  # closes before the end of a later cell
        ("a.tsv", "\t", [BARE[0], *BARE[1:2] * 4, ("bye", "x")]),  # never closes
        ("a.tsv", "\t", [BARE[0], BARE[1], BARE[3], BARE[4]]),  # closes as if it were one cell of three rows
        ("a.csv", ",", [BARE[0], BARE[1], BARE[3], BARE[4]]),
        ("a.csv", ";", [("x", BARE[0][0]), ("y", "b"), ("y", BARE[3][0])]),
        ("a.tsv", "\t", [BARE[0], BARE[3]]),
    ],
)
def test_a_quote_that_swallows_lines_is_part_of_the_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, sep: str, rows: list[tuple[str, str]]
) -> None:
    (tmp_path / name).write_text("".join(f"{t}{sep}{label}\n" for t, label in [("text", "label"), *rows]))
    assert pairs(tmp_path / name) == rows
    (record,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "read without quotes, a row a line" in record.message and f"{len(rows)} rows" in record.message


def test_a_cell_of_two_lines_that_look_like_rows(tmp_path: Path) -> None:
    # Commas of sentences.
    (tmp_path / "a.csv").write_text('text,label\n"Hello, you\nthere",ham\nbye,spam\n')
    assert pairs(tmp_path / "a.csv") == [("Hello, you\nthere", "ham"), ("bye", "spam")]
    # A writer that doubles quotes.
    (tmp_path / "b.csv").write_text('text,label\n"Hello,""you""\nthere",ham\nbye,spam\n')
    assert pairs(tmp_path / "b.csv") == [('Hello,"you"\nthere', "ham"), ("bye", "spam")]
    (tmp_path / "c.csv").write_text('text,label\n"Hello,you\nthere",ham\nbye,spam\n')
    refused(tmp_path / "c.csv", r"line 2: a quote opens here and closes in a later line.*jsonl")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a,x", "b"], "line 3: it has 1 cell, and the header 2"),
        (["a,x", "b,y,z"], "line 3: it has 3 cells, and the header 2"),
        (['"a', 'b",x', "c"], "line 4: it has 1 cell, and the header 2"),
        (
            ["a,x", '"b,y', "c"],
            "line 4: the file ends within a quote that opens in the row of line 3.*without quotes, line 4",
        ),
        (
            ['"a","x"', '"say "no" now","y"'],
            r"line 3: a quote \(of the row that begins in line 3\) closes before the end",
        ),
        (["a,x", "b\0,y"], "line 3 holds a zero byte.*utf-16-le"),
        (["a,x", "b,c,y"], "line 3"),
        (["a,x,", "b,y,z"], "line 3: it has 3 cells|more cells than the 2"),
    ],
)
def test_damaged_rows_are_named(tmp_path: Path, lines: list[str], said: str) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    refused(tmp_path / "a.csv", said)


def test_damage_far_into_a_file(tmp_path: Path) -> None:
    lines = [f'"{i}\nx",{i % 2}' for i in range(3000)]
    lines[2000] = "short"
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(lines))
    refused(tmp_path / "a.csv", "line 4002: it has 1 cell")


@pytest.mark.parametrize(
    "text",
    [
        "text,label,\na,x,\nb,y,\n",
        "text,label\na,x,\nb,y,\n",
        "text , label,,\na,x,,\nb,y,,\n",
        ",text,label\n0,a,x\n1,b,y\n",
    ],
)
def test_delimiters_of_empty_columns(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert pairs(tmp_path / "a.csv") == [("a", "x"), ("b", "y")]


def test_headers_that_do_not_name_the_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,text\na,x,b\n")
    refused(tmp_path / "a.csv", "has a name twice")
    (tmp_path / "b.csv").write_text(",text,,label\n1,a,2,x\n")
    refused(tmp_path / "b.csv", "columns without a name")


def test_a_very_long_cell(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    rows = [("x" * 300_000, "a"), ("y, " * 100_000, "b")]
    assert pairs(write_csv(tmp_path / "a.csv", rows)) == rows
    assert csv.field_size_limit() == limit


# ---- cells as they are written ----


@pytest.mark.parametrize(
    "labels",
    [
        ["001", "010", "100"],
        ["true", "false"],
        ["2020-01-01", "2021-12-31"],
        ["9223372036854775808", "18446744073709551616"],
        ["+1", "-1a"],
        ["1e5", "2e5"],
        ["NA", "None", "null", "nan"],
    ],
)
def test_classes_are_called_what_is_written(tmp_path: Path, labels: list[str]) -> None:
    rows = [(f"text {i}", label) for i, label in enumerate(labels * 2)]
    assert pairs(write_csv(tmp_path / "a.csv", rows)) == rows
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": t, "label": c}) for t, c in rows))
    assert pairs(tmp_path / "a.jsonl") == rows


def test_a_column_has_one_type_in_all_files(tmp_path: Path) -> None:
    train = write_csv(tmp_path / "a.csv", [("a", "001"), ("b", "100"), ("c", "110")])
    test = write_csv(tmp_path / "b.csv", [("d", "100"), ("e", "110")])
    more = write_csv(tmp_path / "c.csv", [("f", "110"), ("g", "100")])
    data = load_text_datasets(train_file=train, test_file=test, unlabeled_file=more)
    assert data.label_names == ["001", "100", "110"]
    assert list(data.test["test"]["label"]) == [1, 2]
    assert data.unlabeled is not None and list(data.unlabeled["label"]) == [2, 1]
    parts = load_text_datasets(train_file=f"{test},{train}")
    assert parts.label_names == ["001", "100", "110"]
    # Scores of whole numbers in one of the files.
    one, two = write_csv(tmp_path / "d.csv", [("a", "1"), ("b", "2")]), write_csv(tmp_path / "e.csv", [("c", "4.50")])
    scores = load_text_datasets(train_file=f"{one},{two}")
    assert scores.problem_type == "regression"
    assert scores.train is not None and list(scores.train["label"]) == [1.0, 2.0, 4.5]


def test_texts_of_digits_are_texts(tmp_path: Path) -> None:
    rows = [("007", "x"), ("1.50", "y"), ("3", "x")]
    assert pairs(write_csv(tmp_path / "a.csv", rows)) == rows
    rows = [("1", "x"), ("2", "y")]
    assert pairs(write_csv(tmp_path / "b.csv", rows)) == rows


def test_an_empty_cell_is_missing_among_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,n,s,e\na,1,,\n,,b,\n")
    dataset = read_files("x", [tmp_path / "a.csv"])
    assert dataset[:] == {"text": ["a", ""], "n": [1, None], "s": ["", "b"], "e": [None, None]}


def test_label_columns_of_true_and_false(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,a,b\nx,True,False\ny,False,False\n")
    data = load_text_datasets(train_file=str(tmp_path / "a.csv"), label_column="a,b")
    assert data.train is not None and list(data.train["label"]) == [[1.0, 0.0], [0.0, 0.0]]


def test_parquet_types_that_pandas_and_databases_write(tmp_path: Path) -> None:
    columns = {
        "text": pa.array(["a", "b"]).cast(pa.string_view()),
        "label": pa.array(["x", "y"]).dictionary_encode(),
        "price": pa.array([Decimal("1.50"), Decimal("2.00")]),
        "id": pa.array([2**64 - 1, 1], pa.uint64()),
    }
    pq.write_table(pa.table(columns), tmp_path / "a[1].parquet")
    assert pairs(tmp_path / "a[1].parquet") == [("a", "x"), ("b", "y")]
    dataset = read_files("x", [tmp_path / "a[1].parquet"])
    assert dataset["price"][:] == [1.5, 2.0] and dataset["id"][:] == [2**64 - 1, 1]


# ---- json ----


def test_forms_of_json(tmp_path: Path) -> None:
    rows = [{"text": t, "label": label} for t, label in ROWS]
    forms = {
        "lines.jsonl": "\n\n".join(map(json.dumps, rows)),
        "lines.json": "\n".join(map(json.dumps, rows)),
        "list.json": json.dumps(rows),
        "pretty.json": json.dumps(rows, indent=2),
        "wrapped.json": json.dumps({"version": 1, "data": rows}, indent=1),
        "wrapped_line.json": json.dumps({"data": rows}),
        "one_after_the_other.json": "\n".join(json.dumps(row, indent=2) for row in rows),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text)
        assert pairs(tmp_path / name) == ROWS, name


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label\n', "line 2: .* at column"),
        ("a.jsonl", '{"text": "a", "label": 1}\n\n["b", 2]\n', r'line 3 holds \["b", 2\], where an object'),
        (
            "a.jsonl",
            '{"text": "a", "label": 1}\n{"text": 3, "label": 2}\n',
            "'text' holds 3 in line 2, and \"a\" in line 1",
        ),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "a", "label": true}\n', "'label' holds true in line 2"),
        (
            "a.jsonl",
            '{"text": "a", "p": [1.5]}\n{"text": "a", "p": [0.5, true]}\n',
            r"'p' holds \[0.5, true\] in line 2, a truth",
        ),
        ("a.jsonl", '{"text": "a", "p": 1.5}\n{"text": "a", "p": true}\n', "'p' holds true in line 2"),
        (
            "a.json",
            '[{"text": "a", "p": {"x": [0.5]}}, {"text": "b", "p": {"x": [true]}}]',
            "'p' holds .*true.* in row 1, a truth",
        ),
        ("a.jsonl", '{"text": "a"}\n{"text": "b", "text": "c"}\n', "line 2: an object has the key 'text' twice"),
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', "lone surrogate.* in line 2"),
        ("a.jsonl", f'{{"text": "a"}}\n{"[" * 100_000}\n', "line 2: .*nested too deep"),
        ("a.jsonl", '{"text": "a"}\n{"text": 18446744073709551616}\n', "'text' holds"),
        ("a.json", '[{"text": "a"}\n{"text": "b"}]', "comma is missing after row 0, in line 2"),
        ("a.json", '[{"text": "a"},\n{"text": "b"}', "comma is missing after row 1"),
        ("a.json", '[{"text": "a"}, 3]', "row 1 holds 3"),
        ("a.json", '[{"text": "a"}]\n[]', "more behind the end of the list, in line 2"),
        ("a.json", '{"text": {"0": "a"}, "label": {"1": "b"}}', "'text' .* holds dict"),
        ("a.json", '{"text": ["a"], "label": ["b", "c"]}', "'text' .* holds List"),
        ("a.json", "   ", "holds nothing"),
        ("a.json", "text,label\n", "line 1"),
    ],
)
def test_json_that_cannot_be_read_names_the_row(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        load_text_datasets(train_file=str(tmp_path / name))


def test_types_of_later_rows(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"text": f"t{i}", "n": i, "tags": []} for i in range(1200)]
    rows[700] |= {"n": 0.5, "late": "x", "tags": ["a"]}
    rows[900]["n"] = None
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = read_files("x", [tmp_path / "a.jsonl"])
    assert dataset["n"][699:702] == [699.0, 0.5, 701.0] and dataset["n"][900] is None
    assert dataset["late"][699:701] == [None, "x"] and dataset["tags"][699:701] == [[], ["a"]]
    rows[1000]["n"] = "word"
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    refused(tmp_path / "a.jsonl", "'n' holds \"word\" in line 1001, and 0 in line 1")


@pytest.mark.parametrize("where", [0, 700])
def test_whole_numbers_that_are_too_long_stay_exact(tmp_path: Path, where: int) -> None:
    numbers = [2**63 + 5 if i == where else i for i in range(1000)]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": "a", "id": n}) for n in numbers))
    assert read_files("x", [tmp_path / "a.jsonl"])["id"][:] == [str(n) for n in numbers]


# ---- folders ----


def make_folder(root: Path, names: list[str]) -> str:
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_csv(root / name, [("NA", "None"), (f"text {i}", "x")], sep="\t" if ".tsv" in name else ",")
    return str(root)


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["only.csv"], {"train": 1}),
        (["train.csv", "dev.csv", "test.csv"], {"train": 1, "validation": 1, "test": 1}),
        (["Training.tsv", "my_VAL.csv.gz", "testing-v2.tsv"], {"train": 1, "validation": 1, "test": 1}),
        (["train/0.csv", "train/1.csv", "Valid/a.csv"], {"train": 2, "validation": 1}),
        (["data/train-00000-of-00002.csv", "data/train-00001-of-00002.csv", "README.md"], {"train": 2}),
        (
            ["train.tsv", "dev_matched.tsv", "dev_mismatched.tsv"],
            {"train": 1, "validation_matched": 1, "validation_mismatched": 1},
        ),
        (["train.csv", "classes.txt", ".hidden/test.csv"], {"train": 1}),
    ],
)
def test_a_folder_is_read_as_its_files_are(tmp_path: Path, names: list[str], splits: dict[str, int]) -> None:
    folder = make_folder(tmp_path / "data set", names)
    data = load_text_datasets(dataset_name=folder)
    found = {"train": data.train, **data.validation, **data.test}
    assert {name: len(split) for name, split in found.items() if split is not None} == {
        n: 2 * c for n, c in splits.items()
    }
    assert data.label_names == ["None", "x"]
    assert data.train is not None and data.train["text"][0] == "NA"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train.csv", "answers.csv"], "which split these of its files are: answers.csv. Call them train"),
        (["a.csv", "b.csv"], r"a\.csv, b\.csv"),
        (["train_test.csv", "dev.csv"], "train_test.csv"),
        (["train.csv", "train.tsv"], "train.csv and train.tsv are both the split 'train'"),
        (["train.csv", "train.csv.gz"], "are both the split 'train'"),
    ],
)
def test_a_folder_whose_splits_cannot_be_told(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_text_datasets(dataset_name=make_folder(tmp_path / "data", names))


def test_a_folder_with_a_card_is_read_by_it(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", ["one.csv", "two.csv"])
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: one.csv}\n  - {split: test, path: two.csv}\n---\n"
    (tmp_path / "data" / "README.md").write_text(card)
    assert tables_in(folder) is None


def test_a_folder_of_images_is_none_of_tables(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", ["train/metadata.csv"])
    (tmp_path / "data/train/a.png").write_bytes(b"x")
    assert tables_in(folder) is None and tables_in(str(tmp_path / "nowhere")) is None


def test_images_are_read_from_the_same_tables(tmp_path: Path) -> None:
    rows = []
    for i in range(4):
        Image.new("RGB", (4, 4), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
        rows.append(f"{tmp_path / f'{i}.png'};{'01' if i % 2 else '10'}\n")
    (tmp_path / "a.csv").write_text("image;label\n" + "".join(rows), encoding="utf-16")
    data = load_image_datasets(train_file=str(tmp_path / "a.csv"))
    assert data.label_names == ["01", "10"] and data.train is not None and list(data.train["label"]) == [1, 0, 1, 0]
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.csv").rename(tmp_path / "folder" / "train.csv")
    assert load_image_datasets(dataset_name=str(tmp_path / "folder")).label_names == ["01", "10"]


# ---- the files of GLUE ----


QUOTES = ['"It opens', "and never", 'closes" again.', 'he said "no"']
LAYOUTS: dict[str, tuple[str, str, list[list[str]]]] = {
    "sst2": ("sentence\tlabel", "index\tsentence", [[t, str(i % 2)] for i, t in enumerate(QUOTES)]),
    "mrpc": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        "\ufeffindex\t#1 ID\t#2 ID\t#1 String\t#2 String",
        [[str(i % 2), "1", "2", t, "b"] for i, t in enumerate(QUOTES)],
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "id\tquestion1\tquestion2",
        [["7", "1", "2", t, "b", str(i % 2)] for i, t in enumerate(QUOTES)],
    ),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2",
        [[str(i), "g", "f", "2012", "1", "n", "n", t, "b", f"{i}.500"] for i, t in enumerate(QUOTES)],
    ),
    "mnli": (
        "index\tpairID\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label",
        "index\tpairID\tsentence1_parse\tsentence1\tsentence2",
        [[str(i), "p", "(a)", t, "b", "neutral", ["neutral", "entailment"][i % 2]] for i, t in enumerate(QUOTES)],
    ),
    "rte": (
        "index\tsentence1\tsentence2\tlabel",
        "index\tsentence1\tsentence2",
        [[str(i), t, "b", ["entailment", "not_entailment"][i % 2]] for i, t in enumerate(QUOTES)],
    ),
    "qnli": (
        "index\tquestion\tsentence\tlabel",
        "index\tquestion\tsentence",
        [[str(i), t, "b", ["entailment", "not_entailment"][i % 2]] for i, t in enumerate(QUOTES)],
    ),
    "cola": ("", "index\tsentence", [["gj04", str(i % 2), "*", t] for i, t in enumerate(QUOTES)]),
}


@pytest.mark.parametrize("task", sorted(LAYOUTS))
def test_the_official_files_of_glue(tmp_path: Path, task: str) -> None:
    header, test_header, rows = LAYOUTS[task]
    train, test = tmp_path / "train.tsv", tmp_path / "test.tsv"
    train.write_text("\n".join(filter(None, [header, *map("\t".join, rows)])) + "\n", encoding="utf-8")
    width = len(test_header.split("\t"))
    texts = [[str(i), *["b"] * (width - 2), t] for i, t in enumerate(QUOTES)]
    test.write_text("\n".join([test_header, *map("\t".join, texts)]) + "\n", encoding="utf-8")
    data = load_text_datasets(task_name=task, train_file=str(train), test_file=str(test))
    assert data.train is not None and list(data.train[data.columns.text]) == QUOTES
    assert list(data.test["test"][data.columns.texts[-1]]) == QUOTES
    if task == "stsb":
        assert list(data.train["label"]) == [0.5, 1.5, 2.5, 3.5]
    else:
        assert [data.label_names[i] for i in data.train["label"]] == [
            row[
                (header or "source\tlabel")
                .lstrip("\ufeff")
                .split("\t")
                .index({"mrpc": "Quality", "qqp": "is_duplicate", "mnli": "gold_label"}.get(task, "label"))
            ]
            for row in rows
        ]


@pytest.mark.parametrize("task", sorted({*LAYOUTS} - {"cola"}))
def test_the_official_files_without_the_name_of_the_task(tmp_path: Path, task: str) -> None:
    header, _, rows = LAYOUTS[task]
    (tmp_path / "train.tsv").write_text("\n".join([header, *map("\t".join, rows)]), encoding="utf-8")
    data = load_text_datasets(train_file=str(tmp_path / "train.tsv"))
    assert data.train is not None and list(data.train[data.columns.text]) == QUOTES


# ---- the pieces ----


def test_a_file_is_not_held_many_times(tmp_path: Path) -> None:
    rows = [("word " * 40, str(i % 2)) for i in range(30_000)]
    path = Path(write_csv(tmp_path / "a.csv", rows))
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    dataset = read_files("x", [path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(dataset) == 30_000
    assert pa.total_allocated_bytes() - before < 1.6 * path.stat().st_size
    assert peak < path.stat().st_size


def test_names_of_delimiters() -> None:
    assert Reading("tab").delimiter == "\t" and Reading("\\t").delimiter == "\t"
