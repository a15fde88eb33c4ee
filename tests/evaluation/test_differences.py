"""The figure of differences from a baseline."""

import differences as script
import numpy as np
import pytest

from mixtext_hf.evaluation.comparison.differences import differences_figure


HEADER = "run,variant,labeled_per_class,seed,split,n_examples,steps,accuracy,ECE,NLL\n"


def row(method, seed, accuracy):
    return f"x,{method},10,{seed},test,4,2,{accuracy},0.1,1.0\n"


def test_differences_are_paired_by_seed(tmp_path):
    rows = [row("erm", 0, 0.5), row("erm", 1, 0.75), row("tmix", 1, 0.5), row("tmix", 0, 0.75), row("ssmix", 0, 1.0)]
    (tmp_path / "runs.csv").write_text(HEADER + "".join(rows))
    assert script.differences(tmp_path, "accuracy") == {"tmix": [-0.25, 0.25], "ssmix": [0.5]}
    assert script.differences(tmp_path, "accuracy", ["tmix"]) == {"ssmix": [0.5]}
    (tmp_path / "runs.csv").write_text(HEADER + row("erm", 0, 0.5) + row("tmix", 1, 0.5))
    with pytest.raises(ValueError, match="tmix was run with seed 1, and erm was not"):
        script.differences(tmp_path, "accuracy")


def test_a_marker_at_the_mean_and_a_line_from_least_to_largest(tmp_path):
    found = {"accuracy": {"one": {"tmix": [0.1, 0.3]}, "two": {"tmix": [0.0], "ssmix": [-0.2]}}, "NLL": {"one": {}}}
    figure = differences_figure(found, "erm", tmp_path / "new" / "figure.png")
    assert (tmp_path / "new" / "figure.png").stat().st_size > 0
    accuracy, nll = figure.axes
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["one", "two"]
    spans = [list(line.get_xdata()) for line in accuracy.lines if np.size(line.get_xdata()) == 2]
    assert [0.1, 0.3] in spans and [0.0, 0.0] in spans and [-0.2, -0.2] in spans
    points = [float(np.ravel(line.get_xdata())[0]) for line in accuracy.lines if np.size(line.get_xdata()) == 1]
    assert points == pytest.approx([0.2, 0.0, -0.2])
    assert "right" in accuracy.get_xlabel() and "left" in nll.get_xlabel()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["tmix", "ssmix"]


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        differences_figure({"accuracy": {"one": {}}}, "erm")
    with pytest.raises(ValueError, match=r"must end in"):
        differences_figure({"accuracy": {"one": {"tmix": [0.1]}}}, "erm", tmp_path / "figure.pdf")
