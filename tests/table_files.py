"""Small tables in files of every kind that the commands read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, Features


def write_table(path: Path, rows: list[dict[str, Any]], features: Features | None = None) -> str:
    """Write rows to a file of the kind that its suffix says; the path as a command takes it."""
    dataset = Dataset.from_list(rows, features=features)
    if path.suffix == ".parquet":
        dataset.to_parquet(path)
    elif path.suffix in (".json", ".jsonl"):
        dataset.to_json(path)
    else:
        dataset.to_csv(path, sep="\t" if path.suffix == ".tsv" else ",", index=False)
    return str(path)
