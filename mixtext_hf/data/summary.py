"""What there is to know of a data set before a model is trained on it: how much, how it is shared out, and what may be wrong.

Equal texts are those that are the same but for blanks around them; a pair is one unit. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL

from .concerns import Concern, SplitSummary, concerns_of_classes, concerns_of_rows, said
from .images.datasets import ImageDatasets
from .labels.classes import LABEL
from .row_hashes import Hashes, image_hashes, text_hashes
from .texts.datasets import TextDatasets


# How many texts are tokenised to see what is cut, and how many images are opened to see their sizes.
_SAMPLE = 1000
# A text of so many letters for each token that is kept is cut, whatever the tokens are.
_LETTERS_A_TOKEN = 100


@dataclass(frozen=True)
class DataSummary:
    """
    What [`summarise_data`] finds.

    Args:
        unit (`str`): `"texts"`, `"pairs"` or `"images"`.
        splits (`dict[str, SplitSummary]`): By name; `"unlabeled"` is one of them.
        shared (`dict[str, dict[str, int]]`): How many rows of a split are also in another one: `shared["test"]["train"]`.
        cut (`float`, *optional*): Share of the training texts that are longer than `max_length` tokens.
        max_length (`int`, *optional*): To how many tokens they are cut.
        looked_at (`int`): How many texts were tokenised for that, or images opened.
        image_sizes (`list[str]`): Sizes and modes of the images.
        concerns (`list[Concern]`): What may be wrong, each with its remedy.
    """

    unit: str
    splits: Mapping[str, SplitSummary]
    shared: Mapping[str, Mapping[str, int]]
    cut: float | None = None
    max_length: int | None = None
    looked_at: int = 0
    image_sizes: Sequence[str] = ()
    concerns: Sequence[Concern] = ()

    def lines(self) -> list[str]:
        """The facts, a few lines for the screen; the concerns are not among them."""
        names = {"unlabeled": "unlabelled"}
        sizes = ", ".join(f"{names.get(name, name)} {split.rows:,}" for name, split in self.splits.items())
        return [f"Data: {sizes} {self.unit}.", *self.facts()]

    def facts(self) -> list[str]:
        """What is not the number of rows, in sentences; the concerns are not among them."""
        first = next((name for name, split in self.splits.items() if split.classes), None)
        found = [] if first is None else [_share_of_classes(first, self.splits[first].classes)]
        # What is a concern is said there.
        small = [
            f"{split.repeated:,} repeated in {said(name)}" for name, split in self.splits.items() if split.repeated
        ]
        in_both = self.shared.get("train", {}).get("unlabeled", 0)
        if in_both:
            small.append(f"{in_both:,} of train in the unlabelled texts too")
        if self.cut is not None:
            how = "" if self.looked_at >= self.splits["train"].rows else f" (of {self.looked_at:,} looked at)"
            small.append(f"{100 * self.cut:.3g} % cut at {self.max_length} tokens{how}")
        if self.image_sizes:
            how = f"; {self.looked_at:,} looked at" if self.looked_at < next(iter(self.splits.values())).rows else ""
            small.append(f"{', '.join(self.image_sizes)}{how}")
        if small:
            found.append(f"{self.unit.capitalize()}: {'; '.join(small)}.")
        return found

    def as_json(self) -> dict[str, Any]:
        """All of it, JSON-serialisable."""
        return {
            "splits": {name: {**vars(split), "classes": dict(split.classes)} for name, split in self.splits.items()},
            "shared": {name: dict(of) for name, of in self.shared.items()},
            "cut": self.cut,
            "max_length": self.max_length,
            "looked_at": self.looked_at,
            "image_sizes": list(self.image_sizes),
            "warnings": list(map(str, self.concerns)),
        }

    def check(self) -> None:
        """
        Raises:
            `ValueError`: if there is a concern; it has all of them.
        """
        if self.concerns:
            raise ValueError(f"--strict_data: {' '.join(map(str, self.concerns))}")


def summarise_data(
    datasets: TextDatasets | ImageDatasets, tokenizer: Any = None, max_length: int | None = None
) -> DataSummary:
    """
    Look at a data set before training.

    Args:
        datasets ([`TextDatasets`] or [`ImageDatasets`]): The splits as the loaders give them.
        tokenizer (`PreTrainedTokenizerBase`, *optional*): Of the model; without it nothing is said of texts that are cut.
        max_length (`int`, *optional*): To how many tokens texts are cut.

    Returns:
        [`DataSummary`]
    """
    is_text, data = isinstance(datasets, TextDatasets), cast(Any, datasets)
    splits = {"train": data.train, **data.validation, **data.test}
    if is_text:
        splits["unlabeled"] = data.unlabeled
    present = {name: split for name, split in splits.items() if split is not None}
    # In order, they are found fast: `np.unique` of millions takes ten times as long.
    ordered: dict[str, Hashes] = {}
    hashes: dict[str, Hashes] = {}
    found = {}
    for name, split in present.items():
        if is_text:
            hashes[name], blank = text_hashes(split, data.columns.texts)
        else:
            hashes[name], blank = image_hashes(split, data.image_column), np.zeros(len(split), dtype=bool)
        ordered[name] = np.sort(hashes[name])
        found[name] = _summary_of(split, hashes[name], ordered[name], blank, data, is_labelled=name != "unlabeled")
    cut, looked_at, sizes = None, 0, list[str]()
    if is_text and tokenizer is not None and max_length is not None and data.train is not None:
        cut, looked_at = _share_cut(data.train, data.columns.texts, tokenizer, max_length)
    elif not is_text:
        sizes, looked_at = _image_sizes(next(iter(present.values())), data.image_column)
    pair = is_text and len(data.columns.texts) > 1
    unit = "images" if not is_text else "pairs" if pair else "texts"
    shared = _shared(hashes, ordered)
    concerns = [*concerns_of_rows(found, shared, unit, cut, max_length), *concerns_of_classes(found, data)]
    return DataSummary(unit, found, shared, cut, max_length, looked_at, sizes, concerns)


def _summary_of(
    split: Dataset, hashes: Hashes, ordered: Hashes, blank: NDArray[np.bool_], datasets: Any, *, is_labelled: bool
) -> SplitSummary:
    labels = split[LABEL][:] if is_labelled and LABEL in split.column_names else None
    classes: dict[str, int] = {}
    if labels is not None and any(label is None for label in labels):
        labels = None
    if labels is not None and datasets.problem_type == SINGLE_LABEL:
        counts = np.bincount(np.asarray(labels, dtype=np.int64).clip(0), minlength=len(datasets.label_names))
        classes = {name: int(n) for name, n in zip(datasets.label_names, counts, strict=True) if n}
    elif labels is not None and datasets.problem_type == MULTI_LABEL:
        counts = np.asarray(labels, dtype=np.float64).reshape(len(labels), -1).sum(axis=0)
        classes = {name: int(n) for name, n in zip(datasets.label_names, counts, strict=True) if n}
    repeats = ordered[1:][ordered[1:] == ordered[:-1]]
    contradictory = 0
    if labels is not None and datasets.problem_type != REGRESSION and len(repeats):
        several = _is_in(hashes, repeats)
        _, place = np.unique(hashes[several], return_inverse=True)
        _, ids = np.unique(np.asarray(labels).reshape(len(labels), -1)[several], axis=0, return_inverse=True)
        kinds = np.unique(np.stack([place.ravel(), ids.ravel()]), axis=1)
        contradictory = int((np.bincount(kinds[0])[place.ravel()] > 1).sum())
    # Blank ones are counted as such.
    repeated = len(repeats) - max(int(blank.sum()) - 1, 0)
    return SplitSummary(len(split), classes, int(blank.sum()), max(repeated, 0), contradictory)


def _shared(hashes: Mapping[str, Hashes], ordered: Mapping[str, Hashes]) -> dict[str, dict[str, int]]:
    """Rows of each split that are in train or among the unlabelled texts as well."""
    shared: dict[str, dict[str, int]] = {}
    for other in ("train", "unlabeled"):
        if other not in hashes:
            continue
        for name in hashes:
            if name not in (other, "unlabeled"):
                shared.setdefault(name, {})[other] = int(_is_in(hashes[name], ordered[other]).sum())
    return shared


def _is_in(hashes: Hashes, ordered: Hashes) -> NDArray[np.bool_]:
    """Which of them are among others, which are in order."""
    if not len(ordered):
        return np.zeros(len(hashes), dtype=bool)
    return ordered[np.searchsorted(ordered, hashes).clip(max=len(ordered) - 1)] == hashes


def _share_cut(train: Dataset, columns: Sequence[str], tokenizer: Any, max_length: int) -> tuple[float, int]:
    rows = np.unique(np.linspace(0, len(train) - 1, min(_SAMPLE, len(train))).astype(int))
    some = train.select_columns(list(columns)).select(rows)
    texts = [[text[: _LETTERS_A_TOKEN * max_length] for text in some[column][:]] for column in columns]
    ids = tokenizer(*texts, truncation=False, verbose=False)["input_ids"]
    return sum(len(row) > max_length for row in ids) / len(rows), len(rows)


def _image_sizes(split: Dataset, column: str) -> tuple[list[str], int]:
    """Sizes and modes of some images, and how many these are."""
    rows = np.unique(np.linspace(0, len(split) - 1, min(_SAMPLE, len(split))).astype(int))
    sides, modes = [], set()
    for row in split.select_columns([column]).select(rows):
        image = row[column]
        if hasattr(image, "size") and hasattr(image, "mode"):
            sides.append(image.size[::-1])
            modes.add(image.mode)
        else:
            shape = np.shape(image)
            sides.append(shape[:2])
            modes.add(f"arrays of {shape[2] if len(shape) > 2 else 1} channels")
    low, high = min(sides), max(sides)
    size = f"{low[0]} x {low[1]}" + ("" if low == high else f" to {high[0]} x {high[1]}")
    return [f"{size} pixels", *sorted(modes)], len(rows)


def _share_of_classes(split: str, classes: Mapping[str, int]) -> str:
    least, most = min(classes, key=classes.__getitem__), max(classes, key=classes.__getitem__)
    if classes[least] == classes[most]:
        rows = "1 row" if classes[most] == 1 else f"{classes[most]:,} rows"
        return f"Classes in {split}: {len(classes)}, of {rows} each."
    return f"Classes in {split}: {len(classes)}, of {classes[least]:,} ({least}) to {classes[most]:,} ({most}) rows."
