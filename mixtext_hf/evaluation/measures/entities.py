"""What is measured where each word has a tag: entities found, by seqeval, and accuracy and calibration over words."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .metrics import accuracy, brier_score, expected_calibration_error, negative_log_likelihood, softmax


if TYPE_CHECKING:
    from transformers import EvalPrediction


logger = logging.getLogger(__name__)

HIDDEN = -100
OF_ENTITIES = ("entity_precision", "entity_recall", "entity_f1")
_OF_WORDS: dict[str, Callable[..., float]] = {
    "nll": negative_log_likelihood,
    "brier": brier_score,
    "ece": expected_calibration_error,
}
TOKEN_METRICS = (*OF_ENTITIES, "token_accuracy", *_OF_WORDS)
# The letters of BILOU by those of BIOES, which seqeval reads.
_BILOU = {"L": "E", "U": "S"}


def entity_scores(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """
    Precision, recall and F1 of entities: one counts as found if its type, its first and its last word are right (micro average,
    as `conlleval` and the default mode of seqeval have it). Tags of IOB1, IOB2, BIOES and BILOU are read as they are.

    Args:
        predictions, references (`Sequence[Sequence[str]]`): Of each sentence the tags of its words.

    Raises:
        `ImportError`: without seqeval, with what to install.
    """
    try:
        from seqeval.metrics import f1_score, precision_score, recall_score
    except ImportError as error:
        raise ImportError("Entities are measured by seqeval: pip install 'mixtext-hf[tokens]'.") from error
    both = _one_letter(references, predictions), _one_letter(predictions, references)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        scores = precision_score(*both), recall_score(*both), f1_score(*both)
    return dict(zip(OF_ENTITIES, map(float, scores), strict=True))


def entities_by_type(prediction: EvalPrediction, label_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number (`support`) of the entities of each type, of a prediction as of [`make_token_metrics`]."""
    from seqeval.metrics import classification_report

    predicted, true = _named(np.asarray(prediction.predictions), np.asarray(prediction.label_ids), label_names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)
        report = classification_report(_one_letter(true, predicted), _one_letter(predicted, true), output_dict=True)
    return {
        kind: {name.removesuffix("-score"): float(value) for name, value in of.items()}
        for kind, of in report.items()
        if not kind.endswith(" avg")
    }


def _named(logits: NDArray, labels: NDArray, label_names: Sequence[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The predicted and the true tags of the words of each sentence that have a label."""
    named, known = np.asarray(label_names, dtype=object), labels != HIDDEN
    best = logits.argmax(axis=-1)
    return (
        [named[row[there]].tolist() for row, there in zip(best, known, strict=True)],
        [named[row[there]].tolist() for row, there in zip(labels, known, strict=True)],
    )


def _one_letter(sentences: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> list[list[str]]:
    """Sentences with tags of BILOU, if there are any among them or the others, as those of BIOES."""
    is_bilou = any(tag.startswith(("L-", "U-")) for part in (sentences, others) for one in part for tag in one)
    return [[_as_bioes(tag) if is_bilou else tag for tag in sentence] for sentence in sentences]


def has_entities(label_names: Sequence[str]) -> bool:
    """Whether tags are of entities, with a letter in front of the type, as `B-PER`; tags of parts of speech are not."""
    return any(name[1:2] == "-" and name[0] in "BIESLU" for name in label_names)


def flat_words(logits: NDArray, labels: NDArray) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The probabilities `(M, C)` and classes `(M,)` of all words that have a label, of logits `(N, T, C)` and labels `(N, T)`, -100 elsewhere."""
    known = labels != HIDDEN
    return softmax(logits[known]), labels[known].astype(np.int64)


def make_token_metrics(
    label_names: Sequence[str], *, metrics: Sequence[str] | None = None
) -> Callable[[EvalPrediction], dict[str, float]]:
    """
    Makes the function that `Trainer(compute_metrics=...)` calls: logits `(N, T, C)`, labels `(N, T)`, -100 where there is none.

    Args:
        label_names (`Sequence[str]`): The tags in the order of their ids.
        metrics (`Sequence[str]`, *optional*): Of `TOKEN_METRICS`; all of them by default, without those of entities where tags are of none.

    Raises:
        `ValueError`: for a metric that there is not. `ImportError`: without seqeval, where entities are to be measured.
    """
    chosen = tuple(TOKEN_METRICS if metrics is None else metrics)
    for name in chosen:
        if name not in TOKEN_METRICS:
            raise ValueError(f"metrics: {name!r} is none of tokens: choose from {', '.join(TOKEN_METRICS)}.")
    if not has_entities(label_names):
        if metrics is None:
            logger.warning("The tags name no entities (B-PER, I-PER, O): words are measured alone.")
            chosen = tuple(name for name in chosen if name not in OF_ENTITIES)
        elif set(chosen) & set(OF_ENTITIES):
            raise ValueError(
                f"metrics: the tags {', '.join(label_names[:5])} name no entities (B-PER, I-PER, O): leave out entity_...."
            )
    if set(chosen) & set(OF_ENTITIES):
        entity_scores([["O"]], [["O"]])  # raises before training

    def compute_metrics(prediction: EvalPrediction) -> dict[str, float]:
        logits: Any = prediction.predictions
        logits = np.asarray(logits[0] if isinstance(logits, tuple) else logits)
        labels = np.asarray(prediction.label_ids)
        if not (labels != HIDDEN).any():
            return {}
        probabilities, references = flat_words(logits, labels)
        results: dict[str, float] = {}
        if set(chosen) & set(OF_ENTITIES):
            results |= entity_scores(*_named(logits, labels, label_names))
        results["token_accuracy"] = accuracy(predictions=probabilities.argmax(axis=1), references=references)
        for name, measure in _OF_WORDS.items():
            results[name] = measure(probabilities=probabilities, references=references)
        return {name: results[name] for name in chosen}

    return compute_metrics


def _as_bioes(tag: str) -> str:
    letter, dash, kind = tag.partition("-")
    return f"{_BILOU.get(letter, letter)}{dash}{kind}"
