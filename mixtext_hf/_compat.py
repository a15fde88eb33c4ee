"""Shims for faults of the libraries below, each with the condition for its removal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from huggingface_hub.errors import HfHubHTTPError
from transformers.configuration_utils import PreTrainedConfig


# What the Hub's client raises when a request does not come through: `httpx.HTTPError` with huggingface_hub 1, and
# `httpx2.HTTPError` with 2. To be replaced by its import when only one of them is supported.
HubClientError: type[Exception] = HfHubHTTPError.__mro__[1]


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
