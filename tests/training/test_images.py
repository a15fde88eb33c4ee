"""The trainer on images: methods that mix pixels, augmentations counted per example, and what it refuses."""

from __future__ import annotations

import shutil

import datasets
import numpy as np
import pytest
import torch
import transformers
from image_runs import GivenPlanTrainer, image_rows, make_image_trainer, run_images
from PIL import Image
from runs import (
    RecordingTrainer,
    StopAt,
    arguments,
    assert_same_trajectory,
    assert_same_weights,
    make_trainer,
    series,
    weights,
)
from tiny import IMAGE_SIZE, tiny_image_model, tiny_model

from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.methods import METHODS, AugMix, PuzzleMix
from mixtext_hf.mixing import Blocks, MixPlan
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer, MixTrainingArguments


ON_IMAGES = ["erm", "manifold_mixup", "pooled_mixup", *(name for name, kind in METHODS.items() if kind.mixes_pixels)]


@pytest.mark.parametrize("name", ON_IMAGES)
@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_every_method_trains(tmp_path, name, family):
    if name == "transmix" and family == "resnet":
        pytest.skip("nothing in it attends")
    trainer = make_image_trainer(
        tmp_path, image_rows(12), model=tiny_image_model(family), mix_method=name, per_device_train_batch_size=4
    )
    before = weights(trainer.model)
    trainer.train()
    losses = series(trainer, "loss")
    assert len(losses) == 3 and np.isfinite(losses).all()
    terms = series(trainer, "loss_supervised")
    if name == "augmix":
        terms = [one + other for one, other in zip(terms, series(trainer, "loss_consistency"), strict=True)]
    assert losses == pytest.approx(terms, rel=1e-3)
    after = weights(trainer.model)
    assert any(not torch.equal(after[name], before[name]) for name in after)
    assert trainer.model.config.mixtext["method"] == name


def test_a_method_is_chosen_where_none_is_named(tmp_path):
    assert make_image_trainer(tmp_path).method == METHODS["mixup"]()


def test_rows_of_a_data_set_keep_their_images(tmp_path):
    """Unused columns are removed by the Trainer: the image and the label are not among them."""
    rows = image_rows(8)
    table = datasets.Dataset.from_dict(
        {"img": [row["image"].tolist() for row in rows], "label": [row["label"] for row in rows], "other": [0] * 8}
    )
    one = make_image_trainer(tmp_path, table, mix_method="erm", data_seed=1)
    two = make_image_trainer(tmp_path, rows, mix_method="erm", data_seed=1)
    for trainer in (one, two):
        trainer.train()
    assert series(one, "loss") == series(two, "loss")
    assert one.evaluate(table)["eval_loss"] == pytest.approx(two.evaluate(rows)["eval_loss"])


def test_columns_are_learnt_from_what_is_evaluated(tmp_path):
    rows = image_rows(8)
    table = datasets.Dataset.from_dict(
        {"img": [row["image"].tolist() for row in rows], "fine_label": [row["label"] for row in rows]}
    )
    trainer = MixTrainer(
        tiny_image_model(), arguments(tmp_path), processing_class=small_image_processor(IMAGE_SIZE, 3)
    )
    expected = make_image_trainer(tmp_path).evaluate(rows)["eval_loss"]
    assert trainer.evaluate(table)["eval_loss"] == pytest.approx(expected)
    assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(expected)


def test_a_transform_may_make_the_pixels(tmp_path):
    """As in the tutorials of transformers: `with_transform`, and `remove_unused_columns=False`."""
    rows, processor = image_rows(8), small_image_processor(IMAGE_SIZE, 3)
    table = datasets.Dataset.from_dict(
        {"image": [row["image"].tolist() for row in rows], "label": [row["label"] for row in rows]}
    )

    def to_pixels(batch):
        images = [np.array(image, dtype=np.uint8) for image in batch.pop("image")]
        return {**batch, "pixel_values": processor(images, return_tensors="pt")["pixel_values"]}

    trainer = make_image_trainer(
        tmp_path, table.with_transform(to_pixels), mix_method="cutmix", remove_unused_columns=False
    )
    trainer.train()
    expected = make_image_trainer(tmp_path, mix_method="cutmix").evaluate(rows)["eval_loss"]
    fresh = make_image_trainer(tmp_path, table.with_transform(to_pixels), remove_unused_columns=False)
    assert fresh.evaluate(table.with_transform(to_pixels))["eval_loss"] == pytest.approx(expected)


def test_the_names_of_timm_choose_no_other_method(tmp_path):
    assert make_image_trainer(tmp_path, mix_kwargs={"mixup_alpha": 0.2}).method == METHODS["mixup"](alpha=0.2)


# ---- invariances ----


@pytest.mark.parametrize("clean_lam", [0.0, 0.5])
def test_accumulation_does_not_change_puzzlemix(tmp_path, clean_lam):
    """The saliency pass leaves the gradients alone that are being accumulated."""
    method = PuzzleMix(clean_lam=clean_lam, n_labels=2)
    reference = run_images(tmp_path, 16, 1, method)
    assert_same_trajectory(reference, run_images(tmp_path, 8, 2, method))
    assert_same_trajectory(reference, run_images(tmp_path, 4, 4, method))


@pytest.mark.parametrize(
    ("name", "workers"), [("puzzlemix", 0), ("puzzlemix", 2), ("augmix", 0), ("augmix", 2), ("cutmix", 2)]
)
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, name, workers):
    extra = {"adv_p": 0.5} if name == "puzzlemix" else {}

    def train(folder, callbacks=(), resume=None, persistent=False):
        trainer = make_image_trainer(
            tmp_path / folder,
            image_rows(20),
            mix_method=name,
            mix_kwargs=extra or None,
            image_augmentations=["flip", "crop:3"],
            per_device_train_batch_size=4,
            num_train_epochs=2,
            optim="adamw_torch",
            learning_rate=1e-3,
            save_strategy="steps",
            save_steps=1,
            dataloader_num_workers=workers,
            dataloader_persistent_workers=persistent,
            callbacks=callbacks,
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    whole = train("whole")
    for stop in (3, 7):
        if stop == 3:
            train("at3", [StopAt(3)])
        else:  # as if the undisturbed run had been killed
            shutil.copytree(tmp_path / "whole" / f"checkpoint-{stop}", tmp_path / f"at{stop}" / f"checkpoint-{stop}")
        assert_same_weights(weights(whole.model), weights(train(f"at{stop}", resume=True).model))
    if workers:
        assert_same_weights(weights(whole.model), weights(train("persistent", persistent=True).model))


def test_the_best_model_has_its_weights(tmp_path):
    """Some types are saved under other names than their modules have, ViT among them."""
    rows = image_rows(16)
    trainer = make_image_trainer(
        tmp_path,
        rows,
        mix_method="erm",
        learning_rate=1.0,  # every step makes it worse
        max_steps=3,
        save_strategy="steps",
        save_steps=1,
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        eval_dataset=rows,
    )
    trainer.train()
    losses = series(trainer, "eval_loss")
    assert len(set(losses)) > 1
    assert trainer.evaluate()["eval_loss"] == pytest.approx(min(losses))


def test_augmentations_differ_between_epochs_and_not_between_workers(tmp_path):
    def pixels(workers):
        trainer = make_image_trainer(
            tmp_path, image_rows(8), mix_method="erm", image_augmentations=["crop:3"], dataloader_num_workers=workers
        )
        seen = []
        for epoch in (0, 1):
            loader = trainer.get_train_dataloader()
            loader.set_epoch(epoch)
            (batch,) = list(loader)
            order = batch["pixel_values"].flatten(1).sum(dim=1).argsort()
            seen.append(batch["pixel_values"][order])
        return seen

    first, second = pixels(0)
    assert not torch.equal(first, second)
    again = pixels(2)
    assert torch.equal(first, again[0]) and torch.equal(second, again[1])


def test_reduced_precision_takes_the_saliency_in_float32(tmp_path):
    """Under bf16 the pass for the saliency sees and makes float32, and the mixed images are trained on all the same."""
    trainer = make_image_trainer(
        tmp_path, image_rows(8), kind=GivenPlanTrainer, method=PuzzleMix(n_labels=2), bf16=True, max_steps=1
    )
    dtypes = []
    layer = trainer.model.vit.layers[0] if hasattr(trainer.model.vit, "layers") else trainer.model.vit.encoder.layer[0]
    linear = next(module for module in layer.modules() if isinstance(module, torch.nn.Linear))
    linear.register_forward_hook(lambda module, args, output: dtypes.append((trainer.model.training, output.dtype)))
    trainer.train()
    assert dtypes == [(False, torch.float32), (True, torch.bfloat16)]


def test_weights_of_half_precision_have_a_saliency_too(tmp_path):
    """A ResNet does not cast its pixels itself."""
    model = tiny_image_model("resnet").to(torch.bfloat16)
    trainer = make_image_trainer(tmp_path, image_rows(8), model=model, mix_method="puzzlemix", bf16=True, max_steps=1)
    trainer.train()
    assert series(trainer, "saliency_undefined") == [0]


def test_augmix_compares_classes(tmp_path):
    model = tiny_image_model("vit", problem_type="multi_label_classification")
    with pytest.raises(ValueError, match="augmix compares distributions over classes, but the task is multi_label"):
        make_image_trainer(tmp_path, model=model, mix_method="augmix")


def test_names_of_timm_change_the_recipe_of_a_model(tmp_path):
    model = tiny_image_model("vit")
    model.config.mixtext = {"method": "cutmix", "hyperparameters": {"alpha": 1.0, "correct_lam": False}}
    trainer = make_image_trainer(tmp_path, model=model, mix_kwargs={"cutmix_alpha": 0.3})
    assert (trainer.method.name, trainer.method.alpha, trainer.method.correct_lam) == ("cutmix", 0.3, False)


@pytest.mark.compiled
@pytest.mark.parametrize("clean_lam", [0.0, 0.5])
def test_a_compiled_model_has_the_saliency_of_the_plain_one(tmp_path, clean_lam):
    def losses(**settings):
        trainer = make_image_trainer(
            tmp_path,
            image_rows(8),
            kind=GivenPlanTrainer,
            model=tiny_image_model("resnet"),
            method=PuzzleMix(n_labels=2, clean_lam=clean_lam),
            max_steps=2,
            **settings,
        )
        trainer.train()
        return series(trainer, "loss")

    assert losses(torch_compile=True, torch_compile_backend="eager") == pytest.approx(losses(), rel=1e-4)


def test_the_saliency_leaves_nothing_behind_that_evaluation_would_use(tmp_path):
    """LeViT keeps biases in evaluation mode until it is told to train; they are of older weights by then."""
    model = tiny_image_model("levit")
    make_image_trainer(
        tmp_path, image_rows(8, (64, 64)), model=model, mix_method="puzzlemix", max_steps=1, size=(64, 64)
    ).train()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        after = model.eval()(pixel_values=pixels).logits
        assert torch.equal(model.train().eval()(pixel_values=pixels).logits, after)


@pytest.mark.parametrize("family", ["clip", "siglip", "vit"])
@pytest.mark.parametrize("of_the_collator", [False, True])
def test_the_normalisation_is_known(tmp_path, family, of_the_collator):
    """Also of models of images and text, whose config has the channels in a part of its own."""
    model, size = tiny_image_model(family), IMAGE_SIZE if family == "vit" else (32, 32)
    processor = small_image_processor(size, 3)
    trainer = MixTrainer(
        model,
        arguments(tmp_path, mix_method="puzzlemix", mix_kwargs={"adv_p": 1.0}, max_steps=1),
        train_dataset=image_rows(8, size),
        **(
            {"data_collator": ImageCollator(processor, num_channels=3)}
            if of_the_collator
            else {"processing_class": processor}
        ),
    )
    trainer.train()
    assert trainer._pixel_mean.tolist() == trainer._pixel_std.tolist() == [0.5] * 3


def test_noise_on_pixels_of_which_nobody_knows_how_they_were_normalised_is_refused(tmp_path):
    ready = [{"pixel_values": torch.randn(3, *IMAGE_SIZE), "label": i % 3} for i in range(8)]
    args = arguments(tmp_path, mix_method="puzzlemix", mix_kwargs={"adv_p": 0.5}, max_steps=1)
    with pytest.raises(
        ValueError, match=r"adv_p=0\.5 adds noise.*give pixel_mean and pixel_std, or the image processor"
    ):
        MixTrainer(tiny_image_model(), args, train_dataset=ready)


def ready_trainer(output_dir, processor=None, **settings):
    """PuzzleMix on pixels that somebody else normalised."""
    ready = [{"pixel_values": torch.randn(3, *IMAGE_SIZE), "label": i % 3} for i in range(8)]
    settings = {"mix_method": "puzzlemix", "max_steps": 1, **settings}
    return MixTrainer(
        tiny_image_model(), arguments(output_dir, **settings), train_dataset=ready, processing_class=processor
    )


def test_that_nobody_says_how_pixels_were_normalised_is_said(tmp_path, caplog):
    said = "Nothing says how the images were normalised, and puzzlemix"
    ready_trainer(tmp_path)
    assert caplog.text.count(said) == 1 and "Give pixel_mean and pixel_std" in caplog.text
    caplog.clear()
    zero_and_one = {"pixel_mean": [0.0] * 3, "pixel_std": [1.0] * 3}
    ready_trainer(tmp_path, **zero_and_one)
    ready_trainer(tmp_path, small_image_processor(IMAGE_SIZE, 3))
    ready_trainer(tmp_path, mix_method="cutmix")
    ready_trainer(tmp_path, mix_kwargs={"gamma": 0.0})
    assert said not in caplog.text


@pytest.mark.parametrize("has_processor", [False, True])
def test_the_normalisation_may_be_given(tmp_path, has_processor):
    """For pixels from somebody's own transform it wins over that of the image processor."""
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
    processor = small_image_processor(IMAGE_SIZE, 3) if has_processor else None
    trainer = ready_trainer(tmp_path, processor, mix_kwargs={"adv_p": 1.0}, pixel_mean=mean, pixel_std=std)
    trainer.train()
    step = trainer.make_step(trainer.model, next(iter(trainer.get_train_dataloader())), MixPlan.identity(8))
    assert torch.equal(step.pixel_mean, torch.tensor(mean)) and torch.equal(step.pixel_std, torch.tensor(std))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"pixel_mean": [0.5] * 3}, r"pixel_mean=\[0.5, 0.5, 0.5\] and pixel_std=None belong together"),
        ({"pixel_mean": [0.5] * 3, "pixel_std": [0.5]}, "belong together"),
        ({"pixel_mean": [127.5], "pixel_std": [127.5]}, r"pixel_mean must be numbers in \[0, 1\].*divide .* by 255"),
        ({"pixel_mean": [0.5], "pixel_std": [0.0]}, r"pixel_std must be numbers in \(0, 1\], got \[0.0\]"),
        ({"pixel_mean": [0.5], "pixel_std": [0.5]}, "have 1 numbers each, and the model takes images of 3 channels"),
        # Raw images are normalised by the image processor, whatever is said.
        (
            {"pixel_mean": [0.4] * 3, "pixel_std": [0.2] * 3},
            r"were given, and the image processor normalises the training images by \[0.5, 0.5, 0.5\]",
        ),
    ],
)
def test_a_normalisation_that_cannot_be_is_refused(tmp_path, settings, message):
    for method in ("puzzlemix", "mixup"):
        with pytest.raises(ValueError, match=message):
            make_image_trainer(tmp_path, mix_method=method, **settings)


def test_the_normalisation_is_of_images(tmp_path):
    with pytest.raises(ValueError, match=r"pixel_mean=\[0.5\] is of images, and .* reads texts"):
        make_trainer(tiny_model(), arguments(tmp_path, mix_method="tmix", pixel_mean=[0.5], pixel_std=[0.5]))


def test_plans_say_how_many_blocks(tmp_path):
    trainer = make_image_trainer(tmp_path, kind=RecordingTrainer, mix_method="puzzlemix", num_train_epochs=4)
    trainer.train()
    details = [plan.detail for _, _, plan in trainer.plans]
    assert all(isinstance(detail, Blocks) for detail in details)
    assert len({detail.block_num for detail in details}) > 1


# ---- what is refused, before training ----


def test_pixels_and_tokens_are_not_confused(tmp_path):
    with pytest.raises(
        ValueError, match="mixup mixes the pixels of images, and BertForSequenceClassification reads texts"
    ):
        make_trainer(tiny_model(), arguments(tmp_path, mix_method="mixup"))
    with pytest.raises(ValueError, match="mixtext learns from texts"):
        make_image_trainer(tmp_path, mix_method="mixtext")


def test_augmentations_need_raw_images(tmp_path):
    ready = [{"pixel_values": torch.randn(3, *IMAGE_SIZE), "label": i % 3} for i in range(8)]
    for settings in ({"image_augmentations": ["flip"]}, {"mix_method": "augmix"}):
        with pytest.raises(ValueError, match="changes raw images, and `train_dataset` has none"):
            make_image_trainer(tmp_path, ready, **settings)
    make_image_trainer(tmp_path, ready, mix_method="cutmix").train()


def test_another_order_of_raw_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="train_sampling_strategy='sequential': raw images are drawn in an order"):
        make_image_trainer(tmp_path, train_sampling_strategy="sequential")


def test_an_augmentation_that_does_not_exist():
    with pytest.raises(ValueError, match="image_augmentations must be a list, got 'flip'"):
        MixTrainingArguments("out", image_augmentations="flip")
    with pytest.raises(ValueError, match="rotate"):
        MixTrainingArguments("out", image_augmentations=["rotate"])


def test_images_that_no_block_count_fits(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be cut into any of block_nums=\[7\]"):
        make_image_trainer(tmp_path, mix_method="puzzlemix", mix_kwargs={"block_nums": [7]})


@pytest.mark.parametrize("kind", ["rows", "files", "arrays"])
def test_an_image_that_is_too_small_for_a_crop(tmp_path, kind):
    """Before training, of whatever kind the rows are; the smallest image decides."""
    rows = [*image_rows(4), *image_rows(1, size=(9, 30))]
    if kind == "rows":
        rows = [{**row, "image": Image.fromarray(row["image"])} for row in rows]
    elif kind == "files":
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
        rows = datasets.Dataset.from_list(rows, features=features)
    with pytest.raises(
        ValueError, match=r"image_augmentations=\['flip', 'crop:9'\], row 4 of the .*9 x 30 pixels: pad by fewer"
    ):
        make_image_trainer(tmp_path, rows, image_augmentations=["flip", "crop:9"])
    assert not list(tmp_path.iterdir())
    make_image_trainer(tmp_path, rows, image_augmentations=["flip", "crop:8"])
    for twice in (
        ["random_resized_crop", "flip", "random_resized_crop:0.5"],
        ["flip", "flip"],
        ["erasing", "erasing"],
    ):
        with pytest.raises(ValueError, match=f"names {twice[0]} twice: give it once"):
            make_image_trainer(tmp_path, rows, image_augmentations=twice)


@pytest.mark.parametrize("size", [{"height": 1, "width": 1}, {"height": 2, "width": 3}])
def test_images_of_no_size_are_refused(size):
    processor = transformers.ViTImageProcessorPil(size=size)
    with pytest.raises(ValueError, match=f"{size['height']} x {size['width']} pixels.*at least 4"):
        ImageCollator(processor)(image_rows(2))


def test_a_label_beyond_the_classes(tmp_path):
    table = datasets.Dataset.from_dict(
        {"image": [row["image"].tolist() for row in image_rows(8)], "label": [0, 1, 2, 3, 0, 1, 2, 0]}
    )
    with pytest.raises(ValueError, match="In row 3 of `train_dataset` a label is 3, but the model has num_labels=3"):
        make_image_trainer(tmp_path, table).train()


def test_a_method_object_and_a_trainer_of_ones_own(tmp_path):
    trainer = make_image_trainer(tmp_path, image_rows(8), method=AugMix(jsd_weight=0.0, severity=1))
    assert isinstance(trainer, MixTrainer)
    trainer.train()
    assert series(trainer, "loss_consistency") == []


# ---- AugMix in part ----


def test_augmix_on_one_view_of_all_operations(tmp_path):
    seen = []

    class Recording(MixTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            seen.append({name: tuple(value.shape) for name, value in inputs.items()})
            return super().compute_loss(model, inputs, *args, **kwargs)

    rows = image_rows(8)
    settings = {"mix_method": "augmix", "max_steps": 1, "per_device_train_batch_size": 8}
    one = make_image_trainer(
        tmp_path / "one", rows, kind=Recording, mix_kwargs={"jsd_weight": 0, "all_ops": True}, **settings
    )
    one.train()
    assert seen[0]["views"] == (8, 1, 3, *IMAGE_SIZE)
    assert series(one, "loss") == series(one, "loss_supervised") and series(one, "loss_consistency") == []
    # Its view is the first of the two, and the binary loss has nothing to be weighed against.
    few = make_image_trainer(tmp_path / "few", rows, mix_kwargs={"jsd_weight": 0}, mix_loss="bce", **settings)
    two = make_image_trainer(tmp_path / "two", rows, **settings)
    views = [next(iter(trainer.get_train_dataloader()))["views"] for trainer in (few, two)]
    assert torch.equal(views[0][:, 0], views[1][:, 0]) and views[1].shape[1] == 2


# ---- the loss ----


@pytest.mark.parametrize("method", ["erm", "cutmix", "puzzlemix"])
def test_the_binary_loss_trains_and_evaluation_keeps_cross_entropy(tmp_path, method):
    rows = image_rows(16)
    settings = {"mix_method": method, "max_steps": 2, "per_device_train_batch_size": 8}
    trainers = {
        kind: make_image_trainer(tmp_path / str(kind), rows, eval_dataset=rows, mix_loss=kind, **settings)
        for kind in (None, "ce", "bce")
    }
    # The same model: before training, and measured alike.
    before = [trainer.evaluate()["eval_loss"] for trainer in trainers.values()]
    assert before[0] == before[1] == before[2] > 0.8
    for trainer in trainers.values():
        trainer.train()
    assert series(trainers[None], "loss") == series(trainers["ce"], "loss")
    # At equal chances 1.1 of cross-entropy, and 0.64 as the mean over three classes.
    assert 0.4 < series(trainers["bce"], "loss")[0] / series(trainers["ce"], "loss")[0] < 0.7
    assert any(
        not torch.equal(one, other)
        for one, other in zip(
            weights(trainers["ce"].model).values(), weights(trainers["bce"].model).values(), strict=True
        )
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mix_loss": "hinge"}, r"mix_loss must be one of \('ce', 'bce'\), got 'hinge'"),
        ({"mix_loss": "bce", "mix_method": "augmix"}, "mix_loss='bce' .* augmix weighs its other losses"),
    ],
)
def test_losses_that_cannot_be_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make_image_trainer(tmp_path, **settings)


def test_the_binary_loss_is_for_one_of_several_classes(tmp_path):
    model = tiny_image_model("vit")
    model.config.problem_type = "multi_label_classification"
    with pytest.raises(ValueError, match=r"mix_loss='bce' compares the softmax .* multi_label_classification"):
        make_image_trainer(tmp_path, model=model, mix_loss="bce", mix_method="mixup")


# ---- what is logged of a mix ----


def test_what_a_mix_became_is_logged(tmp_path):
    trainer = make_image_trainer(tmp_path, mix_method="cutmix", per_device_train_batch_size=16, seed=1)
    trainer.train()
    drawn, real = series(trainer, "mix_lambda"), series(trainer, "mix_weight")
    assert len(real) == 2 and all(0 < weight <= 1 for weight in real) and real != drawn
    trainer = make_image_trainer(tmp_path, mix_method="puzzlemix", per_device_train_batch_size=16)
    trainer.train()
    assert all(0 <= share <= 1 for share in series(trainer, "mask_constant"))
    assert len(series(trainer, "mask_constant")) == len(series(trainer, "mix_weight")) == 2
    assert not [name for entry in trainer.state.log_history for name in entry if name.startswith("masks")]


def test_masks_that_cut_nothing_are_told_of_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("mixtext_hf.methods.constant_masks._ENOUGH_MASKS", 8)
    trainer = make_image_trainer(tmp_path, method=PuzzleMix(beta=100.0), per_device_train_batch_size=8, max_steps=8)
    trainer.train()
    assert series(trainer, "mask_constant") == [1.0] * 8
    (told,) = [record.message for record in caplog.records if "constant" in record.message]
    assert told.startswith("Step 5: PuzzleMix cuts hardly anything: 100% of its masks")  # the first of the second half
