"""What is logged of a mix of pixels: the weight that labels really got, and the masks that cut nothing; when somebody is told."""

import numpy as np
import pytest
import torch

from mixtext_hf.methods import PuzzleMix, Step, TMix, make_method
from mixtext_hf.methods.constant_masks import MaskWatch, count_constant, is_constant
from mixtext_hf.mixing import Blocks, MixedLoss, MixPlan
from mixtext_hf.mixing.puzzle import puzzle_mix


LABELS = torch.tensor([0, 2, 1, -100, 0, 1])
LOSS = MixedLoss("single_label_classification", 3)


def images():
    return torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def forward(inputs, plan=None, *, dropout=True):
    pixels = inputs["pixel_values"]
    # Rows and columns weigh differently, so that something is more salient than something else.
    return (pixels * torch.linspace(0, 1, 16)).square().mean(dim=3)[:, :, :3].mean(dim=1)


def weighed(method, plan):
    """The noted terms of one step, the weights that the loss was given, and what was shown."""
    noted, shown, weights = {}, {}, []

    class Recording(MixedLoss):
        def __call__(self, logits, labels, index=None, lam=None):
            weights.append(lam)
            return super().__call__(logits, labels, index, lam)

    loss = Recording("single_label_classification", 3)
    step = Step(forward, {"pixel_values": images()}, LABELS, plan, loss, note=noted.update, show=shown.__setitem__)
    list(method.losses(step))
    return noted, weights[-1], shown


@pytest.mark.parametrize("name", ["mixup", "cutmix", "mixup_cutmix", "resizemix", "puzzlemix"])
@pytest.mark.parametrize("per", ["batch", "example"])
def test_the_weight_of_the_labels_is_noted(name, per):
    method = make_method(name, per=per)
    found = []
    for seed in range(4):
        plan = method.draw(6, depth=3, rng=np.random.default_rng([1, seed]), image_size=(16, 16))
        noted, weight, _ = weighed(method, plan)
        assert noted["mix_weight"] == pytest.approx(weight.mean().item())
        found.append(abs(noted["mix_weight"].item() - plan.lam.mean().item()))
    assert max(found) > 0.01  # a row without a label keeps its own, boxes are clipped, masks are cut


def test_a_mask_of_one_level_is_constant():
    mask = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 0.5), torch.eye(2), torch.ones(2, 2)])
    assert is_constant(mask).tolist() == [True, True, False, True]
    # The last row is its own partner: of three masks two are constant.
    assert {name: int(value) for name, value in count_constant(mask, torch.tensor([1, 2, 0, 3])).items()} == {
        "masks": 3,
        "masks_constant": 2,
    }


def test_constant_masks_are_counted_in_a_step_and_told_as_a_share():
    index = torch.tensor([1, 2, 0, 3, 5, 4])
    plan = MixPlan(index, torch.tensor([0.5, 0.02, 0.98, 0.5, 0.5, 0.5]), detail=Blocks(4))
    method = PuzzleMix(beta=0.2)
    noted, _, shown = weighed(method, plan)
    mask = shown["mask"]
    assert mask.shape == (6, 4, 4)
    constant = sum(mask[row].unique().numel() == 1 for row in (0, 1, 2, 4, 5))
    assert 0 < constant < 5
    assert noted["masks"] == 5 and noted["masks_constant"] == constant
    told = method.summarise({name: float(value) for name, value in noted.items()})
    assert told["mask_constant"] == pytest.approx(constant / 5)
    assert not any(name.startswith("masks") for name in told)
    assert method.summarise({"masks": 0.0, "masks_constant": 0.0, "mix_lambda": 1.0}) == {"mix_lambda": 1.0}


def test_flat_saliency_cuts_nothing_at_one_half():
    """What an untrained network makes of it."""
    saliency = torch.ones(6, 16, 16) + 1e-3 * torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(0))
    _, _, mask = puzzle_mix(images(), saliency, torch.arange(6).roll(1), torch.full((6,), 0.5), block_num=4)
    assert is_constant(mask).all()


def window(share, masks=40.0, **others):
    """One of 10 micro-batches."""
    return {"masks": masks, "masks_constant": share * masks, **others}, {"masks": 10, "masks_constant": 10}


def test_nobody_is_told_early_nor_twice():
    watch = PuzzleMix(beta=3.0).watch()
    assert isinstance(watch, MaskWatch) and TMix().watch() is None
    assert watch(*window(1.0), 0.5) is None  # nothing is learnt yet
    assert watch(*window(0.94), 0.6) is None
    told = watch(*window(0.97), 0.7)
    assert "97% of its masks are constant" in told and "lower beta (now 3)" in told and "cutmix" in told
    assert watch(*window(1.0), 0.9) is None


def test_few_masks_are_gathered_over_windows():
    watch = PuzzleMix().watch()
    assert watch({"mix_lambda": 1.0}, {}, 0.9) is None  # a window in which nothing was mixed
    assert [watch(*window(1.0, masks=8.0), 0.9) is not None for _ in range(4)] == [False, False, True, False]


def test_images_without_saliency_are_the_reason_that_is_given():
    assert "90% of the images have no saliency" in PuzzleMix().watch()(*window(1.0, saliency_undefined=0.9), 1.0)
