"""Evaluation: metrics, their `evaluate` modules, `compute_metrics` for a Trainer, and plots.

Imports numpy only; scikit-learn, scipy, `evaluate` and matplotlib are imported by the functions that need them.
`assessing`, `robustness`, `comparison` and `report` are imported by their own names.
"""

from .measures.bootstrap import (
    BootstrapInterval,
    bootstrap_ece_difference,
    bootstrap_mean_difference,
    bootstrap_metric_difference,
)
from .measures.entities import entity_scores, make_token_metrics
from .measures.loading import DEFAULT_METRICS, METRIC_NAMES, load_metric, make_compute_metrics, metric_path
from .measures.memorisation import Memorisation, measure_memorisation
from .measures.metrics import (
    ReliabilityBins,
    accuracy,
    auroc,
    balanced_accuracy,
    binary_f1,
    brier_score,
    class_recall,
    classwise_ece,
    confusion_matrix,
    ece_equal_mass,
    expected_calibration_error,
    f1_macro,
    f1_micro,
    macro_f1,
    matthews_correlation,
    maximum_calibration_error,
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
from .measures.temperature import apply_temperature, fit_temperature
from .pictures.plots import reliability_diagram, training_curve


__all__ = [
    "DEFAULT_METRICS",
    "METRIC_NAMES",
    "BootstrapInterval",
    "Memorisation",
    "ReliabilityBins",
    "accuracy",
    "apply_temperature",
    "auroc",
    "balanced_accuracy",
    "binary_f1",
    "bootstrap_ece_difference",
    "bootstrap_mean_difference",
    "bootstrap_metric_difference",
    "brier_score",
    "class_recall",
    "classwise_ece",
    "confusion_matrix",
    "ece_equal_mass",
    "entity_scores",
    "expected_calibration_error",
    "f1_macro",
    "f1_micro",
    "fit_temperature",
    "load_metric",
    "macro_f1",
    "make_compute_metrics",
    "make_token_metrics",
    "matthews_correlation",
    "maximum_calibration_error",
    "mean_squared_error",
    "measure_memorisation",
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
