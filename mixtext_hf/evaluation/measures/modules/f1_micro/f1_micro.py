"""Micro F1 of several labels an example, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class F1Micro(evaluate.Metric):
    """Micro F1 of several labels an example."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="F1 of all decisions (example, label) pooled, in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.MULTI_HOT_INPUTS,
            features=schemas.MULTI_HOT,
        )

    def _compute(self, predictions: list[list[int]], references: list[list[int]]) -> dict[str, float]:
        return {"f1_micro": metrics.f1_micro(predictions=predictions, references=references)}
