"""What the untouched encoder knows: its features of all texts in a file, and a guesser fitted on them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.in_batches import BatchFunction, write_rows
from mixtext_hf.guessing import (
    Family,
    FrozenGuesser,
    Rows,
    StoredRows,
    are_content,
    fit_frozen_guesser,
    sentences_about,
)
from mixtext_hf.models.sentence_modules import sentence_modules_of, tell_of_features
from mixtext_hf.models.stack import unwrap

from .running import encoder_of, label_names, labels_of, model_of, run_over
from .shared import fingerprint


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer


def features_path(trainer: MixTrainer, folder: Path) -> Path:
    """Where the features of all unlabelled texts are: a name that says of which texts, which encoder and which pooling."""
    about = [fingerprint(trainer, {})[name] for name in ("texts", "encoder", "max_length")]
    made_by = str(sentence_modules_of(unwrap(model_of(trainer))))
    about.append(hashlib.sha256(made_by.encode()).hexdigest()[:8])
    return folder / f"features-{'-'.join(map(str, [*about, trainer.args.bf16, trainer.args.fp16]))}.npy"


def stored_features(trainer: MixTrainer, folder: Path) -> StoredRows:
    """The frozen encoder's features of all unlabelled texts, in a file in `folder`; made where nobody has made it yet."""
    path = features_path(trainer, folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Several runs may share the folder: the first makes the file, and the others wait for it.
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            texts, encode = trainer.unlabeled_dataset, encoder_of(model_of(trainer), trainer)
            write_rows(path, run_over(trainer, texts, encode, title="features"), len(texts))
    return StoredRows(path)


class FrozenFit:
    """
    Fits a guesser on features of the untouched encoder, from what a trainer has.

    Args:
        trainer ([`MixTrainer`]): Before training.
        family (`str`): What may be chosen, see [`~mixtext_hf.guessing.fit_frozen_guesser`].
    """

    def __init__(self, trainer: MixTrainer, *, family: Family = "auto"):
        self.trainer, self.family = trainer, family
        self.names = label_names(trainer)
        if trainer.is_world_process_zero():
            collator = trainer.data_collator
            texts = collator if isinstance(collator, MixDataCollator) else None
            tell_of_features(model_of(trainer), getattr(texts, "tokenizer", None), getattr(texts, "max_length", None))

    def __call__(self, features: Rows) -> FrozenGuesser:
        """
        Args:
            features ([`Rows`] of shape `(N, D)`): Of the unlabelled texts, as [`encoder_of`] makes them.
        """
        trainer, args = self.trainer, self.trainer.args
        encode = encoder_of(model_of(trainer), trainer)
        wanted = args.guess_names
        return fit_frozen_guesser(
            features,
            np.concatenate(list(run_over(trainer, trainer.train_dataset, encode))),
            labels_of(trainer.train_dataset, trainer.data_collator),
            len(self.names),
            family=self.family,
            shares=args.guess_shares_given,
            sentences=self._sentences(encode) if wanted or (wanted is None and are_content(self.names)) else None,
            use_names=wanted,
            seed=args.seed,
        )

    def _sentences(self, encode: BatchFunction) -> tuple[NDArray[np.float32], list[int]] | None:
        collator = self.trainer.data_collator
        if not isinstance(collator, MixDataCollator):
            return None
        written, classes = sentences_about(self.names)
        encoded = collator.tokenizer(written, truncation=True, max_length=collator.max_length or 128)
        inputs = [name for name in collator.tokenizer.model_input_names if name in encoded]
        rows = [{name: encoded[name][i] for name in inputs} for i in range(len(written))]
        return np.concatenate(list(run_over(self.trainer, rows, encode))), classes
