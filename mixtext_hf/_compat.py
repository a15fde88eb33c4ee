"""Shims for faults of the libraries below, each with the condition for its removal."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.utils import ADAPTER_SAFE_WEIGHTS_NAME, cached_file


# What the Hub's client raises when a request does not come through: `httpx.HTTPError` with huggingface_hub 1, and
# `httpx2.HTTPError` with 2. To be replaced by its import when only one of them is supported.
HubClientError: type[Exception] = HfHubHTTPError.__mro__[1]


def load_replaced_modules(
    model: PreTrainedModel, missing: Collection[str] | None, adapter_name: str, name: str, **where: Any
) -> None:
    """
    Load what `model.load_adapter` left out: the modules that an adapter brings along whole (`modules_to_save`).

    The classifier of a LoRA adapter stays random in transformers 5.17, without a word; 5.23 loads it. To be removed with
    the support for the former (`tests/models/test_checkpoint.py`).

    Args:
        model (`PreTrainedModel`): With the adapter in it.
        missing (`Collection[str]`, *optional*): What it did not find, by its own account; `None`: not known.
        adapter_name (`str`): In the model.
        name (`str`): Folder or Hub id of the adapter; `where` to look there as for `from_pretrained`.
    """
    from peft.utils.other import AuxiliaryTrainingWrapper

    sources = {
        f"{path}.{target}": f"base_model.model.{path}.{source}"
        for path, module in model.named_modules()
        if isinstance(module, AuxiliaryTrainingWrapper)
        for source, target in module.adapter_state_dict_load_map(adapter_name).items()
    }
    wanted = {target: source for target, source in sources.items() if missing is None or target in missing}
    if not wanted:
        return
    weights = load_file(str(cached_file(name, ADAPTER_SAFE_WEIGHTS_NAME, **where)))
    model.load_state_dict({target: weights[source] for target, source in wanted.items()}, strict=False)
