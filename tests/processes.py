"""
Scripts in processes of their own, with an environment of their own, that need not import everything anew: each is a fork of a server
that holds what reads no variable of the environment when it is imported, torch above all. What does so (the client of the Hub,
transformers, datasets) is imported by the script.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


_PRELOADED = (
    "torch",
    "torch._dynamo",
    "torch.distributed.tensor",
    "torch.export",
    "numpy",
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "scipy.sparse.csgraph",
    "sklearn.linear_model",
    "sklearn.metrics",
    "PIL.Image",
    "safetensors.torch",
    "tokenizers",
)


def run_python(
    code: str, *argv: Any, environment: Mapping[str, str], timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """
    Run a script as `python -c code *argv` would, and wait for it.

    Args:
        code (`str`): The script.
        argv: Its arguments.
        environment (`Mapping[str, str]`): All of its environment.
        timeout (`float`): Seconds after which it is killed.

    Raises:
        `subprocess.TimeoutExpired`: if it takes longer.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        command = [sys.executable, "-c", code, *map(str, argv)]
        return subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=timeout)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = context.Process(
            target=_run, args=(code, [str(word) for word in argv], dict(environment), os.getcwd(), str(out), str(err))
        )
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(code, timeout, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(code, process.exitcode or 0, out.read_text(), err.read_text())


def _run(code: str, argv: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    for path, stream in ((os.devnull, 0), (out, 1), (err, 2)):
        file = os.open(path, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream)
        os.close(file)
    # As they are to be until the end of the process.
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["-c", *argv]
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
