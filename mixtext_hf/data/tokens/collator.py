"""From sentences of words to one padded batch whose labels stand at the first piece of each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mixtext_hf.data.texts.collator import MixDataCollator
from mixtext_hf.mixing import IGNORE_INDEX

from .columns import recognise_token_columns


WORD_STARTS = "word_starts"
"""Where a batch with unlabelled sentences says which positions begin a word."""


def word_starts(word_ids: Sequence[int | None]) -> list[bool]:
    """Which positions hold the first piece of a word, of the words that a fast tokenizer says the pieces of a sentence belong to."""
    before = [None, *word_ids[:-1]]
    return [word is not None and word != last for word, last in zip(word_ids, before, strict=True)]


@dataclass
class TokenCollator(MixDataCollator):
    """
    Collate sentences of words, or rows that are tokenised already, into a batch for token classification.

    The first piece of a word has its label; the other pieces, special tokens and padding have -100, and so no part in the loss.
    Words past `max_length` are cut, with their labels: [`cut_words`] counts them.

    Args:
        tokenizer (`PreTrainedTokenizerFast`): Of the model; a fast one, which says which piece is of which word.
        text_column (`str`, *optional*): Column of the lists of words; recognised if not given, see [`recognise_token_columns`].
        label_column (`str`, *optional*, defaults to `"ner_tags"`): Column of the lists of class ids, one for each word.
        max_length, pad_to_multiple_of: As of [`MixDataCollator`].
    """

    label_column: str = "ner_tags"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_pair_column is not None or self.is_regression:
            raise ValueError(
                "Sentences of words have no second text and no scores: leave out text_pair_column and is_regression."
            )
        self._check_padding()

    def _check_padding(self) -> None:
        if self.tokenizer.padding_side != "right":
            raise ValueError(
                f"The tokenizer pads on the {self.tokenizer.padding_side}, and words are found again by their place from the first on: set "
                "tokenizer.padding_side='right'."
            )

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """
        Args:
            features (`list[dict[str, Any]]`): The rows of the batch, all tokenised (`input_ids`) or all of words.

        Returns:
            `dict[str, torch.Tensor]`: the inputs of the model, each `(B, T)`, and, where the rows have labels, `labels`, int64 `(B, T)`,
            -100 where there is none. Where the label of a row is the single number -100, which says that it is learnt from without
            labels, also `word_starts`, bool `(B, T)`: where the words of all rows begin; of tokenised rows, which do not say that, all
            tokens but special ones: give rows of words to learn from these alone.

        Raises:
            `ValueError`, `TypeError`: that names the row, for labels that are not as many as words and for words that are no strings.
        """
        self._check_padding()  # whoever had the tokenizer since
        is_ready = "input_ids" in features[0]
        if not is_ready and self.text_column is None:
            self._recognise(features[0])
        name = next((name for name in self.label_columns if name in features[0]), None)
        labels = None if name is None else [_plain(row.get(name)) for row in features]
        if is_ready:
            batch = self._pad_ready(features)
            aligned = None if labels is None else [_without_none(label) for label in labels]
            starts = [[True] * len(row["input_ids"]) for row in features]
            sizes = [len(row["input_ids"]) for row in features]
        else:
            words = [self._words(row, number) for number, row in enumerate(features)]
            encoded = self._encode(words)
            batch = self._pad({key: encoded[key] for key in self.tokenizer.model_input_names if key in encoded})
            word_ids = [encoded.word_ids(number) for number in range(len(features))]
            starts = [word_starts(ids) for ids in word_ids]
            sizes = [len(one) for one in words]
            aligned = (
                None if labels is None else [_aligned(*row) for row in zip(labels, word_ids, starts, strict=True)]
            )
        if labels is not None and aligned is not None:
            for number, (label, size) in enumerate(zip(labels, sizes, strict=True)):
                _check(label, size, number, str(name), "tokens" if is_ready else "words")
            batch["labels"] = self._padded([[] if _is_hidden(one) else one for one in aligned], batch, IGNORE_INDEX)
            if any(isinstance(label, int) for label in labels):
                if is_ready:
                    starts = [self._ordinary(row["input_ids"]) for row in features]
                batch[WORD_STARTS] = self._padded(starts, batch, False)
        return batch

    def cut_words(self, rows: Any) -> int:
        """How many words of the rows, which are not tokenised, are past `max_length`, or have no piece at all: nobody sees them."""
        return sum(places.count(None) for places in self.places(rows))

    def places(self, rows: Any) -> list[list[int | None]]:
        """Of each row, which is not tokenised, where the first piece of each word stands in a batch; `None` of words that are cut."""
        found: list[list[int | None]] = []
        for batch in self._in_batches(rows):
            encoded = self._encode(batch)
            for number, words in enumerate(batch):
                places: list[int | None] = [None] * len(words)
                for place, (word, begins) in enumerate(
                    zip(ids := encoded.word_ids(number), word_starts(ids), strict=True)
                ):
                    if begins and word is not None:
                        places[word] = place
                found.append(places)
        return found

    def _in_batches(self, rows: Any, size: int = 1000) -> Any:
        for first in range(0, len(rows), size):
            some = [rows[number] for number in range(first, min(first + size, len(rows)))]
            yield [self._words(row, first + number) for number, row in enumerate(some)]

    def _recognise(self, row: dict[str, Any]) -> None:
        found = recognise_token_columns(row, require_tags=False)
        self.text_column = found.tokens
        if found.tags is not None and not set(self.label_columns) & set(row):
            self.label_column = found.tags

    def _words(self, row: dict[str, Any], number: int) -> list[str]:
        words = _plain(row.get(self.text_column or ""))
        if not isinstance(words, list) or not words:
            raise ValueError(
                f"The column {self.text_column!r} holds {words!r} in row {number} of the batch: a sentence is a list of one word or "
                "more. Remove or correct such rows."
            )
        for word in words:
            if not isinstance(word, str):
                raise TypeError(
                    f"The column {self.text_column!r} holds the word {word!r} ({type(word).__name__}) in row {number} of the batch: "
                    "words are strings."
                )
        return words

    def _encode(self, words: list[list[str]]) -> Any:
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"{type(self.tokenizer).__name__} is a slow tokenizer, which does not say which piece belongs to which word: load the fast "
                "one, AutoTokenizer.from_pretrained(name, use_fast=True)."
            )
        max_length = self.max_length or self.tokenizer.model_max_length
        cuts = max_length < 1_000_000
        try:
            return self.tokenizer(
                words, is_split_into_words=True, truncation=cuts, max_length=max_length if cuts else None
            )
        except AssertionError as error:
            raise ValueError(
                f"{type(self.tokenizer).__name__} takes no sentences of words as it was loaded ({error}): load it with "
                "add_prefix_space=True."
            ) from error

    def _ordinary(self, ids: Any) -> list[bool]:
        special = set(self.tokenizer.all_special_ids)
        return [int(one) not in special for one in ids]

    def _padded(self, rows: list[Any], batch: dict[str, torch.Tensor], value: int | bool) -> torch.Tensor:
        """Lists as the inputs are padded, `(B, T)`."""
        shape = batch["input_ids"].shape
        padded = torch.full(shape, value, dtype=torch.bool if isinstance(value, bool) else torch.int64)
        for number, row in enumerate(rows):
            if len(row):
                padded[number, : len(row)] = torch.tensor(row, dtype=padded.dtype)
        return padded


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic | torch.Tensor) else value


def _is_hidden(label: Any) -> bool:
    return label is None or isinstance(label, int)


def _aligned(label: Any, word_ids: Sequence[int | None], starts: Sequence[bool]) -> Any:
    """The labels of words `(n,)` at the first pieces of these, -100 elsewhere."""
    if not isinstance(label, list):
        return label
    return [
        IGNORE_INDEX if word is None or not start or word >= len(label) or label[word] is None else label[word]
        for word, start in zip(word_ids, starts, strict=True)
    ]


def _without_none(label: Any) -> Any:
    return [IGNORE_INDEX if one is None else one for one in label] if isinstance(label, list) else label


def _check(label: Any, size: int, number: int, column: str, what: str) -> None:
    where = f"The label column {column!r} holds"
    if label is None or label == IGNORE_INDEX:
        return
    if not isinstance(label, list):
        raise ValueError(
            f"{where} {label!r} in row {number} of the batch: it must be a list with a class id for each of the {size} {what}, or None."
        )
    if len(label) != size:
        raise ValueError(
            f"{where} {len(label)} labels for {size} {what} in row {number} of the batch: give one for each."
        )
    for one in label:
        if one is not None and (not isinstance(one, int) or isinstance(one, bool)):
            raise TypeError(
                f"{where} {one!r} ({type(one).__name__}) in row {number} of the batch: labels of tokens are class ids. "
                "load_token_datasets gives names ids."
            )
