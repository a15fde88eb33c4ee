"""Plain training, TMix and MixText on the embedded example, in a few minutes on two cores: `mixtext-hf demo`.

Which library does this text document? 10 labelled texts a class, for MixText 2,000 more without labels, real pretrained weights,
three seeds. Ends in a table, a reliability diagram, and a sentence classified by plain transformers in a process that never
imports this package.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mixtext_hf._files import check_writable, write_text
from mixtext_hf._lock import FolderLock
from mixtext_hf.evaluation import reliability_diagram
from mixtext_hf.evaluation.comparison.tables import mean_and_deviation
from mixtext_hf.methods import METHODS

from . import train_text
from .failures import reporting_failures
from .run import Run


COLUMNS = {"eval_accuracy": "accuracy", "eval_ece": "ECE", "eval_nll": "NLL"}
SENTENCE = "Compute the shortest path between two nodes of a weighted graph."

# What keeps MixText within the minutes of a demo.
_WITH_UNLABELED = ("--unlabeled_per_class=250", "--per_device_unlabeled_batch_size=8", "--guess_warm_up_steps=0")

_IN_BFLOAT16 = ("--use_cpu=True", "--bf16=True")

_CLASSIFY = """
import sys
from transformers import pipeline
print(pipeline("text-classification", sys.argv[1])(sys.argv[2])[0])
assert not any(name.split(".")[0] == "mixtext_hf" for name in sys.modules)
"""


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command's few arguments."""
    parser = comparison_parser("demo", __doc__, ["erm", "tmix", "mixtext"])
    parser.add_argument("--max_steps", type=int, default=80, help="Optimiser steps of each run.")
    return parser


def has_fast_bfloat16() -> bool:
    """Whether there is no GPU, and a CPU that multiplies in bfloat16 itself: others take longer so."""
    # Not in all versions of torch that serve.
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return not torch.cuda.is_available() and any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def comparison_parser(name: str, doc: str, methods: list[str]) -> argparse.ArgumentParser:
    """The arguments that [`compare`] takes; `doc` is the docstring of the command's module."""
    parser = argparse.ArgumentParser(prog=f"mixtext-hf {name}", description=doc.split("\n\n")[0])
    parser.add_argument("--output_dir", default=name, help="Where models, table and pictures go.")
    parser.add_argument("--seeds", type=_positive, default=3, help="How many seeds: 0, 1, ...")
    parser.add_argument("--methods", nargs="+", default=methods, help="Methods to compare.")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}.")
    return number


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    more = {name: _WITH_UNLABELED for name in args.methods if name in METHODS and METHODS[name].uses_unlabeled}
    with reporting_failures("mixtext-hf demo"):
        flags = [f"--max_steps={args.max_steps}", *(_IN_BFLOAT16 if has_fast_bfloat16() else ())]
        compare(train_text.make_run, args, flags, title="10 labels a class", more=more)
    model = Path(args.output_dir) / f"{args.methods[-1]}-seed0"
    print(f"Model: {model}\n\nPlain transformers on {SENTENCE!r}:", flush=True)
    subprocess.run([sys.executable, "-c", _CLASSIFY, str(model.resolve()), SENTENCE], check=True)


def compare(
    make_run: Callable[[Sequence[str]], Run],
    args: argparse.Namespace,
    flags: Sequence[str],
    *,
    title: str,
    more: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """
    Train with every method and seed; print and write a table and a reliability diagram.

    Args:
        make_run (`Callable`): Makes a run of its command-line arguments.
        args (`argparse.Namespace`): `methods`, `seeds` and `output_dir`.
        flags (`Sequence[str]`): What all runs are given besides.
        title (`str`): What the diagram says of the data, behind the number of seeds.
        more (`Mapping[str, Sequence[str]]`, *optional*): What the runs of single methods are given too.
    """
    output_dir = Path(args.output_dir)
    check_writable(output_dir)
    with FolderLock(output_dir):
        _compare(make_run, args, output_dir, flags, title, more or {})


def _compare(
    make_run: Callable[[Sequence[str]], Run],
    args: argparse.Namespace,
    output_dir: Path,
    flags: Sequence[str],
    title: str,
    more: Mapping[str, Sequence[str]],
) -> None:
    results: dict[str, list[dict[str, float]]] = {method: [] for method in args.methods}
    predictions: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {method: [] for method in args.methods}
    for seed in range(args.seeds):
        for method in args.methods:
            print(f"\n=== {method}, seed {seed} ===", flush=True)
            folder = output_dir / f"{method}-seed{seed}"
            run = make_run(
                [
                    f"--output_dir={folder}",
                    f"--mix_method={method}",
                    f"--seed={seed}",
                    "--overwrite_output_dir",
                    *flags,
                    *more.get(method, ()),
                ]
            )
            results[method].append(run())
            assert run.probabilities is not None and run.references is not None
            predictions[method].append((run.probabilities, run.references))

    table = make_table(results)
    print(f"\n{table}\n")
    write_text(output_dir / "table.md", table + "\n")
    picture = output_dir / "reliability_diagram.png"
    reliability_diagram(
        {
            method: (np.concatenate([p for p, _ in pairs]), np.concatenate([r for _, r in pairs]))
            for method, pairs in predictions.items()
        },
        picture,
        title=f"{args.seeds} seed{'s' * (args.seeds > 1)}, {title}",
    )
    print(f"Reliability diagram: {picture}")


def make_table(results: dict[str, list[dict[str, float]]]) -> str:
    """Mean and standard deviation over seeds, one line a method, as Markdown."""
    lines = ["| method | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---|" * len(COLUMNS)]
    for method, runs in results.items():
        cells = [mean_and_deviation([run[key] for run in runs]) for key in COLUMNS]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
