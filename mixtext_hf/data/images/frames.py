"""Which part of its image an augmented picture shows, and at which visit: what is kept of an image finds its way by them."""

from __future__ import annotations

from typing import NamedTuple


class Frame(NamedTuple):
    """A part of an image in units of its sides, which may reach beyond it; mirrored where the width is negative."""

    top: float
    left: float
    height: float
    width: float

    def then(self, other: Frame) -> Frame:
        """What a picture of this part shows of the image after it was framed again."""
        return Frame(
            self.top + self.height * other.top,
            self.left + self.width * other.left,
            self.height * other.height,
            self.width * other.width,
        )


WHOLE = Frame(0.0, 0.0, 1.0, 1.0)
