"""Arguments from the command line and from a YAML file; how a command reports what was wrong with them."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers import HfArgumentParser

from mixtext_hf.errors import RunError

from .failures import is_own, of_machine, reporting_failures, show_traceback
from .help_texts import HELP_ALL, short_help


_SECRETS = ("token", "hub_token")
_TRUE_OR_FALSE = ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0")


class _PrintAll(Action):
    """Prints all arguments, and exits."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None):
        super().__init__(option_strings, dest, nargs=0, default=SUPPRESS, help=help)

    def __call__(self, parser: ArgumentParser, *_: Any) -> NoReturn:
        assert isinstance(parser, Parser)
        print(parser.format_all(), end="")
        parser.exit()


class Parser(HfArgumentParser):
    """
    Takes `--config` as well. What is wrong is raised, where argparse prints the list of all arguments and exits: a command says it
    in one line by [`reporting_bad_input`].

    Raises:
        `ValueError`: by `parse_args` and its like.
    """

    def __init__(self, dataclass_types: Any, **kwargs: Any):
        # `given_names` knows whole names only.
        super().__init__(dataclass_types, allow_abbrev=False, **kwargs)
        self.add_argument("--config", metavar="FILE.yaml", help="Arguments as `name: value`; flags override them.")
        self.add_argument(HELP_ALL, action=_PrintAll, help="List all arguments, those of transformers too.")

    def format_help(self) -> str:
        return short_help(self)

    def format_all(self) -> str:
        """The help of argparse itself."""
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. See --help.")


def parse(parser: HfArgumentParser, argv: Sequence[str] | None, defaults: dict[str, Any] | None = None) -> tuple:
    """
    Parse the command line, with `--config file.yaml` behind it and `defaults` behind both.

    Args:
        parser (`HfArgumentParser`): Made of one dataclass or several.
        argv (`Sequence[str]`, *optional*): Arguments; `None` = those of the process.
        defaults (`dict[str, Any]`, *optional*): Values for arguments that neither the flags nor the file give.

    Returns:
        One instance of each dataclass of `parser`.

    Raises:
        `ValueError`: for wrong arguments, and a file of wrong ones.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    config, arguments = _pop_config(parser, arguments)
    # argparse keeps the last value it is given: defaults first, then the file, then the flags.
    settings = {**(defaults or {}), **config}
    words = [*to_flags(settings), *_with_values(parser, arguments)]
    *parsed, unknown = parser.parse_args_into_dataclasses(
        words, look_for_args_file=False, return_remaining_strings=True
    )
    if unknown:
        raise ValueError(_about_unknown(parser, unknown))
    return tuple(parsed)


def given_names(parser: HfArgumentParser, argv: Sequence[str] | None) -> set[str]:
    """The names of the arguments that the flags or the YAML file give."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    config, arguments = _pop_config(parser, arguments)
    return set(config) | {flag[2:].split("=")[0].replace("-", "_") for flag in arguments if flag.startswith("--")}


def peek(parser: HfArgumentParser, argv: Sequence[str] | None, names: Sequence[str]) -> dict[str, str | None]:
    """The values of some arguments as the flags or the YAML file give them, `None` where they do not."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    config, arguments = _pop_config(parser, arguments)
    few = ArgumentParser(add_help=False, allow_abbrev=False)
    for name in names:
        # What is wrong with them is for the real parser to say.
        few.add_argument(f"--{name}", f"--{name.replace('_', '-')}", nargs="?")
    return vars(few.parse_known_args([*to_flags({name: config.get(name) for name in names}), *arguments])[0])


def command_line(parser: HfArgumentParser, argv: Sequence[str] | None) -> str:
    """The command as it can be typed again, with the arguments of a YAML file written out, and without tokens."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    config, arguments = _pop_config(parser, arguments)
    words = [*to_flags({name: value for name, value in config.items() if name not in _SECRETS}), *arguments]
    kept: list[str] = []
    is_secret = False
    for word in words:
        name = word[2:].split("=")[0].replace("-", "_") if word.startswith("--") else None
        if name is not None:
            is_secret = name in _SECRETS
        if not is_secret:
            kept.append(word)
    return f"{parser.prog} {shlex.join(kept)}".strip()


def share_out(
    parser: HfArgumentParser, other: HfArgumentParser, argv: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """
    The arguments of a command that hands on to another what it does not know itself.

    Args:
        parser (`HfArgumentParser`): Of the command.
        other (`HfArgumentParser`): Of the other one. What both know is for `parser`.
        argv (`Sequence[str]`, *optional*): Arguments; `None` = those of the process. `--config` may name arguments of both.

    Returns:
        Two lists of arguments, with those of the YAML file written out; what nobody knows is in the second.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    config, arguments = _pop_config(parser, arguments, other)
    first_flag = next((i for i, word in enumerate(arguments) if word.startswith("-")), len(arguments))
    own, rest = arguments[:first_flag], list[str]()
    part = own
    for word in [*to_flags(config), *arguments[first_flag:]]:
        if word.startswith("--"):
            part = own if word[2:].split("=")[0].replace("-", "_") in {*_known(parser), "help", "help_all"} else rest
        part.append(word)
    return own, rest


@contextmanager
def reporting_bad_input(parser: HfArgumentParser) -> Iterator[None]:
    """
    Turn the errors of wrong input into one line on stderr and exit status 2, as argparse does; those of the disk, the memory and the
    network as [`reporting_failures`].
    """
    with reporting_failures(parser.prog):
        try:
            yield
        except Exception as error:
            if not is_bad_input(error):
                raise
            show_traceback(error)
            parser.exit(2, f"{parser.prog}: error: {' '.join(str(error).split())}\n")


def is_bad_input(error: Exception) -> bool:
    """Whether an error is of what was given: no bug, nothing of the disk, the memory and the network, and not of a run."""
    if isinstance(error, RunError) or of_machine(error) is not None:
        return False
    return isinstance(error, ValueError | OSError | ImportError) or (isinstance(error, TypeError) and is_own(error))


def _pop_config(
    parser: HfArgumentParser, arguments: list[str], *others: HfArgumentParser
) -> tuple[dict[str, Any], list[str]]:
    path = None
    rest = []
    iterator = iter(arguments)
    for argument in iterator:
        if argument == "--config":
            path = next(iterator, None)
            if path is None:
                raise ValueError("--config needs the path of a YAML file.")
        elif argument.startswith("--config="):
            path = argument.removeprefix("--config=")
        else:
            rest.append(argument)
    return (_read_config(parser, path, *others) if path is not None else {}), rest


def _with_values(parser: HfArgumentParser, arguments: list[str]) -> list[str]:
    """`--use_cpu FILE` as `--use_cpu=true FILE`: a file is no value of an argument that is true or false."""
    if all(action.option_strings for action in parser._actions):
        return arguments
    switches = {
        flag
        for action in parser._actions
        if action.nargs == "?" and action.const is True
        for flag in action.option_strings
    }
    following = [*arguments[1:], "--"] if arguments else []
    return [
        f"{word}=true" if word in switches and after.lower() not in _TRUE_OR_FALSE else word
        for word, after in zip(arguments, following, strict=True)
    ]


def _about_unknown(parser: HfArgumentParser, words: Sequence[str]) -> str:
    """What to do about words of the command line that are no arguments of the command."""
    flag = next((word for word in words if word.startswith("--")), None)
    if flag is None:
        return f"{words[0]!r} belongs to no argument: arguments are --name value, one with blanks in it is quoted. See --help."
    name = flag[2:].split("=")[0].replace("-", "_")
    by_place = [action.dest for action in parser._actions if not action.option_strings]
    if name in by_place:
        return f"{name} is given by its place, without --{name}: {' '.join(parser.format_usage().split())}."
    close = get_close_matches(name, sorted(_known(parser).difference(by_place)), n=2, cutoff=0.7)
    meant = f" Is --{' or --'.join(close)} meant?" if close else ""
    return f"--{name} is no argument of {parser.prog}.{meant} See --help and {HELP_ALL}."


def _known(parser: HfArgumentParser) -> set[str]:
    return {action.dest for action in parser._actions} - {"help", "help_all", "config"}


def _read_config(parser: HfArgumentParser, path: str, *others: HfArgumentParser) -> dict[str, Any]:
    if not Path(path).is_file():
        raise ValueError(f"--config {path}: there is no such file.")
    try:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"--config {path} is not valid YAML: {error}") from error
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise ValueError(f"--config {path} must hold `name: value` lines, got {type(config).__name__}.")
    known = set().union(*map(_known, (parser, *others)))
    unknown = [name for name in config if name not in known]
    if unknown:
        raise ValueError(f"--config {path} has unknown arguments: {', '.join(map(str, unknown))}. See --help.")
    return config


def to_flags(settings: dict[str, Any]) -> list[str]:
    """`{"a": 1, "b": [1, 2]}` as `["--a=1", "--b", "1", "2"]`; `None` leaves an argument at its default."""
    flags: list[str] = []
    for name, value in settings.items():
        if value is None:
            continue
        if isinstance(value, list):
            flags += [f"--{name}", *map(str, value)]
        else:
            flags.append(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}")
    return flags
