"""Folders of images of every kind, whole and broken, made from a seed, and what must come of them:

    python tests/dirty_images.py --count 1000

Either the splits, classes and pixels that were written, or one error of ours that names what is wrong and the remedy.
"""

from __future__ import annotations

import argparse
import io
import logging
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image, ImageOps

from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.data.images.datasets import load_image_datasets
from mixtext_hf.models.embedded import small_image_processor


Rng = np.random.Generator


@dataclass
class Made:
    """
    A file, and what it holds.

    Args:
        content (`bytes`): Of the file.
        suffix (`str`): Of its name.
        pixels (`np.ndarray`, *optional*): What must be read, `None` if the file must be named as broken.
        may_fail (`bool`): Whether it may be named although something can be read.
    """

    content: bytes
    suffix: str
    pixels: np.ndarray | None
    may_fail: bool = False


def pixels(rng: Rng, channels: int, high: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    height, width = rng.integers(1, 40, 2)
    shape = (height, width) if channels == 1 else (height, width, channels)
    return rng.integers(0, high, shape).astype(dtype)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read_by_pil(content: bytes, mode: str) -> np.ndarray:
    """The first frame upright, as PIL itself converts it."""
    with Image.open(io.BytesIO(content)) as image:
        array = np.asarray(ImageOps.exif_transpose(image).convert(mode))
    return array[..., None] if array.ndim == 2 else array


# ---- images that are right ----


def rgb(rng: Rng) -> Made:
    array = pixels(rng, 3)
    kind, suffix = [("PNG", ".png"), ("BMP", ".bmp"), ("TIFF", ".tif"), ("PPM", ".ppm"), ("WEBP", ".webp")][
        rng.integers(5)
    ]
    return Made(saved(Image.fromarray(array), kind, **({"lossless": True} if kind == "WEBP" else {})), suffix, array)


def grey(rng: Rng) -> Made:
    array = pixels(rng, 1)
    kind, suffix = [("PNG", ".PNG"), ("BMP", ".bmp"), ("TIFF", ".TIFF"), ("PPM", ".pgm")][rng.integers(4)]
    return Made(saved(Image.fromarray(array), kind), suffix, array[..., None])


def with_alpha(rng: Rng) -> Made:
    if rng.random() < 0.5:
        array = pixels(rng, 4)
        return Made(saved(Image.fromarray(array, "RGBA"), "PNG"), ".png", array[..., :3])
    array = pixels(rng, 2)
    return Made(saved(Image.fromarray(array, "LA"), "PNG"), ".png", array[..., :1])


def deep(rng: Rng) -> Made:
    array = pixels(rng, 1, 65536, np.uint16)
    kind, suffix = [("PNG", ".png"), ("TIFF", ".tif")][rng.integers(2)]
    return Made(saved(Image.fromarray(array), kind), suffix, np.rint(array / 257).astype(np.uint8)[..., None])


def one_bit(rng: Rng) -> Made:
    array = pixels(rng, 1, 2).astype(bool)
    return Made(saved(Image.fromarray(array), "PNG"), ".png", array[..., None].astype(np.uint8) * 255)


def palette(rng: Rng) -> Made:
    image = Image.fromarray(pixels(rng, 3)).quantize(int(rng.integers(2, 256)))
    kind, suffix = [("PNG", ".png"), ("GIF", ".gif")][rng.integers(2)]
    options = {"transparency": 0} if rng.random() < 0.5 else {}
    return Made(saved(image, kind, **options), suffix, np.asarray(image.convert("RGB")))


def animated(rng: Rng) -> Made:
    first = Image.fromarray(pixels(rng, 3)).quantize(16)
    frames = [Image.new("P", first.size, shade) for shade in (1, 2)]
    content = saved(first, "GIF", save_all=True, append_images=frames)
    return Made(content, ".gif", read_by_pil(content, "RGB"))


def jpeg(rng: Rng) -> Made:
    mode = ("RGB", "L", "CMYK")[rng.integers(3)]
    image = Image.fromarray(pixels(rng, 3)).convert(mode)
    exif = Image.Exif()
    if rng.random() < 0.5:
        exif[0x0112] = int(rng.integers(1, 9))
    content = saved(image, "JPEG", progressive=bool(rng.random() < 0.3), exif=exif)
    return Made(
        content, (".jpg", ".JPEG", ".jfif")[rng.integers(3)], read_by_pil(content, "L" if mode == "L" else "RGB")
    )


def wrong_suffix(rng: Rng) -> Made:
    made = (rgb, grey, jpeg, palette)[rng.integers(4)](rng)
    made.suffix = (".jpg", ".png", ".bmp", ".gif", ".tiff")[rng.integers(5)]
    return made


# ---- images that are not ----


def zero_bytes(rng: Rng) -> Made:
    return Made(b"", ".png", None)


def garbage(rng: Rng) -> Made:
    content = rng.bytes(int(rng.integers(1, 500)))
    start = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF", b"II*\0", b"BM", b"P6 ")[
        rng.integers(8)
    ]
    return Made(start + content, (".png", ".jpg", ".gif", ".webp", ".bmp", ".tif")[rng.integers(6)], None)


def text(rng: Rng) -> Made:
    return Made(b"<html>404 not found</html>", (".jpg", ".png", ".gif")[rng.integers(3)], None)


def unread_kind(rng: Rng) -> Made:
    return (Made(b"<svg></svg>", ".svg", None), Made(b"\0\0\0\x18ftypheic\0\0", ".HEIC", None))[rng.integers(2)]


def boundless(rng: Rng) -> Made:
    mode = ("F", "I", "LAB")[rng.integers(3)]
    return Made(saved(Image.new(mode, (5, 4)), "TIFF"), ".tif", None)


def bomb(rng: Rng) -> Made:
    side = int(rng.integers(9_500, 60_000))
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return Made(content + b"\0\0\0\0IDAT", ".png", None)


def cut_short(rng: Rng) -> Made:
    made = (rgb, grey, palette, jpeg, deep)[rng.integers(5)](rng)
    keep = int(rng.integers(1, len(made.content)))
    # What is left may hold all the pixels.
    return Made(made.content[:keep], made.suffix, made.pixels, may_fail=True)


def flipped_bits(rng: Rng) -> Made:
    """Of a PNG, whose pieces have check sums."""
    array = pixels(rng, 3)
    content = bytearray(saved(Image.fromarray(array), "PNG"))
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return Made(bytes(content), ".png", array, may_fail=True)


RIGHT: tuple[Callable[[Rng], Made], ...] = (
    rgb,
    grey,
    with_alpha,
    deep,
    one_bit,
    palette,
    animated,
    jpeg,
    wrong_suffix,
)
WRONG: tuple[Callable[[Rng], Made], ...] = (
    zero_bytes, garbage, text, unread_kind, boundless, bomb, cut_short, flipped_bits,
)  # fmt: skip

# ---- layouts: from the place of a file to its split and class ----

Place = tuple[str, str | None]


def layouts(rng: Rng) -> tuple[dict[str, Place], str | None]:
    """The folders of a layout, as `{folder: (split, class)}`, or what an error must say of it."""
    a, b, c = (str(name) for name in rng.permutation(["cat", "dog", "a b", "Éclair", "0", "10", "no", "NA"])[:3])
    train = str(rng.choice(["train", "Training", "TRAIN", "train_images", "trainset"]))
    test = str(rng.choice(["test", "Testing", "eval", "test set"]))
    valid = str(rng.choice(["val", "Valid", "validation", "DEV"]))
    deep = str(rng.choice(["", "/2023", "/x/y"]))
    split: dict[str, Place] = {f"{train}/{a}{deep}": ("train", a), f"{train}/{b}": ("train", b)}
    kinds: list[tuple[dict[str, Place], str | None]] = [
        ({a: ("train", a), b + deep: ("train", b), c: ("train", c)}, None),
        (split, None),
        ({**split, f"{test}/{a}": ("test", a), f"{test}/{b}{deep}": ("test", b)}, None),
        ({**split, test: ("test", None)}, None),
        ({**split, f"{valid}/{b}": ("validation", b), f"{test}/images": ("test", None)}, None),
        ({f"archive/{folder}": place for folder, place in split.items()}, None),
        ({a: ("train", a), b: ("train", b), train: ("train", train), valid: ("train", valid)}, None),
        ({a: ("train", a), b: ("train", b), test: ("test", None)}, "which may be classes"),
        ({**split, c: ("train", c)}, "which may be classes"),
        ({**split, f"{test}/{a} ": ("test", a)}, "differ by case or blanks"),
        ({train + "/" + a: ("train", a)}, "a single class"),
        ({**split, train: ("train", None)}, "beside the folders of classes"),
        ({**split, f"{test}/{c}": ("test", c)}, "labels that the training split does not have"),
    ]
    wants_error = rng.random() < 0.15
    fitting = [kind for kind in kinds if (kind[1] is not None) == wants_error]
    return fitting[rng.integers(len(fitting))]


def other_files(root: Path, folder: str, rng: Rng) -> None:
    for name in rng.permutation(["Thumbs.db", ".DS_Store", "notes.txt", "._1.png", ".hidden.jpg", "label.xml"])[:2]:
        (root / folder / str(name)).write_bytes(b"x")


# ---- a case ----


def one_case(seed: int, root: Path) -> Counter[str]:
    """
    Make a folder, load it, and see that what comes of it is right.

    Returns:
        `Counter[str]`: images by what became of them.

    Raises:
        `AssertionError`: if it is wrong; of any other error, that it is no word of ours.
    """
    rng = np.random.default_rng([seed, 77])
    folders, refusal = layouts(rng)
    made: dict[str, tuple[Made, Place]] = {}
    is_clean = rng.random() < 0.4
    for folder, place in folders.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(int(rng.integers(1, 5))):
            # One of a class is right, so that leaving the others out leaves all classes.
            kind = RIGHT if i == 0 or is_clean or rng.random() < 0.5 else WRONG
            file = kind[rng.integers(len(kind))](rng)
            path = root / folder / f"{i}{file.suffix}"
            path.write_bytes(file.content)
            made[str(path)] = (file, place)
        if rng.random() < 0.3:
            other_files(root, folder, rng)
    how = ("headers", "full")[rng.integers(2)]
    settings: dict[str, Any] = {"dataset_name": str(root), "check_images": how}
    if refusal is not None:
        message = _error(settings | {"skip_broken_images": True})
        assert message is not None and refusal in message, (seed, refusal, message)
        return Counter({"refused layout": len(made)})
    found: Counter[str] = Counter()
    broken = {path for path, (file, _) in made.items() if file.pixels is None}
    doubtful = {path for path, (file, _) in made.items() if file.may_fail}
    message = _error(settings)
    if message is not None:
        assert "images cannot be used" in message and "skip_broken_images" in message, (seed, message)
        named = {path for path in made if f"{path} (" in message}
        assert named <= broken | doubtful, (seed, named - broken - doubtful, message)
        if len(broken | doubtful) <= 10:
            assert broken <= named, (seed, broken - named, message)
        found["broken, named"] = len(broken | named)
    else:
        assert not broken, (seed, broken)
    data = load_image_datasets(**settings, skip_broken_images=True)
    left = _check(seed, data, made, broken, doubtful)
    found["right pixels"] = left
    found["broken, named"] = len(made) - left
    return found


def _error(settings: dict[str, Any]) -> str | None:
    try:
        load_image_datasets(**settings)
    except (ValueError, FileNotFoundError) as error:
        assert settings["dataset_name"] in str(error) or "split" in str(error), error
        return str(error)
    return None


def _check(seed: int, data: Any, made: dict[str, tuple[Made, Place]], broken: set[str], doubtful: set[str]) -> int:
    collate = ImageCollator(small_image_processor((8, 8), 3), num_channels=3)
    left = set()
    for name, split in data.by_name().items():
        stored = split.cast_column("image", datasets.Image(decode=False))
        for row, decoded in zip(stored, split, strict=True):
            path = row["image"]["path"]
            file, place = made[path]
            label = row.get("label")
            assert place == (name, None if label is None else data.label_names[label]), (
                seed,
                path,
                place,
                name,
                label,
            )
            assert file.pixels is not None, (seed, path)
            np.testing.assert_array_equal(to_array(decoded["image"]), file.pixels, err_msg=f"{seed} {path}")
            assert bool(collate([decoded])["pixel_values"].isfinite().all()), (seed, path)
            left.add(path)
    missing = set(made) - left
    assert broken <= missing <= broken | doubtful, (seed, missing)
    return len(left)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="How many images, at least.")
    parser.add_argument("--seed", type=int, default=0, help="Of the first folder.")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    datasets.disable_progress_bars()
    total: Counter[str] = Counter()
    seed, failed = args.seed, 0
    while sum(total.values()) < args.count:
        with tempfile.TemporaryDirectory() as folder:
            try:
                total += one_case(seed, Path(folder) / "images")
            except Exception as error:
                failed += 1
                total["WRONG"] += 1
                print(f"seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
        seed += 1
    told = ", ".join(f"{outcome} {count}" for outcome, count in sorted(total.items()))
    print(f"{sum(total.values())} images in {seed - args.seed} folders: {told}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
