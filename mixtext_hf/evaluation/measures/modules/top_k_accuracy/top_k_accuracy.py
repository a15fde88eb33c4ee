"""Top-k accuracy, as an `evaluate` module whose configurations are the values of k."""

import re

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class TopKAccuracy(evaluate.Metric):
    """Share of the examples whose reference is among the k likeliest classes; `config_name="5"` is k = 5."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name != "default" and not re.fullmatch("[1-9][0-9]*", self.config_name):
            raise ValueError(
                '`config_name` of top_k_accuracy must be k, a whole number from 1 on such as "5", or "default" '
                f'(k = {metrics.DEFAULT_TOP_K}), got "{self.config_name}".'
            )
        return evaluate.MetricInfo(
            description="Share of the examples whose reference is among the k likeliest classes, in [0, 1].",
            citation=schemas.RUSSAKOVSKY,
            inputs_description=schemas.PROBABILITIES_INPUTS,
            features=schemas.PROBABILITIES,
        )

    def _compute(self, predictions: list[list[float]], references: list[int]) -> dict[str, float]:
        k = metrics.DEFAULT_TOP_K if self.config_name == "default" else int(self.config_name)
        return {
            f"top_{k}_accuracy": metrics.top_k_accuracy(probabilities=predictions, references=references, k=k),
        }
