"""Figures as files: the reliability diagram of one or more methods, and the curves of a training run.

Every figure is drawn on an Agg canvas of its own. pyplot is never imported, so that no backend is chosen for the
caller, no window opens and no figure stays alive. Colours are Okabe and Ito's, told apart with any colour vision; hatches,
line styles and markers tell the same things apart in black and white.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mixtext_hf._files import whole_file
from mixtext_hf.evaluation.measures.metrics import (
    ReliabilityBins,
    accuracy,
    expected_calibration_error,
    reliability_bins,
)
from mixtext_hf.evaluation.measures.validation import check_probabilities


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, SKY, VERMILLION, GREEN, ORANGE, PURPLE = "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
LIGHT_VERMILLION, LIGHT_GREEN, GREY = "#FBE3D4", "#DDF3EB", "#595959"
# The larger one for figures of pages, which may show them at half their size.
FONT_SIZE, LARGE_FONT_SIZE = 10, 12
DPI = 150
COLUMNS = 4
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
LINE_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")


def reliability_diagram(
    results: Mapping[str, tuple[ArrayLike, ArrayLike]],
    path: str | os.PathLike[str] | None = None,
    n_bins: int = 15,
    title: str | None = None,
) -> Figure:
    """
    Draws accuracy against confidence for each method (DeGroot and Fienberg, 1983; Guo et al., 2017, figure 1), side by
    side on shared axes, with the share of the examples in each bin below.

    A bar, and the bold line that closes it, is the accuracy of a bin; the hatched part spans from it to the bin's mean
    confidence, so that the hatched lengths, weighted by the histogram, are the ECE. A perfectly calibrated method has
    its bars on the diagonal. An empty bin has no bar.

    Args:
        results (mapping from `str` to a pair): For each method's name, `(probabilities, references)`: `(N, C)` float,
            rows summing to 1, and `(N,)` integer in `0 .. C-1`.
        path (`str` or `os.PathLike`, *optional*): Where to write a PNG of 150 dpi; ends in ".png". The folder is made.
        n_bins (`int`, *optional*, defaults to 15): Number of bins of equal width.
        title (`str`, *optional*): The figure's title.

    Returns:
        `matplotlib.figure.Figure`, with two axes a method: the diagram, then its histogram.

    Raises:
        ValueError: If `results` is empty, if its arrays cannot be right (see `reliability_bins`), or if `path` does not
            end in ".png".
    """
    _check_path(path)
    if not results:
        raise ValueError("`results` must hold at least one method, as {name: (probabilities, references)}.")
    n_columns = min(len(results), COLUMNS)
    n_rows = math.ceil(len(results) / n_columns)
    figure = _new_figure(width=max(2.9 * n_columns + 0.5, 4.4), height=4.0 * n_rows + (1.1 if title else 0.7))
    if title:
        figure.suptitle(title, fontsize=FONT_SIZE + 3)
    # One grid for all: a grid of grids would let the panels differ in size.
    grid = figure.add_gridspec(2 * n_rows, n_columns, height_ratios=[3.2, 1.0] * n_rows)
    diagrams: list[Axes] = []
    histograms: list[Axes] = []
    shares: list[float] = []
    for position, (name, (probabilities, references)) in enumerate(results.items()):
        row, column = divmod(position, n_columns)
        shared = (diagrams[0], histograms[0]) if diagrams else (None, None)
        diagram = figure.add_subplot(grid[2 * row, column], sharex=shared[0], sharey=shared[0])
        histogram = figure.add_subplot(grid[2 * row + 1, column], sharex=diagram, sharey=shared[1])
        diagrams.append(diagram)
        histograms.append(histogram)

        bins = reliability_bins(probabilities=probabilities, references=references, n_bins=n_bins)
        shares.append(bins.counts.max() / bins.counts.sum())
        _draw_bins(diagram, bins)
        _draw_shares(histogram, bins)
        error = expected_calibration_error(probabilities=probabilities, references=references, n_bins=n_bins)
        hits = accuracy(predictions=check_probabilities(probabilities).argmax(axis=1), references=references)
        # Above the axes: inside, a bar may be anywhere.
        diagram.set_title(name, fontsize=FONT_SIZE + 1, pad=20)
        diagram.text(
            0.5,
            1.02,
            f"ECE {error:.3f}, accuracy {hits:.3f}",
            transform=diagram.transAxes,
            ha="center",
            va="bottom",
            fontsize=FONT_SIZE,
        )
        if column == 0:
            diagram.set_ylabel("accuracy", fontsize=FONT_SIZE)
            histogram.set_ylabel("share", fontsize=FONT_SIZE)
        diagram.tick_params(labelbottom=False, labelleft=column == 0)
        histogram.tick_params(labelleft=column == 0)
        histogram.set_xlabel("confidence", fontsize=FONT_SIZE)
    top = math.ceil(10 * max(shares)) / 10
    histograms[0].set_ylim(0, top)
    histograms[0].set_yticks([0, top], ["0", f"{top:.1f}"])
    handles, labels = diagrams[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4 if n_columns > 2 else 2,
        frameon=False,
        fontsize=FONT_SIZE,
    )
    return _finish(figure, path)


def training_curve(log_history: Sequence[Mapping[str, Any]], path: str | os.PathLike[str] | None = None) -> Figure:
    """
    Draws the losses, and beside them the evaluation metrics, over the optimiser steps.

    Args:
        log_history (sequence of `dict`): `trainer.state.log_history`. Losses are the keys "loss", "loss_*" and "*_loss"
            (but for the final summary's "train_loss", and a single term that is the whole loss); metrics are the other keys "eval_*", without the timings.
        path (`str` or `os.PathLike`, *optional*): Where to write a PNG of 150 dpi; ends in ".png". The folder is made.

    Returns:
        `matplotlib.figure.Figure`, with an axes for the losses and, where something was evaluated, one for the metrics.

    Raises:
        ValueError: If `log_history` holds neither a loss nor a metric, or if `path` does not end in ".png".
    """
    _check_path(path)
    panels = _curves(log_history)
    if not panels:
        raise ValueError(
            "`log_history` must hold a loss or an evaluation metric, got neither. Pass `trainer.state.log_history` after "
            "`trainer.train()`, with `logging_steps` no larger than the number of steps."
        )
    figure = _new_figure(width=5.2 * len(panels), height=3.9)
    shared: Axes | None = None
    for position, (name, curves) in enumerate(panels):
        axes = shared = figure.add_subplot(1, len(panels), position + 1, sharex=shared)
        _draw_curves(axes, curves)
        axes.set_xlabel("step", fontsize=FONT_SIZE)
        axes.set_ylabel(name, fontsize=FONT_SIZE)
    return _finish(figure, path)


def has_curves(log_history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether [`training_curve`] has something to draw."""
    return bool(_curves(log_history))


def _curves(log_history: Sequence[Mapping[str, Any]]) -> list[tuple[str, dict[str, list[tuple[float, float]]]]]:
    """The panels that are not empty: their names, and their curves as (step, value)."""
    losses: dict[str, list[tuple[float, float]]] = {}
    metrics: dict[str, list[tuple[float, float]]] = {}
    for entry in log_history:
        for key, value in entry.items():
            if _is_loss(key):
                losses.setdefault(key, []).append((entry["step"], value))
            elif _is_metric(key):
                metrics.setdefault(key.removeprefix("eval_"), []).append((entry["step"], value))
    # Where the loss has one term, that term is the loss once more.
    terms = [key for key in losses if key.startswith("loss_")]
    if len(terms) == 1 and losses[terms[0]] == losses.get("loss"):
        del losses[terms[0]]
    return [(name, curves) for name, curves in (("loss", losses), ("evaluation metric", metrics)) if curves]


def _draw_bins(axes: Axes, bins: ReliabilityBins) -> None:
    occupied = bins.counts > 0
    left, width = bins.edges[:-1][occupied], np.diff(bins.edges)[occupied]
    reached, claimed = bins.accuracy[occupied], bins.confidence[occupied]
    axes.bar(left, reached, width, align="edge", color=SKY, edgecolor="black", linewidth=0.7, label="accuracy")
    for label, gap, fill, edge, hatch in (
        ("overconfident by", np.maximum(claimed - reached, 0.0), LIGHT_VERMILLION, VERMILLION, "////"),
        ("underconfident by", np.maximum(reached - claimed, 0.0), LIGHT_GREEN, GREEN, "...."),
    ):
        bottom = np.minimum(claimed, reached)
        axes.bar(left, gap, width, bottom=bottom, align="edge", color=fill, edgecolor=edge, hatch=hatch, label=label)
    # Drawn over the hatches: whichever way the gap goes, the bold line is the accuracy.
    axes.hlines(reached, left, left + width, color="black", linewidth=1.8)
    axes.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1.2, label="perfectly calibrated")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    _style(axes)


def _draw_shares(axes: Axes, bins: ReliabilityBins) -> None:
    axes.bar(
        bins.edges[:-1],
        bins.counts / bins.counts.sum(),
        np.diff(bins.edges),
        align="edge",
        color=GREY,
        edgecolor="white",
        linewidth=0.7,
    )
    _style(axes)


def _draw_curves(axes: Axes, curves: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    for number, (name, points) in enumerate(curves.items()):
        steps, values = zip(*points, strict=True)
        axes.plot(
            steps,
            values,
            label=name,
            color=LINE_COLOURS[number % len(LINE_COLOURS)],
            linestyle=LINE_STYLES[number % len(LINE_STYLES)],
            # A training loss has a point every few steps: markers would bury the line.
            marker=MARKERS[number % len(MARKERS)] if len(points) <= 30 else None,
            markersize=4.5,
            linewidth=1.6,
        )
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, frameon=False, fontsize=FONT_SIZE, handlelength=3.2
    )
    _style(axes)


def _style(axes: Axes, size: float = FONT_SIZE) -> None:
    axes.tick_params(labelsize=size, color=GREY)
    axes.grid(True, color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _is_loss(key: str) -> bool:
    return key != "train_loss" and (key == "loss" or key.startswith("loss_") or key.endswith("_loss"))


def _is_metric(key: str) -> bool:
    timings = ("_runtime", "_samples_per_second", "_steps_per_second", "_preparation_time", "_compilation_time")
    return key.startswith("eval_") and not key.endswith(timings)


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _check_path(path: str | os.PathLike[str] | None) -> None:
    if path is not None and Path(path).suffix.lower() != ".png":
        raise ValueError(
            f'`path` must end in ".png", got "{os.fspath(path)}". For another format, call `savefig` of the figure.'
        )


def _finish(figure: Figure, path: str | os.PathLike[str] | None) -> Figure:
    if path is None:
        return figure
    target = Path(path)
    if target.suffix.lower() != ".png":
        raise ValueError(
            f'`path` must end in ".png", got "{target}". For another format, call `savefig` of the figure.'
        )
    with whole_file(target) as partial:
        figure.savefig(partial, format="png", dpi=DPI)
    return figure
