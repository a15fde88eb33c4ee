"""
Other wordings of the texts of a file, in columns beside them. Ended at any moment, the same call goes on where it was and ends in the
same file as if it had never been stopped.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Features, Value
from datasets.table import table_cast
from transformers.utils import logging as hf_logging

from mixtext_hf._files import whole_file
from mixtext_hf._messages import check_at_least
from mixtext_hf.data.tables.parts import Parts
from mixtext_hf.data.tables.text_files import (
    check_output_file,
    delimiter_argument,
    encoding_argument,
    hash_texts,
    read_texts,
)

from .augmenters import AUGMENTERS, Augmenter, make_augmenter
from .back_translation import Translator, back_translate, default_device, default_dtype


LANG = "{lang}"
DTYPES = ("auto", "float32", "bfloat16", "float16")

# Rows that are hashed, or written, at a time.
_ROWS_AT_A_TIME = 10_000


@dataclass
class AugmentSettings:
    """Which texts, and which other wordings of them."""

    input_file: str = field(
        metadata={"help": "parquet, csv, tsv, txt, json or jsonl, texts also as .gz; commas, globs."}
    )
    output_file: str = field(
        metadata={"help": "The parquet file to write: all columns of the input, and a new one for each wording."}
    )
    delimiter: str | None = delimiter_argument()
    encoding: str | None = encoding_argument()
    text_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    back_translate: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Languages to translate into and back from; 'de' makes the column back_translation_de. A text "
            "that is longer than the model takes is cut."
        },
    )
    forward_model: str = field(
        default="Helsinki-NLP/opus-mt-en-{lang}",
        metadata={"help": "Hub id or folder of the model into a language, which replaces {lang}."},
    )
    backward_model: str = field(
        default="Helsinki-NLP/opus-mt-{lang}-en",
        metadata={"help": "The same for the model that translates back."},
    )
    text_language: str | None = field(
        default=None,
        metadata={
            "help": "For multilingual models (NLLB, M2M100, mBART-50) only: the code they have for the language of "
            "the texts, such as eng_Latn; --back_translate then takes such codes as well."
        },
    )
    temperature: float = field(
        default=0.9, metadata={"help": "Of the sampling in both directions, as in MixText; 0 = beam search."}
    )
    augmenters: list[str] = field(
        default_factory=list,
        metadata={
            "help": f"Augmenters that need no model, each with its number if not the usual one, such as "
            f"word_dropout:0.1. There are {', '.join(AUGMENTERS)}."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of everything that is drawn at random."})
    batch_size: int = field(default=32, metadata={"help": "Texts that are translated at once."})
    chunk_size: int = field(
        default=512, metadata={"help": "Texts after which the result is saved; a batch holds texts of one chunk only."}
    )
    max_length: int | None = field(
        default=None,
        metadata={"help": "Most tokens of a text and of its translation; as many as the model takes if not given."},
    )
    device: str | None = field(
        default=None, metadata={"help": "The GPU, if there is one, if not given.", "choices": ("cpu", "cuda")}
    )
    dtype: str = field(
        default="auto",
        metadata={"help": "Of the weights; auto = bfloat16 on a GPU that has it, else float32.", "choices": DTYPES},
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where models and copies of the files are kept."})
    overwrite_columns: bool = field(
        default=False, metadata={"help": "Replace columns of the input that have the name of a new one."}
    )
    overwrite_output_file: bool = field(
        default=False,
        metadata={
            "help": "Replace output_file, and the unfinished run of another command for it. An unfinished run of the "
            "same command is gone on with."
        },
    )


def augment_file(input_file: str, output_file: str, **settings: Any) -> Counter[str]:
    """
    Write other wordings of the texts of a file into columns beside them; the command `mixtext-hf augment-text` does this.

    Args:
        input_file (`str`): Paths or glob patterns of tables.
        output_file (`str`): The parquet file to write.
        settings: The other fields of [`AugmentSettings`], which are the flags of the command.

    Returns:
        `Counter[str]`: what there is to report of the texts, such as how many were cut, and how often.

    Raises:
        `ValueError`, `OSError`: as [`AugmentRun`]; then nothing is written.
    """
    run = AugmentRun(AugmentSettings(input_file=input_file, output_file=output_file, **settings))
    run.start()
    return run()


class AugmentRun:
    """
    One file in the making: everything that can be wrong is found on construction and by [`start`]; called, it makes the file.

    Args:
        args ([`AugmentSettings`]): Which texts, and which other wordings of them.

    Raises:
        `ValueError`, `OSError`: on construction and by [`start`], for wrong settings, files that cannot be read, an output file or an
            unfinished run of other settings that is there already.
    """

    def __init__(self, args: AugmentSettings):
        self.args = args
        self.output = Path(args.output_file)
        _check_arguments(args)
        check_output_file(self.output, args.overwrite_output_file)
        self.augmenters = [make_augmenter(spec) for spec in args.augmenters]
        self.columns = _columns(args.back_translate, self.augmenters)
        self.dataset, self.text_column = read_texts(args.input_file, self.output, args)
        self.replaced = self._replaced_columns()
        self.texts = self.dataset.select_columns([self.text_column])
        self.device = default_device() if args.device is None else torch.device(args.device)
        self.dtype = default_dtype(self.device) if args.dtype == "auto" else getattr(torch, args.dtype)
        self.parts = Parts(self.output.with_name(self.output.name + ".part"), self._fingerprint())
        # Before the models are loaded, which may take minutes.
        self.parts.check(args.overwrite_output_file)
        self.translators = self._load_translators()

    # ---- before ----

    def start(self) -> None:
        """Take possession of the folder of parts."""
        self.parts.open(self.args.overwrite_output_file)
        check_output_file(self.output, self.args.overwrite_output_file)

    def _replaced_columns(self) -> list[str]:
        there = [name for name in self.columns if name in self.dataset.column_names]
        if self.text_column in there:
            raise ValueError(f"--text_column {self.text_column} has the name of a new column: rename it.")
        if there and not self.args.overwrite_columns:
            raise ValueError(
                f"--input_file {self.args.input_file} has the columns {there} already: leave out what makes them, or "
                "replace them by --overwrite_columns."
            )
        return there

    def _fingerprint(self) -> dict[str, Any]:
        """What the result is a function of, JSON-serialisable."""
        args = self.args
        fingerprint = {
            "rows": len(self.texts),
            "texts_sha256": hash_texts(self.texts, self.text_column),
            "back_translate": args.back_translate,
            "augmenters": [repr(augmenter) for augmenter in self.augmenters],
            "seed": args.seed,
            "chunk_size": args.chunk_size,
        }
        if args.back_translate:
            names = ("forward_model", "backward_model", "text_language", "temperature", "batch_size", "max_length")
            fingerprint |= {name: getattr(args, name) for name in names}
            fingerprint |= {"device": self.device.type, "dtype": str(self.dtype).removeprefix("torch.")}
        return fingerprint

    def _texts(self, start: int, stop: int) -> list[str]:
        return self.texts[start:stop][self.text_column]

    def _load_translators(self) -> list[tuple[Translator, Translator]]:
        """The model into each language and the one back."""
        home = self.args.text_language
        loaded: dict[str, Translator] = {}

        def load(pattern: str, lang: str, src_lang: str | None, tgt_lang: str | None) -> Translator:
            name = pattern.replace(LANG, lang)
            if name in loaded:
                return loaded[name].between(src_lang, tgt_lang)
            loaded[name] = Translator(
                name,
                device=self.device,
                dtype=self.dtype,
                batch_size=self.args.batch_size,
                max_length=self.args.max_length,
                src_lang=src_lang,
                tgt_lang=tgt_lang,
                cache_dir=self.args.cache_dir,
            )
            return loaded[name]

        pairs = []
        for lang in self.args.back_translate:
            away = None if home is None else lang
            pairs.append(
                (load(self.args.forward_model, lang, home, away), load(self.args.backward_model, lang, away, home))
            )
        return pairs

    # ---- the run ----

    def __call__(self) -> Counter[str]:
        """Make the file; returns what there is to report of the texts, such as how many were cut, and how often."""
        with self.parts:
            self._make_parts()
            counts = self._write_output()
        self.parts.remove()
        return counts

    def _make_parts(self) -> None:
        rows = len(self.texts)
        missing, done = self.parts.missing(rows, self.args.chunk_size)
        with hf_logging.tqdm(total=rows, initial=done, unit=" texts", desc="augment-text") as bar:
            for chunk, which in missing:
                texts = self._texts(which.start, which.stop)
                counts: Counter[str] = Counter()
                columns = {}
                for number, name in enumerate(self.columns, start=1):
                    bar.set_postfix_str(name)
                    columns[name] = self._view(number, chunk, texts, counts)
                table = pa.table({name: pa.array(views, pa.string()) for name, views in columns.items()})
                self.parts.write(chunk, table, counts)
                bar.update(len(texts))

    def _view(self, number: int, chunk: int, texts: list[str], counts: Counter[str]) -> list[str]:
        """View `number` (the text itself is 0) of the texts of a chunk; what is to be reported goes to `counts`."""
        seed = self.args.seed
        if number > len(self.translators):
            augmenter = self.augmenters[number - len(self.translators) - 1]
            first = chunk * self.args.chunk_size
            return [
                augmenter(text, np.random.default_rng([seed, 0, row, number])) for row, text in enumerate(texts, first)
            ]
        pair, column = self.translators[number - 1], self.columns[number - 1]
        before = [translator.num_cut for translator in pair]
        views = back_translate(texts, *pair, temperature=self.args.temperature, seed=[seed, chunk, number])
        for translator, direction, count in zip(pair, ("on the way there", "on the way back"), before, strict=True):
            what = f"texts were longer than {translator.max_length} tokens and were cut {direction} ({column})"
            counts[what] += translator.num_cut - count
        # An empty text would say nothing of the label.
        counts[f"texts came back empty and stand in their own words ({column})"] += sum(
            not view for text, view in zip(texts, views, strict=True) if text
        )
        return [view or text for text, view in zip(texts, views, strict=True)]

    def _write_output(self) -> Counter[str]:
        kept = self.dataset.remove_columns(self.replaced)
        schema = Features({**kept.features, **{name: Value("string") for name in self.columns}}).arrow_schema
        rows, size = kept.with_format("arrow"), self.args.chunk_size
        chunks = range(-(-len(rows) // size))
        at_a_time = max(1, _ROWS_AT_A_TIME // size)
        counts: Counter[str] = Counter()
        with whole_file(self.output, within=self.parts.path) as partial, pq.ParquetWriter(partial, schema) as writer:
            for first in chunks[::at_a_time]:
                table: pa.Table = rows[first * size : (first + at_a_time) * size]
                parts = [self.parts.read(chunk) for chunk in chunks[first : first + at_a_time]]
                views = pa.concat_tables([part for part, _ in parts])
                for _, of_part in parts:
                    counts.update(of_part)
                for name in self.columns:
                    table = table.append_column(name, views.column(name))
                writer.write_table(table_cast(table, schema))
        return +counts


def _check_arguments(args: AugmentSettings) -> None:
    if not args.back_translate and not args.augmenters:
        raise ValueError("Nothing to do: give --back_translate, --augmenters or both.")
    check_at_least(0, args, "seed")
    check_at_least(1, args, "batch_size", "chunk_size")
    if not 0 <= args.temperature < math.inf:
        raise ValueError(f"--temperature must be a finite number from 0, got {args.temperature}.")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no GPU; leave it out to run on the CPU.")
    for name in ("forward_model", "backward_model"):
        pattern = getattr(args, name)
        # One multilingual model may do for all languages.
        if len(args.back_translate) > 1 and LANG not in pattern and args.text_language is None:
            raise ValueError(
                f"--{name} {pattern} is one model for the languages {', '.join(args.back_translate)}: write {LANG} "
                "where the language stands, or give --text_language for a multilingual model."
            )


def _columns(langs: Sequence[str], augmenters: Sequence[Augmenter]) -> list[str]:
    """The names of the new columns, back-translations first."""
    columns = [f"back_translation_{lang}" for lang in langs] + [augmenter.name for augmenter in augmenters]
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise ValueError(f"--back_translate and --augmenters make the column {twice[0]} twice: name each only once.")
    return columns
