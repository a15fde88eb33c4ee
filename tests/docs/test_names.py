"""Nothing in README, CONTRIBUTING or docs names a flag, argument, method, metric, file or page that does not exist."""

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
from dataclasses import fields
from functools import lru_cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from blocks import NOT_YET, ROOT, PageError, blocks_of, documents, name_of, without_blocks

from mixtext_hf import MixTrainingArguments
from mixtext_hf.cli.commands import COMMANDS
from mixtext_hf.evaluation.measures.loading import METRIC_NAMES
from mixtext_hf.methods import METHODS


PAGES = [
    pytest.param(path, id=name_of(path), marks=[pytest.mark.xfail] if name_of(path) in NOT_YET else [])
    for path in documents()
]
README_BYTES = 9_000
# Flags of other programs, which the documents name too; those of launchers are asked of their parsers.
OF_OTHERS = {
    "--no-deps",
    "--extra-index-url",
    "--index-url",
    "--dist",
    "--device",
    "--deep",
    "--hypothesis-profile",
    "--check",
    "--beside",
    "--logdir",
    "--strict",
}
# Of the programs that readers come from, which the pages on them name.
OF_ORIGINS = {
    "timm.md": "aa aug-splits bce-loss clip-grad cutmix cutmix-minmax drop-path epochs hflip jsd-loss lr mixup mixup-mode mixup-off-epoch "
    "mixup-prob mixup-switch-prob opt recount remode reprob resplit scale sched smoothing weight-decay",
    "mixtext.md": "T alpha batch-size batch-size-u co data-path epochs gpu lambda-u lambda-u-hinge lrlast lrmain margin "
    "mix-layers-set mix-method mix-option model n-labeled separate-mix temp-change train_aug un-labeled val-iteration",
    "puzzlemix.md": "adv_eps adv_p arch batch_size beta box clean_lam data_dir dataset decay eta gamma gammas graph in_batch "
    "labels_per_class learning_rate mixup_alpha momentum mp n_labels neigh_size resume schedule t_eps t_size train transport",
}
OF_ALL_COMMANDS = {"--debug", "--version", "--help", "--help-all"}
# Compared by `mixtext-hf compare`, and no methods of training.
FROZEN = {"frozen", "frozen_gaussian"}
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
COMMAND = re.compile(r"\bmixtext-hf (?:--debug )?([a-z][a-z-]*)((?:[^#|;`]|\|(?! ))*)")
FILE = re.compile(r"[\w-]+(?:\.[\w-]+)*\.(?:json|jsonl|csv|npz|html|png|md|safetensors|onnx|yaml|sh|npy|bin|pt)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    return without_blocks(text_of(page))


def spans_of(page: Path) -> list[str]:
    """What stands in code marks in the prose; it may go over the end of a line."""
    paragraphs = re.split(r"\n\s*\n|\n(?=[|#*-])", prose_of(page))
    return [" ".join(span.split()) for part in paragraphs for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", part)]


def blocks(page: Path):
    """Those of a page that can be read: that all can is `test_blocks_have_a_language`."""
    try:
        return blocks_of(page)
    except PageError:
        return []


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
    if command == "show-mixes" and kind in ("text", "image"):
        flags |= flags_of(f"train-{kind}")
    return frozenset(flags)


@lru_cache
def known_flags() -> frozenset[str]:
    from accelerate.commands.launch import launch_command_parser
    from torch.distributed.run import get_args_parser

    launchers = (launch_command_parser(), get_args_parser())
    of_launchers = {flag for parser in launchers for action in parser._actions for flag in action.option_strings}
    of_scripts = {
        flag
        for path in [
            *(ROOT / "scripts").rglob("*.py"),
            *(ROOT / "examples").glob("*.py"),
            *(ROOT / "tests").glob("*.py"),
        ]
        for flag in re.findall(r'add_argument\("(--[\w-]+)"', path.read_text(encoding="utf-8"))
    }
    return frozenset().union(OF_OTHERS, OF_ALL_COMMANDS, of_launchers, of_scripts, *map(flags_of, COMMANDS))


def commands_in(code: str):
    """Each command in code: its name, the kind behind it, and its words."""
    for line in code.replace("\\\n", " ").splitlines():
        for name, rest in COMMAND.findall(line):
            words = rest.split()
            yield name, words[0] if words and name in ("compare", "benchmark", "show-mixes") else None, rest


def code_of(page: Path) -> list[str]:
    """Blocks of code, whatever they are of, and what stands in code marks."""
    return [*(block.code for block in blocks(page) if block.language != "python"), *spans_of(page)]


# ---- each page ----


@pytest.mark.parametrize("page", PAGES)
def test_blocks_have_a_language(page):
    blocks_of(page)


@pytest.mark.parametrize("page", PAGES)
def test_flags_that_are_named_are_there(page):
    for code in code_of(page):
        for name, kind, rest in commands_in(code):
            assert name in COMMANDS or name in ("COMMAND", "command"), f"mixtext-hf {name}"
            known = flags_of(name, kind if name != "benchmark" or kind in KINDS else None) | OF_ALL_COMMANDS
            wrong = set(FLAG.findall(quoted_out(rest))) - known
            assert not wrong, f"mixtext-hf {name} {kind or ''} ... {sorted(wrong)}"
    flags = {flag for span in spans_of(page) for flag in FLAG.findall(span)}
    of_origin = (
        {f"--{name}" for name in OF_ORIGINS.get(page.name, "").split()} if page.parent.name == "coming_from" else set()
    )
    assert flags <= known_flags() | of_origin, sorted(flags - known_flags() - of_origin)


KINDS = ("text", "mixtext", "vision", "trainer", "guesses")


def quoted_out(words: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", words)


@pytest.mark.parametrize("page", PAGES)
def test_methods_metrics_and_presets_that_are_named_are_there(page):
    for code in code_of(page):
        for name, _, rest in commands_in(code):
            for word in values_of(rest, "methods") if name in ("compare", "demo", "demo-vision") else []:
                method = word.rpartition("=")[2]
                assert method in {*METHODS, *FROZEN} or is_variable(word), word
        method = (values_of(code, "mix_method") or [None])[0]
        assert method is None or method in METHODS or is_variable(method), method
        for preset in values_of(code, "mix_preset"):
            presets = (
                METHODS[method].presets if method in METHODS else {p for m in METHODS.values() for p in m.presets}
            )
            assert preset in presets or is_variable(preset), f"{method}: {preset}"
        for metric in values_of(code, "metrics"):
            assert is_metric(metric) or is_variable(metric), metric


def is_variable(word: str) -> bool:
    """Of a shell, a placeholder of prose, or a number of columns that go on."""
    return word.startswith("$") or word.strip("[].").isupper() or word.strip("[]") in ("...", "\\")


def is_metric(name: str) -> bool:
    return name in METRIC_NAMES or re.fullmatch(r"top_[1-9]\d*_accuracy", name) is not None


def values_of(code: str, name: str) -> list[str]:
    """The words behind a flag, wherever it stands."""
    found = re.findall(rf"--{name}[ =]((?:(?!--|-\w |[|;&>#'\"])\S+\s*)+)", code.replace("\\\n", " "))
    return [word.rstrip(",.)") for words in found for word in words.split()]


@pytest.mark.parametrize("page", PAGES)
def test_hyper_parameters_that_are_named_are_there(page):
    """In `--mix_kwargs`, `--method_arguments` and YAML of arguments."""
    for code in code_of(page):
        code = code.replace("\\\n", " ")
        method = (values_of(code, "mix_method") or [None])[0]
        for found in re.findall(r"--mix_kwargs[ =]'({.*?})'(?=\s|$|;)", code, re.DOTALL):
            check_hyperparameters(json.loads(found), method)
        for found in re.findall(r"--method_arguments[ =]'({.*?})'(?=\s|$|;)", code, re.DOTALL):
            check_arguments_of_methods(json.loads(found), values_of(code, "methods"))
    for block in blocks(page):
        if block.language == "yaml":
            settings = yaml.safe_load(block.code)
            if isinstance(settings, dict) and "output_dir" in settings:
                check_settings(settings)


def check_hyperparameters(settings, method=None):
    kinds = [METHODS[method]] if method in METHODS else METHODS.values()
    known = {name for kind in kinds for name in (*kind.field_names(), *kind.aliases)}
    assert set(settings) <= known, f"{method or 'any method'}: {sorted(set(settings) - known)}"
    if "mix_with_kwargs" in settings:
        check_hyperparameters(settings["mix_with_kwargs"], settings.get("mix_with"))


def check_arguments_of_methods(settings, methods):
    named = {word.partition("=")[0]: word.rpartition("=")[2] for word in methods}
    for label, own in settings.items():
        assert not methods or label in named, f"{label} is none of {methods}"
        check_settings(own, named.get(label))


def check_settings(settings, method=None):
    known = {flag[2:] for command in ("train-text", "train-image", "compare") for flag in flags_of(command)}
    known |= {field.name for field in fields(MixTrainingArguments)}
    assert set(settings) <= known, sorted(set(settings) - known)
    method = settings.get("mix_method", method)
    if isinstance(settings.get("mix_kwargs"), dict):
        check_hyperparameters(settings["mix_kwargs"], method)
    if isinstance(settings.get("method_arguments"), dict):
        check_arguments_of_methods(settings["method_arguments"], settings.get("methods", []))
    for metric in settings.get("metrics", []):
        assert is_metric(metric), metric


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_are_there(page):
    names = {name for span in spans_of(page) for name in re.findall(r"(?<![\w/.])mixtext_hf(?:\.\w+)+", span)}
    for block in blocks(page):
        if block.language == "python":
            names |= {f"{module}.{name}" for name, module in imported(block.code).items()}
    for name in names - {name for name in names if name.endswith((".py", ".md"))}:
        pkgutil.resolve_name(name)  # raises


def imported(code: str) -> dict[str, str]:
    """Names that code imports from this package, with their modules."""
    return {
        alias.name: node.module
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mixtext_hf")
        for alias in node.names
    }


@pytest.mark.parametrize("page", PAGES)
def test_keyword_arguments_that_are_given_are_there(page):
    known = {}
    for block in blocks(page):
        if block.language != "python":
            continue
        known |= imported(block.code)
        for call in (node for node in ast.walk(ast.parse(block.code)) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else None
            if name not in known:
                continue
            parameters = inspect.signature(getattr(importlib.import_module(known[name]), name)).parameters.values()
            if any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
                continue
            given = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            wrong = given - {parameter.name for parameter in parameters}
            assert not wrong, f"{block.place}: {name}({', '.join(sorted(wrong))}=...)"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_are_there(page):
    """Those of the repository by their path; others are written by the package, by transformers, or by the page itself."""
    code = "\n".join(block.code for block in blocks(page))
    for span in spans_of(page):
        if re.fullmatch(r"(mixtext_hf|tests|scripts|docs|model_cards|examples)/[\w./-]*\w", span):
            assert (ROOT / span).exists(), span
        for file, name in re.findall(r"([\w/]*test_\w+\.py): (test_\w+)", span):
            found = [path for path in (ROOT / "tests").rglob("test_*.py") if path.as_posix().endswith(f"/{file}")]
            assert any(f"def {name}(" in path.read_text(encoding="utf-8") for path in found), span
        name = span.rpartition("/")[2]
        if FILE.fullmatch(name) and " " not in span:
            assert name in code or name in known_files(), span


@lru_cache
def known_files() -> str:
    """All text in which a file may be named that is there or somebody writes."""
    paths = [*(ROOT / "mixtext_hf").rglob("*.py"), *(ROOT / "mixtext_hf").rglob("*.txt")]
    paths.append(ROOT / "tests" / "docs" / "world.py")
    folders = ("docs", "examples", "model_cards", "scripts", "tests")
    at_hand = [path.name for folder in folders for path in (ROOT / folder).rglob("*")]
    at_hand += [path.name for path in ROOT.iterdir()]
    return "\n".join([*(path.read_text(encoding="utf-8") for path in paths), *at_hand, *OF_TRANSFORMERS])


OF_TRANSFORMERS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "config.json",
    "config_sentence_transformers.json",
    "eval.yaml",
    "generation_config.json",
    "model.safetensors",
    "optimizer.pt",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    prose = re.sub(r"`[^`\n]*`", "", prose_of(page))
    for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", prose):
        if re.match(r"[a-z]+:", link):
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./~%?&=+#():@-]*)?", link), link
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
    assert not re.search(r"@@|\b(TODO|FIXME|XXX|TBD)\b", prose)


def anchors(page: Path) -> set[str]:
    """Of the headings of a page, as GitHub and mkdocs make them, and those written out."""
    text = without_blocks(text_of(page))
    found = set(re.findall(r'\{ *#([\w-]+)|id="([\w-]+)"', text))
    named = {name for pair in found for name in pair if name}
    for heading in re.findall(r"^#+ +(.+?)(?: *\{.*\})?$", text, re.MULTILINE):
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        plain = re.sub(r"[^\w\s-]", "", words).strip()
        # GitHub makes a stroke of each blank, mkdocs one of several.
        named |= {plain.replace(" ", "-"), re.sub(r"[-\s]+", "-", plain)}
    # Of objects, on pages that mkdocstrings makes.
    return named | set(re.findall(r"^::: +([\w.]+)", text, re.MULTILINE))


# ---- all of them ----


def test_the_readme_is_short():
    size = (ROOT / "README.md").stat().st_size
    assert size <= README_BYTES, size


def test_the_documents_name_many_things():
    """Else the tests above find nothing because they look at nothing."""
    commands = [name for page in documents() for code in code_of(page) for name, _, _ in commands_in(code)]
    flags = {flag for page in documents() for span in spans_of(page) for flag in FLAG.findall(span)}
    links = [link for page in documents() for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page))]
    assert len(commands) > 30 and len(flags) > 50 and len(links) > 25, (len(commands), len(flags), len(links))


@pytest.mark.parametrize(
    "wrong, test",
    [
        ("```bash\nmixtext-hf train-text --mix_alfa 2\n```", test_flags_that_are_named_are_there),
        ("Take `--mix_alfa`.", test_flags_that_are_named_are_there),
        ("Take `mixtext-hf predict --mix_alpha 2`.", test_flags_that_are_named_are_there),
        (
            "```bash\nmixtext-hf train-text --mix_method tmixx\n```",
            test_methods_metrics_and_presets_that_are_named_are_there,
        ),
        (
            "```bash\nmixtext-hf compare text --methods erm kept=puzle\n```",
            test_methods_metrics_and_presets_that_are_named_are_there,
        ),
        (
            "`--mix_method puzzlemix --mix_preset official_code`",
            test_methods_metrics_and_presets_that_are_named_are_there,
        ),
        ("`--metrics accuracy top_2_acuracy`", test_methods_metrics_and_presets_that_are_named_are_there),
        ("`--mix_method tmix --mix_kwargs '{\"beta\": 1}'`", test_hyper_parameters_that_are_named_are_there),
        (
            '`--method_arguments \'{"tmix": {"mix_kwargs": {"betta": 1}}}\'`',
            test_hyper_parameters_that_are_named_are_there,
        ),
        ("```yaml\noutput_dir: out\nmix_alfa: 2\n```", test_hyper_parameters_that_are_named_are_there),
        ("`mixtext_hf.functional.draw_plans`", test_names_of_the_package_are_there),
        ("```python\nfrom mixtext_hf import Mixer\n```", test_names_of_the_package_are_there),
        (
            "```python\nfrom mixtext_hf import TMix\nTMix(alfa=1)\n```",
            test_keyword_arguments_that_are_given_are_there,
        ),
        ("`out/all_result.json`", test_files_that_are_named_are_there),
        ("`mixtext_hf/mixing/plans.py`", test_files_that_are_named_are_there),
        ("[here](nowhere.md)", test_links_lead_somewhere),
        ("# One\n\n[here](#two)", test_links_lead_somewhere),
        ("[here](http://example)", test_links_lead_somewhere),
        ("```\nmixtext-hf\n```", test_blocks_have_a_language),
    ],
)
def test_what_is_wrong_is_seen(tmp_path, wrong, test):
    page = tmp_path / "page.md"
    page.write_text(wrong)
    with pytest.raises((AssertionError, AttributeError, ImportError, PageError)):
        test(page)
