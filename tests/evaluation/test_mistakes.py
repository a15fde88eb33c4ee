"""The surest mistakes, and what is said of a classifier that learnt nothing."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from mixtext_hf.evaluation.measures.mistakes import remarks, surest_mistakes, thumbnail


NAMES = ["a", "b", "c"]


def test_mistakes_come_surest_first():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([1, 1, 1], 200)
    references = rng.integers(0, 3, 200)
    found = surest_mistakes(probabilities, references, NAMES)
    wrong = [i for i in range(200) if probabilities[i].argmax() != references[i]]
    expected = sorted(wrong, key=lambda i: -probabilities[i].max())[:10]
    assert [row["row"] for row in found] == expected
    for row, i in zip(found, expected, strict=True):
        assert row["confidence"] == probabilities[i].max() and row["label"] == NAMES[references[i]]
        assert row["prediction"] == NAMES[probabilities[i].argmax()]
    assert surest_mistakes(np.eye(3), np.arange(3), NAMES) == []


def test_one_class_for_all():
    references = np.arange(30) % 3
    (said,) = remarks(np.full(30, 1), references, NAMES)
    assert said.startswith("All 30 examples are taken for the same class, b. Train longer (--num_train_epochs)")
    # Nothing is wrong where there is one class alone, and nothing to be told from a few rows.
    assert remarks(np.full(30, 1), np.full(30, 1), NAMES) == []
    assert remarks(np.full(9, 1), references[:9], NAMES) == []


@pytest.mark.parametrize("right, told", [(0.30, True), (0.36, True), (0.50, False), (1.0, False)])
def test_no_better_than_chance(right, told):
    references = np.arange(300) % 3
    predictions = np.where(np.arange(300) < 300 * right, references, (references + 1) % 3)
    found = remarks(predictions, references, NAMES)
    assert bool(found) == told
    if told:
        assert found[0].startswith(f"An accuracy of {right:.1%} is no better than chance can be: to say a each time")


def test_the_most_frequent_class_is_the_measure():
    references = np.array([0] * 90 + [1] * 10)
    predictions = references.copy()
    predictions[85:95] = 1 - predictions[85:95]
    assert "to say a each time is right in 90.0%" in remarks(predictions, references, NAMES)[0]


@pytest.mark.parametrize("shape", [(300, 150, 3), (40, 50, 1), (40, 50, 4)])
def test_thumbnails_are_small(shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    source = thumbnail(image)
    shown = Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,"))))
    assert max(shown.size) <= 96 and shown.mode == ("RGB" if shape[2] == 3 else "L")
