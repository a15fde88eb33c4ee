"""What `mixtext-hf evaluate` is given: its arguments, and the model and the data that they name, checked and ready to run."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, disable_progress_bars
from transformers.utils import logging as hf_logging

from mixtext_hf._files import check_apart, check_writable
from mixtext_hf._messages import listed
from mixtext_hf.data import (
    ImageCollator,
    MixDataCollator,
    has_labels,
    load_image_datasets,
    load_text_datasets,
    summarise_data,
)
from mixtext_hf.data.images.checks import CHECK_IMAGES_HELP, CheckImages, skip_broken_argument
from mixtext_hf.data.labels.class_names import SimilarLabels
from mixtext_hf.data.tables.text_files import delimiter_argument, encoding_argument
from mixtext_hf.evaluation.assessing import AssessmentSettings
from mixtext_hf.evaluation.measures.from_logits import memorisation_history
from mixtext_hf.evaluation.predicting import predict
from mixtext_hf.models.stored_temperature import stored_temperature
from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL

from .card import log_summary
from .classifier import ModelArguments, TrainedClassifier, device_of, read_json
from .named_model import task_of
from .run_arguments import rows_asked_for
from .temperature import check_can_store


logger = logging.getLogger(__name__)

REPORT, NUMBERS, LOGITS = "report.html", "report.json", "predictions.npz"
_OF_TEXTS = ("text_column", "text_pair_column", "task_name", "label_separator", "max_seq_length")


@dataclass
class DataArguments:
    """Which data; the model's config says whether it is texts or images."""

    dataset_name: str | None = field(default=None, metadata={"help": "Hub id or folder of a data set."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    task_name: str | None = field(default=None, metadata={"help": "A GLUE task; see --eval_split."})
    train_file: str | None = field(
        default=None, metadata={"help": "Only to hold --validation_split_fraction out of it, as in training."}
    )
    validation_file: str | None = field(
        default=None,
        metadata={
            "help": "parquet, csv, tsv, txt, json or jsonl, texts also as .gz; commas, globs. Data that the "
            "model was not trained on, for the temperature."
        },
    )
    test_file: str | None = field(default=None, metadata={"help": "What the model is measured on: files as above."})
    delimiter: str | None = delimiter_argument()
    encoding: str | None = encoding_argument()
    eval_split: str | None = field(
        default=None,
        metadata={"help": "Measure on this split, such as validation for GLUE; the first test split if not given."},
    )
    ood_file: str | None = field(
        default=None, metadata={"help": "Data of another task, to see whether the model is less sure on it."}
    )
    text_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    text_pair_column: str | None = field(default=None, metadata={"help": "Column of the second text of a pair."})
    image_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    check_images: CheckImages = field(default="headers", metadata={"help": CHECK_IMAGES_HELP})
    skip_broken_images: bool = skip_broken_argument()
    label_column: str | None = field(
        default=None, metadata={"help": "Recognised by its name if not given; several, with commas, for multi-label."}
    )
    label_map: str | None = field(
        default=None,
        metadata={
            "help": "JSON, YAML or csv file of `name in the data: name in the model`; rows of a name that goes to nothing are "
            "left out."
        },
    )
    similar_labels: SimilarLabels = field(
        default="refuse",
        metadata={"help": "Names of classes that differ by case or blanks alone: 'refuse', 'merge' or 'keep' them."},
    )
    strict_data: bool = field(
        default=False,
        metadata={"help": "Measure only if nothing seems wrong with the data: every warning is an error."},
    )
    label_separator: str | None = field(
        default=None, metadata={"help": "Between the classes of a row, such as '|': multi-label data in one string."}
    )
    problem_type: str | None = field(
        default=None, metadata={"help": "What the model's config says, or else the labels, if not given."}
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Longer texts are cut to this many tokens; as in training where run.json beside the model says so, or "
            "else what the model takes, at most 512."
        },
    )
    validation_split_fraction: float | None = field(
        default=None,
        metadata={"help": "Share of train that is the validation split, the one of training by --split_seed."},
    )
    split_seed: int = field(default=0, metadata={"help": "Seed of the choice of rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "Use at most this many validation rows."})
    max_predict_samples: int | None = field(
        default=None, metadata={"help": "The same for the rows that are measured, and for those of --ood_file."}
    )


@dataclass
class ReportArguments(AssessmentSettings):
    """What to measure, and where the report goes."""

    output_dir: str | None = field(default=None, metadata={"help": f"Folder for {REPORT}, {NUMBERS} and {LOGITS}."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace the report of another model."})
    store_temperature: bool = field(
        default=False,
        metadata={
            "help": "Store the temperature that is fitted on the validation split with the model, a folder; `predict` uses it."
        },
    )
    use_cpu: bool = field(default=False, metadata={"help": "Not the accelerator, where there is one."})


@dataclass(frozen=True)
class Matching:
    """How the labels of the data were matched with the outputs of the model."""

    how: str
    sentence: str


def check_arguments(model: ModelArguments, data: DataArguments, args: ReportArguments) -> None:
    """Raise `ValueError` for arguments that are missing, or wrong whatever the model is."""
    if model.model_name_or_path is None:
        raise ValueError("--model_name_or_path is needed: the folder or Hub id of a classifier.")
    if args.output_dir is None:
        raise ValueError("--output_dir is needed: it names the folder for the report.")
    if not (data.dataset_name or data.task_name or data.test_file or data.validation_file):
        raise ValueError("There is no data to measure on: give --test_file, --dataset_name or --task_name.")
    args.check()


class EvaluationInputs:
    """Everything that can be found wrong beforehand is found on construction."""

    def __init__(
        self,
        model_args: ModelArguments,
        data_args: DataArguments,
        report_args: ReportArguments,
        *,
        command: str,
        classifier: TrainedClassifier | None = None,
    ):
        self.model_args, self.data_args, self.args, self.command = model_args, data_args, report_args, command
        check_arguments(model_args, data_args, report_args)
        self.output_dir = Path(str(report_args.output_dir))
        if report_args.disable_tqdm:
            hf_logging.disable_progress_bar()
            disable_progress_bars()
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []
        self.classifier = TrainedClassifier(model_args) if classifier is None else classifier
        self.name, self.config, self.modality = self.classifier.name, self.classifier.config, self.classifier.modality
        self._check_output_dir()
        self.memorisation = self._read_memorisation()
        self.data = self._load_data()
        self.problem_type = self.data.problem_type
        self.split_name, self.split = self._choose_split()
        self.validation_name, self.validation = self._choose_validation()
        self._check_temperature()
        self.matching = self._match_labels()
        self._look_at_data()
        self._check_outputs()
        self.ood = self._load_ood()
        self.device = device_of(report_args.use_cpu)
        self.model = self.classifier.load(self.problem_type, self.device)
        self.collator = self._make_collator()
        self._try_first_rows()

    def _check_output_dir(self) -> None:
        check_writable(self.output_dir)
        check_apart(self.output_dir, self.data_args.dataset_name)
        found = [name for name in (NUMBERS, REPORT, LOGITS) if (self.output_dir / name).exists()]
        if not found or self.args.overwrite_output_dir:
            return
        remedy = "Name another folder, or replace it by --overwrite_output_dir."
        try:
            other = json.loads((self.output_dir / NUMBERS).read_text(encoding="utf-8"))["model"]["identity"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"output_dir={str(self.output_dir)!r} holds {found[0]}, which is not of this command. {remedy}"
            ) from error
        if other != self.classifier.identity:
            raise ValueError(
                f"output_dir={str(self.output_dir)!r} holds the report of another model, {other}. {remedy}"
            )

    def _load_data(self) -> Any:
        self.classifier.check_classes()
        problem_type, names = task_of(self.config)
        if self.modality == "text":
            return self._load_texts(problem_type, names)
        if problem_type not in (None, SINGLE_LABEL):
            raise ValueError(
                f"model_name_or_path={self.name!r} is an image model for {problem_type}: of images, classifiers with one class an "
                "image can be measured."
            )
        return self._load_images(names)

    def _load_texts(self, problem_type: str | None, names: list[str] | None) -> Any:
        a = self.data_args
        self.classifier.check_inputs(a, _OF_TEXTS)
        return load_text_datasets(
            **self._rows(),
            task_name=a.task_name,
            text_column=a.text_column,
            text_pair_column=a.text_pair_column,
            problem_type=a.problem_type or (None if a.task_name else problem_type),
            label_names=names,
            label_separator=a.label_separator,
        )

    def _load_images(self, names: list[str] | None) -> Any:
        a = self.data_args
        self.classifier.check_inputs(a, _OF_TEXTS)
        return load_image_datasets(
            **self._rows(),
            image_column=a.image_column,
            label_names=names,
            check_images=a.check_images,
            skip_broken_images=a.skip_broken_images,
        )

    def _rows(self) -> dict[str, Any]:
        return rows_asked_for(self.data_args, self.model_args, seed=self.data_args.split_seed)

    def _choose_split(self) -> tuple[str, Dataset]:
        splits = {**self.data.test, **self.data.validation}
        wanted = self.data_args.eval_split
        if wanted is not None and wanted not in splits:
            raise ValueError(f"--eval_split {wanted}: the data has the splits {', '.join(splits) or 'train alone'}.")
        if wanted is None and not self.data.test:
            raise ValueError("There is no test split to measure on: give --test_file, or --eval_split validation.")
        name = wanted or next(iter(self.data.test))
        if not has_labels(splits[name]):
            labelled = [other for other, split in splits.items() if has_labels(split)]
            remedy = (
                f"--eval_split {labelled[0]}" if labelled else "--label_column, or data with labels by --test_file"
            )
            raise ValueError(f"The split {name!r} has no labels, or they are hidden: give {remedy}.")
        return name, splits[name]

    def _choose_validation(self) -> tuple[str | None, Dataset | None]:
        """What the temperature is fitted on: a validation split that is not the one that is measured."""
        if self.problem_type != SINGLE_LABEL:
            return None, None
        if "temperature" in self.args.skip:
            self.left_out["temperature"] = "left out by --skip."
            return None, None
        for name, split in self.data.validation.items():
            if name != self.split_name and has_labels(split):
                self._check_other_files()
                return name, split
        self.left_out["temperature"] = (
            "not fitted, for there is no labelled validation split beside the one that is measured; give --validation_file, or the "
            "--train_file and --validation_split_fraction of the training."
        )
        return None, None

    def _check_temperature(self) -> None:
        """That the stored one is one, and that the one to be stored can be."""
        if self.problem_type == SINGLE_LABEL and "temperature" not in self.args.skip:
            stored_temperature(self.config)
        if self.args.store_temperature:
            files = self.data.source.get("files", {}).get("validation_file", ())
            check_can_store(self.name, self.problem_type, files, self.classifier.run_record())
            if self.validation is None:
                raise ValueError(f"--store_temperature: the temperature is {self.left_out['temperature']}")

    def _check_other_files(self) -> None:
        files = self.data.source.get("files", {})
        fitted, measured = ({os.path.realpath(n) for n in files.get(k, ())} for k in ("validation_file", "test_file"))
        if fitted & measured:
            raise ValueError(
                f"--validation_file and --test_file both name {min(fitted & measured)}: the temperature would be fitted on the examples "
                "that are measured. Name a --validation_file with other ones, or leave it out by --skip temperature."
            )

    def _look_at_data(self) -> None:
        """Say what may be wrong with what is measured; in the report too."""
        data = self.data if self.modality == "image" else replace(self.data, unlabeled=None)
        summary = summarise_data(data)
        log_summary(summary, strict=self.data_args.strict_data)
        if self.data_args.strict_data:
            summary.check()
        self.notes += [f"{concern.what}." for concern in summary.concerns]

    def _match_labels(self) -> Matching:
        """Whether labels were looked up by name or are the numbers of outputs: decided when they were loaded, told here."""
        if self.problem_type == REGRESSION:
            return Matching("none", "The labels are numbers; there are no classes to match.")
        names = self.data.label_names
        n_classes = len(names)
        if self.config.num_labels != n_classes:
            raise ValueError(
                f"model_name_or_path={self.name!r} has {self.config.num_labels} outputs, and the data {n_classes} labels: name data "
                "of the task that the model was trained for."
            )
        if names == [f"LABEL_{i}" for i in range(n_classes)]:
            return Matching(
                "number",
                f"Labels were matched by number: the model's config names no classes, so that output i is taken for class i of "
                f"the data, from 0 to {n_classes - 1}. Nothing can check that the model was trained with this order.",
            )
        if isinstance(self.data_args.label_column, str) and "," in self.data_args.label_column:
            return Matching("name", "Labels were matched by name: the label columns are called as the model's labels.")
        matching = self.data.matching
        if matching.how == "number":
            return Matching(
                "number",
                f"Labels were matched by number: the data has no names of classes, so that label i is taken for the model's output i "
                f"({listed((f'{i} = {name}' for i, name in enumerate(names)), show=str)}).",
            )
        spelled = [f"{name!r} is {other!r}" for name, other in matching.renamed.items()]
        aside = (
            f", case and blanks aside where only one class has the name: {listed(spelled, show=str)}"
            if spelled
            else ""
        )
        return Matching("name", f"Labels were matched by name ({listed(names, show=str)}){aside}.")

    def _check_outputs(self) -> None:
        outputs = self.data.num_labels
        if self.config.num_labels != outputs:
            raise ValueError(
                f"model_name_or_path={self.name!r} has {self.config.num_labels} outputs, but the data is {self.problem_type} and needs "
                f"{outputs}: name data of the task that the model was trained for."
            )
        self.args.check_task(self.problem_type, outputs)

    def _load_ood(self) -> Any:
        a = self.data_args
        if a.ood_file is None:
            self.left_out["ood"] = "Not measured: give data of another task by --ood_file."
            return None
        if self.problem_type != SINGLE_LABEL:
            raise ValueError(f"--ood_file is for classifiers with one class an example, not for {self.problem_type}.")
        common: dict[str, Any] = {
            "test_file": a.ood_file,
            "max_predict_samples": a.max_predict_samples,
            "seed": a.split_seed,
            "delimiter": a.delimiter,
            "encoding": a.encoding,
            "cache_dir": self.model_args.cache_dir,
        }
        try:
            if self.modality == "image":
                found: Any = load_image_datasets(**common)
            else:
                found = load_text_datasets(**common)
        except (ValueError, TypeError) as error:
            # The loaders call it the file of the test split.
            said = str(error).replace("`test_file`", "`ood_file`")
            raise ValueError(f"--ood_file {a.ood_file}: the model takes {self.modality}s. {said}") from error
        except FileNotFoundError as error:
            raise FileNotFoundError(str(error).replace("`test_file`", "`ood_file`")) from error
        own = {os.path.realpath(name) for names in self.data.source.get("files", {}).values() for name in names}
        shared = own & {os.path.realpath(name) for name in found.source["files"]["test_file"]}
        if shared:
            raise ValueError(
                f"--ood_file {a.ood_file}: {min(shared)} is a file of the model's own data as well, and nothing could tell the two apart: name data "
                "of another task."
            )
        if self.modality == "text" and len(found.columns.texts) != len(self.data.columns.texts):
            raise ValueError(
                f"--ood_file {a.ood_file} has {len(found.columns.texts)} columns of texts, {list(found.columns.texts)}, and the data of the "
                f"model {len(self.data.columns.texts)}: the number of texts alone would tell them apart."
            )
        return found

    def _make_collator(self) -> MixDataCollator | ImageCollator:
        if self.modality == "image":
            return self.classifier.image_collator(self.data.image_column)
        return self.classifier.text_collator(self.data.columns.texts, self.data_args.max_seq_length, self.problem_type)

    def _try_first_rows(self) -> None:
        """One row of each split through the collator and the model: what does not go together is found before the long run."""
        if self.modality == "text" and self.ood is not None:
            self.ood_rows: Any = self._with_columns_of_the_data(self.ood)
        elif self.ood is not None:
            self.ood_rows = next(iter(self.ood.test.values())).select_columns([self.ood.image_column])
        else:
            self.ood_rows = None
        named = {self.split_name: self.split, self.validation_name: self.validation, "--ood_file": self.ood_rows}
        for name, rows in named.items():
            if rows is None:
                continue
            try:
                predict(self.model, [rows[0]], self.collator, batch_size=1)
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                raise ValueError(
                    f"model_name_or_path={self.name!r} cannot be run on the first row of {name}: {error}"
                ) from error

    def _with_columns_of_the_data(self, other: Any) -> Dataset:
        rows = next(iter(other.test.values())).select_columns(list(other.columns.texts))
        new = dict(zip(other.columns.texts, self.data.columns.texts, strict=True))
        return rows.rename_columns({old: name for old, name in new.items() if old != name})

    def _read_memorisation(self) -> list[dict[str, float]]:
        path = Path(self.name) / "trainer_state.json"
        if "memorisation" in self.args.skip:
            self.left_out["memorisation"] = "left out by --skip."
            return []
        if not path.is_file():
            return []
        history = read_json(path).get("log_history")
        return memorisation_history(history if isinstance(history, list) else [])
