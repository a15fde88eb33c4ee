"""Does memory stay flat over a long training? `python scripts/soak.py [STEPS]`: some minutes, exit 1 where it grows.

Tiny models of `mixtext-hf benchmark trainer` are trained with erm, tmix and mixtext, each in a process of its own, 3,000 steps if
nothing is said. The resident memory is read every 10 steps, and its median over the last third of the steps compared with that over
the second: what the beginning takes (caches, allocator, the state of the optimiser) is no leak.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback

from mixtext_hf.cli.benchmark.command import make_parser
from mixtext_hf.cli.benchmark.trainer import make_pair


METHODS = ("erm", "tmix", "mixtext", "mixtext_online")
STEPS, EVERY = 3_000, 10
# 3,000 steps that kept a batch, a plan or a loss of each would take more.
GROWTH_MIB = 4.0


class Resident(TrainerCallback):
    """MiB of this process, every [`EVERY`] steps."""

    def __init__(self) -> None:
        self.mib: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % EVERY == 0:
            line = next(
                line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")
            )
            self.mib.append(int(line.split()[1]) / 2**10)


def growth(mib: list[float]) -> float:
    """MiB by which the last third of a training exceeds the second."""
    third = len(mib) // 3
    return statistics.median(mib[2 * third :]) - statistics.median(mib[third : 2 * third])


def train(method: str, steps: int) -> None:
    """One training in this process; exits with 1 if memory grew."""
    args = make_parser().parse_args(["trainer", "--steps", str(steps)])
    resident = Resident()
    with tempfile.TemporaryDirectory() as folder:
        _, trainer = make_pair(method, args, Path(folder))
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(resident)
        trainer.args.logging_steps = 100
        trainer.train()
    grown = growth(resident.mib)
    print(f"{method}: {resident.mib[-1]:.0f} MiB after {steps} steps, {grown:+.2f} MiB in the last third", flush=True)
    sys.exit(grown > GROWTH_MIB)


def main() -> None:
    """Run the command."""
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    if len(sys.argv) > 2:
        train(sys.argv[2], steps)
    codes = [
        subprocess.run([sys.executable, __file__, str(steps), method], check=False).returncode for method in METHODS
    ]
    sys.exit(any(codes))


if __name__ == "__main__":
    main()
