"""The baselines that train no network: what the features of the untouched encoder tell, in seconds once they are there.

`frozen`: logistic regression on the labelled rows. `frozen_gaussian`: the guesser of `mixtext` alone, a mixture over labelled
and unlabelled rows. Both are tempered on held-out labelled rows. A method that fine-tunes has to beat them.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixtext_hf.data.in_batches import write_rows
from mixtext_hf.guessing import StoredRows
from mixtext_hf.training.guesses import FrozenFit, encoder_of, model_of, run_over


# The baselines, and the method that is given the same data.
FROZEN = {"frozen": "erm", "frozen_gaussian": "mixtext"}


def frozen_probabilities(name: str, run: Any, split: Any) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """
    What a baseline says of the rows of a split.

    Args:
        name (`str`): `"frozen"` or `"frozen_gaussian"`.
        run ([`TextRun`]): A run of the method in `FROZEN`; its data and its untrained model are used.
        split (`datasets.Dataset`): The rows.

    Returns:
        `tuple`: probabilities `(N, C)`, and the report of the guesser, JSON-serialisable.
    """
    trainer = run.trainer
    encode = encoder_of(model_of(trainer), trainer)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        rows = run.data.train if name == "frozen" else trainer.unlabeled_dataset
        write_rows(path, run_over(trainer, rows, encode), len(rows))
        fit = FrozenFit(trainer, family="logistic" if name == "frozen" else "gaussian")
        guesser = fit(StoredRows(path))
    pieces = [np.exp(guesser.log_probabilities(chunk)) for chunk in run_over(trainer, split, encode)]
    return np.concatenate(pieces), guesser.report.as_dict()
