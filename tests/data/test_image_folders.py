"""Folders and tables of image files as people have them: the splits and classes that a person sees, or one clear error."""

from __future__ import annotations

import io
import logging
import os
import struct
import zlib
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from table_files import write_table

from mixtext_hf.data.images.arrays import MAX_PIXELS, to_array
from mixtext_hf.data.images.datasets import load_image_datasets
from mixtext_hf.data.images.folders import kind_of_split, load_image_folder
from mixtext_hf.data.tables.folders import split_of, tables_in


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pets"


def pixels_of(path: Path) -> np.ndarray:
    """Every path has a picture of its own, and no two files of a test the same."""
    return np.random.default_rng(zlib.crc32(str(path).encode())).integers(0, 256, (6, 7, 3), dtype=np.uint8)


def draw(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        kind = "JPEG" if path.lower().endswith((".jpg", ".jpeg")) else "PNG"
        Image.fromarray(pixels_of(root / path)).save(root / path, kind)


def seen(data, root):
    """`{split: {class: names of files}}` of what was loaded; the pixels must be those of the files."""
    found = {}
    for name, split in data.by_name().items():
        stored = split.cast_column("image", datasets.Image(decode=False))
        of_split = found[name] = {}
        for row, decoded in zip(stored, split, strict=True):
            label = row.get("label")
            key = None if label is None else data.label_names[label]
            path = Path(row["image"]["path"])
            of_split.setdefault(key, []).append(str(path.relative_to(root)))
            if path.suffix == ".png":
                np.testing.assert_array_equal(to_array(decoded["image"]), pixels_of(path))
    return found


# ---- splits ----


def test_a_flat_test_folder_has_hidden_labels(folder):
    draw(folder, "train/cat/a.png", "train/dog/a.png", "test/1.png", "test/2.png")
    data = load_image_datasets(dataset_name=str(folder))
    assert seen(data, folder) == {
        "train": {"cat": ["train/cat/a.png"], "dog": ["train/dog/a.png"]},
        "test": {None: ["test/1.png", "test/2.png"]},
    }
    assert data.label_names == ["cat", "dog"] and data.label_column == "label"


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Valid", "Testing"),
        ("TRAIN", "Dev", "Eval"),
        ("train", "val", "evaluation"),
        ("train_images", "images-val", "test set"),
        ("training_set/training_set", "validation_set/images", "testset"),
    ],
    ids=str,
)
def test_splits_by_their_usual_names(folder, names):
    draw(folder, *(f"{name}/{label}/1.png" for name in names for label in ("cat", "dog")))
    data = load_image_datasets(dataset_name=str(folder))
    assert seen(data, folder) == {
        kind: {label: [f"{name}/{label}/1.png"] for label in ("cat", "dog")}
        for kind, name in zip(("train", "validation", "test"), names, strict=True)
    }


@pytest.mark.parametrize("name", ["cat", "trainer", "images", "steam train", "contest", "set", "data"])
def test_other_names_are_no_splits(name):
    assert kind_of_split(name) is None


def test_a_flat_test_folder_alone_and_one_wrapped_in_a_folder(folder):
    draw(folder, "archive/test/1.png", "archive/test/2.png")
    data = load_image_datasets(dataset_name=str(folder), label_names=["x", "y"])
    assert seen(data, folder) == {"test": {None: ["archive/test/1.png", "archive/test/2.png"]}}


def test_two_folders_of_one_split_are_refused(folder):
    draw(folder, *(f"{name}/{label}/1.png" for name in ("train", "val", "valid") for label in ("cat", "dog")))
    with pytest.raises(
        ValueError, match=r"pets/val' and '.*pets/valid' are both a validation split.*--validation_file"
    ):
        load_image_datasets(dataset_name=str(folder))


def test_a_split_named_by_its_folder(folder):
    draw(folder, "mine/cat/1.png", "mine/dog/1.png", "other/1.png")
    data = load_image_datasets(train_file=str(folder / "mine"), test_file=str(folder / "other"))
    assert seen(data, folder) == {
        "train": {"cat": ["mine/cat/1.png"], "dog": ["mine/dog/1.png"]},
        "test": {None: ["other/1.png"]},
    }
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match=r"`test_file`: the folder '.*empty' has no images"):
        load_image_datasets(train_file=str(folder / "mine"), test_file=str(folder / "empty"))
    with pytest.raises(ValueError, match="has 1 images and no folders of classes, and a train split needs labels"):
        load_image_datasets(train_file=str(folder / "other"))


@pytest.mark.parametrize("argument", ["train_file", "test_file"])
@pytest.mark.parametrize("names", [("train", "test"), ("Training", "val", "test_images")])
def test_a_folder_of_splits_is_no_split(folder, argument, names):
    draw(folder, *(f"{name}/{label}/1.png" for name in names for label in ("cat", "dog")))
    with pytest.raises(
        ValueError, match=rf"`{argument}`: the folder '.*pets' has the splits .*give it as --dataset_name"
    ):
        load_image_datasets(**{argument: str(folder)})


def test_classes_may_be_called_like_splits(folder):
    draw(folder, "train/1.png", "car/1.png", "test/1.png")
    assert seen(load_image_datasets(train_file=str(folder)), folder)["train"].keys() == {"train", "car", "test"}


# ---- classes ----


@pytest.mark.parametrize("name", ["train", "Validation", "dev"])
def test_a_class_that_is_called_as_a_split(folder, name, caplog):
    draw(folder, *(f"{label}/{i}.png" for label in ("bus", "car", name) for i in range(2)))
    with caplog.at_level(logging.INFO):
        data = load_image_datasets(dataset_name=str(folder))
    assert seen(data, folder) == {
        "train": {label: [f"{label}/0.png", f"{label}/1.png"] for label in ("bus", "car", name)}
    }
    assert f"'{name}' beside 'bus', 'car' is taken for a class" in caplog.text


def test_a_class_called_train_below_a_split(folder):
    draw(folder, *(f"{split}/{label}/1.png" for split in ("train", "test") for label in ("bus", "train", "test")))
    data = load_image_datasets(dataset_name=str(folder))
    assert data.label_names == ["bus", "test", "train"] and set(data.by_name()) == {"train", "test"}


@pytest.mark.parametrize("paths", [("test/1.png",), ("train/a/1.png", "train/b/1.png"), ("test/cat/1.png",)], ids=str)
def test_what_may_be_a_split_or_a_class_is_refused(folder, paths):
    draw(folder, "cat/1.png", "dog/1.png", *paths)
    with pytest.raises(
        ValueError, match=r"may be splits, beside 'cat', 'dog', which may be classes.*put them into a folder 'train'"
    ):
        load_image_datasets(dataset_name=str(folder))


def test_the_class_is_the_first_folder_below_the_split(folder):
    draw(folder, "cat/spring/low/1.png", "cat/2.png", "dog/3.png")
    assert seen(load_image_datasets(dataset_name=str(folder)), folder) == {
        "train": {"cat": ["cat/2.png", "cat/spring/low/1.png"], "dog": ["dog/3.png"]}
    }
    draw(
        folder.parent / "split", *(f"{split}/{label}/2023/may/1.png" for split in ("train", "test") for label in "ab")
    )
    data = load_image_datasets(dataset_name=str(folder.parent / "split"))
    assert data.label_names == ["a", "b"] and [len(split) for split in data.by_name().values()] == [2, 2]


def test_classes_in_one_more_folder(folder, caplog):
    draw(folder, "flowers/images/rose/1.png", "flowers/images/tulip/1.png")
    with caplog.at_level(logging.INFO):
        data = load_image_datasets(dataset_name=str(folder))
    assert data.label_names == ["rose", "tulip"]
    assert "pets/flowers/images" in caplog.text


def test_one_class_is_refused(folder):
    draw(folder, "train/images_of_cats/1.png", "train/images_of_cats/2.png")
    with pytest.raises(ValueError, match=r"has a single class, 'images_of_cats'.*first folder below the split"):
        load_image_datasets(dataset_name=str(folder))


@pytest.mark.parametrize("other", ["Cat", "cat ", "CAT"])
def test_classes_that_differ_by_case_are_refused(folder, other):
    draw(folder, "train/cat/1.png", "train/dog/1.png", f"test/{other}/1.png", "test/dog/1.png")
    with pytest.raises(ValueError, match=f"differ by case or blanks alone: .*'{other}'"):
        load_image_datasets(dataset_name=str(folder))


def test_a_class_of_the_test_split_alone_is_refused(folder):
    draw(folder, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/emu/1.png")
    with pytest.raises(ValueError, match=r"labels that the training split does not have: \['emu'\]"):
        load_image_datasets(dataset_name=str(folder))


@pytest.mark.parametrize("path", ["train/loose.png", "loose.png"])
def test_images_beside_folders_are_refused(folder, path):
    draw(folder, "train/cat/1.png", "train/dog/1.png", path)
    with pytest.raises(ValueError, match=r"loose\.png' lies beside the folders"):
        load_image_datasets(dataset_name=str(folder))


def test_empty_classes_and_other_files_are_said(folder, caplog):
    draw(
        folder,
        "cat/1.PNG",
        "cat/._1.png",
        "dog/1.JPeG",
        "dog/.hidden.png",
        "__MACOSX/cat/1.png",
        ".ipynb_checkpoints/1.png",
    )
    (folder / "fish").mkdir()
    for name in ("cat/Thumbs.db", "dog/.DS_Store", "cat/notes.txt", "labels.xml", "dog/README"):
        (folder / name).write_text("x")
    with caplog.at_level(logging.INFO):
        data = load_image_datasets(dataset_name=str(folder))
    assert seen(data, folder) == {"train": {"cat": ["cat/1.PNG"], "dog": ["dog/1.JPeG"]}}
    assert "no images in 'fish', no class is made of that" in caplog.text
    assert "3 files are no images by their names" in caplog.text and ".txt 1" in caplog.text
    assert "train: 2 images of" in caplog.text and "cat 1, dog 1" in caplog.text


def test_many_classes_are_told_in_short(folder, caplog):
    draw(folder, *(f"c{i:02}/{k}.png" for i in range(12) for k in range(2 if i == 3 else 1)))
    with caplog.at_level(logging.INFO):
        load_image_datasets(dataset_name=str(folder))
    assert "12 classes, from 1 (c" in caplog.text and "to 2 (c03)" in caplog.text


def test_links_are_followed_and_loops_are_not(folder):
    draw(folder.parent / "elsewhere", "1.png", "2.png")
    draw(folder, "dog/1.png")
    os.symlink(folder.parent / "elsewhere", folder / "cat")
    os.symlink(folder, folder / "dog" / "up")
    assert load_image_datasets(dataset_name=str(folder)).train.num_rows == 3


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_folder_that_describes_itself_is_read_by_datasets(folder, name):
    draw(folder, "train/1.png", "train/2.png", "test/3.png")
    for split, files in (("train", ("1.png", "2.png")), ("test", ("3.png",))):
        rows = [{"file_name": file, "label": "cat" if file == "1.png" else "dog"} for file in files]
        lines = ["file_name,label", *(f"{r['file_name']},{r['label']}" for r in rows)]
        if name.endswith("jsonl"):
            lines = [str(row).replace("'", '"') for row in rows]
        (folder / split / name).write_text("\n".join(lines) + "\n")
    assert load_image_folder(str(folder)) is None
    data = load_image_datasets(dataset_name=str(folder))
    assert data.label_names == ["cat", "dog"] and list(data.test["test"]["label"]) == [1]


# ---- tables of paths ----


def competition(folder, column="id", suffix=""):
    draw(folder, *(f"train/a{i}.png" for i in range(4)), "test/a9.png", "test/a0.png")
    rows = [{column: f"a{i}{suffix}", "label": "cat" if i % 2 else "dog"} for i in range(4)]
    write_table(folder / "train.csv", rows)
    write_table(folder / "test.csv", [{column: f"a9{suffix}"}, {column: f"a0{suffix}"}])


@pytest.mark.parametrize(("column", "suffix"), [("id", ""), ("image_id", ".png"), ("file_name", ".png")])
def test_a_table_with_the_names_of_files(folder, column, suffix, caplog):
    competition(folder, column, suffix)
    with caplog.at_level(logging.INFO):
        data = load_image_datasets(train_file=str(folder / "train.csv"), test_file=str(folder / "test.csv"))
    # a0 is a file of both splits: that of the split's own folder.
    assert seen(data, folder) == {
        "train": {"dog": ["train/a0.png", "train/a2.png"], "cat": ["train/a1.png", "train/a3.png"]},
        "test": {None: ["test/a9.png", "test/a0.png"]},
    }
    assert "train: 4 images are found by the names of their files" in caplog.text


def test_a_folder_with_a_table_names_it(folder):
    competition(folder)
    with pytest.raises(
        ValueError, match=r"train images lie in no folders of classes, but there is test.csv, train.csv.*--train_file"
    ):
        load_image_datasets(dataset_name=str(folder))


def test_names_that_are_numbers_and_paths_from_the_folder_of_the_table(folder, caplog):
    draw(folder, "images/001.png", "images/002.png")
    write_table(folder / "a.csv", [{"id": 1, "label": "cat"}, {"id": 2, "label": "dog"}])
    data = load_image_datasets(train_file=str(folder / "a.csv"))
    assert seen(data, folder) == {"train": {"cat": ["images/001.png"], "dog": ["images/002.png"]}}
    write_table(folder / "b.csv", [{"image": f"images/00{i + 1}.png", "label": "ab"[i]} for i in range(2)])
    with caplog.at_level(logging.INFO):
        data = load_image_datasets(train_file=str(folder / "b.csv"))
    assert seen(data, folder) == {"train": {"a": ["images/001.png"], "b": ["images/002.png"]}}
    assert "2 paths of images are those seen from" in caplog.text


def test_names_of_several_files_and_of_none_are_refused(folder):
    draw(folder, "one/a.png", "two/a.png")
    write_table(folder / "a.csv", [{"image": "a", "label": "cat"}, {"image": "a", "label": "dog"}])
    with pytest.raises(
        ValueError, match=r"Row 0 of the split 'train' names the image 'a', and there are .*one/a.png and .*two/a.png"
    ):
        load_image_datasets(train_file=str(folder / "a.csv"))
    write_table(folder / "b.csv", [{"image": "x.png", "label": "cat"}, {"image": "one", "label": "dog"}])
    with pytest.raises(
        ValueError,
        match=r"2 of 2 images cannot be used:\n  x.png \(row 0 of the split 'train'\): there is no such file",
    ):
        load_image_datasets(train_file=str(folder / "b.csv"))


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a.png",
        "https://host/a.png",
        "hf://datasets/a/b/c.png",
        "zip://a.png::https://host/b.zip",
        "s3://b/a",
    ],
)
def test_nothing_is_fetched(folder, url, monkeypatch):
    def fetch(*args, **kwargs):
        raise AssertionError("something was fetched")

    monkeypatch.setattr("datasets.features.image.xopen", fetch)
    draw(folder, "a.png")
    rows = [{"image": str(folder / "a.png"), "label": "cat"}, {"image": url, "label": "dog"}]
    stored = [{**row, "image": {"bytes": None, "path": row["image"]}} for row in rows]
    for name, table in (("a.csv", rows), ("b.parquet", stored)):
        file = write_table(folder / name, table)
        with pytest.raises(
            ValueError, match=r"Row 1 of the split 'train' names an image elsewhere, .*download the images first"
        ):
            load_image_datasets(train_file=file, skip_broken_images=True)
    with pytest.raises(ValueError, match="nothing is fetched"):
        to_array({"bytes": None, "path": url})


# ---- broken files ----


def png_of(width, height):
    """A header that promises an image of this size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    piece = b"IHDR" + header
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + piece + struct.pack(">I", zlib.crc32(piece)) + b"\0\0\0\0IDAT"
    )


def spoil(folder):
    draw(
        folder, *(f"train/{label}/{i}.{kind}" for label in ("cat", "dog") for i in range(5) for kind in ("png", "jpg"))
    )
    draw(folder, "test/cat/1.png", "test/dog/1.png")
    for name in ("train/cat/0.png", "test/dog/1.png", "train/dog/0.jpg"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
    (folder / "train/cat/2.png").write_bytes(b"")
    (folder / "train/dog/3.jpg").write_text("no image at all")
    (folder / "train/dog/4.png").write_bytes(png_of(30_000, 30_000))
    (folder / "train/dog/2.png").write_bytes(png_of(10_000, 9_000))
    (folder / "train/dog/9.svg").write_text("<svg/>")
    (folder / "train/dog/8.heic").write_bytes(b"\0\0\0\x18ftypheic")
    Image.new("F", (6, 6)).save(folder / "train/cat/7.tiff")


REASONS = {
    "train/cat/0.png": "truncated",
    "train/cat/2.png": "empty (0 bytes)",
    "train/cat/7.tiff": "the mode 'f', 32 bits",
    "train/dog/0.jpg": "truncated",
    "train/dog/2.png": "10000 x 9000 pixels, more than",
    "train/dog/3.jpg": "cannot be identified",
    "train/dog/4.png": "(900000000 pixels): more than",
    "train/dog/8.heic": "the kind .heic are not read: convert it",
    "train/dog/9.svg": "the kind .svg are not read: convert it",
    "test/dog/1.png": "truncated",
}


@pytest.mark.parametrize("how", ["headers", "full"])
def test_broken_files_are_named_together_before_training(folder, how):
    spoil(folder)
    with pytest.raises(ValueError) as caught:
        load_image_datasets(dataset_name=str(folder), check_images=how)
    first, *lines, remedy = str(caught.value).splitlines()
    assert first == "10 of 25 images cannot be used:" and "--skip_broken_images True" in remedy
    assert len(lines) == len(REASONS)
    for line, (path, reason) in zip(lines, REASONS.items(), strict=True):
        assert path in line and reason in line.lower()


def test_broken_files_are_left_out_and_counted(folder, caplog):
    spoil(folder)
    data = load_image_datasets(dataset_name=str(folder), skip_broken_images=True)
    assert data.source["broken_images_left_out"] == {"train": 9, "test": 1}
    assert data.source["sizes"] == {"train": 14, "test": 1}
    assert "10 of 25 images cannot be used and are left out" in caplog.text and "9.svg" in caplog.text
    assert sum(map(len, seen(data, folder)["train"].values())) == 14
    with pytest.raises(ValueError, match="`check_images` is 'some'"):
        load_image_datasets(dataset_name=str(folder), check_images="some")


def test_a_split_of_broken_files_alone_is_refused(folder):
    draw(folder, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png")
    (folder / "test/cat/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="No image of the split 'test' can be used"):
        load_image_datasets(dataset_name=str(folder), skip_broken_images=True)


def test_more_broken_files_than_are_shown(folder):
    draw(folder, *(f"{label}/{i}.png" for label in ("cat", "dog") for i in range(8)))
    for i in range(8):
        (folder / f"cat/{i}.png").write_bytes(b"\0")
        (folder / f"dog/{i}.png").write_bytes(b"\0")
    with pytest.raises(ValueError, match=r"16 of 16 images cannot be used:\n(.*\n){10}  and 6 more\.\n"):
        load_image_datasets(dataset_name=str(folder))


def test_pixels_that_only_decoding_finds_broken(folder):
    draw(folder, "cat/1.png", "dog/1.png")
    # Whole pieces with right check sums, and rubbish in the pixels.
    content = (folder / "cat/1.png").read_bytes()
    start = content.index(b"IDAT") - 4
    length = struct.unpack(">I", content[start : start + 4])[0]
    piece = b"IDAT" + b"\xff" * length
    spoilt = content[: start + 4] + piece + struct.pack(">I", zlib.crc32(piece)) + content[start + 12 + length :]
    (folder / "cat/1.png").write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"1 of 2 images cannot be used:\n  .*cat/1.png"):
        load_image_datasets(dataset_name=str(folder), check_images="full")
    with pytest.raises(ValueError, match=r"row 0 of the split 'train' cannot be used"):
        load_image_datasets(dataset_name=str(folder))


def test_bytes_in_tables_are_looked_at_too(tmp_path):
    rows = []
    for i in range(4):
        buffer = io.BytesIO()
        Image.fromarray(pixels_of(Path(str(i)))).save(buffer, "PNG")
        rows.append(
            {"image": {"bytes": buffer.getvalue()[: 60 if i == 2 else None], "path": None}, "label": "ab"[i % 2]}
        )
    file = write_table(tmp_path / "a.parquet", rows)
    with pytest.raises(
        ValueError, match=r"1 of 4 images cannot be used:\n  row 2 of the split 'train': .*[Tt]runcated"
    ):
        load_image_datasets(train_file=file)
    assert len(load_image_datasets(train_file=file, skip_broken_images=True).train) == 3


# ---- kinds of images ----


def test_16_bits_are_brought_to_8(folder, caplog):
    draw(folder, "cat/1.png", "dog/1.png")
    levels = np.array([[0, 1, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    Image.fromarray(levels).save(folder / "cat/2.png")
    Image.fromarray(levels).save(folder / "dog/2.tiff")
    data = load_image_datasets(dataset_name=str(folder))
    assert "Grey images with 16 bits a pixel: 2. 65535 is taken for white" in caplog.text
    for row in (1, 3):
        np.testing.assert_array_equal(to_array(data.train[row]["image"])[0, :, 0], [0, 0, 0, 1, 1, 128, 255])


def test_an_animation_gives_its_first_frame(folder, caplog):
    draw(folder, "cat/1.png", "dog/1.png")
    frames = [Image.new("RGB", (5, 5), (shade, 0, 0)) for shade in (200, 10)]
    frames[0].save(folder / "cat/2.gif", save_all=True, append_images=frames[1:])
    data = load_image_datasets(dataset_name=str(folder))
    assert "Images with several frames: 1. The first of each is taken" in caplog.text
    assert to_array(data.train[1]["image"])[0, 0].tolist() == [200, 0, 0]


def test_what_is_left_out_of_an_image_is_said_once_with_a_count(folder, caplog):
    draw(folder, "cat/1.png", "dog/1.png")
    clear = np.zeros((5, 5, 4), dtype=np.uint8)
    clear[..., 0] = 90
    Image.fromarray(clear).save(folder / "cat/2.png")
    Image.fromarray(clear[..., [0, 3]]).save(folder / "cat/3.png")
    palette = Image.fromarray(clear[..., :3]).quantize(2)
    palette.save(folder / "dog/2.png", transparency=0)
    Image.fromarray(clear).convert("CMYK").save(folder / "dog/3.jpg")
    # Without a word: what is opaque, a grey one, a palette.
    Image.fromarray(clear[..., :3]).quantize(2).save(folder / "dog/4.png")
    data = load_image_datasets(dataset_name=str(folder))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.split(".")[0] for line in said] == [
        "Images with an alpha channel or a transparent colour: 3",
        "Images in the colours of print (CMYK): 1",
    ]
    assert to_array(data.train[1]["image"])[0, 0].tolist() == [90, 0, 0]


def test_colours_of_16_bits_are_said_to_lose_some(folder, caplog):
    draw(folder, "cat/1.png", "dog/1.png")
    (folder / "cat/2.png").write_bytes(deep_png([0x1234, 0xFF00, 0x00FF]))
    data = load_image_datasets(dataset_name=str(folder))
    assert "Images with 16 bits a colour: 1. The 8 higher bits are taken" in caplog.text
    assert to_array(data.train[1]["image"]).tolist() == [[[0x12, 0xFF, 0x00]]]


def deep_png(pixel):
    """A PNG of one pixel of three colours of 16 bits, which PIL does not write."""

    def piece(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    row = zlib.compress(b"\0" + struct.pack(">3H", *pixel))
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", header) + piece(b"IDAT", row) + piece(b"IEND", b"")


def test_too_many_pixels_in_memory_are_refused_as_well():
    with pytest.raises(ValueError, match=f"900000000 pixels.*more than the {MAX_PIXELS:,} pixels allowed"):
        to_array(png_of(30_000, 30_000))
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(ValueError, match="10000 x 9000 pixels, more than the"),
    ):
        to_array(png_of(10_000, 9_000))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparency_is_said_to_be_dropped(tmp_path, caplog, mode):
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        image = Image.new("RGBA", (8, 8), (200, 30, 10, 0))
        if mode == "P":
            image.convert("RGB").quantize(4).save(folder / name / "0.png", transparency=0)
        else:
            image.convert(mode).save(folder / name / "0.png")
    caplog.set_level(logging.WARNING)
    found = load_image_datasets(dataset_name=str(folder))
    assert ("Images with an alpha channel or a transparent colour: 2. It is left out" in caplog.text) == (
        mode != "RGB"
    )
    # The colour beneath.
    pixel = to_array(found.train[0]["image"])[0, 0].tolist()
    assert pixel == ([200, 30, 10] if mode != "LA" else [79])


# ---- one table of names for folders of images, of tables, and for the Hub ----


@pytest.mark.parametrize("name, kind", [("eval", "test"), ("development", "validation"), ("Training", "train")])
def test_a_split_is_called_alike_everywhere(name, kind, tmp_path):
    assert kind_of_split(name) == kind == split_of(Path(f"{name}.csv")) == split_of(Path(name, "1.csv"))


def test_tables_that_are_one_split_by_two_names_are_refused(tmp_path):
    for name in ("train", "test", "eval"):
        write_table(tmp_path / f"{name}.csv", [{"text": "a", "label": "b"}])
    with pytest.raises(ValueError, match=r"eval\.csv and test\.csv are both a test split by their names.*test_file"):
        tables_in(str(tmp_path))
    (tmp_path / "eval.csv").rename(tmp_path / "dev.csv")
    assert set(tables_in(str(tmp_path))) == {"train", "test", "validation"}
