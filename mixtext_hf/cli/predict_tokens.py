"""`mixtext-hf predict` with a model that gives each word a tag: a sentence a line, or a word a line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mixtext_hf._files import check_new_file, check_not_input, whole_file
from mixtext_hf._messages import check_at_least
from mixtext_hf.data import has_labels
from mixtext_hf.data.selection import choose_rows
from mixtext_hf.data.tables.files import suffix_of
from mixtext_hf.data.tokens.conll import SUFFIXES
from mixtext_hf.data.tokens.datasets import WORDS, TokenDatasets, load_token_datasets, token_files
from mixtext_hf.evaluation.token_predictions import predict_words, predicted_sentences

from .classifier import TrainedClassifier, device_of
from .predict_arguments import PredictArguments


LINES, JSON_LINES = (".conll", ".tsv", ".txt"), (".jsonl",)
_OF_OTHERS = (
    "text_pair_column",
    "image_column",
    "label_map",
    "label_separator",
    "id_column",
    "problem_type",
    "top_k",
    "escape_formulas",
    "delimiter",
    "skip_broken_images",
    "temperature",
)


@dataclass
class WrittenWords:
    """What was written: how many sentences and words, how many of these were cut, and the words of each tag."""

    sentences: int = 0
    words: int = 0
    cut: int = 0
    labelled: int = 0
    right: int = 0
    counts: Counter[str] = field(default_factory=Counter)


class PredictTokensRun:
    """
    One run of the command.

    Args:
        classifier ([`TrainedClassifier`]): Of tokens.
        args ([`PredictArguments`]): `text_column` is that of the words, `label_column` that of the true tags.
        file (`str`): Sentences: CoNLL files, or tables with lists of words.
    """

    def __init__(self, classifier: TrainedClassifier, args: PredictArguments, file: str):
        usual = {one.name: one.default for one in fields(args)}
        for name in _OF_OTHERS:
            if getattr(args, name) != usual[name]:
                raise ValueError(
                    f"--{name} {getattr(args, name)}: {classifier.name!r} gives each word a tag; leave it out."
                )
        self.classifier, self.args, self.file = classifier, args, file
        given = args.output_file
        self.output = Path("predictions.jsonl" if given == usual["output_file"] else given)
        if self.output.suffix not in (*LINES, *JSON_LINES):
            raise ValueError(
                f"--output_file {given}: tags of words are written to {', '.join(JSON_LINES)} (a sentence a line) or {', '.join(LINES)} (a "
                "word a line)."
            )
        check_new_file(self.output, args.overwrite_output_file)
        check_not_input(self.output, token_files("FILE", file))
        check_at_least(1, args, "per_device_eval_batch_size", "max_predict_samples")
        classifier.check_classes()
        self.label_names = [str(name) for _, name in sorted(classifier.config.id2label.items())]
        data = load_token_datasets(
            test_file=file,
            tokens_column=args.text_column,
            **named_tags(args.label_column, [file]),
            label_names=self.label_names,
            encoding=args.encoding,
            cache_dir=classifier.args.cache_dir,
        )
        check_has_tags(data, args.label_column)
        rows = data.test["test"]
        chosen = choose_rows(len(rows), args.max_predict_samples, args.seed)
        self.rows = rows if chosen is None else rows.select(chosen)
        if self.output.suffix in LINES:
            _check_words(self.rows, given)
        self.model = classifier.load("single_label_classification", device_of(args.use_cpu))
        self.collator = classifier.token_collator(args.max_seq_length)

    def __call__(self) -> WrittenWords:
        """Predict and write all sentences."""
        a = self.args
        title = None if a.disable_tqdm else "Predicting"
        logits = predict_words(
            self.model,
            self.rows,
            self.collator,
            batch_size=a.per_device_eval_batch_size,
            num_workers=a.dataloader_num_workers,
            title=title,
        )
        written = WrittenWords()
        is_json = self.output.suffix in JSON_LINES
        has_tags = has_labels(self.rows)
        with whole_file(self.output) as partial, partial.open("w", encoding="utf-8") as out:
            for sentence in predicted_sentences(self.rows, self.collator, logits, self.label_names):
                _count(written, sentence)
                out.write(
                    json.dumps(sentence, ensure_ascii=False) + "\n" if is_json else _as_lines(sentence, has_tags)
                )
        return written

    def summary(self, written: WrittenWords) -> str:
        """What was written, in a few lines."""
        lines = [
            f"{written.sentences:,} sentences of {written.words:,} words predicted by {self.classifier.name}: {self.output}",
            "  " + ", ".join(f"{name} {count:,}" for name, count in written.counts.most_common(10)),
        ]
        if written.cut:
            lines.append(
                f"  {written.cut:,} words have no tag: their sentences have more than {self.classifier.max_length} pieces, or the tokenizer has "
                "none for them. See --max_seq_length."
            )
        if written.labelled:
            lines.append(
                f"  {written.right / written.labelled:.1%} of the {written.labelled:,} words with a true tag are right; `mixtext-hf evaluate` "
                "counts entities."
            )
        return "\n".join(lines)


def _count(written: WrittenWords, sentence: dict[str, Any]) -> None:
    tags = sentence["tags"]
    written.sentences += 1
    written.words += len(tags)
    written.cut += tags.count(None)
    written.counts.update(tag for tag in tags if tag is not None)
    known = [(tag, true) for tag, true in zip(tags, sentence.get("true_tags", ()), strict=False) if true is not None]
    written.labelled += len(known)
    written.right += sum(tag == true for tag, true in known)


def _as_lines(sentence: dict[str, Any], has_tags: bool) -> str:
    """
    Word, true tag where any sentence has some, tag. A word that was cut has `O`, as nothing was found there; one without a true tag has `_`.
    """
    words, tags = sentence["tokens"], [tag or "O" for tag in sentence["tags"]]
    true = [tag or "_" for tag in sentence.get("true_tags", [None] * len(words))]
    columns = [words, true, tags] if has_tags else [words, tags]
    return "".join("\t".join(cells) + "\n" for cells in zip(*columns, strict=True)) + "\n"


def _check_words(rows: Any, output_file: str) -> None:
    """Raise `ValueError` for a word that would not come back from a file of a word a line."""
    for row, words in enumerate(rows[WORDS][:]):
        for word in words:
            if not word or set(word) & set("\t\r\n"):
                raise ValueError(
                    f"Sentence {row} has the word {word!r}, and in --output_file {output_file} a word stands before a tab in a line of its own: "
                    f"name a file that ends in {JSON_LINES[0]}."
                )


# ---- the tags that are known ----


def named_tags(label_column: str | None, files: Sequence[str | None]) -> dict[str, Any]:
    """What `--label_column` says of the tags: of files of a word a line the number of their column, else its name."""
    of_lines = any(file is not None and suffix_of(Path(file)) in SUFFIXES for file in files)
    if label_column is not None and label_column.isdecimal() and of_lines:
        return {"tag_column": int(label_column)}
    return {"tags_column": label_column}


def check_has_tags(data: TokenDatasets, label_column: str | None) -> None:
    """Raise `ValueError` if the tags that `--label_column` names are not there."""
    if label_column is not None and data.columns.tags is None:
        raise ValueError(
            f"--label_column {label_column}: there is no such column. Name that of the tags, in files of a word a line by its number from 2 "
            "on, or leave it out."
        )
