"""Corruptions: values by hand, distributions of noise, and what holds for every image, name and severity."""

from __future__ import annotations

import colorsys
import io
from itertools import pairwise

import numpy as np
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mixtext_hf.evaluation.robustness import corruptions
from mixtext_hf.evaluation.robustness.corruptions import CORRUPTIONS, LARGE, SEVERITIES, corrupt, corruptions_for


GREY = corruptions_for(1)
RANDOM = {"gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "motion_blur", "elastic_transform"}
SMALL_SIDE, LARGE_SIDE = 32, 128


def textured(side: int, number: int, channels: int = 3) -> np.ndarray:
    """A picture of smooth patches with edges, lines and grain, uint8 `(side, side, channels)`, not all grey."""
    rng = np.random.default_rng([7, number])
    rows, columns = np.meshgrid(np.arange(side) / side, np.arange(side) / side, indexing="ij")
    image = np.zeros((side, side, channels))
    for _ in range(12):
        centre, radius = rng.random(2), rng.uniform(0.05, 0.4)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        image[inside] = rng.random(channels)
    image += 0.2 * np.sin(rng.uniform(20, 60) * rows + rng.uniform(20, 60) * columns)[..., None]
    image += 0.05 * rng.normal(size=(side, side, 1))
    return np.rint(255 * (0.1 + 0.7 * image.clip(0, 1))).astype(np.uint8)


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(np.float64) - other).mean())


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- every corruption ----


@examples(120)
@given(
    name=st.sampled_from(list(CORRUPTIONS)),
    severity=st.sampled_from(SEVERITIES),
    height=st.one_of(st.integers(1, 40), st.integers(LARGE, 70)),
    width=st.one_of(st.integers(1, 40), st.integers(LARGE, 70)),
    form=st.sampled_from(["grey", "one channel", "RGB"]),
    index=st.integers(0, 2**40),
)
def test_any_corruption_of_any_image(name, severity, height, width, form, index):
    shape = {"grey": (height, width), "one channel": (height, width, 1), "RGB": (height, width, 3)}[form]
    image = rng_of(index).integers(0, 256, shape, dtype=np.uint8)
    given_image = image.copy()
    image.flags.writeable = False
    if form != "RGB" and CORRUPTIONS[name].needs_colours:
        with pytest.raises(ValueError, match=f"'{name}' needs an image of three channels, got a grey one"):
            corrupt(image, name, severity, index=index)
        return
    found = corrupt(image, name, severity, seed=3, index=index)
    assert found.dtype == np.uint8 and found.shape == shape
    assert found.flags.writeable and not np.shares_memory(found, image)
    assert np.array_equal(image, given_image)
    assert np.array_equal(found, corrupt(image, name, severity, seed=3, index=index))


@pytest.mark.parametrize("side", [SMALL_SIDE, LARGE_SIDE])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severity_is_a_distance(name, side):
    """On average over images, that from the clean image rises with the severity."""
    images = [textured(side, number) for number in range(6)] * (4 if name == "motion_blur" else 1)
    distances = [
        np.mean([distance(corrupt(image, name, severity, index=i), image) for i, image in enumerate(images)])
        for severity in SEVERITIES
    ]
    if name == "saturate":
        # Two severities take colour away, then three add it.
        assert 0.5 < distances[0] < distances[1] and 0.5 < distances[2] < distances[3] < distances[4]
    elif name == "elastic_transform":
        # The higher the severity, the finer the distortion, and the less the whole moves.
        assert min(distances) > 5
    else:
        assert distances[0] > 0.2
        assert all(low < high for low, high in pairwise(distances)), distances


@pytest.mark.parametrize("name", GREY)
def test_grey_images_are_treated_as_one_channel(name):
    image = textured(SMALL_SIDE, 0, channels=1)
    flat = corrupt(image[..., 0], name, 3, index=5)
    assert np.array_equal(flat, corrupt(image, name, 3, index=5)[..., 0])
    picture = corrupt(Image.fromarray(image[..., 0]), name, 3, index=5)
    assert picture.shape == (SMALL_SIDE, SMALL_SIDE, 1) and np.array_equal(picture[..., 0], flat)
    assert not np.array_equal(flat, image[..., 0])


def test_images_as_data_sets_have_them():
    image = textured(SMALL_SIDE, 0)
    expected = corrupt(image, "zoom_blur", 4)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    for same in (Image.fromarray(image), image.tolist(), file.getvalue(), {"bytes": file.getvalue(), "path": None}):
        assert np.array_equal(corrupt(same, "zoom_blur", 4), expected)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_chance_depends_on(name):
    image = textured(SMALL_SIDE, 1)
    one = corrupt(image, name, 2, seed=1, index=2)
    corrupt(image, "shot_noise", 5, seed=9, index=9)
    np.random.rand()
    assert np.array_equal(one, corrupt(image, name, 2, seed=1, index=2))
    for other in ({"seed": 2, "index": 2}, {"seed": 1, "index": 3}, {"seed": 2, "index": 1}):
        assert np.array_equal(one, corrupt(image, name, 2, **other)) == (name not in RANDOM)
    assert not np.array_equal(one, corrupt(image, name, 4, seed=1, index=2))


def test_the_generator_is_the_one_that_is_documented():
    image = textured(SMALL_SIDE, 2)
    rng = np.random.default_rng([4, 11, 3, _crc(b"gaussian_noise")])
    expected = (image / 255 + rng.normal(scale=0.08, size=image.shape)).clip(0, 1) * 255
    assert np.array_equal(corrupt(image, "gaussian_noise", 3, seed=4, index=11), np.rint(expected).astype(np.uint8))


def _crc(data: bytes) -> int:
    """CRC-32 bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_two_noises_of_one_image_are_not_the_same_noise():
    image = np.full((SMALL_SIDE, SMALL_SIDE), 128, np.uint8)
    one, other = (corrupt(image, name, 1).ravel().astype(float) for name in ("gaussian_noise", "speckle_noise"))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("shape", "factor"), [((63, 63), 0.75), ((63, 300), 0.75), ((64, 64), 0.4), ((64, 300), 0.4), ((300, 63), 0.75)]
)
def test_which_strengths_an_image_gets(shape, factor):
    image = rng_of().integers(0, 256, shape, dtype=np.uint8)
    expected = image.mean() + factor * (image - image.mean())
    assert np.array_equal(corrupt(image, "contrast", 1), np.rint(expected).astype(np.uint8))


def test_all_have_five_strengths():
    assert all(len(corruption.small) == len(corruption.large) == 5 for corruption in CORRUPTIONS.values())
    assert corruptions_for(3) == tuple(CORRUPTIONS)
    assert set(CORRUPTIONS) - set(GREY) == {"saturate"}


# ---- noise ----


def test_gaussian_noise():
    noise = corruptions.gaussian_noise(np.full((200, 200, 3), 0.5), 0.1, rng_of()) - 0.5
    assert noise.std() == pytest.approx(0.1, rel=0.02) and abs(noise.mean()) < 0.002
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


def test_shot_noise():
    """Of `n` photons on average the variance is `n`, so that of the value is `value / photons`."""
    for value in (0.0, 0.1, 0.8):
        noisy = corruptions.shot_noise(np.full((200, 200, 3), value), 25, rng_of())
        assert noisy.mean() == pytest.approx(value, rel=0.02) and noisy.var() == pytest.approx(value / 25, rel=0.05)
        assert np.allclose(noisy * 25, np.rint(noisy * 25))


def test_impulse_noise():
    noisy = corruptions.impulse_noise(np.full((200, 200, 3), 0.5), 0.1, rng_of())
    assert set(np.unique(noisy)) == {0.0, 0.5, 1.0}
    assert [(noisy == value).mean() for value in (0, 1)] == pytest.approx([0.05, 0.05], rel=0.05)
    # Values are hit, not pixels.
    assert ((noisy != 0.5).any(axis=2)).mean() == pytest.approx(1 - 0.9**3, rel=0.05)


def test_speckle_noise():
    image = np.stack([np.full((200, 200), value) for value in (0.0, 0.2, 0.8)], axis=-1)
    noise = corruptions.speckle_noise(image, 0.3, rng_of()) - image
    assert noise.std(axis=(0, 1)) == pytest.approx([0, 0.06, 0.24], rel=0.02)


# ---- blur: what becomes of one white pixel ----


def point(side: int = 41) -> np.ndarray:
    image = np.zeros((side, side, 1))
    image[side // 2, side // 2] = 1
    return image


def test_gaussian_blur():
    found = corruptions.gaussian_blur(point(), 1.5, rng_of())[..., 0]
    away = np.arange(-20, 21)
    along = np.where(np.abs(away) <= 6, np.exp(-(away**2) / 4.5), 0)
    np.testing.assert_allclose(found, np.outer(along, along) / along.sum() ** 2, atol=1e-12)


@pytest.mark.parametrize(("radius", "pixels"), [(0.3, 1), (1, 5), (1.5, 9), (2, 13), (3, 29)])
def test_defocus_blur_is_a_mean_over_a_disk(radius, pixels):
    found = corruptions.defocus_blur(point(), (radius, 0.05), rng_of())[..., 0]
    away = np.arange(-20, 21)
    inside = away[:, None] ** 2 + away**2 <= radius**2
    assert inside.sum() == pixels
    np.testing.assert_allclose(found, inside / pixels, atol=1e-12)


def test_the_edge_of_the_disk_is_smoothed():
    found = corruptions.defocus_blur(point(), (0.3, 0.5), rng_of())[19:22, 19:22, 0]
    beside = np.exp(-1 / (2 * 0.5**2))
    along = np.array([beside, 1, beside]) / (1 + 2 * beside)
    np.testing.assert_allclose(found, np.outer(along, along), atol=1e-12)
    wide = corruptions.defocus_blur(point(), (10, 0.5), rng_of())[..., 0]
    assert wide.sum() == pytest.approx(1) and wide.max() == pytest.approx(1 / 317, rel=1e-6)


class FixedAngle:
    """In the place of a generator; refuses another range."""

    def __init__(self, degrees):
        self.degrees = degrees

    def uniform(self, low, high):
        assert (low, high) == (-45, 45)
        return self.degrees


def test_motion_blur_along_a_row():
    image = rng_of().random((3, 30, 3))
    found = corruptions.motion_blur(image, (2, 1.5), FixedAngle(0.0))
    weights = [np.exp(-(k**2) / (2 * 1.5**2)) for k in range(5)]
    for column in range(30):
        expected = sum(w * image[:, min(column + k, 29)] for k, w in enumerate(weights)) / sum(weights)
        np.testing.assert_allclose(found[:, column], expected, atol=1e-12)


@pytest.mark.parametrize(("degrees", "down"), [(45.0, -1), (-45.0, 1)])
def test_motion_blur_along_a_diagonal(degrees, down):
    """A point leaves its trace on one side, on a line."""
    found = corruptions.motion_blur(point(), (3, 2.0), FixedAngle(degrees))[..., 0]
    assert found.sum() == pytest.approx(1)
    rows, columns = np.nonzero(found)
    assert np.all(columns <= 20) and np.array_equal(rows - 20, -down * (columns - 20))
    assert columns.min() == 20 - round(6 / 2**0.5)


def test_zoom_blur():
    image = rng_of().random((12, 9, 3))
    np.testing.assert_allclose(corruptions.zoom_blur(image, np.array([1.0]), rng_of()), image)
    ramp = np.arange(16.0).reshape(4, 4, 1)
    # The inner 2 x 2, whose corners become the corners, bilinearly; beside it the image itself.
    enlarged = [[5 + column / 3 + 4 * row / 3 for column in range(4)] for row in range(4)]
    expected = (ramp[..., 0] + ramp[..., 0] + enlarged) / 3
    np.testing.assert_allclose(corruptions.zoom_blur(ramp, np.array([1.0, 2.0]), rng_of())[..., 0], expected)


# ---- colours ----


@examples(60)
@given(st.lists(st.integers(0, 255), min_size=3, max_size=3), st.sampled_from(SEVERITIES))
def test_brightness_and_saturation_are_those_of_hsv(colour, severity):
    image = np.full((2, 2, 3), colour, dtype=np.uint8)
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in colour))
    more = CORRUPTIONS["brightness"].small[severity - 1]
    expected = np.array(colorsys.hsv_to_rgb(hue, saturation, min(value + more, 1))) * 255
    assert np.abs(corrupt(image, "brightness", severity) - expected).max() <= 0.5 + 1e-6
    factor, more = CORRUPTIONS["saturate"].small[severity - 1]
    expected = np.array(colorsys.hsv_to_rgb(hue, min(saturation * factor + more, 1), value)) * 255
    assert np.abs(corrupt(image, "saturate", severity) - expected).max() <= 0.5 + 1e-6


def test_brightness_by_hand():
    colours = np.array([[[0, 0, 0], [100, 50, 0], [255, 10, 20], [230, 230, 230]]], dtype=np.uint8)
    # Severity 2: 0.1 of 255 is 25.5.
    found = corrupt(colours, "brightness", 2)
    assert found.tolist() == [[[26, 26, 26], [126, 63, 0], [255, 10, 20], [255, 255, 255]]]
    assert corrupt(colours[..., 0], "brightness", 2).tolist() == [[26, 126, 255, 255]]


def test_contrast_by_hand():
    image = np.array([[[0, 10, 7], [200, 30, 7]]], dtype=np.uint8)
    # Severity 2 of small images halves the distance from 100, 20 and 7.
    assert corrupt(image, "contrast", 2).tolist() == [[[50, 15, 7], [150, 25, 7]]]


# ---- digital ----


def test_pixelate_by_hand():
    image = np.zeros((4, 4, 1))
    image[:2, :2, 0] = np.array([[0, 40], [80, 120]]) / 255
    image[2:, 2:] = 1
    expected = np.zeros((4, 4))
    expected[:2, :2], expected[2:, 2:] = 60, 255
    assert np.allclose(corruptions.pixelate(image, 0.5, rng_of())[..., 0] * 255, expected)


def test_pixelate_of_images_that_are_not_square():
    image = textured(LARGE, 0)[:, :, :].repeat(2, axis=1)
    found = corrupt(image, "pixelate", 3)
    assert found.shape == (64, 128, 3)
    # 25 of 64 rows and 51 of 128 columns are different.
    assert len(np.unique(found, axis=0)) <= 25 and len(np.unique(found, axis=1)[0]) <= 51


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_compression(channels):
    image = textured(SMALL_SIDE, 3, channels)
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=58)
    expected = np.asarray(Image.open(file)).reshape(image.shape)
    assert np.array_equal(corrupt(image, "jpeg_compression", 3), expected)


def test_elastic_transform_of_nothing_is_nothing():
    image = rng_of().random((9, 14, 3))
    np.testing.assert_allclose(corruptions.elastic_transform(image, (0, 0, 0), rng_of()), image, atol=1e-12)


def test_elastic_transform_is_affine_first():
    """The three points come out where they were drawn to."""
    height, width = 60, 90
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = np.stack([rows / height, columns / width, rows * 0], axis=-1)
    found = corruptions.elastic_transform(image, (0, 0, 4.0), rng_of(5))
    draws = rng_of(5).uniform(-4, 4, size=(3, 2))
    for (row, column), (down, right) in zip([(50, 65), (10, 65), (10, 25)], draws, strict=True):
        top, left = int(np.floor(row + down)), int(np.floor(column + right))
        a, b = row + down - top, column + right - left
        box = found[top : top + 2, left : left + 2]
        value = np.einsum("i,j,ijc->c", [1 - a, a], [1 - b, b], box)
        np.testing.assert_allclose(value, [row / height, column / width, 0], atol=1e-9)


def test_elastic_transform_shifts_pixels_smoothly():
    """Without the affine map, rows and columns of pixels tell how far each was shifted."""
    side, scale, sigma = 80, 20.0, 4.0
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    image = np.stack([rows, columns, rows * 0], axis=-1) / side
    found = corruptions.elastic_transform(image, (scale, sigma, 0), rng_of(1)) * side
    inner = np.s_[15:-15, 15:-15]
    for shift in ((found[..., 0] - rows)[inner], (found[..., 1] - columns)[inner]):
        # Uniform noise of variance 1/3, smoothed: the sum of the squared weights is 1 / (4 pi sigma^2).
        assert shift.std() == pytest.approx(scale * (1 / 3 / (4 * np.pi * sigma**2)) ** 0.5, rel=0.4)
        assert np.abs(np.diff(shift, axis=0)).max() < np.abs(shift).max() / 2


# ---- what is refused ----


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "snow"}, "There is no corruption 'snow': choose from gaussian_noise, shot_noise,"),
        ({"severity": 0}, "`severity` must be a whole number from 1 to 5, got 0"),
        ({"severity": 6}, "got 6"),
        ({"severity": 1.5}, "got 1.5"),
        ({"severity": True}, "got True"),
        ({"severity": "3"}, "got '3'"),
        ({"seed": -1}, "`seed` must be a whole number, at least 0, got -1"),
        ({"index": -2}, "`index` must be.*got -2"),
        ({"index": 1.0}, "`index` must be.*got 1.0"),
        ({"image": np.zeros((8, 8, 4), np.uint8)}, "one channel or three, got 4.*convert"),
        ({"image": np.zeros((8, 8, 3))}, "nothing says which number is white"),
        ({"image": np.zeros((0, 8, 3), np.uint8)}, "no pixels"),
    ],
)
def test_bad_arguments(arguments, message):
    settings = {"image": textured(SMALL_SIDE, 0), "name": "contrast", "severity": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        corrupt(**settings)


def test_what_is_no_image():
    with pytest.raises(TypeError, match=r"missing \(None\)"):
        corrupt(None, "contrast", 3)
    with pytest.raises(ValueError, match="`channels` must be 1 or 3, got 4"):
        corruptions_for(4)


def test_numbers_of_numpy_are_numbers():
    image = textured(SMALL_SIDE, 0)
    found = corrupt(image, "shot_noise", np.int64(3), seed=np.int64(1), index=np.int32(2))
    assert np.array_equal(found, corrupt(image, "shot_noise", 3, seed=1, index=2))
