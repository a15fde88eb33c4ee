"""Saliency of pixels and blocks: the official numbers, and images whose gradient says nothing."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mixtext_hf.mixing.saliency import block_saliency, channel_saliency, is_degenerate, spectral_residual


FIXTURE = Path(__file__).parents[1] / "fixtures" / "puzzlemix" / "puzzle_terms.npz"


def test_channel_saliency_equals_a_loop():
    gradient = torch.randn(2, 3, 4, 5)
    saliency = channel_saliency(gradient)
    assert saliency.shape == (2, 4, 5)
    for image in range(2):
        for y in range(4):
            for x in range(5):
                squares = [float(gradient[image, channel, y, x]) ** 2 for channel in range(3)]
                assert saliency[image, y, x].item() == pytest.approx(math.sqrt(sum(squares) / 3), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_small_gradients_of_any_type_keep_their_shares(dtype):
    gradient = (torch.tensor([1e-7, 3e-7, 1e-7, 1e-7]).view(1, 1, 2, 2)).to(dtype)
    saliency = channel_saliency(gradient)
    assert saliency.dtype == torch.float32
    torch.testing.assert_close(saliency, gradient[:, 0].float())
    expected = gradient[:, 0].float() / gradient.float().sum()
    torch.testing.assert_close(block_saliency(saliency, 2), expected)
    assert not is_degenerate(saliency).any()


@pytest.mark.parametrize("scale", [1e-34, 1e-24, 1e24, 1e34])
def test_gradients_of_any_size_keep_their_shares(scale):
    """Squares neither underflow nor overflow, whatever stands beside them in the batch."""
    gradient = torch.rand(3, 3, 4, 4)
    scales = torch.tensor([1.0, scale, 0.0]).view(3, 1, 1, 1)
    saliency = channel_saliency(gradient * scales)
    torch.testing.assert_close(saliency[:2] / scales[:2, 0], channel_saliency(gradient[:2]))
    assert not saliency[2].any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_overflowed_is_seen(value):
    gradient = torch.rand(2, 3, 4, 4)
    gradient[0, 1, 2, 3] = value
    assert is_degenerate(channel_saliency(gradient)).tolist() == [True, False]


@pytest.mark.parametrize("block_num", [2, 4, 8, 16])
def test_block_saliency_equals_the_official_one(block_num):
    official = np.load(FIXTURE)
    share = block_saliency(torch.from_numpy(official["saliency"]), block_num)
    np.testing.assert_allclose(share, official[f"b{block_num}_s1"], rtol=0, atol=1e-7)


def test_blocks_of_an_image_that_is_not_square():
    saliency = torch.rand(3, 6, 9)
    share = block_saliency(saliency, 3)
    pooled = torch.stack(
        [saliency[:, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3].sum((1, 2)) for y in range(3) for x in range(3)]
    )
    torch.testing.assert_close(share.flatten(1), (pooled / pooled.sum(0)).T)
    torch.testing.assert_close(share.sum((1, 2)), torch.ones(3))


NOTHING = [0.0, float("nan"), float("inf"), 1e-45, 3e38]


@pytest.mark.parametrize("value", NOTHING)
@pytest.mark.parametrize("block_num", [1, 2, 4])
def test_an_image_without_usable_saliency_is_uniform_and_says_so(value, block_num):
    saliency = torch.rand(3, 8, 8) + 0.1
    expected = block_saliency(saliency, block_num)
    saliency[1] = value
    assert is_degenerate(saliency).tolist() == [False, True, False]
    share = block_saliency(saliency, block_num)
    assert torch.equal(share[1], torch.full((block_num, block_num), 1 / block_num**2))
    assert torch.equal(share[::2], expected[::2])


@pytest.mark.parametrize("value", NOTHING[1:3])
def test_one_pixel_that_is_not_finite_spoils_its_image(value):
    saliency = torch.ones(2, 4, 4)
    saliency[0, 3, 0] = value
    assert is_degenerate(saliency).tolist() == [True, False]
    assert torch.equal(block_saliency(saliency, 2), torch.full((2, 2, 2), 0.25))


@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 1e34])
def test_shares_do_not_depend_on_the_unit(scale):
    saliency = torch.rand(2, 32, 32)
    torch.testing.assert_close(block_saliency(saliency * scale, 16), block_saliency(saliency, 16))


# ---- without a network ----


def natural(rows=3, channels=3, size=(32, 32), seed=0):
    """Shapes of several sizes between 0 and 1, and a grain as of a photograph."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.zeros(rows, channels, *size)
    for side in (2, 4, 8):
        coarse = torch.randn(rows, channels, side, side, generator=generator) / side
        image += torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")
    return torch.sigmoid(3 * image + 0.1 * torch.randn(rows, channels, *size, generator=generator))


def residual_by_hand(image):
    """Hou & Zhang's five equations on one image `(C, H, W)`, with loops for both filters."""
    red, green, blue = image if len(image) == 3 else (image.mean(axis=0),) * 3
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    height, width = grey.shape
    spectrum = np.fft.fft2(grey)
    log_amplitude, phase = np.log(np.abs(spectrum)), np.angle(spectrum)
    residual = log_amplitude.copy()
    for y in range(height):
        for x in range(width):
            around = [log_amplitude[(y + i) % height, (x + j) % width] for i in (-1, 0, 1) for j in (-1, 0, 1)]
            residual[y, x] -= sum(around) / 9
    saliency = np.abs(np.fft.ifft2(np.exp(residual + 1j * phase))) ** 2
    smooth = np.zeros_like(saliency)
    reach = range(-3, 4)
    unit = sum(math.exp(-(i * i + j * j) / 18) for i in reach for j in reach)
    for y in range(height):
        for x in range(width):
            for i in reach:
                for j in reach:
                    seen = saliency[min(max(y + i, 0), height - 1), min(max(x + j, 0), width - 1)]
                    smooth[y, x] += math.exp(-(i * i + j * j) / 18) / unit * seen
    return smooth


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("size", [(16, 16), (12, 20), (7, 9)], ids=str)
def test_spectral_residual_equals_a_loop(channels, size):
    images = natural(2, channels, size)
    saliency = spectral_residual(images)
    assert saliency.shape == (2, *size) and saliency.dtype == torch.float32 and (saliency >= 0).all()
    for image, found in zip(images.double().numpy(), saliency, strict=True):
        np.testing.assert_allclose(found, residual_by_hand(image), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (24, 48)], ids=str)
def test_brightness_and_contrast_hardly_change_what_stands_out(size):
    images = 0.8 * natural(4, size=size)
    expected = block_saliency(spectral_residual(images), 4)
    assert expected.amax() > 2 / 16  # not uniform
    torch.testing.assert_close(block_saliency(spectral_residual(0.3 * images), 4), expected, rtol=1e-3, atol=1e-5)
    shifted = block_saliency(spectral_residual(images + 0.2), 4)
    assert (shifted - expected).abs().max() < 0.02
    for one, other in zip(expected.flatten(1), shifted.flatten(1), strict=True):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.98


def test_what_is_alone_stands_out():
    """A spot on a texture of waves."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = 0.5 + 0.2 * torch.sin(x / 3) * torch.cos(y / 4)
    image[40:46, 12:18] = 1.0
    share = block_saliency(spectral_residual(image.expand(1, 3, 64, 64)), 8)[0]
    assert share.argmax().item() in (5 * 8 + 1, 5 * 8 + 2) and share.amax() > 3 / 64


def test_shapes_turned_round_turn_the_saliency_round():
    images = natural()
    torch.testing.assert_close(
        spectral_residual(images.flip(-1)), spectral_residual(images).flip(-1), rtol=1e-3, atol=1e-5
    )
    torch.testing.assert_close(spectral_residual(images.mT), spectral_residual(images).mT, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [(224, 224), (160, 320)], ids=str)
def test_a_large_image_is_looked_at_smaller(size):
    images = natural(2, size=size)
    saliency = spectral_residual(images)
    assert saliency.shape == (2, *size) and (saliency >= 0).all()
    scale = 128 / max(size)
    small = torch.nn.functional.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)
    expected = spectral_residual(small)
    assert expected.shape[-2:] == (round(size[0] * scale), round(size[1] * scale))
    torch.testing.assert_close(block_saliency(saliency, 4), block_saliency(expected, 4), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("side", [1, 2, 16, 200])
def test_an_image_of_one_colour_has_none(value, dtype, side):
    images = torch.rand(3, 3, side, side)
    images[1] = value
    # As pixels come back from being normalised.
    mean, std = torch.tensor([0.48, 0.45, 0.41]).view(3, 1, 1), torch.tensor([0.22, 0.23, 0.24]).view(3, 1, 1)
    saliency = spectral_residual((images.to(dtype) - mean) / std * std + mean)
    assert torch.isfinite(saliency).all()
    expected = [side == 1, True, side == 1]
    assert is_degenerate(saliency).tolist() == expected
    assert torch.equal(block_saliency(saliency, 1), torch.ones(3, 1, 1))


def test_stripes_without_a_grain_are_no_rounding():
    """Most of their spectrum is 0: what rounding leaves there must not be taken for saliency."""
    x = torch.arange(32)
    image = ((x // 4) % 2).float().expand(1, 3, 32, 32)
    columns = spectral_residual(image)[0].std(dim=0)
    assert (columns < 1e-3 * spectral_residual(image).amax()).all()


def test_pixels_that_are_no_numbers_are_seen():
    images = natural(2)
    images[0, 0, 3, 4] = float("nan")
    assert is_degenerate(spectral_residual(images)).tolist() == [True, False]
