"""The learning rate of the head, where it is another than that of the model below it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn


# A head that nobody has trained yet is hardly moved by the steps that are right for the pretrained weights below it. The
# size is that of the MixText code (Chen et al., 2020); measured in docs/results.md.
NEW_HEAD_LEARNING_RATE = 1e-3


def head_rate(given: float | None, of_all: float, *, head_is_new: bool) -> float | None:
    """
    The learning rate of everything outside the base model; `None`: that of all parameters.

    Args:
        given (`float`, *optional*): What the user says it is.
        of_all (`float`): That of the other parameters.
        head_is_new (`bool`): Whether it lies untrained on a pretrained base model, where it is at least [`NEW_HEAD_LEARNING_RATE`].
    """
    if given is not None or not head_is_new or not 0 < of_all < NEW_HEAD_LEARNING_RATE:
        return given
    return NEW_HEAD_LEARNING_RATE


def set_head_rate(optimizer: torch.optim.Optimizer, head: Iterable[nn.Parameter], rate: float) -> None:
    """
    Split each parameter group of a new optimiser in two: the encoder with its own learning rate, the head with `rate`.

    Raises:
        `ValueError`: if there is no head.
    """
    ids = {id(parameter) for parameter in head}
    if not ids:
        raise ValueError(
            f"head_learning_rate={rate:g} was given, but the model has no parameters outside its base model: leave it out."
        )
    split: list[dict[str, Any]] = []
    for group in optimizer.param_groups:
        inside = [p for p in group["params"] if id(p) in ids]
        outside = [p for p in group["params"] if id(p) not in ids]
        split.append({**group, "params": outside})
        split.append({**group, "params": inside, "lr": rate})
    optimizer.param_groups[:] = [group for group in split if group["params"]]
