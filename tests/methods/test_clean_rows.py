"""`clean_lam`: the loss on the rows as they are, beside that on the mixed ones (RegMixup), against both written out here."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from image_runs import image_rows, make_image_trainer, run_images
from runs import arguments, assert_same_trajectory, assert_same_weights, make_trainer, run, series, weights
from tiny import DEPTH, tiny_batch, tiny_image_model, tiny_model

from mixtext_hf.functional import make_mixable
from mixtext_hf.hub import CardData
from mixtext_hf.hub.card import make_card
from mixtext_hf.methods import METHODS, Mixup, PuzzleMix, Step, TMix, make_method
from mixtext_hf.mixing import Blocks, MixedLoss, MixPlan
from mixtext_hf.mixing.puzzle import puzzle_mix
from mixtext_hf.mixing.saliency import channel_saliency
from mixtext_hf.training import MixTrainingArguments


LABELS = torch.tensor([0, 2, 1, 2])
LOSS = MixedLoss("single_label_classification", 3)
ON_PIXELS = ["mixup", "cutmix", "mixup_cutmix", "resizemix", "puzzlemix"]
INSIDE = ["tmix", "manifold_mixup", "embed_mixup", "pooled_mixup"]
REGMIXUP = "https://arxiv.org/abs/2206.14502"


class Net(torch.nn.Module):
    """With a batch norm, in training: what is in one batch is seen in every row."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.Tanh()
        )
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, pixel_values):
        return self.linear(self.layers(pixel_values).square().mean(dim=(2, 3)) * 5)


def images():
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def losses_of(method, net, plan, pixels, labels=LABELS, **about):
    """The terms, and what the net has seen; each loss is backpropagated as it comes."""
    seen = []

    def forward(inputs, plan=None, *, dropout=True):
        assert plan is None
        seen.append(inputs["pixel_values"].detach())
        return net(**inputs)

    terms = {}
    for some in method.losses(Step(forward, {"pixel_values": pixels}, labels, plan, LOSS, **about)):
        torch.stack(list(some.values())).sum().backward()
        terms |= some
    return terms, seen


def cross_entropy(logits, label):
    return -(logits[label] - logits.exp().sum().log())


def paper_loss(net, mixed, weight, index, pixels, clean_lam):
    """RegMixup row by row, after one pass over mixed and clean rows: the two terms."""
    logits = net(torch.cat([mixed, pixels]))
    supervised, clean = 0, 0
    for i, j in enumerate(index.tolist()):
        own, other = cross_entropy(logits[i], LABELS[i]), cross_entropy(logits[i], LABELS[j])
        supervised = supervised + (weight[i] * own + (1 - weight[i]) * other) / 4
        clean = clean + clean_lam * cross_entropy(logits[4 + i], LABELS[i]) / 4
    return supervised, clean


def mixed_by_hand(name, pixels, plan):
    mixed, weight = pixels.clone(), plan.lam.clone()
    for i, j in enumerate(plan.index.tolist()):
        if name == "mixup":
            mixed[i] = plan.lam[i] * pixels[i] + (1 - plan.lam[i]) * pixels[j]
        elif i != j:
            y0, y1, x0, x1 = plan.detail.edges[i].tolist()
            mixed[i, :, y0:y1, x0:x1] = pixels[j, :, y0:y1, x0:x1]
            weight[i] = 1 - (y1 - y0) * (x1 - x0) / 256
        else:
            weight[i] = 1
    return mixed, weight


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("clean_lam", [1.0, 0.3])
def test_both_losses_on_images_are_those_of_the_paper(name, clean_lam):
    pixels, net, theirs = images(), Net(), Net()
    for seed in range(4):
        method = make_method(name, clean_lam=clean_lam, per="example")
        plan = method.draw(4, depth=0, rng=np.random.default_rng(seed), image_size=(16, 16))
        assert method.passes(plan) == method.most_passes == 1
        net.zero_grad()
        terms, seen = losses_of(method, net, plan, pixels)
        assert list(terms) == ["loss_clean", "loss_supervised"] and len(seen) == 1
        assert torch.equal(seen[0][4:], pixels)
        supervised, clean = paper_loss(theirs, *mixed_by_hand(name, pixels, plan), plan.index, pixels, clean_lam)
        torch.testing.assert_close(terms["loss_supervised"], supervised, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(terms["loss_clean"], clean, rtol=1e-5, atol=1e-6)
        gradients = torch.autograd.grad(supervised + clean, theirs.parameters())
        for one, other in zip(net.parameters(), gradients, strict=True):
            torch.testing.assert_close(one.grad, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("saliency", ["gradient", "spectral_residual"])
def test_both_losses_of_puzzlemix(saliency):
    """By the gradient two passes, as in the official code, that of the clean images first; else one."""
    pixels, net, theirs = images(), Net().eval(), Net().eval()
    plan = MixPlan(torch.tensor([1, 2, 3, 0]), torch.tensor([0.5, 0.4, 0.7, 0.2]), detail=Blocks(4))
    method = PuzzleMix(clean_lam=0.5, saliency=saliency)
    terms, seen = losses_of(method, net, plan, pixels)
    assert method.passes(plan) == method.most_passes == len(seen) == (2 if saliency == "gradient" else 1)
    if saliency == "gradient":
        leaf = pixels.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(theirs(leaf), LABELS), leaf)
        mixed, weight, _ = puzzle_mix(pixels, channel_saliency(gradient), plan.index, plan.lam, block_num=4)
        torch.testing.assert_close(seen[1], mixed)
    else:
        alone, seen_alone = losses_of(replace(method, clean_lam=0.0), Net().eval(), plan, pixels)
        torch.testing.assert_close(terms["loss_supervised"], alone["loss_supervised"])
        assert torch.equal(seen[0], torch.cat([seen_alone[0], pixels]))
        return
    supervised, clean = paper_loss(theirs, mixed, weight, plan.index, pixels, 0.5)
    torch.testing.assert_close(terms["loss_supervised"], supervised)
    torch.testing.assert_close(terms["loss_clean"], clean)


@pytest.mark.parametrize("name", INSIDE)
def test_both_losses_on_texts_are_two_passes_added_up(name):
    batch = {**tiny_batch(), "output_attentions": False}
    model, theirs = tiny_model(), tiny_model()
    mixer, method = make_mixable(model), make_method(name, clean_lam=0.5)
    plan = method.draw(4, depth=DEPTH, rng=np.random.default_rng(1))
    calls = []

    def forward(inputs, plan=None, *, dropout=True):
        calls.append(len(inputs["input_ids"]))
        with mixer.applying(plan):
            return model(**inputs).logits

    (terms,) = method.losses(Step(forward, batch, LABELS, plan, LOSS))
    assert calls == [8] and list(terms) == ["loss_clean", "loss_supervised"]
    their_mixer = make_mixable(theirs)
    with their_mixer.applying(plan):
        mixed = theirs(**batch).logits
    clean = 0.5 * F.cross_entropy(theirs(**batch).logits, LABELS)
    own, other = (F.cross_entropy(mixed, labels, reduction="none") for labels in (LABELS, LABELS[plan.index]))
    supervised = (plan.lam * own + (1 - plan.lam) * other).mean()
    torch.testing.assert_close(terms["loss_clean"], clean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(terms["loss_supervised"], supervised, rtol=1e-5, atol=1e-6)
    (terms["loss_clean"] + terms["loss_supervised"]).backward()
    (clean + supervised).backward()
    for one, other in zip(model.parameters(), theirs.parameters(), strict=True):
        if other.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ON_PIXELS)
def test_the_weight_draws_nothing_and_a_step_that_does_not_mix_is_a_plain_one(name):
    for seed in range(3):
        one, two = (
            make_method(name, clean_lam=clean_lam).draw(
                4, depth=0, rng=np.random.default_rng(seed), image_size=(16, 16)
            )
            for clean_lam in (0.0, 1.0)
        )
        assert torch.equal(one.index, two.index) and torch.equal(one.lam, two.lam)
        assert not one.is_identity
    method = make_method(name, clean_lam=1.0)
    terms, seen = losses_of(method, Net(), MixPlan.identity(4), images())
    assert list(terms) == ["loss_supervised"] and method.passes(MixPlan.identity(4)) == 1
    torch.testing.assert_close(terms["loss_supervised"], F.cross_entropy(Net()(images()), LABELS))
    assert len(seen) == 1 and torch.equal(seen[0], images())


def test_rows_without_a_label_have_no_part_in_either_loss():
    labels = torch.tensor([0, -100, 1, 2])
    plan = MixPlan(torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.25))
    net = Net().eval()
    terms, seen = losses_of(Mixup(clean_lam=1.0), net, plan, images(), labels)
    torch.testing.assert_close(terms["loss_clean"], F.cross_entropy(net(images()), labels))
    assert torch.equal(seen[0][:2], images()[:2])  # no partner with a label


def test_soft_targets_of_several_labels_are_taken_alike():
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 0]])
    loss = MixedLoss("multi_label_classification", 3)
    net, plan = Net().eval(), MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.25))
    step = Step(lambda inputs, plan=None: net(**inputs), {"pixel_values": images()}, labels, plan, loss)
    (terms,) = Mixup(clean_lam=2.0).losses(step)
    expected = 2 * F.binary_cross_entropy_with_logits(net(images()), labels)
    torch.testing.assert_close(terms["loss_clean"], expected)


# ---- in training ----


def test_however_a_batch_is_cut_the_trajectory_is_the_same(tmp_path):
    method = Mixup(clean_lam=0.5)
    reference = run_images(tmp_path, 16, 1, method)
    for batch, accumulation in ((8, 2), (4, 4)):
        assert_same_trajectory(reference, run_images(tmp_path, batch, accumulation, method))
    texts = run(tmp_path, 16, 1, method=TMix(clean_lam=0.5))
    assert_same_trajectory(texts, run(tmp_path, 8, 2, method=TMix(clean_lam=0.5)))
    assert texts["loss"] != run(tmp_path, 16, 1, method=TMix())["loss"]


def test_both_terms_are_logged_and_nothing_is_where_nothing_mixes(tmp_path):
    trainer = make_image_trainer(tmp_path, mix_method="mixup", mix_preset="regmixup", mix_end=0.5)
    assert trainer.method == Mixup(alpha=10.0, clean_lam=1.0)
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert ["loss_clean" in entry for entry in entries] == [True, True, False, False]
    for entry in entries:
        parts = entry.get("loss_clean", 0) + entry["loss_supervised"]
        assert entry["loss"] == pytest.approx(parts, abs=2e-4)


def test_a_weight_of_0_is_no_weight_bit_for_bit(tmp_path):
    def trained(**settings):
        trainer = make_trainer(tiny_model("bert", dropout=0.1), arguments(tmp_path, mix_method="tmix", **settings))
        trainer.train()
        return weights(trainer.model), series(trainer, "loss")

    plain, zero = trained(), trained(mix_kwargs={"clean_lam": 0.0})
    assert_same_weights(plain[0], zero[0])
    assert plain[1] == zero[1] != trained(mix_kwargs={"clean_lam": 1.0})[1]


def test_a_model_with_batch_norm_learns_both(tmp_path):
    trainer = make_image_trainer(
        tmp_path,
        image_rows(16),
        model=tiny_image_model("resnet"),
        mix_method="puzzlemix",
        mix_kwargs={"clean_lam": 1.0, "saliency": "spectral_residual"},
    )
    trainer.train()
    assert all(math.isfinite(loss) and loss > 0 for loss in series(trainer, "loss_clean"))


# ---- what is said ----


def test_the_card_says_it():
    method = Mixup(alpha=10.0, clean_lam=0.5)
    card = str(make_card(CardData("x", method=method, modality="image")))
    assert f"{method.equation}\nL = l(mixed rows) + 0.5 l(clean rows)" in card
    assert "| `clean_lam` | **0.5** | 0 |" in card and "Pinto et al., NeurIPS 2022" in card
    assert card.count(REGMIXUP) == 2  # a link and an entry for a bibliography
    plain = str(make_card(CardData("x", method=Mixup(), modality="image")))
    assert "| `clean_lam` | 0 | 0 |" in plain and "clean rows" not in plain and REGMIXUP not in plain


def test_puzzlemix_has_it_from_its_own_paper_and_its_other_saliency_from_another():
    assert PuzzleMix(clean_lam=1.0).further_citations == ()
    cited = [one.url for one in PuzzleMix(clean_lam=1.0, saliency="spectral_residual").further_citations]
    assert cited == ["https://arxiv.org/abs/2306.16612", REGMIXUP]
    assert "1 l(clean rows)" in PuzzleMix(clean_lam=1.0).formula
    for method in METHODS.values():
        assert method().formula == method.equation


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("mixup", {"clean_lam": -1.0}, r"clean_lam must be a finite number >= 0, got -1\.0"),
        ("tmix", {"clean_lam": True}, "clean_lam must be a finite number >= 0, got True"),
        ("erm", {"clean_lam": 1.0}, r"clean_lam=1\.0 was given, but erm does not mix"),
        ("augmix", {"clean_lam": 1.0}, r"clean_lam=1\.0 was given, but augmix does not mix"),
        ("mixtext", {"clean_lam": 1.0}, r"clean_lam=1\.0 adds the loss .* losses of mixtext .* use tmix"),
        ("uda", {"clean_lam": 1.0}, r"clean_lam=1\.0 adds .* losses of uda"),
        (
            "puzzlemix",
            {"saliency": "edges"},
            r"saliency must be one of \('gradient', 'spectral_residual'\), got 'edges'",
        ),
        (
            "puzzlemix",
            {"saliency": "spectral_residual", "adv_p": 0.1},
            r"adv_p=0\.1 takes a step along the gradient .*saliency='spectral_residual' has none: drop one",
        ),
    ],
)
def test_bad_input(tmp_path, name, given, message):
    with pytest.raises(ValueError, match=message):
        make_method(name, **given)
    with pytest.raises(ValueError, match=message):
        MixTrainingArguments(str(tmp_path), mix_method=name, mix_kwargs=given)
