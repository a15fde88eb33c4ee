"""Augmenters: what they keep of a text whatever it is, and the specs that name them."""

from collections import Counter

import numpy as np
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.data.texts.augmenters import AUGMENTERS, Augmenter, SpanSwap, WordDropout, WordSwap, make_augmenter


# Any Unicode text, and texts with many words between all kinds of whitespace.
WHITESPACE = " \t\n\r\v\f\u00a0\u2003\u2028\u3000"
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.text(min_size=1, max_size=6), st.sampled_from(WHITESPACE)), max_size=40).map(
        lambda parts: " ".join(parts)
    ),
    st.text(alphabet=f"ab\u00e9\u4e2d\U0001f600{WHITESPACE}", max_size=60),
)
SEEDS = st.integers(0, 2**32)
AUGMENTER = st.one_of(
    st.floats(0, 1, exclude_min=True, exclude_max=True).map(WordDropout),
    st.floats(0, 1, exclude_min=True).map(WordSwap),
    st.floats(0, 0.5, exclude_min=True).map(SpanSwap),
)


def call(augmenter: Augmenter, text: str, seed: int) -> str:
    return augmenter(text, np.random.default_rng(seed))


@examples(150)
@given(AUGMENTER, TEXTS, SEEDS)
def test_any_augmenter_on_any_text(augmenter: Augmenter, text: str, seed: int) -> None:
    result = call(augmenter, text, seed)
    assert result == call(augmenter, text, seed)
    assert bool(result) == bool(text)
    if len(text.split()) < 2:
        assert result == text
    else:
        assert result.split(" ") == result.split()
        assert set(result.split()) <= set(text.split())


@examples(150)
@given(st.one_of(st.floats(0.01, 1).map(WordSwap), st.floats(0.01, 0.5).map(SpanSwap)), TEXTS, SEEDS)
def test_swaps_keep_all_words(augmenter: Augmenter, text: str, seed: int) -> None:
    assert Counter(call(augmenter, text, seed).split()) == Counter(text.split())


@examples(150)
@given(st.floats(0.01, 0.99), TEXTS, SEEDS)
def test_dropout_keeps_the_order(probability: float, text: str, seed: int) -> None:
    remaining = iter(text.split())
    assert all(word in remaining for word in call(WordDropout(probability), text, seed).split())


@examples(150)
@given(st.integers(2, 50), st.floats(0.01, 0.5), SEEDS)
def test_span_swap_exchanges_two_spans_of_the_right_length(count: int, span: float, seed: int) -> None:
    words = [str(i) for i in range(count)]
    result = call(SpanSwap(span), " ".join(words), seed).split()
    length = min(max(1, round(span * count)), count // 2)
    moved = [i for i in range(count) if result[i] != words[i]]
    first, last = moved[0], moved[-1]
    assert result[first : first + length] == words[last - length + 1 : last + 1]
    assert result[last - length + 1 : last + 1] == words[first : first + length]
    assert result[first + length : last - length + 1] == words[first + length : last - length + 1]


def test_span_swap_draws_all_pairs_alike():
    augmenter, text = SpanSwap(0.4), "0 1 2 3 4"
    rng = np.random.default_rng(0)
    counts = Counter(augmenter(text, rng) for _ in range(3000))
    assert set(counts) == {"2 3 0 1 4", "3 4 2 0 1", "0 3 4 1 2"}
    assert min(counts.values()) > 900


def test_dropout_drops_the_share_it_says():
    text = " ".join(["word"] * 20_000)
    assert len(call(WordDropout(0.3), text, 0).split()) == pytest.approx(14_000, rel=0.03)
    rng = np.random.default_rng(0)
    assert Counter(WordDropout(0.999)("a b", rng) for _ in range(200)).keys() == {"a", "b"}


def test_word_swap_counts_its_swaps():
    text = " ".join(map(str, range(100)))
    changed = {
        probability: sum(
            a != b for a, b in zip(call(WordSwap(probability), text, 0).split(), text.split(), strict=True)
        )
        for probability in (0.001, 0.05)
    }
    assert changed[0.001] == 2 and 2 < changed[0.05] <= 10


@pytest.mark.parametrize("name", AUGMENTERS)
def test_specs(name):
    assert make_augmenter(name) == AUGMENTERS[name]() and AUGMENTERS[name]().name == name
    assert make_augmenter(f"{name}:0.25") == AUGMENTERS[name](0.25)
    assert make_augmenter(f"{name}:0.25") != make_augmenter(name)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("synonyms", ["'synonyms'", "word_dropout, word_swap, span_swap"]),
        ("", ["''", "word_dropout, word_swap, span_swap"]),
        ("word_dropout:much", ["'word_dropout:much'", "'much'", "probability", "word_dropout:0.1", "span_swap"]),
        ("word_dropout:", ["''", "word_dropout:0.1"]),
        ("word_dropout:1", ["word_dropout", "probability", "1.0", "below 1"]),
        ("word_dropout:nan", ["probability", "nan"]),
        ("word_swap:0", ["word_swap", "probability", "0.0", "above 0"]),
        ("word_swap:1.1", ["1.1", "at most 1"]),
        ("span_swap:0.6", ["span_swap", "span", "0.6", "at most 0.5"]),
    ],
)
def test_wrong_specs(spec, said):
    with pytest.raises(ValueError) as refused:
        make_augmenter(spec)
    for part in said:
        assert part in str(refused.value)
