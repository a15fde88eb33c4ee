"""Text of any origin as Markdown that shows just that text: in prose, as code, in a table or in a fenced block.

Knows nothing of models. What is special to Markdown, HTML or formulas becomes an entity, which no renderer takes for markup,
in a table as little as elsewhere. In the template every value goes through `prose` unless it is `Markup` already.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import quote

from markupsafe import Markup


# A lone `_` inside a word is no markup, and names are full of them.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~$&^]|(?<![^\W_])_|_(?![^\W_])")
# What would make a list, a heading or a rule of the first line of a list item.
_OPENING = re.compile(r"(?:\d+[.)]|[-+=]+)(?=\s|$)")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
# Controls, lone surrogates (not encodable) and the marks that turn the direction of writing.
_DIRECTION = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(value: Any) -> str:
    """The text of a value on one line, without characters that cannot be seen or written."""
    return _visible(" ".join(str(value).split()))


def prose(value: Any) -> Markup:
    """A value as running text."""
    if isinstance(value, Markup):
        return value
    escaped = _SPECIAL.sub(lambda match: _entity(match[0]), one_line(value))
    opening = _OPENING.match(escaped)
    if opening is None:
        return Markup(escaped)
    return Markup(_PUNCTUATION.sub(lambda match: _entity(match[0]), opening[0]) + escaped[opening.end() :])


def code(value: Any) -> Markup:
    """A value as code within a line or a table cell."""
    text = one_line(value)
    if text and not re.search(r"[`|\\$<>&]", text):
        return Markup(f"`{text}`")
    # Neither backticks nor, in a table, pipes and backslashes can be written in a code span that all renderers read alike.
    return Markup(f"<code>{_PUNCTUATION.sub(lambda match: _entity(match[0]), text)}</code>")


def fenced(value: str, language: str = "") -> Markup:
    """Lines as a block of code, with a fence that they do not hold."""
    lines = "\n".join(_visible(line, keep="\t") for line in re.split(r"\r\n|\r|\n", value))
    longest = max((len(run) for run in re.findall("`+", lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{lines}\n{fence}")


def link(value: Any, url: str) -> Markup:
    """A value as the text of a link."""
    return Markup(f"[{prose(value)}]({url_of(url)})")


def url_of(address: str) -> Markup:
    """An address, or the name of a file beside the card, as the target of a link or a picture."""
    return Markup(quote(_visible(address), safe="/:?=&#%~.+-_"))


def _visible(text: str, keep: str = "") -> str:
    return "".join(
        character
        for character in text
        if character in keep or not (unicodedata.category(character) in ("Cc", "Cs") or character in _DIRECTION)
    )


def _entity(character: str) -> str:
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(character, f"&#{ord(character)};")
