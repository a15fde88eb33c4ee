"""What training remembers beyond the weights, kept in checkpoints with the state of the trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import ExportableState


ARCHIVE = "archive.safetensors"
"""The file of a checkpoint for what a method remembers of every row."""


class Memory(TrainerCallback, ExportableState):
    """
    What a checkpoint holds (exactly: JSON writes every digit of a float) and a resumed run goes on with.

    Attributes:
        tensors (`dict[str, torch.Tensor]`): Of the method, by name; float32, small.
        head_learning_rate (`float`, *optional*): At which the head started to learn; `None`: as everything.
        skipped_steps (`int`): That were left out because their gradient was not finite.
        loss_sum (`float`, *optional*): Of the losses of all steps up to the last checkpoint; `None`: not known.
        archive (`dict[str, torch.Tensor]`): Of the method, by name, of every row of the data; in a file of its own.
        loss_before (`float`, *optional*): The same when this process began to train; in no checkpoint.
    """

    def __init__(
        self,
        values: dict[str, Any] | None = None,
        head_learning_rate: float | None = None,
        skipped_steps: int = 0,
        loss_sum: float | None = None,
    ):
        self.tensors: dict[str, torch.Tensor] = {}
        self.archive: dict[str, torch.Tensor] = {}
        self.loss_before: float | None = None
        self.load(values or {}, head_learning_rate, skipped_steps, loss_sum)

    def load(
        self,
        values: dict[str, Any],
        head_learning_rate: float | None = None,
        skipped_steps: int = 0,
        loss_sum: float | None = None,
    ) -> None:
        """Remember what [`state`] said."""
        self.tensors.clear()
        self.tensors.update({name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()})
        self.head_learning_rate = head_learning_rate
        self.skipped_steps = skipped_steps
        self.loss_sum = loss_sum

    def load_checkpoint(self, folder: str | Path) -> None:
        """Remember what the checkpoint in `folder` holds."""
        state = TrainerState.load_from_json(str(Path(folder) / TRAINER_STATE_NAME))
        self.load(**state.stateful_callbacks.get(type(self).__name__, self.state())["args"])
        path = Path(folder) / ARCHIVE
        # Its manifest tells whether a checkpoint lacks it.
        self.archive = load_file(path) if path.is_file() else {}

    def save_archive(self, folder: str | Path) -> None:
        """Write what is remembered of every row into a checkpoint, if anything is."""
        if self.archive:
            save_file(self.archive, Path(folder) / ARCHIVE)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Of a resumed run the state comes from the checkpoint. The optimiser is made already.
        kept = state.stateful_callbacks.get(type(self).__name__, self.state())["args"]
        self.load(**{**kept, "head_learning_rate": self.head_learning_rate})
        if not state.global_step:
            self.archive = {}
        self.loss_before = self.loss_sum if state.global_step else 0.0

    def loss_so_far(self, since: float, not_yet_added: float = 0.0) -> float | None:
        """The sum of the losses of all steps, by that `since` this process began to train; `None`: not known."""
        return None if self.loss_before is None else self.loss_before + since + not_yet_added

    def state(self) -> dict[str, Any]:
        """For `trainer_state.json`."""
        values = {name: value.tolist() for name, value in self.tensors.items()}
        kept = {
            "values": values,
            "head_learning_rate": self.head_learning_rate,
            "skipped_steps": self.skipped_steps,
            "loss_sum": self.loss_sum,
        }
        return {"args": kept, "attributes": {}}
