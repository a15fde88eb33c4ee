import io
import sys
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
from datasets import Array3D, ClassLabel, Dataset, DatasetDict, Features, Value
from PIL import Image
from table_files import write_table

from mixtext_hf.data import load_text_datasets
from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.images.datasets import load_image_datasets, recognise_image_columns
from mixtext_hf.data.images.digits import digits


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 10, 3), dtype=np.uint8)
NAMES = ["cat" if i % 3 else "ant" for i in range(12)]


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path):
    return lambda name, rows, features=None: write_table(tmp_path / name, rows, features)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def table(image="image", label="label", labels=NAMES, pixels=PIXELS):
    return [{image: {"bytes": png(p), "path": None}, label: name} for p, name in zip(pixels, labels, strict=False)]


def check_images(split, expected=PIXELS):
    assert len(split) == len(expected)
    for row, pixels in zip(split, expected, strict=True):
        np.testing.assert_array_equal(to_array(row["image"]), pixels)


# ---- sources ----


def test_parquet_with_encoded_bytes(write):
    data = load_image_datasets(train_file=write("a.parquet", table()), test_file=write("b.parquet", table()[:4]))
    check_images(data.train)
    check_images(data.test["test"], PIXELS[:4])
    assert isinstance(data.train.features["image"], datasets.Image) and data.train.features["image"].decode
    assert (data.image_column, data.label_column) == ("image", "label")
    assert (data.label_names, data.num_labels) == (["ant", "cat"], 2)
    assert list(data.train["label"]) == [i % 3 > 0 for i in range(12)]
    assert (data.image_shape, data.num_channels) == ((8, 10, 3), 3)
    assert (data.problem_type, data.metrics) == ("single_label_classification", ("accuracy", "macro_f1"))
    assert data.validation == {} and data.rest is None
    assert data.source["files"]["train_file"][0].endswith("a.parquet")
    assert data.source["sizes"] == {"train": 12, "test": 4}


@pytest.mark.parametrize(
    "form", ["bytes", "large bytes", "struct", "bytes only", "image", "not decoded", "paths", "array"]
)
def test_every_form_of_images_in_files(write, tmp_path, form):
    features = {"label": ClassLabel(names=["ant", "cat"])}
    if form == "paths":
        for i, pixels in enumerate(PIXELS):
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        images, features["img"] = [str(tmp_path / f"{i}.png") for i in range(12)], Value("string")
    elif form == "array":
        images, features["img"] = list(PIXELS), Array3D((8, 10, 3), "uint8")
    elif form in ("bytes", "large bytes"):
        images, features["img"] = [png(p) for p in PIXELS], Value("binary" if form == "bytes" else "large_binary")
    elif form == "bytes only":
        images, features["img"] = [{"bytes": png(p)} for p in PIXELS], {"bytes": Value("binary")}
    elif form == "struct":
        images = [{"bytes": png(p), "path": "a.png"} for p in PIXELS]
        features["img"] = {"bytes": Value("binary"), "path": Value("string")}
    else:
        images, features["img"] = [Image.fromarray(p) for p in PIXELS], datasets.Image(decode=form == "image")
        if form == "not decoded":
            images = [{"bytes": png(p), "path": None} for p in PIXELS]
    rows = [{"img": image, "label": i % 2} for i, image in enumerate(images)]
    data = load_image_datasets(train_file=write("a.parquet", rows, Features(features)))
    check_images(data.train)
    assert set(data.train.column_names) == {"image", "label"} and data.label_names == ["ant", "cat"]


def test_csv_with_paths(write, tmp_path):
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    rows = [{"image": str(tmp_path / f"{i}.png"), "label": name} for i, name in enumerate(NAMES)]
    check_images(load_image_datasets(train_file=write("a.csv", rows)).train)


@pytest.mark.parametrize("splits", [[], ["train", "test"], ["train", "validation", "test"]], ids=str)
def test_a_folder_of_images(tmp_path, splits):
    folder = tmp_path / "pets"
    for split in splits or [""]:
        for i, (pixels, name) in enumerate(zip(PIXELS, NAMES, strict=True)):
            path = folder / split / name / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    data = load_image_datasets(dataset_name=str(folder))
    by_name = {"train": data.train, **data.validation, **data.test}
    assert set(by_name) == set(splits or ["train"])
    by_class = [i for name in ("ant", "cat") for i in range(12) if NAMES[i] == name]
    for split in by_name.values():
        check_images(split, PIXELS[by_class])
        assert list(split["label"]) == [0] * 4 + [1] * 8
    assert data.label_names == ["ant", "cat"] and data.source["dataset"] == str(folder)


def test_a_folder_without_classes_is_to_be_predicted(tmp_path):
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    data = load_image_datasets(dataset_name=str(tmp_path), label_names=["a", "b"])
    assert data.train is None and data.label_column is None and data.label_names == ["a", "b"]
    check_images(data.test["test"])


def test_a_data_set_of_the_hub(monkeypatch):
    features = Features(
        {
            "img": datasets.Image(),
            "fine_label": ClassLabel(names=["a", "b"]),
            "coarse_label": ClassLabel(names=["x", "y", "z"]),
        }
    )
    rows = [{"img": Image.fromarray(p), "fine_label": i % 2, "coarse_label": i % 3} for i, p in enumerate(PIXELS)]
    split = Dataset.from_list(rows, features=features)
    asked = []

    def load_dataset(*args, **kwargs):
        asked.append((args, kwargs))
        return DatasetDict({"train": split, "test": split})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    data = load_image_datasets(dataset_name="uoft-cs/cifar100", revision="abc", token="secret")
    assert asked == [(("uoft-cs/cifar100", None), {"revision": "abc", "cache_dir": None, "token": "secret"})]
    check_images(data.train)
    assert data.label_names == ["a", "b"] and "secret" not in str(data.source)
    coarse = load_image_datasets(dataset_name="uoft-cs/cifar100", label_column="coarse_label")
    assert coarse.label_names == ["x", "y", "z"] and list(coarse.train["label"][:4]) == [0, 1, 2, 0]


def test_digits_are_the_default():
    data = load_image_datasets()
    assert data.source["dataset"] == "digits" and set(data.source["package_versions"]) == {"scikit-learn"}
    assert (len(data.train), len(data.test["test"])) == (1437, 360)
    assert data.label_names == [str(i) for i in range(10)] and data.image_shape == (32, 32, 1)
    for split in (data.train, data.test["test"]):
        counts = Counter(split["label"])
        assert set(counts) == set(range(10)) and max(counts.values()) < 1.1 * min(counts.values())
    assert load_image_datasets(dataset_name="digits", seed=5).test["test"]["label"][:] == data.test["test"]["label"][:]


def test_digits_are_enlarged_by_pil():
    from sklearn.datasets import load_digits

    train, test, _ = digits(side=16)
    small = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    enlarged = {np.asarray(Image.fromarray(p).resize((16, 16), Image.Resampling.BICUBIC)).tobytes() for p in small}
    ours = [np.asarray(image).tobytes() for split in (train, test) for image in split["image"]]
    assert len(ours) == 1797 and set(ours) == enlarged
    assert to_array(train[0]["image"]).dtype == np.uint8


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="'digits' is part of scikit-learn, which is not installed: `pip install"):
        load_image_datasets()


# ---- selection ----


def test_selections_are_those_of_texts(write):
    labels = [f"c{i % 4}" for i in np.random.default_rng(1).permutation(60)]
    small = PIXELS[np.arange(60) % 12]
    images = [
        {"image": {"bytes": png(p), "path": None}, "label": name, "idx": i}
        for i, (p, name) in enumerate(zip(small, labels, strict=True))
    ]
    texts = [{"text": "x", "label": name, "idx": i} for i, name in enumerate(labels)]
    for arguments in (
        {"labeled_per_class": 3},
        {"labeled_per_class": 2, "max_train_samples": 5, "seed": 4},
        {"validation_split_fraction": 0.2, "seed": 2, "max_eval_samples": 7},
        {"max_predict_samples": 9, "max_train_samples": 20, "seed": 1},
    ):
        ours = load_image_datasets(
            train_file=write("a.parquet", images), test_file=write("b.parquet", images), **arguments
        )
        theirs = load_text_datasets(
            train_file=write("c.parquet", texts), test_file=write("d.parquet", texts), **arguments
        )
        pairs = [(ours.train, theirs.train), (ours.rest, theirs.rest), (ours.test["test"], theirs.test["test"])]
        pairs += [(ours.validation[name], theirs.validation[name]) for name in theirs.validation]
        for one, other in pairs:
            assert (one is None) == (other is None)
            if one is not None:
                assert list(one["idx"]) == list(other["idx"]) and list(one["label"]) == list(other["label"])
        assert ours.source["sizes"] == {k: v for k, v in theirs.source["sizes"].items() if k != "unlabeled"}
        assert ours.validation.keys() == theirs.validation.keys()


def test_labels_are_those_of_a_model(write):
    data = load_image_datasets(test_file=write("a.parquet", table()), label_names=["dog", "cat", "ant"])
    assert data.label_names == ["dog", "cat", "ant"] and list(data.test["test"]["label"][:2]) == [2, 1]


def test_integers_and_hidden_labels(write):
    train = table(labels=[i % 3 for i in range(12)])
    test = table(labels=[-1] * 12)
    data = load_image_datasets(train_file=write("a.parquet", train), test_file=write("b.parquet", test))
    assert data.label_names == ["0", "1", "2"]
    assert set(data.test["test"]["label"]) == {None} and data.label_column == "label"
    unlabelled = [{"image": row["image"]} for row in table()]
    data = load_image_datasets(test_file=write("c.parquet", unlabelled), label_names=["a", "b"])
    assert data.label_column is None and data.num_labels == 2


def test_grey_images_may_come_before_coloured_ones(write):
    rows = table()
    rows[0]["image"] = {"bytes": png(PIXELS[0, :, :, 0]), "path": None}
    data = load_image_datasets(train_file=write("a.parquet", rows))
    assert data.image_shape == (8, 10, 1) and data.num_channels == 3


# ---- columns ----


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["image", "label"], ("image", "label")),
        (["img", "fine_label", "coarse_label"], ("img", "fine_label")),
        (["image_file_path", "image", "labels"], ("image", "labels")),
        (["Image", "Label"], ("Image", "Label")),
        (["pixel_values", "target"], ("pixel_values", "target")),
        (["image", "pixel_values", "label"], ("image", "label")),
        (["picture", "class"], ("picture", "class")),
        (["image"], ("image", None)),
    ],
)
def test_columns_are_recognised(names, expected):
    found = recognise_image_columns(names)
    assert (found["image_column"], found.get("label_column")) == expected


@pytest.mark.parametrize(
    ("names", "arguments", "said"),
    [
        (["a", "label"], {}, r"`image_column` cannot be recognised, no column.*\['a', 'label'\].*--image_column"),
        (["image", "img", "label"], {}, r"`image_column` cannot be recognised, several.*\['image', 'img'\]"),
        (["image", "label", "labels"], {}, "`label_column` cannot be recognised, several"),
        (["image", "x"], {"require_label": True}, "`label_column` cannot be recognised, no column.*--label_column"),
        (["image", "label"], {"image": "img"}, "`image_column` is 'img', but there is no such column"),
        (["image", "label"], {"label": "y"}, "`label_column` is 'y', but there is no such column"),
        (["image", "label"], {"label": "image"}, "`image_column` cannot be recognised|also the image column"),
        (["image", "label"], {"image": "image", "label": "image"}, "also the image column"),
    ],
    ids=str,
)
def test_columns_that_cannot_be_told_are_refused(names, arguments, said):
    with pytest.raises(ValueError, match=said):
        recognise_image_columns(names, **arguments)


def test_columns_may_be_named_and_get_the_usual_names(write):
    rows = [{"photo_a": row["image"], "image": "x", "kind": row["label"], "views": 3} for row in table()]
    data = load_image_datasets(train_file=write("a.parquet", rows), image_column="photo_a", label_column="kind")
    check_images(data.train)
    assert set(data.train.column_names) == {"image", "label"}


def test_raw_pixel_values_are_not_taken_for_ready(write):
    features = Features({"pixel_values": Array3D((8, 10, 3), "uint8"), "label": Value("string")})
    rows = [{"pixel_values": p, "label": name} for p, name in zip(PIXELS, NAMES, strict=True)]
    data = load_image_datasets(train_file=write("a.parquet", rows, features))
    check_images(data.train)
    assert "pixel_values" not in data.train.column_names


# ---- errors ----


def test_images_that_are_missing_or_broken_are_named(write):
    rows = table()
    rows[3]["image"] = rows[7]["image"] = None
    with pytest.raises(ValueError, match="image column 'image' of the split 'train' holds None at row 3, in 2 rows"):
        load_image_datasets(train_file=write("a.parquet", rows))
    broken = table()
    broken[0]["image"] = {"bytes": b"junk", "path": None}
    with pytest.raises(
        ValueError, match=r"1 of 24 images cannot be used:\n  row 0 of the split 'validation': .*identified"
    ):
        load_image_datasets(train_file=write("b.parquet", table()), validation_file=write("c.parquet", broken))


def test_numbers_that_are_no_images_are_refused(write):
    features = Features({"image": Array3D((8, 10, 3), "float32"), "label": Value("string")})
    rows = [{"image": p / 255, "label": name} for p, name in zip(PIXELS, NAMES, strict=True)]
    with pytest.raises(ValueError, match=r"row 0 of the split 'train' cannot be used: .*float64.*give uint8"):
        load_image_datasets(train_file=write("a.parquet", rows, features))
    with pytest.raises(ValueError, match="image column 'image' of the split 'train' holds int64, no images"):
        load_image_datasets(train_file=write("b.parquet", [{"image": 1, "label": "a"}] * 3))


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"train_file": "nowhere.parquet"}, FileNotFoundError, r"`train_file`: there is no file 'nowhere\.parquet'"),
        ({"dataset_name": "no/such/folder"}, Exception, "no/such/folder"),
        ({"train_file": "GOOD", "dataset_name": "x"}, ValueError, "only one source"),
        ({"dataset_config_name": "x"}, ValueError, "without a `dataset_name`"),
        (
            {"train_file": "GOOD", "labeled_per_class": 5},
            ValueError,
            "`labeled_per_class` is 5, but class 'ant' has only 4",
        ),
        ({"train_file": "GOOD", "labeled_per_class": 0}, ValueError, "`labeled_per_class` is 0"),
        ({"train_file": "GOOD", "seed": -1}, ValueError, "`seed` is -1"),
        ({"train_file": "GOOD", "validation_split_fraction": 1.0}, ValueError, "between 0 and 1"),
        ({"test_file": "GOOD", "validation_split_fraction": 0.5}, ValueError, "there is no training split"),
        ({"test_file": "GOOD", "labeled_per_class": 2}, ValueError, "there is no training split"),
        (
            {"test_file": "GOOD", "max_eval_samples": 2},
            ValueError,
            "validation split: leave it out, or limit the test split by `max_predict",
        ),
        ({"train_file": "GOOD", "max_predict_samples": 2}, ValueError, "there is no test split"),
        ({"train_file": "GOOD", "image_column": "img"}, ValueError, "`image_column` is 'img'"),
        ({"train_file": "GOOD", "test_file": "OTHER"}, ValueError, "'image' of the split 'test' does not exist"),
        ({"train_file": "LISTS"}, ValueError, "holds List: an image has one class"),
        ({"train_file": "ONE"}, ValueError, "single class"),
        ({"train_file": "HIDDEN"}, ValueError, "labels of the training split are hidden.*row 2"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(write, arguments, error, said):
    files = {
        "GOOD": table(),
        "OTHER": table(image="img"),
        "LISTS": table(labels=[[0, 1]] * 12),
        "ONE": table(labels=["a"] * 12),
        "HIDDEN": table(labels=["a", "b", None, *("ab" * 4), "a"]),
    }
    arguments = {
        name: write(f"{value.lower()}.parquet", files[value]) if value in files else value
        for name, value in arguments.items()
    }
    with pytest.raises(error, match=said):
        load_image_datasets(**arguments)
