"""Random tiny models of every family, and an in-memory tokenizer: nothing is downloaded."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)


DEPTH = 4
VOCAB_SIZE = 60

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": DEPTH,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "num_labels": 3,
}
_OWN: dict[str, dict[str, Any]] = {
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
    # decoders
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8},
    "gemma3_text": {"head_dim": 8, "sliding_window": 4, "query_pre_attn_scalar": 8, "sliding_window_pattern": 2},
    "glm": {"head_dim": 8},
    "mistral": {"sliding_window": 4},
    "qwen2": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    "qwen3": {"head_dim": 8},
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
DECODERS = (
    "gemma",
    "gemma2",
    "gemma3_text",
    "glm",
    "gpt_neox",
    "llama",
    "mistral",
    "olmo",
    "olmo2",
    "phi",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
    "stablelm",
    "starcoder2",
)
WITHOUT_SDPA = {"convbert", "deberta", "deberta-v2", "fnet", "gemma2", "megatron-bert", "mpnet", "rembert", "roformer"}
WITHOUT_CHECKPOINTING = {
    "albert",
    "mpnet",
    "bit",
    "convnext",
    "convnextv2",
    "efficientnet",
    "levit",
    "mobilenet_v1",
    "mobilenet_v2",
    "regnet",
    "resnet",
    "textnet",
}


def has_family(model_type: str) -> bool:
    """Whether the installed transformers knows the type."""
    folder = model_type.replace("-", "_")
    return importlib.util.find_spec(f"transformers.models.{folder}") is not None


def tiny_config(model_type: str, *, dropout: float = 0.0, **overrides: Any) -> PreTrainedConfig:
    own = _OWN.get(model_type, {})
    if model_type in DECODERS:
        own = {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, **own}
    config = AutoConfig.for_model(model_type, **{**_COMMON, **own, **overrides})
    for name in ("bos_token_id", "eos_token_id"):
        if isinstance(getattr(config, name, None), int) and getattr(config, name) >= VOCAB_SIZE:
            setattr(config, name, None)
    for name, value in config.to_dict().items():
        if "dropout" in name and isinstance(value, float):
            setattr(config, name, dropout)
    return config


# Each family with each kind of attention it has, and what else changes where the mask goes.
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    (family, attention, {})
    for family in FAMILIES
    for attention in (("eager",) if family in WITHOUT_SDPA else ("eager", "sdpa"))
]
VARIANTS += [
    ("deberta-v2", "eager", {"conv_kernel_size": 3, "conv_act": "gelu"}),
    ("modernbert", "sdpa", {"classifier_pooling": "mean"}),
]


def variant_name(value: object) -> str:
    """A part of a variant as a part of the name of a test."""
    return ",".join(value) if isinstance(value, dict) else str(value)


def widen(model: torch.nn.Module, std: float) -> None:
    """Draw the matrices of a model anew, large enough for rows to differ."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=std)


def tiny_model(
    model_type: str = "bert", attention: str = "eager", *, dropout: float = 0.0, seed: int = 0, **overrides: Any
) -> Any:
    """A random `...ForSequenceClassification` with 4 layers of 32 units; weights large enough for rows to differ."""
    config = tiny_config(model_type, dropout=dropout, **overrides)
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
    widen(model, std=0.2)
    return model


def tiny_batch(
    lengths: Sequence[int] = (12, 7, 10, 4), seed: int = 1, longest: int | None = None, side: str = "right"
) -> dict[str, torch.Tensor]:
    """Token ids `(B, L)` and the 2-D mask of texts of these lengths, padded on this side."""
    generator = torch.Generator().manual_seed(seed)
    longest = longest or max(lengths)
    input_ids = torch.zeros(len(lengths), longest, dtype=torch.long)
    attention_mask = torch.zeros(len(lengths), longest, dtype=torch.long)
    for row, length in enumerate(lengths):
        where = slice(length) if side == "right" else slice(longest - length, longest)
        input_ids[row, where] = torch.randint(5, VOCAB_SIZE, (length,), generator=generator)
        attention_mask[row, where] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


# ---- image classifiers ----

# Higher than wide, but for the models that take nothing but squares.
IMAGE_SIZE = (48, 32)
_BLOCKS: dict[str, Any] = {
    "image_size": IMAGE_SIZE,
    "patch_size": 8,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
}
_SQUARE_BLOCKS = {**_BLOCKS, "image_size": 32}
_STAGES = {"hidden_sizes": [8, 12, 16], "depths": [1, 2, 1]}
_RESNET = {**_STAGES, "embedding_size": 8}
_SWIN = {
    "image_size": IMAGE_SIZE,
    "patch_size": 4,
    "embed_dim": 8,
    "depths": [1, 2, 1],
    "num_heads": [2, 2, 2],
    "window_size": 2,
}
_PYRAMID = {
    **_STAGES,
    "num_encoder_blocks": 3,
    "hidden_sizes": [8, 8, 16],
    "sr_ratios": [4, 2, 1],
    "patch_sizes": [7, 3, 3],
    "strides": [4, 2, 2],
    "num_attention_heads": [1, 2, 2],
    "mlp_ratios": [2, 2, 2],
}
_IMAGES: dict[str, dict[str, Any]] = {
    "beit": _BLOCKS,
    "bit": {**_RESNET, "hidden_sizes": [8, 16, 16], "num_groups": 2},
    "clip": {"vision_config": _SQUARE_BLOCKS},
    "convnext": {**_STAGES, "num_stages": 3},
    "convnextv2": {**_STAGES, "num_stages": 3},
    "data2vec-vision": _BLOCKS,
    "deit": _BLOCKS,
    "dinov2": {**_SQUARE_BLOCKS, "mlp_ratio": 2},
    "dinov2_with_registers": {**_SQUARE_BLOCKS, "mlp_ratio": 2},
    "donut-swin": _SWIN,
    "efficientnet": {"width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_dim": 128},
    "focalnet": {
        "image_size": IMAGE_SIZE,
        "embed_dim": 8,
        "depths": [1, 2, 1],
        "focal_levels": [2, 2, 2],
        "focal_windows": [3, 3, 3],
    },
    "hiera": {
        "image_size": IMAGE_SIZE,
        "embed_dim": 8,
        "depths": [1, 2, 1],
        "num_heads": [1, 2, 2],
        "num_query_pool": 2,
        "masked_unit_size": (4, 4),
        "masked_unit_attention": (True, True, False),
    },
    "ijepa": _BLOCKS,
    "levit": {
        "image_size": 64,
        "hidden_sizes": [16, 16, 32],
        "num_attention_heads": [2, 2, 2],
        "depths": [1, 2, 1],
        "key_dim": [8, 8, 8],
    },
    "metaclip_2": {"vision_config": _SQUARE_BLOCKS},
    "mobilenet_v1": {"depth_multiplier": 0.1, "min_depth": 4},
    "mobilenet_v2": {"depth_multiplier": 0.1, "min_depth": 4, "depth_divisible_by": 4},
    "mobilevit": {
        "hidden_sizes": [8, 8, 16],
        "neck_hidden_sizes": [8, 8, 8, 12, 12, 16, 24],
        "num_attention_heads": 2,
    },
    "mobilevitv2": {
        "image_size": (96, 64),
        "width_multiplier": 0.1,
        "base_attn_unit_dims": [80, 80, 80],
        "n_attn_blocks": [1, 1, 1],
    },
    "pvt_v2": _PYRAMID,
    "regnet": {**_RESNET, "groups_width": 4},
    "resnet": {**_RESNET, "layer_type": "basic"},
    "segformer": _PYRAMID,
    "siglip": {"vision_config": _SQUARE_BLOCKS},
    "swin": _SWIN,
    "swinv2": _SWIN,
    "textnet": {
        "stem_out_channels": 8,
        "hidden_sizes": [8, 8, 12, 16],
        "conv_layer_kernel_sizes": [[[3, 3]], [[3, 3], [1, 3]], [[3, 1]]],
        "conv_layer_strides": [[2], [2, 1], [2]],
    },
    "vit": _BLOCKS,
    "vit_msn": _BLOCKS,
}
IMAGE_FAMILIES = tuple(_IMAGES)
# Each family as it comes, and what else changes how layers and heads are called.
IMAGE_VARIANTS: list[tuple[str, dict[str, Any]]] = [(family, {}) for family in IMAGE_FAMILIES]
IMAGE_VARIANTS += [
    ("beit", {"use_relative_position_bias": True}),
    ("beit", {"use_shared_relative_position_bias": True}),
    ("beit", {"use_shared_relative_position_bias": True, "attention": "eager"}),
    ("bit", {"layer_type": "bottleneck"}),
    ("data2vec-vision", {"use_shared_relative_position_bias": True}),
    ("deit", {"architecture": "DeiTForImageClassificationWithTeacher"}),
    ("levit", {"architecture": "LevitForImageClassificationWithTeacher"}),
    ("pvt_v2", {"linear_attention": True}),
    ("resnet", {"layer_type": "bottleneck", "downsample_in_first_stage": True}),
    ("swin", {"use_absolute_embeddings": True, "attention": "eager"}),
    ("vit", {"attention": "eager"}),
]


def tiny_image_model(
    model_type: str = "vit",
    *,
    attention: str | None = None,
    architecture: str | None = None,
    seed: int = 0,
    **overrides: Any,
) -> Any:
    """A random `...ForImageClassification` without dropout, in evaluation mode; rows differ in their logits."""
    config = AutoConfig.for_model(model_type, **{**_IMAGES[model_type], "num_labels": 3, **overrides})
    # Where there are two classes for a type, the config must say which.
    plain = {"deit": "DeiTForImageClassification", "levit": "LevitForImageClassification"}.get(model_type)
    named = architecture or plain
    if named:
        config.architectures = [named]
    for part in (config, getattr(config, "vision_config", config)):
        for name, value in part.to_dict().items():
            if "drop" in name and isinstance(value, float):
                setattr(part, name, 0.0)
    torch.manual_seed(seed)
    model = AutoModelForImageClassification.from_config(config, attn_implementation=attention)
    widen(model, std=0.2)
    # Batch norms take over the statistics of a batch: else activations vanish or explode with the depth.
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        torch.nn.init.ones_(norm.weight)
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(**tiny_images(model_type, rows=16))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def tiny_images(model_type: str = "vit", rows: int = 4, seed: int = 1) -> dict[str, torch.Tensor]:
    """Random `pixel_values` `(rows, 3, H, W)` of the size that the tiny model of this family takes."""
    own = _IMAGES[model_type]
    size = own.get("vision_config", own).get("image_size", IMAGE_SIZE)
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return {"pixel_values": torch.randn(rows, 3, height, width, generator=generator)}


def tiny_tokenizer(words: Iterable[str] = ()) -> PreTrainedTokenizerFast:
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


def decoder_tokenizer(words: Iterable[str] = ()) -> PreTrainedTokenizerFast:
    """As that of a decoder comes: no token of its own for padding, none around a text, padded on the right."""
    vocab = ["<s>", "<unk>", "</s>"]
    vocab += [w for w in words if w not in vocab]
    vocab += [f"w{i}" for i in range(VOCAB_SIZE - len(vocab))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocab)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        unk_token="<unk>",
        eos_token="</s>",
        model_max_length=32,
        model_input_names=["input_ids", "attention_mask"],
    )
