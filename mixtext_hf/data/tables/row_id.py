"""What a sampler asks a data set for when the order must be resumed and the rows change: a row, and which time round."""

from typing import NamedTuple


class RowId(NamedTuple):
    """A row of a batch: of which stream, which one, and how often that stream has been shuffled anew by then."""

    stream: int
    row: int
    round: int
