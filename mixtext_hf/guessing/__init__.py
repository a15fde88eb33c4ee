"""Guesses for unlabelled rows: features and labels in, probabilities out. No model, no trainer, no command.

`rows.py` reads features in memory or in a file; `rotation.py`, `gaussian.py` and `logistic.py` fit, `choice.py` compares and
tempers; `names.py` makes sentences of the names of classes; `combination.py` joins two guessers; `surest.py` says which guesses
to learn from first.
"""

from .choice import Family, FrozenGuesser, GuessReport, check_shares, fit_frozen_guesser, make_folds
from .combination import Combination, fit_combination, frozen_alone
from .gaussian import Anchors, GaussianMixture, fit_gaussian_mixture
from .names import are_content, readable_name, sentences_about
from .rows import Rows, StoredRows
from .surest import surest_rows


__all__ = [
    "Anchors",
    "Combination",
    "Family",
    "FrozenGuesser",
    "GaussianMixture",
    "GuessReport",
    "Rows",
    "StoredRows",
    "are_content",
    "check_shares",
    "fit_combination",
    "fit_frozen_guesser",
    "fit_gaussian_mixture",
    "frozen_alone",
    "make_folds",
    "readable_name",
    "sentences_about",
    "surest_rows",
]
