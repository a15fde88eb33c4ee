"""The fast way through a delimited file of regular shape: every row as wide as the header, on a line of its own, and every quote
where a csv writer would put it. Where anything is otherwise nothing is decided here: the careful reader sees the file anew.

Arrow's csv parser is lenient, so that what it is given is looked at first; then it reads the very cells that the `csv` module does.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from .cell_types import join_pieces
from .joined_files import MARK
from .quotes import QUOTE
from .text_encoding import TextSource, Unreadable


# Stands between the cells of a file that has one column, where it is in none of them.
_NOWHERE = "\x1f"
_LINE_END = b"\n"


class RegularTable(NamedTuple):
    """The names and the columns, as strings, how many rows, and how many blank lines were left out."""

    names: list[str]
    columns: list[pa.ChunkedArray]
    rows: int
    blank: int


class _Irregular(Exception):
    """The careful reader must look at the file."""


def read_regular(
    source: TextSource,
    delimiter: str | None,
    skipped: int,
    headless: Callable[[Sequence[str]], Sequence[str] | None],
) -> RegularTable | None:
    r"""
    Read a file whose lines end with `"\n"` or `"\r\n"`.

    Args:
        source ([`TextSource`]): The file.
        delimiter (`str`, *optional*): Between cells; without one a line is a cell, and quotes are letters.
        skipped (`int`): Lines before the header.
        headless (`Callable`): The names of the columns if these cells of the first line are no header.

    Returns:
        [`RegularTable`]: `None` if the file is not regular, or has no row.
    """
    if delimiter is not None and (not delimiter.isascii() or not (delimiter == "\t" or delimiter.isprintable())):
        return None
    try:
        return _read(source, delimiter, skipped, headless)
    # What is wrong, and in which line, is told by the careful reader.
    except (_Irregular, Unreadable, UnicodeEncodeError, pa.ArrowInvalid):
        return None


def _read(
    source: TextSource,
    delimiter: str | None,
    skipped: int,
    headless: Callable[[Sequence[str]], Sequence[str] | None],
) -> RegularTable:
    blocks = source.blocks()
    line, rest = _first_line(next(blocks, ""), skipped)
    _check(line.encode(), delimiter)
    header = [line] if delimiter is None else next(csv.reader([line], delimiter=delimiter))
    given = headless(header)
    if given is not None:
        rest = f"{line}\n{rest}"
    pieces: list[list[pa.Array]] = [[] for _ in header]
    rows = blank = 0
    for block in _with_first(rest, blocks):
        lines = block.count(_LINE_END) + (not block.endswith(_LINE_END))
        table = _parsed(block, delimiter, len(header))
        rows += len(table)
        blank += lines - len(table)
        for column, chunked in zip(pieces, table.columns, strict=True):
            column += chunked.chunks
    if not rows:
        raise _Irregular
    return RegularTable(names_in(header, given), [join_pieces(column, pa.string()) for column in pieces], rows, blank)


def names_in(header: Sequence[str], given: Sequence[str] | None) -> list[str]:
    """The names of the columns: those that are `given`, or else the cells of the header."""
    return [name.replace(MARK, "").strip() for name in header] if given is None else list(given)


def _with_first(rest: str, blocks: Iterator[str]) -> Iterator[bytes]:
    if rest:
        yield rest.encode()
    for block in blocks:
        yield block.encode()


def _first_line(block: str, skipped: int) -> tuple[str, str]:
    """The first line that is not blank, without its end, and the lines below it."""
    for _ in range(skipped):
        block = block.partition("\n")[2]
    while block:
        line, _, block = block.partition("\n")
        if line := line.removesuffix("\r"):
            return line, block
    raise _Irregular


def _parsed(block: bytes, delimiter: str | None, width: int) -> pa.Table:
    """The cells of a block of lines."""
    _check(block, delimiter)
    names = [str(i) for i in range(width)]
    return pyarrow.csv.read_csv(
        pa.BufferReader(block),
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=delimiter or _NOWHERE, quote_char=False if delimiter is None else QUOTE
        ),
        convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )


def _check(block: bytes, delimiter: str | None) -> None:
    """Raise [`_Irregular`] if lines are not as a csv writer writes rows without line breaks in them."""
    if b"\0" in block or block.count(b"\r") != block.count(b"\r\n") or block.startswith(MARK.encode()):
        raise _Irregular
    if delimiter is None:
        if _NOWHERE.encode() in block:
            raise _Irregular
        return
    if QUOTE.encode() not in block:
        return
    bytes_ = np.frombuffer(block, dtype=np.uint8)
    quotes = np.flatnonzero(bytes_ == ord(QUOTE))
    opening, closing = quotes[::2], quotes[1::2]
    if len(opening) != len(closing):
        raise _Irregular
    # The end of the file is one of a line.
    after = np.append(bytes_, ord("\n"))[closing + 1]
    before = bytes_[opening - 1]
    ends, starts = (_is_one_of(some, (delimiter, "\n", more)) for some, more in ((after, "\r"), (before, delimiter)))
    starts[opening == 0] = True
    # Within a cell there are two, one after the other.
    doubled = closing[:-1] + 1 == opening[1:]
    ends[:-1] |= doubled
    starts[1:] |= doubled
    if not (ends.all() and starts.all()):
        raise _Irregular
    breaks = np.flatnonzero(bytes_ == ord("\n"))
    if (np.searchsorted(quotes, breaks) % 2).any():
        raise _Irregular


def _is_one_of(found: np.ndarray, chars: Sequence[str]) -> np.ndarray:
    return np.isin(found, [ord(char) for char in chars])
