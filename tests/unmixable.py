"""Classifiers whose hidden states cannot be mixed, tiny and random."""

from __future__ import annotations

from typing import Any

import torch
from tiny import VOCAB_SIZE
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import ImageClassifierOutput


SIDE = 32
_STAGES = {"hidden_sizes": [8, 8], "depths": [1, 1], "num_encoder_blocks": 2, "strides": [4, 2]}
IMAGES: dict[str, dict[str, Any]] = {
    "cvt": {"embed_dim": [8, 8, 8], "num_heads": [1, 1, 1], "depth": [1, 2, 3]},
    "perceiver": {
        "num_latents": 4,
        "d_latents": 16,
        "d_model": 16,
        "num_self_attends_per_block": 1,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 1,
        "image_size": SIDE,
        "architectures": ["PerceiverForImageClassificationConvProcessing"],
    },
    "poolformer": {**_STAGES, "patch_sizes": [7, 3], "padding": [2, 1]},
    "pvt": {
        **_STAGES,
        "image_size": SIDE,
        "sequence_reduction_ratios": [2, 1],
        "patch_sizes": [4, 2],
        "num_attention_heads": [1, 1],
        "mlp_ratios": [2, 2],
    },
    "swiftformer": {"depths": [1, 1, 1, 1], "embed_dims": [8, 8, 8, 8]},
}
_SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_hidden_layers": 2}
_BOTH = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
}
TEXTS: dict[str, dict[str, Any]] = {
    "bart": _BOTH,
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64},
    "mt5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4},
    "squeezebert": {**_SIZES, "embedding_size": 32},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48},
}


def unmixable_image_model(model_type: str, **overrides: Any) -> Any:
    config = AutoConfig.for_model(model_type, **IMAGES[model_type], num_labels=3, **overrides)
    return AutoModelForImageClassification.from_config(config)


def unmixable_text_model(model_type: str, **overrides: Any) -> Any:
    sizes: dict[str, Any] = {"vocab_size": VOCAB_SIZE, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if model_type not in ("mt5", "xlnet"):
        sizes["max_position_embeddings"] = 64
    config = AutoConfig.for_model(model_type, **{**sizes, **TEXTS[model_type], "num_labels": 3, **overrides})
    return AutoModelForSequenceClassification.from_config(config)


class PlainNet(nn.Module):
    """As somebody writes a classifier: no config, pixels in, logits out."""

    def __init__(self, num_classes: int = 3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(8, num_classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.fc(self.body(pixels).flatten(1))


class WrappedConfig(PreTrainedConfig):
    model_type = "wrapped_net"


class WrappedNet(PreTrainedModel):
    """The same as a model of transformers; its base model is all of it, head included, as with timm."""

    config_class = WrappedConfig
    base_model_prefix = "net"
    main_input_name = "pixel_values"

    def __init__(self, config: WrappedConfig):
        super().__init__(config)
        assert config.num_labels is not None
        self.net = PlainNet(config.num_labels)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, labels: Any = None, return_dict: bool | None = None) -> Any:
        return ImageClassifierOutput(logits=self.net(pixel_values))


def wrapped_net() -> WrappedNet:
    return WrappedNet(WrappedConfig(num_labels=3))  # type: ignore[call-arg]
