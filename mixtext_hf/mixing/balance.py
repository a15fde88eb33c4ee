"""Guesses of the model in training kept in balance: over a window of many steps, not over one batch.

A model that guesses for itself drifts to the classes that it finds easy. Its guesses are drawn to the shares that the classes
should have (distribution alignment: Berthelot et al., ReMixMatch, ICLR 2020; with running means: AdaMatch, ICLR 2022), and those
it is unsure of may weigh less (SoftMatch: Chen et al., ICLR 2023, eq. 6).
"""

from __future__ import annotations

import torch


# For how many batches of the right shares the beginning counts, so that the first batches do not decide alone.
_FIRST_BATCHES = 2.0


def running_mean(
    memory: dict[str, torch.Tensor], name: str, value: torch.Tensor, *, first: torch.Tensor, decay: float
) -> torch.Tensor:
    """
    The mean of `value` over the last steps, older ones weighing less by `decay` each; updates `memory` in place.

    Args:
        memory (`dict[str, torch.Tensor]`): What the run remembers.
        name (`str`): Of the mean, in `memory`.
        value (`torch.Tensor` of any shape): Of this step, over all processes; no gradient.
        first (`torch.Tensor`, of the same shape): What is believed before any step; counts as two steps.
        decay (`float`): In `[0, 1)`.
    """
    total = memory.get(f"{name}_total", torch.zeros_like(value)).to(value.device)
    weight = memory.get(f"{name}_weight", value.new_zeros(())).to(value.device)
    total, weight = decay * total + value, decay * weight + 1
    memory[f"{name}_total"], memory[f"{name}_weight"] = total, weight
    return (total + _FIRST_BATCHES * first) / (weight + _FIRST_BATCHES)


def align(probabilities: torch.Tensor, mean: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """
    `Norm(p * shares / mean)`: guesses `(B, C)` whose classes have, over many batches, the wanted shares.

    Args:
        probabilities (`torch.Tensor` of shape `(B, C)`): Guesses.
        mean (`torch.Tensor` of shape `(C,)`): Their running mean.
        shares (`torch.Tensor` of shape `(C,)`): The shares that the classes should have.
    """
    weighted = probabilities * ((shares + 1e-6) / (mean + 1e-6))
    return weighted / weighted.sum(dim=-1, keepdim=True)


def confidence_weights(
    probabilities: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, spread: float = 2.0
) -> torch.Tensor:
    """
    `exp(-min(max_c p - mean, 0)^2 spread^2 / (2 variance))` `(B,)`: 1 for guesses surer than usual, less for others.

    Args:
        probabilities (`torch.Tensor` of shape `(B, C)`): Guesses.
        mean, variance (`torch.Tensor`, scalars): Running ones of the largest probability.
        spread (`float`): How fast the weight falls, in standard deviations.
    """
    below = (probabilities.max(dim=-1).values - mean).clamp(max=0)
    return torch.exp(-below.square() * spread**2 / (2 * variance.clamp_min(1e-8)))
