"""The transport against the official algorithm as a plain loop, and what must hold for any mask and saliency."""

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import mixtext_hf.mixing.transport as transport_module
from mixtext_hf.mixing.puzzle import transport_pair
from mixtext_hf.mixing.transport import move_blocks, transport


def official_transport(mask, saliency, t_eps):
    """
    `mask_transport` of the official code for one image, row by row: dense plans, a fixed number of rounds. -1 = hole.
    A column of several equal offers takes the first; offers that cost 0 or more win nothing against those who make none.
    """
    grid = len(mask)
    place = [(y, x) for y in range(grid) for x in range(grid)]
    cost = np.zeros((grid**2, grid**2), np.float32)
    for i, (y1, x1) in enumerate(place):
        for j, (y2, x2) in enumerate(place):
            distance = np.float32(((y1 - y2) ** 2 + (x1 - x2) ** 2) / max(grid - 1, 1) ** 2)
            cost[i, j] = np.float32(t_eps) * distance - saliency[y1, x1] * np.float32(mask[y2, x2] > 0)
    for _ in range(grid):
        source, proposed = np.full(grid**2, -1), cost.argmin(axis=1)
        for j in range(grid**2):
            offers = [(cost[i, j], i) for i in range(grid**2) if proposed[i] == j]
            if offers and min(offers)[0] < 0:
                source[j] = min(offers)[1]
        for i, j in enumerate(proposed):
            if source[j] != i:
                cost[i, j] += np.float32(1)
    return source


@st.composite
def problems(draw):
    grid, batch_size = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    saliency = rng.random((batch_size, grid, grid)) ** draw(st.sampled_from([0.0, 1.0, 4.0, 20.0]))
    saliency *= rng.random(saliency.shape) >= draw(st.sampled_from([0.0, 0.5]))
    saliency[:, 0, 0] += 1e-6
    saliency = (saliency / saliency.sum(axis=(1, 2), keepdims=True)).astype(np.float32)
    mask = rng.choice(
        [0.0, 0.5, 1.0], saliency.shape, p=draw(st.sampled_from([[0.5, 0.2, 0.3], [0.9, 0, 0.1], [0, 0, 1]]))
    )
    t_eps = draw(st.sampled_from([0.0, 0.01, 0.1, 0.8, 5.0]))
    return torch.from_numpy(mask).float(), torch.from_numpy(saliency), t_eps


@pytest.fixture(params=["host", "accelerator"])
def place(request, monkeypatch):
    """On an accelerator the host reads one number: every round computes everything, the result is the same."""
    if request.param == "accelerator":
        monkeypatch.setattr(transport_module, "host_may_read", lambda tensor: False)


@pytest.mark.usefixtures("place")
def test_equals_the_official_loop(device):
    @examples(100)
    @given(problems())
    def check(problem):
        mask, saliency, t_eps = problem
        source = transport(mask.to(device), saliency.to(device), t_eps).cpu()
        own = np.arange(source.shape[1])
        for image in range(len(mask)):
            expected = official_transport(mask[image].numpy(), saliency[image].numpy(), t_eps)
            is_shown = (mask[image].flatten() > 0).numpy() & (expected >= 0)
            np.testing.assert_array_equal(source[image], np.where(is_shown, expected, own))

    check()


@examples(100)
@given(problems())
def test_what_is_transported(problem):
    mask, saliency, t_eps = problem
    source = transport(mask, saliency, t_eps)
    own = torch.arange(source.shape[1])
    visible, saliency = mask.flatten(1) > 0, saliency.flatten(1)
    assert source.dtype == torch.int64 and source.shape == visible.shape
    # Every visible block has a source, nothing is shown where nothing is visible.
    assert source.min() >= 0 and source.max() < source.shape[1]
    assert torch.equal(source[~visible], own.expand_as(source)[~visible])
    if t_eps > 0:
        for image in range(len(mask)):
            bidders = source[image][visible[image] & (saliency[image] > 0)].tolist()
            assert len(set(bidders)) == len(bidders)
        # Whoever takes the place of a block is more salient, by the price of the way.
        grid = mask.shape[1]
        step_y, step_x = source // grid - own // grid, source % grid - own % grid
        price = t_eps * (step_y**2 + step_x**2) / max(grid - 1, 1) ** 2
        assert bool((saliency.gather(1, source) - price >= saliency - 1e-6)[visible].all())
        # An image that is visible everywhere stays as it is.
        assert torch.equal(source[visible.all(1)], own.expand_as(source)[visible.all(1)])


class Reads(TorchDispatchMode):
    """Counts the numbers that the host reads, and the columns of the largest table of costs."""

    count = columns = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        if function is torch.ops.aten.min.dim:
            self.columns = max(self.columns, args[0].shape[-1])
        return function(*args, **(kwargs or {}))


def test_on_an_accelerator_one_number_is_read_for_both_images_of_the_pairs(monkeypatch):
    monkeypatch.setattr(transport_module, "host_may_read", lambda tensor: False)
    rng = np.random.default_rng(0)
    saliency = torch.from_numpy(rng.random((4, 32, 32)) ** 8).float()
    saliency /= saliency.sum((1, 2), keepdim=True)
    mask = torch.from_numpy(rng.integers(0, 2, (4, 8, 8))).float()
    with Reads() as reads:
        pair = transport_pair(mask, saliency, torch.tensor([1, 2, 3, 0]), 0.8)
    # Of 1,024 places a block bids for those that it can pay the way to.
    assert reads.count == 1 and 1 < reads.columns < 50
    for source, shown, of in zip(pair, (mask, 1 - mask), (saliency, saliency[[1, 2, 3, 0]]), strict=True):
        shown = shown.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
        assert torch.equal(source, transport(shown, of, 0.8))
        assert bool((source != torch.arange(1024)).any())


def test_a_salient_block_moves_to_where_it_is_seen():
    saliency = torch.full((1, 4, 4), 0.01)
    saliency[0, 1, 1] = 0.85
    mask = torch.ones(1, 4, 4)
    mask[0, 1, 1] = 0
    source = transport(mask, saliency, 0.8)
    moved = torch.nonzero(source[0] != torch.arange(16)).flatten().tolist()
    # Of its four neighbours the first.
    assert moved == [1] and source[0, 1] == 5
    assert torch.equal(transport(mask, saliency, 100.0)[0], torch.arange(16))


def test_a_visible_block_without_saliency_shows_itself():
    saliency = torch.zeros(1, 2, 2)
    saliency[0, 0, 0] = 1.0
    source = transport(torch.ones(1, 2, 2), saliency, 0.8)
    assert source.tolist() == [[0, 1, 2, 3]]


@pytest.mark.usefixtures("place")
def test_images_do_not_depend_on_each_other(monkeypatch):
    rng = np.random.default_rng(0)
    saliency = torch.from_numpy(rng.random((7, 8, 8)) ** 8).float()
    saliency /= saliency.sum((1, 2), keepdim=True)
    mask = torch.from_numpy(rng.integers(0, 2, (7, 8, 8))).float()
    together = transport(mask, saliency, 0.2)
    assert (together != torch.arange(64)).sum() > 20
    alone = torch.cat([transport(mask[i : i + 1], saliency[i : i + 1], 0.2) for i in range(7)])
    assert torch.equal(together, alone)
    # Large grids are computed a few images at a time.
    monkeypatch.setattr(transport_module, "COSTS_AT_A_TIME", 2 * 64 * 64)
    assert torch.equal(transport(mask, saliency, 0.2), together)


@examples(50)
@given(
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99)
)
def test_moving_blocks_equals_a_loop(batch_size, channels, grid, high, wide, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch_size, channels, grid * high, grid * wide, generator=generator)
    source = torch.randint(grid**2, (batch_size, grid**2), generator=generator)
    before = images.clone()
    moved = move_blocks(images, source, grid)
    for image in range(batch_size):
        for target in range(grid**2):
            to_y, to_x = target // grid * high, target % grid * wide
            from_y, from_x = int(source[image, target]) // grid * high, int(source[image, target]) % grid * wide
            shown = moved[image, :, to_y : to_y + high, to_x : to_x + wide]
            assert torch.equal(shown, images[image, :, from_y : from_y + high, from_x : from_x + wide])
    assert torch.equal(images, before) and moved.shape == images.shape


def test_nothing_waits_for_the_device():
    # A tensor without values cannot be read.
    mask = torch.ones(2, 4, 4, device="meta")
    source = transport(mask, mask, 0.8)
    assert source.shape == (2, 16) and source.dtype == torch.int64
    assert move_blocks(torch.ones(2, 3, 8, 8, device="meta"), source, 4).shape == (2, 3, 8, 8)
