"""Files of the CoNLL kind: a word a line, its tag in another column, an empty line between sentences."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mixtext_hf.data.tables.text_encoding import TextSource, Unreadable


logger = logging.getLogger(__name__)

SUFFIXES = (".conll", ".txt", ".bio", ".bio2", ".iob", ".iob2", ".iobes", ".bioes", ".conllu", ".tsv")
DOCUMENT = "-DOCSTART-"
# What begins a line that is about a sentence and none of its words: `# sent_id = 3`, `# id 5a-20 domain=train`.
_COMMENT = re.compile(r"#\s")
_BLANKS = re.compile(r"[ \t]+")
_NUMBER = re.compile(r"[0-9]+([-.][0-9]+)?")


def read_conll(path: Path, *, encoding: str | None = None, tag_column: int | None = None) -> pa.Table:
    r"""
    Read the sentences of a file.

    A line is a word and what is said of it, between tabs if the first of these lines has one and between blanks if not. An empty
    line, or one of blanks, ends a sentence, and so does one that begins with `-DOCSTART-`, which is left out; lines that begin with
    "# " before the first word of a sentence, and do not have as many columns as the others, are comments. Marks of UTF-8 and UTF-16, line ends of Windows and a last line
    without an end are read as they are meant. Tags are kept as they are: IOB1, IOB2, BIOES.

    Args:
        path (`Path`): The file, perhaps packed (`.gz`).
        encoding (`str`, *optional*): As of [`~mixtext_hf.data.tables.text_encoding.TextSource`].
        tag_column (`int`, *optional*): The column of the tags, counted from 1; the last one by default. Words are in the first. Of a file of
            one column, which has no tags, it says nothing.

    Returns:
        `pa.Table`: `tokens`, lists of strings, and `ner_tags`, alike; without these if the file has one column.

    Raises:
        [`Unreadable`]: for lines of another number of columns, or with an empty word or tag; names the line. For files whose first column
            counts the words of each sentence (CoNLL-U), which would be taken for these.
    """
    sentences: list[list[str]] = []
    tags: list[list[str]] = []
    begins, comments = True, 0
    width, between_tabs = _layout(path, encoding)
    if width > 1:
        _check_tag_column(tag_column, width)
    for number, line in _lines(path, encoding):
        if not line.strip() or line.startswith(DOCUMENT):
            begins = True
            continue
        cells = _cells(line, between_tabs)
        if begins and _COMMENT.match(line) and len(cells) != width:
            comments += 1
            continue
        _check_cells(cells, number, width, between_tabs, line)
        if begins:
            sentences.append([])
            tags.append([])
            begins = False
        sentences[-1].append(cells[0])
        tags[-1].append(cells[-1 if tag_column is None or width == 1 else tag_column - 1])
    if not sentences:
        raise Unreadable("it has no sentence: a word and its tag stand in a line, and an empty line ends a sentence")
    _check_no_numbering(sentences, width)
    if comments:
        logger.info("%s: %d lines that begin with '# ' are comments, and are left out.", path, comments)
    columns = {"tokens": pa.array(sentences)}
    if width > 1:
        columns["ner_tags"] = pa.array(tags)
    return pa.table(columns)


def _layout(path: Path, encoding: str | None) -> tuple[int, bool]:
    """How many columns the first line of a word has, and whether tabs stand between them; 0 where there is none."""
    for _, line in _lines(path, encoding):
        if line.strip() and not line.startswith(DOCUMENT) and not _COMMENT.match(line):
            return len(_cells(line, "\t" in line)), "\t" in line
    return 0, False


def _cells(line: str, between_tabs: bool) -> list[str]:
    """Of blanks those of ASCII alone: others, which do not break, may be within a word."""
    return [cell.strip(" ") for cell in line.split("\t")] if between_tabs else _BLANKS.split(line.strip(" \t"))


def _lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1 on, without their ends."""
    with TextSource.of(path, encoding).open("") as file:
        # Of all line ends: some old files have carriage returns alone. Others, which Python takes for ends too, are within words.
        rest, number = "", 0
        while block := file.read(1 << 20):
            pieces = re.split("\r\n|\n|\r", rest + block)
            # A carriage return at the end of a block may be the half of an end.
            if block.endswith("\r"):
                pieces[-2:] = [pieces[-2] + "\r"]
            rest = pieces.pop()
            for piece in pieces:
                number += 1
                yield number, piece
        for piece in re.split("\r\n|\n|\r", rest) if rest else ():
            number += 1
            yield number, piece


def _check_tag_column(tag_column: int | None, width: int) -> None:
    if tag_column is not None and not 2 <= tag_column <= width:
        raise Unreadable(
            f"its lines have {width} columns, and --tag_column {tag_column} is none of tags: name one from 2 to {width}, or leave it out "
            "for the last"
        )


def _check_no_numbering(sentences: list[list[str]], width: int) -> None:
    """Of a word, a range (1-2) or an empty node (1.1), each sentence from 0 or 1 on: no text is like that."""
    counts = all(sentence[0] in "01" or sentence[0].startswith("1-") for sentence in sentences)
    if (
        width > 1
        and counts
        and sum(map(len, sentences)) > 2
        and all(_NUMBER.fullmatch(word) for sentence in sentences for word in sentence)
    ):
        raise Unreadable(
            f"its first column counts the words of each sentence ({', '.join(sentences[0][:3])}, ...), and words are read from the first: "
            "take that column out (cut -f2-), and lines of ranges like 1-2, and name the column of the tags by --tag_column"
        )


def _check_cells(cells: list[str], number: int, width: int, between_tabs: bool, line: str) -> None:
    if len(cells) != width:
        blanks = between_tabs and "\t" not in line and len(_cells(line, between_tabs=False)) == width
        why = " (it has blanks where the others have tabs)" if blanks else ""
        raise Unreadable(
            f"line {number} has {len(cells)} {'column' if len(cells) == 1 else 'columns'}{why}, and the lines before it have {width}: "
            f"{line.strip()[:60]!r}. Give it what is missing, or take it out; each line is of one word, and an empty one ends a sentence"
        )
    for place, cell in enumerate(cells, start=1):
        if not cell:
            raise Unreadable(
                f"column {place} of line {number} is empty: {line.strip()[:60]!r}. Give it what is missing, or take it out"
            )
