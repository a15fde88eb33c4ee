"""Training of `mixtext-hf train-text --task ner`: a tag for each word.

```bash
mixtext-hf train-text --task ner --train_file train.conll --validation_file dev.conll --labeled_sentences 50 \
    --model_name_or_path bert-base-cased --mix_method lada --do_train --do_eval --output_dir out
```
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, ClassVar

import numpy as np
from transformers.trainer_utils import EvalPrediction, PredictionOutput

from mixtext_hf._files import whole_file
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.tokens.collator import TokenCollator
from mixtext_hf.data.tokens.datasets import WORDS, TokenDatasets, load_token_datasets
from mixtext_hf.evaluation.measures.entities import TOKEN_METRICS, flat_words, has_entities, make_token_metrics
from mixtext_hf.evaluation.measures.loading import logits_of
from mixtext_hf.evaluation.token_predictions import predicted_sentences
from mixtext_hf.models import MixableModelForTokenClassification
from mixtext_hf.models.modality import check_modality
from mixtext_hf.training import MixTrainingArguments

from .in_vain import check_none_in_vain
from .processors import load_tokenizer, load_word_tokenizer
from .train_text import TASKS_OF_TOKENS, DataArguments, ModelArguments, TextRun


logger = logging.getLogger(__name__)

# Arguments of texts with one label each.
_OF_TEXTS = (
    "task_name",
    "text_column",
    "text_pair_column",
    "label_column",
    "problem_type",
    "label_separator",
    "label_map",
    "similar_labels",
    "labeled_per_class",
    "up_to",
    "imbalance",
    "unlabeled_per_class",
    "label_noise",
    "label_noise_kind",
    "noisy_label_column",
    "delimiter",
    "id_column",
    "strict_data",
)


class TokenRun(TextRun):
    """One run of the command: everything that can be wrong is found on construction, before training starts."""

    data: TokenDatasets  # type: ignore[assignment]
    collator: TokenCollator
    unit = "sentences"
    model_class: ClassVar[Any] = MixableModelForTokenClassification

    def __init__(self, model_args: ModelArguments, data_args: DataArguments, training_args: MixTrainingArguments):
        if model_args.head is not None:
            raise ValueError(
                f"--head {model_args.head} is of whole texts, and --task ner has a tag for each word: leave it out."
            )
        super().__init__(model_args, data_args, training_args)

    @staticmethod
    def check_task(data_args: DataArguments) -> None:
        if data_args.task not in TASKS_OF_TOKENS:
            raise ValueError(f"--task {data_args.task}: choose text, ner or token_classification.")
        usual = {field.name: field.default for field in fields(data_args)}
        for name in _OF_TEXTS:
            value = getattr(data_args, name)
            if value != usual[name]:
                remedy = {
                    "labeled_per_class": "use --labeled_sentences",
                    "label_column": "use --tags_column or --tag_column",
                }
                raise ValueError(
                    f"--{name} {value} is of whole texts, and --{'task ' + data_args.task} has a tag for each word: "
                    f"{remedy.get(name, 'leave it out')}."
                )

    def check_model(self) -> None:
        check_modality(self.model_name, self.config, "text")
        architectures = [str(name) for name in self.config.architectures or ()]
        if not self.args.do_train and not any("ForTokenClassification" in name for name in architectures):
            raise ValueError(
                f"model_name_or_path={self.model_name!r} gives no tags to words ({', '.join(architectures) or self.config.model_type}): name a "
                "...ForTokenClassification, or add --do_train."
            )

    @staticmethod
    def read_tokenizer(name: str, **where: Any) -> Any:
        return load_word_tokenizer(partial(load_tokenizer, name, **where))

    @staticmethod
    def check_metric_names(names: Sequence[str]) -> None:
        for name in names:
            if name not in TOKEN_METRICS:
                raise ValueError(f"--metrics {name} is none of tokens: choose from {', '.join(TOKEN_METRICS)}.")

    def _load_data(self) -> Any:
        if self.args.do_train:
            check_none_in_vain(self.args, self.data_args, self._method())
        return super()._load_data()

    def _load(self, problem_type: str | None = None, label_names: list[str] | None = None) -> Any:
        a, model = self.data_args, self.model_args
        return load_token_datasets(
            dataset_name=a.dataset_name,
            dataset_config_name=a.dataset_config_name,
            train_file=a.train_file,
            validation_file=a.validation_file,
            test_file=a.test_file,
            unlabeled_file=a.unlabeled_file,
            tokens_column=a.tokens_column,
            tags_column=a.tags_column,
            tag_column=a.tag_column,
            label_names=label_names,
            labeled_sentences=a.labeled_sentences,
            unlabeled_rest=a.unlabeled_rest,
            max_train_samples=a.max_train_samples,
            max_eval_samples=a.max_eval_samples,
            max_predict_samples=a.max_predict_samples,
            seed=self.args.seed if a.split_seed is None else a.split_seed,
            validation_split_fraction=a.validation_split_fraction,
            encoding=a.encoding,
            cache_dir=model.cache_dir,
            token=model.token,
        )

    def _wants_unlabeled(self) -> bool:
        return bool(self._method().uses_unlabeled)

    @property
    def problem_type_of_model(self) -> str | None:
        return None  # a problem of texts

    def make_collator(self) -> TokenCollator:
        return TokenCollator(
            self.tokenizer,
            text_column=WORDS,
            label_column=LABEL,
            max_length=self.data_args.max_seq_length,
            pad_to_multiple_of=self.data_args.pad_to_multiple_of,
        )

    def summarise(self, data: Any, tokenizer: Any = None, max_length: int | None = None) -> None:
        """Say what there is, and how many words nobody sees, because their sentence is too long or the tokenizer has no piece for them."""
        if not self.args.should_log:
            return
        splits = {**data.by_name(), **({} if data.unlabeled is None else {"unlabeled": data.unlabeled})}
        logger.info("Data: %s sentences.", ", ".join(f"{name} {len(split):,}" for name, split in splits.items()))
        if data.train is not None:
            logger.info("Tags: %s.", ", ".join(data.label_names))
        for name, split in splits.items():
            words = sum(map(len, split[WORDS][:]))
            if cut := self.collator.cut_words(split):
                logger.warning(
                    "%d of the %d words of the %s split have no part in it: their sentences have more than --max_seq_length %s pieces, or the "
                    "tokenizer has none for them. Give a larger --max_seq_length, or split the sentences.",
                    cut,
                    words,
                    name,
                    max_length,
                )

    # ---- what is measured ----

    def metric_names(self) -> list[str]:
        if self.data_args.metrics:
            return self.data_args.metrics
        return list(TOKEN_METRICS if has_entities(self.data.label_names) else TOKEN_METRICS[3:])

    def _check_best_metric(self) -> None:
        names = ["loss", *self.metric_names()]
        wanted = (self.args.metric_for_best_model or "loss").removeprefix("eval_")
        if wanted not in names:
            raise ValueError(
                f"--metric_for_best_model {self.args.metric_for_best_model} is not measured: choose from {', '.join(names)}, or add it to "
                "--metrics."
            )

    def make_compute_metrics(self) -> Callable[[EvalPrediction], dict[str, float]]:
        return make_token_metrics(self.data.label_names, metrics=self.metric_names())

    @staticmethod
    def labelled(output: PredictionOutput) -> tuple[np.ndarray, np.ndarray]:
        return flat_words(logits_of(output), np.asarray(output.label_ids))

    def recall_of(self, output: PredictionOutput) -> dict[str, float]:
        return {}  # of entities, among the metrics

    def fit_temperature(self) -> None:
        """None is fitted: it is of whole texts and images."""

    # ---- what is written ----

    def describe_rows(self) -> None:
        """Nothing stands beside the predictions but the words."""

    def write_predictions(self, name: str, suffix: str, output: PredictionOutput) -> None:
        split = self.data.test[name]
        with (
            whole_file(self.output_dir / f"predictions{suffix}.jsonl") as partial,
            partial.open("w", encoding="utf-8") as file,
        ):
            for sentence in predicted_sentences(split, self.collator, logits_of(output), self.data.label_names):
                file.write(json.dumps(sentence, ensure_ascii=False) + "\n")

    def columns(self) -> list[str | None]:
        return [self.data.columns.tokens]
