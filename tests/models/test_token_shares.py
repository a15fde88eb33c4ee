"""Hidden states that are mixed token by token: the same as two streams written out."""

from __future__ import annotations

import pytest
import torch
from tiny import DEPTH, has_family, tiny_batch, tiny_model
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.mixing import TokenShares, mix_tokens


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.full((4,), 0.5)


def shares(batch, seed=0):
    """Random ones; where one of the two alone has a token it stays."""
    is_real = batch["attention_mask"].bool()
    own = torch.rand(is_real.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(is_real == is_real[INDEX], own, is_real.float())


@pytest.mark.parametrize("family", ["albert", "bert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta"])
def test_equals_two_streams_at_every_layer(family):
    if not has_family(family):
        pytest.skip(f"the installed transformers has no {family}")
    model, batch = tiny_model(family).eval(), tiny_batch()
    own = shares(batch)
    expected = [two_stream_logits(model, batch, INDEX, own, layer) for layer in range(DEPTH + 1)]
    mixer = make_mixable(model)
    for layer in range(DEPTH + 1):
        with mixer.applying(MixPlan(INDEX, LAM, layer=layer, detail=TokenShares(own))):
            torch.testing.assert_close(model(**batch).logits, expected[layer], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pad", ["mix", "keep"])
def test_the_same_share_for_all_tokens_is_the_weight_of_the_row(pad):
    model, batch = tiny_model("bert").eval(), tiny_batch()
    mixer, lam = make_mixable(model), torch.tensor([0.25, 1.0, 0.5, 0.75])
    with mixer.applying(MixPlan(INDEX, lam, layer=2)):
        expected = model(**batch).logits
    detail = TokenShares(lam.view(-1, 1).expand_as(batch["input_ids"]).contiguous())
    with mixer.applying(MixPlan(INDEX, lam, layer=2, pad=pad, detail=detail)):
        assert torch.equal(model(**batch).logits, expected)


def test_shares_are_weights_of_a_sum_and_one_keeps_a_token_bit_for_bit():
    states = torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(1))
    own = torch.tensor([0.0, 0.5, 1.0])[torch.randint(3, (4, 6), generator=torch.Generator().manual_seed(2))]
    of_own, of_partner = (torch.randint(6, (4, 6), generator=torch.Generator().manual_seed(s)) for s in (3, 4))
    stays = torch.arange(6).expand(4, -1)
    for sources in (None, (of_own, of_partner)):
        mixed = mix_tokens(states, INDEX, TokenShares(own, sources))
        first, second = sources or (stays, stays)
        for row in range(4):
            for token in range(6):
                share = own[row, token]
                kept, taken = states[row, first[row, token]], states[INDEX[row], second[row, token]]
                torch.testing.assert_close(mixed[row, token], share * kept + (1 - share) * taken)
                assert share < 1 or torch.equal(mixed[row, token], kept)


def test_a_plan_with_shares_goes_on_and_is_checked():
    plan = MixPlan(INDEX, LAM, layer=1, detail=TokenShares(torch.rand(4, 5)))
    longer = plan.extended(2)
    assert longer.detail.own.shape == (6, 5) and (longer.detail.own[4:] == 1).all()
    assert torch.equal(longer.detail.own[:4], plan.detail.own)
    assert plan.to("meta").detail.own.device.type == "meta"
    moving = TokenShares(torch.rand(4, 5), (torch.zeros(4, 5, dtype=torch.int64), torch.ones(4, 5, dtype=torch.int64)))
    for source, value in zip(moving.extended(1).sources, (0, 1), strict=True):
        assert source[:4].eq(value).all() and source[4].tolist() == [0, 1, 2, 3, 4]
    for layer, rows in ((None, 4), ("head", 4), (1, 3)):
        with pytest.raises(ValueError, match=f"`detail` weighs the tokens of {rows} rows"):
            MixPlan(INDEX, LAM, layer=layer, detail=TokenShares(torch.rand(rows, 5)))
