"""What all benchmarks share of their arguments, and the file of results that they leave."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mixtext_hf._files import write_json
from mixtext_hf.version import versions


CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


def add_clock(parser: argparse.ArgumentParser) -> None:
    """What the seconds are of."""
    parser.add_argument(
        "--clock",
        default="wall",
        choices=CLOCKS,
        help="Seconds that pass, or that the processor works for it, which others on the machine change little; without a GPU.",
    )


def clock_of(args: argparse.Namespace) -> Callable[[], float]:
    """
    What says the seconds.

    Raises:
        `ValueError`: for seconds of the processor where a GPU does the work.
    """
    if args.clock == "processor" and torch.cuda.is_available():
        raise ValueError("--clock processor says nothing of the work of a GPU: use 'wall'.")
    return CLOCKS[args.clock]


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
