"""How many unlabelled texts are labelled ones too: told of millions of rows without holding them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets.table import ConcatenationTable, MemoryMappedTable, Table

from mixtext_hf.data.in_batches import column_values

from .two_streams import UnlabeledTexts


def count_overlap(labelled: Any, texts: UnlabeledTexts) -> int:
    """
    How many unlabelled texts (their originals, blanks at the ends aside) are a labelled text too.

    The labelled texts are few and held in memory; the others are read through once, in pieces.
    """
    columns = texts.text_columns
    if not columns:
        return 0
    by_column = [column_values(labelled, [name]) for name in columns]
    known = {tuple(str(text).strip() for text in texts_of_row) for texts_of_row in zip(*by_column, strict=True)}
    first = pa.array({key[0] for key in known}, pa.large_string())
    count = 0
    for piece in _pieces(texts.dataset, columns):
        stripped = [pc.utf8_trim_whitespace(piece.column(name).cast(pa.large_string())) for name in columns]
        candidates = [column.filter(pc.is_in(stripped[0], value_set=first)).to_pylist() for column in stripped]
        count += sum(key in known for key in zip(*candidates, strict=True))
    return count


def _pieces(dataset: Any, columns: Sequence[str], rows: int = 10_000) -> Iterator[pa.RecordBatch | pa.Table]:
    """The columns as Arrow data, some rows at a time, in any order."""
    if not isinstance(dataset, datasets.Dataset):
        for start in range(0, len(dataset), rows):
            part = [dataset[i] for i in range(start, min(start + rows, len(dataset)))]
            yield pa.table({name: [row[name] for row in part] for name in columns})
        return
    if dataset._indices is None and (blocks := _blocks(dataset.data, columns)) is not None:
        for block in blocks:
            if not isinstance(block, MemoryMappedTable):
                yield block.table.select(list(columns))
                continue
            # Read like a file: what is read through the memory map would count as memory of this process from then on.
            with pa.OSFile(block.path) as file, pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    yield batch.select(list(columns))
        return
    yield from dataset.select_columns(list(columns)).with_format("arrow").iter(batch_size=rows)


def _blocks(table: Table, columns: Sequence[str]) -> list[Any] | None:
    """The pieces of a table that lie in one file or in memory each; `None` if the columns cannot be read off them alone."""
    groups = table.blocks if isinstance(table, ConcatenationTable) else [[table]]
    blocks = [next((block for block in group if set(columns) <= set(block.column_names)), None) for group in groups]
    for block in blocks:
        if block is None:
            return None
        if isinstance(block, MemoryMappedTable):
            # Only changes that leave the columns and the rows of the file as they are.
            changes = {change for change, *_ in block.replays or ()}
            if not changes <= {"select", "replace_schema_metadata", "cast"} or not Path(block.path).is_file():
                return None
    return blocks
