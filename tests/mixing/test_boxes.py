"""Boxes against torchvision's formula, pasting against a loop, resizing against the area mean."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

import mixtext_hf.mixing.boxes as boxes_module
from mixtext_hf.mixing.boxes import _area_weights, cutmix_box, paste_boxes, paste_resized, resizemix_box


def resizemix(images, index, tau, centre):
    """Where the partner is pasted, and the pasting."""
    return paste_resized(images, index, resizemix_box(tau, centre, images.shape[2:]))


def torchvision_box(lam, centre_y, centre_x, height, width):
    """`torchvision.transforms.v2.CutMix.make_params`, given what it draws."""
    r = 0.5 * math.sqrt(1.0 - lam)
    half_width, half_height = int(r * width), int(r * height)
    x1, y1 = max(centre_x - half_width, 0), max(centre_y - half_height, 0)
    x2, y2 = min(centre_x + half_width, width), min(centre_y + half_height, height)
    return (y1, y2, x1, x2), 1.0 - (x2 - x1) * (y2 - y1) / (width * height)


def shares(size):
    """Shares of a side `[0, 1)` as a generator draws them, and the whole pixels they mean."""
    return st.integers(0, size - 1).map(lambda pixel: (pixel, (pixel + 0.5) / size))


@examples(100)
@given(st.data())
def test_boxes_and_weights_equal_torchvisions(data):
    height, width = data.draw(st.integers(1, 50)), data.draw(st.integers(1, 50))
    lam, expected, centre = [], [], []
    for _ in range(data.draw(st.integers(1, 4))):
        (pixel_y, y), (pixel_x, x) = data.draw(shares(height)), data.draw(shares(width))
        lam.append(data.draw(st.floats(0, 1, width=32)))
        centre.append((y, x))
        expected.append(torchvision_box(lam[-1], pixel_y, pixel_x, height, width))
    boxes = cutmix_box(torch.tensor(lam), torch.tensor(centre), (height, width))
    assert boxes.dtype == torch.int64 and boxes.tolist() == [list(box) for box, _ in expected]
    images = torch.rand(len(lam), 1, height, width)
    _, weight = paste_boxes(images, torch.arange(len(lam)).roll(1), boxes)
    assert weight.dtype == torch.float32
    np.testing.assert_allclose(weight, [kept for _, kept in expected], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 32), (28, 40)], ids=str)
def test_boxes_are_distributed_as_torchvisions(size):
    rng = np.random.default_rng(0)
    lam, centre = rng.beta(1, 1, 4000), rng.random((4000, 2))
    boxes = cutmix_box(torch.from_numpy(lam).float(), torch.from_numpy(centre).float(), size)
    _, weight = paste_boxes(torch.zeros(4000, 1, *size), torch.arange(4000), boxes)

    def drawn(times_lam):
        return [
            torchvision_box(times_lam(rng.beta(1, 1)), rng.integers(size[0]), rng.integers(size[1]), *size)
            for _ in range(4000)
        ]

    official = drawn(lambda lam: lam)
    assert stats.ks_2samp(weight.numpy(), [kept for _, kept in official]).pvalue > 1e-3
    edges = np.array([box for box, _ in official])
    for axis in range(2):
        start, end = boxes[:, 2 * axis].numpy(), boxes[:, 2 * axis + 1].numpy()
        assert stats.ks_2samp(start, edges[:, 2 * axis]).pvalue > 1e-3
        assert stats.ks_2samp(end - start, edges[:, 2 * axis + 1] - edges[:, 2 * axis]).pvalue > 1e-3
    # Enough draws to tell a box of nine tenths of the area.
    smaller = [kept for _, kept in drawn(lambda lam: 0.1 + 0.9 * lam)]
    assert stats.ks_2samp(weight.numpy(), smaller).pvalue < 1e-3


def test_the_ends_of_the_range():
    centre = torch.tensor([[0.0, 0.0], [0.5, 0.5], [1 - 2**-24, 1 - 2**-24]])
    whole = cutmix_box(torch.zeros(3), centre, (8, 6))
    assert whole.tolist() == [[0, 4, 0, 3], [0, 8, 0, 6], [3, 8, 2, 6]]
    images = torch.rand(3, 2, 8, 6)
    mixed, weight = paste_boxes(images, torch.tensor([1, 2, 0]), cutmix_box(torch.ones(3), centre, (8, 6)))
    assert torch.equal(mixed, images) and torch.equal(weight, torch.ones(3))
    mixed, weight = paste_boxes(images, torch.tensor([1, 2, 0]), whole)
    assert torch.equal(mixed[1], images[2]) and weight[1] == 0


@examples(50)
@given(data=st.data())
def test_pasting_equals_a_loop(device, data):
    batch_size, channels = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    images = torch.rand(batch_size, channels, height, width, device=device)
    before = images.clone()
    index = torch.tensor(data.draw(st.permutations(range(batch_size))), device=device)
    boxes = []
    for _ in range(batch_size):
        y0, y1 = sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height))))
        x0, x1 = sorted(data.draw(st.tuples(st.integers(0, width), st.integers(0, width))))
        boxes.append((y0, y1, x0, x1))
    mixed, weight = paste_boxes(images, index, torch.tensor(boxes, device=device))
    for row, (y0, y1, x0, x1) in enumerate(boxes):
        expected = images[row].clone()
        expected[:, y0:y1, x0:x1] = images[index[row], :, y0:y1, x0:x1]
        assert torch.equal(mixed[row], expected)
        assert weight[row].item() == pytest.approx(1 - (y1 - y0) * (x1 - x0) / (height * width), abs=1e-6)
    assert torch.equal(images, before)


def area_mean(image, length, axis):
    """The means of `image` over `length` equal stretches of `axis`, from its running integral."""
    image = np.moveaxis(image, axis, -1)
    side = image.shape[-1]
    integral = np.concatenate([np.zeros((*image.shape[:-1], 1)), image.cumsum(-1)], axis=-1)
    edges = np.arange(length + 1) * side / length
    at_edges = np.apply_along_axis(lambda line: np.interp(edges, np.arange(side + 1), line), -1, integral)
    return np.moveaxis(np.diff(at_edges) * length / side, -1, axis)


unit = st.floats(0, 1 - 2**-24, width=32)


@examples(100)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0, 1, width=32), unit, unit, st.integers(1, 4))
def test_the_whole_partner_is_pasted(height, width, tau, place_y, place_x, channels):
    images = torch.rand(2, channels, height, width, dtype=torch.float64)
    before = images.clone()
    centre = torch.tensor([[place_y, place_x], [0.0, 0.0]])
    mixed, weight = resizemix(images, torch.tensor([1, 0]), torch.tensor([tau, 0.0]), centre)
    high, wide = int(tau * height), int(tau * width)
    top, left = int(place_y * (height - high + 1)), int(place_x * (width - wide + 1))
    expected = images[0].clone().numpy()
    if high and wide:
        expected[:, top : top + high, left : left + wide] = area_mean(area_mean(images[1].numpy(), high, 1), wide, 2)
    np.testing.assert_allclose(mixed[0], expected, rtol=0, atol=1e-9)
    assert weight.dtype == torch.float32
    assert weight[0].item() == pytest.approx(1 - high * wide / (height * width), abs=1e-6)
    assert torch.equal(mixed[1], images[1]) and weight[1] == 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_resizing_equals_torchs_area_interpolation(device, dtype):
    images, index = torch.rand(3, 3, 24, 16).to(device, dtype), torch.tensor([1, 2, 0], device=device)
    boxes = resizemix_box(torch.tensor([0.5, 0.25, 1.0]), torch.zeros(3, 2), (24, 16))
    mixed, weight = paste_resized(images, index, boxes.to(device))
    assert mixed.dtype == dtype and weight.tolist() == [0.75, 0.9375, 0.0]
    for row, (high, wide) in enumerate([(12, 8), (6, 4), (24, 16)]):
        expected = F.interpolate(images[index[row]].unsqueeze(0), size=(high, wide), mode="area")[0]
        tolerance = {"rtol": 0, "atol": 1e-2 if dtype == torch.bfloat16 else 1e-6}
        torch.testing.assert_close(mixed[row, :, :high, :wide], expected, **tolerance)


def test_what_an_accelerator_computes_is_what_the_host_computes_row_by_row(monkeypatch):
    images, index = torch.rand(5, 3, 20, 13), torch.tensor([1, 2, 0, 3, 3])
    boxes = resizemix_box(torch.tensor([0.0, 0.3, 0.5, 0.95, 1.0]), torch.rand(5, 2), (20, 13))
    by_row, weight = paste_resized(images, index, boxes)
    monkeypatch.setattr(boxes_module, "host_may_read", lambda tensor: False)
    at_once, same_weight = paste_resized(images, index, boxes)
    torch.testing.assert_close(by_row, at_once, rtol=0, atol=1e-6)
    assert torch.equal(weight, same_weight) and torch.equal(by_row[0], images[0])


def test_the_places_of_the_pasted_image_are_uniform():
    rng = np.random.default_rng(1)
    images = torch.stack([torch.zeros(10, 20), torch.ones(10, 20)]).unsqueeze(1).repeat(1500, 1, 1, 1)
    index = torch.arange(3000).view(-1, 2).flip(1).flatten()
    mixed, _ = resizemix(images, index, torch.full((3000,), 0.5), torch.from_numpy(rng.random((3000, 2))).float())
    pasted = mixed[::2, 0] == 1
    tops, lefts = pasted.any(2).int().argmax(1), pasted.any(1).int().argmax(1)
    for edges, places in ((tops, 6), (lefts, 11)):
        assert stats.chisquare(torch.bincount(edges, minlength=places).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("side", [1, 2, 3, 7, 32, 64, 224])
def test_the_weights_of_areas_are_those_of_double_precision(side):
    length = torch.arange(1, side + 1)
    start = (side - length) // 2
    pixel = torch.arange(side)
    scale = side / length.double().view(-1, 1, 1)
    begin = (pixel - start.unsqueeze(1)).unsqueeze(2) * scale
    overlap = torch.minimum(begin + scale, pixel + 1.0) - torch.maximum(begin, pixel.double())
    # What is no overlap at all may be a rounding there.
    expected = torch.where(overlap > 1e-9, overlap / scale, 0.0).float()
    assert torch.equal(_area_weights(start, length, side, torch.float32), expected)


class NoDoubles(TorchDispatchMode):
    """Apple's GPUs have none, and others are slow with them."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        assert not (isinstance(result, torch.Tensor) and result.dtype == torch.float64), function
        return result


@pytest.mark.parametrize("paste", [paste_boxes, paste_resized])
def test_nothing_waits_for_the_device_or_needs_doubles(paste):
    # A tensor without values cannot be read.
    images, index = torch.ones(2, 3, 8, 6, device="meta"), torch.ones(2, dtype=torch.int64, device="meta")
    with NoDoubles():
        mixed, weight = paste(images, index, torch.ones(2, 4, dtype=torch.int64, device="meta"))
    assert mixed.shape == images.shape and weight.shape == (2,)
