"""A result as the Hub reads it today: a file `.eval_results/NAME.yaml` in the repository of a model, beside the older `model-index` of its card.

What it is shown for is a benchmark: a data set on the Hub whose `eval.yaml` names its tasks (https://huggingface.co/docs/hub/eval-results). The Hub
refuses a file for any other data set, so that one is written only where the task of the benchmark is named.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from mixtext_hf._files import write_text
from mixtext_hf._markdown import one_line

from .facts import CardData, SplitResult
from .ids import is_hub_id
from .metric_names import measured, metric_name


FOLDER = ".eval_results"


def eval_result(data: CardData, task_id: str, metric: str | None = None) -> EvalResultEntry:
    """
    The result of a model on a benchmark: one number of the test split, or of the validation split where no other was measured.

    Args:
        data ([`CardData`]): With results on a data set of the Hub.
        task_id (`str`): Of the benchmark, as the `eval.yaml` of the data set has it.
        metric (`str`, *optional*): By its name in `all_results.json`, such as `"macro_f1"`; the first of the card's table, accuracy for
            classes, if not given.

    Returns:
        [`~huggingface_hub.EvalResultEntry`], whose notes name the metric, the split and its size.

    Raises:
        `ValueError`: if the data set is not on the Hub, or nothing of the kind was measured on a split of it.
    """
    dataset = None if data.data is None else data.data.hub_id
    if dataset is None or not is_hub_id(dataset):
        raise ValueError(
            f"--eval_task_id {task_id}: results are shown for a benchmark on the Hub, and the model was not measured on a data set from there: "
            "train and measure by --dataset_name user/name, or leave it out."
        )
    if not task_id.strip():
        raise ValueError(
            f"--eval_task_id {task_id!r} is empty: give a task of the benchmark, as its eval.yaml has it."
        )
    result = measured_split(data)
    found = {} if result is None else dict(measured(result))
    if result is None or not found:
        raise ValueError(f"--eval_task_id {task_id}: nothing that was measured is recorded: train with --do_predict.")
    if data.data is not None and data.data.held_out and result.split.startswith("validation"):
        raise ValueError(
            f"--eval_task_id {task_id}: the validation split was held out of train (validation_split_fraction), and is none of the benchmark: "
            "measure on its test split by --do_predict."
        )
    name = metric or next(iter(found))
    if name not in found:
        raise ValueError(f"--eval_metric {metric}: measured on {result.split} are {', '.join(found)}.")
    if not math.isfinite(found[name]):
        raise ValueError(f"--eval_metric {name}: it is {found[name]}, which is no result.")
    rows = "" if result.samples is None else f", {result.samples:,} rows"
    config = "" if data.data is None or data.data.config is None else f", configuration {one_line(data.data.config)}"
    notes = f"{metric_name(name, data.fgsm_epsilon)}, {one_line(result.split)} split{config}{rows}"
    return EvalResultEntry(dataset_id=dataset, task_id=task_id, value=float(found[name]), notes=notes)


def write_eval_result(folder: str | os.PathLike[str], data: CardData, task_id: str, metric: str | None = None) -> Path:
    """Write [`eval_result`] into the folder of a model, where [`~mixtext_hf.hub.push.files_to_send`] finds it; returns the path."""
    entry = eval_result(data, task_id, metric)
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{entry.dataset_id}-{task_id}").strip("._")
    path = Path(folder) / FOLDER / f"{name}.yaml"
    write_text(path, yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False, allow_unicode=True))
    return path


def measured_split(data: CardData) -> SplitResult | None:
    """What [`eval_result`] takes its number from."""
    for kind in ("test", "validation"):
        found = next((one for one in data.results if one.split.split("_")[0] == kind), None)
        if found is not None:
            return found
    return next(iter(data.results), None)
