"""Training with the Trainer of transformers."""

from .arguments import MixTrainingArguments
from .trainer import MixTrainer


__all__ = ["MixTrainer", "MixTrainingArguments"]
