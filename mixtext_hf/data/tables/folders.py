"""Which files of a folder are which split, told by their names as a person would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .files import is_table, suffix_of, unpacked
from .split_names import KINDS


# Parts of MNLI, which are splits of their own.
_PARTS = ("matched", "mismatched")
_IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
# Not the rows of a data set, whatever their suffix says.
_BESIDE = {"dataset_infos.json", "dataset_info.json", "state.json", "dataset_dict.json"}
_MAYBE_BESIDE = (".txt", ".json")


def tables_in(folder: str) -> dict[str, list[Path]] | None:
    """
    The files of each split of a folder of tables.

    Splits are told by the names of the files (`train.csv`, `my-dev.tsv`, `test-00000-of-00002.parquet`), or of the sub-folders
    that they are in. A file alone is the training split.

    Args:
        folder (`str`): A path.

    Returns:
        `dict[str, list[Path]]`: by the names `"train"`, `"validation"` and `"test"`, or with the part of MNLI behind. `None` if it
        is no folder of tables: one of images, one whose card says what is in it, or none.

    Raises:
        `ValueError`: names the files whose split cannot be told.
    """
    root = Path(folder)
    if (
        not root.is_dir()
        or (root / "dataset_dict.json").is_file()
        or (root / "state.json").is_file()
        or _has_card(root)
    ):
        return None
    paths = [path for path in sorted(root.rglob("*")) if path.is_file() and not _is_hidden(path.relative_to(root))]
    if any(path.suffix.lower() in (*_IMAGES, ".py") for path in paths):
        return None
    tables = [path for path in paths if is_table(path) and path.name not in _BESIDE]
    if not tables:
        return None
    told = {path: split_of(path.relative_to(root)) for path in tables}
    if any(told.values()):
        told = {path: split for path, split in told.items() if split or suffix_of(path) not in _MAYBE_BESIDE}
    elif len(tables) == 1:
        told = {tables[0]: "train"}
    untold = [str(path.relative_to(root)) for path, split in told.items() if split is None]
    if untold:
        raise ValueError(
            f"`dataset_name` is the folder {folder!r}, and it cannot be told which split these of its files are: {', '.join(untold)}. "
            "Call them train, validation or test (train.csv, train-0.csv, train/0.csv), or give them by train_file, validation_file and "
            "test_file."
        )
    found: dict[str, list[Path]] = {}
    for path, split in told.items():
        found.setdefault(str(split), []).append(path)
    _check_names(folder, root, found)
    _check_formats(folder, found)
    return found


def split_of(path: Path) -> str | None:
    """The split that a path within a folder is of, by the words in its name, or else by the folders it is in; `None`: untold."""
    kinds = {KINDS[name] for name in _split_names(path)}
    if len(kinds) != 1:
        return None
    part = next((word for word in _words(path) if word in _PARTS), None)
    return kinds.pop() + ("" if part is None else f"_{part}")


def _split_names(path: Path) -> set[str]:
    """What in a path is the name of a split."""
    parts = [*_words(path), *(part.lower() for part in path.parts[:-1])]
    return {part for part in parts if part in KINDS}


def _words(path: Path) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", path.name.lower().split(".")[0]) if word]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith((".", "__")) for part in path.parts)


def _has_card(root: Path) -> bool:
    """Whether a card says what the splits or the columns are: that is for `datasets` to read."""
    card = root / "README.md"
    if not card.is_file():
        return False
    head = card.read_text(encoding="utf-8", errors="replace").removeprefix("---").split("\n---", 1)[0]
    return re.search(r"^(configs|dataset_info):", head, re.MULTILINE) is not None


def _check_names(folder: str, root: Path, found: Mapping[str, list[Path]]) -> None:
    """test.csv and eval.csv, or dev.csv and val.csv, are hardly parts of one split."""
    for split, paths in found.items():
        first = _split_names(paths[0].relative_to(root))
        other = next((path for path in paths if first and not first & _split_names(path.relative_to(root))), None)
        if other is not None:
            raise ValueError(
                f"`dataset_name` is the folder {folder!r}, where {paths[0].name} and {other.name} are both a {split} split by their "
                f"names: join or rename them, or name the files by {split.split('_')[0]}_file."
            )


def _check_formats(folder: str, found: Mapping[str, list[Path]]) -> None:
    """The same rows in two formats would be taken twice."""
    for split, paths in found.items():
        first = paths[0]
        other = next((path for path in paths if suffix_of(path) != suffix_of(first)), None)
        if other is None:
            plain = {unpacked(path): path for path in paths}
            other = next((path for path in paths if plain[unpacked(path)] != path), None)
            first = first if other is None else plain[unpacked(other)]
        if other is not None:
            raise ValueError(
                f"`dataset_name` is the folder {folder!r}, where {first.name} and {other.name} are both the split {split!r}: leave one of "
                f"them there, or name the files by {split.split('_')[0]}_file."
            )
