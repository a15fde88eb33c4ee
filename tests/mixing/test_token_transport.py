"""The transport of words against all increasing maps, and what must hold for any."""

import itertools
import math

import numpy as np
import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.mixing.token_transport import move_tokens, transport_tokens


def same(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=0, atol=0)


def gain(sources, targets, shown, share, n, xi):
    return sum(share[i] * shown[j] - xi / n * abs(i - j) for i, j in zip(sources, targets, strict=True))


def best_of_all(shown, share, segments, xi):
    """The first of the best maps of one sentence."""
    tokens = [i for i, segment in enumerate(segments) if segment > 0]
    targets = [j for j in tokens if shown[j] > 0]
    maps = [
        sources
        for sources in itertools.combinations(tokens, len(targets))
        if all(segments[i] == segments[j] for i, j in zip(sources, targets, strict=True))
    ]
    gains = [gain(sources, targets, shown, share, max(1, len(tokens)), xi) for sources in maps]
    source = np.arange(len(segments))
    source[targets] = maps[int(np.argmax(gains))]
    return source


@st.composite
def problems(draw, lengths):
    """In numbers whose sums are not rounded where `xi` is 0."""
    length, batch_size = draw(lengths), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    segments = np.sort(rng.integers(1, 3, (batch_size, length)), axis=1)
    segments *= rng.random((batch_size, length)) < 0.9
    share = rng.integers(0, draw(st.sampled_from([1, 3, 64])) + 1, segments.shape) / 64 * (segments > 0)
    shown = rng.choice([0.0, 0.5, 1.0], segments.shape, p=draw(st.sampled_from([[0.5, 0.2, 0.3], [0.8, 0.1, 0.1]])))
    xi = draw(st.sampled_from([0.0, 0.01, 0.1, 1.0, 100.0]))
    return torch.from_numpy(shown).float(), torch.from_numpy(share).float(), torch.from_numpy(segments), xi


@given(problems(st.integers(1, 9)))
@examples(deep=200)
def test_no_increasing_map_shows_more(problem):
    source = transport_tokens(*problem)
    xi = problem[3]
    for found, shown, share, segments in zip(source, *(part.numpy() for part in problem[:3]), strict=True):
        expected = best_of_all(shown, share, segments, xi)
        if xi == 0:
            # Nothing is rounded: the first of the best.
            same(found, expected)
        targets = np.flatnonzero((shown > 0) & (segments > 0))
        n = max(1, (segments > 0).sum())
        values = [gain(places[targets], targets, shown, share, n, xi) for places in (found.numpy(), expected)]
        assert abs(values[0] - values[1]) < 1e-9
        assert (np.diff(found.numpy()[targets]) > 0).all()
        assert (segments[found.numpy()] == segments).all()
        others = np.setdiff1d(np.arange(len(segments)), targets)
        same(found[others], others)


@given(problems(st.integers(1, 30)), st.integers(0, 9), st.integers(0, 9))
@examples(deep=50)
def test_order_of_rows_and_padding_change_nothing(problem, before, behind):
    *parts, xi = problem
    source = transport_tokens(*parts, xi)
    same(transport_tokens(*(part.flip(0) for part in parts), xi), source.flip(0))
    padded = [torch.nn.functional.pad(part, (before, behind)) for part in parts]
    same(transport_tokens(*padded, xi)[:, before : before + source.shape[1]] - before, source)


def test_a_salient_span_moves_as_one():
    share = torch.tensor([[0.0, 0.4, 0.4, 0.05, 0.05, 0.05, 0.05, 0.0]])
    shown = torch.tensor([[0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.5]])
    segments = torch.tensor([[0, 1, 1, 1, 1, 1, 1, 0]])
    same(transport_tokens(shown, share, segments, 0.1), [[0, 1, 2, 3, 4, 1, 2, 7]])
    same(transport_tokens(shown, share, segments, 2.0), [[0, 1, 2, 3, 4, 5, 6, 7]])


def test_of_a_sentence_shown_everywhere_nothing_moves():
    same(
        transport_tokens(torch.rand(2, 9) + 0.1, torch.rand(2, 9), torch.ones(2, 9).long(), 0.0), [list(range(9))] * 2
    )


def test_special_tokens_alone_and_no_row():
    nothing = torch.zeros(1, 3)
    same(transport_tokens(torch.ones(1, 3), nothing, nothing.long(), 0.1), [[0, 1, 2]])
    assert transport_tokens(nothing[:0], nothing[:0], nothing[:0].long(), 0.1).shape == (0, 3)


def test_moving_is_a_gather_of_positions():
    hidden, source = torch.rand(2, 3, 4, dtype=torch.float16), torch.tensor([[0, 0, 1], [2, 1, 2]])
    same(move_tokens(hidden, source), torch.stack([hidden[row, source[row]] for row in range(2)]))
    same(move_tokens(hidden[..., 0], source), move_tokens(hidden, source)[..., 0])


def test_the_host_reads_nothing_of_a_device():
    part = torch.rand(2, 6, device="meta")
    source = transport_tokens(part, part, torch.ones(2, 6, dtype=torch.int64, device="meta"), 0.1)
    assert (source.shape, source.dtype) == ((2, 6), torch.int64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xi": -1.0}, "`xi` must be a finite number >= 0, got -1.0"),
        ({"xi": math.nan}, "`xi` must be a finite number"),
        ({"shown": torch.ones(2, 3).long()}, "`shown` must be floating"),
        ({"share": torch.ones(2, 4)}, r"`share` must be floating of shape \(2, 3\)"),
        ({"segments": torch.ones(2, 3)}, "`segments` must be int64"),
    ],
)
def test_what_is_wrong_is_said(change, message):
    arguments = {"shown": torch.ones(2, 3), "share": torch.ones(2, 3), "segments": torch.ones(2, 3).long(), "xi": 0.1}
    with pytest.raises(ValueError, match=message):
        transport_tokens(**{**arguments, **change})
