"""PuzzleMix against the numbers of the official code, term by term; what must hold for any batch."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

import mixtext_hf.mixing.assembling as assembling_module
import mixtext_hf.mixing.puzzle as puzzle_module
from mixtext_hf.mixing.assembling import add_noise, assemble
from mixtext_hf.mixing.puzzle import (
    binomial_prior,
    boundary_distances,
    cut_terms,
    fitting_block_nums,
    puzzle_mix,
    transport_grid,
    transport_pair,
)
from mixtext_hf.mixing.saliency import block_saliency


BLOCK_NUMS = [2, 4, 8, 16]
# The settings under which the official numbers were made.
BETA, GAMMA, ETA, NEIGH_SIZE, T_EPS = 1.2, 0.5, 0.2, 4, 0.8


@pytest.fixture(scope="module")
def official():
    """Terms and results of the official code, see CREDITS.md; the first axis of what depends on lambda is `lam`."""
    path = Path(__file__).parents[1] / "fixtures" / "puzzlemix" / "puzzle_terms.npz"
    with np.load(path) as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def equal(actual, expected, tolerance):
    torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=tolerance)


def energy(labels, unary, weight_x, weight_y):
    """What the labels `(B, b, b)` cost, summed in double precision."""
    unary, weight_x, weight_y = unary.double(), weight_x.double(), weight_y.double()
    z = labels.double() / (unary.shape[-1] - 1)
    chosen = unary.gather(3, labels.unsqueeze(3)).sum((1, 2, 3))
    vertical = (weight_x * (z[:, 1:] - z[:, :-1]) ** 2).sum((1, 2))
    return chosen + vertical + (weight_y * (z[:, :, 1:] - z[:, :, :-1]) ** 2).sum((1, 2))


def official_terms(official, block_num, n_labels, lam):
    phi_x, phi_y = boundary_distances(
        official["images"],
        official["index"],
        block_num,
        neigh_size=NEIGH_SIZE,
        mean=official["mean"],
        std=official["std"],
    )
    share = block_saliency(official["saliency"], block_num)
    prior = binomial_prior(lam, n_labels)
    return cut_terms(share, official["index"], phi_x, phi_y, prior, beta=BETA, gamma=GAMMA, eta=ETA)


# ---- the official numbers ----


@pytest.mark.parametrize("block_num", BLOCK_NUMS)
def test_distances_equal_the_official_ones(official, block_num):
    mean, std = official["mean"], official["std"]
    phi = boundary_distances(
        official["images"], official["index"], block_num, neigh_size=NEIGH_SIZE, mean=mean, std=std
    )
    for actual, name in zip(phi, ("phi_x", "phi_y"), strict=True):
        assert actual.dtype == torch.float32
        equal(actual, official[f"b{block_num}_{name}"], 1e-6)


@examples(50)
@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 4]))
def test_distances_equal_a_loop(block_num, high, wide, neigh_size, channels):
    images, index = torch.rand(3, channels, block_num * high, block_num * wide), torch.tensor([2, 1, 0])
    cell_height, cell_width = math.gcd(neigh_size, high), math.gcd(neigh_size, wide)
    phi_x, phi_y = boundary_distances(images, index, block_num, neigh_size=neigh_size)
    assert phi_x.shape == (3, 2, 2, block_num - 1, block_num) and phi_y.shape == (3, 2, 2, block_num, block_num - 1)

    def cell(image, bottom, right):
        return images[image, :, bottom - cell_height : bottom, right - cell_width : right].mean((1, 2))

    for row, a, c in itertools.product(range(3), (0, 1), (0, 1)):
        first, second = (row if shown else int(index[row]) for shown in (a, c))
        for boundary, block in itertools.product(range(1, block_num), range(block_num)):
            rights = range(block * wide + cell_width, (block + 1) * wide + 1, cell_width)
            edge = boundary * high
            pairs = [cell(first, edge, x) - cell(second, edge + cell_height, x) for x in rights]
            equal(phi_x[row, a, c, boundary - 1, block], torch.stack(pairs).abs().mean(), 1e-6)
            bottoms = range(block * high + cell_height, (block + 1) * high + 1, cell_height)
            edge = boundary * wide
            pairs = [cell(first, y, edge) - cell(second, y, edge + cell_width) for y in bottoms]
            equal(phi_y[row, a, c, block, boundary - 1], torch.stack(pairs).abs().mean(), 1e-6)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("block_num", BLOCK_NUMS)
def test_the_prior_equals_the_official_one(official, block_num, n_labels):
    prior = ETA / block_num**2 * binomial_prior(official["lam"], n_labels)
    equal(prior, official[f"b{block_num}_l{n_labels}_prior"], 1e-6)


@pytest.mark.parametrize("n_labels", [2, 3, 4])
@pytest.mark.parametrize("block_num", BLOCK_NUMS)
def test_the_costs_of_the_cut_equal_the_official_ones(official, block_num, n_labels):
    lam = torch.linspace(0, 1, 8)
    unary, weight_x, weight_y = official_terms(official, block_num, n_labels, lam)
    u1, u2 = official[f"b{block_num}_u1"], official[f"b{block_num}_u2"]
    for label in range(n_labels):
        share = label / (n_labels - 1)
        p = math.comb(n_labels - 1, label) * lam ** (n_labels - 1 - label) * (1 - lam) ** label
        prior = -ETA / block_num**2 * torch.log(p + 1e-8)
        equal(unary[..., label], (1 - share) * u2 + share * u1 + prior.view(-1, 1, 1), 1e-6)
    beta_n = BETA / (16 * block_num)
    equal(weight_x, beta_n + official[f"b{block_num}_pw_x"], 1e-7)
    equal(weight_y, beta_n + official[f"b{block_num}_pw_y"], 1e-7)


def test_two_labels_pay_the_distance_of_the_images_they_show():
    """Without saliency and prior, the energy of a binary mask is `beta_n (jumps + gamma phi of what is seen)`."""
    images, index = torch.rand(2, 3, 6, 6), torch.tensor([1, 0])
    phi_x, phi_y = boundary_distances(images, index, 2, neigh_size=1)
    zero, prior = torch.zeros(2, 2, 2), torch.zeros(2, 2)
    unary, weight_x, weight_y = cut_terms(zero, index, phi_x, phi_y, prior, beta=2.0, gamma=0.7, eta=0.0)
    pixels = torch.stack([images[index], images], dim=1)
    constant = energy(torch.zeros(2, 2, 2, dtype=torch.int64), unary, weight_x, weight_y)
    # The original everywhere first: a part of the energy that is the same for all masks does not matter.
    for shown in sorted(itertools.product((0, 1), repeat=4), reverse=True):
        z = torch.tensor(shown).view(2, 2)
        expected = torch.zeros(2)
        for k in range(2):
            (top, bottom), (left, right) = z[:, k], z[k]
            across = pixels[:, top, :, 2, 3 * k : 3 * k + 3] - pixels[:, bottom, :, 3, 3 * k : 3 * k + 3]
            expected += 2.0 / 32 * (float(top != bottom) + 0.7 * across.abs().mean((1, 2)))
            across = pixels[:, left, :, 3 * k : 3 * k + 3, 2] - pixels[:, right, :, 3 * k : 3 * k + 3, 3]
            expected += 2.0 / 32 * (float(left != right) + 0.7 * across.abs().mean((1, 2)))
        if z.all():
            constant = constant - expected
        equal(energy((1 - z).expand(2, 2, 2), unary, weight_x, weight_y) - constant, expected, 1e-6)


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("block_num", BLOCK_NUMS)
def test_the_mask_is_at_least_as_good_as_the_official_one(official, block_num, n_labels):
    mixes = official["index"] != torch.arange(8)
    for lam, official_labels in zip(official["lam"], official[f"b{block_num}_l{n_labels}_labels"].long(), strict=True):
        lam = lam.float().expand(8)
        images, saliency, index = official["images"], official["saliency"], official["index"]
        normalisation = {"mean": official["mean"], "std": official["std"]}
        _, _, mask = puzzle_mix(images, saliency, index, lam, block_num=block_num, n_labels=n_labels, **normalisation)
        labels = ((1 - mask) * (n_labels - 1)).round().long()
        terms = official_terms(official, block_num, n_labels, lam)
        # The official integers, truncated at 1e-3 / block_num^2, are no finer than this.
        ours, theirs = energy(labels, *terms)[mixes], energy(official_labels, *terms)[mixes]
        assert bool((ours <= theirs + 1e-6).all())


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("block_num", BLOCK_NUMS)
@pytest.mark.parametrize("t_size", [None, -1, 4])
def test_given_the_official_mask_the_pictures_are_the_official_ones(official, block_num, n_labels, t_size):
    name, transport = f"b{block_num}_l{n_labels}", "none" if t_size is None else f"t{t_size}"
    images, index = official["images"], official["index"]
    mixed = []
    for lam, labels in enumerate(official[f"{name}_labels"]):
        mask = 1 - labels / (n_labels - 1)
        assert torch.equal(mask.mean((1, 2)), official[f"{name}_weight"][lam])
        sources = (None, None)
        if t_size is not None:
            grid = transport_grid((32, 32), block_num, t_size)
            sources = transport_pair(mask, block_saliency(official["saliency"], grid), index, T_EPS)
            for source, plan in zip(sources, ("plan1", "plan2"), strict=True):
                expected = official[f"{name}_{plan}_{transport}"][lam].long()
                # -1 marks what nobody sees.
                assert torch.equal(torch.where(expected < 0, expected, source), expected)
        mixed.append(assemble(images, index, mask, *sources))
    rows = official[f"{name}_rows_{transport}"]
    equal(torch.cat(mixed)[rows], official[f"{name}_mixed_{transport}"], 1e-6)


# ---- what must hold for any batch ----


@st.composite
def batches(draw):
    """Anything that can be mixed, and how."""
    block_num = draw(st.sampled_from([1, 2, 3, 4, 8]))
    height, width = (block_num * draw(st.integers(1, 4)) for _ in range(2))
    batch_size, channels = draw(st.integers(1, 5)), draw(st.sampled_from([1, 3, 4]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    images = torch.rand(batch_size, channels, height, width, generator=generator)
    saliency = torch.rand(batch_size, height, width, generator=generator) ** draw(st.sampled_from([1, 6]))
    if draw(st.booleans()):
        images = images.mean((2, 3), keepdim=True).expand_as(images)
    saliency *= draw(st.sampled_from([0.0, 1e-7, 1.0, 1e10]))
    index = torch.tensor(draw(st.permutations(range(batch_size))))
    share = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1, width=32))
    lam = torch.tensor([draw(share) for _ in range(batch_size)])
    return (images, saliency, index, lam), {
        "block_num": block_num,
        "n_labels": draw(st.sampled_from([2, 3, 4])),
        "beta": draw(st.sampled_from([0.0, 1.2, 100.0])),
        "gamma": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "eta": draw(st.sampled_from([0.0, 0.2, 10.0])),
        "neigh_size": draw(st.integers(1, 5)),
        "t_eps": draw(st.sampled_from([0.0, 0.01, 0.8])),
        "t_size": draw(st.sampled_from([None, -1, 1, 2])),
    }


def unmixed_rows(index, lam):
    return (lam == 1) | (index == torch.arange(len(index)))


@examples(100)
@given(batches())
def test_what_comes_out(batch):
    (images, _, index, lam), how = batch
    copies = [tensor.clone() for tensor in batch[0]]
    mixed, weight, mask = puzzle_mix(*batch[0], **how)
    assert mixed.shape == images.shape and mixed.dtype == images.dtype
    assert mask.shape == (len(images), how["block_num"], how["block_num"])
    assert weight.dtype == mask.dtype == torch.float32
    torch.testing.assert_close(weight, mask.mean((1, 2)), rtol=0, atol=0)
    levels = 1 - torch.arange(how["n_labels"]) / (how["n_labels"] - 1)
    assert bool(torch.isin(mask, levels).all())
    unmixed = unmixed_rows(index, lam)
    assert torch.equal(mixed[unmixed], images[unmixed]) and bool((weight[unmixed] == 1).all())
    # Convex combinations of pixels; comparisons with NaN are false.
    low, high = torch.minimum(images, images[index]), torch.maximum(images, images[index])
    low, high = low.amin((2, 3), keepdim=True), high.amax((2, 3), keepdim=True)
    assert bool(((mixed >= low - 1e-6) & (mixed <= high + 1e-6)).all())
    assert all(torch.equal(*pair) for pair in zip(batch[0], copies, strict=True))


@examples(60)
@given(batches())
def test_every_pixel_comes_from_the_pair(batch):
    (images, saliency, index, lam), how = batch
    batch_size, _, height, width = images.shape
    number = torch.arange(1.0, batch_size + 1).view(-1, 1, 1, 1)
    mixed, _, mask = puzzle_mix(number.expand_as(images).contiguous(), saliency, index, lam, **how)
    pixel_mask = mask.repeat_interleave(height // how["block_num"], 1).repeat_interleave(width // how["block_num"], 2)
    pixel_mask = pixel_mask.unsqueeze(1)
    expected = pixel_mask * number + (1 - pixel_mask) * number[index]
    torch.testing.assert_close(mixed, expected.expand_as(mixed), rtol=0, atol=1e-5)


@examples(50)
@given(batches(), st.randoms(use_true_random=False))
def test_the_order_of_the_batch_does_not_matter(batch, random):
    (images, saliency, index, lam), how = batch
    # Continuous saliency and some price for each label: no two masks cost the same.
    saliency = torch.rand(saliency.shape, generator=torch.Generator().manual_seed(random.randrange(99))) + 0.1
    how = {**how, "eta": 0.2, "beta": 1.2}
    order = torch.tensor(random.sample(range(len(images)), len(images)))
    place = order.argsort()
    expected = puzzle_mix(images, saliency, index, lam, **how)
    permuted = puzzle_mix(images[order], saliency[order], place[index[order]], lam[order], **how)
    for ours, theirs in zip(permuted, expected, strict=True):
        torch.testing.assert_close(ours, theirs[order], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "size, block_nums",
    [
        ((28, 28), [2, 4]),
        ((30, 30), [2]),
        ((224, 224), BLOCK_NUMS),
        ((32, 48), BLOCK_NUMS),
        ((33, 32), []),
        ((35, 7), []),
    ],
    ids=str,
)
def test_sizes(size, block_nums):
    assert fitting_block_nums(size) == block_nums
    images, saliency = torch.rand(3, 3, *size), torch.rand(3, *size)
    index, lam = torch.tensor([2, 0, 1]), torch.full((3,), 0.4)
    for block_num in BLOCK_NUMS:
        if block_num in block_nums:
            for t_size in (None, -1, 4):
                mixed, weight, mask = puzzle_mix(images, saliency, index, lam, block_num=block_num, t_size=t_size)
                assert mixed.isfinite().all() and torch.equal(weight, mask.mean((1, 2)))
        else:
            height, width = size
            message = f"`block_num={block_num}` does not divide both sides of images of {height} x {width}"
            with pytest.raises(ValueError, match=message) as raised:
                puzzle_mix(images, saliency, index, lam, block_num=block_num)
            remedy = f", {block_nums} do" if block_nums else "to " + {33: "32 x 32", 35: "32 x 16"}[height]
            assert remedy in str(raised.value)


@pytest.mark.parametrize(
    "size, block_num, t_size, grid",
    [
        ((32, 32), 2, 4, 8),
        ((32, 32), 8, 4, 8),
        ((32, 32), 16, 4, 16),
        ((32, 32), 4, -1, 4),
        ((32, 32), 4, 3, 4),
        ((224, 224), 16, 7, 32),
        # Cells of 4 x 8: as many along the long side as along the short one.
        ((32, 64), 2, 4, 8),
        ((64, 32), 2, 4, 8),
        # Blocks of 16 x 24 pixels: 4 cells a side fit, 16 do not.
        ((32, 48), 2, 4, 8),
        ((32, 48), 2, 1, 2),
        # By the image: as the official CIFAR code, and blocks where small cells would be thousands.
        ((28, 28), 7, "auto", 7),
        ((32, 32), 2, "auto", 8),
        ((32, 32), 16, "auto", 16),
        ((32, 40), 4, "auto", 4),
        ((224, 224), 2, "auto", 2),
    ],
)
def test_the_cells_that_are_transported(size, block_num, t_size, grid):
    assert transport_grid(size, block_num, t_size) == grid


@pytest.mark.parametrize("size", [(32, 32), (16, 40)], ids=str)
@pytest.mark.parametrize("t_size", [-1, 2])
def test_a_transported_picture_is_made_of_cells_of_the_pair(size, t_size):
    # Pixels that say which image, row and column they come from, apart from the tens of what is mixed.
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.stack([torch.stack([torch.full_like(y, image), y, x]) for image in range(4)]).float()
    index, lam = torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.5)
    saliency = torch.rand(4, *size) ** 20
    grid = transport_grid(size, 4, t_size)
    how = {"block_num": 4, "n_labels": 2, "t_eps": 0.05, "t_size": t_size}
    mixed, _, mask = puzzle_mix(images, saliency, index, lam, **how)
    pixel_mask = mask.repeat_interleave(height // 4, 1).repeat_interleave(width // 4, 2)
    shown = torch.where(pixel_mask == 1, torch.arange(4).view(-1, 1, 1), index.view(-1, 1, 1))
    assert torch.equal(mixed[:, 0], shown.float())
    cell_height, cell_width = height // grid, width // grid
    assert torch.equal(mixed[:, 1] % cell_height, (y % cell_height).float().expand(4, -1, -1))
    assert torch.equal(mixed[:, 2] % cell_width, (x % cell_width).float().expand(4, -1, -1))
    assert not torch.equal(mixed[:, 1], y.float().expand(4, -1, -1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_rows_that_are_not_mixed_are_bit_identical_whatever_their_saliency(value):
    images, saliency = torch.rand(3, 3, 8, 8), torch.rand(3, 8, 8) ** 20
    saliency[1] = value
    noise = torch.full_like(images, 0.5)
    index, lam = torch.tensor([0, 2, 1]), torch.tensor([0.3, 1.0, 0.4])
    mixed, weight, mask = puzzle_mix(images, saliency, index, lam, block_num=4, t_size=-1, noise=(noise, noise))
    assert torch.equal(mixed[:2], images[:2]) and mixed[2].isfinite().all()
    assert weight[:2].tolist() == [1.0, 1.0] and bool((mask[:2] == 1).all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_images_of_other_types(dtype):
    images, saliency = torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16) ** 20
    index, lam = torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.5)
    expected, expected_weight, _ = puzzle_mix(images, saliency, index, lam, block_num=4, t_size=-1)
    mixed, weight, mask = puzzle_mix(images.to(dtype), saliency, index, lam, block_num=4, t_size=-1)
    assert mixed.dtype == dtype and weight.dtype == mask.dtype == torch.float32
    assert torch.equal(weight, expected_weight)
    torch.testing.assert_close(mixed.float(), expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_pixels_far_beyond_their_range_can_be_mixed(gamma):
    """Images of another normalisation than was said: the weights of the cut stay >= 0, which the cut insists on."""
    images, saliency = 10 * torch.randn(6, 3, 16, 16), torch.rand(6, 16, 16)
    index, lam = torch.arange(6).roll(1), torch.full((6,), 0.5)
    phi_x, phi_y = boundary_distances(images, index, 8, neigh_size=2)
    assert (phi_x[:, 1, 0] + phi_x[:, 0, 1] - phi_x[:, 1, 1] - phi_x[:, 0, 0]).min() < -2 / gamma
    terms = {"beta": 1.2, "gamma": gamma, "eta": 0.2}
    share, prior = block_saliency(saliency, 8), binomial_prior(lam, 3)
    _, weight_x, weight_y = cut_terms(share, index, phi_x, phi_y, prior, **terms)
    assert weight_x.min() == 0 and weight_y.min() == 0
    mixed, _, _ = puzzle_mix(images, saliency, index, lam, block_num=8, **terms)
    assert mixed.isfinite().all()


def test_saliency_decides():
    images, lam, index = torch.full((2, 3, 8, 8), 0.5), torch.full((2,), 0.5), torch.tensor([1, 0])
    saliency = torch.zeros(2, 8, 8)
    saliency[0, :, :4], saliency[1, :, 4:] = 1.0, 1.0
    _, weight, mask = puzzle_mix(images, saliency, index, lam, block_num=2, n_labels=2)
    assert mask[0].tolist() == [[1, 0], [1, 0]] and mask[1].tolist() == [[0, 1], [0, 1]]
    assert weight.tolist() == [0.5, 0.5]
    # Without saliency the prior decides.
    for share, expected in ((0.0, 0.0), (0.1, 0.0), (0.5, 0.5), (0.9, 1.0)):
        _, weight, _ = puzzle_mix(images, saliency * 0, index, torch.full((2,), share), block_num=2, n_labels=3)
        assert weight.tolist() == [expected, expected]


def test_the_mask_is_smooth_where_beta_is_large():
    images, saliency = torch.rand(2, 3, 32, 32), torch.rand(2, 32, 32) ** 20
    index, lam = torch.tensor([1, 0]), torch.full((2,), 0.5)
    jumps = []
    for beta in (0.0, 1.2, 100.0):
        _, _, mask = puzzle_mix(images, saliency, index, lam, block_num=8, n_labels=2, beta=beta)
        jumps.append(float((mask[:, 1:] != mask[:, :-1]).sum() + (mask[:, :, 1:] != mask[:, :, :-1]).sum()))
    assert jumps[0] > jumps[1] > jumps[2] == 0


# ---- noise ----


def test_noise_is_added_to_the_pixels_and_clipped():
    images, noise = torch.rand(2, 3, 4, 4), 0.8 * torch.rand(2, 3, 4, 4) - 0.4
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    before = images.clone()
    normalised = (images - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    noisy = add_noise(normalised, noise, mean=mean, std=std) * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    torch.testing.assert_close(noisy, (images + noise).clamp(0, 1), rtol=0, atol=1e-6)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("carries", [(True, False), (False, True), (True, True)], ids=str)
def test_noise_leaves_the_type_of_the_images(dtype, carries):
    images, saliency = torch.rand(4, 3, 16, 16), torch.rand(4, 16, 16) ** 20
    index, lam = torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.5)
    noise = tuple(torch.full_like(images, 0.1) if carried else None for carried in carries)
    how = {"block_num": 4, "mean": torch.full((3,), 0.4), "std": torch.full((3,), 0.2), "noise": noise}
    expected, *_ = puzzle_mix(images, saliency, index, lam, **how)
    mixed, *_ = puzzle_mix(images.to(dtype), saliency, index, lam, **how)
    assert mixed.dtype == dtype
    torch.testing.assert_close(mixed.float(), expected, rtol=0, atol=2e-2)


@pytest.mark.parametrize("t_size", [None, -1])
@pytest.mark.parametrize("carries", [(True, False), (False, True), (True, True)], ids=str)
def test_each_image_of_the_pair_carries_its_noise(t_size, carries):
    images, saliency = 0.5 * torch.rand(4, 3, 16, 16) + 0.25, torch.rand(4, 16, 16) ** 20
    index, lam = torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.5)
    # Of a different strength in each row.
    noise1 = torch.tensor([0.01, 0.02, 0.03, 0.04]).view(-1, 1, 1, 1).expand_as(images)
    noise2 = noise1 + 0.1
    how = {"block_num": 4, "n_labels": 2, "t_size": t_size}
    clean, clean_weight, mask = puzzle_mix(images, saliency, index, lam, **how)
    noise = tuple(noise if carried else None for noise, carried in zip((noise1, noise2), carries, strict=True))
    noisy, weight, _ = puzzle_mix(images, saliency, index, lam, noise=noise, **how)
    pixel_mask = mask.repeat_interleave(4, 1).repeat_interleave(4, 2).unsqueeze(1)
    expected = clean + carries[0] * pixel_mask * noise1 + carries[1] * (1 - pixel_mask) * noise2
    torch.testing.assert_close(noisy, expected, rtol=0, atol=1e-6)
    # The mask is found before.
    assert torch.equal(weight, clean_weight) and 0 < weight.mean() < 1 and weight.mean() != 0.5


# ---- the puzzle, put together ----


def assembled_by_a_loop(images, index, mask, source1, source2, noise, mean, std):
    """`mask * P1^T x + (1 - mask) * P0^T x[index]`, cell by cell."""

    def noisy(image, added):
        if added is None:
            return image
        return ((image * std[:, None, None] + mean[:, None, None] + added).clamp(0, 1) - mean[:, None, None]) / std[
            :, None, None
        ]

    mixed = torch.empty_like(images)
    grid, block_num = math.isqrt(source1.shape[1]), mask.shape[1]
    height, width = images.shape[2] // grid, images.shape[3] // grid
    for row, partner in enumerate(index.tolist()):
        first = noisy(images[row], None if noise[0] is None else noise[0][row])
        second = noisy(images[partner], None if noise[1] is None else noise[1][row])
        for cell in range(grid**2):
            y, x = divmod(cell, grid)
            weight = mask[row, y * block_num // grid, x * block_num // grid]
            shown = []
            for image, source in ((first, source1), (second, source2)):
                from_y, from_x = divmod(int(source[row, cell]), grid)
                rows = slice(from_y * height, (from_y + 1) * height)
                shown.append(image[:, rows, from_x * width : (from_x + 1) * width])
            to = (row, slice(None), slice(y * height, (y + 1) * height), slice(x * width, (x + 1) * width))
            mixed[to] = torch.lerp(shown[1], shown[0], weight)
    return mixed


@given(data=st.data())
@examples(40)
def test_the_puzzle_is_put_together_as_by_a_loop(data):
    draw = data.draw
    batch_size, channels, block_num = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    finer = draw(st.integers(1, 3))
    height, width = (draw(st.integers(1, 3)) * finer * block_num for _ in range(2))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    images = torch.randn(batch_size, channels, height, width, generator=generator)
    index = torch.randint(batch_size, (batch_size,), generator=generator)
    levels = draw(st.sampled_from([1, 2, 3, 1000]))
    mask = torch.randint(levels + 1, (batch_size, block_num, block_num), generator=generator) / levels
    grid = finer * block_num if draw(st.booleans()) else block_num
    moved = [torch.randint(grid**2, (batch_size, grid**2), generator=generator) for _ in range(2)]
    unmoved = torch.arange(grid**2).expand(batch_size, -1)
    moves = draw(st.tuples(st.booleans(), st.booleans()))
    noise = tuple(torch.randn(images.shape, generator=generator) if draw(st.booleans()) else None for _ in range(2))
    mean, std = torch.linspace(0.3, 0.6, channels), torch.linspace(0.5, 2, channels)
    sources = [source if moves_it else None for source, moves_it in zip(moved, moves, strict=True)]
    expected_sources = [source if moves_it else unmoved for source, moves_it in zip(moved, moves, strict=True)]
    expected = assembled_by_a_loop(images, index, mask, *expected_sources, noise, mean, std)
    how = {"mean": mean, "std": std, "noise": noise}
    # Pixels that lie apart in memory are the same pixels.
    for given_images in (images, images.mT.contiguous().mT):
        mixed = assemble(given_images, index, mask, *sources, **how)
        torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-6 if any(n is not None for n in noise) else 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembling_module, "host_may_read", lambda tensor: False)
        assert torch.equal(assemble(images, index, mask, *sources, **how), mixed)


def test_a_row_that_is_its_own_partner_comes_back_bit_for_bit_wherever_its_blocks_would_go():
    # Uneven saliency, for which blocks of others move.
    images, saliency = torch.rand(6, 3, 16, 16), torch.rand(6, 16, 16) ** 8
    index, lam = torch.tensor([0, 2, 1, 3, 5, 4]), torch.tensor([0.3, 0.5, 0.5, 1.0, 1.0, 0.5])
    for noise in (None, (torch.rand(images.shape), torch.rand(images.shape))):
        mixed, weight, _ = puzzle_mix(images, saliency, index, lam, block_num=8, t_size=1, t_eps=0.01, noise=noise)
        assert torch.equal(mixed[[0, 3, 4]], images[[0, 3, 4]]) and weight[[0, 3, 4]].eq(1).all()
        assert not torch.equal(mixed[[1, 2, 5]], images[[1, 2, 5]])


# ---- refused, and what a device must not wait for ----


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"gamma": 1.5}, r"`gamma` must lie in \[0, 1\], got 1.5: .* raise `beta` instead"),
        ({"gamma": -0.1}, "`gamma` must be a finite number >= 0, got -0.1"),
        ({"beta": -1.0}, "`beta` must be a finite number >= 0, got -1.0"),
        ({"beta": float("nan")}, "`beta` must be a finite number >= 0, got nan"),
        ({"eta": float("inf")}, "`eta` must be a finite number >= 0, got inf"),
        ({"t_eps": -0.8}, "`t_eps` must be a finite number >= 0, got -0.8"),
        ({"n_labels": 1}, r"`n_labels` must be at least 2 .*, got 1"),
        ({"neigh_size": 0}, "`neigh_size` must be at least 1 pixel, got 0"),
        ({"t_size": 0}, '`t_size` must be None .*, -1 .*, "auto" or a side in pixels, got 0'),
        ({"t_size": -2}, "`t_size` must be None .*, got -2"),
        ({"t_size": "block"}, "`t_size` must be None .*, \"auto\" or a side in pixels, got 'block'"),
        ({"block_num": 0}, "`block_num` must be at least 1, got 0"),
        (
            {"block_num": 3},
            r"`block_num=3` does not divide both sides of images of 8 x 8. Of \(2, 4, 8, 16\), \[2, 4, 8\] do",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_wrong_numbers_are_named(arguments, message):
    batch = torch.rand(2, 3, 8, 8), torch.rand(2, 8, 8), torch.tensor([1, 0]), torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=message):
        puzzle_mix(*batch, **{"block_num": 2, **arguments})


@pytest.mark.parametrize("t_size", [None, -1, 2])
def test_nothing_waits_for_the_device(monkeypatch, t_size):
    # A tensor without values cannot be read. What the cut reads is its own business.
    monkeypatch.setattr(
        puzzle_module, "solve_grid_cut", lambda unary, *weights: torch.zeros_like(unary[..., 0], dtype=torch.int64)
    )
    images, saliency = torch.ones(2, 3, 16, 16, device="meta"), torch.ones(2, 16, 16, device="meta")
    index, lam = torch.ones(2, dtype=torch.int64, device="meta"), torch.ones(2, device="meta")
    statistics = {"mean": torch.zeros(3, device="meta"), "std": torch.ones(3, device="meta")}
    mixed, weight, mask = puzzle_mix(
        images, saliency, index, lam, block_num=4, t_size=t_size, noise=(images, images), **statistics
    )
    assert mixed.shape == images.shape and weight.shape == (2,) and mask.shape == (2, 4, 4)
