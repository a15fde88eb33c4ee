"""SIGTERM, which a scheduler sends, ends a command as Ctrl-C does: what is open is closed, a line says so, the status is 143."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""

    exit_code = 128 + signal.SIGTERM

    def __init__(self) -> None:
        super().__init__("Ended by SIGTERM.")


def terminate(number: int, frame: FrameType | None) -> None:
    """A handler of SIGTERM. The next one ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    raise Terminated


def end_well() -> None:
    """Handle SIGTERM from here on, unless somebody else does or this is not the main thread."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, terminate)
