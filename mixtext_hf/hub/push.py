"""Sending a folder to the Hub: what of it goes there, and what is said when it does not arrive."""

from __future__ import annotations

import logging
import os
import posixpath
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff, validate_repo_id

from mixtext_hf._compat import HubClientError
from mixtext_hf.errors import RunError

from .facts import CARD
from .fingerprint import is_generated


logger = logging.getLogger(__name__)

# Never sent: this pickle of the arguments needs this package to be read, and executes code when it is.
ARGUMENTS = "training_args.bin"
# What a checkpoint consists of. Names and not "everything": a folder may hold logs, data and notes as well.
MODEL_FILES = (
    CARD,
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "adapter_config.json",
    "*processor_config.json",
    # Tokenizers: those of all types that transformers knows.
    "tokenizer*.json",
    "*vocab*.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.json",
    "byte_maps.json",
    "emoji.json",
    "normalizer.json",
    "word_pronunciation.json",
    "word_shape.json",
    "*.model",
    "*.spm",
    "*.jinja",
    "*.tokenizer",
    "vocab.txt",
    "merges.txt",
    "dict.txt",
    "bpe.codes",
    "additional_chat_templates/*.jinja",
    # How it was made, and what was measured.
    "run.json",
    "trainer_state.json",
    "*_results.json",
    ".eval_results/*.yaml",
)
# What a Trainer needs to go on, beside a checkpoint's model.
TRAINING_FILES = ("optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state*.pth")
WEIGHTS = ("model*.safetensors", "adapter_model.safetensors")


class PushError(RunError, RuntimeError):
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
        if not (get_token() if self.token is None else self.token):
            raise ValueError(
                f"Pushing to {self.repo_id} needs a token, and there is none: run `hf auth login`, set HF_TOKEN, or give "
                "hub_token. What is trained without push_to_hub can be pushed later, by mixtext-hf push FOLDER."
            )

    def open(self, again: str | None = None) -> Destination:
        r"""
        Make the repository, and its branch, unless they exist.

        Args:
            again (`str`, *optional*): What a [`PushError`] says that pushes again; nothing is to be pushed if not given.

        Returns:
            [`Destination`]: with the full name of the repository.

        Raises:
            `ValueError`: as `check_token`.
            [`PushError`]: if the Hub cannot be reached, or refuses.
        """
        self.check_token()
        with _reporting(f"The repository {self.repo_id} could not be opened", self.token, again):
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
        copy_of: str | os.PathLike[str] | None = None,
    ) -> CommitInfo:
        r"""
        Send the checkpoint in a folder, as one commit. Files that it does not have stay as they are in the repository.

        Args:
            folder (`str` or `os.PathLike`): A checkpoint of transformers or PEFT with weights as safetensors.
            commit_message (`str`): Of the commit.
            path_in_repo (`str`, *optional*): A folder in the repository.
            with_training_state (`bool`): Also what a Trainer needs to go on: states of optimizer and random numbers.
            overwrite_card (`bool`): Replace a card in the repository that somebody else wrote or edited.
            copy_of (`str` or `os.PathLike`, *optional*): What `folder` is a passing copy of; messages name this one.

        Raises:
            `ValueError`: if there is nothing to send, see [`files_to_send`].
            [`PushError`]: if it did not arrive. The repository is then as it was before.
        """
        files = files_to_send(folder, with_training_state=with_training_state)
        shown = folder if copy_of is None else copy_of
        again = self.command(shown, overwrite_card=overwrite_card)
        with _reporting(f"Pushing {os.fspath(shown)} to {self.repo_id} failed", self.token, again):
            if CARD in files and not (overwrite_card or path_in_repo) and self._card_is_edited():
                logger.warning(
                    "The card of %s was written or edited by somebody: it stays. To replace it: %s",
                    self.repo_id,
                    self.command(shown, overwrite_card=True),
                )
                files.remove(CARD)
            # Not `upload_folder`, which makes several commits of what takes long.
            return HfApi(token=self.token).create_commit(
                self.repo_id,
                [CommitOperationAdd(posixpath.join(path_in_repo or "", name), Path(folder, name)) for name in files],
                commit_message=commit_message,
                revision=self.revision,
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
    What of a folder is its checkpoint: weights, configs, tokenizer, results, card, and the pictures that the card shows.

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
    found |= set(_pictures(root))
    files = sorted(path.relative_to(root).as_posix() for path in found if not path.name.startswith((".", "_")))
    if not any(name in files for name in ("config.json", "adapter_config.json")):
        raise ValueError(f"folder={os.fspath(folder)!r} holds no config.json: it is no folder of a saved model.")
    if not any(path.name in files for pattern in WEIGHTS for path in root.glob(pattern)):
        raise ValueError(
            f"folder={os.fspath(folder)!r} holds no weights as safetensors: save the model by model.save_pretrained(folder), "
            "which writes them. Weights as pickles (*.bin, *.pt) are not pushed."
        )
    return files


def _pictures(root: Path) -> list[Path]:
    card = root / CARD
    text = unquote(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else ""
    return [path for path in root.glob("*.png") if path.is_file() and path.name in text]


def in_background(task: Callable[[], Any]) -> Future[Any]:
    """Run a task in the thread that sends to the Hub, after those that wait there."""
    return _api.run_as_future(task)


_api = HfApi()


@contextmanager
def _reporting(what: str, token: str | None, again: str | None = None) -> Iterator[None]:
    """Turn the errors of the client into a [`PushError`]; no token gets into its text."""
    try:
        yield
    except (HubClientError, OSError, RuntimeError, ValueError) as error:
        rest = f" Nothing is lost: the folder is as it was. Push again by: {again}" if again else ""
        text = f"{what}: {_reason(error)}.{rest}"
        for secret in {token, get_token()} - {None, ""}:
            text = text.replace(str(secret), "<token>")
        # The client's own errors may hold the request, with its headers.
        raise PushError(text) from None


def _reason(error: BaseException) -> str:
    """What went wrong, with the request that did."""
    if isinstance(error, ValueError) and not isinstance(error, HfHubHTTPError):
        # The client has read the answer: what the Hub does not take in a card's metadata.
        return " ".join(str(error).split()).rstrip(".")
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
