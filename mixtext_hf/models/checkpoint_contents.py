"""What a checkpoint says of itself in JSON: read no further than is sane, and refused where what it says is unsafe or absurd.

A file or what stands in it comes in, errors come out: knows nothing of the Hub, of what else there is, and of models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING


# A config with the names of 22,000 classes takes 2 MB.
MAX_JSON_BYTES = 32 * 2**20
MAX_DEPTH = 64
# The largest sets of labels have some 3 million, and a config makes two dictionaries of them.
MAX_LABELS = 5_000_000
MAX_LAYERS = 10_000
MAX_SIZE = 100_000_000
# Numbers in one matrix: 256 GB in float32. The largest of today's models stay below 2**33.
MAX_MATRIX = 2**36

_LABELS = re.compile(r"_?num_labels")
_LAYERS = re.compile(r"(.*_)?(layers?|depths?)")
_SIZES = re.compile(r"(.*_)?(channels|dims?|embd|embeddings|heads|model|positions|sizes?)")
_WIDTHS = ("hidden_size", "dim", "d_model", "n_embd")
_HEIGHTS = (*_WIDTHS, "hidden_dim", "intermediate_size", "vocab_size", "num_labels")

_KERNELS = re.compile(r"_?(attn|experts)_implementation(_internal)?")


class RefusedCheckpoint(ValueError):
    """A checkpoint that is not opened; the message names the file, what is wrong with it and what to do."""


# ---- what is read ----


def check_size(what: str, size: int | None, limit: int) -> None:
    """Refuse a file that is larger than anything that belongs there; `None` is a size that nobody knows."""
    if size is not None and size > limit:
        raise RefusedCheckpoint(
            f"{what} has {size / 2**20:.0f} MiB, and at most {limit // 2**20} MiB are read: nothing that belongs there "
            "is so large. Use another checkpoint, or remove from the file what does not belong there."
        )


def read_json(what: str, path: Path) -> dict[str, Any]:
    """The object that a file of JSON is."""
    values: dict[str, Any] = _read_json(what, path, dict)
    return values


def read_json_list(what: str, path: Path) -> list[Any]:
    """The list that a file of JSON is."""
    values: list[Any] = _read_json(what, path, list)
    return values


def _read_json(what: str, path: Path, kind: type) -> Any:
    # Read no further than allowed: the size that the Hub gave may be wrong, and a file may grow.
    with path.open("rb") as file:
        content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        check_size(what, max(len(content), path.stat().st_size), MAX_JSON_BYTES)
    remedy = "Save the checkpoint anew, or get the file again."
    try:
        values = json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise RefusedCheckpoint(f"{what} is nested too deep, beyond {MAX_DEPTH} levels. {remedy}") from error
    except ValueError as error:
        raise RefusedCheckpoint(f"{what} is not valid JSON ({error}). {remedy}") from error
    if not isinstance(values, kind):
        wanted = "an object {...}" if kind is dict else "a list [...]"
        raise RefusedCheckpoint(f"{what} holds a {type(values).__name__}, where {wanted} belongs. {remedy}")
    if _deeper_than(values, MAX_DEPTH):
        raise RefusedCheckpoint(f"{what} is nested too deep, beyond {MAX_DEPTH} levels. {remedy}")
    return values


def _deeper_than(value: Any, depth: int) -> bool:
    level: list[Any] = [value]
    for _ in range(depth):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    within = value.values() if isinstance(value, dict) else value
    return [inner for inner in within if isinstance(inner, (dict, list))]


def _objects(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The object itself, and those inside it: the configs of parts of a model."""
    waiting: list[Any] = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            # The names of classes are anything.
            value = {key: inner for key, inner in value.items() if key not in ("id2label", "label2id")}
            yield value
        waiting.extend(_inside(value))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    within: Iterable[Any] = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for inner in within for text in _strings(inner)]


# ---- what is refused ----


def check_numbers(what: str, config: dict[str, Any]) -> None:
    """Refuse a config whose numbers describe a model that fits nowhere."""
    for values in _objects(config):
        for key, value in values.items():
            for number in value if isinstance(value, list) else [value]:
                if isinstance(number, (int, float)) and number > _limit_of(key):
                    raise RefusedCheckpoint(
                        f"{what} says {key}={number}, and at most {_limit_of(key):,} are believed: a model of that "
                        "size fits nowhere. Correct the number, or use another checkpoint."
                    )
        width, height = (
            max((values[key] for key in keys if isinstance(values.get(key), int)), default=0)
            for keys in (_WIDTHS, _HEIGHTS)
        )
        if width * height > MAX_MATRIX:
            raise RefusedCheckpoint(
                f"{what} describes a matrix of {height:,} by {width:,}, which fits nowhere. Correct the sizes, or use "
                "another checkpoint."
            )


def _limit_of(key: str) -> float:
    for pattern, limit in ((_LABELS, MAX_LABELS), (_LAYERS, MAX_LAYERS), (_SIZES, MAX_SIZE)):
        if pattern.fullmatch(key):
            return limit
    return float("inf")


def check_code(what: str, config: dict[str, Any]) -> None:
    """Refuse a config that asks for code of its own."""
    remedy = (
        "and it is not run. Use a checkpoint of a type that transformers knows, or, where you have read the code and "
        "trust it, pass trust_remote_code=True."
    )
    model_type = config.get("model_type")
    if config.get("auto_map") and not (isinstance(model_type, str) and model_type in CONFIG_MAPPING):
        raise RefusedCheckpoint(
            f"{what} asks for code of its own (auto_map) for the type {model_type!r}, which transformers does not "
            f"know, {remedy}"
        )
    for values in _objects(config):
        for key, value in values.items():
            if _KERNELS.fullmatch(key) and any("/" in text for text in _strings(value)):
                raise RefusedCheckpoint(f"{what} asks for code from the Hub ({key}={value!r}), {remedy}")


def check_module(what: str, adapter: dict[str, Any]) -> None:
    """Refuse the config of an adapter that asks to import another module."""
    module = adapter.get("megatron_core")
    if module not in (None, "megatron.core"):
        raise RefusedCheckpoint(
            f"{what} asks to import the module megatron_core={module!r}, which is not done. Remove it from the file, or "
            "use another adapter."
        )


def check_inside(what: str, key: str, file: Any) -> None:
    """Refuse the name of a file, given under `key`, that is not inside the checkpoint."""
    inside = isinstance(file, str) and file != "" and not file.startswith("/") and not set(file) & set("\\\0:")
    if not inside or ".." in file.split("/"):
        raise RefusedCheckpoint(
            f"{what} names the file {file!r} ({key}), which is not inside the checkpoint, and is not read. Put the file "
            "beside it and name it without a path, or use another checkpoint."
        )


def check_index(what: str, index: dict[str, Any], pickles_pass: bool = False) -> None:
    """Refuse an index that names other weights than safetensors inside the checkpoint."""
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not isinstance(index.get("metadata", {}), dict):
        raise RefusedCheckpoint(
            f"{what} has no weight_map that says which file holds which weight: save the checkpoint anew."
        )
    for shard in set(map(str, shards.values())):
        check_inside(what, "weight_map", shard)
        if not (pickles_pass or shard.endswith(".safetensors")):
            raise RefusedCheckpoint(
                f"{what} names {shard!r} (weight_map), and weights are read from safetensors only: convert the "
                "checkpoint with save_pretrained where you trust it."
            )
