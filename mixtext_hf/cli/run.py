"""What the commands that train have in common: a run from its checks to its results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset
from transformers.trainer_utils import EvalPrediction, IntervalStrategy, PredictionOutput

from mixtext_hf._files import check_apart, check_writable, write_json
from mixtext_hf.data import DataSummary, has_labels, summarise_data
from mixtext_hf.data.described_rows import DescribedRows
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.evaluation import make_compute_metrics, reliability_diagram
from mixtext_hf.evaluation.measures.from_logits import MAX_CONFUSION_CLASSES, recall_by_name
from mixtext_hf.evaluation.measures.loading import DEFAULT_METRICS, METRIC_NAMES, check_metric_name, logits_of
from mixtext_hf.evaluation.measures.metrics import DEFAULT_TOP_K, softmax
from mixtext_hf.evaluation.measures.mistakes import remarks
from mixtext_hf.evaluation.prediction_file import write_predictions
from mixtext_hf.hub.card import write_card
from mixtext_hf.hub.facts import SplitResult
from mixtext_hf.hub.ids import base_model_name
from mixtext_hf.hub.record import card_as_json
from mixtext_hf.problem_types import SINGLE_LABEL
from mixtext_hf.training import MixTrainer, MixTrainingArguments
from mixtext_hf.training.card import told_arguments
from mixtext_hf.training.hub import destination_of
from mixtext_hf.training.memorisation import WatchMemorisation, last_memorisation
from mixtext_hf.training.own_folder import own_folder
from mixtext_hf.training.ranks import leave_group
from mixtext_hf.version import versions

from .card import RUN, Baseline, data_facts, log_summary, settings_of
from .in_vain import check_rows_are_chosen
from .log_lines import make_readable, metrics_line, say
from .logs import set_up_logging
from .output_dir import check_output_dir, describe_rows, in_chunks, remove_results
from .run_arguments import rows_asked_for
from .temperature import fit_and_store, temperature_to_use


logger = logging.getLogger(__name__)


class Run:
    """
    One run of a command that trains. A subclass loads `config`, `data` and `trainer` on construction, so that everything
    that can be wrong is found before training starts.
    """

    unit = "rows"  # what the training data consists of, for messages
    default_model = ""
    needs_new_head = False  # one that the shape of the old one does not ask for
    base_models: ClassVar[Mapping[str, str | None]] = {}  # what a card says of models that have no name of their own

    def __init__(self, model_args: Any, data_args: Any, training_args: MixTrainingArguments):
        self.model_args, self.data_args, self.args = model_args, data_args, training_args
        self.output_dir = Path(str(training_args.output_dir))
        check_writable(self.output_dir)
        check_apart(self.output_dir, data_args.dataset_name)
        self.checkpoint = check_output_dir(self.output_dir, training_args, data_args.overwrite_output_dir)
        if training_args.device.type == "cpu":
            training_args.dataloader_pin_memory = False
        set_up_logging(
            logging.INFO if training_args.should_log else logging.WARNING, training_args.get_process_log_level()
        )
        if not (training_args.do_train or training_args.do_eval or training_args.do_predict):
            raise ValueError("Nothing to do: give --do_train, --do_eval or --do_predict, or several of them.")
        check_rows_are_chosen(training_args, data_args)
        self.check_metric_names(data_args.metrics or ())
        has_files = bool(data_args.train_file or data_args.validation_file or data_args.test_file)
        if has_files and data_args.validation_file is None and data_args.validation_split_fraction is None:
            self._check_can_evaluate({})
        if training_args.push_to_hub and not training_args.do_train:
            raise ValueError(
                "--push_to_hub pushes what was trained: add --do_train, or push a trained model by `mixtext-hf push FOLDER`."
            )
        if training_args.push_to_hub and training_args.process_index == 0:
            destination_of(training_args).check_token()
        self.baseline = Baseline.read(model_args.baseline_dir) if model_args.baseline_dir is not None else None
        self.command: str | None = None
        # Filled by `evaluate` and `predict` for the card.
        self.results: list[SplitResult] = []
        self.pictures: dict[str, str] = {}
        # Filled by `check_splits`: what stands beside the predictions for each test split.
        self.described: dict[str, DescribedRows] = {}
        self.model_name: str
        self.config: Any
        self.data: Any
        self.summary: DataSummary | None = None
        self.trainer: MixTrainer
        # Filled by `evaluate` for the reliability diagram, and for callers that go on with them.
        self.probabilities: np.ndarray | None = None
        self.references: np.ndarray | None = None
        # The first validation split and what the model says of it, once it was evaluated.
        self.of_validation: tuple[str, PredictionOutput] | None = None

    # ---- before ----

    def check_splits(self) -> None:
        args, data = self.args, self.data
        if self.baseline is not None:
            self.baseline.check(data.source, self.measured_splits())
        given, num_labels = self.config.problem_type, self.config.num_labels
        if not args.do_train and (num_labels != data.num_labels or given not in (None, data.problem_type)):
            raise ValueError(
                f"model_name_or_path={self.model_name!r} has {num_labels} outputs for {given or 'classification'}, but "
                f"the data is {data.problem_type} and needs {data.num_labels}: name a model that was trained for such "
                "data, or add --do_train."
            )
        if args.do_train and data.train is None:
            raise ValueError("--do_train needs training data: give --train_file, --task_name or --dataset_name.")
        self._check_can_evaluate(data.validation)
        self._check_best_metric()
        if args.do_eval and not self.evaluation_splits():
            raise ValueError(
                f"--do_eval needs labelled data{self._without_labels()}: give --validation_file, or "
                "--validation_split_fraction 0.1 to hold out a part of the training data."
            )
        if args.do_predict and not data.test:
            raise ValueError("--do_predict needs a test split: give --test_file.")
        if args.do_predict:
            self.describe_rows()

    @staticmethod
    def check_task(data_args: Any) -> None:
        """Raise `ValueError` for a task that runs of this kind are not for, where there are several."""

    def describe_rows(self) -> None:
        """What stands beside the predictions for each test split."""
        data, id_column = self.data, self.data_args.id_column
        self.described = {name: describe_rows(split, name, data, id_column) for name, split in data.test.items()}

    @staticmethod
    def check_metric_names(names: Sequence[str]) -> None:
        """Raise `ValueError` for a name that no metric has, whatever the data."""
        for name in names:
            check_metric_name("--metrics", name)

    def _check_can_evaluate(self, validation: Mapping[str, Any]) -> None:
        strategy = IntervalStrategy(self.args.eval_strategy)
        if strategy != IntervalStrategy.NO and not validation:
            raise ValueError(
                f"--eval_strategy {strategy.value} evaluates during training and so needs a validation split: "
                "give --validation_file or --validation_split_fraction; the test split is not for choosing."
            )

    def _without_labels(self) -> str:
        """Which split there is to evaluate on, but for its labels."""
        split = next(iter({**self.data.validation, **self.data.test}), None)
        return "" if split is None else f", and the {split} split has no labels"

    def summarise(self, data: Any, tokenizer: Any = None, max_length: int | None = None) -> None:
        """
        Look at what is trained on, and say it in a few lines; `--strict_data` refuses what may be wrong.

        Args:
            data ([`TextDatasets`] or [`ImageDatasets`]): The data, without the parts that are not used.
            tokenizer (`PreTrainedTokenizerBase`, *optional*): Of the model.
            max_length (`int`, *optional*): To how many tokens texts are cut.
        """
        if not self.args.do_train:
            return
        self.summary = summarise_data(data, tokenizer, max_length)
        if self.args.should_log:
            log_summary(self.summary, strict=self.data_args.strict_data)
        if self.data_args.strict_data:
            self.summary.check()

    def _check_best_metric(self) -> None:
        # A top_k_accuracy without a number has it in its result.
        default = f"top_{DEFAULT_TOP_K}_accuracy"
        names = ["loss", *(default if name == "top_k_accuracy" else name for name in self.metric_names())]
        wanted = (self.args.metric_for_best_model or "loss").removeprefix("eval_")
        # Scripts and modules of one's own say only later what they return.
        are_known = all(name in (*METRIC_NAMES, "loss") or name.startswith("top_") for name in names)
        if are_known and wanted not in names:
            raise ValueError(
                f"--metric_for_best_model {self.args.metric_for_best_model} is not measured: choose from {', '.join(names)}, or add "
                "it to --metrics."
            )

    def evaluation_splits(self) -> dict[str, Any]:
        """What `--do_eval` evaluates on: the labelled validation splits, or the test split where there are none."""
        splits = {name: split for name, split in self.data.validation.items() if has_labels(split)}
        if not splits and not self.data.validation:
            splits = {name: split for name, split in self.data.test.items() if has_labels(split)}
        return splits

    def measured_splits(self) -> list[str]:
        """What the model card will have results of."""
        args, data = self.args, self.data
        tested = [name for name, split in data.test.items() if args.do_predict and has_labels(split)]
        if args.do_eval:
            return [*self.evaluation_splits(), *tested]
        return tested or (["validation"] if args.eval_strategy != "no" else [])

    def metric_names(self) -> list[str]:
        if self.data_args.metrics:
            return self.data_args.metrics
        return list(dict.fromkeys([*self.data.metrics, *DEFAULT_METRICS[self.data.problem_type]]))

    # ---- the run ----

    def __call__(self) -> dict[str, float]:
        """
        Do all that the arguments ask for; returns what `all_results.json` holds of it.

        Raises:
            [`FolderInUse`]: if another process is at the folder.
        """
        with own_folder(self.args):
            return self._run()

    def _run(self) -> dict[str, float]:
        results: dict[str, float] = {}
        if self.args.do_train:
            results |= self.train()
        if self.args.do_eval:
            results |= self.evaluate()
        if self.args.do_train:
            self.fit_temperature()
        if self.args.do_predict:
            results |= self.predict()
        if self.args.do_train:
            self.write_card()
        if self.args.push_to_hub:
            self.trainer.push_to_hub(overwrite=self.model_args.overwrite_card)
        return results

    def leave(self) -> None:
        """Leave the group of processes, if there are several, and with it the trainer: nothing can be run any more."""
        if self.args.world_size > 1:
            del self.trainer
            leave_group()

    def train(self) -> dict[str, float]:
        trainer, data = self.trainer, self.data
        self.of_validation = None
        if self.data_args.overwrite_output_dir and self.checkpoint is None and trainer.is_world_process_zero():
            remove_results(self.output_dir)
        self.fill_card()
        make_readable(trainer)
        logger.info("Training on %d %s with %s.", len(data.train or ()), self.unit, trainer.method)
        if self.data.source.get("wrong_labels"):
            trainer.add_callback(WatchMemorisation(trainer))
        metrics = trainer.train(resume_from_checkpoint=self.checkpoint).metrics
        metrics |= last_memorisation(trainer.state.log_history)
        metrics["train_samples"] = len(data.train or ())
        if trainer.method.uses_unlabeled:
            metrics["unlabeled_samples"] = len(data.unlabeled or ())
        if trainer.guesses is not None:
            metrics |= trainer.guesses.metrics()
        # The push at the end is the one with the results.
        trainer.save_model(_internal_call=True)
        self._say("train", metrics, "train")
        trainer.save_metrics("train", metrics)
        trainer.save_state()
        self._record(self.describe())
        return metrics

    def write_card(self) -> None:
        """The model card, and what it is made of in `run.json`."""
        trainer = self.trainer
        self.fill_card()
        if not trainer.is_world_process_zero():
            return
        data = trainer.describe_model(self.output_dir)
        self._record({**self.describe(), "card": card_as_json(data)})
        write_card(self.output_dir, data, overwrite=self.model_args.overwrite_card)

    def fill_card(self) -> None:
        """What the trainer does not see for itself."""
        card, a = self.trainer.card_data, self.model_args
        about = self.describe()
        source = about["model_arguments"]["model_name_or_path"]
        card.base_model = self.base_models[source] if source in self.base_models else base_model_name(source)
        card.data = data_facts(self.data.source, self.columns(), self.summary)
        if self.trainer.guesses is not None:
            card.data = replace(card.data, notes=[*card.data.notes, *self.trainer.guesses.sentences()])
        card.language, card.license = a.card_language, a.card_license
        card.command, card.pictures = self.command, self.pictures
        if self.results:
            card.results = self.results
        if self.baseline is not None:
            card.baseline = self.baseline.card.results
            card.baseline_notes = self.baseline.differences(settings_of(about), told_arguments(self.args))

    def _record(self, about: dict[str, Any]) -> None:
        if self.trainer.is_world_process_zero():
            write_json(self.output_dir / RUN, about, default=str)

    def describe(self) -> dict[str, Any]:
        """What was run, JSON-serialisable: the recipe, the data and the arguments."""
        return {
            "method": self.trainer.method.name,
            "hyperparameters": self.trainer.method.hyperparameters(),
            "model_arguments": {
                **{name: value for name, value in asdict(self.model_args).items() if name != "token"},
                "model_name_or_path": self.model_args.model_name_or_path or self.default_model,
            },
            "data_arguments": asdict(self.data_args),
            "data": self.data.source,
            **({} if self.summary is None else {"data_summary": self.summary.as_json()}),
            "columns": self.columns(),
            **({"guesses": self.trainer.guesses.rounds} if self.trainer.guesses is not None else {}),
            "training_arguments": self.args.to_sanitized_dict(),
            "command": self.command,
            "versions": versions(),
        }

    def evaluate(self) -> dict[str, float]:
        combined: dict[str, float] = {}
        if not self.data.validation:
            logger.warning("There is no validation split: evaluating on the test split.")
        for number, (name, split) in enumerate(self.evaluation_splits().items()):
            # MNLI has two: the matched one is `eval`, the other `eval_mismatched`.
            prefix = "eval" if number == 0 else f"eval_{name.removeprefix('validation_')}"
            output, metrics = self._measure(name, split, prefix)
            combined |= metrics
            if number == 0 and self.data.problem_type == SINGLE_LABEL:
                probabilities, references = self._draw_reliability(name, "reliability_diagram.png", output)
                for sentence in remarks(probabilities.argmax(axis=1), references, self.data.label_names):
                    logger.warning("%s", sentence)
                self.probabilities, self.references = probabilities, references
                self.of_validation = (name, output) if self.data.validation else None
        return combined

    def fit_temperature(self) -> None:
        """The temperature of the trained model, found on validation rows alone and stored with it."""
        splits = {name: split for name, split in self.evaluation_splits().items() if name in self.data.validation}
        if self.data.problem_type != SINGLE_LABEL or not splits:
            return
        name, split = next(iter(splits.items()))
        if self.of_validation is None or self.of_validation[0] != name:
            self.of_validation = name, self.trainer.predict(split, metric_key_prefix="validation")
        output = self.of_validation[1]
        # The summary has looked at all rows already.
        shared = self.summary is None or self.summary.shared.get(name, {}).get("train") != 0
        others = [*self.data.test.values(), *([self.data.train] if shared and self.data.train is not None else [])]
        pair = logits_of(output), np.asarray(output.label_ids)
        config, folder = self.trainer.mixer.model.config, self.output_dir if self.args.should_save else None
        logger.info("%s", fit_and_store(self.data, name, *pair, others, config, folder))

    def _say(self, split: str, metrics: Mapping[str, float], prefix: str) -> None:
        if self.trainer.is_world_process_zero():
            say(metrics_line(split, metrics, prefix, self.unit))

    def _note_results(
        self, split: str, prefix: str, metrics: Mapping[str, float], recall: Mapping[str, float]
    ) -> None:
        named = {name.removeprefix(f"{prefix}_"): value for name, value in metrics.items()}
        # Without a validation split the test split is measured by --do_eval, and again by --do_predict.
        self.results = [result for result in self.results if result.split != split]
        self.results.append(SplitResult(split, named, int(named.pop("samples")), recall))

    def _draw_reliability(self, split: str, file: str, output: PredictionOutput) -> tuple[np.ndarray, np.ndarray]:
        """The reliability diagram of a split; the probabilities `(N, C)` and the classes `(N,)` that it was drawn from."""
        probabilities, references = self.labelled(output)
        self.pictures[f"Reliability diagram ({split})"] = file
        if self.trainer.is_world_process_zero():
            reliability_diagram({self.trainer.method.name: (probabilities, references)}, self.output_dir / file)
        return probabilities, references

    @staticmethod
    def labelled(output: PredictionOutput) -> tuple[np.ndarray, np.ndarray]:
        """The probabilities `(N, C)` and the classes `(N,)` of what has a label."""
        return softmax(logits_of(output)), np.asarray(output.label_ids)

    def predict(self) -> dict[str, float]:
        combined: dict[str, float] = {}
        for number, (name, split) in enumerate(self.data.test.items()):
            suffix = "" if number == 0 else f"_{name.removeprefix('test_')}"
            output, metrics = self._measure(name, split, f"predict{suffix}")
            combined |= metrics
            if number == 0 and self.data.problem_type == SINGLE_LABEL and has_labels(split):
                self._draw_reliability(name, "reliability_diagram_test.png", output)
            if self.trainer.is_world_process_zero():
                self.write_predictions(name, suffix, output)
        return combined

    def write_predictions(self, name: str, suffix: str, output: PredictionOutput) -> None:
        """The predictions for a test split as a table."""
        path = self.output_dir / f"predictions{suffix}.csv"
        temperature, said = temperature_to_use(self.trainer.mixer.model.config, self.data.problem_type, None)
        if said is not None:
            logger.info("%s: %s", path.name, said)
        write_predictions(path, self.described[name], in_chunks(logits_of(output)), temperature=temperature)

    def _measure(self, name: str, split: Dataset, prefix: str) -> tuple[PredictionOutput, dict[str, float]]:
        """What the model says of a split, and the metrics of it: said, saved, and noted for the card where there are labels."""
        labelled = has_labels(split)
        visible = split if labelled or LABEL not in split.column_names else split.remove_columns(LABEL)
        output = self.trainer.predict(visible, metric_key_prefix=prefix)
        metrics = {
            **(output.metrics or {}),
            **(self.more_metrics(split, prefix) if labelled else {}),
            f"{prefix}_samples": len(split),
        }
        recall = self.recall_of(output) if labelled else {}
        if labelled:
            self._note_results(name, prefix, metrics, recall)
        else:
            logger.warning("The labels of the %s split are hidden: predictions, but no metrics.", name)
        self._say(name, metrics, prefix)
        metrics |= {f"{prefix}_recall_{label}": value for label, value in recall.items()}
        self.trainer.save_metrics(prefix, metrics)
        return output, metrics

    def recall_of(self, output: PredictionOutput) -> dict[str, float]:
        """The recall of each class that the rows have, by its name; of a task with one class a row, and not too many of them."""
        names = self.data.label_names
        if self.data.problem_type != SINGLE_LABEL or len(names) > MAX_CONFUSION_CLASSES:
            return {}
        return recall_by_name(logits_of(output), np.asarray(output.label_ids), names)

    def more_metrics(self, split: Any, prefix: str) -> dict[str, float]:
        """What a subclass measures on a labelled split beside `compute_metrics`; its names begin with `prefix`."""
        return {}

    # ---- what a subclass makes its data and its trainer of ----

    def rows_to_train_on(self) -> dict[str, Any]:
        """What the loaders of texts and of images are both told."""
        a = self.data_args
        return {
            **rows_asked_for(a, self.model_args, seed=self.args.seed if a.split_seed is None else a.split_seed),
            "labeled_per_class": a.labeled_per_class,
            "up_to": a.up_to,
            "imbalance": a.imbalance,
            "max_train_samples": a.max_train_samples,
            "label_noise": a.label_noise,
            "label_noise_kind": a.label_noise_kind,
            "noisy_label_column": a.noisy_label_column,
        }

    def make_compute_metrics(self) -> Callable[[EvalPrediction], dict[str, float]]:
        """What measures predictions on the data."""
        data = self.data
        return make_compute_metrics(data.problem_type, metrics=self.metric_names(), num_labels=data.num_labels)

    def columns(self) -> list[str | None]:
        """The columns that the model's inputs are made of."""
        raise NotImplementedError
