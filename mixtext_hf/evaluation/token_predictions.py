"""What a model says of the words of sentences, one record a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.tokens.collator import TokenCollator

from .measures.metrics import softmax


def predicted_sentences(
    rows: Any, collator: TokenCollator, logits: NDArray, label_names: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """
    Args:
        rows (`datasets.Dataset` or `Sequence[dict]`): Sentences of words, with the class ids of these where they are known.
        collator ([`TokenCollator`]): That made the batches.
        logits (`np.ndarray` of shape `(N, T, C)`): Of the rows.
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
