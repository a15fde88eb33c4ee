"""Subset accuracy of several labels an example, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class SubsetAccuracy(evaluate.Metric):
    """Subset accuracy of several labels an example."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Share of the examples with every label right, in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.MULTI_HOT_INPUTS,
            features=schemas.MULTI_HOT,
        )

    def _compute(self, predictions: list[list[int]], references: list[list[int]]) -> dict[str, float]:
        return {"subset_accuracy": metrics.subset_accuracy(predictions=predictions, references=references)}
