"""The public names of the package with their signatures, as text: `make public-names` writes `public_names.txt` anew.

What a class takes over from another library is not listed: it changes with that library.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any


LIST = Path(__file__).with_suffix(".txt")
MODULES = ("mixtext_hf", "mixtext_hf.functional")


class _Written:
    """An annotation as it stands in the source."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def public_names() -> str:
    """A heading a module; a line a name, and below a class its own fields and public methods; at the end the classes they come from."""
    lines: list[str] = []
    bases: dict[str, type] = {}
    for name in MODULES:
        module = import_module(name)
        lines += ["", f"# {name}", ""]
        for public in module.__all__:
            value = getattr(module, public)
            lines += _described(public, value)
            if inspect.isclass(value):
                bases.update({one.__name__: one for one in value.__mro__ if _is_own(one)})
    lines += ["", "# what they come from", ""]
    for name in sorted(bases.keys() - {line.removeprefix("class ").split("(")[0] for line in lines}):
        lines += _described(name, bases[name])
    return "\n".join(lines).strip() + "\n"


def _is_own(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "mixtext_hf"


def _described(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(one.__name__ for one in value.__bases__ if one is not object)
        yield f"class {name}({bases})" if bases else f"class {name}"
        yield from (f"    {line}" for line in (*_fields(value), *sorted(_methods(value))))
    elif callable(value):
        yield f"{name}{_signature(value)}"
    else:
        yield f"{name}: {type(value).__name__}"


def _signature(function: Any) -> inspect.Signature:
    def written(annotation: Any) -> Any:
        return _Written(annotation) if isinstance(annotation, str) else annotation

    signature = inspect.signature(function)
    parameters = [one.replace(annotation=written(one.annotation)) for one in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=written(signature.return_annotation))


def _fields(kind: type) -> Iterator[str]:
    """In their order, for they may be given by it."""
    if not dataclasses.is_dataclass(kind):
        return
    # Not the types of the fields: a parser that is made of them writes others there.
    of_the_class = inspect.get_annotations(kind)
    for field in dataclasses.fields(kind):
        if field.name not in of_the_class or field.name.startswith("_"):
            continue
        default = ""
        if field.default is not dataclasses.MISSING:
            default = f" = {field.default!r}"
        elif field.default_factory is not dataclasses.MISSING:
            default = f" = {field.default_factory()!r}"
        yield f"{field.name}: {_annotation(of_the_class[field.name])}{default}"


def _annotation(value: Any) -> str:
    return value if isinstance(value, str) else inspect.formatannotation(value)


def _methods(kind: type) -> Iterator[str]:
    for name, value in vars(kind).items():
        if name.startswith("_") and (name != "__init__" or dataclasses.is_dataclass(kind)):
            continue
        if isinstance(value, property):
            yield f"{name} (property)"
        elif isinstance(value, classmethod | staticmethod):
            yield f"@{type(value).__name__} {name}{_signature(value.__func__)}"
        elif inspect.isfunction(value):
            yield f"{name}{_signature(value)}"


if __name__ == "__main__":
    LIST.write_text(public_names(), encoding="utf-8")
