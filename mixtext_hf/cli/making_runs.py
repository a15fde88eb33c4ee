"""From the command line to a run that is ready, and what is said when it fails or is stopped."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from transformers import HfArgumentParser

from mixtext_hf._lock import LOCK
from mixtext_hf.methods import find_preset
from mixtext_hf.training.guesses import GUESSES, ROUNDS
from mixtext_hf.training.own_folder import own_folder
from mixtext_hf.training.resuming import check_begun
from mixtext_hf.training.stopping import Stopped
from mixtext_hf.training.whole_checkpoints import newest_whole

from .failures import leave, reporting_failures
from .parsing import command_line, given_names, parse, peek, reporting_bad_input
from .run import Run


logger = logging.getLogger(__name__)

# Who names one of these does not want the embedded example.
_SOURCES = {"dataset_name", "task_name", "train_file", "validation_file", "test_file", "model_name_or_path"}
_LENGTHS = {"max_steps", "num_train_epochs"}

AnyRun = TypeVar("AnyRun", bound=Run)


def make_run_of(
    kind: type[AnyRun], parser: HfArgumentParser, argv: Sequence[str] | None, embedded: Mapping[str, Any]
) -> AnyRun:
    """As [`build_run`], for a command: what is wrong is said in a line, and the process exits."""
    with reporting_bad_input(parser):
        return build_run(kind, parser, argv, embedded)


def build_run(
    kind: type[AnyRun], parser: HfArgumentParser, argv: Sequence[str] | None, embedded: Mapping[str, Any]
) -> AnyRun:
    """
    The run that command-line arguments describe, checked and ready to start.

    Args:
        kind (`type[Run]`): What to make of them.
        parser (`HfArgumentParser`): Of model, data and training arguments, in this order.
        argv (`Sequence[str]`, *optional*): The arguments; those of the process if not given.
        embedded (`Mapping[str, Any]`): Defaults of the embedded example, which runs where neither data nor a model is named.

    Raises:
        `ValueError`, `OSError`, `ImportError`, `TypeError`: for wrong arguments, and whatever `kind` finds wrong.
    """
    names = given_names(parser, argv)
    is_embedded = not names & _SOURCES
    # Steps given take the place of the example's epochs, and the other way round.
    defaults = {name: value for name, value in embedded.items() if not (name in _LENGTHS and names & _LENGTHS)}
    of_preset = preset_arguments(**peek(parser, argv, ["mix_method", "mix_preset"]))
    behind = {**(defaults if is_embedded else {}), **of_preset}
    model_args, data_args, training_args = parse(parser, argv, behind)[:3]
    if not is_embedded and "output_dir" not in names:
        raise ValueError("--output_dir is needed: it names the folder for the model and its results.")
    # What is there may be of a run that is being made. Where none has been, nothing is written before all is checked.
    with own_folder(training_args) if Path(str(training_args.output_dir), LOCK).exists() else nullcontext():
        run = kind(model_args, data_args, training_args)
    if training_args.should_log and of_preset:
        set_by_it = ", ".join(f"{name}={value}" for name, value in of_preset.items() if name not in names)
        given = sorted(names & set(of_preset))
        logger.info(
            "mix_preset=%s sets %s%s.",
            training_args.mix_preset,
            set_by_it or "nothing",
            f"; given beside it, and not set: {', '.join(given)}" if given else "",
        )
    run.command = launched(command_line(parser, argv), run.args.world_size)
    return run


def run_command(
    make_run: Callable[[Sequence[str] | None], Run], prog: str, argv: Sequence[str] | None
) -> dict[str, float]:
    """Make a run of the arguments and run it; returns what `all_results.json` holds."""
    run = make_run(argv)
    with reporting_failed_run(run, prog):
        return run()


def launched(command: str, world_size: int) -> str:
    """A command as it is started on this number of processes."""
    if world_size == 1:
        return command
    on_one = int(os.environ.get("LOCAL_WORLD_SIZE", world_size))
    nodes = f"--nnodes {world_size // on_one} " if on_one < world_size else ""
    return f"torchrun {nodes}--nproc_per_node {on_one} --no_python {command}"


@contextmanager
def reporting_failed_run(run: Run, prog: str) -> Iterator[None]:
    """
    Say in a line what there is to say, and exit: of what went wrong with status 1 (see [`reporting_failures`]), of a training that
    a signal stopped with 128 and its number. What is kept and how to go on is part of it. A run that is done, or was stopped, leaves
    the group of its processes and has no trainer any more.
    """

    def kept() -> str:
        if not run.args.do_train or run.command is None:
            return ""
        found, passed = newest_whole(run.output_dir)
        found = found or next(filter(Path.is_dir, (run.output_dir / name for name in (ROUNDS, GUESSES))), None)
        if found is not None:
            return f"{found} is kept. To go on: {going_on(run.command)}"
        try:
            check_begun(run.output_dir, passed)
        except ValueError:
            return f"{run.output_dir} holds no whole checkpoint. To start anew: {starting_anew(run.command)}"
        return f"There is no checkpoint yet. To go on: {going_on(run.command)}"

    try:
        with reporting_failures(prog, kept):
            yield
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, Stopped):
            # All processes stopped at this step, and none waits for another.
            traceback.clear_frames(interrupt.__traceback__)
            run.leave()
        status = getattr(interrupt, "exit_code", 130)
        if run.args.process_index != 0:
            sys.exit(status)  # the first process says it for all
        if isinstance(interrupt, Stopped) and run.command is not None:
            again = f"To go on: {going_on(run.command)}"  # what is kept it says itself
        else:
            again = kept()
        leave(f"{str(interrupt) or 'Interrupted.'} {again}".rstrip(), interrupt, status)
    run.leave()


def starting_anew(command: str) -> str:
    """The command that does what another was to do, in place of what is left of it."""
    return f"{without_resuming(command)} --overwrite_output_dir"


def going_on(command: str) -> str:
    """The command that goes on with an interrupted one."""
    return f"{without_resuming(command)} --resume_from_checkpoint True"


def without_resuming(command: str) -> str:
    """The command that begins what another goes on with, and replaces nothing."""
    words = shlex.split(command)
    kept = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word == "--resume_from_checkpoint":
            skip = True
        elif word != "--overwrite_output_dir" and not word.startswith("--resume_from_checkpoint="):
            kept.append(word)
    return shlex.join(kept)


def preset_arguments(mix_method: str | None, mix_preset: str | None) -> dict[str, Any]:
    """The training arguments that belong to a preset; those given win over them."""
    if mix_method is None or mix_preset is None:
        return {}
    return find_preset(mix_method, mix_preset).training_arguments
