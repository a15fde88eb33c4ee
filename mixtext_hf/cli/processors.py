"""The tokenizer or the image processor of a model: looked at, loaded, and what is said where there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

# At the top of transformers 5.17 this name is a placeholder that asks for torchvision.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from mixtext_hf.models.checkpoint import check_image_processor, check_tokenizer


logger = logging.getLogger(__name__)

_WHERE = ("cache_dir", "revision", "token")
_OF_TOKENIZERS = ("tokenizer*", "vocab*", "*.model")
_OF_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def load_tokenizer(name: str, **where: Any) -> Any:
    """
    Args:
        name (`str`): Folder or Hub id.
        where: `cache_dir`, `revision` and `token`, and what else its class takes.

    Raises:
        `ValueError`: if there is no tokenizer, with the argument that names another one.
    """
    check_tokenizer(name, **{key: value for key, value in where.items() if key in _WHERE})
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(_there_is_none("tokenizer", _OF_TOKENIZERS, name, error)) from error


def load_word_tokenizer(load: Callable[..., Any]) -> Any:
    """A tokenizer of sentences of words: those of bytes (RoBERTa, GPT-2) take these only if they put a blank before each. It pads on the right."""
    tokenizer = load()
    try:
        tokenizer([["a"]], is_split_into_words=True)
    except (AssertionError, ValueError):
        tokenizer = load(add_prefix_space=True)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
        logger.warning(
            "The tokenizer has no padding token: it is %r now, the one that ends a text.", tokenizer.pad_token
        )
    return tokenizer


def load_image_processor(name: str, *, size: dict[str, Any] | None = None, **where: Any) -> Any:
    """
    Args:
        name (`str`): Folder or Hub id.
        size (`dict`, *optional*): Settings of its size that take the place of its own.
        where: `cache_dir`, `revision` and `token`.

    Raises:
        `ValueError`: if there is no image processor, with the argument that names another one.
    """
    check_image_processor(name, **where)
    load = partial(AutoImageProcessor.from_pretrained, name, backend="pil", trust_remote_code=False, **where)
    try:
        return load(**(size or {}))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(_there_is_none("image_processor", _OF_PROCESSORS, name, error)) from error


def _there_is_none(what: str, files: Sequence[str], name: str, error: Exception) -> str:
    found = [path.name for path in Path(name).iterdir()] if Path(name).is_dir() else []
    is_missing = Path(name).is_dir() and not any(fnmatch(file, pattern) for file in found for pattern in files)
    why = f"the folder has none of {', '.join(files)}" if is_missing else " ".join(str(error).split()).rstrip(".")
    return f"There is no {what.replace('_', ' ')} in {name!r} that could be loaded ({why}): name the folder or Hub id of one by --{what}_name."
