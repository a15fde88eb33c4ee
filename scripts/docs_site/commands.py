"""A page a command, made of what its parser says, with an example to copy; and the table of all commands."""

from __future__ import annotations

import re
from argparse import SUPPRESS, ArgumentParser
from importlib import import_module
from typing import Any

from mixtext_hf.cli.commands import COMMANDS, RESUMABLE
from mixtext_hf.cli.help_texts import Entry, grouped

from .examples import EXAMPLES
from .markdown import arguments_table, block, listed, page, paragraph, table


_FLAG = re.compile(r"(?<![\w`-])--[a-z]\w*(?:-\w+)*")
_CHOICE = re.compile(r"(mixtext-hf [\w-]+) \{([\w,]+)\} (.*)")
TRANSFORMERS = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments"


def pages() -> dict[str, str]:
    """The pages, by their names below `docs/`."""
    return {"commands/index.md": _index(), **{f"commands/{name}.md": _page(name) for name in COMMANDS}}


def _index() -> str:
    rows = [(f"[`{name}`]({name}.md)", purpose) for name, (_, purpose) in COMMANDS.items()]
    return page(
        "# Commands",
        paragraph(
            "`mixtext-hf COMMAND` does what the package does in Python. Each command has a page with an example and all of its arguments, which "
            "`mixtext-hf COMMAND --help` prints as well."
        ),
        block("console", "$ mixtext-hf --help"),
        table(("command", "what it is for"), rows),
        paragraph(
            f"`--config FILE.yaml` of most commands holds arguments as `name: value`; flags override them. {listed([f'`{one}`' for one in RESUMABLE])} "
            "go on where they were when they are started again; a training run does so with `--resume_from_checkpoint True`: see "
            "[Resuming and faults](../guides/resuming.md). What is wrong with an argument is said in one line, with the remedy, before "
            "anything is loaded; `mixtext-hf --debug COMMAND` shows where an error came from."
        ),
    )


def _page(name: str) -> str:
    module, purpose = COMMANDS[name]
    parser = import_module(f"mixtext_hf.cli.{module}").make_parser()
    example, below = EXAMPLES[name], _below(parser)
    parts = [
        f"# {name}",
        paragraph(f"{purpose[0].upper()}{purpose[1:]}."),
        example.before,
        block("bash", example.command),
    ]
    parts += [paragraph(example.text), "## Usage", block("text", _usage(parser))]
    for heading, entries in grouped(parser):
        if not below or heading != "arguments":
            parts += _section(_heading(heading), entries)
    for one, what in below.items():
        entries = [entry for _, entries in grouped(one[1]) for entry in entries]
        parts += _section(f"{name} {one[0]}", entries, f"{what[0].upper()}{what[1:]}.")
    return page(*parts)


def _heading(heading: str) -> str:
    return {"arguments": "Arguments", "options": "Other options"}.get(heading, heading.partition(" (--help-all")[0])


_AFTER = {
    "How to train, the most used arguments of transformers": paragraph(
        f"All arguments of [`transformers.TrainingArguments`]({TRANSFORMERS}) can be given; `--help-all` lists them as the installed version "
        "has them."
    )
}


def _below(parser: ArgumentParser) -> dict[tuple[str, ArgumentParser], str]:
    """The commands below a command, and what each is for."""
    found: dict[tuple[str, ArgumentParser], str] = {}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            kinds: Any = action
            helps = {one.dest: one.help or "" for one in kinds._choices_actions}
            found.update({(name, below): helps[name] for name, below in action.choices.items()})
    return found


def _section(heading: str, entries: list[Entry], text: str = "") -> list[str]:
    shown = [entry for entry in entries if not entry.flags.startswith("-h")]
    return [f"## {heading}", text, _arguments(shown), _AFTER.get(heading, "")] if shown else []


def _usage(parser: ArgumentParser) -> str:
    if below := _below(parser):
        return "\n".join(f"{parser.prog} {name} [--ARGUMENT VALUE ...]" for name, _ in below)
    if parser.usage is None:
        shown = [one for one in parser._actions if not one.option_strings and one.help != SUPPRESS]
        return " ".join([parser.prog, *(one.dest.upper() for one in shown), "[--ARGUMENT VALUE ...]"])
    lines = parser.usage.replace(" | ", f"\n{parser.prog} ").splitlines()
    return "\n".join(one for line in lines for one in _chosen(line))


def _chosen(line: str) -> list[str]:
    """A line for each of what can be chosen first."""
    found = _CHOICE.fullmatch(line)
    return [f"{found[1]} {one} {found[3]}" for one in found[2].split(",")] if found else [line]


def _arguments(entries: list[Entry]) -> str:
    rows = [
        (
            " ".join(f"`{part}`" for part in (*one.flags.split(", "), one.value) if part),
            f"`{one.default}`" if one.default else "",
            _FLAG.sub(r"`\g<0>`", one.text),
        )
        for one in entries
    ]
    return arguments_table(("argument", "default", "meaning"), rows)
