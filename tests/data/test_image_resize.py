"""Images at the size of the model before they are augmented: exactly what the image processor would have made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from mixtext_hf.data.images.augmentations import RandomResizedCrop, make_image_augmentation
from mixtext_hf.data.images.augmix import AugMixChains
from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.data.images.rand_augment import OPERATIONS, rand_augment
from mixtext_hf.data.images.resize import AT_SIZE, ModelResize, model_resize
from mixtext_hf.data.tables.row_id import RowId
from mixtext_hf.evaluation.robustness.corruptions import corrupt
from mixtext_hf.evaluation.robustness.noisy_rows import CorruptedImages
from mixtext_hf.methods import make_method
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainingArguments
from mixtext_hf.training.images import image_rows


PROCESSORS = {
    "vit": (ViTImageProcessorPil(size={"height": 24, "width": 20}), (24, 20)),
    "convnext": (ConvNextImageProcessorPil(size={"shortest_edge": 24}), (24, 24)),
    "clip": (CLIPImageProcessorPil(size={"shortest_edge": 30}, crop_size={"height": 24, "width": 24}), (24, 24)),
    "small": (small_image_processor((16, 16), 3), (16, 16)),
}


def picture(height=40, width=60, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def rows_with(processor, specs, method="mixup", rows=None):
    args = MixTrainingArguments(output_dir="unused", image_augmentations=specs, use_cpu=True, seed=3)
    collator = ImageCollator(processor, num_channels=3)
    rows = [{"image": picture(seed=i), "label": 0} for i in range(4)] if rows is None else rows
    return image_rows(rows, collator, make_method(method), args), collator


@pytest.mark.parametrize("name", PROCESSORS)
def test_resizing_first_gives_the_same_pixels(name):
    processor, size = PROCESSORS[name]
    resize = model_resize(processor, 3)
    assert resize is not None and resize.size == size
    collate = ImageCollator(processor, num_channels=3)
    for image in (picture(), picture(70, 31), picture(40, 60, 1)):
        resized = resize(image)
        # CLIP's makes RGB of grey.
        assert resized.shape[:2] == size and resized.dtype == np.uint8
        in_two = collate([{"image": resized, AT_SIZE: True}])["pixel_values"]
        torch.testing.assert_close(in_two, collate([{"image": image}])["pixel_values"], rtol=0, atol=1e-5)


def test_a_processor_that_cannot_be_taken_apart_is_said(caplog):
    class Odd:
        def __call__(self, images, **settings):
            shift = 0.0 if settings.get("do_normalize", True) else 0.5
            return {"pixel_values": [image.transpose(2, 0, 1) / 255 + shift for image in images]}

    assert model_resize(Odd(), 3) is None
    assert "Odd does not resize images apart from the rest" in caplog.text


def test_a_processor_without_one_size_has_none():
    processor = ViTImageProcessorPil(do_resize=False)
    resize = model_resize(processor, 3)
    assert resize is not None and resize.size is None
    np.testing.assert_array_equal(resize(picture()), picture())


def test_views_are_made_after_the_resizing():
    processor, size = PROCESSORS["vit"]
    rows, collate = rows_with(processor, ["flip:1.0"], "augmix")
    row = rows[RowId(0, 2, 5)]
    flipped = np.ascontiguousarray(picture(seed=2)[:, ::-1])
    resized = ModelResize(processor, size)(flipped)
    np.testing.assert_array_equal(row["image"], resized)
    expected = AugMixChains(severity=3)(resized, np.random.default_rng([3, 5, 2, 1]))
    np.testing.assert_array_equal(row["views"][0], expected)
    batch = collate([row])
    assert batch["views"].shape == (1, 2, 3, *size)
    torch.testing.assert_close(batch["pixel_values"], collate([{"image": flipped}])["pixel_values"], rtol=0, atol=1e-5)


def test_nothing_is_resized_where_nothing_comes_after_it():
    rows, _ = rows_with(PROCESSORS["vit"][0], ["flip", "crop:2"])
    assert rows.resize is None and rows[RowId(0, 0, 0)]["image"].shape == (40, 60, 3)
    assert AT_SIZE not in rows[RowId(0, 0, 0)]


@pytest.mark.parametrize("name", ["vit", "clip"])
def test_new_augmentations_are_at_the_size_of_the_model_and_counted(name):
    processor, size = PROCESSORS[name]
    specs = ["random_resized_crop:0.3", "flip", "rand_augment:12", "erasing:1.0"]
    rows, collate = rows_with(processor, specs)
    again, _ = rows_with(processor, specs)
    first = rows[RowId(0, 1, 0)]
    assert first["image"].shape == (*size, 3) and first["image"].dtype == np.uint8
    again[RowId(0, 3, 2)]
    np.testing.assert_array_equal(first["image"], again[RowId(0, 1, 0)]["image"])
    assert not np.array_equal(first["image"], rows[RowId(0, 1, 1)]["image"])
    assert collate([first, rows[RowId(0, 2, 0)]])["pixel_values"].shape == (2, 3, *size)


def test_a_crop_twice_is_refused():
    with pytest.raises(ValueError, match="names random_resized_crop twice"):
        rows_with(PROCESSORS["vit"][0], ["random_resized_crop", "random_resized_crop:0.5"])


def test_corruptions_are_made_after_the_resizing():
    processor, size = PROCESSORS["vit"]
    resize = model_resize(processor, 3)
    settings = {"name": "contrast", "severity": 2, "seed": 1, "resize": resize}
    row = CorruptedImages([{"image": picture(100, 100)}], "image", 3, [9], **settings)[0]
    assert row[AT_SIZE] is True and row["image"].shape == (*size, 3)
    expected = corrupt(ModelResize(processor, size)(picture(100, 100)), "contrast", 2, seed=1, index=9)
    np.testing.assert_array_equal(row["image"], expected)
    grey = CorruptedImages([{"image": picture(30, 30, 1)}], "image", 3, [9], **settings)[0]
    assert grey["image"].shape == (*size, 3)


# ---- the augmentations ----


@pytest.mark.parametrize("shape", [(40, 60, 3), (9, 80, 3), (80, 9, 1), (1, 1, 3), (20, 20, 4)], ids=str)
@pytest.mark.parametrize(
    "spec", ["random_resized_crop", "random_resized_crop:1", "rand_augment:30", "augmix", "augmix:10", "erasing:1"]
)
def test_shape_and_type_stay_and_the_image_is_not_written_into(spec, shape):
    augment = make_image_augmentation(spec)
    image = picture(*shape)
    image.setflags(write=False)
    for seed in range(10):
        changed = augment(image, np.random.default_rng(seed))
        assert changed.shape == shape and changed.dtype == np.uint8
        np.testing.assert_array_equal(changed, augment(image, np.random.default_rng(seed)))
    np.testing.assert_array_equal(image, picture(*shape))


def test_a_crop_is_a_piece_of_the_image():
    # The columns tell where a piece comes from, and how wide it is.
    image = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (100, 200, 3))
    crop = RandomResizedCrop(0.1)
    widths = []
    for seed in range(200):
        piece = crop.to_size(image, np.random.default_rng(seed), (8, 50), Image.Resampling.BILINEAR)
        assert piece.shape == (8, 50, 3) and (np.diff(piece[0, :, 0].astype(int)) >= 0).all()
        widths.append(int(piece[0, -1, 0]) - int(piece[0, 0, 0]))
    assert min(widths) < 60 and max(widths) > 110
    with pytest.raises(ValueError, match="smallest must be above 0"):
        RandomResizedCrop(0)


def test_erasing_fills_a_box_as_often_as_it_should():
    image = np.full((30, 30, 3), 7, dtype=np.uint8)
    half = make_image_augmentation("erasing:0.5")
    shares = [float((half(image, np.random.default_rng(seed)) != image).any(2).mean()) for seed in range(300)]
    erased = [share for share in shares if share > 0]
    assert 110 < len(erased) < 190
    assert min(erased) > 0.01 and 0.2 < max(erased) < 0.4
    rows = (make_image_augmentation("erasing:1")(image, np.random.default_rng(1)) != image).any(2)
    where = np.argwhere(rows)
    top, left = where.min(0)
    bottom, right = where.max(0)
    assert rows[top : bottom + 1, left : right + 1].mean() > 0.95


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_get_stronger(name):
    # Smooth, so that a move shows.
    image = 2 * np.add.outer(np.arange(60), np.arange(60))[..., None].repeat(3, 2).astype(np.uint8)
    image[..., 1] //= 2
    change = [
        np.abs(OPERATIONS[name](strength, (60, 60))(image).astype(int) - image).mean() for strength in (0.0, 0.3, 1.0)
    ]
    if name in ("identity", "autocontrast", "equalize"):
        assert change[0] == change[1] == change[2]
    elif name == "sharpness":
        assert change[0] == 0
    else:
        assert change[0] < 0.6 and change[0] < change[1] < change[2]


@pytest.mark.parametrize(("spec", "severity"), [("augmix", 3), ("augmix:7", 7)])
def test_a_view_of_augmix_is_one_of_its_views(spec, severity):
    for seed in range(5):
        view = make_image_augmentation(spec)(picture(24, 24), np.random.default_rng(seed))
        np.testing.assert_array_equal(view, AugMixChains(severity)(picture(24, 24), np.random.default_rng(seed)))
    with pytest.raises(ValueError, match=r"augmix: severity must be above 0\.1 and at most 10, got 0\.1"):
        make_image_augmentation("augmix:0.1")


def test_rand_augment_draws_all_operations():
    made = {rand_augment(picture(12, 12), 9, np.random.default_rng(seed), count=1).tobytes() for seed in range(200)}
    assert len(made) >= 20
    with pytest.raises(ValueError, match=r"magnitude must lie in 0\.\.30"):
        make_image_augmentation("rand_augment:31")
    assert rand_augment(picture(), 9, np.random.default_rng(0), count=0).tobytes() == picture().tobytes()
