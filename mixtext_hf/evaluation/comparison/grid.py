"""The grid of a comparison: every variant of a method, at every number of labels, with every seed."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass


BASELINE = "erm"

# It is part of the name of a folder.
_LABEL = re.compile(r"\w[\w.+]*", re.ASCII)


@dataclass(frozen=True)
class Variant:
    """
    A method with the hyper-parameters that a comparison varies.

    Attributes:
        method (`str`): Its name, such as "tmix".
        alpha (`float`, *optional*): `lam ~ Beta(alpha, alpha)`; `None`: the method's own.
        layers (`tuple[int, ...]`, *optional*): Layers to draw from; `None`: the method's own.
        label (`str`, *optional*): What it is called, where other arguments of the same method are compared too.
    """

    method: str
    alpha: float | None = None
    layers: tuple[int, ...] | None = None
    label: str | None = None

    @property
    def called(self) -> str:
        """Its label, or else its method."""
        return self.method if self.label is None else self.label

    @property
    def name(self) -> str:
        """As it stands in tables: "tmix, alpha 2, layers 7 9 12"."""
        alpha = [] if self.alpha is None else [f"alpha {self.alpha:g}"]
        layers = [] if self.layers is None else [f"layers {' '.join(map(str, self.layers))}"]
        return ", ".join([self.called, *alpha, *layers])


@dataclass(frozen=True)
class Setting:
    """One run of a comparison: a variant, a number of labels a class (`None`: all there are) and a seed."""

    variant: Variant
    labeled_per_class: int | None
    seed: int

    @property
    def name(self) -> str:
        """As a folder is called: "tmix-alpha2-layers7.9.12-labels10-seed0"."""
        v = self.variant
        alpha = [] if v.alpha is None else [f"alpha{v.alpha:g}"]
        layers = [] if v.layers is None else [f"layers{'.'.join(map(str, v.layers))}"]
        labels = [] if self.labeled_per_class is None else [f"labels{self.labeled_per_class}"]
        return "-".join([v.called, *alpha, *layers, *labels, f"seed{self.seed}"])


def split_label(text: str) -> tuple[str | None, str]:
    """
    The label and the method of "label=method"; of "method" alone there is no label.

    Raises:
        ValueError: If a label is not of letters, digits, `_`, `.` and `+`.
    """
    label, equals, method = text.rpartition("=")
    if not equals:
        return None, method
    if not _LABEL.fullmatch(label):
        raise ValueError(
            f"{text!r}: a label is of letters, digits, _ . and +, such as strong={method}, got {label!r}."
        )
    return label, method


def make_variants(
    methods: Sequence[str],
    *,
    alphas: Sequence[float] = (),
    layer_sets: Sequence[Sequence[int]] = (),
    with_alpha: Collection[str] = (),
    with_layers: Collection[str] = (),
) -> list[Variant]:
    """
    Every method with every alpha and every layer set that it takes.

    Args:
        methods (`Sequence[str]`): Names of methods, each once; "label=method" compares one under a name of its own.
        alphas (`Sequence[float]`): Values of alpha; none: each method's own.
        layer_sets (`Sequence[Sequence[int]]`): Layers to draw from; none: each method's own.
        with_alpha (`Collection[str]`): The methods that `alphas` are for.
        with_layers (`Collection[str]`): The methods that `layer_sets` are for.

    Returns:
        `list[Variant]`: in the order of the arguments, the last one varying fastest.

    Raises:
        ValueError: If `methods` is empty, something is named twice or would be called the same in the table, a label is none, or
            `alphas` or `layer_sets` are for none of the methods.
    """
    if not methods:
        raise ValueError("`methods` is empty: name at least one.")
    layer_tuples = [tuple(layers) for layers in layer_sets]
    labelled = [split_label(text) for text in methods]
    called = [label or method for label, method in labelled]
    for name, values in (("methods", called), ("alphas", alphas), ("layer_sets", layer_tuples)):
        if len(set(values)) < len(values):
            raise ValueError(f"`{name}` names something twice, got {' '.join(map(str, values))}: each once.")
    for name, values, fitting in (("alphas", alphas, with_alpha), ("layer_sets", layer_tuples, with_layers)):
        if values and not {method for _, method in labelled} & set(fitting):
            raise ValueError(
                f"`{name}` was given, but is for none of {', '.join(methods)}: drop it, or add one of "
                f"{', '.join(fitting)}."
            )
    variants = [
        Variant(method, alpha, layers, label)
        for label, method in labelled
        for alpha in (alphas if alphas and method in with_alpha else [None])
        for layers in (layer_tuples if layer_tuples and method in with_layers else [None])
    ]
    names = [variant.name for variant in variants]
    alike = next((name for name in names if names.count(name) > 1), None)
    if alike is not None:
        raise ValueError(f"`alphas` holds two values that are both called {alike!r}: write them with six digits.")
    return variants


def make_grid(
    variants: Sequence[Variant], labeled_per_class: Sequence[int | None], seeds: Sequence[int]
) -> list[Setting]:
    """
    All runs, seed by seed, so that what is there of an unfinished comparison can be compared.

    Raises:
        ValueError: If a sequence is empty or names something twice, or a number of labels or a seed is out of range.
    """
    for name, values in (("variants", variants), ("labeled_per_class", labeled_per_class), ("seeds", seeds)):
        if not values:
            raise ValueError(f"`{name}` is empty: name at least one.")
        if len(set(values)) < len(values):
            raise ValueError(f"`{name}` names something twice, got {' '.join(map(str, values))}: each once.")
    for name, least, numbers in (("labeled_per_class", 1, labeled_per_class), ("seeds", 0, seeds)):
        wrong = [number for number in numbers if number is not None and number < least]
        if wrong:
            raise ValueError(f"`{name}` must be at least {least}, got {wrong[0]}.")
    return [Setting(variant, labels, seed) for seed in seeds for labels in labeled_per_class for variant in variants]
