"""A number for each row by which equal rows are known: texts of any count, in one pass and a few bytes a row."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray


Hashes = NDArray[np.uint64]

_CHUNK = 20_000
# One row in so many by its place costs as much as all of them in their order.
_SCATTERED = 20
# Of a larger image the beginning, the middle and the end tell.
_WHOLE = 64 * 2**10
_PIECE = 16 * 2**10


def text_hashes(dataset: Dataset, columns: Sequence[str]) -> tuple[Hashes, NDArray[np.bool_]]:
    """
    Args:
        dataset (`datasets.Dataset`): Rows.
        columns (`Sequence[str]`): The columns of texts; both of a pair, which is one unit.

    Returns:
        `tuple`: a number for each row, the same for texts that are the same but for blanks around them; and whether the texts of
        a row are empty or blank, one of them being enough.
    """
    chosen = dataset._indices
    if chosen is not None and len(dataset) * _SCATTERED >= dataset.data.num_rows:
        # Rows in the order of their storage are read far faster than by their places.
        stored, is_blank = text_hashes(Dataset(dataset.data.select(list(columns))), columns)
        places = chosen.column(0).to_numpy()
        return stored[places], is_blank[places]
    numbers, blank = [np.empty(0, dtype=np.uint64)], [np.empty(0, dtype=bool)]
    for table in _chunks(dataset, columns):
        number = np.zeros(len(table), dtype=np.uint64)
        is_blank = np.zeros(len(table), dtype=bool)
        for column in columns:
            texts = pc.utf8_trim_whitespace(table.column(column))
            is_blank |= pc.equal(pc.utf8_length(texts), 0).fill_null(True).to_numpy(zero_copy_only=False)
            objects = texts.to_numpy(zero_copy_only=False)
            # An odd factor, so that a pair and the pair the other way round differ.
            number = number * np.uint64(0x9E3779B97F4A7C15) + pd.util.hash_array(objects, categorize=False)
        numbers.append(number)
        blank.append(is_blank)
    return np.concatenate(numbers), np.concatenate(blank)


def image_hashes(dataset: Dataset, column: str) -> Hashes:
    """
    Args:
        dataset (`datasets.Dataset`): Rows.
        column (`str`): The column of images, which are not decoded: equal are those with the same bytes, or the same pixels where
            arrays are stored.

    Returns:
        `NDArray[np.uint64]` of shape `(n,)`: a number for each row.
    """
    if isinstance(dataset.features[column], datasets.Image):
        dataset = dataset.cast_column(column, datasets.Image(decode=False))
    found = [np.empty(0, dtype=np.uint64)]
    for table in _chunks(dataset, [column], size=500):
        found.append(np.fromiter(map(_image_hash, table.column(column)), dtype=np.uint64, count=len(table)))
    return np.concatenate(found)


def _chunks(dataset: Dataset, columns: Sequence[str], size: int = _CHUNK) -> Iterator[pa.Table]:
    return iter(dataset.select_columns(list(columns)).with_format("arrow").iter(batch_size=size))


def _image_hash(value: Any) -> int:
    if isinstance(value, pa.StructScalar):
        content, path = value["bytes"], value["path"].as_py()
        if not content.is_valid:
            return _number(*_pieces_of_file(str(path)))
        return _number(*_pieces(memoryview(content.as_buffer())))
    # An array: what all of its lists hold, and where they end.
    lists, shape = value.values, []
    while isinstance(lists, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        shape.append(len(lists))
        lists = lists.flatten()
    return _number(repr(shape).encode(), lists.to_numpy(zero_copy_only=False).tobytes())


def _pieces(content: memoryview) -> list[Any]:
    size = len(content)
    if size <= _WHOLE:
        return [content]
    middle = size // 2
    return [str(size).encode(), content[:_PIECE], content[middle : middle + _PIECE], content[-_PIECE:]]


def _pieces_of_file(path: str) -> list[Any]:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _WHOLE:
            return [file.read()]
        pieces: list[Any] = [str(size).encode()]
        for start in (0, size // 2, size - _PIECE):
            file.seek(start)
            pieces.append(file.read(_PIECE))
    return pieces


def _number(*pieces: Any) -> int:
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return int.from_bytes(digest.digest(), "little")
