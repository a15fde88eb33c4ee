"""Names of classes as evidence: a sentence that says what a text is about lies where such texts lie, if the name is content."""

from __future__ import annotations

import re
from collections.abc import Sequence


TEMPLATES = ("{}", "This text is about {}.", "This example is {}.")

# What a data set has where nobody gave its classes names.
_NO_NAME = re.compile(r"(?:label|class|category|topic|cluster|id)?[\s_-]*[-+]?\d*(?:\.\d+)?", re.IGNORECASE)


def are_content(names: Sequence[str]) -> bool:
    """Whether all names say something of their class: none is a number, a single letter, or a placeholder such as LABEL_0."""
    readable = [readable_name(name) for name in names]
    return (
        len(set(readable)) == len(names) > 0
        and all(len(name) > 1 for name in readable)
        and not any(_NO_NAME.fullmatch(name) for name in names)
    )


def readable_name(name: str) -> str:
    """A name as it would stand in a sentence: "injured_or_dead_people" as "injured or dead people", "Sci/Tech" as "Sci and Tech"."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.strip())
    spaced = re.sub(r"\s*[/&]\s*", " and ", spaced)
    return re.sub(r"[\s_\-.]+", " ", spaced).strip()


def sentences_about(names: Sequence[str]) -> tuple[list[str], list[int]]:
    """
    Every name in every one of `TEMPLATES`.

    Returns:
        `tuple[list[str], list[int]]`: the sentences, and the class of each.
    """
    sentences = [template.format(readable_name(name)) for name in names for template in TEMPLATES]
    return sentences, [label for label in range(len(names)) for _ in TEMPLATES]
