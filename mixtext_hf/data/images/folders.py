"""Folders of images as people have them: which splits and classes a person sees in one.

The class of an image is the first folder below its split, a split is a folder with one of the usual names, and what cannot
be told for certain is an error that says what was found. Nothing here opens an image: `checks.py` does.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import datasets
from datasets import ClassLabel, Dataset, Features

from mixtext_hf._messages import listed
from mixtext_hf.data.tables.sources import Splits
from mixtext_hf.data.tables.split_names import KINDS, SPLIT_NAMES


logger = logging.getLogger(__name__)

# What people add to the name of a split: train_images, training_set, "test set".
_FILLERS = {"set", "image", "images", "img", "imgs", "data", "dataset", "split", "file", "files", "folder"}

READ = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2", ".j2k"),
)
"""Suffixes of the image files that are read, in lower case."""
NOT_READ = (".svg", ".svgz", ".heic", ".heif", ".jxl", ".psd", ".eps", ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw")
"""Suffixes of images to a person that are not read: they are rows, and named when the files are looked at."""
_TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
_METADATA = {"metadata.csv", "metadata.jsonl", "metadata.parquet"}
# What systems and archives leave behind.
_LEFT_BEHIND = {"__macosx", "thumbs.db", "desktop.ini", "@eadir"}

IMAGE, LABEL = "image", "label"
_SHOWN = 10


@dataclass
class _Folder:
    """
    What lies in a folder.

    Args:
        path (`Path`): The folder.
        images (`list[Path]`): The images right in it.
        folders (`list[_Folder]`): Its folders.
        others (`list[Path]`): The files right in it that are no images.
    """

    path: Path
    images: list[Path] = field(default_factory=list)
    folders: list[_Folder] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.name

    def all_images(self) -> list[Path]:
        return [*self.images, *(image for folder in self.folders for image in folder.all_images())]

    def all_others(self) -> list[Path]:
        return [*self.others, *(other for folder in self.folders for other in folder.all_others())]

    def with_images(self) -> list[_Folder]:
        """The folders in it that have images, at any depth."""
        return [folder for folder in self.folders if folder.all_images()]

    def without_images(self) -> list[_Folder]:
        return [folder for folder in self.folders if not folder.all_images()]


def kind_of_split(name: str) -> str | None:
    """Which of `train`, `validation` and `test` a folder of this name holds: `Training`, `test_images`; `None` if none."""
    words = [word for word in re.split(r"[\W_]+", name.lower()) if word]
    own = [word for word in words if word not in _FILLERS]
    if len(own) != 1:
        return None
    word = own[0].removesuffix("set") if own[0] != "set" else own[0]
    return KINDS.get(word)


def load_image_folder(name: str) -> Splits | None:
    """
    The splits of a folder of images.

    Args:
        name (`str`): What may be a folder: `train/cat/1.png`, `cat/1.png`, `Testing/1.png` (labels hidden), `1.png`.

    Returns:
        [`Splits`] with the columns `image` (paths, decoded when read) and `label`; no column `label` in a split without
        classes. `None` where this is no folder of images, or one that describes itself (`metadata.csv`, a data set's
        README.md): `datasets` reads those.

    Raises:
        `ValueError`: if splits and classes cannot be told for certain; it says what was found, and what to do.
    """
    root = Path(name)
    if not root.is_dir() or _describes_itself(root):
        return None
    top = _walk(root)
    if not top.all_images():
        return None
    folder = _unwrapped(top)
    if folder is not top:
        logger.info("%s: the images are those of its only folder %s.", name, folder.path)
    _say_others(top)
    splits = Splits(None, {}, {}, {"dataset": name})
    parts = _splits_of(folder, top)
    classes = {kind: _classes_of(part, kind, top) for kind, part in parts.items()}
    _check_cases(classes, name)
    # The classes are those of training; what other splits have beside them comes last, and is for others to judge.
    all_names = {label for found in classes.values() for label in found or ()}
    names = sorted(classes.get("train") or all_names)
    for kind, found in classes.items():
        _add(splits, kind, _rows(parts[kind], found, [*names, *sorted(set(found or ()) - set(names))]))
        _say(kind, parts[kind], found)
    return splits


def read_split_folder(argument: str, name: str) -> Dataset:
    """
    The images of one split, named by its folder: one folder a class in it, or images alone.

    Args:
        argument (`str`): `train_file`, `validation_file` or `test_file`, for the errors.
        name (`str`): The folder.

    Returns:
        `datasets.Dataset`: as [`load_image_folder`] has them.

    Raises:
        `ValueError`: if there are no images in it, some lie beside folders of classes, or it holds splits.
    """
    top = _walk(Path(name))
    if not top.all_images():
        raise ValueError(
            f"`{argument}`: the folder {name!r} has no images: name a folder of images, with one folder a class, or "
            f"files, for example {os.path.join(name, '*.parquet')}."
        )
    _say_others(top)
    kinds = [kind_of_split(folder.name) for folder in top.with_images()]
    if not top.images and len(kinds) > 1 and None not in kinds and len(set(kinds)) == len(kinds):
        raise ValueError(
            f"`{argument}`: the folder {name!r} has the splits of a data set in it, {_named(top.with_images())}: give it as --dataset_name, "
            "or one of them here."
        )
    kind = argument.removesuffix("_file")
    found = _classes_of(top, kind, top)
    _check_cases({kind: found}, name)
    _say(kind, top, found)
    return _rows(top, found, sorted(found or ()))


def image_files(folder: Path) -> list[Path]:
    """All images below a folder, in the order of their names."""
    return _walk(folder).all_images()


# ---- what there is ----


def _walk(path: Path, above: frozenset[str] = frozenset()) -> _Folder:
    """What lies in a folder; links are followed, but for those to a folder above."""
    found = _Folder(path)
    above = above | {os.path.realpath(path)}
    with os.scandir(path) as entries:
        in_order = sorted(entries, key=lambda entry: entry.name)
    for entry in in_order:
        if entry.name.startswith(".") or entry.name.lower() in _LEFT_BEHIND:
            continue
        of_entry = Path(path, entry.name)
        if entry.is_dir():
            if os.path.realpath(of_entry) not in above:
                found.folders.append(_walk(of_entry, above))
        elif of_entry.suffix.lower() in (*READ, *NOT_READ):
            found.images.append(of_entry)
        else:
            found.others.append(of_entry)
    return found


def _describes_itself(root: Path) -> bool:
    """Whether a file in the folder says which image is what, in the way that `datasets` reads."""
    readme = root / "README.md"
    if readme.is_file():
        head = readme.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]
        if head.startswith("---") and re.search(r"^(configs|dataset_info):", head, re.MULTILINE):
            return True
    patterns = ("*", "*/*", "*/*/*")
    return any(path.name in _METADATA for pattern in patterns for path in root.glob(pattern))


def _unwrapped(top: _Folder) -> _Folder:
    """The folder whose folders are splits or classes: archives often hold everything in one more folder."""
    folder = top
    while not folder.images and len(folder.with_images()) == 1:
        (inner,) = folder.with_images()
        if kind_of_split(inner.name) is not None:
            break
        folder = inner
        if len(inner.with_images()) > 1 or (not inner.with_images() and inner.name.lower() in _FILLERS):
            break
    is_one_class = folder is not top and not folder.with_images() and folder.name.lower() not in _FILLERS
    return top if is_one_class else folder


# ---- which splits, which classes ----


def _splits_of(folder: _Folder, top: _Folder) -> dict[str, _Folder]:
    """The folder of each split, by its kind; one without folders of splits is `train`, or `test` if it has no classes."""
    inner = folder.with_images()
    found = [f for f in inner if kind_of_split(f.name) is not None]
    others = [f for f in inner if kind_of_split(f.name) is None]
    if not inner:
        _refuse_tables(top, "its images lie in no folders of classes")
        logger.info("%s has no folders of classes: its images are taken for a test split without labels.", folder.path)
        return {"test": folder}
    if not found:
        return {"train": folder}
    if others:
        _check_beside(folder, found, others)
        return {"train": folder}
    if folder.images:
        raise ValueError(
            f"{_list_images(folder)} beside the folders {_named(found)} of splits: move them into one of these, in a folder a class."
        )
    parts: dict[str, _Folder] = {}
    for part in found:
        kind = str(kind_of_split(part.name))
        if kind in parts:
            raise ValueError(
                f"The folders {str(parts[kind].path)!r} and {str(part.path)!r} are both a {kind} split by their names: join or "
                f"rename them, or name the folder of each split by itself, such as --{kind}_file {part.path}."
            )
        parts[kind] = _without_filler(part)
    return dict(sorted(parts.items(), key=lambda item: list(SPLIT_NAMES).index(item[0])))


def _check_beside(folder: _Folder, found: list[_Folder], others: list[_Folder]) -> None:
    """Folders with names of splits stand beside others: classes, where no split can be meant; else an error."""
    deep = [part for part in found if part.with_images()]
    flat_test = [part for part in found if kind_of_split(part.name) == "test" and not part.with_images()]
    if not deep and not flat_test:
        # A training or validation split without classes would be of no use.
        logger.info(
            "%s: %s beside %s is taken for a class, not for a split.", folder.path, _named(found), _named(others)
        )
        return
    raise ValueError(
        f"The folder {str(folder.path)!r} has {_named(found)}, which may be splits, beside {_named(others)}, which may be classes: it "
        "cannot be told which are meant. If all are classes, put them into a folder 'train' in it; if not, name the folder of "
        f"each split by itself, such as --train_file FOLDER --test_file {found[0].path}, or move the others away."
    )


def _without_filler(part: _Folder) -> _Folder:
    """`train/images/cat`, `training_set/training_set/cats`: the folder that has the classes."""
    while not part.images and len(part.with_images()) == 1:
        (inner,) = part.with_images()
        if kind_of_split(inner.name) != kind_of_split(part.name) and inner.name.lower() not in _FILLERS:
            break
        part = inner
    return part


def _classes_of(part: _Folder, kind: str, top: _Folder) -> dict[str, list[Path]] | None:
    """The images by their class, `None` where the split has no classes."""
    inner = part.with_images()
    if part.images and inner:
        raise ValueError(
            f"{_list_images(part)} beside the folders of classes {_named(inner)}: move them into one of these, or away."
        )
    if not inner:
        if kind != "test":
            _refuse_tables(top, f"its {kind} images lie in no folders of classes")
            raise ValueError(
                f"The folder {str(part.path)!r} has {len(part.images)} images and no folders of classes, and a {kind} split needs labels: "
                "put the images into a folder for each class, or name a csv file with their paths and labels by "
                f"--{kind}_file."
            )
        return None
    if kind == "train" and len(inner) == 1:
        _refuse_tables(top, f"all its training images lie in the one folder {inner[0].name!r}")
        raise ValueError(
            f"The folder {str(part.path)!r} has a single class, {inner[0].name!r}, and classification needs at least 2: the class "
            "is the first folder below the split. Name the folder that holds one folder for each class."
        )
    empty = part.without_images()
    if empty:
        logger.warning("%s: no images in %s, no class is made of that.", part.path, _named(empty))
    return {folder.name: folder.all_images() for folder in inner}


def _check_cases(classes: dict[str, dict[str, list[Path]] | None], name: str) -> None:
    by_plain: dict[str, set[str]] = {}
    for found in classes.values():
        for label in found or ():
            by_plain.setdefault(label.strip().lower(), set()).add(label)
    alike = [sorted(labels) for labels in by_plain.values() if len(labels) > 1]
    if alike:
        raise ValueError(
            f"The folder {name!r} has classes whose names differ by case or blanks alone: "
            f"{', '.join(' and '.join(map(repr, labels)) for labels in alike[:_SHOWN])}. Give each class one name in all splits."
        )


def _rows(part: _Folder, classes: dict[str, list[Path]] | None, names: Sequence[str]) -> Dataset:
    if classes is None:
        return Dataset.from_dict(
            {IMAGE: [str(path) for path in part.images]}, features=Features({IMAGE: datasets.Image()})
        )
    rows = [(str(path), label) for label in sorted(classes) for path in classes[label]]
    return Dataset.from_dict(
        {IMAGE: [path for path, _ in rows], LABEL: [label for _, label in rows]},
        features=Features({IMAGE: datasets.Image(), LABEL: ClassLabel(names=list(names))}),
    )


def _add(splits: Splits, kind: str, rows: Dataset) -> None:
    if kind == "train":
        splits.train = rows
    else:
        {"validation": splits.validation, "test": splits.test}[kind][kind] = rows


# ---- what is said ----


def _say(kind: str, part: _Folder, classes: dict[str, list[Path]] | None) -> None:
    if classes is None:
        logger.info("%s: %d images of %s, without classes.", kind, len(part.images), part.path)
        return
    counts = Counter({label: len(images) for label, images in classes.items()})
    total = sum(counts.values())
    if len(counts) <= _SHOWN:
        told = ", ".join(f"{label} {counts[label]}" for label in sorted(counts))
    else:
        (most, largest), (least, smallest) = counts.most_common()[0], counts.most_common()[-1]
        told = f"{len(counts)} classes, from {smallest} ({least}) to {largest} ({most})"
    logger.info("%s: %d images of %s: %s.", kind, total, part.path, told)


def _say_others(top: _Folder) -> None:
    others = Counter(path.suffix.lower() or "no suffix" for path in top.all_others())
    if others:
        kinds = ", ".join(f"{suffix} {count}" for suffix, count in others.most_common(_SHOWN))
        logger.warning(
            "%s: %d files are no images by their names, and left out (%s).", top.path, others.total(), kinds
        )


def _refuse_tables(top: _Folder, why: str) -> None:
    """An error where tables lie beside images that no folders give classes to."""
    tables = [path for path in top.others if path.name.lower().removesuffix(".gz").endswith(_TABLES)]
    if tables:
        raise ValueError(
            f"The folder {str(top.path)!r}: {why}, but there is {', '.join(path.name for path in tables[:_SHOWN])}: name the table of each "
            f"split, such as --train_file {tables[0]}. Its column of images may hold paths or names of files in that folder."
        )


def _list_images(folder: _Folder) -> str:
    first = ", ".join(repr(str(path)) for path in folder.images[:3])
    more = "" if len(folder.images) <= 3 else f" and {len(folder.images) - 3} more"
    return f"{first}{more} {'lies' if len(folder.images) == 1 else 'lie'}"


def _named(folders: Iterable[_Folder]) -> str:
    return listed((folder.name for folder in folders), _SHOWN)
