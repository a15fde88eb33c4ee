"""A new head on a classifier that has been trained: for other classes than those that it has learnt."""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def draw_new_head(model: Any) -> frozenset[str]:
    """
    Draw everything outside the base model anew, as transformers does for a model without a head.

    Args:
        model (`PreTrainedModel`): A classifier.

    Returns:
        `frozenset[str]`: the names of the new parameters.

    Raises:
        `ValueError`: for a model whose head cannot be told from the rest.
    """
    base = model.base_model
    inside = {id(module) for module in base.modules()}
    outside = [module for module in model.modules() if id(module) not in inside and module is not model]
    of_base = {id(parameter) for parameter in base.parameters()}
    new = frozenset(name for name, parameter in model.named_parameters() if id(parameter) not in of_base)
    if base is model or not new:
        raise ValueError(
            f"new_head: of a {type(model).__name__} it cannot be told what its head is. Start from a model without a head, or keep "
            "its classes and say by label_map which of them are meant."
        )
    for module in outside:
        # transformers leaves alone what it knows to be loaded.
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            tensor._is_hf_initialized = False
        model._init_weights(module)
    for parameter in model.parameters(recurse=False):
        parameter.normal_(std=0.02)
    return new
