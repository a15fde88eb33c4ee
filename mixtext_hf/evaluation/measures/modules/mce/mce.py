"""Maximum calibration error, as an `evaluate` module."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class MCE(evaluate.Metric):
    """Maximum calibration error."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Largest gap between confidence and accuracy over bins of equal width, in [0, 1].",
            citation=schemas.GUO,
            inputs_description=schemas.PROBABILITIES_INPUTS
            + "    n_bins (`int`, *optional*, defaults to 15): Number of bins.\n",
            features=schemas.PROBABILITIES,
        )

    def _compute(self, predictions: list[list[float]], references: list[int], n_bins: int = 15) -> dict[str, float]:
        return {
            "mce": metrics.maximum_calibration_error(probabilities=predictions, references=references, n_bins=n_bins)
        }
