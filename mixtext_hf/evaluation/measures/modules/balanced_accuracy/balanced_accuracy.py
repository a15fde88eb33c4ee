"""Balanced accuracy, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class BalancedAccuracy(evaluate.Metric):
    """Balanced accuracy."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Unweighted mean of the recall of each class that is true, in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.LABELS_INPUTS,
            features=schemas.LABELS,
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"balanced_accuracy": metrics.balanced_accuracy(predictions=predictions, references=references)}
