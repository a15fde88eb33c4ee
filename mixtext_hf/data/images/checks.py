"""All image files are looked at before training: whether each is there, is an image, is whole, and is not absurdly large.

Headers always: a file is opened, its pixels are counted, and whether it ends too early is seen where its format says so
cheaply. What cannot be told so is decoded. Files that cannot be used are named together, with the reason of each.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import datasets
from datasets import Dataset
from PIL import Image

from .arrays import check_mode, check_pixels, has_alpha, is_deep, is_remote, reading_error
from .folders import NOT_READ


logger = logging.getLogger(__name__)

CheckImages = Literal["headers", "full"]
CHECK_IMAGES_HELP = "How image files are looked at before: 'headers', or 'full' decodes them all."
_SHOWN = 10
_ROWS_AT_ONCE = 1000
# More files than these take a while, and somebody may wonder.
_MANY = 20_000
# Where the marker of the end is looked for: cameras write some bytes behind it.
_TAIL = 4096
_END_OF_JPEG = b"\xff\xd9"


def skip_broken_argument() -> Any:
    """The field `skip_broken_images` of the arguments of a command that reads images."""
    said = "Leave out images that cannot be used, and say which, instead of stopping."
    return field(default=False, metadata={"help": said})


@dataclass(frozen=True)
class _Look:
    """What a look at a file found: why it cannot be used, or what is to be said of it."""

    reason: str | None = None
    said: tuple[str, ...] = ()


class _Bytes(io.RawIOBase):
    """Bytes as a file, read where they lie: of a large memory-mapped table only what is looked at comes from the disk."""

    def __init__(self, content: Any):
        self.content, self.at = memoryview(content), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self.at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: len(self.content)}[whence])
        return self.at

    def readinto(self, buffer: Any) -> int:
        piece = self.content[self.at : self.at + len(buffer)]
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)


def look_at_images(
    splits: Mapping[str, Dataset], column: str, *, how: CheckImages = "headers", skip_broken: bool = False
) -> tuple[dict[str, Dataset], dict[str, int]]:
    """
    Look at the images of all splits.

    Args:
        splits (`Mapping[str, Dataset]`): By name; those whose column is no `datasets.Image` (arrays) are left as they are.
        column (`str`): Of the images.
        how (`str`, *optional*, defaults to `"headers"`): `"full"` decodes every image.
        skip_broken (`bool`, *optional*, defaults to `False`): Leave broken images out, and say which.

    Returns:
        `tuple[dict[str, Dataset], dict[str, int]]`: the splits, and how many images were left out of each that lost some.

    Raises:
        `ValueError`: if there are images that cannot be used and `skip_broken` is `False`, if no others are left, or if a row
            names a URL.
    """
    if how not in ("headers", "full"):
        raise ValueError(f"`check_images` is {how!r}: it must be 'headers' or 'full' (every image is decoded).")
    in_files = {name: split for name, split in splits.items() if isinstance(split.features[column], datasets.Image)}
    total = sum(map(len, in_files.values()))
    if total > _MANY:
        logger.info("Looking at %d images.", total)
    broken: dict[str, dict[int, str]] = {}
    said: Counter[str] = Counter()
    # Warnings are the business of the whole process: not within the threads. What is too large is refused below.
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        warnings.simplefilter("ignore")
        for name, split in in_files.items():
            broken[name] = {}
            for batch in _batches(split, column, name):
                looks = pool.map(lambda item: _look(item[1], item[2], how), batch)
                for (row, path, _), look in zip(batch, looks, strict=True):
                    if look.reason is not None:
                        where = f"row {row} of the split {name!r}"
                        broken[name][row] = f"{where if path is None else f'{path} ({where})'}: {look.reason}"
                    said.update(look.said if look.reason is None else ())
    _say(said)
    lines = [line for of_split in broken.values() for line in of_split.values()]
    if not lines:
        return dict(splits), {}
    # A command makes one line of it.
    shown = ";\n".join(f"  {line}" for line in lines[:_SHOWN])
    more = f";\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    if not skip_broken:
        raise ValueError(
            f"{len(lines)} of {total} images cannot be used:\n{shown}{more}.\nReplace or remove them, or leave them out by "
            "--skip_broken_images True (skip_broken_images=True)."
        )
    logger.warning("%d of %d images cannot be used and are left out:\n%s%s", len(lines), total, shown, more)
    kept = dict(splits)
    for name, of_split in broken.items():
        if len(of_split) == len(splits[name]):
            raise ValueError(
                f"No image of the split {name!r} can be used:\n{shown}{more}.\nName other images, or another --image_column."
            )
        if of_split:
            kept[name] = splits[name].select([row for row in range(len(splits[name])) if row not in of_split])
    return kept, {name: len(of_split) for name, of_split in broken.items() if of_split}


def image_sizes(split: Dataset, column: str) -> Iterator[tuple[int, int]]:
    """Height and width of the image of each row of a column of `datasets.Image`, as its header has them: none is decoded."""
    for batch in _batches(split, column, "train"):
        for _, path, content in batch:
            file: Any = str(path) if content is None else _Bytes(content)
            with Image.open(file) as image:
                yield image.height, image.width


def _batches(split: Dataset, column: str, name: str) -> Iterator[list[tuple[int, str | None, Any]]]:
    """Row, path and encoded bytes of each image; bytes are looked at where they lie, not copied."""
    stored = split.select_columns([column]).with_format("arrow")
    for start in range(0, len(split), _ROWS_AT_ONCE):
        values = stored[start : start + _ROWS_AT_ONCE][column].combine_chunks()
        contents, paths = values.field("bytes"), values.field("path").to_pylist()
        batch = []
        for i, path in enumerate(paths):
            content = contents[i].as_buffer() if contents[i].is_valid else None
            if content is None and path is not None and is_remote(path):
                raise ValueError(
                    f"Row {start + i} of the split {name!r} names an image elsewhere, {path!r}, and nothing is fetched by this "
                    "name: download the images first, and put the paths of the files into the column."
                )
            batch.append((start + i, path, content))
        yield batch


def _look(path: str | None, content: Any, how: CheckImages) -> _Look:
    try:
        if content is not None:
            return _look_at(_Bytes(content), path, how)
        if path is None:
            return _Look("there is neither a path nor the bytes of an image")
        with open(path, "rb") as file:
            return _look_at(file, path, how)
    except FileNotFoundError:
        return _Look("there is no such file")
    except IsADirectoryError:
        return _Look("it is a folder")
    except (OSError, ValueError) as error:
        return _Look(str(error))


def _look_at(file: Any, path: str | None, how: CheckImages) -> _Look:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        return _Look("the file is empty (0 bytes)")
    suffix = os.path.splitext(path or "")[1].lower()
    try:
        image = Image.open(file)
    except Exception as error:  # see `reading_error`
        if suffix in NOT_READ:
            return _Look(f"images of the kind {suffix} are not read: convert it to PNG or JPEG")
        return _Look(reading_error(error))
    with image:
        check_pixels(image)
        found = _Look(None, tuple(_changes(image)))
        check_mode(image)
        if how == "full" or not _seems_whole(image, file, size):
            # What `_seems_whole` has read of it is used up.
            file.seek(0)
            try:
                Image.open(file).load()
            except Exception as error:  # see `reading_error`
                return _Look(reading_error(error))
    return found


def _seems_whole(image: Image.Image, file: Any, size: int) -> bool:
    """Whether a file is as long as its format says; `False` too where only decoding tells."""
    if image.format == "PNG":
        try:
            # Reads all pieces and their check sums, and decodes none.
            image.verify()
        except Exception:  # decoding says what is wrong
            return False
        return True
    if image.format in ("JPEG", "MPO"):
        file.seek(max(0, size - _TAIL))
        return _END_OF_JPEG in file.read()
    if image.format == "WEBP":
        file.seek(4)
        return size >= int.from_bytes(file.read(4), "little") + 8
    return False


def _changes(image: Image.Image) -> Iterator[str]:
    """What is not taken of an image as it is: keys of `_SAID`."""
    if is_deep(image):
        yield "deep"
    elif any(";16" in str(piece[-1]) for piece in getattr(image, "tile", ())):
        yield "deep colours"
    # Two pictures of one scene, or a preview: the first is what a person sees.
    if image.format != "MPO" and getattr(image, "is_animated", False):
        yield "frames"
    if has_alpha(image):
        yield "alpha"
    if image.mode == "CMYK":
        yield "print"


# In the order in which it is said.
_SAID = {
    "deep": "Grey images with 16 bits a pixel: %d. 65535 is taken for white, and they are brought to 8 bits (divided by 257). "
    "If their white is another number, as that of 12 bits is 4095, scale them before.",
    "deep colours": "Images with 16 bits a colour: %d. The 8 higher bits are taken.",
    "frames": "Images with several frames: %d. The first of each is taken.",
    "alpha": "Images with an alpha channel or a transparent colour: %d. It is left out, as pipelines of transformers do: what is "
    "transparent shows the colour that lies beneath, which nobody sees and which is often black. If that matters, put them on "
    "a background before.",
    "print": "Images in the colours of print (CMYK): %d. They are brought to RGB without a colour profile.",
}


def _say(said: Counter[str]) -> None:
    for kind, sentence in _SAID.items():
        if said[kind]:
            logger.warning(sentence, said[kind])
