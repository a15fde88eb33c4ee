"""Images in one form, whatever a data set holds them in: uint8 arrays `(H, W, C)`, a grey image with one channel."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError


# Modes of PIL whose values say how bright a pixel is in 8 bits; all others of 8 bits become RGB.
_GREY = ("1", "L", "LA")
# 16 bits without a sign: their largest number is white, as PNG and TIFF have it.
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
_WHITE_OF_DEEP = 2**16 - 1
# Nothing says which number is white in these.
_BOUNDLESS = ("I", "F")
# PIL makes no RGB of these.
_NO_COLOURS = ("LAB",)
_ORIENTATION = 0x0112
MAX_PIXELS = 89_478_485
"""The most pixels of an image: what is larger is no picture to train on, or a trap (PIL warns from this number on)."""
# What an image may have, for telling whether the channels come first or last.
_USUAL_CHANNELS = (1, 3, 4)


def to_array(image: Any) -> np.ndarray:
    """
    The pixels of an image.

    Args:
        image (`PIL.Image.Image`, `np.ndarray`, `list`, `bytes` or `dict`):
            - PIL images: grey ones (modes `1`, `L`, `LA`) get one channel; all other modes, palettes (`P`) and CMYK among
              them, become RGB. An alpha channel is dropped, as pipelines of transformers do: what is transparent shows the
              colour that lies beneath. Turned upright as their EXIF orientation says.
            - arrays: uint8, `(H, W)` or `(H, W, C)`, any number of channels. Nested lists of integers from 0 to 255,
              which is what `datasets` makes of arrays, are the same.
            - bytes of an image file, or a dict `{"bytes", "path"}` as `datasets` stores images; turned upright as its
              EXIF orientation says, as `datasets` does. Of several frames the first is taken.

            Grey images of 16 bits are brought to 8: 65535 is white, and numbers are divided by 257 and rounded.

    Returns:
        `np.ndarray` of shape `(H, W, C)` and dtype uint8. It may share memory with the image: do not write into it.

    Raises:
        `TypeError`: if it is none of these.
        `ValueError`: if it cannot be read, has more than [`MAX_PIXELS`] pixels, or holds other numbers than 0 to 255:
            floats, 32 bits and arrays of 16 bits are refused, because nothing in them says which number is white.
    """
    if isinstance(image, Mapping):
        image = _of_file(image)
    elif isinstance(image, bytes):
        image = _decode(io.BytesIO(image))
    if isinstance(image, Image.Image):
        array = _of_pil(image)
    elif isinstance(image, np.ndarray | list):
        array = _of_numbers(image)
    else:
        raise TypeError(
            f"an image is {'missing (None)' if image is None else f'a {type(image).__name__}'}: it must be a PIL image, a "
            "uint8 array (H, W, C), or the bytes of an image file."
        )
    if array.size == 0:
        raise ValueError(f"the image has no pixels, its shape is {array.shape}: remove it.")
    return array


def _of_file(stored: Mapping[str, Any]) -> Image.Image:
    content, path = stored.get("bytes"), stored.get("path")
    if content is None and path is None:
        raise ValueError(f"an image has neither 'bytes' nor 'path', only {sorted(stored)}: remove it.")
    return _decode(path if content is None else io.BytesIO(content))


def _decode(file: Any) -> Image.Image:
    if isinstance(file, str) and is_remote(file):
        raise ValueError(f"the image is elsewhere, {file!r}, and nothing is fetched by this name: download it first.")
    try:
        image = Image.open(file)
        check_pixels(image)
        image.load()
        return ImageOps.exif_transpose(image)
    except Exception as error:  # see `reading_error`
        why = reading_error(error)
        if isinstance(file, str) and file not in why:
            why = f"{file}: {why}"
        raise ValueError(f"the image cannot be read ({why}): remove or replace it.") from error


def is_remote(path: str) -> bool:
    """Whether a path is a URL, or one of the chains that `datasets` would follow (`zip://a.png::https://...`)."""
    return "://" in path or path.startswith("data:")


def check_pixels(image: Image.Image) -> None:
    """Raise `ValueError` for an image of more than [`MAX_PIXELS`] pixels."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"the image has {width} x {height} pixels, more than the {MAX_PIXELS:,} pixels allowed: make it smaller, or remove it."
        )


def reading_error(error: Exception) -> str:
    """
    What PIL says of a file that is none of its images, in a few words.

    Files that are broken make its decoders raise nearly anything (`OSError`, `SyntaxError`, `struct.error`, `EOFError`,
    `DecompressionBombError` ...): who opens or decodes one takes every `Exception` for a broken file.
    """
    if isinstance(error, UnidentifiedImageError):
        return "it cannot be identified as an image"
    if isinstance(error, Image.DecompressionBombError):
        # "Image size (900000000 pixels) exceeds limit of ...", and its limit is not ours.
        size = str(error).split(" exceeds")[0]
        return f"{size}: more than the {MAX_PIXELS:,} pixels allowed, make it smaller, or remove it"
    return (
        str(error)
        if isinstance(error, OSError | SyntaxError | TypeError | ValueError)
        else f"{type(error).__name__}: {error}"
    )


def is_deep(image: Image.Image) -> bool:
    """Whether an image is grey with 16 bits. PIL below 11.3 opens such a PNG in the mode `I`, as it does other things."""
    return image.mode in _DEEP or (image.mode == "I" and image.format == "PNG")


def has_alpha(image: Image.Image) -> bool:
    """Whether an image says how transparent its pixels are, or which colour is transparent."""
    return image.mode.lower() in ("rgba", "la", "pa") or "transparency" in image.info


def check_mode(image: Image.Image) -> None:
    """Raise `ValueError` for an image of a mode that cannot be brought to 8 bits, grey or RGB."""
    if image.mode in _BOUNDLESS and not is_deep(image):
        raise ValueError(
            f"the image has the mode {image.mode!r}, 32 bits a pixel, and nothing says which number is white: scale it to "
            "0..255 and save it with 8 bits."
        )
    if image.mode in _NO_COLOURS:
        raise ValueError(f"the image has the mode {image.mode!r}: save it as RGB.")


def _of_pil(image: Image.Image) -> np.ndarray:
    check_pixels(image)
    check_mode(image)
    deep = is_deep(image)  # what turns an image forgets its format
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if deep:
        levels = np.asarray(image).astype(np.float64) * (255 / _WHITE_OF_DEEP)
        return np.rint(levels).astype(np.uint8)[..., None]
    wanted = "L" if image.mode in _GREY else "RGB"
    if image.mode != wanted:
        # By way of RGBA: PIL warns of palettes with transparency otherwise.
        image = (image.convert("RGBA") if "transparency" in image.info else image).convert(wanted)
    array = np.asarray(image)
    return array[..., None] if array.ndim == 2 else array


def _of_numbers(image: np.ndarray | list[Any]) -> np.ndarray:
    try:
        array = np.asarray(image)
    except ValueError as error:
        raise ValueError("an image is a list whose rows differ in length: all must have as many pixels.") from error
    if isinstance(image, list) and np.issubdtype(array.dtype, np.integer) and array.size:
        # `datasets` gives lists for arrays, and their type is lost.
        if array.min() < 0 or array.max() > 255:
            raise ValueError(f"the image holds numbers from {array.min()} to {array.max()}: they must lie in 0..255.")
        array = array.astype(np.uint8)
    if array.dtype != np.uint8 and array.size:
        raise ValueError(
            f"the image is an array of {array.dtype}, and nothing says which number is white: give uint8, 0 to 255 (of "
            "floats in [0, 1], `(image * 255).round().astype('uint8')`); pixels that are ready for the model belong into "
            "a column 'pixel_values'."
        )
    if array.ndim not in (2, 3):
        raise ValueError(f"the image is an array of shape {array.shape}: it must be (H, W) or (H, W, C).")
    if array.ndim == 2:
        return array[..., None]
    if array.shape[0] in _USUAL_CHANNELS and array.shape[2] not in _USUAL_CHANNELS:
        raise ValueError(
            f"the image is an array of shape {array.shape}, its channels seem to come first: they must come last, "
            "`image.transpose(1, 2, 0)`."
        )
    return array
