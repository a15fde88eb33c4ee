"""Whether a checkpoint may be opened, found out before anything of it is parsed by others.

Weights are safetensors, every file lies inside, nothing is code, and JSON is of a sane size. Knows nothing of models.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError
from transformers.configuration_utils import get_configuration_file
from transformers.utils import (
    ADAPTER_CONFIG_NAME,
    ADAPTER_SAFE_WEIGHTS_NAME,
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    cached_file,
)

from mixtext_hf._compat import HubClientError

from .checkpoint_contents import (
    MAX_JSON_BYTES,
    RefusedCheckpoint,
    check_code,
    check_index,
    check_inside,
    check_module,
    check_numbers,
    check_size,
    read_json,
    read_json_list,
)


# The arguments of `from_pretrained` that say where on the Hub, or where in a folder.
WHERE_TO_LOOK = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")

# The largest take some 40 MB.
MAX_TOKENIZER_BYTES = 256 * 2**20

_PICKLES = (".bin", ".bin.index.json", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
# What a Trainer saves beside the weights.
_NOT_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state).*")

_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_TOKENIZER_DATA = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt")
# Of the names of files in tokenizer_config.json, transformers opens these; those that end in `_file` it does not.
_LISTS_OF_FILES = ("fast_tokenizer_files", "init_inputs")
_OPENED_BY_TOKENIZERS = (*_LISTS_OF_FILES, "gguf_file", "merges", "vocab")
_PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True)
class Checkpoint:
    """
    What a checkpoint consists of, once it has passed the check.

    Args:
        adapter (`dict[str, Any]`, *optional*): The content of adapter_config.json.
        has_config (`bool`): Whether it has a config.json.
        has_weights (`bool`): Whether it has the weights of a whole model.
        asked (`tuple`): What was checked, and how strictly; see `answers`.
        files ([`Files`]): What else may be read of it.
    """

    adapter: Mapping[str, Any] | None
    has_config: bool
    has_weights: bool
    asked: tuple[str, Mapping[str, Any]]
    files: Files = field(repr=False, compare=False)

    def answers(self, name: str | os.PathLike[str], **how: Any) -> bool:
        """Whether [`check_checkpoint`] with the same arguments made this, and need not look again."""
        return self.asked == _asked(name, how)


def check_checkpoint(
    name: str | os.PathLike[str],
    *,
    use_safetensors: bool | None = True,
    trust_remote_code: bool | None = False,
    variant: str | None = None,
    **where: Any,
) -> Checkpoint:
    r"""
    Refuse a checkpoint that is unsafe to load: its files are read as data, and none of its weights is downloaded.

    Refused are weights that are only there as pickles; code, be it by `auto_map` for a type that transformers does not
    know or by kernels from the Hub; names of files outside the checkpoint; and JSON that is none, that is too large or
    nested too deep, or whose numbers are absurd. What a folder or a repository lacks is left to transformers to say.

    Args:
        name (`str` or `os.PathLike`): A folder or Hub id; a JSON or safetensors file is checked as such.
        use_safetensors (`bool`, *optional*): `False`: pickles pass, which torch then reads with `weights_only=True`.
        trust_remote_code (`bool`, *optional*): `True`: code passes.
        variant (`str`, *optional*): Of the names of the weights, such as `"fp16"`.
        where: As `from_pretrained` takes them: `cache_dir`, `force_download`, `local_files_only`, `proxies`, `revision`,
            `subfolder`, `token`.

    Returns:
        [`Checkpoint`]

    Raises:
        RefusedCheckpoint: A `ValueError`, see above.
        OSError: If there is no such repository, or the Hub cannot be asked and nothing of it is in the cache.
    """
    files = files_of(str(name), where)
    config_file = _config_file(files)
    config = files.read(config_file) if files.has(config_file) else {}
    check_numbers(files.naming(config_file), config)
    adapter = files.read(ADAPTER_CONFIG_NAME) if files.has(ADAPTER_CONFIG_NAME) else None
    if not trust_remote_code:
        check_code(files.naming(config_file), config)
        check_module(files.naming(ADAPTER_CONFIG_NAME), adapter or {})

    weights = [_with_variant(file, variant) for file in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)]
    named = config.get("transformers_weights")
    if named is not None:
        check_inside(files.naming(config_file), "transformers_weights", named)
        weights = [named]
    pickles_pass = use_safetensors is False
    for file in weights:
        if not (pickles_pass or file.endswith((".safetensors", ".json"))):
            raise RefusedCheckpoint(_about_pickle(file, files.name))
        if file.endswith(".json") and files.has(file):
            check_index(files.naming(file), files.read(file), pickles_pass)
    if not pickles_pass:
        _check_pickles(files, weights) if adapter is None else _check_pickles(files, [ADAPTER_SAFE_WEIGHTS_NAME])
    how = {"use_safetensors": use_safetensors, "trust_remote_code": trust_remote_code, "variant": variant, **where}
    return Checkpoint(adapter, files.has(CONFIG_NAME), any(map(files.has, weights)), _asked(name, how), files)


def _asked(name: str | os.PathLike[str], how: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    given = {key: value for key, value in how.items() if value is not None}
    return str(name), {"use_safetensors": True, "trust_remote_code": False, **given}


def check_tokenizer(name: str | os.PathLike[str], **where: Any) -> None:
    """[`check_checkpoint`] for what a tokenizer is loaded from: its JSON, and the files that this names."""
    files = files_of(str(name), where)
    for file in _TOKENIZER_FILES:
        if not files.has(file):
            continue
        values = files.read(file)
        for key in _OPENED_BY_TOKENIZERS:
            value = values.get(key)
            for opened in value if isinstance(value, list) and key in _LISTS_OF_FILES else [value]:
                if isinstance(opened, str):
                    check_inside(files.naming(file), key, opened)
                    files.check_size(opened, MAX_TOKENIZER_BYTES)
    for file in _TOKENIZER_DATA:
        files.check_size(file, MAX_TOKENIZER_BYTES)


def check_image_processor(name: str | os.PathLike[str], **where: Any) -> None:
    """[`check_checkpoint`] for what an image processor is loaded from."""
    files = files_of(str(name), where)
    for file in _PROCESSOR_FILES:
        if files.has(file):
            files.read(file)


def _with_variant(file: str, variant: str | None) -> str:
    """The name of a weights file of a variant, as transformers forms it: `model.fp16.safetensors`."""
    stem, _, ending = file.rpartition(".")
    return file if variant is None else f"{stem}.{variant}.{ending}"


# ---- what there is, and where ----


@dataclass(frozen=True)
class Files:
    """The files of a folder, or of a repository at one commit: their sizes as far as known, and how to get one."""

    name: str
    folder: Path | None
    listed: Mapping[str, int | None]
    where: Mapping[str, Any]

    def has(self, file: str) -> bool:
        return file in self.listed if self.folder is None else (self.folder / file).is_file()

    def names(self) -> list[str]:
        """Those at the top."""
        if self.folder is None:
            return [file for file in self.listed if "/" not in file]
        return [path.name for path in self.folder.iterdir() if path.is_file()] if self.folder.is_dir() else []

    def naming(self, file: str) -> str:
        return f"{file} of {self.name!r}"

    def check_size(self, file: str, limit: int) -> None:
        if self.has(file):
            size = self.listed[file] if self.folder is None else (self.folder / file).stat().st_size
            check_size(self.naming(file), size, limit)

    def read(self, file: str) -> dict[str, Any]:
        self.check_size(file, MAX_JSON_BYTES)
        return read_json(self.naming(file), self.path(file))

    def read_list(self, file: str) -> list[Any]:
        self.check_size(file, MAX_JSON_BYTES)
        return read_json_list(self.naming(file), self.path(file))

    def path(self, file: str) -> Path:
        """Where a file is, once it has been got from the Hub."""
        if self.folder is not None:
            return self.folder / file
        path = cached_file(self.name, file, **self.where)
        if path is None:
            raise OSError(f"{self.naming(file)} is listed by the Hub, but could not be got from it: try again.")
        return Path(path)


def files_of(name: str, where: Mapping[str, Any]) -> Files:
    """The files of a checkpoint by the arguments `where` of `from_pretrained`; an `OSError` if there is none of that name."""
    subfolder = where.get("subfolder") or ""
    if os.path.isfile(name):
        if not name.endswith((".json", ".safetensors", *_PICKLES)):
            raise RefusedCheckpoint(
                f"{name!r} is a file, and no model: name the folder of a model, which has a config.json, or a Hub id."
            )
        return _beside(Path(name))
    if os.path.isdir(name):
        return Files(name, Path(name, subfolder), {}, {})
    if where.get("local_files_only"):
        return _in_cache(name, where, None)
    try:
        about = HfApi().model_info(name, revision=where.get("revision"), token=where.get("token"), files_metadata=True)
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise OSError(f"{name!r} is no folder, and no model on the Hub that can be read: {error}") from error
    except (HubClientError, OSError) as error:
        # No connection, or HF_HUB_OFFLINE. As in transformers, what is in the cache will do.
        return _in_cache(name, where, error)
    prefix = f"{subfolder.strip('/')}/" if subfolder else ""
    files = [file for file in about.siblings or () if file.rfilename.startswith(prefix)]
    listed = {file.rfilename.removeprefix(prefix): file.size for file in files}
    return Files(name, None, listed, {**where, "revision": about.sha})


def _in_cache(name: str, where: Mapping[str, Any], error: Exception | None) -> Files:
    """The files of a repository that an earlier load has left here: links to where the cache keeps their content."""
    for file in (CONFIG_NAME, ADAPTER_CONFIG_NAME, *_TOKENIZER_FILES, *_PROCESSOR_FILES):
        path = try_to_load_from_cache(
            name,
            os.path.join(where.get("subfolder") or "", file),
            cache_dir=where.get("cache_dir"),
            revision=where.get("revision"),
        )
        if isinstance(path, str):
            return Files(name, Path(path).parent, {}, {})
    raise OSError(
        f"{name!r} is no folder, and nothing of it is in the cache: check the name, and that the Hub can be reached."
    ) from error


def _beside(path: Path) -> Files:
    """A checkpoint that is named by one of its files: the config by any name, or the weights."""
    if path.suffix == ".json":
        files = Files(str(path.parent), path.parent, {}, {})
        config = files.read(path.name)
        check_numbers(files.naming(path.name), config)
        check_code(files.naming(path.name), config)
    elif path.suffix not in (".safetensors", ".gguf"):
        raise RefusedCheckpoint(_about_pickle(path.name, str(path.parent)))
    return Files(str(path), None, {}, {})


def _config_file(files: Files) -> str:
    """config.json, or the one among the files it names that is for the installed version of transformers."""
    if not files.has(CONFIG_NAME):
        return CONFIG_NAME
    others = files.read(CONFIG_NAME).get("configuration_files")
    if others is None:
        return CONFIG_NAME
    for other in others if isinstance(others, list) else [others]:
        check_inside(files.naming(CONFIG_NAME), "configuration_files", other)
    return get_configuration_file(others)


# ---- pickles ----


def _check_pickles(files: Files, safe: list[str]) -> None:
    """Refuse if there are weights, but none in the files that are safe."""
    if any(files.has(file) for file in safe):
        return
    pickles = sorted(file for file in files.names() if file.endswith(_PICKLES) and not _NOT_WEIGHTS.fullmatch(file))
    if pickles:
        raise RefusedCheckpoint(_about_pickle(pickles[0], files.name))


def _about_pickle(file: str, name: str) -> str:
    target = f"{file.partition('.')[0].replace('pytorch_model', 'model')}.safetensors"
    convert = (
        "import torch, safetensors.torch as st; st.save_file({k: v.clone() for k, v in "
        f"torch.load({file!r}, weights_only=True).items()}}, {target!r}, {{'format': 'pt'}})"
    )
    return (
        f"{file} of {name!r} is a pickle, which can run code when it is opened, and weights are read from safetensors "
        f'only. Where you trust it, convert it in its folder: python -c "{convert}"; or name a revision that has '
        f"{target} (many are at revision='refs/pr/1' or so), or pass use_safetensors=False."
    )
