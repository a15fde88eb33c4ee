"""What `mixtext-hf evaluate` is given: its arguments, and the model and the data that they name, checked and ready to run."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    AutoTokenizer,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor
from transformers.utils import logging as hf_logging

from mixtext_hf.data import ImageCollator, MixDataCollator, has_labels, load_image_datasets, load_text_datasets
from mixtext_hf.evaluation.from_logits import DEFAULT_N_BINS, memorisation_history
from mixtext_hf.evaluation.predicting import predict
from mixtext_hf.evaluation.robustness import check_epsilon, check_epsilons, check_steps
from mixtext_hf.evaluation.validation import check_n_bins, check_top_k
from mixtext_hf.models import MixableModelForImageClassification, MixableModelForSequenceClassification
from mixtext_hf.models.checkpoint import (
    MAX_JSON_BYTES,
    RefusedCheckpoint,
    check_checkpoint,
    check_image_processor,
    check_tokenizer,
)
from mixtext_hf.models.stack import num_channels

from .output_dir import check_writable
from .run import task_of


logger = logging.getLogger(__name__)

REPORT, NUMBERS, LOGITS = "report.html", "report.json", "predictions.npz"
SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
SKIPPABLE = ("temperature", "robustness", "noise", "attacks", "memorisation")
# Longer texts cost more than most tasks gain; a model that knows no limit has one.
_LONGEST_TEXT = 512
_SHOWN = 10


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a classifier of transformers, or of an adapter on one."}
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "If it is not the model's own."})
    image_processor_name: str | None = field(default=None, metadata={"help": "If it is not the model's own."})
    num_labels: int | None = field(
        default=None, metadata={"help": "Classes of an adapter that has no config.json beside it."}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where files from the Hub are kept."})
    token: str | None = field(default=None, metadata={"help": "Token for private models and data sets."})


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
            "help": "parquet, csv, tsv, json or jsonl; commas, globs. Data that the model was not trained on, for the "
            "temperature."
        },
    )
    test_file: str | None = field(default=None, metadata={"help": "What the model is measured on: files as above."})
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
    skip_broken_images: bool = field(
        default=False, metadata={"help": "Leave out images that cannot be used, and say which, instead of stopping."}
    )
    label_column: str | None = field(
        default=None, metadata={"help": "Recognised by its name if not given; several, with commas, for multi-label."}
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
class ReportArguments:
    """What to measure, and where the report goes."""

    output_dir: str | None = field(default=None, metadata={"help": f"Folder for {REPORT}, {NUMBERS} and {LOGITS}."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Replace the report of another model."})
    skip: list[str] = field(default_factory=list, metadata={"help": f"Leave out some of {', '.join(SKIPPABLE)}."})
    top_k: list[int] | None = field(default=None, metadata={"help": "For top-k accuracy; 5 or 2 if not given."})
    n_bins: int = field(default=DEFAULT_N_BINS, metadata={"help": "Bins of the calibration errors."})
    robustness_samples: int = field(
        default=1000, metadata={"help": "Rows, chosen at random, that noise and attacks are measured on."}
    )
    epsilon: list[float] = field(
        default_factory=lambda: [2.0, 4.0, 8.0],
        metadata={"help": "How far FGSM and PGD may move a pixel, in grey levels of 255; several for a curve."},
    )
    pgd_steps: int = field(default=10, metadata={"help": "Steps of PGD."})
    pgd_step_size: float | None = field(
        default=None, metadata={"help": "In grey levels of 255; 2.5 epsilon / pgd_steps if not given."}
    )
    embedding_epsilon: list[float] = field(
        default_factory=lambda: [0.1, 0.25, 0.5, 1.0],
        metadata={"help": "How far FGSM may move the word embeddings of a text, in lengths of one."},
    )
    seed: int = field(default=0, metadata={"help": "Of the noise, and of the rows it is measured on."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Rows of a batch."})
    dataloader_num_workers: int = field(default=0, metadata={"help": "Processes that prepare batches."})
    use_cpu: bool = field(default=False, metadata={"help": "Not the accelerator, where there is one."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})


@dataclass(frozen=True)
class Matching:
    """How the labels of the data were matched with the outputs of the model."""

    how: str
    sentence: str


class EvaluationInputs:
    """Everything that can be found wrong beforehand is found on construction."""

    def __init__(
        self, model_args: ModelArguments, data_args: DataArguments, report_args: ReportArguments, *, command: str
    ):
        self.model_args, self.data_args, self.args, self.command = model_args, data_args, report_args, command
        self._check_arguments()
        self.name = str(model_args.model_name_or_path)
        self.output_dir = Path(str(report_args.output_dir))
        if report_args.disable_tqdm:
            hf_logging.disable_progress_bar()
            disable_progress_bars()
        self.left_out: dict[str, str] = {}
        self.notes: list[str] = []
        self.config, self.adapter = self._load_config()
        self.modality = modality_of(self.name, self.config, self.adapter)
        self._check_output_dir()
        self.memorisation = self._read_memorisation()
        self.data = self._load_data()
        self.problem_type = self.data.problem_type
        self.split_name, self.split = self._choose_split()
        self.validation_name, self.validation = self._choose_validation()
        self.matching = self._match_labels()
        self._check_outputs()
        self.ood = self._load_ood()
        self.device = _device(report_args.use_cpu)
        self.model = self._load_model().to(self.device).eval()
        self.collator = self._make_collator()
        self._try_first_rows()

    def _check_arguments(self) -> None:
        model, data, args = self.model_args, self.data_args, self.args
        if model.model_name_or_path is None:
            raise ValueError("--model_name_or_path is needed: the folder or Hub id of a classifier.")
        if args.output_dir is None:
            raise ValueError("--output_dir is needed: it names the folder for the report.")
        if not (data.dataset_name or data.task_name or data.test_file or data.validation_file):
            raise ValueError("There is no data to measure on: give --test_file, --dataset_name or --task_name.")
        unknown = [part for part in args.skip if part not in SKIPPABLE]
        if unknown:
            raise ValueError(f"--skip {' '.join(unknown)}: choose from {', '.join(SKIPPABLE)}.")
        for name in ("robustness_samples", "per_device_eval_batch_size"):
            if getattr(args, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(args, name)}.")
        for name in ("seed", "dataloader_num_workers"):
            if getattr(args, name) < 0:
                raise ValueError(f"--{name} must not be negative, got {getattr(args, name)}.")
        for epsilon in args.epsilon:
            _named("--epsilon", partial(check_epsilon, epsilon / 255))
        if len(set(args.epsilon)) < len(args.epsilon) or not args.epsilon:
            raise ValueError(f"--epsilon must be different numbers in (0, 255], got {args.epsilon}.")
        _named(
            "--pgd_steps and --pgd_step_size",
            lambda: check_steps((1.0 if args.pgd_step_size is None else args.pgd_step_size) / 255, args.pgd_steps),
        )
        _named("--embedding_epsilon", lambda: check_epsilons(args.embedding_epsilon))
        _named("--n_bins", lambda: check_n_bins(args.n_bins))

    def _load_config(self) -> tuple[Any, Mapping[str, Any] | None]:
        """The config of the model, and the content of adapter_config.json where it is an adapter."""
        a = self.model_args
        where: dict[str, Any] = {"cache_dir": a.cache_dir, "revision": a.model_revision, "token": a.token}
        try:
            found = check_checkpoint(self.name, **where)
        except RefusedCheckpoint:
            raise
        except (OSError, ValueError) as error:
            raise ValueError(_no_model(self.name, error)) from error
        adapter = None if found.has_weights and os.path.isdir(self.name) else found.adapter
        name, settings = self.name, {}
        if not found.has_config:
            if adapter is None:
                raise ValueError(f"model_name_or_path={self.name!r} has no config.json: it holds no model.")
            # `check_checkpoint` of this one is made again when it is loaded.
            name = str(adapter.get("base_model_name_or_path") or "")
            where["revision"] = adapter.get("revision")
            check_checkpoint(name, **where)
        if a.num_labels is not None:
            if found.has_config:
                raise ValueError(
                    f"--num_labels {a.num_labels} is for adapters without config.json; that of {self.name!r} says how many "
                    "classes there are: leave it out."
                )
            settings["num_labels"] = a.num_labels
        try:
            config = AutoConfig.from_pretrained(name, trust_remote_code=False, **where, **settings)
        except StrictDataclassError as error:
            raise ValueError(f"The config.json of model_name_or_path={name!r} cannot be used: {error}") from error
        except (OSError, ValueError) as error:
            raise ValueError(_no_model(name, error)) from error
        return config, adapter

    def _check_output_dir(self) -> None:
        check_writable(self.output_dir)
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
        if other != self._identity():
            raise ValueError(
                f"output_dir={str(self.output_dir)!r} holds the report of another model, {other}. {remedy}"
            )

    def _identity(self) -> str:
        if os.path.isdir(self.name):
            return str(Path(self.name).resolve())
        return f"{self.name}@{self.model_args.model_revision}"

    def _load_data(self) -> Any:
        if set(self.config.id2label) != set(range(self.config.num_labels)):
            raise ValueError(
                f"The config of model_name_or_path={self.name!r} has in id2label the classes {_listed(map(str, self.config.id2label))}, "
                f"where they are numbered from 0 to {self.config.num_labels - 1}: correct its config.json."
            )
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
        if a.image_column is not None:
            raise ValueError(
                f"--image_column {a.image_column}: {self.name!r} is a text classifier; name a --text_column."
            )
        return load_text_datasets(
            **self._sources(),
            task_name=a.task_name,
            text_column=a.text_column,
            text_pair_column=a.text_pair_column,
            problem_type=a.problem_type or (None if a.task_name else problem_type),
            label_names=names,
        )

    def _load_images(self, names: list[str] | None) -> Any:
        a = self.data_args
        for name in ("text_column", "text_pair_column", "task_name", "max_seq_length"):
            if getattr(a, name) is not None:
                raise ValueError(f"--{name} {getattr(a, name)}: {self.name!r} is an image classifier; leave it out.")
        return load_image_datasets(
            **self._sources(),
            image_column=a.image_column,
            label_names=names,
            skip_broken_images=a.skip_broken_images,
        )

    def _sources(self) -> dict[str, Any]:
        a = self.data_args
        return {
            "dataset_name": a.dataset_name,
            "dataset_config_name": a.dataset_config_name,
            "train_file": a.train_file,
            "validation_file": a.validation_file,
            "test_file": a.test_file,
            "label_column": a.label_column,
            "max_eval_samples": a.max_eval_samples,
            "max_predict_samples": a.max_predict_samples,
            "seed": a.split_seed,
            "validation_split_fraction": a.validation_split_fraction,
            "cache_dir": self.model_args.cache_dir,
            "token": self.model_args.token,
        }

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

    def _check_other_files(self) -> None:
        files = self.data.source.get("files", {})
        fitted, measured = ({os.path.realpath(n) for n in files.get(k, ())} for k in ("validation_file", "test_file"))
        if fitted & measured:
            raise ValueError(
                f"--validation_file and --test_file both name {min(fitted & measured)}: the temperature would be fitted on the examples "
                "that are measured. Name a --validation_file with other ones, or leave it out by --skip temperature."
            )

    def _match_labels(self) -> Matching:
        """Whether labels were looked up by name or are the numbers of outputs; `labels.py` decides, here it is told."""
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
        named = self._label_names_of_the_data()
        if all(name.removeprefix("-").isdecimal() for name in named) and set(named) - set(names):
            return Matching(
                "number",
                f"Labels were matched by number: the data has no names of classes, so that label i is taken for the model's output i "
                f"({_listed(f'{i} = {name}' for i, name in enumerate(names))}).",
            )
        return Matching("name", f"Labels were matched by name ({_listed(names)}).")

    def _label_names_of_the_data(self) -> list[str]:
        """The classes of the data as the data itself calls them."""
        if self.modality == "image":
            return self._load_images(None).label_names
        return self._load_texts(self.problem_type, None).label_names

    def _check_outputs(self) -> None:
        outputs = self.data.num_labels
        if self.config.num_labels != outputs:
            raise ValueError(
                f"model_name_or_path={self.name!r} has {self.config.num_labels} outputs, but the data is {self.problem_type} and needs "
                f"{outputs}: name data of the task that the model was trained for."
            )
        for k in self.args.top_k or ():
            if self.problem_type != SINGLE_LABEL:
                raise ValueError(f"--top_k {k}: the model is for {self.problem_type}; leave it out.")
            _named("--top_k", partial(check_top_k, k, outputs))

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
            "cache_dir": self.model_args.cache_dir,
        }
        try:
            if self.modality == "image":
                found: Any = load_image_datasets(**common)
            else:
                found = load_text_datasets(**common)
        except (ValueError, TypeError) as error:
            raise ValueError(f"--ood_file {a.ood_file}: the model takes {self.modality}s. {error}") from error
        if self.modality == "text" and len(found.columns.texts) != len(self.data.columns.texts):
            raise ValueError(
                f"--ood_file {a.ood_file} has {len(found.columns.texts)} columns of texts, {list(found.columns.texts)}, and the data of the "
                f"model {len(self.data.columns.texts)}: the number of texts alone would tell them apart."
            )
        return found

    def _load_model(self) -> Any:
        a = self.model_args
        kind: Any = (
            MixableModelForImageClassification if self.modality == "image" else MixableModelForSequenceClassification
        )
        self.config.problem_type = self.problem_type
        try:
            return kind.without_hooks(
                self.name,
                config=self.config,
                cache_dir=a.cache_dir,
                revision=a.model_revision,
                token=a.token,
                dtype=torch.float32,
            )
        except SafetensorError as error:
            raise ValueError(
                f"model_name_or_path={self.name!r}: its weights cannot be read ({error}): get them again."
            ) from error
        except RuntimeError as error:
            raise ValueError(
                f"model_name_or_path={self.name!r}: its weights are not those of a classifier with {self.config.num_labels} classes "
                f"({str(error).splitlines()[0]}). For an adapter without config.json, give --num_labels."
            ) from error

    def _make_collator(self) -> Callable[[list[dict[str, Any]]], dict[str, torch.Tensor]]:
        if self.modality == "image":
            self.processor = self._load_processor()
            return ImageCollator(self.processor, image_column=self.data.image_column, num_channels=self._channels())
        self.tokenizer = self._load_tokenizer()
        self.max_length = self._longest_text()
        return MixDataCollator(
            self.tokenizer,
            text_column=self.data.columns.text,
            text_pair_column=self.data.columns.text_pair,
            max_length=self.max_length,
            is_regression=self.problem_type == REGRESSION,
        )

    def _channels(self) -> int | None:
        return num_channels(self.config)

    def _load_processor(self) -> Any:
        name, where = self._beside_the_model(self.model_args.image_processor_name, ("preprocessor_config.json",))
        check_image_processor(name, **where)
        return AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False, **where)

    def _load_tokenizer(self) -> Any:
        files = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "vocab.json")
        name, where = self._beside_the_model(self.model_args.tokenizer_name, files)
        check_tokenizer(name, **where)
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
        if tokenizer.pad_token is None:
            raise ValueError(
                f"The tokenizer of {name!r} has no padding token: save it with the one that the model was trained with, and name it "
                "by --tokenizer_name."
            )
        return tokenizer

    def _beside_the_model(self, given: str | None, files: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Where the tokenizer or image processor is: where it was said to be, in the checkpoint, or beside an adapter's base."""
        a = self.model_args
        where: dict[str, Any] = {"cache_dir": a.cache_dir, "token": a.token}
        if given is not None:
            return given, where
        is_bare_folder = os.path.isdir(self.name) and not any((Path(self.name) / file).is_file() for file in files)
        if self.adapter is not None and is_bare_folder:
            base = str(self.adapter["base_model_name_or_path"])
            logger.info("%s has none of %s: these are taken from %s.", self.name, ", ".join(files), base)
            return base, {**where, "revision": self.adapter.get("revision")}
        return self.name, {**where, "revision": a.model_revision}

    def _longest_text(self) -> int:
        positions = getattr(self.config, "max_position_embeddings", _LONGEST_TEXT)
        # Models without a limit say None, or -1.
        known = [limit for limit in (self.tokenizer.model_max_length, positions) if limit is not None and limit > 0]
        longest = min(*known, 10**9) if known else 10**9
        given = self.data_args.max_seq_length
        if given is not None:
            if not 1 < given <= longest:
                raise ValueError(f"--max_seq_length {given} must lie in 2..{longest}, which is what the model takes.")
            return given
        trained = _length_in_training(self.name)
        return min(longest, _LONGEST_TEXT if trained is None else trained)

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
        history = _read_json(path).get("log_history")
        return memorisation_history(history if isinstance(history, list) else [])


def modality_of(name: str, config: Any, adapter: Mapping[str, Any] | None = None) -> str:
    """
    `"text"` or `"image"`: what a classifier takes, by the class that its config names, or else by its type.

    Raises:
        `ValueError`: if it is no classifier of texts or images.
    """
    architectures = [str(architecture) for architecture in config.architectures or ()]
    for kind, modality in (("SequenceClassification", "text"), ("ImageClassification", "image")):
        if any(f"For{kind}" in architecture for architecture in architectures):
            return modality
    is_text, is_image = (
        type(config) in mapping
        for mapping in (MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING)
    )
    # An adapter brings the classifier along, its base model need not be one.
    if adapter is not None or not architectures:
        if is_text != is_image:
            return "text" if is_text else "image"
        if adapter is not None and adapter.get("task_type") == "SEQ_CLS":
            return "text"
    raise ValueError(
        f"model_name_or_path={name!r} is no classifier of texts or images: its config says architectures={architectures} "
        f"({config.model_type}). Name a ...ForSequenceClassification or ...ForImageClassification."
    )


def _length_in_training(name: str) -> int | None:
    """The length that texts were cut to when this package trained the model, as run.json beside it says."""
    path = Path(name) / "run.json"
    arguments = _read_json(path).get("data_arguments") if path.is_file() else None
    length = arguments.get("max_seq_length") if isinstance(arguments, dict) else None
    return length if isinstance(length, int) and length > 1 else None


def _read_json(path: Path) -> dict[str, Any]:
    """A file that lies beside a model, and may be anybody's."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(
            f"{path} has more than {MAX_JSON_BYTES // 2**20} MiB, which nothing needs that belongs there: remove it."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): remove it, or get it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, where an object {{...}} belongs: remove it.")
    return values


def _device(use_cpu: bool) -> torch.device:
    found = None if use_cpu else torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found


def _named(argument: str, check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error


def _listed(names: Any) -> str:
    listed = list(names)
    more = f", … {len(listed)} in all" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def _no_model(name: str, error: Exception) -> str:
    return (
        f"model_name_or_path={name!r} is no folder with a model, and no model of that name could be loaded from the Hub "
        f"({type(error).__name__}: {error}). Check the name, or give the path of a checkpoint."
    )
