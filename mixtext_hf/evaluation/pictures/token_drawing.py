"""
Pages of texts that are mixed token by token: either text with the saliency of its tokens, and between them what the network sees.

Knows arrays and strings, no method and no model. The row itself is blue, its partner vermillion, as A and B on the other pages.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .batch_drawing import Labels, Words, draw_labels
from .page import FAINT, GAP, INK, LINE, MARGIN, NORMAL, PARTS, SMALL, Page
from .plots import BLUE, DPI, GREY, VERMILLION, _finish


if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LABELS, _TEXT, _LEAST_TEXT = 300, 1240, 640
# Of the bars of saliency, of a line of tokens, of what the network sees, between two lines of one text, and between two rows.
_BARS, _TOKENS, _STRIP, _BETWEEN, _APART = 44, 24, 50, 14, 44
# Of a bar: as wide for a long word as for a short one.
_BAR = 12
_NARROWEST, _WIDEST = 34, 210
# A part that is lower than this has no room for its token.
_LOWEST = 15
MOST_LINES = 3
_HEAD = 66
# Of special tokens, and of what the network does not see.
_SPECIAL = ("#7FB8D8", "#EAAE80")
_PALE = "#B4B4B4"


@dataclass(frozen=True, eq=False)
class TokenText:
    """
    One of two texts.

    Args:
        tokens (sequence of `str` or `None`): At each position; `None` is padding.
        is_word (`np.ndarray` of shape `(L,)`, bool): Special tokens and padding are none.
        source (`np.ndarray` of shape `(L,)`, int): The position of the token of this text that stands at each position of the mix.
        share (`np.ndarray` of shape `(L,)`, in `[0, 1]`, *optional*): Of each token in the saliency of the text.
    """

    tokens: Sequence[str | None]
    is_word: np.ndarray
    source: np.ndarray
    share: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class TokenRow:
    """
    A row that is mixed token by token.

    Args:
        own ([`TokenText`]): The text of the row.
        labels ([`Labels`]): What the mix is trained to be called.
        mask (`np.ndarray` of shape `(L,)`, in `[0, 1]`): The share of the own token at each position.
        seen (`np.ndarray` of shape `(L,)`, bool): The positions of the mix that the network attends to.
        partner ([`TokenText`], *optional*): That of its partner, of as many positions; `None` where it has none.
    """

    own: TokenText
    labels: Labels
    mask: np.ndarray
    seen: np.ndarray
    partner: TokenText | None = None

    @property
    def texts(self) -> list[tuple[TokenText, np.ndarray]]:
        """The own text and the partner's, each with its share `(L,)` at each position of what the network sees."""
        both = [(self.own, np.where(self.seen, self.mask, 0))]
        return both if self.partner is None else [*both, (self.partner, np.where(self.seen, 1 - self.mask, 0))]

    def left_out(self, first: int) -> str:
        """What is not drawn, from position `first` on."""
        rest = slice(first, None)
        said = f"… {len(self.mask) - first} more positions"
        shares = [text.share[rest].sum() for text, _ in self.texts if text.share is not None]
        if shares:
            said += f", with {percent(shares[0])} of the saliency of the row"
        if len(shares) > 1:
            said += f" and {percent(shares[1])} of that of its partner"
        if self.partner is not None and self.seen[rest].any():
            said += f"; {percent(1 - self.mask[rest][self.seen[rest]].mean())} of what is seen there is the partner's"
        return f"{said}."


def percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def is_shown(text: TokenText, weight: np.ndarray) -> np.ndarray:
    """Which tokens `(L,)` of a text the network sees anything of, where `weight` `(L,)` is the share of the text in the mix."""
    shown = np.zeros(len(weight), dtype=bool)
    shown[text.source[weight > 0]] = True
    return shown


def draw_token_batch(rows: Sequence[TokenRow], path: str | os.PathLike[str], words: Words) -> None:
    """
    Draws rows of a batch of texts that are mixed token by token: the text of the row and that of its partner, with the saliency of
    their tokens, between them what the network sees, and the labels.

    Args:
        rows (sequence of [`TokenRow`]): The rows. What takes more than [`MOST_LINES`] lines is left out, which is said.
        path (`str` or `os.PathLike`): Where to write the PNG.
        words ([`Words`]): Around it.
    """
    measure = _Measure()
    blocks = [_Block(row, measure) for row in rows]
    height = _HEAD + sum(block.height + _APART for block in blocks)
    room = max(_LEAST_TEXT, *(block.width for block in blocks))
    page = Page(2 * MARGIN + math.ceil(room) + 2 * GAP + _LABELS, height, words.title, words.about, words.foot)
    _key(page, any(row.own.share is not None for row in rows), any(block.moves for block in blocks))
    y = page.top + _HEAD
    right = page.width - MARGIN - _LABELS
    page.head(
        MARGIN, y - 20, "texts, token by token", "the row above, its partner below; between them what the network sees"
    )
    page.head(right, y - 20, "labels", "their weights in the loss")
    for number, block in enumerate(blocks):
        if number:
            page.axes(MARGIN, y - _APART / 2, page.width - 2 * MARGIN, 1).axhline(0, color=FAINT, lw=0.8)
        block.draw(page, MARGIN, y)
        draw_labels(page, right, y + 16, block.row.labels)
        y += block.height + _APART
    _finish(page.figure, path)


class _Measure:
    """How wide texts are, in pixels."""

    def __init__(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.font_manager import FontProperties

        self._renderer = FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()
        self._font = FontProperties(size=NORMAL)
        self._known: dict[str, float] = {}

    def __call__(self, text: str) -> float:
        if text not in self._known:
            # What the font lacks is said once, when the page is written.
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                width, *_ = self._renderer.get_text_width_height_descent(text, self._font, False)
            self._known[text] = width
        return self._known[text]

    def fitting(self, text: str) -> str:
        """A text that is no wider than a column may be, cut where it is."""
        if self(text) <= _WIDEST - 12:
            return text
        return next(cut for end in range(len(text) - 1, -1, -1) if self(cut := text[:end] + "…") <= _WIDEST - 12)


def lines_of(widths: Sequence[float], room: float, most: int) -> list[tuple[int, int]]:
    """The columns of each line, from the first one to before the second, where lines are `room` wide: `most` lines of them."""
    lines, start, used = [], 0, 0.0
    for column, width in enumerate(widths):
        if used + width > room and column > start:
            lines.append((start, column))
            start, used = column, 0.0
        used += width
    return [*lines, (start, len(widths))][:most]


class _Block:
    """A row set out in lines."""

    def __init__(self, row: TokenRow, measure: _Measure):
        self.row = row
        self.strings = [[None if t is None else measure.fitting(t) for t in text.tokens] for text, _ in row.texts]
        needed = np.full(len(row.mask), float(_NARROWEST))
        for (text, weight), strings in zip(row.texts, self.strings, strict=True):
            wide = np.array([0 if string is None else measure(string) + 12 for string in strings])
            needed = np.maximum(needed, np.maximum(wide, np.where(weight > 0, wide[text.source], 0)))
        self.widths = needed
        self.lines = lines_of(list(needed), _TEXT, MOST_LINES)
        self.is_cut = self.lines[-1][1] < len(needed)
        self.bars = _BARS if row.own.share is not None else 0
        below = LINE if self.is_cut else 0
        heights = [self._height(first, end) for first, end in self.lines]
        self.height = max(sum(heights) + (len(heights) - 1) * _BETWEEN + below, 150)

    def _parts(self, first: int, end: int) -> tuple[bool, bool, bool]:
        """Whether a line has anything of the own text, of what the network sees, and of the partner's text."""
        own, *partner = ([string is not None for string in strings[first:end]] for strings in self.strings)
        return any(own), bool(self.row.seen[first:end].any()), any(map(any, partner))

    def _height(self, first: int, end: int) -> int:
        has_own, has_mix, has_partner = self._parts(first, end)
        return (has_own + has_partner) * (self.bars + _TOKENS) + has_mix * _STRIP

    @property
    def width(self) -> float:
        """Of its longest line, or of what is said below."""
        left_out = 8 * len(self.row.left_out(self.lines[-1][1])) if self.is_cut else 0
        return max(left_out, *(self.widths[first:end].sum() for first, end in self.lines))

    @property
    def moves(self) -> bool:
        """Whether a token that is seen stands elsewhere than in its text."""
        position = np.arange(len(self.row.mask))
        return any(bool(((text.source != position) & (weight > 0)).any()) for text, weight in self.row.texts)

    def draw(self, page: Page, x: float, y: float) -> None:
        most = max((float(text.share.max()) for text, _ in self.row.texts if text.share is not None), default=0.0)
        for first, end in self.lines:
            height, (has_own, has_mix, has_partner) = self._height(first, end), self._parts(first, end)
            axes = page.axes(x, y, _TEXT, height)
            left = np.concatenate([[0], self.widths[first:end].cumsum()])
            columns = [(p, left[p - first], self.widths[p]) for p in range(first, end)]
            if has_own:
                self._draw_text(axes, columns, 0, self.bars, self.bars + 17, most)
            if has_mix:
                self._draw_strip(axes, columns, has_own * (self.bars + _TOKENS))
            if has_partner:
                base = height - self.bars
                self._draw_text(axes, columns, 1, base, base - 6, most)
            y += height + _BETWEEN
        if self.is_cut:
            page.text(x, y - _BETWEEN + LINE - 2, self.row.left_out(self.lines[-1][1]), size=SMALL, color=GREY)

    def _draw_text(self, axes: Axes, columns: _Columns, number: int, base: float, line: float, most: float) -> None:
        """The tokens of a text on a line, and the bars of their saliency from `base` on: of the own text upwards."""
        from matplotlib.patches import Rectangle

        text, weight = self.row.texts[number]
        colour, shown = (BLUE, VERMILLION)[number], is_shown(text, weight)
        peak = None if text.share is None else int(text.share.argmax())
        for position, x, width in columns:
            string = self.strings[number][position]
            if string is None:
                continue
            ink = (colour if text.is_word[position] else GREY) if shown[position] else _PALE
            style = "normal" if text.is_word[position] else "italic"
            axes.text(
                x + width / 2, line, string, fontsize=NORMAL, color=ink, ha="center", style=style, parse_math=False
            )
            if text.share is None or not text.is_word[position]:
                continue
            high = (_BARS - 15) * text.share[position] / most if most else 0
            up = number == 0
            axes.add_patch(
                Rectangle((x + (width - _BAR) / 2, base - high if up else base), _BAR, high, color=INK, lw=0)
            )
            if position == peak:
                axes.text(
                    x + width / 2,
                    base - high - 3 if up else base + high + 3,
                    percent(text.share[position]),
                    fontsize=SMALL,
                    color=GREY,
                    ha="center",
                    va="bottom" if up else "top",
                )

    def _draw_strip(self, axes: Axes, columns: _Columns, top: float) -> None:
        """What the network sees: a stack at each position, the own token above, each as high as its share."""
        from matplotlib.patches import Rectangle

        for position, x, width in columns:
            at = top
            for number, (text, weight) in enumerate(self.row.texts):
                high, source = _STRIP * weight[position], int(text.source[position])
                if not high:
                    continue
                string = self.strings[number][source]
                is_special = string is not None and not text.is_word[source]
                colour = (BLUE, VERMILLION)[number] if string is not None else PARTS[1 + number]
                colour = _SPECIAL[number] if is_special else colour
                axes.add_patch(Rectangle((x + 1.5, at), width - 3, high, color=colour, lw=0))
                if source != position:
                    frame = Rectangle((x + 4, at + 2.5), width - 8, high - 5, fill=False, edgecolor="white")
                    frame.set(linewidth=0.8, linestyle=(0, (2, 1.5)), snap=False)
                    axes.add_patch(frame)
                if string is not None and high >= _LOWEST:
                    size = NORMAL if high > 0.9 * _STRIP else SMALL if high > 20 else 7.0
                    axes.text(
                        x + width / 2,
                        at + high / 2,
                        string,
                        fontsize=size,
                        color="white" if not is_special else INK,
                        ha="center",
                        va="center_baseline",
                        parse_math=False,
                    )
                at += high


# The number of each position of a line, where it begins, and its width.
_Columns = Sequence[tuple[int, float, float]]


def _key(page: Page, has_saliency: bool, has_moves: bool) -> None:
    """What colours and bars say, in the upper right corner."""
    from matplotlib.patches import Rectangle

    axes = page.axes(page.width - MARGIN - 350, 24, 350, 74)
    entries = [
        (0, 0, BLUE, "own token"),
        (0, 24, VERMILLION, "partner's token"),
        (186, 0, _SPECIAL[0], "special token"),
        (186, 24, PARTS[1], "padding"),
    ]
    for x, y, colour, name in entries:
        axes.add_patch(Rectangle((x, y), 16, 16, color=colour, lw=0))
        if colour in (_SPECIAL[0], PARTS[1]):
            axes.add_patch(Rectangle((x + 8, y), 8, 16, color=_SPECIAL[1] if y == 0 else PARTS[2], lw=0))
        axes.text(x + 26, y + 14, name, fontsize=SMALL, color=GREY)
    axes.text(0, 62, "pale", fontsize=SMALL, color=_PALE)
    axes.text(48, 62, "not seen", fontsize=SMALL, color=GREY)
    if has_moves:
        frame = Rectangle((186, 49), 16, 14, facecolor=FAINT, edgecolor="white", lw=0)
        axes.add_patch(frame)
        axes.text(212, 62, "dashed: moved", fontsize=SMALL, color=GREY)
