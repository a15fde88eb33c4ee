"""Imports point down: each room of the package knows those below it, and no module is known by one that it knows."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mixtext_hf


PACKAGE = Path(mixtext_hf.__file__).parent

# From the ground up. A module imports from floors below its own and from its own room, not from the rooms beside it.
FLOORS = (
    ("_files", "_markdown", "_messages", "_numbers", "_quiet", "_signals", "errors", "problem_types", "version"),
    ("_compat", "_lock"),
    ("guessing", "mixing"),
    ("methods", "models"),
    ("data", "functional", "hub"),
    ("delivery", "evaluation"),
    ("training",),
    ("cli",),
    ("", "__main__"),  # the public names, each handed on when it is first asked for, and the command
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

# What mixes knows tensors alone.
LIBRARIES_OF_MIXING = {"numpy", "scipy", "torch"}

# The parts of the trainer (what checks, resumes, stops, guesses for it) are given the trainer that they are part of, and their
# annotations say its class. They do not import it when they run, and only they, in the same room, may name it so.
NAMED_BY_ITS_PARTS = "training.trainer"

# They import by name what was asked for: a command, or a public name.
IMPORT_BY_NAME = {"", "cli.help_texts", "cli.main"}


@dataclass(frozen=True, order=True)
class Import:
    """That one module imports another, by their names within the package; the package itself is `""`."""

    source: str
    target: str
    line: int
    is_for_types: bool

    def __str__(self):
        return f"{self.source or 'the package'} (line {self.line}) imports {self.target or 'the package'}"


def modules_of(package: Path) -> dict[str, Path]:
    names = {path: path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(parts[:-1] if parts[-1] == "__init__" else parts): path for path, parts in names.items()}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(package: Path) -> Iterator[Import]:
    """All imports of the package's own modules, those in functions too."""
    modules = modules_of(package)
    for source, path in modules.items():
        tree = tree_of(path)
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
            for statement in node.body
            for inner in ast.walk(statement)
        }
        home = source if path.name == "__init__.py" else source.rpartition(".")[0]
        for node in ast.walk(tree):
            for target in _targets(node, home, package.name, modules):
                yield Import(source, target, node.lineno, node in for_types)


def _targets(node: ast.AST, home: str, package: str, modules: dict[str, Path]) -> set[str]:
    if isinstance(node, ast.Import):
        own = [name.name.partition(".") for name in node.names]
        return {below for root, _, below in own if root == package}
    if not isinstance(node, ast.ImportFrom):
        return set()
    if node.level:
        base = home.split(".")[: len(home.split(".")) - node.level + 1] if home else []
        base += [node.module] if node.module else []
    elif (node.module or "").partition(".")[0] == package:
        base = node.module.split(".")[1:]
    else:
        return set()
    # `from .room import name`: a module of that name, or a name in the room.
    named = {".".join(filter(None, [*base, name.name])) for name in node.names}
    return {name if name in modules else ".".join(base) for name in named}


def room_of(module: str) -> str:
    return module.partition(".")[0]


def points_down(one: Import) -> bool:
    here, there = room_of(one.source), room_of(one.target)
    return here == there or FLOOR_OF[there] < FLOOR_OF[here]


def find_circle(imports: list[Import]) -> list[str]:
    """The modules of a circle of imports, the first of them again at the end; none where there is no circle."""
    known: dict[str, set[str]] = {}
    for one in imports:
        known.setdefault(one.source, set()).add(one.target)
    try:
        TopologicalSorter(known).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


IMPORTS = sorted(imports_of(PACKAGE))


def test_each_room_has_its_floor():
    rooms = [room_of(module) for module in modules_of(PACKAGE)]
    assert set(rooms) == set(FLOOR_OF), "a new room is given its place in FLOORS"
    assert len(FLOOR_OF) == sum(map(len, FLOORS))


def test_imports_point_down():
    assert [str(one) for one in IMPORTS if not points_down(one)] == []


def test_no_module_is_known_by_one_that_it_knows():
    counted = [one for one in IMPORTS if not _names_the_whole(one)]
    circle = find_circle(counted)
    assert not circle, " -> ".join(circle)


def _names_the_whole(one: Import) -> bool:
    return one.is_for_types and one.target == NAMED_BY_ITS_PARTS and room_of(one.source) == room_of(one.target)


def test_the_ground_floor_knows_tensors_alone():
    trees = [tree_of(path) for module, path in modules_of(PACKAGE).items() if room_of(module) == "mixing"]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    libraries = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert libraries == LIBRARIES_OF_MIXING | {PACKAGE.name}
    own = {room_of(one.target) for one in IMPORTS if room_of(one.source) == "mixing"}
    assert own == {"mixing", "_numbers", "problem_types"}


def test_modules_that_import_by_name_are_few():
    found = {
        module
        for module, path in modules_of(PACKAGE).items()
        for node in ast.walk(tree_of(path))
        if getattr(node, "id", getattr(node, "attr", None)) in ("import_module", "__import__")
    }
    assert found == IMPORT_BY_NAME


@pytest.fixture
def make_package(tmp_path):
    def make(**files):
        package = tmp_path / "house"
        for name, text in {"__init__": "", "low/__init__": "", "high/__init__": "", **files}.items():
            path = package / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return package

    return make


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("import house.low.a", "low.a"),
        ("from house.low import a", "low.a"),
        ("from house.low import name", "low"),
        ("from house.low.a import name", "low.a"),
        ("from house import low", "low"),
        ("from house import name", ""),
        ("from ..low import a", "low.a"),
        ("from ..low.a import name", "low.a"),
        ("from .. import low", "low"),
        ("from . import b", "high.b"),
        ("from .b import name", "high.b"),
        ("def late():\n    from .b import name", "high.b"),
    ],
)
def test_each_way_to_import_is_seen(make_package, text, target):
    package = make_package(**{"low/a": "", "high/b": "", "high/c": f"import os\nfrom numpy import array\n{text}\n"})
    (found,) = imports_of(package)
    assert (found.source, found.target, found.is_for_types) == ("high.c", target, False)


def test_the_package_of_an_init_is_its_own(make_package):
    package = make_package(**{"low/a": "", "low/__init__": "from .a import name\nfrom . import a\n"})
    assert {(one.source, one.target) for one in imports_of(package)} == {("low", "low.a")}


def test_a_circle_is_found_through_functions_and_annotations(make_package):
    late = "def late():\n    from ..high.b import name\n"
    for_types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..low.a import name\n"
    package = make_package(**{"low/a": late, "high/b": for_types, "high/c": "from .b import name\n"})
    imports = list(imports_of(package))
    assert [one.source for one in imports if one.is_for_types] == ["high.b"]
    circle = find_circle(imports)
    assert circle[0] == circle[-1] and set(circle) == {"low.a", "high.b"}
    assert find_circle([one for one in imports if not one.is_for_types]) == []


def test_up_and_beside_are_refused():
    def of(source, target):
        return points_down(Import(source, target, 1, False))

    assert of("methods.tmix", "mixing.plan") and of("methods.tmix", "methods.base") and of("", "training")
    assert not of("mixing.plan", "methods.tmix")
    assert not of("methods.tmix", "models.mixer") and not of("models.mixer", "methods.tmix")
