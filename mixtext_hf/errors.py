"""The errors of this package that are of a run, not of an argument."""

from __future__ import annotations


class RunError(Exception):
    """A run cannot go on, for a reason that its message tells in full: commands print that, and exit with status 1."""


class FolderInUse(RunError, ValueError):
    """Another process is writing to the folder."""
