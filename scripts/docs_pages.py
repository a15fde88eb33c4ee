"""The pages of the documentation that are made of the package: methods, models, commands.

`python scripts/docs_pages.py` writes them, `--check` says which would change.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from docs_site import commands, methods, models

from mixtext_hf._files import write_text


DOCS = Path(__file__).resolve().parent.parent / "docs"
FOLDERS = ("methods", "commands")


def pages() -> dict[str, str]:
    """What each page says, by its name below `docs/`."""
    return {**methods.pages(), **models.pages(), **commands.pages()}


def stale(made: dict[str, str]) -> list[str]:
    """The pages that are not as they were made, and those that are there and were not made."""
    there = {page.relative_to(DOCS).as_posix() for folder in FOLDERS for page in (DOCS / folder).glob("*.md")}
    changed = [name for name, text in made.items() if not _is(DOCS / name, text)]
    return sorted({*changed, *(there - set(made))})


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def write(made: dict[str, str], names: list[str]) -> None:
    """Write those of the pages that are named, and remove those of methods and commands that are no more."""
    for name in names:
        if name in made:
            write_text(DOCS / name, made[name])
        else:
            (DOCS / name).unlink()


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; fail if a page would change.")
    check = parser.parse_args().check
    made = pages()
    found = stale(made)
    if not check:
        write(made, found)
    print(f"{'Not what the package says' if check else 'Written'}: {', '.join(found) or 'nothing'}.")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
