"""
What a command says, in a line, of an error that is not one of its code: of the disk, the memory, the network, or a run that
cannot go on. What is left is a bug, and shows where it is; so does everything with `mixtext-hf --debug`.
"""

from __future__ import annotations

import dis
import errno
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from tqdm import tqdm

from mixtext_hf._compat import HubClientError
from mixtext_hf.errors import RunError

from .main import DEBUG


_PACKAGE = Path(__file__).parent.parent
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# numpy and torch know no number: "1000 requested and 10 written", "unexpected pos 576 vs 534".
_FULL_TEXTS = (
    r"\d+ requested and \d+ written",
    r"unexpected pos \d+ vs \d+",
    "PytorchStreamWriter failed",
    "iostream error",
)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_MEMORY_TEXTS = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "CUDA out of memory")
_WORKER = re.compile(r"DataLoader worker .*(killed by signal|exited unexpectedly)|insufficient shared memory")
# In what Rust writes (safetensors and tokenizers), and in what a worker of a loader hands on.
_IN_TEXT = re.compile(r"\(os error (\d+)\)|OSError: \[Errno (\d+)\]")


@contextmanager
def reporting_failures(prog: str, more: Callable[[], str] | None = None) -> Iterator[None]:
    """
    Turn what goes wrong while a command works into a line on stderr and exit status 1.

    Args:
        prog (`str`): How the command is called.
        more (`Callable[[], str]`, *optional*): Says what is kept and how to go on, where the error does not say so itself.
    """
    try:
        yield
    except RunError as error:
        leave(f"{prog}: error: {error}", error)
    except Exception as error:
        said = failure(error)
        if said is None:
            raise
        leave(f"{prog}: error: {said}{'' if more is None else f' {more()}'}", error)


def leave(said: str, error: BaseException, status: int = 1) -> NoReturn:
    """Exit with this status after having said it, below the traceback if that was asked for."""
    # A bar that was broken off would be drawn once more, behind it.
    for bar in [*tqdm._instances]:
        bar.close()
    show_traceback(error)
    print(said, file=sys.stderr)
    sys.exit(status)


def show_traceback(error: BaseException) -> None:
    """Print it, if that was asked for."""
    if os.environ.get(DEBUG, "0") not in ("", "0"):
        traceback.print_exception(error)


def failure(error: Exception) -> str | None:
    """What went wrong and what to do, in one line; `None`: a bug."""
    said = of_machine(error)
    if said is not None:
        return said
    # Those of sockets have a number.
    if isinstance(error, HubClientError) or (isinstance(error, ConnectionError) and error.errno is None):
        return (
            f"{_told(error)}: the Hub was not reached, or refused. Try again; with HF_HUB_OFFLINE=1 only what was fetched before is "
            "used."
        )
    if isinstance(error, subprocess.CalledProcessError):
        return f"A process that it started ended with exit status {error.returncode}, see above."
    if isinstance(error, OSError):
        refused = (
            "give a folder that may be written to." if error.errno in _REFUSED else "mixtext-hf --debug shows where."
        )
        return f"{_told(error)}: {refused}"
    return " ".join(str(error).split()) if is_own(error) else None


def of_machine(error: Exception) -> str | None:
    """The same for a full disk and for lack of memory alone, which are not the fault of an argument wherever they are met."""
    number, text = _number(error), str(error)
    if number in _FULL or (number is None and any(re.search(pattern, text) for pattern in _FULL_TEXTS)):
        return f"The disk is full, or a quota or limit reached ({_told(error)}): free some space."
    if number == errno.EMFILE:
        return f"{_told(error)}: allow more open files by `ulimit -n`, or use fewer --dataloader_num_workers."
    is_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or number == errno.ENOMEM
    if is_memory or (isinstance(error, RuntimeError) and any(words in text for words in _MEMORY_TEXTS)):
        return (
            f"Out of memory ({_told(error)}): take a smaller batch (--per_device_train_batch_size, with "
            "--gradient_accumulation_steps for the same steps; --per_device_eval_batch_size), --gradient_checkpointing True, or shorter texts or "
            "smaller images. A run that goes on with other batches needs --resume_changed True."
        )
    if isinstance(error, RuntimeError) and _WORKER.search(text):
        return f"{_told(error)}: mostly for lack of memory. Use fewer --dataloader_num_workers."
    # Such as `datasets` wraps what stopped it.
    return of_machine(error.__cause__) if isinstance(error.__cause__, Exception) else None


def is_own(error: Exception) -> bool:
    """
    Whether a `raise` of this package made a `ValueError`, `TypeError` or `ImportError`: these name the argument, the value and the
    remedy. Those that Python and libraries raise are bugs, or of arguments that were passed on unseen.
    """
    last = error.__traceback__
    if last is None or not isinstance(error, ValueError | TypeError | ImportError):
        return False
    while last.tb_next is not None:
        last = last.tb_next
    code = last.tb_frame.f_code
    is_here = Path(code.co_filename).is_relative_to(_PACKAGE)
    return is_here and code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _number(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _IN_TEXT.search(str(error))
    return None if found is None else int(found[1] or found[2])


def _told(error: Exception) -> str:
    """The text of an error on one line, without a traceback of C++ or of a worker of a loader."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if "Original Traceback" in str(error) else 0].strip().rstrip(".:")
