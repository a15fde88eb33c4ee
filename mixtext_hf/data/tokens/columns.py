"""Which column of a data set holds the words of a sentence, and which their tags."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from mixtext_hf._messages import listed


TOKENS = ("tokens", "words")
TAGS = ("ner_tags", "tags", "ner", "labels", "label")


class TokenColumns(NamedTuple):
    """
    The columns of sentences.

    Args:
        tokens (`str`): Lists of words.
        tags (`str`, *optional*): Lists of as many tags; `None` where there are none.
    """

    tokens: str
    tags: str | None


def recognise_token_columns(
    names: Collection[str], *, tokens: str | None = None, tags: str | None = None, require_tags: bool = True
) -> TokenColumns:
    """
    The columns of words and of tags: those that are given, else those with a usual name (`tokens`, `words`; `ner_tags`, `tags`, ...).

    Raises:
        `ValueError`: if there is no such column; names the columns and the arguments.
    """
    names = list(names)
    for argument, given in (("tokens_column", tokens), ("tags_column", tags)):
        if given is not None and given not in names and (argument != "tags_column" or require_tags):
            raise ValueError(f"--{argument} {given}: there is no such column, choose from {listed(names, show=str)}.")
    found_tokens = tokens or next((name for name in TOKENS if name in names), None)
    if found_tokens is None:
        raise ValueError(
            f"No column of words was found among {listed(names, show=str)}: call it {TOKENS[0]!r}, or name it by --tokens_column."
        )
    found_tags = tags if tags in names else next((name for name in TAGS if name in names and tags is None), None)
    if found_tags is None and require_tags:
        raise ValueError(
            f"No column of tags was found among {listed(names, show=str)}: call it {TAGS[0]!r}, or name it by --tags_column."
        )
    return TokenColumns(found_tokens, found_tags)
