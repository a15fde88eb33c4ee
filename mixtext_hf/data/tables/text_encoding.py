"""From the bytes of a file to its lines: what it is packed in, the encoding it is in, and where a byte does not fit.

Knows nothing about what the lines hold.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import logging
import lzma
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO


logger = logging.getLogger(__name__)

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
COMPRESSIONS = tuple(_OPENERS)

# The longer ones first: that of UTF-32 begins as that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LFS, IS_LFS = b"version https://git-lfs", "a pointer of Git LFS, not the file itself: get that by `git lfs pull`"
_NO_TEXT = {
    LFS: IS_LFS,
    b"PAR1": "a parquet file: give it the suffix .parquet",
    b"PK\x03\x04": "a zip archive or an Excel file: unpack it, or save the sheet as csv",
    b"\xd0\xcf\x11\xe0": "an Excel file: save the sheet as csv",
    b"\x1f\x8b": "packed by gzip: add .gz to its name",
    b"\xfd7zXZ\x00": "packed by xz: add .xz to its name",
}
_CHUNK = 1 << 20
_SAMPLE = 1 << 16
# Characters of some whole lines.
_BLOCK = 1 << 18


class Unreadable(ValueError):
    """What is wrong with the content of a file, in words that go on after its name."""


def check_encoding(encoding: str | None) -> None:
    """Raise `ValueError` if Python knows no encoding of texts of this name."""
    if encoding is None:
        return
    try:
        # Of no bytes at all, Python does not ask for the name.
        " ".encode(encoding)
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"`encoding` is {encoding!r}, which is no encoding: name one such as utf-8, latin-1, cp1252, utf-16 or gb18030."
        ) from error


@dataclass(frozen=True)
class TextSource:
    """
    A file of text, packed or not.

    Args:
        path (`Path`): Where it is.
        encoding (`str`): The one that it is read in.
        is_usual (`bool`): Whether that is UTF-8 without a mark.
    """

    path: Path
    encoding: str
    is_usual: bool

    @classmethod
    def of(cls, path: Path, encoding: str | None) -> TextSource:
        """The source at a path; `encoding` is that of files that do not begin with a mark of their own, UTF-8 if not given."""
        with unpacking(path) as file:
            start: bytes = file.read(_SAMPLE)
        for magic, what in _NO_TEXT.items():
            if start.startswith(magic):
                raise Unreadable(f"it is {what}")
        marked = next((name for mark, name in _MARKS if start.startswith(mark)), None)
        if encoding is not None and marked is None and _is_utf8(start):
            logger.warning(
                "%s: read as %s, as --encoding says, but its bytes are UTF-8. If letters come out wrong, leave --encoding out.",
                path,
                encoding,
            )
        return cls(path, marked or encoding or "utf-8", marked is None and encoding in (None, "utf-8"))

    @contextmanager
    def open(self, newline: str) -> Iterator[TextIO]:
        """
        The text; its lines end as `newline` says (see `io.TextIOWrapper`).

        Raises:
            [`Unreadable`]: if a byte does not fit the encoding, or the packed file is damaged.
        """
        try:
            with unpacking(self.path) as raw, io.TextIOWrapper(raw, encoding=self.encoding, newline=newline) as file:
                yield file
        except UnicodeDecodeError as error:
            raise Unreadable(self._where()) from error

    def sample(self) -> str:
        """The first characters, with line ends as they are."""
        with self.open("") as file:
            return file.read(_SAMPLE)

    def blocks(self) -> Iterator[str]:
        r"""Whole lines, many at once, with their ends; a line ends with `"\n"`."""
        with self.open("\n") as file:
            pieces: list[str] = []  # of a line that has not ended
            while text := file.read(_BLOCK):
                end = text.rfind("\n") + 1
                if end:
                    yield "".join([*pieces, text[:end]])
                    pieces.clear()
                pieces.append(text[end:])
            if rest := "".join(pieces):
                yield rest

    def _where(self) -> str:
        """Which byte does not fit, in words."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        ends: Counter[str] = Counter()
        with unpacking(self.path) as raw:
            while True:
                chunk = raw.read(_CHUNK)
                try:
                    read = decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    before = error.object[: error.start].decode(self.encoding, errors="replace")
                    ends.update({end: before.count(end) for end in "\n\r"})
                    # Old files have carriage returns alone.
                    line = 1 + (ends["\n"] or ends["\r"])
                    bad = error.object[error.start : error.start + 1].hex().upper()
                    return (
                        f"the byte 0x{bad} in line {line} is not {self.encoding.removesuffix('-sig')} ({error.reason}). Name the encoding "
                        "of the file by --encoding, such as latin-1 or cp1252 for western Europe, or save it as UTF-8"
                    )
                ends.update({end: read.count(end) for end in "\n\r"})
                if not chunk:
                    return f"its bytes are not {self.encoding}. Name the encoding of the file by --encoding"


@contextmanager
def unpacking(path: Path) -> Iterator[Any]:
    """
    The bytes of a file, unpacked.

    Raises:
        [`Unreadable`]: if it is not what its suffix says, or cut off.
    """
    suffix = path.suffix.lower()
    opener = _OPENERS.get(suffix)
    if opener is None:
        with path.open("rb") as file:
            yield file
        return
    try:
        with opener(path, "rb") as file:
            yield file
    except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        # Errors of the disk have a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Unreadable(
            f"what is packed in it is damaged, cut off or not {suffix[1:]} ({error}): fetch or pack it again"
        ) from error


def _is_utf8(start: bytes) -> bool:
    """Whether bytes are UTF-8 with letters outside ASCII; the last one may be cut."""
    if start.isascii():
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True
