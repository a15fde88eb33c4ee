"""Labelled and unlabelled rows in one loader: the order against its rules, rows, views and batches against loops."""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import datasets
import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard, SkipBatchSampler, prepare_data_loader, skip_first_batches
from depth import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from tiny import tiny_tokenizer
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.texts.augmenters import Augmenter, SpanSwap, WordDropout, WordSwap
from mixtext_hf.data.texts.overlap import count_overlap
from mixtext_hf.data.texts.two_streams import (
    RowId,
    TwoStreamBatchSampler,
    TwoStreamCollator,
    TwoStreams,
    UnlabeledTexts,
    Views,
)


LABEL_COLUMNS = ("label", "labels", "label_ids")

# ---- the order ----


@st.composite
def sizes(draw, max_world=4):
    """Arguments of a sampler that has enough rows."""
    labeled_batch, unlabeled_batch = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    world = draw(st.integers(1, max_world))
    return {
        "labeled": labeled_batch + draw(st.integers(0, 30)),
        "unlabeled": unlabeled_batch * world + draw(st.integers(0, 40)),
        "labeled_batch_size": labeled_batch,
        "unlabeled_batch_size": unlabeled_batch,
        "world_size": world,
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def batches_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return list(sampler)


def batches_of_epochs(arguments, epochs):
    sampler = TwoStreamBatchSampler(**arguments)
    return [batch for epoch in range(epochs) for batch in batches_of(sampler, epoch)]


def labelled(batch):
    return [row for row in batch if row.stream == 0]


def unlabelled(batch):
    return [row for row in batch if row.stream == 1]


def indices(rows):
    return [row.row for row in rows]


@examples(100)
@given(sizes(), st.integers(0, 5))
def test_all_batches_are_alike_labelled_rows_first(arguments, epoch):
    sampler = TwoStreamBatchSampler(**arguments)
    batches = batches_of(sampler, epoch)
    assert len(batches) == len(sampler) > 0 and len(sampler) % arguments["world_size"] == 0
    count, others = arguments["labeled_batch_size"], arguments["unlabeled_batch_size"]
    assert sampler.batch_size == count + others and sampler.drop_last
    for batch in batches:
        assert [row.stream for row in batch] == [0] * count + [1] * others
        assert all(0 <= i < arguments["labeled"] for i in indices(batch[:count]))
        assert all(0 <= i < arguments["unlabeled"] for i in indices(batch[count:]))
        assert len(set(batch)) == len(batch)
        assert all(isinstance(row, RowId) and type(row.row) is int for row in batch)


@examples(50)
@given(sizes(), st.integers(1, 6), st.data())
def test_the_order_is_a_pure_function_of_seed_and_epoch(arguments, epochs, data):
    sampler = TwoStreamBatchSampler(**arguments)
    orders = [batches_of(sampler, epoch) for epoch in range(epochs)]
    epoch = data.draw(st.integers(0, epochs - 1))
    assert batches_of(TwoStreamBatchSampler(**arguments), epoch) == orders[epoch]
    # Whatever else was asked of the same object: later epochs, parts of one, two at once.
    for other in data.draw(st.permutations(range(epochs))):
        sampler.set_epoch(other)
        list(itertools.islice(sampler, data.draw(st.integers(0, 3))))
    assert batches_of(sampler, epoch) == orders[epoch] == list(sampler)
    assert list(zip(sampler, sampler, strict=True)) == [(batch, batch) for batch in orders[epoch]]
    # Nor does it depend on the generators of torch and numpy.
    np.random.seed(0)
    torch.manual_seed(0)
    assert list(sampler) == orders[epoch]


def test_the_first_epoch_is_the_one_that_nobody_set():
    sizes = {"labeled": 9, "unlabeled": 20, "labeled_batch_size": 2, "unlabeled_batch_size": 3}
    assert list(TwoStreamBatchSampler(**sizes)) == batches_of(TwoStreamBatchSampler(**sizes, seed=0, world_size=1), 0)


@pytest.mark.parametrize("world_size", [1, 2])
def test_seeds_and_epochs_differ(world_size):
    orders = set()
    for seed in range(5):
        sampler = TwoStreamBatchSampler(
            40, 50, labeled_batch_size=4, unlabeled_batch_size=5, seed=seed, world_size=world_size
        )
        for epoch in range(5):
            batches = batches_of(sampler, epoch)
            orders.add(tuple(row.row for batch in batches for row in labelled(batch)))
            orders.add(tuple(row.row for batch in batches for row in unlabelled(batch)))
    assert len(orders) == 2 * 25


@examples(100)
@given(sizes(), st.integers(0, 3))
def test_an_epoch_is_one_pass_over_the_labelled_rows(arguments, epoch):
    count, world = arguments["labeled_batch_size"], arguments["world_size"]
    batches = batches_of(TwoStreamBatchSampler(**arguments), epoch)
    seen = indices(row for batch in batches for row in labelled(batch))
    if arguments["labeled"] >= count * world:
        assert len(batches) == arguments["labeled"] // (count * world) * world
        assert len(set(seen)) == len(seen) > arguments["labeled"] - count * world
        if arguments["labeled"] % (count * world) == 0:
            assert sorted(seen) == list(range(arguments["labeled"]))
    else:
        # Too few for all processes: one step, in which rows come again only after all others.
        assert len(batches) == world
        most = -(-count * world // (arguments["labeled"] // count * count))
        assert max(map(seen.count, seen)) <= most


@examples(100)
@given(sizes())
def test_the_unlabelled_rows_are_an_endless_stream_across_epochs(arguments):
    batch, world, rows = (arguments[name] for name in ("unlabeled_batch_size", "world_size", "unlabeled"))
    per_epoch = len(TwoStreamBatchSampler(**arguments))
    epochs = -(-3 * rows // (per_epoch * batch)) + 1
    batches = [unlabelled(batch) for batch in batches_of_epochs(arguments, epochs)]
    # Every round: as many steps of all processes as there are rows for, no row twice, no step across two rounds.
    steps = rows // (batch * world)
    rounds = [row.round for rows in batches for row in rows]
    assert rounds == [i // (steps * world * batch) for i in range(len(rounds))]
    complete = len(batches) // (steps * world)
    assert complete >= 2
    for number in range(complete):
        seen = [row.row for rows in batches for row in rows if row.round == number]
        assert len(set(seen)) == len(seen) == steps * world * batch > rows - batch * world


@examples(100)
@given(sizes(max_world=6), st.integers(1, 6))
def test_the_processes_of_one_step_see_different_unlabelled_rows(arguments, epochs):
    world, batches = arguments["world_size"], batches_of_epochs(arguments, epochs)
    for start in range(0, len(batches), world):
        step = [row.row for batch in batches[start : start + world] for row in unlabelled(batch)]
        assert len(set(step)) == len(step) == world * arguments["unlabeled_batch_size"]


@examples(20)
@given(sizes())
def test_no_unlabelled_row_is_always_in_the_tail_that_is_dropped(arguments):
    assume(arguments["unlabeled"] <= 20)
    # Every round drops less than half of the rows.
    per_epoch = len(TwoStreamBatchSampler(**arguments)) * arguments["unlabeled_batch_size"]
    batches = batches_of_epochs(arguments, -(-40 * arguments["unlabeled"] // per_epoch))
    seen = {row.row for batch in batches for row in unlabelled(batch)}
    assert seen == set(range(arguments["unlabeled"]))


def test_rounds_and_rows_are_dealt_evenly():
    """Each row first in a batch, or with a given neighbour, about as often as chance has it."""
    batches = batches_of_epochs(
        {"labeled": 4, "unlabeled": 4, "labeled_batch_size": 2, "unlabeled_batch_size": 2}, 600
    )
    for part in (labelled, unlabelled):
        pairs = [tuple(indices(part(batch))) for batch in batches]
        counts = [pairs.count(pair) for pair in itertools.permutations(range(4), 2)]
        assert sum(counts) == 1200 and min(counts) > 60 and max(counts) < 140


# ---- accelerate ----


@examples(100)
@given(sizes(), st.integers(0, 3))
def test_shards_are_disjoint_complete_and_equally_long(arguments, epoch):
    world = arguments["world_size"]
    sampler = TwoStreamBatchSampler(**arguments)
    batches = batches_of(sampler, epoch)
    shards = [BatchSamplerShard(sampler, num_processes=world, process_index=rank) for rank in range(world)]
    dealt = [list(shard) for shard in shards]
    assert [len(shard) for shard in shards] == [len(shard) for shard in dealt] == [len(batches) // world] * world
    assert [batch for step in zip(*dealt, strict=True) for batch in step] == batches
    if arguments["labeled"] >= arguments["labeled_batch_size"] * world:
        parts = [{i for batch in shard for i in indices(labelled(batch))} for shard in dealt]
        assert sum(map(len, parts)) == len(set().union(*parts))


@examples(50)
@given(sizes(), st.integers(0, 3), st.data())
def test_skipped_batches_leave_the_tail_of_the_same_order(arguments, epoch, data):
    sampler = TwoStreamBatchSampler(**arguments)
    batches = batches_of(sampler, epoch)
    skip = data.draw(st.integers(0, len(batches)))
    assert list(SkipBatchSampler(sampler, skip_batches=skip)) == batches[skip:]
    rows = TwoStreams([{"label": i} for i in range(arguments["labeled"])], unlabeled_of(arguments["unlabeled"]))
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=list)
    expected = [[rows[row] for row in batch] for batch in batches]
    assert list(loader) == expected and list(skip_first_batches(loader, skip)) == expected[skip:]


def unlabeled_of(count):
    return UnlabeledTexts([{"text": f"u{i}"} for i in range(count)], text_columns=["text"])


def test_a_loader_that_accelerate_has_prepared_for_two_processes_resumes_in_the_same_order():
    arguments = {"labeled": 13, "unlabeled": 23, "labeled_batch_size": 2, "unlabeled_batch_size": 3, "world_size": 2}
    rows = TwoStreams([{"label": i} for i in range(13)], unlabeled_of(23))
    sampler = TwoStreamBatchSampler(**arguments)
    loader = DataLoader(rows, batch_sampler=sampler, collate_fn=list)
    expected = [[rows[row] for row in batch] for batch in batches_of(sampler, 1)]
    shards = [
        prepare_data_loader(
            loader,
            num_processes=2,
            process_index=rank,
            put_on_device=False,
            split_batches=False,
            dispatch_batches=False,
        )
        for rank in range(2)
    ]
    assert [len(shard) for shard in shards] == [3, 3]
    for rank, shard in enumerate(shards):
        assert list(shard) == expected[rank::2]
        assert list(skip_first_batches(shard, 2)) == expected[rank::2][2:]


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"labeled": 3},
            r"There are 3 labelled rows, fewer than the 4 of a batch: lower per_device_train_batch_size\.",
        ),
        ({"labeled": 0}, "There are 0 labelled rows"),
        (
            {"unlabeled": 7},
            r"There are 7 unlabelled rows, fewer than the 8 of a batch: .*per_device_unlabeled_batch_size\.",
        ),
        (
            {"unlabeled": 15, "world_size": 2},
            "There are 15 unlabelled rows, fewer than the 8 of a batch on 2 processes",
        ),
    ],
    ids=str,
)
def test_too_few_rows_are_refused(change, message):
    arguments = {"labeled": 4, "unlabeled": 8, "labeled_batch_size": 4, "unlabeled_batch_size": 8}
    assert len(TwoStreamBatchSampler(**arguments)) == 1
    with pytest.raises(ValueError, match=message):
        TwoStreamBatchSampler(**{**arguments, **change})


def test_few_labelled_rows_are_enough_for_several_processes():
    sampler = TwoStreamBatchSampler(4, 32, labeled_batch_size=4, unlabeled_batch_size=8, world_size=4)
    assert len(sampler) == 4
    assert all(sorted(indices(labelled(batch))) == [0, 1, 2, 3] for batch in sampler)


# ---- unlabelled texts ----


@dataclass(frozen=True)
class Tag(Augmenter):
    """Says what it was given."""

    mark: str = "tag"
    name: ClassVar[str] = "tag"

    def __call__(self, text, rng):
        return f"{self.mark}({text})#{rng.integers(10**9)}"


ROWS = [
    {"id": 7, "text": "a b c d", "de": "A B", "ru": "X", "label": 2},
    {"id": 8, "text": "e f g", "de": "E F", "ru": "Y", "label": None},
    {"id": 9, "text": "", "de": "H", "ru": "", "label": -1},
]
PAIRS = [{"first": "a b", "second": "c"}, {"first": "d", "second": "e f"}]


def as_given(rows, kind):
    if kind == "dataset":
        return datasets.Dataset.from_list(rows)
    if kind == "selected":
        filler = [{**rows[0], **{name: "not this one" for name, value in rows[0].items() if isinstance(value, str)}}]
        return datasets.Dataset.from_list(filler + rows[::-1]).select(range(len(rows), 0, -1))
    return rows


KINDS = pytest.mark.parametrize("kind", ["list", "dataset", "selected"])


def random_number(*key):
    return np.random.default_rng(key).integers(10**9)


@KINDS
def test_views_are_the_original_the_columns_and_the_augmenters_in_order(kind):
    texts = UnlabeledTexts(
        as_given(ROWS, kind),
        text_columns=["text"],
        view_columns=["ru", "de"],
        augmenters=[Tag("one"), Tag("two")],
        label_column="label",
        seed=5,
    )
    assert len(texts) == 3 and texts.num_views == 5
    for index, round_ in itertools.product(range(3), range(2)):
        row, views = ROWS[index], texts.views(index, round_)
        assert [view["text"] for view in views.rows] == [
            row["text"],
            row["ru"],
            row["de"],
            f"one({row['text']})#{random_number(5, round_, index, 3)}",
            f"two({row['text']})#{random_number(5, round_, index, 4)}",
        ]


@KINDS
def test_labels_are_apart_from_the_rows_and_hidden_ones_are_unknown(kind):
    texts = UnlabeledTexts(as_given(ROWS, kind), text_columns=["text"], view_columns=["de"], label_column="label")
    found = [texts.views(index, 0) for index in range(3)]
    assert [views.label for views in found] == [2, -100, -100]
    assert all(type(views.label) is int for views in found)
    for view in (view for views in found for view in views.rows):
        assert "label" not in view and "de" not in view
    unknown = UnlabeledTexts(as_given(ROWS, kind), text_columns=["text"])
    assert [unknown.views(index, 0).label for index in range(3)] == [-100] * 3


def test_of_a_dataset_only_the_columns_that_are_needed_are_read():
    texts = UnlabeledTexts(
        datasets.Dataset.from_list(ROWS), text_columns=["text"], view_columns=["de"], label_column="label"
    )
    assert texts.dataset.column_names == ["text", "de", "label"]
    assert [list(view) for view in texts.views(0, 0).rows] == [["text"], ["text"]]


@KINDS
def test_augmenters_reword_both_texts_of_a_pair(kind):
    texts = UnlabeledTexts(as_given(PAIRS, kind), text_columns=["first", "second"], augmenters=[Tag()], seed=1)
    original, view = texts.views(1, 4).rows
    assert original == {"first": "d", "second": "e f"}
    rng = np.random.default_rng([1, 4, 1, 1])
    assert view == {name: f"tag({original[name]})#{rng.integers(10**9)}" for name in ("first", "second")}


@examples(50)
@given(
    st.lists(st.sampled_from(["", "one", "one two", "one two three four five six"]), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=8),
    st.integers(0, 2**32 - 1),
)
def test_a_view_is_a_pure_function_of_seed_round_row_and_number(rows, asked, seed):
    augmenters = [WordDropout(0.5), WordSwap(), SpanSwap(0.3)]
    texts = UnlabeledTexts([{"text": text} for text in rows], text_columns=["text"], augmenters=augmenters, seed=seed)
    others = UnlabeledTexts([{"text": "something else"}] * 5, text_columns=["text"], augmenters=augmenters, seed=seed)
    for index, round_ in asked:
        others.views(index, round_)
        if index < len(rows):
            expected = [rows[index]]
            for number, augmenter in enumerate(augmenters, start=1):
                expected.append(augmenter(rows[index], np.random.default_rng([seed, round_, index, number])))
            assert [view["text"] for view in texts.views(index, round_).rows] == expected
    # A row among others is what it is alone at the same place.
    moved = UnlabeledTexts(
        [{"text": "another"}] * (len(rows) - 1) + [{"text": rows[-1]}],
        text_columns=["text"],
        augmenters=augmenters,
        seed=seed,
    )
    assert moved.views(len(rows) - 1, 1) == texts.views(len(rows) - 1, 1)


def test_seeds_rounds_rows_and_augmenters_differ():
    words = " ".join(f"w{i}" for i in range(40))
    views = set()
    for seed in range(3):
        texts = UnlabeledTexts(
            [{"text": words}] * 3, text_columns=["text"], augmenters=[WordSwap(), WordSwap()], seed=seed
        )
        views |= {view["text"] for i in range(3) for r in range(3) for view in texts.views(i, r).rows[1:]}
    assert len(views) == 3 * 3 * 3 * 2


@KINDS
def test_tokenised_rows_are_their_own_only_view(kind):
    rows = [{"input_ids": [2, 5, 3], "attention_mask": [1, 1, 1], "label": 1}, {"input_ids": [2, 3], "label": 0}]
    rows[1]["attention_mask"] = [1, 1]
    texts = UnlabeledTexts(as_given(rows, kind), text_columns=[], label_column="label")
    assert texts.num_views == 1
    assert texts.views(1, 0) == Views([{"input_ids": [2, 3], "attention_mask": [1, 1]}], 0)
    assert count_overlap(rows, texts) == 0


@pytest.mark.parametrize("kind", ["list", "dataset"])
@pytest.mark.parametrize(
    "rows, arguments, message",
    [
        (
            ROWS,
            {"view_columns": ["de", "fr"]},
            "view_columns 'fr': the unlabelled texts have no such column, they have id, text, de, ru, label.*augment-text",
        ),
        (ROWS, {"text_columns": ["sentence"]}, "text column 'sentence': the unlabelled texts have no such column"),
        (
            PAIRS,
            {"text_columns": ["first", "second"], "view_columns": ["second"]},
            "pairs of first and second: use aug",
        ),
        (ROWS, {"text_columns": [], "view_columns": ["de"]}, "Views are made of raw text, and the rows are tokenised"),
        (ROWS, {"text_columns": [], "augmenters": [Tag()]}, "Views are made of raw text, and the rows are tokenised"),
    ],
    ids=["view", "text", "pairs", "tokenised", "tokenised augmented"],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(kind, rows, arguments, message):
    with pytest.raises(ValueError, match=message):
        UnlabeledTexts(as_given(rows, kind), **{"text_columns": ["text"], **arguments})


@pytest.mark.parametrize(
    "rows, columns, message",
    [
        ([{"text": 3}], [], "text column 'text' of the unlabelled texts holds int64, not str"),
        ([{"text": "a", "de": 0.5}], ["de"], "view_columns 'de' of the unlabelled texts holds .*, not str"),
        ([{"text": "a"}, {"text": None}, {"text": None}], [], "text column 'text' .* is None in 2 rows: remove them"),
        ([{"text": "a", "de": "b"}, {"text": "a", "de": None}], ["de"], "view_columns 'de' .* is None in 1 rows"),
    ],
    ids=str,
)
def test_columns_of_a_dataset_that_are_no_texts_are_refused(rows, columns, message):
    with pytest.raises(ValueError, match=message):
        UnlabeledTexts(datasets.Dataset.from_list(rows), text_columns=["text"], view_columns=columns)


@pytest.mark.parametrize("text", [["a", "b"], {"en": "a"}], ids=["list", "translations"])
def test_columns_of_something_made_up_of_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"text column 'text' of the unlabelled texts holds .*, not str"):
        UnlabeledTexts(datasets.Dataset.from_list([{"text": text}]), text_columns=["text"])


@pytest.mark.parametrize("how", ["filter", "select", "train_test_split"])
def test_rows_that_were_removed_do_not_count(how):
    """A filtered data set still holds the table that it was made of."""
    dataset = datasets.Dataset.from_list([{"text": "a"}, {"text": None}, {"text": "b"}, {"text": "c"}])
    if how == "filter":
        kept = dataset.filter(lambda row: row["text"] is not None)
    elif how == "select":
        kept = dataset.select([0, 2, 3])
    else:
        kept = dataset.train_test_split(test_size=2, shuffle=False)["test"]
    texts = UnlabeledTexts(kept, text_columns=["text"])
    assert [texts.views(i, 0).rows[0]["text"] for i in range(len(texts))] == kept["text"][:]
    with pytest.raises(ValueError, match="is None in 1 rows"):
        UnlabeledTexts(dataset.select([1, 2]), text_columns=["text"])


def test_a_view_column_that_is_the_text_is_refused_or_read():
    try:
        texts = UnlabeledTexts([{"text": "a b"}], text_columns=["text"], view_columns=["text"])
    except ValueError as error:
        assert "view_columns" in str(error)
    else:
        assert [view["text"] for view in texts.views(0, 0).rows] == ["a b", "a b"]


@KINDS
@pytest.mark.parametrize("label", ["sports", [0, 1], float("nan")], ids=str)
def test_a_label_that_is_no_class_is_as_good_as_none(kind, label):
    rows = [{"text": "a", "label": label}, {"text": "b", "label": label}]
    texts = UnlabeledTexts(as_given(rows, kind), text_columns=["text"], label_column="label")
    assert texts.views(1, 0).label == -100


@pytest.mark.parametrize("empty", [[], datasets.Dataset.from_dict({"text": []})], ids=["list", "dataset"])
def test_no_texts_at_all_are_refused(empty):
    with pytest.raises(ValueError, match="`unlabeled_dataset` is empty: give it at least a batch"):
        UnlabeledTexts(empty, text_columns=["text"])


def test_a_stream_of_texts_is_refused():
    stream = datasets.Dataset.from_list(ROWS).to_iterable_dataset()
    with pytest.raises(
        TypeError, match=r"`unlabeled_dataset` has no rows that can be asked for by number \(IterableDataset\).*Give a"
    ):
        UnlabeledTexts(stream, text_columns=["text"])


def test_rows_are_found_by_their_ids():
    texts = UnlabeledTexts(ROWS, text_columns=["text"], view_columns=["de"], augmenters=[Tag()], label_column="label")
    rows = TwoStreams([{"text": "l0", "label": 0}, {"text": "l1", "label": 1}], texts)
    assert len(rows) == 2
    assert rows[RowId(0, 1, 3)] == {"text": "l1", "label": 1}
    assert rows[RowId(1, 0, 3)] == texts.views(0, 3) != texts.views(0, 2)


def same(one, other):
    """Of rows and views, whatever their values are: arrays, tensors, lists, texts."""
    if isinstance(one, Views):
        return same([*one.rows, one.label, one.guess], [*other.rows, other.label, other.guess])
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | torch.Tensor):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("change", ["none", "numpy", "torch", "transform", "shuffled", "some columns"])
@KINDS
def test_the_rows_of_a_batch_are_those_that_come_one_by_one(kind, change):
    def changed(rows):
        rows = as_given(rows, kind)
        if kind == "list" or change == "none":
            return rows
        if change in ("numpy", "torch"):
            return rows.with_format(change)
        if change == "transform":
            # One that sees how many rows it is given.
            return rows.with_transform(
                lambda batch: {**batch, "text": [f"{t} {len(batch['text'])}" for t in batch["text"]]}
            )
        if change == "shuffled":
            return rows.shuffle(seed=0)
        return rows.with_format(None, columns=["id", "text", "de", "label"])

    rows = [{"id": i, "text": f"l{i}", "de": "", "label": i, "ids": [i] * i} for i in range(4)]
    texts = [{**row, "label": None} for row in ROWS[:1]] + ROWS
    unlabeled = UnlabeledTexts(changed(texts), text_columns=["text"], view_columns=["de"], augmenters=[Tag()])
    unlabeled.learn_from(np.eye(4, 3), np.array([3, 1, 2]))
    streams = TwoStreams(changed(rows), unlabeled)
    batch = [RowId(0, 3, 0), RowId(1, 2, 0), RowId(0, 1, 0), RowId(0, 3, 0), RowId(1, 0, 4), RowId(1, 2, 1)]
    assert same(streams.__getitems__(batch), [streams[which] for which in batch])
    assert same(streams.__getitems__(batch[2:4]), [streams.labeled[1], streams.labeled[3]])


def test_a_table_is_looked_into_once_a_batch(monkeypatch):
    texts = UnlabeledTexts(datasets.Dataset.from_list(ROWS), text_columns=["text"], view_columns=["de"])
    streams = TwoStreams(datasets.Dataset.from_list([{"text": "l", "label": 0}] * 4), texts)
    asked, read = [], datasets.Dataset.__getitem__
    monkeypatch.setattr(datasets.Dataset, "__getitem__", lambda self, key: asked.append(key) or read(self, key))
    loader = DataLoader(
        streams,
        batch_sampler=[[RowId(0, 2, 0), RowId(0, 0, 0), RowId(1, 1, 0), RowId(1, 2, 0)]],
        collate_fn=TwoStreamCollator(RAW, LABEL_COLUMNS),
    )
    (batch,) = loader
    assert len(batch["input_ids"]) == 6
    assert asked == [[2, 0], [1, 2]]


# ---- batches ----

TOKENIZER = tiny_tokenizer(["a", "b", "c", "d", "e", "f"])
RAW = MixDataCollator(TOKENIZER, "text")


def tokens_of(rows):
    return TOKENIZER(rows, padding=True, return_tensors="pt")["input_ids"]


def test_rows_of_a_batch_are_the_labelled_ones_and_then_view_by_view():
    texts = [Views([{"text": "c"}, {"text": "c d"}, {"text": "d c"}], 2), Views([{"text": w} for w in "efa"], -100)]
    rows = [{"text": "a b a", "label": 1}, {"text": "b", "label": 0}, {"text": "a a a a", "label": 2}]
    expected = tokens_of(["a b a", "b", "a a a a", "c", "e", "c d", "f", "d c", "a"])
    batch = TwoStreamCollator(RAW, RAW.label_columns)([*rows, *texts])
    assert torch.equal(batch["input_ids"], expected)
    assert torch.equal(batch["attention_mask"], (expected != 0).long())
    assert batch["labels"].tolist() == [1, 0, 2, *[-100] * 6] and batch["labels"].dtype == torch.int64
    assert batch["text_labels"].tolist() == [2, -100] and batch["text_labels"].dtype == torch.int64
    # They may come in any order.
    mixed = TwoStreamCollator(RAW, RAW.label_columns)([texts[0], rows[0], rows[1], texts[1], rows[2]])
    assert mixed.keys() == batch.keys() and all(torch.equal(mixed[name], batch[name]) for name in batch)


@examples(50)
@given(st.data())
def test_layout_of_any_batch(data):
    words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6).map(" ".join)
    rows = data.draw(
        st.lists(st.fixed_dictionaries({"text": words, "label": st.integers(0, 3)}), min_size=1, max_size=4)
    )
    views = data.draw(st.integers(1, 4))
    texts = data.draw(st.lists(st.lists(words, min_size=views, max_size=views), min_size=1, max_size=4))
    known = data.draw(st.lists(st.integers(-1, 3), min_size=len(texts), max_size=len(texts)))
    features = [Views([{"text": view} for view in text], label) for text, label in zip(texts, known, strict=True)]
    batch = TwoStreamCollator(RAW, RAW.label_columns)([*rows, *features])
    order = [row["text"] for row in rows] + [text[view] for view in range(views) for text in texts]
    assert torch.equal(batch["input_ids"], tokens_of(order))
    assert batch["labels"].tolist() == [row["label"] for row in rows] + [-100] * (views * len(texts))
    assert batch["text_labels"].tolist() == known


@pytest.mark.parametrize(
    "row, view",
    [
        ({"text": "a", "label": 1, "id": 3}, {"text": "b"}),
        ({"label": 1, "text": "a"}, {"url": "x", "text": "b", "score": None}),
        ({"idx": 0, "text": "a", "label": 1}, {"text": "b", "idx": "seven"}),
        ({"text": "a", "labels": 1}, {"text": "b", "label": 0}),
        ({"text": "a", "label_ids": 1}, {"text": "b"}),
        ({"text": "a", "label": 1, "labels": 2}, {"text": "b", "labels": 0}),
    ],
    ids=str,
)
def test_columns_of_one_kind_alone_and_their_order_do_not_matter(row, view):
    batch = TwoStreamCollator(RAW, RAW.label_columns)([row, Views([view, view], -100)])
    assert set(batch) - {"token_type_ids"} == {"input_ids", "attention_mask", "labels", "text_labels"}
    assert torch.equal(batch["input_ids"], tokens_of(["a", "b", "b"]))
    assert batch["labels"].tolist() == [1, -100, -100]


def test_the_label_is_where_the_collator_looks_for_it():
    collator = MixDataCollator(TOKENIZER, "text", label_column="topic")
    batch = TwoStreamCollator(collator, collator.label_columns)([{"topic": 2, "text": "a"}, Views([{"text": "b"}], 1)])
    assert batch["labels"].tolist() == [2, -100] and batch["text_labels"].tolist() == [1]
    with pytest.raises(ValueError, match="The labelled rows have no label, only text, topic: name the label column"):
        TwoStreamCollator(RAW, RAW.label_columns)([{"text": "a", "topic": 2}, Views([{"text": "b"}], 1)])


def test_pairs_are_collated_as_pairs():
    collator = MixDataCollator(TOKENIZER, "first", "second")
    features = [{"first": "a", "second": "b c", "label": 0}, Views([PAIRS[0], PAIRS[1]], -100)]
    batch = TwoStreamCollator(collator, collator.label_columns)(features)
    expected = TOKENIZER(["a", "a b", "d"], ["b c", "c", "e f"], padding=True, return_tensors="pt")
    assert torch.equal(batch["input_ids"], expected["input_ids"])


@pytest.mark.parametrize("collator", [DataCollatorWithPadding(TOKENIZER), MixDataCollator(TOKENIZER)], ids=type)
@pytest.mark.parametrize("label", ["label", "labels"])
def test_tokenised_rows_without_views(collator, label):
    def tokenised(text):
        ids = TOKENIZER(text)["input_ids"]
        return {"input_ids": ids, "attention_mask": [1] * len(ids)}

    rows = [{label: 1, **tokenised("a b c")}, {label: 0, **tokenised("d")}]
    unlabelled_rows = [{**tokenised("e f"), "label": 2, "length": 4}, {**tokenised("c"), "label": 0, "length": 3}]
    texts = UnlabeledTexts(unlabelled_rows, text_columns=[], label_column="label")
    streams = TwoStreams(rows, texts)
    features = [streams[RowId(0, 0, 0)], streams[RowId(0, 1, 0)], streams[RowId(1, 1, 0)], streams[RowId(1, 0, 0)]]
    batch = TwoStreamCollator(collator, LABEL_COLUMNS)(features)
    expected = tokens_of(["a b c", "d", "c", "e f"])
    assert torch.equal(batch["input_ids"], expected)
    assert torch.equal(batch["attention_mask"], (expected != 0).long())
    assert batch["labels"].tolist() == [1, 0, -100, -100] and batch["text_labels"].tolist() == [0, 2]
    assert set(batch) - {"token_type_ids"} == {"input_ids", "attention_mask", "labels", "text_labels"}


def test_every_row_reaches_the_collator_with_the_same_columns_and_one_label():
    given = []
    collator = TwoStreamCollator(lambda rows: given.extend(rows) or {}, LABEL_COLUMNS)
    collator([{"x": 1, "label": 5, "labels": 6, "y": 2}, Views([{"labels": 7, "y": 4, "x": 3, "z": 0}], 1)])
    assert given == [{"x": 1, "y": 2, "label": 5}, {"x": 3, "y": 4, "label": -100}]
    assert [list(row) for row in given] == [["x", "y", "label"]] * 2


def test_features_are_not_changed():
    row, view = {"text": "a", "label": 1, "id": 3}, {"text": "b", "more": 1}
    TwoStreamCollator(RAW, RAW.label_columns)([row, Views([view], 0)])
    assert row == {"text": "a", "label": 1, "id": 3} and view == {"text": "b", "more": 1}


# ---- texts of both kinds ----

# Few letters, so that texts meet, and all sorts of blanks.
SHORT = st.text(alphabet="ab \t\n\r\x0b\x1c\x85\xa0\u2003\u3000\u200b", max_size=4)


@examples(100)
@given(st.data(), st.booleans(), st.sampled_from(["list", "dataset", "selected"]))
def test_overlap_is_what_two_loops_find(data, is_pair, kind):
    names = ("first", "second") if is_pair else ("first",)
    rows = st.lists(st.fixed_dictionaries(dict.fromkeys(names, SHORT)), min_size=1, max_size=8)
    known, others = data.draw(rows), data.draw(rows)
    expected = 0
    for row in others:
        expected += any(all(row[name].strip() == each[name].strip() for name in names) for each in known)
    texts = UnlabeledTexts(as_given(others, kind), text_columns=names)
    labelled_rows = [{**row, "label": 0} for row in known]
    assert count_overlap(labelled_rows, texts) == expected


@KINDS
def test_overlap_of_originals_alone(kind):
    """Views do not count, each unlabelled text does, and a pair overlaps only as a pair."""
    rows = [{"text": " a ", "de": "x"}, {"text": "a", "de": "b"}, {"text": "A", "de": "a"}, {"text": "", "de": "a"}]
    texts = UnlabeledTexts(as_given(rows, kind), text_columns=["text"], view_columns=["de"])
    known = datasets.Dataset.from_list(
        [{"label": 0, "text": "a"}, {"label": 1, "text": "b"}, {"label": 1, "text": "a\n"}]
    )
    assert count_overlap(known, texts) == 2
    pairs = UnlabeledTexts(
        as_given([*PAIRS, {"first": "a b", "second": "e f"}], kind), text_columns=["first", "second"]
    )
    assert count_overlap([PAIRS[1], {"first": "a b", "second": "x"}], pairs) == 1


@KINDS
def test_overlap_is_counted_in_all_pieces(kind):
    """The other texts are read some at a time."""
    rows = [{"text": f"text {i}"} for i in range(20_003)]
    texts = UnlabeledTexts(as_given(rows, kind), text_columns=["text"])
    known = [{"text": f"text {i}"} for i in (0, 9_999, 10_000, 19_999, 20_000, 20_002, 20_003)]
    assert count_overlap(known, texts) == 6


CHANGES = {
    "none": lambda dataset: dataset,
    "select": lambda dataset: dataset.select([3, 3, 7, 29]),
    "slice": lambda dataset: dataset.select(range(5, 28)),
    "shuffle": lambda dataset: dataset.shuffle(seed=0),
    "filter": lambda dataset: dataset.filter(lambda row: row["number"] > 5),
    "exchange of names": lambda dataset: dataset.rename_columns({"text": "other", "other": "text"}),
    "drop": lambda dataset: dataset.remove_columns("number"),
    "map": lambda dataset: dataset.map(lambda row: {"text": row["text"] + row["other"]}),
    "cast": lambda dataset: dataset.cast_column("text", datasets.Value("large_string")),
    "twice": lambda dataset: datasets.concatenate_datasets([dataset, dataset]),
    "column": lambda dataset: dataset.add_column("more", ["x"] * 30),
}


@pytest.mark.parametrize("change", CHANGES)
def test_overlap_of_a_data_set_on_disk_is_that_of_its_rows(change, tmp_path):
    """Whatever was done to it after it was loaded, and whatever the file holds."""
    rows = [{"text": f"t{i}", "number": i, "other": "s" if i % 3 else ""} for i in range(30)]
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path)
    dataset = CHANGES[change](datasets.load_from_disk(tmp_path))
    known = [{"text": text} for text in ("t3", " t7", "t25", "t29", "t7s", "s")]
    expected = sum(row["text"] in {each["text"].strip() for each in known} for row in dataset)
    assert count_overlap(known, UnlabeledTexts(dataset, text_columns=["text"])) == expected > 0
