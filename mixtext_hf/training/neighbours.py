"""Which sentences of the training data are near each other: of the encoder as it is, the same in all processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mixtext_hf.data.tokens.neighbours import nearest_rows
from mixtext_hf.methods import LADA

from .guesses.running import encoder_of, model_of, run_over


if TYPE_CHECKING:
    from .trainer import MixTrainer


def find_neighbours(trainer: MixTrainer) -> None:
    """
    Find out, once, which sentences are near, where the method fetches partners: of the encoder as it is before training, so that with a
    checkpoint still to come they are those of the run of it.
    """
    if trainer.method.fetches_partners and trainer.neighbours is None:
        trainer.neighbours = neighbours_of(trainer)


def neighbours_of(trainer: MixTrainer) -> NDArray[np.int64]:
    """
    The `k` rows that are the nearest to each, `(N, k)`.

    Args:
        trainer ([`MixTrainer`]): Before training, with a method that fetches partners.
    """
    method = trainer.method
    assert isinstance(method, LADA)
    encode = encoder_of(model_of(trainer), trainer)
    return nearest_rows(np.concatenate(list(run_over(trainer, trainer.train_dataset, encode))), method.k)
