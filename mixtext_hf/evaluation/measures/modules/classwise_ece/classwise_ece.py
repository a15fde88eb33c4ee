"""Classwise expected calibration error, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class ClasswiseECE(evaluate.Metric):
    """Classwise expected calibration error."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean over classes of the gap between each class's probability and its share, in [0, 1].",
            citation=schemas.KULL,
            inputs_description=schemas.PROBABILITIES_INPUTS
            + "    n_bins (`int`, *optional*, defaults to 15): Number of bins.\n",
            features=schemas.PROBABILITIES,
        )

    def _compute(self, predictions: list[list[float]], references: list[int], n_bins: int = 15) -> dict[str, float]:
        return {
            "classwise_ece": metrics.classwise_ece(probabilities=predictions, references=references, n_bins=n_bins)
        }
