"""Checkpoints of sentence-transformers, written by hand: nothing of the library is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tiny import tiny_model, tiny_tokenizer

from mixtext_hf.models.sentence_checkpoint import POOLINGS


WIDTH = 32


def write(path: Path, values: Any) -> None:
    """A file of JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values), encoding="utf-8")


def older(*names: str) -> dict[str, Any]:
    """A config of a Pooling as it was written before `pooling_mode`."""
    return {"word_embedding_dimension": WIDTH, **{key: name in names for name, key in POOLINGS.items()}}


def newer(*names: str) -> dict[str, Any]:
    """A config of a Pooling as it is written today."""
    mode: str | list[str] = names[0] if len(names) == 1 else list(names)
    return {"embedding_dimension": WIDTH, "pooling_mode": mode, "include_prompt": True}


def dense(folder: Path, into: int, out: int, **config: Any) -> dict[str, torch.Tensor]:
    """A Dense with random weights; returns them."""
    about: dict[str, Any] = {
        "in_features": into,
        "out_features": out,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    generator = torch.Generator().manual_seed(into)
    weights = {"linear.weight": torch.randn(out, into, generator=generator) / into**0.5}
    about |= config
    if about["bias"]:
        weights["linear.bias"] = torch.randn(out, generator=generator)
    if about.get("use_residual") and into != out:
        weights["residual.weight"] = torch.randn(out, into, generator=generator) / into**0.5
    write(folder / "config.json", about)
    save_file(weights, folder / "model.safetensors")
    return weights


def checkpoint(folder: Path, pooling: dict[str, Any] | None, *behind: str, transformer: str = "", **bert: Any) -> Path:
    """A checkpoint of sentence-transformers by hand: a tiny BERT, a Pooling, and the named modules behind it."""
    model = tiny_model("bert")
    model.base_model.save_pretrained(folder / transformer)
    tiny_tokenizer().save_pretrained(folder / transformer)
    write(folder / transformer / "sentence_bert_config.json", {"max_seq_length": 16, "do_lower_case": False, **bert})
    kinds = ["Transformer", *([] if pooling is None else ["Pooling"]), *behind]
    paths = [transformer, *(f"{i}_{kind.rpartition('.')[2]}" for i, kind in enumerate(kinds) if i)]
    entries = [
        {
            "idx": i,
            "name": str(i),
            "path": path,
            "type": kind if "." in kind else f"sentence_transformers.models.{kind}",
        }
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write(folder / "modules.json", entries)
    if pooling is not None:
        write(folder / "1_Pooling" / "config.json", pooling)
    return folder
