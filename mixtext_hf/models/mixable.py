"""`make_mixable`: from an ordinary model to one whose hidden states can be mixed, or to the reason why they cannot."""

from __future__ import annotations

from torch import nn

from .hooks import install, install_on_heads, install_on_wrapper
from .mixer import Mixer
from .probe import probe
from .stack import TESTED_MODEL_TYPES, find_stack, unwrap


def make_mixable(model: nn.Module) -> Mixer:
    r"""
    Make the hidden states of a transformers model mixable, in place. Calling it again returns the same mixer, and is
    due after PEFT was put around the model.

    Nothing of the model changes: same class, same parameters, same config, same outputs as long as no plan is applied.
    Call it before `torch.compile` and before distributed wrapping.

    Args:
        model (`nn.Module`):
            A transformers model, or a wrapper around one (`PeftModel`).

    Returns:
        [`Mixer`]: also found at `model.mixer`.

    Raises:
        `ValueError`: if the type of the model cannot be mixed correctly, or, for a type that the tests of this package
        do not cover, if the probe (identity and swap on a tiny batch, without gradient) shows that it is not.
    """
    inner = unwrap(model)
    mixer = mixer_of(inner)
    if mixer is None:
        mixer = Mixer(find_stack(model))
        install(mixer)
        if inner.config.model_type not in TESTED_MODEL_TYPES:
            try:
                mixer.stack.pads_are_defined = probe(mixer)
            except Exception:
                for handle in mixer.handles:
                    handle.remove()
                raise
        inner.mixer = mixer  # type: ignore[assignment]  # no module: a plain attribute
    install_on_heads(mixer)
    install_on_wrapper(mixer, model)
    return mixer


def mixer_of(inner: nn.Module) -> Mixer | None:
    """The mixer that [`make_mixable`] gave to a model, if it did."""
    mixer = vars(inner).get("mixer")
    return mixer if isinstance(mixer, Mixer) else None
