"""Holding back what a library logs and this package says itself, better."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from transformers.utils import logging as hf_logging


@contextmanager
def errors_alone() -> Iterator[None]:
    """Within it transformers says nothing but errors; afterwards what it did before: the process may be somebody else's."""
    before = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(before)


class _HeldBack(logging.Filter):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.records: list[logging.LogRecord] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if self.text not in record.getMessage():
            return True
        self.records.append(record)
        return False


@contextmanager
def holding_back(text: str, loggers: Sequence[str], *, unless_it_fails: bool = False) -> Iterator[None]:
    """
    Within it no record with this text passes.

    Args:
        text (`str`): Part of the message.
        loggers (`Sequence[str]`): The names of the loggers that are asked for it (not those above them).
        unless_it_fails (`bool`): Whether they come after all where something fails, for they may say why.
    """
    held_back, asked = _HeldBack(text), [logging.getLogger(name) for name in loggers]
    for one in asked:
        one.addFilter(held_back)
    failed = True
    try:
        yield
        failed = False
    finally:
        for one in asked:
            one.removeFilter(held_back)
        for record in held_back.records if failed and unless_it_fails else ():
            logging.getLogger(record.name).handle(record)
