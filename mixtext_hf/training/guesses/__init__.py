"""The guesses that a trainer learns from: made before its first step, in rounds or from elsewhere, once for all processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .frozen import FrozenFit, stored_features
from .given import of_column, of_teacher, settings_of_given
from .made import Guesses, told
from .rounds import ROUNDS, Rounds
from .running import encoder_of, label_names, labels_of, model_of, run_over
from .shared import by_first, check_features, guesses_by_features, shared_table
from .teacher import Teacher, teacher_classes


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer

GUESSES = "guesses"


def make_guesses(trainer: MixTrainer, make_trainer: Callable[..., MixTrainer], *, resume: bool) -> Guesses:
    """
    The guesses for the last round of a trainer: read, if an earlier start of the same run made them, else made.

    Args:
        trainer ([`MixTrainer`]): Before training: its model has its first weights.
        make_trainer (`Callable[..., MixTrainer]`): Makes the trainers of the rounds before, of the arguments of [`MixTrainer`].
        resume (`bool`): Whether training goes on; rounds before the last then go on too.

    Raises:
        `ValueError`: if the guesses in its folder are those of another run and `resume` is set.
    """
    args = trainer.args
    # In all processes, where one alone would keep the others waiting.
    check_features(trainer)
    names = label_names(trainer)
    folder = Path(str(args.output_dir)) / GUESSES
    if guesses_by_features(trainer):
        return Rounds(trainer, make_trainer, folder, names, resume)()
    given = of_column if args.guesser_name == "column" else of_teacher
    make = by_first(trainer, lambda: given(trainer, folder, names))
    table = shared_table(trainer, folder, make, settings=settings_of_given(trainer), resume=resume)
    return told(trainer, Guesses(table, args.surest_share(1), []))


__all__ = [
    "GUESSES",
    "ROUNDS",
    "FrozenFit",
    "Guesses",
    "Teacher",
    "check_features",
    "encoder_of",
    "labels_of",
    "make_guesses",
    "model_of",
    "run_over",
    "stored_features",
    "teacher_classes",
]
