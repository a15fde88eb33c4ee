"""What a method remembers from step to step, kept in checkpoints with the state of the trainer."""

from __future__ import annotations

from typing import Any

import torch
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class Memory(TrainerCallback, ExportableState):
    """
    Named tensors that a checkpoint holds (exactly: JSON writes every digit of a float) and a resumed run goes on with.

    Attributes:
        tensors (`dict[str, torch.Tensor]`): By name; float32, small.
    """

    def __init__(self, values: dict[str, Any] | None = None):
        self.tensors: dict[str, torch.Tensor] = {}
        self.load(values or {})

    def load(self, values: dict[str, Any]) -> None:
        """Remember what [`state`] said."""
        self.tensors.clear()
        self.tensors.update({name: torch.tensor(value, dtype=torch.float32) for name, value in values.items()})

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Of a resumed run the state comes from the checkpoint.
        self.load(state.stateful_callbacks.get(type(self).__name__, self.state())["args"]["values"])

    def state(self) -> dict[str, Any]:
        """For `trainer_state.json`."""
        return {"args": {"values": {name: value.tolist() for name, value in self.tensors.items()}}, "attributes": {}}
