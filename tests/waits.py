"""What would wait for a GPU, seen without one: tensors of the device `meta` have no values that could be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode


class _Copies(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function is torch.ops.aten._to_copy.default and args[0].device != result.device:
            assert kwargs.get("non_blocking"), f"a copy from {args[0].device} to {result.device} waits"
        return result


class _Constructors(TorchFunctionMode):
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if function in (torch.tensor, torch.as_tensor):
            assert result.device.type == "cpu", f"torch.{function.__name__}({args[0]}) on {result.device} waits"
        return result


@contextmanager
def no_waits() -> Iterator[None]:
    """Fails where the host copies to a device in the usual way, which waits until that has nothing left to do."""
    with _Copies(), _Constructors():
        yield
