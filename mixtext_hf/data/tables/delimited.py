"""Tables of text with a delimiter between the cells: csv, tsv, txt. Every cell is read as the string that is written.

The delimiter and the line ends are found, and whether quotes are quotes. Rows are neither joined nor cut: a file that has no
reading in which every row has as many cells as the header is an error that names the line.
"""

from __future__ import annotations

import csv
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from .cell_types import join_pieces
from .joined_files import without_seams
from .quotes import QUOTE, is_wrapped, weigh
from .regular_tables import names_in, read_regular
from .text_encoding import TextSource, Unreadable


logger = logging.getLogger(__name__)

# What a suffix says of the delimiter; with one that says nothing, each is looked for.
USUAL = {".csv": ",", ".tsv": "\t", ".txt": None}
_FOUND = ("\t", ",", ";", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "blank"}
_BY_NAME = {"space": " ", "\\t": "\t", **{name: char for char, name in _NAMES.items()}}
# So few that no collection of garbage looks at them.
_BATCH = 500
# The reader's own limit is 131,072 characters.
_LONGEST_CELL = min(sys.maxsize, 2**31 - 1)
# Excel tells itself the delimiter in a line before the header.
_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*')


def check_delimiter(delimiter: str | None) -> str | None:
    """The character that an argument names; a `ValueError` if it is none that can stand between cells."""
    if delimiter is None:
        return None
    char = _BY_NAME.get(delimiter.lower(), delimiter)
    if len(char) != 1 or char.isalnum() or char in '"\r\n\0':
        raise ValueError(
            f"`delimiter` is {delimiter!r}: give one character such as ';', or one of {', '.join(sorted(_BY_NAME))}."
        )
    return char


class _Misfit(Exception):
    """A reading that does not give every row the cells of the header."""

    def __init__(self, line: int, reason: str):
        super().__init__(f"line {line}: {reason}")


@dataclass
class _Table:
    """What a reading gives, and what is to be said of it."""

    names: list[str]
    columns: list[pa.ChunkedArray]
    rows: int
    spanning: int = 0  # records of several lines
    first_spanning: int = 0
    blank: int = 0
    fits_unquoted: bool = False


@dataclass(frozen=True)
class _Layout:
    source: TextSource
    delimiter: str | None  # None: a single column
    newline: str
    skipped: int  # lines before the header
    is_padded: bool  # a blank after each delimiter is none of the cell
    headless: Callable[[Sequence[str]], Sequence[str] | None]


def read_delimited(
    path: Path,
    suffix: str,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    headless: Callable[[Sequence[str]], Sequence[str] | None] = lambda first: None,
) -> pa.Table:
    """
    Read a table, all cells as strings.

    Args:
        path (`Path`): The file.
        suffix (`str`): What it is, `".csv"`, `".tsv"` or `".txt"`.
        delimiter (`str`, *optional*): As [`check_delimiter`] gives it; found if not given.
        encoding (`str`, *optional*): Of a file without a mark; UTF-8 if not given.
        headless (`Callable`, *optional*): The names of the columns if these cells of the first line are no header.

    Raises:
        [`Unreadable`]: names the line.
    """
    source = TextSource.of(path, encoding)
    sample = source.sample()
    newline = "\r" if "\r" in sample and "\n" not in sample else "\n"
    told = _SEP_LINE.fullmatch(sample.split(newline, 1)[0])
    skipped = 0 if told is None else 1
    usual = USUAL[suffix]
    if delimiter is None:
        lines = _sample_lines(sample, newline)[skipped:]
        delimiter = _find_delimiter(lines, usual, told and told[1])
    layout = _Layout(source, delimiter, newline, skipped, _is_padded(sample, newline, skipped, delimiter), headless)
    with _long_cells():
        table, quoted, why = _read(layout)
    names, columns = _named(table)
    columns, seams = without_seams(names, columns)
    table.rows = len(columns[0])
    _say(layout, usual, table, names, quoted, why, seams)
    return pa.table(columns, names=names)


# ---- the delimiter ----


def _sample_lines(sample: str, newline: str) -> list[str]:
    # A carriage return within a line, which the reader tells of, is none between cells.
    lines = [line.rstrip("\r").replace("\r", " ") for line in sample.split(newline) if line.strip("\r")]
    # The last one may be cut.
    return lines[:-1] if len(lines) > 2 else lines


def _find_delimiter(lines: list[str], usual: str | None, told: str | None) -> str | None:
    if told is not None:
        return told
    candidates = {char: _share(lines, char) for char in _FOUND if lines and _width(lines[0], char) > 1}
    if not candidates:
        return usual
    best = max(candidates.values())
    if usual is not None and candidates.get(usual) == best:
        return usual
    return max((char for char in candidates if candidates[char] == best), key=lambda char: _width(lines[0], char))


def _is_padded(sample: str, newline: str, skipped: int, delimiter: str | None) -> bool:
    """Whether somebody wrote a blank after each delimiter of the header, as in `text, label`."""
    header = _sample_lines(sample, newline)[skipped:][:1]
    cells = header[0].split(delimiter)[1:] if header and delimiter not in (None, " ") else []
    return bool(cells) and all(cell.startswith(" ") and cell.strip(' "\r') for cell in cells)


def _width(line: str, char: str) -> int:
    return len(next(csv.reader([line], delimiter=char), []))


def _share(lines: list[str], char: str) -> float:
    """How many rows have as many cells as the header, in the reading that suits them better."""
    width = _width(lines[0], char)
    try:
        quoted = [len(row) for row in csv.reader([f"{line}\n" for line in lines], delimiter=char)]
    except csv.Error:
        quoted = [0]  # A carriage return in a cell without quotes.
    unquoted = [line.count(char) + 1 for line in lines]
    return max(sum(count == width for count in counts) / len(counts) for counts in (quoted, unquoted))


# ---- the rows ----


def _read(layout: _Layout) -> tuple[_Table, bool, str]:
    """The table, whether quotes are quotes, and why not."""
    regular = _read_regular(layout)
    if regular is not None:
        return regular, layout.delimiter is not None, ""
    if layout.delimiter is None:
        table, _ = _collect(layout, quoted=False)
        return table, False, ""
    try:
        table, _ = _collect(layout, quoted=True)
    except _Misfit as misfit:
        try:
            table, wrapped = _collect(layout, quoted=False)
        except _Misfit as other:
            again = "" if str(other) == str(misfit) else f"; without quotes, {other}"
            raise Unreadable(f"{misfit}{again}") from misfit
        # A table of one column fits everything; one that is quoted throughout has a quote too much.
        is_quoting = any(map(is_wrapped, table.names)) or 2 * wrapped > table.rows
        if is_quoting or (len(table.names) == 1 and wrapped):
            raise Unreadable(f"{misfit}") from misfit
        return table, False, f"quotes do not close ({misfit})"
    if table.spanning and table.fits_unquoted:
        spans, line = weigh(_records(layout), layout.delimiter, len(table.names))
        if spans is None:
            raise Unreadable(
                f"line {line}: a quote opens here and closes in a later line, and both lines are rows by themselves. If a cell has "
                "line breaks, save the table as .jsonl or .parquet; if the quotes are part of the text, double them and put "
                "quotes around the cell"
            )
        if not spans:
            table, _ = _collect(layout, quoted=False)
            return table, False, f"a quote that opens in line {line} would make one row of several"
    return table, True, ""


def _read_regular(layout: _Layout) -> _Table | None:
    if layout.newline == "\r" or layout.is_padded:
        return None
    found = read_regular(layout.source, layout.delimiter, layout.skipped, layout.headless)
    return None if found is None else _Table(found.names, found.columns, found.rows, blank=found.blank)


def _collect(layout: _Layout, *, quoted: bool) -> tuple[_Table, int]:
    """All rows in one reading; and how many have a cell with quotes around it that the reading did not take off."""
    with layout.source.open(layout.newline) as file:
        lines = _Lines(file, layout.delimiter, layout.skipped)
        rows: Iterator[list[str]]
        if quoted:
            rows = csv.reader(lines, delimiter=layout.delimiter or ",", strict=True, skipinitialspace=layout.is_padded)
        else:
            rows = _unquoted_rows(lines, layout)
        try:
            collected = _Collected(layout, lines, rows, quoted)
        except csv.Error as error:
            raise _Misfit(lines.number, _told(str(error), _last_line(layout) + 1)) from error
    return collected.table, collected.wrapped


class _Collected:
    """The rows of a reading, put away as columns."""

    def __init__(self, layout: _Layout, lines: _Lines, rows: Iterator[list[str]], quoted: bool):
        header: list[str] = next((row for row in rows if row), [])
        if not header:
            raise Unreadable("it holds no line. Give a file with a header and at least one row")
        given = layout.headless(header)
        self.table = _Table(names_in(header, given), [], 0)
        self.wrapped = 0
        self._break, self._own_names = layout.newline, len(header)
        self._pieces: list[list[pa.Array]] = []  # of each column
        self._expected = lines.width = len(header)
        before, batch = lines.number, [header] if given is not None else []
        if batch:
            before -= 1
        while True:
            batch += islice(rows, _BATCH)
            if not batch:
                break
            n_lines = lines.number - before
            if set(map(len, batch)) != {self._expected}:
                self._check(batch, before + 1)
                lines.width = self._expected
            full = [row for row in batch if row] if [] in batch else batch
            if quoted and n_lines > len(batch):
                self._note_spanning(batch, before + 1)
            if not quoted and lines.has_quotes:
                self.wrapped += sum(any(map(is_wrapped, row)) for row in full)
            self.table.blank += len(batch) - len(full)
            self._put_away(full)
            before, batch = lines.number, []
        self._finish(lines)

    def _put_away(self, rows: list[list[str]]) -> None:
        if not rows:
            return
        self.table.rows += len(rows)
        self._pieces = self._pieces or [[] for _ in rows[0]]
        for pieces, cells in zip(self._pieces, zip(*rows, strict=True), strict=True):
            pieces.append(pa.array(cells, pa.string()))

    def _check(self, batch: list[list[str]], line: int) -> None:
        """Raise if a row of a batch that begins in this line has not the cells of the header."""
        is_first = not self._pieces
        for row in batch:
            if row and len(row) != self._expected:
                if not (is_first and len(row) > self._expected and not any(row[self._expected :])):
                    raise _Misfit(line, f"it has {_cells(len(row))}, and the header {self._own_names}")
                # A delimiter at the end of every row, but not of the header.
                self.table.names += [""] * (len(row) - self._expected)
                self._expected = len(row)
            is_first &= not row
            line += 1 + self._breaks(row)

    def _note_spanning(self, batch: list[list[str]], line: int) -> None:
        for row in batch:
            breaks = self._breaks(row)
            if breaks:
                self.table.spanning += 1
                self.table.first_spanning = self.table.first_spanning or line
            line += 1 + breaks

    def _breaks(self, row: list[str]) -> int:
        return sum(cell.count(self._break) for cell in row)

    def _finish(self, lines: _Lines) -> None:
        table = self.table
        if self._pieces:
            table.columns = [join_pieces(pieces, pa.string()) for pieces in self._pieces]
        else:
            table.columns = [pa.chunked_array([], pa.string())] * self._expected
        if any(_holds_any(column) for column in table.columns[self._own_names :]):
            raise _Misfit(lines.number, f"some rows have more cells than the {self._own_names} of the header")
        table.fits_unquoted = lines.fits


class _Lines:
    """The lines of a file, counted; whether each of them has as many delimiters as the header."""

    def __init__(self, file: Iterable[str], delimiter: str | None, skipped: int):
        self.number, self.width, self.fits, self.has_quotes = 0, 0, True, False
        self._file, self._delimiter, self._skipped = file, delimiter, skipped

    def __iter__(self) -> Iterator[str]:
        delimiter = self._delimiter or "\n"
        for line in self._file:
            self.number += 1
            if "\0" in line:
                raise Unreadable(
                    f"line {self.number} holds a zero byte: the file is damaged, or in another encoding; name it by --encoding, "
                    "such as utf-16-le"
                )
            if self.number <= self._skipped:
                continue
            if not self.has_quotes and QUOTE in line:
                self.has_quotes = True
            if self.fits and self.width and line.count(delimiter) + 1 != self.width and line.strip("\r\n"):
                self.fits = False
            yield line


def _told(message: str, opened: int) -> str:
    if "end of data" in message:
        return f"the file ends within a quote that opens in the row of line {opened}"
    if "expected after" in message:
        return f"a quote (of the row that begins in line {opened}) closes before the end of its cell"
    if "new-line character" in message:
        return "it has a carriage return within a cell without quotes"
    return message


def _last_line(layout: _Layout) -> int:
    """The last line of the last record that can be read with quotes."""
    last = layout.skipped
    try:
        for first, text in _records(layout):
            last = first + text.count(layout.newline) - (1 if text.endswith(layout.newline) else 0)
    except csv.Error:
        return last
    return last


def _unquoted_rows(lines: Iterable[str], layout: _Layout) -> Iterator[list[str]]:
    delimiter = layout.delimiter
    if layout.is_padded:
        lines = (re.sub(f"{re.escape(delimiter or '')} +", delimiter or "", line) for line in lines)
    for line in lines:
        line = line.removesuffix("\n").removesuffix("\r")
        yield (line.split(delimiter) if delimiter is not None else [line]) if line else []


def _records(layout: _Layout) -> Iterator[tuple[int, str]]:
    """Of each record of the quoted reading the number of its first line, and its text."""
    with layout.source.open(layout.newline) as file:
        seen: list[str] = []
        lines = _Lines(file, layout.delimiter, layout.skipped)

        def watched() -> Iterator[str]:
            for line in lines:
                seen.append(line)
                yield line

        for _ in csv.reader(
            watched(), delimiter=layout.delimiter or ",", strict=True, skipinitialspace=layout.is_padded
        ):
            yield lines.number - len(seen) + 1, "".join(seen)
            seen.clear()


@contextmanager
def _long_cells() -> Iterator[None]:
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


# ---- the header ----


def _named(table: _Table) -> tuple[list[str], list[pa.ChunkedArray]]:
    """The columns that have a name, or something in them: a spreadsheet writes delimiters of empty cells."""
    kept = [i for i, name in enumerate(table.names) if name or _holds_any(table.columns[i])]
    names = [table.names[i] for i in kept]
    if not names:
        raise Unreadable("its first line names no column. Give a file with a header and at least one row")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        what = f"the header {names} has a name twice" if twice else f"the header {names} has columns without a name"
        raise Unreadable(f"{what}: give each column its own")
    return names, [table.columns[i] for i in kept]


def _holds_any(column: pa.ChunkedArray) -> bool:
    return len(column) > 0 and bool(pc.any(pc.not_equal(column, "")).as_py())


# ---- what is said ----


def _say(
    layout: _Layout, usual: str | None, table: _Table, names: list[str], quoted: bool, why: str, seams: list[str]
) -> None:
    facts = []
    if not layout.source.is_usual:
        facts.append(f"encoding {layout.source.encoding.removesuffix('-sig')}")
    if layout.delimiter != usual:
        char = layout.delimiter or ""
        facts.append(f"delimiter {_NAMES.get(char, repr(char))}")
    if why:
        facts.append(f"read without quotes, a row a line: {why}")
    if table.spanning:
        facts.append(f"{table.spanning} rows with line breaks in quotes, the first in line {table.first_spanning}")
    if table.blank:
        facts.append(f"{table.blank} blank lines left out")
    if layout.is_padded:
        facts.append("a blank after each delimiter")
    facts += seams
    if facts:
        level = logging.WARNING if why or table.blank or seams else logging.INFO
        logger.log(level, "%s: %s; %d rows, columns %s.", layout.source.path, "; ".join(facts), table.rows, names)


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"
