"""Saliency of pixels and blocks: the official numbers, and images whose gradient says nothing."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from mixtext_hf.mixing.saliency import block_saliency, channel_saliency, is_degenerate


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
