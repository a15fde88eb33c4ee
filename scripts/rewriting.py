"""The command line of scripts that write tables into pages: all of them again, or with `--check` which are stale."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mixtext_hf._files import write_text


def rewrite(
    about: str | None,
    root: Path,
    names: Iterable[str],
    rewritten: Callable[[str], str],
    argv: Sequence[str] | None = None,
) -> int:
    """
    Run the command.

    Args:
        about (`str`): What its help says.
        root (`Path`): What the names start from.
        names (`Iterable[str]`): The pages.
        rewritten (`Callable[[str], str]`): A page to what it should be.
        argv (`Sequence[str]`, *optional*): Those of the process if not given.

    Returns:
        `int`: the exit status; 1 if with `--check` a page is not what it should be.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; fail if a table is not what the files say."
    )
    check = parser.parse_args(argv).check
    stale = []
    for name in names:
        text = (root / name).read_text(encoding="utf-8")
        new = rewritten(text)
        if new != text:
            stale.append(name)
            if not check:
                write_text(root / name, new)
    print(f"{'Not what the files say' if check else 'Written'}: {', '.join(stale) or 'nothing'}.")
    return 1 if check and stale else 0
