"""A classifier to measure or to predict with: its checkpoint looked at and loaded safely, and what turns rows into its batches."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig

from mixtext_hf._messages import listed
from mixtext_hf.data import ImageCollator, MixDataCollator
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.tokens.collator import TokenCollator
from mixtext_hf.data.tokens.datasets import WORDS
from mixtext_hf.models import (
    MixableModelForImageClassification,
    MixableModelForSequenceClassification,
    MixableModelForTokenClassification,
)
from mixtext_hf.models.checkpoint import Checkpoint, check_checkpoint
from mixtext_hf.models.checkpoint_contents import MAX_JSON_BYTES, RefusedCheckpoint
from mixtext_hf.models.last_token import agree_on_padding, give_padding_token, is_decoder, reads_last_token
from mixtext_hf.models.lengths import check_max_length, check_tokenizer_fits, longest_text
from mixtext_hf.models.modality import modality_of
from mixtext_hf.models.sentence_checkpoint import MODULES
from mixtext_hf.models.stack import num_channels
from mixtext_hf.models.stored_temperature import forget_temperature
from mixtext_hf.models.timm_processor import pretrained_cfg, timm_image_processor
from mixtext_hf.problem_types import REGRESSION

from .processors import load_image_processor, load_tokenizer, load_word_tokenizer


logger = logging.getLogger(__name__)

# Longer texts cost more than most tasks gain; a model that knows no limit has one.
_LONGEST_TEXT = 512


@dataclass
class ModelArguments:
    """Which model."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Hub id or folder of a classifier of transformers, or of an adapter on one."}
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of the model."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "If it is not the model's own."})
    image_processor_name: str | None = field(default=None, metadata={"help": "If it is not the model's own."})
    num_labels: int | None = field(
        default=None, metadata={"help": "Classes of an adapter that has no config.json beside it."}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where files from the Hub are kept."})
    token: str | None = field(default=None, metadata={"help": "Token for private models and data sets."})


class TrainedClassifier:
    """
    A checkpoint of a classifier of texts or images, or an adapter on one. What is wrong with its files is found on construction;
    its weights are read by `load`.

    Args:
        args ([`ModelArguments`]): Which; `model_name_or_path` is given.
    """

    def __init__(self, args: ModelArguments):
        self.args = args
        self.name = str(args.model_name_or_path)
        self._checked: list[Checkpoint] = []
        self.config, self.adapter = self._load_config()
        self.modality = modality_of(self.name, self.config, self.adapter)
        other = "tokenizer_name" if self.modality == "image" else "image_processor_name"
        if getattr(args, other) is not None:
            raise ValueError(
                f"--{other} {getattr(args, other)}: {self.name!r} is a classifier of {self.modality}s; leave it out."
            )

    def _load_config(self) -> tuple[Any, Mapping[str, Any] | None]:
        """The config of the model, and the content of adapter_config.json where it is an adapter."""
        a = self.args
        where: dict[str, Any] = {"cache_dir": a.cache_dir, "revision": a.model_revision, "token": a.token}
        try:
            found = check_checkpoint(self.name, **where)
        except RefusedCheckpoint:
            raise
        except (OSError, ValueError) as error:
            raise ValueError(_no_model(self.name, error)) from error
        self._checked.append(found)
        adapter = None if found.has_weights and os.path.isdir(self.name) else found.adapter
        name, settings = self.name, {}
        if not found.has_config:
            if adapter is None:
                of_sentences = found.files.has(MODULES)
                raise ValueError(
                    f"model_name_or_path={self.name!r} has no config.json: it holds no model."
                    + (
                        " It is a checkpoint of sentence-transformers: train a classifier from it, and name that."
                        if of_sentences
                        else ""
                    )
                )
            name = str(adapter.get("base_model_name_or_path") or "")
            where["revision"] = adapter.get("revision")
            self._checked.append(check_checkpoint(name, **where))
        if a.num_labels is not None:
            if found.has_config:
                raise ValueError(
                    f"--num_labels {a.num_labels} is for adapters without config.json; that of {self.name!r} says how many "
                    "classes there are: leave it out."
                )
            settings["num_labels"] = a.num_labels
        try:
            config = AutoConfig.from_pretrained(name, trust_remote_code=False, **where, **settings)
        except StrictDataclassError as error:
            raise ValueError(f"The config.json of model_name_or_path={name!r} cannot be used: {error}") from error
        except (OSError, ValueError) as error:
            raise ValueError(_no_model(name, error)) from error
        if not found.has_config:
            # That of the base is of other weights.
            forget_temperature(config)
        return config, adapter

    @property
    def identity(self) -> str:
        """What tells it from another model."""
        if os.path.isdir(self.name):
            return str(Path(self.name).resolve())
        return f"{self.name}@{self.args.model_revision}"

    def check_classes(self) -> None:
        """Raise `ValueError` unless its config names its outputs, each once."""
        if set(self.config.id2label) != set(range(self.config.num_labels)):
            raise ValueError(
                f"The config of model_name_or_path={self.name!r} has in id2label the classes {listed(self.config.id2label, show=str)}, "
                f"where they are numbered from 0 to {self.config.num_labels - 1}: correct its config.json."
            )

    def check_inputs(self, args: Any, of_texts: Sequence[str]) -> None:
        """
        Raise `ValueError` for an argument that is for a classifier of the other kind of inputs.

        Args:
            args (`Any`): The arguments of a command that say which inputs; `image_column` is among them.
            of_texts (`Sequence[str]`): Names of those that are for texts alone.
        """
        if self.modality == "text":
            if args.image_column is not None:
                raise ValueError(
                    f"--image_column {args.image_column}: {self.name!r} is a text classifier; name a --text_column."
                )
            return
        for name in of_texts:
            if getattr(args, name) is not None:
                raise ValueError(
                    f"--{name} {getattr(args, name)}: {self.name!r} is an image classifier; leave it out."
                )

    def load(self, problem_type: str, device: torch.device) -> Any:
        """The model, in evaluation mode on the device; `problem_type` is what its outputs are taken for."""
        a = self.args
        kind: Any = {
            "image": MixableModelForImageClassification,
            "text": MixableModelForSequenceClassification,
            "token": MixableModelForTokenClassification,
        }[self.modality]
        self.config.problem_type = problem_type
        try:
            model = kind.without_hooks(
                self.name,
                config=self.config,
                cache_dir=a.cache_dir,
                revision=a.model_revision,
                token=a.token,
                dtype=torch.float32,
                may_be_new=False,
                checked=self._checked,
            )
        except SafetensorError as error:
            raise ValueError(
                f"model_name_or_path={self.name!r}: its weights cannot be read ({error}): get them again."
            ) from error
        except RuntimeError as error:
            raise ValueError(
                f"model_name_or_path={self.name!r}: its weights are not those of a classifier with {self.config.num_labels} classes "
                f"({str(error).splitlines()[0]}). For an adapter without config.json, give --num_labels."
            ) from error
        self.model = model.to(device).eval()
        return self.model

    def image_collator(self, column: str) -> ImageCollator:
        """What makes batches of a column of images; `processor` afterwards is its image processor."""
        self.processor = self._load_processor()
        return ImageCollator(self.processor, image_column=column, num_channels=self.channels)

    def text_collator(self, texts: Sequence[str], max_length: int | None, problem_type: str) -> MixDataCollator:
        """
        What makes batches of one column of texts or of two, for the model that was loaded; `tokenizer` and `max_length` afterwards
        are what it goes by.
        """
        self.tokenizer = self._load_tokenizer()
        check_tokenizer_fits(self.tokenizer, self.model)
        self.max_length = self._longest_text(max_length)
        return MixDataCollator(
            self.tokenizer,
            text_column=texts[0],
            text_pair_column=texts[1] if len(texts) > 1 else None,
            max_length=self.max_length,
            is_regression=problem_type == REGRESSION,
        )

    def token_collator(self, max_length: int | None) -> TokenCollator:
        """As `text_collator`, of sentences of words, with their labels where these are known."""
        self.tokenizer = load_word_tokenizer(self._load_tokenizer)
        check_tokenizer_fits(self.tokenizer, self.model)
        self.max_length = self._longest_text(max_length)
        return TokenCollator(self.tokenizer, text_column=WORDS, label_column=LABEL, max_length=self.max_length)

    @property
    def channels(self) -> int | None:
        """Colours of the images that it takes, where its config tells."""
        return num_channels(self.config)

    def _load_processor(self) -> Any:
        of_timm = pretrained_cfg(self.config)
        if of_timm is not None and self.args.image_processor_name is None:
            return timm_image_processor(of_timm)
        name, where = self._beside_the_model(self.args.image_processor_name, ("preprocessor_config.json",))
        return load_image_processor(name, **where)

    def _load_tokenizer(self, **options: Any) -> Any:
        files = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "vocab.json")
        name, where = self._beside_the_model(self.args.tokenizer_name, files)
        tokenizer = load_tokenizer(name, **where, **options)
        if (reads := reads_last_token(self.model)) or is_decoder(self.model.config):
            settle = agree_on_padding if reads else give_padding_token
            for sentence in settle(tokenizer, self.model):
                logger.warning(sentence)
        elif tokenizer.pad_token is None:
            raise ValueError(
                f"The tokenizer of {name!r} has no padding token: save it with the one that the model was trained with, and name it "
                "by --tokenizer_name."
            )
        return tokenizer

    def _beside_the_model(self, given: str | None, files: Sequence[str]) -> tuple[str, dict[str, Any]]:
        """Where the tokenizer or image processor is: where it was said to be, in the checkpoint, or beside an adapter's base."""
        a = self.args
        where: dict[str, Any] = {"cache_dir": a.cache_dir, "token": a.token}
        if given is not None:
            return given, where
        is_bare_folder = os.path.isdir(self.name) and not any((Path(self.name) / file).is_file() for file in files)
        if self.adapter is not None and is_bare_folder:
            base = str(self.adapter["base_model_name_or_path"])
            logger.info("%s has none of %s: these are taken from %s.", self.name, ", ".join(files), base)
            return base, {**where, "revision": self.adapter.get("revision")}
        return self.name, {**where, "revision": a.model_revision}

    def _longest_text(self, given: int | None) -> int:
        longest = longest_text(self.config, self.tokenizer)
        if given is not None:
            check_max_length("--max_seq_length", given, self.config, self.tokenizer)
            return given
        trained = self._length_in_training()
        wanted = _LONGEST_TEXT if trained is None else trained
        return wanted if longest is None else min(longest, wanted)

    def _length_in_training(self) -> int | None:
        """The length that texts were cut to when this package trained the model, as run.json beside it says."""
        arguments = self.run_record().get("data_arguments")
        length = arguments.get("max_seq_length") if isinstance(arguments, dict) else None
        return length if isinstance(length, int) and length > 1 else None

    def run_record(self) -> dict[str, Any]:
        """What run.json beside the model says, which this package writes when it trains one; empty without it."""
        path = Path(self.name) / "run.json"
        return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """A file that lies beside a model, and may be anybody's."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(
            f"{path} has more than {MAX_JSON_BYTES // 2**20} MiB, which nothing needs that belongs there: remove it."
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}): remove it, or get it again.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds a {type(values).__name__}, where an object {{...}} belongs: remove it.")
    return values


def device_of(use_cpu: bool) -> torch.device:
    """The accelerator, where there is one and it is wanted."""
    found = None if use_cpu else torch.accelerator.current_accelerator(check_available=True)
    return torch.device("cpu") if found is None else found


def _no_model(name: str, error: Exception) -> str:
    return (
        f"model_name_or_path={name!r} is no folder with a model, and no model of that name could be loaded from the Hub "
        f"({type(error).__name__}: {error}). Check the name and the network, or give the path of a checkpoint."
    )
