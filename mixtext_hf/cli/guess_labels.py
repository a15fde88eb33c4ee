"""Guess the classes of unlabelled texts, and write the guesses into columns beside them: `mixtext-hf guess-labels`.

```bash
mixtext-hf guess-labels texts.csv guessed.parquet --train_file labelled.csv
mixtext-hf train-text --train_file labelled.csv --unlabeled_file guessed.parquet --guess_column guess_probabilities \
    --mix_method mixtext --model_name_or_path bert-base-uncased --max_steps 400 --do_train --output_dir out
```

Killed at any moment, the same command goes on where it was and ends in the same file as if it had never been stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from transformers import HfArgumentParser
from transformers.utils import logging as hf_logging

from mixtext_hf._files import check_not_input, whole_file
from mixtext_hf._messages import check_at_least
from mixtext_hf.data.labels.mapping import read_label_map
from mixtext_hf.data.tables.files import matching_files, patterns_in
from mixtext_hf.data.tables.parts import Parts
from mixtext_hf.data.tables.text_files import (
    check_output_file,
    hash_texts,
    read_texts,
)
from mixtext_hf.data.texts.back_translation import default_device
from mixtext_hf.data.texts.unlabeled_parts import with_known_labels

from .failures import reporting_failures
from .guessers import Gaussian, GuessLabelsArguments, Taught
from .parsing import Parser, parse, reporting_bad_input


GUESS, PROBABILITIES = "guess", "guess_probabilities"


def make_parser() -> HfArgumentParser:
    """The parser of the two files and of `GuessLabelsArguments`."""
    parser = Parser(
        [GuessLabelsArguments],
        prog="mixtext-hf guess-labels",
        usage="mixtext-hf guess-labels IN OUT.parquet --train_file LABELLED [...]",
        description="Guess the classes of unlabelled texts, and write the guesses into columns beside them.",
    )
    parser.add_argument(
        "input_file",
        metavar="IN",
        help="The texts: parquet, csv, tsv, txt, json or jsonl, texts also as .gz; commas, globs.",
    )
    parser.add_argument(
        "output_file",
        metavar="OUT.parquet",
        help=f"The file to write: all columns of the input, {GUESS} (a class) and {PROBABILITIES} (of each class).",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = make_parser()
    with reporting_bad_input(parser):
        args, files = parse(parser, argv)[:2]
        run = GuessRun(files.input_file, files.output_file, args)
        run.start()
    with reporting_failures(parser.prog):
        run()


class GuessRun:
    """One run of the command: everything that can be wrong is found on construction and by `start`."""

    def __init__(self, input_file: str, output_file: str, args: GuessLabelsArguments):
        self.args, self.output = args, Path(output_file)
        check_output_file(self.output, args.overwrite_output_file)
        check_at_least(1, args, "batch_size", "chunk_size")
        if args.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no GPU; leave it out to run on the CPU.")
        self.device = default_device() if args.device is None else torch.device(args.device)
        if args.train_file is not None:
            check_not_input(self.output, matching_files("train_file", patterns_in(args.train_file)))
        self.dataset, self.text_column = read_texts(input_file, self.output, args)
        self.texts = self.dataset.select_columns([self.text_column])
        there = [name for name in (GUESS, PROBABILITIES) if name in self.dataset.column_names]
        if there and not args.overwrite_columns:
            raise ValueError(f"{input_file} has the columns {there} already: replace them by --overwrite_columns.")
        self.replaced = there
        self.guesser: Gaussian | Taught
        if args.guesser == "gaussian":
            if len(self.texts) < 2:
                raise ValueError(
                    f"{input_file} has one text, and clusters need at least two to see where texts lie: give more, or a teacher by "
                    "--guesser checkpoint:FOLDER_OR_ID."
                )
            self.guesser = Gaussian(args, self.device)
        elif args.guesser.startswith("checkpoint:"):
            self.guesser = Taught(args, self.device)
        else:
            raise ValueError(f"--guesser {args.guesser!r} is none: choose gaussian or checkpoint:FOLDER_OR_ID.")
        self.parts = Parts(self.output.with_name(self.output.name + ".part"), self._fingerprint())
        self.parts.check(args.overwrite_output_file)

    def start(self) -> None:
        """Take possession of the folder of parts."""
        self.parts.open(self.args.overwrite_output_file)
        check_output_file(self.output, self.args.overwrite_output_file)

    def _fingerprint(self) -> dict[str, Any]:
        args = self.args
        return {
            "rows": len(self.texts),
            "texts_sha256": hash_texts(self.texts, self.text_column),
            "guesser": args.guesser,
            "chunk_size": args.chunk_size,
            "batch_size": args.batch_size,
            "max_seq_length": args.max_seq_length,
            "bf16": args.bf16,
            "device": self.device.type,
            **self.guesser.fingerprint,
        }

    def __call__(self) -> None:
        with self.parts:
            self._make_parts()
            right = self._write_output()
        self.parts.remove()
        print(f"{self.output}: {len(self.dataset)} texts with the new columns {GUESS}, {PROBABILITIES}.")
        print(f"Guessed by {self.guesser.why}.")
        if right is not None:
            print(f"Right, where the class is known: {right:.1%}.")

    def _make_parts(self) -> None:
        rows = len(self.texts)
        missing, done = self.parts.missing(rows, self.args.chunk_size)
        with hf_logging.tqdm(total=rows, initial=done, unit=" texts", desc="guess-labels") as bar:
            for chunk, which in missing:
                texts = self.texts[which][self.text_column]
                made = self.guesser.look_at(texts)
                column = pa.FixedSizeListArray.from_arrays(pa.array(made.reshape(-1), pa.float32()), made.shape[1])
                self.parts.write(chunk, pa.table({"seen": column}), {})
                bar.update(len(texts))

    def _seen(self) -> Iterator[NDArray[np.float32]]:
        for chunk in range(-(-len(self.texts) // self.args.chunk_size)):
            yield _read(self.parts, chunk)

    def _write_output(self) -> float | None:
        guess = self.guesser.finish(_PartRows(self.parts, len(self.texts), self.args.chunk_size))
        names = self.guesser.label_names
        known = self._known_labels()
        kept = self.dataset.remove_columns(self.replaced).with_format("arrow")
        start, right, count = 0, 0, 0
        with whole_file(self.output, within=self.parts.path) as partial, ExitStack() as opened:
            writer = None
            for seen in self._seen():
                probabilities = guess(seen)
                table: pa.Table = kept[start : start + len(seen)]
                likeliest = probabilities.argmax(axis=1)
                table = table.append_column(GUESS, pa.array([names[i] for i in likeliest], pa.string()))
                columns = [pa.array(probabilities[:, i], pa.float32()) for i in range(len(names))]
                table = table.append_column(PROBABILITIES, pa.StructArray.from_arrays(columns, names=names))
                table = table.replace_schema_metadata(None)
                if writer is None:
                    writer = opened.enter_context(pq.ParquetWriter(partial, table.schema))
                writer.write_table(table)
                if known is not None:
                    labels = known[start : start + len(seen)]
                    right += int(((labels == likeliest) & (labels >= 0)).sum())
                    count += int((labels >= 0).sum())
                start += len(seen)
        return right / count if count else None

    def _known_labels(self) -> NDArray[np.int64] | None:
        column = self.args.label_column or "label"
        if column not in self.dataset.column_names or column == self.text_column:
            return None
        labelled = with_known_labels(
            self.dataset.select_columns([self.text_column, column]),
            column,
            self.guesser.label_names,
            read_label_map(self.args.label_map),
        )
        if "label" not in labelled.column_names:
            return None
        return np.asarray(labelled["label"][:], dtype=np.int64)


def _read(parts: Parts, chunk: int) -> NDArray[np.float32]:
    """What was made of the texts of a chunk: `(n, width)`."""
    table, _ = parts.read(chunk)
    column = table.column("seen").combine_chunks()
    rows: NDArray[np.float32] = column.flatten().to_numpy().reshape(len(column), -1)
    return rows


class _PartRows:
    """The features of all chunks as [`~mixtext_hf.guessing.Rows`]."""

    def __init__(self, parts: Parts, rows: int, size: int):
        self.parts, self.rows, self.size = parts, rows, size

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, which: slice) -> NDArray[np.float32]:
        start, stop, _ = which.indices(self.rows)
        pieces = []
        for chunk in range(start // self.size, -(-stop // self.size)):
            rows = _read(self.parts, chunk)
            first = chunk * self.size
            pieces.append(rows[max(start - first, 0) : stop - first])
        return np.concatenate(pieces)


if __name__ == "__main__":
    main()
