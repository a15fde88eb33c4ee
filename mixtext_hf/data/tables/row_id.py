"""What a sampler asks a data set for when the order must be resumed and the rows change: a row, and which time round."""

from typing import NamedTuple


class RowId(NamedTuple):
    """
    A row of a batch: of which stream, which one, how often that stream has been shuffled anew by then, and how often the row has come
    since, where rows are drawn with replacement.
    """

    stream: int
    row: int
    round: int
    repeat: int = 0
