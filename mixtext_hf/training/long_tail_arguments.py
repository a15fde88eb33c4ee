"""The training arguments for classes that are not equally frequent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mixtext_hf._numbers import is_number


BALANCED = "balanced"
LONG_TAIL = ("class_weights", "logit_adjustment", "sampler", "remix_kappa", "remix_tau")
_SAMPLERS = ("random", BALANCED)


@dataclass(repr=False)
class LongTailArguments:
    r"""
    What is made of classes that are not equally frequent, for single-label tasks and any method.

    Prior and counts are those of the labelled training rows as they were chosen. Of the loss each row has its part in the mean over the rows,
    whatever it weighs. Nothing of this touches evaluation and prediction. Losses of consistency and on unlabelled texts stay as they are: of what
    classes those texts are the labelled rows do not say, and guesses follow `guess_shares`, or `align` of the method. With the default of
    `align`, guesses of the model in training are drawn to the long tail: give `"uniform"`, or the shares. The first classifier, which guesses
    before training, learns from the labelled rows as they are.

    Args:
        class_weights (`"balanced"`, `list[float]`, `dict[str, float]` or JSON `str`, *optional*):
            What the labels of each class weigh in the loss, those of both partners of a mixed row by their shares: a number a class in the
            order of the model's, or numbers by the names of classes, of which others weigh 1. They are scaled so that their mean over the
            training rows is 1. `"balanced"`: by 1 / rows of the class.
        logit_adjustment (`float`, *optional*, defaults to 0.0):
            `tau` of logit adjustment (Menon et al. 2021): `tau log prior` is added to the logits where the labelled loss is taken of them.
            1 makes the logits those of classes as frequent as each other; 0: none.
        sampler (`str`, *optional*):
            `"balanced"`: every class as often, its rows at random with replacement, an epoch as long as without. Not given, or `"random"`: all
            rows once, by `train_sampling_strategy`.
        remix_kappa (`float`, *optional*):
            Labels of mixed rows as in Remix (Chou et al. 2020): of a pair of whose classes one has at least `kappa` times as many rows as the
            other (3 in the paper), the whole label is the rarer one where it has more than `1 - remix_tau` of the input. For methods that
            mix. A row whose label is guessed is of its likeliest class.
        remix_tau (`float`, *optional*, defaults to 0.5): See `remix_kappa`; in `[0, 1]`.
    """

    # On the command line a list of words.
    class_weights: dict[str, float] | str | list[float] | None = field(
        default=None,
        metadata={
            "help": "What each class weighs in the loss: 'balanced' (1 / its rows), numbers in the order of the classes, or JSON by their "
            "names, such as '{\"spam\": 5}'.",
            "nargs": "+",
        },
    )
    logit_adjustment: float = field(
        default=0.0,
        metadata={
            "help": "Add so many times the log prior of the classes to the logits in the loss; 1 for rare ones."
        },
    )
    sampler: str | None = field(
        default=None,
        metadata={"help": "'balanced' draws every class as often, with replacement; 'random' if not given."},
    )
    remix_kappa: float | None = field(
        default=None,
        metadata={
            "help": "Give a mixed row the whole label of its rarer class, if the other has so many times more rows (Remix; 3)."
        },
    )
    remix_tau: float = field(
        default=0.5, metadata={"help": "And if the rarer one has more than 1 - tau of the mixed input."}
    )

    @property
    def long_tail_given(self) -> list[str]:
        """Those of these arguments that change what is trained, each as one types it."""
        asked = {
            "class_weights": self.class_weights is not None,
            "logit_adjustment": self.logit_adjustment != 0,
            "sampler": self.sampler == BALANCED,
            "remix_kappa": self.remix_kappa is not None,
        }
        return [f"{name}={getattr(self, name)!r}" for name, is_so in asked.items() if is_so]

    def _settle_long_tail(self) -> None:
        """Check each by itself, and bring `class_weights` into one form of three: `"balanced"`, a list or a dict."""
        self.class_weights = read_class_weights(self.class_weights)
        if not is_number(self.logit_adjustment):
            raise ValueError(f"logit_adjustment must be a finite number, got {self.logit_adjustment!r}: 1 is usual.")
        if self.logit_adjustment < 0:
            raise ValueError(
                f"logit_adjustment must be at least 0, got {self.logit_adjustment}: below, it would favour frequent classes more."
            )
        if self.sampler not in (None, *_SAMPLERS):
            raise ValueError(f"sampler must be one of {_SAMPLERS}, got {self.sampler!r}.")
        if self.sampler == BALANCED and getattr(self, "train_sampling_strategy", "random") != "random":
            raise ValueError(
                f"sampler='balanced' draws the rows at random, and train_sampling_strategy={self.train_sampling_strategy!r} in another "  # type: ignore[attr-defined]
                "order: leave out one of them."
            )
        if self.remix_kappa is not None and not (is_number(self.remix_kappa) and self.remix_kappa > 1):
            raise ValueError(
                f"remix_kappa must be a number above 1, got {self.remix_kappa!r}: it is how many times more rows the other class has."
            )
        if not (is_number(self.remix_tau) and 0 <= self.remix_tau <= 1):
            raise ValueError(f"remix_tau must lie in [0, 1], got {self.remix_tau!r}.")
        if self.remix_kappa is None and self.remix_tau != type(self).__dataclass_fields__["remix_tau"].default:
            raise ValueError(
                f"remix_tau={self.remix_tau} has no part without remix_kappa: give it too, such as 3, or drop it."
            )


def read_class_weights(given: Any) -> str | list[float] | dict[str, float] | None:
    """
    Weights of classes as they are typed or given in Python.

    Returns:
        `"balanced"`, a number a class, numbers by the names of classes, or `None`.

    Raises:
        `ValueError`: for anything else.
    """
    remedy = "give 'balanced', a number for each class, or numbers by the names of classes such as {\"spam\": 5}"
    value = given
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1 and isinstance(value[0], str):
        value = value[0]  # one word of the command line
    if isinstance(value, str):
        if value.strip() == BALANCED:
            return BALANCED
        try:
            # Numbers with commas too.
            text = value if value.strip()[:1] in ("{", "[") else f"[{value}]"
            value = json.loads(text, object_pairs_hook=_named_once)
        except json.JSONDecodeError as error:
            raise ValueError(f"class_weights={given!r} is neither 'balanced' nor JSON ({error}): {remedy}.") from error
    if value is None:
        return None
    if isinstance(value, Mapping):
        found: list[Any] = list(value.values())
        if not all(isinstance(name, str) for name in value):
            raise ValueError(f"class_weights={given!r} has other keys than names of classes: {remedy}.")
    elif isinstance(value, Sequence):
        found = [_as_number(one) for one in value]
    else:
        raise ValueError(f"class_weights={given!r}: {remedy}.")
    if not found or not all(is_number(one) and one >= 0 for one in found):
        raise ValueError(f"class_weights must be finite numbers >= 0, got {given!r}: {remedy}.")
    if not any(found) and not isinstance(value, Mapping):
        raise ValueError(f"class_weights={given!r} leave no class a weight: give one at least a number above 0.")
    if isinstance(value, Mapping):
        return {name: float(one) for name, one in value.items()}
    return [float(one) for one in found]


def _named_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, of which Python would take the last value of a name without a word."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"class_weights names {twice!r} twice: give each class one number.")
    return dict(pairs)


def _as_number(word: Any) -> Any:
    """A word of the command line as the number that it says, if it says one."""
    if not isinstance(word, str):
        return word
    try:
        return float(word)
    except ValueError:
        return word
