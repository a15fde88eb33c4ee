"""Mean squared error, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class MSE(evaluate.Metric):
    """Mean squared error."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean of the squared errors, from 0 on.",
            citation=schemas.SCIKIT_LEARN,
            inputs_description=schemas.VALUES_INPUTS,
            features=schemas.VALUES,
        )

    def _compute(self, predictions: list[float], references: list[float]) -> dict[str, float]:
        return {"mse": metrics.mean_squared_error(predictions=predictions, references=references)}
