"""What is said of the house outside of the package is true: workflows, CONTRIBUTING, tools and bounds name what there is."""

import ast
import re
import tomllib
from pathlib import Path

import lower_bounds as bounds
import pytest
import yaml

import mixtext_hf


ROOT = Path(__file__).parent.parent
PACKAGE = Path(mixtext_hf.__file__).parent
# A longer file of the package says in its docstring why it is one.
MOST_LINES, REASON = 450, "It is long so that"

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = (
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    ".github/pull_request_template.md",
    "docs/design.md",
    "docs/reliability.md",
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict:
    return tomllib.loads(text_of("pyproject.toml"))["project"]


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))


def steps(workflow: dict) -> list[dict]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def named_targets(text: str) -> list[str]:
    return re.findall(r"(?:`|run: |^|&& )make ([a-z-]+)", text, re.MULTILINE)


def long_files(package: Path) -> dict[str, bool]:
    """The files above the limit, and whether each says why."""
    texts = {str(path.relative_to(package)): path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    return {
        name: REASON in " ".join((ast.get_docstring(ast.parse(text)) or "").split())
        for name, text in texts.items()
        if len(text.splitlines()) > MOST_LINES
    }


def test_a_long_file_says_why_it_is_one():
    assert [name for name, says_why in long_files(PACKAGE).items() if not says_why] == []


def test_a_long_file_without_a_reason_is_seen(tmp_path):
    lines = "x = 1\n" * MOST_LINES
    (tmp_path / "below").mkdir()
    (tmp_path / "as_long_as_may_be.py").write_text(lines)
    (tmp_path / "long.py").write_text(f'"""Rows."""\n{lines}')
    (tmp_path / "below" / "told.py").write_text(f'"""Rows. It is long\nso that all are in one place."""\n{lines}')
    assert long_files(tmp_path) == {"long.py": False, "below/told.py": True}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_no_more(path):
    source = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(source)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"] == "${{ github.workflow }}-${{ github.ref }}"
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert 0 < job["timeout-minutes"] <= 90
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}
    assert "secrets." not in source
    assert set(re.findall(r"https?://([^/\s]+)", source)) <= {"download.pytorch.org"}


def test_actions_are_pinned_to_one_commit_each():
    used = [line for path in WORKFLOWS for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    pins: dict[str, set[str]] = {}
    for line in used:
        found = re.fullmatch(r"\s+- uses: ([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", line)
        assert found, line
        pins.setdefault(found[1], set()).add(found[2])
    assert len(pins) == 2
    assert all(len(found) == 1 for found in pins.values()), pins


@pytest.mark.parametrize("page", [*(str(path.relative_to(ROOT)) for path in WORKFLOWS), *PAGES])
def test_targets_of_make_that_are_named_exist(page):
    named = named_targets(text_of(page))
    assert named or not page.endswith(".yml")
    assert set(named) <= targets()


def test_every_target_of_make_is_phony_and_explained():
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text_of("Makefile"), re.MULTILINE)[1].replace("\\", "").split()
    assert set(phony) == targets()
    explained = re.findall(r"^([a-z-]+):.* ## \S", text_of("Makefile"), re.MULTILINE)
    assert set(explained) == targets()


def test_the_versions_of_python_are_those_of_the_classifiers():
    workflow = yaml.safe_load(text_of(".github/workflows/tests.yml"))
    tested = workflow["jobs"]["tests"]["strategy"]["matrix"]["python"]
    said = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(project()["classifiers"]))
    assert said == tested
    assert project()["requires-python"] == f">={tested[0]}"
    set_up = {
        str(step["with"]["python-version"])
        for path in WORKFLOWS
        for step in steps(yaml.safe_load(path.read_text(encoding="utf-8")))
        if step.get("uses", "").startswith("actions/setup-python@")
    }
    assert set_up <= {*tested, "${{ matrix.python }}"}
    named = re.search(r"Python (3\.[\d., and]+) are tested", text_of("CONTRIBUTING.md"))[1]
    assert re.findall(r"3\.\d+", named) == tested


def test_there_is_one_ruff():
    hooks = yaml.safe_load(text_of(".pre-commit-config.yaml"))["repos"]
    (revision,) = [repo["rev"] for repo in hooks if repo["repo"].endswith("/ruff-pre-commit")]
    assert f"\nruff=={revision.removeprefix('v')}\n" in text_of("constraints.txt")


@pytest.mark.parametrize("path", [path for path in FORMS if path.stem != "config"], ids=lambda path: path.stem)
def test_a_form_asks_for_something(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form["name"] and form["description"]
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    assert {part["type"] for part in form["body"]} <= {"textarea", "input", "dropdown", "checkboxes"}
    assert all(part["attributes"]["label"] for part in form["body"])
    assert any(part.get("validations", {}).get("required") for part in form["body"])


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "docs/deprecation.md", "docs/design.md"])
def test_paths_that_are_named_exist(page):
    named = set(
        re.findall(r"`((?:mixtext_hf|tests|docs|scripts)/[\w./-]*|[A-Za-z_]+\.(?:md|toml|cff|py))`", text_of(page))
    )
    assert len(named) >= 1
    missing = {path for path in named if not any((ROOT / part / path).exists() for part in ("", "mixtext_hf"))}
    assert not missing


def test_the_reader_s_questions_are_answered():
    rooms = dict(re.findall(r"^\| (Where .*?\?) \| (.*?) \|$", text_of("docs/design.md"), re.MULTILINE))
    for question in ("batch become a loss", "cut of PuzzleMix solved", "add a method", "card get its numbers"):
        (answer,) = [answer for asked, answer in rooms.items() if question in asked]
        assert "`mixtext_hf/" in answer


def test_the_version_is_the_same_everywhere():
    assert yaml.safe_load(text_of("CITATION.cff"))["version"] == mixtext_hf.__version__
    assert f"## {mixtext_hf.__version__} " in text_of("CHANGELOG.md")


def test_links_of_the_package_are_among_the_papers():
    papers = {paper["url"] for paper in yaml.safe_load(text_of("CITATION.cff"))["references"]}
    assert set(project()["urls"].values()) <= papers


def test_every_requirement_of_the_package_has_a_lower_bound():
    found = bounds.lower_bounds(bounds.project_requirements())
    assert found["torch"] and found["pytest"]
    for requirement in project()["dependencies"]:
        assert requirement.split(">=")[0] in found


@pytest.mark.parametrize(
    ("requirements", "message"),
    [
        (["a>=1", "b<2"], "requires 'b<2'"),
        (["a>=1,<2"], "requires 'a>=1,<2'"),
        (["a>=1", "a>=2"], "two bounds: 1 and 2"),
    ],
)
def test_a_requirement_without_one_lower_bound_is_refused(requirements, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        bounds.lower_bounds(requirements)


def test_bounds_are_written_as_constraints(capsys):
    bounds.main(["--instead", "torch==99.1"])
    written, said = capsys.readouterr()
    assert "\ntorch==99.1\n" in written
    assert f"\ntransformers=={bounds.lower_bounds(bounds.project_requirements())['transformers']}\n" in written
    assert "torch: 99.1 in place of the bound" in said


@pytest.mark.parametrize("pin", ["torch", "torch>=2", "unheard-of==1"])
def test_another_release_must_be_of_something_bounded(pin, capsys):
    with pytest.raises(SystemExit):
        bounds.main(["--instead", pin])
    assert f"--instead {pin}" in capsys.readouterr().err
