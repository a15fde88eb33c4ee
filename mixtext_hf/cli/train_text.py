"""Train, evaluate and predict with a text classifier or regressor: `mixtext-hf train-text`.

```bash
mixtext-hf train-text --train_file train.csv --validation_file dev.csv --labeled_per_class 10 \
    --model_name_or_path bert-base-uncased --mix_method tmix --do_train --do_eval --output_dir out
```

With neither data nor a model named it runs the embedded example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from transformers import HfArgumentParser, PreTrainedTokenizerBase, set_seed

from mixtext_hf.data import MixDataCollator, TextDatasets, load_text_datasets
from mixtext_hf.data.labels.mapping import read_label_map
from mixtext_hf.methods import MixMethod
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.models.class_names import name_classes
from mixtext_hf.models.embedded import MINILM, MINILM_ID, minilm_path
from mixtext_hf.models.lengths import LENGTH_HELP, settle_max_length
from mixtext_hf.models.modality import check_labels_texts, check_modality
from mixtext_hf.models.sentence_checkpoint import read_sentence_modules, transformer_folder
from mixtext_hf.models.stored_temperature import recipe_of_config
from mixtext_hf.problem_types import REGRESSION
from mixtext_hf.training import MixTrainer, MixTrainingArguments
from mixtext_hf.training.guesses import check_features, teacher_classes

from .embedded import DEFAULTS
from .in_vain import check_none_in_vain
from .kept_classes import load_for_training
from .making_runs import make_run_of, run_command
from .named_model import load_config, naming_another_head, task_of
from .parsing import Parser
from .processors import load_tokenizer
from .run import Run
from .run_arguments import HubArguments, SelectionArguments


@dataclass
class ModelArguments(HubArguments):
    """Which model to start from."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of a BERT-family model or a decoder; 'minilm' (the default) comes with the extra `demo`."
        },
    )
    tokenizer_name: str | None = field(default=None, metadata={"help": "If it is not the model's own."})
    head: str | None = field(
        default=None,
        metadata={
            "help": "'mean_pooling': mean over the tokens and two layers, the head of the MixText paper; the checkpoint then "
            "needs this package. The model's own if not given."
        },
    )


@dataclass
class DataArguments(SelectionArguments):
    """Which texts, and how many of them."""

    task: str = field(
        default="text",
        metadata={
            "help": "'text': a class for each text, or several, or a score; 'ner' (or 'token_classification'): a tag for each word, of "
            "CoNLL files or of columns tokens and ner_tags."
        },
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a data set; 'docstrings' is the embedded corpus."}
    )
    task_name: str | None = field(
        default=None, metadata={"help": "A GLUE task: sst2, cola, mrpc, qqp, stsb, mnli, qnli, rte or wnli."}
    )
    text_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    text_pair_column: str | None = field(default=None, metadata={"help": "Column of the second text of a pair."})
    label_column: str | None = field(
        default=None, metadata={"help": "Recognised by its name if not given; several, with commas, for multi-label."}
    )
    problem_type: str | None = field(
        default=None,
        metadata={
            "help": "single_label_classification, multi_label_classification or regression; read off the labels if "
            "not given."
        },
    )
    label_separator: str | None = field(
        default=None, metadata={"help": "Between the classes of a row, such as '|': multi-label data in one string."}
    )
    unlabeled_file: str | None = field(
        default=None, metadata={"help": "Texts to learn from without labels, for mixtext and uda: files as above."}
    )
    unlabeled_rest: bool | None = field(
        default=None,
        metadata={
            "help": "Learn without labels from what --labeled_per_class leaves of train; by default where there is no "
            "--unlabeled_file."
        },
    )
    unlabeled_per_class: int | None = field(
        default=None, metadata={"help": "Take only this many texts of each class of the rest of train."}
    )
    tokens_column: str | None = field(
        default=None, metadata={"help": "With --task ner: column of the words; 'tokens' or 'words' if not given."}
    )
    tags_column: str | None = field(
        default=None, metadata={"help": "With --task ner: column of the tags; 'ner_tags', 'tags' ... if not given."}
    )
    tag_column: int | None = field(
        default=None,
        metadata={"help": "With --task ner: which column of CoNLL files, from 1 on; the last if not given."},
    )
    labeled_sentences: int | None = field(
        default=None,
        metadata={"help": "With --task ner: train on so many sentences; mixtext learns from the others without tags."},
    )
    max_seq_length: int | None = field(default=None, metadata={"help": LENGTH_HELP})
    pad_to_multiple_of: int | None = field(default=None, metadata={"help": "8 helps GPUs with reduced precision."})


def make_parser() -> HfArgumentParser:
    """The parser of `ModelArguments`, `DataArguments` and [`MixTrainingArguments`]."""
    return Parser(
        [ModelArguments, DataArguments, MixTrainingArguments],
        prog="mixtext-hf train-text",
        description="Fine-tune a BERT-family model with hidden-state mixup.",
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the command; returns what `all_results.json` holds."""
    return run_command(make_run, "mixtext-hf train-text", argv)


def make_run(argv: Sequence[str] | None = None) -> TextRun:
    """The run that the arguments describe, checked and ready to start."""
    return make_run_of(LoneTextRun, make_parser(), argv, DEFAULTS)


TASKS_OF_TOKENS = ("ner", "token_classification")
_OF_TOKENS = ("tokens_column", "tags_column", "tag_column", "labeled_sentences")


class TextRun(Run):
    """One run of the command: everything that can be wrong is found on construction, before training starts."""

    model_args: ModelArguments
    data_args: DataArguments
    data: TextDatasets
    collator: MixDataCollator
    unit = "texts"
    default_model = MINILM
    base_models: ClassVar[dict[str, str | None]] = {MINILM: MINILM_ID}
    model_class: ClassVar[Any] = MixableModelForSequenceClassification

    def __init__(self, model_args: ModelArguments, data_args: DataArguments, training_args: MixTrainingArguments):
        self.check_task(data_args)
        super().__init__(model_args, data_args, training_args)
        if training_args.train_sampling_strategy not in ("random", "sequential"):
            raise ValueError(
                f"--train_sampling_strategy {training_args.train_sampling_strategy} needs the lengths of tokenised texts, "
                "and texts are tokenised batch by batch: choose random or sequential."
            )
        source = model_args.model_name_or_path or MINILM
        self.model_name = transformer_folder(
            minilm_path() if source == MINILM and not Path(MINILM).exists() else source
        )
        self.config, self.checked = load_config(self.model_name, model_args)
        self.check_model()
        self.data = self._load_data()
        self.check_splits()
        self.tokenizer = self._load_tokenizer()
        self.collator = self.make_collator()
        used = self.data if self._wants_unlabeled() else replace(self.data, unlabeled=None)
        self.summarise(used, self.tokenizer, self.data_args.max_seq_length)
        self.compute_metrics = self.make_compute_metrics()
        self.trainer = self._make_trainer()
        self.trainer.overlap_is_told = self.summary is not None

    @property
    def problem_type_of_model(self) -> str | None:
        """What the config of the model is to say of the task."""
        return self.data.problem_type

    def check_model(self) -> None:
        """Raise `ValueError` for a model of another kind of inputs, or of labels."""
        check_modality(self.model_name, self.config, "text")
        if not (self.model_args.new_head or self.model_args.ignore_mismatched_sizes):
            check_labels_texts(self.model_name, self.config)

    @staticmethod
    def check_task(data_args: DataArguments) -> None:
        """Raise `ValueError` for another task, and for arguments that are of another."""
        if data_args.task != "text":
            raise ValueError(
                f"--task {data_args.task}: choose text, ner or token_classification (the last two by mixtext-hf train-text alone; a "
                "comparison is of whole texts)."
            )
        for name in _OF_TOKENS:
            if getattr(data_args, name) is not None:
                raise ValueError(f"--{name} {getattr(data_args, name)} is for --task ner: add it, or leave this out.")

    def _load_data(self) -> TextDatasets:
        problem_type, names = task_of(self.config)
        if not self.args.do_train:
            # What an output of the model means is for the model to say, not for the data.
            return self._load(problem_type, names)
        data, self.needs_new_head = load_for_training(
            lambda kept: self._load(label_names=kept),
            self.config,
            names,
            new_head=self.model_args.new_head,
            ignore_mismatched_sizes=self.model_args.ignore_mismatched_sizes,
        )
        return data

    def _load(self, problem_type: str | None = None, label_names: list[str] | None = None) -> TextDatasets:
        a = self.data_args
        return load_text_datasets(
            **self.rows_to_train_on(),
            task_name=a.task_name,
            text_column=a.text_column,
            text_pair_column=a.text_pair_column,
            problem_type=a.problem_type or (None if a.task_name else problem_type),
            label_names=label_names,
            names_of_others=self._teacher_classes(),
            label_separator=a.label_separator,
            unlabeled_file=a.unlabeled_file,
            unlabeled_rest=a.unlabeled_rest,
            unlabeled_per_class=a.unlabeled_per_class,
            view_columns=self.args.view_columns or () if self._wants_unlabeled() else (),
            guess_column=self.args.guess_column if self._wants_unlabeled() else None,
        )

    def _teacher_classes(self) -> list[str]:
        """The names of `--guesser checkpoint:...`, which `--label_map` may be for."""
        guesser = self.args.guesser_name
        is_teacher = guesser.startswith("checkpoint:") and self.data_args.label_map is not None
        return teacher_classes(guesser.removeprefix("checkpoint:")) if is_teacher and self._wants_unlabeled() else []

    def _wants_unlabeled(self) -> bool:
        a = self.data_args
        asked = a.unlabeled_file is not None or a.unlabeled_per_class is not None or bool(a.unlabeled_rest)
        return asked or self._method().uses_unlabeled

    def _method(self) -> MixMethod:
        return self.args.make_method(recipe_of_config(self.config))

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        a = self.model_args
        name, where = a.tokenizer_name or self.model_name, {"cache_dir": a.cache_dir, "revision": a.model_revision}
        tokenizer = self.read_tokenizer(name, token=a.token, **where)
        modules = read_sentence_modules(self.checked.files)
        trained = None if modules is None else modules.max_length
        length = settle_max_length("max_seq_length", self.data_args.max_seq_length, self.config, tokenizer, trained)
        self.data_args = replace(self.data_args, max_seq_length=length)
        return tokenizer

    @staticmethod
    def read_tokenizer(name: str, **where: Any) -> PreTrainedTokenizerBase:
        """The tokenizer at a place."""
        tokenizer: PreTrainedTokenizerBase = load_tokenizer(name, **where)
        return tokenizer

    def _make_trainer(self) -> MixTrainer:
        data, a = self.data, self.model_args
        set_seed(self.args.seed)
        self.config.problem_type = self.problem_type_of_model
        self.config.num_labels = data.num_labels
        if data.label_names:
            name_classes(self.config, data.label_names)
        with naming_another_head(self.model_name, data.num_labels):
            model = self.model_class.without_hooks(
                self.model_name,
                config=self.config,
                **({} if a.head is None else {"head": a.head}),
                cache_dir=a.cache_dir,
                revision=a.model_revision,
                token=a.token,
                ignore_mismatched_sizes=a.ignore_mismatched_sizes or self.needs_new_head,
                new_head=self.needs_new_head,
                checked=[self.checked],
            )
        trainer = MixTrainer(
            model=model,
            args=self.args,
            data_collator=self.collator,
            train_dataset=data.train if self.args.do_train else None,
            unlabeled_dataset=data.unlabeled if self.args.do_train and self._wants_unlabeled() else None,
            eval_dataset=next(iter(self.evaluation_splits().values()), None) if data.validation else None,
            processing_class=self.tokenizer,
            compute_metrics=self.compute_metrics,
        )
        trainer.guesser_label_map = read_label_map(self.data_args.label_map)
        check_features(trainer)
        return trainer

    def make_collator(self) -> MixDataCollator:
        """What makes batches of the data."""
        return MixDataCollator(
            self.tokenizer,
            text_column=self.data.columns.text,
            text_pair_column=self.data.columns.text_pair,
            max_length=self.data_args.max_seq_length,
            pad_to_multiple_of=self.data_args.pad_to_multiple_of,
            is_regression=self.data.problem_type == REGRESSION,
        )

    def columns(self) -> list[str | None]:
        return [self.data.columns.text, self.data.columns.text_pair]


class LoneTextRun(TextRun):
    """The one of a command: none of its arguments may be in vain. A comparison gives the same ones to all of its methods."""

    def _load_data(self) -> TextDatasets:
        if self.args.do_train:
            check_none_in_vain(self.args, self.data_args, self._method())
        return super()._load_data()


if __name__ == "__main__":
    main()
