"""F1 of class 1 of two, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class F1(evaluate.Metric):
    """F1 of class 1 of two."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="F1 of class 1 of two classes (GLUE's f1), in [0, 1].",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.LABELS_INPUTS,
            features=schemas.LABELS,
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        return {"f1": metrics.binary_f1(predictions=predictions, references=references)}
