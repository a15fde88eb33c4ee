"""Is a model of a type that nobody tested mixed correctly? Ask the model itself.

On a tiny batch of texts of different lengths (or of images), without gradient: with lambda 1 nothing may change, and with
lambda 0 every row must become its (longer) partner, at every layer. Models whose layers or head know more about a row than
its hidden states and its mask fail this, and are refused. Texts are padded on the right, or on the left where the head reads the last
token, as it does in decoders; what else reads a text there is found by trying both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn
from transformers import PreTrainedModel

from mixtext_hf.mixing import HEAD, MixPlan

from .any_classifier import logits_of, takes_pixels
from .last_token import is_decoder, padding_id
from .mixer import Mixer
from .modality import classifies_tokens
from .modes import evaluating
from .stack import NEEDS_NO_LAYERS, image_config, mask_position


_LENGTHS = (4, 9, 6)
_LONGEST = 1
# The side of an image for models that take any: what halves it five times still sees more than one pixel.
_IMAGE_SIZE = 64
_MORE_PADDING = 3

Side = Literal["left", "right"]


class _Refused(ValueError):
    """The probe's own verdict."""


def probe(mixer: Mixer) -> bool:
    """
    Raise `ValueError` if `mixer` does not mix its model correctly; leaves the model as it was.

    Returns:
        `bool`: whether the states at padding are a function of the text alone (`EncoderStack.pads_are_defined`).
    """
    stack = mixer.stack
    if stack.reads_last_token:
        return _probe(mixer, "left")
    try:
        return _probe(mixer, "right")
    except _Refused as refusal:
        if takes_pixels(stack.model) or classifies_tokens(stack.model):
            raise
        stack.reads_last_token = True
        try:
            return _probe(mixer, "left")
        except ValueError:
            stack.reads_last_token = False
            raise refusal from None


def _probe(mixer: Mixer, side: Side) -> bool:
    """[`probe`] on texts that are padded on that side."""
    model = mixer.stack.model
    try:
        with (
            evaluating(model),
            torch.no_grad(),
            _padding_token(model, side) as pad,
            _RecordedArguments(mixer) as arguments,
        ):
            inputs = _tiny_batch(model, pad, side)
            plain = logits_of(model(**inputs))
            if not arguments.seen:
                raise _Refused(
                    f"{type(model).__name__} (type {model.config.model_type!r}) cannot be mixed: its layers are called past their "
                    f"hooks (by `layer.forward`), where alone their states can be mixed. {NEEDS_NO_LAYERS}"
                )
            _check_arguments(model, arguments.tensors)
            if side == "left":
                _check_left_padding(model, inputs, plain, pad)
            layers: list[Any] = [*range(mixer.depth + 1), *([HEAD] if mixer.stack.heads else [])]
            for layer in layers:
                _check_layer(mixer, inputs, plain, layer)
            return not is_decoder(model.config) and _pads_are_defined(model, inputs, side)
    except _Refused:
        raise
    except Exception as error:  # whatever an unknown model may raise
        raise ValueError(
            f"{type(model).__name__} (type {model.config.model_type!r}) is not in the list of tested models, and "
            f"the probe that would have to show that it can be mixed fails: {str(error).rstrip('.')}. {NEEDS_NO_LAYERS}"
        ) from error


@contextmanager
def _padding_token(model: PreTrainedModel, side: Side) -> Iterator[int]:
    """The id that pads: 0 where the config names none, or none of its vocabulary; while the last token is looked for it does."""
    config = model.config.get_text_config()
    known = padding_id(config) if side == "left" else getattr(model.config, "pad_token_id", None)
    if known is not None and not 0 <= known < getattr(config, "vocab_size", known + 1):
        known = None
    if known is not None or side == "right":
        yield known or 0
        return
    before, config.pad_token_id = padding_id(config), 0
    try:
        yield 0
    finally:
        config.pad_token_id = before


def _padded(inputs: dict[str, torch.Tensor], columns: int, pad: int, side: Side) -> dict[str, torch.Tensor]:
    """The batch with more columns of padding."""
    where = (columns, 0) if side == "left" else (0, columns)
    return {
        name: nn.functional.pad(value, where, value=pad if name == "input_ids" else 0)
        for name, value in inputs.items()
    }


def _pads_are_defined(model: PreTrainedModel, inputs: dict[str, torch.Tensor], side: Side) -> bool:
    """Whether no state changes, those at padding included, when columns of padding are added to the batch."""
    if "attention_mask" not in inputs:
        return True
    # The shortest text has padding.
    pad = int(inputs["input_ids"][0, -1 if side == "right" else 0])
    padded = _padded(inputs, _MORE_PADDING, pad, side)
    for short, long in zip(
        model(**inputs, output_hidden_states=True).hidden_states,
        model(**padded, output_hidden_states=True).hidden_states,
        strict=True,
    ):
        of_long = long[:, : short.shape[1]] if side == "right" else long[:, _MORE_PADDING:]
        if (short - of_long).abs().max() > 1e-3 * short.abs().max():
            return False
    return True


def _check_left_padding(
    model: PreTrainedModel, inputs: dict[str, torch.Tensor], plain: torch.Tensor, pad: int
) -> None:
    """A text that is padded on the left must be the same text."""
    padded = logits_of(model(**_padded(inputs, _MORE_PADDING, pad, "left")))
    spread, error = (plain - plain[_LONGEST]).abs().max(), (padded - plain).abs().max()
    if not error <= _tolerance(plain) * spread:
        raise _Refused(
            f"{type(model).__name__} (type {model.config.model_type!r}) cannot be mixed: its head reads the last token, so that texts "
            f"have to be padded on the left, and there it counts the padding as positions or reads it: the logits are off by {error:.2e} "
            f"with {_MORE_PADDING} more columns of padding (rows differ by {spread:.2e}). {NEEDS_NO_LAYERS}"
        )


def _tolerance(logits: torch.Tensor) -> float:
    return 1e-3 if logits.dtype in (torch.float32, torch.float64) else 5e-2


def _tiny_batch(model: PreTrainedModel, pad: int, side: Side) -> dict[str, torch.Tensor]:
    config = model.config
    if takes_pixels(model):
        return _tiny_images(model)
    vocab_size = getattr(config, "vocab_size", None)
    if vocab_size is None:
        raise _Refused(
            f"{type(model).__name__} (type {config.model_type!r}) is not in the list of tested models and takes neither "
            f"token ids nor `pixel_values`, so it cannot be probed: its hidden states are not mixed. {NEEDS_NO_LAYERS}"
        )
    given = [value for name, value in config.to_dict().items() if name.endswith("_token_id")]
    special = {token for value in given for token in (value if isinstance(value, list) else [value])}
    ordinary = [token for token in range(min(vocab_size, 200)) if token not in special and token != pad]
    batch_size, longest = len(_LENGTHS), max(_LENGTHS)
    input_ids = torch.full((batch_size, longest), pad)
    attention_mask = torch.zeros(batch_size, longest, dtype=torch.long)
    for row, length in enumerate(_LENGTHS):
        first = longest - length if side == "left" else 0
        input_ids[row, first : first + length] = torch.tensor(
            [ordinary[(7 * i + 13 * row) % len(ordinary)] for i in range(length)]
        )
        attention_mask[row, first : first + length] = 1
    return {"input_ids": input_ids.to(model.device), "attention_mask": attention_mask.to(model.device)}


def _tiny_images(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    config = image_config(model.config)
    size = getattr(config, "image_size", None) or _IMAGE_SIZE
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(len(_LENGTHS), config.num_channels, height, width, generator=generator)
    # Noise is all alike once it is pooled: let the images differ in their colours as well.
    pixel_values = noise + 2 * torch.randn(*noise.shape[:2], 1, 1, generator=generator)
    return {"pixel_values": pixel_values.to(model.device, model.dtype)}


class _RecordedArguments:
    """
    Collects the tensors that the first layer is called with, besides the hidden states and the mask; and whether a call ran
    its hooks at all.
    """

    def __init__(self, mixer: Mixer):
        self.layer = mixer.stack.layers[0]
        self.seen = False
        self.tensors: dict[str, torch.Tensor] = {}

    def __enter__(self) -> _RecordedArguments:
        self.handle = self.layer.register_forward_pre_hook(self._record, with_kwargs=True)
        return self

    def __exit__(self, *exception: object) -> None:
        self.handle.remove()

    def _record(self, module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
        self.seen = True
        mask_at = mask_position(module)
        named = {str(i): value for i, value in enumerate(args) if i not in (0, mask_at)} | kwargs
        for name, value in named.items():
            if isinstance(value, torch.Tensor) and name not in ("hidden_states", "attention_mask"):
                self.tensors[name] = value


def _check_arguments(model: PreTrainedModel, arguments: dict[str, torch.Tensor]) -> None:
    for name, value in arguments.items():
        if value.dim() > 0 and len(value) == len(_LENGTHS) and bool((value != value[:1]).any()):
            raise _Refused(
                f"The layers of {type(model).__name__} (type {model.config.model_type!r}) receive a tensor {name!r} that "
                f"differs between the rows of a batch and cannot be mixed: its hidden states are not mixed. {NEEDS_NO_LAYERS}"
            )


def _check_layer(mixer: Mixer, inputs: dict[str, torch.Tensor], plain: torch.Tensor, layer: Any) -> None:
    model = mixer.stack.model
    index = torch.full((len(_LENGTHS),), _LONGEST)
    tolerance = _tolerance(plain)
    spread = (plain - plain[_LONGEST]).abs().max()
    if spread == 0:
        raise _Refused(
            f"{type(model).__name__} (type {model.config.model_type!r}) is not in the list of tested models, and gives all "
            "rows the same logits, so that the probe cannot tell whether it can be mixed: initialise its head first."
        )
    for lam, expected, invariant in (
        (torch.ones(len(_LENGTHS)), plain, "lambda 1 must change nothing"),
        ((index == torch.arange(len(index))).float(), plain[index], "lambda 0 must turn a row into its partner"),
    ):
        # `own` rows keep weight 1, so that the partner of all rows stays itself.
        with mixer.applying(MixPlan(index, lam, layer=layer)):
            mixed = logits_of(model(**inputs))
        error = (mixed - expected).abs().max()
        if not error <= tolerance * spread:
            raise _Refused(
                f"{type(model).__name__} (type {model.config.model_type!r}) is not in the list of tested models, and "
                f"the probe shows that mixing at layer {layer} would be wrong: {invariant}, but the logits are off by "
                f"{error:.2e} (rows differ by {spread:.2e}). Models whose head reads the token ids, sparse attention, and "
                f"layers that know the padding by more than their mask or hand on more than the hidden states cannot be mixed. {NEEDS_NO_LAYERS}"
            )
