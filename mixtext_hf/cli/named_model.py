"""The model that `model_name_or_path` names, before its weights are read: its config, its task, and what is said of its head."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig

from mixtext_hf.models.checkpoint import Checkpoint, check_checkpoint
from mixtext_hf.models.checkpoint_contents import RefusedCheckpoint
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.load_report import holding_load_report
from mixtext_hf.models.sentence_checkpoint import check_has_transformer
from mixtext_hf.problem_types import REGRESSION

from .run_arguments import HubArguments


def load_config(name: str, model_args: HubArguments) -> tuple[Any, Checkpoint]:
    """The config of a checkpoint that is safe to load, and what was found of it, so that its weights are loaded without another look."""
    if os.path.isdir(name) and not (Path(name) / "config.json").is_file():
        raise ValueError(f"model_name_or_path={name!r} is a folder without config.json: it holds no model.")
    if os.path.isfile(name):
        raise ValueError(f"model_name_or_path={name!r} is a file: name the folder of a model, or a Hub id.")
    where: dict[str, Any] = {
        "cache_dir": model_args.cache_dir,
        "revision": model_args.model_revision,
        "token": model_args.token,
    }
    try:
        checked = check_checkpoint(name, **where)
        check_has_transformer(name, checked.files)
        return AutoConfig.from_pretrained(name, trust_remote_code=False, **where), checked
    except RefusedCheckpoint:
        raise
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model_name_or_path={name!r} is no folder with a model, and no model of that name could be loaded from the "
            f"Hub ({type(error).__name__}). Check the name and the network, or give the path of a checkpoint."
        ) from error


@contextmanager
def naming_another_head(name: str, num_labels: int) -> Iterator[None]:
    """Turn what transformers says of a head of another shape, a table and some lines, into one with the remedy."""
    try:
        with holding_load_report():
            yield
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise ValueError(
            f"model_name_or_path={name!r} has a head of another shape than the one for the {num_labels} classes of the data: add "
            "--ignore_mismatched_sizes to give it a new one."
        ) from error


def task_of(config: Any) -> tuple[str | None, list[str] | None]:
    """The problem type of a model, as far as its config tells, and the names of its classes."""
    if config.problem_type == REGRESSION or config.num_labels == 1:
        return REGRESSION, None
    return config.problem_type, names_of_classes(config)
