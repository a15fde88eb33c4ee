"""A folder belongs to one process at a time."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ._files import remove_partial, write_text
from .errors import FolderInUse


logger = logging.getLogger(__name__)

LOCK, OWNER = ".lock", ".lock-owner"
# By process (one that was forked off has none yet) and folder: the lock, and how often it was taken.
_taken: dict[tuple[int, Path], tuple[FileLock, int]] = {}


class FolderLock:
    """
    Keeps other processes that ask for it out of a folder; the same process may take it twice. The operating system gives it back when the process ends, however that
    happens.

    Args:
        folder (`Path`): Made when the lock is taken.

    Attributes:
        is_held (`bool`): Whether it is taken.
    """

    def __init__(self, folder: Path):
        self.folder, self.is_held = folder.absolute(), False

    def take(self) -> None:
        """
        Nothing happens if it is taken already.

        Raises:
            [`FolderInUse`]: if another process has it.
        """
        if self.is_held:
            return
        key = os.getpid(), self.folder
        lock, count = _taken.get(key) or (self._locked(), 0)
        _taken[key] = lock, count + 1
        self.is_held = True

    def give_back(self) -> None:
        """Nothing happens if it is not taken."""
        if not self.is_held:
            return
        self.is_held = False
        key = os.getpid(), self.folder
        lock, count = _taken.pop(key)
        if count > 1:
            _taken[key] = lock, count - 1
        else:
            (self.folder / OWNER).unlink(missing_ok=True)
            lock.release()

    def __enter__(self) -> FolderLock:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def _locked(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        # Whichever thread takes it, and whichever gives it back.
        lock = FileLock(self.folder / LOCK, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise FolderInUse(
                f"{self.folder} is in use by {self._owner()}: wait for it, end it, or name another folder."
            ) from None
        except NotImplementedError:
            logger.warning("%s is on a file system without locks: do not start a second run into it.", self.folder)
            return lock
        try:
            remove_partial(self.folder)
            write_text(self.folder / OWNER, f"process {os.getpid()} on {socket.gethostname()}")
        except BaseException:
            lock.release()
            raise
        return lock

    def _owner(self) -> str:
        try:
            return (self.folder / OWNER).read_text(encoding="utf-8")
        except FileNotFoundError:
            return "another process"  # which has had it for a moment only


def lock_of_a_run(folder: Path) -> AbstractContextManager[Any]:
    """
    Keeps out a run that may be at a folder; one that no run was at, as one that cannot be written, has no lock and gets none.

    Raises:
        [`FolderInUse`]: if a run is.
    """
    return FolderLock(folder) if (folder / LOCK).exists() else nullcontext()
