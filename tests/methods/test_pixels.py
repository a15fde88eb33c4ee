"""The methods that mix pixels: what is drawn, what the model sees, and the losses, against formulas written out here."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pixel_steps import LABELS, LOSS, NORMALISATION, Net, draw, images, make_step
from scipy import stats
from transformers import Trainer

from mixtext_hf.methods import METHODS, AugMix, CutMix, Mixup, MixupCutMix, PuzzleMix, ResizeMix, make_method
from mixtext_hf.mixing import Blocks, Boxes, Cells, LongTail, MixPlan
from mixtext_hf.mixing.puzzle import puzzle_mix
from mixtext_hf.mixing.saliency import channel_saliency
from mixtext_hf.training import MixTrainingArguments


PIXEL_METHODS = [name for name, kind in METHODS.items() if kind.mixes_pixels]
MIXING = [name for name in PIXEL_METHODS if METHODS[name].mixes]


def test_all_that_a_user_can_name_are_here():
    assert PIXEL_METHODS == [
        "mixup",
        "cutmix",
        "mixup_cutmix",
        "resizemix",
        "augmix",
        "puzzlemix",
        "transmix",
        "maskmix",
    ]
    alphas = {name: METHODS[name]().alpha for name in PIXEL_METHODS}
    assert alphas == {
        "mixup": 1.0, "cutmix": 1.0, "mixup_cutmix": 0.8, "resizemix": 1.0, "augmix": 0.0, "puzzlemix": 1.0,
        "transmix": 1.0, "maskmix": 1.0,
    }  # fmt: skip
    for name in PIXEL_METHODS:
        kind = METHODS[name]
        assert kind.equation and kind.citation is not None and kind.citation.url.startswith("https://")
        assert kind().layer_set(12) is None
        again = make_method(name, **json.loads(json.dumps(kind().hyperparameters())))
        assert again == kind()


@pytest.mark.parametrize("name", MIXING)
def test_a_plan_is_a_function_of_its_generator(name):
    method = make_method(name)
    for seed in range(5):
        one, two = draw(method, seed=seed), draw(method, seed=seed)
        assert torch.equal(one.index, two.index) and torch.equal(one.lam, two.lam)
        assert type(one.detail) is type(two.detail)
        if isinstance(one.detail, Boxes):
            assert torch.equal(one.detail.edges, two.detail.edges) and one.detail.edges.dtype == torch.int64
            assert one.detail.edges.shape == (6, 4) and (one.detail.edges == one.detail.edges[0]).all()
        elif isinstance(one.detail, Cells):
            assert torch.equal(one.detail.is_own, two.detail.is_own) and one.detail.side == two.detail.side == 4
        else:
            assert one.detail == two.detail
    assert len({draw(method, seed=seed).lam[0].item() for seed in range(5)}) == 5


@pytest.mark.parametrize("name", MIXING)
def test_a_step_that_does_not_mix_is_a_plain_one(name):
    method, net, pixels = make_method(name, prob=0.0), Net(), images()
    plan = draw(method)
    assert plan.detail is None and (plan.lam == 1).all() and method.passes(plan) == 1
    step, seen, _ = make_step(net, plan, pixels)
    (terms,) = method.losses(step)
    torch.testing.assert_close(terms["loss_supervised"], F.cross_entropy(net(pixels), LABELS))
    assert len(seen) == 1 and torch.equal(seen[0]["pixel_values"], pixels)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "mixup_cutmix", "resizemix", "maskmix"])
@pytest.mark.parametrize("per", ["batch", "example"])
def test_the_label_follows_the_pixels(name, per):
    """Images that hold their own number: what is shown of whom can be counted."""
    method, net = make_method(name, per=per), Net(channels=1)
    numbers = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 16, 16) / 10
    for seed in range(8):
        plan = draw(method, seed=seed)
        step, seen, _ = make_step(net, plan, numbers)
        (terms,) = method.losses(step)
        mixed = seen[0]["pixel_values"]
        own, partner = numbers[:, 0, 0, 0], numbers[plan.index, 0, 0, 0]
        shown = mixed.mean(dim=(1, 2, 3))
        # The share of the own image in the pixels: what the label must follow.
        share = torch.where(own == partner, torch.ones(6), (shown - partner) / (own - partner + (own == partner)))
        logits = net(mixed)
        loss = share * F.cross_entropy(logits, LABELS, reduction="none")
        loss = loss + (1 - share) * F.cross_entropy(logits, LABELS[plan.index], reduction="none")
        torch.testing.assert_close(terms["loss_supervised"], loss.mean(), rtol=1e-4, atol=1e-5)
        if name == "mixup":
            torch.testing.assert_close(shown, plan.lam * own + (1 - plan.lam) * partner)


def test_cutmix_may_leave_lambda_as_it_was_drawn():
    net, pixels = Net(), images()
    plan = next(
        plan
        for seed in range(50)
        if (plan := draw(CutMix(), seed=seed)).detail.edges[0].min() == 0 and plan.lam[0] < 0.6
    )
    corrected, drawn = (
        next(method.losses(make_step(net, plan, pixels)[0]))["loss_supervised"]
        for method in (CutMix(), CutMix(correct_lam=False))
    )
    mixed, weight = CutMix().mix(pixels, plan)
    assert (weight > plan.lam + 0.01).all()  # the box was clipped
    logits = net(mixed)
    one, other = (F.cross_entropy(logits, labels, reduction="none") for labels in (LABELS, LABELS[plan.index]))
    torch.testing.assert_close(drawn, (plan.lam * one + (1 - plan.lam) * other).mean())
    torch.testing.assert_close(corrected, (weight * one + (1 - weight) * other).mean())


def test_the_switch_chooses_between_mixup_and_cutmix():
    method = MixupCutMix(cutmix_alpha=3.0, switch_prob=0.3)
    plans = [draw(method, seed=seed) for seed in range(2000)]
    pasted = np.array([plan.detail is not None for plan in plans])
    assert abs(pasted.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 2000)
    lam = np.array([plan.lam[0].item() for plan in plans])
    for chosen, alpha in ((pasted, 3.0), (~pasted, 0.8)):
        variance = 1 / (4 * (2 * alpha + 1))
        assert abs(lam[chosen].mean() - 0.5) < 4 * math.sqrt(variance / chosen.sum())
        assert abs(lam[chosen].var() - variance) < 0.15 * variance
    assert all(draw(MixupCutMix(switch_prob=1.0), seed=seed).detail is not None for seed in range(20))
    assert all(draw(MixupCutMix(switch_prob=0.0), seed=seed).detail is None for seed in range(20))


def mixed_row_by_row(pixels, plan, boxed):
    """timm's `_mix_elem`, given what was drawn: images, and what each row keeps of itself."""
    original, mixed, kept = pixels.clone(), pixels.clone(), plan.lam.clone()
    for i, j in enumerate(plan.index.tolist()):
        lam = plan.lam[i].item()
        if lam == 1:
            continue
        if boxed[i]:
            y0, y1, x0, x1 = plan.detail.edges[i].tolist()
            mixed[i][:, y0:y1, x0:x1] = original[j][:, y0:y1, x0:x1]
            kept[i] = 1 - (y1 - y0) * (x1 - x0) / (pixels.shape[-2] * pixels.shape[-1])
        else:
            mixed[i] = pixels[i] * lam + original[j] * (1 - lam)
    return mixed, kept


@pytest.mark.parametrize("sides", [None, (0.2, 0.8)], ids=["alpha", "minmax"])
@pytest.mark.parametrize("prob", [1.0, 0.5])
def test_each_row_has_its_own_switch_chance_and_box(prob, sides):
    """timm's mode `elem`."""
    method = MixupCutMix(per="example", switch_prob=0.3, prob=prob, cutmix_alpha=3.0, cutmix_minmax=sides)
    pixels = images(rows=12, size=(16, 20))
    boxed, mixed, lam = [], [], []
    for seed in range(200):
        plan = draw(method, rows=12, seed=seed, size=(16, 20))
        if plan.detail is None:  # by chance no row is mixed
            continue
        boxed.append(plan.detail.pasted.numpy())
        mixed.append((plan.lam != 1).numpy())
        lam.append(plan.lam.numpy())
        if seed < 20:
            shown, weight = method.mix(pixels, plan)
            expected, kept = mixed_row_by_row(pixels, plan, boxed[-1])
            torch.testing.assert_close(shown, expected)
            torch.testing.assert_close(weight, kept)
    boxed, mixed, lam = np.concatenate(boxed), np.concatenate(mixed), np.concatenate(lam)
    assert abs(boxed.mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / len(boxed))
    if sides is None:
        assert abs(mixed.mean() - prob) < 0.03
    # Both kinds in one batch, each with the lambdas of its own.
    for chosen, alpha in ((boxed & mixed, 3.0), (~boxed & mixed, 0.8)):
        if sides is None or alpha == 0.8:
            assert stats.kstest(lam[chosen], stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("per", ["batch", "example"])
@pytest.mark.parametrize("name", ["cutmix", "mixup_cutmix"])
def test_sides_of_boxes_may_be_drawn_by_themselves(name, per):
    """timm's `cutmix_minmax`: height and width are uniform and independent, the box lies inside, lambda is the area around it."""
    method = make_method(name, per=per, cutmix_minmax=[0.2, 0.6], alpha=0.01)
    assert method.cutmix_minmax == (0.2, 0.6)
    edges, lam, of_mixup = [], [], []
    for seed in range(250 if per == "batch" else 60):
        plan = draw(method, seed=seed, size=(100, 50))
        if plan.detail is None:  # mixup's turn
            of_mixup.append(abs(plan.lam[0] - 0.5))
            continue
        rows = torch.ones(6, dtype=torch.bool) if plan.detail.pasted is None else plan.detail.pasted
        if per == "batch":
            assert plan.detail.edges.unique(dim=0).shape[0] == 1
            rows = torch.arange(6) == 0
        edges.append(plan.detail.edges[rows])
        lam.append(plan.lam[rows])
        if seed < 5:
            own = plan.index == torch.arange(6)
            weight = method.mix(images(size=(100, 50)), plan)[1]
            torch.testing.assert_close(weight[~own], plan.lam[~own])
    # The lambdas of mixup are its own: alpha is small.
    assert not of_mixup or (name == "mixup_cutmix" and np.median(of_mixup) > 0.45)
    edges, lam = torch.cat(edges).double(), torch.cat(lam)
    height, width = edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2]
    assert edges.min() >= 0 and edges[:, 1].max() <= 100 and edges[:, 3].max() <= 50
    torch.testing.assert_close(lam, (1 - height * width / 5000).float())
    assert stats.kstest((height + 0.5) / 100, stats.uniform(0.2, 0.4).cdf).pvalue > 1e-3
    assert abs(width.mean() / 50 - 0.4 + 0.01) < 0.03
    assert abs(np.corrcoef(height, width)[0, 1]) < 4 / math.sqrt(len(height))


def test_rows_that_are_not_mixed_stay_as_they_are_in_every_method():
    pixels = images()
    for name in ("mixup", "cutmix", "mixup_cutmix", "resizemix"):
        method = make_method(name, per="example", prob=0.5)
        for seed in range(10):
            plan = draw(method, seed=seed)
            shown, weight = method.mix(pixels, plan)
            alone = plan.lam == 1
            assert torch.equal(shown[alone], pixels[alone]) and bool((weight[alone] == 1).all())
            assert torch.equal(plan.index[alone], torch.arange(6)[alone])


def test_no_row_meets_itself_where_a_method_asks_for_it():
    for name in MIXING:
        method = make_method(name, partner="derangement")
        plans = [draw(method, rows=3, seed=seed) for seed in range(20)]
        assert all(bool((plan.index != torch.arange(3)).all()) for plan in plans)
    # As with any partner: a row without a label, and one whose partner has none, stay themselves.
    labels = LABELS.clone()
    labels[[1, 4]] = -100
    method, net, pixels = make_method("mixup", partner="derangement"), Net(), images()
    plan = draw(method)
    step, seen, _ = make_step(net, plan, pixels, labels=labels)
    next(method.losses(step))
    kept = torch.tensor([row in (1, 4) or int(plan.index[row]) in (1, 4) for row in range(6)])
    assert torch.equal(seen[0]["pixel_values"][kept], pixels[kept])
    assert bool((seen[0]["pixel_values"][~kept] != pixels[~kept]).any())


def test_the_switch_has_no_part_where_one_of_the_two_is_off():
    """As in timm, where `mixup_alpha=0` leaves CutMix alone."""
    only_boxes = [draw(MixupCutMix(alpha=0.0), seed=seed) for seed in range(50)]
    assert all(plan.detail is not None and (plan.lam < 1).all() for plan in only_boxes)
    no_boxes = [draw(MixupCutMix(cutmix_alpha=0.0), seed=seed) for seed in range(50)]
    assert all(plan.detail is None and (plan.lam < 1).all() for plan in no_boxes)
    assert (draw(MixupCutMix(alpha=0.0, cutmix_alpha=0.0)).lam == 1).all()


@pytest.mark.parametrize("per", ["batch", "example"])
def test_sizes_of_resizemix_do_not_depend_on_alpha(per):
    for seed in range(50):
        plan = draw(ResizeMix(alpha=0.01, per=per), seed=seed)
        assert plan.detail is not None and (plan.lam < 1).all()
    assert (draw(ResizeMix(alpha=0.0, per=per)).lam == 1).all()


def test_resizemix_draws_sizes():
    tau = np.array([(1 - draw(ResizeMix(), seed=seed).lam[0].item()) ** 0.5 for seed in range(1000)])
    assert 0.1 <= tau.min() < 0.12 and 0.78 < tau.max() <= 0.8001
    assert abs(tau.mean() - 0.45) < 4 * 0.7 / math.sqrt(12 * 1000)


def test_names_of_timm():
    assert make_method("mixup", mixup_alpha=0.3).alpha == 0.3
    assert make_method("cutmix", cutmix_alpha=0.3).alpha == 0.3
    method = make_method(
        "mixup_cutmix", mixup_alpha=0.3, cutmix_alpha=0.4, switch_prob=0.1, prob=0.5, correct_lam=False
    )
    assert (method.alpha, method.cutmix_alpha, method.switch_prob, method.prob) == (0.3, 0.4, 0.1, 0.5)
    with pytest.raises(ValueError, match="mixup_alpha and alpha are one hyper-parameter of mixup"):
        make_method("mixup", mixup_alpha=0.3, alpha=0.2)


def test_rows_without_a_label_stay_themselves():
    labels = LABELS.clone()
    labels[[1, 4]] = -100
    for name in MIXING:
        method, net, pixels = make_method(name), Net(), images()
        step, seen, _ = make_step(net, draw(method), pixels, labels=labels)
        terms = list(method.losses(step))[-1]
        mixed = seen[-1]["pixel_values"]
        torch.testing.assert_close(mixed[[1, 4]], pixels[[1, 4]])
        assert torch.isfinite(terms["loss_supervised"])


# ---- AugMix ----


def test_augmix_against_a_loop():
    net, pixels = Net(), images()
    views = torch.stack([pixels.flip(-1), pixels.roll(2, -1)], dim=1)
    method = AugMix()
    plan = draw(method)
    assert method.passes(plan) == 1 and (plan.lam == 1).all()
    step, seen, _ = make_step(net, plan, pixels)
    step.inputs["views"] = views
    (terms,) = method.losses(step)
    assert seen[0]["pixel_values"].shape == (18, 3, 16, 16) and list(seen[0]) == ["pixel_values"]
    distance = 0.0
    for row in range(6):
        p = [F.softmax(net(x[row : row + 1]), dim=-1)[0].detach() for x in (pixels, views[:, 0], views[:, 1])]
        m = sum(p) / 3
        distance += sum(float((q * (q.log() - m.log())).sum()) for q in p) / 3 / 6
    torch.testing.assert_close(terms["loss_consistency"].item(), 12 * distance, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms["loss_supervised"], F.cross_entropy(net(pixels), LABELS))
    with pytest.raises(ValueError, match="augmix was given a batch without augmented views"):
        next(method.losses(make_step(net, plan, pixels)[0]))


def test_augmix_without_the_consistency_loss_trains_on_one_view():
    net, pixels = Net(), images()
    views = pixels.flip(-1).unsqueeze(1)
    method = AugMix(jsd_weight=0.0)
    assert (method.num_views, AugMix().num_views) == (1, 2)
    step, seen, _ = make_step(net, draw(method), pixels)
    step.inputs["views"] = views
    (terms,) = method.losses(step)
    assert list(terms) == ["loss_supervised"] and len(seen) == 1
    assert torch.equal(seen[0]["pixel_values"], views[:, 0])
    assert torch.equal(terms["loss_supervised"], LOSS(net(views[:, 0]), LABELS))


def test_rows_without_a_label_have_no_part_in_augmix():
    net, pixels = Net(), images()
    views = torch.stack([pixels.flip(-1), pixels.roll(2, -1)], dim=1)

    def terms(rows, labels):
        step, _, _ = make_step(net, draw(AugMix(), rows=len(labels)), pixels[rows], labels=labels)
        step.inputs["views"] = views[rows]
        return next(AugMix().losses(step))

    partly = torch.where(torch.arange(6) < 4, LABELS, -100)
    expected, found = terms(slice(0, 4), LABELS[:4]), terms(slice(0, 6), partly)
    assert expected["loss_consistency"] > 0
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert terms(slice(0, 6), torch.full((6,), -100))["loss_consistency"] == 0


# ---- PuzzleMix ----


def test_block_counts_fit_the_images():
    method = PuzzleMix()
    assert method.fitting((32, 32)) == [2, 4, 8, 16] and method.fitting((28, 28)) == [2, 4]
    assert method.fitting((30, 64)) == [2] and method.fitting((224, 224)) == [2, 4, 8, 16]
    with pytest.raises(ValueError, match=r"Images of 31 x 33 pixels .* block_nums=\[2, 4, 8, 16\] .* such as 32 x 32"):
        method.fitting((31, 33))
    drawn = [draw(method, seed=seed, size=(32, 32)).detail.block_num for seed in range(400)]
    assert sorted(set(drawn)) == [2, 4, 8, 16]
    assert all(abs(drawn.count(number) - 100) < 40 for number in (2, 4, 8, 16))
    with pytest.raises(ValueError, match="image_size"):
        method.draw(4, depth=3, rng=np.random.default_rng(0))


PRESETS = {
    "cifar": ((4, 4, 0.0, 0.0), (100, 0.1, "bce", ["flip", "crop:2"])),
    "cifar_adversarial": ((4, 4, 0.0, 0.1), (100, 0.1, "bce", ["flip", "crop:2"])),
    "tiny_imagenet": ((-1, 4, 1.0, 0.0), (100, 0.2, "bce", ["flip", "crop:4"])),
    "tiny_imagenet_adversarial": ((-1, 4, 1.0, 0.15), (100, 0.2, "bce", ["flip", "crop:4"])),
    "imagenet": ((-1, 2, 0.0, 0.0), (256, 0.1, None, ["random_resized_crop:0.08", "flip"])),
}


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name, tmp_path):
    assert set(PuzzleMix.presets) == set(PRESETS)
    given, training = PuzzleMix.presets[name].hyperparameters, PuzzleMix.presets[name].training_arguments
    assert {"n_labels": 3, "beta": 1.2, "gamma": 0.5, "eta": 0.2, "t_eps": 0.8}.items() <= given.items()
    method = PuzzleMix(**given)
    assert (method.t_size, method.neigh_size, method.clean_lam, method.adv_p) == PRESETS[name][0]
    assert method.adv_eps == 10.0
    args = MixTrainingArguments(str(tmp_path), use_cpu=True, **training)
    assert (
        args.per_device_train_batch_size, args.learning_rate, args.mix_loss, args.image_augmentations
    ) == PRESETS[name][1]  # fmt: skip
    made, settings = Trainer.get_optimizer_cls_and_kwargs(args, Net())
    assert made is torch.optim.SGD and args.weight_decay == 1e-4
    assert settings == {"lr": args.learning_rate, "momentum": 0.9, "nesterov": True}


@pytest.mark.parametrize("clean_lam", [0.0, 0.5])
def test_the_binary_loss_is_that_of_the_mix_and_the_saliency_that_of_cross_entropy(clean_lam):
    """As the official step: the clean loss is 2 clean_lam CE / C, and serves as saliency; the mixed one is BCE."""
    net, pixels = Net(), images()
    method = PuzzleMix(clean_lam=clean_lam)
    plan = draw(method)
    step, seen, _ = make_step(net, plan, pixels, **NORMALISATION)
    losses = method.losses(replace(step, loss=replace(LOSS, kind="bce")))
    if clean_lam:
        clean = next(losses)["loss_clean"]
        torch.testing.assert_close(clean, 2 * clean_lam * F.cross_entropy(net(pixels), LABELS) / 3)
        clean.backward()
    terms = next(losses)
    plain, plain_seen, _ = make_step(net, plan, pixels, **NORMALISATION)
    next(PuzzleMix().losses(plain))
    mixed = plain_seen[-1]["pixel_values"]
    torch.testing.assert_close(seen[-1]["pixel_values"], mixed, rtol=0, atol=0 if not clean_lam else 1e-6)
    # What each row keeps of itself, from the plan by hand.
    leaf = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), LABELS), leaf)
    _, weight, _ = puzzle_mix(
        pixels, channel_saliency(gradient), plan.index, plan.lam, block_num=plan.detail.block_num, t_size=4,
        mean=torch.full((3,), 0.5), std=torch.full((3,), 0.5),
    )  # fmt: skip
    one_hot = F.one_hot(LABELS, 3).float()
    target = weight.unsqueeze(1) * one_hot + (1 - weight).unsqueeze(1) * one_hot[plan.index]
    torch.testing.assert_close(terms["loss_supervised"], torch.nn.BCELoss()(net(mixed).softmax(dim=1), target))


def test_the_saliency_is_the_gradient_at_the_pixels_alone():
    net, pixels = Net(), images()
    method = PuzzleMix()
    plan = draw(method)
    asked = []

    def saliency_forward(inputs, plan=None, *, dropout=True):
        asked.append((inputs["pixel_values"].dtype, dropout))
        return net(**inputs)

    step, seen, noted = make_step(net, plan, pixels, saliency_forward=saliency_forward, **NORMALISATION)
    losses = method.losses(step)
    terms = next(losses)
    assert all(parameter.grad is None for parameter in net.parameters())
    assert asked == [(torch.float32, False)] and len(seen) == 1
    assert noted["saliency_undefined"] == 0

    leaf = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), LABELS), leaf)
    mixed, weight, _ = puzzle_mix(
        pixels, channel_saliency(gradient), plan.index, plan.lam, block_num=plan.detail.block_num, t_size=4,
        mean=torch.full((3,), 0.5), std=torch.full((3,), 0.5),
    )  # fmt: skip
    torch.testing.assert_close(seen[0]["pixel_values"], mixed)
    torch.testing.assert_close(terms["loss_supervised"], LOSS(net(mixed), LABELS, plan.index, weight))
    assert list(terms) == ["loss_supervised"] and next(losses, None) is None
    terms["loss_supervised"].backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_the_clean_loss_serves_twice():
    net, pixels = Net(), images()
    method = PuzzleMix(clean_lam=0.5)
    plan = draw(method)
    assert method.passes(plan) == 2 and method.passes(MixPlan.identity(6)) == 1
    step, seen, _ = make_step(net, plan, pixels, **NORMALISATION)
    losses = method.losses(step)
    clean = next(losses)
    torch.testing.assert_close(clean["loss_clean"], 0.5 * F.cross_entropy(net(pixels), LABELS))
    (7.0 * clean["loss_clean"]).backward()  # whatever scale the trainer puts on it
    mixed_terms = next(losses)
    own = PuzzleMix()
    plain_step, plain_seen, _ = make_step(net, plan, pixels, **NORMALISATION)
    plain = next(own.losses(plain_step))
    torch.testing.assert_close(mixed_terms["loss_supervised"], plain["loss_supervised"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen[1]["pixel_values"], plain_seen[-1]["pixel_values"])


def test_adversarial_noise_is_drawn_added_and_bounded():
    method = PuzzleMix(adv_p=0.5, adv_eps=12.0)
    plans = [draw(method, seed=seed) for seed in range(400)]
    on = np.array([plan.detail.noise_on for plan in plans])
    assert (abs(on.mean(axis=0) - 0.5) < 0.1).all() and abs((on[:, 0] & on[:, 1]).mean() - 0.25) < 0.1
    assert all((plan.detail.noise_seed is None) == (not any(plan.detail.noise_on)) for plan in plans)

    net = Net()
    pixels = images() * 0.5  # far from the border of [0, 1]
    plan = next(
        plan
        for plan in plans
        if plan.detail.noise_on == (True, False) and 0.4 < plan.lam[0] < 0.6 and plan.detail.noise_scale > 0.3
    )
    quiet = MixPlan(plan.index, plan.lam, detail=Blocks(plan.detail.block_num))
    saliency_at = []

    def saliency_forward(inputs, plan=None, *, dropout=True):
        saliency_at.append(inputs["pixel_values"].detach())
        return net(**inputs)

    step, seen, _ = make_step(net, plan, pixels, saliency_forward=saliency_forward, **NORMALISATION)
    next(method.losses(step))
    start = (saliency_at[0] - pixels) * 0.5  # in units of [0, 1] pixels
    assert 0.9 * 12 / 255 < start.abs().max() <= 12 / 255 + 1e-6 and abs(start.mean()) < 1e-3
    again, seen_again, _ = make_step(net, plan, pixels, saliency_forward=saliency_forward, **NORMALISATION)
    next(method.losses(again))
    torch.testing.assert_close(seen[0]["pixel_values"], seen_again[0]["pixel_values"], rtol=0, atol=0)
    # The noise is on the image itself and never on its partner; its size is bounded by eps times its scale.
    leaf = saliency_at[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), LABELS), leaf)
    without, _, mask = puzzle_mix(
        pixels, channel_saliency(gradient), quiet.index, quiet.lam, block_num=quiet.detail.block_num, t_size=4,
        mean=torch.full((3,), 0.5), std=torch.full((3,), 0.5),
    )  # fmt: skip
    difference = (seen[0]["pixel_values"] - without) * 0.5
    # A row that is its own partner shows itself; blocks of the partner carry nothing.
    shown = F.interpolate(mask[:, None], size=(16, 16)).expand_as(difference)
    assert difference.abs().max() <= 12 / 255 * plan.detail.noise_scale + 1e-6
    assert difference[shown > 0].abs().max() > 0
    of_partner = (shown == 0) & (plan.index != torch.arange(6)).view(-1, 1, 1, 1)
    assert (difference * of_partner).abs().max() < 1e-6


def test_a_loop_that_forgets_the_backward_pass_of_the_clean_loss_is_told():
    method = PuzzleMix(clean_lam=0.5)
    step, _, _ = make_step(Net(), draw(method), images(), **NORMALISATION)
    losses = method.losses(step)
    next(losses)
    with pytest.raises(RuntimeError, match=r"clean_lam=0\.5 takes the saliency .* call backward on each loss"):
        next(losses)


@pytest.mark.parametrize("noise_on", [(True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("clean_lam", [0.0, 0.5])
def test_adversarial_noise_against_its_formula(noise_on, clean_lam):
    """One step up the gradient, from where the gradient was taken: at black and white the random start is cut off."""
    net, scale, eps = Net(), 0.7, 12 / 255
    pixels = images().round()  # many are black or white
    index = torch.tensor([1, 2, 3, 4, 5, 0])
    plan = MixPlan(index, torch.full((6,), 0.5), detail=Blocks(4, 11, noise_on, scale))
    saliency_at = []

    def saliency_forward(inputs, plan=None, *, dropout=True):
        saliency_at.append(inputs["pixel_values"].detach().clone())
        return net(**inputs)

    method = PuzzleMix(adv_p=0.5, adv_eps=12.0, clean_lam=clean_lam)
    step, seen, _ = make_step(net, plan, pixels, saliency_forward=saliency_forward, **NORMALISATION)
    losses = method.losses(step)
    if clean_lam:
        next(losses)["loss_clean"].backward()
        saliency_at.append(seen.pop(0)["pixel_values"].detach())
    next(losses)

    leaf = saliency_at[0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), LABELS), leaf)
    start = (leaf.detach() - pixels) * 0.5  # in units of [0, 1] pixels
    assert leaf.abs().max() <= 1 + 1e-6 and (start == 0).float().mean() > 0.1 and start.abs().max() > 0.9 * eps
    noise = (start + (eps + 2 / 255) * gradient.sign()).clamp(-eps, eps) * scale
    mixed, _, mask = puzzle_mix(
        pixels, channel_saliency(gradient), index, plan.lam, block_num=4, t_size=4,
        mean=torch.full((3,), 0.5), std=torch.full((3,), 0.5),
        noise=(noise if noise_on[0] else None, noise[index] if noise_on[1] else None),
    )  # fmt: skip
    assert 0 < mask.mean() < 1
    torch.testing.assert_close(seen[0]["pixel_values"], mixed, rtol=0, atol=1e-5)


def test_rows_without_a_label_are_no_lack_of_saliency():
    labels = LABELS.clone()
    labels[[1, 4]] = -100
    method = PuzzleMix()
    step, _, noted = make_step(Net(), draw(method), images(), labels=labels)
    next(method.losses(step))
    assert noted["saliency_undefined"] == 0


def test_flat_images_fall_back_to_uniform_saliency_and_say_so():
    method = PuzzleMix()

    def zero(inputs, plan=None, *, dropout=True):
        return inputs["pixel_values"].sum(dim=(1, 2, 3)).view(-1, 1) * torch.zeros(3)

    step, seen, noted = make_step(Net(), draw(method), torch.zeros(6, 3, 16, 16), saliency_forward=zero)
    terms = next(method.losses(step))
    assert noted["saliency_undefined"] == 1 and torch.isfinite(terms["loss_supervised"])
    assert torch.isfinite(seen[0]["pixel_values"]).all()


# ---- bad input ----


@pytest.mark.parametrize(
    "name, wrong, message",
    [
        ("mixup", {"layers": [1]}, "mix_layers=.*mixup mixes pixels, and layers mixes inside the model"),
        ("cutmix", {"pad": "keep"}, "mix_pad=keep was given, but cutmix mixes pixels, and pad is for texts"),
        ("cutmix", {"cutmix_minmax": [0.8, 0.2]}, r"cutmix_minmax must be two shares .* got \[0.8, 0.2\]"),
        ("cutmix", {"cutmix_minmax": 0.5}, "cutmix_minmax must be two shares of a side.* got 0.5"),
        ("cutmix", {"cutmix_minmax": [0.0, 0.5]}, "cutmix_minmax must be two shares of a side, 0 < min"),
        ("mixup_cutmix", {"cutmix_minmax": [0.2, 0.5], "fold": True}, "mix_fold=True .* draws sides, not lambdas"),
        ("mixup", {"partner": "nearest_length"}, "partner='nearest_length' is for texts"),
        ("cutmix", {"correct_lam": 1}, "correct_lam must be true or false, got 1"),
        ("mixup_cutmix", {"switch_prob": 1.5}, r"switch_prob must lie in \[0, 1\], got 1\.5"),
        ("mixup_cutmix", {"cutmix_alpha": -1}, "cutmix_alpha must be a finite number >= 0, got -1"),
        ("resizemix", {"tau_min": 0.9}, r"tau_min=0\.9 and tau_max=0\.8 must satisfy"),
        ("resizemix", {"fold": True}, "mix_fold=True was given, but resizemix draws sizes"),
        ("augmix", {"alpha": 1.0}, "mix_alpha=1.0 was given, but augmix does not mix"),
        ("augmix", {"severity": 11}, r"severity must lie in 1\.\.10, got 11"),
        ("augmix", {"width": 0}, "width must be a whole number >= 1, got 0"),
        ("augmix", {"jsd_weight": -1.0}, "jsd_weight must be a finite number >= 0"),
        ("puzzlemix", {"gamma": 1.1}, "gamma must be at most 1, got 1.1"),
        ("puzzlemix", {"n_labels": 1}, "n_labels must be a whole number >= 2, got 1"),
        ("puzzlemix", {"beta": float("nan")}, "beta must be a finite number >= 0, got nan"),
        ("puzzlemix", {"t_size": 0}, 't_size must be "auto", -1 .* got 0'),
        ("puzzlemix", {"block_nums": []}, r"block_nums must be a list of whole numbers >= 1, got \[\]"),
        ("puzzlemix", {"adv_p": 2}, r"adv_p must lie in \[0, 1\], got 2"),
        ("transmix", {"area_share": 1.5}, r"area_share must lie in \[0, 1\], got 1\.5"),
        ("transmix", {"correct_lam": 0}, "correct_lam must be true or false, got 0"),
        ("maskmix", {"area_share": True}, r"area_share must lie in \[0, 1\], got True"),
        ("maskmix", {"cell_size": 0}, 'cell_size must be "auto" or a whole number of pixels >= 1, got 0'),
        ("maskmix", {"cell_size": 7.5}, 'cell_size must be "auto" or a whole number of pixels >= 1, got 7.5'),
    ],
)
def test_bad_input(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        make_method(name, **wrong)


# ---- classes that are not equally frequent ----


@pytest.mark.parametrize("name", ["augmix", "puzzlemix", "regmixup"])
def test_every_loss_on_labels_is_weighed_and_adjusted(name):
    """That of clean images too; the consistency of AugMix compares predictions as they are."""
    weights, shift = torch.tensor([0.5, 1.0, 4.0]), torch.tensor([0.7, 0.2, 0.1]).log()
    method = {"augmix": AugMix(), "puzzlemix": PuzzleMix(clean_lam=0.5), "regmixup": Mixup(clean_lam=0.5)}[name]
    net, pixels, terms = Net(), images(), []
    plan = draw(method)
    for tail in (None, LongTail(weights, shift)):
        about = {} if name == "augmix" else NORMALISATION
        step, _, _ = make_step(net, plan, pixels, **about)
        inputs = (
            {**step.inputs, "views": torch.stack([pixels.flip(3), -pixels], dim=1)}
            if name == "augmix"
            else step.inputs
        )
        found = {}
        for losses in method.losses(replace(step, inputs=inputs, loss=replace(step.loss, long_tail=tail))):
            sum(losses.values()).backward(retain_graph=True)
            found |= losses
        terms.append(found)
    plain, tailed = terms
    clean = torch.nn.functional.cross_entropy(net(pixels) + shift, LABELS, weights, reduction="none").mean()
    if name == "augmix":
        torch.testing.assert_close(tailed["loss_supervised"], clean)
        torch.testing.assert_close(tailed["loss_consistency"], plain["loss_consistency"])
    else:
        torch.testing.assert_close(tailed["loss_clean"], 0.5 * clean)
        assert tailed["loss_supervised"] != plain["loss_supervised"]
