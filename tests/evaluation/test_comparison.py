"""Comparisons: which runs they are, and that table, csv and figures hold what numpy computes from the predictions."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mixtext_hf.evaluation.comparison.grid import Variant, make_grid, make_variants
from mixtext_hf.evaluation.comparison.plots import comparison_figure, has_memorisation, memorisation_figure
from mixtext_hf.evaluation.comparison.tables import (
    Outcome,
    Summary,
    as_csv,
    as_markdown,
    as_rows,
    mean_and_deviation,
    over_epochs,
    summarise,
)
from mixtext_hf.evaluation.measures.bootstrap import BootstrapInterval
from mixtext_hf.evaluation.measures.metrics import softmax


SEEDS, LABELS, VARIANTS = (3, 0, 7), (10, 50), ("erm", "tmix, alpha 2")
REFERENCES = np.random.default_rng(5).integers(0, 4, 80)


def predictions(position: int, labels: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng([position, labels, seed])
    right = np.eye(4)[REFERENCES]
    return softmax(rng.normal(size=(80, 4)) * 1.5 + right * (0.5 + position + labels / 50))


OUTCOMES = [
    Outcome(variant, labels, seed, predictions(position, labels, seed), REFERENCES)
    for seed in SEEDS
    for labels in LABELS
    for position, variant in enumerate(VARIANTS)
]


@pytest.fixture(scope="module")
def summaries():
    return summarise(OUTCOMES, n_resamples=200)


# ---- by hand ----


def accuracy_of(p: np.ndarray) -> float:
    return np.mean(p.argmax(axis=1) == REFERENCES)


def nll_of(p: np.ndarray) -> float:
    return -np.mean(np.log(p[np.arange(80), REFERENCES]))


def ece_of(p: np.ndarray, rows: np.ndarray | None = None) -> float:
    rows = np.arange(80) if rows is None else rows
    confidence, hits = p.max(axis=1)[rows], (p.argmax(axis=1) == REFERENCES)[rows]
    bins = np.ceil(confidence * 15).astype(int)  # closed on the right
    return sum(abs(np.sum(hits[bins == b] - confidence[bins == b])) for b in range(1, 16)) / len(rows)


def balanced_of(p: np.ndarray, rows: np.ndarray | None = None) -> float:
    """By the rows that each class has in the data, also where rows are resampled."""
    rows = np.arange(80) if rows is None else rows
    weight = 80 / (len(np.unique(REFERENCES)) * np.bincount(REFERENCES)[REFERENCES])
    return np.mean(((p.argmax(axis=1) == REFERENCES) * weight)[rows])


BY_HAND = {"accuracy": accuracy_of, "balanced accuracy": balanced_of, "ECE": ece_of, "NLL": nll_of}


def resampled_by_hand(metric: str, labels: int) -> list[float]:
    """The difference of tmix and erm on 200 resamples of seeds and rows, each written out."""
    values = []
    for number in range(200):
        rng = np.random.default_rng([0, number])
        seeds, rows = rng.integers(3, size=3), rng.integers(80, size=80)
        total = 0.0
        for s in seeds:
            for position, sign in ((1, 1), (0, -1)):
                p = predictions(position, labels, sorted(SEEDS)[s])
                if metric == "accuracy":
                    value = np.mean(p.argmax(axis=1)[rows] == REFERENCES[rows])
                elif metric == "balanced accuracy":
                    value = balanced_of(p, rows)
                elif metric == "NLL":
                    value = -np.mean(np.log(p[rows, REFERENCES[rows]]))
                else:
                    value = ece_of(p, rows)
                total += sign * value / 3
        values.append(total)
    return values


@pytest.mark.parametrize("metric", ["accuracy", "balanced accuracy", "ECE", "NLL"])
@pytest.mark.parametrize("labels", LABELS)
def test_numbers_are_those_of_numpy(summaries, metric, labels):
    erm, tmix = (s for s in summaries if s.metric == metric and s.labeled_per_class == labels)
    assert (erm.variant, tmix.variant) == VARIANTS
    of_seeds = [[BY_HAND[metric](predictions(i, labels, seed)) for seed in sorted(SEEDS)] for i in (0, 1)]
    np.testing.assert_allclose([erm.values, tmix.values], of_seeds, rtol=1e-12)
    for one, values in zip((erm, tmix), of_seeds, strict=True):
        assert one.mean == pytest.approx(sum(values) / 3)
        assert one.deviation == pytest.approx(np.sqrt(sum((v - sum(values) / 3) ** 2 for v in values) / 2))
        assert one.n_examples == 80
    assert erm.difference is None and erm.wins is None
    assert tmix.difference.difference == pytest.approx(np.mean(of_seeds[1]) - np.mean(of_seeds[0]))
    low, high = np.quantile(resampled_by_hand(metric, labels), [0.025, 0.975])
    assert (tmix.difference.low, tmix.difference.high) == pytest.approx((low, high))
    better = np.greater if "accuracy" in metric else np.less
    assert tmix.wins == sum(better(of_seeds[1], of_seeds[0]))


def test_the_same_twice_has_no_wins():
    twin = [replace(one, variant="twin") for one in OUTCOMES if one.variant == "erm"]
    for one in summarise([*OUTCOMES, *twin], n_resamples=10):
        if one.variant == "twin":
            assert (one.difference.difference, one.difference.low, one.difference.high, one.wins) == (0, 0, 0, 0)


def test_nothing_has_no_sign():
    interval = BootstrapInterval(-1e-17, -0.0004, 0.0004, 0.95, 2, 80, 10, "seeds and examples")
    one = [Summary("tmix", 10, metric, (0.5, 0.5), 80, interval, 0) for metric in BY_HAND]
    assert " | 0.000 [0.000, 0.000] 0/2 | " in as_markdown(one, split="test", seeds=[0, 1])


def test_the_order_of_runs_does_not_matter(summaries):
    other = summarise(sorted(OUTCOMES, key=lambda one: (one.variant, one.seed)), n_resamples=200)
    assert other == summaries


@pytest.mark.parametrize(
    "outcomes, said",
    [
        ([], "nothing to summarise"),
        (OUTCOMES[1:], "erm, 10 labels a class, lacks the seeds [3]"),
        ([*OUTCOMES, OUTCOMES[0]], "erm, 10 labels a class, seed 3 is there twice"),
        ([*OUTCOMES[:-1], replace(OUTCOMES[-1], references=1 - REFERENCES % 2)], "measured on different rows"),
        ([replace(OUTCOMES[0], probabilities=OUTCOMES[0].probabilities * 2)], "probabilities"),
    ],
    ids=["none", "missing", "twice", "other-rows", "no-distribution"],
)
def test_what_cannot_be_compared(outcomes, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        summarise(outcomes, n_resamples=10)


# ---- as text ----


def test_markdown(summaries):
    lines = as_markdown(summaries, split="test", seeds=SEEDS).splitlines()
    assert lines[0].split(" | ")[2:4] == ["accuracy", "accuracy - erm"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:6]]
    assert [row[:2] for row in cells] == [["10", "erm"], ["10", VARIANTS[1]], ["50", "erm"], ["50", VARIANTS[1]]]
    assert all(len(row) == 10 for row in cells) and cells[0][3] == cells[0][5] == cells[0][7] == cells[0][9] == ""
    for position, metric in enumerate(("accuracy", "balanced accuracy", "ECE", "NLL")):
        one = next(s for s in summaries if (s.labeled_per_class, s.variant, s.metric) == (50, VARIANTS[1], metric))
        d = one.difference
        assert cells[3][2 + 2 * position] == f"{one.mean:.3f} ± {one.deviation:.3f}"
        assert cells[3][3 + 2 * position] == f"{d.difference:+.3f} [{d.low:+.3f}, {d.high:+.3f}] {one.wins}/3"
    notes = "\n".join(lines[6:])
    for part in ("3 seeds (0, 3, 7)", "80 rows of the test split", "95 %", "200 resamples of seeds and examples"):
        assert part in notes
    assert "narrower" in notes and "84 % with 5" in notes


def test_markdown_of_one_seed():
    table = as_markdown(summarise(OUTCOMES[:4], n_resamples=10), split="validation", seeds=[3])
    assert "±" not in table and "resamples of examples;" in table
    assert "nothing of what another seed would give" in table and "narrower" not in table


def test_markdown_without_the_baseline():
    others = [one for one in OUTCOMES if one.variant != "erm"]
    table = as_markdown(summarise(others, n_resamples=2), split="test", seeds=SEEDS)
    assert "erm is not among the methods" in table and "+0." not in table
    assert table.splitlines()[0] == "| labels a class | method | accuracy | balanced accuracy | ECE | NLL |"


def test_of_equally_frequent_classes_there_is_one_accuracy():
    references = np.arange(80) % 4
    outcomes = [replace(one, references=references) for one in OUTCOMES]
    table = as_markdown(summarise(outcomes, n_resamples=2), split="test", seeds=SEEDS)
    assert "balanced" not in table and "| accuracy |" in table
    assert {one.metric for one in summarise(outcomes, n_resamples=2)} == set(BY_HAND)


def test_all_labels():
    every = [replace(one, labeled_per_class=None) for one in OUTCOMES if one.labeled_per_class == 10]
    assert "| all | erm | " in as_markdown(summarise(every, n_resamples=10), split="test", seeds=SEEDS)


def test_csv(summaries):
    rows = list(csv.DictReader(io.StringIO(as_csv(as_rows(summaries)))))
    assert len(rows) == len(summaries) == 16
    for row, one in zip(rows, summaries, strict=True):
        assert (row["variant"], row["metric"]) == (one.variant, one.metric)
        assert (int(row["labeled_per_class"]), int(row["n_seeds"])) == (one.labeled_per_class, 3)
        assert (float(row["mean"]), float(row["standard_deviation"])) == (one.mean, one.deviation)
        if one.difference is None:
            assert row["difference"] == row["low"] == row["wins"] == ""
        else:
            found = tuple(float(row[name]) for name in ("difference", "low", "high", "level"))
            assert found == (one.difference.difference, one.difference.low, one.difference.high, 0.95)
            assert int(row["wins"]) == one.wins


def test_mean_and_deviation():
    assert mean_and_deviation([0.5, 0.7]) == "0.600 ± 0.141"
    assert mean_and_deviation([0.5]) == "0.500"


# ---- which runs ----


def test_alphas_and_layers_multiply_the_methods_they_are_for():
    variants = make_variants(
        ["erm", "tmix", "mixup"],
        alphas=[2, 0.5],
        layer_sets=[[7, 9], [3]],
        with_alpha=["tmix", "mixup"],
        with_layers=["tmix"],
    )
    names = ["erm", *(f"tmix, alpha {a}, layers {x}" for a in (2, 0.5) for x in ("7 9", "3"))]
    assert [v.name for v in variants] == [*names, "mixup, alpha 2", "mixup, alpha 0.5"]
    assert make_variants(["erm", "tmix"], with_alpha=["tmix"]) == [Variant("erm"), Variant("tmix")]


def test_a_method_is_compared_twice_under_a_name_of_its_own():
    variants = make_variants(["tmix", "deep=tmix"], alphas=[2], with_alpha=["tmix"])
    assert [v.name for v in variants] == ["tmix, alpha 2", "deep, alpha 2"]
    assert [v.method for v in variants] == ["tmix", "tmix"]
    assert [setting.name for setting in make_grid(variants[1:], [10], [4])] == ["deep-alpha2-labels10-seed4"]


def test_the_grid_goes_seed_by_seed():
    variants = [Variant("erm"), Variant("tmix", 2, (7, 9))]
    names = [setting.name for setting in make_grid(variants, [10, None], [4, 1])]
    assert names[:4] == ["erm-labels10-seed4", "tmix-alpha2-layers7.9-labels10-seed4", *names[2:4]]
    assert names[2:4] == ["erm-seed4", "tmix-alpha2-layers7.9-seed4"] and len(set(names)) == 8


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: make_variants([]), "`methods` is empty"),
        (lambda: make_variants(["erm", "erm"]), "names something twice, got erm erm"),
        (lambda: make_variants(["a=erm", "a=tmix"]), "names something twice, got a a"),
        (
            lambda: make_variants(["a-b=erm"]),
            "'a-b=erm': a label is of letters, digits, _ . and +, such as strong=erm",
        ),
        (lambda: make_variants(["=erm"]), "a label is of letters, digits, _ . and +, such as strong=erm, got ''"),
        (lambda: make_variants(["tmix"], alphas=[2, 2.0], with_alpha=["tmix"]), "`alphas` names something twice"),
        (lambda: make_variants(["erm"], alphas=[2], with_alpha=["tmix"]), "is for none of erm: drop it, or add"),
        (
            lambda: make_variants(["tmix"], alphas=[1, 1 + 1e-9], with_alpha=["tmix"]),
            "two values that are both called 'tmix, alpha 1'",
        ),
        (lambda: make_grid([Variant("erm")], [10, 0], [1]), "`labeled_per_class` must be at least 1, got 0"),
        (lambda: make_grid([Variant("erm")], [10], [-1]), "`seeds` must be at least 0, got -1"),
        (lambda: make_grid([Variant("erm")], [10], []), "`seeds` is empty"),
        (lambda: make_grid([Variant("erm")], [5, 5], [1]), "`labeled_per_class` names something twice"),
    ],
)
def test_grids_that_are_refused(make, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


# ---- figures ----


def test_lines_against_labels(summaries, tmp_path):
    path = tmp_path / "comparison.png"
    figure = comparison_figure(summaries, path, "a title")
    with Image.open(path) as image:
        assert image.format == "PNG"
    assert figure.get_suptitle() == "a title"
    for axes, metric in zip(figure.axes, ("accuracy", "ECE"), strict=True):
        assert axes.get_xscale() == "log"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "50"]
        lines = {line.get_label(): line for line in axes.lines if line.get_marker() not in ("None", "")}
        assert tuple(lines) == VARIANTS
        assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines.values()}) == 2
        for (name, line), band in zip(lines.items(), axes.collections, strict=True):
            own = [s for s in summaries if (s.variant, s.metric) == (name, metric)]
            np.testing.assert_allclose(line.get_xydata(), [[s.labeled_per_class, s.mean] for s in own])
            corners = {tuple(np.round(corner, 9)) for corner in band.get_paths()[0].vertices}
            expected = [(s.labeled_per_class, s.mean + sign * s.deviation) for s in own for sign in (1, -1)]
            assert {tuple(np.round(corner, 9)) for corner in expected} <= corners
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(VARIANTS)


def test_rows_of_one_number_of_labels(summaries):
    own = [s for s in summaries if s.labeled_per_class == 50]
    figure = comparison_figure(own)
    for axes, metric in zip(figure.axes, ("accuracy", "ECE"), strict=True):
        of_metric = [s for s in own if s.metric == metric]
        assert len(axes.containers) == 2
        for position, (one, container) in enumerate(zip(of_metric, axes.containers, strict=True)):
            point, _, (bar,) = container.lines
            np.testing.assert_allclose(point.get_xydata(), [[one.mean, position]])
            ends = [[one.mean - one.deviation, position], [one.mean + one.deviation, position]]
            np.testing.assert_allclose(bar.get_segments()[0], ends)
        dots = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 3]
        np.testing.assert_allclose([dot.get_xdata() for dot in dots], [s.values for s in of_metric])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(VARIANTS)


def test_a_figure_of_one_seed_has_no_bands():
    of_one_seed = summarise(OUTCOMES[:4], n_resamples=10)
    assert not any(axes.collections for axes in comparison_figure(of_one_seed).axes)
    one = next(s for s in of_one_seed if (s.labeled_per_class, s.metric) == (10, "accuracy"))
    figure = comparison_figure([s for s in of_one_seed if s.labeled_per_class == 10])
    assert figure.axes[0].containers[0].lines[0].get_xdata() == [one.mean]


def test_many_variants_look_different():
    many = [replace(one, variant=f"variant {i}") for i in range(12) for one in OUTCOMES if one.variant == "erm"]
    axes = comparison_figure(summarise(many, n_resamples=2)).axes[0]
    looks = [
        (line.get_color(), str(line.get_linestyle()), line.get_marker())
        for line in axes.lines
        if line.get_marker() != "None"
    ]
    assert len(looks) == len(set(looks)) == 12


HISTORIES = {
    (labels, variant): [
        [
            {"loss": 1.0, "epoch": 0.5, "step": 2},
            *({"eval_accuracy": 0.5 + 0.1 * epoch - 0.01 * seed, "epoch": float(epoch)} for epoch in (1, 2, 3)),
            *({"noise_memorised": 0.1 * epoch + 0.02 * seed + i, "epoch": epoch + 1e-9} for epoch in (1, 2, 3)),
        ]
        for seed in range(2)
    ]
    for labels in LABELS
    for i, variant in enumerate(VARIANTS)
}


def test_memorisation(tmp_path):
    figure = memorisation_figure(HISTORIES, tmp_path / "memorisation.png")
    assert (tmp_path / "memorisation.png").read_bytes().startswith(b"\x89PNG")
    assert [axes.get_ylabel() for axes in figure.axes] == 2 * ["held-out accuracy", "share of wrong labels memorised"]
    assert figure.axes[2].get_title() == "50 labels a class"
    for axes, key in zip(figure.axes, 2 * ["accuracy", "memorised"], strict=True):
        lines = {line.get_label(): line for line in axes.lines if line.get_marker() not in ("None", "")}
        assert tuple(lines) == VARIANTS and len(axes.collections) == 2
        for i, (line, band) in enumerate(zip(lines.values(), axes.collections, strict=True)):
            epochs = np.array([1, 2, 3])
            mean = 0.5 + 0.1 * epochs - 0.005 if key == "accuracy" else 0.1 * epochs + 0.01 + i
            np.testing.assert_allclose(line.get_xydata(), np.stack([epochs, mean], axis=1), atol=1e-8)
            deviation = (0.01 if key == "accuracy" else 0.02) / np.sqrt(2)
            heights = band.get_paths()[0].vertices[:, 1]
            assert heights.max() == pytest.approx(mean[-1] + deviation)
            assert heights.min() == pytest.approx(mean[0] - deviation)


def test_memorisation_without_held_out_accuracy():
    bare = {key: [[e for e in run if "noise_memorised" in e] for run in runs] for key, runs in HISTORIES.items()}
    assert [axes.get_ylabel() for axes in memorisation_figure(bare).axes] == 2 * ["share of wrong labels memorised"]
    none = {key: [[e for e in run if "loss" in e] for run in runs] for key, runs in HISTORIES.items()}
    assert has_memorisation(bare) and not has_memorisation(none)
    with pytest.raises(ValueError, match="--label_noise"):
        memorisation_figure(none)


def test_over_epochs():
    epochs, values = over_epochs([[{"a": 1, "epoch": 1}, {"a": 3, "epoch": 1}], [{"a": 2, "epoch": 1.0}]], "a")
    assert epochs.tolist() == [1] and values.tolist() == [[3], [2]]
    assert over_epochs([[{"a": 1, "epoch": 1}], []], "a") is None
    with pytest.raises(ValueError, match="different epochs"):
        over_epochs([[{"a": 1, "epoch": 1}], [{"a": 1, "epoch": 2}]], "a")


def test_figures_are_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        comparison_figure([])
    with pytest.raises(ValueError, match=r'must end in "\.png"'):
        memorisation_figure(HISTORIES, "memorisation.pdf")
