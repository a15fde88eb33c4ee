"""`mixtext-hf predict` with a model that gives each word a tag: a sentence a line, or a word a line."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mixtext_hf._files import check_new_file, check_not_input, whole_file
from mixtext_hf._messages import check_at_least
from mixtext_hf.data.selection import choose_rows
from mixtext_hf.data.tokens.datasets import load_token_datasets, token_files
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
            tags_column=args.label_column,
            label_names=self.label_names,
            encoding=args.encoding,
            cache_dir=classifier.args.cache_dir,
        )
        rows = data.test["test"]
        chosen = choose_rows(len(rows), args.max_predict_samples, args.seed)
        self.rows = rows if chosen is None else rows.select(chosen)
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
        with whole_file(self.output) as partial, partial.open("w", encoding="utf-8") as out:
            for sentence in predicted_sentences(self.rows, self.collator, logits, self.label_names):
                _count(written, sentence)
                out.write(json.dumps(sentence, ensure_ascii=False) + "\n" if is_json else _as_lines(sentence))
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


def _as_lines(sentence: dict[str, Any]) -> str:
    """Word, true tag where there are any, tag; a word that was cut has `O`, as nothing was found there."""
    columns = [sentence["tokens"], *([sentence["true_tags"]] if "true_tags" in sentence else []), sentence["tags"]]
    return "".join("\t".join(cell or "O" for cell in cells) + "\n" for cells in zip(*columns, strict=True)) + "\n"
