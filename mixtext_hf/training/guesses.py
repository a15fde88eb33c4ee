"""The guesses that a trainer learns from: made before its first step, in rounds, once for all processes.

A round trains a classifier and has it, together with the frozen encoder's clusters, guess the class of every unlabelled text;
the next round learns from the surest of these guesses, from the first weights again. The first round has nothing but the
labelled rows. All rounds but the last are trainers of their own in folders of their own; the last is the trainer itself.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import torch
from accelerate.utils import broadcast_object_list, gather_object
from filelock import FileLock
from numpy.typing import NDArray
from torch import nn
from transformers import PrinterCallback, ProgressCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy, get_last_checkpoint

from mixtext_hf.data import MixDataCollator, in_batches
from mixtext_hf.data.guesses import GuessTable, guesses_of_column
from mixtext_hf.data.in_batches import CHUNK_ROWS, BatchFunction, input_columns, some_rows, write_rows
from mixtext_hf.guessing import (
    Combination,
    Family,
    FrozenGuesser,
    Rows,
    StoredRows,
    are_content,
    fit_combination,
    fit_frozen_guesser,
    make_folds,
    sentences_about,
)
from mixtext_hf.methods import ERM, MixMethod, TMix
from mixtext_hf.models.features import mean_pooled_features
from mixtext_hf.models.modes import evaluating
from mixtext_hf.models.stack import unwrap

from .arguments import MixTrainingArguments
from .unlabeled import label_columns


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

GUESSES, ROUNDS = "guesses", "rounds"
_SMALLEST_BATCH = 32
# Optimiser steps of the classifier of the first round, and parts of the labelled rows that are held out from one each.
WARM_UP_STEPS, _CLASSIFIER_FOLDS = 200, 3
_WARM_UP_BATCH = 8
_POLL_SECONDS = 0.5
# How long a file may take to be seen by other machines.
_SHARED_WITHIN_SECONDS = 60.0


@dataclass
class Guesses:
    """
    What a trainer learns from.

    Args:
        table ([`GuessTable`]): Of all unlabelled texts.
        share (`float`): Of each class, the surest, that is learnt from.
        rounds (`list[dict]`): What each round before found, for the log and the card.
    """

    table: GuessTable
    share: float
    rounds: list[dict[str, Any]]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are learnt from."""
        return self.table.surest(self.share)

    def metrics(self) -> dict[str, float]:
        """What the table of results has of them, by round where there are several."""
        found: dict[str, float] = {"guessed_samples": float(len(self.rows))}
        for facts in self.rounds:
            behind = f"_round_{facts['round']}" if len(self.rounds) > 1 else ""
            for name in ("accuracy", "accuracy_of_surest"):
                if name in facts:
                    found[f"guess_{name}{behind}"] = facts[name]
        return found

    def sentences(self) -> list[str]:
        """What the card says of them."""
        told = []
        for facts in self.rounds:
            which = f" of round {facts['round']}" if len(self.rounds) > 1 else ""
            right = f"; {facts['accuracy']:.1%} of them are right" if "accuracy" in facts else ""
            told.append(
                f"The classes of the unlabelled texts were guessed before training{which}: {facts['why']}{right}."
            )
        return told


def make_guesses(trainer: MixTrainer, *, resume: bool) -> Guesses:
    """
    The guesses for the last round of a trainer: read, if an earlier start of the same run made them, else made.

    Args:
        trainer ([`MixTrainer`]): Before training: its model has its first weights.
        resume (`bool`): Whether training goes on; rounds before the last then go on too.

    Raises:
        `ValueError`: if the guesses in its folder are those of another run and `resume` is set.
    """
    args = trainer.args
    guesser = args.guesser_name
    names = _label_names(trainer)
    folder = Path(str(args.output_dir)) / GUESSES
    if guesser == "column":
        table = _shared(trainer, folder, resume, _by_first(trainer, lambda: _of_column(trainer, folder, names)))
        return _told(trainer, Guesses(table, args.surest_share(1), []))
    if guesser.startswith("checkpoint:"):
        table = _shared(trainer, folder, resume, _by_first(trainer, lambda: _of_teacher(trainer, folder, names)))
        return _told(trainer, Guesses(table, args.surest_share(1), []))
    return _Rounds(trainer, folder, names, resume)()


# ---- the rounds ----


class _Rounds:
    """From the labelled rows alone to the guesses of the last round."""

    def __init__(self, trainer: MixTrainer, folder: Path, names: Sequence[str], resume: bool):
        self.trainer, self.folder, self.names, self.resume = trainer, folder, list(names), resume
        self.args: MixTrainingArguments = trainer.args
        self.texts = trainer.unlabeled_dataset
        self.labelled = trainer.train_dataset
        self.labels = labels_of(self.labelled, trainer.data_collator)
        self.features = trainer.features_folder or folder
        self.found: list[dict[str, Any]] = []
        self._frozen: FrozenGuesser | None = None

    def __call__(self) -> Guesses:
        guesses = None
        for number in range(1, self.args.guess_rounds + 1):
            guesses = self._guess(number, guesses)
        assert guesses is not None
        if self.trainer.is_world_process_zero() and self.trainer.features_folder is None:
            for path in self.folder.glob("features-*"):
                path.unlink()
        return guesses

    def _guess(self, number: int, before: Guesses | None) -> Guesses:
        """The guesses that round `number` learns from, by the classifier of the round before."""
        folder = self.folder / f"round-{number}"

        def make() -> GuessTable | None:
            classifier, combination = self._classifier(number, before)
            if not self.trainer.is_world_process_zero():
                return None
            return self._write(folder, number, classifier, combination)

        table = _shared(self.trainer, folder, self.resume, make, settings=self._settings(number))
        self.found.append(round_facts(number, table, self.trainer))
        return _told(self.trainer, Guesses(table, self.args.surest_share(number), list(self.found)))

    def _settings(self, number: int) -> dict[str, Any]:
        """What the guesses of a round are a function of, beside the data."""
        args = self.args
        return {
            "guesser": args.guesser_name,
            "round": number,
            "shares": args.guess_shares,
            "names": args.guess_names,
            "warm_up_steps": self._warm_up_steps(),
            "surest": [args.surest_share(one) for one in range(1, number)],
            "seed": args.seed,
            "bf16": args.bf16,
            "fp16": args.fp16,
            "world_size": args.world_size,
            "per_device_train_batch_size": args.per_device_train_batch_size,
            "learning_rate": args.learning_rate,
            "head_learning_rate": self.trainer.head_learning_rate,
            "max_steps": args.max_steps if number > 1 else None,
            "num_train_epochs": args.num_train_epochs if number > 1 else None,
        }

    # -- classifiers --

    def _warm_up_steps(self) -> int:
        return WARM_UP_STEPS if self.args.guess_warm_up_steps is None else self.args.guess_warm_up_steps

    def _classifier(self, number: int, before: Guesses | None) -> tuple[nn.Module | None, Combination]:
        """The classifier of the round before round `number`, and how it joins the frozen guesser."""
        if number > 1:
            assert before is not None
            return self._student(number - 1, before), self._combination_of_first_round()
        if self._warm_up_steps() == 0:
            return None, Combination(weight=0.0)
        if self.trainer.is_fsdp_enabled or self.trainer.is_deepspeed_enabled:
            logger.warning(
                "Weights that are spread over processes cannot be trained twice in one run: the guesses are those of the frozen "
                "encoder alone. Make them before by `mixtext-hf guess-labels`, and give --guess_column, to say which."
            )
            return None, Combination(weight=0.0)
        combination = self._fit_combination()
        logger.info("Guesses: %s.", combination)
        if combination.weight == 0:
            return None, combination
        return self._warmed_up(np.arange(len(self.labels))), combination

    def _fit_combination(self) -> Combination:
        """How much the classifier says beside the frozen guesser, by labelled rows that neither saw."""
        folds = make_folds(self.labels, self.args.seed, _CLASSIFIER_FOLDS)
        held = folds >= 0
        if not held.any():
            return Combination()
        out = np.full((len(self.labels), len(self.names)), np.nan)
        for fold in np.unique(folds[held]):
            classifier = self._warmed_up(np.flatnonzero(folds != fold))
            aside = np.flatnonzero(folds == fold)
            pieces = run_over(self.trainer, select(self.labelled, aside), classifier_of(classifier, self.trainer))
            out[aside] = np.concatenate(list(pieces))
        found: list[Any] = [None]
        if self.trainer.is_world_process_zero():
            frozen = self._frozen_guesser()
            both = held & np.isfinite(frozen.held_out).all(axis=1)
            found[0] = fit_combination(frozen.held_out[both], out[both], self.labels[both])
        if self.args.world_size > 1:
            # Not a barrier: the features may take longer than one waits.
            while not features_path(self.trainer, self.features).is_file():
                time.sleep(_POLL_SECONDS)
            broadcast_object_list(found)
        combination: Combination = found[0]
        return combination

    def _combination_of_first_round(self) -> Combination:
        about = GuessTable.read(self.folder / "round-1")
        assert about is not None
        found = about.about["combination"]
        return Combination(max(found["classifier_weight"], 1.0))

    def _warmed_up(self, rows: NDArray[np.int64]) -> nn.Module:
        """A classifier that has learnt from some of the labelled rows alone."""
        args, method = self.args, self.trainer.method
        batch_size = max(min(max(args.per_device_train_batch_size, _WARM_UP_BATCH), len(rows) // args.world_size), 2)
        return self._trained(
            TMix() if method.mixes else ERM(),
            select(self.labelled, rows),
            self.folder / "warm-up",
            max_steps=self._warm_up_steps(),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=1,
            mix_start=0.0,
            mix_end=1.0,
            save_strategy=SaveStrategy.NO,
        )

    def _student(self, number: int, guesses: Guesses) -> nn.Module:
        """The classifier that a round before the last one trains."""
        folder = Path(str(self.args.output_dir)) / ROUNDS / f"round-{number}"
        done = folder / "trained.pt"
        if not self.resume and self.trainer.is_world_process_zero():
            shutil.rmtree(folder, ignore_errors=True)
        self.trainer.accelerator.wait_for_everyone()
        if done.is_file():
            student = copy.deepcopy(model_of(self.trainer))
            student.load_state_dict(torch.load(done, map_location="cpu", weights_only=True))
            return student
        logger.info("Round %d of %d.", number, self.args.guess_rounds)
        checkpoint = get_last_checkpoint(str(folder)) if folder.is_dir() else None
        student = self._trained(self.trainer.method, self.labelled, folder, guesses=guesses, checkpoint=checkpoint)
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.is_world_process_zero():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f"{done.name}.part"
            torch.save(student.state_dict(), temporary)
            temporary.replace(done)
        return student

    def _trained(
        self,
        method: MixMethod,
        rows: Any,
        folder: Path,
        *,
        guesses: Guesses | None = None,
        checkpoint: str | None = None,
        **settings: Any,
    ) -> nn.Module:
        trainer = self.trainer
        args = copy.deepcopy(self.args)
        settings = {
            "output_dir": str(folder),
            **{
                f"mix_{name}": None
                for name in ("method", "preset", "alpha", "layers", "fold", "per", "prob", "kwargs")
            },
            "eval_strategy": IntervalStrategy.NO,
            "load_best_model_at_end": False,
            "report_to": [],
            "push_to_hub": False,
            "hub_model_id": None,
            **settings,
        }
        if guesses is None:
            settings |= {"view_columns": None, "augmenters": None, "logging_strategy": IntervalStrategy.NO}
        for name, value in settings.items():
            setattr(args, name, value)
        from .trainer import MixTrainer

        one = MixTrainer(
            model=copy.deepcopy(model_of(trainer)),
            args=args,
            method=method,
            data_collator=trainer.data_collator,
            train_dataset=rows,
            unlabeled_dataset=None if guesses is None else trainer.unlabeled_dataset,
            processing_class=trainer.processing_class,
        )
        one.guesses = guesses
        if guesses is None:
            one.remove_callback(PrinterCallback)
            one.remove_callback(ProgressCallback)
        one.train(resume_from_checkpoint=checkpoint)
        return model_of(one)

    # -- the table --

    def _frozen_guesser(self) -> FrozenGuesser:
        """Fitted once for all rounds, on features of the first weights."""
        if self._frozen is None:
            self._frozen = FrozenFit(self.trainer)(stored_features(self.trainer, self.features))
            logger.info("Guesses: %s.", self._frozen.report)
            for note in self._frozen.report.notes:
                logger.warning("Guesses: %s", note)
        return self._frozen

    def _write(self, folder: Path, number: int, classifier: nn.Module | None, combination: Combination) -> GuessTable:
        frozen = self._frozen_guesser()
        features = stored_features(self.trainer, self.features)

        def pieces() -> Iterator[NDArray[np.float64]]:
            if classifier is None:
                for chunk in frozen.guess(features):
                    yield np.exp(chunk)
                return
            predict = classifier_of(classifier, self.trainer)
            start = 0
            for said in run_over(self.trainer, self.texts, predict, title="guesses"):
                of_frozen = frozen.log_probabilities(features[start : start + len(said)])
                start += len(said)
                yield np.exp(combination(of_frozen, said.astype(np.float64)))

        about = {
            "guesser": "gaussian",
            "round": number,
            "report": frozen.report.as_dict(),
            "why": str(frozen.report),
            "combination": combination.as_dict(),
            "fingerprint": fingerprint(self.trainer, self._settings(number)),
        }
        return GuessTable.write(folder, pieces(), len(self.texts), self.names, about)


def features_path(trainer: MixTrainer, folder: Path) -> Path:
    """Where the features of all unlabelled texts are: a name that says of which texts and which encoder."""
    about = [fingerprint(trainer, {})[name] for name in ("texts", "encoder", "max_length")]
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
        self.names = _label_names(trainer)

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


# ---- guesses that are there already, and those of a teacher ----


def _of_column(trainer: MixTrainer, folder: Path, names: Sequence[str]) -> GuessTable:
    column, rows = trainer.args.guess_column, trainer.unlabeled_dataset
    assert column is not None

    def pieces() -> Iterator[NDArray[np.float64]]:
        for start in range(0, len(rows), CHUNK_ROWS):
            part = some_rows(rows, range(start, min(start + CHUNK_ROWS, len(rows))))
            yield guesses_of_column([row[column] for row in part], names, name=column, first_row=start)

    about = {"guesser": "column", "column": column, "fingerprint": fingerprint(trainer, _simple_settings(trainer))}
    return GuessTable.write(folder, pieces(), len(rows), names, about)


def _of_teacher(trainer: MixTrainer, folder: Path, names: Sequence[str]) -> GuessTable:
    from .teacher import Teacher

    name = trainer.args.guesser_name.removeprefix("checkpoint:")
    teacher = Teacher(name, names, device=trainer.args.device, batch_size=_batch_size(trainer))
    collator = trainer.data_collator
    columns = (
        (collator.text_column, collator.text_pair_column) if isinstance(collator, MixDataCollator) else (None, None)
    )
    if columns[0] is None:
        raise ValueError(
            f"guesser='checkpoint:{name}' reads texts, and the unlabelled rows are tokenised: give raw texts."
        )
    about = {
        "guesser": f"checkpoint:{name}",
        "fingerprint": fingerprint(trainer, _simple_settings(trainer)),
        "why": "distillation from a classifier that was trained before",
    }
    rows = trainer.unlabeled_dataset
    pieces = teacher.guess(rows, columns[0], columns[1], disable_tqdm=bool(trainer.args.disable_tqdm))
    return GuessTable.write(folder, pieces, len(rows), names, about)


# ---- one table for all processes ----


def _shared(
    trainer: MixTrainer,
    folder: Path,
    resume: bool,
    make: Callable[[], GuessTable | None],
    *,
    settings: Mapping[str, Any] | None = None,
) -> GuessTable:
    """The table in `folder`: as it is there, if it is that of this run; else the first process makes it, and all read it."""
    is_first = trainer.is_world_process_zero()
    _check_shared(trainer, folder)
    decision: list[Any] = [None]
    if is_first:
        there = GuessTable.read(folder)
        own = fingerprint(trainer, settings if settings is not None else _simple_settings(trainer))
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
        time.sleep(_POLL_SECONDS)
    return table


def _by_first(trainer: MixTrainer, make: Callable[[], GuessTable]) -> Callable[[], GuessTable | None]:
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
        time.sleep(_POLL_SECONDS)
    blind = [rank for rank, it_sees in enumerate(gather_object([sees])) if not it_sees]
    if trainer.is_world_process_zero():
        mark.unlink()
    if blind:
        raise ValueError(
            f"output_dir={str(trainer.args.output_dir)!r} is not one folder for all processes: rank {blind[0]} does not see "
            "what rank 0 writes there, and guesses are made by one and read by all: give a folder that the machines share."
        )


def _simple_settings(trainer: MixTrainer) -> dict[str, Any]:
    column = trainer.args.guess_column
    if column is not None:
        return {"column": column}
    return {"teacher": trainer.args.guesser_name.removeprefix("checkpoint:")}


def fingerprint(trainer: MixTrainer, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What guesses are a function of, JSON-serialisable: the settings, the texts, the labelled rows, and the encoder."""
    collator = trainer.data_collator
    if trainer.data_fingerprint is None:
        trainer.data_fingerprint = {
            "texts": _hash_rows(trainer.unlabeled_dataset, collator, with_labels=False),
            "labelled": _hash_rows(trainer.train_dataset, collator, with_labels=True),
            "classes": _label_names(trainer),
            "encoder": _hash_encoder(trainer),
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


def _hash_encoder(trainer: MixTrainer) -> str:
    """Of the weights that are loaded from a checkpoint: heads and poolers may be drawn anew by every start."""
    digest = hashlib.sha256()
    for name, value in sorted(unwrap(model_of(trainer)).base_model.state_dict().items()):
        if "pooler" not in name and "lora" not in name:
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


# ---- running a model over rows ----


def model_of(trainer: MixTrainer) -> nn.Module:
    """The model of a trainer that trains."""
    assert isinstance(trainer.model, nn.Module)
    return trainer.model


def encoder_of(model: nn.Module, trainer: MixTrainer) -> BatchFunction:
    """Features of a batch `(B, D)`, as in evaluation."""
    model.to(trainer.args.device)

    def encode(batch: Mapping[str, Any]) -> torch.Tensor:
        with evaluating(model), _precision(trainer):
            return mean_pooled_features(model, batch)

    return encode


def classifier_of(model: nn.Module, trainer: MixTrainer) -> BatchFunction:
    """Log-probabilities of a batch `(B, C)`, as in evaluation."""
    model.to(trainer.args.device)

    def predict(batch: Mapping[str, Any]) -> torch.Tensor:
        with evaluating(model), _precision(trainer):
            logits: torch.Tensor = model(**batch).logits.float()
        return logits.log_softmax(dim=-1)

    return predict


def _precision(trainer: MixTrainer) -> Any:
    args = trainer.args
    if args.bf16 or args.fp16:
        return torch.autocast(args.device.type, dtype=torch.bfloat16 if args.bf16 else torch.float16)
    return nullcontext()


def _batch_size(trainer: MixTrainer) -> int:
    return max(_SMALLEST_BATCH, int(trainer.args.per_device_eval_batch_size))


def run_over(
    trainer: MixTrainer, rows: Any, function: BatchFunction, *, title: str | None = None
) -> Iterator[NDArray[np.float32]]:
    """[`~mixtext_hf.data.in_batches.run_over`] as the trainer is set up."""
    return in_batches.run_over(
        rows,
        trainer.data_collator,
        function,
        device=trainer.args.device,
        batch_size=_batch_size(trainer),
        title=None if trainer.args.disable_tqdm else title,
    )


def select(rows: Any, which: NDArray[np.int64]) -> Any:
    """Some rows of a data set, as a data set."""
    return rows.select(which) if isinstance(rows, datasets.Dataset) else [rows[int(i)] for i in which]


def labels_of(rows: Any, collator: Any) -> NDArray[np.int64]:
    """The classes of the labelled rows, which have been checked."""
    columns = label_columns(collator)
    found = []
    for row in some_rows(rows, range(len(rows))):
        label = next(row[name] for name in columns if name in row)
        found.append(int(label.item() if isinstance(label, torch.Tensor) else label))
    return np.asarray(found, dtype=np.int64)


# ---- what is told ----


def _label_names(trainer: MixTrainer) -> list[str]:
    config: Any = unwrap(model_of(trainer)).config
    return [str(config.id2label[i]) for i in range(config.num_labels)]


def known_labels(trainer: MixTrainer) -> NDArray[np.int64] | None:
    """What is known of the classes of the unlabelled texts, -1 where nothing is; `None` if there is no such column."""
    texts = trainer.unlabeled_texts
    if texts is None or texts.label_column is None:
        return None
    column = texts.label_column
    rows = texts.dataset
    values = rows[column][:] if isinstance(rows, datasets.Dataset) else [row[column] for row in rows]
    return np.asarray([-1 if value is None else int(value) for value in values], dtype=np.int64)


def round_facts(number: int, table: GuessTable, trainer: MixTrainer) -> dict[str, Any]:
    """What there is to say of the guesses of a round, JSON-serialisable."""
    facts: dict[str, Any] = {
        "round": number,
        "shares": table.shares(),
        "why": f"by {table.about.get('guesser')}",
        **{k: table.about[k] for k in ("why", "combination") if k in table.about},
    }
    labels = known_labels(trainer)
    if labels is not None:
        rows = table.surest(trainer.args.surest_share(number))
        all_right, right = table.accuracy(labels), table.accuracy(labels, rows)
        if all_right is not None:
            facts |= {"accuracy": all_right, "accuracy_of_surest": right}
    return facts


def _told(trainer: MixTrainer, guesses: Guesses) -> Guesses:
    if not guesses.rounds:
        guesses.rounds.append(round_facts(1, guesses.table, trainer))
    if trainer.is_world_process_zero():
        facts = guesses.rounds[-1]
        right = (
            f", {facts['accuracy']:.1%} right ({facts['accuracy_of_surest']:.1%} of these)"
            if facts.get("accuracy_of_surest")
            else ""
        )
        logger.info(
            "Guesses for round %d: learning from the surest %d of %d%s.",
            facts["round"],
            len(guesses.rows),
            len(guesses.table),
            right,
        )
    return guesses


__all__ = ["GUESSES", "ROUNDS", "Guesses", "make_guesses"]
