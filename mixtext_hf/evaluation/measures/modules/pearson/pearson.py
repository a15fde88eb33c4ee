"""Pearson's correlation, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class Pearson(evaluate.Metric):
    """Pearson's correlation."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Pearson's correlation, in [-1, 1]; nan where an input is constant.",
            citation=schemas.SCIPY,
            inputs_description=schemas.VALUES_INPUTS,
            features=schemas.VALUES,
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        return {"pearson": metrics.pearson(predictions=predictions, references=references)}
