"""Random tiny translation models, saved as the published ones are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tiny import widen
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast


WORDS = [f"w{i}" for i in range(30)]
SIZES: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "dropout": 0.0,
    "max_position_embeddings": 32,
}


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Weights large enough for translations to differ."""
    torch.manual_seed(seed)
    widen(model, std=0.5)


def save_marian(folder: Path, seed: int = 0, *, longest: int = 12, **generation: object) -> str:
    """A Marian model of `WORDS` whose tokenizer takes `longest` tokens, with settings of its `generate`."""
    vocab = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=longest
    ).save_pretrained(folder)
    ids: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "forced_eos_token_id": 1, "decoder_start_token_id": 0}
    model = MarianMTModel(MarianConfig(vocab_size=len(vocab), **ids, **SIZES))
    randomise(model, seed)
    model.generation_config.update(**generation)
    model.save_pretrained(folder)
    return str(folder)
