"""The hooks that a mixable model carries: where each sits, and the method of the mixer that it calls.

They are plain objects and no closures, so that they survive deepcopy and pickling with their model, and keep their mixer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from mixtext_hf.mixing import HEAD

from .mixer import Mixer
from .stack import find_heads, mask_position


class Hook:
    """A hook that belongs to a mixer; a plain object, so that it survives deepcopy and pickling with its model."""

    __call__: Callable[..., Any]

    def __init__(self, mixer: Mixer, number: int | None = None, position: int | None = None):
        self.mixer = mixer
        self.number = number
        self.position = position


class BeforeModel(Hook):
    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.mixer.begin_model(args, kwargs, self.position)


class BeforeEncoder(Hook):
    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.mixer.begin_encoder(args, kwargs, self.position)


class BeforeLayer(Hook):
    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.mixer.before_layer(self.number, args, kwargs, self.position)  # type: ignore[arg-type]


class After(Hook):
    def __call__(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self.mixer.after(self.number, output)  # type: ignore[arg-type]


class BeforeSharedLayer(Hook):
    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        number, plan = self.mixer.calls, self.mixer.active
        if number >= self.mixer.depth and plan is not None and plan.layer != HEAD:
            raise RuntimeError(
                "A layer that is called several times was called once more than the model has layers: activation "
                "checkpointing recomputes it by itself, and which of its calls that is cannot be told. Checkpoint the "
                "whole encoder, or disable checkpointing."
            )
        self.mixer.calls = number + 1
        return self.mixer.before_layer(number, args, kwargs, self.position)


class AfterSharedLayer(Hook):
    def __call__(self, module: nn.Module, args: tuple, output: Any) -> Any:
        return self.mixer.after(self.mixer.calls, output) if self.mixer.calls == self.mixer.depth else None


class BeforeMasked(Hook):
    """A module that belongs to the first layer and reads the mask by itself."""

    def __call__(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        plan = self.mixer.active
        return self.mixer.unite(plan, args, kwargs, self.position) if plan is not None and plan.layer == 0 else None


class BeforeHead(Hook):
    def __call__(self, module: nn.Module, args: tuple) -> Any:
        plan = self.mixer.active
        return (self.mixer.mix(args[0], plan), *args[1:]) if plan is not None and plan.layer == HEAD else None


def install(mixer: Mixer) -> None:
    """Install all hooks of a mixer on its model, once."""
    stack, handles = mixer.stack, mixer.handles

    def before(module: nn.Module, hook: type[Hook], number: int | None = None) -> None:
        instance = hook(mixer, number, mask_position(module))
        handles.append(module.register_forward_pre_hook(instance, with_kwargs=True))

    if stack.head_pools_with_mask:
        before(stack.model, BeforeModel)
    before(stack.encoder, BeforeEncoder)
    if stack.embeddings is not None:
        handles.append(stack.embeddings.register_forward_hook(After(mixer, 0)))
    for number, layer in enumerate(stack.layers):
        before(layer, BeforeSharedLayer if stack.shared else BeforeLayer, number)
        if stack.shared:
            handles.append(layer.register_forward_hook(AfterSharedLayer(mixer)))
    if not stack.shared:
        handles.append(stack.layers[-1].register_forward_hook(After(mixer, stack.depth)))
    for module in stack.masked:
        before(module, BeforeMasked)
    for head in stack.heads:
        handles.append(head.register_forward_pre_hook(BeforeHead(mixer)))


def install_on_heads(mixer: Mixer) -> None:
    """PEFT may have copied or adapted the last linear layer since: then the hooks move there."""
    heads = find_heads(mixer.stack.model)
    if [id(head) for head in heads] == [id(head) for head in mixer.stack.heads]:
        return
    for module in mixer.stack.model.modules():
        for number, hook in list(module._forward_pre_hooks.items()):
            if isinstance(hook, BeforeHead):
                del module._forward_pre_hooks[number]
    mixer.stack.heads = heads
    for head in heads:
        mixer.handles.append(head.register_forward_pre_hook(BeforeHead(mixer)))


def install_on_wrapper(mixer: Mixer, model: nn.Module) -> None:
    """A wrapper may call `forward` of the model and so pass by its hooks: heads that pool need one on the outside."""
    if all(model is not root for root in mixer.roots):
        mixer.roots.append(model)
        if mixer.stack.head_pools_with_mask:
            hook = BeforeModel(mixer, None, mask_position(model))
            mixer.handles.append(model.register_forward_pre_hook(hook, with_kwargs=True))
