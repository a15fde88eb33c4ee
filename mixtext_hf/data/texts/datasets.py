"""From what a user names (a Hub id, files, a GLUE task, or nothing) to datasets that are ready to train on.

Splits are found by `sources.py`, columns by `columns.py`, unlabelled texts joined by `unlabeled_parts.py`; labels are brought
into one convention and rows chosen as for images, by `labelled_splits.py` and `selection.py`. Here is the order of the steps,
and the checks on their arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset, Value

from mixtext_hf.data.labelled_splits import UNLABELED, LabelledSplits, normalise_splits, record_of
from mixtext_hf.data.labels.class_keys import make_naming
from mixtext_hf.data.labels.class_names import SimilarLabels
from mixtext_hf.data.labels.noise import LabelNoise, NoiseKind
from mixtext_hf.data.selection import Selection
from mixtext_hf.data.tables.columns import TextColumns, holds_texts, recognise_columns, rows_without_text, type_name
from mixtext_hf.data.tables.files import Reading
from mixtext_hf.data.tables.glue import GlueTask
from mixtext_hf.data.tables.sources import Splits, find_glue_task, load_text_splits
from mixtext_hf.problem_types import MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL

from .unlabeled_parts import join_unlabeled, with_known_labels


_METRICS = {
    SINGLE_LABEL: ("accuracy", "macro_f1"),
    MULTI_LABEL: ("f1_micro", "f1_macro", "subset_accuracy"),
    REGRESSION: ("pearson", "spearman", "mse"),
}


@dataclass(kw_only=True)
class TextDatasets(LabelledSplits):
    """
    The splits of a text classification or regression task, with everything a training run must know about them.

    Args (beside those of [`~mixtext_hf.data.labelled_splits.LabelledSplits`]):
        unlabeled (`datasets.Dataset`, *optional*):
            Texts to learn from without their labels: of `unlabeled_file`, of `rest`, or of both. Labels that are known
            are still there, to measure how good guesses are.
        columns ([`TextColumns`]):
            The text columns; the label column is always `"label"`, or `None` when no split has labels.
        problem_type (`str`):
            `"single_label_classification"`, `"multi_label_classification"` or `"regression"`.
        metrics (`tuple[str, ...]`):
            Names of the metrics that are usual for the task.
    """

    unlabeled: Dataset | None
    columns: TextColumns
    problem_type: str
    metrics: tuple[str, ...]

    @property
    def num_labels(self) -> int:
        """Outputs of the classification head: one a class, a single one for regression."""
        return 1 if self.problem_type == REGRESSION else len(self.label_names)


def load_text_datasets(
    *,
    dataset_name: str | None = None,
    dataset_config_name: str | None = None,
    task_name: str | None = None,
    train_file: str | Sequence[str] | None = None,
    validation_file: str | Sequence[str] | None = None,
    test_file: str | Sequence[str] | None = None,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    label_column: str | Sequence[str] | None = None,
    problem_type: str | None = None,
    label_names: Sequence[str] | None = None,
    label_map: str | Path | Mapping[str, str | None] | None = None,
    names_of_others: Sequence[str] = (),
    similar_labels: SimilarLabels = "refuse",
    label_separator: str | None = None,
    labeled_per_class: int | None = None,
    up_to: bool = False,
    imbalance: float | None = None,
    unlabeled_file: str | Sequence[str] | None = None,
    unlabeled_rest: bool | None = None,
    unlabeled_per_class: int | None = None,
    view_columns: Sequence[str] = (),
    guess_column: str | None = None,
    max_train_samples: int | None = None,
    max_eval_samples: int | None = None,
    max_predict_samples: int | None = None,
    label_noise: float | None = None,
    label_noise_kind: NoiseKind = "uniform",
    noisy_label_column: str | None = None,
    seed: int = 0,
    validation_split_fraction: float | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    revision: str | None = None,
    cache_dir: str | None = None,
    token: str | bool | None = None,
) -> TextDatasets:
    """
    Load a text data set and bring it into the form that training, evaluation and prediction expect.

    Every selection is a pure function of the data and `seed`, in this order: `validation_split_fraction` splits a
    validation set off the training split, `labeled_per_class` chooses the labelled examples from what stays,
    `max_train_samples` limits those.

    Args:
        dataset_name (`str`, *optional*):
            Id of a data set on the Hub, or a local folder: of files as below, called `train`, `validation` and `test` (or in
            sub-folders of these names), or whatever else `datasets.load_dataset` can read. `"docstrings"`, also the default when
            neither a data set, a task nor a file is named, is the embedded corpus of [`docstring_corpus`].
        dataset_config_name (`str`, *optional*):
            Configuration of `dataset_name`.
        task_name (`str`, *optional*):
            A task of [`GLUE_TASKS`]: fixes columns, metrics and problem type. The data comes from the Hub unless files
            are given.
        train_file, validation_file, test_file (`str` or `Sequence[str]`, *optional*):
            Parquet, csv, tsv, txt, json or jsonl files, texts also packed (`.csv.gz`): paths or glob patterns, several in a
            sequence or separated by commas. For the task `mnli`, two files are the matched and the mismatched split.
        text_column, text_pair_column (`str`, *optional*):
            Columns of the text and of the second text; recognised by their names by default.
        label_column (`str` or `Sequence[str]`, *optional*):
            Column of the label; several names, also separated by commas, are the 0/1 columns of multi-label data.
        problem_type (`str`, *optional*):
            One of the three of `transformers`; inferred from the labels by default.
        label_names (`Sequence[str]`, *optional*):
            Names of the classes in the order of their ids. For a trained model, whose outputs have a meaning already:
            the labels of the data are looked up among them, and they are the classes of data without labels.
        label_map (`str`, `Path` or `Mapping[str, str | None]`, *optional*):
            What the names in the data mean, those of `label_names` or others: a mapping, or a JSON, YAML or csv file of one.
            A name that goes to nothing is one whose rows are left out; names that it does not have stay as they are. See
            [`~mixtext_hf.data.labels.mapping.read_label_map`].
        names_of_others (`Sequence[str]`, *optional*):
            Names that `label_map` may be for beside those of the data, such as the classes of a teacher; one that is for none of them
            is refused.
        similar_labels (`str`, *optional*, defaults to `"refuse"`):
            What is done with names that differ by case, blanks or the form of letters alone: `"refuse"` them, `"merge"` them
            into the most frequent one, or `"keep"` them apart.
        label_separator (`str`, *optional*):
            What stands between the classes of a row, such as `"|"`, in multi-label data that has them in one string.
        labeled_per_class (`int`, *optional*):
            Keep only this many training examples of each class; the others become `rest`.
        up_to (`bool`, *optional*, defaults to `False`):
            Whether of classes with fewer examples all are kept, which is an error otherwise.
        imbalance (`float`, *optional*):
            Keep of these examples a long tail: the first class has so many times more than the last, see
            [`~mixtext_hf.data.imbalance.imbalanced_split`]. What is left over joins `rest`, where there is one.
        unlabeled_file (`str` or `Sequence[str]`, *optional*):
            Files of texts to learn from without labels, with the same text columns. A label column there is kept, and
            is for measuring alone.
        unlabeled_rest (`bool`, *optional*):
            Whether `rest` is learnt from without labels as well; by default where no `unlabeled_file` is given.
        unlabeled_per_class (`int`, *optional*):
            Take only this many texts of each class of `rest`.
        view_columns (`Sequence[str]`, *optional*):
            Columns of the unlabelled texts with another wording each.
        guess_column (`str`, *optional*):
            Column of the unlabelled texts with a guess of the class each.
        max_train_samples (`int`, *optional*):
            Keep the first so many rows of the shuffled training split.
        max_eval_samples, max_predict_samples (`int`, *optional*):
            Keep so many rows of each validation or test split, chosen at random, in the order of the file.
        label_noise (`float`, *optional*), label_noise_kind (`str`), noisy_label_column (`str`, *optional*):
            Train with wrong labels, made or given, see [`~mixtext_hf.data.labels.noise.LabelNoise`]: of the rows that were
            chosen by their right ones, which then stand in a column `clean_label`.
        seed (`int`, *optional*, defaults to `0`):
            Seed of all selections. The test split of the embedded corpus does not depend on it.
        validation_split_fraction (`float`, *optional*):
            Share of the training split that becomes the validation split, of each class alike. Only for data that has
            no validation split.
        delimiter (`str`, *optional*):
            Character between the cells of csv, tsv and txt files; found by default.
        encoding (`str`, *optional*):
            Encoding of the files of text, such as `"latin-1"`, but for those that begin with a mark of UTF-8, UTF-16 or UTF-32;
            UTF-8 by default.
        revision (`str`, *optional*):
            Branch, tag or commit of the data set on the Hub.
        cache_dir (`str`, *optional*):
            Where `datasets` keeps its files.
        token (`str` or `bool`, *optional*):
            Token for private data sets on the Hub.

    Returns:
        [`TextDatasets`]
    """
    limits = {
        "labeled_per_class": labeled_per_class,
        "unlabeled_per_class": unlabeled_per_class,
        "max_train_samples": max_train_samples,
        "max_eval_samples": max_eval_samples,
        "max_predict_samples": max_predict_samples,
    }
    files = {
        "train_file": train_file,
        "validation_file": validation_file,
        "test_file": test_file,
        "unlabeled_file": unlabeled_file,
    }
    selection = Selection(limits, seed, validation_split_fraction, up_to, imbalance)
    noise = LabelNoise(label_noise, label_noise_kind, noisy_label_column)
    if problem_type is not None and problem_type not in PROBLEM_TYPES:
        raise ValueError(f"`problem_type` is {problem_type!r}: it must be one of {PROBLEM_TYPES}.")
    naming = make_naming(label_map, similar_labels, label_separator, names_of_others)
    task = find_glue_task(task_name)
    if task is not None:
        problem_type = _problem_type_of(task, problem_type)

    def columns_of(names: Sequence[str], require_label: bool = False) -> TextColumns:
        text, pair = (
            (task.text, text_pair_column or task.text_pair)
            if task is not None and text_column is None
            else (text_column, text_pair_column)
        )
        return recognise_columns(names, text=text, text_pair=pair, label=label_column, require_label=require_label)

    splits = load_text_splits(
        files,
        task,
        dataset_name,
        dataset_config_name,
        revision=revision,
        cache_dir=cache_dir,
        token=token,
        how=Reading(delimiter, encoding, lambda names: (*columns_of(names).texts, *view_columns)),
    )
    if unlabeled_rest is None:
        unlabeled_rest = unlabeled_file is None
    _check_unlabeled_per_class(limits, unlabeled_rest)
    selection.check(splits)

    found = _find_columns(splits, columns_of)
    labels = normalise_splits(
        splits, found.label, problem_type=problem_type, inputs=found.texts, label_names=label_names, naming=naming
    )
    columns = TextColumns(found.text, found.text_pair, labels.column)
    if splits.unlabeled is not None:
        check_texts(splits.unlabeled, UNLABELED, columns)
        splits.unlabeled = with_known_labels(splits.unlabeled, found.label, labels.names, naming.label_map)

    single_label = labels.problem_type == SINGLE_LABEL
    if labeled_per_class is not None and not single_label:
        raise ValueError(
            f"`labeled_per_class` needs single-label classes, but the labels are {labels.problem_type}: "
            "use `max_train_samples` to train on few examples."
        )
    rest = selection.choose(splits, by_class=single_label)
    unlabeled = join_unlabeled(
        rest if unlabeled_rest else None,
        splits.unlabeled,
        columns=columns,
        view_columns=view_columns,
        guess_column=guess_column,
        per_class=unlabeled_per_class,
        seed=seed,
        up_to=up_to,
    )
    splits.train, wrong_labels = noise.apply(splits.train, labels.names, labels.problem_type, seed, naming)
    records = selection.as_source(), naming.as_source(), labels.matching.as_source(), wrong_labels
    return TextDatasets(
        train=splits.train,
        validation=splits.validation,
        test=splits.test,
        rest=rest,
        unlabeled=unlabeled,
        columns=columns,
        problem_type=labels.problem_type,
        label_names=labels.names,
        metrics=task.metrics if task is not None else _METRICS[labels.problem_type],
        source=record_of(splits, *records, rest=rest, unlabeled=unlabeled),
        rows=splits.rows,
        matching=labels.matching,
    )


def _problem_type_of(task: GlueTask, problem_type: str | None) -> str:
    if problem_type not in (None, task.problem_type):
        raise ValueError(
            f"`problem_type` is {problem_type!r}, but the task {task.name!r} is {task.problem_type!r}: leave it out."
        )
    return task.problem_type


def _check_unlabeled_per_class(limits: Mapping[str, int | None], unlabeled_rest: bool) -> None:
    labeled_per_class, unlabeled_per_class = limits["labeled_per_class"], limits["unlabeled_per_class"]
    if unlabeled_per_class is not None and (labeled_per_class is None or not unlabeled_rest):
        raise ValueError(
            f"`unlabeled_per_class` is {unlabeled_per_class}: it takes texts of what `labeled_per_class` leaves of the "
            "training split; give labeled_per_class too (and unlabeled_rest, beside an unlabeled_file)."
        )


def _find_columns(splits: Splits, columns_of: Callable[[Sequence[str], bool], TextColumns]) -> TextColumns:
    """The columns as they were found: the label has its own name still."""
    by_name = splits.by_name()
    # The label of evaluation data may be absent, so the split that is the most likely to have it comes first.
    first = next(iter(by_name.values()))
    columns = columns_of(first.column_names, splits.train is not None)
    for split_name, split in by_name.items():
        check_texts(split, split_name, columns)
    return columns


def check_texts(split: Dataset, split_name: str, columns: TextColumns) -> None:
    """Raise `ValueError` unless the text columns are there and hold a text in every row."""
    for column in columns.texts:
        where = f"The text column {column!r} of the split {split_name!r}"
        if column not in split.column_names:
            raise ValueError(
                f"{where} does not exist, the columns are {split.column_names}: all splits need the same text columns. "
                "Rename it, or name a common one with --text_column and --text_pair_column."
            )
        feature = split.features[column]
        if feature == Value("null"):
            raise ValueError(f"{where} holds None (NoneType) at row 0 and in all others: name another --text_column.")
        if not holds_texts(split, column):
            raise ValueError(
                f"{where} holds {type_name(feature)} from row 0 on, not str: name a column of texts with --text_column."
            )
        missing = rows_without_text(split, column)
        if len(missing):
            raise ValueError(
                f"{where} holds None (NoneType) at row {missing[0]}, not str: remove such rows, or make them empty strings."
            )
