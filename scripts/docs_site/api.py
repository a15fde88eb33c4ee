"""What has a place on the pages of the API."""

from __future__ import annotations

import re
from pathlib import Path


PAGES = Path(__file__).resolve().parents[2] / "docs" / "api"
_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def documented() -> dict[str, str]:
    """The whole names of what is described there, each with its page."""
    return {
        name: page.name
        for page in sorted(PAGES.glob("*.md"))
        for name in _DIRECTIVE.findall(page.read_text(encoding="utf-8"))
    }


def whole_name(name: str, places: dict[str, str]) -> str | None:
    """The whole name of what a docstring refers to, if it is described; of a method of a class that of the class is not meant."""
    last = name.rpartition(".")[2]
    return next((place for place in places if place.rpartition(".")[2] == last), None)
