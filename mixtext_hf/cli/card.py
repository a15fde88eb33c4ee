"""The facts of a run that only its command knows, for the card of the model; and the run of plain fine-tuning beside it."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixtext_hf.data import DataSummary
from mixtext_hf.hub.facts import CardData, DataFacts
from mixtext_hf.hub.record import card_from_json


logger = logging.getLogger(__name__)

RUN = "run.json"
EMBEDDED = ("docstrings", "digits")
_UNLABELED = ("rest", "unlabeled")
_REMEDY = "Put back the file that the run wrote, or remove it."
_SAME_DATA = (
    "files",
    "dataset",
    "config",
    "task",
    "seed",
    "validation_split_fraction",
    "labeled_per_class",
    "up_to",
    "imbalance",
    "label_map",
    "similar_labels",
    "label_separator",
    "max_train_samples",
    "max_eval_samples",
    "max_predict_samples",
    "label_noise",
    "label_noise_kind",
    "noisy_label_column",
    "package_versions",
)
# What shapes a model beside its data and its training arguments.
_SETTINGS = {
    "model_arguments": ("model_name_or_path", "model_revision", "tokenizer_name", "image_processor_name", "head"),
    "data_arguments": ("max_seq_length", "image_size"),
}


@dataclass(frozen=True)
class Baseline:
    """
    Results of plain fine-tuning to stand beside those of a run.

    Args:
        card ([`CardData`]): Of the run without mixing.
        data (`dict`): The data that it was run on, as `run.json` has it.
        settings (`dict`): What it started from and how its inputs were cut, see [`settings_of`].
    """

    card: CardData
    data: dict[str, Any]
    settings: dict[str, Any]

    @classmethod
    def read(cls, folder: str) -> Baseline:
        """
        Raises:
            `ValueError`: if the folder holds no finished run with results, or one of another method than erm.
        """
        path = Path(folder) / RUN
        if not path.is_file():
            raise ValueError(f"baseline_dir={folder!r} holds no {RUN}: name the --output_dir of a finished run.")
        run = _read_run(path)
        if run.get("method") != "erm":
            raise ValueError(
                f"baseline_dir={folder!r} is a run of {run.get('method')}: the baseline is plain fine-tuning, "
                "--mix_method erm."
            )
        card = recorded_card(Path(folder))
        if card is None or not card.results:
            raise ValueError(
                f"baseline_dir={folder!r} holds a run without results: name one that has ended, with --do_eval or "
                "--do_predict."
            )
        return cls(card, run["data"], settings_of(run))

    def check(self, data: dict[str, Any], measured: Collection[str]) -> None:
        """
        Args:
            data (`dict`): The data of the run that it is to stand beside, as `run.json` has it.
            measured (`Collection[str]`): The splits that will be measured there.

        Raises:
            `ValueError`: if it was run on other data, on other labelled rows, or measured on other splits.
        """
        own, other = _same_in_both(self.data), _same_in_both(data)
        for name in sorted(set(own) | set(other)):
            if own.get(name) != other.get(name):
                raise ValueError(
                    f"baseline_dir: that run had {name}={own.get(name)!r}, this one has {other.get(name)!r}: results "
                    "on other data are no baseline. Run erm with the same data arguments and --split_seed."
                )
        splits = [result.split for result in self.card.results]
        if not set(splits) & set(measured):
            raise ValueError(
                f"baseline_dir: that run was measured on {', '.join(splits)}, this one on {', '.join(measured) or 'nothing'}: "
                "give the same of --do_eval and --do_predict to both."
            )

    def differences(self, settings: dict[str, Any], told: dict[str, Any]) -> list[str]:
        """In what else the two runs differ, beside the method and what only unlabelled texts need."""
        own = {**self.card.training_arguments, **self.settings}
        other = {**told, **settings}
        unlabeled = {
            "per_device_unlabeled_batch_size",
            "view_columns",
            "augmenters",
            "mix_preset",
            "mix_start",
            "mix_end",
        }
        names = sorted((set(own) | set(other)) - unlabeled)
        return [
            f"{name} {own.get(name, 'default')} instead of {other.get(name, 'default')}"
            for name in names
            if own.get(name) != other.get(name)
        ]


def log_summary(summary: DataSummary, *, strict: bool = False) -> None:
    """Say what there is to know of the data, and what may be wrong with it; what is `strict` makes an error of that."""
    for line in summary.lines():
        logger.info(line)
    for concern in () if strict else summary.concerns:
        logger.warning(concern)


def data_facts(source: dict[str, Any], columns: list[str | None], summary: DataSummary | None = None) -> DataFacts:
    """What a card says of the data, from what a data set says of where it came from and what was seen in it."""
    files = {kind.removesuffix("_file"): names for kind, names in source.get("files", {}).items()}
    dataset = source.get("dataset")
    folders = {Path(name).parent.name for names in files.values() for name in names}
    # The embedded ones have no address, and a folder has none on the Hub.
    is_on_hub = dataset is not None and dataset not in EMBEDDED and not Path(dataset).exists()
    # Files of the working directory are no data set: they are named themselves.
    name = Path(dataset).name if dataset is not None else folders.pop() if len(folders) == 1 else ""
    task = source.get("task")
    if task:
        name = f"{name} ({task})" if name else task
    releases = ", ".join(f"{package} {release}" for package, release in source.get("package_versions", {}).items())
    return DataFacts(
        name=name or None,
        hub_id=dataset if is_on_hub else None,
        files={kind: _told_apart(names) for kind, names in files.items()},
        sizes={name: size for name, size in source.get("sizes", {}).items() if name != "rest"},
        held_out=source.get("validation_split_fraction"),
        # Of a long tail it is what the first class had.
        labeled_per_class=None if source.get("imbalance") else source.get("labeled_per_class"),
        split_seed=source.get("seed") if source.get("labeled_per_class") or source.get("imbalance") else None,
        columns=[column for column in columns if column is not None],
        notes=[
            *([f"It is made of {releases}."] if releases else []),
            *([] if summary is None else [*summary.facts(), *(f"{concern.what}." for concern in summary.concerns)]),
            *_imbalance(source),
            *_noise(source),
        ],
    )


def _told_apart(paths: Sequence[str]) -> list[str]:
    """The names of files, with their folder where two are called alike."""
    names = [Path(path).name for path in paths]
    folders = [Path(path).parent.name for path in paths]
    return [
        f"{folder}/{name}" if folder and names.count(name) > 1 else name
        for folder, name in zip(folders, names, strict=True)
    ]


def _imbalance(source: dict[str, Any]) -> list[str]:
    """How the classes of training were made to be unequally frequent."""
    ratio = source.get("imbalance")
    if not ratio:
        return []
    return [
        f"The classes of training were made imbalanced, {ratio:g} to 1: an exponential long tail in the order of the classes, seed "
        f"{source['seed']}."
    ]


def _noise(source: dict[str, Any]) -> list[str]:
    """What was wrong with the labels of training."""
    wrong, rows = source.get("wrong_labels"), source.get("sizes", {}).get("train")
    if not wrong:
        return []
    how = f"the column {source['noisy_label_column']} gives them"
    if source["noisy_label_column"] is None:
        how = f"{source['label_noise_kind']} noise, share {source['label_noise']}, seed {source['seed']}"
    return [f"Of the {rows} labels of training, {wrong} are wrong: {how}."]


def settings_of(run: dict[str, Any]) -> dict[str, Any]:
    """What a run, as `run.json` has it, started from and how its inputs were cut; only what was set."""
    return {
        name: value
        for group, names in _SETTINGS.items()
        for name in names
        if (value := run[group].get(name)) is not None
    }


def recorded_card(folder: Path) -> CardData | None:
    """
    The facts that a command recorded of its run, if it did.

    Raises:
        `ValueError`: if the record was changed so that it cannot be read.
    """
    path = folder / RUN
    card = _read_run(path)["card"] if path.is_file() else None
    try:
        return None if card is None else card_from_json(card)
    except ValueError as error:
        raise ValueError(f"{path}: {error} {_REMEDY}") from error


def source_of(folder: Path) -> dict[str, Any]:
    """What `run.json` says of the data of a run."""
    found: dict[str, Any] = _read_run(folder / RUN)["data"]
    return found


def _read_run(path: Path) -> dict[str, Any]:
    """`run.json`, with what is read of it in place; without a card before the run has ended."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}). {_REMEDY}") from error
    groups = ("data", "model_arguments", "data_arguments")
    if not isinstance(run, dict) or not all(isinstance(run.get(group), dict) for group in groups):
        raise ValueError(f"{path} is no record of a run, with {', '.join(groups)}. {_REMEDY}")
    return {"card": None, **run}


def _same_in_both(data: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for results to be those on the same data."""
    sizes = {f"rows of {name}": size for name, size in data.get("sizes", {}).items() if name not in _UNLABELED}
    return {**{name: data[name] for name in _SAME_DATA if data.get(name) is not None}, **sizes}
