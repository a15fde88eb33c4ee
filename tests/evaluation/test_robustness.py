"""FGSM against plain loops with autograd written out; what it must never leave, and what it must leave alone."""

from __future__ import annotations

import copy
import random
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from image_runs import image_rows, make_image_trainer
from runs import assert_same_weights, weights
from tiny import IMAGE_SIZE, tiny_image_model
from torch import nn

from mixtext_hf.cli.embedded import small_image_processor
from mixtext_hf.data.image_collator import pixel_statistics
from mixtext_hf.evaluation.robustness import adversarial_accuracy, fgsm


few = settings(max_examples=40, deadline=None)
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
