"""The arguments that the commands which train have in common, beside those of the training itself, and what loaders are told of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mixtext_hf.data.labels.class_names import SimilarLabels
from mixtext_hf.data.labels.noise import NoiseKind
from mixtext_hf.data.tables.text_files import delimiter_argument, encoding_argument


@dataclass
class HubArguments:
    """How models and data are got from the Hub."""

    cache_dir: str | None = field(default=None, metadata={"help": "Where files from the Hub are kept."})
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model."})
    token: str | None = field(default=None, repr=False, metadata={"help": "Token for private models and data sets."})
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={"help": "Start from a classifier of another number of classes: its head is made anew."},
    )
    new_head: bool = field(
        default=False,
        metadata={"help": "Start from a classifier of other classes, be they as many: its head is made anew."},
    )
    baseline_dir: str | None = field(
        default=None,
        metadata={"help": "--output_dir of an erm run on the same data: the model card shows its results beside."},
    )
    card_language: str | None = field(default=None, metadata={"help": "Language of the texts, such as en."})
    card_license: str | None = field(default=None, metadata={"help": "Licence of the model, such as apache-2.0."})
    overwrite_card: bool = field(
        default=False, metadata={"help": "Replace a model card (README.md) that was written or edited by hand."}
    )


@dataclass
class SelectionArguments:
    """Which files, and how many rows of them."""

    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of the data set."})
    train_file: str | None = field(
        default=None, metadata={"help": "parquet, csv, tsv, txt, json or jsonl, texts also as .gz; commas, globs."}
    )
    validation_file: str | None = field(default=None, metadata={"help": "The same for validation."})
    test_file: str | None = field(default=None, metadata={"help": "The same for test."})
    label_map: str | None = field(
        default=None,
        metadata={
            "help": "JSON, YAML or csv file of `name in the data: name that is meant`; rows of a name that goes to nothing are "
            "left out."
        },
    )
    similar_labels: SimilarLabels = field(
        default="refuse",
        metadata={"help": "Names of classes that differ by case or blanks alone: 'refuse', 'merge' or 'keep' them."},
    )
    delimiter: str | None = delimiter_argument()
    encoding: str | None = encoding_argument()
    labeled_per_class: int | None = field(default=None, metadata={"help": "Train on this many rows of each class."})
    strict_data: bool = field(
        default=False, metadata={"help": "Train only if nothing seems wrong with the data: every warning is an error."}
    )
    up_to: bool = field(
        default=False, metadata={"help": "Let --labeled_per_class take all rows of a class that has fewer."}
    )
    imbalance: float | None = field(
        default=None,
        metadata={
            "help": "Make a long tail of these rows: the first class has so many times more than the last, in the order of the classes."
        },
    )
    split_seed: int | None = field(
        default=None, metadata={"help": "Seed of the choice of labelled rows; that of the run if not given."}
    )
    validation_split_fraction: float | None = field(
        default=None, metadata={"help": "Share of train that becomes the validation split where there is none."}
    )
    max_train_samples: int | None = field(default=None, metadata={"help": "Use at most this many training rows."})
    max_eval_samples: int | None = field(default=None, metadata={"help": "The same for validation."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "The same for test."})
    id_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the test data that names the rows of predictions.csv; if not given one called id, idx, index, guid "
            "or ..._id without repeats, or else the number of the row in the file, from 0."
        },
    )
    label_noise: float | None = field(
        default=None,
        metadata={
            "help": "Share of the training rows that get a wrong label, such as 0.2; how much of it is learnt by heart is "
            "logged after every epoch."
        },
    )
    label_noise_kind: NoiseKind = field(
        default="uniform", metadata={"help": "'uniform': any other class; 'pair': the next class."}
    )
    noisy_label_column: str | None = field(
        default=None,
        metadata={"help": "Train on the labels of this column, right or wrong; --label_column has the right ones."},
    )
    metrics: list[str] | None = field(
        default=None, metadata={"help": "Metrics of evaluation; the task's and NLL, Brier and ECE if not given."}
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={"help": "Train although output_dir holds another run: its results and checkpoints are removed."},
    )


def rows_asked_for(data_args: Any, model_args: Any, *, seed: int) -> dict[str, Any]:
    """
    What the loaders of texts and of images are both told, be it for training or for measuring: where the rows come from, and what
    their labels mean.

    Args:
        data_args (`Any`): Data arguments of a command.
        model_args (`Any`): Its model arguments, which say how files are got from the Hub.
        seed (`int`): Of all that is chosen at random.
    """
    return {
        "dataset_name": data_args.dataset_name,
        "dataset_config_name": data_args.dataset_config_name,
        "train_file": data_args.train_file,
        "validation_file": data_args.validation_file,
        "test_file": data_args.test_file,
        "label_column": data_args.label_column,
        "label_map": data_args.label_map,
        "similar_labels": data_args.similar_labels,
        "max_eval_samples": data_args.max_eval_samples,
        "max_predict_samples": data_args.max_predict_samples,
        "seed": seed,
        "validation_split_fraction": data_args.validation_split_fraction,
        "delimiter": data_args.delimiter,
        "encoding": data_args.encoding,
        "cache_dir": model_args.cache_dir,
        "token": model_args.token,
    }
