"""`from_pretrained` for mixable models: what comes back is the ordinary class of transformers, with hooks installed, or
[`MeanPoolingForSequenceClassification`] where its head was asked for. Adapters of PEFT come on the model they belong to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)
from transformers.configuration_utils import PreTrainedConfig
from transformers.utils import ADAPTER_CONFIG_NAME

from mixtext_hf._compat import name_classes_once, names_classes_twice

from .any_classifier import Classifier
from .checkpoint import WHERE_TO_LOOK, Checkpoint, check_checkpoint
from .checkpoint_contents import RefusedCheckpoint
from .load_report import say_new, without_load_report
from .mean_pooling import MEAN_POOLING, MeanPoolingForSequenceClassification
from .mixable import make_mixable
from .new_head import draw_new_head
from .sentence_checkpoint import SentenceModules, read_sentence_modules, transformer_folder
from .sentence_modules import note_sentence_modules
from .stack import unwrap
from .whole_adapters import lost_weights, refuse_partial_adapter


# What else of the arguments the check of a checkpoint takes.
_ALLOWED = ("trust_remote_code", "use_safetensors", "variant")
# These would go into the config, and are for the weights.
_FOR_THE_WEIGHTS = ("dtype", "quantization_config", "torch_dtype")


class _MixableModel:
    """What the loaders share: models of a class of transformers, with hooks."""

    _kind: Any

    def __init__(self) -> None:
        raise OSError(
            f"{type(self).__name__} is a loader: use {type(self).__name__}.from_pretrained(name) or .from_config(config)."
        )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str, *args: Any, **kwargs: Any) -> PreTrainedModel:
        r"""
        `from_pretrained` of the class of transformers with the same arguments, then [`make_mixable`].

        Weights are read from safetensors only (`use_safetensors=True`) and no code of the checkpoint is run
        (`trust_remote_code=False`), unless the arguments say otherwise. The folder or repository of an adapter of PEFT
        gives the model that the adapter belongs to, with the adapter in it; a config.json beside adapter_config.json is
        then its config, so that the classes and the recipe (`config.mixtext`) are those of the adapter.

        Args:
            pretrained_model_name_or_path (`str`): Hub id or folder.
            new_head (`bool`, *optional*, defaults to `False`):
                Whether the head of a classifier is drawn anew, for other classes than those that it has learnt; with
                `ignore_mismatched_sizes=True` where there are more of them, or fewer.

        Raises:
            `ValueError`: if the checkpoint is unsafe to load: see [`~mixtext_hf.models.checkpoint.check_checkpoint`].
        """
        model = cls.without_hooks(pretrained_model_name_or_path, *args, **kwargs)
        make_mixable(model)
        return model

    @classmethod
    def without_hooks(
        cls,
        pretrained_model_name_or_path: str,
        *args: Any,
        may_be_new: bool = True,
        checked: Sequence[Checkpoint] = (),
        **kwargs: Any,
    ) -> PreTrainedModel:
        r"""
        As `from_pretrained`, with the same care for what is loaded and with adapters, but without [`make_mixable`]: any model
        of the class of transformers, also one whose hidden states cannot be mixed. For evaluation, and for [`MixTrainer`], which
        makes a model mixable where its method asks for it.

        Args:
            pretrained_model_name_or_path (`str`): Hub id or folder.
            may_be_new (`bool`, *optional*, defaults to `True`):
                Whether a head that the checkpoint does not hold is in order: who measures a model wants a trained one, and is
                warned.
            checked (`Sequence[Checkpoint]`, *optional*):
                What [`~mixtext_hf.models.checkpoint.check_checkpoint`] has returned so far. One that was asked with the same
                arguments is not made again.

        Raises:
            `ValueError`: if the checkpoint is unsafe to load.
        """
        return _made(cls._load, pretrained_model_name_or_path, args, kwargs, may_be_new=may_be_new, checked=checked)

    @classmethod
    def _load(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        return cls._kind.from_pretrained(name, *args, **kwargs)

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
    >>> model = MixableModelForImageClassification.from_pretrained(
    ...     "google/vit-base-patch16-224", num_labels=100, ignore_mismatched_sizes=True
    ... )
    >>> type(model).__name__, model.mixer.depth
    ('ViTForImageClassification', 12)
    ```
    """

    _kind = AutoModelForImageClassification

    @classmethod
    def _load(cls, name: str, *args: Any, **kwargs: Any) -> Any:
        if names_classes_twice(_saved_config(name, kwargs)):
            if not isinstance(kwargs.get("config"), PreTrainedConfig):
                kwargs = _with_config_of(name, kwargs)
            name_classes_once(kwargs["config"])
        return super()._load(name, *args, **kwargs)


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
        `AutoModelForSequenceClassification.from_pretrained` with the same arguments, then [`make_mixable`]. What is safe to
        load, and adapters: as for [`MixableModelForImageClassification`].

        Args:
            pretrained_model_name_or_path (`str`): Hub id or folder.
            head (`str`, *optional*):
                `"mean_pooling"`: the classifier of the MixText paper, [`MeanPoolingForSequenceClassification`]; from the
                checkpoint of a classifier with another head only with `ignore_mismatched_sizes=True`. `None`: the head
                that the checkpoint was saved with, or the model's own, whose checkpoints are plain transformers.

        Raises:
            `ValueError`: if no such head exists, or the checkpoint is unsafe to load.
        """
        return super().from_pretrained(pretrained_model_name_or_path, *args, head=head, **kwargs)

    @classmethod
    def without_hooks(
        cls,
        pretrained_model_name_or_path: str,
        *args: Any,
        head: str | None = None,
        may_be_new: bool = True,
        checked: Sequence[Checkpoint] = (),
        **kwargs: Any,
    ) -> PreTrainedModel:
        """As for [`MixableModelForImageClassification`]; `head` as in `from_pretrained`."""
        _check_head("head", head)
        load = partial(cls._load, head=head)
        return _made(load, pretrained_model_name_or_path, args, kwargs, may_be_new=may_be_new, checked=checked)

    @classmethod
    def _load(cls, name: str, *args: Any, head: str | None = None, **kwargs: Any) -> Any:
        if (head or _saved_head(name, kwargs)) is None:
            return super()._load(name, *args, **kwargs)
        return MeanPoolingForSequenceClassification.from_pretrained(name, *args, **kwargs)

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


class MixableModelForTokenClassification(_MixableModel):
    r"""
    Loads token classification models whose hidden states can be mixed: `AutoModelForTokenClassification` with hooks.

    Example:

    ```python
    >>> model = MixableModelForTokenClassification.from_pretrained("bert-base-cased", num_labels=9)
    >>> type(model).__name__, model.mixer.depth
    ('BertForTokenClassification', 12)
    ```
    """

    _kind = AutoModelForTokenClassification


def _made(
    load: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    may_be_new: bool,
    checked: Sequence[Checkpoint],
) -> Any:
    """The model, told which of its parameters are new."""
    name = transformer_folder(name)
    with without_load_report():
        model, new, lost, modules = _load(load, name, args, kwargs, checked)
    refuse_partial_adapter(name, model.name_or_path, lost)
    note_sentence_modules(unwrap(model), modules)
    say_new(model, new, may_be_new=may_be_new)
    Classifier(unwrap(model)).note_new_parameters(new)
    return model


class _Loaded(NamedTuple):
    """
    A model; the names of what its checkpoint did not hold, or of the head that `new_head=True` asks for; what of its adapter is lost; and
    what its checkpoint says of vectors of texts.
    """

    model: Any
    new: frozenset[str]
    lost: frozenset[str]
    modules: SentenceModules | None


def _load(
    load: Callable[..., Any],
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    checked: Sequence[Checkpoint],
) -> _Loaded:
    """`load(name, ...)` of a checkpoint that is safe, by arguments that keep it so."""
    kwargs = {**kwargs, "trust_remote_code": kwargs.get("trust_remote_code") or False}
    new_head = kwargs.pop("new_head", False)
    if kwargs.get("use_safetensors") is None:
        kwargs["use_safetensors"] = True
    where = _only(kwargs, WHERE_TO_LOOK)
    checkpoint = _checked(checked, name, **where, **_only(kwargs, _ALLOWED))
    modules = read_sentence_modules(checkpoint.files)
    if kwargs.get("adapter_kwargs"):
        # Elsewhere than the model.
        where |= kwargs["adapter_kwargs"]
        checkpoint = check_checkpoint(name, **where, **_only(kwargs, _ALLOWED))
    elif checkpoint.adapter is not None and not (checkpoint.has_weights and os.path.isdir(name)):
        if new_head:
            raise ValueError(f"new_head is for whole models, and {name!r} is an adapter: start from its base model.")
        return _load_adapter(load, name, checkpoint, args, kwargs, checked)
    model, found = load(name, *args, **kwargs, output_loading_info=True)
    new = frozenset(key for key, *_ in found["mismatched_keys"])
    lost: frozenset[str] = frozenset()
    strict = not kwargs.get("ignore_mismatched_sizes", False)
    if model._hf_peft_config_loaded:
        # What was found is that of the adapter: it is loaded last.
        if found["missing_keys"] or found["unexpected_keys"]:
            lost = lost_weights(model, kwargs.get("adapter_name") or "default", name, strict=strict, **where)
    elif checkpoint.adapter is not None:
        # In a subfolder, and not found there by transformers 5.17.
        lost = _put_on(model, kwargs.get("adapter_name"), name, where, kwargs["use_safetensors"], strict=strict)
    else:
        new |= frozenset(found["missing_keys"])
    return _Loaded(model, new | draw_new_head(model) if new_head else new, lost, modules)


def _load_adapter(
    load: Callable[..., Any],
    name: str,
    checkpoint: Checkpoint,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    checked: Sequence[Checkpoint],
) -> _Loaded:
    """
    What the Auto classes do with an adapter, but by the config beside it.

    They never look at this config: from the Hub they take that of the base model, and in a folder they expect the
    weights of a whole model beside it.
    """
    where = _only(kwargs, WHERE_TO_LOOK)
    adapter: Mapping[str, Any] = checkpoint.adapter or {}
    if checkpoint.has_config and kwargs.get("config") is None:
        kwargs = _with_config_of(name, kwargs)
    base = adapter.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise RefusedCheckpoint(
            f"{ADAPTER_CONFIG_NAME} of {name!r} names no model that the adapter belongs to (base_model_name_or_path="
            f"{base!r}): write its folder or Hub id there."
        )
    # Revision and subfolder are those of the adapter.
    elsewhere = {key: value for key, value in where.items() if key not in ("revision", "subfolder")}
    elsewhere["revision"] = adapter.get("revision")
    of_base = _checked(checked, base, **elsewhere, **_only(kwargs, _ALLOWED))
    if of_base.adapter is not None:
        raise RefusedCheckpoint(
            f"{ADAPTER_CONFIG_NAME} of {name!r} names {base!r} as the model it belongs to (base_model_name_or_path), and "
            "that is an adapter itself: write the folder or Hub id of a whole model there."
        )
    kwargs = {key: value for key, value in kwargs.items() if key not in WHERE_TO_LOOK}
    adapter_name = kwargs.pop("adapter_name", None)
    strict = not kwargs.pop("ignore_mismatched_sizes", False)
    model, loaded = load(base, *args, **elsewhere, **kwargs, ignore_mismatched_sizes=True, output_loading_info=True)
    if strict:
        _check_replaced(name, base, loaded["mismatched_keys"], adapter.get("modules_to_save") or ())
    lost = _put_on(model, adapter_name, name, where, kwargs["use_safetensors"], strict=strict)
    modules = read_sentence_modules(checkpoint.files) or read_sentence_modules(of_base.files)
    return _Loaded(model, frozenset(), lost, modules)


def _put_on(
    model: Any, adapter_name: str | None, name: str, where: Mapping[str, Any], use_safetensors: bool, *, strict: bool
) -> frozenset[str]:
    """Load an adapter into its model; returns what of it is lost."""
    where = dict(where)
    # transformers 5.17 looks for an adapter in a folder only at the top.
    if os.path.isdir(name):
        name = os.path.join(name, where.pop("subfolder", None) or "")
    found = model.load_adapter(
        name,
        adapter_name=adapter_name,
        adapter_kwargs=where,
        use_safetensors=use_safetensors,
        ignore_mismatched_sizes=not strict,
        dtype=model.dtype,
    )
    if not found.missing_keys and not found.unexpected_keys:
        return frozenset()
    return lost_weights(model, adapter_name or "default", name, strict=strict, **where)


def _checked(checked: Sequence[Checkpoint], name: str, **how: Any) -> Checkpoint:
    """The check of a checkpoint, if it was made with these arguments already, or else made now."""
    return next((one for one in checked if one.answers(name, **how)), None) or check_checkpoint(name, **how)


def _with_config_of(name: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with the config of `name` among them, as the Auto classes form it: `num_labels` goes into it."""
    kept = _only(kwargs, (*WHERE_TO_LOOK, *_ALLOWED, *_FOR_THE_WEIGHTS, "config"))
    others = {key: value for key, value in kwargs.items() if key not in kept}
    where = _only(kwargs, (*WHERE_TO_LOOK, "trust_remote_code"))
    config, unused = AutoConfig.from_pretrained(name, return_unused_kwargs=True, **where, **others)
    return {**kept, **_only(unused, tuple(others)), "config": config}


def _check_replaced(name: str, base: str, mismatched: Any, replaced: Any) -> None:
    """A part of the base model may be of another shape where the adapter brings it along whole."""
    wrong = [key for key, *_ in mismatched if not set(key.split(".")) & set(replaced)]
    if wrong:
        raise RuntimeError(
            f"The adapter {name!r} is for other sizes than {base!r} has, and does not replace {sorted(wrong)}: give the "
            "num_labels of the base model, or, to make these anew, ignore_mismatched_sizes=True."
        )


def _only(kwargs: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: kwargs[name] for name in names if name in kwargs}


def _saved_head(name: str, kwargs: dict[str, Any]) -> str | None:
    """The head that the config of a checkpoint names."""
    return _head_of(_saved_config(name, kwargs))


def _saved_config(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """What the config of a checkpoint, or the one that was given, says; nothing where there is none."""
    config = kwargs.get("config")
    if isinstance(config, PreTrainedConfig):
        return config.to_dict()
    try:
        values, _ = PreTrainedConfig.get_config_dict(config or name, **_only(kwargs, WHERE_TO_LOOK))
    except OSError:
        # What is wrong, transformers says when it loads the model.
        return {}
    return values


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
