import logging
import math
import pickle
import warnings
from typing import Any

import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from mixtext_hf.data import MixDataCollator


WORDS = ["red", "green", "blue", "one", "two"]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def make_tokenizer(**kwargs: Any) -> PreTrainedTokenizerFast:
    vocab = {token: i for i, token in enumerate([*SPECIAL, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **kwargs,
    )


TOKENIZER = make_tokenizer()
texts = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


def padded_by_hand(rows: list[list[int]], pad: int, length: int) -> torch.Tensor:
    return torch.tensor([row + [pad] * (length - len(row)) for row in rows])


@examples(60)
@given(
    st.lists(st.tuples(texts, texts), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([None, 3, 7]),
    st.sampled_from([None, 8]),
)
def test_equals_tokenising_one_by_one(
    rows: list[tuple[str, str]], pair: bool, max_length: int | None, multiple: int | None
) -> None:
    collator = MixDataCollator(
        TOKENIZER, "a", "b" if pair else None, max_length=max_length, pad_to_multiple_of=multiple
    )
    features = [{"a": a, "b": b, "label": i} for i, (a, b) in enumerate(rows)]
    batch = collator(features)

    # Lists of one: called with two strings, the tokenizer takes an empty second text for none at all.
    truncation = {"truncation": max_length is not None, "max_length": max_length}
    encoded = [TOKENIZER([a], [b] if pair else None, **truncation) for a, b in rows]
    one_by_one = [{name: values[0] for name, values in row.items()} for row in encoded]
    length = max(len(row["input_ids"]) for row in one_by_one)
    length = length if multiple is None else -(-length // multiple) * multiple
    assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
    for name, pad in (("input_ids", TOKENIZER.pad_token_id), ("attention_mask", 0), ("token_type_ids", 0)):
        assert torch.equal(batch[name], padded_by_hand([row[name] for row in one_by_one], pad, length))
    assert torch.equal(batch["labels"], torch.arange(len(rows)))

    # Rows tokenised beforehand give the same batch; columns that are no model input do not get in.
    ready = [{**row, "a": "text", "idx": 7, "label": i} for i, row in enumerate(one_by_one)]
    from_ready = MixDataCollator(TOKENIZER, "a", pad_to_multiple_of=multiple)(ready)
    assert set(from_ready) == set(batch)
    assert all(torch.equal(from_ready[name], batch[name]) for name in batch)


def test_ready_ids_are_taken_as_they_are() -> None:
    batch = MixDataCollator(TOKENIZER, max_length=2)([{"input_ids": [1, 5, 6, 2]}, {"input_ids": [1, 2]}])
    assert batch["input_ids"].tolist() == [[1, 5, 6, 2], [1, 2, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0]]


def test_the_default_length_is_the_tokenizers() -> None:
    long = [{"text": "red " * 50}]
    assert MixDataCollator(make_tokenizer(model_max_length=10), "text")(long)["input_ids"].shape == (1, 10)
    assert MixDataCollator(make_tokenizer(model_max_length=10), "text", max_length=6)(long)["input_ids"].shape == (
        1,
        6,
    )
    # Without a known length nothing is cut.
    assert MixDataCollator(TOKENIZER, "text")(long)["input_ids"].shape == (1, 52)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2, 0], torch.tensor([2, 0])),
        ([True, False], torch.tensor([1, 0])),
        ([1, None], torch.tensor([1, -100])),
        ([-1, -1], torch.tensor([-100, -100])),
        ([None, None], torch.tensor([-100, -100])),
        ([0.5, -1.0], torch.tensor([0.5, -1.0])),
        ([0.5, None], torch.tensor([0.5, math.nan])),
        ([0.5, -100.0], torch.tensor([0.5, -100.0])),
        ([[1.0, 0.0], [0.0, 0.0]], torch.tensor([[1.0, 0.0], [0.0, 0.0]])),
        ([[1, 0], None], torch.tensor([[1.0, 0.0], [math.nan, math.nan]])),
        ([torch.tensor(3), torch.tensor(1)], torch.tensor([3, 1])),
    ],
)
def test_labels(labels: list[Any], expected: torch.Tensor) -> None:
    batch = MixDataCollator(TOKENIZER, "text")([{"text": "red", "label": label} for label in labels])
    torch.testing.assert_close(batch["labels"], expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "labels",
    [
        [0.5, math.nan],
        [0.5, torch.tensor(math.inf)],
        [None, -math.inf],
        [0, math.nan],
        # Finite, but not in float32.
        [0.5, 1e39],
        [[0.0, 1.0], [math.nan, 1.0]],
        [None, [1.0, None]],
        [[1, 0], torch.tensor([math.nan, 1.0])],
    ],
    ids=str,
)
def test_labels_must_be_finite(labels: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"label column 'label' holds .* in row 1 of the batch: .*None"):
        MixDataCollator(TOKENIZER, "text")([{"text": "red", "label": label} for label in labels])


def test_a_hidden_score_is_no_number() -> None:
    rows = [{"text": "red", "label": label} for label in (None, -100, 2)]
    labels = MixDataCollator(TOKENIZER, "text", is_regression=True)(rows)["labels"]
    assert labels.isnan().tolist() == [True, False, False] and labels[1:].tolist() == [-100.0, 2.0]


def test_where_labels_come_from() -> None:
    collator = MixDataCollator(TOKENIZER, "text")
    assert "labels" not in collator([{"text": "red"}])
    assert collator([{"text": "red", "labels": 3}])["labels"].tolist() == [3]
    assert collator([{"text": "red", "label_ids": 4}])["labels"].tolist() == [4]
    assert collator([{"text": "red", "labels": 3, "label": 5}])["labels"].tolist() == [5]
    named = MixDataCollator(TOKENIZER, "text", label_column="topic")
    assert named([{"text": "red", "topic": 6, "labels": 3}])["labels"].tolist() == [6]


def test_columns_are_those_it_reads() -> None:
    collator = MixDataCollator(TOKENIZER, "a", "b", label_column="topic")
    assert collator.columns == [
        "a",
        "b",
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "topic",
        "labels",
        "label_ids",
    ]
    row = {"a": "red", "b": "one two", "topic": 1, "unused": "x"}
    kept = {name: value for name, value in row.items() if name in collator.columns}
    assert "unused" not in kept
    assert all(torch.equal(collator([kept])[name], value) for name, value in collator([row]).items())


@pytest.mark.parametrize(("value", "kind"), [(None, "NoneType"), (3, "int"), (["red"], "list")])
def test_a_text_that_is_no_str_is_named(value: Any, kind: str) -> None:
    collator = MixDataCollator(TOKENIZER, "text", "pair")
    with pytest.raises(TypeError, match=rf"'pair'.*{kind} in row 1"):
        collator([{"text": "red", "pair": "one"}, {"text": "red", "pair": value}])


def test_errors_name_what_is_wrong() -> None:
    collator = MixDataCollator(TOKENIZER, "text")
    with pytest.raises(ValueError, match=r"Row 0 .* no column 'text'.*remove_unused_columns=False"):
        collator([{"label": 1}])
    with pytest.raises(ValueError, match=r"no `input_ids`.*no `text_column`"):
        MixDataCollator(TOKENIZER)([{"words": "red"}])
    with pytest.raises(ValueError, match=r"'label' must hold lists of one length.*\[1, 2\]"):
        collator([{"text": "red", "label": [1]}, {"text": "red", "label": [1, 0]}])
    with pytest.raises(TypeError, match=r"'label' holds 'sport' of type str in row 0.*ids"):
        collator([{"text": "red", "label": "sport"}])
    with pytest.raises(ValueError, match=r"`text_pair_column` is 'b' without a `text_column`"):
        MixDataCollator(TOKENIZER, text_pair_column="b")
    with pytest.raises(ValueError, match=r"`max_length` is 0"):
        MixDataCollator(TOKENIZER, "text", max_length=0)


def test_survives_pickling_and_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    collator = pickle.loads(pickle.dumps(MixDataCollator(make_tokenizer(), "text")))
    raw = [{"text": "red", "label": 0}, {"text": "one two", "label": 1}]
    library_logger = logging.getLogger("transformers")
    library_logger.addHandler(caplog.handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            batches = [collator(raw) for _ in range(3)]
            collator([{"input_ids": [1, 2]}])
    finally:
        library_logger.removeHandler(caplog.handler)
    assert caplog.records == []
    # Nothing in it is random, and the rows it was given stay as they were.
    assert all(torch.equal(batches[0][name], batch[name]) for batch in batches for name in batch)
    assert raw == [{"text": "red", "label": 0}, {"text": "one two", "label": 1}]


def test_whole_numbers_are_scores_in_a_regression():
    rows = [{"input_ids": [2, 5, 3], "label": label} for label in (-1, 0, 4)]
    scores = MixDataCollator(TOKENIZER, is_regression=True)(rows)["labels"]
    assert scores.dtype == torch.float32 and scores.tolist() == [-1.0, 0.0, 4.0]
