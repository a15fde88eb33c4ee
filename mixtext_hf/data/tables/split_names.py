"""What people call the splits of a data set, in lower case: the names of files, of folders and of splits on the Hub."""

from __future__ import annotations


SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development"),
    "test": ("test", "testing", "eval", "evaluation"),
}
KINDS = {name: kind for kind, names in SPLIT_NAMES.items() for name in names}
"""Which split each name is of."""
