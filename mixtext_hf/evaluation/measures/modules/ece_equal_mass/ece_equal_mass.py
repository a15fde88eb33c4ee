"""Adaptive expected calibration error, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class ECEEqualMass(evaluate.Metric):
    """Adaptive expected calibration error."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Mean gap between confidence and accuracy over bins of equally many examples, in [0, 1].",
            citation=schemas.NGUYEN,
            inputs_description=schemas.PROBABILITIES_INPUTS
            + "    n_bins (`int`, *optional*, defaults to 15): Number of bins.\n",
            features=schemas.PROBABILITIES,
        )

    def _compute(self, predictions: list[list[float]], references: list[int], n_bins: int = 15) -> dict[str, float]:
        return {
            "ece_equal_mass": metrics.ece_equal_mass(probabilities=predictions, references=references, n_bins=n_bins)
        }
