"""The classifier of the MixText paper (Chen, Yang & Yang 2020, 4.3): the mean over the tokens, and a small perceptron.

Any encoder of transformers fits below it. Its checkpoints need this package: `config.mixtext_head` says so. Knows nothing
of mixing.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, PreTrainedModel
from transformers import initialization as init
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils.generic import can_return_tuple

from mixtext_hf.mixing import MixedLoss
from mixtext_hf.problem_types import problem_type_of


MEAN_POOLING = "mean_pooling"

# What the class of an encoder says of itself holds for the encoder with a head as well.
_SAID_BY_THE_ENCODER = (
    "_can_compile_fullgraph",
    "_compatible_flash_implementations",
    "_supports_attention_backend",
    "_supports_flash_attn",
    "_supports_flex_attn",
    "_supports_sdpa",
    "base_model_prefix",
    "main_input_name",
    "supports_gradient_checkpointing",
)


def mean_over_tokens(hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
    r"""
    The mean of the hidden states over the real tokens of each text, summed in float32.

    The official code takes the mean over the padding too, so that its logits change with the longest text of a batch.

    Args:
        hidden_states (`torch.Tensor` of shape `(B, L, D)`): The output of the last layer.
        attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*): 1 where a token is real; `None`: everywhere.

    Returns:
        `torch.Tensor` of shape `(B, D)`, dtype of `hidden_states`; zeros for a text without a token.

    Raises:
        `ValueError`: if the mask is not 2-D.
    """
    if attention_mask is None:
        return hidden_states.mean(dim=1, dtype=torch.float32).to(hidden_states.dtype)
    if attention_mask.dim() != 2:
        raise ValueError(
            f"`attention_mask` has the shape {tuple(attention_mask.shape)}, and the mean over the tokens needs to know "
            "which of them are real: give the 2-D mask (batch, length) of the tokenizer."
        )
    real = attention_mask.bool().unsqueeze(-1)
    # Filled and not multiplied: nothing at padding can get through, be it infinite.
    total = hidden_states.masked_fill(~real, 0.0).sum(dim=1, dtype=torch.float32)
    return (total / real.sum(dim=1).clamp(min=1)).to(hidden_states.dtype)


class MeanPoolingHead(nn.Module):
    r"""
    `out_proj(tanh(weight @ x + bias))`: `(B, D)` -> `(B, num_labels)` by way of 128 units, without dropout.

    `weight` and `out_proj` are the names that the last layers of transformers' own heads have, with other shapes: a class
    that would put a new random head on such a checkpoint stops at the sizes.
    """

    inner_size = 128

    def __init__(self, hidden_size: int, num_labels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(self.inner_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(self.inner_size))
        self.out_proj = nn.Linear(self.inner_size, num_labels)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.out_proj(torch.tanh(nn.functional.linear(pooled, self.weight, self.bias)))


class MeanPoolingForSequenceClassification(PreTrainedModel):
    r"""
    An encoder of transformers with the classifier of the MixText paper: mean over the real tokens of the last hidden
    state, a linear layer to 128 units, tanh, a linear layer to the classes. No dropout before or between them.

    The encoder bears the name that it has in its own family (`model.bert`, `model.roberta`), so that its weights load from
    any checkpoint of that family, and `AutoModel.from_pretrained` takes them out of a checkpoint of this class. The head
    does not: to `AutoModelForSequenceClassification` its sizes are wrong, which is an error. Load it with
    [`MixableModelForSequenceClassification`] or with this class.

    Args:
        config (`PreTrainedConfig`): Of an encoder. Its `mixtext_head` is set to `"mean_pooling"`.

    Raises:
        `ValueError`: if transformers has no encoder for the config.

    Example:

    ```python
    >>> model = MeanPoolingForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=4)
    >>> model.classifier.out_proj
    Linear(in_features=128, out_features=4, bias=True)
    ```
    """

    # Only asked for the config of a checkpoint, which may be of any type.
    config_class: Any = AutoConfig
    # In a plain Trainer: the loss below is a mean, and takes no count of the items.
    accepts_loss_kwargs = False

    def __init__(self, config: PreTrainedConfig):
        encoder_class = _encoder_class(config)
        for name in _SAID_BY_THE_ENCODER:
            setattr(self, name, getattr(encoder_class, name))
        super().__init__(config)
        config.mixtext_head = MEAN_POOLING
        takes_pooler = "add_pooling_layer" in inspect.signature(encoder_class).parameters
        encoder = encoder_class(config, add_pooling_layer=False) if takes_pooler else encoder_class(config)
        self.add_module(self.base_model_prefix, encoder)
        num_labels: Any = config.num_labels  # `None` by its annotation, never on a config
        self.classifier = MeanPoolingHead(config.hidden_size, num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, MeanPoolingHead):
            # PyTorch's own for linear layers, as in the official code: a larger output layer than transformers' 0.02.
            for linear in (module, module.out_proj):
                bound = linear.weight.shape[1] ** -0.5
                init.uniform_(linear.weight, -bound, bound)
                init.uniform_(linear.bias, -bound, bound)
        else:
            super()._init_weights(module)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        r"""
        Args:
            input_ids (`torch.Tensor` of shape `(B, L)`, int64, *optional*): Either these or `inputs_embeds`.
            attention_mask (`torch.Tensor` of shape `(B, L)`, *optional*):
                1 where a token is real. `None`: everywhere, so padding counts in the mean.
            token_type_ids (`torch.Tensor` of shape `(B, L)`, int64, *optional*):
                As the encoder takes them; an encoder that knows none is free to ignore them.
            position_ids (`torch.Tensor` of shape `(B, L)`, int64, *optional*): The same.
            inputs_embeds (`torch.Tensor` of shape `(B, L, D)`, *optional*): In place of `input_ids`.
            labels (`torch.Tensor`, *optional*):
                For a loss, that of [`~mixtext_hf.mixing.MixedLoss`] on unmixed rows: classes `(B,)` for cross-entropy,
                rows `(B, C)` for multi-label, scores `(B,)` for regression, as `config.problem_type` says.
            kwargs: For the encoder (`output_hidden_states`, `output_attentions`).

        Returns:
            `SequenceClassifierOutput`: logits `(B, num_labels)`, and what else was asked for.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "position_ids": position_ids,
            "inputs_embeds": inputs_embeds,
        }
        given = {name: value for name, value in inputs.items() if value is not None}
        outputs = self.base_model(**given, **kwargs, return_dict=True)
        logits = self.classifier(mean_over_tokens(outputs.last_hidden_state, attention_mask))
        loss = None if labels is None else self._loss(logits, labels)
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.get("hidden_states"),
            attentions=outputs.get("attentions"),
        )

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return MixedLoss(problem_type_of(self.config), logits.shape[-1])(logits, labels)


def _encoder_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    encoder_class = MODEL_MAPPING.get(type(config), None)
    if encoder_class is None or isinstance(encoder_class, (tuple, list)) or config.is_encoder_decoder:
        raise ValueError(
            f"head={MEAN_POOLING!r} needs one encoder, and transformers has none, or several, for a "
            f"{type(config).__name__} (type {config.model_type!r}): choose another model, or its own head (head=None)."
        )
    return encoder_class
