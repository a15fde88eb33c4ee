"""How a model is run for a while: in evaluation mode, in the precision of its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, every module back in its own mode afterwards."""
    modules = _modules(model)
    modes = [module.training for module in modules]
    # Of all modules of a model, every step: `eval()` and `train()` take six times as long.
    only_flags = all(map(_keeps_only_the_flag, modules))
    if only_flags:
        _set_modes(modules, [False] * len(modules))
    else:
        model.eval()
    try:
        yield
    finally:
        if modes[0] and not only_flags:
            # By its own method: LeViT drops there what it keeps of its weights in evaluation mode, before they change.
            model.train()
        _set_modes(modules, modes)


def _modules(model: nn.Module) -> list[nn.Module]:
    """The model, and all modules in it, each once."""
    found: dict[nn.Module, None] = {}
    left = [model]
    while left:
        module = left.pop()
        if module not in found:
            found[module] = None
            left += [child for child in module._modules.values() if child is not None]
    return [*found]


def _keeps_only_the_flag(module: nn.Module) -> bool:
    """Whether changing the mode of a module changes nothing but its flag."""
    if "train" in vars(module) or "eval" in vars(module):
        return False
    kind = type(module)
    if kind.train is nn.Module.train and kind.eval is nn.Module.eval:
        return True
    # Theirs choose other kernels, where there are any.
    is_theirs = kind.train is PreTrainedModel.train and kind.eval is PreTrainedModel.eval
    return is_theirs and not module.use_kernels


def _set_modes(modules: list[nn.Module], modes: list[bool]) -> None:
    for module, mode in zip(modules, modes, strict=True):
        # Past the search for parameters and submodules of that name.
        object.__setattr__(module, "training", mode)


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
