"""A long tail of the rows, and rows drawn so that classes come up alike: sizes, shares, and that both hang on the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset

from mixtext_hf.data.balanced import BalancedDraw, BalancedSampler
from mixtext_hf.data.images.rows import ImageRows
from mixtext_hf.data.imbalance import imbalanced_split
from mixtext_hf.data.selection import Selection
from mixtext_hf.data.tables.row_id import RowId
from mixtext_hf.data.tables.sources import Splits
from mixtext_hf.data.texts.two_streams import TwoStreamBatchSampler
from mixtext_hf.data.visits import EpochSampler


def rows(*counts: int) -> Dataset:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return Dataset.from_dict({"number": list(range(len(labels))), "label": labels.tolist()})


def sizes(dataset: Dataset) -> list[int]:
    return np.bincount(dataset["label"][:]).tolist()


@pytest.mark.parametrize(
    ("counts", "ratio", "expected"),
    [
        ((100, 100, 100, 100), 50, [100, 27, 7, 2]),
        ((100, 100, 100), 1, [100, 100, 100]),
        ((10, 10), 50, [10, 1]),
        ((1000, 30, 1000), 100, [300, 30, 3]),  # as many of the first as leave the second its tenth
        ((20, 100), 4, [20, 5]),
        ((100, 2), 10, [20, 2]),
    ],
)
def test_classes_have_their_share_of_the_first(counts, ratio, expected):
    kept, left = imbalanced_split(rows(*counts), "label", ratio, seed=0)
    assert sizes(kept) == expected
    assert sorted([*kept["number"], *left["number"]]) == list(range(sum(counts)))
    assert kept["number"][:] == sorted(kept["number"][:])


def test_the_rows_hang_on_the_seed_and_a_longer_tail_keeps_no_others():
    def kept(ratio, seed=1):
        return set(imbalanced_split(rows(40, 40, 40), "label", ratio, seed)[0]["number"])

    assert kept(10) == kept(10) != kept(10, seed=2)
    assert kept(20) < kept(10) < kept(2)


@pytest.mark.parametrize(
    ("data", "ratio", "said"),
    [
        (rows(5, 5), 0.5, "`imbalance` is 0.5: it must be a number of at least 1"),
        (rows(5, 5), float("nan"), "`imbalance` is nan"),
        (rows(5), 10, "the rows are of one class"),
        (Dataset.from_dict({"label": [0.5, 1.0]}), 10, "must hold class ids .* for an imbalance"),
    ],
)
def test_what_has_no_tail_is_refused(data, ratio, said):
    with pytest.raises(ValueError, match=said):
        imbalanced_split(data, "label", ratio, 0)


def select(labeled_per_class=None, **more):
    limits = dict.fromkeys(("labeled_per_class", "max_train_samples", "max_eval_samples", "max_predict_samples"))
    return Selection({**limits, "labeled_per_class": labeled_per_class}, 0, imbalance=10, **more)


def test_of_chosen_rows_the_rest_has_what_is_left():
    splits = Splits(rows(30, 30, 30), {}, {}, {})
    rest = select(labeled_per_class=20).choose(splits)
    assert sizes(splits.train) == [20, 6, 2]
    assert sizes(rest) == [10, 24, 28]
    splits = Splits(rows(30, 30, 30), {}, {}, {})
    assert select().choose(splits) is None and sizes(splits.train) == [30, 9, 3]
    assert select().as_source()["imbalance"] == 10


def test_it_needs_classes_and_rows_to_train_on():
    with pytest.raises(ValueError, match="the rows have not one class each"):
        select().choose(Splits(rows(30, 30), {}, {}, {}), by_class=False)
    with pytest.raises(ValueError, match="`imbalance` is 10, but there is no training split"):
        select().check(Splits(None, {}, {"test": rows(3, 3)}, {}))


# ---- drawn alike ----

LABELS = np.repeat([0, 1, 2, -1], [100, 20, 4, 7])


def test_classes_come_up_alike_and_rows_without_one_never():
    drawn = BalancedDraw(LABELS, seed=3)(0, 60_000)
    shares = np.bincount(LABELS[drawn], minlength=3) / len(drawn)
    assert shares == pytest.approx([1 / 3] * 3, abs=0.01)
    of_rows = np.bincount(drawn, minlength=len(LABELS))
    assert of_rows[120:124] == pytest.approx([5000] * 4, rel=0.1) and not of_rows[124:].any()


def test_a_class_that_does_not_occur_takes_no_part():
    drawn = BalancedDraw([0, 0, 3], seed=0)(0, 1000)
    assert 400 < np.count_nonzero(drawn == 2) < 600


def test_the_draw_hangs_on_seed_and_epoch_alone():
    sampler = BalancedSampler(BalancedDraw(LABELS, seed=3))
    first = list(sampler)
    assert list(sampler) == first and len(sampler) == len(first) == len(LABELS)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(BalancedSampler(BalancedDraw(LABELS, seed=4))) != first
    again = BalancedSampler(BalancedDraw(LABELS, seed=3))
    again.set_epoch(1)
    assert list(again) == list(sampler)
    with pytest.raises(ValueError, match="no row with a class"):
        BalancedDraw([-1, -100])


def test_rows_that_come_again_say_so():
    sampler = EpochSampler(len(LABELS), draw=BalancedDraw(LABELS))
    drawn = list(sampler)
    assert len(drawn) == len(LABELS)
    seen: dict[int, int] = {}
    for which in drawn:
        assert which.repeat == seen.get(which.row, 0)
        seen[which.row] = which.repeat + 1
    assert max(seen.values()) > 1
    assert [which.repeat for which in EpochSampler(9)] == [0] * 9


def test_an_image_that_comes_again_is_augmented_anew():
    images = [{"image": np.zeros((4, 4, 3), np.uint8), "label": 0}]
    noise = ImageRows(images, augmentations=[lambda image, rng: rng.integers(0, 256, image.shape, dtype=np.uint8)])
    first, again = noise[RowId(0, 0, 1)]["image"], noise[RowId(0, 0, 1, 1)]["image"]
    assert (first != again).any()
    assert (noise[RowId(0, 0, 1, 1)]["image"] == again).all()
    assert (noise[RowId(0, 0, 1, 2)]["image"] != again).any()


@pytest.mark.parametrize("world_size", [1, 2])
def test_labelled_rows_beside_unlabelled_ones(world_size):
    given = {"labeled_batch_size": 4, "unlabeled_batch_size": 3, "seed": 1, "world_size": world_size}
    plain = TwoStreamBatchSampler(len(LABELS), 50, **given)
    drawn = TwoStreamBatchSampler(len(LABELS), 50, **given, draw=BalancedDraw(LABELS, seed=1))
    assert len(plain) == len(drawn)
    batches, others = list(drawn), list(plain)
    # The unlabelled rows are the same.
    assert [batch[4:] for batch in batches] == [batch[4:] for batch in others]
    rows_drawn = [which.row for batch in batches for which in batch[:4]]
    assert rows_drawn == BalancedDraw(LABELS, seed=1)(0, 4 * len(batches)).tolist()
