"""Runs with labels by attention: on models that have it, however they are run, and refused before training on others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from image_runs import image_rows, make_image_trainer
from runs import OTHER_WAYS, series
from safetensors.torch import load_file
from tiny import tiny_image_model

from mixtext_hf.methods import MaskMix
from mixtext_hf.training import MixTrainer


def run(out, **settings):
    settings = {
        "mix_method": "transmix",
        "max_steps": 3,
        "per_device_train_batch_size": 8,
        "logging_steps": 1,
        **settings,
    }
    trainer = make_image_trainer(out, **settings)
    trainer.train()
    return trainer


def losses(out, **settings):
    return series(run(out, **settings), "loss")


def hooks_of(model):
    return [h for m in model.modules() for hooks in (m._forward_hooks, m._forward_pre_hooks) for h in hooks.values()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return losses(tmp_path_factory.mktemp("undisturbed"))


class ByHand(MixTrainer):
    """The same losses from a second pass that returns its whole attention."""

    expected = ()

    def _training_loss(self, model, inputs):
        state = torch.get_rng_state()
        plan = self.method.pairs_of(self.make_step(model, inputs, self.draw_plan(inputs)))
        images = inputs["pixel_values"].clone()
        for row, partner in enumerate(plan.index.tolist()):
            y0, y1, x0, x1 = plan.detail.edges[row].tolist()
            if plan.lam[row] < 1:
                images[row, :, y0:y1, x0:x1] = inputs["pixel_values"][partner, :, y0:y1, x0:x1]
        with torch.no_grad():
            outputs = model(pixel_values=images, output_attentions=True)
        attention = outputs.attentions[-1][:, :, 0, 1:].mean(dim=1).unflatten(1, (6, 4))
        total = 0.0
        for row, partner in enumerate(plan.index.tolist()):
            y0, y1, x0, x1 = plan.detail.edges[row].tolist()
            pasted = [
                attention[row, i, j]
                for i in range(6)
                for j in range(4)
                if plan.lam[row] < 1 and y0 <= 8 * i < y1 and x0 <= 8 * j < x1
            ]
            share = float(sum(pasted) / attention[row].sum())
            log_p = outputs.logits[row].log_softmax(dim=-1)
            labels = inputs["labels"]
            total -= float((1 - share) * log_p[labels[row]] + share * log_p[labels[partner]])
        self.expected = [*self.expected, total / len(images)]
        torch.set_rng_state(state)
        return super()._training_loss(model, inputs)


def test_the_loss_of_a_step_is_that_of_a_whole_attention(tmp_path, undisturbed):
    trainer = run(tmp_path, kind=ByHand, model=tiny_image_model("vit", attention="eager"))
    assert series(trainer, "loss") == pytest.approx(trainer.expected, abs=1e-5)
    # Whatever kernel the model attends with.
    assert series(trainer, "loss") == pytest.approx(undisturbed, abs=1e-5)


@pytest.mark.parametrize("family", ["deit", "dinov2", "dinov2_with_registers", "beit", "clip"])
def test_other_transformers_train_too(tmp_path, family):
    size = (48, 32) if family in ("deit", "beit") else (32, 32)
    trainer = run(tmp_path, model=tiny_image_model(family), rows=image_rows(16, size), size=size, max_steps=1)
    assert np.isfinite(series(trainer, "loss")).all()
    assert hooks_of(trainer.model) == []
    assert trainer.model.config.mixtext["method"] == "transmix"


@pytest.mark.parametrize(
    "settings",
    OTHER_WAYS.values(),
    ids=OTHER_WAYS.keys(),
)
def test_however_it_is_run(tmp_path, undisturbed, settings):
    tolerance = 0.03 if "bf16" in settings else 1e-5
    assert losses(tmp_path, **settings) == pytest.approx(undisturbed, rel=tolerance)


def test_cut_into_pieces_each_mixes_for_itself(tmp_path):
    trainer = run(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2, mix_prob=0.5)
    assert len(series(trainer, "loss")) == 3 and hooks_of(trainer.model) == []


@pytest.mark.compiled
def test_compiled(tmp_path, undisturbed):
    torch._dynamo.reset()
    assert losses(tmp_path, torch_compile=True, torch_compile_backend="eager") == pytest.approx(undisturbed, abs=1e-5)
    torch._dynamo.reset()


def test_with_adapters_of_queries_and_keys(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "k_proj", "query", "key"], modules_to_save=["classifier"])
    model = peft.get_peft_model(tiny_image_model("vit"), config)
    trainer = run(tmp_path, model=model)
    assert hooks_of(model) == []
    assert np.isfinite(series(trainer, "loss")).all()


def test_a_checkpoint_has_no_trace_and_goes_on(tmp_path, undisturbed):
    run(tmp_path / "a", max_steps=2, save_strategy="steps", save_steps=1, lr_scheduler_type="constant")
    folder = tmp_path / "a" / "checkpoint-1"
    tiny_image_model("vit").save_pretrained(tmp_path / "plain")
    names = [set(load_file(of / "model.safetensors")) for of in (folder, tmp_path / "plain")]
    assert names[0] == names[1]
    assert json.loads((folder / "config.json").read_text())["mixtext"]["hyperparameters"]["area_share"] == 0.0
    whole = run(tmp_path / "b", max_steps=2, lr_scheduler_type="constant")
    again = make_image_trainer(
        tmp_path / "a",
        mix_method="transmix",
        max_steps=2,
        per_device_train_batch_size=8,
        logging_steps=1,
        save_strategy="steps",
        save_steps=1,
        lr_scheduler_type="constant",
    )
    again.train(resume_from_checkpoint=str(folder))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name


class Failing(MixTrainer):
    def compute_loss(self, model, *args, **kwargs):
        super().compute_loss(model, *args, **kwargs)
        assert len(hooks_of(model)) == 4
        raise ZeroDivisionError


def test_a_run_that_fails_leaves_no_hooks(tmp_path):
    model = tiny_image_model("vit")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, kind=Failing, model=model)
    assert hooks_of(model) == []


def test_cells_are_whole_patches_of_the_model(tmp_path):
    trainer = make_image_trainer(tmp_path, mix_method="maskmix", per_device_train_batch_size=4)
    inputs = next(iter(trainer.get_train_dataloader()))
    trainer._micro_step = 0
    assert trainer.draw_plan(inputs).detail.side == 8
    assert MaskMix().grid((48, 32), (8, 8))[0] == 8


# ---- refused before training ----


@pytest.mark.parametrize(
    "family, settings, message",
    [
        (
            "resnet",
            {},
            r"transmix needs a \[CLS\] token and an attention in the last layer.*\(type 'resnet'\) is none of",
        ),
        ("swin", {}, r"transmix needs a \[CLS\] token.*take one of these, or weigh labels by area \(cutmix"),
        ("siglip", {"mix_method": "maskmix", "mix_kwargs": '{"area_share": 0.5}'}, r"maskmix needs a \[CLS\] token"),
        (
            "vit",
            {"torch_compile": True, "gradient_checkpointing": True},
            "a compiled checkpoint shows nothing: leave out torch_compile=True or gradient_checkpointing=True",
        ),
        ("vit", {"mix_method": "maskmix", "mix_kwargs": '{"cell_size": 12}'}, "cell_size=12 would cut the patches"),
        ("vit", {"mix_method": "maskmix", "mix_kwargs": '{"cell_size": 48}'}, "cell_size=48 makes one cell"),
    ],
)
def test_refused_before_training(tmp_path, family, settings, message):
    settings = {"mix_method": "transmix", **settings}
    with pytest.raises(ValueError, match=message):
        make_image_trainer(tmp_path / "out", model=tiny_image_model(family), **settings)
    assert not (tmp_path / "out").exists()
