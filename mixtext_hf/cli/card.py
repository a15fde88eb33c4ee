"""The facts of a run that only its command knows, for the card of the model; and the run of plain fine-tuning beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixtext_hf.hub.card import CardData, DataFacts
from mixtext_hf.hub.record import card_from_json


RUN = "run.json"
EMBEDDED = ("docstrings", "digits")
_SAME_DATA = (
    "files",
    "dataset",
    "config",
    "task",
    "seed",
    "validation_split_fraction",
    "labeled_per_class",
    "max_train_samples",
    "max_eval_samples",
    "max_predict_samples",
    "label_noise",
    "label_noise_kind",
    "noisy_label_column",
)


@dataclass(frozen=True)
class Baseline:
    """
    Results of plain fine-tuning to stand beside those of a run.

    Args:
        card ([`CardData`]): Of the run without mixing.
        data (`dict`): The data that it was run on, as `run.json` has it.
        model (`str`): What it started from.
    """

    card: CardData
    data: dict[str, Any]
    model: str

    @classmethod
    def read(cls, folder: str) -> Baseline:
        """
        Raises:
            `ValueError`: if the folder holds no finished run, or one of another method than erm.
        """
        path = Path(folder) / RUN
        if not path.is_file():
            raise ValueError(f"baseline_dir={folder!r} holds no {RUN}: name the --output_dir of a finished run.")
        run = json.loads(path.read_text(encoding="utf-8"))
        if run.get("method") != "erm":
            raise ValueError(
                f"baseline_dir={folder!r} is a run of {run.get('method')}: the baseline is plain fine-tuning, "
                "--mix_method erm."
            )
        if "card" not in run:
            raise ValueError(
                f"baseline_dir={folder!r} was written by an older release, without results: run it again."
            )
        return cls(card_from_json(run["card"]), run["data"], run["model_arguments"]["model_name_or_path"])

    def check_same_data(self, data: dict[str, Any]) -> None:
        """
        Raises:
            `ValueError`: if it was run on other data, or on other labelled rows.
        """
        for name in _SAME_DATA:
            if self.data.get(name) != data.get(name):
                raise ValueError(
                    f"baseline_dir: that run had {name}={self.data.get(name)!r}, this one has {data.get(name)!r}: results "
                    "on other data are no baseline. Run erm with the same data arguments and --split_seed."
                )

    def differences(self, model: str, told: dict[str, Any]) -> list[str]:
        """In what else the two runs differ, beside the method and what only unlabelled texts need."""
        own = {**self.card.training_arguments, "model": self.model}
        other = {**told, "model": model}
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


def data_facts(source: dict[str, Any], columns: list[str | None]) -> DataFacts:
    """What a card says of the data, from what a data set says of where it came from."""
    files = {kind.removesuffix("_file"): names for kind, names in source.get("files", {}).items()}
    dataset = source.get("dataset")
    folders = {Path(name).parent.name for names in files.values() for name in names}
    task = f" ({source['task']})" if source.get("task") else ""
    # The embedded ones have no address, and a folder has none on the Hub.
    is_on_hub = dataset is not None and dataset not in EMBEDDED and not Path(dataset).exists()
    name = Path(dataset).name if dataset is not None else folders.pop() if len(folders) == 1 else ""
    releases = ", ".join(f"{package} {release}" for package, release in source.get("package_versions", {}).items())
    return DataFacts(
        name=f"{name}{task}".strip() or None,
        hub_id=dataset if is_on_hub else None,
        files={kind: [Path(name).name for name in names] for kind, names in files.items()},
        sizes={name: size for name, size in source.get("sizes", {}).items() if name != "rest"},
        labeled_per_class=source.get("labeled_per_class"),
        split_seed=source.get("seed") if source.get("labeled_per_class") else None,
        columns=[column for column in columns if column is not None],
        notes=[*([f"It is made of {releases}."] if releases else []), *_noise(source)],
    )


def _noise(source: dict[str, Any]) -> list[str]:
    """What was wrong with the labels of training."""
    wrong, rows = source.get("wrong_labels"), source.get("sizes", {}).get("train")
    if not wrong:
        return []
    how = f"the column {source['noisy_label_column']} gives them"
    if source["noisy_label_column"] is None:
        how = f"{source['label_noise_kind']} noise, share {source['label_noise']}, seed {source['seed']}"
    return [f"Of the {rows} labels of training, {wrong} are wrong: {how}."]


def recorded_card(folder: Path) -> CardData | None:
    """The facts that a command recorded of its run, if it did."""
    path = folder / RUN
    if not path.is_file():
        return None
    card = json.loads(path.read_text(encoding="utf-8")).get("card")
    return None if card is None else card_from_json(card)
