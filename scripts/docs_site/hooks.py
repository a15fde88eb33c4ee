"""
What MkDocs does to each page: names and numbers stay whole at the end of a line, pictures lead to their files.

What a page would say of itself at its head, as YAML, stands here: a repository shows that head as a table.
"""

from __future__ import annotations

import re
from typing import Any

from mkdocs.structure.pages import Page


_HIDDEN = {"index.md": ["navigation"], "reliability.md": ["toc"], "troubleshooting.md": ["toc"]}
# Long pages of the API match any word.
_BOOSTS = {"troubleshooting": 4.0, "guides": 2.0, "quickstart": 2.0, "commands": 1.5, "api": 0.7}
# A line may be broken behind each hyphen: `--`, then the name of the flag.
_HYPHENATED = re.compile(r"(?<![\w-])(?:--?[A-Za-z]|\w+(?:\.\w+)*-)[\w.-]*\w")
_LONGEST_WHOLE = 36
_LONG_CELL = 40


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """What is hidden beside a page, and how far up it stands in what is found."""
    place = page.file.src_uri
    page.meta["hide"] = _HIDDEN.get(place, [])
    page.meta["search"] = {"boost": _BOOSTS.get(place.partition("/")[0].removesuffix(".md"), 1.0)}
    return markdown


def on_page_content(html: str, **kwargs: Any) -> str:
    """The HTML of a page, outside of its blocks of code."""
    parts = re.split(r"(<pre.*?</pre>|<div class=\"highlight.*?</pre>)", html, flags=re.DOTALL)
    return "".join(part if number % 2 else _reworked(part) for number, part in enumerate(parts))


def _reworked(html: str) -> str:
    html = re.sub(r"(<code>)(.*?)(</code>)", _with_whole_names, html, flags=re.DOTALL)
    html = re.sub(r"± (?=\d)", "±\N{NO-BREAK SPACE}", html)
    html = re.sub(r"<td([^>]*)>(.*?)</td>", _cell, html, flags=re.DOTALL)
    return re.sub(r'(?<!">)(<img [^>]*src="([^"]+)"[^>]*>)', r'<a class="picture" href="\2">\1</a>', html)


def _with_whole_names(found: re.Match[str]) -> str:
    def whole(name: re.Match[str]) -> str:
        return name[0] if len(name[0]) > _LONGEST_WHOLE else f'<span class="whole">{name[0]}</span>'

    return found[1] + _HYPHENATED.sub(whole, found[2]) + found[3]


def _cell(found: re.Match[str]) -> str:
    """Cells of text are wide and those of numbers whole, which `site.css` knows by their classes."""
    text = re.sub(r"<[^>]*>", "", found[2])
    if re.fullmatch(r"[-+]?[\d.,]+ \[[^]]*\]( \d+/\d+)?", text):
        return f'<td{found[1]} class="interval">{found[2]}</td>'
    return f'<td{found[1]} class="text">{found[2]}</td>' if len(text) > _LONG_CELL else found[0]
