"""What people hand over as data, and as a model: made to what the trainer reads, or one line that says what to do instead."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import datasets
import numpy as np
import torch
from transformers.image_processing_base import ImageProcessingMixin

from mixtext_hf._messages import listed
from mixtext_hf.data import MixDataCollator
from mixtext_hf.models.any_classifier import no_pixels


logger = logging.getLogger(__name__)

# Splits by whose name it is plain which one is meant.
_MEANT = {"train_dataset": ("train",), "test_dataset": ("test",), "unlabeled_dataset": ("unlabeled", "unsupervised")}
_SHOWN = 5


def as_rows(data: Any, argument: str) -> Any:
    """
    A data set whose rows are asked for by number, or a stream of rows.

    Args:
        data (`Any`):
            As it was handed over. A `pandas.DataFrame`, and a dict of columns, become a `datasets.Dataset`; of a dict of splits
            the one is taken that is meant. Everything else stays what it is.
        argument (`str`): What the user calls it.

    Raises:
        `TypeError`: if it is nothing that rows can be read from.
        `ValueError`: for splits of which it is not plain which one is meant.
    """
    if isinstance(data, str):
        raise TypeError(
            f"`{argument}` is the string {data!r}: load it first, {argument}=datasets.load_dataset({data!r}, split=...)."
        )
    if isinstance(data, Mapping):
        return _of_mapping(data, argument)
    if _is_pandas(data, "DataFrame"):
        return datasets.Dataset.from_pandas(data, preserve_index=False)
    if _is_pandas(data, "Series"):
        return data.tolist()
    if isinstance(data, Sequence) and len(data) and isinstance(data[0], tuple | list):
        raise TypeError(
            f"The rows of `{argument}` are of type {type(data[0]).__name__}: give each as a dict, {{'text': ..., 'label': ...}}."
        )
    return data


def as_splits(data: Any, argument: str) -> Any:
    """[`as_rows`] of data to evaluate on, which may be a dict of data sets: each is evaluated."""
    if isinstance(data, Mapping) and not _holds_columns(data):
        return {name: as_rows(split, f"{argument}[{name!r}]") for name, split in data.items()}
    return as_rows(data, argument)


def splits_to_evaluate(data: Any) -> dict[str, Any]:
    """The data sets to evaluate on, one or several, each by what the user calls it."""
    if not isinstance(data, dict):
        return {"eval_dataset": data}
    return {f"eval_dataset[{name!r}]": split for name, split in data.items()}


def as_rows_of_texts(data: Any, collator: Any) -> Any:
    """Texts without labels may come as strings: then they are rows with the text column of `collator`."""
    if not isinstance(data, Sequence) or isinstance(data, str) or not len(data) or not isinstance(data[0], str):
        return data
    wrong = next((number for number, text in enumerate(data) if not isinstance(text, str)), None)
    if wrong is not None:
        raise TypeError(
            f"Row {wrong} of a list of texts is {data[wrong]!r} ({type(data[wrong]).__name__}), and no string: remove it, or make it one."
        )
    column = collator.text_column if isinstance(collator, MixDataCollator) else None
    if isinstance(collator, MixDataCollator) and collator.text_pair_column is not None:
        raise ValueError(
            f"A list of strings was given where a row has two texts: give rows with {column!r} and {collator.text_pair_column!r}."
        )
    return datasets.Dataset.from_dict({column or "text": list(data)})


def column_names(data: Any) -> list[str] | None:
    """
    The columns that a data set's rows have, as they are handed out; `None` if that cannot be told without using a row up.

    A stream of `datasets` is begun anew by everybody who reads it, other streams may not be: those are not looked into.
    """
    if isinstance(data, datasets.Dataset):
        # Somebody's transform may make other columns.
        return list(data[0]) if data.format["type"] == "custom" and len(data) else list(data.column_names)
    if isinstance(data, datasets.IterableDataset):
        names = data.column_names
        return list(names) if names is not None else list(next(iter(data), {}))
    if isinstance(data, torch.utils.data.IterableDataset) or not hasattr(data, "__getitem__"):
        return None
    if not hasattr(data, "__len__") or len(data) == 0 or isinstance(data, Mapping):
        return None
    row = data[0]
    return list(row) if isinstance(row, Mapping) else None


def check_readable(data: Any, argument: str, *, processor: Any, takes_pixels: bool) -> None:
    """
    Raise for raw rows that nobody turns into inputs: the collator of transformers leaves out every text and every image.

    Raises:
        `ValueError`: that names the columns, and what is missing.
    """
    if isinstance(data, Sequence) and len(data) and isinstance(data[0], str):
        names: list[str] | None = ["strings alone"]
    else:
        names = None if data is None else column_names(data)
    if names is None or {"input_ids", "pixel_values", "inputs_embeds", "inputs"} & set(names):
        return
    if isinstance(processor, ImageProcessingMixin) and (made := no_pixels(processor)) is not None:
        raise ValueError(
            f"The rows of `{argument}` are raw (they have {listed(names, _SHOWN, show=str)}), and the {type(processor).__name__} {made}."
        )
    what, maker, ready = (
        ("images", "AutoImageProcessor", "pixel_values") if takes_pixels else ("texts", "AutoTokenizer", "input_ids")
    )
    given = "there is none" if processor is None else f"it is a {type(processor).__name__}"
    raise ValueError(
        f"The rows of `{argument}` have no {ready} (they have {listed(names, _SHOWN, show=str)}), and of raw {what} only `processing_class` can make "
        f"them ({given}): give processing_class={maker}.from_pretrained(...), or a data_collator of your own, or rows with {ready}."
    )


def check_model(model: Any) -> None:
    """Raise `TypeError` for the name of a model: how many classes there are, and which, is for the caller to say."""
    if isinstance(model, str):
        raise TypeError(
            f"`model` is the string {model!r}: load it first, model=MixableModelForSequenceClassification.from_pretrained({model!r}, "
            "num_labels=...), or MixableModelForImageClassification for images."
        )


def check_processor(processor: Any) -> None:
    """Raise `TypeError` for the name of a tokenizer or image processor."""
    if isinstance(processor, str):
        raise TypeError(
            f"`processing_class` is the string {processor!r}: load it first, processing_class=AutoTokenizer.from_pretrained("
            f"{processor!r}), or AutoImageProcessor for images."
        )


def _of_mapping(data: Mapping[str, Any], argument: str) -> Any:
    if _holds_columns(data):
        return datasets.Dataset.from_dict(dict(data))
    meant = [name for name in _MEANT.get(argument, ()) if name in data] or (list(data) if len(data) == 1 else [])
    if len(meant) != 1:
        raise ValueError(
            f"`{argument}` is a {type(data).__name__} of splits ({listed(data, _SHOWN, show=str)}): give one of them, such as "
            f"{argument}=data[{next(iter(data), 'train')!r}]."
        )
    logger.warning("`%s` is a %s: its split %r is taken.", argument, type(data).__name__, meant[0])
    return as_rows(data[meant[0]], argument)


def _holds_columns(data: Mapping[str, Any]) -> bool:
    """Whether it is a table, column by column, and no dict of data sets."""
    if isinstance(data, datasets.DatasetDict | datasets.IterableDatasetDict) or not data:
        return False
    return all(
        isinstance(column, np.ndarray | list | tuple) and not (len(column) and isinstance(column[0], Mapping))
        for column in data.values()
    )


def _is_pandas(data: Any, kind: str) -> bool:
    """Whether it is a table or a column of pandas, which need not be installed."""
    module = type(data).__module__.split(".")[0]
    return module == "pandas" and type(data).__name__ == kind and importlib.util.find_spec("pandas") is not None
