"""Other processes that need no start of their own: forked off, with all that is imported."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any


FORK: Any = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def wait_for(path: Path) -> None:
    """Until another process has made a file."""
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)
