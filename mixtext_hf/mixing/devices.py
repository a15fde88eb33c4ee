"""From the host to a device without a wait."""

from __future__ import annotations

import torch


def to_device(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """
    `tensor` on `device`; itself if it is there already.

    The usual copy from the host to a GPU waits until all is done that was asked of it before, such as the model's last pass.
    This one does not. Memory that is not pinned is read before it returns, so that the tensor may then be changed or go.
    """
    waits = tensor.device.type != "cpu" or torch.device(device).type != "cuda"
    return tensor.to(device, non_blocking=not waits)
