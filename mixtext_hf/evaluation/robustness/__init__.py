"""Accuracy where inputs are changed: adversarial images and texts, corruptions of images, noise in texts.

What is written anew of rows is imported by its own name: `corruptions`, `text_noise`, `noisy_rows`.
"""

from .attacks import (
    Attack,
    RobustAccuracies,
    adversarial_accuracy,
    embedding_fgsm,
    embedding_fgsm_accuracy,
    fgsm,
    pgd,
    robust_accuracies,
)


__all__ = [
    "Attack",
    "RobustAccuracies",
    "adversarial_accuracy",
    "embedding_fgsm",
    "embedding_fgsm_accuracy",
    "fgsm",
    "pgd",
    "robust_accuracies",
]
