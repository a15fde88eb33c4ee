"""The README's loops, as they stand there, against MixTrainer with the same plans; and what all documents name is there."""

import argparse
import ast
import pkgutil
import re
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import pytest
import torch
from tiny import tiny_batch, tiny_model

from mixtext_hf import MixTrainer, MixTrainingArguments, TMix
from mixtext_hf.cli.commands import COMMANDS


README = Path(__file__).parent.parent / "README.md"
STEPS = 5


def loop(name: str) -> str:
    text = README.read_text(encoding="utf-8")
    return re.search(rf"<!-- {name} -->\n```python\n(.*?)```", text, re.DOTALL).group(1)


def batches():
    generator = torch.Generator().manual_seed(3)
    for step in range(STEPS):
        yield {**tiny_batch(seed=step), "labels": torch.randint(0, 3, (4,), generator=generator)}


def run(source: str) -> list[float]:
    losses: list[float] = []
    source = re.sub(r"(\n    loss = .*)", r"\1\n    losses.append(loss.item())", source)
    namespace = {"model": tiny_model(), "seed": 7, "losses": losses, "batches": list(batches())}
    exec(compile(source, "README.md", "exec"), namespace)
    return losses


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    args = MixTrainingArguments(
        str(tmp_path_factory.mktemp("out")),
        seed=7,
        optim="adamw_torch",
        learning_rate=5e-5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        per_device_train_batch_size=4,
        max_steps=STEPS,
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
    )
    rows = [{name: value[i] for name, value in batch.items()} for batch in batches() for i in range(4)]
    trainer = MixTrainer(model=tiny_model(), args=args, method=TMix(alpha=16.0, layers=(2, 3, 4)), train_dataset=rows)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("name", ["plain-loop", "accelerate-loop"])
def test_the_loop_reaches_the_loss_of_the_trainer(name, trained):
    losses = run(loop(name))
    assert len(losses) == STEPS
    assert len(set(losses)) == STEPS
    torch.testing.assert_close(losses, trained, rtol=0, atol=1e-6)


def test_what_the_readme_points_to_is_there():
    """Files and folders, and the headings within it; and nothing is left of what a writer meant to fill in."""
    text = README.read_text(encoding="utf-8")
    # Code shows links too.
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    assert len(links) > 10
    for link in links:
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        assert not path or (README.parent / path).exists(), link
        assert path or anchor in headings, link
    assert not re.search(r"@@|TODO|FIXME|XXX|TBD", prose)


DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in sorted((README.parent / "docs").glob("*.md"))),
]
CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Flags of other programs, which the documents name too.
OF_OTHERS = {"--nproc_per_node", "--nnodes", "--no_python"}
OF_ALL_COMMANDS = {"--debug", "--version"}


@lru_cache
def flags_of(command: str, kind: str | None = None) -> frozenset[str]:
    """All flags of a command; of `compare text` those of `train-text` too."""
    module = import_module(f"mixtext_hf.cli.{COMMANDS[command][0]}")
    parsers = [module.make_parser()]
    if command == "benchmark":
        (benchmarks,) = (
            action.choices for action in parsers[0]._actions if isinstance(action, argparse._SubParsersAction)
        )
        parsers += benchmarks.values() if kind is None else [benchmarks[kind]]
    flags = {flag for parser in parsers for action in parser._actions for flag in action.option_strings}
    if command == "compare":
        for name in (kind,) if kind else ("text", "image"):
            flags |= flags_of(f"train-{name}")
    return frozenset(flags)


def commands_in(text: str):
    """Each command of the code blocks of a document: its name, the word behind it, and its flags."""
    for _, code in CODE.findall(text):
        for line in code.replace("\\\n", " ").splitlines():
            for name, rest in re.findall(r"\bmixtext-hf (?:--debug )?([a-z][a-z-]*)((?:[^#|;]|\|(?! ))*)", line):
                yield name, rest.split()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_that_are_named_are_there(document):
    text = (README.parent / document).read_text(encoding="utf-8")
    for name, words in commands_in(text):
        assert name in COMMANDS, f"{document}: mixtext-hf {name}"
        kind = words[0] if words and name in ("compare", "benchmark") else None
        for word in words:
            if word.startswith("--"):
                flag = word.split("=")[0]
                assert flag in flags_of(name, kind), f"{document}: mixtext-hf {name} {kind or ''} ... {flag}"
    known = frozenset().union(OF_OTHERS, OF_ALL_COMMANDS, *map(flags_of, COMMANDS))
    prose = CODE.sub("", text)
    spans = re.findall(r"`([^`]+)`", prose)
    flags = {flag for span in spans for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", span)}
    assert flags <= known, f"{document}: {sorted(flags - known)}"
    assert document != "README.md" or (len(list(commands_in(text))) > 15 and len(flags) > 50)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_names_of_the_package_and_files_that_are_named_are_there(document):
    text = (README.parent / document).read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", CODE.sub("", text))
    names = {name for span in spans for name in re.findall(r"(?<![\w/.])mixtext_hf(?:\.\w+)+", span)}
    for language, code in CODE.findall(text):
        if language == "python":
            names |= {
                f"{node.module}.{alias.name}"
                for node in ast.walk(ast.parse(code))
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mixtext_hf")
                for alias in node.names
            }
    for name in names:
        pkgutil.resolve_name(name)  # raises
    for span in spans:
        if re.fullmatch(r"(mixtext_hf|tests|scripts|docs|model_cards)/[\w./-]*", span):
            assert (README.parent / span).exists(), f"{document}: {span}"
        for file, name in re.findall(r"([\w/]*test_\w+\.py): (test_\w+)", span):
            found = [path for path in (README.parent / "tests").rglob("test_*.py") if str(path).endswith(f"/{file}")]
            assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in found), f"{document}: {span}"
