"""What [CLS] attends to in the last layer of a vision transformer, taken from a pass that is made anyhow.

Only the row of [CLS] is computed, from its query and the keys of all tokens, which hooks at their projections see: whatever
kernel the model attends with stays. The hooks do nothing but in a pass that is watched, and write nothing but into a
[`_Seen`]; no graph holds what they compute. `torch.compile` ignores hooks that come after its first pass: then they have to be
installed for the whole run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from mixtext_hf.mixing import PatchAttention

from .stack import find_stack, image_config, patch_size_of


# Their tokens are [CLS], perhaps others that are no patches, and the patches row by row; their scores are scaled by the root of
# the size of a head. The tests of this package compare each with its own eager attention.
ATTENDING_MODEL_TYPES = (
    "beit",
    "clip",
    "data2vec-vision",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "metaclip_2",
    "vit",
    "vit_msn",
)
_QUERIES, _KEYS, _BIAS = ("q_proj", "query"), ("k_proj", "key"), "relative_position_bias"


@dataclass
class _Seen:
    """What the hooks saw of the pass that is watched, as long as it runs."""

    num_heads: int
    is_watched: bool = False
    query: torch.Tensor | None = None
    key: torch.Tensor | None = None
    biases: list[torch.Tensor] = field(default_factory=list)
    weights: torch.Tensor | None = None

    def forget(self) -> None:
        self.query = self.key = self.weights = None
        self.biases = []


class ClsAttention:
    r"""
    Tells what [CLS] attends to in the last layer.

    Args:
        model (`PreTrainedModel`): A classifier of images of one of the [`ATTENDING_MODEL_TYPES`].

    Raises:
        `ValueError`: for others, and for a model whose last layer has no projections of queries and keys.

    Example:

    ```python
    attention = ClsAttention(image_model)
    with attention.watching():
        logits = image_model(pixel_values=images).logits
    weights = attention.take(images.shape[-2:]).weights  # (B, 14, 14) for patches of 16 in 224 pixels
    ```
    """

    def __init__(self, model: PreTrainedModel):
        _check_type(model)
        config = image_config(model.config)
        patch_size = patch_size_of(model.config)
        layer = find_stack(model).layers[-1]
        queries, keys = (_only(layer, names) for names in (_QUERIES, _KEYS))
        if queries is None or keys is None or patch_size is None:
            raise ValueError(
                f"the last layer of {_named(model)} has no two projections that are called {' or '.join(_QUERIES)} and "
                f"{' or '.join(_KEYS)}, as those of {', '.join(ATTENDING_MODEL_TYPES)} are"
            )
        self.patch_size = patch_size
        self._seen = _Seen(config.num_attention_heads)
        self._attention = layer.get_submodule(queries.rpartition(".")[0])
        self._queries, self._keys = layer.get_submodule(queries), layer.get_submodule(keys)
        self._handles: list[RemovableHandle] = []

    def install(self) -> None:
        """Install the hooks, if they are not there."""
        if self._handles:
            return
        seen, attention = self._seen, self._attention
        self._handles = [
            self._queries.register_forward_hook(_AfterQueries(seen)),
            self._keys.register_forward_hook(_AfterKeys(seen)),
            attention.register_forward_pre_hook(_BeforeAttention(seen, _bias_positions(attention)), with_kwargs=True),
            attention.register_forward_hook(_AfterAttention(seen)),
        ]
        own_bias = dict(attention.named_children()).get(_BIAS)
        if own_bias is not None:
            self._handles.append(own_bias.register_forward_hook(_AfterBias(seen)))

    def remove(self) -> None:
        """Remove the hooks, and what they saw."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._seen.forget()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The forward pass made inside is the one to tell of; hooks that are not installed yet are for this pass alone."""
        was_installed = bool(self._handles)
        self.install()
        self._seen.forget()
        self._seen.is_watched = True
        try:
            yield
        finally:
            self._seen.is_watched = False
            if not was_installed:
                weights = self._seen.weights
                self.remove()
                self._seen.weights = weights

    def take(self, image_size: tuple[int, int]) -> PatchAttention:
        """
        What [CLS] attended to in the pass that was watched last; told once.

        Args:
            image_size (pair of `int`): Height and width in pixels of the images of that pass.

        Raises:
            `RuntimeError`: if the layer was not run, or in a way that the hooks do not see.
        """
        weights = self._seen.weights
        self._seen.forget()
        if weights is None:
            raise RuntimeError(
                "The last layer ran past its hooks, so that nothing tells what [CLS] attended to. Was the model compiled by somebody "
                "else, or with checkpoints of activations? Hand over the plain model; torch_compile=True compiles it."
            )
        rows, columns = (side // patch for side, patch in zip(image_size, self.patch_size, strict=True))
        return PatchAttention(weights[:, -rows * columns :].unflatten(1, (rows, columns)), self.patch_size)


# ---- the hooks: plain objects, so that they are copied and pickled with their model ----


class _Hook:
    __call__: Callable[..., Any]

    def __init__(self, seen: _Seen):
        self.seen = seen


class _AfterQueries(_Hook):
    def __call__(self, module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        if self.seen.is_watched:
            self.seen.query = output.detach()[:, :1]


class _AfterKeys(_Hook):
    def __call__(self, module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        if self.seen.is_watched:
            self.seen.key = output.detach()


class _BeforeAttention(_Hook):
    """Biases of relative positions come as masks, or beside them."""

    def __init__(self, seen: _Seen, positions: dict[str, int]):
        super().__init__(seen)
        self.positions = positions

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        if not self.seen.is_watched:
            return
        for name, position in self.positions.items():
            given = args[position] if position < len(args) else kwargs.get(name)
            if given is not None:
                self.seen.biases.append(_of_cls(given))


class _AfterBias(_Hook):
    def __call__(self, module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        if self.seen.is_watched:
            self.seen.biases.append(_of_cls(output))


class _AfterAttention(_Hook):
    def __call__(self, module: nn.Module, args: tuple, output: Any) -> None:
        seen = self.seen
        if not seen.is_watched or seen.query is None or seen.key is None:
            return
        query, key = (value.unflatten(-1, (seen.num_heads, -1)).float() for value in (seen.query, seen.key))
        with torch.autocast(query.device.type, enabled=False):
            # (B, 1, heads, D), (B, L, heads, D) -> (B, heads, L)
            scores = torch.einsum("bqhd,blhd->bhl", query, key) * query.shape[-1] ** -0.5
            for bias in seen.biases:
                scores = scores + bias
            weights = scores.softmax(dim=-1).mean(dim=1)
        seen.forget()
        seen.weights = weights


def _of_cls(bias: torch.Tensor) -> torch.Tensor:
    """What is added to the scores of [CLS] `(B, heads, L)` of a bias or mask `(..., L, L)`."""
    row = bias.detach()[..., 0, :]
    if row.dtype == torch.bool:
        return torch.zeros(row.shape, device=row.device).masked_fill(~row, float("-inf"))
    # A copy: Data2Vec adds the shared bias to its own in place.
    return row.to(torch.float32, copy=True)


def _bias_positions(attention: nn.Module) -> dict[str, int]:
    """The arguments of an attention that are added to its scores, and where they stand."""
    names = list(inspect.signature(attention.forward).parameters)
    return {name: names.index(name) for name in ("attention_mask", _BIAS) if name in names}


# ---- where it is ----


def _check_type(model: PreTrainedModel) -> None:
    if model.config.model_type not in ATTENDING_MODEL_TYPES:
        raise ValueError(f"{_named(model)} is none of {', '.join(ATTENDING_MODEL_TYPES)}")


def _named(model: PreTrainedModel) -> str:
    return f"{type(model).__name__} (type {model.config.model_type!r})"


def _only(layer: nn.Module, names: tuple[str, ...]) -> str | None:
    """The path of the one module of a layer that is called so."""
    found = [path for path, _ in layer.named_modules() if path.rpartition(".")[2] in names]
    return found[0] if len(found) == 1 else None
