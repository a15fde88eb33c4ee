"""TransMix and MaskMix: labels by attention and pictures of cells, against loops over patches and pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mixtext_hf.methods import CutMix, MaskMix, Step, TransMix
from mixtext_hf.mixing import Boxes, Cells, MixedLoss, MixPlan, PatchAttention


LABELS = torch.tensor([0, 2, 1, 2, 0, 1])
LOSS = MixedLoss("single_label_classification", 3)
PATCH, GRID = (4, 8), (6, 2)  # of images of 24 x 16
SIZE = (24, 16)


def images(rows=6, seed=1):
    return torch.randn(rows, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def logits_of(pixels):
    return torch.stack([pixels[:, i].square().mean(dim=(1, 2)) for i in range(3)], dim=1)


def attention_of(pixels, seed=2):
    """Attention that depends on what is shown where, the rest of it on [CLS]."""
    cells = F.avg_pool2d(pixels.mean(dim=1, keepdim=True), PATCH)[:, 0]
    weights = (3 * cells).flatten(1).softmax(dim=1).view(len(pixels), *GRID)
    return PatchAttention(0.8 * weights, PATCH)


def make_step(plan, pixels, *, labels=LABELS, attends=True):
    seen = []

    def forward(inputs, plan=None, *, dropout=True):
        seen.append(inputs["pixel_values"])
        return logits_of(inputs["pixel_values"])

    def attending(inputs):
        return forward(inputs), attention_of(inputs["pixel_values"])

    step = Step(
        forward,
        {"pixel_values": pixels},
        labels,
        plan,
        LOSS,
        attending_forward=attending if attends else None,
    )
    return step, seen


def draw(method, *, rows=6, seed=0, **about):
    return method.draw(rows, depth=3, rng=np.random.default_rng([7, seed]), image_size=SIZE, **about)


def partner_pixels(plan):
    """Which pixels of the mixed images are the partner's, one by one: `[row][y][x]`."""

    def is_partner(row, y, x):
        if plan.lam[row] == 1:
            return False
        if isinstance(plan.detail, Boxes):
            y0, y1, x0, x1 = edges[row]
            return y0 <= y < y1 and x0 <= x < x1
        return not is_own[row][y // plan.detail.side][x // plan.detail.side]

    edges = plan.detail.edges.tolist() if isinstance(plan.detail, Boxes) else None
    is_own = plan.detail.is_own.tolist() if isinstance(plan.detail, Cells) else None
    height, width = SIZE
    return [[[is_partner(row, y, x) for x in range(width)] for y in range(height)] for row in range(len(plan))]


def weight_by_loop(plan, attention, area_share):
    """The weight of each row's own label: 1 - attention of the partner's patches / that of all patches, patch by patch."""
    (height, width), (patch_height, patch_width) = SIZE, attention.patch_size
    attended, shown, weights = attention.weights.tolist(), partner_pixels(plan), []
    for row in range(len(plan)):
        partner = whole = 0.0
        for i in range(height // patch_height):
            for j in range(width // patch_width):
                whole += attended[row][i][j]
                if shown[row][i * patch_height][j * patch_width]:
                    partner += attended[row][i][j]
        pixels = sum(map(sum, shown[row]))
        area = 1 - pixels / (height * width)
        weights.append((1 - area_share) * (1 - partner / whole) + area_share * area)
    return torch.tensor(weights)


@pytest.mark.parametrize("per", ["batch", "example"])
@pytest.mark.parametrize("area_share", [0.0, 0.5])
@pytest.mark.parametrize("kind", [TransMix, MaskMix])
def test_labels_follow_the_attention(kind, area_share, per):
    method, pixels = kind(area_share=area_share, per=per), images()
    moved = []
    for seed in range(6):
        plan = method.pairs_of(make_step(draw(method, seed=seed), pixels)[0])
        step, seen = make_step(plan, pixels)
        (terms,) = method.losses(step)
        (mixed,) = seen  # one pass
        shown = torch.tensor(partner_pixels(plan)).unsqueeze(1)
        assert torch.equal(mixed, torch.where(shown, pixels[plan.index], pixels))
        weight = weight_by_loop(plan, attention_of(mixed), area_share)
        one, other = (
            F.cross_entropy(logits_of(mixed), labels, reduction="none") for labels in (LABELS, LABELS[plan.index])
        )
        expected = (weight * one + (1 - weight) * other).mean()
        torch.testing.assert_close(terms["loss_supervised"], expected, rtol=1e-5, atol=1e-6)
        moved.append((weight - weight_by_loop(plan, attention_of(mixed), 1.0)).abs().max())
    assert max(moved) > 0.05  # attention is no area


@pytest.mark.parametrize("kind", [TransMix, MaskMix])
def test_clean_rows_beside_the_mixed_ones_change_no_label(kind):
    pixels = images()
    plan = kind().pairs_of(make_step(draw(kind()), pixels)[0])
    (alone,) = kind().losses(make_step(plan, pixels)[0])
    step, seen = make_step(plan, pixels)
    noted = {}
    (terms,) = kind(clean_lam=0.5).losses(replace(step, note=noted.update))
    assert len(seen) == 1 and torch.equal(seen[0][len(pixels) :], pixels)  # one pass over both
    torch.testing.assert_close(terms["loss_supervised"], alone["loss_supervised"])
    torch.testing.assert_close(terms["loss_clean"], 0.5 * F.cross_entropy(logits_of(pixels), LABELS))
    weight = weight_by_loop(plan, attention_of(seen[0][: len(pixels)]), kind().area_share)
    assert noted["mix_weight"].item() == pytest.approx(weight.mean().item(), abs=1e-6)


def test_by_area_alone_transmix_is_cutmix():
    pixels = images()
    for seed in range(4):
        plan = draw(TransMix(area_share=1.0), seed=seed)
        other = draw(CutMix(), seed=seed)
        assert torch.equal(plan.lam, other.lam) and torch.equal(plan.detail.edges, other.detail.edges)
        losses = [
            next(method.losses(make_step(plan, pixels, attends=False)[0]))["loss_supervised"]
            for method in (TransMix(area_share=1.0), CutMix())
        ]
        assert torch.equal(*losses)


@pytest.mark.parametrize("kind", [TransMix, MaskMix])
def test_even_attention_is_area_where_patches_are_whole(kind):
    method = kind(area_share=0.0)
    is_own = torch.tensor([[[1, 0], [0, 1], [1, 1]]] * 6, dtype=torch.bool)
    boxes = torch.tensor([[0, 8, 8, 16], [4, 12, 0, 8], [0, 24, 0, 16], [8, 8, 0, 16], [20, 24, 0, 16], [0, 0, 0, 0]])
    detail = Boxes(boxes) if kind is TransMix else Cells(is_own, 8)
    plan = MixPlan(torch.tensor([1, 2, 3, 4, 5, 0]), torch.full((6,), 0.5), detail=detail)
    even = PatchAttention(torch.full((6, *GRID), 0.05), PATCH)
    _, area = method.mix(images(), plan)
    weights = []

    def loss(logits, labels, index, weight):
        weights.append(weight)
        return logits.sum()

    step = Step(
        logits_of, {"pixel_values": images()}, LABELS, plan, loss, attending_forward=lambda i: (LABELS.float(), even)
    )
    next(method.losses(step))
    torch.testing.assert_close(weights[0], area)


@pytest.mark.parametrize("kind", [TransMix, MaskMix])
def test_rows_without_a_label_and_steps_that_do_not_mix(kind):
    method, pixels = kind(area_share=0.0), images()
    labels = LABELS.clone()
    labels[1] = -100
    plan = draw(method)
    step, seen = make_step(plan, pixels, labels=labels)
    (terms,) = method.losses(step)
    alone = method.pairs_of(step).lam == 1
    assert alone[1] and torch.equal(seen[0][alone], pixels[alone]) and torch.isfinite(terms["loss_supervised"])
    still = draw(kind(area_share=0.0, prob=0.0))
    assert still.detail is None
    (terms,) = method.losses(make_step(still, pixels, attends=False)[0])
    torch.testing.assert_close(terms["loss_supervised"], F.cross_entropy(logits_of(pixels), LABELS))


def test_no_attention_at_all_leaves_the_area():
    method, pixels = TransMix(), images()
    plan = next(plan for seed in range(9) if 0.3 < (plan := draw(method, seed=seed)).lam[0] < 0.7)
    nothing = PatchAttention(torch.zeros(6, *GRID), PATCH)
    step, _ = make_step(plan, pixels)
    step = Step(
        step.forward,
        step.inputs,
        LABELS,
        plan,
        LOSS,
        attending_forward=lambda i: (logits_of(i["pixel_values"]), nothing),
    )
    by_area = next(CutMix().losses(make_step(plan, pixels)[0]))["loss_supervised"]
    assert torch.equal(next(method.losses(step))["loss_supervised"], by_area)


def test_a_step_without_attention_is_told_so():
    with pytest.raises(TypeError, match=r"transmix weighs labels by what \[CLS\] attends to, and the step has no"):
        next(TransMix().losses(make_step(draw(TransMix()), images(), attends=False)[0]))


@pytest.mark.parametrize(
    "method, needs",
    [(TransMix(), True), (TransMix(area_share=1), False), (MaskMix(), False), (MaskMix(area_share=0.9), True)],
)
def test_what_needs_attention(method, needs):
    assert method.needs_attention is needs and not CutMix().needs_attention


# ---- cells ----


@pytest.mark.parametrize("lam", [0.01, 0.25, 0.26, 0.5, 0.99, 1.0])
def test_so_many_cells_stay(lam):
    cells = MaskMix().cells(torch.full((50,), lam), (32, 32), (8, 8), rng=np.random.default_rng(0))
    assert cells.side == 8 and cells.is_own.shape == (50, 4, 4)
    assert (cells.is_own.sum(dim=(1, 2)) == math.ceil(16 * np.float32(lam))).all()


def test_every_row_has_cells_of_its_own_and_all_are_as_likely():
    cells = MaskMix().cells(torch.full((4000,), 0.5), (32, 32), rng=np.random.default_rng(0))
    shares = cells.is_own.float().mean(dim=0)
    assert (shares - 0.5).abs().max() < 0.05
    assert len({tuple(row) for row in cells.is_own[:20].flatten(1).tolist()}) > 15


def test_cells_at_the_border_are_cut():
    method, pixels = MaskMix(cell_size=10), images()  # 24 x 16: 3 x 2 cells, 4 and 6 pixels at the border
    plan = draw(method, seed=3)
    assert plan.detail.is_own.shape == (6, 3, 2)
    _, weight = method.mix(pixels, plan)
    torch.testing.assert_close(weight, 1 - torch.tensor(partner_pixels(plan)).float().mean(dim=(1, 2)))


@pytest.mark.parametrize(
    "image_size, patch_size, side",
    [
        ((224, 224), (14, 14), 56),
        ((224, 224), (16, 16), 64),
        ((224, 224), (32, 32), 64),
        ((224, 224), (1, 1), 56),
        ((32, 32), (4, 4), 8),
        ((32, 32), (8, 8), 8),
        ((32, 32), (16, 16), 16),
        ((48, 32), (8, 8), 8),
        ((96, 96), (16, 8), 32),
        ((3, 2), (1, 1), 1),
    ],
)
def test_the_side_of_a_cell(image_size, patch_size, side):
    found, rows, columns = MaskMix().grid(image_size, patch_size)
    assert (found, rows, columns) == (side, math.ceil(image_size[0] / side), math.ceil(image_size[1] / side))


@pytest.mark.parametrize(
    "cell_size, patch_size, message",
    [
        (
            12,
            (8, 8),
            r"cell_size=12 would cut the patches .* 8 x 8 pixels: give a multiple of 8, such as 16, or \"auto\"",
        ),
        (3, (8, 8), "such as 8,"),
        (
            32,
            (8, 8),
            "cell_size=32 makes one cell of 32 pixels of an image of 32 x 32, .* give at most 24\\.",
        ),
        ("auto", (32, 32), "cell_size=auto makes one cell .* it is one patch to the model, take another method"),
    ],
)
def test_cells_that_cannot_be(cell_size, patch_size, message):
    with pytest.raises(ValueError, match=message):
        MaskMix(cell_size=cell_size).grid((32, 32), patch_size)
