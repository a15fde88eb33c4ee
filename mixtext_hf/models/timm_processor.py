"""What a model of timm wants done to its images, as an image processor of transformers: from the `pretrained_cfg` in its config,
without timm and torchvision, whose own transforms take neither arrays nor arguments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from transformers.configuration_utils import PreTrainedConfig


TIMM = "timm_wrapper"
# As PIL numbers them.
_INTERPOLATIONS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def timm_image_processor(pretrained_cfg: Mapping[str, Any]) -> Any:
    """
    Args:
        pretrained_cfg (`dict`):
            `input_size` (C, H, W), `mean`, `std`, `interpolation`, `crop_pct` and `crop_mode` as timm has them; what is missing
            is as timm takes it.
        side (`int`, *optional*): Of square images, in place of `input_size`.

    Returns:
        `CLIPImageProcessorPil`: resizes (the shorter side, or both with `crop_mode="squash"`) to `input_size / crop_pct`, and crops.

    Raises:
        `ValueError`: for what it cannot do.
    """
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    size = pretrained_cfg.get("input_size") or (3, 224, 224)
    height, width = int(size[1]), int(size[2])
    mode = pretrained_cfg.get("crop_mode") or "center"
    name = pretrained_cfg.get("interpolation") or "bicubic"
    if mode not in ("center", "squash") or name not in _INTERPOLATIONS:
        raise ValueError(
            f"pretrained_cfg of the model has crop_mode={mode!r} and interpolation={name!r}, where 'center' or 'squash' and one of "
            f"{', '.join(_INTERPOLATIONS)} are known: name an image processor of transformers (--image_processor_name)."
        )
    share = float(pretrained_cfg.get("crop_pct") or 0.875)
    scaled = [math.floor(length / share) for length in (height, width)]
    is_squashed = mode == "squash" or height != width
    return CLIPImageProcessorPil(
        size={"height": scaled[0], "width": scaled[1]} if is_squashed else {"shortest_edge": scaled[0]},
        crop_size={"height": height, "width": width},
        resample=_INTERPOLATIONS[name],
        image_mean=list(pretrained_cfg.get("mean") or (0.485, 0.456, 0.406)),
        image_std=list(pretrained_cfg.get("std") or (0.229, 0.224, 0.225)),
        do_convert_rgb=int(size[0]) == 3,
    )


def plain_processor(processor: Any) -> Any:
    """The processor itself; in place of the one that transformers wraps around the transforms of timm, a plain one."""
    settings = getattr(processor, "data_config", None)
    if type(processor).__name__ == "TimmWrapperImageProcessor" and isinstance(settings, Mapping):
        return timm_image_processor(settings)
    return processor


def pretrained_cfg(config: PreTrainedConfig) -> Mapping[str, Any] | None:
    """What timm says of a model's images, if it is one of timm."""
    if config.model_type != TIMM:
        return None
    found = getattr(config, "pretrained_cfg", None)
    return found if isinstance(found, Mapping) else {}
