"""What the commands log: the lines of this package, each warning once, and nothing of how files come from the Hub."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

import datasets
from transformers.utils import logging as hf_logging


# They log every request, and matplotlib that it looked for fonts.
_TALKATIVE = ("httpx", "httpx2", "httpcore", "urllib3", "filelock", "fsspec", "matplotlib")
_SHORT_BARS = ("Loading weights", "Writing model shards")
_WHOLE = "%(asctime)s - %(levelname)s - %(name)s - %(message)s"
# The same for each model that is made of a checkpoint.
_ONCE = ("mixtext_hf.models.load_report",)


class _Plain(logging.Formatter):
    """The message alone; before what is more than information, what it is."""

    def format(self, record: logging.LogRecord) -> str:
        said = super().format(record)
        return said if record.levelno <= logging.INFO else f"{record.levelname.capitalize()}: {said}"


class OnceOnly(logging.Filter):
    """Lets a warning pass when it comes for the first time: the runs of a comparison would each say it again."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[tuple[str, str]] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING and record.name not in _ONCE:
            return True
        said = (record.name, record.getMessage())
        is_new = said not in self._said
        self._said.add(said)
        return is_new


def set_up_logging(level: int = logging.INFO, of_transformers: int = logging.WARNING) -> None:
    """
    Log to stderr, as the commands do.

    Args:
        level (`int`): From which level on.
        of_transformers (`int`): The same for what transformers itself says.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(OnceOnly())
    handler.setFormatter(_Plain() if level > logging.DEBUG else logging.Formatter(_WHOLE))
    logging.basicConfig(handlers=[handler], level=level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    hf_logging.set_verbosity(of_transformers)
    # It has a handler of its own; what others hang there is theirs.
    for own in logging.getLogger("transformers").handlers:
        if type(own) is logging.StreamHandler and not any(isinstance(one, OnceOnly) for one in own.filters):
            own.addFilter(OnceOnly())
    # "Flattening the indices" and its like: steps of a moment.
    datasets.disable_progress_bars()
    hf_logging.set_tqdm_hook(_without_short_bars)


def _without_short_bars(bar: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return bar(*args, **{**kwargs, "disable": True} if kwargs.get("desc") in _SHORT_BARS else kwargs)
