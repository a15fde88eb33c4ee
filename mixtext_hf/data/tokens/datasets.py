"""From what a user names to sentences that are ready to train on: splits, classes of the tags, few labelled sentences."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset

from mixtext_hf._messages import listed
from mixtext_hf.data.labelled_splits import LabelledSplits, record_of
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.labels.noise import HIDDEN_LABELS
from mixtext_hf.data.selection import Selection
from mixtext_hf.data.tables.files import Reading, matching_files, patterns_in, read_files, suffix_of
from mixtext_hf.data.tables.sources import Splits, check_one_source, load_hub
from mixtext_hf.data.tables.text_encoding import Unreadable
from mixtext_hf.problem_types import SINGLE_LABEL

from .columns import TokenColumns, recognise_token_columns
from .conll import SUFFIXES, read_conll


logger = logging.getLogger(__name__)

_TABLES = (".parquet", ".json", ".jsonl", ".ndjson")
WORDS = "tokens"
_OUTSIDE = "O"


@dataclass(kw_only=True)
class TokenDatasets(LabelledSplits):
    """
    The splits of a token classification task: `tokens`, lists of words, and `label`, lists of class ids.

    Args (beside those of [`~mixtext_hf.data.labelled_splits.LabelledSplits`]):
        unlabeled (`datasets.Dataset`, *optional*): Sentences to learn from without their tags.
        columns ([`TokenColumns`]): What the columns were called in the data.
    """

    unlabeled: Dataset | None
    columns: TokenColumns
    problem_type: str = SINGLE_LABEL
    metrics: tuple[str, ...] = field(default=())

    @property
    def num_labels(self) -> int:
        return len(self.label_names)


def load_token_datasets(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    train_file: str | Sequence[str] | None = None,
    validation_file: str | Sequence[str] | None = None,
    test_file: str | Sequence[str] | None = None,
    unlabeled_file: str | Sequence[str] | None = None,
    tokens_column: str | None = None,
    tags_column: str | None = None,
    tag_column: int | None = None,
    label_names: Sequence[str] | None = None,
    labeled_sentences: int | None = None,
    unlabeled_rest: bool | None = None,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    max_predict_samples: int | None = None,
    seed: int = 0,
    validation_split_fraction: float | None = None,
    encoding: str | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> TokenDatasets:
    """
    Load sentences whose words have tags, and give the tags class ids.

    Args:
        dataset_name, dataset_config_name (`str`, *optional*): Hub id or folder that `datasets.load_dataset` reads.
        train_file, validation_file, test_file, unlabeled_file (`str` or `Sequence[str]`, *optional*):
            Files of the CoNLL kind (see [`~mixtext_hf.data.tokens.conll.read_conll`]), or parquet, json or jsonl files with lists of
            words and of tags: paths or glob patterns. Tags of `unlabeled_file` are not looked at.
        tokens_column, tags_column (`str`, *optional*): Of tables; recognised by their names by default.
        tag_column (`int`, *optional*): Of CoNLL files, counted from 1; the last one by default.
        label_names (`Sequence[str]`, *optional*): The classes of a trained model in the order of their ids, which the tags must be of.
        labeled_sentences (`int`, *optional*): Keep so many sentences of the training split with their tags; the others become `rest`.
        unlabeled_rest (`bool`, *optional*): Whether `rest` is learnt from without tags; by default where there is no `unlabeled_file`.
        max_train_samples, max_eval_samples, max_predict_samples, seed, validation_split_fraction, encoding, revision, cache_dir, token:
            As of [`~mixtext_hf.data.texts.datasets.load_text_datasets`].

    Raises:
        `ValueError`: that names the argument, the file and the line or row, for what cannot be read as such sentences.
    """
    limits = {
        "labeled_per_class": None,
        "labeled_sentences": labeled_sentences,
        "max_train_samples": max_train_samples,
        "max_eval_samples": max_eval_samples,
        "max_predict_samples": max_predict_samples,
    }
    selection = Selection(limits, seed, validation_split_fraction)
    named = {"train_file": train_file, "validation_file": validation_file, "test_file": test_file}
    files = {argument: value for argument, value in named.items() if value is not None}
    check_one_source(dataset_name, dataset_config_name, list(files))
    how = Reading(encoding=encoding)
    if files:
        splits = _of_files(files, cache_dir, how, tag_column)
    elif dataset_name is not None:
        splits = load_hub(
            dataset_name, dataset_config_name, revision=revision, cache_dir=cache_dir, token=token, how=how
        )
    else:
        raise ValueError("Token classification has no embedded example: give --train_file, or --dataset_name.")
    if unlabeled_file is not None:
        splits.unlabeled, paths = _of_files_of_one("unlabeled_file", unlabeled_file, cache_dir, how, None)
        splits.source["unlabeled_file"] = [str(path) for path in paths]
    selection.check(splits)
    if labeled_sentences is not None and splits.train is None:
        raise ValueError(f"`labeled_sentences` is {labeled_sentences}, but there is no training split: leave it out.")

    first = next(iter(splits.by_name().values()))
    columns = recognise_token_columns(
        first.column_names, tokens=tokens_column, tags=tags_column, require_tags=splits.train is not None
    )
    names = _classes(splits, columns, label_names)
    ids = {name: number for number, name in enumerate(names)}
    splits.replace(
        {
            name: _ready(split, name, columns, ids, trained=label_names is not None)
            for name, split in splits.by_name().items()
        }
    )
    if splits.unlabeled is not None:
        tokens = recognise_token_columns(
            splits.unlabeled.column_names, tokens=tokens_column, require_tags=False
        ).tokens
        splits.unlabeled = _ready(splits.unlabeled, "unlabeled", TokenColumns(tokens, None), ids, trained=False)
    rest = selection.choose(splits, by_class=False)
    if splits.train is not None and labeled_sentences is not None:
        splits.train, rest = _few(splits.train, labeled_sentences, seed)
    learns_rest = splits.unlabeled is None if unlabeled_rest is None else unlabeled_rest
    parts = [part for part in (rest if learns_rest else None, splits.unlabeled) if part is not None and len(part)]
    unlabeled = datasets.concatenate_datasets([part.select_columns([WORDS]) for part in parts]) if parts else None
    return TokenDatasets(
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        rest=rest,
        unlabeled=unlabeled,
        columns=columns,
        label_names=names,
        source=record_of(splits, selection.as_source(), rest=rest, unlabeled=unlabeled),
        rows=splits.rows,
    )


def read_sentences(
    argument: str,
    paths: Sequence[Path],
    cache_dir: str | None = None,
    how: Reading | None = None,
    tag_column: int | None = None,
) -> Dataset:
    """The sentences of files of one split, all of the CoNLL kind or all tables, see [`load_token_datasets`]."""
    how = how or Reading()
    of_lines = [suffix_of(path) in SUFFIXES for path in paths]
    for path, is_conll in zip(paths, of_lines, strict=True):
        if not is_conll and suffix_of(path) not in _TABLES:
            raise ValueError(
                f"`{argument}`: {str(path)!r} has the suffix {path.suffix!r}: sentences of words are read from {', '.join(SUFFIXES)} "
                f"(a word a line) or {', '.join(_TABLES)} (lists)."
            )
    if not any(of_lines):
        if tag_column is not None:
            raise ValueError(
                f"--tag_column {tag_column} counts the columns of CoNLL files, and `{argument}` names tables: use --tags_column."
            )
        return read_files(argument, list(paths), cache_dir, how)
    if not all(of_lines):
        raise ValueError(f"`{argument}` mixes tables and files of a word a line: give files of one kind.")
    tables = []
    for path in paths:
        try:
            tables.append(read_conll(path, encoding=how.encoding, tag_column=tag_column))
        except Unreadable as error:
            raise ValueError(
                f"`{argument}`: the file {str(path)!r} could not be read: {str(error).rstrip('.')}."
            ) from error
    if len({tuple(table.column_names) for table in tables}) > 1:
        raise ValueError(f"`{argument}`: some of the files have tags and some have none. Give only files that agree.")
    return Dataset(pa.concat_tables(tables))


def token_files(argument: str, files: str | Sequence[str]) -> list[Path]:
    """The files that are named, by paths or glob patterns; an error that names the `argument` if one is not there, or is empty."""
    patterns = patterns_in(files) if isinstance(files, str) else [str(file) for file in files]
    paths = matching_files(argument, patterns) if patterns else []
    if not paths:
        raise ValueError(f"`{argument}` is {files!r}: give the path of a file.")
    for path in paths:
        if not path.is_file():
            raise ValueError(f"`{argument}`: {str(path)!r} is a folder. Name its files.")
        if path.stat().st_size == 0:
            raise ValueError(f"`{argument}`: the file {str(path)!r} is empty. Give a file with at least one sentence.")
    return paths


def _of_files_of_one(
    argument: str, files: str | Sequence[str], cache_dir: str | None, how: Reading, tag_column: int | None
) -> tuple[Dataset, list[Path]]:
    paths = token_files(argument, files)
    return read_sentences(argument, paths, cache_dir, how, tag_column), paths


def _of_files(
    files: Mapping[str, str | Sequence[str]], cache_dir: str | None, how: Reading, tag_column: int | None
) -> Splits:
    read = {argument: _of_files_of_one(argument, of, cache_dir, how, tag_column) for argument, of in files.items()}
    found = {argument.removesuffix("_file"): rows for argument, (rows, _) in read.items()}
    return Splits(
        found.get("train"),
        {"validation": found["validation"]} if "validation" in found else {},
        {"test": found["test"]} if "test" in found else {},
        {"files": {argument: [str(path) for path in paths] for argument, (_, paths) in read.items()}},
    )


def _classes(splits: Splits, columns: TokenColumns, given: Sequence[str] | None) -> list[str]:
    """The names of the tags in the order of their ids: O, then type by type."""
    if given is not None:
        return list(given)
    found: set[str] = set()
    for name, split in splits.by_name().items():
        if columns.tags is None or columns.tags not in split.column_names:
            continue
        if (feature := _class_feature(split, columns.tags)) is not None:
            return list(feature.names)
        values = _flat(split, columns.tags)
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            raise ValueError(
                f"The tags of the split {name!r}, column {columns.tags!r}, are {values.type} without names: entities are told by the names "
                "of tags (B-PER, I-PER, O). Give strings, or a data set whose feature is ClassLabel."
            )
        found |= set(pc.unique(values.drop_null()).to_pylist())
    return sorted(found, key=lambda tag: (tag != _OUTSIDE, tag.partition("-")[2], tag))


def _class_feature(split: Dataset, column: str) -> ClassLabel | None:
    feature = getattr(split.features[column], "feature", None)
    return feature if isinstance(feature, ClassLabel) else None


def _flat(split: Dataset, column: str) -> Any:
    chunks = split.select_columns([column]).with_format("arrow")[:].column(column)
    if not any(
        is_list(chunks.type) for is_list in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    ):
        raise ValueError(
            f"The column {column!r} holds {chunks.type}, and sentences are lists, of a word or a tag each: name another by "
            "--tokens_column or --tags_column."
        )
    return pc.list_flatten(chunks)


def _ready(split: Dataset, name: str, columns: TokenColumns, ids: Mapping[str, int], *, trained: bool) -> Dataset:
    """A split with `tokens` and, where there are tags, `label`; raises `ValueError` that names the row for what does not fit."""
    if columns.tokens not in split.column_names:
        raise ValueError(
            f"The split {name!r} has no column {columns.tokens!r}, it has {listed(split.column_names, show=str)}: all splits need the "
            "same column of words."
        )
    _flat(split, columns.tokens)
    tags_of = columns.tags if columns.tags in split.column_names else None
    if tags_of is not None:
        _flat(split, tags_of)
    feature = None if tags_of is None else _class_feature(split, tags_of)
    words, labels = split[columns.tokens][:], None if tags_of is None else split[tags_of][:]
    made: list[list[int | None] | None] = []
    for row, sentence in enumerate(words):
        where = f"Row {row} of the split {name!r}"
        if not sentence or any(not isinstance(word, str) for word in sentence):
            raise ValueError(
                f"{where} has the words {sentence!r}: a sentence is a list of one string or more. Remove or correct it."
            )
        if labels is None:
            continue
        tags = labels[row]
        if tags is not None and len(tags) != len(sentence):
            raise ValueError(f"{where} has {len(sentence)} words and {len(tags)} tags: each word needs one.")
        made.append(None if tags is None else [_id_of(tag, feature, ids, where, trained) for tag in tags])
    made_columns = {WORDS: pa.array(words, pa.list_(pa.string()))}
    if labels is not None:
        made_columns[LABEL] = pa.array(made, pa.list_(pa.int64()))
    others = [one for one in split.column_names if one not in (columns.tokens, columns.tags, WORDS, LABEL)]
    ready = Dataset(pa.table(made_columns))
    for one in others:
        if isinstance(split.features[one], datasets.Value):
            ready = ready.add_column(one, split[one][:])
    return ready


def _id_of(tag: Any, feature: ClassLabel | None, ids: Mapping[str, int], where: str, trained: bool) -> int | None:
    if tag is None or tag in HIDDEN_LABELS:
        return None
    tag = feature.names[tag] if feature is not None and isinstance(tag, int) else tag
    if isinstance(tag, int) and 0 <= tag < len(ids):
        return tag
    if tag in ids:
        return ids[tag]
    known = f"{'the model' if trained else 'the data'} has {listed(ids, show=str)}"
    remedy = "correct it, name another column, or train a new head (--new_head)" if trained else "correct it"
    raise ValueError(f"{where} has the tag {tag!r}, and {known}: {remedy}.")


def _few(train: Dataset, number: int, seed: int) -> tuple[Dataset, Dataset]:
    """So many sentences with tags, at random but fixed by the seed, and the others, both in the order of the data."""
    tagged = np.flatnonzero([tags is not None and any(tag is not None for tag in tags) for tags in train[LABEL][:]])
    if number > len(tagged):
        raise ValueError(
            f"`labeled_sentences` is {number}, but the training split has {len(tagged)} sentences"
            f"{' with tags' if len(tagged) < len(train) else ''}: lower it."
        )
    chosen = np.sort(tagged[np.random.default_rng([seed, 0, 2]).permutation(len(tagged))[:number]])
    return train.select(chosen), train.select(np.setdiff1d(np.arange(len(train)), chosen))
