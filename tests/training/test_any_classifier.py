"""Methods that mix no hidden states train any classifier, and what a model returns beside its logits is nobody's business."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_runs import image_rows
from PIL import Image
from runs import (
    arguments,
    assert_same_weights,
    make_trainer,
    rows_that_end,
    series,
    tiny_rows,
    tokenizer_that_ends,
    weights,
)
from tiny import tiny_image_model, tiny_model
from transformers import AutoConfig, AutoModelForImageClassification, AutoModelForSequenceClassification
from transformers.models.imagegpt.image_processing_pil_imagegpt import ImageGPTImageProcessorPil
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from unmixable import IMAGES, SIDE, TEXTS, PlainNet, unmixable_image_model, unmixable_text_model, wrapped_net

from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.methods import ManifoldMixup
from mixtext_hf.models import MixableModelForImageClassification, make_mixable
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.models.timm_processor import timm_image_processor
from mixtext_hf.training import MixTrainer


ON_PIXELS = ("erm", "mixup", "cutmix", "mixup_cutmix", "resizemix", "puzzlemix", "augmix", "maskmix")


def image_trainer(model, out, **settings):
    rows = image_rows(8, (SIDE, SIDE))
    settings = {"per_device_train_batch_size": 4, "max_steps": 2, **settings}
    args = arguments(out, **settings)
    processor = small_image_processor((SIDE, SIDE), 3)
    return MixTrainer(model, args, train_dataset=rows, eval_dataset=rows, processing_class=processor)


# ---- images ----


@pytest.mark.parametrize("method", ON_PIXELS)
def test_every_method_on_pixels_trains_a_classifier_without_layers(tmp_path, method):
    model = wrapped_net()
    before = weights(model)
    trainer = image_trainer(model, tmp_path, mix_method=method)
    trainer.train()
    assert trainer.state.global_step == 2 and np.isfinite(series(trainer, "loss")).all()
    assert not torch.equal(before["net.fc.weight"], model.state_dict()["net.fc.weight"])
    assert trainer.predict(image_rows(5, (SIDE, SIDE))).predictions.shape == (5, 3)
    # Nothing was installed.
    assert not hasattr(model, "mixer")
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert model.config.mixtext["method"] == method


@pytest.mark.parametrize("model_type", IMAGES)
def test_image_models_that_cannot_be_mixed_inside_are_mixed_at_the_pixels(tmp_path, model_type):
    model = unmixable_image_model(model_type)
    trainer = image_trainer(model, tmp_path, mix_method="cutmix", max_steps=1)
    trainer.train()
    metrics = trainer.evaluate()
    trainer.save_model()
    again = MixableModelForImageClassification.without_hooks(tmp_path)
    plain = AutoModelForImageClassification.from_pretrained(tmp_path)
    assert again.config.mixtext["method"] == "cutmix"
    assert_same_weights(weights(again), weights(model))
    assert_same_weights(weights(plain), weights(model))
    # The recipe goes on; a method that mixes inside does not.
    other = image_trainer(again, tmp_path / "again")
    assert other.method.name == "cutmix" and other.evaluate()["eval_loss"] == pytest.approx(metrics["eval_loss"])
    with pytest.raises(ValueError, match=r"cannot be mixed.*mix_method='erm', and of images 'mixup'"):
        image_trainer(again, tmp_path / "again", mix_method="manifold_mixup")


def test_a_head_inside_the_base_model_has_its_learning_rate(tmp_path):
    model = wrapped_net()
    trainer = image_trainer(model, tmp_path, mix_method="erm", head_learning_rate=0.5)
    trainer.create_optimizer()
    fast = [group for group in trainer.optimizer.param_groups if group["lr"] == 0.5]
    head = {id(parameter) for parameter in model.net.fc.parameters()}
    assert {id(parameter) for group in fast for parameter in group["params"]} == head


def test_a_new_head_on_a_model_without_hooks_learns_faster(tmp_path):
    unmixable_image_model("poolformer").save_pretrained(tmp_path)
    model = MixableModelForImageClassification.without_hooks(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert image_trainer(model, tmp_path / "a", mix_method="erm", learning_rate=1e-5).head_learning_rate == 1e-3
    same = MixableModelForImageClassification.without_hooks(tmp_path)
    assert image_trainer(same, tmp_path / "b", mix_method="erm", learning_rate=1e-5).head_learning_rate is None


def test_a_module_that_is_no_model_of_transformers_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(TypeError, match=r"got PlainNet, .*a subclass of PreTrainedModel with a config"):
        image_trainer(PlainNet(), tmp_path, mix_method="erm")
    Timm = type("ResNet", (PlainNet,), {"__module__": "timm.models.resnet"})
    with pytest.raises(TypeError, match=r"got ResNet, .*AutoModelForImageClassification.from_pretrained\('timm/"):
        image_trainer(Timm(), tmp_path, mix_method="erm")


def test_a_model_that_returns_no_logits_is_said_to(tmp_path):
    model = wrapped_net()
    model.forward = lambda pixel_values: {"last_hidden_state": model.net(pixel_values)}
    with pytest.raises(TypeError, match="returned dict without `logits`"):
        image_trainer(model, tmp_path, mix_method="erm").train()


@pytest.mark.parametrize(
    "architecture, settings", [("resnet18", {}), ("vit_tiny_patch16_224", {"img_size": SIDE, "depth": 1})]
)
def test_timm(timm, tmp_path, architecture, settings):
    from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig
    from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperForImageClassification

    config = TimmWrapperConfig(architecture=architecture, num_labels=3, model_args=settings or None)
    model = TimmWrapperForImageClassification(config)
    for method in ("erm", "mixup", "cutmix", "puzzlemix"):
        trainer = image_trainer(model, tmp_path / method, mix_method=method, max_steps=1, learning_rate=1e-4)
        trainer.train()
        assert np.isfinite(trainer.evaluate()["eval_loss"])
    trainer.save_model()
    again = MixableModelForImageClassification.without_hooks(tmp_path / "puzzlemix")
    assert type(again) is type(model) and again.config.mixtext["method"] == "puzzlemix"
    assert_same_weights(weights(again), weights(model))
    # Of other classes: their names are saved, where transformers keeps those that the checkpoint had.
    names = {0: "up", 1: "down"}
    other = TimmWrapperForImageClassification.from_pretrained(
        tmp_path / "puzzlemix", num_labels=2, id2label=names, ignore_mismatched_sizes=True
    )
    image_trainer(other, tmp_path / "other", mix_method="erm").save_model()
    assert TimmWrapperForImageClassification.from_pretrained(tmp_path / "other").config.id2label == names
    with pytest.raises(TypeError, match="Load it through transformers, which knows the models of timm"):
        image_trainer(timm.create_model(architecture, **settings), tmp_path, mix_method="erm")


def special_model(kind):
    """A model whose image processor makes no pictures of one size, and that processor."""
    if kind == "siglip2":
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
        config = AutoConfig.for_model("siglip2", vision_config={**sizes, "num_patches": 16}, num_labels=3)
        processor = Siglip2ImageProcessorPil(max_num_patches=4)
    else:
        sizes = {"vocab_size": 9, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
        config = AutoConfig.for_model("imagegpt", **sizes, num_labels=3)
        colours = np.random.default_rng(0).uniform(-1, 1, (8, 3)).tolist()
        processor = ImageGPTImageProcessorPil(clusters=colours, size={"height": 4, "width": 4})
    return AutoModelForImageClassification.from_config(config), processor


@pytest.mark.parametrize(
    ("kind", "raw", "mixed"),
    [
        (
            "siglip2",
            "makes patches of an image.*siglip2-base-patch16-224, or train by erm",
            "patches of different numbers",
        ),
        ("imagegpt", "makes input_ids of an image and no pixels.*or train by erm", "reads ids of colours: use erm"),
    ],
)
def test_what_is_no_picture_of_one_size_is_trained_plainly_when_it_is_ready(tmp_path, kind, raw, mixed):
    model, processor = special_model(kind)
    rows = image_rows(8, (SIDE, SIDE))
    args = arguments(tmp_path, mix_method="erm", max_steps=1, per_device_train_batch_size=4)
    with pytest.raises(ValueError, match=raw):
        MixTrainer(model, args, train_dataset=rows, processing_class=processor)
    with pytest.raises(ValueError, match=raw.split(",")[0]):
        ImageCollator(processor)
    with pytest.raises(ValueError, match=mixed):
        cutmix = arguments(tmp_path, mix_method="cutmix", max_steps=1)
        MixTrainer(model, cutmix, train_dataset=rows, processing_class=processor)
    ready = [
        {**{name: values[0] for name, values in processor(images=[row["image"]]).items()}, "label": row["label"]}
        for row in rows
    ]
    trainer = MixTrainer(model, args, train_dataset=ready, eval_dataset=ready, processing_class=processor)
    trainer.train()
    assert np.isfinite(trainer.evaluate()["eval_loss"]) and trainer.predict(ready).predictions.shape == (8, 3)


def test_logits_by_another_name(tmp_path):
    blocks = [[[3, 8, 8, 1, False]]] * 4 + [[[3, 8, 8, 2, True]]]
    config = AutoConfig.for_model("pp_lcnet", num_labels=3, block_configs=blocks, class_expand=8, stem_channels=8)
    trainer = image_trainer(AutoModelForImageClassification.from_config(config), tmp_path, mix_method="cutmix")
    trainer.train()
    assert trainer.predict(image_rows(5, (SIDE, SIDE))).predictions.shape == (5, 3)


def test_what_timm_says_of_images_is_done_without_it():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    settings = {"input_size": [3, 32, 32], "crop_pct": 0.8, "mean": [0.5] * 3, "std": [0.25] * 3}
    processor = timm_image_processor(settings)
    (pixels,) = processor(images=[image], input_data_format="channels_last")["pixel_values"]
    # The shorter side to 32 / 0.8, the middle of it, bicubic.
    resized = Image.fromarray(image).resize((53, 40), Image.Resampling.BICUBIC).crop((10, 4, 42, 36))
    expected = (np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(pixels, expected, atol=1e-5)
    squashed = timm_image_processor({**settings, "crop_mode": "squash"})
    assert squashed(images=[image], input_data_format="channels_last")["pixel_values"][0].shape == (3, 32, 32)
    with pytest.raises(ValueError, match=r"crop_mode='border'.*--image_processor_name"):
        timm_image_processor({**settings, "crop_mode": "border"})


# ---- texts ----


@pytest.mark.parametrize("model_type", TEXTS)
def test_text_models_that_cannot_be_mixed_are_trained_plainly(tmp_path, model_type):
    model = unmixable_text_model(model_type)
    rows = rows_that_end(8)
    args = arguments(tmp_path, mix_method="erm", max_steps=2, per_device_train_batch_size=4)
    tokenizer = tokenizer_that_ends()
    trainer = MixTrainer(model, args, train_dataset=rows, eval_dataset=rows, processing_class=tokenizer)
    trainer.train()
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.predict(rows).metrics["test_loss"])
    trainer.save_model()
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.config.mixtext["method"] == "erm" and not hasattr(model, "mixer")
    with pytest.raises(ValueError, match="cannot be mixed"):
        make_trainer(again, arguments(tmp_path / "tmix", mix_method="tmix"), rows)


def test_erm_on_a_model_that_could_be_mixed_installs_nothing_and_is_the_same(tmp_path):
    plain, mixable = tiny_model(), tiny_model()
    one = make_trainer(plain, arguments(tmp_path / "a", mix_method="erm"))
    one.train()
    assert not hasattr(plain, "mixer")
    make_mixable(mixable)
    other = make_trainer(mixable, arguments(tmp_path / "b", mix_method="erm"))
    other.train()
    assert other.mixer is mixable.mixer
    assert_same_weights(weights(plain), weights(mixable))


def test_a_model_becomes_mixable_when_the_method_of_a_search_asks_for_it(tmp_path):
    trainer = make_trainer(tiny_model(), arguments(tmp_path, mix_method="erm", max_steps=1))
    trainer.train()
    trainer.args.mix_method = "manifold_mixup"
    trainer.train()
    assert trainer.mixer is trainer.model.mixer and trainer.mixer.depth == 4
    assert any(plan.layer is not None for _, _, plan in trainer.plans)


def test_padding_is_not_kept_where_nothing_says_what_it_is(tmp_path):
    args = arguments(tmp_path, mix_method="manifold_mixup", mix_kwargs={"pad": "keep"})
    with pytest.raises(ValueError, match=r"pad='keep' was asked for, but FNet.* takes no attention mask"):
        make_trainer(tiny_model("fnet"), args)
    with pytest.raises(ValueError, match=r"pad='keep' was asked for, but ViT.* reads images"):
        image_trainer(tiny_image_model("vit"), tmp_path, mix_method="manifold_mixup", mix_kwargs={"pad": "keep"})
    assert make_trainer(tiny_model("bert"), args).method == ManifoldMixup(pad="keep")


# ---- what else a model returns ----


@pytest.mark.parametrize(
    "settings", [{"output_attentions": True}, {"output_hidden_states": True}, {"return_dict": False}], ids=str
)
def test_logits_alone_reach_evaluation(tmp_path, settings):
    rows, seen = tiny_rows(10), []

    def compute_metrics(prediction):
        seen.append(prediction.predictions)
        return {"n": len(prediction.predictions)}

    plain, other = tiny_model(), tiny_model()
    for name, value in settings.items():
        setattr(other.config, name, value)
    trainers = [
        make_trainer(model, arguments(tmp_path / str(i), mix_method="tmix"), compute_metrics=compute_metrics)
        for i, model in enumerate((plain, other))
    ]
    for trainer in trainers:
        trainer.train()
        assert trainer.evaluate(rows)["eval_n"] == 10
    unlabelled = [{name: value for name, value in row.items() if name != "label"} for row in rows]
    assert trainers[1].predict(unlabelled).predictions.shape == (10, 3)
    np.testing.assert_array_equal(seen[0], seen[1])


def test_what_an_encoder_decoder_returns_beside_its_logits_is_left_out(tmp_path):
    rows = rows_that_end(6)
    trainer = make_trainer(unmixable_text_model("bart"), arguments(tmp_path, mix_method="erm"), rows)
    assert isinstance(trainer.predict(rows).predictions, np.ndarray)


# ---- hidden labels ----


@pytest.mark.parametrize("kind", ["classes", "multi", "scores"])
def test_rows_with_hidden_labels_are_predicted_and_the_others_measured(tmp_path, caplog, kind):
    overrides = {
        "classes": {},
        "multi": {"problem_type": "multi_label_classification"},
        "scores": {"num_labels": 1, "problem_type": "regression"},
    }[kind]
    rows, counted = tiny_rows(9, kind), []

    def compute_metrics(prediction):
        counted.append((len(prediction.predictions), len(prediction.label_ids)))
        assert np.isfinite(prediction.label_ids).all() and (np.asarray(prediction.label_ids) >= -2).all()
        return {"n": len(prediction.predictions)}

    trainer = make_trainer(
        tiny_model(**overrides), arguments(tmp_path, mix_method="erm"), rows, compute_metrics=compute_metrics
    )
    everything = trainer.predict(rows)
    assert everything.metrics["test_n"] == 9
    some = trainer.predict([{**row, "label": None if i % 3 else row["label"]} for i, row in enumerate(rows)])
    assert some.metrics["test_n"] == 3 and "6 of 9 rows are hidden" in caplog.text
    np.testing.assert_array_equal(some.predictions, everything.predictions)
    none = trainer.predict([{**row, "label": None} for row in rows])
    np.testing.assert_array_equal(none.predictions, everything.predictions)
    assert "test_n" not in none.metrics and "all 9 rows are hidden" in caplog.text
    assert counted == [(9, 9), (3, 3)]
    assert trainer.compute_metrics is compute_metrics
