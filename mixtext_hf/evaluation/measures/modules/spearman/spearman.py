"""Spearman's rank correlation, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class Spearman(evaluate.Metric):
    """Spearman's rank correlation."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Spearman's rank correlation, in [-1, 1]; nan where an input is constant.",
            citation=schemas.SCIPY,
            inputs_description=schemas.VALUES_INPUTS,
            features=schemas.VALUES,
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        return {"spearman": metrics.spearman(predictions=predictions, references=references)}
