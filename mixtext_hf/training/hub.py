"""The side of the trainer that looks to the Hub: what is pushed, when, with which card, and what is said if it fails."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import HubStrategy, SaveStrategy
from transformers.utils.hub import PushInProgress

from mixtext_hf.hub.card import write_card
from mixtext_hf.hub.facts import CardData, DataFacts
from mixtext_hf.hub.push import Destination, PushError, files_to_send, in_background


logger = logging.getLogger(__name__)

_STAGED = "_push-"
# Arguments of `Trainer.create_model_card` by the names of the fields that say the same.
_OTHER_NAMES = {"finetuned_from": "base_model"}
_NAMES_OF_DATA = {"dataset": "name", "dataset_tags": "hub_id", "dataset_args": "config"}


class HubTrainer(Trainer):
    """
    A Trainer that pushes checkpoints, with cards, and nothing else.

    Where the Trainer of transformers sends all of `output_dir`, this one sends what [`files_to_send`] names; the pickled
    arguments never. Pushes in the middle of training go on in the background from a copy (hard links, where the file
    system has them), so that neither later steps nor `save_total_limit` change what is sent. If one fails, training goes on
    and a warning says so. If the one at the end fails, [`PushError`] names the command that pushes again.
    """

    card_data: CardData
    hub_model_id: str | None  # type: ignore[assignment]  # the base class says `None` alone
    push_in_progress: Any

    # ---- what is sent, and where ----

    @property
    def destination(self) -> Destination:
        """Where this trainer pushes to."""
        destination = destination_of(self.args)
        opened = getattr(self, "hub_model_id", None)
        return destination if opened is None else replace(destination, repo_id=opened)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """
        Open the repository, as the Trainer does when it is made with `push_to_hub=True`.

        Raises:
            `ValueError`: if there is no token.
            [`PushError`]: if the Hub cannot be reached, or refuses.
        """
        self.push_in_progress = None
        if self.is_world_process_zero():
            self.hub_model_id = _with(self.destination, token, private).open().repo_id

    def push_to_hub(  # type: ignore[override]  # the base class names `CommitInfo` alone, and returns the others too
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | Future[CommitInfo] | None:
        r"""
        Save the model, write its card, and send both to the Hub.

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`): Of the commit.
            blocking (`bool`, *optional*, defaults to `True`): Whether to wait for it.
            token (`str`, *optional*): In place of `args.hub_token`.
            revision (`str`, *optional*): In place of `args.hub_revision`.
            private (`bool`, *optional*): In place of `args.hub_private_repo`.
            kwargs: For [`create_model_card`]: `language`, `license`, `tags`, `overwrite`, ...

        Returns:
            `CommitInfo`, or its `Future` if not `blocking`; `None` in all processes but the first.

        Raises:
            `TypeError`: if `kwargs` name what a card does not have; before anything is saved.
            `ValueError`: if there is no token, or no model.
            [`PushError`]: if it did not arrive; the folder is complete, and the command that pushes again is named.
        """
        overwrite = bool(kwargs.pop("overwrite", False))
        _check_names(kwargs)
        if self.model is None:
            raise ValueError(
                "There is no model to push, as after hyperparameter_search: train one with the best arguments first."
            )
        destination = _with(self.destination, token, private, revision)
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        folder = str(self.args.output_dir)
        try:
            if getattr(self, "hub_model_id", None) is None or destination.revision != self.args.hub_revision:
                destination = destination.open(destination.command(folder, overwrite_card=overwrite))
                self.hub_model_id = destination.repo_id
        finally:
            # Also where it was not opened: what is pushed later is to have its card.
            self.create_model_card(overwrite=overwrite, **kwargs)
        self._finish_current_push()
        options: dict[str, Any] = {"commit_message": commit_message or "End of training", "overwrite_card": overwrite}
        if not blocking:
            return destination.send_later(folder, **options)
        return destination.send(folder, **options)

    def create_model_card(self, *args: Any, overwrite: bool = False, **facts: Any) -> None:
        r"""
        Write the card of the model, and the picture of its training, into `args.output_dir`.

        Args:
            overwrite (`bool`, *optional*, defaults to `False`): Replace a card that was written or edited by hand.
            facts: Fields of [`CardData`] (`language`, `license`, `model_name`, ...), in place of those in `card_data`; `tags`
                are added; the names of `Trainer.create_model_card` are understood too (but `tasks`, which is what the
                model is for).

        Raises:
            `TypeError`: if a card has no such field.
        """
        if args:
            raise TypeError("create_model_card takes its arguments by name, such as language='en'.")
        _check_names(facts)
        if not self.is_world_process_zero():
            return
        folder = Path(str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        write_card(folder, _with_facts(self.describe_model(folder), facts), overwrite=overwrite)

    def describe_model(self, folder: Path) -> CardData:
        """The facts of the card, for a model in `folder`."""
        raise NotImplementedError

    # ---- in the middle of training ----

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        is_busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if is_busy and not self.args.hub_always_push:
            return
        self._warn_of_failed_pushes()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        by_step = self.args.save_strategy == SaveStrategy.STEPS
        where = f"step {self.state.global_step}" if by_step else f"epoch {int(self.state.epoch or 0)}"
        message = f"Training in progress, {where}"
        checkpoint = Path(checkpoint_folder)
        staged = self._staging_folder()
        try:
            self._stage(checkpoint, staged)
        except (OSError, ValueError) as error:
            shutil.rmtree(staged)
            logger.warning("%s is not pushed: %s\nTraining goes on.", checkpoint, error)
            return
        with_state = self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
        path = "last-checkpoint" if self.args.hub_strategy == HubStrategy.CHECKPOINT else checkpoint.name
        destination = self.destination

        def push() -> None:
            try:
                destination.send(staged, commit_message=message, copy_of=checkpoint)
                if with_state:
                    destination.send(
                        staged,
                        commit_message=f"{message}, checkpoint",
                        path_in_repo=path,
                        with_training_state=True,
                        copy_of=checkpoint,
                    )
            finally:
                shutil.rmtree(staged)

        jobs = self.push_in_progress.jobs if is_busy and self.push_in_progress is not None else []
        self.push_in_progress = PushInProgress([*jobs, in_background(push)])  # type: ignore[arg-type]

    def _staging_folder(self) -> Path:
        output_dir = Path(str(self.args.output_dir))
        if self.push_in_progress is None or self.push_in_progress.is_done():
            remove_staged(output_dir)  # of a run that was killed
        return Path(tempfile.mkdtemp(prefix=_STAGED, dir=output_dir))

    def _stage(self, checkpoint: Path, staged: Path) -> None:
        """Put the files of a checkpoint, and a card, into a folder that they belong to for good."""
        for name in files_to_send(checkpoint, with_training_state=True):
            target = staged / name
            target.parent.mkdir(exist_ok=True)
            _link(checkpoint / name, target)
        write_card(staged, self.describe_model(staged))

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        self._warn_of_failed_pushes()

    def remove_staged(self) -> None:
        """Remove what pushes of a process that was killed left in the folder."""
        self._finish_current_push()
        if self.is_world_process_zero():
            remove_staged(Path(str(self.args.output_dir)))

    def _warn_of_failed_pushes(self) -> None:
        push = getattr(self, "push_in_progress", None)
        if push is None:
            return
        for job in [job for job in push.jobs if job.done()]:
            push.jobs.remove(job)
            error = job.exception()
            if isinstance(error, PushError):
                logger.warning("%s\nTraining goes on, and is pushed again later.", error)
            elif error is not None:
                logger.error("A push in the middle of training failed, and training goes on.", exc_info=error)


def destination_of(args: TrainingArguments) -> Destination:
    """
    Where the arguments of a training say that it goes: `hub_model_id`, or the name of `output_dir`.

    Raises:
        `ValueError`: if that is no name of a repository.
    """
    return Destination(
        args.hub_model_id or name_of(args.output_dir),
        token=args.hub_token,
        private=args.hub_private_repo,
        revision=args.hub_revision,
    )


def remove_staged(output_dir: Path) -> None:
    """Remove the copies that were made for pushes in the middle of training."""
    for left in output_dir.glob(f"{_STAGED}*"):
        if left.is_dir():
            shutil.rmtree(left)


def name_of(folder: Any) -> str:
    """The name of a folder, of `"."` and `".."` too."""
    return os.path.basename(os.path.abspath(folder))


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        # Some file systems have no hard links.
        shutil.copy2(source, target)


def _with(
    destination: Destination, token: str | None, private: bool | None, revision: str | None = None
) -> Destination:
    given: dict[str, Any] = {"token": token, "private": private, "revision": revision}
    return replace(destination, **{name: value for name, value in given.items() if value is not None})


def _check_names(facts: dict[str, Any]) -> None:
    known = {*CardData.__dataclass_fields__, *_OTHER_NAMES, *_NAMES_OF_DATA, "tasks"}
    unknown = sorted(set(facts) - known)
    if unknown:
        raise TypeError(f"A card has no {', '.join(unknown)}: it has {', '.join(sorted(known))}.")
    for name in _NAMES_OF_DATA:
        if not isinstance(facts.get(name), str | None):
            raise TypeError(f"{name}={facts[name]!r} must be one name: a card has one data set.")


def _with_facts(data: CardData, facts: dict[str, Any]) -> CardData:
    given = {name: value for name, value in facts.items() if value is not None and name != "tasks"}
    about_data = {field: given.pop(name) for name, field in _NAMES_OF_DATA.items() if name in given}
    fields = {_OTHER_NAMES.get(name, name): value for name, value in given.items()}
    if isinstance(fields.get("tags"), str):
        fields["tags"] = [fields["tags"]]
    fields["tags"] = [*data.tags, *fields.get("tags", ())]
    data = replace(data, **fields)
    return replace(data, data=replace(data.data or DataFacts(), **about_data)) if about_data else data
