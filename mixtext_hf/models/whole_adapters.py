"""Adapters of PEFT come whole or not at all: on a model that lacks some of their weights they answer with other numbers."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, ADAPTER_WEIGHTS_NAME, cached_file

from mixtext_hf.version import versions

from .checkpoint import RefusedCheckpoint


_SHOWN = 3
# What PEFT writes before the names that the weights have in the model.
_BEFORE = "base_model.model."


def lost_weights(
    model: PreTrainedModel, adapter_name: str, name: str, *, strict: bool, **where: Any
) -> frozenset[str]:
    """
    Let PEFT read an adapter that transformers did not find whole, and say what is lost even so.

    The names that PEFT writes are not always those that transformers looks for, and it goes on with random weights: the head saved
    whole (`modules_to_save`, transformers 5.17), all of an adapter (peft 0.19), the magnitudes of DoRA (peft 0.21 with transformers
    5.23).

    Args:
        model (`PreTrainedModel`): With the adapter in it.
        adapter_name (`str`): In the model.
        name (`str`): Folder or Hub id of the adapter; `where` to look there as for `from_pretrained`.
        strict (`bool`): Whether weights of other shapes than those of the model are an error; else they are left out.

    Returns:
        `frozenset[str]`: The weights that PEFT would save of the model and the file does not hold, or else those in the file that
        have no place in the model. Empty for an adapter that came whole.
    """
    from peft import set_peft_model_state_dict

    read = {key.removeprefix(_BEFORE): weight for key, weight in _weights(name, **where).items()}
    missing = frozenset(_saved(model, adapter_name).keys() - read.keys())
    if missing:
        # PEFT fails where the file lacks a module that it should hold whole.
        return missing
    # A copy: PEFT renames what is in it.
    result: Any = set_peft_model_state_dict(
        model, dict(read), adapter_name=adapter_name, ignore_mismatched_sizes=not strict
    )
    saved = _saved(model, adapter_name)
    buffers = [(key.split("."), value) for key, value in model.named_buffers()]

    def is_there(key: str) -> bool:
        """Some weights are in the file under a second name, or once for all the layers that share them."""
        part = key.rpartition(".")[2]
        twins = [saved[key]] if key in saved else [value for path, value in buffers if part in path]
        return key in read and any(_is_same(read[key], twin) for twin in twins)

    unexpected = frozenset(_without(adapter_name, key) if key not in read else key for key in result.unexpected_keys)
    return frozenset(key for key in unexpected if not is_there(key))


def refuse_partial_adapter(name: str, base: str, lost: Collection[str]) -> None:
    """
    Args:
        name (`str`): Folder or Hub id of the adapter.
        base (`str`): Folder or Hub id of its model.
        lost (`Collection[str]`): As [`lost_weights`] returns it.

    Raises:
        `RefusedCheckpoint`: If anything is lost.
    """
    if not lost:
        return
    shown = ", ".join([*sorted(lost)[:_SHOWN], *(["..."] if len(lost) > _SHOWN else [])])
    found = versions()
    raise RefusedCheckpoint(
        f"The adapter {str(name)!r} does not fit its model {base!r}, and would leave weights random ({len(lost)} names are in one of "
        f"them alone: {shown}): name the model that it was trained on (base_model_name_or_path in adapter_config.json), or, if it is "
        f"that one, read it with the releases that saved it; here are peft {found.get('peft')} and transformers "
        f"{found.get('transformers')}."
    )


def _saved(model: PreTrainedModel, adapter_name: str) -> dict[str, torch.Tensor]:
    """What PEFT would write of an adapter, under the names that it has in the file."""
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model, adapter_name=adapter_name, save_embedding_layers=False)


def _weights(name: str, **where: Any) -> dict[str, torch.Tensor]:
    """What the file of an adapter holds: the pickle only where nothing else is there, which passed the check then."""
    file = cached_file(name, ADAPTER_SAFE_WEIGHTS_NAME, _raise_exceptions_for_missing_entries=False, **where)
    if file is not None:
        return load_file(file)
    return dict(
        torch.load(str(cached_file(name, ADAPTER_WEIGHTS_NAME, **where)), map_location="cpu", weights_only=True)
    )


def _without(adapter_name: str, key: str) -> str:
    """The name that a weight has in the file, where those in a model name the adapter."""
    before, _, after = key.rpartition(f".{adapter_name}")
    return before + after


def _is_same(weight: torch.Tensor, twin: torch.Tensor) -> bool:
    return weight.shape == twin.shape and torch.equal(weight.to(twin), twin)
