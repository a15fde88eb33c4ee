"""From what `resume_from_checkpoint` says to the checkpoint that a run goes on with, or to the end of a run that was finished."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput

from .guesses import GUESSES
from .same_run import check_same_run
from .whole_checkpoints import (
    NOT_FINISHED,
    BrokenCheckpoint,
    checkpoints_of,
    missing_state,
    newest_whole,
    remove_older,
    why_not_whole,
)


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

# Where these are, somebody keeps a model or the results of one.
OF_A_MODEL = ("config.json", "adapter_config.json", "all_results.json", TRAINER_STATE_NAME)


def check_begun(output_dir: Path, passed: Mapping[str, str]) -> None:
    """
    Whether a run without a whole checkpoint was ended before it had one, and may be started again.

    Args:
        output_dir (`Path`): Of the run.
        passed (`Mapping[str, str]`): Its checkpoints and what is wrong with each, see [`newest_whole`].

    Raises:
        `ValueError`: if there is no such folder.
        [`BrokenCheckpoint`]: if a checkpoint in it was damaged after it was written, or it holds a model.
    """
    asked = "resume_from_checkpoint=True was given, but"
    if not output_dir.is_dir():
        raise ValueError(f"{asked} there is no folder {output_dir}: leave the argument out to start a run there.")
    damaged = [f"{name}: {why}" for name, why in passed.items() if why != NOT_FINISHED]
    if damaged:
        raise BrokenCheckpoint(
            f"{asked} {output_dir} holds no whole checkpoint ({'; '.join(damaged)}): get these files "
            "again, name another folder, or start anew by overwrite_output_dir."
        )
    left = sorted(name for name in OF_A_MODEL if (output_dir / name).exists())
    if left:
        raise BrokenCheckpoint(
            f"{asked} {output_dir} holds a model ({', '.join(left[:3])}) and no checkpoint: name another folder, or replace it by "
            "overwrite_output_dir."
        )


def checkpoint_of(trainer: MixTrainer, resume: Any) -> str | None:
    """
    The whole checkpoint that training goes on with; `None` for a run from the beginning, as where it was ended before the first.

    Raises:
        [`BrokenCheckpoint`]: if the one that was named is not whole, or none is where one has been.
    """
    if resume is None or resume is False:
        return None
    output_dir = Path(str(trainer.args.output_dir))
    if resume is True:
        found, passed = newest_whole(output_dir)
        if trainer.is_world_process_zero():
            for name, reason in passed.items():
                logger.warning("%s is passed over: %s.", output_dir / name, reason)
        if found is None:
            check_begun(output_dir, passed)
            if trainer.is_world_process_zero():
                logger.warning("%s holds no whole checkpoint yet: this run starts from its beginning.", output_dir)
            return None
    else:
        found = Path(str(resume))
        if (why := why_not_whole(found)) is not None:
            raise BrokenCheckpoint(
                f"resume_from_checkpoint={str(resume)!r} is no whole checkpoint: {why}. resume_from_checkpoint=True takes the "
                "newest whole one of output_dir."
            )
    lacks = missing_state(found, world_size=trainer.args.world_size)
    if lacks and not (trainer.args.resume_weights_alone or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        raise BrokenCheckpoint(
            f"{found} has no {', '.join(lacks)}, so training would go on otherwise than it began (was it saved with "
            f"save_only_model, or by another number of processes than {trainer.args.world_size}?): resume_weights_alone=True goes "
            "on with what is there."
        )
    check_same_run(trainer, found)
    return str(found)


def as_finished(trainer: MixTrainer, checkpoint: str) -> TrainOutput | None:
    """
    What a run that had reached its end gives again, its weights in the model; `None` if there is something left to train.

    The Trainer of transformers would make one step more where `max_steps` ends inside an epoch, or report a loss of 0.
    """
    state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled or trainer.args.resume_changed:
        return None
    if state.global_step < state.max_steps:
        return None
    logger.warning("%s: this run was finished, after step %d. Nothing is trained.", checkpoint, state.global_step)
    if trainer.learns_from_guesses and (Path(str(trainer.args.output_dir)) / GUESSES).is_dir():
        # While the model has its first weights, of which the guesses were made.
        trainer._make_guesses(resume=True)
    best = state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    trainer._load_from_checkpoint(best or checkpoint)
    trainer._memory.load_checkpoint(checkpoint)
    at_end = _state_at_end(Path(str(trainer.args.output_dir)) / TRAINER_STATE_NAME)
    # Written after the last checkpoint: it knows the runtime too.
    if at_end is not None and at_end.global_step == state.global_step:
        state = at_end
    trainer.state = state
    ended: dict[str, float] = next((entry for entry in reversed(state.log_history) if "train_runtime" in entry), {})
    metrics = {name: value for name, value in ended.items() if name.startswith("train_")}
    loss_sum = trainer._memory.loss_sum
    if "train_loss" not in metrics and loss_sum is not None:
        metrics["train_loss"] = loss_sum / state.global_step
    metrics |= {"epoch": state.epoch, "total_flos": state.total_flos}
    _finish_last_save(trainer, Path(checkpoint))
    return TrainOutput(state.global_step, metrics.get("train_loss", float("nan")), metrics)


def _finish_last_save(trainer: MixTrainer, last: Path) -> None:
    """Remove what a run that was killed just after its last checkpoint had no time to remove."""
    args, output_dir = trainer.args, Path(str(trainer.args.output_dir))
    if args.should_save and args.save_total_limit is not None and checkpoints_of(output_dir)[:1] == [last]:
        remove_older(output_dir, keep=args.save_total_limit, best=trainer.state.best_model_checkpoint)


def _state_at_end(path: Path) -> TrainerState | None:
    """What was noted after the end, if that was reached; half of it is none of it, for it is written again."""
    try:
        return TrainerState.load_from_json(str(path)) if path.is_file() else None
    except (ValueError, TypeError):
        return None
