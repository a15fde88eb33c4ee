"""Nothing in what is written for readers names a flag, argument, method, metric, file or page that does not exist."""

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
from blocks import NOT_YET, ROOT, PageError, blocks_of, cards, documents, name_of, without_blocks
from transformers import TrainingArguments

from mixtext_hf import MixTrainingArguments
from mixtext_hf.cli.commands import COMMANDS
from mixtext_hf.evaluation.measures.loading import METRIC_NAMES
from mixtext_hf.methods import METHODS


PAGES = [
    pytest.param(path, id=name_of(path), marks=[pytest.mark.xfail] if name_of(path) in NOT_YET else [])
    for path in [*documents(), *cards()]
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


class Code(str):
    """Code of a page, and where it stands."""

    place: str

    def __new__(cls, text: str, place: str):
        code = super().__new__(cls, text)
        code.place = place
        return code


def spans_of(page: Path) -> list[Code]:
    """What stands in code marks in the prose; it may go over the end of a line."""
    found, line = [], 1
    for part in re.split(r"(\n\s*\n|\n(?=[|#*-]))", prose_of(page)):
        for span in re.finditer(r"(?<!`)`([^`]+)`(?!`)", part):
            place = f"{name_of(page)}:{line + part[: span.start()].count(chr(10))}"
            found.append(Code(" ".join(span[1].split()), place))
        line += part.count("\n")
    return found


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


def check_command(code: str) -> list[str]:
    """What is wrong in the commands in code: names, flags, methods, presets, metrics."""
    wrong = []
    for name, kind, rest in commands_in(code):
        if name not in COMMANDS:
            wrong += [] if name in ("COMMAND", "command") else [f"mixtext-hf {name}"]
            continue
        known = flags_of(name, kind if name != "benchmark" or kind in KINDS else None) | OF_ALL_COMMANDS
        flags = set(FLAG.findall(quoted_out(rest))) - known
        wrong += [f"mixtext-hf {name} {kind or ''} ... {flag}" for flag in sorted(flags)]
        for word in values_of(rest, "methods") if name in ("compare", "demo", "demo-vision") else []:
            if not is_variable(word) and word.rpartition("=")[2] not in {*METHODS, *FROZEN}:
                wrong.append(f"--methods {word}")
    return wrong + wrong_values(code)


def wrong_values(code: str) -> list[str]:
    """The methods, presets and metrics behind a flag that there are not."""
    wrong = []
    method = (values_of(code, "mix_method") or [None])[0]
    if method is not None and method not in METHODS and not is_variable(method):
        wrong.append(f"--mix_method {method}")
    presets = METHODS[method].presets if method in METHODS else {p for one in METHODS.values() for p in one.presets}
    for preset in values_of(code, "mix_preset"):
        if preset not in presets and not is_variable(preset):
            wrong.append(f"--mix_method {method} --mix_preset {preset}")
    return wrong + [
        f"--metrics {name}" for name in values_of(code, "metrics") if not is_metric(name) and not is_variable(name)
    ]


def code_of(page: Path) -> list[Code]:
    """Blocks of code, whatever they are of, and what stands in code marks; of blocks each command by itself."""
    found = []
    for block in blocks(page):
        if block.language != "python":
            lines = block.code.splitlines(keepends=True)
            starts = [i for i in range(len(lines)) if i == 0 or COMMAND.search(lines[i])]
            for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
                found.append(Code("".join(lines[start:end]), f"{block.page}:{block.line + start}"))
    return [*found, *spans_of(page)]


# ---- each page ----


@pytest.mark.parametrize("page", PAGES)
def test_blocks_have_a_language(page):
    blocks_of(page)


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_named_are_there(page):
    """With their flags, methods, presets and metrics."""
    assert [f"{code.place}: {wrong}" for code in code_of(page) for wrong in check_command(code)] == []


@pytest.mark.parametrize("page", PAGES)
def test_flags_that_are_named_are_there(page):
    of_origin = {f"--{name}" for name in OF_ORIGINS.get(page.name, "").split() if page.parent.name == "coming_from"}
    known = known_flags() | of_origin
    assert [
        f"{span.place}: {flag}" for span in spans_of(page) for flag in FLAG.findall(span) if flag not in known
    ] == []


KINDS = ("text", "mixtext", "vision", "trainer", "guesses")


def quoted_out(words: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "''", words)


def is_variable(word: str) -> bool:
    """Of a shell, a placeholder of prose, or a number of columns that go on."""
    word = word.strip("[].")
    return word.startswith("$") or word.isupper() or word in ("", "\\")


def is_metric(name: str) -> bool:
    return name in METRIC_NAMES or re.fullmatch(r"top_[1-9]\d*_accuracy", name) is not None


def values_of(code: str, name: str) -> list[str]:
    """The words behind a flag, wherever it stands."""
    found = re.findall(rf"--{name}[ =]((?:(?!--|-\w |[|;&>#'\"])\S+\s*)+)", code.replace("\\\n", " "))
    return [word.rstrip(",.)") for words in found for word in words.split()]


@pytest.mark.parametrize("page", PAGES)
def test_hyper_parameters_that_are_named_are_there(page):
    """In `--mix_kwargs`, `--method_arguments` and YAML of arguments."""
    wrong = [f"{code.place}: {said}" for code in code_of(page) for said in wrong_settings(code)]
    for block in blocks(page):
        if block.language == "yaml":
            settings = yaml.safe_load(block.code)
            if isinstance(settings, dict) and "output_dir" in settings:
                wrong += [f"{block.place}: {said}" for said in wrong_arguments(settings)]
    assert wrong == []


def wrong_settings(code: str) -> list[str]:
    """What a command gives in `--mix_kwargs` and `--method_arguments` and there is not."""
    code = code.replace("\\\n", " ")
    method = (values_of(code, "mix_method") or [None])[0]
    wrong = []
    for found in re.findall(r"--mix_kwargs[ =]'({.*?})'(?=\s|$|;)", code, re.DOTALL):
        wrong += wrong_hyperparameters(json.loads(found), method)
    for found in re.findall(r"--method_arguments[ =]'({.*?})'(?=\s|$|;)", code, re.DOTALL):
        wrong += wrong_arguments_of_methods(json.loads(found), values_of(code, "methods"))
    return wrong


def wrong_hyperparameters(settings, method=None) -> list[str]:
    kinds = [METHODS[method]] if method in METHODS else METHODS.values()
    known = {name for kind in kinds for name in (*kind.field_names(), *kind.aliases)}
    wrong = [f"{method or 'any method'} has no {name}" for name in sorted(set(settings) - known)]
    if "mix_with_kwargs" in settings:
        wrong += wrong_hyperparameters(settings["mix_with_kwargs"], settings.get("mix_with"))
    return wrong


def wrong_arguments_of_methods(settings, methods) -> list[str]:
    named = {word.partition("=")[0]: word.rpartition("=")[2] for word in methods}
    wrong = [f"{label} is none of {methods}" for label in settings if methods and label not in named]
    return wrong + [said for label, own in settings.items() for said in wrong_arguments(own, named.get(label))]


def wrong_arguments(settings, method=None) -> list[str]:
    known = {flag[2:] for command in ("train-text", "train-image", "compare") for flag in flags_of(command)}
    known |= {field.name for field in fields(MixTrainingArguments)}
    wrong = [f"no argument {name}" for name in sorted(set(settings) - known)]
    method = settings.get("mix_method", method)
    if isinstance(settings.get("mix_kwargs"), dict):
        wrong += wrong_hyperparameters(settings["mix_kwargs"], method)
    if isinstance(settings.get("method_arguments"), dict):
        wrong += wrong_arguments_of_methods(settings["method_arguments"], settings.get("methods", []))
    return wrong + [f"no metric {metric}" for metric in settings.get("metrics", []) if not is_metric(metric)]


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_are_there(page):
    named = [
        (span.place, name) for span in spans_of(page) for name in re.findall(r"(?<![\w/.])mixtext_hf(?:\.\w+)+", span)
    ]
    for block in blocks(page):
        if block.language == "python":
            named += [(block.place, f"{module}.{name}") for name, module in imported(block.code).items()]
    wrong = []
    for place, name in named:
        if not name.endswith((".py", ".md", ".NAME")):
            try:
                pkgutil.resolve_name(name)
            except (AttributeError, ImportError) as error:
                wrong.append(f"{place}: {error}")
    assert wrong == []


IDENTIFIER = re.compile(r"(?<![\w/.-])(?:[a-z]+_\w+|(?:[A-Z]+[a-z]+){2,}[A-Z]*)(?![\w/]|\.(?:py|png|csv)\b)")
# Of transformers, peft and papers.
IDENTIFIERS_OF_OTHERS = {"all_checkpoints", "load_in_4bit", "load_in_8bit", "mean_c"}
# Made of a name and a column, or of a method and a setting: `predict_recall_sport`, `layer_N`.
MADE = re.compile(r"(eval|predict)_\w+|\w+_[A-Z]")


@pytest.mark.parametrize("page", [path for path in documents() if path.parent.name != "coming_from"], ids=name_of)
def test_identifiers_that_are_named_are_there(page):
    """Words such as `margin_weight` and `MixPlan` in code marks: in the package, its tests, or the page; elsewhere are names of other packages."""
    code = set(re.findall(r"\w+", "\n".join(block.code for block in blocks(page))))
    # Rows of a table have names of their own.
    code |= set(re.findall(r"^\| (\w+) \|", prose_of(page), re.MULTILINE))
    known = known_words() | code | IDENTIFIERS_OF_OTHERS
    wrong = [
        f"{span.place}: {name}"
        for span in spans_of(page)
        for name in IDENTIFIER.findall(span)
        if name not in known and not MADE.fullmatch(name)
    ]
    assert wrong == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "coming_from").glob("*.md")), ids=name_of)
def test_what_a_name_of_another_program_is_here(page):
    """The second column of the tables that are headed `here`."""
    wrong, count, is_table = [], 0, False
    for number, line in enumerate(prose_of(page).splitlines(), 1):
        cells = line.strip("|").split(" | ") if line.startswith("|") else []
        is_table = bool(cells) and (is_table or cells[1:2] == ["here "])
        for span in re.findall(r"`([^`]+)`", cells[1]) if is_table and len(cells) > 1 else ():
            count += 1
            # `multi_target_strategy="..."` is none of ours.
            names = [name for name in re.findall(r"(?<![\w/\"-])[a-z]+_\w+", span) if name not in known_words()]
            wrong += [f"{name_of(page)}:{number}: {name}" for name in names]
    assert wrong == []
    assert count > 10


@lru_cache
def known_words() -> frozenset[str]:
    """Of the source, and the arguments of transformers."""
    paths = [path for name in ("mixtext_hf", "scripts", "tests", "examples") for path in (ROOT / name).rglob("*")]
    paths.remove(ROOT / "tests" / "docs" / "test_names.py")
    texts = [path.read_text(encoding="utf-8") for path in paths if path.suffix in (".py", ".txt", ".sh", ".md")]
    runs = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "results").rglob("*.csv")]
    words = re.findall(r"\w+", "\n".join([*texts, *runs]))
    return frozenset([*words, *(field.name for field in fields(TrainingArguments))])


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
    wrong = []
    for span in spans_of(page):
        if re.fullmatch(r"(mixtext_hf|tests|scripts|docs|model_cards|examples)/[\w./-]*\w", span):
            wrong += [] if any((at / span).exists() for at in (ROOT, page.parent)) else [f"{span.place}: {span}"]
        for file, name in re.findall(r"([\w/]*test_\w+\.py): (test_\w+)", span):
            found = [path for path in (ROOT / "tests").rglob("test_*.py") if path.as_posix().endswith(f"/{file}")]
            if not any(f"def {name}(" in path.read_text(encoding="utf-8") for path in found):
                wrong.append(f"{span.place}: {span}")
        name = span.rpartition("/")[2]
        if FILE.fullmatch(name) and " " not in span and name not in code and not is_known_file(name):
            wrong.append(f"{span.place}: {span}")
    assert wrong == []


def is_known_file(name: str) -> bool:
    """The number of a seed may stand in it."""
    return name in known_files() or re.sub(r"\d", "{seed}", name) in known_files()


@lru_cache
def known_files() -> str:
    """All text in which a file may be named that is there or somebody writes."""
    paths = [*(ROOT / "mixtext_hf").rglob("*.py"), *(ROOT / "mixtext_hf").rglob("*.txt")]
    paths += [ROOT / "tests" / "docs" / "world.py", ROOT / "tests" / "tickets.py"]
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
    wrong = []
    for number, line in enumerate(prose_of(page).splitlines(), 1):
        line = re.sub(r"`[^`]*`", "", line)
        said = [link for link in re.findall(r"\]\(([^)\s]+)[^)]*\)", line) if not leads_somewhere(link, page)]
        said += re.findall(r"@@|\b(?:TODO|FIXME|XXX|TBD)\b", line)
        wrong += [f"{name_of(page)}:{number}: {one}" for one in said]
    assert wrong == []


def leads_somewhere(link: str, page: Path) -> bool:
    if re.match(r"[a-z]+:", link):
        return re.fullmatch(r"https://[\w.-]+\.[a-z]+(/[\w./~%?&=+#():@-]*)?", link) is not None
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


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
        ("```bash\nmixtext-hf train-text --mix_alfa 2\n```", test_commands_that_are_named_are_there),
        ("Take `--mix_alfa`.", test_flags_that_are_named_are_there),
        ("Take `mixtext-hf predict --mix_alpha 2`.", test_commands_that_are_named_are_there),
        (
            "```bash\nmixtext-hf train-text --mix_method tmixx\n```",
            test_commands_that_are_named_are_there,
        ),
        (
            "```bash\nmixtext-hf compare text --methods erm kept=puzle\n```",
            test_commands_that_are_named_are_there,
        ),
        (
            "`--mix_method puzzlemix --mix_preset official_code`",
            test_commands_that_are_named_are_there,
        ),
        ("`--metrics accuracy top_2_acuracy`", test_commands_that_are_named_are_there),
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
        ("`margin_wait` in `--mix_kwargs`", test_identifiers_that_are_named_are_there),
        ("`MixTrayner`", test_identifiers_that_are_named_are_there),
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
    page.write_text(f"# Page\n\n{wrong}\n")
    with pytest.raises((AssertionError, PageError), match=r"\bpage\.md:[3-6]: "):
        test(page)
