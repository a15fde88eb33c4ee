"""Where the layers of a model are: the one place that decides it.

A rule finds the stack of every BERT-like model and of most image classifiers of transformers, whose layers may be blocks
or whole stages; a short table holds the exceptions. Nothing is installed or run here.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig

from .last_token import is_decoder, reads_last_token
from .mean_pooling import MeanPoolingForSequenceClassification
from .modality import classifies_tokens
from .timm_processor import pretrained_cfg


# Families whose mixing is proven by the tests of this package, with activation checkpointing on and off where they have it.
# Any other type has to pass the probe in `probe.py`.
TESTED_MODEL_TYPES = frozenset(
    {
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
        # decoders
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
        # images
        "beit",
        "bit",
        "clip",
        "convnext",
        "convnextv2",
        "data2vec-vision",
        "deit",
        "dinov2",
        "dinov2_with_registers",
        "donut-swin",
        "efficientnet",
        "focalnet",
        "hiera",
        "ijepa",
        "levit",
        "metaclip_2",
        "mobilenet_v1",
        "mobilenet_v2",
        "mobilevit",
        "mobilevitv2",
        "pvt_v2",
        "regnet",
        "resnet",
        "segformer",
        "siglip",
        "swin",
        "swinv2",
        "textnet",
        "vit",
        "vit_msn",
    }
)

# Types that look like a stack of layers and are not one that can be mixed, with the reason shown to the user.
REFUSED_MODEL_TYPES = {
    "big_bird": "its block-sparse attention hands the layers several masks, and switches to them only for long inputs",
    "canine": "its sequence is down-sampled between three stacks, so layer numbers do not name one representation",
    "funnel": "its blocks shorten the sequence, so two rows no longer meet position by position",
    "longformer": "its layers receive derived index masks that cannot be united after the fact",
    "reformer": "its hashing attention depends on the states, and its layers are reversible pairs",
    "xlnet": "it is sequence-first and permutes the attention mask",
    "cvt": "its class token leaves the last stage beside the hidden states, which alone would be mixed",
    "poolformer": "its stages are no modules, but patch embeddings and blocks in two lists",
    "pvt": "its stages are no modules, but patch embeddings and blocks in two lists",
    "timm_wrapper": "it is a model of timm, whose layers stand in no list that its config names",
    "siglip2": "its images have patches of different numbers, and its head pools with their mask, which is not united",
}


# What can be done all the same: the end of every refusal.
NEEDS_NO_LAYERS = (
    "Methods that mix no hidden states train any classifier: mix_method='erm', and of images 'mixup', 'cutmix', 'mixup_cutmix', "
    "'resizemix', 'maskmix', 'puzzlemix' and 'augmix' too (loaded by its class of transformers, or by `without_hooks`)."
)


@dataclass(frozen=True)
class _Override:
    """What differs from the rule for one model type. Paths are relative to the encoder, its own to the base model."""

    encoder: str = ""
    layers: str | None = None
    shared: bool = False
    embeddings: str | None = None
    masked: tuple[str, ...] = ()
    heads: int = 1
    pads_are_defined: bool = True


_OVERRIDES = {
    # One group of parameters is called once a layer: layers are told apart by counting its calls.
    "albert": _Override(layers="encoder.albert_layer_groups", shared=True),
    # Padding attends to nothing here, so the softmax runs over masked positions alone and the states at padding change
    # with the padded length of the batch: they are no representation of the text and are kept out of the mix.
    "deberta": _Override(pads_are_defined=False),
    "modernbert": _Override(pads_are_defined=False),  # padding beyond the sliding window
    # With `conv_kernel_size` the first layer's convolution reads the embeddings and the 2-D mask once more, past the
    # first layer's input; without it, mixing at the embeddings is the same thing.
    "deberta-v2": _Override(embeddings="embeddings", masked=("encoder.conv",), pads_are_defined=False),
    # Models of images and text have no base model of their own where they classify images.
    "clip": _Override(encoder="vision_model"),
    "metaclip_2": _Override(encoder="vision_model"),
    "siglip": _Override(encoder="vision_model"),
    # The logits of `...WithTeacher` are the mean over two linear layers, each with its own input.
    "deit": _Override(heads=2),
    "levit": _Override(heads=2),
    # Their configs do not say how many layers there are, or count them otherwise.
    "efficientnet": _Override(layers="encoder.blocks"),
    "mobilenet_v1": _Override(layers="layer"),
    "mobilenet_v2": _Override(layers="layer"),
    "mobilevit": _Override(layers="encoder.layer"),
    "mobilevitv2": _Override(layers="encoder.layer"),
    # Every stage begins with patch embeddings, and so the first one reads the pixels.
    "pvt_v2": _Override(embeddings="encoder.layers.0.patch_embedding"),
    "segformer": _Override(embeddings="stages.0.patch_embeddings"),
}


@dataclass
class EncoderStack:
    """
    The parts of a model that mixing touches.

    Attributes:
        model (`PreTrainedModel`): The transformers model, without PEFT or other wrappers around it.
        encoder (`nn.Module`): Its base model: everything but the head.
        layers (`list[nn.Module]`):
            Layer modules, or those of whole stages, in order of execution (one for all when `shared`).
        depth (`int`): Number of layers `L` that a forward pass runs through.
        shared (`bool`): Whether one module is called for several layers.
        embeddings (`nn.Module`, *optional*): Where layer 0 is mixed if not at the first layer's input.
        masked (`list[nn.Module]`): Further modules that read an attention mask and belong to the first layer.
        heads (`list[nn.Module]`):
            The final linear layer (two in models with a teacher; PEFT may hold a copy for each adapter, or adapt it).
        head_pools_with_mask (`bool`): Whether the head itself reads the 2-D attention mask.
        pads_are_defined (`bool`):
            Whether states at padding are a function of the text alone. If not, `pad="mix"` acts as `pad="keep"`.
        reads_last_token (`bool`):
            Whether the head reads the last token of a row that is no padding: batches are mixed only where it stands at the same
            place in all rows.
    """

    model: PreTrainedModel
    encoder: nn.Module
    layers: list[nn.Module]
    depth: int
    shared: bool = False
    embeddings: nn.Module | None = None
    masked: list[nn.Module] = field(default_factory=list)
    heads: list[nn.Module] = field(default_factory=list)
    head_pools_with_mask: bool = False
    pads_are_defined: bool = True
    reads_last_token: bool = False


def unwrap(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside `model`: itself, or what a PEFT or distributed wrapper holds."""
    if type(model).__name__ == "OptimizedModule":
        raise ValueError(
            "`model` is already compiled: call make_mixable(model) first, then torch.compile(model), which ignores hooks "
            "that come later. To MixTrainer, give the plain model, and torch_compile=True in its arguments."
        )
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            return module
    raise TypeError(
        f"`model` must be (or wrap) a transformers model, got {type(model).__name__}, whose number of classes, inputs and "
        f"checkpoints nothing tells. {_ready_made(model)}"
    )


def _ready_made(model: nn.Module) -> str:
    """What to do with a module that is no model of transformers."""
    if type(model).__module__.split(".")[0] == "timm":
        return (
            "Load it through transformers, which knows the models of timm: "
            "AutoModelForImageClassification.from_pretrained('timm/<name>', num_labels=...), or with random weights "
            "TimmWrapperForImageClassification(TimmWrapperConfig(architecture='<name>', num_labels=...))."
        )
    return (
        "Make it one: a subclass of PreTrainedModel with a config (num_labels) and a forward that takes input_ids or pixel_values "
        "and returns SequenceClassifierOutput(logits=...) or ImageClassifierOutput(logits=...)."
    )


def image_config(config: PreTrainedConfig) -> Any:
    """The part of a config that describes the model of images: `vision_config` where there is one of texts beside it."""
    return getattr(config, "vision_config", config)


def patch_size_of(config: PreTrainedConfig) -> tuple[int, int] | None:
    """Height and width in pixels of the patches that a model of images cuts them into; `None` where it does not."""
    size = getattr(image_config(config), "patch_size", None)
    if isinstance(size, int):
        return size, size
    return tuple(size) if isinstance(size, list | tuple) and len(size) == 2 else None


def num_channels(config: PreTrainedConfig) -> int | None:
    """Channels of the images that a model of this config takes; `None` if it takes none, or does not say."""
    of_timm = pretrained_cfg(config)
    if of_timm is not None:
        return int((of_timm.get("input_size") or (3,))[0])
    return getattr(image_config(config), "num_channels", None)


def find_stack(model: nn.Module) -> EncoderStack:
    """
    Find the stack: the shallowest `nn.ModuleList` under the base model with as many entries as its config has layers
    (`num_hidden_layers`) or, where layers come in stages, stages (`depths`).

    Raises:
        `ValueError`: if the model type is known not to work, or if no such list, or more than one, is found.
    """
    inner = unwrap(model)
    model_type = inner.config.model_type
    if (reason := _refused(inner.config)) is not None:
        raise ValueError(f"Models of type {model_type!r} cannot be mixed: {reason}. {NEEDS_NO_LAYERS}")
    override = _override(inner)
    encoder = _encoder(inner)
    layers = _module_list(encoder, override.layers) if override.layers else _layers_by_rule(encoder, inner)
    return EncoderStack(
        model=inner,
        encoder=encoder,
        layers=layers,
        depth=inner.config.num_hidden_layers if override.shared else len(layers),
        shared=override.shared,
        embeddings=encoder.get_submodule(override.embeddings) if override.embeddings else None,
        masked=[module for path in override.masked if (module := _optional_submodule(encoder, path)) is not None],
        heads=find_heads(inner),
        head_pools_with_mask=_pooling(inner) in ("mean", "late"),
        # In a decoder padding on the left attends to nothing, and its states are what the attention makes of that.
        pads_are_defined=override.pads_are_defined and not is_decoder(inner.config),
        reads_last_token=reads_last_token(inner),
    )


def _refused(config: PreTrainedConfig) -> str | None:
    """Why models of this config are known not to work, if they are."""
    model_type = config.model_type
    if model_type in REFUSED_MODEL_TYPES:
        return REFUSED_MODEL_TYPES[model_type]
    if getattr(config, "is_encoder_decoder", False):
        return (
            "it is an encoder-decoder, whose decoder reads the tokens of the text once more: states that were mixed in the encoder "
            "would meet the unmixed text there"
        )
    return None


def find_heads(inner: PreTrainedModel) -> list[nn.Module]:
    """The last linear layers outside the encoder with `num_labels` outputs, with the copies that PEFT keeps of them."""
    if _pooling(inner) == "late" or classifies_tokens(inner):
        return []  # the last linear layer sees every token: there is no pooled vector to mix before it
    in_encoder = set(_encoder(inner).modules())
    candidates: dict[str, list[nn.Module]] = {}
    adapted: list[str] = []
    for name, module in inner.named_modules():
        if module in in_encoder or name.startswith(tuple(adapted)):
            continue
        # An adapted linear layer is a module around it: both its paths, `base_layer` and the adapter, start there.
        linear = getattr(module, "base_layer", module)
        if linear is not module:
            adapted.append(f"{name}.")
        if isinstance(linear, nn.Linear) and linear.out_features == inner.config.num_labels:
            # PEFT's ModulesToSaveWrapper holds `original_module` and `modules_to_save.<adapter>` in place of a module.
            canonical = re.sub(r"\.(original_module|modules_to_save\.[^.]+)", "", name)
            candidates.setdefault(canonical, []).append(module)
    return [head for copies in list(candidates.values())[-_override(inner).heads :] for head in copies]


def _override(inner: PreTrainedModel) -> _Override:
    return _OVERRIDES.get(inner.config.model_type, _Override())


def _encoder(inner: PreTrainedModel) -> PreTrainedModel:
    return inner.base_model.get_submodule(_override(inner).encoder)  # type: ignore[return-value]


def _pooling(inner: PreTrainedModel) -> str | None:
    """How the head makes one vector of a text, where its class or its config says it."""
    if classifies_tokens(inner):
        return None
    if isinstance(inner, MeanPoolingForSequenceClassification):
        return "mean"
    return getattr(inner.config, "classifier_pooling", None)


def mask_position(module: nn.Module) -> int | None:
    """The position of the attention mask among the arguments of `module.forward`, or `None` if it takes none."""
    for position, name in enumerate(inspect.signature(module.forward).parameters):
        if name in ("attention_mask", "input_mask"):
            return position
    return None


def _layers_by_rule(encoder: PreTrainedModel, inner: PreTrainedModel) -> list[nn.Module]:
    # The base model of a wrapper (timm's) has no config of its own.
    depth = _depth(getattr(encoder, "config", inner.config))
    found = {
        name: module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    }
    what = f"{type(inner).__name__} (type {inner.config.model_type!r})"
    if depth is None:
        raise ValueError(
            f"The config of {what} names neither `num_hidden_layers` nor `depths`, so that its layers cannot be found: "
            f"its hidden states cannot be mixed. {NEEDS_NO_LAYERS}"
        )
    if not found:
        raise ValueError(
            f"No list of {depth} layers was found in {what}: its hidden states cannot be mixed. {NEEDS_NO_LAYERS}"
        )
    shallowest = min(name.count(".") for name in found)
    names = [name for name in found if name.count(".") == shallowest]
    if len(names) > 1:
        raise ValueError(
            f"Several lists of {depth} layers stand side by side in {what}: {', '.join(names)}: its hidden states cannot be "
            f"mixed. {NEEDS_NO_LAYERS}"
        )
    return list(found[names[0]])


def _depth(config: PreTrainedConfig) -> int | None:
    """How many layers a config promises, counting stages where it gives the number of blocks in each."""
    depths = getattr(config, "depths", None)
    return getattr(config, "num_hidden_layers", None) if depths is None else len(depths)


def _module_list(encoder: nn.Module, path: str) -> list[nn.Module]:
    module = encoder.get_submodule(path)
    if not isinstance(module, nn.ModuleList):
        raise ValueError(f"{path} of {type(encoder).__name__} is a {type(module).__name__}, not a list of layers.")
    return list(module)


def _optional_submodule(encoder: nn.Module, path: str) -> nn.Module | None:
    """The module at `path`; `None` where the model was configured without it."""
    parent_path, _, name = path.rpartition(".")
    parent = encoder.get_submodule(parent_path)
    module = getattr(parent, name, None)
    return module if isinstance(module, nn.Module) else None
