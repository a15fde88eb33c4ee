"""The side of the trainer that looks to the Hub: what is pushed, when, with which card, and what is said if it fails."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo
from transformers import Trainer, TrainingArguments
from transformers.trainer_utils import HubStrategy, SaveStrategy
from transformers.utils.hub import PushInProgress

from mixtext_hf.hub.card import CardData, write_card
from mixtext_hf.hub.push import CARD, Destination, PushError, files_to_send, in_background
from mixtext_hf.models import Mixer


logger = logging.getLogger(__name__)

_STAGED = "_push-"


class HubTrainer(Trainer):
    """
    A Trainer that pushes checkpoints, with cards, and nothing else.

    Where the Trainer of transformers sends all of `output_dir`, this one sends what [`files_to_send`] names; the pickled
    arguments never. Pushes in the middle of training go on in the background from a copy (hard links, where the file
    system has them), so that neither later steps nor `save_total_limit` change what is sent. If one fails, training goes on
    and a warning says so. If the one at the end fails, [`PushError`] names the command that pushes again.
    """

    card_data: CardData
    mixer: Mixer
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
            `ValueError`: if there is no token.
            [`PushError`]: if it did not arrive; the folder is complete, and the command that pushes again is named.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if getattr(self, "hub_model_id", None) is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        overwrite = bool(kwargs.get("overwrite", False))
        self.create_model_card(**kwargs)
        self._finish_current_push()
        destination = _with(self.destination, token, private, revision)
        folder = str(self.args.output_dir)
        options: dict[str, Any] = {"commit_message": commit_message or "End of training", "overwrite_card": overwrite}
        if not blocking:
            return destination.send_later(folder, **options)
        return destination.send(folder, **options)

    def create_model_card(self, *args: Any, overwrite: bool = False, **facts: Any) -> None:
        r"""
        Write the card of the model, and the picture of its training, into `args.output_dir`.

        Args:
            overwrite (`bool`, *optional*, defaults to `False`): Replace a card that was written or edited by hand.
            facts: Fields of [`CardData`] (`language`, `license`, `tags`, `model_name`, ...), in place of those in
                `card_data`; the names of `Trainer.create_model_card` are understood too.
        """
        if not self.is_world_process_zero():
            return
        if args:
            raise TypeError("create_model_card takes its arguments by name, such as language='en'.")
        folder = Path(str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        data = self.describe_model(folder)
        write_card(folder, replace(data, **_own_names(facts)), overwrite=overwrite)

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
        try:
            staged = self._stage(Path(checkpoint_folder))
        except ValueError as error:
            logger.warning("%s is not pushed: %s", checkpoint_folder, error)
            return
        write_card(staged, self.describe_model(staged))
        with_state = self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS)
        path = "last-checkpoint" if self.args.hub_strategy == HubStrategy.CHECKPOINT else Path(checkpoint_folder).name
        destination = self.destination
        again = destination.command(checkpoint_folder)

        def push() -> None:
            try:
                destination.send(staged, commit_message=message, again=again)
                if with_state:
                    destination.send(
                        staged,
                        commit_message=f"{message}, checkpoint",
                        path_in_repo=path,
                        with_training_state=True,
                        again=again,
                    )
            finally:
                shutil.rmtree(staged)

        jobs = self.push_in_progress.jobs if is_busy and self.push_in_progress is not None else []
        self.push_in_progress = PushInProgress([*jobs, in_background(push)])  # type: ignore[arg-type]

    def _stage(self, checkpoint: Path) -> Path:
        """A folder with the files of a checkpoint that belong to it for good."""
        output_dir = Path(str(self.args.output_dir))
        if self.push_in_progress is None or self.push_in_progress.is_done():
            for left in output_dir.glob(f"{_STAGED}*"):  # of a run that was killed
                shutil.rmtree(left)
        staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=output_dir))
        for name in files_to_send(checkpoint, with_training_state=True):
            target = staged / name
            target.parent.mkdir(exist_ok=True)
            _link(checkpoint / name, target)
        return staged

    def _finish_current_push(self) -> None:
        super()._finish_current_push()
        self._warn_of_failed_pushes()

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
                raise error

    # ---- saving ----

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(str(self.args.output_dir) if output_dir is None else output_dir)
        if not self.args.should_save:
            super()._save(output_dir, state_dict=state_dict)
            return
        with _unchanged(folder / CARD):
            super()._save(output_dir, state_dict=state_dict)
        if (folder / "adapter_config.json").is_file():
            # The number and names of the classes, and the recipe: an adapter alone does not know them. (A local folder of both
            # is for PEFT and this package: transformers takes it for a whole model. From the Hub it takes the base.)
            self.mixer.stack.model.config.save_pretrained(folder)


def destination_of(args: TrainingArguments) -> Destination:
    """
    Where the arguments of a training say that it goes: `hub_model_id`, or the name of `output_dir`.

    Raises:
        `ValueError`: if that is no name of a repository.
    """
    return Destination(
        args.hub_model_id or Path(str(args.output_dir)).absolute().name,
        token=args.hub_token,
        private=args.hub_private_repo,
        revision=args.hub_revision,
    )


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """PEFT writes a card of its own into every folder that it saves to."""
    before = path.read_bytes() if path.is_file() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        elif path.read_bytes() != before:
            path.write_bytes(before)


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


def _own_names(facts: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `Trainer.create_model_card` by the names of the card's fields."""
    names = {"finetuned_from": "base_model"}
    renamed = {names.get(name, name): value for name, value in facts.items() if value is not None}
    known = CardData.__dataclass_fields__
    unknown = sorted(set(renamed) - set(known))
    if unknown:
        raise TypeError(f"A card has no {', '.join(unknown)}: it has {', '.join(known)}.")
    if isinstance(renamed.get("tags"), str):
        renamed["tags"] = [renamed["tags"]]
    return renamed
