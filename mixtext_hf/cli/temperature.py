"""The temperature of a classifier in the commands: fitted on validation after training, stored with the checkpoint, used by `predict`."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from mixtext_hf._files import check_writable, write_json
from mixtext_hf._lock import lock_of_a_run
from mixtext_hf.data import ImageDatasets, TextDatasets
from mixtext_hf.data.row_hashes import Hashes, image_hashes, text_hashes
from mixtext_hf.evaluation.measures.temperature import fit_with_notes
from mixtext_hf.models.stored_temperature import (
    RECIPE,
    StoredTemperature,
    check_temperature,
    store_temperature,
    stored_temperature,
    with_temperature,
)
from mixtext_hf.problem_types import SINGLE_LABEL

from .classifier import read_json


CONFIG = "config.json"


class NoTemperature(Exception):
    """There is nothing that a temperature could be fitted on, or what was found is none; says why."""


# ---- after training ----


def fit_and_store(
    data: TextDatasets | ImageDatasets,
    split_name: str,
    logits: NDArray,
    references: NDArray,
    others: Sequence[Dataset],
    config: Any,
    output_dir: Path | None,
) -> str:
    """[`fit_for_checkpoint`], and what it found put where [`store_in_run`] says; returns what there is to say of it, or why there is none."""
    try:
        found = fit_for_checkpoint(data, split_name, logits, references, others)
    except NoTemperature as reason:
        return f"No temperature is stored with the model: {reason}."
    return store_in_run(config, output_dir, found)


def fit_for_checkpoint(
    data: TextDatasets | ImageDatasets,
    split_name: str,
    logits: NDArray,
    references: NDArray,
    others: Sequence[Dataset],
) -> StoredTemperature:
    """
    The temperature of a model that was just trained.

    Args:
        data ([`TextDatasets`] or [`ImageDatasets`]): Whose files say what was learnt from, and what is measured.
        split_name (`str`): Of the validation split.
        logits (`np.ndarray` of shape `(N, C)`): Of these rows.
        references (`np.ndarray` of shape `(N,)`): Their classes.
        others (`Sequence[Dataset]`): Splits whose rows do not count: those of test, and train where it shares some.

    Returns:
        [`StoredTemperature`], fitted on the rows that are in none of these.

    Raises:
        [`NoTemperature`]: if these tell none.
    """
    apart = _rows_apart(data, data.validation[split_name], others)
    return fitted(logits[apart], references[apart], split_name)


def store_in_run(config: Any, output_dir: Path | None, found: StoredTemperature) -> str:
    """Store it in the config of the model, and in that of the folder that it was saved to, if this process saves; says so."""
    store_temperature(config, found)
    if output_dir is not None:
        _write(output_dir / CONFIG, found)
    return f"A temperature of {found.value:.4g}, {found.origin}, is stored with the model: `mixtext-hf predict` divides logits by it."


def fitted(logits: NDArray, references: NDArray, split_name: str) -> StoredTemperature:
    """
    Raises:
        [`NoTemperature`]: if the rows tell none.
    """
    known = np.asarray(references) >= 0
    if not known.any():
        raise NoTemperature(f"no labelled row of {split_name} is left that the model did not learn from")
    value, notes = fit_with_notes(np.asarray(logits)[known], np.asarray(references)[known])
    if notes:
        raise NoTemperature(f"the {int(known.sum()):,} rows of {split_name} tell none. {notes[0].rstrip('.')}")
    return StoredTemperature(value, split_name, int(known.sum()))


def _rows_apart(data: TextDatasets | ImageDatasets, split: Dataset, others: Sequence[Dataset]) -> NDArray[np.bool_]:
    """Which rows of a validation split are not in other ones."""
    files = data.source.get("files", {})
    named = {kind: {os.path.realpath(name) for name in names} for kind, names in files.items()}
    for other in ("train_file", "test_file"):
        shared = named.get("validation_file", set()) & named.get(other, set())
        if shared:
            raise NoTemperature(f"--validation_file and --{other} both name {min(shared)}")
    apart = np.ones(len(split), dtype=bool)
    own = _hashes(data, split) if others else np.empty(0, dtype=np.uint64)
    for of_other in others:
        apart &= ~np.isin(own, _hashes(data, of_other))
    return apart


def _hashes(data: TextDatasets | ImageDatasets, split: Dataset) -> Hashes:
    if isinstance(data, TextDatasets):
        return text_hashes(split, data.columns.texts)[0]
    return image_hashes(split, data.image_column)


# ---- for predictions ----


def temperature_to_use(config: Any, problem_type: str, given: float | None) -> tuple[float, str | None]:
    """
    Args:
        config (`PretrainedConfig`): Of the model.
        problem_type (`str`): What its outputs are taken for.
        given (`float`, *optional*): What `--temperature` says.

    Returns:
        `tuple`: the temperature, and what there is to say of it in a line; `None` where there was none to choose.

    Raises:
        ValueError: If one is given that is none, or for a model that has no use for it, or what is stored is none.
    """
    if given is not None:
        check_temperature("--temperature", given)
        if problem_type != SINGLE_LABEL:
            raise ValueError(
                f"--temperature {given:g}: it is for classifiers with one class an example, not for {problem_type}; leave it out."
            )
        return given, f"Confidences are at the temperature {given:g}, as given; no prediction changes."
    found = stored_temperature(config) if problem_type == SINGLE_LABEL else None
    if found is None:
        return 1.0, None
    return (
        found.value,
        f"Confidences are at the temperature {found.value:.4g} stored with the model ({found.origin}); no prediction changes.",
    )


# ---- stored by `evaluate` ----


def check_can_store(
    folder: str, problem_type: str, validation: Collection[str] = (), record: Mapping[str, Any] | None = None
) -> None:
    """
    Args:
        folder (`str`): Of the model.
        problem_type (`str`): What its outputs are taken for.
        validation (`Collection[str]`): The files of the rows that a temperature is to be fitted on.
        record (`Mapping[str, Any]`, *optional*): What run.json beside the model says of its training.

    Raises:
        ValueError: Unless a temperature can be stored with this model, and was not learnt from these files.
    """
    if not os.path.isdir(folder):
        raise ValueError(
            f"--store_temperature writes into the folder of the model, and {folder!r} is none: download the model, and name its folder."
        )
    if problem_type != SINGLE_LABEL:
        raise ValueError(f"--store_temperature is for classifiers with one class an example, not for {problem_type}.")
    if not (Path(folder) / CONFIG).is_file():
        raise ValueError(f"--store_temperature: {folder} has no {CONFIG} that it could be stored in.")
    data = (record or {}).get("data")
    files = data.get("files") if isinstance(data, Mapping) else None
    learnt = files.get("train_file") if isinstance(files, Mapping) else None
    paths = {os.path.realpath(name) for name in learnt or () if isinstance(name, str)}
    shared = paths & {os.path.realpath(name) for name in validation}
    if shared:
        raise ValueError(
            f"--store_temperature: {min(shared)} is what the model was trained on, and a temperature is for held-out rows: name another "
            "--validation_file."
        )
    check_writable(Path(folder), "model_name_or_path")


def store_in_folder(folder: str, report: Mapping[str, Any] | None, split_name: str | None) -> str:
    """
    Store the temperature that an assessment has fitted in `config.json` of a model's folder; all else in it stays.

    Args:
        folder (`str`): Of the model.
        report (`Mapping[str, Any]`, *optional*): What [`assess_temperature`] gave.
        split_name (`str`, *optional*): What it was fitted on.

    Returns:
        `str`: what was done, in a sentence.
    """
    if report is None or split_name is None:
        return "No temperature was fitted, and none is stored."
    if report["notes"]:
        return f"No temperature is stored with the model: {report['notes'][0]}"
    path = Path(folder) / CONFIG
    found = StoredTemperature(report["value"], split_name, report["validation_samples"])
    with lock_of_a_run(path.parent):
        _write(path, found)
    return f"The temperature {found.value:.4g}, {found.origin}, is stored in {path}."


def _write(path: Path, found: StoredTemperature) -> None:
    """Into a config.json, in the form that transformers writes."""
    config = read_json(path)
    write_json(path, {**config, RECIPE: with_temperature(config.get(RECIPE), found)}, sort_keys=True)
