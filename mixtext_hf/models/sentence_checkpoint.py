"""What makes one vector of a text in a checkpoint of sentence-transformers: its `modules.json`, read as data.

Read are pooling, dense layers, dropout (which does nothing in evaluation) and normalisation behind one transformer; any other module is
named by an error, once its vectors are asked for: the checkpoint still trains as a classifier without them. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers.utils import CONFIG_NAME

from .checkpoint import Files, files_of
from .checkpoint_contents import RefusedCheckpoint, check_inside


MODULES = "modules.json"
_SENTENCE_BERT, _SENTENCE_TRANSFORMERS = "sentence_bert_config.json", "config_sentence_transformers.json"
_DENSE_WEIGHTS = "model.safetensors"
_WHOSE = "sentence_transformers."

# In the order in which several of them stand in a vector, with the names of older configs.
POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    one.__name__: one for one in (nn.ELU, nn.GELU, nn.Identity, nn.LeakyReLU, nn.ReLU, nn.SiLU, nn.Sigmoid, nn.Tanh)
}

_REMEDY = "Use another checkpoint, or a copy of its folder without modules.json, whose features are the mean over the tokens, of length 1."


class _NotUnderstood(ValueError):
    """What of a checkpoint's modules is not known here."""


@dataclass(frozen=True, eq=False)
class Dense:
    """
    A linear layer behind the pooling.

    Args:
        weight (`torch.Tensor` of shape `(out, in)`, float32): Its matrix.
        bias (`torch.Tensor` of shape `(out,)`, float32, *optional*): Its bias.
        activation (`str`): One of [`ACTIVATIONS`].
        residual (`torch.Tensor` of shape `(out, in)`, float32, *optional*): What a residual connection is projected by.
        adds_input (`bool`): Whether there is a residual connection.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    activation: str
    residual: torch.Tensor | None = None
    adds_input: bool = False

    def __str__(self) -> str:
        digest = hashlib.sha256()
        for tensor in (self.weight, self.bias, self.residual):
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        out, into = self.weight.shape
        kind = f"dense {into} to {out}, {self.activation}" + (", residual" if self.adds_input else "")
        return f"{kind} ({digest.hexdigest()[:8]})"


@dataclass(frozen=True)
class Normalize:
    """To length 1."""

    def __str__(self) -> str:
        return "length 1"


@dataclass(frozen=True)
class Truncate:
    """To the first numbers of a vector, as `truncate_dim` says; its length is not made 1 again."""

    dimension: int

    def __str__(self) -> str:
        return f"the first {self.dimension}"


@dataclass(frozen=True, eq=False)
class SentenceModules:
    """
    What makes a vector of a text's hidden states.

    Args:
        name (`str`): Of the checkpoint, for messages.
        poolings (`tuple[str, ...]`): Of [`POOLINGS`]; of several the vectors stand side by side.
        dimension (`int`, *optional*): Of the hidden states, where the config of the pooling says it.
        steps (`tuple`): What follows, in order: [`Dense`] and [`Normalize`], at the end perhaps [`Truncate`].
        max_length (`int`, *optional*): Of the tokens that `encode` of sentence-transformers cuts texts to.
        lower_case (`bool`): Whether `encode` makes capitals small.
        prompt (`str`): What `encode` puts before every text unasked.
        problem (`str`, *optional*): What is not understood of it: then nothing else is known.
    """

    name: str
    poolings: tuple[str, ...] = ("mean",)
    dimension: int | None = None
    steps: tuple[Dense | Normalize | Truncate, ...] = (Normalize(),)
    max_length: int | None = None
    lower_case: bool = False
    prompt: str = ""
    problem: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return ", ".join([" and ".join(self.poolings), *map(str, self.steps)])

    def remarks(self, tokenizer: Any) -> list[str]:
        """What `encode` of sentence-transformers does to texts before they are tokens, and nobody does here."""
        told = []
        if self.prompt:
            told.append(
                f"{self.name!r} has a default prompt, {self.prompt!r} ({_SENTENCE_TRANSFORMERS}), which is not put before texts here: "
                "the classifier reads the same tokens. Put it before the texts of your data where it is wanted."
            )
        if self.lower_case and _keeps_capitals(tokenizer):
            told.append(
                f"{self.name!r} was trained on small letters ({_SENTENCE_BERT}: do_lower_case), and its tokenizer keeps capitals: "
                "make the texts of your data lower case."
            )
        return told


# What features are made by where a checkpoint says nothing.
DEFAULT_MODULES = SentenceModules(name="")


def _keeps_capitals(tokenizer: Any) -> bool:
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("A B", "a b")]
    return bool(ids[0] != ids[1])


# ---- of a checkpoint ----


def transformer_folder(name: str) -> str:
    """The folder of the transformer in a checkpoint that keeps it in one of its own (`0_Transformer`); else `name` as it is."""
    if not os.path.isdir(name) or Path(name, CONFIG_NAME).is_file() or not Path(name, MODULES).is_file():
        return name
    files = files_of(name, {})
    try:
        path = _entries(files)[0][1]
    except _NotUnderstood as error:
        raise ValueError(_problem(name, error)) from error
    if path and not Path(name, path).is_dir():
        raise ValueError(
            f"{MODULES} of {name!r} says that its transformer is in {path!r}, and there is no such folder: get the checkpoint again."
        )
    return os.path.join(name, path) if path else name


def check_has_transformer(name: str, files: Files) -> None:
    """Refuse a repository whose transformer is in a folder of its own: a folder with it can be read."""
    if not files.has(CONFIG_NAME) and files.has(MODULES):
        raise RefusedCheckpoint(
            f"model_name_or_path={name!r} is a checkpoint of sentence-transformers without config.json at its top, and such a one is "
            f"read from a folder only: get it by `hf download {name} --local-dir FOLDER`, and name the folder."
        )


def module_files(folder: Path) -> list[Path]:
    """The files that say how vectors are made, and those of the transformer if it has a folder of its own; for fingerprints."""
    try:
        found = _root_of(files_of(str(folder), {}))
    except _NotUnderstood:
        return []
    if found is None or found[0].folder is None:
        return []
    root = found[0].folder
    folders = [root / path for _, path in _entries(found[0]) if path]
    named = [root / file for file in (MODULES, _SENTENCE_BERT, _SENTENCE_TRANSFORMERS)]
    return sorted(path for path in {*named, *(file for one in folders for file in one.glob("*"))} if path.is_file())


def read_sentence_modules(files: Files) -> SentenceModules | None:
    """
    What `modules.json` says, in the checkpoint or beside the folder of its transformer; `None` where there is none.

    Args:
        files ([`Files`]): Of the checkpoint.

    Returns:
        [`SentenceModules`]: with a `problem` where something is not understood.

    Raises:
        RefusedCheckpoint: If a file is no JSON, or names one outside the checkpoint.
    """
    try:
        found = _root_of(files)
        return None if found is None else _read(*found)
    except _NotUnderstood as error:
        return SentenceModules(files.name, problem=_problem(files.name, error))


def _problem(name: str, error: Exception) -> str:
    return f"{name!r} is a checkpoint of sentence-transformers whose vectors are not understood: {error} {_REMEDY}"


def _root_of(files: Files) -> tuple[Files, str] | None:
    """Where `modules.json` is, and the path of the transformer from there."""
    if files.has(MODULES):
        return files, _entries(files)[0][1]
    if files.folder is not None:
        folder = files.folder.resolve()
        # As sentence-transformers calls it: what lies above another folder is somebody else's.
        if not folder.name.startswith("0_"):
            return None
        above = Files(str(folder.parent), folder.parent, {}, {})
        if above.has(MODULES) and (path := _entries(above)[0][1]) == folder.name:
            return above, path
    elif files.where.get("subfolder"):
        above = files_of(files.name, {**files.where, "subfolder": None})
        if above.has(MODULES) and (path := _entries(above)[0][1]) == files.where["subfolder"].strip("/"):
            return above, path
    return None


def _entries(files: Files) -> list[tuple[str, str]]:
    """The kinds of the modules, and the folders they are in, `""` for the top."""
    what, found = files.naming(MODULES), []
    for entry in files.read_list(MODULES):
        kind, path = (entry.get("type"), entry.get("path")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str):
            raise RefusedCheckpoint(f"{what} holds {entry!r}, where a module has a `type` and a `path`: save it anew.")
        if path:
            check_inside(what, "path", path)
        found.append((kind, path.rstrip("/")))
    if not found or _kind(found[0][0]) != "Transformer":
        first = f"begins with a {found[0][0]}" if found else "is empty"
        raise _NotUnderstood(f"{MODULES} {first}, and is to begin with a Transformer.")
    return found


def _kind(name: str) -> str:
    """`Pooling` of `sentence_transformers.models.Pooling`; the name as it is where it is not one of the library's."""
    return name.rpartition(".")[2] if name.startswith(_WHOSE) and "sparse" not in name else name


def _read(files: Files, transformer: str) -> SentenceModules:
    about = _optional(files, os.path.join(transformer, _SENTENCE_BERT)) or _optional(files, _SENTENCE_BERT)
    _check_transformer(about)
    _, *behind = _entries(files)
    poolings: tuple[str, ...] | None = None
    dimension: int | None = None
    steps: list[Dense | Normalize | Truncate] = []
    for name, path in behind:
        kind, config = _kind(name), _optional(files, os.path.join(path, CONFIG_NAME)) if path else {}
        if kind == "Pooling" and poolings is None and not steps:
            if not path or not files.has(os.path.join(path, CONFIG_NAME)):
                raise _NotUnderstood(
                    f"There is no {os.path.join(path, CONFIG_NAME) if path else 'folder'} of its Pooling, which says how it pools."
                )
            poolings, dimension = _poolings(config, path)
        elif kind == "Dropout":
            continue
        elif kind in ("Dense", "Normalize") and poolings is not None:
            _check_names(config, path or kind)
            steps.append(Normalize() if kind == "Normalize" else _dense(files, config, path))
        else:
            raise _NotUnderstood(
                f"{MODULES} names a {name} ({path or 'at the top'}), which this package does not know there."
            )
    if poolings is None:
        raise _NotUnderstood(f"{MODULES} names no Pooling.")
    _check_widths(poolings, dimension, steps)
    further = _optional(files, _SENTENCE_TRANSFORMERS)
    steps += _truncation(further)
    length = about.get("max_seq_length")
    return SentenceModules(
        files.name,
        poolings,
        dimension,
        tuple(steps),
        length if isinstance(length, int) and length > 1 else None,
        bool(about.get("do_lower_case")),
        _default_prompt(further),
    )


def _optional(files: Files, file: str) -> dict[str, Any]:
    return files.read(file) if files.has(file) else {}


def _check_transformer(about: Mapping[str, Any]) -> None:
    task = about.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise _NotUnderstood(f"{_SENTENCE_BERT} says transformer_task={task!r}, which makes no vectors of texts.")
    modalities = about.get("modality_config")
    of_text = modalities.get("text") if isinstance(modalities, dict) else None
    output = of_text.get("method_output_name", "last_hidden_state") if isinstance(of_text, dict) else None
    if modalities is not None and output != "last_hidden_state":
        raise _NotUnderstood(
            f"{_SENTENCE_BERT} takes {output!r} of a text, and not the hidden states of the last layer."
        )


def _poolings(config: Mapping[str, Any], path: str) -> tuple[tuple[str, ...], int | None]:
    mode = config.get("pooling_mode")
    if mode is None:
        # As sentence-transformers has it: the mean, where an older config names none.
        names = [name for name, older in POOLINGS.items() if config.get(older)] or ["mean"]
        unknown = [
            key for key in config if key.startswith("pooling_mode_") and key not in POOLINGS.values() and config[key]
        ]
    else:
        names = [mode] if isinstance(mode, str) else list(mode) if isinstance(mode, list) else [repr(mode)]
        names = [str(name) for name in names]
        unknown = [name for name in names if name not in POOLINGS]
    if unknown or not names:
        raise _NotUnderstood(
            f"{path}/{CONFIG_NAME} pools by {', '.join(map(str, unknown)) or 'nothing'}, and known are {', '.join(POOLINGS)}."
        )
    dimension = config.get("embedding_dimension", config.get("word_embedding_dimension"))
    return tuple(names), dimension if isinstance(dimension, int) else None


def _check_names(config: Mapping[str, Any], what: str) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise _NotUnderstood(f"{what} works on {config[key]!r} ({key}), and not on the vector of a text.")


def _dense(files: Files, config: Mapping[str, Any], path: str) -> Dense:
    activation = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    name = activation.rpartition(".")[2]
    if not activation.startswith("torch.nn.") or name not in ACTIVATIONS:
        raise _NotUnderstood(
            f"{path}/{CONFIG_NAME} has the activation {activation!r}, and known are {', '.join(sorted(ACTIVATIONS))} of torch.nn."
        )
    file = f"{path}/{_DENSE_WEIGHTS}"
    if not files.has(file):
        raise _NotUnderstood(f"{path} holds no {_DENSE_WEIGHTS}, and weights are read from safetensors only.")
    try:
        weights = {key: value.float() for key, value in load_file(files.path(file)).items()}
    except SafetensorError as error:
        raise _NotUnderstood(f"{file} cannot be read ({error}).") from error
    residual = bool(config.get("use_residual"))
    wanted = (config.get("out_features"), config.get("in_features"))
    needed = {"linear.weight", *(["linear.bias"] if config.get("bias", True) else [])}
    if residual and wanted[0] != wanted[1]:
        needed.add("residual.weight")
    fitting = {"linear.weight": wanted, "linear.bias": wanted[:1], "residual.weight": wanted}
    if set(weights) != needed or any(tuple(value.shape) != fitting[key] for key, value in weights.items()):
        raise _NotUnderstood(f"{file} does not hold the weights that its {CONFIG_NAME} describes.")
    return Dense(weights["linear.weight"], weights.get("linear.bias"), name, weights.get("residual.weight"), residual)


def _check_widths(
    poolings: Sequence[str], dimension: int | None, steps: Sequence[Dense | Normalize | Truncate]
) -> None:
    width = None if dimension is None else dimension * len(poolings)
    for step in steps:
        if isinstance(step, Dense):
            if width is not None and step.weight.shape[1] != width:
                raise _NotUnderstood(
                    f"A dense layer takes {step.weight.shape[1]} numbers, and there are {width} before it."
                )
            width = step.weight.shape[0]


def _truncation(config: Mapping[str, Any]) -> list[Truncate]:
    size = config.get("truncate_dim")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
        raise _NotUnderstood(
            f"{_SENTENCE_TRANSFORMERS} says truncate_dim={size!r}, which is to be a number from 1 on."
        )
    return [] if size is None else [Truncate(size)]


def _default_prompt(config: Mapping[str, Any]) -> str:
    prompts, name = config.get("prompts"), config.get("default_prompt_name")
    prompt = prompts.get(name) if isinstance(prompts, dict) and isinstance(name, str) else None
    return prompt if isinstance(prompt, str) else ""
