"""What may be wrong with a data set, as its summary tells it: each concern in a sentence, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mixtext_hf._messages import listed
from mixtext_hf.problem_types import SINGLE_LABEL

from .labels.class_names import cleaned, look_alikes
from .labels.lists import read_list


# What pandas writes for a missing label, and PyTorch reads for one; "none" may well be a class.
_MISSING = ("nan", "<na>", "-100")
# Ways to write yes, and no.
_TRUTHS = ({"true", "1", "yes"}, {"false", "0", "no"})
_SEPARATORS = "|;,"
# Shares of rows, and how many times larger than the smallest class the largest may be.
_MUCH_REPEATED, _MUCH_CUT, _UNEQUAL = 0.01, 0.1, 10
_SHOWN = 5


@dataclass(frozen=True)
class SplitSummary:
    """
    One split.

    Args:
        rows (`int`): How many rows it has.
        classes (`dict[str, int]`): Rows of each class that occurs; empty for scores and without labels.
        blank (`int`): Rows with an empty or blank text.
        repeated (`int`): Rows that are there before in the split.
        contradictory (`int`): Rows whose text is there under another label as well.
    """

    rows: int
    classes: Mapping[str, int] = field(default_factory=dict)
    blank: int = 0
    repeated: int = 0
    contradictory: int = 0


@dataclass(frozen=True)
class Concern:
    """
    Something that may be wrong.

    Args:
        what (`str`): What was found, without a full stop.
        remedy (`str`): What to do about it.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}."


def concerns_of_rows(
    splits: Mapping[str, SplitSummary],
    shared: Mapping[str, Mapping[str, int]],
    unit: str,
    cut: float | None,
    max_length: int | None,
) -> list[Concern]:
    """Rows that are in two places, that say nothing or two things, and texts that are cut."""
    found = []
    for name, of in shared.items():
        for other, count in of.items():
            if count and name != "train":
                found.append(
                    Concern(
                        f"{count:,} of the {splits[name].rows:,} {unit} of {name} are in {said(other)} too",
                        "remove them from one of the two, or what is measured has been learnt by heart",
                    )
                )
    for name, split in splits.items():
        if split.blank:
            found.append(Concern(f"{split.blank:,} {unit} of {said(name)} are empty or blank", "remove these rows"))
        if split.contradictory:
            found.append(
                Concern(
                    f"{split.contradictory:,} {unit} of {name} stand there under two labels or more",
                    "correct them, or keep one row of each",
                )
            )
    train = splits.get("train")
    if train is not None and train.repeated > _MUCH_REPEATED * train.rows:
        found.append(
            Concern(
                f"{train.repeated:,} of the {train.rows:,} {unit} of train are repeated",
                "keep one row of each, or they count several times",
            )
        )
    if cut is not None and cut > _MUCH_CUT:
        found.append(
            Concern(
                f"{100 * cut:.0f} % of the {unit} are longer than {max_length} tokens, and what is behind is not read",
                "raise --max_seq_length, as far as the model and the memory go",
            )
        )
    return found


def concerns_of_classes(splits: Mapping[str, SplitSummary], data: Any) -> list[Concern]:
    """Classes of very different sizes, or of one split alone, and names that are none; `data` is what the loaders give."""
    found = []
    train = splits["train"].classes if "train" in splits else {}
    single = data.problem_type == SINGLE_LABEL
    if train and single:
        least, most = min(train, key=train.__getitem__), max(train, key=train.__getitem__)
        if len(train) > 2 and train[most] == 1 and data.source.get("labeled_per_class") != 1:
            found.append(
                Concern(
                    f"Every row of train has a class of its own, such as {listed(train, 2)}",
                    "if the label column holds ids or texts, name the right one by --label_column",
                )
            )
        if train[most] > _UNEQUAL * train[least]:
            found.append(
                Concern(
                    f"The class {most!r} has {train[most]:,} rows of train, and {least!r} only {train[least]:,}",
                    "add rows of it, take as many of each by --labeled_per_class, or give --logit_adjustment 1, and look at balanced_accuracy",
                )
            )
    separator = data.source.get("label_separator")
    if separator is not None and train and sum(train.values()) == splits["train"].rows:
        found.append(
            Concern(
                f"Every row of train has one class alone, and {separator!r} stands between none",
                "leave out --label_separator, if no row has several",
            )
        )
    for name, split in splits.items():
        if name == "train" or not split.classes:
            continue
        unseen = [other for other in split.classes if other not in train]
        if train and unseen:
            found.append(
                Concern(f"Train has no row of {_classes(unseen)}, which {name} has", "add some, or remove these rows")
            )
        if len(split.classes) == 1 and single:
            found.append(
                Concern(
                    f"All rows of {name} have the class {next(iter(split.classes))!r}",
                    "give rows of the other classes too, or what is measured says nothing of them",
                )
            )
    names: dict[str, int] = {}
    for split in splits.values():
        for name, count in split.classes.items():
            names[name] = names.get(name, 0) + count
    return [*found, *_concerns_of_names(names, keeps_alike=data.source.get("similar_labels") == "keep")]


def said(split: str) -> str:
    """What a sentence calls a split."""
    return "the unlabelled texts" if split == "unlabeled" else split


def _concerns_of_names(names: Mapping[str, int], *, keeps_alike: bool) -> list[Concern]:
    found = []
    if not keeps_alike:
        for group in look_alikes(names).values():
            found.append(
                Concern(f"Names look alike, {listed(group, _SHOWN)}", "make them one by --similar_labels merge")
            )
    blank = [name for name in names if name != cleaned(name)]
    if blank:
        found.append(Concern(f"Blanks stand around or inside {_classes(blank)}", "name them anew by --label_map"))
    missing = [name for name in names if cleaned(name).lower() in _MISSING]
    if missing:
        found.append(
            Concern(
                f"A missing label is often written as {_classes(missing)}",
                "if that is what it is, leave the rows out by --label_map",
            )
        )
    written = {cleaned(name).lower() for name in names}
    if written <= _TRUTHS[0] | _TRUTHS[1] and any(len(written & words) > 1 for words in _TRUTHS):
        found.append(
            Concern(f"Yes and no are written in several ways, {listed(names)}", "make them one by --label_map")
        )
    lists = [name for name in names if read_list(name) is not None]
    if lists:
        found.append(
            Concern(
                f"Lists written as strings are names of classes, {listed(lists, _SHOWN)}",
                "leave out --problem_type to have them read as several classes a row",
            )
        )
    for separator in _SEPARATORS:
        several = [name for name in names if _are_several(name, separator, names)]
        if several:
            found.append(
                Concern(
                    f"Several classes seem to stand in one string, {listed(several, _SHOWN)}",
                    f"if they do, give --label_separator {separator!r}",
                )
            )
            break
    return found


def _are_several(name: str, separator: str, names: Mapping[str, int]) -> bool:
    """Whether a name consists of names, one of them being a class itself."""
    parts = [part.strip() for part in name.split(separator)]
    return len(parts) > 1 and all(parts) and any(part in names for part in parts)


def _classes(names: Iterable[str]) -> str:
    names = list(names)
    return f"the class{'es' if len(names) > 1 else ''} {listed(names, _SHOWN)}"
