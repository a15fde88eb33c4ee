"""Reading the rows of parquet, csv, tsv, txt and json files, packed or not. Knows nothing about which column is what."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, Features, LargeList, List, Value
from datasets.exceptions import DatasetGenerationError

from .cell_types import with_numbers
from .delimited import USUAL, check_delimiter, read_delimited
from .json_rows import read_json
from .text_encoding import COMPRESSIONS, IS_LFS, LFS, Unreadable, check_encoding


_JSON = (".json", ".jsonl", ".ndjson")
_SUFFIXES = (".parquet", *_JSON, *USUAL)
_LOOKED_AT = 100
# What people have, and what to do with it.
_REMEDIES = {
    ".xlsx": "save the sheet as csv",
    ".xls": "save the sheet as csv",
    ".zip": "unpack it",
    ".tar": "unpack it",
    ".tgz": "unpack it",
    ".zst": "unpack it",
    ".arrow": "give its folder as dataset_name, or save it as parquet",
    ".feather": "save it as parquet",
    ".pkl": "save it as parquet: unpickling runs code",
    ".pickle": "save it as parquet: unpickling runs code",
}
# The most digits that a double holds for certain.
_EXACT_DIGITS = 15


@dataclass(frozen=True)
class Reading:
    """
    How files are read, where they do not say it themselves.

    Args:
        delimiter (`str`, *optional*): Between the cells of csv, tsv and txt files; found if not given.
        encoding (`str`, *optional*): Of files of text that do not begin with a mark; UTF-8 if not given.
        texts (`Callable`, *optional*): Which of these columns are texts: they keep what is written, numbers too.
        headless (`Callable`, *optional*): The names of the columns if these cells of the first line are no header.
        renamed (`Mapping[str, str]`): Other names for columns that have these.
    """

    delimiter: str | None = None
    encoding: str | None = None
    texts: Callable[[Sequence[str]], Sequence[str]] = lambda names: ()
    headless: Callable[[Sequence[str]], Sequence[str] | None] = lambda first: None
    renamed: Callable[[Sequence[str]], Mapping[str, str]] = lambda names: {}

    def __post_init__(self) -> None:
        object.__setattr__(self, "delimiter", check_delimiter(self.delimiter))
        check_encoding(self.encoding)


def is_table(path: Path) -> bool:
    """Whether a file has the suffix of one that can be read."""
    return suffix_of(path) in _SUFFIXES


def suffix_of(path: Path) -> str:
    """The suffix of a file, in lower case, without that of its packing."""
    return unpacked(path).suffix.lower()


def unpacked(path: Path) -> Path:
    """The path without the suffix of the packing."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path


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
        patterns = patterns_in(files)
    else:
        patterns = [str(files)] if isinstance(files, Path) else [str(file) for file in files]
    if not patterns:
        raise ValueError(f"`{argument}` is {files!r}: give the path of a file.")
    paths = matching_files(argument, patterns)
    for path in paths:
        if _is_of_images(path):
            raise ValueError(
                f"`{argument}`: {str(path)!r} {'is an image' if path.is_file() else 'is a folder of images'}, and a table is needed here. Images "
                "are for classifiers of images, which read a folder of them, or a table of their paths; one of texts reads tables of texts."
            )
        if not path.is_file():
            # As they are called there.
            there = next(
                (
                    "".join(file.suffixes[-2:] if unpacked(file) != file else file.suffixes[-1:])
                    for file in sorted(path.iterdir())
                    if file.is_file() and is_table(file)
                ),
                ".parquet",
            )
            raise ValueError(f"`{argument}`: {str(path)!r} is a folder. Name its files, for example {path}/*{there}.")
        if not is_table(path):
            remedy = _REMEDIES.get(path.suffix.lower())
            raise ValueError(
                f"`{argument}`: {str(path)!r} has the suffix {path.suffix!r}"
                f"{'' if remedy is None else f' ({remedy})'}, use one of {_SUFFIXES}, texts also packed as {', '.join(COMPRESSIONS)}."
            )
        if path.suffix.lower() in COMPRESSIONS and suffix_of(path) == ".parquet":
            raise ValueError(
                f"`{argument}`: {str(path)!r} is a packed parquet file, which is packed already: unpack it."
            )
        if path.stat().st_size == 0:
            raise ValueError(f"`{argument}`: the file {str(path)!r} is empty. Give a file with at least one row.")
    return paths


def _is_of_images(path: Path) -> bool:
    """Whether a file is one of an image, or one of the first files in a folder is."""
    some = [path] if path.is_file() else islice((found for found in path.rglob("*") if found.is_file()), _LOOKED_AT)
    return any((guess_type(one.name)[0] or "").startswith("image/") for one in some)


def patterns_in(files: str) -> list[str]:
    """The paths and glob patterns of a string that may hold several, separated by commas."""
    # Not `Path.exists`, which raises for a list of files that is too long to be a name.
    return [files] if os.path.exists(files) else [part.strip() for part in files.split(",") if part.strip()]


def matching_files(argument: str, patterns: Sequence[str]) -> list[Path]:
    """What patterns stand for, the matches of each in alphabetical order; a `FileNotFoundError` if one stands for nothing."""
    paths = []
    for pattern in patterns:
        # A path that exists is taken as it is, even when it has a "[" or "*" in its name.
        matches = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise FileNotFoundError(f"`{argument}`: there is no file {pattern!r}. Check the path.")
        paths += [Path(match) for match in matches]
    return paths


def read_files(
    argument: str, paths: Sequence[Path], cache_dir: str | None = None, how: Reading | None = None
) -> Dataset:
    """
    Read the files of one split into one dataset, see [`read_groups`].

    Args:
        argument (`str`):
            Name of the argument the paths came from, for the errors.
        paths (`Sequence[Path]`):
            The files, which must agree in their columns.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its memory-mapped copies of parquet files.
        how ([`Reading`], *optional*):
            What the files do not say.
    """
    return read_groups([(argument, paths)], cache_dir, how)[0]


def read_groups(
    groups: Sequence[tuple[str, Sequence[Path]]], cache_dir: str | None = None, how: Reading | None = None
) -> list[Dataset]:
    """
    Read the files of several splits, each into one dataset, row after row in the order of the files.

    Csv, tsv and txt files have a header line. Whether they have quotes, as pandas and spreadsheets write them, and line breaks
    within, is found, and so is their delimiter; no line is lost. A column is one of numbers if it is in all of the files, and if
    they stand there as numbers are printed; an empty cell is then missing. Anywhere else it is an empty string; "NA" and "null"
    are words, and so are "001" and "true".

    Args:
        groups (`Sequence[tuple[str, Sequence[Path]]]`):
            Of each split the name of the argument the paths came from, for the errors, and its files, which must agree in their
            columns.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its memory-mapped copies of parquet files.
        how ([`Reading`], *optional*):
            What the files do not say.

    Raises:
        `ValueError`: if a file cannot be read. Names the file, and the line where it is in one.
    """
    how = how or Reading()
    raw = [[_read_file(argument, path, cache_dir, how) for path in paths] for argument, paths in groups]
    flat = [part for parts in raw for part in parts]
    written = [part for part in flat if isinstance(part, pa.Table)]
    others = [part for part in flat if isinstance(part, Dataset)]
    texts = how.texts(flat[0].column_names) if written else ()
    typed = iter(with_numbers(written, others, texts=texts))
    del flat, written
    read = []
    for (argument, paths), parts in zip(groups, raw, strict=True):
        as_datasets = [_dataset(next(typed)) if isinstance(part, pa.Table) else part for part in parts]
        parts.clear()
        _check_agree(argument, paths, as_datasets)
        read.append(as_datasets[0] if len(as_datasets) == 1 else datasets.concatenate_datasets(as_datasets))
    return read


def _dataset(table: pa.Table) -> Dataset:
    """The rows of a table; what is made of the same rows has the same fingerprint."""
    # That of `Dataset` itself is of a pickled copy, for which there may be no room.
    digest = hashlib.blake2b(str(table.schema).encode(), digest_size=8)
    for column in table.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                digest.update(b"|" if buffer is None else buffer)
    return Dataset(table, fingerprint=digest.hexdigest())


def _check_agree(argument: str, paths: Sequence[Path], parts: Sequence[Dataset]) -> None:
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if part.features != first.features:
            raise ValueError(
                f"`{argument}`: the files of one split must have the same columns, but {str(paths[0])!r} has "
                f"{_describe(first)} and {str(path)!r} has {_describe(part)}. Give only files that agree."
            )


def _describe(dataset: Dataset) -> str:
    types = dataset.data.schema
    return "{" + ", ".join(f"{name}: {types.field(name).type}" for name in dataset.column_names) + "}"


def _read_file(argument: str, path: Path, cache_dir: str | None, how: Reading) -> Dataset | pa.Table:
    """The rows of a file; a table where cells are strings as they are written."""
    suffix = suffix_of(path)
    part: Dataset | pa.Table
    try:
        if suffix in USUAL:
            part = read_delimited(path, suffix, delimiter=how.delimiter, encoding=how.encoding, headless=how.headless)
        elif suffix in _JSON:
            part = _dataset(read_json(path, encoding=how.encoding))
        else:
            part = _read_parquet(path, cache_dir)
    except (ValueError, DatasetGenerationError) as error:
        # What this package raises says what to do.
        remedy = (
            ""
            if isinstance(error, Unreadable)
            else " Check that it has rows, and that its content is what its suffix says."
        )
        reason = str(error.__cause__ if isinstance(error, DatasetGenerationError) and error.__cause__ else error)
        raise ValueError(
            f"`{argument}`: the file {str(path)!r} could not be read as {suffix[1:]}: {reason.rstrip('.')}.{remedy}"
        ) from error
    if len(part) == 0:
        raise ValueError(
            f"`{argument}`: the file {str(path)!r} has no rows. Check that it has rows, below its header."
        )
    renamed = how.renamed(part.column_names)
    if not renamed:
        return part
    names = [renamed.get(name, name) for name in part.column_names]
    return part.rename_columns(names) if isinstance(part, pa.Table) else part.rename_columns(dict(renamed))


def _read_parquet(path: Path, cache_dir: str | None) -> Dataset:
    with path.open("rb") as file:
        if file.read(len(LFS)) == LFS:
            raise Unreadable(f"it is {IS_LFS}")
    schema = pq.read_schema(path)
    _check_columns(schema)
    # While it is read, not afterwards: pyarrow 21 cannot tell how large a table of string_view is.
    plain = Features({name: _plain(feature) for name, feature in Features.from_arrow_schema(schema).items()})
    # Its "[" and "*" would be taken for a pattern.
    return datasets.load_dataset(
        "parquet", data_files=glob.escape(str(path)), split="train", cache_dir=cache_dir, features=plain
    )


def _check_columns(schema: pa.Schema) -> None:
    """Raise `Unreadable` for columns that a data set cannot have."""
    for field in schema:
        if schema.names.count(field.name) > 1:
            raise Unreadable(f"it has several columns called {field.name!r}: give each its own name")
        try:
            Features.from_arrow_schema(pa.schema([pa.field(field.name, field.type)]))
        except ValueError as error:
            raise Unreadable(
                f"its column {field.name!r} has the type {field.type}: leave the column out, or save it as strings, numbers or lists"
            ) from error


def _plain(feature: Any) -> Any:
    """Types that say the same as a usual one."""
    if isinstance(feature, LargeList):
        return List(_plain(feature.feature))
    if isinstance(feature, Value):
        if feature.dtype == "string_view":
            return Value("string")
        if feature.dtype.startswith("decimal"):
            digits, scale = (int(part) for part in feature.dtype.split("(")[1].rstrip(")").split(","))
            if digits <= _EXACT_DIGITS:
                return Value("float64" if scale else "int64")
    return feature
