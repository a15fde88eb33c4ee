"""What the commands that read tables ask of the files that they are given."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset

from mixtext_hf._files import check_new_file
from mixtext_hf.data import recognise_columns

from .columns import holds_texts, type_name
from .files import Reading, read_files, resolve_files


_ROWS_AT_A_TIME = 10_000


def check_output_file(output: Path, overwrite: bool) -> None:
    """Raise `ValueError` if `output` is no parquet file, or is there already."""
    if output.suffix.lower() != ".parquet":
        raise ValueError(f"--output_file {output} has the suffix {output.suffix!r}: the result is a .parquet file.")
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


def read_texts(input_file: str, args: ReadingArguments) -> tuple[Dataset, str]:
    """
    Read the files of a command, and find their column of texts.

    Args:
        input_file (`str`): Paths or glob patterns.
        args ([`ReadingArguments`]): Its arguments.

    Returns:
        `tuple[datasets.Dataset, str]`: the rows, and the name of the column.
    """
    # What is found in the files, such as their delimiter, is for the person to see.
    logging.basicConfig(format="%(message)s", handlers=[logging.StreamHandler(sys.stderr)])
    logging.getLogger("mixtext_hf.data").setLevel(logging.INFO)
    paths = resolve_files("input_file", input_file)
    how = Reading(args.delimiter, args.encoding, lambda names: [_text_column(names, args.text_column)])
    dataset = read_files("input_file", paths, args.cache_dir, how)
    name = _text_column(dataset.column_names, args.text_column)
    if not holds_texts(dataset, name):
        found = type_name(dataset.features[name])
        raise ValueError(f"--text_column {name} holds {found}, not texts: name another column.")
    return dataset, name


def _text_column(names: Sequence[str], name: str | None) -> str:
    if name is None:
        try:
            columns = recognise_columns(names, require_label=False)
        except ValueError as error:
            raise ValueError(f"The text cannot be told from the columns {list(names)}: give --text_column.") from error
        if columns.text_pair is not None:
            raise ValueError(
                f"The columns {columns.text} and {columns.text_pair} are a pair of texts: give --text_column for the "
                "one to reword."
            )
        name = columns.text
    if name not in names:
        raise ValueError(f"--text_column {name}: there is no such column, choose from {', '.join(names)}.")
    return name
