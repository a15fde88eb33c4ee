"""The named terms of the loss, and what else a step notes, averaged over the logging window and over all processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainingArguments

from mixtext_hf.mixing import MixPlan


def total(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss, a scalar: the sum of its terms."""
    values = list(terms.values())
    return torch.stack(values).sum() if len(values) > 1 else values[0]


class Terms:
    """Running sums that stay on the device until they are logged."""

    def __init__(self, args: TrainingArguments):
        self._args = args
        self._sums: dict[str, list[Any]] = {}

    def add(self, terms: dict[str, torch.Tensor]) -> None:
        """Add to the averages of the window; tensors of any shape, of one shape under one name."""
        for name, value in terms.items():
            summed = self._sums.get(name)
            if summed is None:
                summed = self._sums[name] = [torch.zeros((), device=self._args.device), 0]
            summed[0] = summed[0] + value.detach().float()
            summed[1] += 1

    def add_plan(self, plan: MixPlan) -> None:
        """Add what a micro-batch mixed by."""
        self.add({"mix_lambda": plan.lam.mean()})
        if isinstance(plan.layer, int):
            self.add({"mix_layer": torch.full((), float(plan.layer), device=self._args.device)})

    def averages(self) -> tuple[dict[str, Any], dict[str, int]]:
        """
        End the window: the mean of every term over it and over all processes (they may have seen different terms), and
        over how many values.
        """
        own = {name: (summed.tolist(), count) for name, (summed, count) in self._sums.items()}
        self._sums = {}
        everywhere = gather_object([own]) if self._args.world_size > 1 else [own]
        names = dict.fromkeys(name for terms in everywhere for name in terms)
        averages, counts = {}, {}
        for name in names:
            pairs = [terms[name] for terms in everywhere if name in terms]
            counts[name] = sum(count for _, count in pairs)
            averages[name] = (np.sum([summed for summed, _ in pairs], axis=0) / counts[name]).tolist()
        return averages, counts
