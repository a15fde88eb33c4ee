"""Tables that were put together of several files, one after the other, as `cat a.csv b.csv` does."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc


MARK = "\ufeff"


def without_seams(names: Sequence[str], columns: Sequence[pa.ChunkedArray]) -> tuple[list[pa.ChunkedArray], list[str]]:
    """
    Take off what stands where one file ended and the next began: byte order marks, and headers.

    Args:
        names (`Sequence[str]`): The header.
        columns (`Sequence[pa.ChunkedArray]`): Cells as strings.

    Returns:
        `tuple`: the columns, and what is to be said.
    """
    columns, said = list(columns), []
    marks = pc.sum(pc.starts_with(columns[0], MARK)).as_py() or 0
    if marks:
        columns[0] = pc.replace_substring_regex(columns[0], f"^{MARK}+", "")
        said.append(f"{marks} byte order marks in front of rows taken off")
    # A table of one column may well have its name for a text.
    is_header = pc.equal(columns[0], names[0]) if len(columns) > 1 else None
    if is_header is not None and pc.any(is_header).as_py():
        for name, column in zip(names[1:], columns[1:], strict=True):
            is_header = pc.and_(is_header, pc.equal(column, name))
        count = pc.sum(is_header).as_py()
        if count:
            columns = [column.filter(pc.invert(is_header)) for column in columns]
            said.append(f"{count} rows that repeat the header left out")
    return columns, said
