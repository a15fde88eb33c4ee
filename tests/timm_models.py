"""timm, where it is installed, with torchvision or without.

timm asks for torchvision when it is imported: for transforms of images, which nothing here uses, and for one class of norms. Where
there is none, stand-ins are put in its place for as long as the import takes.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any, cast

import pytest


class _Named(type):
    """A class whose constants are called as they are asked for."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandIn(ModuleType):
    """A package that has whatever is asked of it: classes without anything in them."""

    __path__: list[str] = []  # noqa: RUF012  # of modules

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Named(name, (), {})
        setattr(self, name, made)
        return made


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] != "torchvision":
            return None
        return importlib.machinery.ModuleSpec(name, cast(Any, _Finder), is_package=True)

    @staticmethod
    def create_module(spec: Any) -> ModuleType:
        return _StandIn(spec.name)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        pass


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """timm, and transformers in the belief that it can use it; skips where it is not installed, or cannot be imported."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed (without torchvision: pip install --no-deps timm)")
    from transformers import utils
    from transformers.utils import import_utils

    if not utils.is_torchvision_available():
        # transformers takes timm for missing where torchvision is. It asks before it imports its wrapper, and in its `__init__`.
        _import_without_torchvision()
        monkeypatch.setitem(import_utils.BACKENDS_MAPPING, "timm", (lambda: True, ""))
        monkeypatch.setattr(utils, "is_timm_available", lambda: True)
        monkeypatch.setattr(import_utils, "is_timm_available", lambda: True)
    return importlib.import_module("timm")


def _import_without_torchvision() -> None:
    before = set(sys.modules)
    sys.meta_path.append(_Finder)
    try:
        importlib.import_module("timm.data")
    except (ImportError, AttributeError, TypeError) as error:
        pytest.skip(f"this timm cannot be imported without torchvision: {error}")
    finally:
        sys.meta_path.remove(_Finder)
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "torchvision":
                del sys.modules[name]
