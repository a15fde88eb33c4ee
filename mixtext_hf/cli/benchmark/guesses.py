"""What guesses cost: rows a second and peak memory, whatever the number of rows: `mixtext-hf benchmark guesses`.

Features are random clusters, repeated in a file; the time of encoding texts is that of a forward pass of the encoder, which
`--model_name_or_path` adds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from mixtext_hf.data.guesses import GuessTable
from mixtext_hf.data.in_batches import write_rows
from mixtext_hf.guessing import StoredRows, fit_frozen_guesser
from mixtext_hf.models.features import text_features

from .measuring import load_model, memory_in_child, memory_in_this_process
from .reporting import add_clock, add_common_arguments, clock_of, write_report


_LABELLED, _DIFFERENT_ROWS, _ENCODED = 10, 8192, 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the sub-command."""
    parser.add_argument("--rows", nargs="+", type=int, default=[20_000, 200_000], help="Numbers of unlabelled rows.")
    parser.add_argument("--classes", type=int, default=4, help="Number of classes, of ten labelled rows each.")
    parser.add_argument("--dimensions", type=int, default=384, help="Numbers in the features of a row.")
    parser.add_argument("--model_name_or_path", default=None, help="Time an encoder too: Hub id, folder, or 'minilm'.")
    parser.add_argument("--seq_length", type=int, default=64, help="Tokens a text, for the encoder.")
    add_clock(parser)
    add_common_arguments(parser)
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)


def main(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Run the sub-command."""
    if args.memory_of is not None:
        found: dict[str, float] = {}

        def step(rows: int) -> None:
            found.update(measure(rows, args.dimensions, args.classes, clock_of(args)))

        memory = memory_in_this_process(step, [int(args.memory_of)])
        print(json.dumps({**found, **memory}))
        return
    measured = [{"rows": rows, **memory_in_child(argv, str(rows))} for rows in args.rows]
    encoder = encoding_rate(args.model_name_or_path, args.seq_length) if args.model_name_or_path else None
    write_report(args, argv, measured, encoded_rows_per_second=encoder)
    if args.json:
        print(json.dumps({"guesses": measured, "encoded_rows_per_second": encoder}, indent=2))
        return
    print(f"{args.dimensions} dimensions, {args.classes} classes, {_LABELLED} labelled rows of each\n")
    print("| rows | choosing and fitting s | guessing, rows a second | all, rows a second | memory of it MiB |")
    print("|---|---|---|---|---|")
    for row in measured:
        every = row["rows"] / (row["fit_seconds"] + row["guess_seconds"])
        print(
            f"| {row['rows']:,} | {row['fit_seconds']:.1f} | {row['rows'] / row['guess_seconds']:,.0f} | {every:,.0f} | "
            f"{row['peak_mib'] - row['before_mib']:.0f} |"
        )
    if encoder is not None:
        print(f"\n{args.model_name_or_path} encodes {encoder:,.0f} texts of {args.seq_length} tokens a second.")


def measure(
    rows: int, dimensions: int, classes: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Seconds of choosing and fitting a guesser on so many rows in a file, and of writing the table of guesses."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(classes, dimensions))
    few = min(rows, _DIFFERENT_ROWS)
    labels = np.arange(few) % classes
    different = (centres[labels] + 4 * rng.normal(size=(few, dimensions))).astype(np.float32)
    labelled = centres.repeat(_LABELLED, axis=0) + 4 * rng.normal(size=(classes * _LABELLED, dimensions))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        write_rows(path, (different[: min(few, rows - start)] for start in range(0, rows, few)), rows)
        stored = StoredRows(path)
        start = clock()
        guesser = fit_frozen_guesser(stored, labelled, np.arange(classes).repeat(_LABELLED), classes)
        fitted = clock()
        names = [str(one) for one in range(classes)]
        GuessTable.write(Path(folder) / "table", (np.exp(chunk) for chunk in guesser.guess(stored)), rows, names, {})
        return {"fit_seconds": fitted - start, "guess_seconds": clock() - fitted}


@torch.no_grad()
def encoding_rate(name: str, seq_length: int) -> float:
    """Texts a second that an encoder makes features of."""
    model = load_model(name).eval()
    ids = torch.randint(1, model.config.vocab_size, (64, seq_length), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    text_features(model, batch)
    start = time.perf_counter()
    for _ in range(_ENCODED // 64):
        text_features(model, batch)
    return _ENCODED / (time.perf_counter() - start)
