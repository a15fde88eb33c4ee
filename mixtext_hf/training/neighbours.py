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
