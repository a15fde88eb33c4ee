"""Files that are whole or absent: written beside, moved into place when all of them is on the disk. For all who write what is kept."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


# How the names of unfinished files begin.
PARTIAL = ".part-"


@contextmanager
def whole_file(path: str | os.PathLike[str], *, within: Path | None = None) -> Iterator[Path]:
    """
    A path to write a file to. At the end it takes the place of `path`; if something was raised it is removed, and what was at
    `path` stays.

    Args:
        path (`str` or `os.PathLike`): Its folder is made if it is not there.
        within (`Path`, *optional*): Where the unfinished file is, on the same file system; beside `path` if not given.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target.parent if within is None else within, target.name)
    try:
        yield partial
        sync(partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """
    A folder to write files to, as [`whole_file`]: they are moved into `folder` when all of them are on the disk. One that was not there
    is not there either if something was raised.
    """
    target = Path(folder)
    is_new = not target.exists()
    target.mkdir(parents=True, exist_ok=True)
    partial = _partial(target, "files")
    partial.mkdir()
    try:
        yield partial
        files = [path.relative_to(partial) for path in sorted(partial.rglob("*")) if path.is_file()]
        for name in files:
            sync(partial / name)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
        for name in files:
            os.replace(partial / name, target / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if is_new and not any(target.iterdir()):
            target.rmdir()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text, as UTF-8 with the ends of lines that it has."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def write_json(path: str | os.PathLike[str], value: Any, **options: Any) -> None:
    """Write a value as JSON; `options` are those of `json.dumps`."""
    write_text(path, json.dumps(value, **{"indent": 2, **options}) + "\n")


def sync(path: Path) -> None:
    """Return when a file is on the disk; what a file system finds out late, such as a full disk, is raised here."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_partial(folder: Path) -> None:
    """Remove the unfinished files that killed processes left in a folder, which nobody else may be writing to."""
    for path in folder.glob(f"{PARTIAL}*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _partial(folder: Path, name: str) -> Path:
    # The suffix stays: some writers go by it.
    return folder / f"{PARTIAL}{uuid.uuid4().hex[:12]}-{name}"


def check_writable(output_dir: Path, name: str = "output_dir") -> None:
    """What is written at the end must be possible from the start: raise `ValueError` unless the folder takes files, or can be made."""
    absolute = output_dir.absolute()
    there = next(folder for folder in (absolute, *absolute.parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise ValueError(f"{name}={str(output_dir)!r}: {there} is a file: name a folder.")
    try:
        # Asked for rights alone, file systems that are read-only or take no files may say yes.
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ValueError(f"{name}={str(output_dir)!r}: nothing can be written into {there}: name another.") from error


def check_apart(output_dir: Path, data: str | None, argument: str = "dataset_name") -> None:
    """Raise `ValueError` if the folder of results is that of the data, or in it: the next run would read them as data."""
    if data is not None and os.path.isdir(data) and output_dir.resolve().is_relative_to(Path(data).resolve()):
        raise ValueError(
            f"output_dir={str(output_dir)!r} is in the folder of the data, {argument}={data!r}, and what is written there would be read as "
            "data: name a folder outside of it."
        )


def check_not_input(output: Path, inputs: Iterable[Path]) -> None:
    """Raise `ValueError` if the file of `output_file` is one of those that are read."""
    if output.exists() and any(path.exists() and output.samefile(path) for path in inputs):
        raise ValueError(f"output_file {output} is a file that is read, and would be lost: name another file.")


def check_new_file(output: Path, overwrite: bool) -> None:
    """Raise `ValueError` unless the file of `output_file` can be written, and is not there or may be replaced."""
    if output.is_dir():
        raise ValueError(f"output_file {output} is a folder: name a file in it.")
    check_writable(output.parent, "output_file")
    if output.exists() and not overwrite:
        raise ValueError(
            f"output_file {output} exists already: name another file, or replace it by --overwrite_output_file."
        )


def check_new_folder(argument: str, folder: Path, overwrite: bool) -> None:
    """Raise `ValueError` unless the folder of this argument can be written, and holds nothing or may be written over."""
    check_writable(folder, argument.lstrip("-"))
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if found and not overwrite:
        raise ValueError(
            f"{argument}: the folder {folder} holds {found[0]!r}{' and more' if len(found) > 1 else ''}: name a new one, or write over "
            "what an earlier call made by --overwrite_output_dir."
        )
