"""The handle of a mixable model: which plan is applied, and what its hooks (`hooks.py`) do with it.

Hooks are installed once and do nothing without a plan; class, parameter names, config and checkpoints of the model stay
what they are. Three things are easy to get wrong here and decide the shape of this file:

* A plan must outlive the forward pass. Under some forms of activation checkpointing (FSDP's wrapper, for one) the hooks
  run again during backward. The plan is therefore latched when the encoder starts, and stays until it starts again.
* `torch.compile` ignores hooks that come later, so they are there from the beginning and read plain attributes.
* `deepcopy` of a part of the model (PEFT copies heads) must keep its link to this mixer, and of the whole model must
  get a mixer of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mixtext_hf.mixing import HEAD, MixPlan, TokenShares, mix_tensors, mix_tokens, union_mask

from .any_classifier import Classifier, check_plan_without_layer, takes_pixels
from .last_token import check_same_place
from .stack import EncoderStack, mask_position
from .watched_states import WatchedStates


class Mixer(Classifier):
    r"""
    The handle of a mixable model, found at `model.mixer`.

    Attributes:
        stack ([`EncoderStack`]): The parts of the model that are touched.
        plan ([`MixPlan`] or `None`): What the next forward pass will mix; set it with [`~Mixer.applying`].
        active ([`MixPlan`] or `None`): What the current pass mixes, its recomputation in backward included.
        calls (`int`): How often a layer shared by several numbers was called in this pass.
        roots (`list[nn.Module]`): The model and the wrappers around it: when one is copied, so is the mixer.
        handles (`list[RemovableHandle]`): The hooks that were installed.

    Example:

    ```python
    >>> mixer = make_mixable(model)
    >>> with mixer.applying(plan):
    ...     logits = model(**batch).logits
    ```
    """

    def __init__(self, stack: EncoderStack):
        super().__init__(stack.model)
        self.stack = stack
        self.plan: MixPlan | None = None
        self._to_watch: WatchedStates | None = None
        self.roots: list[nn.Module] = [stack.model]
        self.handles: list[RemovableHandle] = []
        self._layers_seen: set[Any] = set()
        self.reset()

    def reset(self) -> None:
        """
        Forget what the last forward pass left: to be called where its backward pass never came, as after an error that a loop
        catches. (Inside an activation checkpoint it would be taken for a second one that waits.)
        """
        self.active: MixPlan | None = None
        self._watched: WatchedStates | None = None
        self._attention_mask: torch.Tensor | None = None
        self._given_mask: torch.Tensor | None = None
        self._unions: list[tuple[Any, Any]] = []
        self.calls = 0
        self._pending: list[MixPlan | None] = []
        self._backward_seen = False

    @property
    def encoder(self) -> nn.Module:
        return self.stack.encoder

    @property
    def reads_last_token(self) -> bool:
        return self.stack.reads_last_token

    @property
    def depth(self) -> int:
        """Number of layers `L`: plans may name the layers 0 to `L`."""
        return self.stack.depth

    def check_layer(self, layer: int | str | None) -> None:
        """Raise `ValueError` if this model has no layer of that number (0 to `L`, or `"head"`)."""
        name = type(self.stack.model).__name__
        if layer == HEAD:
            if not self.stack.heads:
                raise ValueError(
                    f"layer 'head' was asked for, but {name} has no final linear layer outside its base model that reads "
                    "one vector a row (with classifier_pooling='late', and where tokens are classified, it reads every token): choose a layer "
                    "number."
                )
        elif isinstance(layer, int) and not 0 <= layer <= self.depth:
            raise ValueError(
                f"layer {layer} was asked for, but {name} has {self.depth} layers: choose from 0 (the embeddings) to "
                f"{self.depth} (the output of the last layer)."
            )

    def check_pad(self, pad: str) -> None:
        """Raise `ValueError` for `pad="keep"` where nothing says which states are padding."""
        stack, has_images = self.stack, takes_pixels(self.model)
        if pad == "keep" and (has_images or mask_position(stack.encoder) is None):
            why = (
                "reads images, which have no padding"
                if has_images
                else "takes no attention mask and mixes padding into every state itself"
            )
            raise ValueError(
                f"pad='keep' was asked for, but {type(stack.model).__name__} (type {stack.model.config.model_type!r}) {why}: "
                "leave it out (pad='mix')."
            )

    @contextmanager
    def applying(self, plan: MixPlan | None) -> Iterator[None]:
        """
        Mix in the forward pass made inside this context; `None` or a plan without a layer mixes nothing.

        Leaving the context does not touch what backward needs. Adds and removes no hook; raises the recompile limit of
        `torch.compile` where it is too low for the layers that were asked for.
        """
        if plan is not None:
            check_plan_without_layer(plan)
            self.check_layer(plan.layer)
            plan = plan.to(self.stack.model.device)
            self._make_room_for_graphs(plan)
        if plan is not None and plan.layer is None:
            plan = None  # one graph for both when compiled
        previous, self.plan = self.plan, plan
        self._given_mask = None
        try:
            yield
        finally:
            self.plan = previous

    @contextmanager
    def watching(self, layer: int = 0) -> Iterator[WatchedStates]:
        """As [`Classifier.watching`], at any layer from 0 to `L`: what a plan of this layer mixes, before it is mixed."""
        self.check_layer(layer)
        watched = self._to_watch = WatchedStates(layer)
        try:
            yield watched
        finally:
            self._to_watch = None

    def _make_room_for_graphs(self, plan: MixPlan) -> None:
        """
        Each mixing layer is one more compiled graph (one for each layer where layers are compiled one by one); past its
        limit torch.compile silently runs eagerly.
        """
        dynamo = sys.modules.get("torch._dynamo")
        if dynamo is None:
            return
        if plan.layer not in self._layers_seen:
            self._layers_seen.add(plan.layer)
            needed = (self.depth + 1) * (len(self._layers_seen) + 1)
            dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, needed)

    # ---- what the hooks do ----

    def begin_encoder(
        self, args: tuple, kwargs: dict[str, Any], position: int | None
    ) -> tuple[tuple, dict[str, Any]] | None:
        """The encoder starts: latch the plan for this forward pass and its recomputation."""
        if _in_backward():
            self._check_recomputation()
            self.calls = 0
            return None
        plan = self.plan
        if not torch.compiler.is_compiling():
            self._note_pending(plan)
        self.active = plan
        self._watched = self._to_watch
        self.calls = 0
        self._unions = []
        self._attention_mask = None
        if plan is not None and self.stack.reads_last_token and not torch.compiler.is_compiling():
            given = _argument("attention_mask", position, args, kwargs)
            check_same_place(
                self.stack.model, _argument("input_ids", 0, args, kwargs), given, kwargs.get("position_ids")
            )
        if plan is None or plan.layer == HEAD:
            return None
        if self.stack.head_pools_with_mask:
            args, kwargs = self._restore_mask(args, kwargs, position)
        mask = _argument("attention_mask", position, args, kwargs)
        self._attention_mask = mask if isinstance(mask, torch.Tensor) and mask.dim() == 2 else None
        return args, kwargs

    def _note_pending(self, plan: MixPlan | None) -> None:
        """Remember which plans wait for a backward pass, as far as a recomputation could confuse them."""
        if self._backward_seen:
            self._pending, self._backward_seen = [], False
        # Without gradient a pass leaves nothing to recompute, but what it latches would be taken for an earlier one's.
        if (torch.is_grad_enabled() or self._pending) and all(plan is not other for other in self._pending[:2]):
            self._pending = [*self._pending[:1], plan]

    def _check_recomputation(self) -> None:
        self._backward_seen = True
        if len(self._pending) > 1:
            raise RuntimeError(
                "Activation checkpointing recomputes a layer whose hooks lie inside the checkpoint, while two forward "
                "passes with different mix plans wait for their backward pass: it cannot be told which plan to use. "
                "Call backward on the first loss before the second forward pass, or disable checkpointing."
            )

    def begin_model(
        self, args: tuple, kwargs: dict[str, Any], position: int | None
    ) -> tuple[tuple, dict[str, Any]] | None:
        """The model starts and its head pools with the 2-D mask: hand it the union, keep the original for the encoder."""
        plan = self.plan
        if plan is None or plan.layer == HEAD or self._given_mask is not None:
            return None
        mask = _argument("attention_mask", position, args, kwargs)
        if mask is None:
            return None
        self._check_batch_size(mask, plan)
        self._given_mask = mask
        return _replaced("attention_mask", position, args, kwargs, union_mask(mask, plan.index))

    def _restore_mask(self, args: tuple, kwargs: dict[str, Any], position: int | None) -> tuple[tuple, dict[str, Any]]:
        given, self._given_mask = self._given_mask, None
        if _argument("attention_mask", position, args, kwargs) is None:
            return args, kwargs
        if given is None:
            raise RuntimeError(
                f"The head of {type(self.stack.model).__name__} pools with the attention mask, and was called in a way "
                "that does not run the hooks of the model, so it cannot be given the union of both masks. Call "
                "make_mixable on the outermost module (after get_peft_model), or take a head that does not pool "
                "(config.classifier_pooling='cls' in ModernBERT)."
            )
        return _replaced("attention_mask", position, args, kwargs, given)

    def before_layer(
        self, number: int, args: tuple, kwargs: dict[str, Any], position: int | None
    ) -> tuple[tuple, dict[str, Any]] | None:
        """A layer starts whose input is the representation `number`: mix it if it is this plan's, and unite the mask."""
        if _in_backward():
            self._check_recomputation()
        plan, watched = self.active, self._watched
        begins_here = not (number == 0 and self.stack.embeddings is not None)
        if watched is not None and watched.layer == number and begins_here:
            args = (watched.see(args[0]), *args[1:])
        if plan is None or plan.layer is None or plan.layer == HEAD or number < plan.layer:
            return None if watched is None else (args, kwargs)
        if number == plan.layer and begins_here:
            args = (self.mix(args[0], plan), *args[1:])
        return self.unite(plan, args, kwargs, position)

    def unite(
        self, plan: MixPlan, args: tuple, kwargs: dict[str, Any], position: int | None
    ) -> tuple[tuple, dict[str, Any]]:
        mask = _argument("attention_mask", position, args, kwargs)
        if mask is None:
            return args, kwargs
        return _replaced("attention_mask", position, args, kwargs, self._union(mask, plan))

    def _union(self, mask: Any, plan: MixPlan) -> Any:
        """The union, built once for each mask of a forward pass (all layers of one kind share theirs)."""
        if torch.compiler.is_compiling():
            return union_mask(mask, plan.index)
        for given, united in self._unions:
            if given is mask:
                return united
        united = union_mask(mask, plan.index)
        self._unions.append((mask, united))
        return united

    def after(self, number: int, output: Any) -> Any:
        """A module has produced the representation `number` (embeddings or last layer): mix it if it is this plan's."""
        if _in_backward():
            self._check_recomputation()
        plan, watched = self.active, self._watched
        if watched is not None and watched.layer == number:
            output = watched.see(output)
        if plan is not None and plan.layer == number:
            return self._mix_output(output, plan)
        return None if watched is None else output

    def _mix_output(self, output: Any, plan: MixPlan) -> Any:
        """The hidden states are what a module returns, or come first in its tuple."""
        if isinstance(output, tuple):
            return (self._mix_output(output[0], plan), *output[1:])
        return self.mix(output, plan)

    def _check_batch_size(self, rows: Any, plan: MixPlan) -> None:
        if len(rows) != len(plan):
            raise ValueError(
                f"The plan was drawn for a batch of {len(plan)} rows, but the model was called with {len(rows)}."
            )

    def mix(self, hidden_states: torch.Tensor, plan: MixPlan) -> torch.Tensor:
        self._check_batch_size(hidden_states, plan)
        device = hidden_states.device
        if isinstance(plan.detail, TokenShares):
            return mix_tokens(hidden_states, plan.index.to(device), plan.detail.to(device))
        mask = self._attention_mask if hidden_states.dim() == 3 else None
        pad = plan.pad if self.stack.pads_are_defined else "keep"
        return mix_tensors(hidden_states, plan.index.to(device), plan.lam.to(device), attention_mask=mask, pad=pad)

    # ---- copying ----

    def __deepcopy__(self, memo: dict[int, Any]) -> Mixer:
        if not any(id(root) in memo for root in self.roots):
            return self
        copy = type(self).__new__(type(self))
        memo[id(self)] = copy
        copy.stack = deepcopy(self.stack, memo)
        copy.model = copy.stack.model
        copy.plan = copy._to_watch = None
        copy.roots = deepcopy(self.roots, memo)
        copy.handles = deepcopy(self.handles, memo)
        copy._layers_seen = set(self._layers_seen)
        copy.reset()
        return copy

    def __getstate__(self) -> dict[str, Any]:
        # A handle that is unpickled reserves the number of its hook: in a new process the next hook that anybody
        # registers would take the place of ours.
        return {
            "stack": self.stack,
            "roots": self.roots,
            "handles": self.handles,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["stack"])  # type: ignore[misc]
        self.roots = state["roots"]
        self.handles = state["handles"]


def _in_backward() -> bool:
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def _argument(name: str, position: int | None, args: tuple, kwargs: dict[str, Any]) -> Any:
    if position is not None and position < len(args):
        return args[position]
    return kwargs.get(name)


def _replaced(
    name: str, position: int | None, args: tuple, kwargs: dict[str, Any], value: Any
) -> tuple[tuple, dict[str, Any]]:
    if position is not None and position < len(args):
        return (*args[:position], value, *args[position + 1 :]), kwargs
    return args, {**kwargs, name: value}
