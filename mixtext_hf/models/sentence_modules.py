"""Which modules of sentence-transformers make features of a model: told by its loader, or found where the model came from."""

from __future__ import annotations

import logging
import os
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from .checkpoint import files_of
from .sentence_checkpoint import DEFAULT_MODULES, SentenceModules, read_sentence_modules
from .stack import unwrap


logger = logging.getLogger(__name__)

_NOTE = "_mixtext_sentence_modules"


def note_sentence_modules(model: PreTrainedModel, modules: SentenceModules | None) -> None:
    """Told by a loader: what the checkpoint of a model says of its vectors; `None` where it says nothing."""
    vars(model)[_NOTE] = modules


def sentence_modules_of(model: PreTrainedModel) -> SentenceModules:
    """
    What makes features of a model: what its checkpoint says, or the mean over the tokens, of length 1.

    A model that another loader has made is known by the folder or the revision on the Hub that it came from.

    Raises:
        `ValueError`: for modules that are not understood.
    """
    if _NOTE not in vars(model):
        note_sentence_modules(model, _modules_by_name(model))
    found: SentenceModules | None = vars(model)[_NOTE]
    if found is None:
        return DEFAULT_MODULES
    if found.problem is not None:
        raise ValueError(found.problem)
    return found


def _modules_by_name(model: PreTrainedModel) -> SentenceModules | None:
    name, commit = str(model.name_or_path), getattr(model.config, "_commit_hash", None)
    if not os.path.isdir(name) and commit is None:
        return None
    try:
        return read_sentence_modules(files_of(name, {"revision": commit}))
    except OSError as error:
        logger.warning(
            "Whether %r is a checkpoint of sentence-transformers is not known (%s): features are the mean over the tokens.",
            name,
            error,
        )
        return None


def tell_of_features(model: nn.Module, tokenizer: Any = None, max_length: int | None = None) -> None:
    """Say in the log how features are made where a checkpoint of sentence-transformers has them otherwise, and what is not done as there."""
    modules = sentence_modules_of(unwrap(model))
    if str(modules) != str(DEFAULT_MODULES):
        here = "" if max_length is None else f"; texts are cut to {max_length} tokens"
        there = "" if modules.max_length is None else f" (its encode: {modules.max_length})"
        logger.info("Features of texts as %s says: %s%s%s.", modules.name, modules, here, there)
    for remark in modules.remarks(tokenizer) if tokenizer is not None else ():
        logger.warning("%s", remark)
