"""The code blocks of a page of documentation, each with its language and the line that it stands on."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path


ROOT = Path(__file__).resolve().parents[2]
# Run by `pages.py`.
RUN = ("bash", "python", "console")
# Written to the file that a comment in the first line names, if one does.
WRITTEN = ("yaml", "json", "toml", "csv")
NOT_RUN = ("text", "html", "markdown", "bibtex")
# Pages that are still to be written anew.
NOT_YET: tuple[str, ...] = ()
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,}) *(?P<info>[^`]*)$")
_FILE = re.compile(r"#\s*(?P<name>[\w./-]+\.\w+)\s*")


class PageError(Exception):
    """A page that is not as it must be: the message begins with its name and the line."""


@dataclass(frozen=True)
class Block:
    """
    A block of a page.

    Args:
        page (`str`): The page, from the root of the repository.
        line (`int`): The line of its first line of code, from 1.
        language (`str`): As behind the fence.
        code (`str`): Its text, without the indent of the fence.
        hidden (`bool`): In a comment `<!-- before`.
        name (`str`, *optional*): Of the comment `<!-- NAME -->` in the line above.
    """

    page: str
    line: int
    language: str
    code: str
    hidden: bool = False
    name: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it is to be written to."""
        found = _FILE.fullmatch(self.code.partition("\n")[0])
        return found["name"] if found and self.language in WRITTEN else None

    @property
    def content(self) -> str:
        """What that file holds: JSON and csv know no comments."""
        return self.code.partition("\n")[2] if self.language in ("json", "csv") else self.code


def documents() -> list[Path]:
    """All that is written for readers: the pages of `docs/` but the tables of runs, and what lies beside them."""
    pages = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.name != "table.md"]
    beside = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md", "tests/README.md")
    return [*(ROOT / name for name in beside), *pages]


def cards() -> list[Path]:
    """The model cards: their code is run by the tests of what writes it, for it names models on the Hub."""
    return sorted((ROOT / "model_cards").glob("*/README.md"))


def sources() -> list[Path]:
    """Code with docstrings that people read."""
    folders = [(ROOT / name).rglob("*.py") for name in ("mixtext_hf", "scripts", "examples")]
    return sorted(path for found in (*folders, (ROOT / "tests").glob("*.py")) for path in found)


def docstrings_of(source: str) -> str:
    """The docstrings of Python code in their lines, and nothing else."""
    lines = source.splitlines()
    kept = [""] * len(lines)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if ast.get_docstring(node, clean=False) is not None:
                assert isinstance(first, ast.Expr) and first.end_lineno is not None
                for i in range(first.lineno - 1, first.end_lineno):
                    kept[i] = re.sub(r'^(\s*)r?"""|"""$', r"\1", lines[i])
    return "\n".join(kept) + "\n"


def name_of(path: Path) -> str:
    """A page as it is called in messages."""
    path = path.resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def blocks_of(path: Path) -> list[Block]:
    """The blocks of a page, see [`parse`], or of the docstrings of a module; those with `>>>` are of `test_examples.py`."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return parse(text, name_of(path))
    return [block for block in parse(docstrings_of(text), name_of(path)) if not block.code.lstrip().startswith(">>>")]


def parse(text: str, page: str) -> list[Block]:
    """
    The blocks of a text in their order, those in comments `<!-- before` too; what else is in comments is none.

    Raises:
        `PageError`: for a fence or comment without an end, a block without a language, or one of a language that is not known.
    """
    lines = text.splitlines()
    found: list[Block] = []
    i, name = 0, None
    while i < len(lines):
        line = lines[i].strip()
        fence = _FENCE.match(lines[i])
        if line.startswith("<!--"):
            end = next((k for k in range(i, len(lines)) if "-->" in lines[k]), None)
            if end is None:
                raise PageError(f"{page}:{i + 1}: a comment without an end.")
            words = line.removeprefix("<!--").removesuffix("-->").split()
            if words[:1] == ["before"]:
                language = words[1] if len(words) > 1 else "bash"
                if language not in ("bash", "python") or len(words) > 2 or end == i:
                    raise PageError(f"{page}:{i + 1}: `<!-- before` or `<!-- before python`, and code below it.")
                found.append(Block(page, i + 2, language, "\n".join(lines[i + 1 : end]) + "\n", hidden=True))
            name = words[0] if end == i and len(words) == 1 else None
            i = end + 1
            continue
        if fence is not None:
            end = next((k for k in range(i + 1, len(lines)) if _ends(lines[k], fence["fence"])), None)
            if end is None:
                raise PageError(f"{page}:{i + 1}: a block without an end.")
            info = fence["info"].strip("{} ").split()
            language = info[0].lstrip(".") if info else ""
            if language not in (*RUN, *WRITTEN, *NOT_RUN):
                said = f"a block of {language!r}" if language else "a block without a language"
                raise PageError(f"{page}:{i + 1}: {said}; there are {', '.join((*RUN, *WRITTEN, *NOT_RUN))}.")
            indent = len(fence["indent"])
            code = [each[indent:] if not each[:indent].strip() else each.lstrip() for each in lines[i + 1 : end]]
            found.append(Block(page, i + 2, language, "".join(f"{each}\n" for each in code), name=name))
            i = end
        if line:
            name = None
        i += 1
    return found


def _ends(line: str, fence: str) -> bool:
    line = line.strip()
    return len(line) >= len(fence) and set(line) == {fence[0]}


def commands_of(code: str) -> str:
    """
    The commands of a `console` block as a script, each in its line; what they printed is left out.

    A command begins with `$ `, and goes on in the next line behind a backslash (there perhaps behind `> `).
    """
    kept: list[str] = []
    goes_on = False
    for line in code.splitlines():
        if line.startswith("$ "):
            kept.append(line[2:])
        elif goes_on:
            kept.append(line.removeprefix("> "))
        else:
            kept.append("")
            continue
        goes_on = kept[-1].endswith("\\")
    return "\n".join(kept) + "\n"


def without_blocks(text: str) -> str:
    """The prose of a page, in the same lines."""
    kept: list[str] = []
    fence = None
    for line in text.splitlines():
        found = _FENCE.match(line)
        if fence is None and found is not None:
            fence = found["fence"]
            kept.append("")
        elif fence is not None:
            kept.append("")
            fence = None if _ends(line, fence) else fence
        else:
            kept.append(line)
    return "\n".join(kept) + "\n"
