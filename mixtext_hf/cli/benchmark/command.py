"""What a training step costs: `mixtext-hf benchmark`.

`text`: each method against a plain step. `mixtext`: MixText against its authors' program, see `mixtext.py`.
`vision`: the methods for images, and the parts of PuzzleMix, see `vision.py`. `trainer`: what the trainer adds to the
plain one, see `trainer.py`. `guesses`: rows a second and memory of guessing, see `guesses.py`.
Steps are interleaved in one run, in an order drawn anew for each round, and compared within their round: ratios hold on
a machine whose speed drifts. Peak memory is taken in one child process a step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import torch

from mixtext_hf._quiet import errors_alone
from mixtext_hf.cli.failures import reporting_failures
from mixtext_hf.data.visits import VISITS
from mixtext_hf.methods import METHODS, make_method
from mixtext_hf.models.embedded import MINILM
from mixtext_hf.models.last_token import padding_id, reads_last_token

from . import guesses, mixtext, trainer, vision
from .measuring import (
    NUM_LABELS,
    interleaved_times,
    load_model,
    load_tokenizer,
    make_trainer,
    memory_in_child,
    memory_in_this_process,
)
from .reporting import add_clock, add_common_arguments, clock_of, write_report


BASELINE = "erm"
# Those that a batch of labelled texts is enough for.
SUPERVISED = tuple(
    name
    for name, method in METHODS.items()
    if method.labels_texts and not (method.uses_unlabeled or method.mixes_pixels)
)
# What follows the name of a method that keeps its saliency.
KEPT = "_kept"
# Methods of those that can, and what they are called then.
KEEPING = {f"{name}{KEPT}": name for name in SUPERVISED if "saliency_every" in METHODS[name].field_names()}


def make_parser() -> argparse.ArgumentParser:
    """The parser: one sub-command a benchmark."""
    parser = argparse.ArgumentParser(prog="mixtext-hf benchmark", description=__doc__.split("\n\n")[0])
    benchmarks = parser.add_subparsers(dest="benchmark", required=True)
    text = benchmarks.add_parser("text", help="the methods for labelled texts on a text classifier")
    text.add_argument("--model_name_or_path", default=MINILM, help="Hub id, folder, or 'minilm'.")
    text.add_argument("--methods", nargs="+", default=list(SUPERVISED), choices=SUPERVISED)
    text.add_argument("--batch_size", type=int, default=16)
    text.add_argument("--seq_length", type=int, default=64, help="Tokens a text; the rows differ in padding.")
    text.add_argument("--rounds", type=int, default=30, help="Timed steps of each method.")
    text.add_argument("--warmup", type=int, default=5, help="Steps of each method before the clock runs.")
    text.add_argument(
        "--saliency_every",
        type=int,
        default=1,
        help=f"Above 1, also time {' and '.join(KEEPING.values())} with their saliency kept for so many epochs. A round is an epoch "
        "then, and so many rounds are averaged.",
    )
    add_clock(text)
    add_common_arguments(text)
    text.add_argument("--memory_of", choices=(*SUPERVISED, *KEEPING), help=argparse.SUPPRESS)
    of_mixtext = benchmarks.add_parser("mixtext", help="a MixText step against that of its authors' program")
    mixtext.add_arguments(of_mixtext)
    of_images = benchmarks.add_parser("vision", help="the methods for images, and the parts of PuzzleMix")
    vision.add_arguments(of_images)
    of_steps = benchmarks.add_parser("trainer", help="what the trainer adds to a step of the plain Trainer")
    trainer.add_arguments(of_steps)
    of_guesses = benchmarks.add_parser("guesses", help="guessing the classes of many unlabelled rows")
    guesses.add_arguments(of_guesses)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    argv = list(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    with errors_alone(), reporting_failures("mixtext-hf benchmark"):
        if args.benchmark == "mixtext":
            mixtext.main(args, argv)
        elif args.benchmark == "guesses":
            guesses.main(args, argv)
        elif args.benchmark == "trainer":
            trainer.main(args, argv)
        elif args.benchmark == "vision":
            vision.main(args, argv)
        else:
            _benchmark_text(args, argv)


def _benchmark_text(args: argparse.Namespace, argv: Sequence[str]) -> None:
    if not 1 <= args.saliency_every <= args.rounds:
        raise ValueError(
            f"--saliency_every {args.saliency_every} of --rounds {args.rounds}: give at least 1, and as many rounds at least."
        )
    clock = clock_of(args)
    model = load_model(args.model_name_or_path)
    if args.memory_of is not None:
        step = _make_step(model, args.memory_of, args)
        print(json.dumps(memory_in_this_process(step, range(args.rounds))))
        return
    methods = list(dict.fromkeys([BASELINE, *args.methods]))
    if args.saliency_every > 1:
        methods += [kept for kept, method in KEEPING.items() if method in methods]
    steps = {method: _make_step(model, method, args) for method in methods}
    times = interleaved_times(steps, [0] * args.warmup + list(range(args.rounds)), args.warmup, clock)
    memory = {method: memory_in_child(argv, method) for method in methods}
    rows = [_row(method, times, memory, args.saliency_every if method in KEEPING else 1) for method in methods]
    write_report(args, argv, rows)
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


def _row(
    method: str, times: dict[str, list[float]], memory: dict[str, dict[str, float]], together: int = 1
) -> dict[str, float | str]:
    """What a step costs, `together` of which are one: of those that measure and those that do not, as often as they come."""
    own, plain = (_averages(times[name], together) for name in (method, BASELINE))
    ratios = [one / other for one, other in zip(own, plain, strict=True)]
    return {
        "method": method,
        "milliseconds": 1000 * statistics.median(own),
        "time_ratio": statistics.median(ratios),
        "peak_mib": memory[method]["peak_mib"],
        "memory_ratio": memory[method]["peak_mib"] / memory[BASELINE]["peak_mib"],
        "steps_mib": memory[method]["peak_mib"] - memory[method]["before_mib"],
    }


def _averages(times: list[float], together: int) -> list[float]:
    return [
        statistics.fmean(times[start : start + together]) for start in range(0, len(times) - together + 1, together)
    ]


def _make_step(model: Any, name: str, args: argparse.Namespace) -> Callable[[int], None]:
    """One optimiser step, as MixTrainer makes it, on a fixed batch with plans that change from step to step."""
    method = KEEPING.get(name, name)
    tokenizer = load_tokenizer(args.model_name_or_path) if make_method(method).reads_tokens else None
    settings: dict[str, Any] = {"mix_method": method, "per_device_train_batch_size": args.batch_size}
    if name in KEEPING:
        settings["mix_kwargs"] = {"saliency_every": args.saliency_every}
    trainer = make_trainer(model, args.rounds + 1, tokenizer=tokenizer, **settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batch = _batch(args, model)
    if name in KEEPING:
        trainer.train_dataset = range(args.batch_size)  # how many rows there are

    # Nothing is kept of an epoch below 0: that after the warm-up measures.
    epochs = count(-args.warmup)

    def step(number: int) -> None:
        trainer.state.global_step = number
        if name in KEEPING:
            epoch = next(epochs)
            batch[VISITS] = torch.tensor([[row, epoch] for row in range(args.batch_size)], device=model.device)
        trainer.training_step(model, batch)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _batch(args: argparse.Namespace, model: Any) -> dict[str, torch.Tensor]:
    size = (args.batch_size, args.seq_length)
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(max(args.seq_length // 2, 1), args.seq_length + 1, size[:1], generator=generator)
    lengths[0] = args.seq_length
    input_ids = torch.randint(1, model.config.vocab_size, size, generator=generator)
    is_token = torch.arange(args.seq_length) < lengths[:, None]
    if reads_last_token(model):
        # Padded on the left, by the token that its head takes for padding and that stands nowhere else.
        is_token, pad = is_token.flip(1), padding_id(model.config) or 0
        input_ids[input_ids == pad] = 1 if pad != 1 else 2
        input_ids[~is_token] = pad
    batch = {
        "input_ids": input_ids,
        "attention_mask": is_token.long(),
        "labels": torch.randint(NUM_LABELS, size[:1], generator=generator),
    }
    return {name: value.to(model.device) for name, value in batch.items()}


if __name__ == "__main__":
    main()
