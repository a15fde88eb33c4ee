"""How a model is run for a while: in evaluation mode, in the precision of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, every module back in its own mode afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        if modes[model]:
            # By its own method: LeViT drops there what it keeps of its weights in evaluation mode, before they change.
            model.train()
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def full_precision(model: nn.Module) -> Iterator[None]:
    """
    A plain model without autocast. accelerate puts a forward of reduced precision onto the object: without it that of the
    class serves, and hooks (those that gather the weights of FSDP among them) still run.
    """
    of_object = vars(model).pop("forward", None)
    try:
        with torch.autocast(next(model.parameters()).device.type, enabled=False):
            yield
    finally:
        if of_object is not None:
            model.forward = of_object
