"""Docstrings on the pages of the API: their sections as lists, their references as links to what has a place on these pages."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import griffe


# mkdocstrings loads this file by its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from docs_site.api import documented, whole_name
from docs_site.docstrings import as_markdown, read, with_references


_EMPTY = {"list": "[]", "dict": "{}"}


class PackageDocstrings(griffe.Extension):
    """Rewrites the docstrings of the package as Markdown; mkdocstrings then has nothing to find in them but text."""

    def __init__(self) -> None:
        super().__init__()
        self._places = documented()

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        self._rewrite(pkg, set())

    def _rewrite(self, thing: Any, seen: set[int]) -> None:
        if thing.is_alias or id(thing) in seen:
            return
        seen.add(id(thing))
        if thing.docstring is not None:
            text = as_markdown(read(thing.docstring.value))
            thing.docstring.value = with_references(text, self._link)
        if thing.is_attribute:
            _show_default(thing.value)
        for member in thing.members.values():
            self._rewrite(member, seen)

    def _link(self, name: str) -> str | None:
        place = whole_name(name, self._places)
        return None if place is None else f"[{place}]"


def _show_default(value: Any) -> None:
    """A signature shows what a default factory returns, not the function."""
    if not isinstance(value, griffe.ExprCall) or value.canonical_path != "dataclasses.field":
        return
    for argument in value.arguments:
        if isinstance(argument, griffe.ExprKeyword) and argument.name == "default_factory":
            if isinstance(argument.value, griffe.ExprLambda):
                argument.name, argument.value = "default", argument.value.body
            elif str(argument.value) in _EMPTY:
                argument.name, argument.value = "default", _EMPTY[str(argument.value)]
