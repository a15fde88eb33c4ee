"""The known failure of learning from guesses: one class takes them over, and the model learns its own mistake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


# A class has taken over when its share of the guesses is this far on the way from what it should be to 1, or beyond this.
_TOO_FAR, _COLLAPSED = 0.72, 0.9
_ENOUGH_TEXTS = 100


class Guessing(Protocol):
    """What the remedy depends on; [`MixText`] has it."""

    @property
    def online(self) -> bool: ...

    @property
    def align(self) -> Any: ...

    @property
    def temperature(self) -> float: ...


class CollapseWatch:
    """
    Tells once when one class takes over the guesses, and again only if it has let go of them in between. Judges no fewer than
    100 texts, however short the logging windows are.

    A class has taken over when its share is more than 0.72 of the way from the one it should have to 1, or 0.9: 0.77 of six
    classes, 0.86 of two.

    Args:
        method ([`MixText`]): Whose guesses.
        expected (`Sequence[float]`, *optional*): The share each class should have; equal ones if not given.
    """

    def __init__(self, method: Guessing, expected: Sequence[float] | None = None):
        self.method, self.expected = method, expected
        self.texts = 0.0
        self.totals: list[float] = []
        self.is_told = False

    def __call__(self, averages: dict[str, Any], counts: dict[str, int], progress: float = 1.0) -> str | None:
        shares = averages.get("guess_share")
        if shares is None:
            return None
        texts = averages["guess_texts"] * counts["guess_texts"]
        self.totals = [old + texts * new for old, new in zip(self.totals or [0.0] * len(shares), shares, strict=True)]
        self.texts += texts
        if self.texts < _ENOUGH_TEXTS:
            return None
        found = [total / self.texts for total in self.totals]
        self.texts, self.totals = 0.0, []
        expected = self.expected or [1 / len(found)] * len(found)
        over = [
            (share, usual)
            for share, usual in zip(found, expected, strict=True)
            if share >= min(usual + _TOO_FAR * (1 - usual), _COLLAPSED)
        ]
        was_told, self.is_told = self.is_told, bool(over)
        if was_told or not over:
            return None
        share, usual = max(over)
        return (
            f"The guesses collapse: one class of {len(found)} takes {share:.0%} of them, where {usual:.0%} was to be expected. "
            f"Unless the unlabelled texts are really that unbalanced, the model now learns its own mistake: {self._remedy()}"
        )

    def _remedy(self) -> str:
        if not self.method.online:
            return (
                "say what shares the classes have (guess_shares='uniform', or one number for each), or give a guess of your own "
                "(guess_column)."
            )
        aligned = "" if self.method.align != "off" else "draw the guesses to the right shares (align='uniform'), "
        return (
            f"have the guesses made before training (guesser='gaussian'), {aligned}raise temperature (now "
            f"{self.method.temperature:g}; the paper uses 1 for IMDB), or lower lambda_u."
        )
