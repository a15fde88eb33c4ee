"""`TrainingArguments` with the fields that all mixing methods share; everything in it is JSON-serialisable."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from mixtext_hf.data.augmenters import make_augmenter
from mixtext_hf.data.image_augmentations import make_image_augmentation
from mixtext_hf.methods import METHODS, MixMethod, by_own_names, find_preset, make_method


_DEFAULT = "tmix"
_COMMON = ("alpha", "layers", "fold", "per", "prob")


@dataclass(repr=False)  # that of transformers shows no token
class MixTrainingArguments(TrainingArguments):
    r"""
    The arguments of `transformers.TrainingArguments`, and:

    Args:
        mix_method (`str`, *optional*):
            `"erm"`, `"tmix"`, `"manifold_mixup"`, `"embed_mixup"`, `"pooled_mixup"`, or with unlabelled texts `"mixtext"`
            or `"uda"`; for images `"mixup"`, `"cutmix"`, `"mixup_cutmix"`, `"resizemix"`, `"augmix"`, `"puzzlemix"` or
            `"manifold_mixup"`. Not given: the method that the model was last trained with (`config.mixtext`), else `"tmix"`
            (`"mixup"` for a model of images).
        mix_preset (`str`, *optional*):
            Hyper-parameters of the method under a name, behind those given here: `"paper"`, `"official_code"` or `"ours"`
            for `"mixtext"`; `"cifar"`, `"tiny_imagenet"` or `"imagenet"` for `"puzzlemix"`. The learning rates that belong to
            them, [`Preset.training_arguments`], are set by the command line alone.
        mix_alpha (`float`, *optional*): `lam ~ Beta(alpha, alpha)`; not given: the method's own.
        mix_layers (`list[int]`, *optional*): Layers to draw from, 0 = the embeddings, `m` = the output of layer `m`.
        mix_fold (`bool`, *optional*): `lam <- max(lam, 1 - lam)`.
        mix_per (`str`, *optional*): `"batch"` or `"example"`: how many lambdas a step draws.
        mix_prob (`float`, *optional*): Chance that a step mixes at all.
        mix_kwargs (`dict` or JSON `str`, *optional*): Further hyper-parameters of the method, such as
            `{"pad": "keep", "partner": "same_class"}`.
        mix_start (`float`, *optional*, defaults to 0.0): Fraction of training at which mixing begins.
        mix_end (`float`, *optional*, defaults to 1.0): Fraction of training at which it ends.
        per_device_unlabeled_batch_size (`int`, *optional*):
            Unlabelled texts in a batch beside its `per_device_train_batch_size` labelled ones; not given: twice as many.
        view_columns (`list[str]`, *optional*):
            Columns of the unlabelled data with another wording of the text each, such as back-translations.
        augmenters (`list[str]`, *optional*):
            Views made on the fly: `"word_dropout"`, `"span_swap"`, `"word_swap"`, each with its strength behind a colon
            (`"word_dropout:0.2"`).
        image_augmentations (`list[str]`, *optional*):
            Augmentations of raw training images, in this order: `"flip"`, `"crop:4"` (padded by 4 pixels, cropped to its
            size). Pixels are those of the data: the image processor resizes afterwards. Drawn for each image and epoch,
            whatever the number of workers.
        head_learning_rate (`float`, *optional*):
            Learning rate of everything outside the base model; not given: `learning_rate` for all.
        max_grad_norm (`float`, *optional*, defaults to 0.0):
            Gradients are not clipped unless asked for, as in the code of the papers. (In transformers: 1.0. With Adam,
            clipping the large gradients of the first steps makes the later steps larger and the model less calibrated.)
    """

    mix_method: str | None = field(
        default=None,
        metadata={
            "help": "erm, tmix, manifold_mixup, embed_mixup, pooled_mixup; with unlabelled texts mixtext or uda; for images "
            "mixup, cutmix, mixup_cutmix, resizemix, augmix, puzzlemix, manifold_mixup. Not given: the method that the "
            "model was last trained with, else tmix (mixup for images)."
        },
    )
    mix_preset: str | None = field(
        default=None,
        metadata={
            "help": "Hyper-parameters under a name; others given win. mixtext: paper, official_code, ours; puzzlemix: cifar, "
            "tiny_imagenet, imagenet."
        },
    )
    mix_alpha: float | None = field(
        default=None, metadata={"help": "lambda ~ Beta(alpha, alpha); 0 mixes nothing. Not given: the method's own."}
    )
    mix_layers: list[int] | None = field(
        default=None,
        metadata={
            "help": "Layers to draw from: 0 = the embeddings, m = the output of layer m. Not given: the method's own, "
            "scaled to the depth of the model."
        },
    )
    mix_fold: bool | None = field(
        default=None, metadata={"help": "lambda <- max(lambda, 1 - lambda). Not given: the method's own."}
    )
    mix_per: str | None = field(default=None, metadata={"help": "One lambda per 'batch' or per 'example'."})
    mix_prob: float | None = field(default=None, metadata={"help": "Chance that a step mixes at all."})
    mix_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={"help": 'Further hyper-parameters of the method as JSON, such as \'{"pad": "keep"}\'.'},
    )
    mix_start: float = field(default=0.0, metadata={"help": "Fraction of training at which mixing begins."})
    mix_end: float = field(default=1.0, metadata={"help": "Fraction of training at which mixing ends."})
    per_device_unlabeled_batch_size: int | None = field(
        default=None,
        metadata={"help": "Unlabelled texts in a batch beside the labelled ones; twice as many if not given."},
    )
    view_columns: list[str] | None = field(
        default=None,
        metadata={"help": "Columns of the unlabelled data with another wording each, such as back-translations."},
    )
    augmenters: list[str] | None = field(
        default=None,
        metadata={"help": "Views made on the fly: word_dropout, span_swap, word_swap; strength behind a colon."},
    )
    image_augmentations: list[str] | None = field(
        default=None,
        metadata={
            "help": "Augmentations of raw training images, before they are resized: flip, crop:4 (pad by 4 pixels, then crop)."
        },
    )
    head_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of everything outside the base model."}
    )
    max_grad_norm: float = field(
        default=0.0, metadata={"help": "Clip gradients to this norm; 0, the default here as in the papers, does not."}
    )

    def __post_init__(self) -> None:
        if isinstance(self.mix_kwargs, str):
            self.mix_kwargs = _parse_object(self.mix_kwargs)
        super().__post_init__()
        if not 0 <= self.mix_start < self.mix_end <= 1:
            raise ValueError(
                f"mix_start={self.mix_start} and mix_end={self.mix_end} must satisfy 0 <= mix_start < mix_end <= 1: "
                "they are fractions of training."
            )
        if not 0 <= self.label_smoothing_factor < 1:
            raise ValueError(f"label_smoothing_factor must lie in [0, 1), got {self.label_smoothing_factor}.")
        if self.head_learning_rate is not None and not self.head_learning_rate > 0:
            raise ValueError(f"head_learning_rate must be positive, got {self.head_learning_rate}.")
        for name in ("view_columns", "augmenters", "image_augmentations"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a list, got {getattr(self, name)!r}: put it in brackets.")
        if self.data_seed is not None and self.data_seed < 0:
            raise ValueError(f"data_seed must be at least 0, got {self.data_seed}.")
        if self.per_device_unlabeled_batch_size is not None and self.per_device_unlabeled_batch_size < 1:
            raise ValueError(
                f"per_device_unlabeled_batch_size must be at least 1, got {self.per_device_unlabeled_batch_size}."
            )
        for augmenter in self.augmenters or ():
            make_augmenter(augmenter)
        for augmentation in self.image_augmentations or ():
            make_image_augmentation(augmentation)
        if not self._waits_for_the_model():
            self.make_method()

    def __getstate__(self) -> dict[str, Any]:
        # What the Trainer pickles beside every checkpoint is to hold no secret.
        return {**self.__dict__, "hub_token": None}

    def __copy__(self) -> MixTrainingArguments:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> MixTrainingArguments:
        copied = memo[id(self)] = object.__new__(type(self))
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def _waits_for_the_model(self) -> bool:
        """Whether no method is named and `mix_kwargs` has names that only the method of the model can have."""
        names = set(self.mix_kwargs or ()) if isinstance(self.mix_kwargs, dict) else set()
        known = {name for method in METHODS.values() for name in (*method.field_names(), *method.aliases)}
        unnamed = self.mix_method is None and self.mix_preset is None
        return unnamed and names <= known and not names <= set(METHODS[_DEFAULT].field_names())

    @property
    def unlabeled_batch_size(self) -> int:
        """Unlabelled texts in a batch."""
        return self.per_device_unlabeled_batch_size or 2 * self.per_device_train_batch_size

    @property
    def num_views(self) -> int:
        """Views of an unlabelled text, the original included."""
        return 1 + len(self.view_columns or ()) + len(self.augmenters or ())

    @property
    def named_in_method(self) -> list[str]:
        """Those of the arguments that describe the method and were given."""
        names = ("mix_method", "mix_preset", *(f"mix_{name}" for name in _COMMON), "mix_kwargs")
        return [name for name in names if getattr(self, name) is not None]

    def make_method(self, recipe: dict[str, Any] | None = None, *, default: str = _DEFAULT) -> MixMethod:
        """
        The method that these arguments name.

        Args:
            default (`str`): The method where neither they nor `recipe` name one.
            recipe (`dict`, *optional*):
                `config.mixtext` of the model: its method and hyper-parameters serve when `mix_method` is not given.
        """
        given = {name: value for name in _COMMON if (value := getattr(self, f"mix_{name}")) is not None}
        extra = self.mix_kwargs or {}
        if not isinstance(extra, dict):
            raise ValueError(f'mix_kwargs must be a JSON object such as \'{{"pad": "keep"}}\', got {extra!r}.')
        twice = sorted(set(given) & set(extra))
        if twice:
            raise ValueError(f"{', '.join(twice)} given both in mix_kwargs and as mix_{twice[0]}: give it once.")
        if self.mix_method is None and self.mix_preset is None and recipe is not None:
            try:
                named = by_own_names(recipe["method"], {**given, **extra})
                return make_method(recipe["method"], **{**recipe["hyperparameters"], **named})
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"The recipe in the config of the model (`mixtext`) cannot be used: {error} Name a method by mix_method "
                    "to do without it."
                ) from error
        name = self.mix_method or default
        preset = {} if self.mix_preset is None else find_preset(name, self.mix_preset).hyperparameters
        return make_method(name, **{**preset, **by_own_names(name, {**given, **extra})})


def _parse_object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'mix_kwargs is no JSON ({error}), got {text!r}: write an object such as \'{{"pad": "keep"}}\'.'
        ) from error
