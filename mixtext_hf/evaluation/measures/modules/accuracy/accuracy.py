"""Accuracy, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class Accuracy(evaluate.Metric):
    """Accuracy."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of the examples whose prediction is the reference, in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.LABELS_INPUTS,
            features=schemas.LABELS,
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"accuracy": metrics.accuracy(predictions=predictions, references=references)}
