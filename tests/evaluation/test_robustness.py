"""FGSM, PGD and FGSM at word embeddings against plain loops with autograd written out; what they must never leave, and
what they must leave alone."""

from __future__ import annotations

import copy
import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from image_runs import image_rows, make_image_trainer
from runs import assert_same_weights, weights
from tiny import FAMILIES, IMAGE_SIZE, has_family, tiny_batch, tiny_image_model, tiny_model
from torch import nn

from mixtext_hf.data.images.collator import pixel_statistics
from mixtext_hf.evaluation.robustness.attacks import (
    RobustAccuracies,
    adversarial_accuracy,
    embedding_fgsm,
    embedding_fgsm_accuracy,
    fgsm,
    pgd,
    robust_accuracies,
)
from mixtext_hf.models.embedded import small_image_processor


few = examples(40)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
EPSILON = 8 / 255
# A pixel of 255 grey levels, normalised and back, in float32.
ROUNDING = 1e-6


class Linear(nn.Module):
    """The smallest classifier of images; its gradients are exact zeros where `weight` is."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, pixel_values: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=pixel_values.flatten(1) @ self.weight.T)


def per_channel(values):
    return torch.tensor(values).view(-1, 1, 1)


def grey_images(rows, size=IMAGE_SIZE, seed=0):
    """Pixels of whole grey levels, black and white among them, `(rows, 3, H, W)` in [0, 1]; and labels of 3 classes."""
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (rows, 3, *size), generator=generator)
    levels[levels < 20], levels[levels > 235] = 0, 255
    return levels / 255, torch.randint(0, 3, (rows,), generator=generator)


def normalised(pixels):
    return (pixels - per_channel(MEAN)) / per_channel(STD)


def accuracy_of(model, pixel_values, labels):
    with torch.no_grad():
        return (copy.deepcopy(model).eval()(pixel_values=pixel_values).logits.argmax(dim=1) == labels).float().mean()


# ---- the images ----


@few
@given(
    seed=st.integers(0, 2**16),
    epsilon=st.sampled_from([1e-4, 0.5 / 255, 8 / 255, 0.3, 1.0]),
    mean=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    std=st.lists(st.floats(0.05, 2), min_size=3, max_size=3),
)
def test_inside_the_ball_and_the_range(seed, epsilon, mean, std):
    pixels, labels = grey_images(3, (4, 5), seed)
    # Small weights: of a certain label there is no gradient.
    model = Linear(0.01 * torch.randn(3, 60, generator=torch.Generator().manual_seed(seed)))
    model.weight.data[:, ::7] = 0.0
    pixel_values = (pixels - per_channel(mean)) / per_channel(std)
    given_values = pixel_values.clone()
    adversarial = fgsm(model, pixel_values, labels, epsilon=epsilon, mean=mean, std=torch.tensor(std))
    assert torch.equal(pixel_values, given_values)
    assert adversarial.dtype == torch.float32 and adversarial.shape == pixel_values.shape
    assert not adversarial.requires_grad
    seen = adversarial * per_channel(std) + per_channel(mean)
    assert seen.min() >= -ROUNDING and seen.max() <= 1 + ROUNDING
    distance = (seen - pixels).abs()
    assert distance.max() <= epsilon + ROUNDING
    # As far as it may go, but for what is cut off at black and white, and for pixels without a gradient.
    inner = (pixels >= epsilon) & (pixels <= 1 - epsilon)
    inner.flatten(1)[:, ::7] = False
    assert torch.allclose(distance[inner], torch.tensor(epsilon), atol=ROUNDING, rtol=0)
    untouched = torch.zeros_like(inner)
    untouched.flatten(1)[:, ::7] = True
    assert torch.equal(adversarial[untouched], pixel_values[untouched])


@pytest.mark.parametrize("family", ["vit", "resnet", "convnext"])
def test_equals_a_loop_over_images(family):
    model = tiny_image_model(family)
    pixels, labels = grey_images(5)
    adversarial = fgsm(model, normalised(pixels), labels, epsilon=EPSILON, mean=MEAN, std=STD)
    own = copy.deepcopy(model).eval()
    compared = 0
    for image, label, found in zip(pixels, labels, adversarial, strict=True):
        # With respect to the pixels themselves, through the normalisation.
        leaf = image.clone().requires_grad_()
        logits = own(pixel_values=((leaf - per_channel(MEAN)) / per_channel(STD))[None]).logits[0]
        loss = torch.logsumexp(logits, dim=0) - logits[label]
        loss.backward()
        expected = normalised((image + EPSILON * leaf.grad.sign()).clamp(0, 1))
        # The sign of what is nearly 0 depends on the order of a sum.
        clear = leaf.grad.abs() > 1e-3 * leaf.grad.abs().max()
        compared += int(clear.sum())
        torch.testing.assert_close(found[clear], expected[clear], atol=1e-5, rtol=0)
    assert compared > 0.8 * pixels.numel()


def test_images_that_are_not_normalised():
    processor = small_image_processor(IMAGE_SIZE, 3)
    processor.do_normalize = False
    mean, std = pixel_statistics(processor, 3)
    model = tiny_image_model("resnet")
    pixels, labels = grey_images(4)
    adversarial = fgsm(model, pixels, labels, epsilon=EPSILON, mean=mean, std=std)
    plain = fgsm(model, pixels, labels, epsilon=EPSILON, mean=[0.0] * 3, std=[1.0] * 3)
    torch.testing.assert_close(adversarial, plain)
    assert adversarial.min() >= 0 and adversarial.max() <= 1
    assert (adversarial - pixels).abs().max() == pytest.approx(EPSILON, abs=ROUNDING)


def test_a_pixel_without_a_gradient_stays_bit_for_bit():
    """Also where normalising forth and back would round."""
    model = Linear(torch.zeros(3, 60))
    pixels, labels = grey_images(3, (4, 5))
    assert not torch.equal(normalised(pixels) * per_channel(STD) + per_channel(MEAN), pixels)
    adversarial = fgsm(model, normalised(pixels), labels, epsilon=EPSILON, mean=MEAN, std=STD)
    assert torch.equal(adversarial, normalised(pixels))


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_the_loss_of_every_image_rises(family):
    model = tiny_image_model(family)
    pixels, labels = grey_images(6)
    pixels = pixels.clamp(0.1, 0.9)  # nothing is cut off
    adversarial = fgsm(model, normalised(pixels), labels, epsilon=1e-4, mean=MEAN, std=STD)
    with torch.no_grad():
        before, after = (
            F.cross_entropy(model(pixel_values=images).logits, labels, reduction="none")
            for images in (normalised(pixels), adversarial)
        )
    assert (after > before).all()


def test_images_of_a_batch_do_not_matter_to_each_other():
    """Not even in a batch norm of a model in training mode."""
    model = tiny_image_model("resnet").train()
    pixels, labels = grey_images(5)
    attack = partial(fgsm, model, epsilon=EPSILON, mean=MEAN, std=STD)
    together = attack(normalised(pixels), labels)
    alone = torch.cat([attack(normalised(pixels[i : i + 1]), labels[i : i + 1]) for i in range(5)])
    assert (together != alone).float().mean() < 1e-3


def test_half_precision_of_images_and_surroundings_does_not_matter():
    model = tiny_image_model("vit")
    pixels, labels = grey_images(4)
    images = normalised(pixels).bfloat16()
    expected = fgsm(model, images.float(), labels, epsilon=EPSILON, mean=MEAN, std=STD)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = fgsm(model, images, labels, epsilon=EPSILON, mean=MEAN, std=STD)
    assert torch.equal(found, expected)


@pytest.mark.compiled
def test_a_compiled_model_is_attacked_as_the_plain_one():
    model = tiny_image_model("resnet")
    pixels, labels = grey_images(4)
    attack = partial(fgsm, epsilon=EPSILON, mean=MEAN, std=STD)
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(attack(compiled, normalised(pixels), labels), attack(model, normalised(pixels), labels))


# ---- what stays as it is ----


def state_of(model):
    """Everything of a model, and the random states, that an attack could change."""
    return {
        "weights and buffers": {name: value.clone() for name, value in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "flags": [p.requires_grad for p in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "forward": model.forward,
        "attributes": sorted(vars(model)),
        "random": (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()),
        "grad mode": (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")),
    }


def assert_same_state(one, other):
    assert_same_weights(one.pop("weights and buffers"), other.pop("weights and buffers"))
    gradients = zip(one.pop("gradients"), other.pop("gradients"), strict=True)
    assert all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in gradients)
    (torch_one, *rest_one), (torch_other, *rest_other) = one.pop("random"), other.pop("random")
    assert torch.equal(torch_one, torch_other) and rest_one == rest_other
    assert one == other


def a_model_in_the_middle_of_training():
    """Batch norms and dropout, some parts frozen, some in evaluation mode, some gradients there."""
    model = tiny_image_model("efficientnet").train()
    modules = list(model.modules())
    for module in modules[3::5]:
        module.training = False
    parameters = list(model.parameters())
    for parameter in parameters[::4]:
        parameter.requires_grad_(False)
    for parameter in parameters[1::4]:
        parameter.grad = torch.randn_like(parameter)
    assert any(isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training for module in modules)
    model.forward = partial(type(model).forward, model)
    return model


@pytest.mark.parametrize("grad_enabled", [True, False])
def test_nothing_of_the_model_changes(grad_enabled):
    model = a_model_in_the_middle_of_training()
    pixels, labels = grey_images(4)
    attack = partial(fgsm, epsilon=EPSILON, mean=MEAN, std=STD)
    batches = [{"pixel_values": normalised(pixels), "labels": labels}]
    with torch.set_grad_enabled(grad_enabled):
        before = state_of(model)
        attack(model, normalised(pixels), labels)
        adversarial_accuracy(model, batches, attack)
        assert_same_state(before, state_of(model))


def test_nothing_of_the_model_changes_in_an_error():
    model = a_model_in_the_middle_of_training()
    pixels, labels = grey_images(4)
    attack = partial(fgsm, epsilon=EPSILON, mean=MEAN, std=STD)

    def fail(module, args):
        raise RuntimeError("out of memory")

    handle = list(model.modules())[-1].register_forward_pre_hook(fail)
    before = state_of(model)
    with pytest.raises(RuntimeError, match="out of memory"):
        attack(model, normalised(pixels), labels)
    with pytest.raises(RuntimeError, match="out of memory"):
        adversarial_accuracy(
            model, [{"pixel_values": normalised(pixels), "labels": labels}], lambda model, images, labels: images
        )
    handle.remove()
    with pytest.raises(ValueError, match="hidden"):
        attack(model, normalised(pixels), labels - 100)
    assert_same_state(before, state_of(model))


def test_training_goes_on_as_if_nothing_had_been():
    pixels, labels = grey_images(4)

    def train(attacked):
        model = tiny_image_model("resnet").train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            F.cross_entropy(model(pixel_values=normalised(pixels)).logits, labels).backward()
            if attacked:
                fgsm(model, normalised(pixels), labels, epsilon=EPSILON, mean=MEAN, std=STD)
            optimizer.step()
            optimizer.zero_grad()
        return weights(model)

    assert_same_weights(train(False), train(True))


# ---- the accuracy ----


def batches_of(pixel_values, labels, size):
    return [
        {"pixel_values": pixel_values[i : i + size], "labels": labels[i : i + size]}
        for i in range(0, len(labels), size)
    ]


@pytest.mark.parametrize("size", [1, 4, 11])
def test_accuracy_counts_every_image_once(size):
    """Incomplete batches weigh as many images as they have."""
    model = tiny_image_model("vit")
    pixels, labels = grey_images(11)
    images = normalised(pixels)
    attack = partial(fgsm, epsilon=EPSILON, mean=MEAN, std=STD)
    expected = accuracy_of(model, attack(model, images, labels), labels)
    assert adversarial_accuracy(model, batches_of(images, labels, size), attack) == pytest.approx(expected.item())


def test_a_tiny_epsilon_leaves_the_accuracy_as_it_is():
    model = tiny_image_model("resnet")
    images = normalised(grey_images(30)[0])
    labels = model(pixel_values=images).logits.argmax(dim=1)
    labels[::3] = (labels[::3] + 1) % 3
    clean = accuracy_of(model, images, labels).item()
    assert clean == pytest.approx(2 / 3)
    batches = batches_of(images, labels, 8)
    assert adversarial_accuracy(model, batches, lambda model, images, labels: images) == pytest.approx(clean)
    found = [
        adversarial_accuracy(model, batches, partial(fgsm, epsilon=epsilon, mean=MEAN, std=STD))
        for epsilon in (1e-7, EPSILON)
    ]
    assert found[0] == pytest.approx(clean) and found[1] < clean


def test_what_processes_gather_is_what_is_counted():
    model = Linear(torch.eye(3, 60))
    pixels, labels = grey_images(6, (4, 5))

    def gather(tensors):
        return tuple(torch.cat([tensor, tensor])[:2] for tensor in tensors)

    def unchanged(model, images, labels):
        return images

    batches = batches_of(pixels, labels, 4)
    expected = np.mean([(pixels[i].flatten()[:3].argmax() == labels[i]).item() for i in (0, 1, 4, 5)])
    assert adversarial_accuracy(model, batches, unchanged, gather=gather) == pytest.approx(expected)


@pytest.mark.parametrize("precision", [{}, {"bf16": True}])
def test_with_the_loader_and_the_model_of_a_trainer(tmp_path, precision):
    """An incomplete last batch, raw images, and a model whose forward runs in half precision after training."""
    rows = image_rows(11)
    trainer = make_image_trainer(
        tmp_path, rows, mix_method="erm", learning_rate=1e-3, max_steps=2, per_device_eval_batch_size=4, **precision
    )
    trainer.train()
    trainer.evaluate(rows)
    mean, std = pixel_statistics(trainer.processing_class, 3)
    attack = partial(fgsm, epsilon=EPSILON, mean=mean, std=std)
    plain = tiny_image_model("vit")
    plain.load_state_dict(trainer.model.state_dict())
    batch = trainer.data_collator(rows)
    adversarial = attack(trainer.model, **batch)
    assert torch.equal(adversarial, attack(plain, **batch))
    expected = accuracy_of(plain, adversarial, batch["labels"])
    found = adversarial_accuracy(
        trainer.model, trainer.get_test_dataloader(rows), attack, gather=trainer.accelerator.gather_for_metrics
    )
    assert found == pytest.approx(expected.item())
    # The trainer evaluates in its own precision afterwards.
    one, other = (model(pixel_values=batch["pixel_values"]).logits for model in (trainer.model, plain))
    assert torch.equal(one, other) == (not precision)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 8}, r"`epsilon` must lie in \(0, 1\].*got 8.*8 / 255"),
        ({"epsilon": 0.0}, "got 0.0"),
        ({"epsilon": -0.1}, "got -0.1"),
        ({"epsilon": float("nan")}, "got nan"),
        ({"mean": [0.5]}, r"`mean` must hold one number for each channel.*\(1,\) and \(4, 3, 48, 32\)"),
        ({"std": [1.0, 0.0, 1.0]}, r"`std` must be finite, and above 0, got \[1.0, 0.0, 1.0\]"),
        ({"mean": [0.5, 0.5, float("inf")]}, "`mean` must be finite, got"),
        ({"mean": [0.0] * 3, "std": [1.0] * 3}, r"must lie in \[0, 1\], got a pixel of .*`pixel_statistics`"),
        ({"labels": torch.tensor([0, 1, 3, 0])}, r"`labels` must be classes in 0\.\.2, got 3"),
        ({"labels": torch.tensor([0, 1, -100, 0])}, "got -100.*hidden"),
        ({"labels": torch.tensor([0, 1])}, r"of shape \(4,\), got torch.int64 of shape \(2,\)"),
        ({"labels": torch.rand(4, 3)}, "got torch.float32"),
    ],
)
def test_bad_arguments(changes, message):
    pixels, labels = grey_images(4)
    settings = {"pixel_values": normalised(pixels), "labels": labels, "epsilon": EPSILON, "mean": MEAN, "std": STD}
    with pytest.raises(ValueError, match=message):
        fgsm(tiny_image_model("resnet"), **{**settings, **changes})


def test_images_without_channels():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4, 5\)"):
        fgsm(Linear(torch.eye(5)), torch.zeros(4, 5), torch.zeros(4).long(), epsilon=EPSILON, mean=MEAN, std=STD)


def test_a_model_in_half_precision():
    pixels, labels = grey_images(4)
    model = tiny_image_model("vit")
    model.classifier.half()
    with pytest.raises(ValueError, match=r"in float32 to be attacked, and its classifier.weight is in float16"):
        fgsm(model, normalised(pixels), labels, epsilon=EPSILON, mean=MEAN, std=STD)


def test_a_model_that_has_diverged():
    pixels, labels = grey_images(3, (4, 5))
    attack = partial(fgsm, epsilon=EPSILON, mean=MEAN, std=STD)
    model = Linear(torch.full((3, 60), float("nan")))
    with pytest.raises(ValueError, match="logits of `model` must be finite"):
        attack(model, normalised(pixels), labels)
    with pytest.raises(ValueError, match="logits of `model` must be finite"):
        adversarial_accuracy(model, batches_of(pixels, labels, 2), lambda model, images, labels: images)


def test_data_that_cannot_be_counted():
    model = Linear(torch.eye(3, 60))
    pixels, _ = grey_images(3, (4, 5))
    attack = partial(fgsm, epsilon=EPSILON, mean=MEAN, std=STD)
    with pytest.raises(ValueError, match="at least one batch"):
        adversarial_accuracy(model, [], attack)
    with pytest.raises(ValueError, match="no labels, only pixel_values"):
        adversarial_accuracy(model, [{"pixel_values": pixels}], attack)


# ---- PGD ----

PGD = {"epsilon": EPSILON, "step_size": 2 / 255, "steps": 3, "mean": MEAN, "std": STD}


class Waves(nn.Module):
    """Not linear, so that the sign of the gradient changes on the way; no gradient at every seventh pixel of 60."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = nn.Parameter(torch.randn(8, 60, generator=generator))
        self.second = nn.Parameter(torch.randn(3, 8, generator=generator))
        self.first.data[:, ::7] = 0.0

    def forward(self, pixel_values):
        return SimpleNamespace(logits=torch.sin(pixel_values.flatten(1) @ self.first.T) @ self.second.T)


def predicted(model, images):
    with torch.no_grad():
        return copy.deepcopy(model).eval()(pixel_values=images).logits.argmax(dim=1)


@few
@given(
    seed=st.integers(0, 2**16),
    epsilon=st.sampled_from([1e-4, 0.5 / 255, 8 / 255, 0.3, 1.0]),
    step_size=st.sampled_from([1e-4, 2 / 255, 0.1, 1.0]),
    steps=st.integers(0, 5),
)
def test_pgd_stays_in_the_ball_and_the_range(seed, epsilon, step_size, steps):
    pixels, labels = grey_images(3, (4, 5), seed)
    model = Waves(seed)
    images = normalised(pixels)
    found = pgd(model, images, labels, epsilon=epsilon, step_size=step_size, steps=steps, mean=MEAN, std=STD)
    assert found.dtype == torch.float32 and found.shape == images.shape and not found.requires_grad
    assert torch.equal(images, normalised(pixels))
    seen = found * per_channel(STD) + per_channel(MEAN)
    assert seen.min() >= -ROUNDING and seen.max() <= 1 + ROUNDING
    assert (seen - pixels).abs().max() <= epsilon + ROUNDING
    assert torch.equal(found.flatten(1)[:, ::7], images.flatten(1)[:, ::7])


@few
@given(seed=st.integers(0, 2**16), steps=st.integers(1, 6), step_size=st.sampled_from([0.4 / 255, 2 / 255]))
def test_pgd_of_a_linear_model_goes_straight(seed, steps, step_size):
    """The gradient is that of FGSM everywhere: PGD stays at the corner of the ball, in which FGSM put it."""
    pixels, labels = grey_images(2, (4, 5), seed)
    model = Linear(0.01 * torch.randn(2, 60, generator=torch.Generator().manual_seed(seed)))
    labels = labels.clamp(max=1)
    given_images = normalised(pixels)
    one = fgsm(model, given_images, labels, epsilon=EPSILON, mean=MEAN, std=STD)
    other = pgd(model, given_images, labels, epsilon=EPSILON, step_size=step_size, steps=steps, mean=MEAN, std=STD)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_pgd_with_no_step_is_fgsm():
    model = tiny_image_model("resnet")
    pixels, labels = grey_images(5)
    images = normalised(pixels)
    expected = fgsm(model, images, labels, epsilon=EPSILON, mean=MEAN, std=STD)
    assert torch.equal(pgd(model, images, labels, **{**PGD, "steps": 0}), expected)
    further = pgd(model, images, labels, **PGD)
    assert not torch.equal(further, expected)
    # Of another kind than FGSM with a larger step: some pixels came back.
    assert ((further - expected).abs() > 1e-4).any(dim=(1, 2, 3)).all()


def plain_pgd(model, pixels, label, epsilon, step_size, steps):
    """One image `(3, H, W)`: the images given, of FGSM, and of each step; the gradient by hand, in pixel space."""
    model = copy.deepcopy(model).eval()
    path = [pixels]
    for step in range(steps + 1):
        leaf = path[-1].clone().requires_grad_()
        logits = model(pixel_values=normalised(leaf)[None]).logits
        (-logits.log_softmax(dim=1)[0, label]).backward()
        moved = path[-1] + (epsilon if step == 0 else step_size) * leaf.grad.sign()
        moved = torch.minimum(torch.maximum(moved, pixels - epsilon), pixels + epsilon)
        path.append(torch.clip(moved, 0, 1))
    return path


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_pgd_equals_a_loop_over_images(family):
    model = tiny_image_model(family)
    pixels, labels = grey_images(4)
    found = pgd(model, normalised(pixels), labels, **PGD)
    expected = torch.stack(
        [plain_pgd(model, *image, EPSILON, 2 / 255, 3)[-1] for image in zip(pixels, labels.tolist(), strict=True)]
    )
    # The sign of what is nearly 0 depends on the order of a sum.
    same = (found - normalised(expected)).abs() < 1e-4
    assert same.float().mean() > 0.97
    assert ((expected - pixels).abs() < EPSILON - 1e-3).float().mean() > 0.05, "no pixel came back from the corner"


def test_pgd_raises_the_loss_above_that_of_fgsm():
    model = tiny_image_model("resnet")
    pixels, labels = grey_images(8)
    images = normalised(pixels)

    def loss(adversarial):
        with torch.no_grad():
            return F.cross_entropy(model(pixel_values=adversarial).logits, labels, reduction="none")

    small = {**PGD, "step_size": 0.5 / 255, "steps": 8}
    one_step = loss(fgsm(model, images, labels, epsilon=EPSILON, mean=MEAN, std=STD))
    assert (loss(pgd(model, images, labels, **small)) > one_step).float().mean() >= 0.75


def own_labels(model, images):
    """What the model says, but for every fourth image."""
    labels = predicted(model, images)
    labels[::4] = (labels[::4] + 1) % 3
    return labels


@pytest.mark.parametrize("size", [1, 4, 12])
@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_robust_accuracies_equal_a_loop(family, size):
    """Also where an attack turns a wrong image right, and where a later step undoes an earlier one."""
    model = tiny_image_model(family)
    pixels, _ = grey_images(12)
    images = normalised(pixels)
    labels = own_labels(model, images)
    settings = {**PGD, "epsilon": 1.5 / 255, "step_size": 0.5 / 255, "steps": 3}
    rows = []
    for image, label in zip(pixels, labels.tolist(), strict=True):
        path = plain_pgd(model, image, label, 1.5 / 255, 0.5 / 255, 3)
        right = [predicted(model, normalised(step)[None]).item() == label for step in path]
        rows.append([right[0], all(right[:2]), all(right)])
    found = robust_accuracies(model, batches_of(images, labels, size), **settings)
    clean, one_step, many_steps = np.mean(rows, axis=0)
    assert clean == pytest.approx(0.75) and one_step < clean
    assert found == RobustAccuracies(*(pytest.approx(share) for share in (clean, one_step, many_steps)))


class Turning(nn.Module):
    """A classifier of two classes whose logit of class 1 is a wave of one pixel's grey level."""

    def __init__(self, wave):
        super().__init__()
        self.unused, self.wave = nn.Parameter(torch.zeros(1)), wave

    def forward(self, pixel_values):
        logit = self.wave(pixel_values[:, 0, 0, 0])
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(logit), logit], dim=1))


def wrong_between(start, end):
    """Right (class 1) at all grey levels but those between two, and falling everywhere, so that attacks go up."""

    def wave(grey):
        wrong = (grey > start) & (grey < end)
        return torch.where(wrong, -1.0, 1.0) - 0.01 * grey

    return Turning(wave)


# Images of one pixel; the batch is not left early because of the second.
AND_ONE_THAT_STAYS_RIGHT = [
    {"pixel_values": torch.tensor([0.5, 0.1]).view(2, 1, 1, 1), "labels": torch.tensor([1, 1])}
]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ((0.9, 1.0), (1, 1, 1)),
        # The image itself, at 0.5: it does not matter that the attack makes it right.
        ((0.45, 0.55), (0, 0, 0)),
        # FGSM's, at 0.6.
        ((0.58, 0.62), (1, 0, 0)),
    ],
)
def test_every_iterate_counts(wrong, expected):
    found = robust_accuracies(
        wrong_between(*wrong), AND_ONE_THAT_STAYS_RIGHT, epsilon=0.1, step_size=0.03, steps=3, mean=[0.0], std=[1.0]
    )
    assert found == RobustAccuracies(*[(share + 1) / 2 for share in expected])


def test_an_iterate_on_the_way_counts():
    """FGSM jumps over the hill to 0.6, from where the loss rises towards 0.55 and then, past a kink, back again."""

    def wave(grey):
        # Right at 0.5 and 0.6; the loss rises from 0.6 downwards, is wrong at 0.57, and turns back below 0.58.
        downwards = torch.where(grey > 0.58, 1 + 50 * (grey - 0.6), -1 - 50 * (grey - 0.57))
        return torch.where(grey < 0.52, 1 - 50 * (grey - 0.5), downwards)

    images, labels = torch.full((1, 1, 1, 1), 0.5), torch.tensor([1])
    batches = AND_ONE_THAT_STAYS_RIGHT
    settings = {"epsilon": 0.1, "step_size": 0.03, "mean": [0.0], "std": [1.0]}
    model = Turning(wave)
    places = [pgd(model, images, labels, steps=steps, **settings).item() for steps in (0, 1, 2)]
    assert places == pytest.approx([0.6, 0.57, 0.6], abs=1e-5)
    assert [predicted(model, torch.full((1, 1, 1, 1), place)).item() for place in places] == [1, 0, 1]
    assert robust_accuracies(model, batches, steps=0, **settings) == RobustAccuracies(1.0, 1.0, 1.0)
    assert robust_accuracies(model, batches, steps=2, **settings) == RobustAccuracies(1.0, 1.0, 0.5)


@few
@given(
    seed=st.integers(0, 2**16),
    epsilon=st.sampled_from([0.5 / 255, 8 / 255, 0.3]),
    steps=st.integers(0, 4),
    size=st.integers(1, 8),
)
def test_robust_accuracies_are_in_order(seed, epsilon, steps, size):
    pixels, labels = grey_images(8, (4, 5), seed)
    model = Linear(torch.randn(3, 60, generator=torch.Generator().manual_seed(seed)))
    images = normalised(pixels)
    labels[:4] = predicted(model, images[:4])
    settings = {**PGD, "epsilon": epsilon, "steps": steps}
    found = robust_accuracies(model, batches_of(images, labels, size), **settings)
    assert 0 <= found.pgd <= found.fgsm <= found.clean <= 1
    assert found.clean == pytest.approx(accuracy_of(model, images, labels).item())
    attacked = predicted(model, fgsm(model, images, labels, epsilon=epsilon, mean=MEAN, std=STD)) == labels
    both = attacked & (predicted(model, images) == labels)
    assert found.fgsm == pytest.approx(both.float().mean().item())
    if steps == 0:
        assert found.pgd == found.fgsm


def test_images_of_a_batch_do_not_matter_to_each_other_in_pgd():
    model = tiny_image_model("resnet").train()
    pixels, labels = grey_images(5)
    together = pgd(model, normalised(pixels), labels, **PGD)
    alone = torch.cat([pgd(model, normalised(pixels[i : i + 1]), labels[i : i + 1], **PGD) for i in range(5)])
    assert ((together - alone).abs() > 1e-5).float().mean() < 5e-3


def test_pgd_runs_without_dropout():
    model = tiny_image_model("vit")
    noisy = copy.deepcopy(model).train()
    rates = [module for module in noisy.modules() if isinstance(module, nn.Dropout)]
    for module in rates:
        module.p = 0.5
    pixels, labels = grey_images(4)
    images = normalised(pixels)
    assert rates and not torch.equal(noisy(pixel_values=images).logits, noisy(pixel_values=images).logits)
    assert torch.equal(pgd(noisy, images, labels, **PGD), pgd(model, images, labels, **PGD))


@pytest.mark.parametrize("grad_enabled", [True, False])
def test_nothing_of_the_model_changes_in_pgd(grad_enabled):
    model = a_model_in_the_middle_of_training()
    pixels, labels = grey_images(4)
    with torch.set_grad_enabled(grad_enabled):
        before = state_of(model)
        pgd(model, normalised(pixels), labels, **PGD)
        robust_accuracies(model, batches_of(normalised(pixels), labels, 3), **PGD)
        assert_same_state(before, state_of(model))


def test_robust_accuracies_of_what_processes_gather():
    model = Linear(torch.eye(3, 60))
    pixels, labels = grey_images(6, (4, 5))

    def first_two(rows):
        return torch.cat([rows, rows])[:2]

    batches = batches_of(normalised(pixels), labels, 4)
    kept = batches_of(normalised(pixels[[0, 1, 4, 5]]), labels[[0, 1, 4, 5]], 2)
    assert robust_accuracies(model, batches, gather=first_two, **PGD) == robust_accuracies(model, kept, **PGD)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilon": 8}, r"`epsilon` must lie in \(0, 1\].*got 8"),
        ({"step_size": 2}, r"`step_size` must lie in \(0, 1\].*got 2.*2 / 255"),
        ({"step_size": 0.0}, "`step_size`.*got 0.0"),
        ({"step_size": float("nan")}, "`step_size`.*got nan"),
        ({"steps": -1}, "`steps` must be a whole number, at least 0, got -1"),
        ({"steps": 2.0}, "`steps`.*got 2.0"),
        ({"steps": True}, "`steps`.*got True"),
        ({"mean": [0.5]}, "`mean` must hold one number for each channel"),
    ],
)
def test_bad_arguments_of_pgd(changes, message):
    pixels, labels = grey_images(4)
    model = tiny_image_model("resnet")
    with pytest.raises(ValueError, match=message):
        pgd(model, normalised(pixels), labels, **{**PGD, **changes})
    with pytest.raises(ValueError, match=message):
        robust_accuracies(model, batches_of(normalised(pixels), labels, 2), **{**PGD, **changes})


def test_data_whose_robustness_cannot_be_counted():
    pixels, _ = grey_images(3, (4, 5))
    with pytest.raises(ValueError, match="at least one batch"):
        robust_accuracies(Linear(torch.eye(3, 60)), [], **PGD)
    with pytest.raises(ValueError, match="no labels, only pixel_values"):
        robust_accuracies(Linear(torch.eye(3, 60)), [{"pixel_values": pixels}], **PGD)


# ---- word embeddings ----


def padded(lengths, seed=1):
    """Token ids and attention mask, both `(B, L)`, of random texts of these lengths."""
    batch = tiny_batch(lengths, seed=seed)
    return batch["input_ids"], batch["attention_mask"]


def texts(model, rows=8):
    """Padded texts, and labels of which every fourth is wrong."""
    ids, mask = padded(tuple(4 + 3 * row % 11 for row in range(rows)), seed=3)
    inputs = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        labels = copy.deepcopy(model).eval()(**inputs).logits.argmax(dim=1)
    labels[::4] = (labels[::4] + 1) % 3
    return inputs, labels


def moved_by_hand(model, ids, mask, label, epsilon, norm):
    """The prediction for one text without padding after its attack, by way of `inputs_embeds`."""
    model = copy.deepcopy(model).eval()
    length = int(mask.sum())
    words = model.get_input_embeddings()(ids[:length]).detach().requires_grad_()
    logits = model(inputs_embeds=words[None]).logits
    (-logits.log_softmax(dim=1)[0, label]).backward()
    mean_norm = np.mean([word.norm().item() for word in words])
    if norm == "l2":
        change = epsilon * mean_norm * words.grad / (words.grad**2).sum().sqrt()
    else:
        change = epsilon * mean_norm / words.shape[1] ** 0.5 * words.grad.sign()
    with torch.no_grad():
        return model(inputs_embeds=(words + change)[None]).logits.argmax().item()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_embedding_fgsm_equals_a_loop_over_texts(family, norm):
    model = tiny_model(family)
    inputs, labels = texts(model, 12)
    epsilons = [0.05, 0.3, 2.0]
    found = embedding_fgsm(model, inputs, labels, epsilons=epsilons, norm=norm)
    assert found.dtype == torch.bool and found.shape == (4, 12)
    assert found[0].tolist() == [row % 4 != 0 for row in range(12)]
    for row, (ids, mask, label) in enumerate(zip(*inputs.values(), labels.tolist(), strict=True)):
        for epsilon, right in zip(epsilons, found[1:, row].tolist(), strict=True):
            by_hand = moved_by_hand(model, ids, mask, label, epsilon, norm) == label
            assert right == (by_hand and row % 4 != 0)
    assert found[1].sum() > found[3].sum()


class BagOfWords(nn.Module):
    """A classifier of the sum of its word embeddings that sees its own padding; keeps what it read."""

    def __init__(self, scale=1.0):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.words, self.head = nn.Embedding(60, 6), nn.Linear(6, 3)
        with torch.no_grad():
            self.words.weight.copy_(torch.randn(60, 6, generator=generator))
            self.head.weight.copy_(scale * torch.randn(3, 6, generator=generator))
        self.read = []

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask=None):
        embeddings = self.words(input_ids)
        self.read.append(embeddings.detach().clone())
        return SimpleNamespace(logits=self.head(torch.tanh(embeddings).sum(dim=1)))


@few
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    epsilon=st.floats(1e-3, 10),
    seed=st.integers(0, 2**16),
    norm=st.sampled_from(["l2", "linf"]),
)
def test_how_far_word_embeddings_move(lengths, epsilon, seed, norm):
    model = BagOfWords()
    ids, mask = padded(tuple(lengths), seed=seed)
    labels = torch.randint(0, 3, (len(lengths),), generator=torch.Generator().manual_seed(seed))
    inputs = {"input_ids": ids, "attention_mask": mask}
    embedding_fgsm(model, inputs, labels, epsilons=[epsilon, 2 * epsilon], norm=norm)
    clean, once, twice = model.read
    torch.testing.assert_close(twice - clean, 2 * (once - clean), atol=1e-4, rtol=1e-3)
    for row, length in enumerate(lengths):
        change = (once - clean)[row]
        mean_norm = clean[row, :length].norm(dim=1).mean()
        assert not change[length:].any()
        if norm == "l2":
            torch.testing.assert_close(change.norm(), epsilon * mean_norm, atol=1e-4, rtol=1e-3)
        else:
            expected = (epsilon * mean_norm / 6**0.5).expand(length, 6)
            torch.testing.assert_close(change[:length].abs(), expected, atol=1e-4, rtol=1e-3)


class OneWord(nn.Module):
    """Of texts of one word, whose embedding is the number 0.5: the classifier of a wave."""

    def __init__(self, wave):
        super().__init__()
        self.words, self.wave = nn.Embedding(1, 1, _weight=torch.tensor([[0.5]])), wave

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids):
        logit = self.wave(self.words(input_ids)[:, 0, 0])
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(logit), logit], dim=1))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ((0.9, 1.0), (True, True, True)),
        # The text itself, at 0.5: it does not matter that the attack makes it right.
        ((0.45, 0.55), (False, False, False)),
        # The smaller step, to 0.6.
        ((0.58, 0.62), (True, False, True)),
    ],
)
def test_a_text_is_to_be_right_without_the_attack(wrong, expected):
    model = OneWord(wrong_between(*wrong).wave)
    found = embedding_fgsm(model, {"input_ids": torch.zeros(1, 1).long()}, torch.tensor([1]), epsilons=[0.2, 0.4])
    assert tuple(found[:, 0].tolist()) == expected


def test_without_a_mask_every_token_is_real():
    model = BagOfWords()
    ids, mask = padded((3, 7))
    embedding_fgsm(model, {"input_ids": ids}, torch.tensor([0, 1]), epsilons=[0.5])
    embedding_fgsm(model, {"input_ids": ids, "attention_mask": mask}, torch.tensor([0, 1]), epsilons=[0.5])
    all_, real = model.read[1] - model.read[0], model.read[3] - model.read[2]
    assert all_[0, 3:].abs().sum(dim=1).all() and not real[0, 3:].any()


@pytest.mark.parametrize(("certainty", "moves"), [(57.0, True), (200.0, False)])
def test_texts_that_are_certain(certainty, moves):
    """First the gradient is not 0, but the square of it is in float32; then it is 0 itself."""
    model = BagOfWords(scale=0.1)
    model.head.bias.data = torch.tensor([certainty, 0.0, 0.0])
    ids, mask = padded((3, 6))
    found = embedding_fgsm(model, {"input_ids": ids, "attention_mask": mask}, torch.zeros(2).long(), epsilons=[0.5])
    assert found.all()
    clean, moved = model.read
    for row, length in enumerate((3, 6)):
        expected = 0.5 * clean[row, :length].norm(dim=1).mean() if moves else torch.tensor(0.0)
        torch.testing.assert_close((moved - clean)[row].norm(), expected, atol=1e-6, rtol=1e-3)


def hooks_of(model):
    return [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]


@pytest.mark.parametrize("family", FAMILIES)
def test_embedding_fgsm_of_every_family(family):
    """In evaluation mode, whatever the mode; each text as it would be alone with its padding; no hook stays."""
    if not has_family(family):
        pytest.skip(f"{family} is not in this transformers")
    model = tiny_model(family, dropout=0.3).train()
    ids, mask = padded((12, 7, 10, 4))
    inputs = {"input_ids": ids} if family == "fnet" else {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        labels = copy.deepcopy(model).eval()(**inputs).logits.argmax(dim=1)
    before = hooks_of(model)
    found = embedding_fgsm(model, inputs, labels, epsilons=[1e-4, 30.0])
    assert model.training and hooks_of(model) == before
    assert found[:2].all() and not found[2].all()
    found = embedding_fgsm(model, inputs, labels, epsilons=[0.5])
    rows = [{name: values[row : row + 1] for name, values in inputs.items()} for row in range(4)]
    alone = [
        embedding_fgsm(copy.deepcopy(model).eval(), row, label[None], epsilons=[0.5])
        for row, label in zip(rows, labels, strict=True)
    ]
    assert torch.equal(found, torch.cat(alone, dim=1))


def test_embedding_fgsm_of_a_model_with_peft():
    peft = pytest.importorskip("peft")
    model = tiny_model("bert")
    inputs, labels = texts(model)
    expected = embedding_fgsm(model, inputs, labels, epsilons=[0.1, 0.5])
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"])
    adapted = peft.get_peft_model(copy.deepcopy(model), config).train()
    trainable = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    # A fresh adapter adds 0.
    assert torch.equal(embedding_fgsm(adapted, inputs, labels, epsilons=[0.1, 0.5]), expected)
    assert trainable == [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]


@pytest.mark.compiled
def test_a_compiled_model_of_texts_is_attacked_as_the_plain_one():
    model = tiny_model("bert")
    inputs, labels = texts(model)
    compiled = torch.compile(model, backend="eager")
    compiled(**inputs)
    found = embedding_fgsm(compiled, inputs, labels, epsilons=[0.1, 0.5])
    assert torch.equal(found, embedding_fgsm(model, inputs, labels, epsilons=[0.1, 0.5]))
    assert not found[2].all() and found.any()


@pytest.mark.parametrize("size", [1, 5, 11])
def test_embedding_accuracy_counts_every_text_once(size):
    model = tiny_model("bert")
    inputs, labels = texts(model, 11)
    rows = embedding_fgsm(model, inputs, labels, epsilons=[0.1, 1.0], norm="linf").float().mean(dim=1).tolist()
    batches = [
        {name: values[i : i + size] for name, values in {**inputs, "labels": labels}.items()}
        for i in range(0, 11, size)
    ]
    found = embedding_fgsm_accuracy(model, batches, epsilons=[0.1, 1.0], norm="linf")
    assert found == {0.0: pytest.approx(rows[0]), 0.1: pytest.approx(rows[1]), 1.0: pytest.approx(rows[2])}
    assert found[0.0] == pytest.approx(8 / 11) and found[1.0] < found[0.0]


def test_embedding_accuracy_of_what_processes_gather():
    model = tiny_model("bert")
    inputs, labels = texts(model, 6)
    batches = [{**inputs, "labels": labels}]
    found = embedding_fgsm_accuracy(model, batches, epsilons=[1e-4], gather=lambda rows: rows[:2])
    assert found == {0.0: 0.5, 1e-4: 0.5}


@pytest.mark.parametrize("grad_enabled", [True, False])
def test_nothing_of_the_model_changes_in_embedding_fgsm(grad_enabled):
    model = tiny_model("bert", dropout=0.3).train()
    parameters = list(model.parameters())
    for parameter in parameters[::4]:
        parameter.requires_grad_(False)
    for parameter in parameters[1::4]:
        parameter.grad = torch.randn_like(parameter)
    next(model.children()).eval()
    inputs, labels = texts(model)
    with torch.set_grad_enabled(grad_enabled):
        before, hooks = state_of(model), hooks_of(model)
        embedding_fgsm_accuracy(model, [{**inputs, "labels": labels}], epsilons=[0.1, 0.5])
        assert_same_state(before, state_of(model))
    assert hooks_of(model) == hooks


@pytest.mark.parametrize("at_forward", [1, 2])
def test_no_hook_stays_after_an_error(at_forward):
    model = tiny_model("bert").train()
    inputs, labels = texts(model)
    calls = []

    def fail(module, args):
        calls.append(module)
        if len(calls) == at_forward:
            raise RuntimeError("out of memory")

    handle = model.classifier.register_forward_pre_hook(fail)
    before, hooks = state_of(model), hooks_of(model)
    with pytest.raises(RuntimeError, match="out of memory"):
        embedding_fgsm(model, inputs, labels, epsilons=[0.5])
    assert hooks_of(model) == hooks
    assert_same_state(before, state_of(model))
    handle.remove()


def test_half_precision_around_embedding_fgsm_does_not_matter():
    model = tiny_model("bert")
    inputs, labels = texts(model)
    expected = embedding_fgsm(model, inputs, labels, epsilons=[0.3])
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(embedding_fgsm(model, inputs, labels, epsilons=[0.3]), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epsilons": []}, r"`epsilons` must be different finite numbers above 0.*got \[\]"),
        ({"epsilons": [0.5, 0.0]}, r"got \[0.5, 0.0\]"),
        ({"epsilons": [0.5, 0.5]}, "different"),
        ({"epsilons": [float("inf")]}, "finite"),
        ({"epsilons": [float("nan")]}, "finite"),
        ({"norm": "l1"}, "`norm` must be one of 'l2', 'linf', got 'l1'"),
        ({"labels": torch.tensor([0, 1])}, r"one int64 class a text, of shape \(8,\)"),
        ({"labels": torch.tensor([0, 1, 2, 3, 0, 0, 0, 0])}, "got 3.*leave a text without a label out"),
        ({"inputs": {"inputs_embeds": torch.zeros(8, 4, 32)}}, "must have input_ids.*got inputs_embeds"),
        ({"inputs": {"input_ids": torch.ones(8).long()}}, r"got those of shape \(8,\)"),
        (
            {"inputs": {"input_ids": torch.ones(8, 3).long(), "attention_mask": torch.ones(8, 1, 3, 3)}},
            r"`attention_mask` must have the shape of input_ids, \(8, 3\), got \(8, 1, 3, 3\)",
        ),
        (
            {"inputs": {"input_ids": torch.ones(2, 3).long(), "attention_mask": torch.tensor([[1, 1, 0], [0, 0, 0]])}},
            "a token in every row, row 1 has none",
        ),
    ],
)
def test_bad_arguments_of_embedding_fgsm(changes, message):
    model = tiny_model("bert")
    inputs, labels = texts(model)
    with pytest.raises(ValueError, match=message):
        embedding_fgsm(model, **{"inputs": inputs, "labels": labels, "epsilons": [0.5], **changes})


class LooksUp(BagOfWords):
    """Looks up its words another number of times than once, or as one long text."""

    def __init__(self, times, flat=False):
        super().__init__()
        self.times, self.flat = times, flat

    def forward(self, input_ids, attention_mask=None):
        ids = input_ids.flatten() if self.flat else input_ids
        found = [self.words(ids) for _ in range(self.times)] or [self.words.weight[ids]]
        return SimpleNamespace(logits=self.head(sum(found).view(*input_ids.shape, 6).sum(dim=1)))


@pytest.mark.parametrize(
    ("times", "flat", "message"),
    [
        (0, False, "LooksUp was called 0 times"),
        (2, False, "LooksUp was called 2 times"),
        (1, True, r"LooksUp returned \(8, 6\) for input_ids of shape \(2, 4\)"),
    ],
)
def test_models_that_look_up_words_otherwise(times, flat, message):
    model = LooksUp(times, flat)
    ids = torch.ones(2, 4).long()
    with pytest.raises(ValueError, match=rf"must look up its words once.*{message}"):
        embedding_fgsm(model, {"input_ids": ids}, torch.zeros(2).long(), epsilons=[0.5])
    assert not any(any(pair) for pair in hooks_of(model))


def test_a_model_without_word_embeddings(monkeypatch):
    """CANINE hashes its characters, and transformers then raises."""
    model = LooksUp(1)

    def missing():
        raise NotImplementedError("not auto-handled")

    monkeypatch.setattr(model, "get_input_embeddings", missing)
    with pytest.raises(ValueError, match="LooksUp has none there"):
        embedding_fgsm(model, {"input_ids": torch.ones(2, 4).long()}, torch.zeros(2).long(), epsilons=[0.5])


def test_texts_that_cannot_be_counted():
    model = tiny_model("bert")
    inputs, _ = texts(model)
    with pytest.raises(ValueError, match="at least one batch"):
        embedding_fgsm_accuracy(model, [], epsilons=[0.5])
    with pytest.raises(ValueError, match="no labels, only input_ids, attention_mask"):
        embedding_fgsm_accuracy(model, [inputs], epsilons=[0.5])
    with pytest.raises(ValueError, match="in float32 to be attacked"):
        embedding_fgsm(model.half(), inputs, torch.zeros(8).long(), epsilons=[0.5])
