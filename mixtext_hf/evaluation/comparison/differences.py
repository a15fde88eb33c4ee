"""A figure of what methods change on several data sets, beside the one that they are compared to."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mixtext_hf.evaluation.pictures.plots import GREY, LARGE_FONT_SIZE, _check_path, _finish, _new_figure, _style

from .plots import _look
from .tables import METRICS


if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Between two groups of lines, in lines.
_GAP = 1.5

Differences = Mapping[str, Mapping[str, Sequence[float]]]


def differences_figure(
    of_metrics: Mapping[str, Differences], baseline: str, path: str | os.PathLike[str] | None = None
) -> Figure:
    """
    Draws differences from a baseline, seed by seed: a group of lines a data set, in it a marker a method at the mean of its
    differences, and a line from the least of them to the largest.

    Args:
        of_metrics (mapping from `str`): For each metric, by the data set and the method, the differences of the seeds.
        baseline (`str`): The method that they are from.
        path (`str` or `os.PathLike`, *optional*): Where to write a PNG of 150 dpi; ends in ".png". The folder is made.

    Returns:
        `matplotlib.figure.Figure`, with an axes for each metric.

    Raises:
        ValueError: If there are no differences, or if `path` does not end in ".png".
    """
    _check_path(path)
    sets = list(dict.fromkeys(name for of_sets in of_metrics.values() for name in of_sets))
    methods = list(
        dict.fromkeys(name for of_sets in of_metrics.values() for found in of_sets.values() for name in found)
    )
    if not methods:
        raise ValueError("`of_metrics` is empty: there is nothing to draw.")
    height_of_group = len(methods) + _GAP
    figure = _new_figure(width=5.2 * len(of_metrics), height=1.0 + 0.15 * len(sets) * height_of_group)
    figure.set_layout_engine("constrained", wspace=0.06)
    panels: Any = figure.subplots(1, len(of_metrics), sharey=True, squeeze=False)[0]
    drawn: dict[str, Any] = {}
    for (metric, of_sets), panel in zip(of_metrics.items(), panels, strict=True):
        panel.axvline(0, color=GREY, linewidth=1)
        for position, method in enumerate(methods):
            colour, _, marker = _look(position)
            for group, name in enumerate(sets):
                values = of_sets.get(name, {}).get(method)
                if not values:
                    continue
                height = group * height_of_group + position
                panel.plot([min(values), max(values)], [height, height], color=colour, linewidth=1.4)
                (drawn[method],) = panel.plot(
                    np.mean(values), height, color=colour, marker=marker, markersize=5.5, linestyle="none"
                )
        better = "right" if METRICS.get(metric, True) else "left"
        panel.set_xlabel(f"{metric}, less that of {baseline}\n(further {better} is better)", fontsize=LARGE_FONT_SIZE)
        _style(panel, LARGE_FONT_SIZE)
    middles = [group * height_of_group + (len(methods) - 1) / 2 for group in range(len(sets))]
    panels[0].set_yticks(middles, sets)
    panels[0].invert_yaxis()
    known = [method for method in methods if method in drawn]
    figure.legend(
        [drawn[method] for method in known],
        known,
        loc="outside lower center",
        ncols=max(1, min(len(known), int(figure.get_figwidth() / (0.7 + 0.11 * max(map(len, known)))))),
        frameon=False,
        fontsize=LARGE_FONT_SIZE,
    )
    return _finish(figure, path)
