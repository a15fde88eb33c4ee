"""Entities found, accuracy and calibration over words."""

import sys

import numpy as np
import pytest
from transformers import EvalPrediction

from mixtext_hf.evaluation.measures.entities import (
    TOKEN_METRICS,
    entity_scores,
    flat_words,
    has_entities,
    make_token_metrics,
)


NAMES = ["O", "B-PER", "I-PER", "B-LOC"]
LABELS = np.array([[-100, 1, 2, 0, 3], [-100, 0, 1, -100, -100]])


def logits_for(tags):
    logits = np.zeros((*LABELS.shape, len(NAMES)))
    for place, tag in np.ndenumerate(tags):
        logits[place][tag] = 4.0
    return logits


def test_entities_are_right_as_a_whole():
    predicted = np.array([[3, 1, 0, 0, 3], [3, 0, 1, 3, 3]])
    scores = make_token_metrics(NAMES)(EvalPrediction(logits_for(predicted), LABELS))
    assert tuple(scores) == TOKEN_METRICS
    # Of three entities two are found, and one of the three that are said is none.
    assert scores["entity_precision"] == pytest.approx(2 / 3) == scores["entity_recall"] == scores["entity_f1"]
    assert scores["token_accuracy"] == pytest.approx(5 / 6)
    probability = np.exp(4) / (np.exp(4) + 3)
    assert scores["ece"] == pytest.approx(abs(probability - 5 / 6))


@pytest.mark.parametrize(
    ("true", "said"),
    [
        (["I-PER", "I-PER", "O", "B-PER", "I-PER"], [("PER", 0, 1), ("PER", 3, 4)]),
        (["B-PER", "E-PER", "O", "S-PER", "B-LOC"], None),
        (["B-PER", "L-PER", "O", "U-PER", "U-LOC"], None),
    ],
    ids=["IOB1", "BIOES", "BILOU"],
)
def test_tags_are_read_as_they_are(true, said):
    assert entity_scores([true], [true])["entity_f1"] == 1.0
    assert entity_scores([["O"] * 5], [true])["entity_recall"] == 0.0


def test_words_alone_where_tags_are_no_entities(caplog):
    assert not has_entities(["NOUN", "VERB"]) and has_entities(["O", "B-PER"])
    measure = make_token_metrics(["NOUN", "VERB", "X", "Y"])
    assert "entity_f1" not in measure(EvalPrediction(logits_for(np.maximum(LABELS, 0)), LABELS))
    assert "words are measured alone" in caplog.text
    with pytest.raises(ValueError, match="name no entities"):
        make_token_metrics(["NOUN", "VERB"], metrics=["entity_f1"])


def test_metrics_that_there_are_not():
    with pytest.raises(ValueError, match="'f1' is none of tokens: choose from entity_precision"):
        make_token_metrics(NAMES, metrics=["f1"])


def test_without_seqeval_it_is_said_before_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    with pytest.raises(ImportError, match=r"pip install 'mixtext-hf\[tokens\]'"):
        make_token_metrics(NAMES)
    make_token_metrics(NAMES, metrics=["token_accuracy"])


def test_words_without_a_label_are_left_out():
    probabilities, references = flat_words(logits_for(np.maximum(LABELS, 0)), LABELS)
    assert probabilities.shape == (6, 4) and references.tolist() == [1, 2, 0, 3, 0, 1]
    assert (
        make_token_metrics(NAMES)(EvalPrediction(logits_for(np.maximum(LABELS, 0)), np.full_like(LABELS, -100))) == {}
    )
