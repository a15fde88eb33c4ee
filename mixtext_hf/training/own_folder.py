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


def own_folder(args: TrainingArguments, folder: str | None = None) -> AbstractContextManager[Any]:
    """
    Keeps other runs out of `folder`, or `output_dir` if none is given; the first process does it for all of its run.

    Raises:
        [`FolderInUse`]: if there is another.
    """
    return FolderLock(Path(folder or str(args.output_dir))) if args.process_index == 0 else nullcontext()


def in_own_folder(train: Callable[..., T]) -> Callable[..., T]:
    """`Trainer.train` that works so."""

    @wraps(train)
    def alone(self: Any, resume_from_checkpoint: Any = None, trial: Any = None, *args: Any, **kwargs: Any) -> T:
        # Trials of a search, which may run in processes of their own, have a folder each.
        with own_folder(self.args, self._get_output_dir(trial)):
            return train(self, resume_from_checkpoint, trial, *args, **kwargs)

    return alone
