"""Texts that are mixed token by token, on their way to a page: tokens stay beside their numbers, and what is left out is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_tokenizer

from mixtext_hf.evaluation.pictures.batch_drawing import Labels, Words
from mixtext_hf.evaluation.pictures.token_drawing import (
    MOST_LINES,
    TokenRow,
    TokenText,
    draw_token_batch,
    is_shown,
    lines_of,
)
from mixtext_hf.evaluation.pictures.token_rows import BLANK, token_row, token_strings


TOKENIZER = tiny_tokenizer()
LABELS = Labels("a", 0.5, "b", "row 0, with row 1")


def row_of(*texts, side="right", **given):
    """Of two texts or two pairs, padded to a length that neither has."""
    encoded = TOKENIZER.pad(
        [TOKENIZER(*text) for text in texts],
        padding="max_length",
        max_length=12,
        padding_side=side,
        return_tensors="pt",
    )
    ids, real = encoded["input_ids"], encoded["attention_mask"].bool()
    segments = torch.zeros_like(ids)
    special = torch.isin(ids, torch.tensor(TOKENIZER.all_special_ids))
    segments[real & ~special] = 1
    given = {"mask": torch.linspace(0, 1, 12), "seen": real.any(dim=0), "saliency": torch.ones(2, 12), **given}
    return token_row(TOKENIZER, LABELS, ids, real, segments, **given), real, segments


@pytest.mark.parametrize("side", ["right", "left"])
def test_positions_are_those_at_which_a_text_has_a_token(side):
    saliency = torch.arange(24.0).view(2, 12)
    row, real, segments = row_of(["w1 w2"], ["w3 w4 w5"], side=side, saliency=saliency)
    own, partner = ["[CLS]", "w1", "w2", "[SEP]"], ["[CLS]", "w3", "w4", "w5", "[SEP]"]
    assert row.partner.tokens == partner
    assert row.own.tokens == ([*own, None] if side == "right" else [None, *own])
    positions = real.any(dim=0).nonzero().flatten()
    np.testing.assert_allclose(row.mask, torch.linspace(0, 1, 12)[positions])
    for number, (text, _) in enumerate(row.texts):
        words = saliency[number] * (segments[number] > 0)
        np.testing.assert_allclose(text.share, (words / words.sum())[positions], rtol=1e-6)
        assert list(text.is_word) == [token is not None and token[0] != "[" for token in text.tokens]
        assert list(text.source) == list(range(5))


def test_moved_tokens_are_found_again():
    sources = torch.arange(12).repeat(2, 1).T.contiguous()
    sources[8, 1], sources[9, 0] = 9, 8
    row, real, _ = row_of(["w1 w2"], ["w3 w4 w5"], side="left", sources=sources)
    first = int(real.any(dim=0).nonzero()[0])
    assert row.partner.source[8 - first] == 9 - first and row.own.source[9 - first] == 8 - first
    assert row.own.tokens[row.own.source[9 - first]] == row.own.tokens[8 - first]


def test_pairs_keep_the_token_between_them():
    row, _, _ = row_of(["w1 w2", "w3"], ["w4", "w5 w6 w7"])
    assert row.own.tokens == ["[CLS]", "w1", "w2", "[SEP]", "w3", "[SEP]", None]
    assert row.partner.tokens == ["[CLS]", "w4", "[SEP]", "w5", "w6", "w7", "[SEP]"]
    assert not row.own.is_word[3] and row.own.share[3] == 0


def test_a_row_alone_is_its_own():
    row, _, _ = row_of(["w1 w2"], ["w3 w4 w5"], is_mixed=False)
    assert row.partner is None and row.own.tokens == ["[CLS]", "w1", "w2", "[SEP]"] and list(row.mask) == [1] * 4


def test_what_the_network_sees_of_a_text():
    text = TokenText(["a", "b", "c", "d"], np.ones(4, dtype=bool), np.array([0, 2, 2, 3]))
    assert list(is_shown(text, np.array([0.0, 0.5, 0.0, 1.0]))) == [False, False, True, True]
    row = TokenRow(text, LABELS, np.array([1, 0.5, 0, 1]), np.array([True, True, True, False]), text)
    (_, own), (_, partner) = row.texts
    assert list(own) == [1, 0.5, 0, 0] and list(partner) == [0, 0.5, 1, 0]


def test_lines_are_filled_and_no_more_than_there_may_be():
    assert lines_of([10] * 7, 30, 9) == [(0, 3), (3, 6), (6, 7)]
    assert lines_of([10] * 7, 30, 2) == [(0, 3), (3, 6)]
    assert lines_of([50, 10, 50], 30, 9) == [(0, 1), (1, 2), (2, 3)]


def test_what_is_left_out_is_said():
    words = np.ones(4, dtype=bool)
    own = TokenText(list("abcd"), words, np.arange(4), np.array([0.1, 0.2, 0.3, 0.4]))
    partner = TokenText(list("efgh"), words, np.arange(4), np.array([0.4, 0.3, 0.2, 0.1]))
    row = TokenRow(own, LABELS, np.array([1, 1, 0.5, 0]), words, partner)
    assert row.left_out(2).replace("\u00a0", " ") == (
        "… 2 more positions, with 70 % of the saliency of the row and 30 % of that of its partner; 75 % of what is seen there is the "
        "partner's."
    )
    alone = TokenRow(TokenText(list("abcd"), words, np.arange(4)), LABELS, np.ones(4), words)
    assert alone.left_out(3) == "… 1 more positions."


def long_row(count):
    strings = ["😀", "日本", "$x$", "", "\ufffd", "w" * 80, "\\frac", "naïve", None]
    tokens = [strings[i % len(strings)] for i in range(count)]
    is_word = np.array([token is not None for token in tokens])
    text = TokenText(tokens, is_word, np.arange(count)[::-1].copy(), is_word / is_word.sum())
    return TokenRow(text, LABELS, np.linspace(0, 1, count), np.ones(count, dtype=bool), text)


@pytest.mark.pictures
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_text_can_be_drawn(tmp_path):
    sizes = []
    for count in (1, 9, 200, 400):
        draw_token_batch([long_row(count)] * 2, tmp_path / "page.png", Words("title", "about"))
        with Image.open(tmp_path / "page.png") as page:
            sizes.append(page.size)
    assert sizes[0][1] <= sizes[1][1] < sizes[2][1] == sizes[3][1] and MOST_LINES < 4


def test_tokens_without_ink():
    assert token_strings(TOKENIZER, TOKENIZER("w1 $x")["input_ids"])[:2] == ["[CLS]", "w1"]

    class Blanks:
        def decode(self, ids):
            return " "

    ids = torch.tensor([[5, 6]] * 2)
    row = token_row(
        Blanks(), LABELS, ids, ids > 0, torch.ones_like(ids), mask=torch.ones(2), seen=torch.ones(2, dtype=torch.bool)
    )
    assert row.own.tokens == [BLANK] * 2 and row.own.share is None
