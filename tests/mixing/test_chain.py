"""Labels on chains against all labellings of short ones, a maximum flow and a plain loop on long ones, and themselves."""

import itertools
from functools import lru_cache

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_flow

from mixtext_hf.mixing.chain import chain_energy, solve_chain


def same(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=0, atol=0)


@lru_cache(maxsize=64)
def all_labellings(length, n_labels):
    """In lexicographic order."""
    return np.array(list(itertools.product(range(n_labels), repeat=length)), dtype=np.int64)


def energies(labels, unary, pairwise, linked):
    """Of labels `(N, T)`, given the arrays of one row."""
    cost = unary[np.arange(len(unary)), labels].sum(1)
    between = pairwise[np.arange(len(linked)), labels[:, :-1], labels[:, 1:]]
    return cost + (between * linked).sum(1)


def least_energy_of_a_loop(unary, pairwise, linked):
    """From the first position to the last, one row."""
    best = unary[0]
    for i in range(1, len(unary)):
        arriving = (best[:, None] + pairwise[i - 1]).min(0) if linked[i - 1] else best.min()
        best = unary[i] + arriving
    return best.min()


def smallest_cut(unary, weights):
    """The least energy of two labels on one linked chain, integers, `weights[i] |l_i - l_{i+1}|`: the value of a maximum flow."""
    length = len(unary)
    source, sink = length, length + 1
    low = unary.min(1)
    # A position on the source's side has label 0, and cutting it off from the sink costs label 0.
    arcs = [(source, i, unary[i, 1] - low[i]) for i in range(length)]
    arcs += [(i, sink, unary[i, 0] - low[i]) for i in range(length)]
    arcs += [(i, i + 1, weights[i]) for i in range(length - 1)] + [(i + 1, i, weights[i]) for i in range(length - 1)]
    tails, heads, capacities = zip(*arcs, strict=True)
    network = csr_matrix((np.array(capacities, np.int32), (tails, heads)), shape=(length + 2, length + 2))
    return maximum_flow(network, source, sink).flow_value + low.sum()


@st.composite
def problems(draw, lengths, n_labels):
    """Integers as floats or not, with ties where they are small; links missing here and there."""
    length, n_labels = draw(lengths), draw(n_labels)
    batch_size = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    largest = draw(st.sampled_from([0, 1, 3, 1000]))
    unary = rng.integers(-largest, largest + 1, (batch_size, length, n_labels))
    shape = (batch_size, length - 1, n_labels, n_labels)
    label = np.arange(n_labels)
    pairwise = {
        "any": rng.integers(-largest, largest + 1, shape),
        "squares": rng.integers(0, largest + 1, (*shape[:2], 1, 1)) * (label[:, None] - label) ** 2,
        "nothing": np.zeros(shape, np.int64),
    }[draw(st.sampled_from(["any", "squares", "nothing"]))]
    linked = rng.random(shape[:2]) < draw(st.sampled_from([0.0, 0.7, 1.0]))
    scale = draw(st.sampled_from([None, 1.0, 0.25]))
    costs = [torch.from_numpy(cost) for cost in (unary, pairwise)]
    if scale is not None:
        costs = [cost.float() * scale for cost in costs]
    return *costs, torch.from_numpy(linked)


@given(problems(st.integers(1, 8), st.integers(2, 4)))
@examples(deep=200)
def test_of_all_labellings_it_is_the_first_of_least_cost(problem):
    labels = solve_chain(*problem)
    for row, arrays in zip(labels, zip(*(part.numpy() for part in problem), strict=True), strict=True):
        every = all_labellings(len(row), arrays[0].shape[1])
        same(row, every[energies(every, *arrays).argmin()])


@pytest.mark.parametrize("n_labels", [2, 3, 4])
def test_every_length_up_to_eight_against_all_labellings(n_labels):
    rng = np.random.default_rng(n_labels)
    for length in range(1, 9):
        unary = rng.standard_normal((2, length, n_labels))
        pairwise = rng.standard_normal((2, length - 1, n_labels, n_labels))
        linked = np.ones((2, length - 1), bool)
        labels = solve_chain(*map(torch.from_numpy, (unary, pairwise, linked)))
        every = all_labellings(length, n_labels)
        for row in range(2):
            same(labels[row], every[energies(every, unary[row], pairwise[row], linked[row]).argmin()])


@pytest.mark.parametrize("most", [0, 20, 1000])
@pytest.mark.parametrize("length", [1, 17, 200])
def test_two_labels_on_a_long_chain_cost_what_the_smallest_cut_costs(length, most):
    rng = np.random.default_rng(length + most)
    unary = rng.integers(-100, 101, (3, length, 2))
    weights = rng.integers(0, most + 1, (3, length - 1))
    pairwise = weights[..., None, None] * (1 - np.eye(2, dtype=np.int64))
    problem = [torch.from_numpy(cost) for cost in (unary, pairwise, np.ones((3, length - 1), bool))]
    energy = chain_energy(solve_chain(*problem), *problem)
    same(energy, np.array([smallest_cut(unary[row], weights[row]) for row in range(3)]))


@given(problems(st.integers(20, 200), st.integers(2, 6)))
@examples(deep=50)
def test_a_long_chain_costs_what_a_plain_loop_finds(problem):
    energy = chain_energy(solve_chain(*problem), *problem)
    for row, (unary, pairwise, linked) in enumerate(zip(*(part.numpy() for part in problem), strict=True)):
        assert energy[row] == least_energy_of_a_loop(unary, pairwise, linked)


@given(problems(st.integers(1, 40), st.integers(2, 4)), st.integers(0, 2**32 - 1))
@examples(deep=50)
def test_order_of_rows_and_what_stands_around_change_nothing(problem, seed):
    unary, pairwise, linked = problem
    rng = np.random.default_rng(seed)
    labels = solve_chain(*problem)
    order = torch.from_numpy(rng.permutation(len(unary)))
    same(solve_chain(unary[order], pairwise[order], linked[order]), labels[order])
    same(solve_chain(*(part[-1:] for part in problem)), labels[-1:])

    before, behind = rng.integers(0, 9, 2)
    around = []
    for part in (unary, pairwise):
        noise = [torch.from_numpy(rng.integers(-9, 9, (len(part), n, *part.shape[2:]))) for n in (before, behind)]
        around.append(torch.cat([noise[0].to(part), part, noise[1].to(part)], dim=1))
    around.append(torch.nn.functional.pad(linked, (int(before), int(behind))))
    same(solve_chain(*around)[:, before : before + unary.shape[1]], labels)


def test_sums_along_the_chain_are_not_rounded_by_what_is_not_linked():
    # In one sum with 1e30 the first position would lose its preference.
    unary = torch.tensor([[[0.0, -1e-3], [1e30, 1e30], [0.0, 0.0]]])
    links = torch.tensor([[False, False]])
    same(solve_chain(unary, torch.zeros(1, 2, 2, 2), links), [[1, 0, 0]])


def test_many_small_costs_add_up():
    # Behind the first position label 1 is cheaper by 2e-5 everywhere, by 0.08 in all: more than the one change costs.
    unary = torch.tensor([1.0, 1.0 - 2e-5]).repeat(1, 4000, 1)
    unary[:, 0] = torch.tensor([0.0, 10.0])
    pairwise = torch.tensor([[0.0, 0.07], [0.07, 0.0]]).expand(1, 3999, 2, 2)
    same(solve_chain(unary, pairwise, torch.ones(1, 3999, dtype=torch.bool)), [[0] + [1] * 3999])


def test_costs_of_half_precision_are_taken_as_they_are():
    unary, pairwise = torch.rand(2, 9, 3).bfloat16(), torch.rand(2, 8, 3, 3).bfloat16()
    linked = torch.ones(2, 8, dtype=torch.bool)
    same(solve_chain(unary, pairwise, linked), solve_chain(unary.double(), pairwise.double(), linked))


def test_one_position_one_label_and_no_row():
    none = torch.ones(1, 0, dtype=torch.bool)
    same(solve_chain(torch.tensor([[[3, 1, 1]]]), torch.zeros(1, 0, 3, 3), none), [[1]])
    same(solve_chain(torch.zeros(1, 4, 1), torch.zeros(1, 3, 1, 1), torch.ones(1, 3, dtype=torch.bool)), [[0] * 4])
    assert solve_chain(torch.zeros(0, 4, 2), torch.zeros(0, 3, 2, 2), torch.ones(0, 3).bool()).shape == (0, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("unary", torch.zeros(2, 3)), r"`unary` must have shape \(B, T, n_labels\).*got \(2, 3\)"),
        (("unary", torch.zeros(2, 0, 2)), "at least one position"),
        (("unary", torch.zeros(2, 3, 2, dtype=torch.bool)), "`unary` must be floating or integer"),
        (("unary", torch.full((2, 3, 2), torch.nan)), "`unary` must be finite, got nan"),
        (("pairwise", torch.zeros(2, 2)), r"`pairwise` must have shape \(2, 2, 2, 2\).*expand"),
        (("pairwise", torch.full((2, 2, 2, 2), torch.inf)), "`pairwise` must be finite, got inf"),
        (("linked", torch.ones(2, 2)), "`linked` must be bool"),
        (("linked", torch.ones(2, 3, dtype=torch.bool)), r"`linked` must be bool of shape \(2, 2\)"),
    ],
)
def test_what_is_no_chain_is_said(change, message):
    problem = {
        "unary": torch.zeros(2, 3, 2),
        "pairwise": torch.zeros(2, 2, 2, 2),
        "linked": torch.ones(2, 2, dtype=torch.bool),
    }
    with pytest.raises(ValueError, match=message):
        solve_chain(**{**problem, change[0]: change[1]})


def test_the_energy_of_other_labels_is_not_asked_for():
    problem = (torch.zeros(2, 3, 2), torch.zeros(2, 2, 2, 2), torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"`labels` must be int64 of shape \(2, 3\)"):
        chain_energy(torch.zeros(2, 2, dtype=torch.int64), *problem)
