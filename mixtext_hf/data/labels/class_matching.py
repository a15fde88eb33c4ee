"""Which class of a model, or of the training split, the name in a row means.

By its name; then by its name without regard to case and blanks, where only one class has it; then, where the classes have
names and the data has whole numbers, by its number. What is left is an error: no name is ever moved to another class.
"""

import logging
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mixtext_hf._messages import listed

from .class_names import (
    SimilarLabels,
    are_placeholders,
    folded,
    in_order,
    is_number,
    is_whole_number,
    look_alikes,
)
from .mapping import LabelMap, folded_keys, look_up


logger = logging.getLogger(__name__)

TRAIN = "train"


@dataclass(frozen=True)
class ClassMatching:
    """
    How the labels of the data were matched with classes that were known beforehand.

    Args:
        how (`str`):
            `"own"`: the data names its own classes; `"name"`: by name; `"number"`: some were numbers of classes;
            `"none"`: there were no labels to match.
        renamed (`dict[str, str]`): Names that differ from that of their class by case or blanks alone.
        missing (`Sequence[str]`): Classes that were given and that no row has.
    """

    how: Literal["own", "name", "number", "none"] = "own"
    renamed: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()

    def as_source(self) -> dict[str, Any]:
        """What there is to record, JSON-serialisable; nothing where the data names its own classes."""
        said = {} if self.how == "own" else {"labels_matched_by": self.how}
        return {**said, **({"renamed_labels": dict(self.renamed)} if self.renamed else {})}


@dataclass(frozen=True)
class Classes:
    """
    The classes of a data set.

    Args:
        ids (`dict[str, list[int | None]]`): The class of each key of each split; `None` for a hidden one.
        names (`list[str]`): Their names in the order of their ids.
        matching ([`ClassMatching`]): How they were found.
    """

    ids: dict[str, list[int | None]]
    names: list[str]
    matching: ClassMatching


def settle_classes(
    keys: Mapping[str, list[Any]],
    column: str,
    *,
    declared: Sequence[str] | None = None,
    given: Sequence[str] | None = None,
    similar: SimilarLabels = "refuse",
    must_occur: bool = True,
) -> Classes:
    """
    Give every name its class.

    Args:
        keys (`Mapping[str, list]`):
            Names of each split as [`~mixtext_hf.data.labels.class_keys.class_keys`] gives them. Those of the training split, or of
            all together without one, are the classes if no others are known.
        column (`str`): What the label column is called, for errors.
        declared (`Sequence[str]`, *optional*): The classes as the data declares them, in the order of their ids.
        given (`Sequence[str]`, *optional*): The classes of a model, in the order of its outputs; they win.
        similar (`str`): What is done with names that look alike: `"refuse"`, `"merge"` or `"keep"`.
        must_occur (`bool`): Whether a class that is declared and does not occur in training is unknown elsewhere.

    Raises:
        `ValueError`: for names that look alike, and for those that are no class.
    """
    reference = {TRAIN: keys[TRAIN]} if TRAIN in keys else keys
    counts = Counter(str(key) for labels in reference.values() for key in labels if key is not None)
    merged = _merge(counts, column, similar, given)
    names = list(given) if given is not None else _own_names(counts, declared, merged)
    matcher = ClassFinder(names, merged, by_number=given is not None or declared is not None)
    ids = {split: [None if key is None else matcher.id_of(key) for key in labels] for split, labels in keys.items()}
    # A name alone teaches nothing: the classes of training are those that occur in it.
    occurring = set(ids.get(TRAIN, ())) if must_occur and given is None and TRAIN in keys else set(range(len(names)))
    for split, labels in keys.items():
        pairs = zip(labels, ids[split], strict=True)
        unknown = in_order({str(key) for key, i in pairs if key is not None and i not in occurring})
        if unknown:
            raise ValueError(_unknown(split, unknown, labels, names, of_model=given is not None))
    say_renamed(matcher.renamed)
    return Classes(
        ids, names, _matching(matcher, given, {i for found in ids.values() for i in found if i is not None})
    )


def match_outputs(
    wanted: Sequence[str], own: Sequence[str], label_map: LabelMap | None = None
) -> list[list[int]] | None:
    """
    Which outputs of a model are the classes that are wanted: by the map, else by name, by name without regard to case and blanks,
    or by number, as [`settle_classes`] finds them; what was not the same is said.

    Args:
        wanted (`Sequence[str]`): The classes of the data, each once.
        own (`Sequence[str]`): Those of the model, in the order of its outputs.
        label_map (`dict[str, str | None]`, *optional*): What names of the model mean; several may mean the same class.

    Returns:
        `list[list[int]]`: the outputs of each wanted class; `None` where the classes are others.
    """
    label_map = label_map or {}
    forms = folded_keys(label_map)
    outputs: dict[str, list[int]] = {}
    for i, name in enumerate(own):
        meant = look_up(name, label_map, forms)
        if meant is None:
            return None
        outputs.setdefault(meant, []).append(i)
    names = list(outputs)
    is_mapped = names != list(own)
    matcher = ClassFinder(names, by_number=not is_mapped)
    found = [matcher.id_of(name) for name in wanted]
    if None in found or set(found) != set(range(len(names))) or len(found) != len(names):
        return None
    say_renamed(matcher.renamed)
    say_matching(ClassMatching("number" if matcher.numbered else "name"), names)
    return [outputs[names[i]] for i in found if i is not None]


def say_renamed(renamed: Mapping[str, str]) -> None:
    """One line of the log where names differ from that of their class by case, blanks or the form of a number alone."""
    if renamed:
        pairs = ", ".join(f"{name!r} for {other!r}" for name, other in list(renamed.items())[:10])
        logger.info("Labels that differ from their class by case or blanks alone were taken for it: %s.", pairs)


def say_matching(matching: ClassMatching, names: Sequence[str]) -> None:
    """One line of the log where labels were taken for the numbers of classes, which nothing can check."""
    if matching.how != "number":
        return
    if are_placeholders(names):
        logger.info(
            "The model's config names no classes: label i of the data is taken for its output i, 0 to %d.",
            len(names) - 1,
        )
    else:
        pairs = ", ".join(f"{i} = {name}" for i, name in enumerate(names[:10]))
        logger.info(
            "The labels are numbers: label i is taken for the model's output i (%s). --label_map says otherwise.",
            pairs,
        )


class ClassFinder:
    """
    Finds classes by names, and remembers how: `renamed` has the names that differ from that of their class by case or blanks alone,
    `numbered` says whether some were numbers.

    Args:
        names (`Sequence[str]`): Of the classes in the order of their ids.
        merged (`Mapping[str, str]`, *optional*): Names of classes by the folded forms of all that are merged into them.
        by_number (`bool`): Whether a whole number that is no name is that of a class.
    """

    def __init__(self, names: Sequence[str], merged: Mapping[str, str] | None = None, *, by_number: bool):
        self.names, self.merged = names, merged or {}
        self.exact = {name: i for i, name in enumerate(names)}
        forms = Counter(map(folded, names))
        self.forms = {folded(name): i for i, name in enumerate(names) if forms[folded(name)] == 1}
        # Where classes are named by numbers, in whatever form, these are meant.
        self.by_number = by_number and not any(map(is_number, names))
        self.renamed: dict[str, str] = {}
        self.numbered = False
        self.found: dict[tuple[type, Any], int | None] = {}

    def id_of(self, key: str | bool) -> int | None:
        """The class that a name means, `None` if it is none."""
        known = (type(key), key)
        if known not in self.found:
            self.found[known] = self._find(key)
        return self.found[known]

    def _find(self, key: str | bool) -> int | None:
        name = str(key)
        if name in self.exact and folded(name) not in self.merged:
            return self.exact[name]
        form = folded(name)
        if form in self.merged:
            return self.exact[self.merged[form]]
        if form in self.forms:
            self.renamed[name] = self.names[self.forms[form]]
            return self.forms[form]
        name = str(int(key)) if isinstance(key, bool) else form
        if self.by_number and is_whole_number(name) and 0 <= int(name) < len(self.names):
            self.numbered = True
            return int(name)
        return None


def _merge(
    counts: Mapping[str, int], column: str, similar: SimilarLabels, given: Sequence[str] | None
) -> dict[str, str]:
    """The names that look-alikes are merged to, by their folded form."""
    groups = look_alikes(counts)
    # Those that a model tells apart are different classes.
    groups = {name: group for name, group in groups.items() if given is None or not set(group) <= set(given)}
    if not groups or similar == "keep":
        return {}
    if similar == "refuse":
        said = "; ".join(map(_spellings, list(groups.values())[:10]))
        raise ValueError(
            f"The label column {column!r} has names that differ by case, blanks or the form of letters or numbers alone: {said}. Make them "
            "one class each by --similar_labels merge, or keep them apart by --similar_labels keep."
        )
    for name, group in groups.items():
        logger.info("Merged into the class %r: %s.", name, _spellings(group))
    if given is None:
        return {folded(name): name for name in groups}
    # The model says how its classes are written; what it does not have is found to be unknown.
    return {form: name for name in given if (form := folded(name)) in set(map(folded, groups))}


def _spellings(group: Mapping[str, int]) -> str:
    """The names of a group with their rows, the most frequent one first; those that look the same by their codes."""
    return ", ".join(
        f"{name!r} in {count} rows" if unicodedata.normalize("NFC", name) == name else f"{name!a} in {count} rows"
        for name, count in sorted(group.items(), key=lambda item: -item[1])
    )


def _own_names(counts: Mapping[str, int], declared: Sequence[str] | None, merged: Mapping[str, str]) -> list[str]:
    names = dict.fromkeys(merged.get(folded(name), name) for name in (counts if declared is None else declared))
    return in_order(names) if declared is None else list(names)


def _matching(matcher: ClassFinder, given: Sequence[str] | None, found: set[int]) -> ClassMatching:
    if given is None:
        return ClassMatching("own", dict(matcher.renamed))
    if not found:
        return ClassMatching("none")
    missing = [name for i, name in enumerate(given) if i not in found]
    return ClassMatching("number" if matcher.numbered else "name", dict(matcher.renamed), missing)


def _unknown(split: str, unknown: list[str], labels: list[Any], names: list[str], *, of_model: bool) -> str:
    if not of_model:
        return (
            f"The split {split!r} has labels that the training split does not have: [{listed(unknown)}]. The classes are "
            f"[{listed(names)}]. Add examples to the training data, remove these rows, or say which classes are meant by "
            "--label_map."
        )
    all_of_it = in_order({str(key) for key in labels if key is not None})
    beside = f" (the data has [{listed(all_of_it)}])" if len(all_of_it) > len(unknown) else ""
    return (
        f"The split {split!r} has labels that the model does not have: [{listed(unknown)}]{beside}. Its classes are "
        f"[{listed(names)}]. Say which of them are meant by --label_map, remove these rows, or, in training, start a new head for "
        "the classes of the data by --new_head."
    )
