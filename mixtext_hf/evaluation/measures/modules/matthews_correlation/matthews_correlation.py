"""Matthews' correlation coefficient, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class MatthewsCorrelation(evaluate.Metric):
    """Matthews' correlation coefficient."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Matthews' correlation coefficient of two or more classes, in [-1, 1].",
            citation=schemas.MATTHEWS,
            inputs_description=schemas.LABELS_INPUTS,
            features=schemas.LABELS,
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"matthews_correlation": metrics.matthews_correlation(predictions=predictions, references=references)}
