"""Ctrl-C and SIGTERM end a training well: after the step that is being made, with a checkpoint. A second one ends it at once."""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object
from transformers import TrainerCallback

from mixtext_hf._signals import terminate

from .whole_checkpoints import newest_whole


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OF_NOBODY = (signal.SIG_DFL, signal.default_int_handler, terminate)
# Several processes ask each other whether one was told to stop: every so many steps, and more often where these take long, for
# 30 seconds after its SIGTERM a launcher kills.
_EVERY_STEPS, _EVERY_SECONDS = 10, 5.0
# A SIGTERM comes twice where all processes are told and their launcher hands it on, or ends those that were slower to end.
_SAME_WITHIN_SECONDS = 5.0


class Stopped(KeyboardInterrupt):
    """
    Training was stopped by a signal, after a whole step.

    Args:
        number (`int`): Of the signal; a command exits with 128 more.
        step (`int`): The last one that was made.
        checkpoint (`Path`, *optional*): The newest whole one.
        saves (`bool`): Whether it was a training that saves; a short one on the way to another is made again.
    """

    def __init__(self, number: int, step: int, checkpoint: Path | None, saves: bool = True):
        kept = f": {checkpoint} is kept" if checkpoint is not None else ": nothing was saved"
        if not saves:
            kept = " of a classifier that guesses, which is trained anew"
        super().__init__(f"Stopped by {signal.Signals(number).name} after step {step}{kept}.")
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
        # Of the signal for which all processes stop, and of that which this one heard.
        self.number: int | None = None
        self._heard: int | None = None
        self.saves = True
        # The step after which the processes ask each other next, and when they did last.
        self._next = 0
        self._asked: tuple[int, float] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are heard inside; outside, what they did before. (Only the main thread of a process gets any.)"""
        self.number, self._heard, self._next, self._asked = None, None, 0, None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        process, first = os.getpid(), math.inf

        def hear(number: int, frame: FrameType | None) -> None:
            nonlocal first
            if os.getpid() != process:
                return  # a worker of a loader, which a terminal tells too, and which is needed to the end of the step
            if first == math.inf:
                first, self._heard = time.monotonic(), number
                # The next one does what it always did.
                signal.signal(signal.SIGINT, before[signal.SIGINT])
                what = "this step is finished" + (" and a checkpoint written" if self.saves else "")
                logger.warning("%s: %s; once more ends at once.", _name(number), what)
            elif time.monotonic() > first + _SAME_WITHIN_SECONDS:
                signal.signal(number, before[signal.Signals(number)])
                signal.raise_signal(number)

        # What is ignored on purpose (nohup) stays so, and handlers of somebody else are left alone.
        own = [number for number in _SIGNALS if before[number] in _OF_NOBODY]
        for number in own:
            signal.signal(number, hear)
        try:
            yield
        finally:
            for number in own:
                signal.signal(number, before[number])

    def check_reached_end(self) -> None:
        """Raise [`Stopped`] if a signal ended training before its last step."""
        state = self.trainer.state
        if self.number is not None and state.global_step < state.max_steps:
            kept, _ = newest_whole(Path(str(self.trainer.args.output_dir)))
            raise Stopped(self.number, state.global_step, kept, self.saves)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.world_size > 1:
            if state.global_step < min(self._next, state.max_steps):
                return
            self._ask(state.global_step)
        else:
            self.number = self._heard
        if self.number is not None:
            control.should_training_stop = True
            control.should_save = self.saves

    def _ask(self, step: int) -> None:
        """Whether another process was told to stop; and when to ask again, for which the slowest says what a step takes."""
        now = time.monotonic()
        takes = math.inf if self._asked is None else (now - self._asked[1]) / (step - self._asked[0])
        numbers, seconds = zip(*gather_object([(self._heard, takes)]), strict=True)
        self.number = max((number for number in numbers if number is not None), default=None)
        self._next = step + min(max(int(_EVERY_SECONDS / max(*seconds, 1e-3)), 1), _EVERY_STEPS)
        self._asked = step, now


def _name(number: int) -> str:
    return signal.Signals(number).name
