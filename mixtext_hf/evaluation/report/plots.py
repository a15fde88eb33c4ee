"""The figures of the report beside those of `plots.py`: confusions, curves of accuracy, histograms of confidence.

Drawn as there: on canvases of their own, in Okabe and Ito's colours, with markers, line styles and hatches for print in
black and white. Names come from outside: dollar signs in them are no formulas, and long ones are cut.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mixtext_hf._markdown import one_line
from mixtext_hf.evaluation.pictures.plots import (
    BLUE,
    DPI,
    FONT_SIZE,
    GREY,
    LINE_COLOURS,
    LINE_STYLES,
    MARKERS,
    ORANGE,
    SKY,
    _new_figure,
    _style,
)


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_NAME = 22
# Up to here a cell has room for its number, up to there a row for its name.
CELLS_WITH_NUMBERS, ROWS_WITH_NAMES = 12, 40


def confusion_figure(matrix: ArrayLike, names: Sequence[str]) -> Figure:
    """
    Draws a confusion matrix: of each true class, the share that was taken for each class.

    Args:
        matrix (array-like of shape `(C, C)`, integer): Counts; rows are true classes.
        names (`Sequence[str]` of length `C`): Names of the classes. They are shown up to 40 classes, and the numbers in the
            cells up to 12; beyond that the classes are numbered.

    Returns:
        `matplotlib.figure.Figure`
    """
    counts = np.asarray(matrix)
    n_classes = len(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = min(3.2 + 0.42 * n_classes, 8.6) if n_classes <= ROWS_WITH_NAMES else 7.2
    figure = _new_figure(width=side + 1.3, height=side)
    axes = figure.add_subplot()
    # From white to Okabe and Ito's blue: darker is more, in grey too.
    picture = axes.imshow(shares, cmap=_blues(), vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    axes.set_xlabel("predicted class", fontsize=FONT_SIZE)
    axes.set_ylabel("true class", fontsize=FONT_SIZE)
    if n_classes <= ROWS_WITH_NAMES:
        labels = [shown(name) for name in names]
        size = FONT_SIZE if n_classes <= 20 else FONT_SIZE - 3
        axes.set_xticks(range(n_classes), labels, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
        axes.set_yticks(range(n_classes), labels, fontsize=size)
    else:
        axes.set_xlabel("predicted class, by number", fontsize=FONT_SIZE)
        axes.set_ylabel("true class, by number", fontsize=FONT_SIZE)
    if n_classes <= CELLS_WITH_NUMBERS:
        size = FONT_SIZE if n_classes <= 8 and counts.max() < 10_000 else FONT_SIZE - 2
        for row, column in np.ndindex(*counts.shape):
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=size, color=colour)
        axes.set_xticks(np.arange(n_classes + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(n_classes + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="#DDDDDD", linewidth=0.6)
        axes.tick_params(which="minor", length=0)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("share of the true class", fontsize=FONT_SIZE)
    bar.set_ticks([0, 0.5, 1], labels=["0 %", "50 %", "100 %"])
    return figure


def accuracy_figure(
    panels: Sequence[Mapping[str, Sequence[tuple[float, float]]]],
    *,
    xlabel: str,
    chance: float | None = None,
    ticks: Sequence[float] | None = None,
    ylabel: str = "accuracy",
) -> Figure:
    """
    Draws curves of accuracy, or other shares, over what makes it fall; in one panel or in several beside each other.

    Args:
        panels (`Sequence[Mapping[str, Sequence[tuple[float, float]]]]`): In each, the points `(x, y)` of every curve by its
            name; `y` in `[0, 1]`.
        xlabel (`str`): What `x` is, with its unit.
        chance (`float`, *optional*): Where a thin line marks the accuracy of one who knows only the most frequent class.
        ticks (`Sequence[float]`, *optional*): Of the x axis.
        ylabel (`str`, *optional*, defaults to `"accuracy"`): What `y` is.

    Returns:
        `matplotlib.figure.Figure`
    """
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = _new_figure(width=4.5 * columns if columns > 1 else 6.2, height=3.7 * rows)
    first: Axes | None = None
    for number, curves in enumerate(panels):
        axes = figure.add_subplot(rows, columns, number + 1, sharex=first, sharey=first)
        first = first or axes
        if chance is not None:
            axes.axhline(chance, color=GREY, linestyle=(0, (1, 2)), linewidth=1.2, label="always the commonest class")
        for place, (name, points) in enumerate(curves.items()):
            x, y = zip(*points, strict=True)
            axes.plot(
                x,
                y,
                label=name,
                color=LINE_COLOURS[place % len(LINE_COLOURS)],
                linestyle=LINE_STYLES[place % len(LINE_STYLES)],
                marker=MARKERS[place % len(MARKERS)],
                markersize=5,
                linewidth=1.6,
                # Points at 0 and 1 lie on the edge.
                clip_on=False,
            )
        axes.set_ylim(0, 1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        if ticks is not None:
            axes.set_xticks(ticks)
        axes.set_xlabel(xlabel, fontsize=FONT_SIZE)
        axes.set_ylabel(ylabel, fontsize=FONT_SIZE)
        _style(axes)
        if len(curves) > 1 or chance is not None:
            axes.legend(
                loc="upper center",
                bbox_to_anchor=(0.5, -0.17),
                ncols=2,
                frameon=False,
                fontsize=FONT_SIZE - 1,
                handlelength=3,
            )
    return figure


def confidence_figure(inside: ArrayLike, outside: ArrayLike, *, names: tuple[str, str]) -> Figure:
    """
    Draws how confident a classifier is on data of its task and on other data: two histograms of shares.

    Args:
        inside (array-like of shape `(N,)`): The largest probabilities on the data of its task, in `[0, 1]`.
        outside (array-like of shape `(M,)`): Those on the other data.
        names (`tuple[str, str]`): What to call the two.

    Returns:
        `matplotlib.figure.Figure`
    """
    figure = _new_figure(width=6.2, height=3.7)
    axes = figure.add_subplot()
    edges = np.linspace(0, 1, 26)
    # One with hatches and one without: told apart where they overlap, and in print.
    for values, name, fill, edge, hatch in (
        (inside, names[0], SKY, BLUE, ""),
        (outside, names[1], "none", ORANGE, "////"),
    ):
        heights = _shares(values, edges)
        axes.bar(
            edges[:-1],
            heights,
            np.diff(edges),
            align="edge",
            color=fill,
            edgecolor=edge,
            hatch=hatch,
            linewidth=1.0,
            label=name,
        )
    axes.set_xlim(0, 1)
    axes.set_xlabel("confidence (largest probability)", fontsize=FONT_SIZE)
    axes.set_ylabel("share of the examples", fontsize=FONT_SIZE)
    axes.yaxis.set_major_formatter(lambda value, place: f"{100 * value:.0f} %")
    axes.legend(frameon=False, fontsize=FONT_SIZE, loc="upper left")
    _style(axes)
    return figure


def memorisation_figure(history: Sequence[Mapping[str, float]]) -> Figure:
    """
    Draws what a model learnt of wrong labels, and its accuracy, over the epochs.

    Args:
        history (`Sequence[Mapping]`): As [`~mixtext_hf.evaluation.measures.from_logits.memorisation_history`] returns it.

    Returns:
        `matplotlib.figure.Figure`
    """
    names = {
        "noise_memorised": "wrong labels learnt by heart",
        "noise_recovered": "wrong labels put right",
        "noise_accuracy_on_right": "right labels predicted",
        "eval_accuracy": "accuracy in evaluation",
    }
    curves = {
        title: [(row["epoch"], row[key]) for row in history if key in row]
        for key, title in names.items()
        if any(key in row for row in history)
    }
    return accuracy_figure([curves], xlabel="epoch", ylabel="share of the examples")


def as_data_uri(figure: Figure) -> str:
    """A figure as a PNG of 150 dpi in the address of a picture: `data:image/png;base64,...`."""
    file = io.BytesIO()
    # Metadata would hold the release of matplotlib, and make equal pictures differ.
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def shown(name: Any) -> str:
    """A name for a picture: on one line, not too long, and without formulas."""
    text = one_line(name)
    text = text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
    return text.replace("$", r"\$")


def _shares(values: ArrayLike, edges: NDArray) -> NDArray[np.float64]:
    counts, _ = np.histogram(values, bins=edges)
    return counts / counts.sum()


def _blues() -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("white_to_blue", ["white", SKY, BLUE, "#00345A"])
