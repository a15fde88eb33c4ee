"""Noisy texts: what holds for every text, how much of it changes, and each noise by hand."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import numpy as np
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.data.texts.augmenters import WordDropout
from mixtext_hf.evaluation.robustness import text_noise
from mixtext_hf.evaluation.robustness.text_noise import LEVELS, NOISES, add_noise, characters


# Any Unicode text, and texts of letters, marks, joiners and emoji between all kinds of whitespace.
FAMILY = "\U0001f469\u200d\U0001f469\U0001f3fd\u200d\U0001f467"
PIECES = [
    "a",
    "B",
    "z",
    "7",
    ".",
    "\u00df",
    "\u00e9",
    "e\u0301",
    "\u4e2d",
    "\U0001f600",
    FAMILY,
    "\u0915\u094d\u0937\u093f",
]
WHITESPACE = list(" \t\n\r\v\f\u00a0\u2003\u2028\u3000")
PIECED = st.lists(st.sampled_from([*PIECES, *WHITESPACE, " "]), max_size=60).map("".join)
TEXTS = st.one_of(
    st.text(max_size=60),
    PIECED,
    st.text(alphabet=st.characters(), max_size=30),
)
KEEP_WORDS = ("typos", "swaps", "random_case")
# 3,600 words of 6 letters, no two neighbours of which are the same.
PROSE = " ".join(["planet", "marble", "Social", "Winter"] * 900)


def spaces(text: str) -> list[str]:
    return re.findall(r"\s+", text)


# ---- every noise of every text ----


@examples(400)
@given(TEXTS, st.sampled_from(list(NOISES)), st.sampled_from(LEVELS), st.integers(0, 2**40))
def test_any_noise_of_any_text(text, name, level, index):
    noisy = add_noise(text, name, level, seed=1, index=index)
    assert noisy == add_noise(text, name, level, seed=1, index=index)
    assert bool(noisy.split()) == bool(text.split()) and bool(noisy) == bool(text)
    if name in KEEP_WORDS:
        assert spaces(noisy) == spaces(text) and len(noisy.split()) == len(text.split())
    else:
        words = iter(text.split())
        assert all(word in words for word in noisy.split()), "words stay in order"
    # No new character but keys of a keyboard and other cases.
    new = set(noisy) - set(text) - {" "}
    assert all(one in "0123456789" or one.isalpha() or unicodedata.category(one)[0] == "M" for one in new)
    assert name == "typos" or name == "random_case" or not new
    if not any(0xD800 <= ord(one) <= 0xDFFF for one in text):
        noisy.encode("utf-8")


@examples(200)
@given(PIECED, st.sampled_from(LEVELS), st.integers(0, 2**40))
def test_characters_stay_together(text, level, index):
    """Swaps only reorder them, within each word."""
    noisy = add_noise(text, "swaps", level, index=index)
    for word, other in zip(text.split(), noisy.split(), strict=True):
        assert Counter(characters(word)) == Counter(characters(other))


@examples(200)
@given(st.text(max_size=30))
def test_characters_are_parts_of_the_word(word):
    parts = characters(word)
    assert "".join(parts) == word and all(parts)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("abc", ["a", "b", "c"]),
        ("e\u0301te\u0301", ["e\u0301", "t", "e\u0301"]),
        ("\u0301a", ["\u0301", "a"]),
        ("a\u0308\u0323b", ["a\u0308\u0323", "b"]),
        (FAMILY + "x", [FAMILY, "x"]),
        ("\u2764\ufe0f!", ["\u2764\ufe0f", "!"]),
        ("\U0001f44d\U0001f3fd", ["\U0001f44d\U0001f3fd"]),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", ["\U0001f1e9\U0001f1ea", "\U0001f1eb\U0001f1f7"]),
        ("", []),
    ],
)
def test_what_a_character_is(word, expected):
    assert characters(word) == expected


@pytest.mark.parametrize("name", NOISES)
def test_what_chance_depends_on(name):
    text = PROSE[:700]
    one = add_noise(text, name, 3, seed=1, index=2)
    add_noise(text, "typos", 5, seed=7, index=7)
    np.random.rand()
    assert one == add_noise(text, name, 3, seed=1, index=2)
    others = [add_noise(text, name, 3, seed=2, index=2), add_noise(text, name, 3, seed=1, index=3)]
    assert len({one, *others, add_noise(text, name, 4, seed=1, index=2), text}) == 5


def test_levels_are_shares_that_rise():
    assert set(NOISES) == {"typos", "swaps", "random_case", "word_dropout"}
    for noise in NOISES.values():
        assert len(noise.shares) == 5 and list(noise.shares) == sorted(set(noise.shares)) and noise.unit
        assert all(0 < share < 1 for share in noise.shares)


# ---- how much changes ----


def share_of_swaps(noisy: str) -> float:
    """Swaps for each place that the scan looks at, which leaves out the second letter of every swap."""
    swapped = places = 0
    for word, other in zip(PROSE.split(), noisy.split(), strict=True):
        place = 0
        while place < len(word) - 1:
            places += 1
            if word[place] != other[place]:
                assert word[place : place + 2] == other[place : place + 2][::-1]
                swapped += 1
                place += 1
            place += 1
    return swapped / places


@pytest.mark.parametrize("level", LEVELS)
def test_the_share_that_changes(level):
    def close(share):
        return pytest.approx(share, rel=0.15)

    def noisy(name):
        return add_noise(PROSE, name, level), NOISES[name].shares[level - 1]

    text, share = noisy("random_case")
    assert np.mean([a != b for a, b in zip(text, PROSE, strict=True) if b != " "]) == close(share)
    text, share = noisy("swaps")
    assert share_of_swaps(text) == close(share)
    text, share = noisy("word_dropout")
    assert 1 - len(text.split()) / 3600 == close(share)
    text, share = noisy("typos")
    # A word of six letters is whole if none of them was hit: each of the four ways changes it.
    changed = np.mean([a != b for a, b in zip(text.split(), PROSE.split(), strict=True)])
    assert changed == close(1 - (1 - share) ** 6)


def test_each_way_of_mistyping_is_as_frequent():
    rng = np.random.default_rng(0)
    # One word that is always hit once: the letter in the middle, told apart from its neighbours by its keys.
    counts: Counter[str] = Counter()
    for _ in range(4000):
        typed = text_noise.typos("1g1", 0.3, rng)
        kinds = {"1g1": "none", "11": "leave out", "1gg1": "repeat"}
        inserted, replaced = re.fullmatch("1g([fhtyvb])1", typed), re.fullmatch("1([fhtyvb])1", typed)
        counts[kinds.get(typed) or ("insert" if inserted else "replace" if replaced else "others")] += 1
    ways = [counts[way] for way in ("leave out", "repeat", "insert", "replace")]
    # 0.3 of the middle, the others not hit: 0.3 * 0.7 * 0.7 / 4 each.
    assert ways == pytest.approx([4000 * 0.3 * 0.49 / 4] * 4, rel=0.25)


# ---- each noise by hand ----


def test_words_of_one_character_are_not_left_out():
    rng = np.random.default_rng(0)
    typed = [text_noise.typos("a \u4e2d", 1.0, rng).split(" ") for _ in range(200)]
    assert {one for _, one in typed} == {"\u4e2d\u4e2d"}
    assert {one for one, _ in typed} == {"aa", *"qwsz", *("a" + key for key in "qwsz")}


def test_a_word_whose_letters_are_all_hit_keeps_one():
    rng = np.random.default_rng(1)
    assert all(text_noise.typos("\u4e2d\u4e2d\u4e2d", 1.0, rng) for _ in range(200))


def test_keys_beside_each_other():
    assert set(text_noise._beside("g")) == set("fhtyvb")
    assert set(text_noise._beside("Q")) == set("WA12")
    assert set(text_noise._beside("m")) == set("njk")
    assert text_noise._beside("\u00e9") == text_noise._beside("!") == text_noise._beside("e\u0301") == ""
    for key, beside in text_noise._BESIDE.items():
        assert len(set(beside)) == len(beside) and all(key in text_noise._BESIDE[other] for other in beside)


def test_swaps_by_hand():
    always = [0.0] * 9

    class Draws:
        def random(self, count):
            return np.array(always[:count])

    assert text_noise.swaps("abcde  ab\ta aab", 0.5, Draws()) == "badce  ba\ta aba"
    always = [0.0, 0.9, 0.9, 0.0, 0.9]
    assert text_noise.swaps("abcde e\u0301t", 0.5, Draws()) == "baced te\u0301"


def test_random_case_by_hand():
    class Draws:
        def random(self, count):
            return np.zeros(count)

    given_text = "Stra\u00dfe, \u00c9te\u0301 e\u0301 \u01c6 12 \u4e2d"
    assert text_noise.random_case(given_text, 0.5, Draws()) == "sTRA\u00dfE, \u00e9TE\u0301 E\u0301 \u01c4 12 \u4e2d"


def test_word_dropout_is_that_of_the_augmenters():
    text = "  one two\tthree\n four five  six seven eight "
    rng = np.random.default_rng([3, 8, 5, 0])
    assert text_noise.word_dropout(text, 0.5, rng) == WordDropout(0.5)(text, np.random.default_rng([3, 8, 5, 0]))
    assert add_noise(" one ", "word_dropout", 5) == " one "


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
@pytest.mark.parametrize("name", NOISES)
def test_a_text_without_words_stays(name, text):
    assert add_noise(text, name, 5) == text


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "leet"}, "There is no text noise 'leet': choose from typos, swaps, random_case, word_dropout"),
        ({"level": 0}, "`level` must be a whole number from 1 to 5, got 0"),
        ({"level": 6}, "got 6"),
        ({"level": True}, "got True"),
        ({"level": 2.5}, "got 2.5"),
        ({"seed": -1}, "`seed` must be a whole number, at least 0, got -1"),
        ({"index": 0.5}, "`index` must be.*got 0.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        add_noise(**{"text": "some words", "name": "typos", "level": 3, **arguments})


@pytest.mark.parametrize("text", [None, ["a", "b"], b"bytes"])
def test_what_is_no_text(text):
    with pytest.raises(TypeError, match="`text` must be a string, got"):
        add_noise(text, "typos", 1)
