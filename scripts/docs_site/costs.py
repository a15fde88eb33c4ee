"""What a step of a method costs, as the committed results of `mixtext-hf benchmark` say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixtext_hf.methods import METHODS


BASELINE = "erm"


@dataclass(frozen=True)
class Cost:
    """
    What was measured of a method.

    Args:
        label (`str`): What was measured: the method, or a kind of step.
        time, memory (`float`): Ratios to a plain step.
        command (`str`): What measured it; empty where the file does not say.
        file (`str`): Where it stands, below `docs/`.
    """

    label: str
    time: float
    memory: float
    command: str
    file: str


def costs_of(method: str, folder: Path) -> list[Cost]:
    """
    All that was measured of a method.

    Args:
        method (`str`): Its name.
        folder (`Path`): Of the results, with those of `_FILES` that are there.
    """
    found: list[Cost] = []
    for name, read in _FILES.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content if isinstance(content, list) else content["rows"]
        command = "" if isinstance(content, list) else str(content.get("command", ""))
        found += [
            Cost(label, time, memory, command, f"results/benchmark/{path.name}")
            for label, time, memory in read(method, rows)
        ]
    return found


def _of_texts(method: str, rows: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    # What follows the name says how the method was run, as `_kept`; unless it is another method's.
    return [
        (row["method"], row["time_ratio"], row["memory_ratio"])
        for row in rows
        if row["method"] == method or (row["method"].startswith(f"{method}_") and row["method"] not in METHODS)
    ]


def _of_images(method: str, rows: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    plain = next((row["peak memory MiB"] for row in rows if row["method"] == BASELINE), None)
    if plain is None:
        return []
    return [
        (row["method"], row["ratio to erm"], row["peak memory MiB"] / plain) for row in rows if row["method"] == method
    ]


def _of_mixtext(method: str, rows: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    if method != "mixtext":
        return []
    return [
        ("mixtext", row["mixtext_time_ratio"], row["mixtext_memory_ratio"]) for row in rows if row["step"] == BASELINE
    ]


_FILES: dict[str, Callable[[str, list[dict[str, Any]]], list[tuple[str, float, float]]]] = {
    "text": _of_texts,
    "vision": _of_images,
    "vision_vit": _of_images,
    "mixtext": _of_mixtext,
    "mixtext_ag_news": _of_mixtext,
}
