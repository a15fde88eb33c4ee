"""Noisy texts, for the accuracy of a classifier on them: typos, swapped letters, random case, missing words.

The errors are those that Belinkov & Bisk ("Synthetic and Natural Noise Both Break Neural Machine Translation", ICLR 2018,
https://arxiv.org/abs/1711.02173, section 4) make by keyboard and by swaps, and the word dropout of
`data/texts/augmenters.py`. How strong the five levels are is this package's choice, [`NOISES`] holds it: no data set fixes it.

A character here is one that a reader sees: a letter with the marks that combine with it, or what a zero-width joiner joins.
It is changed as a whole. Words are what whitespace separates; all noises but the dropout of words leave the whitespace, and
the number of words, as they are. A model without case in its vocabulary does not see random case.

Randomness is counted: a noisy text is a pure function of the text, the seed, its index, the level and the name. Nothing
here knows a model or a tokenizer.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mixtext_hf._numbers import is_index
from mixtext_hf.data.texts.augmenters import WordDropout


LEVELS = (1, 2, 3, 4, 5)

Apply = Callable[[str, float, np.random.Generator], str]


@dataclass(frozen=True)
class TextNoise:
    """
    A noise and its strengths.

    Attributes:
        apply (`Callable`): From a text, a share and a random generator to the noisy text.
        shares (`tuple[float, ...]`): The chance of each place to be changed, at levels 1 to 5, above 0 and below 1.
        unit (`str`): What a place is.
    """

    apply: Apply
    shares: tuple[float, ...]
    unit: str


def add_noise(text: str, name: str, level: int, *, seed: int = 0, index: int = 0) -> str:
    """
    A noisy copy of a text.

    ```python
    noisy = [add_noise(row["text"], "typos", 3, seed=seed, index=i) for i, row in enumerate(dev)]
    ```

    Args:
        text (`str`): Any text.
        name (`str`): One of [`NOISES`].
        level (`int`): From 1 to 5.
        seed (`int`, *optional*, defaults to 0): At least 0.
        index (`int`, *optional*, defaults to 0):
            Of the text in its data set, at least 0. The noise is drawn with
            `numpy.random.default_rng([seed, index, level, zlib.crc32(name.encode())])`, and neither the order of texts nor the
            other noises matter.

    Returns:
        `str`: with a word in it if there is one in `text`, which may by chance be the same. `text` itself if there is
        none.

    Raises:
        `TypeError`: if `text` is no string.
        `ValueError`: if there is no such noise or level, or if `seed` or `index` is no whole number from 0 on.
    """
    if not isinstance(text, str):
        raise TypeError(f"`text` must be a string, got {type(text).__name__}: give each text of a row by itself.")
    if name not in NOISES:
        raise ValueError(f"There is no text noise {name!r}: choose from {', '.join(NOISES)}.")
    # True is 1 for Python, and numpy's integers are whole numbers.
    if isinstance(level, bool) or level not in LEVELS:
        raise ValueError(f"`level` must be a whole number from 1 to 5, got {level!r}.")
    for argument, number in (("seed", seed), ("index", index)):
        if not is_index(number) or number < 0:
            raise ValueError(f"`{argument}` must be a whole number, at least 0, got {number!r}.")
    if not text.split():
        return text
    noise = NOISES[name]
    rng = np.random.default_rng([seed, index, int(level), zlib.crc32(name.encode())])
    return noise.apply(text, noise.shares[int(level) - 1], rng)


# ---- the noises: the chance is that of each place by itself ----


def typos(text: str, share: float, rng: np.random.Generator) -> str:
    """
    Each character of a word is, with this chance, mistyped in one of four ways, drawn uniformly from those it has: replaced
    by a key beside it, left out, followed by a key beside it, or repeated. Keys are those of a US keyboard, a capital's are
    capitals: other characters are left out or repeated. The only character of a word is not left out.
    """

    def mistype(word: list[str]) -> list[str]:
        typed = []
        hits = rng.random(len(word)) < share
        remaining = len(word)
        for character, hit in zip(word, hits, strict=True):
            if not hit:
                typed.append(character)
                continue
            beside = _beside(character)
            ways = ["repeat", *(["leave out"] if remaining > 1 else []), *(["replace", "insert"] if beside else [])]
            way = ways[rng.integers(len(ways))]
            if way == "leave out":
                remaining -= 1
                continue
            key = beside[rng.integers(len(beside))] if way in ("replace", "insert") else character
            typed += [key] if way == "replace" else [character, key]
        return typed

    return _change_words(text, mistype)


def swaps(text: str, share: float, rng: np.random.Generator) -> str:
    """
    From left to right, each two neighbouring characters of a word are, with this chance, typed in the wrong order; none is
    in two swaps. Neighbours that are the same are no place.
    """

    def swap(word: list[str]) -> list[str]:
        word = list(word)
        hits = rng.random(len(word)) < share
        place = 0
        while place < len(word) - 1:
            if hits[place] and word[place] != word[place + 1]:
                word[place], word[place + 1] = word[place + 1], word[place]
                place += 1
            place += 1
        return word

    return _change_words(text, swap)


def random_case(text: str, share: float, rng: np.random.Generator) -> str:
    """
    Each letter that has a capital or is one changes, with this chance, from one to the other. Letters whose other case is
    more than one letter, such as ß, are no place.
    """

    def flip(word: list[str]) -> list[str]:
        hits = rng.random(len(word)) < share
        return [_other_case(character) if hit else character for character, hit in zip(word, hits, strict=True)]

    return _change_words(text, flip)


def word_dropout(text: str, share: float, rng: np.random.Generator) -> str:
    """[`~mixtext_hf.data.texts.augmenters.WordDropout`]: the words that are left, one at least, between single spaces."""
    return WordDropout(share)(text, rng)


NOISES: dict[str, TextNoise] = {
    "typos": TextNoise(typos, (0.01, 0.02, 0.05, 0.10, 0.20), "characters of words"),
    "swaps": TextNoise(swaps, (0.01, 0.02, 0.05, 0.10, 0.20), "pairs of neighbouring characters of a word"),
    "random_case": TextNoise(random_case, (0.05, 0.10, 0.20, 0.35, 0.50), "letters that have two cases"),
    "word_dropout": TextNoise(word_dropout, (0.05, 0.10, 0.20, 0.30, 0.50), "words"),
}
"""Every noise with its strengths."""


# ---- words, characters and keys ----


def characters(word: str) -> list[str]:
    """
    The characters of a word as a reader sees them, nearly: marks that combine, variation selectors and skin tones stay with
    what they follow, a zero-width joiner joins, and regional indicators go in pairs. Syllables of single Hangul letters are
    not put together.

    Args:
        word (`str`): Any string.

    Returns:
        `list[str]`: not empty strings, which joined are the word.
    """
    found: list[str] = []
    for point in word:
        if found and (_extends(point) or found[-1][-1] == _JOINER or _completes_flag(found[-1], point)):
            found[-1] += point
        else:
            found.append(point)
    return found


_JOINER = "\u200d"
_ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")


def _extends(point: str) -> bool:
    # Skin tones are symbols, not marks.
    return unicodedata.category(point).startswith("M") or point == _JOINER or "\U0001f3fb" <= point <= "\U0001f3ff"


def _completes_flag(before: str, point: str) -> bool:
    return len(before) == 1 and all("\U0001f1e6" <= one <= "\U0001f1ff" for one in (before, point))


def _keys_beside() -> dict[str, str]:
    """The keys that touch each key: every row stands half a key to the right of the one above it."""
    places = {key: (row, column) for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)}
    steps = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    keys = {place: key for key, place in places.items()}
    return {
        key: "".join(keys[row + down, column + right] for down, right in steps if (row + down, column + right) in keys)
        for key, (row, column) in places.items()
    }


_BESIDE = _keys_beside()


def _beside(character: str) -> str:
    """The keys that touch the key of a character, one letter or digit each; none if it has no key."""
    lower = _BESIDE.get(character)
    return lower or _BESIDE.get(character.lower(), "").upper()


def _other_case(character: str) -> str:
    """The character with its letter in the other case, or as it is."""
    other = character[0].swapcase()
    return other + character[1:] if len(other) == 1 else character


def _change_words(text: str, change: Callable[[list[str]], list[str]]) -> str:
    """The text with the characters of each word changed; whitespace stays."""
    # Every second part is a word: what `str.split` takes for whitespace, `\s` does too.
    parts = re.split(r"(\S+)", text)
    parts[1::2] = ["".join(change(characters(word))) for word in parts[1::2]]
    return "".join(parts)
