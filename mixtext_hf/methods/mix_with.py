"""The method that mixes as a part of another, and what it is told: one set of what all mixes have, and its own hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .base import MixMethod
from .embed_mixup import EmbedMixup
from .puzzle_tmix import PuzzleTMix
from .ssmix import SSMix
from .tmix import TMix
from .token_mix import TokenMix


MixWith = Literal["tmix", "embed_mixup", "ssmix", "puzzle_tmix"]
# Hyper-parameters as they are kept, which have a hash.
Pairs = tuple[tuple[str, Any], ...]

PARTS: dict[str, type[MixMethod]] = {kind.name: kind for kind in (TMix, EmbedMixup, SSMix, PuzzleTMix)}
# What the whole says for whichever part it has.
SHARED = tuple(name for name in MixMethod.field_names() if name != "clean_lam")


# Needs rows that are numbered through.
_BY_ROW = "saliency_every"


def as_pairs(given: Any) -> Pairs | None:
    """
    Hyper-parameters by name, or pairs of both, as pairs in the order of the names; `None` if there are none.

    Raises:
        `ValueError`: if it is anything else.
    """
    if isinstance(given, Sequence) and not isinstance(given, str) and all(_is_pair(one) for one in given):
        given = dict(given)
    if given is None or (isinstance(given, Mapping) and not given):
        return None
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ValueError(
            'mix_with_kwargs must be hyper-parameters of mix_with by name, such as {"share": 0.2} of ssmix, or null, '
            f"got {given!r}."
        )
    return tuple((name, given[name]) for name in sorted(given))


def make_part(
    name: str, shared: Mapping[str, Any], defaults: Mapping[str, Any], given: Pairs | None, *, of: str
) -> MixMethod:
    """
    The method that mixes.

    Args:
        name (`str`): Of the method, one of `PARTS`.
        shared (`Mapping[str, Any]`): The hyper-parameters `SHARED`, as the whole has them.
        defaults (`Mapping[str, Any]`): Their defaults in the whole.
        given (pairs of `str` and `Any`, *optional*): The method's own hyper-parameters.
        of (`str`): The whole by its name, for messages.

    Raises:
        `ValueError`: for hyper-parameters that the method has not, or that are wrong.
    """
    kind = PARTS[name]
    own = [one for one in kind.field_names() if one not in (*MixMethod.field_names(), _BY_ROW)]
    if issubclass(kind, TokenMix):
        own.append("clean_lam")
    for one, _ in given or ():
        if one in SHARED:
            raise ValueError(
                f"mix_with_kwargs has {one!r}, which {of} has itself, for whatever it mixes with: give it as one of its own, outside of "
                "mix_with_kwargs."
            )
        if one == _BY_ROW and issubclass(kind, TokenMix):
            raise ValueError(
                f"mix_with_kwargs has {one!r}, which keeps something of a text by the number of its row, and the unlabelled texts of {of} "
                "are numbered apart from the labelled ones: leave it out."
            )
        if one not in own:
            has = ", ".join(own) if own else "none"
            raise ValueError(
                f"mix_with_kwargs has {one!r}, and {name} has no such hyper-parameter beside those of {of}: it has {has}."
            )
    if kind is SSMix:
        # It draws no lambda, and mixes no states: what was given for these it refuses, and no default was.
        shared = {one: value for one, value in shared.items() if value != defaults[one]}
    try:
        return kind(**shared, **dict(given or ()))
    except ValueError as error:
        raise ValueError(f"mix_with={name!r}: {error}") from error


def _is_pair(one: Any) -> bool:
    return isinstance(one, Sequence) and not isinstance(one, str) and len(one) == 2 and isinstance(one[0], str)
