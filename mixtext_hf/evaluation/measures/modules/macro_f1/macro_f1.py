"""Macro F1, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class MacroF1(evaluate.Metric):
    """Macro F1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Unweighted mean of the F1 of each class that is predicted or true, in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.LABELS_INPUTS,
            features=schemas.LABELS,
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"macro_f1": metrics.macro_f1(predictions=predictions, references=references)}
