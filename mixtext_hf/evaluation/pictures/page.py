"""A page of pictures, set out in pixels: a title and a key above, a foot below."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from .plots import BLUE, DPI, GREY, VERMILLION


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.text import Text


INK, FAINT, HALFWAY = "#222222", "#D0D0D0", "#F3F0E9"


# What a position of a text consists of: A's token, A's padding, B's padding, B's token.
PARTS = (BLUE, "#CFE2EF", "#F9DFD0", VERMILLION)


# matplotlib 3.9 knows "auto", which is the same, by this name only.
SMOOTH = "antialiased"

SMALL, NORMAL, LARGE, TITLE = 8.5, 9.5, 10.5, 14.0


# Everything below is in pixels.
MARGIN, GAP, LINE = 36, 16, 24


IMAGE, STRIP = 224, 60


KEY, KEY_ROOM = 160, 340


class Page:
    """A figure laid out in pixels from its upper left corner: a title and a key above, `height` below, a foot."""

    def __init__(self, width: int, height: int, title: str, about: str, foot: str):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        # Room for the title and the key where there are few columns.
        self.width = max(width, 980)
        # A character takes 11 pixels on average, a small one 10.
        lines = textwrap.wrap(about, (self.width - 2 * MARGIN - KEY_ROOM) // 11)
        small = (self.width - 2 * MARGIN) // 10
        foot_lines = [line for part in foot.split("\n") for line in textwrap.wrap(part, small)]
        self.top = 84 + LINE * len(lines)
        below = self.top + height + 40
        self.height = below + LINE * len(foot_lines)
        self.figure = Figure(figsize=(self.width / DPI, self.height / DPI), dpi=DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)
        self.text(MARGIN, 46, title, size=TITLE, weight="bold")
        for number, line in enumerate(lines):
            self.text(MARGIN, 76 + LINE * number, line, color=GREY)
        for number, line in enumerate(foot_lines):
            self.text(MARGIN, below + LINE * number, line, size=SMALL, color=GREY)

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        """Axes without anything on them, in pixels from their upper left corner."""
        axes = self.figure.add_axes(
            (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        )
        axes.set_axis_off()
        axes.set(xlim=(0, width), ylim=(height, 0))
        return axes

    def text(self, x: float, y: float, text: str, *, size: float = NORMAL, color: str = INK, **about: Any) -> Text:
        # Names of files and tokens may hold dollars, which are no formulas.
        return self.figure.text(
            x / self.width, 1 - y / self.height, text, fontsize=size, color=color, parse_math=False, **about
        )

    def head(self, x: float, y: float, name: str, how: str, room: float | None = None) -> float:
        """A heading of two lines over what begins at `(x, y)`, in smaller letters if it is wider than `room`; returns `x`."""
        above = self.text(x, y - 32, name, size=LARGE, weight="bold")
        below = self.text(x, y - 11, how, size=SMALL, color=GREY)
        for line, size in ((above, LARGE), (below, SMALL)):
            needed = line.get_window_extent(self.canvas.get_renderer()).width
            if room is not None and needed > room:
                line.set_fontsize(size * room / needed)
        return x

    def image(self, x: float, y: float, side: float, image: np.ndarray, frame: str | None = None) -> Axes:
        """An image `(H, W, 3)` in `[0, 1]`."""
        axes = self._show(x, y, side, image, interpolation=SMOOTH)
        if frame is not None:
            self._outline(axes, side, frame, 5)
        return axes

    def mask(self, x: float, y: float, side: float, mask: np.ndarray) -> Axes:
        """A mask `(h, w)` of shares of A."""
        return self._show(x, y, side, mask, interpolation="nearest", cmap=shares_of_a(), vmin=0, vmax=1)

    def map(self, x: float, y: float, side: float, values: np.ndarray) -> Axes:
        """How much there is of something `(h, w)`: white is nothing, black the most, but for a few outliers."""
        most = float(np.quantile(values, 0.995))
        way = "nearest" if len(values) < side / 2 else SMOOTH
        return self._show(x, y, side, values, interpolation=way, cmap="Greys", vmin=0, vmax=most)

    def _show(self, x: float, y: float, side: float, values: np.ndarray, **about: Any) -> Axes:
        axes = self.axes(x, y, side, side)
        axes.imshow(values, extent=(0, side, side, 0), **about)
        self._outline(axes, side, FAINT, 1)
        return axes

    def _outline(self, axes: Axes, side: float, colour: str, line: float) -> None:
        from matplotlib.patches import Rectangle

        # Inside, so that what is framed stays in line with what is not; snapped, it would move by half a pixel.
        outline = Rectangle((line / 2, line / 2), side - line, side - line, fill=False, edgecolor=colour)
        outline.set(linewidth=line * 72 / DPI, snap=False, clip_on=False)
        axes.add_patch(outline)

    def weights(self, x: float, y: float, width: float, weight: float) -> None:
        """The weights of both labels, as a bar and in numbers below it."""
        middle, below = x + width / 2, y + 31
        self.weight_bar(x, y, width, weight)
        self.text(middle - 14, below, f"{weight:.2f} A", color=BLUE, ha="right", weight="bold")
        self.text(middle, below, "+", color=GREY, ha="center")
        self.text(middle + 14, below, f"{1 - weight:.2f} B", color=VERMILLION, ha="left", weight="bold")

    def weight_bar(self, x: float, y: float, width: float, weight: float) -> None:
        """The weights of both labels as a bar, 8 pixels high."""
        from matplotlib.patches import Rectangle

        bar = self.axes(x, y, width, 8)
        bar.add_patch(Rectangle((0, 0), width * weight, 8, color=BLUE, lw=0))
        bar.add_patch(Rectangle((width * weight, 0), width * (1 - weight), 8, color=VERMILLION, lw=0))

    def key_of_masks(self, names: tuple[str, str, str] = ("A", "half", "B")) -> None:
        """What the colours of a mask say, in the upper right corner; `names` of all of the one, of half and of all of the other."""
        x, y = self.width - MARGIN - KEY, 30
        axes = self.axes(x, y, KEY, 12)
        shares = np.linspace(1, 0, KEY)[None]
        axes.imshow(shares, extent=(0, KEY, 12, 0), aspect="auto", cmap=shares_of_a(), vmin=0, vmax=1)
        self.text(x - 12, y + 12, "mask: who is shown", size=SMALL, color=GREY, ha="right")
        self.text(x, y + 32, names[0], size=SMALL, color=BLUE, weight="bold")
        self.text(x + KEY / 2, y + 32, names[1], size=SMALL, color=GREY, ha="center")
        self.text(x + KEY, y + 32, names[2], size=SMALL, color=VERMILLION, weight="bold", ha="right")

    def key_of_parts(self) -> None:
        """What the colours of a stack say, in the upper right corner."""
        from matplotlib.patches import Rectangle

        axes = self.axes(self.width - MARGIN - 270, 30, 270, 44)
        for number, (colour, name) in enumerate(
            zip(PARTS, ("A's token", "padding", "padding", "B's token"), strict=True)
        ):
            x, y = (0 if colour in (BLUE, VERMILLION) else 150), 26 * (number // 2)
            axes.add_patch(Rectangle((x, y), 16, 16, color=colour, lw=0))
            axes.text(x + 26, y + 14, name, fontsize=SMALL, color=GREY)


def shares_of_a() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shares of A", [VERMILLION, HALFWAY, BLUE])
