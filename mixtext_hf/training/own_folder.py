"""A run has its folder for itself: a second process that is started into it is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from transformers import TrainingArguments

from mixtext_hf._lock import FolderLock


T = TypeVar("T")


def own_folder(args: TrainingArguments) -> AbstractContextManager[Any]:
    """
    Keeps other runs out of `output_dir`; the first process does it for all of its run.

    Raises:
        [`FolderInUse`]: if there is another.
    """
    return FolderLock(Path(str(args.output_dir))) if args.process_index == 0 else nullcontext()


def in_own_folder(method: Callable[..., T]) -> Callable[..., T]:
    """A method of a trainer that works so."""

    @wraps(method)
    def alone(self: Any, *args: Any, **kwargs: Any) -> T:
        with own_folder(self.args):
            return method(self, *args, **kwargs)

    return alone
