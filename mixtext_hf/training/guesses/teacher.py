"""A text classifier that was trained before, as the one who guesses: distillation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as hf_logging

from mixtext_hf.data.in_batches import CHUNK_ROWS, some_rows
from mixtext_hf.models.checkpoint import check_checkpoint, check_tokenizer
from mixtext_hf.models.lengths import check_tokenizer_fits, longest_text


class Teacher:
    r"""
    Args:
        name (`str`): Hub id or folder of a single-label text classifier of transformers.
        label_names (`Sequence[str]`, *optional*):
            The classes that are wanted; the teacher's must be the same, in any order. `None`: those of the teacher.
        device (`torch.device`): Where it runs.
        batch_size (`int`): Texts that are run together.
        max_length (`int`): Longer texts are cut to this many tokens, or to as many as it takes.

    Raises:
        `ValueError`: if it has other classes; lists both.
    """

    def __init__(
        self,
        name: str,
        label_names: Sequence[str] | None,
        *,
        device: torch.device,
        batch_size: int = 32,
        max_length: int = 512,
    ):
        check_checkpoint(name)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        own = [str(config.id2label[i]) for i in range(config.num_labels)]
        label_names = own if label_names is None else label_names
        self.label_names = list(label_names)
        if set(own) != set(label_names) or len(own) != len(label_names):
            raise ValueError(
                f"guesser='checkpoint:{name}' has the classes {', '.join(own)}, those of the labelled rows are "
                f"{', '.join(label_names)}: name a teacher with the same classes."
            )
        check_tokenizer(name)
        self.tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        self.model = (
            AutoModelForSequenceClassification.from_pretrained(name, trust_remote_code=False).eval().to(device)
        )
        check_tokenizer_fits(self.tokenizer, self.model)
        self.order = [own.index(label) for label in label_names]
        self.device, self.batch_size = device, batch_size
        self.max_length = min(max_length, longest_text(config, self.tokenizer) or max_length)

    @torch.no_grad()
    def guess(
        self, rows: Any, text_column: str, text_pair_column: str | None = None, *, disable_tqdm: bool = False
    ) -> Iterator[NDArray[np.float32]]:
        """Probabilities `(n, C)` of all rows, in the order of `label_names`, some thousand rows at a time."""
        with hf_logging.tqdm(total=len(rows), unit=" texts", desc="teacher", disable=disable_tqdm) as bar:
            for start in range(0, len(rows), CHUNK_ROWS):
                part = some_rows(rows, range(start, min(start + CHUNK_ROWS, len(rows))))
                yield self._guess(
                    [row[text_column] for row in part],
                    None if text_pair_column is None else [row[text_pair_column] for row in part],
                )
                bar.update(len(part))

    def _guess(self, texts: list[str], pairs: list[str] | None) -> NDArray[np.float32]:
        out = np.empty((len(texts), len(self.order)), dtype=np.float32)
        order = np.argsort([len(text) for text in texts], kind="stable")
        for first in range(0, len(order), self.batch_size):
            which = order[first : first + self.batch_size]
            batch = self.tokenizer(
                [texts[i] for i in which],
                None if pairs is None else [pairs[i] for i in which],
                padding=True,
                truncation=True,
                max_length=self.max_length,
                return_tensors="pt",
            ).to(self.device)
            logits = self.model(**batch).logits.float()
            out[which] = logits.softmax(dim=-1)[:, self.order].cpu().numpy()
        return out
