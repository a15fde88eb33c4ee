"""Random tiny models of every family, and an in-memory tokenizer: nothing is downloaded."""

from __future__ import annotations

import importlib.util

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast


DEPTH = 4
VOCAB_SIZE = 60

_COMMON = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": DEPTH,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "num_labels": 3,
}
_OWN = {
    "convbert": {"embedding_size": 32, "head_ratio": 2, "conv_kernel_size": 3, "num_groups": 1},
    "deberta": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
    "distilbert": {"dim": 32, "hidden_dim": 48, "n_heads": 4, "n_layers": DEPTH},
    "electra": {"embedding_size": 16},
    "gte": {"head_dim": 8},
    "jina_embeddings_v3": {"head_dim": 8},
    "mobilebert": {
        "embedding_size": 16,
        "intra_bottleneck_size": 16,
        "true_hidden_size": 16,
        "num_feedforward_networks": 2,
    },
    "modernbert": {"local_attention": 4, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2},
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roformer": {"embedding_size": 16},
}
FAMILIES = (
    "albert",
    "bert",
    "camembert",
    "convbert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "fnet",
    "gte",
    "jina_embeddings_v3",
    "megatron-bert",
    "mobilebert",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "rembert",
    "roberta",
    "roformer",
    "xlm-roberta",
)
WITHOUT_SDPA = {"convbert", "deberta", "deberta-v2", "fnet", "megatron-bert", "mpnet", "rembert", "roformer"}
WITHOUT_CHECKPOINTING = {"albert", "mpnet"}


def has_family(model_type: str) -> bool:
    """Whether the installed transformers knows the type."""
    folder = model_type.replace("-", "_")
    return importlib.util.find_spec(f"transformers.models.{folder}") is not None


def tiny_config(model_type: str, *, dropout: float = 0.0, **overrides):
    own = _OWN.get(model_type, {})
    config = AutoConfig.for_model(model_type, **{**_COMMON, **own, **overrides})
    for name in ("bos_token_id", "eos_token_id"):
        if isinstance(getattr(config, name, None), int) and getattr(config, name) >= VOCAB_SIZE:
            setattr(config, name, None)
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, dropout)
    return config


# Each family with each kind of attention it has, and what else changes where the mask goes.
VARIANTS = [
    (family, attention, {})
    for family in FAMILIES
    for attention in (("eager",) if family in WITHOUT_SDPA else ("eager", "sdpa"))
]
VARIANTS += [
    ("deberta-v2", "eager", {"conv_kernel_size": 3, "conv_act": "gelu"}),
    ("modernbert", "sdpa", {"classifier_pooling": "mean"}),
]


def variant_name(value) -> str:
    """A part of a variant as a part of the name of a test."""
    return ",".join(value) if isinstance(value, dict) else str(value)


def widen(model: torch.nn.Module, std: float) -> None:
    """Draw the matrices of a model anew, large enough for rows to differ."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=std)


def tiny_model(
    model_type: str = "bert", attention: str = "eager", *, dropout: float = 0.0, seed: int = 0, **overrides
):
    """A random `...ForSequenceClassification` with 4 layers of 32 units; weights large enough for rows to differ."""
    config = tiny_config(model_type, dropout=dropout, **overrides)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    widen(model, std=0.2)
    return model


def tiny_batch(lengths=(12, 7, 10, 4), seed: int = 1, longest: int | None = None):
    """Token ids `(B, L)` and the 2-D mask of texts of these lengths, padded on the right."""
    generator = torch.Generator().manual_seed(seed)
    longest = longest or max(lengths)
    input_ids = torch.zeros(len(lengths), longest, dtype=torch.long)
    attention_mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        input_ids[row, :length] = torch.randint(5, VOCAB_SIZE, (length,), generator=generator)
        attention_mask[row, :length] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def tiny_tokenizer(words=()):
    """A word-level tokenizer with the usual special tokens; unknown words become `[UNK]`."""
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab += [w for w in words if w not in vocab]
    vocab += [f"w{i}" for i in range(VOCAB_SIZE - len(vocab))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocab)}, unk_token="[UNK]"))
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
