"""Pages that show what mixes are made of: what is on them is computed by `mixtext-hf show-mixes`, here it is drawn.

Knows arrays, no method and no model. A page is set out in pixels, so that an image that is as large as its place is
shown dot for dot. A is blue and B vermillion everywhere, halfway between them lies white: told apart with any colour
vision.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .page import FAINT, GAP, IMAGE, INK, LARGE, LINE, MARGIN, NORMAL, PARTS, SMALL, STRIP, TITLE, Page
from .plots import BLUE, GREY, VERMILLION, _finish


if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Of A and of B.
Pair = Sequence[np.ndarray]


# Arrays have no truth value to compare by.
@dataclass(frozen=True, eq=False)
class Mix:
    """
    What two images, A and B, become.

    Args:
        image (`np.ndarray` of shape `(H, W, 3)`, in `[0, 1]`): The mixed image.
        mask (`np.ndarray` of shape `(h, w)`, in `[0, 1]`): The share of A at each place, of any resolution.
        weight (`float`): The weight of A's label; that of B's is `1 - weight`.
    """

    image: np.ndarray
    mask: np.ndarray
    weight: float


@dataclass(frozen=True, eq=False)
class Transport:
    """
    What PuzzleMix moves under a mask.

    Args:
        t_eps (`float`): The price of distance.
        sources (two `np.ndarray` of shape `(grid * grid,)`, int):
            Which block of A, and which of B, is shown at each place; row-major.
        moved (two `np.ndarray` of shape `(H, W, 3)`, in `[0, 1]`): A and B after that.
        mix ([`Mix`]): The result.
    """

    t_eps: float
    sources: Pair
    moved: Pair
    mix: Mix


@dataclass(frozen=True, eq=False)
class TextMix:
    """
    What the hidden states of two texts become.

    Args:
        lam (`float`): The weight of A.
        pad (`str`): What happens where only one text has a token, `"mix"` or `"keep"`.
        shares (`np.ndarray` of shape `(L, 4)`, in `[0, 1]`):
            What each position consists of: A's token, A's padding, B's padding, B's token.
    """

    lam: float
    pad: str
    shares: np.ndarray


def draw_methods(
    pair: Pair,
    mixes: Mapping[str, tuple[str, Mix]],
    views: Sequence[np.ndarray],
    path: str | os.PathLike[str],
    *,
    about: str,
    foot: str,
) -> None:
    """
    Draws what every method makes of one pair: the mixed image, the weights of the labels, the mask.

    Args:
        pair (two `np.ndarray` of shape `(H, W, 3)`, in `[0, 1]`): A and B.
        mixes (mapping from `str`): For each method's name how it mixes, in a few words, and the result.
        views (sequence of `np.ndarray` of shape `(H, W, 3)`): Two views of A by AugMix, or none.
        path (`str` or `os.PathLike`): Where to write the PNG.
        about, foot (`str`): What stands below the title, and at the foot of the page.
    """
    step = IMAGE + GAP
    columns = 1 + len(mixes) + bool(views)
    page = Page(2 * MARGIN + columns * step - GAP, 2 * IMAGE + 100, "One pair of images, every method", about, foot)
    page.key_of_masks()
    upper = page.top + 44
    lower = upper + IMAGE + 56
    x = page.head(MARGIN, upper, "the pair", "A above, B below")
    page.image(x, upper, IMAGE, pair[0], frame=BLUE)
    page.image(x, lower, IMAGE, pair[1], frame=VERMILLION)
    for column, (name, (how, mix)) in enumerate(mixes.items(), start=1):
        x = page.head(MARGIN + column * step, upper, name, how, step - 6)
        page.image(x, upper, IMAGE, mix.image)
        page.weights(x, upper + IMAGE + 8, IMAGE, mix.weight)
        page.mask(x, lower, IMAGE, mix.mask)
    if views:
        x = page.head(MARGIN + (columns - 1) * step, upper, "augmix", "two views of A; no B")
        for y, view in zip((upper, lower), views, strict=True):
            page.image(x, y, IMAGE, view)
        page.weights(x, upper + IMAGE + 8, IMAGE, 1.0)
    _finish(page.figure, path)


def draw_grid(
    cells: Sequence[Sequence[Mix]],
    path: str | os.PathLike[str],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    side: int,
    title: str,
    about: str,
    foot: str,
) -> None:
    """
    Draws mixes in a grid, below each its mask and the weights of the labels.

    Args:
        cells (sequence of sequences of [`Mix`]): The rows of the grid.
        path (`str` or `os.PathLike`): Where to write the PNG.
        rows, columns (sequence of `str`): What stands beside the rows and above the columns.
        side (`int`): Of an image, in pixels.
        title, about, foot (`str`): What stands above, below that, and at the foot of the page.
    """
    # So large that 16 blocks a side are all of one size.
    small = 16 * math.ceil(side / 40)
    left, gap = MARGIN + 104, 10
    step_x, step_y = side + gap, side + 4 + small + 2 * gap
    page = Page(left + len(columns) * step_x - gap + MARGIN, 30 + len(rows) * step_y, title, about, foot)
    page.key_of_masks()
    for column, text in enumerate(columns):
        page.text(left + column * step_x + side / 2, page.top + 14, text, ha="center")
    for row, (text, mixes) in enumerate(zip(rows, cells, strict=True)):
        y = page.top + 30 + row * step_y
        page.text(MARGIN, y + side / 2, text, va="center", linespacing=1.5)
        for column, mix in enumerate(mixes):
            x = left + column * step_x
            page.image(x, y, side, mix.image)
            page.mask(x, y + side + 4, small, mix.mask)
            middle, right = y + side + 4 + small / 2, x + small + 8
            page.text(right, middle - 4, f"{mix.weight:.2f} A", size=SMALL, color=BLUE)
            page.text(right, middle + 16, f"{1 - mix.weight:.2f} B", size=SMALL, color=VERMILLION)
    _finish(page.figure, path)


def draw_puzzle_steps(
    pair: Pair,
    saliency: Pair,
    share: Pair,
    transports: Sequence[Transport],
    path: str | os.PathLike[str],
    *,
    saliency_name: str,
    about: str,
    foot: str,
) -> None:
    """
    Draws PuzzleMix step by step: what is salient, the mask, what is moved, the result.

    Args:
        pair (two `np.ndarray` of shape `(H, W, 3)`, in `[0, 1]`): A and B.
        saliency (two `np.ndarray` of shape `(H, W)`, >= 0): Theirs.
        share (two `np.ndarray` of shape `(b, b)`, >= 0): The share of each block in it.
        transports (sequence of [`Transport`]): At several prices of distance, all under one mask.
        path (`str` or `os.PathLike`): Where to write the PNG.
        saliency_name (`str`): Where the saliency comes from, in at most 28 characters.
        about, foot (`str`): What stands below the title, and at the foot of the page.
    """
    step, left = IMAGE + GAP, MARGIN + 30
    row_height = IMAGE + 56
    height = 44 + 2 * step + 68 + len(transports) * row_height
    page = Page(left + 5 * step - GAP + MARGIN, height, "PuzzleMix, step by step", about, foot)
    page.key_of_masks()
    columns = [left + column * step for column in range(5)]

    y = page.top + 44
    mask, blocks = transports[0].mix.mask, len(share[0])
    page.head(columns[0], y, "1  images", "what is mixed")
    page.head(columns[1], y, "2  saliency", saliency_name, step - 6)
    page.head(columns[2], y, "3  blocks", f"saliency in {blocks} x {blocks} blocks", step - 6)
    page.head(columns[3], y, "4  mask", "keeps what is salient, in few pieces; a share near λ")
    for row, (name, colour) in enumerate((("A", BLUE), ("B", VERMILLION))):
        at = y + row * step
        page.text(left - 12, at + IMAGE / 2, name, size=TITLE, color=colour, weight="bold", ha="right", va="center")
        page.image(columns[0], at, IMAGE, pair[row], frame=colour)
        page.map(columns[1], at, IMAGE, saliency[row])
        page.map(columns[2], at, IMAGE, share[row])
    page.mask(columns[3], y, 2 * IMAGE + GAP, mask)

    y += 2 * step + 68
    page.head(columns[0], y, "5  what moves of A", "to where the mask shows it", step - 6)
    page.head(columns[1], y, "A, moved", "framed: from elsewhere")
    page.head(columns[2], y, "what moves of B", "to where the mask shows it", step - 6)
    page.head(columns[3], y, "B, moved", "framed: from elsewhere")
    page.head(columns[4], y, "6  the mix", "mask · A + (1 - mask) · B")
    for row, transport in enumerate(transports):
        at = y + row * row_height
        for number, (colour, own) in enumerate(((BLUE, mask), (VERMILLION, 1 - mask))):
            source, x = transport.sources[number], columns[2 * number]
            arrows = page.image(x, at, IMAGE, _shown(pair[number], own))
            count = _draw_arrows(arrows, source, colour)
            page.text(x, at + IMAGE + 20, f"t_eps = {transport.t_eps:g}: {_moves(count)}", size=SMALL, color=GREY)
            after = page.image(columns[2 * number + 1], at, IMAGE, _shown(transport.moved[number], own))
            _draw_frames(after, source, colour)
        page.image(columns[4], at, IMAGE, transport.mix.image)
        page.weights(columns[4], at + IMAGE + 5, IMAGE, transport.mix.weight)
    _finish(page.figure, path)


def draw_text(
    tokens: Sequence[Sequence[str | None]],
    mixes: Sequence[TextMix],
    attended: np.ndarray,
    layers: Mapping[str, Sequence[int | str]],
    depth: int,
    path: str | os.PathLike[str],
    *,
    about: str,
    foot: str,
) -> None:
    """
    Draws what each position of two mixed texts consists of, what is attended to, and at which layers methods mix.

    Args:
        tokens (two sequences of `str` or `None`): A's and B's, as many as there are positions; `None` is padding.
        mixes (sequence of [`TextMix`]): What becomes of them, one strip each.
        attended (`np.ndarray` of shape `(L,)`, bool): The positions that the layers above the mix attend to.
        layers (mapping from `str`): For each method's name the layers it draws from: numbers, or `"head"`.
        depth (`int`): Number of layers of the model.
        path (`str` or `os.PathLike`): Where to write the PNG.
        about, foot (`str`): What stands below the title, and at the foot of the page.
    """
    left, width = MARGIN + 150, 1240
    cell = width / len(attended)
    strip = STRIP + 14
    height = 40 + len(mixes) * strip + 100 + 3 * LINE + 78 + len(layers) * LINE
    page = Page(left + width + MARGIN, height, "Two texts, mixed in hidden space", about, foot)
    page.key_of_parts()

    y = page.top + 24
    _draw_tokens(page, left, y, cell, tokens[0], "A", BLUE)
    y += 16
    for mix in mixes:
        page.text(MARGIN, y + 27, f"λ = {mix.lam:g}", size=LARGE, weight="bold")
        page.text(MARGIN, y + 49, f"padding: {mix.pad}", size=SMALL, color=GREY)
        _draw_strip(page.axes(left, y, width, STRIP), mix.shares)
        y += strip
    _draw_tokens(page, left, y + 14, cell, tokens[1], "B", VERMILLION)

    y += 100
    page.text(MARGIN, y - LINE - 4, "Positions that are attended to", size=LARGE, weight="bold")
    at = (np.arange(len(attended)) + 0.5) * cell
    alone = [np.array([token is not None for token in text]) for text in tokens]
    rows = (("A alone", BLUE, alone[0]), ("B alone", VERMILLION, alone[1]), ("A and B mixed", INK, attended))
    for name, colour, mask in rows:
        page.text(MARGIN, y, name, size=SMALL, color=colour)
        _draw_dots(page.axes(left, y - 17, width, LINE), at, mask, colour)
        y += LINE

    y += 54
    page.text(MARGIN, y - LINE - 4, "Layers that a method draws from, one for each batch", size=LARGE, weight="bold")
    columns: list[int | str] = [*range(depth + 1), "head"]
    at = (np.arange(len(columns)) + 0.5) * min(106, width / len(columns))
    for x, column in zip(at, columns, strict=True):
        text = {0: "embeddings", "head": "pooled"}.get(column, str(column))
        page.text(left + x, y, text, size=SMALL, color=GREY, ha="center")
    for method, drawn_from in layers.items():
        y += LINE
        page.text(MARGIN, y, method, size=SMALL)
        is_drawn = np.array([column in drawn_from for column in columns])
        _draw_dots(page.axes(left, y - 17, width, LINE), at, is_drawn, INK)
    _finish(page.figure, path)


def _shown(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a mask `(b, b)` shows of an image `(H, W, 3)`, on white paper."""
    rows, columns = (side // len(mask) for side in image.shape[:2])
    weight = mask.repeat(rows, axis=0).repeat(columns, axis=1)[..., None]
    return weight * image + (1 - weight)


def _moved_blocks(source: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """From where to where blocks move, `(N, 2)` each as `(x, y)`, and the side of the grid."""
    grid = math.isqrt(len(source))
    (to,) = np.nonzero(source != np.arange(len(source)))
    return np.stack(np.divmod(source[to], grid)[::-1], axis=1), np.stack(np.divmod(to, grid)[::-1], axis=1), grid


def _draw_arrows(axes: Axes, source: np.ndarray, colour: str) -> int:
    """Arrows from where blocks are to where they are shown; returns how many."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.patheffects import withStroke

    begins, ends, grid = _moved_blocks(source)
    block = axes.get_xlim()[1] / grid
    for begin, end in zip((begins + 0.5) * block, (ends + 0.5) * block, strict=True):
        arrow = FancyArrowPatch(
            begin, end, arrowstyle="-|>", mutation_scale=6, shrinkA=0, shrinkB=0, color=colour, lw=1
        )
        arrow.set_path_effects([withStroke(linewidth=2.4, foreground="white")])
        axes.add_patch(arrow)
    return len(begins)


def _draw_frames(axes: Axes, source: np.ndarray, colour: str) -> None:
    """A frame around each block that comes from elsewhere."""
    from matplotlib.patches import Rectangle

    _, ends, grid = _moved_blocks(source)
    block = axes.get_xlim()[1] / grid
    for corner in ends * block:
        axes.add_patch(Rectangle(corner, block, block, fill=False, edgecolor=colour, lw=0.7))


def _moves(count: int) -> str:
    return {0: "nothing moves", 1: "1 block moves"}.get(count, f"{count} blocks move")


def _draw_tokens(
    page: Page, left: float, y: float, cell: float, tokens: Sequence[str | None], name: str, colour: str
) -> None:
    page.text(left - 16, y, name, size=TITLE, color=colour, weight="bold", ha="right")
    for position, token in enumerate(tokens):
        x = left + (position + 0.5) * cell
        if token is None:
            page.text(x, y, "pad", size=SMALL, color=FAINT, ha="center")
            continue
        text = page.text(x, y, token, color=colour, ha="center")
        room, needed = cell - 6, text.get_window_extent(page.canvas.get_renderer()).width
        if needed > room:
            text.set_fontsize(NORMAL * room / needed)


def _draw_strip(axes: Axes, shares: np.ndarray) -> None:
    """One stack a position: A's token or padding above, B's below, each as high as its share."""
    from matplotlib.patches import Rectangle

    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    cell = width / len(shares)
    for position, column in enumerate(shares):
        top = 0.0
        for share, colour in zip(column, PARTS, strict=True):
            is_token = colour in (BLUE, VERMILLION)
            axes.add_patch(Rectangle((position * cell + 1.5, top), cell - 3, share * height, color=colour, lw=0))
            if share > 0:
                axes.text(
                    (position + 0.5) * cell,
                    top + share * height / 2,
                    f"{share:.2f}",
                    fontsize=6.5,
                    color="white" if is_token else GREY,
                    ha="center",
                    va="center_baseline",
                )
            top += share * height


def _draw_dots(axes: Axes, at: np.ndarray, filled: np.ndarray, colour: str) -> None:
    middle = axes.get_ylim()[0] / 2
    for x, is_filled in zip(at, filled, strict=True):
        axes.plot(
            x, middle, "o", ms=4.5, mfc=colour if is_filled else "none", mec=colour if is_filled else FAINT, mew=0.8
        )
