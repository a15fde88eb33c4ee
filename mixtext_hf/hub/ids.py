"""Names of models and data sets: which are ids on the Hub, and what a card calls the others."""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath, PureWindowsPath


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def is_hub_id(name: str | None) -> bool:
    """Whether it looks like the id of a repository on the Hub, with its owner."""
    return name is not None and _HUB_ID.fullmatch(name) is not None


def base_model_name(name: str | None) -> str | None:
    """What a card calls the model that training started from: its id, or the name of its folder, which is no id."""
    if name and os.path.isdir(name):
        return os.path.basename(os.path.abspath(name))
    return name or None


def shown_name(base_model: str) -> str:
    """An id as it is, of a path the last component."""
    return base_model if is_hub_id(base_model) else PureWindowsPath(base_model).name or base_model


def public(name: str) -> str:
    """A name as it is, and of a path that leads out of the working directory its last component."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or name.startswith(("~", "..")):
            return path.name
    return name
