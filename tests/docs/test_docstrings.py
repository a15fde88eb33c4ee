"""Commands and code in docstrings, and the scripts of a shell: the blocks are run, and flags, methods and files that are named are there."""

import re
import subprocess

import pytest
from blocks import ROOT, Block, PageError, blocks_of, docstrings_of, name_of, parse, sources
from pages import run_in_fork
from test_names import FLAG, check_command, known_flags, wrong_settings

from mixtext_hf.cli.commands import COMMANDS


SCRIPTS = sorted(path for folder in ("model_cards", "scripts") for path in (ROOT / folder).rglob("*.sh"))
SOURCES = sources()
# A trained model, for those that begin with one; the others make their own `out`.
TRAINED = """mixtext-hf train-text --train_file train.csv --validation_file dev.csv --model_name_or_path bert-base-uncased --mix_method tmix \
  --max_steps 2 --do_train --do_eval --output_dir trained
"""
FRESH = "rm -rf out\n"
WITH_MODEL = "rm -rf out && cp -r trained out\n"
# Of an example, and of the code of AugMix.
OF_OTHERS = {"--a", "--b", "--all-ops"}
NEED_A_MODEL = {"evaluate.py", "export.py", "predict.py", "push.py", "show_mixes.py", "space.py"}
# What a reader has at hand where a docstring speaks of one call.
GIVEN = """
from importlib import import_module
from types import SimpleNamespace

import torch
from torch.nn.functional import cross_entropy

globals().update({name: one for name, one in vars(import_module("MODULE")).items() if not name.startswith("__")})
from functools import partial

from mixtext_hf.functional import (
    draw_plan, make_mixable, mixed_cross_entropy, paste_spans, text_segments, token_saliency,
)

batches = list(batches)
batch = dict(batches[0])
labels = batch.pop("labels")
plan = SimpleNamespace(index=torch.arange(len(labels)).flip(0))
images = torch.rand(2, 3, 32, 32)
image_batches = [{"pixel_values": images, "labels": torch.tensor([0, 1])}]
mean = std = (0.5, 0.5, 0.5)
"""


def blocks_to_run() -> list[Block]:
    """All blocks of docstrings, each behind what it presupposes."""
    found = [Block("tests/docs/test_docstrings.py", 1, "bash", TRAINED, hidden=True)]
    for path in SOURCES:
        for block in blocks_of(path):
            before = WITH_MODEL if path.name in NEED_A_MODEL and path.parent.name == "cli" else FRESH
            if block.language == "python":
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.append(Block(block.page, block.line, "python", GIVEN.replace("MODULE", module), hidden=True))
            found += [Block(block.page, block.line, "bash", before, hidden=True), block]
    return found


@pytest.mark.timeout(600)
def test_blocks_of_docstrings_run(world, tmp_path):
    ran = run_in_fork(blocks_to_run(), world, tmp_path)
    assert len(ran) > 40


def spans_of(text: str) -> list[tuple[int, str]]:
    """Line and text of what stands in code marks."""
    return [
        (text[: found.start()].count("\n") + 1, found[1]) for found in re.finditer(r"(?<!`)`([^`\n]+)`(?!`)", text)
    ]


def wrong_names(path) -> list[str]:
    """What is named in the docstrings of a file and is not there, each with its line."""
    text = docstrings_of(path.read_text(encoding="utf-8"))
    found = []
    for line, span in spans_of(text):
        place = f"{name_of(path)}:{line}: "
        found += [place + said for said in check_command(span)]
        found += [place + flag for flag in FLAG.findall(span) if flag not in known_flags() | OF_OTHERS]
        found += [
            place + name for name in re.findall(r"\bpython (\w+/[\w/.-]+\.py)", span) if not (ROOT / name).is_file()
        ]
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        found += [f"{place}make {name}" for name in re.findall(r"^make ([a-z-]+)", span) if name not in targets]
    return found


def test_what_docstrings_name_is_there():
    assert [wrong for path in SOURCES for wrong in wrong_names(path)] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_scripts_of_a_shell(path):
    read = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert read.returncode == 0, read.stderr
    code = path.read_text(encoding="utf-8")
    lines = [line for line in code.splitlines() if not line.lstrip().startswith("#")]
    assert {flag for line in lines for flag in FLAG.findall(line)} <= known_flags(), name_of(path)
    assert [f"{name_of(path)}: {said}" for said in [*check_command(code), *wrong_settings(code)]] == []
    if path.name == "reproduce.sh":
        card = path.parent.name
        assert f"--output_dir {card}" in code
        for name in re.findall(r"\$cards/([\w-]+)/", code):
            assert (ROOT / "model_cards" / name / "reproduce.sh").is_file(), name
        assert set(re.findall(r"mixtext-hf ([a-z-]+)", code)) <= {*COMMANDS}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ('"""A.\n\nSee `mixtext-hf predict --mix_alpha 2`.\n"""', 3),
        ('def f():\n    """`mixtext-hf predicts`"""', 2),
        ('class A:\n    """\n    `python scripts/nowhere.py`\n    """', 3),
        ('"""`make tea`"""', 1),
        ('"""Takes `--mix_alfa`."""', 1),
    ],
)
def test_what_is_wrong_in_a_docstring_is_seen(tmp_path, wrong, line):
    path = tmp_path / "module.py"
    path.write_text(wrong)
    (said, *_) = wrong_names(path)
    assert said.startswith(f"module.py:{line}: ")


def test_blocks_of_docstrings_are_found_in_their_lines(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""A.\n\n```bash\necho \\\n  a\n```\n"""\n\n\ndef f():\n    """\n    B.\n\n    ```python\n    >>> 1\n    ```\n    """\n'
    )
    (block,) = blocks_of(path)
    assert (block.place, block.code) == ("module.py:4", "echo \\\n  a\n")
    path.write_text('"""A.\n\n```\necho\n```\n"""\n')
    with pytest.raises(PageError, match=r"^module\.py:3: a block without a language"):
        blocks_of(path)
    assert parse(docstrings_of("a = '''\n```\n'''\n"), "x") == []
