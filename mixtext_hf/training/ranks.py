"""What several processes must agree on: the buffers of the model, means over all of them, the mean loss of an evaluation, and the
end of their group.
"""

from __future__ import annotations

import gc

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import nn


@torch.no_grad()
def share_buffers(model: nn.Module) -> None:
    """
    Give all processes the buffers of the first one, which are those that are saved; called by all of them.

    DDP does so before some forward passes of training alone: the statistics that batch norms keep are of the rows of one
    process until then. Only buffers that a checkpoint holds are sent, and none if there are no floats among them; those that are
    spread over the processes stay.

    Args:
        model (`nn.Module`): Of the same buffers in all processes.
    """
    by_dtype: dict[torch.dtype, list[torch.Tensor]] = {}
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if type(buffer) is torch.Tensor and name not in module._non_persistent_buffers_set:
                by_dtype.setdefault(buffer.dtype, []).append(buffer)
    if not any(dtype.is_floating_point for dtype in by_dtype):
        return
    for buffers in by_dtype.values():
        # One message for all of a kind: batch norms have many, of a few hundred numbers.
        sent = broadcast(torch.cat([buffer.flatten() for buffer in buffers]))
        for buffer, part in zip(buffers, sent.split([buffer.numel() for buffer in buffers]), strict=True):
            buffer.copy_(part.view_as(buffer))


def mean_of_all(accelerator: Accelerator, value: torch.Tensor) -> torch.Tensor:
    """The mean of a tensor of any shape over all processes; called by all of them."""
    if accelerator.num_processes == 1:
        return value
    mean: torch.Tensor = accelerator.reduce(value, reduction="mean")
    return mean


def rows_of_all(accelerator: Accelerator, value: torch.Tensor) -> torch.Tensor:
    """The rows of a tensor `(n, ...)` of all processes, each with another `n`, one after the other; called by all of them."""
    if accelerator.num_processes == 1:
        return value
    counts = accelerator.gather(torch.tensor([len(value)], device=value.device)).tolist()
    gathered: torch.Tensor = accelerator.gather(accelerator.pad_across_processes(value))
    return torch.cat([part[:count] for part, count in zip(gathered.split(max(counts)), counts, strict=True)])


def share_of_global_mean(own: torch.Tensor, all_labels: torch.Tensor, *, parts: int) -> torch.Tensor:
    """
    What turns the mean loss over a micro-batch into its share of the mean over the global batch, a scalar.

    Gradients are averaged over processes, and the Trainer divides by the accumulation steps: both are undone here.

    Args:
        own (`torch.Tensor`): How many labels the micro-batch has, a scalar.
        all_labels (`torch.Tensor`): How many the global batch has, a scalar.
        parts (`int`): Into how many micro-batches the global batch is split, in all processes.
    """
    if parts == 1:
        # All labels of the global batch are here, if there are any.
        return all_labels.clamp(max=1)
    return own * parts / all_labels.clamp(min=1)


class MeanLoss:
    """
    The mean loss over the labelled rows of an evaluation, each counted once.

    The mean of the means of batches would not be that: the last ones hold rows for the second time where the rows make no whole
    number of batches for all processes, and hidden labels are not spread evenly.

    Args:
        accelerator (`Accelerator`): Its state tells where the last batch is and how many of its rows, those of all processes one
            after the other, are there for the first time: as for predictions, see `Accelerator.gather_for_metrics`.
    """

    def __init__(self, accelerator: Accelerator):
        self.accelerator = accelerator
        self._sums: list[torch.Tensor] = []

    def add(self, losses: torch.Tensor, counts: torch.Tensor) -> None:
        """The losses of the rows of a batch `(B,)`, or of their tokens `(B, T)`, and which of them count, bool; nothing is waited for."""
        state = self.accelerator.gradient_state
        if state.end_of_dataloader and state.remainder > 0:
            first_time = state.remainder - self.accelerator.process_index * len(losses)
            losses, counts = losses[: max(first_time, 0)], counts[: max(first_time, 0)]
        self._sums.append(torch.stack([torch.where(counts, losses, 0.0).sum(), counts.sum()]).detach())

    def value(self) -> float | None:
        """The mean, for all processes; 0 if no row has a label, `None` if there was no batch."""
        if not self._sums:
            return None
        own = torch.stack(self._sums).cpu().double().sum(dim=0).tolist()
        parts = gather_object([own]) if self.accelerator.num_processes > 1 else [own]
        total, count = (sum(column) for column in zip(*parts, strict=True))
        return total / max(count, 1)


def leave_group() -> None:
    """
    Leave the group of processes, if this one is in any, before it ends; called when all of them are done.

    The group has threads, which let go of the tensors that they have sent. One that does so while the interpreter ends aborts the
    process (status -6, "terminate called without an active exception"), with all its work done: a launcher then calls the run a
    failure. The threads end with the last model that was wrapped for the group, so those that nobody refers to any more are collected
    first.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
