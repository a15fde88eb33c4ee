"""`TrainingArguments` with the fields that all mixing methods share; everything in it is JSON-serialisable."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from transformers import TrainingArguments

from mixtext_hf.methods import MixMethod, make_method


_COMMON = ("alpha", "layers", "fold", "per", "prob")


@dataclass
class MixTrainingArguments(TrainingArguments):
    r"""
    The arguments of `transformers.TrainingArguments`, and:

    Args:
        mix_method (`str`, *optional*):
            `"erm"`, `"tmix"`, `"manifold_mixup"`, `"embed_mixup"` or `"pooled_mixup"`. Not given: the method that the
            model was last trained with (`config.mixtext`), else `"tmix"`.
        mix_alpha (`float`, *optional*): `lam ~ Beta(alpha, alpha)`; not given: the method's own.
        mix_layers (`list[int]`, *optional*): Layers to draw from, 0 = the embeddings, `m` = the output of layer `m`.
        mix_fold (`bool`, *optional*): `lam <- max(lam, 1 - lam)`.
        mix_per (`str`, *optional*): `"batch"` or `"example"`: how many lambdas a step draws.
        mix_prob (`float`, *optional*): Chance that a step mixes at all.
        mix_kwargs (`dict` or JSON `str`, *optional*): Further hyper-parameters of the method, such as
            `{"pad": "keep", "partner": "same_class"}`.
        mix_start (`float`, *optional*, defaults to 0.0): Fraction of training at which mixing begins.
        mix_end (`float`, *optional*, defaults to 1.0): Fraction of training at which it ends.
        head_learning_rate (`float`, *optional*):
            Learning rate of everything outside the base model; not given: `learning_rate` for all.
        max_grad_norm (`float`, *optional*, defaults to 0.0):
            Gradients are not clipped unless asked for, as in the code of the papers. (In transformers: 1.0. With Adam,
            clipping the large gradients of the first steps makes the later steps larger and the model less calibrated.)
    """

    mix_method: str | None = field(
        default=None,
        metadata={
            "help": "erm, tmix, manifold_mixup, embed_mixup or pooled_mixup. Not given: the method that the model was "
            "last trained with, else tmix."
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
        self.make_method()

    @property
    def named_in_method(self) -> list[str]:
        """Those of the arguments that describe the method and were given."""
        names = ("mix_method", *(f"mix_{name}" for name in _COMMON), "mix_kwargs")
        return [name for name in names if getattr(self, name) is not None]

    def make_method(self, recipe: dict[str, Any] | None = None) -> MixMethod:
        """
        The method that these arguments name.

        Args:
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
        if self.mix_method is None and recipe is not None:
            try:
                return make_method(recipe["method"], **{**recipe["hyperparameters"], **given, **extra})
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"The recipe in the config of the model (`mixtext`) cannot be used: {error} Name a method by mix_method "
                    "to do without it."
                ) from error
        return make_method(self.mix_method or "tmix", **given, **extra)


def _parse_object(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'mix_kwargs is no JSON ({error}), got {text!r}: write an object such as \'{{"pad": "keep"}}\'.'
        ) from error
