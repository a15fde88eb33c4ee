"""What the pages on design and reliability say of the house: the tests that they name are there, and the floors are the floors."""

import re
from pathlib import Path

import pytest
from test_imports import FLOORS


ROOT = Path(__file__).parent.parent
PAGES = ("docs/design.md", "docs/reliability.md")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def named_tests(text: str) -> list[tuple[str, str]]:
    """The tests that a page names as `tests/room/test_file.py: test_name`, also where a line ends in between."""
    return re.findall(r"`(tests/[\w/]+\.py):\s+(\w+)`", text)


def missing_tests(text: str) -> list[str]:
    missing = []
    for path, name in named_tests(text):
        source = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).is_file() else ""
        if not re.search(rf"^def {name}\(", source, re.MULTILINE):
            missing.append(f"{path}: {name}")
    return missing


@pytest.mark.parametrize("page", PAGES)
def test_tests_that_are_named_are_there(page):
    text = text_of(page)
    assert missing_tests(text) == []
    # None is written in another way, which would not be looked for.
    assert len(named_tests(text)) == len(re.findall(r"\btest_\w+`", text)) > 5


def test_a_test_that_is_gone_is_seen():
    text = (
        "`tests/test_design_pages.py:\n  test_a_test_that_is_gone_is_seen`, `tests/test_files.py: test_of_the_weather`"
    )
    assert missing_tests(text) == ["tests/test_files.py: test_of_the_weather"]
    assert missing_tests("`tests/rooms/test_none.py: test_x`") == ["tests/rooms/test_none.py: test_x"]


def test_every_event_of_the_page_on_reliability_has_a_test():
    lines = text_of("docs/reliability.md").splitlines()
    events = [line for line in lines if line.startswith("| ") and not line.startswith("| event ")]
    assert len(events) > 30
    assert [line for line in events if not named_tests(line)] == []


def test_the_floors_are_those_of_the_imports():
    table = dict(re.findall(r"^\| (\d) \| (.*) \|$", text_of("docs/design.md"), re.MULTILINE))
    assert len(table) == len(FLOORS)
    for number, rooms in enumerate(FLOORS):
        named = re.findall(r"`([\w.]+)`", table[str(number)])
        assert sorted(named) == sorted(
            {"": "__init__.py", "__main__": "__main__.py"}.get(room, room) for room in rooms
        )
