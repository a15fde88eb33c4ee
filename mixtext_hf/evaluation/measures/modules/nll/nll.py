"""Negative log-likelihood, as an `evaluate` module with the configurations "default" and "multilabel"."""

import evaluate

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.modules import schemas


class NLL(evaluate.Metric):
    """Negative log-likelihood of one label an example, or, as `config_name="multilabel"`, of several."""

    def _info(self) -> evaluate.MetricInfo:
        if self.config_name not in ("default", "multilabel"):
            raise ValueError(f'`config_name` of nll must be "default" or "multilabel", got "{self.config_name}".')
        several = self.config_name == "multilabel"
        return evaluate.MetricInfo(
            description="Mean negative natural logarithm of the probability of the truth, from 0 on, in nats.",
            citation=schemas.GUO,
            inputs_description=schemas.MULTI_LABEL_PROBABILITIES_INPUTS if several else schemas.PROBABILITIES_INPUTS,
            features=schemas.MULTI_LABEL_PROBABILITIES if several else schemas.PROBABILITIES,
        )

    def _compute(self, predictions: list[list[float]], references: list[int] | list[list[int]]) -> dict[str, float]:
        if self.config_name == "multilabel":
            return {"nll": metrics.multilabel_nll(probabilities=predictions, references=references)}
        return {"nll": metrics.negative_log_likelihood(probabilities=predictions, references=references)}
