"""Shims for faults of the libraries below, each with the condition for its removal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from huggingface_hub.errors import HfHubHTTPError
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
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


def names_classes_twice(config: Mapping[str, Any]) -> bool:
    """
    Whether a config.json of timm says how many classes there are among the arguments of the model too, as timm 1.0.31 writes it.

    The wrapper of transformers 5.23 then makes the model with two of this argument, and fails. Can go when it leaves one out:
    transformers/models/timm_wrapper/modeling_timm_wrapper.py, `_create_timm_model_with_error_handling`.
    """
    return "pretrained_cfg" in config and "num_classes" in (config.get("model_args") or ())


def name_classes_once(config: PreTrainedConfig) -> None:
    """Leave this number to `num_labels`, in place, which may be another one by now."""
    config.model_args = {name: value for name, value in config.model_args.items() if name != "num_classes"}
