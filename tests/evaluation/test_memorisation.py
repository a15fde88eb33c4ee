"""Memorised, recovered and rightly learnt labels, counted by hand and by a loop."""

import math

import numpy as np
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.data import corrupt_labels
from mixtext_hf.evaluation import Memorisation, measure_memorisation


def test_counted_by_hand():
    result = measure_memorisation(
        clean_labels=[0, 0, 1, 2, 1, 1, 2],
        noisy_labels=[0, 1, 2, 0, 0, 1, 2],
        # right: 0 -> 0; wrong: memorised, recovered, a third class, memorised; right: missed, hit.
        predictions=[0, 1, 1, 1, 0, 0, 2],
    )
    assert result == Memorisation(n_wrong=4, n_right=3, memorised=0.5, recovered=0.25, accuracy_on_right=2 / 3)


@examples(80)
@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), max_size=20), st.integers(0, 2))
def test_is_the_loop(rows, predicted):
    # At least one label is wrong.
    rows = [*rows, (0, 1, predicted)]
    wrong = [(c, n, p) for c, n, p in rows if c != n]
    right = [c == p for c, n, p in rows if c == n]
    clean, noisy, predictions = zip(*rows, strict=True)
    result = measure_memorisation(clean_labels=clean, noisy_labels=noisy, predictions=predictions)
    assert (result.n_wrong, result.n_right) == (len(wrong), len(right))
    assert result.memorised == pytest.approx(sum(n == p for _, n, p in wrong) / len(wrong))
    assert result.recovered == pytest.approx(sum(c == p for c, _, p in wrong) / len(wrong))
    third = sum(p not in (c, n) for c, n, p in wrong) / len(wrong)
    assert result.memorised + result.recovered + third == pytest.approx(1)
    if right:
        assert result.accuracy_on_right == pytest.approx(sum(right) / len(right))
    else:
        assert math.isnan(result.accuracy_on_right)


def test_of_corrupted_labels():
    clean = np.arange(200) % 4
    noisy = corrupt_labels(clean, 4, 0.3, seed=0)
    by_heart = measure_memorisation(clean_labels=clean, noisy_labels=noisy, predictions=noisy)
    assert by_heart == Memorisation(n_wrong=60, n_right=140, memorised=1.0, recovered=0.0, accuracy_on_right=1.0)
    robust = measure_memorisation(clean_labels=clean, noisy_labels=noisy, predictions=clean)
    assert (robust.memorised, robust.recovered, robust.accuracy_on_right) == (0.0, 1.0, 1.0)


def test_errors():
    with pytest.raises(ValueError, match=r"`noisy_labels` must differ from `clean_labels` somewhere.*corrupt_labels"):
        measure_memorisation(clean_labels=[0, 1], noisy_labels=[0, 1], predictions=[0, 1])
    with pytest.raises(ValueError, match="`noisy_labels` and `predictions` must have the same length, got 1 and 2"):
        measure_memorisation(clean_labels=[0, 1], noisy_labels=[0], predictions=[0, 1])
    with pytest.raises(ValueError, match="`clean_labels` and `predictions` must have the same length, got 3 and 2"):
        measure_memorisation(clean_labels=[0, 1, 1], noisy_labels=[0, 0], predictions=[0, 1])
    with pytest.raises(ValueError, match="`clean_labels` must be labels from 0 on, got -1"):
        measure_memorisation(clean_labels=[-1, 1], noisy_labels=[-1, 0], predictions=[0, 1])
    with pytest.raises(ValueError, match="`predictions` must be class labels of an integer dtype"):
        measure_memorisation(clean_labels=[0, 1], noisy_labels=[0, 0], predictions=[0.5, 1.0])
