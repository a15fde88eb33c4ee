"""`mixtext-hf train-text`: a class for each text, or a tag for each word, as `--task` says."""

from __future__ import annotations

from collections.abc import Sequence

from .embedded import DEFAULTS
from .making_runs import make_run_of, run_command
from .parsing import peek
from .train_text import TASKS_OF_TOKENS, LoneTextRun, TextRun, make_parser
from .train_tokens import TokenRun


__all__ = ["main", "make_parser", "make_run"]


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the command; returns what `all_results.json` holds."""
    return run_command(make_run, "mixtext-hf train-text", argv)


def make_run(argv: Sequence[str] | None = None) -> TextRun:
    """The run that the arguments describe, checked and ready to start."""
    parser = make_parser()
    if peek(parser, argv, ["task"])["task"] in TASKS_OF_TOKENS:
        return make_run_of(TokenRun, parser, argv, {})
    return make_run_of(LoneTextRun, parser, argv, DEFAULTS)
