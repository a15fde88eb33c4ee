"""
A process with everything imported that runs the programs of bash blocks: each in a fork of its own, which costs no import.

A program on the PATH of a block is a link to `CLIENT`, a small script that hands its name, arguments, folder, environment and open
files 0 to 2 to the server, and ends with the status that comes back.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn


CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(os.path.join(os.path.dirname(os.path.realpath(sys.argv[0])), "socket"))
asked = {{"name": os.path.basename(sys.argv[0]), "argv": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
content = json.dumps(asked).encode()
server.sendall(len(content).to_bytes(8, "big"))
socket.send_fds(server, [b"."], [0, 1, 2])
server.sendall(content)
status = server.recv(1)
sys.exit(status[0] if status else 70)
"""


def start(folder: Path, names: list[str], run: Callable[[str, list[str]], int | None]) -> int:
    """
    Fork the server off this process, and make the programs.

    Args:
        folder (`Path`): Of the programs, new.
        names (`list[str]`): Of the programs.
        run (`Callable`): Called with the name and the arguments in the fork of a program; what it returns, raises by `sys.exit` or
            otherwise is the status, as of `python`.

    Returns:
        `int`: The id of the process, for [`stop`].
    """
    folder.mkdir(parents=True)
    client = folder / "client"
    client.write_text(CLIENT.format(python=sys.executable))
    client.chmod(0o755)
    for name in names:
        (folder / name).symlink_to(client)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    process = os.fork()
    if process == 0:
        # What a command leaves running ends with it.
        os.setpgid(0, 0)
        _serve(listener, run)
    os.setpgid(process, process)
    listener.close()
    return process


def stop(process: int) -> None:
    """End the server and all that it forked."""
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)


def _serve(listener: socket.socket, run: Callable[[str, list[str]], int | None]) -> NoReturn:
    # Those of programs that have ended are not waited for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    parent = os.getppid()
    listener.settimeout(2)
    while os.getppid() == parent:
        try:
            client, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            try:
                listener.close()
                client.settimeout(None)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _wait_for(client, run)
            finally:
                # Whatever happens: what called `start` is not gone on with.
                os._exit(70)
        client.close()
    # Nobody is there to end it.
    os.killpg(0, signal.SIGKILL)
    os._exit(70)


def _wait_for(client: socket.socket, run: Callable[[str, list[str]], int | None]) -> NoReturn:
    size = int.from_bytes(_read(client, 8), "big")
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    asked = json.loads(_read(client, size))
    child = os.fork()
    if child == 0:
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os._exit(_run(run, **asked))
    for file in files:
        os.close(file)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    client.sendall(bytes([code if code >= 0 else 128 - code]))
    os._exit(0)


def _read(client: socket.socket, size: int) -> bytes:
    content = b""
    while len(content) < size:
        part = client.recv(size - len(content))
        if not part:
            os._exit(70)
        content += part
    return content


def _run(
    run: Callable[[str, list[str]], int | None], name: str, argv: list[str], folder: str, environment: dict[str, str]
) -> int:
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    status: int | str | None
    try:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        status = run(name, argv)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    status = status if isinstance(status, int) else 0 if status is None else 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        # As where `| head` has read enough.
        status = 128 + signal.SIGPIPE
    return status & 255
