"""A text classifier that was trained before, as the one who guesses: distillation."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as hf_logging

from mixtext_hf.data.in_batches import CHUNK_ROWS, some_rows
from mixtext_hf.data.labels.class_keys import Naming, check_map_is_used
from mixtext_hf.data.labels.class_matching import match_outputs
from mixtext_hf.data.labels.mapping import LabelMap, folded_keys, look_up
from mixtext_hf.models.checkpoint import check_checkpoint, check_tokenizer
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.last_token import agree_on_padding, reads_last_token
from mixtext_hf.models.lengths import check_tokenizer_fits, longest_text
from mixtext_hf.models.modality import check_labels_texts, check_modality, modality_of
from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL


def teacher_classes(name: str) -> list[str]:
    """The names of a teacher's classes, in the order of its outputs."""
    return names_of_classes(_config_of(name))


class Teacher:
    r"""
    Args:
        name (`str`): Hub id or folder of a single-label text classifier of transformers.
        label_names (`Sequence[str]`, *optional*):
            The classes that are wanted; the teacher's must be the same, in any order, case and blanks aside. `None`: those of the
            teacher.
        label_map (`dict[str, str | None]`, *optional*):
            What names of the teacher's classes mean. Of several that mean the same one, the probabilities are added.
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
        label_map: LabelMap | None = None,
        device: torch.device,
        batch_size: int = 32,
        max_length: int = 512,
    ):
        config = _config_of(name)
        own = names_of_classes(config)
        label_map = label_map or {}
        if label_names is None:
            check_map_is_used({}, Naming(label_map, others=tuple(own)))
            meant = (look_up(other, label_map, folded_keys(label_map)) for other in own)
            label_names = list(dict.fromkeys(other for other in meant if other is not None))
        self.label_names = list(label_names)
        outputs = match_outputs(label_names, own, label_map)
        if outputs is None:
            raise ValueError(
                f"guesser='checkpoint:{name}' has the classes {', '.join(own)}, those of the labelled rows are "
                f"{', '.join(label_names)}: name a teacher with the same classes, or say by --label_map which of them each of its "
                "classes is."
            )
        self._of_class = np.zeros((len(own), len(label_names)), dtype=np.float32)
        for number, which in enumerate(outputs):
            self._of_class[which, number] = 1
        check_tokenizer(name)
        self.tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        self.model = (
            AutoModelForSequenceClassification.from_pretrained(name, trust_remote_code=False).eval().to(device)
        )
        check_tokenizer_fits(self.tokenizer, self.model)
        if reads_last_token(self.model):
            agree_on_padding(self.tokenizer, self.model)
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
        out = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
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
            out[which] = logits.softmax(dim=-1).cpu().numpy() @ self._of_class
        return out


def _config_of(name: str) -> Any:
    if os.path.isdir(name) and not os.path.isfile(os.path.join(name, "config.json")):
        raise ValueError(f"guesser='checkpoint:{name}' is a folder without config.json: it holds no model.")
    check_checkpoint(name)
    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    # Another kind of model would get a head that is drawn at random.
    if modality_of(f"checkpoint:{name}", config, argument="guesser") != "text":
        check_labels_texts(f"checkpoint:{name}", config, "guesser")
        check_modality(f"checkpoint:{name}", config, "text", "guesser")
    if config.problem_type not in (None, SINGLE_LABEL) or config.num_labels < 2:
        kind = config.problem_type or REGRESSION
        raise ValueError(
            f"guesser='checkpoint:{name}' is a model for {kind}, and a teacher has one class a text: name another."
        )
    return config
