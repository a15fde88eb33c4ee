"""Do the texts fit the model? Raw ones are cut to what it takes; tokenised ones are looked at before the first step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc

from mixtext_hf.data import MixDataCollator
from mixtext_hf.models.lengths import NO_LIMIT, check_tokenizer_fits, embedded_tokens, longest_text, usable_positions

from .data_handed_over import splits_to_evaluate


if TYPE_CHECKING:
    from .trainer import MixTrainer

_ROWS_AT_A_TIME = 10_000


def fit_to_model(collator: Any, model: Any) -> Any:
    """
    The collator, cutting raw texts to what the model takes where nobody says where to cut: a tokenizer need not know it.

    Raises:
        `ValueError`: if it was told to cut later than that, or if its tokenizer has ids that the model does not know.
    """
    if not isinstance(collator, MixDataCollator):
        return collator
    if collator.text_column is not None:
        check_tokenizer_fits(collator.tokenizer, model)
    limit = usable_positions(model.config)
    if limit is None:
        return collator
    if collator.max_length is None:
        known = longest_text(model.config, collator.tokenizer)
        if known is not None and min(collator.tokenizer.model_max_length, NO_LIMIT) > known:
            # The caller's own may serve another model.
            collator = copy.copy(collator)
            collator.max_length = known
    elif collator.max_length > limit:
        raise ValueError(
            f"The data_collator cuts texts to max_length={collator.max_length} tokens, and {type(model).__name__} takes {limit}: "
            "lower it, or leave it out for what the model takes."
        )
    multiple = collator.pad_to_multiple_of
    cut = collator.max_length if collator.max_length is not None else collator.tokenizer.model_max_length
    if multiple is not None and -(-min(cut, limit) // multiple) * multiple > limit:
        raise ValueError(
            f"pad_to_multiple_of={multiple} pads texts of {min(cut, limit)} tokens to more than the {limit} that {type(model).__name__} "
            "takes: give a smaller one, such as 8, or leave it out."
        )
    return collator


def check_tokens(trainer: MixTrainer) -> None:
    """
    Check the rows of tokenised data sets: their lengths, and their ids.

    Raises:
        `ValueError`: that names the data set and the row.
    """
    model = trainer.mixer.model
    limit, ids = usable_positions(model.config), embedded_tokens(model)
    named = {"train_dataset": trainer.train_dataset, **splits_to_evaluate(trainer.eval_dataset)}
    if trainer.method.uses_unlabeled:
        named["unlabeled_dataset"] = trainer.unlabeled_dataset
    for argument, data in named.items():
        before = 0
        for column in token_columns(data):
            _check_column(column, before, argument, type(model).__name__, limit, ids)
            before += len(column)


def _check_column(column: pa.Array, before: int, argument: str, name: str, limit: int | None, ids: int | None) -> None:
    lengths = pc.list_value_length(column)
    longest = pc.max(lengths).as_py()
    if limit is not None and longest is not None and longest > limit:
        row = pc.index(lengths, longest).as_py() + before
        raise ValueError(
            f"Row {row} of `{argument}` has {longest} tokens, and {name} takes {limit}: tokenise with truncation=True, "
            f"max_length={limit}."
        )
    largest = pc.max(pc.list_flatten(column)).as_py()
    if ids is not None and largest is not None and largest >= ids:
        place = pc.index(pc.list_flatten(column), largest).as_py()
        row = pc.list_parent_indices(column)[place].as_py() + before
        raise ValueError(
            f"Row {row} of `{argument}` has the token id {largest}, and {name} has embeddings for {ids}: tokenise with the "
            "tokenizer that belongs to the model, or, if tokens were added on purpose, model.resize_token_embeddings("
            "len(tokenizer)) before training."
        )


def token_columns(data: Any) -> Iterator[pa.Array]:
    """The `input_ids` of a data set that is at hand, piece by piece; nothing where it has none, or they are no lists of numbers."""
    if isinstance(data, datasets.Dataset):
        if "input_ids" not in data.column_names or data.format["type"] == "custom":
            return
        for piece in data.select_columns(["input_ids"]).with_format("arrow").iter(batch_size=_ROWS_AT_A_TIME):
            yield from _lists_of_numbers(piece.column("input_ids").combine_chunks())
    elif isinstance(data, Sequence) and len(data) and isinstance(data[0], Mapping) and "input_ids" in data[0]:
        for start in range(0, len(data), _ROWS_AT_A_TIME):
            rows = [data[i]["input_ids"] for i in range(start, min(start + _ROWS_AT_A_TIME, len(data)))]
            yield from _lists_of_numbers(pa.array([row.tolist() if hasattr(row, "tolist") else row for row in rows]))


def _lists_of_numbers(column: Any) -> Iterator[pa.Array]:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    for chunk in chunks:
        kind = chunk.type
        is_list = any(
            is_kind(kind) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        )
        if is_list and pa.types.is_integer(kind.value_type):
            yield chunk
