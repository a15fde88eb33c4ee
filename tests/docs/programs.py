"""
The programs that bash blocks of the documentation may name, besides the usual tools of a shell.

`mixtext-hf` and `python` run what they are given, in a fork with everything imported, smaller by `shrink.py`; `torchrun` and `accelerate
launch` read their own flags by their own parsers and run the command in one process. The others are checked and not carried out:

- `pip install`: extras of this package are in `pyproject.toml`, requirements have the form of one, files and folders are there.
- `make`: `make -n` knows the target and its variables; environments that it would make are made as by `python -m venv`.
- `git clone`: makes the folder of the repository, with the data beside it. `python -m venv`: makes `bin/activate`.
- `hf`: its own parser takes the words. `python app.py` of a Space: compiles, for it needs gradio.
- `python scripts/soak.py` and `python tests/...`, `python -m pytest`: the file is there and compiles, for they take minutes; so do
  `scripts/lower_bounds.py` and others that finish at once in full.
- `tensorboard`: the folder is there. `ruff`, `mypy`, `pre-commit`, `mkdocs`, `pytest`: the files that are named are there.

A program that is neither here nor in `TOOLS` is not found by the shell, and the block fails.
"""

from __future__ import annotations

import contextlib
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blocks import ROOT
from packaging.requirements import Requirement
from shrink import small
from world import copy_repository

from mixtext_hf.cli.commands import COMMANDS


TOOLS = [
    "[",
    "awk",
    "basename",
    "bash",
    "cat",
    "chmod",
    "cmp",
    "column",
    "cp",
    "cut",
    "date",
    "diff",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "file",
    "find",
    "fold",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "id",
    "join",
    "ln",
    "ls",
    "mkdir",
    "mktemp",
    "mv",
    "nl",
    "nohup",
    "nproc",
    "od",
    "paste",
    "printenv",
    "printf",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sleep",
    "sort",
    "split",
    "stat",
    "tac",
    "tail",
    "tar",
    "tee",
    "test",
    "timeout",
    "touch",
    "tr",
    "tree",
    "true",
    "uname",
    "uniq",
    "unzip",
    "wc",
    "which",
    "xargs",
    "yes",
    "zcat",
    "zip",
]
_MAKE = shutil.which("make")
# Scripts that are a command under another name.
_COMMAND_SCRIPTS = {
    "augment_text": "augment-text",
    "benchmark": "benchmark",
    "compare_methods": "compare",
    "evaluate_model": "evaluate",
    "push": "push",
    "show_mixes": "show-mixes",
    "train_image": "train-image",
    "train_text": "train-text",
}
_SLOW = ("soak.py",)
_MODULES = {module: name for name, (module, _) in COMMANDS.items()}


def run(name: str, argv: list[str], world: Path) -> int | None:
    """Do what a program does; its status as `sys.exit` takes it."""
    if name == "git":
        return git(argv, world)
    # `pip3`, `python3.12`
    return PROGRAMS[re.sub(r"[\d.]+$", "", name)](argv)


def names() -> list[str]:
    """All programs, under each of their names."""
    return [*PROGRAMS, "git", "pip3", "python3"]


# ---- what is run ----


def mixtext_hf(argv: list[str]) -> int | None:
    from mixtext_hf.cli.main import main

    words = argv[:1] if argv[:1] == ["--debug"] else []
    sys.argv = ["mixtext-hf", *argv]
    main([*words, *small(argv[len(words) :])])
    return 0


def python(argv: list[str]) -> int | None:
    argv = list(argv)
    while argv and argv[0] in ("-u", "-I", "-s", "-E", "-B"):
        del argv[0]
    if not argv or argv[0] == "-":
        return _code(sys.stdin.read(), argv)
    word, *rest = argv
    if word in ("-V", "--version"):
        print(f"Python {sys.version.split()[0]}")
        return 0
    if word == "-c":
        # As if it were a process of its own, which has not imported this package.
        for name in [name for name in sys.modules if name.partition(".")[0] == "mixtext_hf"]:
            del sys.modules[name]
        return _code(rest[0], ["-c", *rest[1:]])
    if word == "-m":
        return _module(rest[0], rest[1:])
    if word.startswith("-"):
        return _failed("python", f"{word} is not known to the tests")
    return _script(Path(word), rest)


def _code(source: str, argv: list[str]) -> int | None:
    sys.argv, sys.path[:0] = argv, [""]
    exec(compile(source, "<string>", "exec"), {"__name__": "__main__"})
    return 0


def _module(name: str, argv: list[str]) -> int | None:
    if name in ("pip", "pytest", "venv", "mkdocs"):
        return PROGRAMS[name](argv)
    if name == "torch.distributed.run":
        return torchrun(argv)
    if name in ("accelerate.commands.launch", "accelerate.commands.accelerate_cli"):
        return accelerate(["launch", *argv] if name.endswith("launch") else argv)
    if name == "mixtext_hf.cli.main":
        return mixtext_hf(argv)
    command = _MODULES.get(name.removeprefix("mixtext_hf.cli."))
    if command is not None:
        argv = small([command, *argv])[1:]
    elif name.startswith("mixtext_hf.cli.") or find_spec(name) is None:
        # Others of the package write into it.
        return 0 if find_spec(name) else _failed("python", f"there is no module {name}")
    elif name == "build":
        return 0
    sys.argv = [name, *argv]
    runpy.run_module(name, run_name="__main__", alter_sys=True)
    return 0


def _script(path: Path, argv: list[str]) -> int | None:
    if not path.is_file():
        return _failed("python", f"there is no {path}")
    source = path.read_text(encoding="utf-8")
    code = compile(source, str(path), "exec")
    if path.name == "app.py" or path.name in _SLOW or "tests" in path.resolve().parts[-3:-1]:
        return 0
    if path.parent.name == "scripts" and path.stem in _COMMAND_SCRIPTS:
        argv = small([_COMMAND_SCRIPTS[path.stem], *argv])[1:]
    if path.parent.name == "scripts" and path.stem == "variants":
        argv = [*argv[:1], *small(["train-text", *argv[1:]])[1:]]
    sys.argv, sys.path[:0] = [str(path), *argv], [str(path.resolve().parent)]
    exec(code, {"__name__": "__main__", "__file__": str(path.absolute())})
    return 0


def torchrun(argv: list[str]) -> int | None:
    from torch.distributed.run import get_args_parser

    return _launched(get_args_parser().parse_args(argv))


def accelerate(argv: list[str]) -> int | None:
    if argv[:1] != ["launch"]:
        known = find_spec(f"accelerate.commands.{(argv or ['?'])[0].replace('-', '_')}") is not None
        return 0 if known else _failed("accelerate", f"no command {argv[:1]}")
    from accelerate.commands.launch import launch_command_parser

    return _launched(launch_command_parser().parse_args(argv[1:]))


def _launched(args: Any) -> int | None:
    program, rest = Path(args.training_script).name, list(args.training_script_args)
    if args.no_python:
        return PROGRAMS[program](rest) if program in PROGRAMS else _failed(program, "not known to the tests")
    if args.module:
        return python(["-m", args.training_script, *rest])
    # A program that is a Python script itself.
    if program == "mixtext-hf" and Path(args.training_script).is_file():
        return mixtext_hf(rest)
    return python([args.training_script, *rest])


# ---- what is checked ----


def _failed(program: str, said: str) -> int:
    print(f"{program}: error: {said}", file=sys.stderr)
    return 2


def extras() -> set[str]:
    """The extras of this package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return set(project["optional-dependencies"])


def pip(argv: list[str]) -> int | None:
    if argv[:1] in (["--version"], ["list"], ["freeze"], ["check"], ["show"], ["uninstall"]):
        return 0
    if argv[:1] != ["install"]:
        return _failed("pip", f"{argv[:1]} is not known to the tests")
    words, asked = argv[1:], 0
    while words:
        word = words.pop(0)
        flag, _, value = word.partition("=")
        if flag in ("-e", "--editable", "-r", "--requirement", "-c", "--constraint"):
            value = value if flag.startswith("--") and value else words.pop(0)
            if flag in ("-e", "--editable"):
                _check_folder(value)
            elif not Path(value).is_file():
                return _failed("pip", f"there is no {value}")
            asked += flag not in ("-c", "--constraint")
        elif flag in ("--index-url", "--extra-index-url", "-i", "--find-links"):
            value = value or words.pop(0)
            if not re.match(r"https?://\S+$", value):
                return _failed("pip", f"{value} is no address")
        elif flag in ("--quiet", "-q", "--upgrade", "-U", "--no-deps", "--pre", "--user", "--force-reinstall"):
            continue
        elif flag.startswith("-"):
            return _failed("pip", f"{flag} is not known to the tests")
        elif word.startswith((".", "/")) and not word.endswith(".whl"):
            _check_folder(word)
            asked += 1
        elif word.endswith(".whl"):
            asked += 1
        else:
            _check_requirement(word)
            asked += 1
    return 0 if asked else _failed("pip", "nothing to install")


def _check_folder(word: str) -> None:
    found = re.fullmatch(r"([\w./-]+)(?:\[([\w,-]+)\])?", word)
    if found is None or not Path(found[1], "pyproject.toml").is_file():
        sys.exit(f"pip: error: {word} is no folder of a project")
    _check_extras(set(found[2].split(",")) if found[2] else set())


def _check_requirement(word: str) -> None:
    if re.search(r"<[a-z ]+>|\.\.\.", word):
        sys.exit(f"pip: error: {word} has a placeholder")
    requirement = Requirement(word)
    if requirement.name.replace("_", "-") == "mixtext-hf":
        _check_extras(set(requirement.extras))


def _check_extras(asked: set[str]) -> None:
    if asked - extras():
        sys.exit(f"pip: error: no extras {sorted(asked - extras())}: there are {sorted(extras())}")


def make(argv: list[str]) -> int | None:
    if not Path("Makefile").is_file():
        return _failed("make", "there is no Makefile here")
    if _MAKE is None:
        targets = re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE)
        wrong = [word for word in argv if "=" not in word and word not in targets]
        return _failed("make", f"no targets {wrong}") if wrong else venv([".venv"])
    done = subprocess.run([_MAKE, "--dry-run", "--always-make", *argv], stdout=subprocess.PIPE, text=True)
    for folder in re.findall(r" -m venv (?:--clear )?(\S+)", done.stdout):
        venv([folder])
    return done.returncode


def git(argv: list[str], world: Path) -> int | None:
    if argv[:1] != ["clone"]:
        known = ("add", "commit", "tag", "push", "checkout", "switch", "status", "init", "log", "diff")
        return 0 if argv and argv[0] in known else _failed("git", f"{argv[:1]} is not known to the tests")
    words = [word for word in argv[1:] if not word.startswith("-")]
    if not words or not re.match(r"(https://|git@)[\w.:/@-]+$", words[0]):
        return _failed("git", f"{argv[1:]} names no repository")
    folder = Path(words[1] if len(words) > 1 else words[0].rstrip("/").rsplit("/", 1)[-1].removesuffix(".git"))
    if folder.exists():
        return _failed("git", f"{folder} is there already")
    copy_repository(world, folder)
    return 0


def venv(argv: list[str]) -> int | None:
    words = [word for word in argv if not word.startswith("-")]
    if len(words) != 1:
        return _failed("venv", f"one folder, got {words}")
    programs = Path(words[0], "bin")
    programs.mkdir(parents=True, exist_ok=True)
    (programs / "activate").write_text(f'export VIRTUAL_ENV="{programs.parent.absolute()}"\n')
    for name in ("python", "pip", "mixtext-hf"):
        with contextlib.suppress(FileExistsError):
            (programs / name).symlink_to(Path(sys.executable).with_name("client"))
    return 0


def hf(argv: list[str]) -> int | None:
    import click
    import typer.main
    from huggingface_hub.cli.hf import app

    # A command itself in newer releases of huggingface_hub.
    command: Any = app
    if not hasattr(command, "make_context"):
        command = typer.main.get_command(command)
    words, context = list(argv), None
    while hasattr(command, "get_command"):
        context = command.context_class(command, parent=context, info_name=command.name or "hf")
        below = command.get_command(context, words.pop(0)) if words else None
        if below is None:
            return _failed("hf", f"no command {' '.join(argv)}")
        command = below
    try:
        command.make_context("hf", words, parent=context).close()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        return _failed("hf", error.format_message())
    return 0


def tensorboard(argv: list[str]) -> int | None:
    folders = [word for word in argv if not word.startswith("-")]
    return 0 if folders and all(Path(word).is_dir() for word in folders) else _failed("tensorboard", f"{argv}")


def of_files(argv: list[str]) -> int | None:
    """A program for developers: what looks like a file has to be one."""
    paths = [word.partition("::")[0] for word in argv if "/" in word and not word.startswith("-")]
    wrong = [path for path in paths if not Path(path).exists()]
    return _failed("error", f"there is no {', '.join(wrong)}") if wrong else 0


PROGRAMS: dict[str, Callable[[list[str]], int | None]] = {
    "mixtext-hf": mixtext_hf,
    "python": python,
    "torchrun": torchrun,
    "accelerate": accelerate,
    "pip": pip,
    "make": make,
    "venv": venv,
    "hf": hf,
    "tensorboard": tensorboard,
    "ruff": of_files,
    "mypy": of_files,
    "pytest": of_files,
    "pre-commit": of_files,
    "mkdocs": of_files,
}
