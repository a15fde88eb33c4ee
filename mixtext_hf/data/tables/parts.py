"""A long run over rows of a file in parts that outlive it: killed at any moment, the same command goes on where it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mixtext_hf._files import PARTIAL, whole_file, write_json
from mixtext_hf._lock import LOCK, OWNER, FolderLock


class Parts:
    """
    The folder that holds the finished chunks of a run, one file each, and what the run is a function of.

    Args:
        path (`Path`): The folder.
        fingerprint (`dict[str, Any]`): What the chunks are a function of, JSON-serialisable.
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any]):
        self.path, self.fingerprint = path, fingerprint
        self.lock = FolderLock(path)

    def check(self, overwrite: bool) -> None:
        """Raise a `ValueError` if the folder holds anything but an unfinished run of the same command."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise ValueError(
                f"{self.path} is a file, but unfinished results go to a folder of that name: move it away."
            )
        # The last three are of earlier versions.
        patterns = (
            "chunk-*.parquet",
            "run.json",
            LOCK,
            OWNER,
            f"{PARTIAL}*",
            "chunk-*.parquet.tmp",
            "output.parquet",
            "lock",
        )
        foreign = sorted(p.name for p in self.path.iterdir() if not any(p.match(pattern) for pattern in patterns))
        if foreign:
            raise ValueError(
                f"{self.path} holds other files than unfinished results ({', '.join(foreign[:3])}): move them away."
            )
        there = self._read()
        if there == self.fingerprint or overwrite or not list(self.path.glob("chunk-*.parquet")):
            return
        here = self.fingerprint
        names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        differences = [f"{name} is {there.get(name)!r} there and {here.get(name)!r} here" for name in names]
        raise ValueError(
            f"{self.path} holds the unfinished run of another command or other texts ({'; '.join(differences)}): "
            "go on with that command, or delete the folder, or replace it by --overwrite_output_file."
        )

    def open(self, overwrite: bool) -> None:
        """Make the folder this run's own: no other process may use it, and it holds no chunks of another run."""
        self.lock.take()
        self.check(overwrite)
        if self._read() != self.fingerprint:
            for path in [*self.path.glob("chunk-*"), *self.path.glob("run.json*")]:
                path.unlink()
            write_json(self.path / "run.json", self.fingerprint)

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.give_back()

    def missing(self, rows: int, size: int) -> tuple[list[tuple[int, slice]], int]:
        """
        The chunks of `size` rows that are not there yet, each with its rows, and how many rows are done; says so if some are.
        """
        chunks = [(chunk, slice(start, min(start + size, rows))) for chunk, start in enumerate(range(0, rows, size))]
        left = [(chunk, which) for chunk, which in chunks if not self.has(chunk)]
        done = rows - sum(which.stop - which.start for _, which in left)
        if done:
            print(f"Going on with {self.path}: {done} of {rows} texts are done.")
        return left, done

    def has(self, chunk: int) -> bool:
        return self._chunk(chunk).exists()

    def write(self, chunk: int, table: pa.Table, counts: Mapping[str, int]) -> None:
        """Save a chunk, and what is to be reported of it: all of it, or, if the process is killed, nothing."""
        with whole_file(self._chunk(chunk)) as partial:
            pq.write_table(table.replace_schema_metadata({"counts": json.dumps(counts)}), partial)

    def read(self, chunk: int) -> tuple[pa.Table, dict[str, int]]:
        table = pq.read_table(self._chunk(chunk))
        return table.replace_schema_metadata(None), json.loads(table.schema.metadata[b"counts"])

    def remove(self) -> None:
        shutil.rmtree(self.path)

    def _chunk(self, chunk: int) -> Path:
        return self.path / f"chunk-{chunk:06d}.parquet"

    def _read(self) -> dict[str, Any]:
        path = self.path / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
