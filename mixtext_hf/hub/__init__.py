"""What goes to the Hub beside the weights: the model card.

`facts.py` holds what a card can say, `card.py` fills the template with it, by way of `metadata.py`, `metric_names.py`,
`snippets.py` and `ids.py`; `eval_results.py` writes a result as the Hub reads it today; `fingerprint.py` knows a card again, `record.py` keeps the facts as JSON, `push.py` sends a folder.
"""

from .card import make_card, write_card
from .facts import CardData, DataFacts, Emissions, SplitResult
from .fingerprint import is_generated


__all__ = [
    "CardData",
    "DataFacts",
    "Emissions",
    "SplitResult",
    "is_generated",
    "make_card",
    "write_card",
]
