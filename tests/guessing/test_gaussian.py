"""The mixture against EM written out as plain loops in float64, its invariances, and how guessers are chosen."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.guessing import (
    Anchors,
    Combination,
    StoredRows,
    are_content,
    check_shares,
    fit_combination,
    fit_frozen_guesser,
    fit_gaussian_mixture,
    frozen_alone,
    make_folds,
    readable_name,
    sentences_about,
    surest_rows,
)
from mixtext_hf.guessing.rows import chunk_rows
from mixtext_hf.guessing.temperature import fit_temperature


def blobs(rows=240, classes=3, dimensions=6, spread=1.0, seed=0, shares=None):
    """Rows around one centre a class, and their classes."""
    rng = np.random.default_rng(seed)
    centres = 2.5 * rng.normal(size=(classes, dimensions))
    labels = rng.choice(classes, size=rows, p=shares)
    return centres[labels] + spread * rng.normal(size=(rows, dimensions)), labels


def few_labelled(rows, labels, per_class=4):
    chosen = np.concatenate([np.flatnonzero(labels == one)[:per_class] for one in range(labels.max() + 1)])
    return rows[chosen], labels[chosen], np.delete(rows, chosen, axis=0), np.delete(labels, chosen)


def em_by_hand(z, x, y, weights, classes, *, shares, iterations, shrinkage):
    """Every sum a loop. Returns the posteriors of `z`."""
    d = len(x[0])

    def shrunk(matrix):
        sphere = sum(matrix[a][a] for a in range(d)) / d
        return np.array(
            [[(1 - shrinkage) * matrix[a][b] + shrinkage * sphere * (a == b) for b in range(d)] for a in range(d)]
        )

    means = []
    for c in range(classes):
        total = sum(w for w, label in zip(weights, y, strict=True) if label == c)
        means.append(
            [
                sum(w * row[a] for w, row, label in zip(weights, x, y, strict=True) if label == c) / total
                for a in range(d)
            ]
        )
    centre = [sum(row[a] for row in z) / len(z) for a in range(d)]
    covariance = shrunk(
        [[sum((row[a] - centre[a]) * (row[b] - centre[b]) for row in z) / len(z) for b in range(d)] for a in range(d)]
    )
    biases = [math.log(share) for share in shares] if shares is not None else [-math.log(classes)] * classes

    def posterior():
        inverse = np.linalg.inv(covariance)
        out = []
        for row in z:
            scores = []
            for c in range(classes):
                gap = [row[a] - means[c][a] for a in range(d)]
                scores.append(
                    biases[c] - 0.5 * sum(gap[a] * inverse[a][b] * gap[b] for a in range(d) for b in range(d))
                )
            top = max(scores)
            parts = [math.exp(score - top) for score in scores]
            out.append([part / sum(parts) for part in parts])
        return out

    for _ in range(iterations):
        q = posterior()
        rows = [*x, *z]
        kept = [[w * (label == c) for c in range(classes)] for w, label in zip(weights, y, strict=True)] + q
        total = sum(map(sum, kept))
        of_class = [sum(one[c] for one in kept) for c in range(classes)]
        means = [
            [sum(one[c] * row[a] for one, row in zip(kept, rows, strict=True)) / of_class[c] for a in range(d)]
            for c in range(classes)
        ]
        within = [[0.0] * d for _ in range(d)]
        for one, row in zip(kept, rows, strict=True):
            for c in range(classes):
                for a in range(d):
                    for b in range(d):
                        within[a][b] += one[c] * (row[a] - means[c][a]) * (row[b] - means[c][b]) / total
        covariance = shrunk(within)
        if shares is None:
            biases = [math.log(count / total) for count in of_class]
        else:
            found = [sum(one[c] for one in q) / len(z) for c in range(classes)]
            biases = [
                b + max(-3.0, min(3.0, math.log(share / part)))
                for b, share, part in zip(biases, shares, found, strict=True)
            ]
    return np.array(posterior())


@pytest.mark.parametrize("shares", [None, [1 / 3] * 3, [0.6, 0.3, 0.1]], ids=["estimated", "uniform", "given"])
def test_the_fit_is_that_of_a_plain_loop(shares):
    rows, labels = blobs(rows=60, dimensions=3, spread=2.0)
    x, y, z, _ = few_labelled(rows, labels, per_class=2)
    weights = np.linspace(1, 5, len(x))
    given_shares = None if shares is None else np.array(shares)
    fitted = fit_gaussian_mixture(z, Anchors(x, y, weights), 3, shares=given_shares, iterations=7, shrinkage=0.2)
    expected = em_by_hand(z, x, y, weights, 3, shares=shares, iterations=7, shrinkage=0.2)
    np.testing.assert_allclose(np.exp(fitted.log_posterior(z)), expected, rtol=0, atol=1e-9)


@examples(15)
@given(seed=st.integers(0, 1000), classes=st.integers(2, 4))
def test_the_order_of_rows_changes_nothing(seed, classes):
    rows, labels = blobs(rows=120, classes=classes, spread=1.5, seed=seed)
    if len(np.unique(labels)) < classes or np.bincount(labels).min() < 4:
        return
    x, y, z, _ = few_labelled(rows, labels, per_class=3)
    order = np.random.default_rng(seed).permutation(len(z))
    one = fit_frozen_guesser(z, x, y, classes, family="gaussian", shares="uniform")
    other = fit_frozen_guesser(z[order], x, y, classes, family="gaussian", shares="uniform")
    np.testing.assert_allclose(other.log_probabilities(z), one.log_probabilities(z), rtol=0, atol=1e-6)


def test_given_shares_are_those_of_the_guesses():
    rows, labels = blobs(rows=400, spread=3.0)
    x, y, z, _ = few_labelled(rows, labels)
    shares = np.array([0.5, 0.3, 0.2])
    fitted = fit_gaussian_mixture(z, Anchors(x, y, np.full(len(x), 2.0)), 3, shares=shares, iterations=200)
    np.testing.assert_allclose(np.exp(fitted.log_posterior(z)).mean(axis=0), shares, atol=1e-3)


def test_rows_in_a_file_are_read_in_pieces_and_give_the_same(tmp_path):
    rows, labels = blobs(rows=20_000, spread=2.0)
    x, y, z, _ = few_labelled(rows, labels)
    np.save(tmp_path / "rows.npy", z.astype(np.float32))
    stored = StoredRows(tmp_path / "rows.npy")
    assert len(stored) == len(z) and stored[5:9].shape == (4, 6)
    np.testing.assert_array_equal(stored[19_000:30_000:7], z.astype(np.float32)[19_000:30_000:7])
    one = fit_frozen_guesser(stored, x, y, 3)
    other = fit_frozen_guesser(z.astype(np.float32), x, y, 3)
    pieces = np.concatenate(list(one.guess(stored)))
    np.testing.assert_array_equal(pieces, other.log_probabilities(z.astype(np.float32)))
    np.save(tmp_path / "wrong.npy", np.arange(4))
    with pytest.raises(ValueError, match=r"wrong.npy holds an array of shape \(4,\)"):
        StoredRows(tmp_path / "wrong.npy")


def test_many_rows_are_fitted_on_a_sample_from_all_over_them():
    rows, labels = blobs(rows=60_000, classes=3, dimensions=5, spread=1.0, seed=2)
    order = np.argsort(labels, kind="stable")  # a file may well be sorted
    x, y, z, true = few_labelled(rows[order], labels[order])
    fitted = fit_frozen_guesser(z, x, y, 3)
    assert "Fitted on 50000 of the 59988 unlabelled rows" in fitted.report.notes[-1]
    guesses = np.exp(np.concatenate(list(fitted.guess(z))))
    assert (guesses.argmax(axis=1) == true).mean() > 0.95
    np.testing.assert_allclose(np.bincount(guesses.argmax(axis=1)) / len(z), 1 / 3, atol=0.03)


def test_clusters_that_are_classes_beat_what_labels_alone_tell():
    rows, labels = blobs(rows=1500, classes=4, dimensions=12, spread=2.2, seed=3)
    x, y, z, true = few_labelled(rows, labels, per_class=3)
    gaussian = fit_frozen_guesser(z, x, y, 4, family="gaussian")
    logistic = fit_frozen_guesser(z, x, y, 4, family="logistic")
    right = [(one.log_probabilities(z).argmax(axis=1) == true).mean() for one in (gaussian, logistic)]
    assert right[0] > right[1] + 0.05
    assert fit_frozen_guesser(z, x, y, 4).report.chosen.startswith("Gaussian mixture")


def test_clusters_that_are_no_classes_are_left_to_the_labels():
    """Two clusters that cross two classes: what tells them apart is a direction of little variance."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=800)
    cluster = rng.integers(2, size=800)
    rows = np.stack([8.0 * cluster, 2.0 * labels - 1.0], axis=1) + 0.15 * rng.normal(size=(800, 2))
    x, y, z, true = few_labelled(rows, labels, per_class=10)
    chosen = fit_frozen_guesser(z, x, y, 2, dimensions=(1,))
    assert chosen.report.chosen.startswith("Gaussian")  # one dimension is all that either was given here
    free = fit_frozen_guesser(z, x, y, 2)
    assert (free.log_probabilities(z).argmax(axis=1) == true).mean() > 0.95
    assert free.report.held_out == 20 and len(free.report.log_likelihoods) == 3
    assert max(free.report.log_likelihoods, key=free.report.log_likelihoods.get) in str(free.report)


def test_names_are_evidence_unless_held_out_rows_speak_against_them():
    rows, labels = blobs(rows=900, classes=3, dimensions=8, spread=2.5, seed=5)
    x, y, z, _ = few_labelled(rows, labels, per_class=5)
    centres = np.stack([rows[labels == one].mean(axis=0) for one in range(3)])
    right, wrong = (centres, [0, 1, 2]), (np.repeat(centres[[1, 2, 0]], 8, axis=0), np.repeat([0, 1, 2], 8))
    assert "with the names" in fit_frozen_guesser(z, x, y, 3, sentences=right).report.chosen
    assert "with the names" not in fit_frozen_guesser(z, x, y, 3, sentences=wrong).report.chosen
    assert (
        "with the names"
        in fit_frozen_guesser(z, x, y, 3, sentences=wrong, use_names=True, family="gaussian").report.chosen
    )
    assert "with the names" not in fit_frozen_guesser(z, x, y, 3, sentences=right, use_names=False).report.chosen
    with pytest.raises(ValueError, match="there are no `sentences`"):
        fit_frozen_guesser(z, x, y, 3, use_names=True)


def test_guesses_are_no_surer_than_they_are_right():
    rows, labels = blobs(rows=3000, classes=3, dimensions=10, spread=4.5, seed=1)
    x, y, z, true = few_labelled(rows, labels, per_class=20)
    guesses = np.exp(fit_frozen_guesser(z, x, y, 3).log_probabilities(z))
    right = (guesses.argmax(axis=1) == true).mean()
    assert 0.4 < right < 0.98 and guesses.max(axis=1).mean() < right + 0.12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: a.update(n_classes=1, labels=np.zeros_like(a["labels"])),
            "There is 1 class: guessing needs at least two",
        ),
        (lambda a: a.update(n_classes=4), "Class 3 has no labelled row: guessing needs at least one of each of the 4"),
        (lambda a: a.update(unlabelled=a["unlabelled"][:1]), "There is 1 unlabelled row"),
        (lambda a: a.update(unlabelled=a["unlabelled"][:0]), "There is 0 unlabelled row"),
        (
            lambda a: a["unlabelled"].__setitem__((7, 2), np.nan),
            "`unlabelled` has a number that is not finite in row 7",
        ),
        (lambda a: a["labelled"].__setitem__((3, 0), np.inf), "`labelled` has a number that is not finite in row 3"),
        (lambda a: (a["unlabelled"].fill(2.0), a["labelled"].fill(2.0)), "rows of features are the same"),
        (lambda a: a.update(labels=a["labels"][:-1]), "`labels` must be 12 whole numbers"),
        (lambda a: a.update(labels=a["labels"] - 1), "`labels` has -1, but the classes are 0 to 2"),
        (lambda a: a.update(shares="even"), "guess_shares must be one of auto, uniform, labelled, estimated"),
        (lambda a: a.update(shares=[0.5, 0.5]), "guess_shares has 2 numbers, but there are 3 classes"),
        (lambda a: a.update(shares=[0.5, 0.5, 0.5]), "guess_shares must be numbers >= 0 that sum to 1"),
    ],
)
def test_bad_input_is_named(change, message):
    rows, labels = blobs()
    x, y, z, _ = few_labelled(rows, labels)
    arguments = {"unlabelled": z.copy(), "labelled": x.copy(), "labels": y, "n_classes": 3}
    change(arguments)
    with pytest.raises(ValueError, match=message):
        fit_frozen_guesser(**arguments)


def test_fewer_rows_than_dimensions_shrink_it_and_it_says_so():
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(9, 300)), np.array([0, 1, 2] * 3)
    fitted = fit_frozen_guesser(rows[6:], rows[:6], labels[:6], 3)
    assert fitted.rotation.dimensions == 8 and "span 8 dimensions" in fitted.report.notes[0]
    assert np.isfinite(fitted.log_probabilities(rows)).all()


def test_a_class_with_one_row_is_never_held_out():
    rows, labels = blobs()
    x, y, z, _ = few_labelled(rows, labels)
    keep = np.flatnonzero((y != 2) | (np.arange(len(y)) == np.flatnonzero(y == 2)[0]))
    folds = make_folds(y[keep], seed=0)
    assert (folds[y[keep] == 2] == -1).all() and (folds[y[keep] != 2] >= 0).all()
    assert fit_frozen_guesser(z, x[keep], y[keep], 3).report.held_out == 8
    one_each = [np.flatnonzero(y == one)[0] for one in range(3)]
    alone = fit_frozen_guesser(z, x[one_each], y[one_each], 3).report
    assert alone.held_out == 0 and alone.held_out_accuracy is None and "could be held out" in str(alone)


@examples(25)
@given(labels=st.lists(st.integers(0, 3), min_size=8, max_size=60), seed=st.integers(0, 5))
def test_folds_spread_every_class(labels, seed):
    array = np.array(labels)
    folds = make_folds(array, seed, 3)
    for one in np.unique(array):
        counts = np.bincount(folds[(array == one) & (folds >= 0)], minlength=3)
        assert counts.max() - counts.min() <= 1


def test_the_surest_of_each_class():
    guesses = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3], [0.45, 0.55], [0.7, 0.3]])
    assert surest_rows(guesses, 0.5).tolist() == [0, 2, 3]
    assert surest_rows(guesses, 1.0).tolist() == [0, 1, 2, 3, 4, 5]
    assert surest_rows(guesses, 0.01).tolist() == [0, 2]
    with pytest.raises(ValueError, match=r"`share` must lie in \(0, 1\], got 0"):
        surest_rows(guesses, 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 40), st.sampled_from([0.1, 0.34, 0.5, 1.0]))
@examples(20)
def test_the_surest_are_those_of_a_plain_loop(seed, classes, rows, share):
    # Rounded, so that some are equally sure.
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(classes), rows).round(1).astype(np.float32)
    label, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    expected = []
    for one in range(classes):
        own = np.flatnonzero(label == one)
        expected += own[np.argsort(-sure[own], kind="stable")[: int(np.ceil(share * len(own) - 1e-9))]].tolist()
    assert surest_rows(probabilities, share).tolist() == sorted(expected)


def test_no_array_has_a_number_for_each_two_classes():
    classes = 2000
    rng = np.random.default_rng(0)
    anchors = Anchors(rng.normal(size=(classes, 4)), np.arange(classes), np.ones(classes))
    rows = rng.normal(size=(300, 4))
    tracemalloc.start()
    try:
        mixture = fit_gaussian_mixture(rows, anchors, classes, iterations=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert mixture.log_posterior(rows).shape == (300, classes)
    # The rows have some numbers for each class; all classes by all classes would be 32 MB.
    assert peak < 8 * 6 * 300 * classes, peak


@pytest.mark.parametrize("classes, rows", [(2, 8192), (512, 8192), (10_000, 419), (2**23, 1)])
def test_fewer_rows_at_a_time_where_there_are_many_classes(classes, rows):
    assert chunk_rows(classes) == rows


def test_the_better_of_two_guessers_weighs_more():
    rng = np.random.default_rng(0)
    labels = rng.integers(4, size=80)
    sure = np.log(0.05 + 0.8 * np.eye(4)[labels] + 0.02 * rng.random((80, 4)))
    guess = np.log(rng.dirichlet([1] * 4, size=80))
    better = fit_combination(guess, sure, labels)
    assert (
        better.weight >= 1 and better.log_likelihoods[1] > better.log_likelihoods[0] and "guesses too" in str(better)
    )
    worse = fit_combination(sure, guess, labels)
    assert worse.weight == 0 and worse.temperature == 1 and "takes no part" in str(worse)
    np.testing.assert_allclose(worse(sure, guess), sure - np.log(np.exp(sure).sum(axis=1, keepdims=True)), atol=1e-12)
    # As good, and wrong about other rows: together they are better than either.
    right, wrong, row = np.eye(4)[labels], np.eye(4)[(labels + 1) % 4], np.arange(80)[:, None]
    one, other = (np.log(0.1 + 0.6 * np.where(missed, wrong, right)) for missed in (row < 20, row >= 60))
    joined = fit_combination(one, other, labels)
    assert joined.weight in (1, 2, 4) and joined.log_likelihoods == pytest.approx((joined.log_likelihoods[0],) * 2)
    # Where clusters are classes nobody is asked; where they leave more than half of the doubt, a classifier is worth training.
    alone = frozen_alone(sure, labels)
    assert alone.weight == 0 and alone.log_likelihoods[1] is None and "guess alone" in str(alone)
    assert frozen_alone(guess, labels) is None and frozen_alone(guess[:0], labels[:0]) == Combination()
    both = Combination(weight=1.0)(np.log([[0.5, 0.5]]), np.log([[0.8, 0.2]]))
    np.testing.assert_allclose(np.exp(both), [[0.8, 0.2]])
    assert fit_combination(guess[:0], sure[:0], labels[:0]) == Combination()


def test_temperature_stays_finite_where_all_is_right():
    sure = np.log(np.full((10, 2), 0.01) + 0.98 * np.eye(2)[[0, 1] * 5])
    found = fit_temperature(sure, np.array([0, 1] * 5))
    assert 0.25 <= found <= 20
    wrong = fit_temperature(sure, np.array([1, 0] * 5))
    assert wrong > 10 > found


def test_names_that_say_nothing_are_no_evidence():
    assert are_content(["World", "Sports", "Sci/Tech"]) and are_content(["neg", "pos"])
    for names in (
        ["0", "1"],
        ["LABEL_0", "LABEL_1"],
        ["class 1", "class 2"],
        ["A", "B"],
        ["1.5", "2.5"],
        ["x", "sports"],
        ["a_b", "a b"],
        [],
    ):
        assert not are_content(names)
    assert readable_name("injured_or_dead_people") == "injured or dead people"
    assert readable_name("Sci/Tech") == "Sci and Tech" and readable_name("cancelOrder") == "cancel Order"
    written, classes = sentences_about(["Sci/Tech", "Sports"])
    assert classes == [0, 0, 0, 1, 1, 1] and written[1] == "This text is about Sci and Tech."


def test_shares_as_text_are_for_somebody_else():
    assert check_shares("uniform", 3) is None
    np.testing.assert_allclose(check_shares([0.2, 0.8, 0], 3), [0.2, 0.8, 0], atol=1e-5)
