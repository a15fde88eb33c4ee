"""What a plan has to say beyond partners and weights, for the methods that mix the pixels of images or the tokens of texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from .devices import to_device


# Tensors have no truth value to compare by.
@dataclass(frozen=True, eq=False)
class Boxes:
    """
    Where CutMix and ResizeMix paste the partner or a part of it.

    Args:
        edges (`torch.Tensor` of shape `(B, 4)`, int64): `(y0, y1, x0, x1)` in pixels, the ends excluded.
        pasted (`torch.Tensor` of shape `(B,)`, bool, *optional*):
            Which rows get their box, where the others are mixed in another way; `None`: all.
    """

    edges: torch.Tensor
    pasted: torch.Tensor | None = None

    def to(self, device: torch.device) -> Boxes:
        return Boxes(to_device(self.edges, device), None if self.pasted is None else to_device(self.pasted, device))


@dataclass(frozen=True, eq=False)
class Cells:
    """
    Which cells of the images MaskMix keeps; the others show the partner.

    Args:
        is_own (`torch.Tensor` of shape `(B, rows, columns)`, bool): Whether a cell stays.
        side (`int`): Of a cell, in pixels.
    """

    is_own: torch.Tensor
    side: int

    def to(self, device: torch.device) -> Cells:
        return Cells(to_device(self.is_own, device), self.side)


@dataclass(frozen=True)
class Blocks:
    """
    Into how many blocks PuzzleMix cuts the images of this batch, and what noise it adds to them.

    Args:
        block_num (`int`): Blocks along each side.
        noise_seed (`int`, *optional*): Seed of the adversarial noise; `None` where there is none.
        noise_on (`tuple[bool, bool]`): Whether the image itself and its partner carry the noise.
        noise_scale (`float`): Share of the noise that is added, in `[0, 1]`.
    """

    block_num: int
    noise_seed: int | None = None
    noise_on: tuple[bool, bool] = (False, False)
    noise_scale: float = 0.0

    def to(self, device: torch.device) -> Blocks:
        return self


@dataclass(frozen=True, eq=False)
class TokenShares:
    """
    How much of its own state each token of a text keeps, where hidden states are mixed token by token.

    Args:
        own (`torch.Tensor` of shape `(B, T)`, float32): In `[0, 1]`; in place of the weight of the row.
        sources (pair of `torch.Tensor` of shape `(B, T)`, int64, *optional*):
            Which token of the row, and which of its partner, stands at each position; `None` = the one that is there.
    """

    own: torch.Tensor
    sources: tuple[torch.Tensor, torch.Tensor] | None = None

    def to(self, device: torch.device) -> TokenShares:
        sources = (
            None if self.sources is None else (to_device(self.sources[0], device), to_device(self.sources[1], device))
        )
        return TokenShares(to_device(self.own, device), sources)

    def extended(self, rows: int) -> TokenShares:
        """With so many rows more, which keep themselves."""
        length, device = self.own.shape[1], self.own.device
        own = torch.cat([self.own, self.own.new_ones(rows, length)])
        if self.sources is None:
            return TokenShares(own)
        stays = torch.arange(length, device=device).expand(rows, -1)
        return TokenShares(own, (torch.cat([self.sources[0], stays]), torch.cat([self.sources[1], stays])))


@dataclass(frozen=True, eq=False)
class SpanDraws:
    """
    Chance in place of saliency, where tokens of one text come into another: the `draws` of [`~.spans.paste_spans`].

    Args:
        numbers (`torch.Tensor` of shape `(B, sentences, 2)` or `(B, at least T)`, float32): In `[0, 1)`.
    """

    numbers: torch.Tensor

    def to(self, device: torch.device) -> SpanDraws:
        return SpanDraws(to_device(self.numbers, device))


@dataclass(frozen=True, eq=False)
class TokenOrder:
    """
    Chance by which the words of a sentence change places, to be mixed with themselves.

    Args:
        numbers (`torch.Tensor` of shape `(B, at least T)`, float32): In `[0, 1)`, see [`~.token_order.permute_places`].
    """

    numbers: torch.Tensor

    def to(self, device: torch.device) -> TokenOrder:
        return TokenOrder(to_device(self.numbers, device))


Detail = Boxes | Cells | Blocks | TokenShares | SpanDraws | TokenOrder
