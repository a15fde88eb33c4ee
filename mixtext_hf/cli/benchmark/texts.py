"""The batches `[labelled | originals | view 1 | ... | view K]` of a benchmark: of random tokens, or of real texts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.tables.files import read_files, resolve_files
from mixtext_hf.data.texts.augmenters import make_augmenter
from mixtext_hf.data.texts.two_streams import TwoStreamBatchSampler, TwoStreamCollator, TwoStreams, UnlabeledTexts
from mixtext_hf.mixing import IGNORE_INDEX

from .measuring import NUM_LABELS


# Lengths of AG News in tokens of BERT: a median of about 50, one text in three outside 37..67.
_MEDIAN_LENGTH, _LOG_DEVIATION = 50, 0.3


def random_batches(
    seq_length: int, vocab_size: int, *, labeled: int, unlabeled: int, views: int
) -> Iterator[dict[str, torch.Tensor]]:
    """Random tokens in texts as long as those of AG News, cut at `seq_length`; an endless stream, always the same."""
    rng = np.random.default_rng(0)
    rows = labeled + views * unlabeled
    while True:
        lengths = rng.lognormal(math.log(_MEDIAN_LENGTH), _LOG_DEVIATION, rows).round().astype(int)
        lengths = lengths.clip(4, seq_length)
        attention_mask = np.arange(lengths.max()) < lengths[:, None]
        input_ids = rng.integers(1, vocab_size, attention_mask.shape) * attention_mask
        labels = np.full(rows, IGNORE_INDEX)
        labels[:labeled] = rng.integers(NUM_LABELS, size=labeled)
        yield {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask).long(),
            "labels": torch.from_numpy(labels),
            "text_labels": torch.full((unlabeled,), IGNORE_INDEX),
        }


def text_batches(
    file: str,
    seq_length: int,
    tokenizer: PreTrainedTokenizerBase,
    *,
    text_column: str,
    view_columns: Sequence[str],
    labeled: int,
    unlabeled: int,
    views: int,
) -> Iterator[dict[str, torch.Tensor]]:
    """
    Batches of the texts of a file, padded to the longest of each; an endless stream, always the same.

    The labels are made up. Views beyond those of `view_columns` are the text with words left out.
    """
    dataset = read_files("text_file", resolve_files("text_file", file))
    augmenters = [make_augmenter("word_dropout")] * (views - 1 - len(view_columns))
    texts = UnlabeledTexts(dataset, text_columns=[text_column], view_columns=view_columns, augmenters=augmenters)
    labelled = [{text_column: text, "label": i % NUM_LABELS} for i, text in enumerate(dataset[text_column])]
    streams = TwoStreams(labelled, texts)
    sampler = TwoStreamBatchSampler(
        len(labelled), len(texts), labeled_batch_size=labeled, unlabeled_batch_size=unlabeled
    )
    collator = MixDataCollator(tokenizer, text_column=text_column, max_length=seq_length)
    collate = TwoStreamCollator(collator, collator.label_columns)
    epoch = 0
    while True:
        sampler.set_epoch(epoch)
        for rows in sampler:
            yield collate([streams[row] for row in rows])
        epoch += 1
