"""Ctrl-C and SIGTERM end a training well: after the step that is being made, with a checkpoint. A second one ends it at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object
from transformers import TrainerCallback

from mixtext_hf._signals import terminate


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OF_NOBODY = (signal.SIG_DFL, signal.default_int_handler, terminate)
# Several processes ask each other so often whether one was told to stop.
_EVERY = 10


class Stopped(KeyboardInterrupt):
    """
    Training was stopped by a signal, after a whole step.

    Args:
        number (`int`): Of the signal; a command exits with 128 more.
        step (`int`): The last one that was made.
        checkpoint (`Path`, *optional*): The newest whole one.
    """

    def __init__(self, number: int, step: int, checkpoint: Path | None):
        kept = f"{checkpoint} is kept" if checkpoint is not None else "nothing was saved"
        super().__init__(f"Stopped by {signal.Signals(number).name} after step {step}: {kept}.")
        self.number, self.step, self.checkpoint = number, step, checkpoint

    @property
    def exit_code(self) -> int:
        """As shells report the signal."""
        return 128 + self.number


class StopWell(TrainerCallback):
    """
    Listens while a trainer trains.

    Args:
        trainer ([`MixTrainer`]): Whose.
    """

    def __init__(self, trainer: MixTrainer):
        self.trainer = trainer
        self.number: int | None = None
        self.saves = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are heard inside; outside, what they did before. (Only the main thread of a process gets any.)"""
        self.number = None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        process = os.getpid()

        def hear(number: int, frame: FrameType | None) -> None:
            if os.getpid() != process:
                return  # a worker of a loader, which a terminal tells too, and which is needed to the end of the step
            # The next one does what it always did.
            for other, handler in before.items():
                signal.signal(other, handler)
            self.number = number
            logger.warning(
                "%s: this step is finished and a checkpoint written; once more ends at once.", _name(number)
            )

        # What is ignored on purpose (nohup) stays so, and handlers of somebody else are left alone.
        own = [number for number in _SIGNALS if before[number] in _OF_NOBODY]
        for number in own:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number in own:
                signal.signal(number, before[number])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.world_size > 1:
            if state.global_step % _EVERY == 0 or state.global_step >= state.max_steps:
                self.number = max((one for one in gather_object([self.number]) if one is not None), default=None)
            else:
                return
        if self.number is not None:
            control.should_training_stop = True
            control.should_save = self.saves


def _name(number: int) -> str:
    return signal.Signals(number).name
