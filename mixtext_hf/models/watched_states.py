"""The hidden states of one pass and, after its backward pass, the gradient of the loss with respect to them.

Zeros that are a leaf of the graph are added to the states: their gradient is that of the states, whatever is frozen, recomputed or cast on
the way. Nobody has to keep a tensor of the graph.
"""

from __future__ import annotations

from typing import Any

import torch


class WatchedStates:
    """
    What is seen of a pass at one place of a model.

    Args:
        layer (`int`): 0 = the output of the embeddings, `m` = the output of the `m`-th layer.

    Attributes:
        states (`torch.Tensor` of shape `(B, T, H)`, *optional*): The states without a graph; `None` before the pass.
    """

    def __init__(self, layer: int):
        self.layer = layer
        self.states: torch.Tensor | None = None
        self._zeros: torch.Tensor | None = None

    def see(self, output: Any) -> Any:
        """The states that a module hands on, or that come first in its tuple, with a leaf beneath them."""
        if isinstance(output, tuple):
            return (self.see(output[0]), *output[1:])
        if self._zeros is None:
            self.states = output.detach()
            self._zeros = torch.zeros_like(output, dtype=torch.float32, requires_grad=True)
        # Recomputed states get the same leaf: some forms of activation checkpointing have made no graph before.
        return output + self._zeros.to(output.dtype)

    @property
    def gradient(self) -> torch.Tensor:
        """
        The gradient `(B, T, H)`, float32, of what backward was called on: a scaled loss has a scaled one.

        Raises:
            `RuntimeError`: before the backward pass, or where the pass came by the place of the states unseen.
        """
        if self._zeros is None:
            raise RuntimeError(
                f"The hidden states of layer {self.layer} were not seen: the model ran past its hooks. Was it compiled by somebody else?"
            )
        if self._zeros.grad is None:
            raise RuntimeError(
                f"The hidden states of layer {self.layer} have no gradient yet: call backward on the loss of this pass first."
            )
        return self._zeros.grad
