"""The fast readers and the careful ones: what one gives, the other does."""

import csv
import io
import json
import string
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from depth import examples
from hypothesis import example, given
from hypothesis import strategies as st

from mixtext_hf.data.tables import delimited, json_rows, text_encoding
from mixtext_hf.data.tables.delimited import read_delimited
from mixtext_hf.data.tables.json_rows import read_json
from mixtext_hf.data.tables.regular_json import read_regular_json
from mixtext_hf.data.tables.regular_tables import read_regular
from mixtext_hf.data.tables.text_encoding import TextSource


def outcome(read: Any) -> Any:
    """Names, types and values, or the error."""
    try:
        table: pa.Table = read()
    except ValueError as error:
        return type(error).__name__, str(error)
    # The sign of a zero tells, and NaN is NaN.
    return table.schema, repr(table.to_pydict()), table.num_rows


def both(path: Path, fast: str, module: Any, read: Any, block: int) -> tuple[Any, Any]:
    with patch.object(text_encoding, "_BLOCK", block):
        found = outcome(read)
    with patch.object(module, fast, lambda *args: None):
        return found, outcome(read)


LETTERS = st.sampled_from(
    [*'ab"\n\r,;\t 7.-', "\r\n", '""', '"', ",", "é", "東", "🙂", "\ufeff", "\x1f", "\0", "NA", "\x85", "\u2028"]
)
TEXTS = st.lists(LETTERS, max_size=6).map("".join)
BYTES = st.lists(LETTERS, max_size=40).map("".join)


@st.composite
def written_tables(draw: Any) -> str:
    """What a csv writer writes, mostly, with blank lines between."""
    width = draw(st.integers(1, 3))
    delimiter = draw(st.sampled_from(",;\t"))
    alphabet = st.text(draw(st.sampled_from(['ab ",;', "ab", "aé🙂\n", 'a"\n,'])), max_size=5)
    rows = draw(st.lists(st.lists(alphabet, min_size=width, max_size=width), max_size=6))
    file = io.StringIO()
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(
        file, delimiter=delimiter, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"]))
    )
    writer.writerow(list(string.ascii_lowercase[:width]))
    for row in rows:
        writer.writerow(row)
        file.write(draw(st.sampled_from(["", "", "", "\n", "\r\n", " \n"])))
    return file.getvalue()[: draw(st.sampled_from([None, None, -1, -2]))]


@examples(100)
@given(
    text=written_tables() | BYTES,
    suffix=st.sampled_from([".csv", ".tsv", ".txt"]),
    delimiter=st.sampled_from([None, None, ",", "§", " "]),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"]),
    is_headless=st.booleans(),
    block=st.sampled_from([1, 7, 1 << 18]),
)
@example('text,label\n"a ""b""",x\n\n"",y\n', ".csv", None, "utf-8", False, 1 << 18)
@example('"text"\n""\n"a"\n', ".csv", None, "utf-8", True, 1)
@example('a,b\nx","y\n', ".csv", None, "utf-8", False, 7)
@example('a,b\n"x"y,z\n', ".csv", None, "utf-8", False, 7)
@example('a,b\n"x\ny",z\n', ".csv", None, "utf-8", False, 7)
@example('sep=;\na;b\n"x";z\n', ".csv", None, "utf-8", False, 7)
@example("sep=\0\na\0b\n", ".csv", None, "utf-8", False, 7)
@example("a,b\nx,y\n\ufeffz,w\n", ".csv", None, "utf-8", False, 1)
@example(",\r\n\ra", ".csv", None, "utf-8", False, 7)
@example("a\rb;c\nd;e\n", ".csv", None, "utf-8", False, 7)
@example("a,b\n1,2,\n3,4,\n", ".csv", None, "utf-8", False, 7)
def test_a_table_is_read_the_same_in_both_ways(
    text: str, suffix: str, delimiter: str | None, encoding: str, is_headless: bool, block: int
) -> None:
    def headless(first: Any) -> Any:
        return [f"column{i}" for i in range(len(first))] if is_headless else None

    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{suffix}"
        path.write_bytes(text.encode(encoding, errors="replace"))
        said = None if encoding != "latin-1" else encoding
        fast, careful = both(
            path,
            "read_regular",
            delimited,
            lambda: read_delimited(path, suffix, delimiter=delimiter, encoding=said, headless=headless),
            block,
        )
    assert fast == careful


@pytest.mark.parametrize(
    ("content", "delimiter", "columns"),
    [
        (
            b'text,label\na,b\r\n\n"x, ""y""",z\n"",NA',
            ",",
            {"text": ["a", 'x, "y"', ""], "label": ["b", "z", "NA"]},
        ),
        ('text\nsaid "no"\nété, "\n'.encode(), None, {"text": ['said "no"', 'été, "']}),
        ("text;b\nc;d\n".encode("utf-16"), ";", {"text": ["c"], "b": ["d"]}),
    ],
)
def test_regular_tables_are_read_fast(content: bytes, delimiter: str | None, columns: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    found = read_regular(TextSource.of(tmp_path / "a.csv", None), delimiter, 0, lambda first: None)
    assert found is not None and found.blank == content.count(b"\n\n")
    assert dict(zip(found.names, [column.to_pylist() for column in found.columns], strict=True)) == columns


KEYS = st.sampled_from(["text", "label", "é", "", 'q"'])
PLAIN = st.sampled_from(["a", "2020-01-01", "2020-01-01T10:00:00Z", "é🙂", "x\0y", 'q"\\', "", "}\n{"])
NUMBERS = st.sampled_from([0, 1, -5, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63)])
FRACTIONS = st.sampled_from([0.5, -0.0, 1e22, float("nan"), float("inf"), 0.1, 9007199254740993.0])
ONE_KIND = [PLAIN, NUMBERS, NUMBERS | FRACTIONS, FRACTIONS, st.booleans(), st.none(), st.lists(PLAIN, max_size=1)]
VALUES = [*ONE_KIND, *(st.lists(values | st.none(), max_size=2) for values in ONE_KIND)]
LINES = st.sampled_from(
    [
        '{"text": 01}',
        '{"text": 1, "text": 2}',
        '{"text": "\\udc00"}',
        '{"text": "\\ud83d\\ude42"}',
        '{"text": -0}',
        '{"text": 1e400}',
        '{"text": "a"} {"text": "b"}',
        '{"text":\n"a"}',
        '{"text": "a"',
        ' {"text": "a"} ',
        '{"text": "a\tb"}',
        "[1]",
        "",
        "\u00a0",
        "{}",
        '{"text": {"a": 1}}',
        '{"text": 1.0}',
        '{"text": 1E2}',
        '{"text": "a",}',
        '\ufeff{"text": "a"}',
        '{"te\\u0078t": "a"}',
    ]
)


@st.composite
def json_files(draw: Any) -> str:
    """Objects of the same keys mostly, and now and then a line that is odd."""
    of_key = {key: draw(st.sampled_from(VALUES)) for key in draw(st.lists(KEYS, min_size=1, max_size=3, unique=True))}
    rows: list[str] = []
    for _ in range(draw(st.integers(1, 5))):
        there = {key: draw(values | st.none()) for key, values in of_key.items() if draw(st.integers(0, 5))}
        rows.append(json.dumps(there, ensure_ascii=draw(st.booleans())))
    if draw(st.integers(0, 3)) == 0:
        rows.insert(draw(st.integers(0, len(rows))), draw(LINES))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))
    return end.join(rows) + draw(st.sampled_from(["", end]))


@examples(100)
@given(
    text=json_files(),
    encoding=st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "utf-16"]),
    block=st.sampled_from([1, 30, 1 << 18]),
    batch=st.sampled_from([1, 2, 500]),
)
@example('{"a": 1}\n{"a": 9007199254740993}\n{"a": 0.5}\n', "utf-8", 1, 1)
@example('{"text": [null, "a"]}\n{"text": ["b"]}', "utf-8", 1 << 18, 500)
@example('{"text": 1.0}\n{"text": 9007199254740993}\n', "utf-8", 1 << 18, 1)
@example('{"a": "2020-01-01"}\n{"a": "b"}\n{"b": "2020-01-01"}\n', "utf-8", 1, 500)
@example('{"a": {}\n}\n{"a": {}} {"a": {}}\n', "utf-8", 1 << 18, 500)
@example('{"a": "b"} {"a": "c"}\n{"a":\n"d"}\n', "utf-8", 1 << 18, 500)
def test_json_lines_are_read_the_same_in_both_ways(text: str, encoding: str, block: int, batch: int) -> None:
    with TemporaryDirectory() as folder, patch.object(json_rows, "_BATCH", batch):
        path = Path(folder) / "a.jsonl"
        path.write_bytes(text.encode(encoding))
        fast, careful = both(path, "read_regular_json", json_rows, lambda: read_json(path), block)
    assert fast == careful


def test_plain_json_lines_are_read_fast(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "a, b", "day": "2020-01-01", "label": 3, "score": 0.5, "classes": ["x", "y"], "days": ["2020-01-01"]},
        {"text": "é", "day": None, "score": 2, "classes": [], "days": None, "guess": [0.5, 1], "new": True},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = read_regular_json(TextSource.of(tmp_path / "a.jsonl", None))
    assert found is not None
    assert found.to_pylist() == [{**dict.fromkeys(("label", "guess", "new")), **row} for row in rows]
    assert found.schema.field("day").type == pa.string()
