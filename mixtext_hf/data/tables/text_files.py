"""What the commands that read tables ask of the files that they are given."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

import pyarrow.compute as pc
from datasets import Dataset

from mixtext_hf._files import check_new_file, check_not_input
from mixtext_hf.data import recognise_columns

from .columns import holds_texts, type_name
from .files import Reading, read_files, resolve_files


logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 10_000


def check_output_file(output: Path, overwrite: bool) -> None:
    """Raise `ValueError` if `output` is no parquet file, or is there already."""
    if output.suffix.lower() != ".parquet":
        raise ValueError(f"output_file {output} has the suffix {output.suffix!r}: the result is a .parquet file.")
    check_new_file(output, overwrite)


def hash_texts(dataset: Dataset, column: str) -> str:
    """SHA-256 of a column of texts; `ValueError` if one is missing."""
    digest = hashlib.sha256()
    for start in range(0, len(dataset), _ROWS_AT_A_TIME):
        for row, text in enumerate(dataset[start : start + _ROWS_AT_A_TIME][column], start):
            if text is None:
                raise ValueError(
                    f"--text_column {column} holds None at row {row}: remove such rows, or make them empty strings."
                )
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def delimiter_argument() -> Any:
    """The field `delimiter` of the arguments of a command that reads tables."""
    said = "Between the cells of csv, tsv and txt files, such as ';' or tab; found if not given."
    return field(default=None, metadata={"help": said})


def encoding_argument() -> Any:
    """The field `encoding` of the arguments of a command that reads tables."""
    said = "Encoding of the files of text that begin with no mark of one, such as latin-1; utf-8 if not given."
    return field(default=None, metadata={"help": said})


class ReadingArguments(Protocol):
    """What the arguments of such a command say of its files."""

    text_column: str | None
    delimiter: str | None
    encoding: str | None
    cache_dir: str | None


def read_texts(input_file: str, output: Path, args: ReadingArguments) -> tuple[Dataset, str]:
    """
    Read the files of a command, and find their column of texts. Empty ones are counted, and said.

    Args:
        input_file (`str`): Paths or glob patterns.
        output (`Path`): The file that the command is to write, which must not be one of several.
        args ([`ReadingArguments`]): Its arguments.

    Returns:
        `tuple[datasets.Dataset, str]`: the rows, and the name of the column.
    """
    # What is found in the files, such as their delimiter, is for the person to see.
    logging.basicConfig(format="%(message)s", handlers=[logging.StreamHandler(sys.stderr)])
    logging.getLogger("mixtext_hf.data").setLevel(logging.INFO)
    paths = resolve_files("input_file", input_file)
    if len(paths) > 1:
        # One alone may be replaced by itself with more columns.
        check_not_input(output, paths)

    def text_column(names: Sequence[str]) -> str:
        return _text_column(names, args.text_column, input_file)

    how = Reading(args.delimiter, args.encoding, lambda names: [text_column(names)])
    dataset = read_files("input_file", paths, args.cache_dir, how)
    name = text_column(dataset.column_names)
    if not holds_texts(dataset, name):
        found = type_name(dataset.features[name])
        raise ValueError(f"--text_column {name} holds {found}, not texts: name another column.")
    _warn_of_blank(dataset, name, input_file)
    return dataset, name


def _warn_of_blank(dataset: Dataset, name: str, input_file: str) -> None:
    rows = dataset.select_columns([name]).with_format("arrow")
    blank = 0
    for start in range(0, len(rows), _ROWS_AT_A_TIME):
        texts = rows[start : start + _ROWS_AT_A_TIME][name]
        blank += pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0)).as_py() or 0
    if blank:
        logger.warning(
            "%d of the %d texts of %s are empty or blank, and are treated like all others: remove these rows if they say nothing.",
            blank,
            len(rows),
            input_file,
        )


def _text_column(names: Sequence[str], name: str | None, input_file: str) -> str:
    if name is None:
        try:
            columns = recognise_columns(names, require_label=False)
        except ValueError as error:
            raise ValueError(
                f"The text of {input_file} cannot be told from the columns {list(names)}: give --text_column."
            ) from error
        if columns.text_pair is not None:
            raise ValueError(
                f"The columns {columns.text} and {columns.text_pair} of {input_file} are a pair of texts: give --text_column for the "
                "one to reword."
            )
        name = columns.text
    if name not in names:
        raise ValueError(f"--text_column {name}: {input_file} has no such column, but {', '.join(names)}.")
    return name
