"""Pieces of Markdown."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence


WIDTH = 119


def page(*parts: str) -> str:
    """A page of parts, those that are empty left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def paragraph(text: str) -> str:
    """Wrapped, unless it is no plain paragraph."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def bullets(items: Iterable[str]) -> str:
    """A list."""
    return "\n".join(
        textwrap.fill(
            " ".join(item.split()),
            WIDTH,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )


def block(language: str, text: str) -> str:
    """A block of code."""
    return f"```{language}\n{text.strip(chr(10))}\n```"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty without rows."""
    lines = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines]) if lines else ""


def arguments_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of names, defaults and meanings, which `site.css` knows by its class; empty without rows."""
    found = table(heads, rows)
    return f'<div class="arguments" markdown>\n\n{found}\n\n</div>' if found else ""


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def _cell(text: str) -> str:
    # A bar ends a cell: on a site not where it is code, in a repository there too, and the two escape it in different ways.
    parts = " ".join(text.split()).split("`")
    return "".join(_code(part) if number % 2 else part.replace("|", "\\|") for number, part in enumerate(parts))


def _code(text: str) -> str:
    return f"<code>{html.escape(text, quote=False).replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"
