"""Predict with a trained classifier, whoever trained it, and write a row for each input: `mixtext-hf predict`.

```bash
mixtext-hf predict out new.csv --output_file predictions.csv
```

First the folder or Hub id of any text or image classifier of transformers, or of an adapter of PEFT on one; then a table of texts or
images, or a folder of image files. Rows are read, predicted and written chunk by chunk, in the order of the file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset
from numpy.typing import NDArray
from transformers import HfArgumentParser

from mixtext_hf._files import check_new_file, check_not_input
from mixtext_hf._messages import check_at_least
from mixtext_hf.data import TextColumns, recognise_columns
from mixtext_hf.data.described_rows import DescribedRows, find_id_column
from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.images.checks import look_at_images
from mixtext_hf.data.images.datasets import IMAGE, as_images, recognise_image_columns
from mixtext_hf.data.images.folders import NOT_READ, READ, image_files
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.labels.mapping import read_label_map
from mixtext_hf.data.selection import choose_rows
from mixtext_hf.data.tables.files import Reading, matching_files, patterns_in, read_files, resolve_files
from mixtext_hf.data.texts.datasets import check_texts
from mixtext_hf.evaluation.predicting import predict, predict_in_chunks
from mixtext_hf.evaluation.prediction_file import (
    PredictionTable,
    Written,
    check_prediction_file,
    write_predictions,
)
from mixtext_hf.problem_types import MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL

from .classifier import ModelArguments, TrainedClassifier, device_of
from .failures import reporting_failures
from .logs import set_up_logging
from .named_model import task_of
from .parsing import Parser, parse, reporting_bad_input
from .predict_arguments import PredictArguments
from .predict_tokens import PredictTokensRun, WrittenWords
from .temperature import temperature_to_use


logger = logging.getLogger(__name__)

_OF_TEXTS = ("text_column", "text_pair_column", "max_seq_length")
_NUMBER = "number of the row"
_SHOWN = 10
# Texts are sorted by their length within so many batches; images are large, and need no order.
_BATCHES_OF_TEXTS, _BATCHES_OF_IMAGES = 64, 4


def make_parser() -> HfArgumentParser:
    """The parser of the model, the file, [`ModelArguments`] and [`PredictArguments`]."""
    parser = Parser(
        [PredictArguments, ModelArguments],
        prog="mixtext-hf predict",
        usage="mixtext-hf predict MODEL FILE [--output_file predictions.csv] [...]",
        description="Predict with a text or image classifier: one row an input, in the order of the file.",
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="MODEL FILE",
        help="The folder or Hub id of a classifier (or --model_name_or_path), and the inputs: parquet, csv, tsv, json or jsonl "
        "files; for images also a folder or image files. Commas, globs.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> Written | WrittenWords:
    """Run the command; returns what was written."""
    parser = make_parser()
    set_up_logging()
    with reporting_bad_input(parser):
        args, model_args, rest = parse(parser, argv)[:3]
        run = make_run(model_args, args, rest.inputs)
    with reporting_failures(parser.prog):
        written: Any = run()
    print(run.summary(written))
    return written


def make_run(
    model_args: ModelArguments, args: PredictArguments, inputs: Sequence[str]
) -> PredictRun | PredictTokensRun:
    """The run of the command: of a model that has a label for each row, or for each word of a text."""
    file = name_model(model_args, inputs)
    classifier = TrainedClassifier(model_args)
    if classifier.modality == "token":
        return PredictTokensRun(classifier, args, file)
    return PredictRun(classifier, args, file)


def name_model(model_args: ModelArguments, inputs: Sequence[str]) -> str:
    """Note the model that is named, by its argument or before the file; returns the file."""
    named = [] if model_args.model_name_or_path is None else [model_args.model_name_or_path]
    if len(named) + len(inputs) != 2:
        raise ValueError(
            f"A model and a file are needed, got {' '.join([*named, *inputs]) or 'neither'}: mixtext-hf predict MODEL FILE "
            "(several files with commas between them)."
        )
    model_args.model_name_or_path, file = [*named, *inputs]
    return file


class PredictRun:
    """One run of the command: what is wrong with the arguments, the model or the columns is found on construction."""

    def __init__(self, classifier: TrainedClassifier, args: PredictArguments, file: str):
        self.args, self.output, self.file = args, Path(args.output_file), file
        self._check_arguments()
        self.classifier = classifier
        self.classifier.check_classes()
        self.problem_type = self._find_problem_type()
        self.numbers: NDArray | None = None
        names = [str(name) for _, name in sorted(self.classifier.config.id2label.items())]
        self.label_names = [] if self.problem_type == REGRESSION else names
        self.temperature, self.of_temperature = temperature_to_use(
            self.classifier.config, self.problem_type, args.temperature
        )
        self.is_text = self.classifier.modality == "text"
        PredictionTable(self.problem_type, self.label_names, top_k=args.top_k)
        split = self._read_texts() if self.is_text else self._read_images()
        chosen = choose_rows(len(split), args.max_predict_samples, args.seed)
        self.split = split if chosen is None else split.select(chosen)
        if chosen is not None:
            self.numbers = chosen if self.numbers is None else self.numbers[chosen]
        self.described = self._describe(split)
        self.model = self.classifier.load(self.problem_type, device_of(args.use_cpu))
        self.collator: Any
        if self.is_text:
            self.collator = self.classifier.text_collator(self.texts, args.max_seq_length, self.problem_type)
        else:
            self.collator = self.classifier.image_collator(IMAGE)
        self.rows = self.split.select_columns(list(self.texts) if self.is_text else [IMAGE])
        self._try_first_row()

    def _check_arguments(self) -> None:
        args = self.args
        check_prediction_file("--output_file", self.output, escape_formulas=args.escape_formulas)
        check_new_file(self.output, args.overwrite_output_file)
        check_at_least(1, args, "per_device_eval_batch_size", "max_predict_samples", "top_k")
        check_at_least(0, args, "seed", "dataloader_num_workers")
        if args.label_separator == "":
            raise ValueError("--label_separator is empty: give what stands between the labels of a row, such as '|'.")
        if args.problem_type not in (None, *PROBLEM_TYPES):
            raise ValueError(f"--problem_type {args.problem_type}: choose from {', '.join(PROBLEM_TYPES)}.")

    def _find_problem_type(self) -> str:
        config, given = self.classifier.config, self.args.problem_type
        known = task_of(config)[0]
        if given is not None and known not in (None, given):
            raise ValueError(
                f"--problem_type {given}: the config of {self.classifier.name!r} says {known}; leave it out."
            )
        found = given or known or SINGLE_LABEL
        if found == REGRESSION and config.num_labels != 1:
            raise ValueError(
                f"model_name_or_path={self.classifier.name!r} has {config.num_labels} outputs, and regression is of one number: "
                "name a --problem_type of classes, or another model."
            )
        return found

    # ---- the inputs ----

    def _read_texts(self) -> Dataset:
        a = self.args
        self.classifier.check_inputs(a, _OF_TEXTS)
        split, _ = self._read_table(Reading(a.delimiter, a.encoding, lambda names: self._columns(names).texts))
        columns = self._columns(split.column_names)
        check_texts(split, "FILE", columns)
        self.texts, self.label = columns.texts, columns.label
        return split

    def _read_table(self, how: Reading) -> tuple[Dataset, list[Path]]:
        """The rows, and the files that they are in."""
        files = resolve_files("FILE", self.file)
        check_not_input(self.output, files)
        return read_files("FILE", files, self.classifier.args.cache_dir, how), files

    def _columns(self, names: Sequence[str]) -> TextColumns:
        text, pair = self.args.text_column, self.args.text_pair_column
        if text is None and pair is None:
            text, pair = self._columns_in_training(names)
        return recognise_columns(
            names, text=text, text_pair=pair, label=self._label_column(names), require_label=False
        )

    def _columns_in_training(self, names: Sequence[str]) -> tuple[str | None, str | None]:
        """The text columns that the model was trained on, where the file has them."""
        recorded = self.classifier.run_record().get("columns")
        if not isinstance(recorded, list) or len(recorded) != 2 or recorded[0] not in names:
            return None, None
        text, pair = recorded
        return (text, pair) if pair is None or pair in names else (None, None)

    def _label_column(self, columns: Sequence[str]) -> str | Sequence[str] | None:
        """The one that is given, else the 0/1 columns that are called like the classes, else none yet."""
        names = self.label_names
        are_columns = len(names) > 1 and set(names) <= set(columns)
        if self.args.label_column is None and self.problem_type == MULTI_LABEL and are_columns:
            return tuple(names)
        return self.args.label_column

    def _read_images(self) -> Dataset:
        a = self.args
        self.classifier.check_inputs(a, _OF_TEXTS)
        self.texts = ()
        found = named_image_files(self.file)
        if found is not None:
            split = self._split_of_files(found)
            self.label = LABEL if LABEL in split.column_names else None
        else:
            split, tables = self._read_table(Reading(a.delimiter, a.encoding))
            columns = recognise_image_columns(split.column_names, image=a.image_column, label=a.label_column)
            self.label = columns.get("label_column")
            split = as_images(split, "FILE", columns["image_column"], tables)
        return self._usable(split)

    def _usable(self, split: Dataset) -> Dataset:
        """The rows whose images can be used; the numbers that they have in the file are kept."""
        numbered = split.add_column(_NUMBER, np.arange(len(split)))
        usable, left_out = look_at_images(
            {"FILE": numbered}, IMAGE, how=self.args.check_images, skip_broken=self.args.skip_broken_images
        )
        if not left_out:
            return split
        self.numbers = np.asarray(usable["FILE"][_NUMBER][:])
        return usable["FILE"].remove_columns(_NUMBER)

    def _split_of_files(self, files: list[Path]) -> Dataset:
        """Image files as rows: the folder that a file lies in is its label, where that is a class."""
        for name in ("image_column", "label_column", "id_column"):
            if getattr(self.args, name) is not None:
                raise ValueError(f"--{name} {getattr(self.args, name)}: {self.file} is no table; leave it out.")
        of_folders = [self._class_of(path) for path in files]
        columns: dict[str, list[str | None]] = {IMAGE: [str(path) for path in files]}
        if any(name is not None for name in of_folders):
            columns[LABEL] = of_folders
        return Dataset.from_dict(columns).cast_column(IMAGE, datasets.Image())

    def _class_of(self, path: Path) -> str | None:
        """The first folder below the one that is named which is called like a class, as in training; else the one it lies in."""
        below = path.parent.relative_to(self.file).parts if path.is_relative_to(self.file) else ()
        return next((name for name in (*below, path.parent.name) if name in self.label_names), None)

    def _describe(self, split: Dataset) -> DescribedRows:
        labels = () if self.label is None else (self.label,) if isinstance(self.label, str) else self.label
        # Of all rows: those that were chosen may be unique by chance.
        id_column = find_id_column(split, [*self.texts, IMAGE, *labels], self.args.id_column)
        if id_column is not None:
            logger.info("The ids are those of the column %r; another one is named by --id_column.", id_column)
        described = DescribedRows(
            self.split,
            texts=self.texts,
            image=None if self.is_text else IMAGE,
            label=self.label,
            problem_type=self.problem_type,
            label_names=self.label_names,
            label_separator=self.args.label_separator,
            label_map=read_label_map(self.args.label_map),
            id_column=id_column,
            numbers=self.numbers,
        )
        if not labels and self.args.label_map is not None:
            raise ValueError(
                f"--label_map {self.args.label_map}: {self.file} has no true labels that it would be for; name their --label_column."
            )
        if self.args.label_separator is not None and self.problem_type != MULTI_LABEL:
            raise ValueError(f"--label_separator is for models of several labels a row, not for {self.problem_type}.")
        described.look_at_labels()
        return described

    def _try_first_row(self) -> None:
        try:
            predict(self.model, [self.rows[0]], self.collator, batch_size=1)
        except (OSError, SyntaxError, RuntimeError, ValueError, TypeError, IndexError) as error:
            raise ValueError(
                f"model_name_or_path={self.classifier.name!r} cannot be run on the first row of {self.file}: {error}"
            ) from error

    # ---- the run ----

    def __call__(self) -> Written:
        """Predict and write all rows."""
        a = self.args
        if self.is_text:
            logger.info("Texts are cut to %d tokens; see --max_seq_length.", self.classifier.max_length)
        return write_predictions(
            self.output,
            self.described,
            self._chunks(),
            top_k=a.top_k,
            temperature=self.temperature,
            escape_formulas=a.escape_formulas,
        )

    def _chunks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        a = self.args
        batches = _BATCHES_OF_TEXTS if self.is_text else _BATCHES_OF_IMAGES
        done = 0
        try:
            for first, logits in predict_in_chunks(
                self.model,
                self.rows,
                self.collator,
                batch_size=a.per_device_eval_batch_size,
                batches_in_chunk=batches,
                lengths=self._lengths() if self.is_text else None,
                num_workers=a.dataloader_num_workers,
                title=None if a.disable_tqdm else "Predicting",
            ):
                yield first, logits
                done = first + len(logits)
        except (OSError, SyntaxError, ValueError) as error:
            if not self.is_text:
                self._name_broken_image(done, done + batches * a.per_device_eval_batch_size, error)
            raise

    def _lengths(self) -> NDArray[np.int64]:
        """Characters of the texts of each row."""
        lengths = [
            sum(pc.binary_length(pc.cast(piece.column(name), pa.large_string())).to_numpy() for name in self.texts)
            for piece in self.rows.with_format("arrow").iter(batch_size=10_000)
        ]
        return np.concatenate(lengths)

    def _name_broken_image(self, first: int, stop: int, error: Exception) -> None:
        """Raise a `ValueError` that says which of these rows cannot be read, if one of them is what went wrong."""
        for row in range(first, min(stop, len(self.rows))):
            try:
                to_array(self.rows[row][IMAGE])
            except (OSError, SyntaxError, TypeError, ValueError):
                ids, inputs, _ = self.described.slice(row, row + 1)
                what = f"row {ids[0].as_py()}" if not inputs else str(inputs[0][0].as_py())
                raise ValueError(
                    f"{self.file}: the image {what} cannot be read ({error}): remove or replace it. Nothing was written."
                ) from error

    def summary(self, written: Written) -> str:
        """What was written, in a few lines."""
        lines = [f"{written.rows:,} rows predicted by {self.classifier.name}: {self.output}"]
        if written.counts:
            counted = [f"{name} {count:,}" for name, count in written.counts.most_common(_SHOWN)]
            more = f", … {len(written.counts)} classes in all" if len(written.counts) > _SHOWN else ""
            lines.append(f"  {', '.join(counted)}{more}")
        if self.of_temperature is not None:
            remedy = " --temperature 1 leaves it out." if self.args.temperature is None else ""
            lines.append(f"  {self.of_temperature}{remedy}")
        if written.only_class is not None:
            lines.append(
                f"  All rows got the same class, {written.only_class}: if they should not have, the model may have been trained too "
                "little, or on other inputs."
            )
        if written.labelled:
            share = written.right / written.labelled
            lines.append(
                f"  {share:.1%} of the {written.labelled:,} rows with a true label are right; `mixtext-hf evaluate` measures more."
            )
        return "\n".join(lines)


def named_image_files(given: str) -> list[Path] | None:
    """
    The image files that are named: a file, a pattern, several with commas, or a folder with all that are below it; `None` if it is
    tables that are named.

    Raises:
        `ValueError`: if a folder holds no images. `FileNotFoundError`: if there is no such file.
    """
    if os.path.isdir(given):
        found = image_files(Path(given))
        if not found:
            raise ValueError(
                f"FILE: the folder {given!r} holds no images: name the folder of the image files, or a table."
            )
        return found
    patterns = patterns_in(given)
    if not patterns or not all(Path(pattern).suffix.lower() in (*READ, *NOT_READ) for pattern in patterns):
        return None
    return matching_files("FILE", patterns)


if __name__ == "__main__":
    main()
