import io

import datasets
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from datasets import Dataset, Features, Value
from PIL import Image
from torch.utils.data import DataLoader

from mixtext_hf.data.images.augmentations import Crop, Flip
from mixtext_hf.data.images.augmix import AugMixChains
from mixtext_hf.data.images.rows import ImageRows
from mixtext_hf.data.tables.row_id import RowId
from mixtext_hf.data.visits import EpochSampler


PIXELS = np.random.default_rng(0).integers(0, 256, (10, 12, 16, 3), dtype=np.uint8)
ROWS = [{"image": Image.fromarray(image), "label": i % 3, "id": f"a{i}"} for i, image in enumerate(PIXELS)]
AUGMENTATIONS = (Flip(), Crop(3))


def as_dataset(rows=ROWS):
    features = Features({"image": datasets.Image(), "label": Value("int64"), "id": Value("string")})
    return Dataset.from_list(rows, features=features)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def same(one, other):
    assert one.keys() == other.keys() and one["label"] == other["label"]
    np.testing.assert_array_equal(one["image"], other["image"])
    for view, other_view in zip(one.get("views", ()), other.get("views", ()), strict=True):
        np.testing.assert_array_equal(view, other_view)


# ---- rows ----


@pytest.mark.parametrize("kind", ["dataset", "list", "numpy format"])
def test_a_plain_row_is_the_image_and_its_label(kind):
    data = {"dataset": as_dataset(), "list": ROWS, "numpy format": as_dataset().with_format("numpy")}[kind]
    rows = ImageRows(data)
    assert len(rows) == 10
    for number in range(10):
        row = rows[RowId(0, number, 5)]
        assert set(row) == {"image", "label"} and row["label"] == number % 3
        assert row["image"].dtype == np.uint8
        np.testing.assert_array_equal(row["image"], PIXELS[number])


def test_columns_may_have_other_names():
    data = as_dataset().rename_columns({"image": "img", "label": "fine_label"})
    same(
        ImageRows(data, image_column="img", label_column="fine_label")[RowId(0, 4, 0)], ImageRows(ROWS)[RowId(0, 4, 0)]
    )


def test_augmentation_and_views_are_counted():
    chains = AugMixChains()
    rows = ImageRows(as_dataset(), augmentations=AUGMENTATIONS, views=chains, num_views=2, seed=7)
    for number, epoch in [(0, 0), (3, 0), (3, 1), (9, 12)]:
        rng = np.random.default_rng([7, epoch, number, 0])
        image = AUGMENTATIONS[1](AUGMENTATIONS[0](PIXELS[number], rng), rng)
        views = [chains(image, np.random.default_rng([7, epoch, number, k])) for k in (1, 2)]
        same(rows[RowId(0, number, epoch)], {"image": image, "label": number % 3, "views": views})


def test_another_seed_epoch_or_row_is_another_picture():
    same_images = [{"image": PIXELS[0], "label": 0}] * 2
    pictures = set()
    for seed, epoch, number in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        row = ImageRows(same_images, views=AugMixChains(), num_views=2, seed=seed)[RowId(0, number, epoch)]
        pictures |= {view.tobytes() for view in row["views"]}
    assert len(pictures) == 8


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("epoch", [0, 3])
def test_a_loader_gives_the_same_rows_for_any_number_of_workers(workers, epoch):
    def rows():
        return ImageRows(as_dataset(), augmentations=AUGMENTATIONS, views=AugMixChains(), num_views=1, seed=5)

    sampler = EpochSampler(10, seed=5)
    sampler.set_epoch(epoch)
    loader = DataLoader(rows(), batch_size=4, sampler=sampler, num_workers=workers, collate_fn=list)
    # What the global generators hold has no part in it.
    torch.manual_seed(workers)
    np.random.seed(workers)
    loaded = [row for batch in loader for row in batch]
    expected = rows()
    for row, which in zip(loaded, sampler, strict=True):
        same(row, expected[which])


def test_grey_images_have_one_channel():
    row = ImageRows([{"image": PIXELS[0, ..., 0], "label": 1}], augmentations=AUGMENTATIONS)[RowId(0, 0, 0)]
    assert row["image"].shape == (12, 16, 1)


def test_other_columns_are_not_read():
    assert ImageRows(as_dataset()).dataset.column_names == ["image", "label"]


def test_a_transform_of_the_user_is_kept():
    def darker(batch):
        return {
            "image": [Image.fromarray(np.asarray(image) // 2) for image in batch["image"]],
            "label": batch["label"],
        }

    row = ImageRows(as_dataset().with_transform(darker))[RowId(0, 2, 0)]
    np.testing.assert_array_equal(row["image"], PIXELS[2] // 2)
    gone = as_dataset().with_transform(lambda batch: {"pixel_values": batch["label"]})
    with pytest.raises(ValueError, match=r"Row 0 has no column 'image', it has \['pixel_values'\].*transform"):
        ImageRows(gone)[RowId(0, 0, 0)]


@pytest.mark.parametrize("content", [b"no image at all", png(PIXELS[0])[:80], None], ids=["junk", "cut off", "None"])
def test_a_broken_image_is_named(content):
    rows = [{"image": {"bytes": png(image), "path": None}, "label": 0} for image in PIXELS[:4]]
    rows[2]["image"] = None if content is None else {"bytes": content, "path": None}
    features = Features({"image": datasets.Image(), "label": Value("int64")})
    for data in (rows, Dataset.from_list(rows, features=features)):
        images = ImageRows(data)
        images[RowId(0, 1, 0)]
        with pytest.raises(ValueError, match=r"Row 2, column 'image': .*Remove or replace this row"):
            images[RowId(0, 2, 0)]


def test_an_image_too_small_to_be_cropped_is_named():
    with pytest.raises(ValueError, match=r"Row 3, column 'image': crop:12 may leave nothing of an image of 12 x 16"):
        ImageRows(ROWS, augmentations=[Crop(12)])[RowId(0, 3, 0)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"image_column": "img"}, r"`image_column` is 'img', but the data has the columns \['image', 'label', 'id'\]"),
        ({"label_column": "labels"}, "`label_column` is 'labels'"),
        ({"num_views": 2}, "`num_views` is 2 and `views` is None"),
        ({"views": AugMixChains()}, "`num_views` is 0"),
        ({"num_views": -1, "views": AugMixChains()}, "`num_views` is -1"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ImageRows(as_dataset(), **arguments)


def test_no_rows_and_streams_are_refused():
    with pytest.raises(ValueError, match="`dataset` is empty"):
        ImageRows([])
    with pytest.raises(TypeError, match="asked for by number"):
        ImageRows(as_dataset().to_iterable_dataset())


# ---- order ----


def test_an_epoch_is_every_row_once_in_an_order_of_its_own():
    sampler = EpochSampler(50, seed=3)
    assert len(sampler) == 50
    orders = []
    for epoch in (0, 1, 2):
        sampler.set_epoch(epoch)
        rows = list(sampler)
        assert all(type(row) is RowId and type(row.row) is int for row in rows)
        assert {(row.stream, row.round) for row in rows} == {(0, epoch)}
        assert sorted(row.row for row in rows) == list(range(50))
        orders.append(rows)
    sampler.set_epoch(1)
    assert list(sampler) == orders[1]
    assert len({tuple(row.row for row in rows) for rows in orders}) == 3
    assert list(EpochSampler(50, seed=4)) != orders[0]


def test_the_order_is_not_drawn_like_the_augmentation_of_a_row():
    order = [row.row for row in EpochSampler(50, seed=3)]
    assert order != np.random.default_rng([3, 0, 0, 0]).permutation(50).tolist()


def test_an_accelerated_loader_tells_the_epoch():
    sampler = EpochSampler(10, seed=1)
    loader = DataLoader(ImageRows(as_dataset()), batch_size=4, sampler=sampler, collate_fn=list)
    prepared = Accelerator(cpu=True).prepare(loader)
    prepared.set_epoch(2)
    labels = [row["label"] for batch in prepared for row in batch]
    sampler.set_epoch(2)
    assert labels == [row.row % 3 for row in sampler]


def test_no_rows_have_no_order():
    with pytest.raises(ValueError, match="`num_rows` is 0"):
        EpochSampler(0)
