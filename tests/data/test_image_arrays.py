import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from mixtext_hf.data.images.arrays import to_array


GREY = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
RGB = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(GREY), GREY[..., None]),
        (Image.fromarray(RGB), RGB),
        (GREY, GREY[..., None]),
        (GREY[..., None], GREY[..., None]),
        (RGB, RGB),
        (RGB.tolist(), RGB),
        (GREY.tolist(), GREY[..., None]),
        (encoded(Image.fromarray(RGB)), RGB),
        ({"bytes": encoded(Image.fromarray(GREY)), "path": None}, GREY[..., None]),
    ],
    ids=["L", "RGB", "2-D", "3-D", "RGB array", "list", "grey list", "bytes", "stored"],
)
def test_every_form_of_an_image(image, expected):
    array = to_array(image)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)


def test_a_path_is_read(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    np.testing.assert_array_equal(to_array({"path": str(tmp_path / "a.png"), "bytes": None}), RGB)


def test_palettes_and_alpha_become_rgb_and_grey_stays_grey():
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(to_array(palette), np.asarray(palette.convert("RGB")))
    alpha = np.concatenate([RGB, np.zeros((5, 4, 1), dtype=np.uint8)], axis=-1)
    np.testing.assert_array_equal(to_array(Image.fromarray(alpha, "RGBA")), RGB)
    la = np.stack([GREY, np.full_like(GREY, 7)], axis=-1)
    np.testing.assert_array_equal(to_array(Image.fromarray(la, "LA")), GREY[..., None])
    bits = Image.fromarray(GREY).convert("1")
    assert set(np.unique(to_array(bits))) <= {0, 255} and to_array(bits).shape == (3, 4, 1)
    assert to_array(Image.fromarray(RGB).convert("CMYK")).shape == RGB.shape


@pytest.mark.filterwarnings("error")
def test_palettes_with_transparency_warn_nobody():
    transparent = Image.fromarray(RGB).quantize(4)
    transparent.info["transparency"] = b"\x00\xff\xff\xff"
    np.testing.assert_array_equal(to_array(transparent), np.asarray(transparent.convert("RGBA").convert("RGB")))


def test_bytes_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    turned = encoded(Image.fromarray(RGB), exif=exif)
    np.testing.assert_array_equal(to_array(turned), np.rot90(RGB, k=-1))
    # An image that somebody opened, and one that was turned by `datasets` already.
    opened = Image.open(io.BytesIO(turned))
    np.testing.assert_array_equal(to_array(opened), np.rot90(RGB, k=-1))
    np.testing.assert_array_equal(to_array(ImageOps.exif_transpose(opened)), np.rot90(RGB, k=-1))


def test_more_channels_than_three_are_kept():
    assert to_array(np.zeros((6, 7, 4), dtype=np.uint8)).shape == (6, 7, 4)
    assert to_array(np.zeros((6, 7, 13), dtype=np.uint8)).shape == (6, 7, 13)
    assert to_array(np.zeros((3, 4, 3), dtype=np.uint8)).shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4, 3), dtype=np.float32), r"array of float32.*give uint8.*\* 255.*pixel_values"),
        (np.zeros((4, 4), dtype=np.uint16), "array of uint16"),
        (np.zeros((4, 4), dtype=bool), "array of bool"),
        ([[0.5, 0.5]], "array of float64"),
        ([[0, 256]], "numbers from 0 to 256: they must lie in 0..255"),
        ([[-1, 5]], "numbers from -1"),
        ([[1, 2], [3]], "rows differ in length"),
        (np.zeros(5, dtype=np.uint8), r"shape \(5,\): it must be"),
        (np.zeros((3, 32, 32), dtype=np.uint8), r"channels seem to come first.*transpose\(1, 2, 0\)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), "no pixels"),
        ([], "must be"),
        (Image.fromarray(np.zeros((4, 4), dtype=np.int32)), "mode 'I', 32 bits"),
        (Image.fromarray(np.zeros((4, 4), dtype=np.float32)), "mode 'F', 32 bits"),
        (b"no image", "cannot be read"),
        (encoded(Image.fromarray(RGB))[:60], "cannot be read"),
        ({"bytes": None, "path": None}, "neither 'bytes' nor 'path'"),
        ({"bytes": None, "path": "/nowhere.png"}, r"cannot be read.*/nowhere\.png"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_image_of_8_bits_is_refused(image, said):
    with pytest.raises(ValueError, match=said):
        to_array(image)


@pytest.mark.parametrize(("image", "said"), [(None, r"missing \(None\)"), ("a.png", "is a str"), (3, "is a int")])
def test_what_is_no_image_at_all_is_refused(image, said):
    with pytest.raises(TypeError, match=f"{said}.*must be a PIL image"):
        to_array(image)
