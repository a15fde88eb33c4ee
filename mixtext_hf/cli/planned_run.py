"""One run of a comparison, in a folder of its own: what makes it the run it is, how it is claimed, made and read again.

The folder is named after the settings and a hash of the whole configuration. The run is finished when its result file is
there, which is written last, whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock
from transformers import HfArgumentParser

from mixtext_hf._files import whole_file, write_json
from mixtext_hf.data import has_labels
from mixtext_hf.data.tables.files import resolve_files
from mixtext_hf.evaluation.comparison.grid import Setting
from mixtext_hf.evaluation.comparison.tables import Outcome
from mixtext_hf.evaluation.measures.loading import logits_of
from mixtext_hf.evaluation.measures.metrics import softmax
from mixtext_hf.hub.facts import SplitResult
from mixtext_hf.models.sentence_checkpoint import module_files
from mixtext_hf.training.guesses.rounds import WARM_UP_STEPS
from mixtext_hf.training.head_rate import NEW_HEAD_LEARNING_RATE
from mixtext_hf.version import __version__, versions

from . import train_image, train_text
from .embedded import DEFAULTS, DIGITS_DEFAULTS
from .frozen import FROZEN, frozen_probabilities
from .making_runs import build_run
from .run import Run


RESULT, PREDICTIONS, LOG = "result.json", "predictions.npz", "output.log"
# Beside the runs: the features of texts that several of them guess, once for all.
FEATURES = "features"
# What is left of a run whose model is not kept.
_KEPT = {RESULT, PREDICTIONS, LOG, "run.json"}
# What a run is given, behind what the user says: nothing but the end of it is of interest.
_DEFAULTS = ("--save_strategy=no", "--report_to=none", "--disable_tqdm=true", "--log_level=error")
# Chooses the rows that are measured; not the seed of a run, for all are measured on the same rows.
_ROWS_SEED = 0
# Files are recognised by what is in them, and so are folders that stand in place of a name of the Hub.
_FILES = ("train_file", "validation_file", "test_file", "unlabeled_file")
_FOLDERS = ("model_name_or_path", "tokenizer_name", "image_processor_name", "dataset_name")
# What does not change the results: with another value of these it is the same run.
_WITHOUT_EFFECT = {
    "output_dir",
    "overwrite_output_dir",
    "cache_dir",
    "token",
    "do_train",
    "do_eval",
    "do_predict",
    "resume_from_checkpoint",
    "resume_changed",
    "resume_weights_alone",
    "push_to_hub",
    "card_language",
    "card_license",
    "overwrite_card",
    "strict_data",
    "baseline_dir",
    "report_to",
    "run_name",
    "project",
    "local_rank",
    "log_level",
    "log_level_replica",
    "log_on_each_node",
    "disable_tqdm",
    "id_column",
    "logging_steps",
    "dataloader_num_workers",
    "dataloader_pin_memory",
    "dataloader_persistent_workers",
    "dataloader_prefetch_factor",
}
_WITHOUT_EFFECT_IF_NAMED = ("hub_", "trackio_")


class ParsedRun(Run):
    """The arguments of a run and no more: nothing is loaded."""

    def __init__(self, model_args: Any, data_args: Any, training_args: Any):
        self.model_args, self.data_args, self.args = model_args, data_args, training_args


@dataclass
class Kind:
    """A command that trains: what it makes runs of, its parser, and the defaults of its embedded example."""

    name: str
    run: type[Run]
    make_parser: Callable[[], HfArgumentParser]
    embedded: Mapping[str, Any]

    def __post_init__(self) -> None:
        self.parser = self.make_parser()

    def parse(self, argv: Sequence[str], output_dir: str | Path) -> ParsedRun:
        """The arguments of a run, each checked by itself; raises if one is wrong."""
        parsed = build_run(ParsedRun, self.parser, [*_DEFAULTS, *argv, f"--output_dir={output_dir}"], self.embedded)
        self.run.check_task(parsed.data_args)
        return parsed

    def make(self, argv: Sequence[str], output_dir: str | Path) -> Run:
        """The run itself, with its data and its model."""
        parsed = self.parse(argv, output_dir)
        run = self.run(parsed.model_args, parsed.data_args, parsed.args)
        run.command = parsed.command
        return run


KINDS = ("text", "image")


def make_kind(name: str) -> Kind:
    """
    The kind of runs: "text" or "image".

    Raises:
        ValueError: If there is no such kind.
    """
    if name not in KINDS:
        raise ValueError(f"kind={name!r}: choose from {', '.join(KINDS)}.")
    if name == "text":
        return Kind(name, train_text.TextRun, train_text.make_parser, DEFAULTS)
    return Kind(name, train_image.ImageRun, train_image.make_parser, DIGITS_DEFAULTS)


class PlannedRun:
    """
    A run before it is made.

    Args:
        kind ([`Kind`]): What trains.
        setting ([`Setting`]): What it is in the comparison.
        argv (`list[str]`): Its arguments, but for the folder.
        runs (`Path`): The folder that its own is made in.
        max_rows (`int`, *optional*): Measure on at most so many rows.

    Attributes:
        configuration (`dict[str, Any]`): All that its results depend on, JSON-serialisable.
        folder (`Path`): Where it goes.
    """

    def __init__(self, kind: Kind, setting: Setting, argv: list[str], runs: Path, max_rows: int | None):
        self.kind, self.argv, self.max_rows = kind, argv, max_rows
        parsed = kind.parse(argv, runs)
        # The embedded example has a number of labels of its own.
        self.setting = Setting(setting.variant, parsed.data_args.labeled_per_class, setting.seed)
        self.configuration = _configuration(kind.name, parsed, max_rows)
        self.baseline = setting.variant.method if setting.variant.method in FROZEN else None
        if self.baseline is not None:
            if given := parsed.args.long_tail_given:
                raise ValueError(
                    f"{given[0]} is for methods that train a network, and {self.baseline} trains none: give it to single methods by "
                    "--method_arguments."
                )
            self.configuration["baseline"] = self.baseline
        digest = hashlib.sha256(json.dumps(self.configuration, sort_keys=True).encode()).hexdigest()[:8]
        self.folder = runs / f"{self.setting.name}-{digest}"

    def lock(self) -> FileLock:
        """Held by the process that is at it. The operating system gives it back when that ends, however that happens."""
        return FileLock(self.folder.with_name(f"{self.folder.name}.lock"), timeout=0)

    def result(self) -> dict[str, Any] | None:
        """
        What it measured, if it is finished.

        Raises:
            ValueError: If there is a result that cannot be read, or is that of another configuration.
        """
        path = self.folder / RESULT
        if not path.is_file() or not (self.folder / PREDICTIONS).is_file():
            return None
        try:
            result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not what was written ({error}): delete it to have it run again.") from error
        if result.get("configuration") != self.configuration:
            raise ValueError(f"{path} is the result of another run than the name of its folder says: move it away.")
        return result

    def outcome(self) -> Outcome:
        """
        What a finished run predicted.

        Raises:
            ValueError: If it cannot be read.
        """
        s, path = self.setting, self.folder / PREDICTIONS
        try:
            with np.load(path) as arrays:
                probabilities, references = arrays["probabilities"], arrays["references"]
        except (BadZipFile, EOFError, KeyError, ValueError) as error:
            raise ValueError(f"{path} is not what was written ({error}): delete it to have it run again.") from error
        return Outcome(s.variant.name, s.labeled_per_class, s.seed, probabilities, references)

    def execute(self, *, keep_model: bool) -> None:
        """Train, measure, and write the result; what it says on the way goes to a file in its folder."""
        if self.folder.exists():
            shutil.rmtree(self.folder)  # what is left of a run that was killed or failed
        self.folder.mkdir(parents=True)
        with (self.folder / LOG).open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            try:
                self._execute(keep_model)
            except Exception:
                traceback.print_exc()
                raise

    def _execute(self, keep_model: bool) -> None:
        run = self.kind.make(self.argv, self.folder)
        run.trainer.features_folder = self.folder.parent / FEATURES
        trained: dict[str, Any] = {} if self.baseline is not None else dict(run.train())
        name, split = measured_split(run)
        if self.max_rows is not None and self.max_rows < len(split):
            split = split.select(np.sort(np.random.default_rng(_ROWS_SEED).permutation(len(split))[: self.max_rows]))
        if self.baseline is not None:
            probabilities, trained["report"] = frozen_probabilities(self.baseline, run, split)
            references, measured = np.asarray(split["label"][:]), dict[str, float]()
            _remove_all_but(self.folder, _KEPT)
        else:
            output = run.trainer.predict(split, metric_key_prefix=name)
            measured = {**(output.metrics or {}), **run.more_metrics(split, name)}
            probabilities, references = softmax(logits_of(output)), np.asarray(output.label_ids)
            if keep_model:
                run.fit_temperature()
                named = {key.removeprefix(f"{name}_"): value for key, value in measured.items()}
                run.results.append(SplitResult(name, named, len(split), run.recall_of(output)))
                run.write_card()
            else:
                _remove_all_but(self.folder, _KEPT)
        with whole_file(self.folder / PREDICTIONS) as partial:
            np.savez_compressed(partial, probabilities=probabilities, references=references.astype(np.int64))
        result = {
            "configuration": self.configuration,
            "split": name,
            "global_step": run.trainer.state.global_step,
            "metrics": {**trained, **measured},
            "log_history": run.trainer.state.log_history,
            "guesses": guesses.rounds if (guesses := run.trainer.guesses) is not None else [],
            "versions": versions(),
        }
        # The last file: the run is finished when this is there.
        write_json(self.folder / RESULT, result, default=str)


def measured_split(run: Run) -> tuple[str, Any]:
    """
    Test if its labels are known, else validation; the first one of several.

    Raises:
        ValueError: If there is neither.
    """
    for name, split in [*run.data.test.items(), *run.data.validation.items()]:
        if has_labels(split):
            return name, split
    raise ValueError("There is no labelled test or validation split to measure on: give --test_file.")


def _configuration(kind: str, parsed: ParsedRun, max_rows: int | None) -> dict[str, Any]:
    data = asdict(parsed.data_args)
    parts = {
        "model_arguments": asdict(parsed.model_args),
        "data_arguments": {name: value for name, value in data.items() if name not in (*_FILES, "label_map")},
        "training_arguments": parsed.args.to_dict(),
    }
    files = {
        name: [_digest(path) for path in resolve_files(name, data[name])]
        for name in _FILES
        if data.get(name) is not None
    }
    if data["label_map"] is not None:
        files["label_map"] = [_digest(Path(data["label_map"]))]
    for name, value in {**parts["model_arguments"], **data}.items():
        if name in _FOLDERS and value is not None and Path(value).is_dir():
            files[name] = _digests_in(Path(value), deep=name == "dataset_name")
    relevant = {
        part: {
            name: value
            for name, value in arguments.items()
            if name not in _WITHOUT_EFFECT and not name.startswith(_WITHOUT_EFFECT_IF_NAMED)
        }
        for part, arguments in parts.items()
    }
    configuration = {
        "version": __version__,
        "kind": kind,
        "max_predict_samples": max_rows,
        "files": files,
        # What the arguments leave open is settled by the package, which may settle it otherwise one day.
        "hyperparameters": parsed.args.make_method().hyperparameters(),
        "defaults": {"head_learning_rate": NEW_HEAD_LEARNING_RATE, "guess_warm_up_steps": WARM_UP_STEPS},
        **relevant,
    }
    # As it comes back from a file.
    as_read: dict[str, Any] = json.loads(json.dumps(configuration, default=str))
    return as_read


def _digest(path: Path) -> str:
    about = path.stat()
    return _digest_of(path, about.st_size, about.st_mtime_ns)


def _digests_in(folder: Path, *, deep: bool) -> list[str]:
    """Of the files that are read from a folder: of a model those at its top, but for its card, of data all."""
    paths = {path.relative_to(folder): path for path in folder.glob("**/*" if deep else "*") if path.is_file()}
    if not deep:
        # Of a checkpoint of sentence-transformers also how it makes vectors.
        paths |= {Path(os.path.relpath(path, folder)): path for path in module_files(folder)}
    return [
        f"{name.as_posix()} {_digest(path)}"
        for name, path in sorted(paths.items())
        if not any(part.startswith(".") and part != ".." for part in name.parts) and (deep or name.suffix != ".md")
    ]


@cache
def _digest_of(path: Path, size: int, changed: int) -> str:
    """Once for all runs; a file that changes has another time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_all_but(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name in names:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
