"""The facts of a card as JSON, so that the card can be written again where the run is long over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mixtext_hf.methods import METHODS, MixMethod, make_method

from .facts import CardData, DataFacts, Emissions, SplitResult


def card_as_json(data: CardData) -> dict[str, Any]:
    """
    Returns:
        `dict`, JSON-serialisable, that [`card_from_json`] makes the same card of. A method of somebody's own is not in it.
    """
    plain = asdict(data)
    method = data.method
    known = method is not None and METHODS.get(method.name) is type(method)
    plain["method"] = (
        {"name": method.name, "hyperparameters": method.hyperparameters()} if known and method is not None else None
    )
    return plain


def card_from_json(plain: Mapping[str, Any]) -> CardData:
    """
    Args:
        plain (`Mapping[str, Any]`): What [`card_as_json`] returned, read back from a file.

    Raises:
        `ValueError`: if it was changed so that no card can be made of it.
    """
    try:
        fields = dict(plain)
        method, data, emissions, size = (fields.pop(name) for name in ("method", "data", "emissions", "image_size"))
        baseline = fields.pop("baseline")
        return CardData(
            **{
                **fields,
                "results": [SplitResult(**result) for result in fields["results"]],
                "method": None if method is None else make_method(method["name"], **method["hyperparameters"]),
                "data": None if data is None else DataFacts(**data),
                "emissions": None if emissions is None else Emissions(**emissions),
                "image_size": None if size is None else tuple(size),
                "baseline": None if baseline is None else [SplitResult(**result) for result in baseline],
            }
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"The record of the card cannot be read ({type(error).__name__}: {error}): "
            "train again, which writes it anew."
        ) from error


def method_of_recipe(recipe: Any) -> MixMethod | None:
    """The method of `config.mixtext`; `None` where there is none, or one that is not of this package."""
    if not isinstance(recipe, Mapping) or recipe.get("method") not in METHODS:
        return None
    return make_method(recipe["method"], **recipe.get("hyperparameters", {}))
