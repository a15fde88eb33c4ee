"""What metrics are called in a card and on the Hub, their order, and which way is better."""

from __future__ import annotations

import re

from mixtext_hf._markdown import one_line

from .facts import SplitResult


# Name and whether more is better, in the order of the table.
_METRICS: dict[str, tuple[str, bool]] = {
    "entity_f1": ("Entity F1", True),
    "entity_precision": ("Entity precision", True),
    "entity_recall": ("Entity recall", True),
    "token_accuracy": ("Token accuracy", True),
    "accuracy": ("Accuracy", True),
    "balanced_accuracy": ("Balanced accuracy", True),
    "top_k_accuracy": ("Top-2 accuracy", True),
    "macro_f1": ("Macro F1", True),
    "f1": ("F1", True),
    "f1_micro": ("Micro F1", True),
    "f1_macro": ("Macro F1", True),
    "subset_accuracy": ("Subset accuracy", True),
    "matthews_correlation": ("Matthews correlation", True),
    "pearson": ("Pearson correlation", True),
    "spearman": ("Spearman correlation", True),
    "mse": ("Mean squared error", False),
    "nll": ("NLL (nats)", False),
    "brier": ("Brier score (0 to 2)", False),
    "ece": ("ECE (15 bins)", False),
    "ece_equal_mass": ("ECE (15 bins of equal mass)", False),
    "classwise_ece": ("Classwise ECE (15 bins)", False),
    "mce": ("MCE (15 bins)", False),
    "fgsm_accuracy": ("FGSM accuracy", True),
    "loss": ("Loss", False),
}
HUB_METRICS = {
    "entity_f1": "f1",
    "entity_precision": "precision",
    "entity_recall": "recall",
    "token_accuracy": "accuracy",
    "macro_f1": "f1",
    "f1_micro": "f1",
    "f1_macro": "f1",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "brier": "brier_score",
}
_TOP_K = re.compile("top_([1-9][0-9]*)_accuracy")
_NO_METRICS = ("runtime", "samples", "samples_per_second", "steps_per_second", "_time", "epoch")


def metric_name(name: str, fgsm_epsilon: float | None = None) -> str:
    """What a metric is called in a card."""
    if name == "fgsm_accuracy" and fgsm_epsilon is not None:
        return f"FGSM accuracy ({fgsm_epsilon:g}/255)"
    if match := _TOP_K.fullmatch(name):
        return f"Top-{match[1]} accuracy"
    return _METRICS[name][0] if name in _METRICS else one_line(name)


def is_better_up(name: str) -> bool | None:
    """Whether more of a metric is better; `None` where that is not known."""
    if _TOP_K.fullmatch(name):
        return True
    return _METRICS[name][1] if name in _METRICS else None


def measured(result: SplitResult) -> list[tuple[str, float]]:
    """The metrics of a split in the order of the table, without timings; the loss only where it is not the NLL once more."""
    order = list(_METRICS)
    kept = [
        (name, value)
        for name, value in result.metrics.items()
        if not name.endswith(_NO_METRICS) and not (name == "loss" and {"nll", "mse"} & set(result.metrics))
    ]

    def position(item: tuple[str, float]) -> float:
        name = "top_k_accuracy" if _TOP_K.fullmatch(item[0]) else item[0]
        return order.index(name) if name in order else len(order)

    return sorted(kept, key=position)
