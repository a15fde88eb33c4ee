"""One table of guesses for all processes and for every start of a run: made by the first process, known by its fingerprint."""

from __future__ import annotations

import hashlib
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import broadcast_object_list, gather_object

from mixtext_hf.data.guesses import GuessTable
from mixtext_hf.data.in_batches import CHUNK_ROWS, input_columns, some_rows
from mixtext_hf.models.sentence_modules import sentence_modules_of
from mixtext_hf.models.stack import unwrap
from mixtext_hf.training.unlabeled import label_columns

from .running import label_names, model_of


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# How long a file may take to be seen by other machines.
_SHARED_WITHIN_SECONDS = 60.0


def shared_table(
    trainer: MixTrainer,
    folder: Path,
    make: Callable[[], GuessTable | None],
    *,
    settings: Mapping[str, Any],
    resume: bool,
) -> GuessTable:
    """
    The table in `folder`: as it is there, if it is that of this run; else made, and read by all processes.

    Args:
        trainer ([`MixTrainer`]): Of this process.
        folder (`Path`): One for all processes.
        make (`Callable[[], GuessTable | None]`): Called in all processes; the first one writes and returns the table.
        settings (`Mapping`): What the guesses are a function of beside the data, JSON-serialisable.
        resume (`bool`): Whether the run goes on.

    Raises:
        `ValueError`: if the run goes on and the table is that of another, or a process does not see the folder.
    """
    is_first = trainer.is_world_process_zero()
    _check_shared(trainer, folder)
    decision: list[Any] = [None]
    if is_first:
        there = GuessTable.read(folder)
        own = fingerprint(trainer, settings)
        found = None if there is None else there.about.get("fingerprint")
        if there is not None and found != own and resume:
            names = [name for name in own if not isinstance(found, dict) or found.get(name) != own[name]]
            decision[0] = (
                f"{folder} holds the guesses of another run (other {', '.join(names)}), and this one was to go on: give the "
                "arguments and data of that run, or start anew by --overwrite_output_dir."
            )
        else:
            if there is not None and found != own:
                GuessTable.remove(folder)
            decision[0] = found == own
    if trainer.args.world_size > 1:
        broadcast_object_list(decision)
    if isinstance(decision[0], str):
        raise ValueError(decision[0])
    if decision[0] and is_first:
        logger.info("Guesses: those in %s are of this run, and serve again.", folder)
    made = None if decision[0] else make()
    if made is not None:
        return made
    while (table := GuessTable.read(folder)) is None:
        # Not a barrier: making guesses may take longer than one waits.
        time.sleep(POLL_SECONDS)
    return table


def by_first(trainer: MixTrainer, make: Callable[[], GuessTable]) -> Callable[[], GuessTable | None]:
    """What one process makes for all."""
    return lambda: make() if trainer.is_world_process_zero() else None


def _check_shared(trainer: MixTrainer, folder: Path) -> None:
    """Every process reads what the first one writes: raise `ValueError`, in all of them, where one cannot."""
    if trainer.args.world_size == 1:
        return
    mark, word = folder / "shared", [uuid.uuid4().hex]
    if trainer.is_world_process_zero():
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(word[0], encoding="utf-8")
    broadcast_object_list(word)
    end = time.monotonic() + _SHARED_WITHIN_SECONDS
    while not (sees := mark.is_file() and mark.read_text(encoding="utf-8") == word[0]) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    blind = [rank for rank, it_sees in enumerate(gather_object([sees])) if not it_sees]
    if trainer.is_world_process_zero():
        mark.unlink()
    if blind:
        raise ValueError(
            f"output_dir={str(trainer.args.output_dir)!r} is not one folder for all processes: rank {blind[0]} does not see "
            "what rank 0 writes there, and guesses are made by one and read by all: give a folder that the machines share."
        )


def fingerprint(trainer: MixTrainer, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What guesses are a function of, JSON-serialisable: the settings, the texts, the labelled rows, and the encoder."""
    collator = trainer.data_collator
    if trainer.data_fingerprint is None:
        trainer.data_fingerprint = {
            "texts": _hash_rows(trainer.unlabeled_dataset, collator, with_labels=False),
            "labelled": _hash_rows(trainer.train_dataset, collator, with_labels=True),
            "classes": label_names(trainer),
            "encoder": _hash_encoder(trainer),
            "features": str(sentence_modules_of(unwrap(model_of(trainer)))) if guesses_by_features(trainer) else None,
            "max_length": getattr(collator, "max_length", None),
        }
    as_read: dict[str, Any] = json.loads(json.dumps({**settings, **trainer.data_fingerprint}, default=str))
    return as_read


def _hash_rows(rows: Any, collator: Any, *, with_labels: bool) -> str:
    digest = hashlib.sha256()
    columns = {*input_columns(collator), *(label_columns(collator) if with_labels else ())}
    for start in range(0, len(rows), CHUNK_ROWS):
        for row in some_rows(rows, range(start, min(start + CHUNK_ROWS, len(rows)))):
            kept = [(name, row[name]) for name in sorted(row) if name in columns]
            digest.update(repr(kept).encode())
    return digest.hexdigest()[:16]


def guesses_by_features(trainer: MixTrainer) -> bool:
    """Whether the guesser looks at features of the encoder; a column or a teacher does not."""
    guesser = trainer.args.guesser_name
    return guesser != "column" and not guesser.startswith("checkpoint:")


def check_features(trainer: MixTrainer) -> None:
    """
    Raises:
        `ValueError`: if the guesser needs features, and how the model's checkpoint makes them is not understood.
    """
    if trainer.learns_from_guesses and guesses_by_features(trainer):
        sentence_modules_of(unwrap(model_of(trainer)))


def _hash_encoder(trainer: MixTrainer) -> str:
    """Of the weights that are loaded from a checkpoint: heads and poolers may be drawn anew by every start."""
    digest = hashlib.sha256()
    for name, value in sorted(unwrap(model_of(trainer)).base_model.state_dict().items()):
        if "pooler" not in name and "lora" not in name:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
