"""Weights of a checkpoint under the names of older code, read where the Trainer of transformers does not rename them."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from .checkpoint import check_checkpoint


def reload_renamed_weights(model: PreTrainedModel, folder: str | Path) -> None:
    """
    Load the weights of a checkpoint into `model` once more, if its names are not those of the model.

    transformers 5 saves some types (ViT among them) under the names of their older code and renames when `from_pretrained`
    reads them. Its `Trainer` does not rename when it resumes, or loads the best model: the weights stay as they are, with
    a warning of missing keys. Seen in 5.23; to be removed when a resumed ViT has its weights
    (`tests/training/test_images.py`).
    """
    if not _saved_names(Path(folder)) - set(model.state_dict()):
        return
    saved = type(model).from_pretrained(folder, config=model.config, dtype=model.dtype, use_safetensors=True)
    model.load_state_dict(saved.state_dict())


def _saved_names(folder: Path) -> set[str]:
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        with safe_open(folder / SAFE_WEIGHTS_NAME, framework="pt") as file:
            return set(file.keys())
    if (folder / SAFE_WEIGHTS_INDEX_NAME).is_file():
        check_checkpoint(folder)
        return set(json.loads((folder / SAFE_WEIGHTS_INDEX_NAME).read_text(encoding="utf-8"))["weight_map"])
    return set()
