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

from mixtext_hf.training.guesses import FrozenFit, encoder_of, model_of, run_over, stored_features


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
    if name == "frozen":
        labelled = np.concatenate(list(run_over(trainer, run.data.train, encode)))
        guesser = FrozenFit(trainer, family="logistic")(labelled)
    else:
        with TemporaryDirectory() as own:
            features = stored_features(trainer, trainer.features_folder or Path(own))
            guesser = FrozenFit(trainer, family="gaussian")(features)
    pieces = [np.exp(guesser.log_probabilities(chunk)) for chunk in run_over(trainer, split, encode)]
    return np.concatenate(pieces), guesser.report.as_dict()
