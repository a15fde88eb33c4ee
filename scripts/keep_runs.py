"""The small files of finished runs that tables and pictures are made of, into docs/results.

`python scripts/keep_runs.py MADE docs/results/FOLDER`: MADE is one of

- the `--output_dir` of a `mixtext-hf compare`, whose `runs.csv` and `results.csv` are taken, with `epochs.csv` (held-out accuracy and share of
  the wrong labels learnt, by epoch) where runs have learnt wrong labels, and `guesses.csv` (who guessed, and how many guesses are right) where
  they learnt from guesses;
- a folder of such folders, called by numbers: the same files as `runs-NUMBER.csv` and so on;
- a folder of runs in folders `METHOD-seedSEED` or `METHOD-SEED`, of which each `all_results.json` is taken; without timings, but for
  `train_runtime` with `--seconds`.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tables import lines_of

from mixtext_hf._files import write_json, write_text
from mixtext_hf.evaluation.comparison.tables import as_csv


HELD_OUT, MEMORISED = "eval_accuracy", "noise_memorised"
_SECONDS = "train_runtime"
_TIMES = ("_runtime", "_samples_per_second", "_steps_per_second", "_preparation_time", "total_flos")

Line = dict[str, str | float]


def runs_of(made: Path) -> list[tuple[Line, dict[str, Any]]]:
    """Variant and seed of each run of a comparison, and what its `result.json` holds."""
    return [
        (
            {"variant": run["variant"], "seed": run["seed"]},
            json.loads((made / "runs" / run["run"] / "result.json").read_text(encoding="utf-8")),
        )
        for run in lines_of(made / "runs.csv")
    ]


def epochs_of(history: Iterable[Mapping[str, float]]) -> list[Line]:
    """A line an epoch, of a log that has what was memorised; none of another log."""
    epochs: dict[float, dict[str, float]] = {}
    for entry in history:
        told = {key: entry[key] for key in (HELD_OUT, MEMORISED) if key in entry}
        if told:
            epochs.setdefault(round(entry["epoch"], 6), {}).update(told)
    if not any(MEMORISED in told for told in epochs.values()):
        return []
    return [
        {
            "epoch": f"{epoch:g}",
            **{key: round(told[key], 6) if key in told else "" for key in (HELD_OUT, MEMORISED)},
        }
        for epoch, told in sorted(epochs.items())
    ]


def guesses_of(rounds: Iterable[Mapping[str, Any]]) -> list[Line]:
    """
    A line a round: which of the frozen guessers was chosen, the nats a held-out labelled row that it and the classifier leave (less than
    `nats_of_even` tells something), the weight of the classifier beside it, and the shares of right guesses.
    """
    lines: list[Line] = []
    for facts in rounds:
        joined = facts.get("combination", {})
        numbers = {
            "nats_of_even": math.log(len(facts["shares"])),
            "nats_of_frozen": _nats(joined.get("frozen_log_likelihood")),
            "nats_of_classifier": _nats(joined.get("classifier_log_likelihood")),
            "weight_of_classifier": joined.get("classifier_weight"),
            "right": facts.get("accuracy"),
            "right_of_surest": facts.get("accuracy_of_surest"),
        }
        told: Line = {key: "" if value is None else f"{value:.6g}" for key, value in numbers.items()}
        lines.append({"round": facts["round"], "chosen": facts.get("chosen", ""), **told})
    return lines


def _nats(log_likelihood: float | None) -> float | None:
    return None if log_likelihood is None else -log_likelihood


def keep(made: Path, folder: Path, *, seconds: bool = False) -> list[str]:
    """
    Copies the files; returns their names.

    Args:
        made (`Path`): What the runs left.
        folder (`Path`): Made if it is not there.
        seconds (`bool`): Keep the time of training of single runs.

    Raises:
        `ValueError`: if there is nothing to take.
    """
    numbered = sorted(path for path in made.iterdir() if path.name.isdigit() and (path / "runs.csv").is_file())
    folder.mkdir(parents=True, exist_ok=True)
    if numbered:
        return [name for path in numbered for name in _keep_comparison(path, folder, f"-{path.name}")]
    if (made / "runs.csv").is_file():
        return _keep_comparison(made, folder)
    names = []
    for path in sorted(made.glob("*/all_results.json")):
        if run := re.fullmatch(r"(?P<method>.+)-(?:seed)?(?P<seed>\d+)", path.parent.name):
            names.append(f"{run['method']}-seed{run['seed']}.json")
            numbers = json.loads(path.read_text(encoding="utf-8"))
            kept = {
                key: value
                for key, value in numbers.items()
                if not key.endswith(_TIMES) or (seconds and key == _SECONDS)
            }
            write_json(folder / names[-1], kept)
    if not names:
        raise ValueError(f"{made} holds neither a runs.csv nor runs with an all_results.json.")
    return names


def _keep_comparison(made: Path, folder: Path, behind: str = "") -> list[str]:
    names = []
    for name in ("runs", "results"):
        names.append(f"{name}{behind}.csv")
        shutil.copyfile(made / f"{name}.csv", folder / names[-1])
    runs = runs_of(made)
    for name, lines in (
        ("epochs", [{**run, **line} for run, result in runs for line in epochs_of(result["log_history"])]),
        ("guesses", [{**run, **line} for run, result in runs for line in guesses_of(result.get("guesses", []))]),
    ):
        if lines:
            names.append(f"{name}{behind}.csv")
            write_text(folder / names[-1], as_csv(lines))
    return names


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("made", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", action="store_true", help="Keep the time that single runs trained for.")
    args = parser.parse_args(argv)
    print(f"{args.folder}: {', '.join(keep(args.made, args.folder, seconds=args.seconds))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
