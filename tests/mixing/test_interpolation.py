"""Rows against a plain Python loop; the union of masks in every format that encoder layers receive."""

import pytest
import torch
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from mixtext_hf.functional import mix_tensors, union_mask


SHAPES = [(4,), (4, 6), (4, 5, 6), (4, 3, 5, 2)]
INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 1.0, 0.0])
# One rounding of the result, where float32 tensors are mixed in float32.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-7, torch.bfloat16: 2e-2}


def mixed_by_a_loop(inputs, index, lam):
    rows = []
    for row in range(len(inputs)):
        weight = float(lam[row])
        rows.append(weight * inputs[row] + (1 - weight) * inputs[int(index[row])])
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_a_loop(shape, dtype):
    inputs = torch.randn(shape, dtype=dtype)
    before = inputs.clone()
    mixed = mix_tensors(inputs, INDEX, LAM)
    assert mixed.dtype == dtype and mixed.shape == inputs.shape
    expected = mixed_by_a_loop(inputs.double(), INDEX, LAM)
    torch.testing.assert_close(mixed.double(), expected, rtol=0, atol=TOLERANCE[dtype])
    assert torch.equal(inputs, before)
    assert torch.equal(mixed[2], inputs[2]) and torch.equal(mixed[3], inputs[1])


def test_bfloat16_is_not_promoted_and_float64_keeps_its_precision():
    assert mix_tensors(torch.ones(4, 2, 3).bfloat16(), INDEX, LAM).dtype == torch.bfloat16
    fine = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    mixed = mix_tensors(fine, torch.tensor([1, 0]), torch.tensor([0.5, 1.0]))
    assert mixed[0] == 1.0 + 0.5e-12 or abs(mixed[0].item() - 1.0 - 0.5e-12) < 3e-16


@pytest.mark.parametrize("wild", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_rows_of_lambda_1_are_bit_identical_whatever_the_partner_holds(wild, dtype):
    inputs = torch.tensor([[1.0, -2.0], [wild, 3.0]], dtype=dtype)
    mixed = mix_tensors(inputs, torch.tensor([1, 0]), torch.tensor([1.0, 1.0]))
    assert torch.equal(mixed[0], inputs[0])
    assert torch.equal(mixed[1].isnan(), inputs[1].isnan()) and mixed[1, 1] == 3.0


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_equals_the_gradient_of_the_loop(shape):
    inputs = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    output_gradient = torch.randn(shape, dtype=torch.float64)
    (actual,) = torch.autograd.grad(mix_tensors(inputs, INDEX, LAM), inputs, output_gradient)
    (expected,) = torch.autograd.grad(mixed_by_a_loop(inputs, INDEX, LAM), inputs, output_gradient)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-7)


@examples(100)
@given(st.data())
def test_padding_equals_a_loop(data):
    batch_size, length = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    real = st.lists(st.booleans(), min_size=length, max_size=length)
    is_real = torch.tensor([data.draw(real) for _ in range(batch_size)])
    index = torch.tensor(data.draw(st.permutations(range(batch_size))))
    lam = torch.tensor([data.draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])) for _ in range(batch_size)])
    lam[index == torch.arange(batch_size)] = 1.0
    index = torch.where(lam == 1, torch.arange(batch_size), index)
    inputs = torch.randn(batch_size, length, 3, generator=torch.Generator().manual_seed(0))

    mixed = mixed_by_a_loop(inputs, index, lam)
    kept = mixed.clone()
    for row in range(batch_size):
        for position in range(length):
            own, partners = bool(is_real[row, position]), bool(is_real[index[row], position])
            if own != partners:
                kept[row, position] = inputs[row if own else index[row], position]

    for mask in (is_real, is_real.long(), is_real.float()):
        torch.testing.assert_close(
            mix_tensors(inputs, index, lam, attention_mask=mask, pad="mix"), mixed, rtol=0, atol=1e-6
        )
        torch.testing.assert_close(
            mix_tensors(inputs, index, lam, attention_mask=mask, pad="keep"), kept, rtol=0, atol=1e-6
        )
    torch.testing.assert_close(mix_tensors(inputs, index, lam, pad="keep"), mixed, rtol=0, atol=1e-6)


def test_kept_states_are_unscaled_and_carry_the_whole_gradient():
    inputs = torch.randn(2, 3, 4, requires_grad=True)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    mixed = mix_tensors(inputs, torch.tensor([1, 0]), torch.tensor([0.3, 0.3]), attention_mask=mask, pad="keep")
    assert torch.equal(mixed[0, 1:], inputs[0, 1:]) and torch.equal(mixed[1, 1:], inputs[0, 1:])
    (gradient,) = torch.autograd.grad(mixed.sum(), inputs)
    torch.testing.assert_close(gradient[:, 0], torch.ones(2, 4))
    torch.testing.assert_close(gradient[0, 1:], torch.full((2, 4), 2.0))
    assert torch.equal(gradient[1, 1:], torch.zeros(2, 4))


# ---- the union of masks ----

IS_REAL = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0]]).bool()
UNION = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]).bool()
LOWEST = torch.finfo(torch.float32).min


def additive(is_real):
    return torch.where(is_real, 0.0, LOWEST)


def outer(is_real):
    rows = is_real.long()[:, None, None]
    return rows * rows.transpose(-1, -2)


FORMATS = {
    "bool 2-D": lambda is_real: is_real,
    "int 2-D": lambda is_real: is_real.long(),
    "float 2-D": lambda is_real: is_real.float(),
    "bool 4-D": lambda is_real: is_real[:, None, None],
    "bool 4-D square": lambda is_real: is_real[:, None, None].repeat(1, 1, 4, 1),
    "bool 4-D expanded": lambda is_real: is_real[:, None, None].expand(4, 1, 4, 4),
    "bool 4-D expanded over heads": lambda is_real: is_real[:, None, None].expand(4, 2, 4, 4),
    "additive": lambda is_real: additive(is_real)[:, None, None],
    "additive expanded": lambda is_real: additive(is_real)[:, None, None].expand(4, 1, 4, 4),
    "additive bfloat16": lambda is_real: torch.where(is_real, 0.0, torch.finfo(torch.bfloat16).min).bfloat16(),
    "outer product of ints": outer,
    "outer product of uint8": lambda is_real: outer(is_real).to(torch.uint8),
}


@pytest.mark.parametrize("name", FORMATS)
def test_union_of_every_format(name):
    mask = FORMATS[name](IS_REAL)
    before = mask.clone()
    union = union_mask(mask, INDEX)
    assert union.dtype == mask.dtype and union.shape == mask.shape
    expected = FORMATS[name](UNION)
    if "outer" in name:
        # Elementwise it is the outer product of the union wherever one mask contains the other, as padding does.
        assert torch.equal(expected, outer(UNION).to(mask.dtype))
    assert torch.equal(union, expected)
    assert torch.equal(mask, before), "changed in place"


@pytest.mark.parametrize("name", ["bool 4-D expanded", "bool 4-D expanded over heads", "additive expanded"])
def test_broadcast_masks_are_not_written_out(name):
    mask = FORMATS[name](IS_REAL)
    union = union_mask(mask, INDEX)
    assert union.stride()[1:3] == mask.stride()[1:3]
    assert union.stride(2) == 0
    assert union.untyped_storage().nbytes() == 4 * 4 * mask.element_size()


def test_no_mask_stays_no_mask():
    assert union_mask(None, INDEX) is None


@pytest.mark.parametrize("shape", [(1, 4), (1, 1, 4, 4)], ids=str)
def test_a_mask_broadcast_over_the_batch_is_its_own_union(shape):
    mask = torch.tril(torch.ones(4, 4, dtype=torch.bool)).expand(shape[0], 1, 4, 4)[..., : shape[-2], :].reshape(shape)
    assert union_mask(mask, INDEX) is mask


def test_a_batch_of_one():
    mask = torch.tensor([[True, False]])
    assert torch.equal(union_mask(mask, torch.tensor([0])), mask)


def test_a_mask_of_unknown_type_is_refused():
    with pytest.raises(TypeError, match="`attention_mask` is a dict; a tensor, a BlockMask or None can be united"):
        union_mask({"full_attention": IS_REAL}, INDEX)


def _flex_attention():
    return pytest.importorskip("torch.nn.attention.flex_attention", reason="this torch has no flex attention")


def test_union_of_a_block_mask():
    flex = _flex_attention()
    lengths = torch.tensor([300, 20, 150])
    is_real = torch.arange(300) < lengths[:, None]
    index = torch.tensor([1, 2, 0])

    def dense(is_real):
        return flex.create_mask(lambda b, h, q, kv: is_real[b, kv], 3, 1, 300, 300, device="cpu")

    mask = flex.create_block_mask(lambda b, h, q, kv: is_real[b, kv], 3, None, 300, 300, device="cpu")
    blocks = mask.to_dense().clone()
    union = union_mask(mask, index)
    assert type(union) is flex.BlockMask and union.shape == mask.shape and union.BLOCK_SIZE == mask.BLOCK_SIZE
    written_out = flex.create_mask(union.mask_mod, 3, 1, 300, 300, device="cpu")
    assert torch.equal(written_out, dense(is_real) | dense(is_real)[index])
    expected = flex.create_block_mask(
        lambda b, h, q, kv: (is_real | is_real[index])[b, kv], 3, None, 300, 300, device="cpu"
    )
    assert torch.equal(union.to_dense(), expected.to_dense())
    assert not torch.equal(union.to_dense(), blocks)
    assert torch.equal(mask.to_dense(), blocks), "changed in place"


def test_a_block_mask_broadcast_over_the_batch_is_its_own_union():
    flex = _flex_attention()
    mask = flex.create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 128, 128, device="cpu")
    assert union_mask(mask, INDEX) is mask
