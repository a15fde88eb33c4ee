"""Train, evaluate and predict with a text classifier or regressor: `mixtext-hf train-text`.

```bash
mixtext-hf train-text --train_file train.csv --validation_file dev.csv --labeled_per_class 10 \
    --model_name_or_path bert-base-uncased --mix_method tmix --do_train --do_eval --output_dir out
```

With neither data nor a model named it runs the embedded example.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer, HfArgumentParser, PreTrainedTokenizerBase, set_seed
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging as hf_logging

from mixtext_hf.data import MixDataCollator, TextDatasets, has_labels, load_text_datasets
from mixtext_hf.evaluation import make_compute_metrics, reliability_diagram
from mixtext_hf.evaluation.loading import DEFAULT_METRICS, logits_of
from mixtext_hf.evaluation.metrics import softmax
from mixtext_hf.methods import find_preset
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.training import MixTrainer, MixTrainingArguments

from .embedded import DEFAULTS, MINILM, minilm_path
from .output_dir import check_output_dir, remove_results, write_atomically, write_predictions
from .parsing import Parser, given_names, parse, peek, reporting_bad_input


logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """Which model to start from."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of a BERT-family model; 'minilm' (the default) comes with the extra `demo`."
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
    cache_dir: str | None = field(default=None, metadata={"help": "Where files from the Hub are kept."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model."})
    token: str | None = field(default=None, metadata={"help": "Token for private models and data sets."})
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={"help": "Start from a classifier of another number of classes: its head is made anew."},
    )


@dataclass
class DataArguments:
    """Which texts, and how many of them."""

    dataset_name: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a data set; 'docstrings' is the embedded corpus."}
    )
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    task_name: str | None = field(
        default=None, metadata={"help": "A GLUE task: sst2, cola, mrpc, qqp, stsb, mnli, qnli, rte or wnli."}
    )
    train_file: str | None = field(default=None, metadata={"help": "parquet, csv, tsv, json or jsonl; commas, globs."})
    validation_file: str | None = field(default=None, metadata={"help": "The same for validation."})
    test_file: str | None = field(default=None, metadata={"help": "The same for test."})
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
    labeled_per_class: int | None = field(default=None, metadata={"help": "Train on this many texts of each class."})
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
    split_seed: int | None = field(
        default=None, metadata={"help": "Seed of the choice of labelled texts; that of the run if not given."}
    )
    validation_split_fraction: float | None = field(
        default=None, metadata={"help": "Share of train that becomes the validation split where there is none."}
    )
    max_seq_length: int = field(default=128, metadata={"help": "Longer texts are cut to this many tokens."})
    pad_to_multiple_of: int | None = field(default=None, metadata={"help": "8 helps GPUs with reduced precision."})
    max_train_samples: int | None = field(default=None, metadata={"help": "Use at most this many training texts."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "The same for validation."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "The same for test."})
    metrics: list[str] | None = field(
        default=None, metadata={"help": "Metrics of evaluation; the task's and NLL, Brier and ECE if not given."}
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Train although output_dir holds another run: its results and checkpoints are removed."},
    )


def make_parser() -> HfArgumentParser:
    """The parser of `ModelArguments`, `DataArguments` and [`MixTrainingArguments`]."""
    return Parser(
        [ModelArguments, DataArguments, MixTrainingArguments],
        prog="mixtext-hf train-text",
        description="Fine-tune a BERT-family model with hidden-state mixup.",
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the command; returns what `all_results.json` holds."""
    return make_run(argv)()


def make_run(argv: Sequence[str] | None = None) -> TextRun:
    """The run that the arguments describe, checked and ready to start."""
    parser = make_parser()
    names = given_names(parser, argv)
    defaults = {
        name: value for name, value in DEFAULTS.items() if name != "max_steps" or "num_train_epochs" not in names
    }
    is_embedded = not names & {"dataset_name", "task_name", "train_file", "validation_file", "test_file"}
    is_embedded = is_embedded and "model_name_or_path" not in names
    with reporting_bad_input(parser):
        behind = {
            **(defaults if is_embedded else {}),
            **_preset_arguments(**peek(parser, argv, ["mix_method", "mix_preset"])),
        }
        model_args, data_args, training_args = parse(parser, argv, behind)[:3]
        if not is_embedded and "output_dir" not in names:
            raise ValueError("--output_dir is needed: it names the folder for the model and its results.")
        return TextRun(model_args, data_args, training_args)


def _preset_arguments(mix_method: str | None, mix_preset: str | None) -> dict[str, Any]:
    """The training arguments that belong to a preset; those given win over them."""
    if mix_method is None or mix_preset is None:
        return {}
    return find_preset(mix_method, mix_preset).training_arguments


class TextRun:
    """One run of the command: everything that can be wrong is found on construction, before training starts."""

    def __init__(self, model_args: ModelArguments, data_args: DataArguments, training_args: MixTrainingArguments):
        self.model_args, self.data_args, self.args = model_args, data_args, training_args
        self.output_dir = Path(str(training_args.output_dir))
        self.checkpoint = check_output_dir(self.output_dir, training_args, data_args.overwrite_output_dir)
        if training_args.device.type == "cpu":
            training_args.dataloader_pin_memory = False
        _set_up_logging(training_args)
        if not (training_args.do_train or training_args.do_eval or training_args.do_predict):
            raise ValueError("Nothing to do: give --do_train, --do_eval or --do_predict, or several of them.")
        if training_args.train_sampling_strategy not in ("random", "sequential"):
            raise ValueError(
                f"--train_sampling_strategy {training_args.train_sampling_strategy} needs the lengths of tokenised texts, "
                "and texts are tokenised batch by batch: choose random or sequential."
            )
        source = model_args.model_name_or_path or MINILM
        self.model_name = minilm_path() if source == MINILM and not Path(MINILM).exists() else source
        self.config = _load_config(self.model_name, model_args)
        self.data = self._load_data()
        self._check_splits()
        self.tokenizer = self._load_tokenizer()
        self.compute_metrics = make_compute_metrics(self.data.problem_type, metrics=self._metric_names())
        self.trainer = self._make_trainer()
        # Filled by `evaluate` for the reliability diagram, and for callers that go on with them.
        self.probabilities: np.ndarray | None = None
        self.references: np.ndarray | None = None

    # ---- before ----

    def _load_data(self) -> TextDatasets:
        problem_type, names = _task_of(self.config)
        if not self.args.do_train:
            # What an output of the model means is for the model to say, not for the data.
            return self._load(problem_type, names)
        data = self._load()
        if names is not None and names != data.label_names and set(names) == set(data.label_names):
            # Training that goes on with a classifier of the same classes leaves its outputs where they are.
            data = self._load(label_names=names)
        return data

    def _load(self, problem_type: str | None = None, label_names: list[str] | None = None) -> TextDatasets:
        a, seed = self.data_args, self.args.seed
        return load_text_datasets(
            dataset_name=a.dataset_name,
            dataset_config_name=a.dataset_config_name,
            task_name=a.task_name,
            train_file=a.train_file,
            validation_file=a.validation_file,
            test_file=a.test_file,
            text_column=a.text_column,
            text_pair_column=a.text_pair_column,
            label_column=a.label_column,
            problem_type=a.problem_type or (None if a.task_name else problem_type),
            label_names=label_names,
            labeled_per_class=a.labeled_per_class,
            unlabeled_file=a.unlabeled_file,
            unlabeled_rest=a.unlabeled_rest,
            unlabeled_per_class=a.unlabeled_per_class,
            view_columns=self.args.view_columns or () if self._wants_unlabeled() else (),
            max_train_samples=a.max_train_samples,
            max_eval_samples=a.max_eval_samples,
            max_predict_samples=a.max_predict_samples,
            seed=seed if a.split_seed is None else a.split_seed,
            validation_split_fraction=a.validation_split_fraction,
            cache_dir=self.model_args.cache_dir,
            token=self.model_args.token,
        )

    def _wants_unlabeled(self) -> bool:
        a = self.data_args
        asked = a.unlabeled_file is not None or a.unlabeled_per_class is not None or bool(a.unlabeled_rest)
        return asked or self.args.make_method(getattr(self.config, "mixtext", None)).uses_unlabeled

    def _check_splits(self) -> None:
        args, data = self.args, self.data
        given, num_labels = self.config.problem_type, self.config.num_labels
        if not args.do_train and (num_labels != data.num_labels or given not in (None, data.problem_type)):
            raise ValueError(
                f"model_name_or_path={self.model_name!r} has {num_labels} outputs for {given or 'classification'}, but "
                f"the data is {data.problem_type} and needs {data.num_labels}: name a model that was trained for such "
                "data, or add --do_train."
            )
        if args.do_train and data.train is None:
            raise ValueError("--do_train needs training data: give --train_file, --task_name or --dataset_name.")
        if args.eval_strategy != "no" and not data.validation:
            raise ValueError(
                f"--eval_strategy {IntervalStrategy(args.eval_strategy).value} evaluates during training and so needs a validation split: "
                "give --validation_file or --validation_split_fraction; the test split is not for choosing."
            )
        if args.do_eval and not self.evaluation_splits():
            raise ValueError(
                "--do_eval needs labelled data: give --validation_file, or --validation_split_fraction 0.1 to hold out "
                "a part of the training data."
            )
        if args.do_predict and not data.test:
            raise ValueError("--do_predict needs a test split: give --test_file.")

    def evaluation_splits(self) -> dict[str, Any]:
        """What `--do_eval` evaluates on: the labelled validation splits, or the test split where there are none."""
        splits = {name: split for name, split in self.data.validation.items() if has_labels(split)}
        if not splits and not self.data.validation:
            splits = {name: split for name, split in self.data.test.items() if has_labels(split)}
        return splits

    def _metric_names(self) -> list[str]:
        if self.data_args.metrics:
            return self.data_args.metrics
        return list(dict.fromkeys([*self.data.metrics, *DEFAULT_METRICS[self.data.problem_type]]))

    def _load_tokenizer(self) -> PreTrainedTokenizerBase:
        a = self.model_args
        tokenizer = AutoTokenizer.from_pretrained(
            a.tokenizer_name or self.model_name, cache_dir=a.cache_dir, revision=a.model_revision, token=a.token
        )
        longest = min(
            tokenizer.model_max_length, getattr(self.config, "max_position_embeddings", tokenizer.model_max_length)
        )
        if not 1 < self.data_args.max_seq_length <= longest:
            raise ValueError(
                f"max_seq_length={self.data_args.max_seq_length} must lie in 2..{longest}, which is what the model takes."
            )
        return tokenizer

    def _make_trainer(self) -> MixTrainer:
        data, a = self.data, self.model_args
        set_seed(self.args.seed)
        self.config.problem_type = data.problem_type
        self.config.num_labels = data.num_labels
        if data.label_names:
            self.config.id2label = dict(enumerate(data.label_names))
            self.config.label2id = {name: i for i, name in enumerate(data.label_names)}
        try:
            model = MixableModelForSequenceClassification.from_pretrained(
                self.model_name,
                config=self.config,
                head=a.head,
                cache_dir=a.cache_dir,
                revision=a.model_revision,
                token=a.token,
                ignore_mismatched_sizes=a.ignore_mismatched_sizes,
            )
        except RuntimeError as error:
            if "ignore_mismatched_sizes" not in str(error):
                raise
            raise ValueError(
                f"model_name_or_path={self.model_name!r} has a head of another shape than the one for the "
                f"{data.num_labels} classes of the data: add --ignore_mismatched_sizes to give it a new one."
            ) from error
        collator = MixDataCollator(
            self.tokenizer,
            text_column=data.columns.text,
            text_pair_column=data.columns.text_pair,
            max_length=self.data_args.max_seq_length,
            pad_to_multiple_of=self.data_args.pad_to_multiple_of,
            is_regression=data.problem_type == "regression",
        )
        return MixTrainer(
            model=model,
            args=self.args,
            data_collator=collator,
            train_dataset=data.train if self.args.do_train else None,
            unlabeled_dataset=data.unlabeled if self.args.do_train and self._wants_unlabeled() else None,
            eval_dataset=next(iter(self.evaluation_splits().values()), None) if data.validation else None,
            processing_class=self.tokenizer,
            compute_metrics=self.compute_metrics,
        )

    # ---- the run ----

    def __call__(self) -> dict[str, float]:
        results: dict[str, float] = {}
        if self.args.do_train:
            results |= self.train()
        if self.args.do_eval:
            results |= self.evaluate()
        if self.args.do_predict:
            results |= self.predict()
        return results

    def train(self) -> dict[str, float]:
        trainer, data = self.trainer, self.data
        if self.data_args.overwrite_output_dir and self.checkpoint is None and trainer.is_world_process_zero():
            remove_results(self.output_dir)
        logger.info("Training on %d texts with %s.", len(data.train or ()), trainer.method)
        metrics = trainer.train(resume_from_checkpoint=self.checkpoint).metrics
        metrics["train_samples"] = len(data.train or ())
        if trainer.method.uses_unlabeled:
            metrics["unlabeled_samples"] = len(data.unlabeled or ())
        trainer.save_model()
        trainer.log_metrics("train", metrics)
        trainer.save_metrics("train", metrics)
        trainer.save_state()
        if trainer.is_world_process_zero():
            write_atomically(self.output_dir / "run.json", json.dumps(self.describe(), indent=2, default=str) + "\n")
        return metrics

    def describe(self) -> dict[str, Any]:
        """What was run, JSON-serialisable: the recipe, the data and the arguments."""
        return {
            "method": self.trainer.method.name,
            "hyperparameters": self.trainer.method.hyperparameters(),
            "model_arguments": {
                **{name: value for name, value in asdict(self.model_args).items() if name != "token"},
                "model_name_or_path": self.model_args.model_name_or_path or MINILM,
            },
            "data_arguments": asdict(self.data_args),
            "data": self.data.source,
            "columns": [self.data.columns.text, self.data.columns.text_pair],
            "training_arguments": self.args.to_sanitized_dict(),
            "versions": {
                name: version(name) for name in ("mixtext-hf", "transformers", "torch", "datasets", "accelerate")
            },
        }

    def evaluate(self) -> dict[str, float]:
        combined: dict[str, float] = {}
        if not self.data.validation:
            logger.warning("There is no validation split: evaluating on the test split.")
        for number, (name, split) in enumerate(self.evaluation_splits().items()):
            # MNLI has two: the matched one is `eval`, the other `eval_mismatched`.
            prefix = "eval" if number == 0 else f"eval_{name.removeprefix('validation_')}"
            output = self.trainer.predict(split, metric_key_prefix=prefix)
            metrics = {**(output.metrics or {}), f"{prefix}_samples": len(split)}
            self.trainer.log_metrics(prefix, metrics)
            self.trainer.save_metrics(prefix, metrics)
            combined |= metrics
            if number == 0 and self.data.problem_type == "single_label_classification":
                self.probabilities, self.references = softmax(logits_of(output)), np.asarray(output.label_ids)
                if self.trainer.is_world_process_zero():
                    reliability_diagram(
                        {self.trainer.method.name: (self.probabilities, self.references)},
                        self.output_dir / "reliability_diagram.png",
                    )
        return combined

    def predict(self) -> dict[str, float]:
        combined: dict[str, float] = {}
        for number, (name, split) in enumerate(self.data.test.items()):
            suffix = "" if number == 0 else f"_{name.removeprefix('test_')}"
            labelled = has_labels(split)
            visible = split if labelled or "label" not in split.column_names else split.remove_columns("label")
            output = self.trainer.predict(visible, metric_key_prefix=f"predict{suffix}")
            metrics = {**(output.metrics or {}), f"predict{suffix}_samples": len(split)}
            if not labelled:
                logger.warning("The labels of the %s split are hidden: predictions, but no metrics.", name)
            self.trainer.log_metrics(f"predict{suffix}", metrics)
            self.trainer.save_metrics(f"predict{suffix}", metrics)
            if self.trainer.is_world_process_zero():
                path = self.output_dir / f"predictions{suffix}.csv"
                write_predictions(path, split, logits_of(output), self.data)
            combined |= metrics
        return combined


def _load_config(name: str, model_args: ModelArguments) -> Any:
    if os.path.isdir(name) and not (Path(name) / "config.json").is_file():
        raise ValueError(f"model_name_or_path={name!r} is a folder without config.json: it holds no model.")
    try:
        return AutoConfig.from_pretrained(
            name, cache_dir=model_args.cache_dir, revision=model_args.model_revision, token=model_args.token
        )
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model_name_or_path={name!r} is no folder with a model, and no model of that name could be loaded from the "
            f"Hub ({type(error).__name__}). Check the name, or give the path of a checkpoint."
        ) from error


def _task_of(config: Any) -> tuple[str | None, list[str] | None]:
    """The problem type of a model, as far as its config tells, and the names of its classes."""
    if config.problem_type == "regression" or config.num_labels == 1:
        return "regression", None
    return config.problem_type, [str(config.id2label[i]) for i in range(config.num_labels)]


def _set_up_logging(args: MixTrainingArguments) -> None:
    logging.basicConfig(
        format="%(asctime)s - %(levelname)s - %(name)s - %(message)s",
        datefmt="%H:%M:%S",
        handlers=[logging.StreamHandler(sys.stderr)],
        level=logging.INFO if args.should_log else logging.WARNING,
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)
    hf_logging.set_verbosity(args.get_process_log_level())


if __name__ == "__main__":
    main()
