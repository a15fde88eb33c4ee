"""The evaluation side of a [`MixTrainer`]: logits alone are gathered, the loss is the mean over the labelled rows, and rows whose
labels are hidden are predicted all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EvalPrediction, Trainer

from mixtext_hf.data.tokens.collator import WORD_STARTS
from mixtext_hf.data.tokens.neighbours import PARTNER_LABELS
from mixtext_hf.data.visits import VISITS
from mixtext_hf.mixing import MixedLoss, has_label
from mixtext_hf.models.any_classifier import logits_of

from .ranks import MeanLoss, share_buffers


logger = logging.getLogger(__name__)

# What a batch holds beside the inputs of the model.
_LABELS = ("labels", "text_labels", "text_guesses", VISITS, "frames", WORD_STARTS, PARTNER_LABELS)


def without_labels(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What the model is called with."""
    return {name: value for name, value in inputs.items() if name not in _LABELS}


class EvaluatingTrainer(Trainer):
    """A Trainer that evaluates classifiers."""

    loss: MixedLoss
    _evaluated: MeanLoss | None = None

    def _plain_loss(self, model: nn.Module, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """The task's loss of an unmixed batch, a scalar, and the logits `(B, C)`, of tokens `(B, T, C)`."""
        # Without labels the head neither chooses a loss nor writes its choice into the config.
        logits = logits_of(model(**without_labels(inputs)))
        losses, counts = self.loss.plain.of_rows(logits, inputs["labels"])
        if self._evaluated is not None:
            self._evaluated.add(losses, counts)
        return self.loss.mean(losses, counts), logits

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        """The loss, the logits and the labels of a batch; of one without labels, the logits alone."""
        inputs = self._prepare_inputs(inputs)
        labels = inputs.get("labels")
        with torch.no_grad(), self.compute_loss_context_manager():
            if labels is None:
                loss, logits = None, logits_of(model(**without_labels(inputs)))
            else:
                loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
                loss, logits = loss.detach().mean(), outputs["logits"]
        return (loss, None, None) if prediction_loss_only else (loss, logits.detach(), labels)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> Any:
        """The Trainer's, by the buffers of the first process; its loss is the mean over the labelled rows, each counted once."""
        self._share_buffers()
        evaluated = self._evaluated = MeanLoss(self.accelerator)
        given = self.compute_metrics
        if description == "Prediction" and given is not None and not self.args.batch_eval_metrics:
            self.compute_metrics = of_labelled_rows(given, self.loss.rows_with_label)
        try:
            output = super().evaluation_loop(
                dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix
            )
        finally:
            self._evaluated, self.compute_metrics = None, given
        if (mean := evaluated.value()) is not None and output.metrics is not None:
            output.metrics[f"{metric_key_prefix}_loss"] = mean
        return output

    def _share_buffers(self) -> None:
        if self.args.world_size > 1 and self.model is not None:
            share_buffers(self.model)


def of_labelled_rows(
    compute_metrics: Callable[[EvalPrediction], dict[str, Any]],
    rows_with_label: Callable[[torch.Tensor], torch.Tensor] = has_label,
) -> Callable[[Any], dict[str, Any]]:
    """
    `compute_metrics` of the rows whose labels are known: of a split whose labels are hidden there are predictions, and no
    metrics. Says what was left out.
    """

    def of_known(prediction: EvalPrediction) -> dict[str, Any]:
        labels = prediction.label_ids
        if not isinstance(labels, np.ndarray):
            return compute_metrics(prediction)
        known = rows_with_label(torch.from_numpy(labels)).numpy()
        if known.all():
            return compute_metrics(prediction)
        if not known.any():
            logger.warning("The labels of all %d rows are hidden: predictions, but no metrics.", len(known))
            return {}
        logger.warning(
            "The labels of %d of %d rows are hidden: the metrics are those of the others.", (~known).sum(), len(known)
        )
        chosen = {
            name: value[known] if isinstance(value, np.ndarray) and len(value) == len(known) else value
            for name in ("predictions", "label_ids", "inputs", "losses")
            if (value := getattr(prediction, name)) is not None
        }
        return compute_metrics(EvalPrediction(**chosen))

    return of_known
