"""Wrong labels: how many, which, and that nothing else changes."""

import numpy as np
import pytest
import scipy.stats
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.data import corrupt_labels


@st.composite
def label_vectors(draw):
    """Labels of at least one row, and hidden ones among them; the number of classes."""
    num_classes = draw(st.integers(2, 6))
    labels = draw(st.lists(st.integers(0, num_classes - 1) | st.sampled_from([-1, -100]), max_size=40))
    labels.insert(draw(st.integers(0, len(labels))), draw(st.integers(0, num_classes - 1)))
    return np.array(labels), num_classes


@examples(150)
@given(
    label_vectors(),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["uniform", "pair"]),
    st.integers(0, 2**40),
)
def test_exactly_so_many_and_nothing_else(case, share, kind, seed):
    labels, num_classes = case
    before = labels.copy()
    noisy = corrupt_labels(labels, num_classes, share, seed=seed, kind=kind)
    assert labels.tolist() == before.tolist() and noisy is not labels and noisy.dtype == np.int64
    hidden = labels < 0
    assert noisy[hidden].tolist() == labels[hidden].tolist()
    assert ((noisy[~hidden] >= 0) & (noisy[~hidden] < num_classes)).all()
    wrong = noisy != labels
    # `corrupt_labels` never draws a row's own label, so that the rows that differ are the rows that were chosen.
    assert wrong.sum() == round(share * (~hidden).sum())
    if kind == "pair":
        assert noisy[wrong].tolist() == [(label + 1) % num_classes for label in labels[wrong].tolist()]
    assert corrupt_labels(labels, num_classes, share, seed=seed, kind=kind).tolist() == noisy.tolist()


@examples(60)
@given(label_vectors(), st.floats(0, 0.99), st.floats(0, 0.99), st.integers(0, 1000))
def test_a_larger_share_keeps_the_wrong_labels_of_a_smaller_one(case, one, other, seed):
    labels, num_classes = case
    small, large = (corrupt_labels(labels, num_classes, share, seed=seed) for share in sorted((one, other)))
    wrong = small != labels
    assert large[wrong].tolist() == small[wrong].tolist()
    # Both kinds choose the same rows.
    pair = corrupt_labels(labels, num_classes, max(one, other), seed=seed, kind="pair")
    assert ((pair != labels) == (large != labels)).all()


def test_uniform_over_the_other_classes_and_over_the_rows():
    labels = np.arange(20_000) % 5
    noisy = corrupt_labels(labels, 5, 0.5, seed=1)
    wrong = noisy != labels
    for label in range(5):
        counts = np.bincount(noisy[wrong & (labels == label)], minlength=5)
        assert counts[label] == 0
        assert scipy.stats.chisquare(np.delete(counts, label)).pvalue > 1e-3
    # Neither the place of a row nor its class decides whether it is chosen.
    assert scipy.stats.chisquare(wrong.reshape(20, 1000).sum(axis=1)).pvalue > 1e-3
    assert scipy.stats.chisquare([wrong[labels == label].sum() for label in range(5)]).pvalue > 1e-3


def test_seeds_choose_other_rows():
    labels = np.zeros(100, dtype=np.int64)
    chosen = {tuple(np.flatnonzero(corrupt_labels(labels, 2, 0.2, seed=seed))) for seed in range(20)}
    assert len(chosen) == 20


@pytest.mark.parametrize(
    "n_rows, share, expected", [(10, 0.0, 0), (10, 0.04, 0), (10, 0.05, 0), (30, 0.05, 2), (3, 0.9, 3)]
)
def test_rounding(n_rows, share, expected):
    # A half goes to the even neighbour: 0.5 to 0, 1.5 to 2.
    assert np.count_nonzero(corrupt_labels([0] * n_rows, 2, share, seed=0)) == expected


def test_unsigned_labels():
    labels = np.full(20, 254, dtype=np.uint8)
    assert set(corrupt_labels(labels, 300, 0.5, seed=0, kind="pair").tolist()) == {254, 255}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"share": 1.0}, r"`share` must lie in \[0, 1\), got 1.0"),
        ({"share": -0.1}, "got -0.1"),
        ({"share": float("nan")}, "got nan"),
        ({"share": 20}, "got 20. For 20 % wrong labels, write 0.2"),
        ({"num_classes": 1, "labels": [0, 0]}, "`num_classes` must be at least 2, got 1"),
        ({"kind": "symmetric"}, "`kind` must be one of uniform, pair; got 'symmetric'"),
        ({"seed": -1}, "`seed` must not be negative, got -1"),
        ({"labels": [0, 3]}, r"`labels` must lie in 0\.\.2 .*got 3"),
        ({"labels": [0, -2]}, "got -2"),
        ({"labels": [-1, -100]}, "at least one label, got 2 rows without one"),
        ({"labels": [0.0, 1.0]}, "integer dtype, got .* dtype float64"),
        ({"labels": [[0, 1]]}, r"shape \(N,\) .* got shape \(1, 2\)"),
        ({"labels": [0, None]}, "dtype object. Write -1 where a row has no label"),
    ],
)
def test_errors(changes, message):
    arguments = {"labels": [0, 1, 2, -1], "num_classes": 3, "share": 0.5, "seed": 0} | changes
    with pytest.raises(ValueError, match=message):
        corrupt_labels(**arguments)
