"""The small files of finished runs that tables and pictures are made of, into docs/results.

`python scripts/keep_runs.py MADE docs/results/FOLDER`: MADE is the `--output_dir` of a `mixtext-hf compare`, whose `runs.csv` and `results.csv`
are taken, with `epochs.csv` (held-out accuracy and share of the wrong labels learnt, by epoch) where runs have learnt wrong labels; or a folder
of runs in folders `METHOD-seedSEED` or `METHOD-SEED`, of which each `all_results.json` is taken, without timings.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import sys
from pathlib import Path

from mixtext_hf._files import whole_file, write_json


HELD_OUT, MEMORISED = "eval_accuracy", "noise_memorised"
_TIMES = ("_runtime", "_samples_per_second", "_steps_per_second", "_preparation_time", "total_flos")


def epochs_of(made: Path) -> list[dict[str, str | float]]:
    """A line a run and an epoch, of the runs of a comparison that log what they memorised."""
    lines: list[dict[str, str | float]] = []
    with (made / "runs.csv").open(encoding="utf-8", newline="") as file:
        runs = [*csv.DictReader(file)]
    for run in runs:
        history = json.loads((made / "runs" / run["run"] / "result.json").read_text(encoding="utf-8"))["log_history"]
        epochs: dict[float, dict[str, float]] = {}
        for entry in history:
            told = {key: entry[key] for key in (HELD_OUT, MEMORISED) if key in entry}
            if told:
                epochs.setdefault(round(entry["epoch"], 6), {}).update(told)
        if not any(MEMORISED in told for told in epochs.values()):
            return []
        for epoch, told in sorted(epochs.items()):
            numbers = {key: round(value, 6) for key, value in told.items()}
            lines.append({"variant": run["variant"], "seed": run["seed"], "epoch": f"{epoch:g}", **numbers})
    return lines


def keep(made: Path, folder: Path) -> list[str]:
    """Copies the files; returns their names. `ValueError` if there is nothing to take."""
    folder.mkdir(parents=True, exist_ok=True)
    if (made / "runs.csv").is_file():
        for name in ("runs.csv", "results.csv"):
            shutil.copyfile(made / name, folder / name)
        if not (lines := epochs_of(made)):
            return ["runs.csv", "results.csv"]
        with whole_file(folder / "epochs.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["variant", "seed", "epoch", HELD_OUT, MEMORISED], lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
        return ["runs.csv", "results.csv", "epochs.csv"]
    names = []
    for path in sorted(made.glob("*/all_results.json")):
        if run := re.fullmatch(r"(?P<method>.+)-(?:seed)?(?P<seed>\d+)", path.parent.name):
            names.append(f"{run['method']}-seed{run['seed']}.json")
            numbers = json.loads(path.read_text(encoding="utf-8"))
            write_json(folder / names[-1], {key: value for key, value in numbers.items() if not key.endswith(_TIMES)})
    if not names:
        raise ValueError(f"{made} holds neither a runs.csv nor runs with an all_results.json.")
    return names


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    print(f"{args.folder}: {', '.join(keep(args.made, args.folder))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
