import numpy as np
import pytest
import torch
import transformers
from PIL import Image

# Not from `transformers`: that of 5.17 asks for torchvision.
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from mixtext_hf.data.images.augmix import AugMixChains
from mixtext_hf.data.images.collator import ImageCollator, pixel_statistics
from mixtext_hf.data.images.rows import ImageRows
from mixtext_hf.data.tables.row_id import RowId


RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (3, 20, 28, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (3, 20, 28), dtype=np.uint8)
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


def vit(**arguments):
    return transformers.ViTImageProcessorPil(
        **{"size": {"height": 16, "width": 24}, "image_mean": MEAN, "image_std": STD, **arguments}
    )


def grey_vit(**arguments):
    return vit(image_mean=[0.5], image_std=[0.25], **arguments)


def rows_of(images, labels=(0, 2, 1)):
    return [{"image": image, "label": label} for image, label in zip(images, labels, strict=True)]


# ---- batches ----


@pytest.mark.parametrize("resize", [True, False])
@pytest.mark.parametrize("as_pil", [True, False])
def test_rgb_equals_the_processor_itself(resize, as_pil):
    processor = vit(do_resize=resize)
    pil = [Image.fromarray(image) for image in RGB]
    batch = ImageCollator(processor, num_channels=3)(rows_of(pil if as_pil else RGB))
    expected = processor(images=pil, return_tensors="pt")["pixel_values"]
    assert torch.equal(batch["pixel_values"], expected)
    assert batch["pixel_values"].shape == (3, 3, *((16, 24) if resize else (20, 28)))
    assert batch["pixel_values"].dtype == torch.float32
    assert batch["labels"].dtype == torch.int64 and batch["labels"].tolist() == [0, 2, 1]
    assert set(batch) == {"pixel_values", "labels"}


@pytest.mark.parametrize("num_channels", [3, None])
def test_grey_images_are_repeated_for_three_channels(num_channels):
    mixed = [Image.fromarray(GREY[0]), Image.fromarray(RGB[1]), GREY[2]]
    batch = ImageCollator(vit(), num_channels=num_channels)(rows_of(mixed))
    expected = vit()(images=[Image.fromarray(GREY[0]).convert("RGB"), Image.fromarray(RGB[1])], return_tensors="pt")
    assert torch.equal(batch["pixel_values"][:2], expected["pixel_values"])
    assert batch["pixel_values"].shape == (3, 3, 16, 24)


@pytest.mark.parametrize("side", [1, 3, 4, 20])
def test_one_channel_is_not_misread_whatever_the_sides(side):
    images = RNG.integers(0, 256, (3, 20, side), dtype=np.uint8)
    pixels = ImageCollator(grey_vit(do_resize=False), num_channels=1)(rows_of(images))["pixel_values"]
    assert pixels.shape == (3, 1, 20, side)
    expected = (images[:, None] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(pixels.numpy(), expected, atol=1e-6)


def test_grey_images_are_resized():
    pixels = ImageCollator(grey_vit(), num_channels=1)(rows_of(GREY))["pixel_values"]
    small = Image.fromarray(GREY[1]).resize((24, 16), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(pixels[1, 0].numpy(), (np.asarray(small) / 255 - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize("side", [3, 4, 20])
def test_four_channels_are_not_misread(side):
    images = RNG.integers(0, 256, (3, 4, side, 4), dtype=np.uint8)
    processor = vit(image_mean=[0.1, 0.2, 0.3, 0.4], image_std=[0.5] * 4, do_resize=False)
    pixels = ImageCollator(processor, num_channels=4)(rows_of(images))["pixel_values"]
    expected = (images / 255 - [0.1, 0.2, 0.3, 0.4]) / 0.5
    np.testing.assert_allclose(pixels.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)
    with pytest.raises(ValueError, match=r"Row 0 .*4 channels.*resizes only grey and RGB.*do_resize=False"):
        ImageCollator(vit(image_mean=[0.5] * 4, image_std=[0.5] * 4), num_channels=4)(rows_of(images))


def test_processors_loaded_from_a_folder(tmp_path):
    vit().save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    batch = ImageCollator(processor, num_channels=3)(rows_of(RGB))
    assert torch.equal(batch["pixel_values"], ImageCollator(vit(), num_channels=3)(rows_of(RGB))["pixel_values"])


def test_views_go_through_the_processor_too():
    images = ImageRows(rows_of(RGB), views=AugMixChains(), num_views=2)
    rows = [images[RowId(0, i, 0)] for i in range(3)]
    batch = ImageCollator(vit(), num_channels=3)(rows)
    assert batch["views"].shape == (3, 2, 3, 16, 24) and batch["views"].dtype == torch.float32
    alone = ImageCollator(vit(), num_channels=3)
    assert torch.equal(batch["pixel_values"], alone(rows_of(RGB))["pixel_values"])
    for row in range(3):
        expected = alone(rows_of(rows[row]["views"], labels=(0, 0)))["pixel_values"]
        assert torch.equal(batch["views"][row], expected)
    rows[1]["views"] = rows[1]["views"][:1]
    with pytest.raises(ValueError, match=r"have \[1, 2\] views"):
        alone(rows)


def test_a_number_of_views_is_no_view():
    batch = ImageCollator(vit(), num_channels=3)([{**row, "views": 1200} for row in rows_of(RGB)])
    assert set(batch) == {"pixel_values", "labels"}


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist], ids=["array", "tensor", "list"])
def test_ready_pixels_pass_through(kind):
    pixels = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32)
    views = RNG.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)
    rows = [{"pixel_values": kind(pixels[i]), "views": kind(views[i]), "labels": i, "image": None} for i in range(2)]
    batch = ImageCollator(vit(), num_channels=3)(rows)
    np.testing.assert_array_equal(batch["pixel_values"].numpy(), pixels)
    np.testing.assert_array_equal(batch["views"].numpy(), views)
    assert batch["labels"].tolist() == [0, 1]
    rows[1]["pixel_values"] = kind(pixels[1, :, :2])
    with pytest.raises(ValueError, match=r"different shapes, \(3, 2, 5\), \(3, 4, 5\)"):
        ImageCollator(vit(), num_channels=3)(rows)


def test_hidden_and_absent_labels():
    collate = ImageCollator(vit(), num_channels=3)
    assert collate(rows_of(RGB, labels=(None, -1, 2)))["labels"].tolist() == [-100, -100, 2]
    assert set(collate([{"image": image} for image in RGB])) == {"pixel_values"}
    with pytest.raises(TypeError, match=r"'label' holds 'cat'"):
        collate(rows_of(RGB, labels=("cat", 0, 1)))


def test_columns_of_other_names():
    collate = ImageCollator(vit(), image_column="img", label_column="fine_label", num_channels=3)
    assert collate.columns == [
        "img", "image", "pixel_values", "views", "_at_model_size", "fine_label", "label", "labels", "label_ids",
    ]  # fmt: skip
    expected = ImageCollator(vit(), num_channels=3)(rows_of(RGB))
    for image, label in (("img", "fine_label"), ("image", "label")):  # as in the data, and as `ImageRows` has them
        batch = collate([{image: row["image"], label: row["label"]} for row in rows_of(RGB)])
        assert torch.equal(batch["pixel_values"], expected["pixel_values"])
        assert torch.equal(batch["labels"], expected["labels"])
    # A data set with several labels: the one that was named.
    batch = collate([{"img": row["image"], "label": 9, "fine_label": row["label"]} for row in rows_of(RGB)])
    assert torch.equal(batch["labels"], expected["labels"])


# ---- errors ----


def test_sizes_that_differ_are_refused():
    images = [RGB[0], RGB[1, :10], RGB[2]]
    with pytest.raises(
        ValueError, match=r"\(3, 10, 28\), \(3, 20, 28\).*do_resize=True.*it has do_resize=False, size="
    ):
        ImageCollator(vit(do_resize=False), num_channels=3)(rows_of(images))


def test_rgb_for_a_grey_model_is_refused():
    with pytest.raises(ValueError, match=r"Row 1 of the batch.*3 channels, and the model takes 1.*convert\('L'\)"):
        ImageCollator(grey_vit(), num_channels=1)(rows_of([GREY[0], RGB[0], GREY[1]]))


def test_a_processor_of_other_channels_is_refused():
    for make in (lambda: ImageCollator(vit(), num_channels=1), lambda: pixel_statistics(vit(), 1)):
        with pytest.raises(ValueError, match=r"takes images of 1 channels, and the image processor normalises 3"):
            make()
    ImageCollator(vit(do_normalize=False), num_channels=1)


def test_a_processor_that_changes_channels_is_refused():
    processor = grey_vit(do_normalize=False)
    processor.preprocess = lambda images, **_: {"pixel_values": [np.zeros((3, 4, 4), np.float32)] * len(images)}
    with pytest.raises(ValueError, match="images of 3 channels, and the model takes 1: give it do_convert_rgb=False"):
        ImageCollator(processor, num_channels=1)(rows_of(GREY))


def test_bad_rows_are_named():
    collate = ImageCollator(vit(), num_channels=3)
    with pytest.raises(
        ValueError, match=r"Row 0 of the batch has no column 'image', it has \['label'\].*unused_columns"
    ):
        collate([{"label": 1}])
    with pytest.raises(ValueError, match=r"Row 1 of the batch, column 'image': .*float64"):
        collate(rows_of([RGB[0], RGB[1] / 255, RGB[2]]))
    with pytest.raises(TypeError, match=r"Row 2 of the batch, column 'image': .*missing \(None\)"):
        collate(rows_of([RGB[0], RGB[1], None]))


# ---- statistics ----


@pytest.mark.parametrize(
    ("arguments", "mean", "std"),
    [
        ({}, MEAN, STD),
        ({"do_normalize": False}, [0, 0, 0], [1, 1, 1]),
        ({"do_normalize": False, "do_rescale": False}, [0, 0, 0], [1 / 255] * 3),
        ({"rescale_factor": 1 / 127.5}, [m / 2 for m in MEAN], [s / 2 for s in STD]),
        ({"image_mean": 0.5, "image_std": 0.25}, [0.5] * 3, [0.25] * 3),
    ],
    ids=str,
)
def test_statistics_are_those_of_the_processor(arguments, mean, std):
    found = pixel_statistics(vit(**arguments), 3)
    for ours, expected in zip(found, (mean, std), strict=True):
        assert ours.dtype == torch.float32 and ours.shape == (3,)
        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "name",
    [
        "Beit",
        "Bit",
        "CLIP",
        "ConvNext",
        "EfficientNet",
        "Levit",
        "MobileNetV2",
        "MobileViT",
        "PoolFormer",
        "Siglip",
        "ViT",
    ],
)
def test_statistics_hold_for_other_processors(name):
    processor = getattr(transformers, f"{name}ImageProcessorPil")()
    mean, std = pixel_statistics(processor, 3)
    # As large as the processor wants them: nothing is resized, so each pixel is what it was.
    shape = ImageCollator(processor, num_channels=3)(rows_of(RGB))["pixel_values"].shape[-2:]
    colours = RNG.integers(0, 256, (3, 3), dtype=np.uint8)
    images = [np.broadcast_to(colour, (*shape, 3)).copy() for colour in colours]
    pixels = ImageCollator(processor, num_channels=3)(rows_of(images))["pixel_values"]
    middle = pixels[:, :, shape[0] // 2, shape[1] // 2]
    colours = torch.from_numpy(colours).float() / 255
    if name == "MobileViT":  # blue first
        colours = colours.flip(1)
    torch.testing.assert_close(middle, (colours - mean) / std, atol=1e-5, rtol=1e-5)


def test_padding_has_no_part_in_the_statistics():
    mean, std = pixel_statistics(transformers.DonutImageProcessorPil(), 3)
    assert mean.tolist() == std.tolist() == [0.5] * 3


def test_statistics_of_one_channel():
    mean, std = pixel_statistics(grey_vit(), 1)
    torch.testing.assert_close(mean, torch.tensor([0.5]))
    torch.testing.assert_close(std, torch.tensor([0.25]))


def test_a_processor_that_shows_nothing_is_refused():
    with pytest.raises(ValueError, match=r"of black and .* of white.*rescale_factor"):
        pixel_statistics(vit(rescale_factor=0.0), 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["pixel_values", "views"])
def test_pixels_must_be_finite(name, value):
    rows = [
        {"pixel_values": np.zeros((3, 4, 4), np.float32), "views": np.zeros((2, 3, 4, 4), np.float32)}
        for _ in range(3)
    ]
    rows[1][name].flat[5] = value
    with pytest.raises(ValueError, match=f"`{name}` of row 1 of the batch holds NaN or infinite pixels"):
        ImageCollator(vit())(rows)


def test_pixels_whose_sum_overflows_are_finite():
    rows = [{"pixel_values": np.full((3, 4, 4), 3e38, np.float32)} for _ in range(2)]
    assert ImageCollator(vit())(rows)["pixel_values"].isfinite().all()


def test_a_processor_that_divides_by_0_is_seen():
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"`pixel_values` of row 0 .*image_std"):
        ImageCollator(vit(image_std=[0.0, 0.5, 0.5]))(rows_of(RGB))
