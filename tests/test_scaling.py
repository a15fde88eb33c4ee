"""The measurements behind docs/scaling.md: what a point measures, that a run goes on, and that the page says what was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import benchmark_tables as tables
import pytest
import scaling
import torch

from mixtext_hf.cli.benchmark.command import main as benchmark


ROOT = Path(__file__).parent.parent


TEXT = {"kind": "text", "batch_size": 4, "seq_length": 8, "classes": 5}
IMAGES = {"kind": "images", "batch_size": 2, "image_size": 16, "classes": 3}
# Steps of (name, point), each once.
STEPS = [*((name, TEXT) for name in scaling.TEXT_STEPS), *((name, IMAGES) for name in scaling.IMAGE_STEPS)]


def test_all_sweeps_begin_with_one_baseline():
    assert next(iter(scaling.TEXT_STEPS)) == next(iter(scaling.IMAGE_STEPS)) == "erm"
    for points in scaling.SWEEPS.values():
        assert len({frozenset(point.items()) for point in points}) == len(points)
    assert {*tables.GROWING, "processes", "guess_classes"} == {*scaling.SWEEPS}


@pytest.mark.parametrize("name, point", STEPS, ids=[name for name, _ in STEPS])
def test_each_step_trains_a_model_on_all_rows(name, point):
    model = scaling.make_model(point)
    seen = []
    model.register_forward_pre_hook(
        lambda module, given, kwargs: seen.append(len(next(iter(kwargs.values())))), with_kwargs=True
    )
    step = scaling.make_step(model, name, point, 2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    step(0)
    rows = point["batch_size"]
    # Guesses of the unlabelled rows, or the saliency of all, come before; AugMix shows three views in one pass.
    first = {"mixtext, online": [rows - rows // 4], "puzzlemix": [rows], "ssmix": [rows], "puzzle_tmix": [rows]}
    assert seen == [*first.get(name, []), 3 * rows if name == "augmix" else rows]
    assert any(not torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_point_has_a_row_a_method(monkeypatch):
    monkeypatch.setattr(scaling, "in_child", lambda work: work())
    monkeypatch.setattr(scaling, "memory_of", lambda point, name: 50.0)
    rows = scaling.measure(TEXT, Namespace(rounds=1, warmup=0))
    assert [row["method"] for row in rows] == list(scaling.TEXT_STEPS)
    assert rows[0]["time_ratio"] == rows[0]["mean_ratio"] == 1
    assert all(row["milliseconds"] > 0 for row in rows)


def test_points_that_are_there_are_left_out(tmp_path):
    file = tmp_path / "folder" / "points.jsonl"
    settings = [TEXT, IMAGES, dict(TEXT)]
    assert list(scaling.missing(settings, file)) == [TEXT, IMAGES]
    scaling.add(file, {**TEXT, "rows": []})
    assert list(scaling.missing(settings, file)) == [IMAGES]


@pytest.mark.deep
def test_the_smallest_point_of_each_sweep(tmp_path):
    file = tmp_path / "points.jsonl"
    command = [sys.executable, str(ROOT / "scripts" / "scaling.py"), "--quick", "--points_file", str(file)]
    subprocess.run(command, check=True)
    points = [json.loads(line) for line in file.read_text().splitlines()]
    assert {point["kind"] for point in points} == {"text", "images", "guesses", "processes"}


# ---- the page ----


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_what_was_measured(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- benchmark: " in text and "<!-- scaling: " in text
    pairs = zip(text.splitlines(), tables.rewritten(text).splitlines(), strict=False)
    wrong = [f"{page}:{i}: {line}" for i, (line, made) in enumerate(pairs, 1) if line != made]
    assert wrong == [], "python scripts/benchmark_tables.py"
    assert tables.rewritten(text) == text


def table_of(text: str, asked: str) -> dict[str, list[float]]:
    """The numbers of a table by the first cell of its lines."""
    part = text.partition(f"<!-- {asked} -->")[2].partition("<!-- end -->")[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")][1:]
    return {name: [float(cell.split(" ")[0].replace(",", "")) for cell in cells] for name, *cells in lines}


def test_what_is_said_of_the_tables_follows_from_them():
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    said = " ".join(text.split())
    points = [tables._measured(point)["rows"] for point in scaling.SWEEPS["processes"]]
    *of_texts, of_images = zip(*points, strict=True)
    assert {row["method"] for row in of_images} == {"puzzlemix"}
    clock, worked = ([[row[key] for row in rows] for rows in of_texts] for key in ("milliseconds", "cpu_milliseconds"))
    halves = [two / one for one, two, _ in clock]
    assert f"takes {min(halves):.2f} to {max(halves):.2f} of the time of one" in said
    more = [100 * (both / one - 1) for one, _, both in clock]
    assert f"takes {min(more):.0f} to {max(more):.0f} % more" in said
    assert all(abs(both / one - 1) < 0.1 for one, _, both in worked)
    alone, _, both = (row["cpu_milliseconds"] for row in of_images)
    assert f"One of the small ResNet works {100 * (both / alone - 1):.0f} % longer" in said
    memory = {name: cells[2] for name, cells in table_of(text, "benchmark: text").items()}
    more = sorted(memory[name] - memory["erm"] for name in ("ssmix", "puzzle_tmix"))
    assert f"MiniLM has 23 million weights, so that this is {4 * 22.8e6 / 2**20:.0f} MiB of the" in said
    assert "of the 110 to 125 that they take more" in said and 109 < more[0] < 112 and 124 < more[1] < 126
    memory = table_of(text, "scaling: classes memory")
    assert f"`erm` takes some {memory['10,000'][0] - memory['4'][0]:.0f} MiB more" in said
    images = table_of(text, "scaling: image_batch")
    assert "8 images cost a third of what 64 do" in said and 0.28 < images["8"][0] / images["64"][0] < 0.38


def test_a_table_names_its_command(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "docs" / "results" / "benchmark"
    options = ["vision", "--parts", "--part_sizes", "16", "--batch_size", "2", "--rounds", "1", "--threads", "1"]
    benchmark([*options, "--json", "--output_file", str(folder / "parts.json")])
    report = json.loads((folder / "parts.json").read_text())
    assert report["rows"] == json.loads(capsys.readouterr().out)
    assert report["command"] == " ".join(["mixtext-hf", "benchmark", *options])
    assert report["device"] and report["threads"] == 1 and "torch" in report["versions"]
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    page = "<!-- benchmark: parts -->\nan old table\n<!-- end -->\n"
    lines = tables.rewritten(page).splitlines()
    assert [line.split(" | ")[1] for line in lines if line.startswith("| 16 ")] == ["2", "4", "8", "16"]
    assert f"`{report['command']}`, torch {report['versions']['torch']}, {report['device']}" in lines
    with pytest.raises(ValueError, match="There is no table of 'none'"):
        tables.benchmark_table("none")


def test_a_sweep_that_was_not_measured_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    file = tmp_path / "docs" / "results" / "scaling" / "points.jsonl"
    first, *_ = tables.SWEEPS["length"]
    row = {"milliseconds": 10.0, "time_ratio": 1.0, "steps_mib": 50.0, "memory_ratio": 1.0, "method": "erm"}
    scaling.add(file, {**first, "rows": [row, {**row, "method": "tmix", "time_ratio": 1.25, "memory_ratio": 1.5}]})
    with pytest.raises(ValueError, match="has no point"):
        tables.sweep_table("length")
    monkeypatch.setattr(tables, "SWEEPS", {"length": [first]})
    assert tables.sweep_table("length").splitlines()[2:] == ["| 32 | 10 | 1.25 |"]
    assert tables.sweep_table("length", memory=True).splitlines()[2:] == ["| 32 | 50 | 1.50 |"]
