"""The unlabelled texts of a run: what few-shot training leaves of its training split, texts of their own, or both."""

from collections.abc import Sequence

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets import ClassLabel, Dataset, Value

from mixtext_hf.data.few_shot import few_shot_split
from mixtext_hf.data.labels.class_matching import ClassFinder
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.data.labels.mapping import LabelMap, folded_keys, look_up
from mixtext_hf.data.tables.columns import TextColumns


def join_unlabeled(
    rest: Dataset | None,
    texts: Dataset | None,
    *,
    columns: TextColumns,
    view_columns: Sequence[str],
    guess_column: str | None = None,
    per_class: int | None,
    seed: int,
    up_to: bool = False,
) -> Dataset | None:
    """
    Join the parts that there are, as texts, views, and labels if all parts have them.

    Args:
        rest (`datasets.Dataset`, *optional*):
            What is left over of the training split.
        texts (`datasets.Dataset`, *optional*):
            Texts of files of their own, as [`with_known_labels`] gives them.
        columns ([`TextColumns`]):
            The text columns.
        view_columns (`Sequence[str]`):
            Columns with another wording each.
        guess_column (`str`, *optional*):
            Column with a guess each.
        per_class (`int`, *optional*):
            Take only this many texts of each class of `rest`.
        seed (`int`):
            Seed of that choice.
        up_to (`bool`, *optional*, defaults to `False`):
            Whether all texts of a class that has fewer are taken.

    Returns:
        `datasets.Dataset`: `None` if there is no part.
    """
    if rest is not None and per_class is not None:
        rest, _ = few_shot_split(rest, LABEL, per_class, seed, argument="unlabeled_per_class", up_to=up_to)
    parts = [part for part in (rest, texts) if part is not None]
    if guess_column is not None and guess_column in (*columns.texts, *view_columns):
        raise ValueError(f"guess_column {guess_column!r} is a column of texts: name the one that holds the guesses.")
    more = [] if guess_column is None else [guess_column]
    return _join(parts, [*columns.texts, *view_columns, *more]) if parts else None


def with_known_labels(
    split: Dataset, label: str | tuple[str, ...] | None, names: Sequence[str], label_map: LabelMap | None = None
) -> Dataset:
    """
    The unlabelled texts with what is known of their classes: ids of `names` in a column `"label"`, -1 where a class is
    hidden or unknown; without that column if they have none. Nothing about them is wrong, since nobody learns from them.

    Args:
        split (`datasets.Dataset`):
            The texts.
        label (`str` or `tuple[str, ...]`, *optional*):
            Column of the label, or one column a class, in the data as it was found.
        names (`Sequence[str]`):
            Names of the classes in the order of their ids.
        label_map (`dict[str, str | None]`, *optional*):
            What names are meant, by names in the data.
    """
    if not isinstance(label, str) or label not in split.column_names:
        return split.remove_columns(LABEL) if LABEL in split.column_names else split
    feature = split.features[label]
    column: pa.ChunkedArray = split.select_columns([label]).with_format("arrow")[:].column(label)
    if not (
        pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ):
        return split.remove_columns(label)
    finder = ClassFinder(names, by_number=True)
    label_map = label_map or {}
    map_forms = folded_keys(label_map)

    def id_of(value: str | int | None) -> int:
        if isinstance(value, int) and isinstance(feature, ClassLabel):
            value = feature.int2str(value) if 0 <= value < len(feature.names) else None
        meant = None if value is None else look_up(str(value), label_map, map_forms)
        found = None if meant is None else finder.id_of(meant)
        return -1 if found is None else found

    values = column.unique()
    known = pa.array([id_of(value) for value in values.to_pylist()], pa.int64())
    found = known.take(pc.index_in(column, value_set=values).combine_chunks())
    return split.remove_columns(label).add_column(LABEL, found.to_numpy(zero_copy_only=False))


def _join(parts: list[Dataset], wanted: list[str]) -> Dataset:
    """One data set of the wanted columns, with the labels if all parts have them."""
    for part in parts:
        missing = [name for name in wanted if name not in part.column_names]
        if missing:
            raise ValueError(
                f"The unlabelled texts have no column {', '.join(map(repr, missing))} (their columns are "
                f"{part.column_names}): name others with --view_columns or --guess_column, make them with `mixtext-hf augment-text` or "
                "`mixtext-hf guess-labels` (what is left of train has none: --unlabeled_rest False), or use --augmenters, which need "
                "none."
            )
    if all(LABEL in part.column_names for part in parts):
        wanted = [*wanted, LABEL]
    parts = [part.select_columns(wanted) for part in parts]
    if len(parts) > 1:
        # One part may name its classes and the other not; the ids are the same.
        int64 = Value("int64")
        parts = [
            part.cast_column(LABEL, int64) if LABEL in wanted and part.features[LABEL] != int64 else part
            for part in parts
        ]
    return datasets.concatenate_datasets(parts)
