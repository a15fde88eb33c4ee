"""Where an image matters, pixel by pixel and block by block: to the loss, whose gradient comes in, or in its own spectrum."""

from __future__ import annotations

import torch
import torch.nn.functional as F


# Of red, green and blue in what the eye takes for brightness (ITU-R BT.601).
_BRIGHTNESS = (0.299, 0.587, 0.114)
# Larger images are looked at in this size, and smoothed there, both as Kang & Kim do.
_LONGEST_SIDE = 128
_SIGMA, _REACH = 3.0, 3
# A fortieth of a grey level of 255: what differs by less is rounding.
_LEAST_CONTRAST = 1e-4
# Amplitudes below this share of the image's largest are rounding of float32.
_LEAST_AMPLITUDE = 1e-6


def channel_saliency(gradient: torch.Tensor) -> torch.Tensor:
    r"""
    The saliency of each pixel: `sqrt(mean over the channels of (d CE / d x)^2)` (Kim et al. 2020, official code).

    Args:
        gradient (`torch.Tensor` of shape `(B, C, H, W)`, floating): The gradient of the loss with respect to the images.

    Returns:
        `torch.Tensor` of shape `(B, H, W)`, float32, >= 0; in the unit of the gradient. A gradient of half precision
        that overflowed stays infinite or undefined: see [`is_degenerate`].
    """
    gradient = gradient.float()
    # In units of the largest of the image: the squares of what confident predictions leave underflow.
    unit = gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
    unit = torch.where((unit > 0) & (unit < torch.inf), unit, 1.0)
    return (gradient / unit).square().mean(dim=1).sqrt() * unit.squeeze(1)


@torch.no_grad()
def spectral_residual(images: torch.Tensor) -> torch.Tensor:
    r"""
    The saliency of each pixel without a network: what is unusual in the spectrum of the brightness, `|F^-1(exp(R + i P))|^2`
    smoothed, `R` the log amplitude minus its mean over 3 x 3 frequencies, `P` the phase (Hou & Zhang, CVPR 2007). So Kang & Kim
    (GuidedMixup, AAAI 2023) guide mixes; size and smoothing are those of their code, which leaves out the square.

    Args:
        images (`torch.Tensor` of shape `(B, C, H, W)`, floating):
            Pixels in `[0, 1]`; of three channels red, green and blue, of others the mean is taken.

    Returns:
        `torch.Tensor` of shape `(B, H, W)`, float32, >= 0, in no unit: only shares of an image mean something. 0 everywhere
        in an image of one colour, which [`is_degenerate`] then calls so.
    """
    images = images.float()
    weights = images.new_tensor(_BRIGHTNESS) if images.shape[1] == 3 else images.new_full((images.shape[1],), 1.0)
    grey = torch.einsum("bchw,c->bhw", images, weights / weights.sum())
    height, width = grey.shape[-2:]
    shrink = max(height, width) / _LONGEST_SIDE
    if shrink > 1:
        size = (max(round(height / shrink), 1), max(round(width / shrink), 1))
        grey = F.interpolate(grey.unsqueeze(1), size, mode="bilinear", antialias=True).squeeze(1)
    spectrum = torch.fft.fft2(grey)
    amplitude = spectrum.abs()
    amplitude = amplitude.maximum(_LEAST_AMPLITUDE * amplitude.amax(dim=(1, 2), keepdim=True))
    # A spectrum goes on at its other end.
    around = F.pad(amplitude.log().unsqueeze(1), (1, 1, 1, 1), mode="circular")
    usual = F.avg_pool2d(around, 3, stride=1).squeeze(1)
    # exp(log A - usual) with the phase F / A.
    residual = torch.fft.ifft2(spectrum * (-usual).exp()).abs().square()
    saliency = _smoothed(residual)
    if shrink > 1:
        saliency = F.interpolate(saliency.unsqueeze(1), (height, width), mode="bilinear").squeeze(1)
    contrast = grey.amax(dim=(1, 2), keepdim=True) - grey.amin(dim=(1, 2), keepdim=True)
    return torch.where(contrast < _LEAST_CONTRAST, 0.0, saliency)


def _smoothed(maps: torch.Tensor) -> torch.Tensor:
    """Maps `(B, H, W)` after a Gaussian, which at the border sees the outermost pixels again."""
    offsets = torch.arange(-_REACH, _REACH + 1, device=maps.device)
    kernel = (-offsets.square() / (2 * _SIGMA**2)).exp()
    kernel = kernel / kernel.sum()
    padded = F.pad(maps.unsqueeze(1), (_REACH,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1)).squeeze(1)


def block_saliency(saliency: torch.Tensor, grid: int) -> torch.Tensor:
    r"""
    The share of each block in the saliency of its image: average-pooled to a square grid, normalised to sum 1 (`s` of
    Kim et al. 2020).

    Args:
        saliency (`torch.Tensor` of shape `(B, H, W)`, floating, >= 0): See [`channel_saliency`].
        grid (`int`): Blocks a side; divides both `H` and `W`.

    Returns:
        `torch.Tensor` of shape `(B, grid, grid)`, float32. Every image sums to 1; those of which [`is_degenerate`]
        says so are uniform.
    """
    height, width = saliency.shape[-2:]
    blocks = F.avg_pool2d(saliency.float(), (height // grid, width // grid))
    share = blocks / blocks.sum(dim=(1, 2), keepdim=True)
    return torch.where(is_degenerate(saliency).view(-1, 1, 1), 1 / grid**2, share)


def is_degenerate(saliency: torch.Tensor) -> torch.Tensor:
    """Which images `(B,)` bool have a saliency `(B, H, W)` without information: zero everywhere, or not finite."""
    total = saliency.float().sum(dim=(1, 2))
    # Below the smallest normal number quotients lose their digits. Comparisons with an undefined total are false.
    return ~((total >= torch.finfo(total.dtype).tiny) & (total < torch.inf))
