"""What a step of each method costs against a plain step: `mixtext-hf benchmark text`.

Steps of all methods are interleaved in one run, in an order drawn anew for each round, and compared within their round:
ratios hold on a machine whose speed drifts. Peak memory is taken in one child process a method.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging as hf_logging

from mixtext_hf.methods import METHODS
from mixtext_hf.training import MixTrainer, MixTrainingArguments

from .embedded import MINILM, minilm_path


BASELINE = "erm"
NUM_LABELS = 4


def make_parser() -> argparse.ArgumentParser:
    """The parser: one sub-command a benchmark."""
    parser = argparse.ArgumentParser(prog="mixtext-hf benchmark", description=__doc__.split("\n\n")[0])
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    text = benchmarks.add_parser("text", help="hidden-state methods on a text classifier")
    text.add_argument("--model_name_or_path", default=MINILM, help="Hub id, folder, or 'minilm'.")
    text.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    text.add_argument("--batch_size", type=int, default=16)
    text.add_argument("--seq_length", type=int, default=64, help="Tokens a text; the rows differ in padding.")
    text.add_argument("--rounds", type=int, default=30, help="Timed steps of each method.")
    text.add_argument("--warmup", type=int, default=5, help="Steps of each method before the clock runs.")
    text.add_argument("--threads", type=int, default=None, help="torch.set_num_threads.")
    text.add_argument("--json", action="store_true", help="Print JSON instead of a table.")
    text.add_argument("--memory_of", choices=list(METHODS), help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    hf_logging.set_verbosity_error()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.memory_of is not None:
        print(json.dumps(_memory_in_this_process(args)))
        return
    methods = list(dict.fromkeys([BASELINE, *args.methods]))
    times = _interleaved_times(args, methods)
    memory = {method: _memory_in_child(args, method) for method in methods}
    rows = [_row(method, times, memory) for method in methods]
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{args.model_name_or_path}, batch {args.batch_size} x {args.seq_length} tokens, {args.rounds} rounds\n")
    print("| method | step, median ms | ratio to erm (median of rounds) | peak memory MiB | ratio | steps alone MiB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['method']} | {row['milliseconds']:.1f} | {row['time_ratio']:.3f} | {row['peak_mib']:.0f} | "
            f"{row['memory_ratio']:.3f} | {row['steps_mib']:.0f} |"
        )


def _row(method: str, times: dict[str, list[float]], memory: dict[str, dict[str, float]]) -> dict[str, float | str]:
    ratios = [own / plain for own, plain in zip(times[method], times[BASELINE], strict=True)]
    return {
        "method": method,
        "milliseconds": 1000 * statistics.median(times[method]),
        "time_ratio": statistics.median(ratios),
        "peak_mib": memory[method]["peak_mib"],
        "memory_ratio": memory[method]["peak_mib"] / memory[BASELINE]["peak_mib"],
        "steps_mib": memory[method]["peak_mib"] - memory[method]["before_mib"],
    }


def _interleaved_times(args: argparse.Namespace, methods: list[str]) -> dict[str, list[float]]:
    model = _load_model(args.model_name_or_path)
    steps = {method: _make_step(model, method, args) for method in methods}
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {method: [] for method in methods}
    for number in range(-args.warmup, args.rounds):
        for i in rng.permutation(len(methods)):
            start = time.perf_counter()
            steps[methods[i]](number)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= 0:
                times[methods[i]].append(time.perf_counter() - start)
    return times


def _memory_in_child(args: argparse.Namespace, method: str) -> dict[str, float]:
    command = [sys.executable, "-m", "mixtext_hf.cli.benchmark", "text", f"--memory_of={method}"]
    command += [
        f"--{name}={getattr(args, name)}" for name in ("model_name_or_path", "batch_size", "seq_length", "rounds")
    ]
    command += [f"--threads={torch.get_num_threads()}"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def _memory_in_this_process(args: argparse.Namespace) -> dict[str, float]:
    model = _load_model(args.model_name_or_path)
    step = _make_step(model, args.memory_of, args)
    before = _peak_mib()
    for number in range(args.rounds):
        step(number)
    return {"before_mib": before, "peak_mib": _peak_mib()}


def _peak_mib() -> float:
    """Peak memory of this process so far: of the GPU where there is one, else the resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        # `ru_maxrss` of a child begins with the size of the process that started it; VmHWM is its own.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _load_model(name: str) -> torch.nn.Module:
    path = minilm_path() if name == MINILM else name
    config = AutoConfig.from_pretrained(path, num_labels=NUM_LABELS)
    return AutoModelForSequenceClassification.from_pretrained(path, config=config)


def _make_step(model: torch.nn.Module, method: str, args: argparse.Namespace) -> Callable[[int], None]:
    """One optimiser step, as MixTrainer makes it, on a fixed batch with plans that change from step to step."""
    arguments = MixTrainingArguments(
        tempfile.gettempdir(), mix_method=method, per_device_train_batch_size=args.batch_size, report_to="none"
    )
    trainer = MixTrainer(model=model, args=arguments)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    trainer.current_gradient_accumulation_steps = 1
    trainer.state.max_steps = args.rounds + 1
    batch = _batch(args.batch_size, args.seq_length, next(model.parameters()).device)

    def step(number: int) -> None:
        trainer.state.global_step = max(number, 0)
        trainer.training_step(model, batch)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _batch(batch_size: int, seq_length: int, device: torch.device) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(max(seq_length // 2, 1), seq_length + 1, (batch_size,), generator=generator)
    lengths[0] = seq_length
    batch = {
        "input_ids": torch.randint(1000, 20000, (batch_size, seq_length), generator=generator),
        "attention_mask": (torch.arange(seq_length) < lengths[:, None]).long(),
        "labels": torch.randint(NUM_LABELS, (batch_size,), generator=generator),
    }
    return {name: value.to(device) for name, value in batch.items()}


if __name__ == "__main__":
    main()
