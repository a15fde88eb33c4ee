"""Pages that show a batch of a run as it enters the network: its rows, their partners, and the labels they get.

Knows arrays and strings, no method and no model. The row itself is blue, its partner vermillion, as A and B on the other pages.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .page import GAP, INK, LARGE, LINE, MARGIN, NORMAL, SMALL, Page
from .plots import BLUE, GREY, VERMILLION, _finish


# The columns of the row itself and of its partner, which are framed in their colours.
OWN, PARTNER = "own", "partner"
_SIDE, _LABELS, _TEXT = 152, 300, 760


@dataclass(frozen=True)
class Labels:
    """
    What a row is trained to be called.

    Args:
        own (`str`): The label of the row.
        weight (`float`): Its weight.
        partner (`str`, *optional*): The label of the partner, which gets the rest; `None` where there is none.
        about (`str`): Which row this is and which is its partner, in a few words.
        drawn (`str`): What was drawn for it.
    """

    own: str
    weight: float
    partner: str | None
    about: str
    drawn: str = ""


# Arrays have no truth value to compare by.
@dataclass(frozen=True, eq=False)
class ImageRow:
    """
    One row of a batch of images.

    Args:
        images (sequence of `np.ndarray` of shape `(H, W, 3)`, in `[0, 1]`, or `None`): What stands in each column, the row's own image
            first; `None` leaves a place empty.
        labels ([`Labels`]): What the mix is trained to be called.
        mask (`np.ndarray` of shape `(h, w)`, in `[0, 1]`, *optional*): The share of the own image at each place.
    """

    images: Sequence[np.ndarray | None]
    labels: Labels
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class TextRow:
    """One row of a batch of texts, its partner's text beside it if it has one, and their labels."""

    own: str
    labels: Labels
    partner: str | None = None


@dataclass(frozen=True)
class Words:
    """What stands around a page: its title, below that, and at its foot."""

    title: str
    about: str
    foot: str = field(default="")


def draw_image_batch(
    rows: Sequence[ImageRow], columns: Sequence[tuple[str, str]], path: str | os.PathLike[str], words: Words
) -> None:
    """
    Draws rows of a batch of images: each with its partner, the mix, the mask, and the labels.

    Args:
        rows (sequence of [`ImageRow`]): All with as many images.
        columns (sequence of two `str`): The name of each column, and a few words on it: of the images, then of the mask, if there is one.
        path (`str` or `os.PathLike`): Where to write the PNG.
        words ([`Words`]): Around it.
    """
    step, has_masks = _SIDE + GAP, any(row.mask is not None for row in rows)
    frames = {OWN: BLUE, PARTNER: VERMILLION} if PARTNER in dict(columns) else {}
    width = 2 * MARGIN + len(columns) * step + GAP + _LABELS
    page = Page(width, 44 + len(rows) * step, words.title, words.about, words.foot)
    if has_masks:
        page.key_of_masks((OWN, "", PARTNER))
    top = page.top + 44
    for column, (name, how) in enumerate(columns):
        page.head(MARGIN + column * step, top, name, how)
    right = MARGIN + len(columns) * step + GAP
    page.head(right, top, "labels", "their weights in the loss")
    for number, row in enumerate(rows):
        y = top + number * step
        for column, image in enumerate(row.images):
            if image is not None:
                page.image(MARGIN + column * step, y, _SIDE, image, frame=frames.get(columns[column][0]))
        if row.mask is not None:
            page.mask(MARGIN + len(row.images) * step, y, _SIDE, row.mask)
        draw_labels(page, right, y + 22, row.labels)
    _finish(page.figure, path)


def draw_text_batch(rows: Sequence[TextRow], path: str | os.PathLike[str], words: Words) -> None:
    """
    Draws rows of a batch of texts: each above its partner, and the labels beside them.

    Args:
        rows (sequence of [`TextRow`]): The rows.
        path (`str` or `os.PathLike`): Where to write the PNG.
        words ([`Words`]): Around it.
    """
    step = 5 * LINE + 22
    page = Page(2 * MARGIN + _TEXT + GAP + _LABELS, 44 + len(rows) * step, words.title, words.about, words.foot)
    top = page.top + 44
    page.head(MARGIN, top, "texts", "as the tokenizer cuts them: the row, and its partner below")
    right = MARGIN + _TEXT + GAP
    page.head(right, top, "labels", "their weights in the loss")
    for number, row in enumerate(rows):
        y = top + number * step
        for at, text, colour in ((y + 22, row.own, BLUE), (y + 22 + 2 * LINE + 8, row.partner, VERMILLION)):
            for line, part in enumerate(_cut(text or "", _TEXT // 10, 2)):
                page.text(MARGIN, at + line * LINE, part, size=NORMAL, color=colour)
        draw_labels(page, right, y + 22, row.labels)
    _finish(page.figure, path)


def draw_labels(page: Page, x: float, y: float, labels: Labels) -> None:
    """Which row it is, a bar of the weights, and the labels below it."""
    page.text(x, y, labels.about, size=SMALL, color=GREY)
    page.weight_bar(x, y + 12, _LABELS, labels.weight)
    below = y + 12 + 36
    names = ((labels.weight, labels.own, BLUE), (1 - labels.weight, labels.partner, VERMILLION))
    for weight, name, colour in names:
        if name is not None:
            page.text(x, below, f"{weight:.2f}", size=LARGE, color=colour, weight="bold")
            page.text(x + 62, below, _cut(name, 24, 1)[0], size=LARGE, color=INK)
            below += 26
    page.text(x, y + 12 + 36 + 2 * 26, labels.drawn, size=SMALL, color=GREY)


def _cut(text: str, width: int, lines: int) -> list[str]:
    """A text in at most so many lines of so many characters."""
    return textwrap.wrap(" ".join(text.split()), width, max_lines=lines, placeholder=" …") or [""]
