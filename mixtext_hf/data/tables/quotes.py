"""How the quotes of a delimited file are meant, where its lines can be read in two ways.

A file of quoted cells may have line breaks in them; a file that knows no quotes has a row on each line, whatever stands in it.
Both may fit the same bytes. Here is the evidence for the one or the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


QUOTE = '"'


class Evidence(NamedTuple):
    """
    What speaks for cells with line breaks (`True`), for a row on each line (`False`), or leaves it open (`None`), and the line
    where a cell with line breaks begins.
    """

    spans: bool | None
    line: int


def weigh(records: Iterator[tuple[int, str]], delimiter: str, width: int) -> Evidence:
    """
    Decide between two readings that both give every row the number of cells of the header.

    Args:
        records (`Iterator[tuple[int, str]]`): Of each record of the quoted reading the number of its first line, and its text.
        delimiter (`str`): Between two cells.
        width (`int`): Cells of a row.
    """
    first = 0
    swallowed_whole = has_doubled = False
    inner = {True: 0, False: 0}  # delimiters within cells with line breaks, by whether a blank follows
    outer = {True: 0, False: 0}
    for line, text in records:
        if QUOTE not in text:
            _count(text, delimiter, outer)
            continue
        spans = "\n" in text or "\r" in text
        if spans:
            first = first or line
            swallowed_whole |= len(text.splitlines()) > 2
        for is_quoted, cell, follows_blank in _cells(text, delimiter):
            if follows_blank is not None:
                outer[follows_blank] += 1
            if not is_quoted:
                if QUOTE in cell:
                    # Who quotes cells would have quoted this one.
                    return Evidence(False, first or line)
                continue
            has_doubled |= QUOTE * 2 in cell
            if "\n" in cell or "\r" in cell:
                _count(cell, delimiter, inner)
    if width == 1 or has_doubled:
        return Evidence(True, first)
    if inner[True] and not inner[False] and not outer[True]:
        # As commas stand in sentences.
        return Evidence(True, first)
    # A cell with line breaks in which each line has just as many tabs as a row is none.
    if not inner[True] and (delimiter == "\t" or swallowed_whole):
        return Evidence(False, first)
    return Evidence(None, first)


def is_wrapped(cell: str) -> bool:
    """Whether a cell of an unquoted reading has quotes around it."""
    return len(cell) > 1 and cell[0] == QUOTE == cell[-1]


def _count(text: str, delimiter: str, counts: dict[bool, int]) -> None:
    blanks = text.count(delimiter + " ")
    counts[True] += blanks
    counts[False] += text.count(delimiter) - blanks


def _cells(text: str, delimiter: str) -> Iterator[tuple[bool, str, bool | None]]:
    """The cells of a well-formed record: whether it is quoted, what is in it, whether a blank comes after the delimiter behind it."""
    text, start = text.rstrip("\r\n"), 0
    while start <= len(text):
        is_quoted = text.startswith(QUOTE, start)
        if is_quoted:
            end = text.find(QUOTE, start + 1)
            while text.startswith(QUOTE, end + 1):
                end = text.find(QUOTE, end + 2)
            cell, end = text[start + 1 : end], end + 1
        else:
            end = text.find(delimiter, start)
            end = len(text) if end < 0 else end
            cell = text[start:end]
        yield is_quoted, cell, None if end >= len(text) else text.startswith(" ", end + 1)
        start = end + 1
