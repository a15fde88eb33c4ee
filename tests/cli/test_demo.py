"""The demos: every method and seed is trained, and what comes out is their mean."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mixtext_hf.cli import demo, demo_vision, show_mixes, train_image, train_text
from mixtext_hf.cli.demo import make_table


class FakeRun:
    """What the demo takes of a run, without the training; better with every seed."""

    def __init__(self, argv):
        self.flags = dict(flag.lstrip("-").partition("=")[::2] for flag in argv)
        seed = int(self.flags["seed"])
        rng = np.random.default_rng(seed)
        self.references = rng.integers(0, 3, 60)
        self.probabilities = rng.dirichlet(np.ones(3), 60)
        self.results = {"eval_accuracy": 0.5 + seed / 10, "eval_ece": 0.2, "eval_nll": 1.25}

    def __call__(self):
        return self.results


@pytest.fixture
def runs(monkeypatch):
    made = []

    def make_run(argv):
        made.append(FakeRun(argv))
        return made[-1]

    monkeypatch.setattr(train_image, "make_run", make_run)
    return made


def test_a_table_of_means_and_sample_deviations():
    results = [{"eval_accuracy": a, "eval_ece": 0.1, "eval_nll": 1.0} for a in (0.5, 0.7)]
    lines = make_table({"erm": results, "tmix": results[:1]}).splitlines()
    assert lines[0] == "| method | accuracy | ECE | NLL |"
    assert lines[2] == "| erm | 0.600 ± 0.141 | 0.100 ± 0.000 | 1.000 ± 0.000 |"
    assert lines[3] == "| tmix | 0.500 | 0.100 | 1.000 |"


@pytest.mark.parametrize("capability, is_fast", [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_the_demo_is_in_bfloat16_where_that_is_faster(tmp_path, monkeypatch, runs, capability, is_fast):
    monkeypatch.setattr(train_text, "make_run", train_image.make_run)
    monkeypatch.setattr(demo.subprocess, "run", lambda *args, **kwargs: None)
    monkeypatch.setattr(demo.torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    demo.main(["--output_dir", str(tmp_path), "--seeds", "1", "--methods", "erm"])
    assert ("bf16" in runs[0].flags) == is_fast
    monkeypatch.setattr(demo.torch.cuda, "is_available", lambda: True)
    assert not demo.has_fast_bfloat16()


def test_the_demo_shows_what_unlabelled_texts_give(tmp_path, monkeypatch, runs):
    monkeypatch.setattr(train_text, "make_run", train_image.make_run)
    monkeypatch.setattr(demo.subprocess, "run", lambda *args, **kwargs: None)
    demo.main(["--output_dir", str(tmp_path), "--seeds", "2"])
    assert [run.flags["mix_method"] for run in runs] == 2 * ["erm", "tmix", "mixtext"]
    for run in runs:
        assert ("unlabeled_per_class" in run.flags) == (run.flags["mix_method"] == "mixtext")
    assert "| mixtext | 0.550 ± 0.071 |" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_the_vision_demo_trains_all_and_ends_in_a_table_and_pictures(tmp_path, monkeypatch, capsys, runs):
    shown = []
    monkeypatch.setattr(show_mixes, "main", shown.append)
    demo_vision.main(["--output_dir", str(tmp_path), "--seeds", "2", "--num_train_epochs", "3"])
    assert [(run.flags["mix_method"], run.flags["seed"]) for run in runs] == [
        *[("erm", "0"), ("puzzlemix", "0"), ("erm", "1"), ("puzzlemix", "1")]
    ]
    assert len({run.flags["output_dir"] for run in runs}) == 4
    assert all(run.flags["num_train_epochs"] == "3" for run in runs)
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| puzzlemix | 0.550 ± 0.071 | 0.200 ± 0.000 | 1.250 ± 0.000 |" in table
    assert table in capsys.readouterr().out
    with Image.open(tmp_path / "reliability_diagram.png") as diagram:
        assert diagram.format == "PNG"
    assert shown == [["--output_dir", str(tmp_path / "mixes")]]


@pytest.mark.parametrize("command", [demo, demo_vision])
def test_no_seeds_are_refused(command, capsys):
    with pytest.raises(SystemExit):
        command.main(["--seeds", "0"])
    assert "--seeds: must be at least 1, got 0." in capsys.readouterr().err
