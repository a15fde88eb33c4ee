"""The tables of README.md and of the pages in docs are those of the result files; so are the files that `keep_runs.py` keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path

import keep_runs
import pytest
import tables
from rewriting import rewrite


ROOT = Path(__file__).parent.parent

RUNS = """run,variant,labeled_per_class,seed,split,n_examples,steps,accuracy,ECE,NLL
a,erm,10,0,test,4,2,0.5,0.1,1.0
b,tmix,10,0,test,4,2,0.75,0.2,0.5
"""
MORE = """run,variant,labeled_per_class,seed,split,n_examples,steps,accuracy,ECE,NLL
c,erm,10,1,test,4,2,0.7,0.1,1.0
d,tmix,10,1,test,4,2,0.75,0.2,0.7
"""


@pytest.mark.parametrize("page", tables.pages())
def test_tables_are_what_the_runs_say(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    pairs = zip(text.splitlines(), tables.rewritten(text).splitlines(), strict=False)
    wrong = [f"{page}:{i}: {line}\n  the runs say {made}" for i, (line, made) in enumerate(pairs, 1) if line != made]
    assert wrong == [], "\n".join([*wrong, "python scripts/tables.py"])
    assert tables.rewritten(text) == text


def test_no_comment_is_taken_for_none():
    """One that is not understood leaves a table that nothing makes again."""
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text(encoding="utf-8")
        known = {found.start() for found in tables.BLOCK.finditer(text)}
        asked = {
            found.start() for found in re.finditer(r"<!-- (table|seeds|differences|overview|results|lines):", text)
        }
        assert asked == known, path


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


def test_a_metric_of_each_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    folder = tmp_path / "docs" / "results" / "a"
    folder.mkdir(parents=True)
    (folder / "runs.csv").write_text(RUNS + MORE.split("\n", 1)[1])
    page = "<!-- seeds: a accuracy -->\nan old table\n<!-- end -->\n"
    assert tables.rewritten(page).splitlines()[1:-1] == [
        "| accuracy, seed | 0 | 1 |",
        "|---|---|---|",
        "| erm | 0.500 | 0.700 |",
        "| tmix | 0.750 | 0.750 |",
    ]
    (folder / "runs-more.csv").write_text(RUNS)
    with pytest.raises(ValueError, match="erm was run twice with seed 0"):
        tables.rewritten(page)


def test_differences_with_their_intervals(tmp_path):
    (tmp_path / "runs.csv").write_text(RUNS + MORE.split("\n", 1)[1])
    with pytest.raises(ValueError, match=r"holds no results\.csv"):
        tables.differences_table(tmp_path)
    summary = """variant,metric,mean,difference,low,high,wins,n_seeds
erm,accuracy,0.6,,,,,2
erm,ECE,0.1,,,,,2
erm,NLL,1.0,,,,,2
tmix,accuracy,0.75,0.15,-0.0001,0.3,2,2
tmix,ECE,0.2,0.1,0.05,0.15,0,2
tmix,NLL,0.6,-0.4,-0.5,-0.3,2,2
"""
    (tmp_path / "results.csv").write_text(summary)
    header, _, erm, tmix = tables.differences_table(tmp_path).splitlines()
    assert header == "| method | accuracy | accuracy - erm | ECE | ECE - erm | NLL | NLL - erm |"
    assert erm == "| erm | 0.600 ± 0.141 |  | 0.100 ± 0.000 |  | 1.000 ± 0.000 |  |"
    assert "| 0.750 ± 0.000 | +0.150 [0.000, +0.300] 2/2 | 0.200" in tmix
    (tmp_path / "results.csv").write_text(summary.replace("0.75,", "0.76,"))
    with pytest.raises(ValueError, match="the accuracy of tmix is not that of the runs"):
        tables.differences_table(tmp_path)


def test_columns_of_single_runs(tmp_path):
    for method, seed, f1 in (("lada", 0, 0.5), ("erm", 0, 0.25), ("lada", 1, 0.75), ("erm", 1, 0.25)):
        (tmp_path / f"{method}-seed{seed}.json").write_text(json.dumps({"f1": f1, "loss": 1}))
    assert tables.results_table(tmp_path, {"f1": "entity F1"}).splitlines()[2:] == [
        "| erm | 0.250 ± 0.000 |",
        "| lada | 0.625 ± 0.177 |",
    ]
    with pytest.raises(ValueError, match="erm has no ece"):
        tables.results_table(tmp_path, {"ece": "ECE"})
    (tmp_path / "lada-seed1.json").unlink()
    with pytest.raises(ValueError, match="other seeds"):
        tables.results_table(tmp_path, {"f1": "F1"})
    (tmp_path / "lada.json").write_text("{}")
    with pytest.raises(ValueError, match="not called METHOD-seedSEED"):
        tables.results_table(tmp_path, {"f1": "F1"})


@pytest.mark.parametrize(
    "asked",
    [
        "table: a with colours",
        "seeds: a",
        "seeds: a speed",
        "overview: a",
        "results: a",
        "differences: a ECE",
        "lines: a/b",
    ],
)
def test_what_there_is_not_is_said(asked):
    with pytest.raises(ValueError, match="asks for what there is not"):
        tables.rewritten(f"<!-- {asked} -->\n<!-- end -->\n")


def made_comparison(made: Path, runs: str, results: dict[str, dict]) -> None:
    """What `compare` leaves of finished runs."""
    made.mkdir(parents=True)
    (made / "runs.csv").write_text(runs)
    (made / "results.csv").write_text("variant\n")
    for run, result in results.items():
        (made / "runs" / run).mkdir(parents=True)
        (made / "runs" / run / "result.json").write_text(json.dumps({"log_history": [], **result}))


def test_runs_of_a_comparison_are_kept(tmp_path):
    made, folder = tmp_path / "made", tmp_path / "kept"
    results = {
        run: {
            "log_history": [
                {"epoch": 1.0, "eval_accuracy": 0.75},
                {"epoch": 1.0, "noise_memorised": learnt},
                {"epoch": 2.0, "loss": 1},
            ]
        }
        for run, learnt in (("a", 0.5), ("b", 0.25))
    }
    made_comparison(made, RUNS, results)
    assert keep_runs.keep(made, folder) == ["runs.csv", "results.csv", "epochs.csv"]
    assert (folder / "runs.csv").read_text() == RUNS
    assert (folder / "epochs.csv").read_text().splitlines() == [
        "variant,seed,epoch,eval_accuracy,noise_memorised",
        "erm,0,1,0.75,0.5",
        "tmix,0,1,0.75,0.25",
    ]
    made_comparison(
        tmp_path / "plain", RUNS, {run: {"log_history": [{"epoch": 1.0, "eval_accuracy": 1}]} for run in "ab"}
    )
    assert keep_runs.keep(tmp_path / "plain", folder) == ["runs.csv", "results.csv"]


def test_who_guessed_is_kept_of_each_seed(tmp_path):
    rounds = [
        {
            "round": 1,
            "shares": {"a": 0.5, "b": 0.25, "c": 0.125, "d": 0.125},
            "chosen": "Gaussian mixture, with the names of the classes",
            "combination": {
                "classifier_weight": 2.0,
                "frozen_log_likelihood": -0.25,
                "classifier_log_likelihood": -1.5,
            },
            "accuracy": 0.5,
            "accuracy_of_surest": 0.625,
        },
        {"round": 2, "shares": {"a": 0.5, "b": 0.5}},
    ]
    made_comparison(tmp_path / "made" / "0", RUNS, {"a": {}, "b": {"guesses": rounds}})
    made_comparison(tmp_path / "made" / "1", MORE, {"c": {}, "d": {"guesses": rounds[1:]}})
    kept = keep_runs.keep(tmp_path / "made", tmp_path / "kept")
    assert kept == [f"{name}-{seed}.csv" for seed in (0, 1) for name in ("runs", "results", "guesses")]
    first, second = tables.lines_of(tmp_path / "kept" / "guesses-0.csv")
    assert list(first.items()) == [
        ("variant", "tmix"),
        ("seed", "0"),
        ("round", "1"),
        ("chosen", "Gaussian mixture, with the names of the classes"),
        ("nats_of_even", "1.38629"),
        ("nats_of_frozen", "0.25"),
        ("nats_of_classifier", "1.5"),
        ("weight_of_classifier", "2"),
        ("right", "0.5"),
        ("right_of_surest", "0.625"),
    ]
    assert second["nats_of_even"] == "0.693147"
    assert not any(second[key] for key in ("chosen", "nats_of_frozen", "nats_of_classifier", "right"))
    assert tables.lines_of(tmp_path / "kept" / "guesses-1.csv")[0]["seed"] == "1"


def test_lines_of_a_file_are_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    folder = tmp_path / "docs" / "results" / "a"
    folder.mkdir(parents=True)
    head = "variant,seed,chosen,weight,right\n"
    (folder / "guesses.csv").write_text(f"{head}mixtext,0,a mixture,2,0.56789\n")
    (folder / "guesses-1.csv").write_text(f"{head}mixtext,1,none,,1.0\n")
    page = "<!-- lines: a/guesses seed=seed chosen=by weight=its_weight right=right -->\nold\n<!-- end -->\n"
    assert tables.rewritten(page).splitlines()[1:-1] == [
        "| seed | by | its weight | right |",
        "|---|---|---|---|",
        "| 1 | none |  | 1.000 |",
        "| 0 | a mixture | 2 | 0.568 |",
    ]
    with pytest.raises(ValueError, match=r"guesses-1\.csv has no 'shown'"):
        tables.rewritten(page.replace("chosen=", "shown="))
    with pytest.raises(ValueError, match=r"holds no others\*\.csv"):
        tables.rewritten(page.replace("a/guesses", "a/others"))


def test_check_says_what_is_stale_and_writes_nothing(tmp_path, capsys):
    for name, text in (("old.md", "1"), ("new.md", "2")):
        (tmp_path / name).write_text(text)
    arguments = (None, tmp_path, ["old.md", "new.md"], lambda text: text.replace("1", "2"))
    assert rewrite(*arguments, ["--check"]) == 1
    assert capsys.readouterr().out == "Not what the files say: old.md.\n" and (tmp_path / "old.md").read_text() == "1"
    assert rewrite(*arguments, []) == 0
    assert capsys.readouterr().out == "Written: old.md.\n" and (tmp_path / "old.md").read_text() == "2"
    assert rewrite(*arguments, ["--check"]) == 0


def test_single_runs_are_kept(tmp_path):
    with pytest.raises(ValueError, match="neither"):
        keep_runs.keep(tmp_path, tmp_path / "kept")
    for name in ("erm-seed0", "erm-1", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "all_results.json").write_text(
            '{"eval_accuracy": 0.5, "eval_runtime": 1.0, "train_runtime": 3.0}'
        )
    assert keep_runs.keep(tmp_path, tmp_path / "kept") == ["erm-seed1.json", "erm-seed0.json"]
    assert json.loads((tmp_path / "kept" / "erm-seed0.json").read_text()) == {"eval_accuracy": 0.5}
    keep_runs.keep(tmp_path, tmp_path / "kept", seconds=True)
    assert json.loads((tmp_path / "kept" / "erm-seed0.json").read_text()) == {
        "eval_accuracy": 0.5,
        "train_runtime": 3.0,
    }
