"""Checkpoints that are whole: each ends in a manifest of its files, and one without, or with another content, is not gone on with.

While a checkpoint is written its folder holds a mark; the manifest is written last and the mark removed. So a folder that a kill,
a full disk or an interrupt left behind is known for what it is. Checkpoints of plain `transformers` have neither, and are
looked at as far as they tell: archives by their own checksums, safetensors by their header, JSON by reading it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.utils import (
    ADAPTER_SAFE_WEIGHTS_NAME,
    ADAPTER_WEIGHTS_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)

from mixtext_hf._files import remove_partial, sync, write_json
from mixtext_hf.errors import RunError


MANIFEST, UNFINISHED = "manifest.json", ".unfinished"
NOT_FINISHED = "it was not finished"
_NAME = re.compile(r"checkpoint-(\d+)")
_WEIGHTS = (
    SAFE_WEIGHTS_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    ADAPTER_SAFE_WEIGHTS_NAME,
    WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    ADAPTER_WEIGHTS_NAME,
)


class BrokenCheckpoint(RunError, ValueError):
    """A checkpoint lacks a file, or holds one that is not what was written."""


def begin(folder: Path) -> None:
    """Mark a checkpoint that is about to be written; what an earlier one of that name left of a manifest goes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNFINISHED).touch()
    remove_partial(folder)
    (folder / MANIFEST).unlink(missing_ok=True)


def finish(folder: Path, about: Mapping[str, Any]) -> None:
    """
    Write the manifest of a checkpoint whose files are all there, and take the mark away.

    Args:
        folder (`Path`): Of the checkpoint.
        about (`Mapping`): What else to note, JSON-serialisable.
    """
    files = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, UNFINISHED)
    }
    # Older checkpoints go when this one is whole: it must be on the disk.
    for name in files:
        sync(folder / name)
    write_json(folder / MANIFEST, {"about": dict(about), "files": files}, indent=1)
    (folder / UNFINISHED).unlink()


def why_not_whole(folder: Path) -> str | None:
    """What is wrong with the files of a checkpoint, naming the first one; `None`: nothing."""
    if (folder / UNFINISHED).is_file():
        return NOT_FINISHED
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return _why_not_readable(folder)
    try:
        files = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} cannot be read"
    for name, noted in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != noted["size"]:
            return f"{name} has {path.stat().st_size} bytes in place of {noted['size']}"
        if _digest(path) != noted["sha256"]:
            return f"{name} is not what was written"
    return None


def missing_state(folder: Path, *, world_size: int) -> list[str]:
    """
    What a checkpoint lacks to go on exactly, as where only the model was saved.

    Args:
        folder (`Path`): Of a checkpoint, not one of FSDP or DeepSpeed, whose states have other names.
        world_size (`int`): Of the processes that are to go on.
    """
    rng = ["rng_state.pth"] if world_size == 1 else [f"rng_state_{rank}.pth" for rank in range(world_size)]
    return [name for name in (OPTIMIZER_NAME, SCHEDULER_NAME, *rng) if not (folder / name).is_file()]


def checkpoints_of(output_dir: Path) -> list[Path]:
    """The folders of checkpoints, the newest first."""
    if not output_dir.is_dir():
        return []
    found = [(int(match[1]), path) for path in output_dir.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True) if path.is_dir()]


def newest_whole(output_dir: Path) -> tuple[Path | None, dict[str, str]]:
    """
    The newest whole checkpoint, if there is one, and the newer ones that were passed over: their names and why.
    """
    passed: dict[str, str] = {}
    for folder in checkpoints_of(output_dir):
        why = why_not_whole(folder)
        if why is None:
            return folder, passed
        passed[folder.name] = why
    return None, passed


def remove_older(output_dir: Path, *, keep: int, best: str | None) -> None:
    """
    Remove the oldest checkpoints, after a new one is whole.

    Args:
        output_dir (`Path`): Where they are.
        keep (`int`): How many stay, the newest and the best among them.
        best (`str`, *optional*): The folder of the best model, which stays too.
    """
    found = checkpoints_of(output_dir)
    stay = {found[0], *([Path(best)] if best is not None else [])} if found else set()
    spare = [path for path in found if path not in stay]
    for path in spare[max(keep - len(stay), 0) :]:
        shutil.rmtree(path, ignore_errors=True)


def _why_not_readable(folder: Path) -> str | None:
    state = folder / TRAINER_STATE_NAME
    if not state.is_file():
        return f"{TRAINER_STATE_NAME} is missing"
    try:
        json.loads(state.read_text(encoding="utf-8"))
    except ValueError:
        return f"{TRAINER_STATE_NAME} cannot be read"
    is_sharded = any(path.is_dir() for path in folder.iterdir())
    if not is_sharded and not any((folder / name).is_file() for name in _WEIGHTS):
        return f"it holds no weights, such as {SAFE_WEIGHTS_NAME}"
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".pt", ".pth", ".bin") and not _is_whole_archive(path):
            return f"{path.relative_to(folder).as_posix()} is damaged"
        if path.suffix == ".safetensors" and not _is_whole_safetensors(path):
            return f"{path.relative_to(folder).as_posix()} is damaged"
    return None


def _is_whole_archive(path: Path) -> bool:
    """What `torch.save` writes is a zip archive with a checksum of each part."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _is_whole_safetensors(path: Path) -> bool:
    """Eight bytes that say how long the header is, the header, and as many bytes as it names."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            return False
        try:
            header = json.loads(file.read(length))
            ends = [part["data_offsets"][1] for name, part in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError):
            return False
    return size == 8 + length + max(ends, default=0)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
