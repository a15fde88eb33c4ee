import numpy as np
import pytest

from mixtext_hf.data.images.augmentations import Crop, Flip, make_image_augmentation


SHAPES = [(32, 32, 3), (28, 28, 1), (9, 14, 3), (14, 9, 4)]


def pixels(shape, seed=0):
    image = np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)
    image.flags.writeable = False
    return image


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_flip_mirrors_left_and_right_half_of_the_time(shape):
    image = pixels(shape)
    height, width, _ = shape
    mirrored = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            mirrored[y, x] = image[y, width - 1 - x]
    results = [Flip()(image, np.random.default_rng(seed)) for seed in range(300)]
    flipped = [bool((result == mirrored).all()) for result in results]
    assert all(flip or (result == image).all() for flip, result in zip(flipped, results, strict=True))
    assert 120 < sum(flipped) < 180
    assert flipped == [np.random.default_rng(seed).random() < 0.5 for seed in range(300)]
    assert all(result.flags.c_contiguous and result.dtype == np.uint8 for result in results)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pad", [1, 4, 8])
def test_crop_moves_the_image_and_fills_with_zeros(shape, pad):
    image = pixels(shape)
    height, width, _ = shape
    places = set()
    for seed in range(100):
        top, left = np.random.default_rng(seed).integers(2 * pad + 1, size=2)
        expected = np.zeros_like(image)
        for y in range(height):
            for x in range(width):
                source_y, source_x = y + top - pad, x + left - pad
                if 0 <= source_y < height and 0 <= source_x < width:
                    expected[y, x] = image[source_y, source_x]
        result = Crop(pad)(image, np.random.default_rng(seed))
        np.testing.assert_array_equal(result, expected)
        assert result.dtype == np.uint8 and result.flags.c_contiguous
        places.add((int(top), int(left)))
    assert {place for place, _ in places} == set(range(2 * pad + 1)) == {place for _, place in places}


def test_a_crop_that_could_leave_nothing_is_refused():
    with pytest.raises(ValueError, match="crop:8 may leave nothing of an image of 8 x 12 pixels: pad by fewer than 8"):
        Crop(8)(pixels((8, 12, 3)), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("flip", Flip(0.5)), ("flip:0.25", Flip(0.25)), ("crop", Crop(4)), ("crop:2", Crop(2))],
)
def test_augmentations_are_made_of_their_names(spec, expected):
    assert make_image_augmentation(spec) == expected


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("crp", "no augmentation of images 'crp': choose from flip, crop"),
        ("", "choose from flip, crop"),
        ("crop:", "'crop:' has '' as its pad: give a whole number, such as crop:4"),
        ("crop:2.5", "'2.5' as its pad"),
        ("crop:0", "crop: pad must be a whole number of pixels, at least 1, got 0"),
        ("crop:-3", "at least 1, got -3"),
        ("flip:much", "'much' as its probability: give a number, such as flip:0.5"),
        ("flip:0", "flip: probability must be above 0 and at most 1, got 0.0"),
        ("flip:nan", "above 0 and at most 1"),
    ],
)
def test_bad_specs_are_refused(spec, said):
    with pytest.raises(ValueError, match=said):
        make_image_augmentation(spec)
