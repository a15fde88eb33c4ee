"""Sending a folder to the Hub: what of it goes there, and what is said when it does not arrive."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff, validate_repo_id

from mixtext_hf._compat import HubClientError

from .card import is_generated


logger = logging.getLogger(__name__)

CARD = "README.md"
# Never sent: this pickle of the arguments needs this package to be read, and executes code when it is.
ARGUMENTS = "training_args.bin"
# What a checkpoint consists of. Names and not "everything": a folder may hold logs, data and notes as well.
MODEL_FILES = (
    CARD,
    "*.safetensors",
    "*.json",
    "*.png",
    "*.model",
    "*.spm",
    "*.jinja",
    "*.tokenizer",
    "vocab.txt",
    "merges.txt",
    "dict.txt",
    "bpe.codes",
    "additional_chat_templates/*.jinja",
)
# What a Trainer needs to go on, beside a checkpoint's model.
TRAINING_FILES = ("optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state*.pth")
WEIGHTS = ("model*.safetensors", "adapter_model.safetensors")


class PushError(RuntimeError):
    """A push that did not arrive; says what failed, what is left, and the command that pushes again."""


@dataclass(frozen=True)
class Destination:
    r"""
    Where a folder goes.

    Args:
        repo_id (`str`): `"user/name"`; `"name"` alone is a repository of whom the token belongs to.
        token (`str`, *optional*): `None`: the one of `hf auth login` or `HF_TOKEN`.
        private (`bool`, *optional*): For a repository that does not exist yet.
        revision (`str`, *optional*): A branch, which is made if it does not exist; `None`: the main one.
    """

    repo_id: str
    token: str | None = field(default=None, repr=False)
    private: bool | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        try:
            validate_repo_id(self.repo_id)
        except ValueError as error:
            raise ValueError(
                f"hub_model_id={self.repo_id!r} is no name of a repository ({error}): use 'user/name' or 'name'."
            ) from error

    def check_token(self) -> None:
        """
        Raises:
            `ValueError`: if nobody is logged in and no token was given, or if the Hub is switched off; without a request.
        """
        if constants.HF_HUB_OFFLINE:
            raise ValueError(
                f"Pushing to {self.repo_id} needs the Hub, and HF_HUB_OFFLINE switches it off: unset it, or leave out "
                "push_to_hub and push later: mixtext-hf push FOLDER."
            )
        if self.token is None and get_token() is None:
            raise ValueError(
                f"Pushing to {self.repo_id} needs a token, and there is none: run `hf auth login`, set HF_TOKEN, or give "
                "hub_token. Without push_to_hub, push later: mixtext-hf push FOLDER."
            )

    def open(self) -> Destination:
        """
        Make the repository, and its branch, unless they exist.

        Returns:
            [`Destination`]: with the full name of the repository.

        Raises:
            `ValueError`: as `check_token`.
            [`PushError`]: if the Hub cannot be reached, or refuses.
        """
        self.check_token()
        with _reporting(f"The repository {self.repo_id} could not be opened", self.token):
            api = HfApi(token=self.token)
            repo_id = api.create_repo(self.repo_id, private=self.private, exist_ok=True).repo_id
            if self.revision is not None and self.revision != constants.DEFAULT_REVISION:
                api.create_branch(repo_id, branch=self.revision, exist_ok=True)
        return Destination(repo_id, self.token, self.private, self.revision)

    def command(self, folder: str | os.PathLike[str], *, overwrite_card: bool = False) -> str:
        """The command that pushes the folder there. The token is not in it."""
        words = ["mixtext-hf", "push", os.fspath(folder), "--hub_model_id", self.repo_id]
        if self.private is not None:
            words += ["--hub_private_repo", str(self.private)]
        if self.revision is not None:
            words += ["--hub_revision", self.revision]
        if overwrite_card:
            words += ["--overwrite_card"]
        return shlex.join(words)

    def send(
        self,
        folder: str | os.PathLike[str],
        *,
        commit_message: str,
        path_in_repo: str | None = None,
        with_training_state: bool = False,
        overwrite_card: bool = False,
        again: str | None = None,
    ) -> CommitInfo:
        r"""
        Send the checkpoint in a folder, as one commit. Files that it does not have stay as they are in the repository.

        Args:
            folder (`str` or `os.PathLike`): A checkpoint of transformers or PEFT with weights as safetensors.
            commit_message (`str`): Of the commit.
            path_in_repo (`str`, *optional*): A folder in the repository.
            with_training_state (`bool`): Also what a Trainer needs to go on: states of optimizer and random numbers.
            overwrite_card (`bool`): Replace a card in the repository that somebody else wrote or edited.
            again (`str`, *optional*): What a [`PushError`] says that pushes again; the command for `folder` if not given.

        Raises:
            `ValueError`: if there is nothing to send, see [`files_to_send`].
            [`PushError`]: if it did not arrive. The repository is then as it was before.
        """
        files = files_to_send(folder, with_training_state=with_training_state)
        again = again or self.command(folder, overwrite_card=overwrite_card)
        with _reporting(f"Pushing {folder} to {self.repo_id} failed", self.token, again):
            if CARD in files and not (overwrite_card or path_in_repo) and self._card_is_edited():
                logger.warning(
                    "The card of %s was written or edited by somebody: it stays. To replace it: %s",
                    self.repo_id,
                    self.command(folder, overwrite_card=True),
                )
                files.remove(CARD)
            return HfApi(token=self.token).upload_folder(
                repo_id=self.repo_id,
                folder_path=os.fspath(folder),
                path_in_repo=path_in_repo,
                commit_message=commit_message,
                revision=self.revision,
                allow_patterns=[_literally(name) for name in files],
            )

    def send_later(self, folder: str | os.PathLike[str], **options: Any) -> Future[CommitInfo]:
        """[`send`] in the background; what is sent later waits for what is sent before."""
        return in_background(partial(self.send, folder, **options))

    def _card_is_edited(self) -> bool:
        url = hf_hub_url(self.repo_id, CARD, revision=self.revision)
        response = http_backoff("GET", url, headers=build_hf_headers(token=self.token))
        try:
            hf_raise_for_status(response)
        except EntryNotFoundError:
            return False
        return not is_generated(response.text)


def files_to_send(folder: str | os.PathLike[str], *, with_training_state: bool = False) -> list[str]:
    """
    What of a folder is its checkpoint: weights, configs, tokenizer, card, results and pictures.

    Returns:
        `list[str]`: paths within the folder.

    Raises:
        `ValueError`: if the folder does not exist, holds no model, or holds one whose weights are no safetensors.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"folder={os.fspath(folder)!r} does not exist, or is no folder: name that of a saved model.")
    patterns = MODEL_FILES + (TRAINING_FILES if with_training_state else ())
    found = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    files = sorted(path.relative_to(root).as_posix() for path in found if not path.name.startswith((".", "_")))
    if not any(name in files for name in ("config.json", "adapter_config.json")):
        raise ValueError(f"folder={os.fspath(folder)!r} holds no config.json: it is no folder of a saved model.")
    if not any(path.name in files for pattern in WEIGHTS for path in root.glob(pattern)):
        raise ValueError(
            f"folder={os.fspath(folder)!r} holds no weights as safetensors: save the model by model.save_pretrained(folder), "
            "which writes them. Weights as pickles (*.bin, *.pt) are not pushed."
        )
    return files


def in_background(task: Callable[[], Any]) -> Future[Any]:
    """Run a task in the thread that sends to the Hub, after those that wait there."""
    return _api.run_as_future(task)


_api = HfApi()


def _literally(name: str) -> str:
    """A pattern that this name alone matches."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _reporting(what: str, token: str | None, again: str | None = None) -> Iterator[None]:
    """Turn the errors of the client into a [`PushError`]; no token gets into its text."""
    try:
        yield
    except (HubClientError, OSError, RuntimeError) as error:
        rest = f" Nothing is lost: the folder is as it was. Push again by:\n{again}" if again else ""
        text = f"{what}: {_reason(error)}.{rest}"
        for secret in {token, get_token()} - {None, ""}:
            text = text.replace(str(secret), "<token>")
        # The client's own errors may hold the request, with its headers.
        raise PushError(text) from None


def _reason(error: BaseException) -> str:
    """What went wrong, with the request that did."""
    about = str(error).strip().splitlines()[0] if str(error).strip() else ""
    while not isinstance(error, HfHubHTTPError) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        response = error.response
        said = f" ({error.server_message.strip()})" if error.server_message else ""
        return f"{response.status_code} {response.reason_phrase}{said}{_for(response.request)}"
    # Its property `request` raises where there is none.
    where = _for(getattr(error, "_request", None))
    return f"{type(error).__name__}{f': {about}' if about else ''}{where}".rstrip(".")


def _for(request: Any) -> str:
    return "" if request is None else f" for {request.method} {request.url.path}"
