"""The settings of the examples that need nothing but the package index, for two cores; their models are in `models/embedded.py`."""

from __future__ import annotations

from typing import Any


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

# What `mixtext-hf train-image` runs then: handwritten digits of 32 pixels, few of each.
DIGITS_DEFAULTS: dict[str, Any] = {
    "do_train": True,
    "do_eval": True,
    "labeled_per_class": 20,
    "per_device_train_batch_size": 32,
    "per_device_eval_batch_size": 128,
    "num_train_epochs": 40,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "cosine",
    "image_augmentations": ["crop:2"],
    "save_strategy": "no",
    "logging_steps": 50,
    "output_dir": "mixtext-output",
}
