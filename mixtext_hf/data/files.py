"""Reading the rows of parquet, csv, tsv and json files. Knows nothing about which column is what."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import datasets
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError
from pyarrow import csv


_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_BUILDERS = {".parquet": "parquet", ".json": "json", ".jsonl": "json"}
_SUFFIXES = (*_BUILDERS, *_DELIMITERS)
# The largest block pyarrow can read at once.
_LARGEST_BLOCK = 2**31 - 1


def resolve_files(argument: str, files: str | Path | Sequence[str | Path]) -> list[Path]:
    """
    Turn what a user gave for one split into the files it stands for, and check that they are there.

    Args:
        argument (`str`):
            Name of the argument, for the errors.
        files (`str`, `Path` or a sequence of them):
            Paths or glob patterns. A string may hold several, separated by commas.

    Returns:
        `list[Path]`: in the order given; the matches of a pattern in alphabetical order.
    """
    if isinstance(files, str):
        # Not `Path.exists`, which raises for a list of files that is too long to be a name.
        patterns = [files] if os.path.exists(files) else [part.strip() for part in files.split(",") if part.strip()]
    else:
        patterns = [str(files)] if isinstance(files, Path) else [str(file) for file in files]
    if not patterns:
        raise ValueError(f"`{argument}` is {files!r}: give the path of a file.")
    paths = []
    for pattern in patterns:
        # A path that exists is taken as it is, even when it has a "[" or "*" in its name.
        matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise FileNotFoundError(f"`{argument}`: there is no file {pattern!r}. Check the path.")
        paths += [Path(match) for match in matches]
    for path in paths:
        if not path.is_file():
            raise ValueError(f"`{argument}`: {str(path)!r} is a folder. Name its files, for example {path}/*.parquet.")
        if path.suffix.lower() not in _SUFFIXES:
            raise ValueError(f"`{argument}`: {str(path)!r} has the suffix {path.suffix!r}, use one of {_SUFFIXES}.")
        if path.stat().st_size == 0:
            raise ValueError(f"`{argument}`: the file {str(path)!r} is empty. Give a file with at least one row.")
    return paths


def read_files(argument: str, paths: Sequence[Path], cache_dir: str | None = None) -> Dataset:
    """
    Read the files of one split into one dataset, row after row in the order of the files.

    Csv and tsv files have a header line, and quotes as pandas and spreadsheets write them. An empty cell is an empty
    string in a column of strings and missing in a column of numbers; "NA" and "null" are words.

    Args:
        argument (`str`):
            Name of the argument the paths came from, for the errors.
        paths (`Sequence[Path]`):
            The files, which must agree in their columns.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its memory-mapped copies of parquet and json files.
    """
    parts = [_read_file(argument, path, cache_dir) for path in paths]
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if len(part) == 0:
            raise ValueError(f"`{argument}`: the file {str(path)!r} has no rows. Give a file with at least one row.")
        if part.features != first.features:
            raise ValueError(
                f"`{argument}`: the files of one split must have the same columns, but {str(paths[0])!r} has "
                f"{_describe(first)} and {str(path)!r} has {_describe(part)}. Give only files that agree."
            )
    return first if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _describe(dataset: Dataset) -> str:
    types = dataset.data.schema
    return "{" + ", ".join(f"{name}: {types.field(name).type}" for name in dataset.column_names) + "}"


def _read_file(argument: str, path: Path, cache_dir: str | None) -> Dataset:
    suffix = path.suffix.lower()
    try:
        if suffix in _DELIMITERS:
            return _read_csv(path, _DELIMITERS[suffix])
        return datasets.load_dataset(_BUILDERS[suffix], data_files=str(path), split="train", cache_dir=cache_dir)
    except (ValueError, DatasetGenerationError) as error:
        raise ValueError(
            f"`{argument}`: the file {str(path)!r} could not be read as {suffix[1:]} ({error}). "
            "Check that it has rows, and that its content is what its suffix says."
        ) from error


def _read_csv(path: Path, delimiter: str) -> Dataset:
    # Not by `datasets`' csv builder: it reads with pandas, which turns texts such as "NA", "None" and "" into missing
    # values. One block for the whole file, because pyarrow infers the column types from the first block only.
    block_size = min(path.stat().st_size + 1, _LARGEST_BLOCK)
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(block_size=block_size),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=False),
    )
    if len(set(table.column_names)) < table.num_columns:
        raise ValueError(f"the header {table.column_names} has a name twice")
    return Dataset(table)
