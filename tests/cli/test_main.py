"""The console command: what it answers itself, and what it hands on."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from mixtext_hf import __version__
from mixtext_hf.cli import help_texts
from mixtext_hf.cli import main as main_module
from mixtext_hf.cli.main import COMMANDS, main


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(capsys, argv):
    main(argv)
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"  {command} " in text


def test_version(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"{__version__}\n"


def test_the_package_is_the_command_too():
    asked = subprocess.run(
        [sys.executable, "-m", "mixtext_hf", "--version"], capture_output=True, text=True, check=True
    )
    assert asked.stdout == f"{__version__}\n"


def test_an_unknown_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train-sound", "--help"])
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    choices = ", ".join(COMMANDS)
    assert captured.err == f"mixtext-hf: error: no command 'train-sound': choose from {choices}.\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_rest_goes_to_the_command(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: mixtext-hf {command} " in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_that_is_kept_is_that_of_the_parser(command):
    parser = import_module(f"mixtext_hf.cli.{COMMANDS[command][0]}").make_parser()
    kept = (help_texts.TEXTS / f"{command}.txt").read_text(encoding="utf-8")
    assert kept == help_texts.short_help(parser), "due after a change of arguments: make help-texts"
    assert all(len(line) <= 118 for line in kept.splitlines())


def test_own_arguments_come_first_and_all_on_request(capsys):
    for ask, has_all in (("--help", False), ("--help-all", True)):
        with pytest.raises(SystemExit) as stopped:
            main(["train-text", ask])
        text = capsys.readouterr().out
        assert stopped.value.code == 0 and ("--adam_beta1" in text) == has_all
        assert all(f"--{name}" in text for name in ("mix_method", "train_file", "output_dir", "learning_rate"))
        if not has_all:
            places = [text.index(f"  --{name} ") for name in ("model_name_or_path", "mix_method", "learning_rate")]
            assert places == sorted(places) and "--mix-method" not in text


def test_help_below_a_command_is_its_own(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "text", "--help"])
    assert "--seq_length" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_parser_and_a_main(command):
    module = import_module(f"mixtext_hf.cli.{COMMANDS[command][0]}")
    assert module.make_parser().prog == f"mixtext-hf {command}"
    assert callable(module.main)


def test_arguments_default_to_those_of_the_process(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mixtext-hf", "--version"])
    main()
    assert capsys.readouterr().out == f"{__version__}\n"


def test_the_parsers_of_demos_and_benchmark():
    for name in ("demo", "demo_vision"):
        demo = import_module(f"mixtext_hf.cli.{name}").make_parser()
        args = demo.parse_args(["--seeds", "2", "--methods", "erm", "tmix"])
        assert (args.seeds, args.methods) == (2, ["erm", "tmix"])
    benchmark = import_module("mixtext_hf.cli.benchmark.command").make_parser()
    args = benchmark.parse_args(["text", "--methods", "tmix", "--batch_size", "4"])
    assert (args.methods, args.batch_size) == (["tmix"], 4)
    with pytest.raises(SystemExit):
        benchmark.parse_args(["text", "--methods", "mixup9"])


def test_the_console_entry():
    """Answers without importing torch: the commands are imported when they are called."""
    (entry,) = [e for e in entry_points(group="console_scripts") if e.name == "mixtext-hf"] or [None]
    if entry is not None:  # the package may be on the path without being installed
        assert entry.load() is main
    code = (
        "import sys; from mixtext_hf.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    for argv, expected in (
        (["--version"], __version__),
        (["train-image", "--help"], "usage: mixtext-hf train-image "),
    ):
        done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stdout.startswith(expected), done.stderr
        assert done.stdout.endswith("False\n")
    assert main_module.__name__ == "mixtext_hf.cli.main"
