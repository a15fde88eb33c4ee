"""`mixtext-hf evaluate` with a model that gives each word a tag: entities, accuracy and calibration over words, in `report.json`."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mixtext_hf._files import check_writable, whole_file
from mixtext_hf.data import has_labels
from mixtext_hf.data.tokens.datasets import WORDS, load_token_datasets
from mixtext_hf.evaluation.measures.entities import entities_by_type, has_entities, make_token_metrics
from mixtext_hf.evaluation.token_predictions import as_prediction, predict_words
from mixtext_hf.version import versions

from .classifier import TrainedClassifier, device_of
from .evaluation_inputs import LOGITS, NUMBERS, REPORT
from .predict_tokens import check_has_tags, named_tags


# Nothing else of the page is of tokens.
_ARGUMENTS = (
    "dataset_name",
    "dataset_config_name",
    "validation_file",
    "test_file",
    "encoding",
    "text_column",
    "label_column",
    "max_seq_length",
    "max_eval_samples",
    "max_predict_samples",
    "split_seed",
)


class TokenEvaluation:
    """
    One run of the command.

    Args:
        classifier ([`TrainedClassifier`]): Of tokens.
        data_args (`Any`): Which data; `text_column` is that of the words, `label_column` that of the tags.
        report_args (`Any`): `output_dir`, the size of batches and the device.
        command (`str`): What was typed.
    """

    def __init__(self, classifier: TrainedClassifier, data_args: Any, report_args: Any, *, command: str):
        self.classifier, self.args, self.command = classifier, report_args, command
        for one in fields(data_args):
            value = getattr(data_args, one.name)
            if one.name not in _ARGUMENTS and value not in (one.default, []):
                raise ValueError(
                    f"--{one.name} {value}: {classifier.name!r} gives each word a tag, and this is of other models; leave it out."
                )
        if data_args.validation_file and data_args.test_file:
            raise ValueError(
                f"--validation_file {data_args.validation_file}: one split is measured, and a temperature, which is what a second one is for, is of "
                "other models; give it or --test_file."
            )
        if report_args.store_temperature:
            raise ValueError(
                f"--store_temperature: {classifier.name!r} gives each word a tag, and a temperature is of other models; leave it out."
            )
        self.output_dir = Path(str(report_args.output_dir))
        check_writable(self.output_dir)
        found = [name for name in (NUMBERS, REPORT, LOGITS) if (self.output_dir / name).exists()]
        if found and not report_args.overwrite_output_dir:
            raise ValueError(
                f"output_dir={str(self.output_dir)!r} holds {found[0]}: name another folder, or replace it by --overwrite_output_dir."
            )
        classifier.check_classes()
        self.label_names = [str(name) for _, name in sorted(classifier.config.id2label.items())]
        self.measure = make_token_metrics(self.label_names)
        data = load_token_datasets(
            dataset_name=data_args.dataset_name,
            dataset_config_name=data_args.dataset_config_name,
            validation_file=data_args.validation_file,
            test_file=data_args.test_file,
            tokens_column=data_args.text_column,
            **named_tags(data_args.label_column, [data_args.validation_file, data_args.test_file]),
            label_names=self.label_names,
            max_eval_samples=data_args.max_eval_samples,
            max_predict_samples=data_args.max_predict_samples,
            seed=data_args.split_seed,
            encoding=data_args.encoding,
            cache_dir=classifier.args.cache_dir,
        )
        check_has_tags(data, data_args.label_column)
        self.data = data
        tagged = [(name, split) for name, split in {**data.test, **data.validation}.items() if has_labels(split)]
        if not tagged:
            raise ValueError("There is no test or validation split with tags to measure on: give --test_file.")
        self.split_name, self.split = tagged[0]
        self.model = classifier.load("single_label_classification", device_of(report_args.use_cpu))
        self.collator = classifier.token_collator(data_args.max_seq_length)

    def __call__(self) -> dict[str, Any]:
        rows = self.split
        title = None if self.args.disable_tqdm else "Evaluating"
        logits = predict_words(
            self.model, rows, self.collator, batch_size=self.args.per_device_eval_batch_size, title=title
        )
        prediction = as_prediction(rows, self.collator, logits)
        words, cut = sum(map(len, rows[WORDS][:])), self.collator.cut_words(rows)
        metrics = self.measure(prediction)
        if not metrics:
            raise ValueError(f"No word of the {self.split_name} split has a tag: there is nothing to measure.")
        by_type = entities_by_type(prediction, self.label_names) if has_entities(self.label_names) else {}
        summary = [
            f"{self.classifier.name} on {len(rows):,} sentences ({self.split_name}):",
            "  " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()),
            *(
                f"  {kind}: " + ", ".join(f"{name} {value:.4g}" for name, value in of.items())
                for kind, of in by_type.items()
            ),
            *([f"  {cut:,} of {words:,} words were cut, and are not measured: see --max_seq_length."] if cut else []),
        ]
        report = {
            "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": self.command,
            "versions": versions(),
            "model": {
                "name_or_path": self.classifier.name,
                "identity": self.classifier.identity,
                "architecture": type(self.model).__name__,
                "label_names": self.label_names,
            },
            "data": {
                "split": self.split_name,
                "source": self.data.source,
                "sentences": len(rows),
                "words": words,
                "cut": cut,
            },
            "settings": {"max_seq_length": self.classifier.max_length},
            "results": metrics,
            "entities": by_type,
            "summary": summary,
        }
        with whole_file(self.output_dir / NUMBERS) as partial:
            partial.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        return report
