"""What a model says of the words of sentences: logits by sentence, and one record a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import EvalPrediction

from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.tokens.collator import TokenCollator
from mixtext_hf.models.modes import evaluating

from .measures.entities import HIDDEN
from .measures.metrics import softmax
from .predicting import batches_of


def predict_words(
    model: nn.Module,
    rows: Any,
    collator: TokenCollator,
    *,
    batch_size: int,
    num_workers: int = 0,
    title: str | None = None,
) -> list[NDArray[np.float32]]:
    """
    The logits of all sentences in their order, each `(T, C)`, float32, `T` the positions of its batch.

    Args:
        model (`nn.Module`): It is run in evaluation mode, and is in its own modes afterwards.
        rows (`datasets.Dataset` or `Sequence[dict]`): Sentences of words.
        collator ([`TokenCollator`]): Makes the batches.
        batch_size, num_workers, title: As of [`~mixtext_hf.evaluation.predicting.batches_of`].

    Raises:
        ValueError: If a logit is NaN or infinite.
    """
    device = next(model.parameters()).device
    lengths = np.array([len(rows[number][collator.text_column or ""]) for number in range(len(rows))])
    order = np.argsort(-lengths, kind="stable")
    found: list[NDArray[np.float32]] = []
    batches = batches_of(rows, collator, batch_size=batch_size, order=order, num_workers=num_workers, title=title)
    for batch in batches:
        batch.pop("labels", None)
        with evaluating(model), torch.inference_mode():
            logits = model(**{name: value.to(device) for name, value in batch.items()}).logits.float()
            real = batch["attention_mask"].bool() if "attention_mask" in batch else None
            logits = logits.cpu()
            if not bool((logits if real is None else logits[real]).isfinite().all()):
                raise ValueError(
                    "The logits of `model` are NaN or inf: the model has diverged, and nothing can be measured of it. Train it with a "
                    "lower learning_rate, or without half precision."
                )
        found.extend(logits.numpy())
    return [found[place] for place in np.argsort(order)]


def as_prediction(rows: Any, collator: TokenCollator, logits: Sequence[NDArray]) -> EvalPrediction:
    """Logits `(N, W, C)` and labels `(N, W)` by word, -100 where a word has no label, was cut, or there is none."""
    all_places = collator.places(rows)
    longest, classes = max(map(len, all_places)), logits[0].shape[1]
    predictions = np.zeros((len(rows), longest, classes), dtype=np.float32)
    labels = np.full((len(rows), longest), HIDDEN, dtype=np.int64)
    for number, places in enumerate(all_places):
        for word, (place, label) in enumerate(zip(places, rows[number][LABEL] or [None] * len(places), strict=True)):
            if place is not None and label is not None:
                predictions[number, word], labels[number, word] = logits[number][place], label
    return EvalPrediction(predictions, labels)


def predicted_sentences(
    rows: Any, collator: TokenCollator, logits: Sequence[NDArray] | NDArray, label_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """
    Args:
        rows (`datasets.Dataset` or `Sequence[dict]`): Sentences of words, with the class ids of these where they are known.
        collator ([`TokenCollator`]): That made the batches.
        logits (`Sequence[np.ndarray]` or `np.ndarray`): Of each row `(T, C)`.
        label_names (`Sequence[str]`): The tags in the order of their ids.

    Yields:
        `dict`: JSON-serialisable: `tokens`; `tags`, what is predicted; `probabilities` of these; `true_tags` where they are known. A word
        that was cut has `None`.
    """
    for number, places in enumerate(collator.places(rows)):
        row = rows[number]
        probabilities = softmax(logits[number])
        best = probabilities.argmax(axis=1)
        sentence: dict[str, Any] = {
            "tokens": list(row[collator.text_column or ""]),
            "tags": [None if place is None else label_names[best[place]] for place in places],
            "probabilities": [
                None if place is None else round(float(probabilities[place].max()), 6) for place in places
            ],
        }
        if row.get(LABEL) is not None:
            sentence["true_tags"] = [None if label is None else label_names[label] for label in row[LABEL]]
        yield sentence
