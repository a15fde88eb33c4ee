"""What somebody should look at first: the mistakes that a classifier is surest of, and signs that it has learnt nothing."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixtext_hf._markdown import one_line


MISTAKES = 10
_SIDE = 96
# Fewer examples tell nothing of whether there is a pattern.
_FEWEST = 10
# Of the normal distribution, for a one-sided test at 5 %.
_Z = 1.6448536269514722


def surest_mistakes(
    probabilities: NDArray[np.floating], references: NDArray[np.integer], label_names: Sequence[str]
) -> list[dict[str, Any]]:
    """
    The wrong predictions of the highest confidence, surest first: often wrong labels, or what the training data lacks.

    Args:
        probabilities (`np.ndarray` of shape `(N, C)`): Of the model.
        references (`np.ndarray` of shape `(N,)`): True classes.
        label_names (`Sequence[str]` of length `C`): Their names.

    Returns:
        `list[dict[str, Any]]`: at most 10, with `row`, `id` and `shown` for a reader, `label`, `prediction` and `confidence`.
    """
    predictions, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != references)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")[:MISTAKES]]
    return [
        {
            "row": int(row),
            # Whoever has the rows says more.
            "id": f"row {row}",
            "shown": "",
            "label": label_names[references[row]],
            "prediction": label_names[predictions[row]],
            "confidence": float(confidence[row]),
        }
        for row in surest
    ]


def remarks(
    predictions: NDArray[np.integer], references: NDArray[np.integer], label_names: Sequence[str]
) -> list[str]:
    """
    Sentences on a classifier that gives all examples the same class, or is right no more often than whoever always names the most
    frequent one; with what to do. None where there is nothing of the kind, or are fewer than 10 examples.

    Args:
        predictions (`np.ndarray` of shape `(N,)`): Predicted classes.
        references (`np.ndarray` of shape `(N,)`): True classes.
        label_names (`Sequence[str]`): Names of the classes.
    """
    n = len(references)
    if n < _FEWEST:
        return []
    remedy = (
        "Train longer (--num_train_epochs) or with another --learning_rate, or on more labelled rows; and look at whether the "
        "labels belong to the inputs."
    )
    predicted, true = np.unique(predictions), np.unique(references, return_counts=True)
    if len(predicted) == 1 and len(true[0]) > 1:
        return [f"All {n:,} examples are taken for the same class, {one_line(label_names[predicted[0]])}. {remedy}"]
    most = true[1].max() / n
    accuracy = float(np.mean(predictions == references))
    if most < 1 and accuracy <= most + _Z * math.sqrt(most * (1 - most) / n):
        named = one_line(label_names[true[0][true[1].argmax()]])
        return [
            f"An accuracy of {accuracy:.1%} is no better than chance can be: to say {named} each time is right in {most:.1%}. {remedy}"
        ]
    return []


def thumbnail(image: NDArray[np.uint8]) -> str:
    """
    A small picture as a data URI.

    Args:
        image (`np.ndarray` of shape `(H, W, C)`, uint8): Grey or RGB; of more channels the first is shown.
    """
    shown = image if image.shape[2] == 3 else image[:, :, 0]
    picture = Image.fromarray(shown)
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
