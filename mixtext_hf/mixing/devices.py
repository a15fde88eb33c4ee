"""Between the host and a device without a wait."""

from __future__ import annotations

import torch


# Copying from the host to the last of these copies nothing. Of others it is not known when the host's memory is read.
_WITHOUT_A_WAIT = ("cuda", "meta")


def to_device(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """
    `tensor` on `device`; itself if it is there already.

    The usual copy from the host to a GPU waits until all is done that was asked of it before, such as the model's last pass.
    This one does not. Memory that is not pinned is read before it returns, so that the tensor may then be changed or go.
    """
    goes_on = tensor.device.type == "cpu" and torch.device(device).type in _WITHOUT_A_WAIT
    return tensor.to(device, non_blocking=goes_on)


def host_may_read(tensor: torch.Tensor) -> bool:
    """
    Whether the host may look at the values of a tensor to spare itself work: on an accelerator it would have to wait for them, and
    computing everything takes less.
    """
    return tensor.device.type == "cpu"
