"""Each message that docs/troubleshooting.md quotes is one that the package has, so that whoever pastes it finds it there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import mixtext_hf


PAGE = Path(__file__).parent.parent / "docs" / "troubleshooting.md"
PACKAGE = Path(mixtext_hf.__file__).parent
# What varies, in the page and in the source.
VARIES = "…"
# Below these headings stand symptoms, which have no message.
WITHOUT_MESSAGES = "Symptoms without a message"
# And below these, messages of other programs.
OF_OTHERS = "Installing"
LEAST_LETTERS = 12
END = "\0"
_PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-+ 0#]*[\d.]*[srdgifaxe%]")


def quoted_messages(page: str) -> list[str]:
    """The messages of the headings of entries; `ValueError` for an entry whose heading is no message."""
    found = []
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        if section.startswith((WITHOUT_MESSAGES, OF_OTHERS)):
            continue
        for heading in re.findall(r"^### (.*)$", section, re.MULTILINE):
            code = re.fullmatch(r"`([^`]+)`|`` (.+) ``", heading)
            if code is None:
                raise ValueError(f"{heading!r} is no message in code.")
            found.append(code[1] or code[2])
    return found


def written(node: ast.AST) -> str | None:
    """A text of the source as one sees it, with what varies as one sign; `None` for other nodes."""
    if isinstance(node, ast.Constant):
        return _PLACEHOLDER.sub(VARIES, node.value) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else VARIES for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = written(node.left), written(node.right)
        return None if left is None and right is None else f"{left or VARIES}{right or VARIES}"
    return None


def texts_of(source: str) -> str:
    """All texts of a source but its docstrings, with `END` between them."""
    nodes = list(ast.walk(ast.parse(source)))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = {text for node in nodes if id(node) not in docstrings and (text := written(node)) is not None}
    return END.join(sorted(texts))


@cache
def texts_of_package() -> str:
    return END.join(texts_of(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")))


def is_among(message: str, texts: str) -> bool:
    parts = [re.escape(part.strip()) for part in message.split(VARIES)]
    return re.search(f"[^{END}]*".join(parts), texts) is not None


@pytest.mark.parametrize("message", quoted_messages(PAGE.read_text(encoding="utf-8")))
def test_a_message_that_is_quoted_is_one_of_the_package(message):
    assert len(re.findall(r"\w", message)) >= LEAST_LETTERS, "too short to be found by"
    line = 1 + PAGE.read_text(encoding="utf-8").partition(message)[0].count("\n")
    assert is_among(message, texts_of_package()), f"docs/troubleshooting.md:{line}: nothing in the package says so"


def test_no_message_is_explained_twice():
    messages = quoted_messages(PAGE.read_text(encoding="utf-8"))
    assert len(messages) == len(set(messages)) > 50


@pytest.mark.parametrize(
    "message",
    [
        "there is no file … Check the weather.",
        "Out of memory (…): buy a larger machine",
        "holds another run …: name another folder, and begin at the beginning",
    ],
)
def test_a_message_that_nobody_says_is_seen(message):
    assert not is_among(message, texts_of_package())


def test_what_varies_is_no_text():
    source = 'raise ValueError(f"{name} is {value!r}: give " "another one." + more)\nlog("%d of %s are lost", 3, name)'
    texts = texts_of(source + '\n"""Nobody says this."""')
    assert is_among("is …: give another one.", texts) and is_among("… of … are lost", texts)
    assert not is_among("name is", texts) and not is_among("3 of", texts)
    assert not is_among("Nobody says this.", texts)
    assert not is_among("are lost … give another one.", texts)


def test_a_heading_without_a_message_is_refused():
    page = "# T\n\n## Reading\n\n### `a message`\n\n### It is slow\n"
    with pytest.raises(ValueError, match="'It is slow' is no message"):
        quoted_messages(page)
    assert quoted_messages(page.replace("## Reading", f"## {WITHOUT_MESSAGES}")) == []
    assert quoted_messages(page.replace("## Reading", f"## {OF_OTHERS}")) == []
    assert quoted_messages("## R\n\n### `` `text` is … ``\n") == ["`text` is …"]
