import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from mixtext_hf.data.images import augmix
from mixtext_hf.data.images.augmix import OPERATIONS, OVERLAPPING, AugMixChains


ALL = {**OPERATIONS, **OVERLAPPING}
SHAPES = [(32, 32, 1), (32, 32, 3), (24, 17, 3), (9, 30, 1), (20, 20, 4), (18, 16, 2)]


def picture(shape, seed=0):
    """Smooth enough for every operation to leave something, and not all of the range used."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(20, 200, (4, 4), dtype=np.uint8))
    channels = [small.rotate(90 * c).resize((shape[1], shape[0]), Image.Resampling.BICUBIC) for c in range(shape[2])]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def draws(name, severity, size, count=400):
    return [ALL[name](severity, size, np.random.default_rng(seed)) for seed in range(count)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ALL)
def test_no_operation_changes_shape_or_dtype_or_writes_into_the_image(name, shape):
    image = picture(shape)
    image.flags.writeable = False
    changed = [operation(image) for operation in draws(name, 10, (shape[1], shape[0]), count=20)]
    assert {(result.shape, result.dtype) for result in changed} == {(shape, np.dtype("uint8"))}
    assert any((result != image).any() for result in changed) or (name == "color" and shape[2] != 3)


@pytest.mark.parametrize("name", OPERATIONS)
def test_channels_are_treated_alike_and_one_by_one(name):
    image = picture((14, 11, 4))
    for operation in draws(name, 10, (11, 14), count=10):
        one_by_one = [operation(image[..., [channel]]) for channel in range(4)]
        np.testing.assert_array_equal(operation(image), np.concatenate(one_by_one, axis=-1))
        np.testing.assert_array_equal(operation(image[..., :3]), np.concatenate(one_by_one[:3], axis=-1))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_on_values_equal_those_of_pil(seed, channels):
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(0, 257, 2))
    shape = (*rng.integers(1, 40, 2), channels)
    image = rng.integers(low, max(high, low + 1), shape).astype(np.uint8)
    if seed % 3 == 0:  # few values
        image = image // 64 * 64
    pil = Image.fromarray(image if channels == 3 else image[..., 0])
    pairs = [
        (augmix.autocontrast(image), ImageOps.autocontrast(pil)),
        (augmix.equalize(image), ImageOps.equalize(pil)),
    ]
    pairs += [(augmix.posterize(image, bits), ImageOps.posterize(pil, bits)) for bits in (1, 2, 3, 4)]
    pairs += [
        (augmix.solarize(image, threshold), ImageOps.solarize(pil, threshold)) for threshold in (0, 1, 128, 254, 256)
    ]
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, np.asarray(theirs).reshape(shape))


def test_geometry_equals_the_transforms_of_the_official_code():
    image, size = picture((20, 30, 3)), (30, 20)
    pil, bilinear = Image.fromarray(image), Image.Resampling.BILINEAR
    for seed in range(50):
        level = np.random.default_rng(seed).uniform(0.1, 10)
        sign = [-1 if np.random.default_rng(seed).random(2)[1] > 0.5 else 1][0]
        matrices = {
            "shear_x": (1, sign * level * 0.03, 0, 0, 1, 0),
            "shear_y": (1, 0, 0, sign * level * 0.03, 1, 0),
            "translate_x": (1, 0, sign * int(level * 30 / 3 / 10), 0, 1, 0),
            "translate_y": (1, 0, 0, 0, 1, sign * int(level * 20 / 3 / 10)),
        }
        expected = {
            name: pil.transform(size, Image.Transform.AFFINE, m, resample=bilinear) for name, m in matrices.items()
        }
        expected["rotate"] = pil.rotate(sign * int(level * 3), resample=bilinear)
        for name, theirs in expected.items():
            ours = OPERATIONS[name](10, size, np.random.default_rng(seed))(image)
            assert np.abs(ours.astype(int) - np.asarray(theirs)).max() == 0, name


def test_strengths_fill_the_ranges_of_the_paper():
    size = (60, 30)
    bits = {operation.keywords["bits"] for operation in draws("posterize", 10, size)}
    assert bits == {1, 2, 3, 4}
    assert {operation.keywords["bits"] for operation in draws("posterize", 3, size)} == {3, 4}
    thresholds = [operation.keywords["threshold"] for operation in draws("solarize", 10, size)]
    assert min(thresholds) < 10 and 245 < max(thresholds) <= 254
    assert min(operation.keywords["threshold"] for operation in draws("solarize", 3, size)) >= 256 - 76
    # A bright column in the middle says how far the image moved: side / 3 at most, both ways.
    column = np.zeros((30, 60, 1), dtype=np.uint8)
    column[:, 30] = 255
    places = {int(operation(column)[0, :, 0].argmax()) - 30 for operation in draws("translate_x", 10, size)}
    assert places == set(range(-19, 20))
    row = np.zeros((30, 60, 1), dtype=np.uint8)
    row[15] = 255
    places = {int(operation(row)[:, 0, 0].argmax()) - 15 for operation in draws("translate_y", 10, size)}
    assert places == set(range(-9, 10))


def test_what_comes_in_from_outside_is_black():
    white = np.full((30, 30, 3), 255, dtype=np.uint8)
    for name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y"):
        assert any((operation(white) == 0).all(axis=-1).any() for operation in draws(name, 10, (30, 30), count=30))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_view_is_a_pure_function_of_image_and_generator(shape):
    image, chains = picture(shape), AugMixChains()
    image.flags.writeable = False
    state = np.random.get_state()[1].tobytes()
    views = [chains(image, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.random.get_state()[1].tobytes() == state
    np.testing.assert_array_equal(views[0], views[1])
    assert (views[0] != views[2]).any() and (views[0] != image).any()
    assert views[0].shape == shape and views[0].dtype == np.uint8


def test_the_mixture_is_rounded_by_half_a_level_at_most():
    image = picture((16, 16, 3))
    rng = np.random.default_rng(3)
    chains = AugMixChains(severity=3, width=2, depth=1, alpha=0.7)
    view = chains(image, np.random.default_rng(3))
    weights, strength = rng.dirichlet([0.7, 0.7]), rng.beta(0.7, 0.7)
    mixed = (1 - strength) * image.astype(np.float64)
    for weight in weights:
        name = list(OPERATIONS)[rng.integers(len(OPERATIONS))]
        mixed += strength * weight * OPERATIONS[name](3, (16, 16), rng)(image)
    assert np.abs(view - mixed).max() <= 0.5 + 1e-3


def test_extremes_stay_in_range():
    for value in (0, 255):
        image = np.full((8, 8, 3), value, dtype=np.uint8)
        for seed in range(50):
            view = AugMixChains(depth=1)(image, np.random.default_rng(seed))
            # Black may be solarised away from nothing, white only darkened: never wrapped around.
            assert view.max() <= value or value == 0


def test_depth_is_drawn_for_each_chain(monkeypatch):
    lengths = []
    original = AugMixChains._draw

    def counting(self, size, rng):
        lengths[-1] += 1
        return original(self, size, rng)

    monkeypatch.setattr(AugMixChains, "_draw", counting)
    image = picture((8, 8, 1))
    for seed in range(200):
        lengths.append(0)
        AugMixChains(width=1)(image, np.random.default_rng(seed))
    assert set(lengths) == {1, 2, 3} and min(lengths.count(n) for n in (1, 2, 3)) > 40
    lengths.append(0)
    AugMixChains(width=4, depth=5)(image, np.random.default_rng(0))
    assert lengths[-1] == 20


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"severity": 0}, "severity must be above 0.1 and at most 10, got 0"),
        ({"severity": 11}, "severity"),
        ({"width": 0}, "width must be a whole number, at least 1, got 0"),
        ({"depth": 0}, "depth"),
        ({"depth": 1.5}, "depth"),
        ({"alpha": 0}, "alpha must be a finite number above 0, got 0"),
        ({"alpha": float("inf")}, "alpha"),
    ],
    ids=str,
)
def test_bad_numbers_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        AugMixChains(**arguments)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("color", ImageEnhance.Color),
        ("contrast", ImageEnhance.Contrast),
        ("brightness", ImageEnhance.Brightness),
        ("sharpness", ImageEnhance.Sharpness),
    ],
)
def test_the_operations_that_overlap_with_corruptions_are_those_of_the_official_code(name, kind):
    image = picture((20, 18, 3))
    for seed in range(20):
        # `ImageEnhance.Color(pil_img).enhance(float_parameter(sample_level(level), 1.8) + 0.1)`.
        level = np.random.default_rng(seed).uniform(0.1, 3)
        expected = np.asarray(kind(Image.fromarray(image)).enhance(level * 1.8 / 10 + 0.1))
        actual = OVERLAPPING[name](3, (18, 20), np.random.default_rng(seed))(image)
        np.testing.assert_array_equal(actual, expected)


def test_all_operations_take_part_only_if_asked_for(monkeypatch):
    drawn = {False: [], True: []}

    def spy(name, all_ops):
        def draw(severity, size, rng):
            drawn[all_ops].append(name)
            return lambda image: image

        return draw

    for all_ops in (False, True):
        monkeypatch.setattr(augmix, "_DRAWS", tuple(spy(name, all_ops) for name in OPERATIONS))
        monkeypatch.setattr(augmix, "_ALL_DRAWS", tuple(spy(name, all_ops) for name in ALL))
        chains = AugMixChains(all_ops=all_ops)
        for seed in range(200):
            chains(picture((4, 4, 3)), np.random.default_rng(seed))
    assert set(drawn[False]) == set(OPERATIONS) and set(drawn[True]) == set(ALL)
    counts = np.array([drawn[True].count(name) for name in ALL])
    assert len(ALL) == 13 and abs(counts / counts.sum() - 1 / 13).max() < 0.03
