"""A comparison of tiny runs, in this process or in others."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mixtext_hf.cli import compare
from mixtext_hf.cli.planned_run import PlannedRun


FLAGS = [
    "--use_cpu",
    "--max_seq_length=16",
    "--max_steps=2",
    "--per_device_train_batch_size=4",
    "--learning_rate=1e-2",
]


def compare_with_others(argv: list[str], journal: str, processes: int) -> None:
    """
    `mixtext-hf compare` in one of several processes, each of which writes what it runs into a file; none gets ahead before all
    of them have begun a run.
    """
    execute = PlannedRun.execute

    def recorded(self: PlannedRun, *, keep_model: bool) -> None:
        with Path(journal).open("a") as file:
            file.write(f"{os.getpid()} {self.folder.name}\n")
        patience = time.monotonic() + 60
        while len({line.split()[0] for line in Path(journal).read_text().splitlines()}) < processes:
            assert time.monotonic() < patience, "The other process has begun no run."
            time.sleep(0.01)
        execute(self, keep_model=keep_model)

    PlannedRun.execute = recorded  # type: ignore[method-assign]
    compare.main(argv)
