"""From the labelled rows alone to the guesses that the last round learns from.

A round trains a classifier and has it, together with the frozen encoder's clusters, guess the class of every unlabelled text;
the next round learns from the surest of these guesses, from the first weights again. The first round has nothing but the
labelled rows. All rounds but the last are trainers of their own in folders of their own; the last is the trainer itself.
"""

from __future__ import annotations

import copy
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import nn
from transformers import PrinterCallback, ProgressCallback
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from mixtext_hf._files import whole_file
from mixtext_hf.data.guesses import GuessTable
from mixtext_hf.guessing import Combination, FrozenGuesser, fit_combination, frozen_alone, make_folds
from mixtext_hf.methods import ERM, MixMethod, TMix
from mixtext_hf.models import make_mixable
from mixtext_hf.training.arguments import MixTrainingArguments
from mixtext_hf.training.long_tail_arguments import LongTailArguments
from mixtext_hf.training.whole_checkpoints import newest_whole

from .frozen import FrozenFit, features_path, stored_features
from .made import Guesses, round_facts, told
from .running import classifier_of, labels_of, model_of, run_over, select
from .shared import POLL_SECONDS, fingerprint, shared_table


if TYPE_CHECKING:
    from mixtext_hf.training.trainer import MixTrainer

logger = logging.getLogger(__name__)

ROUNDS = "rounds"
# Optimiser steps of the classifier of the first round, and parts of the labelled rows that are held out from one each.
WARM_UP_STEPS, _CLASSIFIER_FOLDS = 200, 3
_WARM_UP_BATCH = 8


class Rounds:
    """From the labelled rows alone to the guesses of the last round."""

    def __init__(
        self,
        trainer: MixTrainer,
        make_trainer: Callable[..., MixTrainer],
        folder: Path,
        names: Sequence[str],
        resume: bool,
    ):
        self.trainer, self.make_trainer = trainer, make_trainer
        self.folder, self.names, self.resume = folder, list(names), resume
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

        table = shared_table(self.trainer, folder, make, settings=self._settings(number), resume=self.resume)
        self.found.append(round_facts(number, table, self.trainer))
        return told(self.trainer, Guesses(table, self.args.surest_share(number), list(self.found)))

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
            **({"long tail": args.long_tail_given} if number > 1 and args.long_tail_given else {}),
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
        alone: Combination | None = self._from_first(lambda: frozen_alone(*self._frozen_held_out(held)[:2]))
        if alone is not None:
            return alone
        out = np.full((len(self.labels), len(self.names)), np.nan)
        parts = np.unique(folds[held])
        logger.info(
            "Guesses: training %d classifiers on parts of the labelled rows, of %d steps each, to see whether one guesses too; "
            "guess_warm_up_steps=0 does without.",
            len(parts),
            self._warm_up_steps(),
        )
        for fold in parts:
            classifier = self._warmed_up(np.flatnonzero(folds != fold))
            aside = np.flatnonzero(folds == fold)
            pieces = run_over(self.trainer, select(self.labelled, aside), classifier_of(classifier, self.trainer))
            out[aside] = np.concatenate(list(pieces))

        def judge() -> Combination:
            frozen, labels, both = self._frozen_held_out(held)
            return fit_combination(frozen, out[both], labels)

        combination: Combination = self._from_first(judge)
        return combination

    def _frozen_held_out(
        self, held: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        """What the frozen guesser says of labelled rows `held` that it did not see, their labels, and which rows they are."""
        said = self._frozen_guesser().held_out
        both = held & np.isfinite(said).all(axis=1)
        return said[both], self.labels[both], both

    def _from_first(self, make: Callable[[], Any]) -> Any:
        """What the first process, which alone fits the frozen guesser, finds, in all of them."""
        found = [make() if self.trainer.is_world_process_zero() else None]
        if self.args.world_size > 1:
            # Not a barrier: the features may take longer than one waits.
            while not features_path(self.trainer, self.features).is_file():
                time.sleep(POLL_SECONDS)
            broadcast_object_list(found)
        return found[0]

    def _combination_of_first_round(self) -> Combination:
        about = GuessTable.read(self.folder / "round-1")
        assert about is not None
        found = about.about["combination"]
        return Combination(max(found["classifier_weight"], 1.0))

    def _warmed_up(self, rows: NDArray[np.int64]) -> nn.Module:
        """A classifier that has learnt from some of the labelled rows alone."""
        args = self.args
        batch_size = max(min(max(args.per_device_train_batch_size, _WARM_UP_BATCH), len(rows) // args.world_size), 2)
        return self._trained(
            TMix() if self._mixes_inside() else ERM(),
            select(self.labelled, rows),
            self.folder / "warm-up",
            max_steps=self._warm_up_steps(),
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=1,
            mix_start=0.0,
            mix_end=1.0,
            save_strategy=SaveStrategy.NO,
        )

    def _mixes_inside(self) -> bool:
        """Whether the method mixes, and the model can be mixed inside, which not every method needs."""
        method = self.trainer.method
        if not method.mixes or method.needs_layers:
            return method.mixes
        try:
            make_mixable(copy.deepcopy(model_of(self.trainer)))
        except ValueError:
            return False
        return True

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
        found, _ = newest_whole(folder)
        checkpoint = None if found is None else str(found)
        student = self._trained(self.trainer.method, self.labelled, folder, guesses=guesses, checkpoint=checkpoint)
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.is_world_process_zero():
            with whole_file(done) as partial:
                torch.save(student.state_dict(), partial)
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
            # Of what classes the texts are is for `guess_shares` to say.
            settings |= {one.name: one.default for one in fields(LongTailArguments)}
        for name, value in settings.items():
            setattr(args, name, value)
        one = self.make_trainer(
            model=copy.deepcopy(model_of(trainer)),
            args=args,
            method=method,
            data_collator=trainer.data_collator,
            train_dataset=rows,
            unlabeled_dataset=None if guesses is None else trainer.unlabeled_dataset,
            processing_class=trainer.processing_class,
        )
        one.guesses = guesses
        one.says_what_steps_come_to = False  # of the run that the person sees
        if guesses is None:
            one.stop.saves = False  # it is made again in no time
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
