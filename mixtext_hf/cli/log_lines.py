"""What training says as it goes: one line a step that is logged, one line a split that is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tqdm import tqdm
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback


# Told in words, or not of interest.
_OTHERS = (
    "epoch",
    "total_flos",
    "samples",
    "runtime",
    "samples_per_second",
    "steps_per_second",
    "model_preparation_time",
)


class ReadableLog(TrainerCallback):
    """Prints what is logged as `step 20/400, epoch 0.5: loss 1.21, learning_rate 4.8e-05`."""

    def on_log(
        self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        # The end of training is told with its results.
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        prefix = "eval_" if any(name.startswith("eval_") for name in logs) else ""
        named = {name.removeprefix(prefix): value for name, value in logs.items()}
        where = f"step {state.global_step}/{state.max_steps}, epoch {_number(named.get('epoch', 0))}"
        say(f"{where}: {'validation ' if prefix else ''}{told(named)}")


class _Bar(ProgressCallback):
    """The bar alone."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        pass


def make_readable(trainer: Trainer) -> None:
    """Let a trainer print lines in place of dictionaries."""
    had_bar = any(isinstance(callback, ProgressCallback) for callback in trainer.callback_handler.callbacks)
    for kind in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(kind)
    if had_bar:
        trainer.add_callback(_Bar())
    trainer.add_callback(ReadableLog())


def metrics_line(what: str, metrics: Mapping[str, float], prefix: str, unit: str) -> str:
    """The results of a split: `validation: accuracy 0.925, nll 0.21 (400 texts, 2.1 s)`."""
    named = {name.removeprefix(f"{prefix}_"): value for name, value in metrics.items()}
    size = (
        [f"{int(named['samples']):,} {unit if named['samples'] != 1 else unit.removesuffix('s')}"]
        if "samples" in named
        else []
    )
    time = [f"{named['runtime']:.1f} s"] if "runtime" in named else []
    results, behind = told(named), ", ".join([*size, *time])
    # Without labels there is nothing to tell but how much it was.
    return f"{what}: {results} ({behind})" if results and behind else f"{what}: {results or behind}"


def told(named: Mapping[str, Any]) -> str:
    """Names and values in one line; the loss first."""
    # The only part of a loss is the loss.
    others = (*_OTHERS, *(("loss_supervised",) if named.get("loss_supervised") == named.get("loss") else ()))
    order = sorted((name for name in named if name not in others), key=lambda name: name != "loss")
    return ", ".join(f"{name} {_number(named[name])}" for name in order)


def say(line: str) -> None:
    """Print a line above a bar that is drawn."""
    tqdm.write(line)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
