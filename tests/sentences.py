"""Tiny sentences whose words have labels, and tiny models of such: what the tests of token classification share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from runs import GivenPlansTrainer, arguments, series
from tiny import tiny_config, widen
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerFast

from mixtext_hf.methods import MixMethod


TAGS = ["O", "B-PER", "I-PER"]
# Words are cut into pieces of letters: "aab" is "a ##a ##b".
_PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{letter}" for letter in "abcdefgh")]


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of word pieces, a letter each."""
    vocab = {piece: number for number, piece in enumerate(_PIECES)}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=32,
    )


def sentences(count: int, seed: int = 3, longest: int = 7) -> list[dict[str, Any]]:
    """Sentences of 2 to `longest` words of 1 to 3 letters; the class of a word follows from its first letter."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words = [
            "".join(rng.choice(list("abcdefgh"), rng.integers(1, 4))) for _ in range(rng.integers(2, longest + 1))
        ]
        rows.append({"tokens": words, "ner_tags": ["abcdefgh".index(word[0]) % len(TAGS) for word in words]})
    return rows


def token_model(model_type: str = "bert", attention: str = "eager", *, seed: int = 0, **overrides: Any) -> Any:
    """A random `...ForTokenClassification` with 4 layers of 32 units."""
    config = tiny_config(model_type, **overrides)
    torch.manual_seed(seed)
    model = AutoModelForTokenClassification.from_config(config, attn_implementation=attention)
    widen(model, std=0.2)
    return model


def run_sentences(output_dir: str | Path, batch: int, accumulation: int, method: MixMethod) -> dict[str, list[float]]:
    """One epoch over 48 sentences in their order; loss and norm of the gradient by step, and the loss of evaluation."""
    args = arguments(
        output_dir,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        train_sampling_strategy="sequential",
    )
    trainer = GivenPlansTrainer(
        token_model(),
        args,
        train_dataset=sentences(48),
        eval_dataset=sentences(11, seed=9),
        processing_class=piece_tokenizer(),
        method=method,
    )
    trainer.train()
    return {
        "loss": series(trainer, "loss"),
        "grad_norm": series(trainer, "grad_norm"),
        "eval_loss": [trainer.evaluate()["eval_loss"]],
    }


def conll(path: Path, rows: list[dict[str, Any]], between: str = "\t") -> str:
    """The sentences as a file of a word a line."""
    text = "\n".join(
        "".join(f"{word}{between}{TAGS[tag]}\n" for word, tag in zip(row["tokens"], row["ner_tags"], strict=True))
        for row in rows
    )
    path.write_text(text, encoding="utf-8")
    return str(path)
