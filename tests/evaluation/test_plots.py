"""The figures: what is drawn is what was computed, and the file is whole."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.pictures import plots


RNG = np.random.default_rng(2)
REFERENCES = RNG.integers(0, 4, 120)
RESULTS = {
    "erm": (metrics.softmax(3 * RNG.normal(size=(120, 4)) + 4 * np.eye(4)[REFERENCES]), REFERENCES),
    "tmix": (metrics.softmax(RNG.normal(size=(120, 4)) + 2 * np.eye(4)[REFERENCES]), REFERENCES),
    "mixtext": (metrics.softmax(0.3 * RNG.normal(size=(120, 4)) + np.eye(4)[REFERENCES]), REFERENCES),
}
HISTORY = [
    {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-5, "epoch": 0.5, "step": 10},
    {"loss": 1.0, "loss_unlabelled": 0.5, "learning_rate": 1e-5, "epoch": 1.0, "step": 20},
    {"eval_loss": 1.5, "eval_accuracy": 0.5, "eval_runtime": 3.0, "eval_samples_per_second": 9.0, "step": 20},
    {"eval_loss": 1.25, "eval_accuracy": 0.75, "eval_steps_per_second": 3.0, "step": 40},
    {"train_loss": 1.3, "train_runtime": 9.0, "step": 40},
]


def bars(axes, label):
    [container] = [container for container in axes.containers if container.get_label() == label]
    return container.patches


def test_diagram_file(tmp_path):
    path = tmp_path / "new" / "folder" / "reliability.png"
    figure = plots.reliability_diagram(RESULTS, path, title="Calibration")
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert [round(float(dpi)) for dpi in image.info["dpi"]] == [150, 150]
        assert image.size == tuple(int(inches * 150) for inches in figure.get_size_inches())
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert [file.name for file in path.parent.iterdir()] == ["reliability.png"]
    assert figure.get_suptitle() == "Calibration"


@pytest.mark.parametrize("n_bins", [5, 15])
def test_bars_are_the_bins(n_bins):
    figure = plots.reliability_diagram(RESULTS, n_bins=n_bins)
    diagrams, histograms = figure.axes[0::2], figure.axes[1::2]
    assert len(diagrams) == len(histograms) == len(RESULTS)
    for (name, (probabilities, references)), diagram, histogram in zip(
        RESULTS.items(), diagrams, histograms, strict=True
    ):
        bins = metrics.reliability_bins(probabilities=probabilities, references=references, n_bins=n_bins)
        occupied = bins.counts > 0
        assert not occupied.all()
        solid, over, under = (bars(diagram, key) for key in ("accuracy", "overconfident by", "underconfident by"))
        np.testing.assert_allclose([bar.get_x() for bar in solid], bins.edges[:-1][occupied])
        np.testing.assert_allclose([bar.get_width() for bar in solid], 1 / n_bins)
        np.testing.assert_allclose([bar.get_height() for bar in solid], bins.accuracy[occupied])
        gaps = np.array([o.get_height() - u.get_height() for o, u in zip(over, under, strict=True)])
        np.testing.assert_allclose(gaps, (bins.confidence - bins.accuracy)[occupied], atol=1e-12)
        shares = np.array([bar.get_height() for bar in histogram.patches])
        np.testing.assert_allclose(shares, bins.counts / len(references))
        # The hatched lengths, weighted by the histogram, are the ECE that is written in the panel.
        ece = float(np.sum(np.abs(gaps) * shares[occupied]))
        assert diagram.get_title() == name
        assert f"ECE {ece:.3f}" in diagram.texts[0].get_text()
        assert f"accuracy {np.mean(probabilities.argmax(axis=1) == references):.3f}" in diagram.texts[0].get_text()


def test_labels_and_fonts():
    figure = plots.reliability_diagram(RESULTS)
    figure.canvas.draw()
    assert figure.axes[0].get_ylabel() == "accuracy"
    assert all(histogram.get_xlabel() == "confidence" for histogram in figure.axes[1::2])
    texts = [text for axes in figure.axes for text in axes.findobj(lambda artist: hasattr(artist, "get_fontsize"))]
    assert texts and min(text.get_fontsize() for text in texts) >= 9
    extent = figure.legends[0].get_window_extent()
    assert extent.x0 >= 0 and extent.x1 <= figure.bbox.width


@pytest.mark.parametrize("n_methods", [1, 2, 6])
def test_any_number_of_methods(n_methods):
    figure = plots.reliability_diagram({f"method {i}": RESULTS["erm"] for i in range(n_methods)})
    figure.canvas.draw()
    assert len(figure.axes) == 2 * n_methods
    assert figure.legends[0].get_window_extent().x0 >= 0
    boxes = {tuple(np.round(axes.get_position().size, 3)) for axes in figure.axes[0::2]}
    assert len(boxes) == 1


def test_training_curve(tmp_path):
    path = tmp_path / "curve.png"
    figure = plots.training_curve(HISTORY, path)
    with Image.open(path) as image:
        image.verify()
    losses, evaluation = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in losses.lines}
    assert drawn == {"loss": [[10, 2], [20, 1]], "loss_unlabelled": [[20, 0.5]], "eval_loss": [[20, 1.5], [40, 1.25]]}
    assert {line.get_label(): line.get_xydata().tolist() for line in evaluation.lines} == {
        "accuracy": [[20, 0.5], [40, 0.75]]
    }
    assert len(plots.training_curve(HISTORY[:1]).axes) == 1


def test_a_file_is_replaced_not_overwritten(tmp_path):
    path, reader = tmp_path / "curve.png", tmp_path / "reader.png"
    path.write_bytes(b"the old file")
    # A second name of the old file, as a reader that has it open holds it.
    reader.hardlink_to(path)
    plots.training_curve(HISTORY, path)
    assert reader.read_bytes() == b"the old file"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "curve.png"
    plots.training_curve(HISTORY, path)
    before = path.read_bytes()

    def half_written(self, target, **keywords):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half_written)
    with pytest.raises(OSError, match="disk full"):
        plots.training_curve(HISTORY[:1], path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


def test_pyplot_is_not_touched():
    script = (
        "import sys\n"
        "from mixtext_hf.evaluation.pictures import plots\n"
        "plots.reliability_diagram({'erm': ([[0.9, 0.1]], [0])})\n"
        f"plots.training_curve({HISTORY!r})\n"
        "sys.exit('pyplot was imported' if 'matplotlib.pyplot' in sys.modules else 0)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    finished = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="`results` must hold at least one method"):
        plots.reliability_diagram({})
    with pytest.raises(ValueError, match="row 0 sums to 2"):
        plots.reliability_diagram({"logits": ([[1.0, 1.0]], [0])})
    with pytest.raises(ValueError, match="neither"):
        plots.training_curve([{"learning_rate": 1e-5, "step": 1}])
    for draw in (
        lambda path: plots.reliability_diagram(RESULTS, path),
        lambda path: plots.training_curve(HISTORY, path),
    ):
        with pytest.raises(ValueError, match=r'`path` must end in ".png", got'):
            draw(tmp_path / "figure.pdf")
    assert not list(tmp_path.iterdir())
