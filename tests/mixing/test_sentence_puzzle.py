"""The puzzle of two sentences against the formula as a plain loop over all masks and over random ones, and what must hold for any."""

import itertools
import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

import mixtext_hf.mixing.sentence_puzzle as sentence_puzzle_module
from mixtext_hf.mixing.chain import chain_energy, solve_chain
from mixtext_hf.mixing.sentence_puzzle import seam_misfit, sentence_puzzle, token_shares


def equal(actual, expected, tolerance=0.0):
    torch.testing.assert_close(actual.double(), torch.as_tensor(expected).double(), rtol=0, atol=tolerance)


# ---- the formula, one row at a time ----


def shares_of(saliency, segments):
    total = sum(s for s, segment in zip(saliency, segments, strict=True) if segment > 0)
    number = sum(segment > 0 for segment in segments)
    return [
        (s / total if total > 0 else 1 / number) if segment > 0 else 0.0
        for s, segment in zip(saliency, segments, strict=True)
    ]


def roles(row, segments, real, index, pad, special, lam):
    """For each position `None` where the mask is chosen, else what it is."""
    result = []
    for own, other, own_real, other_real in zip(
        segments[row], segments[index[row]], real[row], real[index[row]], strict=True
    ):
        constant = 1 - lam[row] if special == "lam" else 0.0
        if own > 0 and other > 0:
            result.append(None)
        elif own_real and not other_real:
            result.append(0.0 if pad == "keep" else None if own > 0 else constant)
        elif other_real and not own_real:
            result.append(1.0 if pad == "keep" else None if other > 0 else constant)
        else:
            result.append(constant)
    return result


def misfit_of(h0, h1, i, norm):
    def d(u, v):
        return ((u - v) ** 2).sum() / (2 * norm)

    return d(h0[i], h1[i + 1]) - (d(h0[i], h0[i + 1]) + d(h1[i], h1[i + 1])) / 2


def energy(z, row, batch, options):
    """What the mask `z` of a row costs, by the formula of the file."""
    segments, index, lam = batch["segments"], batch["index"], batch["lam"]
    partner, m = index[row], options["n_labels"] - 1
    chosen = [role is None for role in batch["roles"][row]]
    s0, s1 = (shares_of(batch["saliency"][r], segments[r]) for r in (row, partner))
    norms = [
        sum((h**2).sum() for h, segment in zip(batch["hidden"][r], segments[r], strict=True) if segment > 0)
        / max(1, sum(segments[r] > 0))
        for r in (row, partner)
    ]
    total = 0.0
    for i, z_i in enumerate(z):
        if not chosen[i]:
            continue
        total += -(1 - z_i) * s0[i] - z_i * s1[i]
        label = round(z_i * m)
        p = math.comb(m, label) * lam[row] ** (m - label) * (1 - lam[row]) ** label
        total -= options["eta"] / sum(chosen) * math.log(p + 1e-8)
        one_segment = i + 1 < len(z) and all(segments[r][i] == segments[r][i + 1] for r in (row, partner))
        if one_segment and chosen[i + 1]:
            weight = 1.0
            if options["gamma"] and z[i + 1] != z_i:
                pair = (row, partner) if z[i + 1] > z_i else (partner, row)
                h0, h1 = (batch["hidden"][r] for r in pair)
                weight = max(0.0, 1 + options["gamma"] * misfit_of(h0, h1, i, np.mean(norms)))
            total += options["beta"] * weight * (z[i + 1] - z_i) ** 2
    return total


def problem(rng, length, batch_size, pad, special):
    """Sentences and pairs of any lengths, with special tokens or without, padded behind or before."""
    segments, real = np.zeros((2, batch_size, length), np.int64)
    shortest = rng.choice([1, length])
    for row in range(batch_size):
        end = rng.integers(shortest, length + 1)
        real[row, :end] = 1
        segments[row, :end] = 1
        is_pair, has_special = rng.random() < 0.5, rng.random() < 0.5
        middle = rng.integers(0, end)
        segments[row, middle:end] += is_pair
        if has_special:
            segments[row, [0, middle if is_pair else 0, end - 1]] = 0
        if rng.random() < 0.3:
            segments[row], real[row] = np.roll(segments[row], length - end), np.roll(real[row], length - end)
    saliency = rng.random((batch_size, length)) ** 2 * (rng.random((batch_size, 1)) < 0.9)
    batch = {
        "segments": segments,
        "saliency": saliency.astype(np.float32).astype(float),
        "index": rng.integers(0, batch_size, batch_size),
        "lam": rng.choice([0.0, 0.3, 0.5, 0.75, 0.9], batch_size),
        "hidden": rng.standard_normal((batch_size, length, 4)) * 10.0,
        "real": real,
    }
    batch["roles"] = [
        roles(row, segments, real, batch["index"], pad, special, batch["lam"]) for row in range(batch_size)
    ]
    return batch


def solved(batch, **options):
    return sentence_puzzle(
        torch.from_numpy(batch["saliency"]).float(),
        torch.from_numpy(batch["index"]),
        torch.from_numpy(batch["lam"]).float(),
        torch.from_numpy(batch["segments"]),
        attention_mask=torch.from_numpy(batch["real"]),
        hidden_states=torch.from_numpy(batch["hidden"]),
        **options,
    )


@st.composite
def cases(draw, lengths, n_labels):
    options = {
        "n_labels": draw(n_labels),
        "beta": draw(st.sampled_from([0.0, 0.03, 0.3])),
        "gamma": draw(st.sampled_from([0.0, 0.5, 2.0])),
        "eta": draw(st.sampled_from([0.0, 0.2, 1.0])),
        "pad": draw(st.sampled_from(["keep", "mix"])),
        "special": draw(st.sampled_from(["lam", "own"])),
    }
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return problem(rng, draw(lengths), draw(st.integers(2, 4)), options["pad"], options["special"]), options


@given(cases(st.integers(1, 7), st.integers(2, 4)))
@examples(deep=100)
def test_no_mask_costs_less_by_the_formula(case):
    batch, options = case
    z, _ = solved(batch, **options)
    values = [label / (options["n_labels"] - 1) for label in range(options["n_labels"])]
    for row, roles_of_row in enumerate(batch["roles"]):
        if batch["index"][row] == row:
            equal(z[row], np.zeros(len(roles_of_row)))
            continue
        every = list(itertools.product(*(values if role is None else [role] for role in roles_of_row)))
        fixed = torch.tensor([role is not None for role in roles_of_row])
        equal(z[row][fixed], np.array(every[0])[fixed.numpy()], 1e-6)
        step = max(1, len(every) // 300)
        least = min(energy(mask, row, batch, options) for mask in every[::step])
        found = energy(z[row].tolist(), row, batch, options)
        # The prior is that of float32.
        assert found <= least + 1e-6
        assert step > 1 or found >= least - 1e-6


def random_labels(rng, length, n_labels):
    """With few changes or many."""
    labels = rng.integers(0, n_labels, length)
    stays = rng.random(length) < rng.choice([0.0, 0.7, 1.0])
    for i in range(1, length):
        labels[i] = labels[i - 1] if stays[i] else labels[i]
    return labels


@given(cases(st.integers(1, 40), st.integers(2, 5)), st.integers(0, 2**32 - 1))
@examples(deep=400)
def test_every_mask_costs_what_the_formula_says(case, seed):
    batch, options = case
    rng = np.random.default_rng(seed)
    with patch.object(sentence_puzzle_module, "solve_chain", wraps=solve_chain) as solver:
        z, _ = solved(batch, **options)
    costs = solver.call_args.args
    least = chain_energy(solve_chain(*costs), *costs)
    for _ in range(3):
        labels = np.stack([random_labels(rng, z.shape[1], options["n_labels"]) for _ in z])
        found = chain_energy(torch.from_numpy(labels), *costs)
        for row, partner in enumerate(batch["index"]):
            if partner == row:
                continue
            by_formula = energy(labels[row] / (options["n_labels"] - 1), row, batch, options)
            # The prior and the distances of states are those of float32.
            equal(found[row], by_formula, 1e-5)
            assert energy(z[row].tolist(), row, batch, options) <= by_formula + 1e-5
            equal(least[row], energy(z[row].tolist(), row, batch, options), 1e-5)


# ---- the label weight ----


@given(cases(st.integers(1, 12), st.integers(2, 4)))
@examples(deep=100)
def test_the_label_weights_are_those_of_a_loop(case):
    batch, options = case
    (z, by_count), (_, by_saliency) = (solved(batch, **options, label_weight=name) for name in ("count", "saliency"))
    segments = batch["segments"]
    for row, partner in enumerate(batch["index"]):
        otherwise = batch["lam"][row] if options["special"] == "lam" and partner != row else 1.0
        s0, s1 = (shares_of(batch["saliency"][r], segments[r]) for r in (row, partner))
        counted = [
            1 - float(z_i)
            for z_i, own, other in zip(z[row], segments[row], segments[partner], strict=True)
            if own > 0 or other > 0
        ]
        count = float(np.mean(counted)) if counted else otherwise
        equal(by_count[row], count, 1e-6)
        kept = sum((1 - float(z_i)) * s for z_i, s in zip(z[row], s0, strict=True))
        taken = sum(float(z_i) * s for z_i, s in zip(z[row], s1, strict=True))
        equal(by_saliency[row], kept / (kept + taken) if kept + taken > 0 else count, 1e-6)


# ---- what must hold for any ----


@given(cases(st.integers(2, 30), st.integers(2, 4)), st.integers(0, 2**32 - 1))
@examples(deep=50)
def test_order_of_rows_and_padding_change_nothing(case, seed):
    batch, options = case
    rng = np.random.default_rng(seed)
    z, weight = solved(batch, **options)

    order = rng.permutation(len(z))
    moved = {name: batch[name][order] for name in ("segments", "saliency", "lam", "hidden", "real")}
    moved["index"] = np.argsort(order)[batch["index"][order]]
    z_moved, weight_moved = solved(moved, **options)
    equal(z_moved, z[order])
    equal(weight_moved, weight[order])

    before, behind = rng.integers(0, 20, 2)
    padded = dict(batch)
    for name in ("segments", "saliency", "real"):
        padded[name] = np.pad(batch[name], [(0, 0), (before, behind)])
    # What stands in the padding is nobody's.
    padded["saliency"][:, :before] = 7.0
    padded["hidden"] = np.pad(batch["hidden"], [(0, 0), (before, behind), (0, 0)], constant_values=3.0)
    z_padded, weight_padded = solved(padded, **options)
    equal(z_padded[:, before : before + z.shape[1]], z)
    equal(weight_padded, weight)


def sentences(*lengths, length=8):
    """Of [CLS], so many words and [SEP], padded: segments and attention mask."""
    segments, real = torch.zeros(2, len(lengths), length, dtype=torch.int64)
    for row, words in enumerate(lengths):
        segments[row, 1 : words + 1] = 1
        real[row, : words + 2] = 1
    return segments, real


def test_rows_that_are_their_own_partners_stay():
    segments, real = sentences(3, 5, 2)
    index, lam = torch.tensor([0, 2, 0]), torch.tensor([0.3, 1.0, 0.2])
    for label_weight in ("count", "saliency"):
        z, weight = sentence_puzzle(
            torch.rand(3, 8), index, lam, segments, attention_mask=real, label_weight=label_weight
        )
        equal(z[:2], torch.zeros(2, 8))
        equal(weight[:2], [1.0, 1.0])
        assert float(weight[2]) < 1


def test_a_batch_of_one_is_its_own_partner():
    segments, _ = sentences(4)
    z, weight = sentence_puzzle(torch.rand(1, 8), torch.tensor([0]), torch.tensor([0.5]), segments)
    equal(z, torch.zeros(1, 8))
    equal(weight, [1.0])


@pytest.mark.parametrize("label_weight", ["count", "saliency"])
@pytest.mark.parametrize(("special", "share", "kept"), [("lam", 0.75, 0.25), ("own", 0.0, 1.0)])
def test_special_tokens_alone_have_a_constant_share(special, share, kept, label_weight):
    nothing = torch.zeros(2, 5, dtype=torch.int64)
    z, weight = sentence_puzzle(
        torch.rand(2, 5),
        torch.tensor([1, 0]),
        torch.tensor([0.25, 0.25]),
        nothing,
        special=special,
        label_weight=label_weight,
    )
    equal(z, torch.full((2, 5), share))
    equal(weight, [kept, kept])


def test_without_saliency_all_tokens_are_alike_and_the_prior_decides():
    segments, _ = sentences(6, 6)
    for lam, expected in ((0.9, 0.0), (0.5, 0.5), (0.1, 1.0)):
        z, _ = sentence_puzzle(torch.zeros(2, 8), torch.tensor([1, 0]), torch.full((2,), lam), segments)
        equal(z[:, 1:7], torch.full((2, 6), expected))


def test_among_equals_the_original_stays():
    segments, _ = sentences(6, 6)
    z, weight = sentence_puzzle(torch.ones(2, 8), torch.tensor([1, 0]), torch.full((2,), 0.5), segments, eta=0.0)
    equal(z[:, 1:7], torch.zeros(2, 6))
    equal(weight, [1.0, 1.0])


def test_a_salient_span_is_kept_and_seams_cost():
    segments, _ = sentences(6, 6)
    saliency = torch.tensor([[5.0, 1, 1, 8, 8, 1, 1, 5], [5.0, 4, 4, 4, 4, 4, 4, 5]])
    index, lam = torch.tensor([1, 0]), torch.full((2,), 0.5)
    z, _ = sentence_puzzle(saliency, index, lam, segments, n_labels=2)
    equal(z[0, 1:7], [1, 1, 0, 0, 1, 1])
    # The span saves 2 (8/20 - 4/24) = 0.467 for two seams.
    z, _ = sentence_puzzle(saliency, index, lam, segments, n_labels=2, beta=0.24, eta=0.0)
    assert len(z[0, 1:7].unique()) == 1


def test_where_one_sentence_has_ended():
    segments, real = sentences(2, 6, length=9)
    index, lam = torch.tensor([1, 0]), torch.tensor([0.7, 0.7])

    def mask(**options):
        return sentence_puzzle(torch.ones(2, 9), index, lam, segments, attention_mask=real, **options)[0]

    # The short sentence's [SEP] stands at 3, the long one's at 7; 8 is padding of both.
    kept = mask(pad="keep")
    equal(kept[0, [0, 3]], [0.3, 0.3], 1e-7)
    equal(kept[0, 4:8], [1.0] * 4)
    equal(kept[1, 4:8], [0.0] * 4)
    # Padding has no saliency: without a prior every word of the long sentence is worth more.
    mixed = mask(pad="mix", eta=0.0)
    equal(mixed[0, 4:7], [1.0] * 3)
    equal(mixed[0, 7:], [0.3] * 2, 1e-7)
    # A strong one asks for the original, though it has ended.
    equal(mask(pad="mix", eta=20.0, n_labels=2)[0, 4:7], [0.0] * 3)


def test_the_two_segments_of_a_pair_are_two_chains():
    segments = torch.tensor([[0, 1, 1, 2, 2, 0]] * 2)
    saliency = torch.tensor([[0, 3.0, 3, 1, 1, 0], [0, 1.0, 1, 3, 3, 0]])
    z, _ = sentence_puzzle(saliency, torch.tensor([1, 0]), torch.full((2,), 0.5), segments, beta=100.0)
    equal(z[:, 1:5], [[0, 0, 1, 1], [1, 1, 0, 0]])


def test_a_seam_moves_to_where_the_states_fit():
    segments, _ = sentences(6, 6)
    saliency = torch.tensor([[0, 9.0, 9, 1, 1, 1, 1, 0], [0, 1.0, 1, 1, 1, 9, 9, 0]])
    index, lam = torch.tensor([1, 0]), torch.full((2,), 0.5)
    hidden = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0))
    for place in (3, 4):
        # Both sentences are of one piece, and only from `place` to the next the first runs on into the second.
        states = torch.stack([hidden[0, :1].expand(8, -1), hidden[1, :1].expand(8, -1)]).clone()
        states[1, place + 1] = states[0, place]
        z, _ = sentence_puzzle(saliency, index, lam, segments, hidden_states=states, gamma=1.0, n_labels=2)
        equal(z[0, 1:7], [float(i > place) for i in range(1, 7)])


def test_misfit_has_the_unit_of_a_cosine():
    # Each sentence repeats one of two orthogonal words, in any unit: a seam is as bad as neighbours without likeness.
    words = torch.eye(2) * 300
    misfit = seam_misfit(words.unsqueeze(1).expand(2, 3, 2), torch.tensor([1, 0]), torch.ones(2, 3, dtype=torch.bool))
    equal(misfit, torch.ones(2, 2, 2), 1e-6)
    equal(
        seam_misfit(torch.zeros(2, 3, 4), torch.tensor([1, 0]), torch.ones(2, 3, dtype=torch.bool)),
        torch.zeros(2, 2, 2),
    )


def test_shares_leave_out_special_tokens_and_what_says_nothing():
    segments = torch.tensor([[0, 1, 2, 0], [0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    saliency = torch.tensor(
        [[torch.nan, 1.0, 3.0, 9.0], [0.0, 0, 0, 0], [1, 1e-40, 1, 1], [1, 1, 1, 1], [1, torch.inf, 1, 1]]
    )
    shares = token_shares(saliency, segments)
    equal(shares, [[0, 0.25, 0.75, 0], [0, 1 / 3, 1 / 3, 1 / 3], [0, 1, 0, 0], [0] * 4, [0.25] * 4], 1e-7)


def test_the_host_reads_nothing_of_a_device():
    # Of a tensor without values nothing can be read.
    segments, real = (part.to("meta") for part in sentences(3, 5))
    z, weight = sentence_puzzle(
        torch.rand(2, 8, device="meta"),
        torch.zeros(2, dtype=torch.int64, device="meta"),
        torch.rand(2, device="meta"),
        segments,
        attention_mask=real,
        hidden_states=torch.rand(2, 8, 4, device="meta"),
        gamma=0.5,
        label_weight="saliency",
    )
    assert (z.shape, z.dtype, weight.shape, weight.dtype) == ((2, 8), torch.float32, (2,), torch.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_labels": 1}, "`n_labels` must be at least 2"),
        ({"beta": -0.1}, "`beta` must be a finite number >= 0, got -0.1"),
        ({"eta": math.nan}, "`eta` must be a finite number"),
        ({"gamma": 0.5}, "`gamma=0.5` weighs the smoothness of hidden states: give `hidden_states`"),
        ({"pad": "drop"}, "`pad` must be one of .*got 'drop'"),
        ({"special": "both"}, "`special` must be one of .*got 'both'"),
        ({"label_weight": "mass"}, "`label_weight` must be one of .*got 'mass'"),
        ({"segments": torch.ones(2, 8)}, "`segments` must be int64"),
        ({"saliency": torch.ones(2, 7)}, r"`saliency` must have shape \(2, 8\)"),
        ({"saliency": -torch.ones(2, 8)}, "`saliency` must be >= 0, got -1.0"),
        ({"lam": torch.ones(3)}, r"`lam` must have shape \(2,\)"),
        ({"attention_mask": torch.zeros(2, 8)}, "`segments` must be 0 where `attention_mask` is"),
        ({"hidden_states": torch.ones(2, 8)}, "`hidden_states` must have shape"),
        (
            {"hidden_states": torch.full((2, 8, 3), torch.nan), "gamma": 1.0},
            "`hidden_states` must be finite, those of row 0",
        ),
    ],
)
def test_what_is_wrong_is_said(change, message):
    segments, _ = sentences(3, 5)
    arguments = {"saliency": torch.ones(2, 8), "index": torch.tensor([1, 0]), "lam": torch.ones(2) / 2}
    with pytest.raises(ValueError, match=message):
        sentence_puzzle(**{**arguments, "segments": segments, **change})
