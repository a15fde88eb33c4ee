"""`from_pretrained` for mixable models: what comes back is the ordinary class of transformers, with hooks installed."""

from __future__ import annotations

from typing import Any

from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig

from .mixable import make_mixable


class MixableModelForSequenceClassification:
    r"""
    Loads sequence classification models whose hidden states can be mixed.

    Example:

    ```python
    >>> model = MixableModelForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=4)
    >>> type(model).__name__, model.mixer.depth
    ('BertForSequenceClassification', 12)
    ```
    """

    def __init__(self) -> None:
        raise OSError(
            f"{type(self).__name__} is a loader: use {type(self).__name__}.from_pretrained(name) or .from_config(config)."
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: Any, **kwargs: Any) -> PreTrainedModel:
        """`AutoModelForSequenceClassification.from_pretrained` with the same arguments, then [`make_mixable`]."""
        model = AutoModelForSequenceClassification.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        make_mixable(model)
        return model

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs: Any) -> PreTrainedModel:
        """A model with random weights from its config, then [`make_mixable`]."""
        model = AutoModelForSequenceClassification.from_config(config, **kwargs)
        make_mixable(model)
        return model
