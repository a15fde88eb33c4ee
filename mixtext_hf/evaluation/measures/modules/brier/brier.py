"""Brier score, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class Brier(evaluate.Metric):
    """Brier score."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Squared error of the probabilities, summed over the classes, mean over the examples, in [0, 2].",
            citation=schemas.BRIER,
            inputs_description=schemas.PROBABILITIES_INPUTS,
            features=schemas.PROBABILITIES,
        )

    def _compute(self, predictions: list[list[float]], references: list[int]) -> dict[str, float]:
        return {"brier": metrics.brier_score(probabilities=predictions, references=references)}
