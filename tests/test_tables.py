"""The tables of README.md and docs/results.md are those of the result files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("tables", ROOT / "scripts" / "tables.py")
tables = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tables)

RUNS = """run,variant,labeled_per_class,seed,split,n_examples,steps,accuracy,ECE,NLL
a,erm,10,0,test,4,2,0.5,0.1,1.0
b,tmix,10,0,test,4,2,0.75,0.2,0.5
"""
MORE = """run,variant,labeled_per_class,seed,split,n_examples,steps,accuracy,ECE,NLL
c,erm,10,1,test,4,2,0.7,0.1,1.0
d,tmix,10,1,test,4,2,0.75,0.2,0.7
"""


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_what_the_runs_say(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- table: " in text
    assert tables.rewritten(text) == text, "python scripts/tables.py"


def test_a_table_of_two_files(tmp_path):
    (tmp_path / "runs-0.csv").write_text(RUNS)
    (tmp_path / "runs-1.csv").write_text(MORE)
    assert tables.table(tmp_path).splitlines() == [
        "| method | accuracy | ECE | NLL |",
        "|---|---|---|---|",
        "| erm | 0.600 ± 0.141 | **0.100 ± 0.000** | 1.000 ± 0.000 |",
        "| tmix | **0.750 ± 0.000** | 0.200 ± 0.000 | **0.600 ± 0.141** |",
    ]
    assert "| 10 | erm |" in tables.table(tmp_path, by_labels=True)
    header, _, erm, _ = tables.table(tmp_path, with_steps=True).splitlines()
    assert header.startswith("| method | steps | accuracy |") and erm.startswith("| erm | 2 | 0.600")


def test_a_page_says_which_table_it_wants(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    folder = tmp_path / "docs" / "results" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "runs.csv").write_text(RUNS)
    for asked, settings in (
        ("", {}),
        (" by labels", {"by_labels": True}),
        (" with steps", {"with_steps": True}),
        (" by labels with steps", {"by_labels": True, "with_steps": True}),
    ):
        page = f"before\n<!-- table: a/b{asked} -->\nan old table\n<!-- end -->\nafter\n"
        assert tables.rewritten(page) == page.replace("an old table\n", tables.table(folder, **settings))


def test_runs_that_do_not_go_together_and_none(tmp_path):
    with pytest.raises(ValueError, match=r"holds no runs\*\.csv"):
        tables.table(tmp_path)
    (tmp_path / "runs.csv").write_text(RUNS + MORE.splitlines()[1] + "\n")
    with pytest.raises(ValueError, match="other seeds"):
        tables.table(tmp_path)


def test_one_metric_of_several_comparisons(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    study = tmp_path / "docs" / "results" / "study"
    with pytest.raises(FileNotFoundError):
        tables.overview(study, "accuracy")
    study.mkdir(parents=True)
    with pytest.raises(ValueError, match="no folders of runs"):
        tables.overview(study, "accuracy")
    for name, text in (("trec", RUNS), ("ag", RUNS + MORE.split("\n", 1)[1] + "e,ssmix,10,0,test,4,2,0.9,0.05,0.6\n")):
        (study / name).mkdir()
        (study / name / "runs.csv").write_text(text)
    page = "<!-- overview: study NLL -->\nan old table\n<!-- end -->\n"
    assert tables.rewritten(page).splitlines() == [
        "<!-- overview: study NLL -->",
        "| NLL | ag | trec |",
        "|---|---|---|",
        "| erm | 1.000 ± 0.000 | 1.000 |",
        "| tmix | **0.600 ± 0.141** | **0.500** |",
        "| ssmix | **0.600** |  |",
        "<!-- end -->",
    ]
