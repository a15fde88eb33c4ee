"""The docstrings of this package, read: what they say first, and their sections, whose items have a type in Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field


TITLES = {
    "Args": "Arguments",
    "Attributes": "Attributes",
    "Returns": "Returns",
    "Yields": "Yields",
    "Raises": "Raises",
}
_HEADING = re.compile(rf"({'|'.join(TITLES)}):")
# `name, other (type, *optional*), third: what it is`; a type may hold parentheses in code.
_NAMES = r"\*{0,2}\w+(?:, \*{0,2}\w+)*"
_GROUP = rf"(?P<names>{_NAMES})(?: \((?P<type>(?:`[^`]*`|[^`()])*)\))?"
_GROUPS = re.compile(rf"(?:{re.sub(r'[?]P<[a-z]+>', '?:', _GROUP)}(?:, |(?=:)))+:(?: (?P<text>.*))?")
_REFERENCE = re.compile(r"\[`(?P<short>~?)(?P<target>[\w.]+)`\](?![\[(])")
# The name of an error where a sentence begins.
_ERROR = re.compile(r"(?:(?<=^)|(?<=\. )|(?<=\n))([A-Z]\w*(?:Error|Exception|Interrupt)):")
_FENCE = re.compile(r"\s*```")


@dataclass(frozen=True)
class Item:
    """
    An item of a section.

    Args:
        kinds (`dict[str, str]`): The type of each name, as it is written, Markdown or empty; no names in a section without.
        head (`str`): The names with their types, Markdown.
        text (`str`): What it is, Markdown of one line or several.
    """

    kinds: dict[str, str]
    head: str
    text: str


@dataclass
class Docstring:
    """A docstring in parts: Markdown before and between the sections, and the items of each section by its heading, in their order."""

    parts: list[str | tuple[str, list[Item]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All that stands outside of sections."""
        return "\n\n".join(part for part in self.parts if isinstance(part, str))

    def items(self, heading: str) -> list[Item]:
        """Those of one heading."""
        return [item for part in self.parts if not isinstance(part, str) and part[0] == heading for item in part[1]]


def read(text: str) -> Docstring:
    """A docstring in its parts."""
    docstring, in_fence = Docstring(), False
    outside: list[str] = []
    lines = inspect.cleandoc(text).splitlines()
    number = 0
    while number < len(lines):
        line = lines[number]
        in_fence ^= bool(_FENCE.match(line))
        found = None if in_fence else _HEADING.fullmatch(line)
        end = number + 1
        while found and end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
            end += 1
        if found and end > number + 1:
            _close(docstring, outside)
            docstring.parts.append(
                (found[1], _items(lines[number + 1 : end], named=found[1] in ("Args", "Attributes")))
            )
            number = end
        else:
            outside.append(line)
            number += 1
    _close(docstring, outside)
    return docstring


def _close(docstring: Docstring, outside: list[str]) -> None:
    if text := "\n".join(outside).strip():
        docstring.parts.append(text)
    outside.clear()


def _items(lines: list[str], *, named: bool) -> list[Item]:
    block = inspect.cleandoc("\n" + "\n".join(lines)).splitlines()
    pieces: list[list[str]] = []
    for line in block:
        # Where there are no names, a sentence may go on below its beginning.
        begins = named or not pieces or line.startswith(("`", "["))
        if line and not line.startswith(" ") and begins:
            pieces.append([line])
        elif pieces:
            pieces[-1].append(line)
    return [_item(piece[0], inspect.cleandoc("\n" + "\n".join(piece[1:])).strip(), named) for piece in pieces]


def _item(first: str, rest: str, named: bool) -> Item:
    kinds: dict[str, str] = {}
    heads, text = [], first
    if named:
        found = _GROUPS.fullmatch(first)
        if found is None:
            raise ValueError(f"a line of a docstring is no 'name (type): text': {first!r}")
        text = found["text"] or ""
        for group in re.finditer(_GROUP, first[: found.start("text") if found["text"] else len(first)]):
            names, kind = group["names"].split(", "), group["type"] or ""
            kinds.update(dict.fromkeys(names, kind))
            heads.append(", ".join(f"**`{name}`**" for name in names) + (f" ({kind})" if kind else ""))
    return Item(kinds, ", ".join(heads), "\n".join(part for part in (text, rest) if part))


def with_references(text: str, link: Callable[[str], str | None]) -> str:
    """
    Markdown in which the references of a docstring, such as [`MixPlan`], are links.

    Args:
        text (`str`): What the docstring says.
        link (`Callable`): Takes the name that is referred to, and returns what follows its `[...]`; `None`: it stays code.
    """

    def reference(found: re.Match[str]) -> str:
        name = found["target"]
        shown = f"`{name.rpartition('.')[2] if found['short'] else name}`"
        target = link(name)
        return shown if target is None else f"[{shown}]{target}"

    return _REFERENCE.sub(reference, text)


def as_markdown(docstring: Docstring) -> str:
    """A docstring as Markdown, its sections as lists."""
    parts = []
    for part in docstring.parts:
        if isinstance(part, str):
            parts.append(part)
            continue
        heading, items = part
        lines = [_line(item) for item in items]
        if heading == "Raises":
            lines = [_ERROR.sub(r"`\1`:", line) for line in lines]
        # What is returned needs no bullet; errors are several.
        listed = heading not in ("Returns", "Yields")
        body = "\n".join(f"- {_indented(line)}" for line in lines) if listed else "\n\n".join(lines)
        parts.append(f"**{TITLES[heading]}**\n\n{body}")
    return "\n\n".join(parts)


def _line(item: Item) -> str:
    return f"{item.head}: {item.text}" if item.head else item.text


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line.strip() else "" for line in text.splitlines()).strip()
