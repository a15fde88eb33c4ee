"""What `mixtext-hf COMMAND --help` prints: the arguments of this package first, and of transformers' the most used ones.

The texts are kept beside this file, because to make one takes the seconds that torch and transformers need to be imported:
`python -m mixtext_hf.cli.help_texts` writes them anew, and a test says when that is due. Imports nothing of the kind itself.
"""

from __future__ import annotations

import inspect
import textwrap
from argparse import SUPPRESS, Action, ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from .commands import COMMANDS


TEXTS = Path(__file__).parent / "help"
HELP, HELP_ALL = ("-h", "--help"), "--help-all"
_WIDTH, _INDENT = 118, 34
# The class of transformers whose arguments are too many to be listed, by its name: it is not imported here.
_TOO_MANY = "TrainingArguments"
# In words of our own, for those of transformers, its types and its defaults change from version to version.
_MOST_USED = {
    "output_dir": ("FOLDER", "Folder for the model and its results."),
    "do_train": ("", "Train."),
    "do_eval": ("", "Measure on the validation split, or on the test split where there is none."),
    "do_predict": ("", "Predict the test split, into predictions.csv; where it has labels, measure on it."),
    "num_train_epochs": ("FLOAT", "Passes over the training data; 3 if not given."),
    "max_steps": ("INT", "Steps of the optimiser, in place of epochs."),
    "learning_rate": ("FLOAT", "The highest one; 5e-5 if not given."),
    "weight_decay": ("FLOAT", "Of all weights but biases and norms; none if not given."),
    "warmup_steps": ("INT", "Steps in which the learning rate rises; or their share of all, below 1."),
    "lr_scheduler_type": ("NAME", "linear (the default), cosine, constant, constant_with_warmup, ..."),
    "per_device_train_batch_size": ("INT", "Rows of a batch; 8 if not given."),
    "per_device_eval_batch_size": ("INT", "The same where nothing is learnt."),
    "gradient_accumulation_steps": ("INT", "Batches of a step; 1 if not given."),
    "bf16": ("", "Train in bfloat16."),
    "use_cpu": ("", "Not the accelerator, where there is one."),
    "seed": ("INT", "Of everything that is drawn at random; 42 if not given."),
    "label_smoothing_factor": ("FLOAT", "Share of each label that all classes get."),
    "logging_steps": ("INT", "Steps between two lines of the log; or their share of all, below 1. 0.05 if not given."),
    "eval_strategy": ("NAME", "Evaluate during training: no (the default), steps or epoch."),
    "eval_steps": ("INT", "Steps between two evaluations; 500 if not given."),
    "save_strategy": ("NAME", "Checkpoints during training: steps (the default), epoch, best or no."),
    "save_steps": ("INT", "Steps between two checkpoints; 500 if not given."),
    "save_total_limit": ("INT", "Keep at most so many checkpoints."),
    "load_best_model_at_end": ("", "Keep the best checkpoint in place of the last."),
    "metric_for_best_model": ("NAME", "What the best one is chosen by, such as accuracy; the loss if not given."),
    "resume_from_checkpoint": ("FOLDER", "Go on with a checkpoint; True: with the newest whole one."),
    "dataloader_num_workers": ("INT", "Processes that prepare batches."),
    "disable_tqdm": ("BOOL", "Show no progress bars."),
    "report_to": ("NAME ...", "Where to log to as well: tensorboard, wandb, ...; nowhere if not given."),
    "push_to_hub": ("", "Push the model, with its card."),
    "hub_model_id": ("NAME", "Where to: user/name, or name alone."),
    "hub_private_repo": ("BOOL", "Make the repository a private one."),
}


@dataclass(frozen=True)
class Entry:
    """
    An argument as it is listed.

    Args:
        flags (`str`): The flags, or the name of one without.
        value (`str`): What stands behind them, or what can be chosen from; empty for switches.
        text (`str`): What it is for.
        default (`str`): Empty where there is none, or the text says it.
    """

    flags: str
    value: str
    text: str
    default: str = ""


_KINDS = {"int": "INT", "float": "FLOAT", "string_to_bool": "BOOL"}


def stored_help(command: str, arguments: list[str]) -> str | None:
    """The text for these arguments of a command, if they ask for help."""
    asks = any(word in HELP for word in arguments) and HELP_ALL not in arguments
    path = TEXTS / f"{command}.txt"
    # What follows a word that is no flag may be for a command below the command.
    if not asks or not path.is_file() or (arguments[0] not in HELP and not arguments[0].startswith("--")):
        return None
    return path.read_text(encoding="utf-8")


def short_help(parser: ArgumentParser) -> str:
    """The text for a parser: positional arguments, then those of each of its dataclasses, a heading each."""
    blocks = [f"usage: {parser.usage or f'{parser.prog} [--ARGUMENT VALUE ...]'}"]
    if parser.description:
        blocks.append("\n".join(textwrap.wrap(" ".join(parser.description.split()), _WIDTH)))
    for heading, entries in grouped(parser):
        blocks.append("\n".join([f"{heading}:", *(line for entry in entries for line in _lines(entry))]))
    return "\n\n".join(blocks) + "\n"


def grouped(parser: ArgumentParser) -> Iterator[tuple[str, list[Entry]]]:
    """The arguments of a parser under their headings, those without a flag first, then those of each of its dataclasses."""
    yield from ((heading, entries) for heading, entries in _groups(parser) if entries)


def _groups(parser: ArgumentParser) -> Iterator[tuple[str, list[Entry]]]:
    shown = [action for action in parser._actions if action.help != SUPPRESS]
    yield "arguments", [entry for action in shown if not action.option_strings for entry in _entries_of(action)]
    options = {action.dest: action for action in shown if action.option_strings}
    for kind in getattr(parser, "dataclass_types", ()):
        base: Any = next((base for base in kind.__mro__ if base.__name__ == _TOO_MANY), None)
        # What a class brings along from another one comes last.
        own = [name for name in inspect.get_annotations(kind) if name in kind.__dataclass_fields__]
        names = [name for name in dict.fromkeys([*own, *kind.__dataclass_fields__]) if base is None or name in own]
        of_base = [] if base is None else list(base.__dataclass_fields__)
        taken = _take(options, [name for name in names if name not in of_base])
        yield (
            _heading(kind) if base is None else "How to mix, to guess and to go on",
            [entry for action in taken for entry in _entries_of(action)],
        )
        if base is not None:
            for part in kind.__mro__[1 : kind.__mro__.index(base)]:
                taken = _take(options, [name for name in inspect.get_annotations(part) if name not in of_base])
                yield _heading(part), [entry for action in taken for entry in _entries_of(action)]
            used = [name for name in _MOST_USED if name in options]
            yield (
                f"How to train, the most used arguments of transformers ({HELP_ALL} lists all)",
                [Entry(f"--{name}", *_MOST_USED[name]) for name in used],
            )
            _take(options, of_base)
    yield "options", [entry for action in options.values() for entry in _entries_of(action)]


def _heading(kind: type) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _take(options: dict[str, Action], names: list[str]) -> list[Action]:
    # `no_...` is the other face of an argument that is true by default.
    return [options.pop(name) for own in names for name in (own, f"no_{own}") if name in options]


def _entries_of(action: Action) -> list[Entry]:
    if isinstance(action, _SubParsersAction):
        # Commands below the command.
        return [Entry(one.dest, "", one.help or "") for one in action._choices_actions]
    # Both spellings serve; one is shown.
    flags = [flag for flag in action.option_strings if "-" not in flag[2:]] or action.option_strings
    text = " ".join((action.help or "").replace("%%", "%").split())
    default = action.default
    if action.option_strings and default not in (None, False, "", SUPPRESS) and default != []:
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        return [Entry(", ".join(flags), _value_of(action), text, shown)]
    return [Entry(", ".join(flags) or _value_of(action), _value_of(action) if flags else "", text)]


def _lines(entry: Entry) -> list[str]:
    head = f"  {entry.flags} {entry.value}".rstrip()
    text = f"{entry.text} (default: {entry.default})".strip() if entry.default else entry.text
    lines = textwrap.wrap(text, _WIDTH - _INDENT) or [""]
    if len(head) > _INDENT - 2:
        return [head, *(" " * _INDENT + line for line in lines if line)]
    return [(head.ljust(_INDENT) + lines[0]).rstrip(), *(" " * _INDENT + line for line in lines[1:])]


def _value_of(action: Action) -> str:
    """What stands behind the flag, or in place of one."""
    if action.nargs == 0 or (action.nargs == "?" and action.const is True):
        return ""
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else None
    if not action.option_strings:
        return str(action.metavar or choices or action.dest)
    named = choices if choices is not None and len(choices) < 60 else None
    value = action.metavar or named or _KINDS.get(getattr(action.type, "__name__", ""), "TEXT")
    return f"{value} ..." if action.nargs in ("+", "*") else str(value)


def write_help_texts() -> None:
    """Make the texts of all commands anew."""
    TEXTS.mkdir(exist_ok=True)
    for command, (module, _) in COMMANDS.items():
        text = short_help(import_module(f".{module}", __package__).make_parser())
        (TEXTS / f"{command}.txt").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write_help_texts()
