"""Macro F1 of several labels an example, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class F1Macro(evaluate.Metric):
    """Macro F1 of several labels an example."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Unweighted mean of the F1 of each label, in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.MULTI_HOT_INPUTS,
            features=schemas.MULTI_HOT,
        )

    def _compute(self, predictions: list[list[int]], references: list[list[int]]) -> dict[str, float]:
        return {"f1_macro": metrics.f1_macro(predictions=predictions, references=references)}
