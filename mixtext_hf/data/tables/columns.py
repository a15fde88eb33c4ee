"""Which column of a table is the text, which its partner, which the label, and whether a column holds texts at all.

Recognising looks at names only, never at values, so that what is found does not depend on the rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset, Value
from datasets.features.features import FeatureType


# Names that data sets on the Hub use, in lower case. A pair is recognised before a single text.
_TEXT_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("text1", "text2"),
    ("text", "text_pair"),
    ("#1 string", "#2 string"),
)
_TEXTS = (
    "text",
    "sentence",
    "content",
    "review",
    "tweet",
    "comment",
    "comment_text",
    "document",
    "utterance",
    "query",
    *dict.fromkeys(first for first, _ in _TEXT_PAIRS if first != "text"),
)
# The first tier that has a match decides: a column called "label" is the label even beside a "score".
_LABEL_TIERS = (
    ("label", "labels"),
    ("coarse_label", "class", "category", "target", "intent", "topic", "emotion", "sentiment", "stars", "rating"),
    ("gold_label", "is_duplicate", "quality"),
    ("score",),
)


IMAGE_NAMES = ("image", "images", "img", "imgs")
"""What the column of a table of images is called, in lower case."""


@dataclass(frozen=True)
class TextColumns:
    """
    The columns a text data set is read from.

    Args:
        text (`str`):
            Column of the (first) text.
        text_pair (`str`, *optional*):
            Column of the second text of a pair task.
        label (`str` or `tuple[str, ...]`, *optional*):
            Column of the label. Several names mean multi-label data with one 0/1 column a class.
    """

    text: str
    text_pair: str | None = None
    label: str | tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text columns: both of a pair task, else the only one."""
        return (self.text,) if self.text_pair is None else (self.text, self.text_pair)


def recognise_columns(
    column_names: Iterable[str],
    *,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | Sequence[str] | None = None,
    require_label: bool = True,
) -> TextColumns:
    """
    Find the text and label columns of a table. Names that are given win; the others are recognised by their usual
    names (case does not matter), and what cannot be told for certain is an error, never a guess.

    Args:
        column_names (`Iterable[str]`):
            The columns there are.
        text (`str`, *optional*):
            Column of the text. When it is given, no second text is looked for.
        text_pair (`str`, *optional*):
            Column of the second text.
        label (`str` or `Sequence[str]`, *optional*):
            Column of the label. Several names, in a sequence or separated by commas, mean one 0/1 column a class.
        require_label (`bool`, *optional*, defaults to `True`):
            Whether a table without a label column is an error.

    Returns:
        [`TextColumns`]
    """
    names = list(column_names)
    labels = _label_names(label, names)
    for argument, name in [("text", text), ("text_pair", text_pair), *(("label", name) for name in labels)]:
        if name is not None and name not in names:
            raise ValueError(
                f"`{argument}` is {name!r}, but there is no such column. The columns are {names}: "
                f"choose one of them with --{argument}_column."
            )

    if text is None:
        free = [name for name in names if name not in labels and name != text_pair]
        text, text_pair = _recognise_text(free, text_pair, names)
    if text == text_pair:
        raise ValueError(f"`text` and `text_pair` are both {text!r}: --text_pair_column must name another column.")
    for name in labels:
        if name in (text, text_pair):
            raise ValueError(
                f"`label` is {name!r}, which is also a text column: --label_column must name another one."
            )

    if not labels:
        labels = _recognise_label([name for name in names if name not in (text, text_pair)], names, require_label)
    return TextColumns(text, text_pair, labels if len(labels) > 1 else next(iter(labels), None))


def holds_texts(dataset: Dataset, column: str) -> bool:
    """Whether a column is one of strings. Its type tells, so some of them may be missing: see [`rows_without_text`]."""
    return dataset.features[column] in (Value("string"), Value("large_string"))


def type_name(feature: FeatureType) -> str:
    """What to call the type of a column in an error."""
    return feature.dtype if isinstance(feature, Value) else type(feature).__name__


def rows_without_text(dataset: Dataset, column: str) -> np.ndarray:
    """The rows in which a column of texts holds `None`."""
    if not dataset.data.column(column).null_count:
        return np.empty(0, dtype=np.int64)
    # Some of them may lie in rows that were filtered away.
    pieces = dataset.select_columns([column]).with_format("arrow").iter(batch_size=10_000)
    is_none = [piece.column(column).is_null().to_numpy() for piece in pieces]
    return np.flatnonzero(np.concatenate([np.empty(0, dtype=bool), *is_none]))


def check_kind(column_names: Sequence[str], wanted: str) -> None:
    """Raise `ValueError` where the columns are those of a table of images and `wanted` are `"text"`, or the other way round."""
    other, usual = ("image", IMAGE_NAMES) if wanted == "text" else ("text", _TEXTS)
    found = next((name for name in column_names if name.lower() in usual), None)
    if found is not None:
        raise ValueError(
            f"The columns {list(column_names)} are those of a table of {other}s ({found!r}), and {wanted}s are needed here: give {wanted}s, or "
            f"take a model of {other}s. If there are {wanted}s all the same, name their column with --{wanted}_column."
        )


def _label_names(label: str | Sequence[str] | None, column_names: list[str]) -> tuple[str, ...]:
    if label is None:
        return ()
    # A column whose own name has a comma in it is one column.
    names = label.split(",") if isinstance(label, str) and label not in column_names else label
    labels = (names,) if isinstance(names, str) else tuple(name.strip() for name in names)
    if not labels or "" in labels:
        raise ValueError(f"`label` is {label!r}, which has an empty name in it: give column names to --label_column.")
    if len(set(labels)) < len(labels):
        raise ValueError(f"`label` is {label!r}, which names a column twice: give each once to --label_column.")
    return labels


def _recognise_text(free: list[str], text_pair: str | None, column_names: list[str]) -> tuple[str, str | None]:
    found: list[tuple[str, str | None]] = []
    if text_pair is None:
        by_lower_name = {name.lower(): name for name in free}
        for first, second in _TEXT_PAIRS:
            if first in by_lower_name and second in by_lower_name:
                found.append((by_lower_name[first], by_lower_name[second]))
    in_pairs = {name for pair in found for name in pair}
    found += [(name, text_pair) for name in free if name.lower() in _TEXTS and name not in in_pairs]
    if len(found) == 1:
        return found[0]
    if not found:
        check_kind(column_names, "text")
    what = "several columns could be the text" if found else "no column has one of the usual names of a text"
    candidates = f": {[' + '.join(filter(None, pair)) for pair in found]}" if found else ""
    raise ValueError(
        f"`text` cannot be recognised, {what}{candidates}. The columns are {column_names}: "
        "name one with --text_column (and --text_pair_column for pairs); if these are no names, write a header above them."
    )


def _recognise_label(free: list[str], column_names: list[str], require_label: bool) -> tuple[str, ...]:
    for tier in _LABEL_TIERS:
        found = tuple(name for name in free if name.lower() in tier)
        if len(found) == 1:
            return found
        if found:
            raise ValueError(
                f"`label` cannot be recognised, several columns could be the label: {list(found)}. The columns are "
                f"{column_names}: name one with --label_column (several, separated by commas, for multi-label data)."
            )
    if require_label:
        raise ValueError(
            f"`label` cannot be recognised, no column has one of the usual names of a label. The columns are "
            f"{column_names}: name one with --label_column."
        )
    return ()
