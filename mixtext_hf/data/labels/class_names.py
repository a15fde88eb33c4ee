"""How the names of classes are written: what is the same name, what only looks like it, and what is a number.

Knows strings alone; which names meet which is decided in `class_matching.py`.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

from .written_numbers import number_in, plain_number


SimilarLabels = Literal["refuse", "merge", "keep"]
SIMILAR_LABELS = get_args(SimilarLabels)

# Zero width, and not there to be seen: byte order mark, soft hyphen, blanks and marks of no width.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")


def cleaned(name: str) -> str:
    """A name in one Unicode form, without blanks around it, each run of blanks (of any kind) inside being one."""
    return " ".join(unicodedata.normalize("NFC", name).translate(_INVISIBLE).split())


def folded(name: str) -> str:
    """What two names have in common that differ by case, blanks, Unicode forms or that of a whole number (`1.0` for `1`) alone."""
    return plain_number(unicodedata.normalize("NFC", cleaned(name).casefold()))


def is_whole_number(name: str) -> bool:
    """Whether a name is a whole number as computers write it: `"0"`, `"12"`, `"-1"`; not `"001"`, `"1.0"` or `"+1"`."""
    return _WHOLE_NUMBER.fullmatch(name) is not None


def is_number(name: str) -> bool:
    """Whether a name is a number in any form: `"001"` and `"1.0"` too."""
    return number_in(name) is not None


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted: as numbers where all of them are whole ones, `"10.0"` too."""
    names = sorted(names)
    plain = list(map(plain_number, names))
    return sorted(names, key=lambda name: int(plain_number(name))) if all(map(is_whole_number, plain)) else names


def are_placeholders(names: Sequence[str]) -> bool:
    """Whether these are the names that transformers gives to classes without a name."""
    return list(names) == [f"LABEL_{i}" for i in range(len(names))]


def look_alikes(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """
    The names that look like one another.

    Args:
        counts (`Mapping[str, int]`): Rows by name.

    Returns:
        `dict[str, dict[str, int]]`: for each group of two and more the spelling to prefer (the most frequent one, cleaned of
        blanks), and the rows of each spelling.
    """
    groups: dict[str, dict[str, int]] = {}
    for name, count in counts.items():
        groups.setdefault(folded(name), {})[name] = count
    return {_preferred(group): group for group in groups.values() if len(group) > 1}


def _preferred(group: Mapping[str, int]) -> str:
    counts: dict[str, int] = {}
    for name, count in group.items():
        counts[cleaned(name)] = counts.get(cleaned(name), 0) + count
    # Of equally frequent ones the one in small letters.
    return min(counts, key=lambda name: (-counts[name], name.swapcase()))
