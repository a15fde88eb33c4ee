"""Evaluation: metrics, their `evaluate` modules, `compute_metrics` for a Trainer, and plots.

Imports numpy only; scikit-learn, scipy, `evaluate` and matplotlib are imported by the functions that need them.
`robustness`, which needs torch, is imported by its own name.
"""

from .loading import DEFAULT_METRICS, METRIC_NAMES, load_metric, make_compute_metrics, metric_path
from .metrics import (
    ReliabilityBins,
    accuracy,
    binary_f1,
    brier_score,
    expected_calibration_error,
    f1_macro,
    f1_micro,
    macro_f1,
    matthews_correlation,
    mean_squared_error,
    multilabel_nll,
    negative_log_likelihood,
    pearson,
    reliability_bins,
    sigmoid,
    softmax,
    spearman,
    subset_accuracy,
    top_k_accuracy,
)
from .plots import reliability_diagram, training_curve


__all__ = [
    "DEFAULT_METRICS",
    "METRIC_NAMES",
    "ReliabilityBins",
    "accuracy",
    "binary_f1",
    "brier_score",
    "expected_calibration_error",
    "f1_macro",
    "f1_micro",
    "load_metric",
    "macro_f1",
    "make_compute_metrics",
    "matthews_correlation",
    "mean_squared_error",
    "metric_path",
    "multilabel_nll",
    "negative_log_likelihood",
    "pearson",
    "reliability_bins",
    "reliability_diagram",
    "sigmoid",
    "softmax",
    "spearman",
    "subset_accuracy",
    "top_k_accuracy",
    "training_curve",
]
