"""What goes to the Hub beside the weights: the model card."""

from .card import CardData, DataFacts, Emissions, SplitResult, is_generated, make_card, write_card


__all__ = [
    "CardData",
    "DataFacts",
    "Emissions",
    "SplitResult",
    "is_generated",
    "make_card",
    "write_card",
]
