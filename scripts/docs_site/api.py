"""What has a place on the pages of the API."""

from __future__ import annotations

import re
from pathlib import Path


PAGES = Path(__file__).resolve().parents[2] / "docs" / "api"
_DIRECTIVE = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def documented() -> list[str]:
    """The whole names of what is described there, page by page."""
    return [
        name for page in sorted(PAGES.glob("*.md")) for name in _DIRECTIVE.findall(page.read_text(encoding="utf-8"))
    ]
