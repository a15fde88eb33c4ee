"""
Scripts in processes of their own, with an environment of their own, that need not import everything anew: each is a fork of a process
that holds what reads no variable of the environment when it is imported, torch above all. What does so (the client of the Hub,
transformers, datasets) is imported by the script.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


_HELD = (
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
    if not hasattr(os, "fork"):
        command = [sys.executable, "-c", code, *map(str, argv)]
        return subprocess.run(command, env=dict(environment), capture_output=True, text=True, timeout=timeout)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        task = {
            "code": code,
            "argv": [str(word) for word in argv],
            "environment": dict(environment),
            "folder": os.getcwd(),
            "out": str(out),
            "err": str(err),
        }
        server = _server()
        assert server.stdin is not None and server.stdout is not None
        server.stdin.write(json.dumps(task) + "\n")
        server.stdin.flush()
        if not select.select([server.stdout], [], [], timeout)[0]:
            _stop(server)
            _server.cache_clear()
            raise subprocess.TimeoutExpired(code, timeout, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(code, int(server.stdout.readline()), out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    """One for all tests of this process; a group of its own, so that what it forked ends with it."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, __file__], text=True, start_new_session=True, **pipes)
    atexit.register(_stop, server)
    return server


def _stop(server: subprocess.Popen[str]) -> None:
    if server.poll() is None:
        os.killpg(server.pid, 9)
        server.wait()


# ---- in the server, and in what it forks ----


def _serve() -> None:
    for name in _HELD:
        import_module(name)
    # Each training collects garbage: not among what is imported.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _run(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


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
    sys.argv, sys.path = ["-c", *argv], [path for path in sys.path if path != str(Path(__file__).parent)]
    # Ends the process as the interpreter does: with the traceback, or the status of `sys.exit`.
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    sys.exit(0)


if __name__ == "__main__":
    _serve()
