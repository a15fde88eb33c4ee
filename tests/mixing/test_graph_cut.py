"""The cut against the official code, all labellings of small grids, dynamic programming on long chains, and itself."""

import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

import mixtext_hf.mixing.graph_cut as graph_cut_module
from mixtext_hf.mixing.graph_cut import grid_energy, solve_grid_cut


SOLVERS = ["maxflow", "dual"]
# What the batched solver may lose, of the sum of all ranges of costs and all weights.
DUAL_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def official():
    """Problems and results of the official code, see CREDITS.md."""
    path = Path(__file__).parents[1] / "fixtures" / "puzzlemix" / "grid_cuts.npz"
    with np.load(path) as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def tensors(*costs):
    return tuple(torch.as_tensor(cost) for cost in costs)


def same(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=0, atol=0)


def size_of_costs(unary, weight_x, weight_y):
    """The sum of all ranges of costs and all weights of each image."""
    unary = unary.double()
    ranges = unary.amax(-1) - unary.amin(-1)
    return ranges.sum((1, 2)) + weight_x.double().sum((1, 2)) + weight_y.double().sum((1, 2))


def lost(labels, best, costs):
    """What each image of `labels` costs more than `best`, as a share of all its costs."""
    loss = grid_energy(labels, *costs) - grid_energy(best, *costs)
    return loss / size_of_costs(*costs).clamp(min=1e-300)


def energy_times_squares(labels, unary, weight_x, weight_y):
    """`(n_labels - 1)^2` times the energy of `labels` `(..., h, w)`, given the arrays of one image."""
    row, column = np.indices(labels.shape[-2:])
    cost = (unary.shape[-1] - 1) ** 2 * unary[row, column, labels].sum((-2, -1))
    cost = cost + (weight_x * np.diff(labels, axis=-2) ** 2).sum((-2, -1))
    return cost + (weight_y * np.diff(labels, axis=-1) ** 2).sum((-2, -1))


@lru_cache(maxsize=64)
def all_labellings(height, width, n_labels):
    return np.array(list(itertools.product(range(n_labels), repeat=height * width))).reshape(-1, height, width)


def least_energy_of_a_chain(unary, weights):
    """`(n_labels - 1)^2` times the least energy of `unary` `(n, n_labels)`, from one end to the other."""
    labels = np.arange(unary.shape[1])
    squares, jumps = (len(labels) - 1) ** 2, (labels[:, None] - labels) ** 2
    best = squares * unary[0]
    for costs, weight in zip(unary[1:], weights, strict=True):
        best = squares * costs + (best[:, None] + weight * jumps).min(axis=0)
    return best.min()


@st.composite
def problems(draw, sizes, n_labels):
    """Integer costs, with ties where they are small, from no smoothness at all to nothing but."""
    height, width = draw(sizes)
    batch_size, n_labels = draw(st.integers(1, 3)), draw(n_labels)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    largest = draw(st.sampled_from([1, 2, 1000]))
    unary = rng.integers(-largest, largest + 1, (batch_size, height, width, n_labels))
    shape = draw(st.sampled_from(["any", "linear", "few", "checkerboard"]))
    if shape in ("linear", "checkerboard"):
        unary = unary[..., :1] * np.arange(n_labels)
    if shape == "checkerboard":
        unary = np.abs(unary) * (-1) ** np.indices((height, width)).sum(0)[..., None]
    elif shape == "few":
        unary *= rng.random((batch_size, height, width, 1)) < 0.1
    most = round(draw(st.sampled_from([0.0, 0.2, 1.0, 4.0, 100.0])) * largest)
    present = draw(st.sampled_from([0.3, 1.0]))
    sizes = (batch_size, height - 1, width), (batch_size, height, width - 1)
    weights = [rng.integers(0, most + 1, size) * (rng.random(size) < present) for size in sizes]
    return tensors(unary, *weights)


def grids(side):
    return st.tuples(st.integers(1, side), st.integers(1, side))


@st.composite
def small_problems(draw):
    """So few labels on so few blocks that all labellings can be listed."""
    height, width = draw(grids(3))
    return draw(problems(st.just((height, width)), st.integers(2, 3 if height * width == 9 else 5)))


# ---- the official numbers ----


@pytest.mark.parametrize("n_labels", [2, 3])
@pytest.mark.parametrize("block_num", [2, 4, 8, 16])
def test_no_image_costs_more_than_with_the_official_labels(official, block_num, n_labels):
    name, squares = f"b{block_num}_l{n_labels}", (n_labels - 1) ** 2
    # 4 values of lambda, 8 pairs of images each, in integers as the official code hands them to its solver.
    weights = [official[f"b{block_num}_{weight}"].repeat(4, 1, 1) for weight in ("weight_x", "weight_y")]
    costs = (official[f"{name}_unary"], *weights)
    official_energy, least_energy = official[f"{name}_energy"].double(), official[f"{name}_least_energy"].double()
    same(squares * grid_energy(official[f"{name}_labels"].long(), *costs), official_energy)
    assert bool((least_energy <= official_energy).all())
    for solver in SOLVERS:
        same(squares * grid_energy(solve_grid_cut(*costs, solver=solver), *costs), least_energy)


# ---- the exact solver ----


@examples(150)
@given(small_problems())
def test_integer_costs_are_solved_exactly_and_the_lowest_of_the_best_labellings_is_taken(costs):
    labels = solve_grid_cut(*costs, solver="maxflow")
    assert labels.dtype == torch.int64
    for image, *arrays in zip(labels, *(cost.numpy() for cost in costs), strict=True):
        labellings = all_labellings(*arrays[0].shape)
        energies = energy_times_squares(labellings, *arrays)
        same(image, labellings[energies == energies.min()].min(axis=0))


@examples(50)
@given(problems(st.tuples(st.just(1), st.integers(1, 60)), st.integers(2, 9)))
def test_long_chains_of_many_labels_are_solved_exactly(costs):
    unary, nothing, weight = costs
    chains = zip(unary[:, 0].numpy(), weight[:, 0].numpy(), strict=True)
    least = [least_energy_of_a_chain(*chain) for chain in chains]
    upright = (unary.transpose(1, 2), weight.transpose(1, 2), nothing.transpose(1, 2))
    for direction in (costs, upright):
        energy = grid_energy(solve_grid_cut(*direction, solver="maxflow"), *direction)
        same(((unary.shape[-1] - 1) ** 2 * energy).round(), torch.tensor(least).double())


@examples(100)
@given(
    small_problems(),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    st.floats(-30, 30),
    st.integers(0, 2**32 - 1),
)
def test_floating_costs_are_solved_within_their_rounding(costs, dtype, exponent, seed):
    generator = torch.Generator().manual_seed(seed)
    scale = 10 ** (exponent / 10 - 5 if dtype == torch.float16 else exponent)
    noise = [0.5 + torch.rand(cost.shape, generator=generator, dtype=torch.float64) for cost in costs]
    costs = [(scale * cost * factor).to(dtype) for cost, factor in zip(costs, noise, strict=True)]
    labels = solve_grid_cut(*costs, solver="maxflow").numpy()
    for image, *arrays in zip(labels, *(cost.double().numpy() for cost in costs), strict=True):
        energies = energy_times_squares(all_labellings(*arrays[0].shape), *arrays)
        # Each price of a label and each weight is rounded, as often as it counts for one labelling but not the other.
        height, width, n_labels = arrays[0].shape
        largest, n_pairs = n_labels - 1, arrays[1].size + arrays[2].size
        roundings = largest * height * width + largest**2 * n_pairs
        bound = roundings * 2**-29 * most_that_meets_in_a_block(*arrays)
        assert energy_times_squares(image, *arrays) <= energies.min() + 1.001 * bound


def most_that_meets_in_a_block(unary, weight_x, weight_y):
    most = np.abs(np.diff(unary)).sum(-1)
    most[:-1] += weight_x
    most[1:] += weight_x
    most[:, :-1] += weight_y
    most[:, 1:] += weight_y
    return (unary.shape[-1] - 1) ** 2 * most.max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_decides_may_be_smaller_than_the_resolution_of_float32(dtype):
    """Two blocks that must agree: the first gains 1 - 4e-8 from label 1, the second loses 1 - 6e-8."""
    unary = torch.tensor([[[1.0, 4e-8], [0.0, 1 - 2**-24]]], dtype=dtype).unsqueeze(0)
    nothing, weight = torch.zeros(1, 0, 2), torch.full((1, 1, 1), 2.0)
    same(solve_grid_cut(unary, nothing, weight), [[[1, 1]]])
    same(solve_grid_cut(-unary, nothing, weight), [[[0, 0]]])


def test_costs_are_rounded_to_the_nearest():
    """In costs as large as these one is what can be told apart."""
    # Six blocks that must agree, by less than one for each of them.
    unary, weight = torch.zeros(1, 1, 6, 2, dtype=torch.float64), torch.full((1, 1, 5), 2.1e8, dtype=torch.float64)
    unary[..., :5, 1], unary[..., 5, 1] = -4e7 - 0.99, 5 * 4e7
    same(solve_grid_cut(unary, torch.zeros(1, 0, 6), weight), torch.ones(1, 1, 6, dtype=torch.int64))
    # The middle of a cross, whose neighbours cannot follow it: it gains less than they ask for.
    unary = torch.full((1, 3, 3, 2), 3e8, dtype=torch.float64)
    unary[..., 0] = 0
    unary[:, 1, 1, 1] = -4 * 2e7 - 1
    weight = torch.full((1, 2, 3), 2e7 + 0.99, dtype=torch.float64)
    same(solve_grid_cut(unary, weight, weight.mT), torch.zeros(1, 3, 3, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_any_type_of_integers(dtype, solver):
    generator = torch.Generator().manual_seed(0)
    # 200 is more than an int8 holds; differences of bytes are negative as often as not.
    most = 120 if dtype == torch.int8 else 200
    sizes = (8, 4, 5, 3), (8, 3, 5), (8, 4, 4)
    costs = [torch.randint(0, most, size, generator=generator) for size in sizes]
    expected = solve_grid_cut(*(cost.double() for cost in costs), solver=solver)
    assert len(expected.unique()) == 3
    same(solve_grid_cut(*(cost.to(dtype) for cost in costs), solver=solver), expected)


@examples(50)
@given(problems(grids(5), st.integers(2, 4)), st.integers(0, 2**32 - 1))
def test_what_all_labels_of_a_block_cost_does_not_matter(costs, seed):
    unary, *weights = costs
    generator = torch.Generator().manual_seed(seed)
    constant = torch.randint(-(2**61), 2**61, unary.shape[:3], generator=generator).unsqueeze(-1)
    for solver in SOLVERS:
        same(solve_grid_cut(unary + constant, *weights, solver=solver), solve_grid_cut(unary, *weights, solver=solver))


# ---- the batched solver ----


@examples(120)
@given(problems(grids(16), st.integers(2, 4)))
def test_the_batched_solver_loses_less_than_a_thousandth(costs):
    best = solve_grid_cut(*costs, solver="maxflow")
    share = lost(solve_grid_cut(*costs, solver="dual"), best, costs)
    assert bool((share <= DUAL_TOLERANCE).all())
    # The exact one is never the worse of the two.
    assert bool((share >= -1e-12).all())


def test_nothing_waits_for_the_device(monkeypatch):
    # A tensor without values cannot be read. It is slow, and one iteration is like the other.
    monkeypatch.setattr(graph_cut_module, "dual_iterations", lambda height, width: 2)
    unary, weight = torch.ones(2, 4, 4, 3, device="meta"), torch.ones(2, 3, 4, device="meta")
    for solver in ("auto", "dual"):
        labels = solve_grid_cut(unary, weight, weight.mT, solver=solver)
        assert labels.shape == (2, 4, 4) and labels.dtype == torch.int64 and labels.device.type == "meta"


def along(path, size, strength, beside):
    """Weights of `strength` between the blocks of `path`, one after the other, and of `beside` between all others."""
    height, width = size
    weight_x, weight_y = torch.full((height - 1, width), beside), torch.full((height, width - 1), beside)
    for (row, column), (next_row, next_column) in itertools.pairwise(path):
        if row == next_row:
            weight_y[row, min(column, next_column)] = strength
        else:
            weight_x[min(row, next_row), column] = strength
    return weight_x, weight_y


def snake(size):
    height, width = size
    return [(row, column if row % 2 == 0 else width - 1 - column) for row in range(height) for column in range(width)]


def spiral(size):
    """From the upper left corner along the border to the middle."""
    path, left = [], np.stack(np.indices(size), axis=-1)
    while left.size:
        path += left[0].tolist()
        left = np.rot90(left[1:])
    return path


# Seeds at which a solver that takes fewer or smaller steps loses more.
@pytest.mark.parametrize(
    "size, n_labels, n_decided, seed",
    [
        ((2, 16), 3, 2, 0),
        ((8, 8), 3, 6, 0),
        ((8, 8), 4, 2, 0),
        ((12, 12), 3, 4, 2),
        ((12, 12), 4, 4, 1),
        ((16, 16), 2, 2, 0),
        ((16, 16), 3, 4, 2),
        ((16, 16), 3, 6, 0),
    ],
)
def test_what_must_go_a_long_way(size, n_labels, n_decided, seed):
    """Smoothness along a path that winds through the grid, at a few blocks of which the labels are decided."""
    generator = torch.Generator().manual_seed(seed)
    problems = []
    for find_path, strength, beside in itertools.product((snake, spiral), (0.1, 0.3, 1.0, 3.0), (0.0, 0.001, 0.05)):
        path, unary = find_path(size), torch.zeros(*size, n_labels)
        for decided in torch.linspace(0, len(path) - 1, n_decided).round().long():
            unary[tuple(path[decided])] = torch.randn(n_labels, generator=generator)
        problems.append((unary, *along(path, size, strength, strength * beside)))
    costs = [torch.stack(cost) for cost in zip(*problems, strict=True)]
    labels = solve_grid_cut(*costs, solver="dual")
    assert lost(labels, solve_grid_cut(*costs, solver="maxflow"), costs).max() <= DUAL_TOLERANCE
    # Whatever is wrong, one label everywhere is not better.
    assert bool((grid_energy(labels, *costs) <= costs[0].double().sum((1, 2)).amin(-1) + 1e-5).all())


# ---- both ----


def rotated(unary, weight_x, weight_y):
    return unary.rot90(1, (1, 2)), weight_y.rot90(1, (1, 2)), weight_x.rot90(1, (1, 2))


def transposed(unary, weight_x, weight_y):
    return unary.transpose(1, 2), weight_y.mT, weight_x.mT


def with_labels_reversed(unary, weight_x, weight_y):
    return unary.flip(-1), weight_x, weight_y


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("view", [rotated, transposed, with_labels_reversed])
def test_no_direction_is_special(solver, view):
    @examples(25)
    @given(problems(grids(7), st.integers(2, 4)))
    def check(costs):
        energy = grid_energy(solve_grid_cut(*costs, solver=solver), *costs)
        seen = view(*costs)
        seen_energy = grid_energy(solve_grid_cut(*seen, solver=solver), *seen)
        tolerance = {"maxflow": 1e-12, "dual": DUAL_TOLERANCE}[solver]
        assert bool(((energy - seen_energy).abs() <= tolerance * size_of_costs(*costs)).all())

    check()


@pytest.mark.parametrize("solver", SOLVERS)
def test_images_do_not_depend_on_each_other(solver):
    # Among them images without any preference, and some whose costs are 1e24 times those of others.
    generator = torch.Generator().manual_seed(0)
    magnitude = 10.0 ** torch.tensor([0, -12, 12, 0, 3, -3, 0, 0, 9, -9]).view(-1, 1, 1, 1)
    magnitude[3] = 0
    costs = [
        magnitude.view(-1, *[1] * (len(size) - 1)) * torch.rand(size, generator=generator)
        for size in ((10, 8, 8, 3), (10, 7, 8), (10, 8, 7))
    ]
    together = solve_grid_cut(*costs, solver=solver)
    assert len(together[magnitude.flatten() > 0].unique()) == 3
    for i in range(10):
        same(solve_grid_cut(*(cost[i : i + 1] for cost in costs), solver=solver), together[i : i + 1])
    order = torch.randperm(10, generator=generator)
    same(solve_grid_cut(*(cost[order] for cost in costs), solver=solver), together[order])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("exponent", [-100, -24, 24, 100])
def test_the_unit_of_the_costs_does_not_matter(solver, exponent):
    generator = torch.Generator().manual_seed(0)
    costs = [torch.rand(size, generator=generator) for size in ((4, 8, 8, 3), (4, 7, 8), (4, 8, 7))]
    expected = solve_grid_cut(*costs, solver=solver)
    same(solve_grid_cut(*(cost * 2.0**exponent for cost in costs), solver=solver), expected)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (16, 16), (24, 32)], ids=str)
def test_without_smoothness_every_block_decides_and_with_nothing_else_all_decide_together(solver, size):
    generator = torch.Generator().manual_seed(0)
    height, width = size
    unary = torch.rand(3, height, width, 3, generator=generator)
    weights = torch.ones(3, height - 1, width), torch.ones(3, height, width - 1)
    same(solve_grid_cut(unary, *(0 * weight for weight in weights), solver=solver), unary.argmin(-1))
    together = unary.sum((1, 2)).argmin(-1).view(3, 1, 1).expand(3, *size)
    same(solve_grid_cut(unary, *(1e9 * weight for weight in weights), solver=solver), together)
    # Nobody prefers anything.
    same(solve_grid_cut(0 * unary + 0.3, *weights, solver=solver), torch.zeros(3, *size, dtype=torch.int64))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_may_be_empty(solver):
    labels = solve_grid_cut(torch.rand(0, 4, 4, 3), torch.rand(0, 3, 4), torch.rand(0, 4, 3), solver=solver)
    assert labels.shape == (0, 4, 4) and labels.dtype == torch.int64


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32], ids=str)
def test_nothing_is_changed_and_no_gradient_is_tracked(solver, dtype):
    costs = [(100 * torch.rand(size)).to(dtype) for size in ((2, 5, 6, 3), (2, 4, 6), (2, 5, 5))]
    costs = [cost.requires_grad_(cost.is_floating_point()) for cost in costs]
    copies = [cost.detach().clone() for cost in costs]
    labels = solve_grid_cut(*costs, solver=solver)
    energy = grid_energy(labels, *costs)
    assert not labels.requires_grad and not energy.requires_grad
    assert all(torch.equal(*pair) for pair in zip(costs, copies, strict=True))


def test_on_the_cpu_the_exact_solver_is_the_default(monkeypatch):
    called = []
    for name in SOLVERS:
        monkeypatch.setattr(
            graph_cut_module, f"_solve_{name}", lambda *costs, name=name: called.append(name) or costs[0]
        )
    costs = torch.rand(1, 2, 2, 2), torch.rand(1, 1, 2), torch.rand(1, 2, 1)
    for arguments in ({}, {"solver": "auto"}, {"solver": "maxflow"}, {"solver": "dual"}):
        solve_grid_cut(*costs, **arguments)
    assert called == ["maxflow", "maxflow", "maxflow", "dual"]


# ---- the energy ----


@examples(50)
@given(problems(grids(5), st.integers(2, 5)), st.sampled_from([1, 0.1]), st.integers(0, 2**32 - 1))
def test_the_energy_equals_a_loop(costs, unit, seed):
    # Float32 where the unit is 0.1, summed in double precision all the same.
    unary, weight_x, weight_y = costs = [unit * cost for cost in costs]
    batch_size, height, width, n_labels = unary.shape
    labels = torch.randint(n_labels, unary.shape[:3], generator=torch.Generator().manual_seed(seed))
    energies = grid_energy(labels, *costs)
    assert energies.dtype == torch.float64 and energies.shape == (batch_size,)
    for image in range(batch_size):
        expected = 0.0
        for i, j in itertools.product(range(height), range(width)):
            label = int(labels[image, i, j])
            expected += float(unary[image, i, j, label])
            if i + 1 < height:
                expected += (
                    float(weight_x[image, i, j]) * ((label - int(labels[image, i + 1, j])) / (n_labels - 1)) ** 2
                )
            if j + 1 < width:
                expected += (
                    float(weight_y[image, i, j]) * ((label - int(labels[image, i, j + 1])) / (n_labels - 1)) ** 2
                )
        assert float(energies[image]) == pytest.approx(expected, rel=1e-12, abs=1e-9)


# ---- wrong costs ----


def replaced(tensor, value):
    tensor = tensor.clone()
    tensor[(0,) * tensor.dim()] = value
    return tensor


@pytest.mark.parametrize(
    "changes, messages",
    [
        ({"unary": torch.rand(4, 4, 3)}, ["`unary` must have shape (B, h, w, n_labels)", "got (4, 4, 3)"]),
        ({"unary": torch.rand(2, 4, 4, 1)}, ["`unary`", "two labels", "got (2, 4, 4, 1)"]),
        ({"unary": torch.rand(2, 0, 4, 3)}, ["`unary`", "at least one block", "got (2, 0, 4, 3)"]),
        ({"unary": torch.rand(2, 4, 0, 3)}, ["`unary`", "at least one block", "got (2, 4, 0, 3)"]),
        (
            {"weight_x": torch.rand(2, 4, 3)},
            ["`weight_x` must have shape (2, 3, 4)", "of `unary` (2, 4, 4, 3)", "got (2, 4, 3)"],
        ),
        ({"weight_y": torch.rand(2, 3, 4)}, ["`weight_y` must have shape (2, 4, 3)", "got (2, 3, 4)"]),
        ({"weight_y": torch.rand(1, 4, 3)}, ["`weight_y` must have shape (2, 4, 3)", "got (1, 4, 3)"]),
        ({"weight_x": torch.rand(2, 3, 4, 1)}, ["`weight_x` must have shape (2, 3, 4)", "got (2, 3, 4, 1)"]),
        ({"unary": torch.ones(2, 4, 4, 3, dtype=torch.bool)}, ["`unary` must be floating or integer", "torch.bool"]),
        ({"weight_x": torch.ones(2, 3, 4) + 1j}, ["`weight_x` must be floating or integer", "torch.complex64"]),
        ({"weight_y": torch.ones(2, 4, 3, dtype=torch.bool)}, ["`weight_y`", "torch.bool", "convert"]),
        ({"unary": float("nan")}, ["`unary` must be finite, got nan", "use a uniform one"]),
        ({"unary": float("-inf")}, ["`unary` must be finite, got -inf"]),
        ({"weight_x": float("nan")}, ["`weight_x` must be finite, got nan"]),
        ({"weight_y": float("inf")}, ["`weight_y` must be finite, got inf"]),
        ({"weight_x": -0.5}, ["`weight_x` must be >= 0, got -0.5", "lower gamma"]),
        ({"weight_y": -1e-7}, ["`weight_y` must be >= 0, got -1", "clamp the weights at 0"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("solver", ["auto", *SOLVERS])
def test_wrong_costs_are_named(solver, changes, messages):
    costs = {"unary": torch.rand(2, 4, 4, 3), "weight_x": torch.rand(2, 3, 4), "weight_y": torch.rand(2, 4, 3)}
    for name, value in changes.items():
        costs[name] = value if isinstance(value, torch.Tensor) else replaced(costs[name], value)
    for call in (
        lambda: solve_grid_cut(**costs, solver=solver),
        lambda: grid_energy(torch.zeros(2, 4, 4, dtype=torch.int64), **costs),
    ):
        with pytest.raises(ValueError) as raised:
            call()
        assert all(message in str(raised.value) for message in messages)


def test_negative_integer_weights_are_named():
    unary = torch.zeros(1, 2, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"`weight_y` must be >= 0, got -3\."):
        solve_grid_cut(unary, torch.zeros(1, 1, 2), torch.full((1, 2, 1), -3))


def test_unknown_solvers_are_named():
    with pytest.raises(ValueError, match=r"`solver` must be one of \('auto', 'maxflow', 'dual'\), got 'gco'"):
        solve_grid_cut(torch.rand(1, 2, 2, 2), torch.rand(1, 1, 2), torch.rand(1, 2, 1), solver="gco")


@pytest.mark.parametrize(
    "labels", [torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int32), torch.zeros(2, 4, 3, dtype=torch.int64)]
)
def test_labels_that_do_not_fit_are_named(labels):
    with pytest.raises(ValueError, match=r"`labels` must be int64 of shape \(2, 4, 4\)") as raised:
        grid_energy(labels, torch.rand(2, 4, 4, 3), torch.rand(2, 3, 4), torch.rand(2, 4, 3))
    assert f"got {labels.dtype} {tuple(labels.shape)}" in str(raised.value)
