"""What all benchmarks share of their arguments, and the file of results that they leave."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mixtext_hf._files import write_json
from mixtext_hf.version import versions


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Threads, and what becomes of the results."""
    parser.add_argument("--threads", type=int, default=None, help="torch.set_num_threads.")
    parser.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    parser.add_argument(
        "--output_file",
        type=Path,
        help="Write the results there too: a JSON object with the command, the versions, the device and the rows.",
    )


def write_report(args: argparse.Namespace, argv: Sequence[str], rows: list[dict[str, Any]], **more: Any) -> None:
    """
    Write what was measured to `--output_file`, if there is one.

    Args:
        args (`argparse.Namespace`): With those of [`add_common_arguments`].
        argv (`Sequence[str]`): The arguments of `mixtext-hf benchmark`.
        rows (`list[dict]`): A row a method, a size or a part.
        more: What else the file says, by name.
    """
    if args.output_file is None:
        return
    found = {
        "command": shlex.join(["mixtext-hf", "benchmark", *_that_decide(argv)]),
        "versions": versions(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "rows": rows,
        **more,
    }
    write_json(args.output_file, found)


def _that_decide(argv: Sequence[str]) -> list[str]:
    """Without those that say where results go."""
    kept: list[str] = []
    rest = iter(argv)
    for argument in rest:
        if argument == "--output_file":
            next(rest)
        elif argument != "--json" and not argument.startswith("--output_file="):
            kept.append(argument)
    return kept
