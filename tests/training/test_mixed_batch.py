"""A batch of a run as it is mixed is the one that the run itself trains on."""

from __future__ import annotations

import pytest
import torch
from image_runs import image_rows, make_image_trainer
from runs import arguments, make_trainer, series
from tiny import tiny_image_model, tiny_model

from mixtext_hf.methods import METHODS, CutMix
from mixtext_hf.models import make_mixable
from mixtext_hf.training.mixed_batch import mixed_batch


PIXEL_MIXES = [name for name, kind in METHODS.items() if kind.mixes_pixels and kind.mixes]


def image_trainer(folder, **settings):
    settings = {"per_device_train_batch_size": 6, "image_augmentations": ["flip"], "mix_per": "example", **settings}
    # Nothing in a ResNet attends.
    model = tiny_image_model("vit" if settings.get("mix_method") == "transmix" else "resnet")
    return make_image_trainer(folder, image_rows(18), model=model, **settings)


def trained_on(trainer):
    """The images that a whole run puts into its network while it learns."""
    seen = []

    def look(model, args, kwargs):
        if model.training and torch.is_grad_enabled():
            seen.append(kwargs["pixel_values"].detach().clone())

    hook = trainer.model.register_forward_pre_hook(look, with_kwargs=True)
    trainer.train()
    hook.remove()
    return seen


@pytest.mark.parametrize("name", PIXEL_MIXES)
def test_images_are_those_that_the_run_trains_on(tmp_path, name):
    whole = image_trainer(tmp_path / "whole", mix_method=name)
    seen = trained_on(whole)
    for step in (0, 2):
        batch = mixed_batch(image_trainer(tmp_path / str(step), mix_method=name), step)
        assert torch.equal(batch.images, seen[step])
        assert batch.weight.mean().item() == pytest.approx(series(whole, "mix_weight")[step], abs=1e-6)
        assert len(batch.masks) == 6


@pytest.mark.parametrize("name", PIXEL_MIXES)
def test_masks_say_what_is_shown(tmp_path, name):
    batch = mixed_batch(image_trainer(tmp_path, mix_method=name), rows=[0, 3, 99])
    assert list(batch.masks) == [0, 3]
    own = batch.inputs["pixel_values"]
    for row, mask in batch.masks.items():
        if name != "transmix":  # whose labels follow what is looked at
            assert float(batch.weight[row]) == pytest.approx(mask.mean().item(), abs=1e-5)
        if name in ("mixup", "cutmix", "mixup_cutmix", "maskmix", "transmix"):
            mixed = mask * own[row] + (1 - mask) * own[batch.plan.index[row]]
            torch.testing.assert_close(batch.images[row], mixed)


def test_rows_without_a_label_are_unmixed(tmp_path):
    rows = image_rows(6)
    rows[0]["label"] = -1
    trainer = make_image_trainer(tmp_path, rows, method=CutMix(), per_device_train_batch_size=6)
    batch = mixed_batch(trainer)
    hidden = batch.labels.tolist().index(-100)
    assert not batch.is_mixed(hidden) and batch.weight[hidden] == 1 and bool((batch.masks[hidden] == 1).all())
    assert torch.equal(batch.images[hidden], batch.inputs["pixel_values"][hidden])


def test_a_loss_on_clean_images_comes_first(tmp_path):
    settings = {"mix_method": "puzzlemix", "mix_kwargs": {"clean_lam": 1.0}}
    seen = trained_on(image_trainer(tmp_path / "whole", **settings))
    batch = mixed_batch(image_trainer(tmp_path / "one", **settings))
    assert torch.equal(batch.inputs["pixel_values"], seen[0])
    torch.testing.assert_close(batch.images, seen[1])


@pytest.mark.parametrize("name", ["erm", "augmix", "manifold_mixup"])
def test_what_mixes_no_pixels_shows_none(tmp_path, name):
    settings = {} if name == "manifold_mixup" else {"mix_per": "batch"}
    batch = mixed_batch(image_trainer(tmp_path, mix_method=name, **settings))
    assert batch.images is None and batch.masks == {}
    assert (batch.plan.layer is not None) == (name == "manifold_mixup")
    assert ("views" in batch.inputs) == (name == "augmix")


def test_texts_mix_as_in_the_run(tmp_path):
    args = {"mix_method": "tmix", "gradient_accumulation_steps": 2}
    whole = make_trainer(tiny_model(), arguments(tmp_path / "whole", **args))
    whole.train()
    for step in (0, 1):
        batch = mixed_batch(make_trainer(tiny_model(), arguments(tmp_path / "one", **args)), step)
        _, _, plan = whole.plans[2 * step]
        assert torch.equal(batch.plan.index, plan.index) and torch.equal(batch.plan.lam, plan.lam)
        assert batch.plan.layer == plan.layer is not None


def ready_made(kwargs, mix_method):
    return {"mix_method": mix_method, "mix_kwargs": kwargs, "mix_per": "batch" if mix_method == "ssmix" else "example"}


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("ssmix", {"share": 0.3}),
        ("ssmix", {"share": 0.3, "saliency": "random"}),
        ("puzzle_tmix", {}),
        ("puzzle_tmix", {"xi": 0.05}),
    ],
)
def test_tokens_mix_as_in_the_run(tmp_path, name, kwargs):
    """What is shown of a batch explains its weights, and nothing is shown of rows that were not asked for."""
    batch = mixed_batch(make_trainer(tiny_model(), arguments(tmp_path, **ready_made(kwargs, name))), rows=[0, 3, 99])
    index, ids = batch.plan.index, batch.inputs["input_ids"]
    partners = {int(index[0]), int(index[3])}
    assert list(batch.masks) == [0, 3]
    assert set(batch.saliency) == (set() if "saliency" in kwargs else {0, 3, *partners})
    assert set(batch.sources) == ({0, 3} if name == "ssmix" or kwargs else set())
    is_word = batch.segments > 0
    for row in (0, 3):
        partner = int(index[row])
        counted = is_word[row] if name == "ssmix" else is_word[row] | is_word[partner]
        assert float(batch.weight[row]) == pytest.approx(batch.masks[row][counted].mean().item(), abs=1e-6)
        if name == "ssmix":
            own, other = batch.sources[row].unbind(dim=1)
            taken = torch.where(batch.masks[row] == 1, ids[row][own], ids[partner][other])
            assert torch.equal(batch.tokens[row], taken)
    for row, saliency in batch.saliency.items():
        assert bool((saliency >= 0).all()) and bool((saliency[~is_word[row]] == 0).all()) and saliency.sum() > 0


def test_the_saliency_is_that_of_the_texts_as_they_are(tmp_path):
    args = arguments(tmp_path, mix_method="puzzle_tmix", mix_layers=[2])
    batch = mixed_batch(make_trainer(tiny_model(), args))
    model = tiny_model()
    with make_mixable(model).watching(2) as watched:
        logits = model(**batch.inputs).logits
    torch.nn.functional.cross_entropy(logits, batch.labels).backward()
    for row, saliency in batch.saliency.items():
        expected = watched.gradient[row].norm(dim=1) * watched.states[row].norm(dim=1) * (batch.segments[row] > 0)
        torch.testing.assert_close(saliency / saliency.sum(), expected / expected.sum(), rtol=1e-4, atol=1e-6)


def test_a_step_that_the_run_has_not(tmp_path):
    trainer = image_trainer(tmp_path, mix_method="mixup")
    with pytest.raises(ValueError, match=r"step=3: the run has 3 steps, name one of 0 to 2"):
        mixed_batch(trainer, 3)
    assert "_training_loss" not in vars(trainer)
