"""Figures of a comparison: metrics against labels a class, and what is learnt of wrong labels over the epochs.

A method is a line (or a row) with its own colour, line style and marker, so that it is told apart in black and white as well.
Bands and bars are one standard deviation over the seeds to either side.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mixtext_hf.evaluation.pictures.plots import (
    GREY,
    LARGE_FONT_SIZE,
    LINE_COLOURS,
    LINE_STYLES,
    MARKERS,
    _check_path,
    _finish,
    _new_figure,
    _style,
)

from .tables import Summary, over_epochs


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What is drawn of a run, and how it is called.
_METRICS = {"accuracy": "accuracy", "ECE": "expected calibration error (ECE)"}
_HELD_OUT, _MEMORISED = "eval_accuracy", "noise_memorised"
_EPOCHS = {_HELD_OUT: "held-out accuracy", _MEMORISED: "share of wrong labels memorised"}

Histories = Mapping[tuple[int | None, str], Sequence[Sequence[Mapping[str, Any]]]]


def comparison_figure(
    summaries: Sequence[Summary], path: str | os.PathLike[str] | None = None, title: str | None = None
) -> Figure:
    """
    Draws accuracy and calibration error against labels a class, one line a variant with a band of one standard deviation
    over the seeds; with a single number of labels, one row a variant, with a dot for each seed.

    Args:
        summaries (`Sequence[Summary]`): What [`~mixtext_hf.evaluation.comparison.tables.summarise`] returned.
        path (`str` or `os.PathLike`, *optional*): Where to write a PNG of 150 dpi; ends in ".png". The folder is made.
        title (`str`, *optional*): The figure's title.

    Returns:
        `matplotlib.figure.Figure`, with one axes for the accuracy and one for the ECE.

    Raises:
        ValueError: If `summaries` is empty, or if `path` does not end in ".png".
    """
    _check_path(path)
    if not summaries:
        raise ValueError("`summaries` is empty: there is nothing to draw.")
    variants = list(dict.fromkeys(one.variant for one in summaries))
    numbers = list(dict.fromkeys(one.labeled_per_class for one in summaries))
    height = 4.2 if len(numbers) > 1 else 1.3 + 0.42 * len(variants)
    figure = _new_figure(width=5.0 * len(_METRICS), height=height + (0.4 if title else 0.0))
    figure.set_layout_engine("constrained", wspace=0.06)
    if title:
        figure.suptitle(title, fontsize=LARGE_FONT_SIZE + 2)
    axes: Any = figure.subplots(1, len(_METRICS), sharex=len(numbers) > 1, sharey=len(numbers) == 1)
    for panel, (metric, label) in zip(axes, _METRICS.items(), strict=True):
        of_metric = [one for one in summaries if one.metric == metric]
        if len(numbers) > 1:
            _draw_lines(panel, of_metric, variants)
            panel.set_ylabel(label, fontsize=LARGE_FONT_SIZE)
        else:
            _draw_rows(panel, of_metric)
            panel.set_xlabel(label, fontsize=LARGE_FONT_SIZE)
    if len(numbers) > 1:
        _legend(figure, axes[0])
    return _finish(figure, path)


def memorisation_figure(
    histories: Histories, path: str | os.PathLike[str] | None = None, title: str | None = None
) -> Figure:
    """
    Draws the held-out accuracy and the share of the wrong labels that is learnt by heart over the epochs of training, one
    line a variant with a band of one standard deviation over the seeds; one row of axes a number of labels.

    Args:
        histories (mapping from a pair to log histories): For each number of labels a class and name of a variant, the
            `trainer.state.log_history` of every seed.
        path (`str` or `os.PathLike`, *optional*): Where to write a PNG of 150 dpi; ends in ".png". The folder is made.
        title (`str`, *optional*): The figure's title.

    Returns:
        `matplotlib.figure.Figure`, with two axes a number of labels; one where no held-out accuracy was logged.

    Raises:
        ValueError: If no run has logged what it memorised, if the seeds of a variant logged at different epochs, or if
            `path` does not end in ".png".
    """
    _check_path(path)
    numbers = list(dict.fromkeys(labels for labels, _ in histories))
    variants = list(dict.fromkeys(variant for _, variant in histories))
    found = {
        (labels, key, variant): curve
        for (labels, variant), of_seeds in histories.items()
        for key in _EPOCHS
        if (curve := over_epochs(of_seeds, key)) is not None
    }
    keys = [key for key in _EPOCHS if any(other == key for _, other, _ in found)]
    if _MEMORISED not in keys:
        raise ValueError(f"No run has logged {_MEMORISED}: train with wrong labels, --label_noise.")
    width, height = 5.0 * len(keys), 3.6 * len(numbers) + 0.5
    figure = _new_figure(width=width, height=height + (0.4 if title else 0.0))
    figure.set_layout_engine("constrained", wspace=0.06)
    if title:
        figure.suptitle(title, fontsize=LARGE_FONT_SIZE + 2)
    grid: Any = figure.subplots(len(numbers), len(keys), sharex=True, sharey="col", squeeze=False)
    for labels, row in zip(numbers, grid, strict=True):
        for key, axes in zip(keys, row, strict=True):
            for position, variant in enumerate(variants):
                if (labels, key, variant) in found:
                    epochs, values = found[labels, key, variant]
                    _draw_band(axes, position, variant, epochs, values)
            if len(numbers) > 1:
                axes.set_title(f"{labels} labels a class", fontsize=LARGE_FONT_SIZE)
            axes.set_ylabel(_EPOCHS[key], fontsize=LARGE_FONT_SIZE)
            _style(axes, LARGE_FONT_SIZE)
    for axes in grid[-1]:
        axes.set_xlabel("epoch", fontsize=LARGE_FONT_SIZE)
    _legend(figure, grid[0][-1])
    return _finish(figure, path)


def has_memorisation(histories: Histories) -> bool:
    """Whether [`memorisation_figure`] has something to draw."""
    return any(over_epochs(of_seeds, _MEMORISED) is not None for of_seeds in histories.values())


def _draw_lines(axes: Axes, summaries: Sequence[Summary], variants: Sequence[str]) -> None:
    from matplotlib.ticker import NullLocator

    for position, variant in enumerate(variants):
        own = [one for one in summaries if one.variant == variant]
        labels = np.array([one.labeled_per_class for one in own], dtype=float)
        _draw_band(axes, position, variant, labels, np.array([one.values for one in own]).T)
    axes.set_xscale("log")
    numbers = sorted({one.labeled_per_class for one in summaries if one.labeled_per_class is not None})
    axes.set_xticks(numbers, [str(number) for number in numbers])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labels a class", fontsize=LARGE_FONT_SIZE)
    _style(axes, LARGE_FONT_SIZE)


def _draw_band(axes: Axes, position: int, name: str, x: Any, values: Any) -> None:
    """The mean of `values` `(S, X)` over `x` `(X,)`, and with several seeds its band."""
    colour, linestyle, marker = _look(position)
    mean = values.mean(axis=0)
    if len(values) > 1:
        deviation = values.std(axis=0, ddof=1)
        # With lines at its borders, for bands on top of each other look alike in print.
        axes.fill_between(x, mean - deviation, mean + deviation, color=colour, alpha=0.13, linewidth=0)
        for border in (mean - deviation, mean + deviation):
            axes.plot(x, border, color=colour, linestyle=linestyle, linewidth=0.5, alpha=0.6)
    axes.plot(
        x,
        mean,
        label=name,
        color=colour,
        linestyle=linestyle,
        marker=marker,
        # Those of many epochs would bury the line.
        markevery=max(1, len(x) // 12),
        markersize=5,
        linewidth=1.7,
        zorder=3,
    )


def _draw_rows(axes: Axes, summaries: Sequence[Summary]) -> None:
    """A row a variant, the first on top: mean and standard deviation, and below it a dot for each seed."""
    for position, one in enumerate(summaries):
        colour, _, marker = _look(position)
        axes.errorbar(
            one.mean,
            position,
            xerr=one.deviation,
            color=colour,
            marker=marker,
            markersize=7,
            linewidth=1.7,
            capsize=4,
            label=one.variant,
            zorder=3,
        )
        if len(one.values) > 1:
            axes.plot(
                one.values,
                np.full(len(one.values), position + 0.25),
                linestyle="none",
                marker="o",
                markersize=3.5,
                markerfacecolor="none",
                markeredgecolor=GREY,
                markeredgewidth=0.8,
            )
    axes.set_yticks(range(len(summaries)), [one.variant for one in summaries])
    axes.set_ylim(len(summaries) - 0.4, -0.6)
    _style(axes, LARGE_FONT_SIZE)


def _look(position: int) -> tuple[str, Any, str]:
    """Colour, line style and marker of the variant at this position: no two alike before all have met."""
    round_, place = divmod(position, len(LINE_COLOURS))
    return (
        LINE_COLOURS[place],
        LINE_STYLES[(place + round_) % len(LINE_STYLES)],
        MARKERS[(place + round_) % len(MARKERS)],
    )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels))
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=max(1, min(len(labels), int(figure.get_figwidth() / (0.9 + 0.11 * longest)))),
        frameon=False,
        fontsize=LARGE_FONT_SIZE,
        handlelength=3.4,
    )
