"""The pages that `scripts/docs_pages.py` makes are those that are committed, and the parts that they are made of."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from mixtext_hf.cli.commands import COMMANDS
from mixtext_hf.methods import METHODS
from mixtext_hf.models import TESTED_MODEL_TYPES


BASES_OF_TRAINER = ("EvaluatingTrainer", "HubTrainer", "LoadingTrainer", "SavingTrainer")
ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(ROOT / "scripts"))

import docs_pages  # noqa: E402
from docs_site import api, commands, costs, docstrings, methods, models  # noqa: E402


def test_the_pages_are_what_the_package_says():
    assert not docs_pages.stale(docs_pages.pages()), "`make docs-pages` writes them"


def test_every_page_is_in_the_navigation():
    class Loader(yaml.SafeLoader):
        """Takes the tags of mkdocs."""

    Loader.add_multi_constructor("", lambda loader, suffix, node: None)
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")

    def files(entry):
        if isinstance(entry, str):
            return [entry]
        return [file for one in (entry.values() if isinstance(entry, dict) else entry) for file in files(one)]

    found = files(yaml.load(text, Loader)["nav"])
    # Results have tables, and a page on their files, that are no pages of the site.
    left_out = ("table.md", "README.md")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page.name not in left_out}
    assert set(found) == pages
    assert len(found) == len(pages)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_note_with_a_source(name):
    note = methods.note_of(name)
    assert 2 <= len(note.text.splitlines()) <= 6
    assert set(note.defaults) <= {*METHODS[name].field_names()}
    # A claim links to where it was measured, or says that it was not.
    assert re.search(r"\]\(\.\./(results|guides)/\w+\.md", note.text) or "No comparison" in note.text


def test_hyperparameters_that_a_method_refuses_have_no_place_on_its_page():
    assert methods.hyperparameters(METHODS["erm"]) == []
    assert "layers" not in methods.hyperparameters(METHODS["cutmix"])
    assert "mix_with_kwargs" not in methods.hyperparameters(METHODS["uda"])
    assert methods.hyperparameters(METHODS["tmix"]) == list(METHODS["tmix"].field_names())


def test_equations_have_the_signs_of_the_papers():
    equation = "h <- lam x + (1 - lam) x,  lam >= 1/2,  gamma_m beta sum psi - lambda_u, m in {0}, tau^2, betamax"
    assert methods.in_signs(equation) == "h ← λ x + (1 - λ) x,  λ ≥ 1/2,  γ_m β Σ ψ - λ_u, m ∈ {0}, τ², betamax"  # noqa: RUF001


def test_the_page_of_models_names_each_tested_type_once():
    types = models.tested()
    named = [*types["encoders"], *types["decoders"], *types["images"]]
    assert sorted(named) == sorted(TESTED_MODEL_TYPES)
    assert set(types["tokens"]) <= {*types["encoders"], *types["decoders"]}


def test_the_page_of_a_command_names_all_that_its_help_names():
    pages = commands.pages()
    for command in COMMANDS:
        page = pages[f"commands/{command}.md"]
        text = (ROOT / "mixtext_hf" / "cli" / "help" / f"{command}.txt").read_text(encoding="utf-8")
        for flag in re.findall(r"^  (--\w[\w-]*)", text, re.MULTILINE):
            assert f"| `{flag}`" in page


def test_every_public_name_has_its_place_on_the_pages_of_the_api():
    listed = re.split(
        r"^# (.+)$", (ROOT / "tests" / "public_names.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    sections = dict(zip(listed[1::2], listed[2::2], strict=True))
    places, named = api.documented(), {name.rpartition(".")[2] for name in api.documented()}
    for module in ("mixtext_hf", "mixtext_hf.functional"):
        for name in re.findall(r"^(?:class )?(\w+)", sections[module], re.MULTILINE):
            assert name == "__version__" or {f"mixtext_hf.{name}", f"mixtext_hf.functional.{name}"} & {*places}, name
    # Those of a trainer, of a mixer and of a model that is loaded are described with it.
    with_another = {"CheckedLoaders", "Classifier", "_MixableModel", *(one for one in BASES_OF_TRAINER)}
    for name in re.findall(r"^class (\w+)", sections["what they come from"], re.MULTILINE):
        assert name in named | with_another, name


@pytest.mark.parametrize(
    "module", ["data", "delivery", "evaluation", "functional", "hub", "methods", "models", "training"]
)
def test_what_a_module_gives_is_named_on_the_pages_of_the_api(module):
    text = "".join(page.read_text(encoding="utf-8") for page in api.PAGES.glob("*.md"))
    # Constants that methods share with each other.
    for name in {*import_module(f"mixtext_hf.{module}").__all__} - {"PIXELS", "TOKENS"}:
        assert re.search(rf"\b{name}\b", text), name


def test_costs_are_read_with_and_without_the_command_beside_them(tmp_path):
    (tmp_path / "text.json").write_text(
        json.dumps(
            [{"method": name, "time_ratio": 1.5, "memory_ratio": 1.1} for name in ("erm", "tmix", "ssmix_kept")]
        )
    )
    rows = [
        {"method": name, "ratio to erm": 2.0, "peak memory MiB": size} for name, size in (("erm", 10), ("mixup", 15))
    ]
    (tmp_path / "vision.json").write_text(json.dumps({"command": "mixtext-hf benchmark vision", "rows": rows}))
    assert costs.costs_of("tmix", tmp_path) == [costs.Cost("tmix", 1.5, 1.1, "", "results/benchmark/text.json")]
    assert [cost.label for cost in costs.costs_of("ssmix", tmp_path)] == ["ssmix_kept"]
    (mixup,) = costs.costs_of("mixup", tmp_path)
    assert (mixup.time, mixup.memory, mixup.command) == (2.0, 1.5, "mixtext-hf benchmark vision")
    assert costs.costs_of("lada", tmp_path) == []


def test_a_docstring_is_read():
    found = docstrings.read(
        """What it does, see [`MixPlan`].

        Args:
            a, b (`int` of shape `(B,)`, *optional*), c: Some of
                them.

        More.

        Raises:
            `ValueError`: if one is
            wrong.
            [`RunError`]: else.
        """
    )
    assert found.text == "What it does, see [`MixPlan`].\n\nMore."
    (item,) = found.items("Args")
    assert item.kinds == {"a": "`int` of shape `(B,)`, *optional*", "b": "`int` of shape `(B,)`, *optional*", "c": ""}
    assert item.text == "Some of\nthem."
    assert [item.text for item in found.items("Raises")] == ["`ValueError`: if one is\nwrong.", "[`RunError`]: else."]
    text = docstrings.with_references(
        docstrings.as_markdown(found), lambda name: "[mixtext_hf.MixPlan]" if name == "MixPlan" else None
    )
    assert text.startswith(
        "What it does, see [`MixPlan`][mixtext_hf.MixPlan].\n\n**Arguments**\n\n- **`a`**, **`b`** (`int`"
    )
    assert text.endswith("- `RunError`: else.")


def test_what_is_no_argument_is_refused():
    with pytest.raises(ValueError, match=r"no 'name \(type\): text': 'a thing'"):
        docstrings.read("One.\n\nArgs:\n    a thing\n")
