"""Mixed targets of tokens and the loss on them, against loops over rows and positions."""

import math

import numpy as np
import pytest
import torch

from mixtext_hf.mixing import TokenLoss, mix_token_targets, permute_places
from mixtext_hf.problem_types import MULTI_LABEL, SINGLE_LABEL


C = 4
LABELS = torch.tensor(
    [[-100, 0, 1, -100, 3, -100, -100], [-100, 2, 2, 0, -100, 1, -100], [-100, 3, -100, -100, -100, -100, -100]]
)
INDEX = torch.tensor([1, 2, 0])
LAM = torch.tensor([0.7, 0.6, 0.9])
LOSS = TokenLoss(SINGLE_LABEL, C)


def logits_of(labels, seed=0):
    return torch.randn(*labels.shape, C, generator=torch.Generator().manual_seed(seed), requires_grad=True)


def loop(logits, labels, index, lam, smoothing=0.0):
    """The loss written out: each label of a row and of its partner, by the weight of its row, over the labels of the rows."""
    total, count = 0.0, 0
    for row in range(len(labels)):
        for position in range(labels.shape[1]):
            log_p = logits[row, position].log_softmax(dim=0)
            for label, weight in (
                (int(labels[row, position]), float(lam[row])),
                (int(labels[index[row], position]), 1 - float(lam[row])),
            ):
                if label != -100:
                    target = [smoothing / C + (1 - smoothing) * (c == label) for c in range(C)]
                    total = total - weight * sum(t * log_p[c] for c, t in enumerate(target))
            count += int(labels[row, position]) != -100
    return total / count


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_mixed_loss_and_its_gradient_equal_a_loop(smoothing):
    logits, again = logits_of(LABELS), logits_of(LABELS)
    loss = TokenLoss(SINGLE_LABEL, C, smoothing)(logits, LABELS, INDEX, LAM)
    expected = loop(again, LABELS, INDEX, LAM, smoothing)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(logits.grad, again.grad)


def test_unmixed_it_is_the_cross_entropy_of_torch():
    logits = logits_of(LABELS)
    expected = torch.nn.functional.cross_entropy(logits.view(-1, C), LABELS.view(-1))
    torch.testing.assert_close(LOSS(logits, LABELS), expected)
    torch.testing.assert_close(LOSS(logits, LABELS, INDEX, torch.ones(3)), expected)


def test_weights_of_targets():
    targets = mix_token_targets(LABELS, INDEX, LAM, num_labels=C)
    assert targets[0, 2].tolist() == pytest.approx([0, 0.7, 0.3, 0])  # both
    assert targets[0, 4].tolist() == pytest.approx([0, 0, 0, 0.7])  # its own alone
    assert targets[0, 5].tolist() == pytest.approx([0, 0.3, 0, 0])  # the partner's alone
    assert not targets[0, 6].any()
    losses, counts = LOSS.of_rows(logits_of(LABELS), LABELS, INDEX, LAM)
    assert losses[~counts].tolist() == [0.0] * int((~counts).sum())
    assert counts.tolist() == [
        [False, True, True, True, True, True, False],
        [False, True, True, True, False, True, False],
        [False, True, True, False, True, False, False],
    ]


@pytest.mark.parametrize("lam", [0.5, 0.8, 1.0])
def test_under_one_lambda_the_weights_add_up_to_the_number_of_labels(lam):
    targets = mix_token_targets(LABELS, INDEX, torch.full((3,), lam), num_labels=C)
    assert float(targets.sum()) == pytest.approx(int(LOSS.count(LABELS))) == pytest.approx(8)


def test_more_padding_and_more_pieces_change_nothing():
    logits = logits_of(LABELS).detach()
    plain = LOSS(logits, LABELS, INDEX, LAM)
    longer = torch.cat([LABELS, torch.full((3, 4), -100)], dim=1)
    torch.testing.assert_close(LOSS(torch.cat([logits, torch.randn(3, 4, C)], dim=1), longer, INDEX, LAM), plain)
    # A piece that goes on with a word, at the same place in all rows.
    pieces = torch.cat([LABELS[:, :3], torch.full((3, 1), -100), LABELS[:, 3:]], dim=1)
    with_piece = torch.cat([logits[:, :3], torch.randn(3, 1, C), logits[:, 3:]], dim=1)
    torch.testing.assert_close(LOSS(with_piece, pieces, INDEX, LAM), plain)


def test_the_sum_of_pieces_of_a_batch_is_the_whole():
    labels = torch.cat([LABELS, LABELS.flip(1)])
    logits = logits_of(labels)
    index, lam = torch.cat([INDEX, INDEX + 3]), torch.cat([LAM, LAM])
    whole = LOSS(logits, labels, index, lam)
    parts = [
        LOSS(logits[part], labels[part], INDEX, LAM) * LOSS.count(labels[part]) for part in (slice(3), slice(3, 6))
    ]
    torch.testing.assert_close(whole, sum(parts) / LOSS.count(labels))


def test_a_batch_without_labels_has_a_loss_and_a_gradient_of_zero():
    logits = logits_of(LABELS)
    loss = LOSS(logits, torch.full_like(LABELS, -100))
    loss.backward()
    assert float(loss.detach()) == 0 and not logits.grad.any()


def test_rows_with_a_label():
    labels = torch.tensor([[-100, 1], [-100, -100]])
    assert LOSS.rows_with_label(labels).tolist() == [True, False] and int(LOSS.count(labels)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((SINGLE_LABEL, 1), "num_labels=1"),
        ((MULTI_LABEL, 3), "multi_label"),
        ((SINGLE_LABEL, 3, 0.0, "bce"), "kind='bce'"),
    ],
)
def test_what_the_loss_of_tokens_cannot_be(arguments, said):
    with pytest.raises(ValueError, match=said):
        TokenLoss(*arguments)


# ---- words that change places ----


def test_places_are_permuted_among_themselves():
    rng = np.random.default_rng(0)
    places = torch.from_numpy(rng.random((6, 9)) < 0.6)
    places[3] = False
    sources = permute_places(torch.from_numpy(rng.random((6, 12), dtype=np.float32)), places)
    for row in range(6):
        assert sources[row].sort().values.tolist() == list(range(9))
        assert places[row][sources[row]].tolist() == places[row].tolist()
        stays = ~places[row]
        assert sources[row][stays].tolist() == torch.arange(9)[stays].tolist()


def test_all_permutations_are_alike_likely():
    drawn = torch.from_numpy(np.random.default_rng(1).random((6000, 5), dtype=np.float32))
    places = torch.tensor([[False, True, True, False, True]]).expand(6000, -1)
    found, counts = permute_places(drawn, places).unique(dim=0, return_counts=True)
    assert len(found) == math.factorial(3)
    assert counts.min() > 850


def test_numbers_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"must be \(2, at least 5\)"):
        permute_places(torch.zeros(2, 4), torch.ones(2, 5, dtype=torch.bool))
