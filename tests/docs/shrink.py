"""
What is made smaller in the commands and scripts of the documentation, so that each takes a second or two. This is all of it:

- a training takes two steps of the optimiser at most, in place of steps or epochs; `--eval_steps`, `--save_steps`, `--logging_steps`
  and `--warmup_steps` that are numbers of steps are 1; `--torch_compile` traces with the backend `eager` (`shorten`). That is done to
  arguments that the real parser has read and checked, also to those of Python blocks and YAML files.
- classifiers that are fine-tuned for guesses take two steps where nothing else is said;
- `small` changes words of a command: the first of `--seeds` alone; of several `--labeled_per_class` the first two; no more rows of a class
  than the files have; 16 samples of the embedded data to measure on; one round of a benchmark, of two rows and one step; eight rows for noise
  and attacks.
- the embedded corpus has 70 texts of each class, of the first files of each library; the demo learns from 5 of each without labels;
- pictures are one pixel (`tests/pixel.py`).

Every word of a command is still read by its parser, and every flag used.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import yaml
from world import LABELLED, LABELLED_IMAGES


STEPS = 2
_STEPS = ("eval_steps", "save_steps", "logging_steps", "warmup_steps")
_DATA = ("train_file", "validation_file", "test_file", "dataset_name", "task_name", "config")
_TRAINING = ("train-text", "train-image", "compare")
# The most that a flag may be: for all commands that have it.
_MOST = {"unlabeled_per_class": 12, "labeled_sentences": 12, "robustness_samples": 8}
# Of `mixtext-hf benchmark`, by its kind, whether given or not.
_BENCHMARKS: dict[str, dict[str, int]] = {
    "text": {"rounds": 1, "warmup": 0, "batch_size": 2},
    "mixtext": {"rounds": 1, "warmup": 0},
    "vision": {"rounds": 1, "warmup": 0, "batch_size": 2},
    "trainer": {"rounds": 1, "warmup": 0, "batch_size": 2, "unlabeled_batch_size": 2, "steps": 2},
    "guesses": {"rows": 200},
}


def small(words: list[str]) -> list[str]:
    """The words behind `mixtext-hf`, with smaller numbers: in place of those given, or behind them all, where the last one holds."""
    if not words or words[0].startswith("-"):
        return words
    command, kind = words[0], words[1] if len(words) > 1 else ""
    words = list(words)
    given = _of_config(words)
    words += [word for name in (*_MOST, "seeds", "labeled_per_class") if name in given for word in given[name]]
    for name, most in _MOST.items():
        _change(words, name, lambda values, most=most: [_least(value, most) for value in values])
    if command in _TRAINING:
        rows = LABELLED_IMAGES - 2 if "image" in (command.removeprefix("train-"), kind) else LABELLED - 2
        _change(words, "labeled_per_class", lambda values: _few(values, rows))
        if not any(_place(words, name) is not None for name in _DATA):
            words += ["--max_predict_samples", "16"]
    if command == "compare":
        _change(words, "seeds", lambda values: values[:1])
    if command in ("demo", "demo-vision"):
        words += ["--seeds", "1"]
    if command == "evaluate" and _place(words, "robustness_samples") is None:
        words += ["--robustness_samples", "8"]
    if command == "benchmark" and kind in _BENCHMARKS:
        numbers = dict(_BENCHMARKS[kind])
        kept = _place(words, "saliency_every")
        if kept is not None and kept + 1 < len(words):
            numbers["rounds"] = int(words[kept + 1])
        words += [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
    return words


def _of_config(words: list[str]) -> dict[str, list[str]]:
    """The arguments of `--config` as flags."""
    place = _place(words, "config")
    if place is None:
        return {}
    path = Path(words[place].partition("=")[2] or words[place + 1])
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {
        name: [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
        for name, value in settings.items()
        if _place(words, name) is None
    }


def _place(words: list[str], name: str) -> int | None:
    flags = (f"--{name}", f"--{name.replace('_', '-')}")
    return next((i for i, word in enumerate(words) if word.partition("=")[0] in flags), None)


def _change(words: list[str], name: str, change: Any) -> None:
    """Put other values behind a flag, if it is there."""
    start = _place(words, name)
    if start is None:
        return
    flag, _, value = words[start].partition("=")
    end = start + 1
    while not value and end < len(words) and not words[end].startswith("--"):
        end += 1
    # What is no number is for the parser to refuse.
    values = [value] if value else words[start + 1 : end]
    words[start:end] = [flag, *change(values)]


def _least(value: str, most: int) -> str:
    return str(min(int(value), most)) if value.isdigit() else value


def _few(values: list[str], most: int) -> list[str]:
    few = [_least(value, most) for value in values[:2]]
    return [few[0], str(int(few[0]) - 1)] if len(few) == 2 and few[0] == few[1] else few


def shorten(args: Any) -> None:
    """Arguments of a training, once they are checked."""
    args.max_steps = STEPS if args.max_steps <= 0 else min(args.max_steps, STEPS)
    for name in _STEPS:
        value = getattr(args, name, None)
        if isinstance(value, int | float) and value > 1:
            setattr(args, name, 1)
    if args.torch_compile:
        args.torch_compile_backend = "eager"


def install() -> None:
    """Do so to all trainings of this process, and of those that are forked off it."""
    from matplotlib.figure import Figure
    from pixel import save_one_pixel
    from transformers import TrainingArguments

    from mixtext_hf.cli import demo
    from mixtext_hf.data.tables import sources
    from mixtext_hf.training.guesses import rounds

    checked = TrainingArguments.__post_init__

    def post_init(self: Any) -> None:
        checked(self)
        shorten(self)

    TrainingArguments.__post_init__ = post_init  # type: ignore[method-assign]
    rounds.WARM_UP_STEPS = STEPS
    sources.docstring_corpus = partial(sources.docstring_corpus, max_per_class=70, test_size=100)
    demo._WITH_UNLABELED = ("--unlabeled_per_class=5", *demo._WITH_UNLABELED[1:])
    Figure.savefig = save_one_pixel  # type: ignore[method-assign, assignment]
