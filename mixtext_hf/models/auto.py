"""`from_pretrained` for mixable models: what comes back is the ordinary class of transformers, with hooks installed, or
[`MeanPoolingForSequenceClassification`] where its head was asked for.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig

from .mean_pooling import MEAN_POOLING, MeanPoolingForSequenceClassification
from .mixable import make_mixable


_WHERE_TO_LOOK = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")


class _MixableModel:
    """What the loaders share: models of a class of transformers, with hooks."""

    _kind: Any

    def __init__(self) -> None:
        raise OSError(
            f"{type(self).__name__} is a loader: use {type(self).__name__}.from_pretrained(name) or .from_config(config)."
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: Any, **kwargs: Any) -> PreTrainedModel:
        """`from_pretrained` of the class of transformers with the same arguments, then [`make_mixable`]."""
        model = cls._kind.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        make_mixable(model)
        return model

    @classmethod
    def from_config(cls, config: PreTrainedConfig, **kwargs: Any) -> PreTrainedModel:
        """A model with random weights from its config, then [`make_mixable`]."""
        model = cls._kind.from_config(config, **kwargs)
        make_mixable(model)
        return model


class MixableModelForImageClassification(_MixableModel):
    r"""
    Loads image classification models whose hidden states can be mixed: `AutoModelForImageClassification` with hooks.

    Example:

    ```python
    >>> model = MixableModelForImageClassification.from_pretrained("google/vit-base-patch16-224", num_labels=100)
    >>> type(model).__name__, model.mixer.depth
    ('ViTForImageClassification', 12)
    ```
    """

    _kind = AutoModelForImageClassification


class MixableModelForSequenceClassification(_MixableModel):
    r"""
    Loads sequence classification models whose hidden states can be mixed.

    Example:

    ```python
    >>> model = MixableModelForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=4)
    >>> type(model).__name__, model.mixer.depth
    ('BertForSequenceClassification', 12)
    ```
    """

    _kind = AutoModelForSequenceClassification

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, *args: Any, head: str | None = None, **kwargs: Any
    ) -> PreTrainedModel:
        r"""
        `AutoModelForSequenceClassification.from_pretrained` with the same arguments, then [`make_mixable`].

        Args:
            pretrained_model_name_or_path (`str`): Hub id or folder.
            head (`str`, *optional*):
                `"mean_pooling"`: the classifier of the MixText paper, [`MeanPoolingForSequenceClassification`]; from the
                checkpoint of a classifier with another head only with `ignore_mismatched_sizes=True`. `None`: the head
                that the checkpoint was saved with, or the model's own, whose checkpoints are plain transformers.

        Raises:
            `ValueError`: if no such head exists.
        """
        _check_head("head", head)
        if head is None:
            head = _saved_head(pretrained_model_name_or_path, kwargs)
        if head is None:
            return super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = MeanPoolingForSequenceClassification.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        make_mixable(model)
        return model

    @classmethod
    def from_config(cls, config: PreTrainedConfig, head: str | None = None, **kwargs: Any) -> PreTrainedModel:
        """A model with random weights from its config, then [`make_mixable`]; `head` as in `from_pretrained`."""
        _check_head("head", head)
        if head is None:
            head = _head_of(config.to_dict())
        if head is None:
            return super().from_config(config, **kwargs)
        # A copy: the caller's config may be used for another model, and is not to name this head.
        model = MeanPoolingForSequenceClassification._from_config(deepcopy(config), **kwargs)
        make_mixable(model)
        return model


def _saved_head(name: str, kwargs: dict[str, Any]) -> str | None:
    """The head that the config of a checkpoint names."""
    config = kwargs.get("config")
    if isinstance(config, PreTrainedConfig):
        return _head_of(config.to_dict())
    where = {key: kwargs[key] for key in _WHERE_TO_LOOK if key in kwargs}
    try:
        values, _ = PreTrainedConfig.get_config_dict(config or name, **where)
    except OSError:
        # The folder of an adapter has no config. What else is wrong, transformers says when it loads the model.
        return None
    return _head_of(values)


def _head_of(values: dict[str, Any]) -> str | None:
    head = values.get("mixtext_head")
    _check_head("config.mixtext_head", head)
    return head


def _check_head(name: str, head: str | None) -> None:
    if head not in (None, MEAN_POOLING):
        raise ValueError(
            f"{name}={head!r} is no head that this package knows: use {MEAN_POOLING!r} (that of the MixText paper) or "
            "None (that of the checkpoint, else the model's own)."
        )
