"""What the commands that write new columns beside texts ask of the files they are given."""

from __future__ import annotations

import hashlib
from pathlib import Path

from datasets import Dataset

from mixtext_hf.data import recognise_columns
from mixtext_hf.data.columns import holds_texts, type_name

from .output_dir import check_new_file


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


def find_text_column(dataset: Dataset, name: str | None) -> str:
    names = dataset.column_names
    if name is None:
        try:
            columns = recognise_columns(names, require_label=False)
        except ValueError as error:
            raise ValueError(f"The text cannot be told from the columns {names}: give --text_column.") from error
        if columns.text_pair is not None:
            raise ValueError(
                f"The columns {columns.text} and {columns.text_pair} are a pair of texts: give --text_column for the "
                "one to reword."
            )
        name = columns.text
    if name not in names:
        raise ValueError(f"--text_column {name}: there is no such column, choose from {', '.join(names)}.")
    if not holds_texts(dataset, name):
        found = type_name(dataset.features[name])
        raise ValueError(f"--text_column {name} holds {found}, not texts: name another column.")
    return name
