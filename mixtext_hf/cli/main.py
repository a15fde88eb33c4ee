"""The console command `mixtext-hf`: the first word names the command, the rest are its arguments."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from mixtext_hf._signals import end_well
from mixtext_hf.version import __version__

from .commands import COMMANDS, RESUMABLE
from .help_texts import stored_help


# Set, it shows the traceback of every error; by hand for `scripts/` and for what `torchrun` starts.
DEBUG = "MIXTEXT_HF_DEBUG"


def usage() -> str:
    """What `mixtext-hf --help` prints."""
    commands = "\n".join(f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items())
    return (
        f"mixtext-hf {__version__}: mixup training for Hugging Face models\n\nusage: mixtext-hf [--debug] COMMAND [...]\n\n"
        f"{commands}\n\n`mixtext-hf COMMAND --help` lists the arguments of a command.\n"
        f"--debug (or {DEBUG}=1) shows the traceback of an error that is otherwise said in a line."
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Dispatch to the command that the first argument names."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--debug"]:
        # For processes that the command starts, too.
        os.environ[DEBUG] = "1"
        del arguments[0]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    if arguments[0] == "--version":
        print(__version__)
        return
    if arguments[0] not in COMMANDS:
        print(f"mixtext-hf: error: no command {arguments[0]!r}: choose from {', '.join(COMMANDS)}.", file=sys.stderr)
        sys.exit(2)
    text = stored_help(arguments[0], arguments[1:])
    if text is not None:
        print(text, end="")
        sys.exit(0)
    end_well()
    # Commands are imported when called: `--help` and `--version` answer at once.
    try:
        import_module(f".{COMMANDS[arguments[0]][0]}", __package__).main(arguments[1:])
    except KeyboardInterrupt as interrupt:
        going_on = "; the same command goes on where it was" if arguments[0] in RESUMABLE else ""
        print(f"{str(interrupt) or 'Interrupted'}{going_on}".rstrip("."), file=sys.stderr)
        sys.exit(getattr(interrupt, "exit_code", 130))
