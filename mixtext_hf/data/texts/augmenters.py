"""Augmenters that need no model: they leave out or reorder words. Pure functions of a text and a random generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mixtext_hf.data.named import make_named


@dataclass(frozen=True)
class Augmenter:
    """
    Base of all augmenters. Words are what whitespace separates; they come back separated by single spaces.

    An augmenter has one number, its only field, and never makes a text empty.
    """

    name: ClassVar[str]

    def __call__(self, text: str, rng: np.random.Generator) -> str:
        """
        Another wording of a text.

        Args:
            text (`str`): Any text; one of fewer than two words comes back as it is.
            rng (`numpy.random.Generator`): The only source of chance.

        Returns:
            `str`
        """
        words = text.split()
        return text if len(words) < 2 else " ".join(self.augment(words, rng))

    def augment(self, words: list[str], rng: np.random.Generator) -> list[str]:
        """At least one word made of at least two, in a new list."""
        raise NotImplementedError


@dataclass(frozen=True)
class WordDropout(Augmenter):
    """
    Leave out each word with the same chance; where all would go, one drawn at random stays. The random deletion of EDA
    (Wei and Zou 2019, https://aclanthology.org/D19-1670).

    Args:
        probability (`float`, *optional*, defaults to 0.1): The chance of each word, above 0 and below 1.
    """

    probability: float = 0.1

    name: ClassVar[str] = "word_dropout"

    def __post_init__(self) -> None:
        if not 0 < self.probability < 1:
            raise ValueError(f"{self.name}: probability must be above 0 and below 1, got {self.probability!r}.")

    def augment(self, words: list[str], rng: np.random.Generator) -> list[str]:
        kept = rng.random(len(words)) >= self.probability
        if not kept.any():
            kept[rng.integers(len(words))] = True
        return [word for word, keep in zip(words, kept, strict=True) if keep]


@dataclass(frozen=True)
class WordSwap(Augmenter):
    """
    Exchange two words at random places, `max(1, round(probability * words))` times. The random swap of EDA (Wei and
    Zou 2019, https://aclanthology.org/D19-1670).

    Args:
        probability (`float`, *optional*, defaults to 0.1): Exchanges for each word of the text, above 0 and at most 1.
    """

    probability: float = 0.1

    name: ClassVar[str] = "word_swap"

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise ValueError(f"{self.name}: probability must be above 0 and at most 1, got {self.probability!r}.")

    def augment(self, words: list[str], rng: np.random.Generator) -> list[str]:
        words = list(words)
        for _ in range(max(1, round(self.probability * len(words)))):
            first, other = int(rng.integers(len(words))), int(rng.integers(len(words) - 1))
            second = other + (other >= first)
            words[first], words[second] = words[second], words[first]
        return words


@dataclass(frozen=True)
class SpanSwap(Augmenter):
    """
    Exchange two spans of neighbouring words that do not overlap, drawn uniformly from all such pairs.

    Args:
        span (`float`, *optional*, defaults to 0.1):
            The share of the words that each of the two spans holds (rounded, at least one word), above 0 and at most
            0.5.
    """

    span: float = 0.1

    name: ClassVar[str] = "span_swap"

    def __post_init__(self) -> None:
        if not 0 < self.span <= 0.5:
            raise ValueError(f"{self.name}: span must be above 0 and at most 0.5, got {self.span!r}.")

    def augment(self, words: list[str], rng: np.random.Generator) -> list[str]:
        length = min(max(1, round(self.span * len(words))), len(words) // 2)
        # Each span counts as one place among the words that are in neither: two different places give all pairs once.
        places = len(words) - 2 * length + 2
        first, second = sorted(int(i) for i in rng.choice(places, size=2, replace=False))
        second += length - 1
        return [
            *words[:first],
            *words[second : second + length],
            *words[first + length : second],
            *words[first : first + length],
            *words[second + length :],
        ]


AUGMENTERS: dict[str, type[Augmenter]] = {augmenter.name: augmenter for augmenter in (WordDropout, WordSwap, SpanSwap)}


def make_augmenter(spec: str) -> Augmenter:
    """
    Make the augmenter that a user names.

    Args:
        spec (`str`): A name of [`AUGMENTERS`], with or without a colon and its number: `"word_dropout:0.2"`.

    Returns:
        [`Augmenter`]

    Raises:
        `ValueError`: if there is no such augmenter, or its number is none or out of range.
    """
    return make_named(spec, AUGMENTERS, "augmenter")
