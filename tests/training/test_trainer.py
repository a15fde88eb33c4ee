"""MixTrainer from outside: what it trains, logs, saves and leaves alone."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from runs import (
    TOKENIZER,
    RecordingTrainer,
    arguments,
    assert_same_weights,
    make_trainer,
    series,
    tiny_rows,
    weights,
)
from tiny import tiny_image_model, tiny_model
from transformers import AutoModelForSequenceClassification, TrainingArguments, default_data_collator

from mixtext_hf import __version__
from mixtext_hf.data import MixDataCollator
from mixtext_hf.functional import draw_plan, make_mixable, mixed_cross_entropy
from mixtext_hf.methods import ERM, ManifoldMixup, TMix
from mixtext_hf.models import MixableModelForImageClassification, MixableModelForSequenceClassification
from mixtext_hf.training import MixTrainer, MixTrainingArguments


def text_rows(count: int) -> list[dict]:
    generator = np.random.default_rng(5)
    return [
        {"sentence": " ".join(f"w{j}" for j in generator.integers(0, 50, generator.integers(3, 9))), "label": i % 3}
        for i in range(count)
    ]


# ---- the method ----


def test_a_method_by_name_and_by_object_are_the_same(tmp_path):
    by_name = make_trainer(tiny_model(), arguments(tmp_path, mix_method="tmix", mix_alpha=0.5, mix_layers=[1, 3]))
    by_object = make_trainer(tiny_model(), arguments(tmp_path), method=TMix(alpha=0.5, layers=(1, 3)))
    assert by_name.method == by_object.method == TMix(alpha=0.5, layers=(1, 3))
    for trainer in (by_name, by_object):
        trainer.train()
    assert series(by_name, "loss") == series(by_object, "loss")
    assert_same_weights(weights(by_name.model), weights(by_object.model))
    assert {plan.layer for _, _, plan in by_name.plans} <= {1, 3}


def test_a_method_object_goes_before_the_recipe_of_the_model(tmp_path):
    model = tiny_model()
    model.config.mixtext = {"version": "0", "method": "erm", "hyperparameters": {}}
    trainer = make_trainer(model, arguments(tmp_path), method=ManifoldMixup())
    assert trainer.method == ManifoldMixup()


def test_the_recipe_is_written_and_is_the_default_of_the_next_run(tmp_path):
    args = arguments(tmp_path, mix_method="manifold_mixup", mix_alpha=0.3, mix_kwargs={"pad": "keep"})
    trainer = make_trainer(tiny_model(), args, tiny_rows(8))
    assert not hasattr(trainer.model.config, "mixtext")
    trainer.train()
    trainer.save_model()
    recipe = {
        "version": __version__,
        "method": "manifold_mixup",
        "hyperparameters": ManifoldMixup(alpha=0.3, pad="keep").hyperparameters(),
    }
    assert json.loads((tmp_path / "config.json").read_text())["mixtext"] == recipe

    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.config.mixtext == recipe
    assert make_trainer(again, arguments(tmp_path)).method == ManifoldMixup(alpha=0.3, pad="keep")
    # Explicit arguments go before the recipe; another method starts from its own defaults.
    fewer = arguments(tmp_path, mix_alpha=2.0, mix_layers=[1])
    assert make_trainer(again, fewer).method == ManifoldMixup(alpha=2.0, pad="keep", layers=(1,))
    assert make_trainer(again, arguments(tmp_path, mix_method="tmix")).method == TMix()


def test_a_run_without_recipe_or_name_is_tmix(tmp_path):
    assert make_trainer(tiny_model(), arguments(tmp_path)).method == TMix()


# ---- what is saved ----


@pytest.mark.parametrize(
    ("labels", "overrides"),
    [("classes", {}), ("scores", {"num_labels": 1}), ("multi", {"problem_type": "multi_label_classification"})],
)
def test_the_problem_type_stays_what_it_was(tmp_path, labels, overrides):
    model = tiny_model("bert", **overrides)
    before = model.config.problem_type
    trainer = make_trainer(model, arguments(tmp_path), tiny_rows(16, labels), eval_dataset=tiny_rows(8, labels))
    trainer.train()
    trainer.evaluate()
    assert model.config.problem_type == before == overrides.get("problem_type")
    assert np.isfinite(series(trainer, "loss")).all()


def test_what_is_saved_is_an_ordinary_checkpoint(tmp_path):
    plain = tiny_model("bert")
    trainer = make_trainer(tiny_model("bert"), arguments(tmp_path, mix_method="tmix"), eval_dataset=tiny_rows(8))
    trainer.train()
    trainer.save_model()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert list(trainer.model.state_dict()) == list(plain.state_dict())
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, attn_implementation="eager")
    assert type(loaded) is type(plain)
    batch = trainer.data_collator(tiny_rows(8))
    batch.pop("labels")
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(**batch).logits, trainer.model.eval()(**batch).logits, rtol=0, atol=0)


# ---- logging ----


def test_terms_are_logged_as_averages_of_their_window(tmp_path):
    args = arguments(tmp_path, mix_method="manifold_mixup", logging_steps=3, gradient_accumulation_steps=2)
    trainer = make_trainer(tiny_model(), args, tiny_rows(96))
    trainer.train()
    drawn = [(plan.lam[0].item(), plan.layer) for _, _, plan in trainer.plans]
    assert len(drawn) == 12 and len({layer for _, layer in drawn}) > 1
    for number, entry in enumerate(entry for entry in trainer.state.log_history if "loss" in entry):
        window = drawn[6 * number : 6 * number + 6]
        assert entry["mix_lambda"] == pytest.approx(np.mean([lam for lam, _ in window]), rel=1e-5)
        assert entry["mix_layer"] == pytest.approx(np.mean([layer for _, layer in window]))
        # All micro-batches are of one size, so the step's loss is the mean of theirs.
        assert entry["loss_supervised"] == pytest.approx(entry["loss"], rel=1e-3)


def test_a_second_training_starts_with_empty_averages(tmp_path):
    trainer = make_trainer(tiny_model(), arguments(tmp_path, mix_method="erm", logging_steps=3), tiny_rows(32))
    trainer.train()  # its 4th step is in no log
    trainer.train()
    assert trainer.state.log_history[0]["mix_lambda"] == 1.0
    assert trainer._terms.averages()[1]["mix_lambda"] == 1  # what came after the only log of the second run


# ---- when it mixes ----


def test_mix_prob_0_is_erm(tmp_path):
    trainers = [
        make_trainer(tiny_model(dropout=0.1), arguments(tmp_path, **settings))
        for settings in ({"mix_method": "tmix", "mix_prob": 0.0}, {"mix_method": "erm"})
    ]
    for trainer in trainers:
        torch.manual_seed(1)
        trainer.train()
    assert series(trainers[0], "loss") == series(trainers[1], "loss")
    assert_same_weights(*(weights(trainer.model) for trainer in trainers))
    mixed = make_trainer(tiny_model(dropout=0.1), arguments(tmp_path, mix_method="tmix"))
    mixed.train()
    assert series(mixed, "loss") != series(trainers[0], "loss")


def test_mixing_begins_and_ends_where_it_was_told(tmp_path):
    args = arguments(
        tmp_path, mix_method="tmix", mix_start=0.25, mix_end=0.75, max_steps=8, gradient_accumulation_steps=2
    )
    trainer = make_trainer(tiny_model(), args)
    trainer.train()
    mixed_steps = [step for step, _, plan in trainer.plans if plan.layer is not None]
    assert mixed_steps == [2, 2, 3, 3, 4, 4, 5, 5]
    assert all((plan.lam == 1).all() for step, _, plan in trainer.plans if step not in mixed_steps)


def test_every_step_and_micro_step_draws_anew(tmp_path):
    args = arguments(tmp_path, mix_method="manifold_mixup", mix_per="example", gradient_accumulation_steps=2)
    trainer = make_trainer(tiny_model(), args)
    trainer.train()
    drawn = {tuple(plan.lam.tolist()) for _, _, plan in trainer.plans}
    assert len(drawn) == len(trainer.plans) == 4


def test_evaluation_never_mixes(tmp_path):
    rows = tiny_rows(20, seed=7)
    args = arguments(tmp_path, mix_method="tmix", eval_strategy="steps", eval_steps=1)
    trainer = make_trainer(tiny_model(dropout=0.1), args, eval_dataset=rows)
    trainer.train()
    assert len(trainer.plans) == 4  # one a step, none for the four evaluations
    output = trainer.predict(rows)
    batch = trainer.data_collator(rows)
    labels = batch.pop("labels")
    with torch.no_grad():
        logits = trainer.model.eval()(**batch).logits
    np.testing.assert_allclose(output.predictions, logits.numpy(), rtol=1e-4, atol=1e-5)
    assert output.metrics["test_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
    assert series(trainer, "eval_loss")[-1] == pytest.approx(output.metrics["test_loss"], rel=1e-6)


# ---- the optimiser ----


def test_the_head_learns_at_its_own_rate(tmp_path):
    args = arguments(tmp_path, head_learning_rate=0.3, learning_rate=0.0, weight_decay=0.01)
    trainer = make_trainer(tiny_model("bert"), args)
    before = weights(trainer.model)
    trainer.train()
    changed = {name for name, value in weights(trainer.model).items() if not torch.equal(value, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}  # the pooler belongs to the encoder
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in trainer.model.classifier.parameters()} == {0.3}
    assert {rates[id(p)] for p in trainer.model.bert.parameters()} == {0.0}
    # The split keeps the other settings of a group.
    decayed = {id(p) for g in trainer.optimizer.param_groups if g["weight_decay"] > 0 for p in g["params"]}
    assert id(trainer.model.classifier.weight) in decayed and id(trainer.model.classifier.bias) not in decayed


def lora(model):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=2, target_modules=["query", "value"], modules_to_save=["classifier"]
    )
    return peft.get_peft_model(model, config)


@pytest.fixture
def pretrained(tmp_path):
    """A folder with a base model, and one with a classifier."""
    tiny_model("bert").base_model.save_pretrained(tmp_path / "base")
    tiny_model("bert").save_pretrained(tmp_path / "classifier")
    return tmp_path


def loaded(folder):
    return MixableModelForSequenceClassification.from_pretrained(folder, num_labels=3)


def rates_of(trainer):
    rates = {id(p): group["lr"] for group in trainer.create_optimizer().param_groups for p in group["params"]}
    named = trainer.model.named_parameters()
    return {("head" if "classifier" in name else "rest", rates[id(p)]) for name, p in named if p.requires_grad}


@pytest.mark.parametrize(
    ("folder", "settings", "head"),
    [
        ("base", {"learning_rate": 5e-5}, 1e-3),
        ("base", {"learning_rate": 5e-5, "head_learning_rate": 2e-4}, 2e-4),
        ("base", {"learning_rate": 3e-3}, 3e-3),
        ("classifier", {"learning_rate": 5e-5}, 5e-5),
    ],
)
def test_a_new_head_learns_faster_than_what_is_pretrained(pretrained, folder, settings, head):
    trainer = make_trainer(loaded(pretrained / folder), arguments(pretrained / "out", **settings))
    assert rates_of(trainer) == {("head", head), ("rest", settings["learning_rate"])}


def test_where_all_is_new_or_nothing_learns_the_head_is_no_exception(pretrained):
    trainer = make_trainer(tiny_model("bert"), arguments(pretrained / "out", learning_rate=5e-5))
    assert rates_of(trainer) == {("head", 5e-5), ("rest", 5e-5)}
    trainer = make_trainer(loaded(pretrained / "base"), arguments(pretrained / "out", learning_rate=0.0))
    assert rates_of(trainer) == {("head", 0.0), ("rest", 0.0)}


def test_a_new_head_behind_an_adapter_and_one_made_anew_for_other_classes(pretrained):
    trainer = make_trainer(lora(loaded(pretrained / "base")), arguments(pretrained / "out", learning_rate=5e-5))
    assert rates_of(trainer) == {("head", 1e-3), ("rest", 5e-5)}
    model = MixableModelForSequenceClassification.from_pretrained(
        pretrained / "classifier", num_labels=5, ignore_mismatched_sizes=True
    )
    trainer = make_trainer(model, arguments(pretrained / "out", learning_rate=5e-5))
    assert rates_of(trainer) == {("head", 1e-3), ("rest", 5e-5)}


def test_a_head_is_as_new_in_a_copy_and_after_a_pickle(pretrained):
    """Rounds of guesses train copies; a search and several processes pickle."""
    model = loaded(pretrained / "base")
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        trainer = make_trainer(other, arguments(pretrained / "out", learning_rate=5e-5))
        assert rates_of(trainer) == {("head", 1e-3), ("rest", 5e-5)}


def test_a_new_image_head_learns_faster_too(tmp_path):
    tiny_image_model("vit").base_model.save_pretrained(tmp_path / "base")
    model = MixableModelForImageClassification.from_pretrained(tmp_path / "base", num_labels=3)
    assert model.mixer.head_is_new
    tiny_image_model("vit").save_pretrained(tmp_path / "classifier")
    assert not MixableModelForImageClassification.from_pretrained(tmp_path / "classifier").mixer.head_is_new


def test_a_run_goes_on_at_the_rates_it_began_with_from_a_model_of_its_checkpoint_too(pretrained):
    settings = {"learning_rate": 1e-4, "max_steps": 6, "save_strategy": "steps", "save_steps": 3}
    whole = make_trainer(loaded(pretrained / "base"), arguments(pretrained / "whole", **settings))
    whole.train()
    assert whole.state.log_history
    for start in ("base", "whole/checkpoint-3"):
        resumed = make_trainer(loaded(pretrained / start), arguments(pretrained / "whole", **settings))
        resumed.train(resume_from_checkpoint=str(pretrained / "whole" / "checkpoint-3"))
        assert resumed.head_learning_rate == 1e-3
        assert_same_weights(weights(resumed.model), weights(whole.model))
    # And is new no longer where another training begins.
    another = make_trainer(loaded(pretrained / "whole" / "checkpoint-6"), arguments(pretrained / "next", **settings))
    assert another.head_learning_rate is None


def test_the_head_learning_rate_with_peft(tmp_path):
    args = arguments(tmp_path, head_learning_rate=0.3, learning_rate=0.1)
    trainer = make_trainer(lora(tiny_model("bert")), args, tiny_rows(8))
    trainer.train()
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    trained = {name: rates[id(p)] for name, p in trainer.model.named_parameters() if p.requires_grad}
    assert {rate for name, rate in trained.items() if "classifier" in name} == {0.3}
    assert {rate for name, rate in trained.items() if "lora" in name} == {0.1}


def test_an_optimizer_of_the_user_is_left_alone(tmp_path):
    model = tiny_model("bert")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    args = arguments(tmp_path, head_learning_rate=0.3)
    trainer = make_trainer(model, args, tiny_rows(8), optimizers=(optimizer, scheduler))
    trainer.train()
    assert [group["lr"] for group in optimizer.param_groups] == [0.01]


# ---- the loss ----


def test_label_smoothing_is_that_of_pytorch(tmp_path):
    rows = tiny_rows(16)
    args = arguments(tmp_path, mix_method="erm", label_smoothing_factor=0.2, per_device_train_batch_size=16)
    trainer = make_trainer(tiny_model("bert"), args, rows)
    batch = trainer.data_collator(rows)
    labels = batch.pop("labels")
    expected = F.cross_entropy(tiny_model("bert")(**batch).logits, labels, label_smoothing=0.2).item()
    trainer.train()
    assert series(trainer, "loss") == pytest.approx([expected], rel=1e-5)


@pytest.mark.filterwarnings("error:Label smoothing:UserWarning")
def test_label_smoothing_of_multi_label_targets(tmp_path):
    rows = tiny_rows(8, "multi")
    args = arguments(tmp_path, mix_method="erm", label_smoothing_factor=0.2)
    model = tiny_model("bert", problem_type="multi_label_classification")
    trainer = make_trainer(model, args, rows)
    batch = trainer.data_collator(rows)
    targets = 0.8 * batch.pop("labels") + 0.1
    expected = F.binary_cross_entropy_with_logits(model(**batch).logits, targets).item()
    trainer.train()
    assert series(trainer, "loss") == pytest.approx([expected], rel=1e-5)


def test_labels_of_minus_100_carry_no_loss(tmp_path):
    rows = tiny_rows(16)
    for row in rows[:4] + rows[8:9]:
        row["label"] = -100
    args = arguments(tmp_path, mix_method="erm", gradient_accumulation_steps=2, per_device_train_batch_size=8)
    trainer = make_trainer(tiny_model("bert"), args, rows)
    batch = trainer.data_collator(rows)
    labels = batch.pop("labels")
    expected = F.cross_entropy(tiny_model("bert")(**batch).logits, labels, ignore_index=-100).item()
    trainer.train()
    assert series(trainer, "loss") == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("backend", ["torch", "accelerate"])
def test_a_loop_of_ones_own_makes_the_same_trajectory(tmp_path, backend):
    """The functional face in ten lines, with the plans of the same counted randomness."""
    rows, batch_size, seed = tiny_rows(32), 8, 42
    args = arguments(
        tmp_path,
        mix_method="tmix",
        seed=seed,
        optim="adamw_torch",
        learning_rate=1e-3,
        max_grad_norm=0,
        train_sampling_strategy="sequential",
        per_device_train_batch_size=batch_size,
        num_train_epochs=2,
    )
    trainer = make_trainer(tiny_model("bert"), args, rows)
    trainer.train()

    model = tiny_model("bert").train()
    mixer = make_mixable(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    backward = torch.Tensor.backward
    if backend == "accelerate":
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=True)
        model, optimizer = accelerator.prepare(model, optimizer)
        backward = accelerator.backward
    losses = []
    for step in range(8):
        batch = MixDataCollator(TOKENIZER)(rows[step % 4 * batch_size :][:batch_size])
        labels = batch.pop("labels")
        plan = draw_plan(
            batch_size, alpha=16.0, layers=[2, 3, 4], fold=True, rng=np.random.default_rng([seed, step, 0, 0])
        )
        with mixer.applying(plan):
            logits = model(**batch).logits
        loss = mixed_cross_entropy(logits, labels, plan.index, plan.lam)
        backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert series(trainer, "loss") == pytest.approx(losses, rel=1e-6)


# ---- the data ----


def test_raw_columns_and_tokenised_rows_give_the_same_losses(tmp_path):
    raw = text_rows(32)
    ready = [{**TOKENIZER(row["sentence"]), "label": row["label"]} for row in raw]
    runs = []
    for rows in (Dataset.from_list(raw), Dataset.from_list(ready), ready):
        trainer = make_trainer(tiny_model(), arguments(tmp_path, mix_method="tmix"), rows, eval_dataset=rows)
        trainer.train()
        runs.append([*series(trainer, "loss"), trainer.evaluate()["eval_loss"]])
    assert runs[0] == pytest.approx(runs[1], rel=1e-6)
    assert runs[1] == runs[2]


def test_a_collator_of_the_user_is_kept(tmp_path):
    args = arguments(tmp_path)
    rows = [{"input_ids": [2, 7, 8, 3], "label": i % 3} for i in range(8)]
    by_keyword = MixTrainer(tiny_model(), args, data_collator=default_data_collator, processing_class=TOKENIZER)
    by_position = MixTrainer(tiny_model(), args, default_data_collator, rows, processing_class=TOKENIZER)
    assert by_keyword.data_collator is by_position.data_collator is default_data_collator
    by_position.train()


@pytest.mark.parametrize("with_data", [False, True], ids=["without data", "with data"])
def test_a_collator_of_the_user_learns_no_columns(tmp_path, with_data):
    """Those of the evaluated rows, and of rows that nobody could look at before a batch of them came."""
    own = MixDataCollator(TOKENIZER, max_length=8)
    before = dict(vars(own))
    rows = text_rows(8)
    for given in (rows, Dataset.from_list(rows), rows):
        trainer = MixTrainer(tiny_model(), arguments(tmp_path), own, rows if with_data else None)
        if with_data:
            trainer.train()
        assert np.isfinite(trainer.evaluate(given)["eval_loss"])
        assert trainer.data_collator.text_column == "sentence"
        assert vars(own) == before
    # So it serves rows of other columns too.
    others = [{"text": row["sentence"], "label": row["label"]} for row in rows]
    assert np.isfinite(MixTrainer(tiny_model(), arguments(tmp_path), own).evaluate(others)["eval_loss"])


@pytest.mark.parametrize("label", ["label", "topic"])
def test_a_collator_of_the_user_reads_a_dataset_that_loses_its_unused_columns(tmp_path, label):
    rows = Dataset.from_list([{"sentence": row["sentence"], label: row["label"], "id": 7} for row in text_rows(8)])
    own = MixDataCollator(TOKENIZER, **({} if label == "label" else {"label_column": label}))
    trainer = MixTrainer(tiny_model(), arguments(tmp_path), own, rows)
    trainer.train()
    assert (trainer.data_collator.text_column, trainer.data_collator.label_column) == ("sentence", label)
    assert own.text_column is None
    assert np.isfinite(trainer.evaluate(rows)["eval_loss"])
    without_data = MixTrainer(tiny_model(), arguments(tmp_path), own)
    assert np.isfinite(without_data.evaluate(rows)["eval_loss"])
    assert without_data.data_collator.label_column == label
    with pytest.raises(ValueError, match="label"):
        MixTrainer(tiny_model(), arguments(tmp_path), own, rows.remove_columns(label))


def test_a_dict_of_eval_datasets(tmp_path):
    sets = {"near": tiny_rows(8, seed=1), "far": tiny_rows(8, seed=2)}
    args = arguments(tmp_path, eval_strategy="epoch")
    trainer = make_trainer(tiny_model(), args, eval_dataset=sets)
    trainer.train()
    last = trainer.evaluate()
    assert {"eval_near_loss", "eval_far_loss"} <= set(last)
    assert series(trainer, "eval_near_loss") != series(trainer, "eval_far_loss")


def test_raw_columns_are_found_in_a_dict_of_eval_datasets(tmp_path):
    sets = {"one": Dataset.from_list(text_rows(8))}
    trainer = MixTrainer(tiny_model(), arguments(tmp_path), eval_dataset=sets, processing_class=TOKENIZER)
    assert np.isfinite(trainer.evaluate()["eval_one_loss"])


# ---- what the Trainer offers besides ----


def test_the_best_model_is_loaded_at_the_end(tmp_path):
    args = arguments(
        tmp_path,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # the worst one, which is not the last
        learning_rate=0.1,
    )
    trainer = make_trainer(tiny_model(), args, eval_dataset=tiny_rows(16))
    trainer.train()
    losses = series(trainer, "eval_loss")
    assert trainer.evaluate()["eval_loss"] == pytest.approx(max(losses), rel=1e-5)
    assert max(losses) > losses[-1]
    # The hooks are still there.
    trainer.train()
    assert trainer.plans[-1][2].layer is not None


def test_peft_trains_its_adapter_alone(tmp_path):
    model = lora(tiny_model("bert"))
    trainer = make_trainer(model, arguments(tmp_path, mix_method="tmix", learning_rate=0.5), tiny_rows(32))
    before = weights(model)
    trainer.train()
    changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert changed and all("lora" in name or "modules_to_save" in name for name in changed)
    assert series(trainer, "mix_lambda")[0] < 1
    trainer.save_model()
    assert (tmp_path / "adapter_model.safetensors").is_file() and not (tmp_path / "model.safetensors").exists()
    from peft import PeftModel

    loaded = PeftModel.from_pretrained(tiny_model("bert"), tmp_path).eval()
    batch = trainer.data_collator(tiny_rows(8))
    batch.pop("labels")
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, model.eval()(**batch).logits)


def test_activation_checkpointing_changes_nothing(tmp_path):
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    runs = []
    for settings in ({}, {name: True}):
        trainer = make_trainer(tiny_model(dropout=0.1), arguments(tmp_path, mix_method="manifold_mixup", **settings))
        torch.manual_seed(1)
        trainer.train()
        assert trainer.model.bert.encoder.layer[0].gradient_checkpointing is bool(settings)
        runs.append(series(trainer, "loss") + series(trainer, "grad_norm"))
    assert runs[0] == pytest.approx(runs[1], rel=1e-5)


def test_bf16_autocast(tmp_path):
    runs = []
    for bf16 in (False, True):
        trainer = make_trainer(tiny_model(), arguments(tmp_path, mix_method="manifold_mixup", bf16=bf16))
        trainer.train()
        runs.append(series(trainer, "loss"))
    assert runs[0] != runs[1]
    assert runs[0] == pytest.approx(runs[1], rel=0.1)


def test_model_init_makes_a_mixable_model_for_every_training(tmp_path):
    args = arguments(tmp_path, mix_method="tmix")
    trainer = make_trainer(None, args, model_init=lambda: tiny_model("bert"))
    trainer.train()
    first, losses = trainer.model, series(trainer, "loss")
    trainer.train()
    assert trainer.model is not first and trainer.mixer is trainer.model.mixer
    assert series(trainer, "loss") == losses
    assert trainer.model.config.mixtext["method"] == "tmix"


def test_hyperparameter_search_changes_the_method(tmp_path):
    pytest.importorskip("optuna")
    alphas, used = (0.25, 4.0), []

    class Trainer(RecordingTrainer):
        def draw_plan(self, inputs):
            used.append((self.method.alpha, self.args.learning_rate, self.model.config.mixtext["hyperparameters"]))
            return super().draw_plan(inputs)

    trainer = make_trainer(
        None, arguments(tmp_path), kind=Trainer, model_init=lambda: tiny_model("bert"), eval_dataset=tiny_rows(8)
    )
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {
            "mix_alpha": trial.suggest_float("mix_alpha", alphas[trial.number], alphas[trial.number]),
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2),
        },
        backend="optuna",
        n_trials=2,
    )
    assert [alpha for alpha, _, _ in used] == [0.25] * 4 + [4.0] * 4
    assert all(recipe["alpha"] == alpha for alpha, _, recipe in used)
    assert len({rate for _, rate, _ in used}) == 2
    assert set(best.hyperparameters) == {"mix_alpha", "learning_rate"}


def test_a_search_over_methods_and_alpha_survives_one_without_alpha(tmp_path):
    pytest.importorskip("optuna")
    methods, used = ("tmix", "erm", "tmix"), []

    class Trainer(RecordingTrainer):
        def draw_plan(self, inputs):
            used.append((self.method.name, self.method.alpha))
            return super().draw_plan(inputs)

    settings = arguments(tmp_path, max_steps=1)
    trainer = make_trainer(
        None, settings, kind=Trainer, model_init=lambda: tiny_model("bert"), eval_dataset=tiny_rows(8)
    )
    trainer.hyperparameter_search(
        hp_space=lambda trial: {
            "mix_method": trial.suggest_categorical(f"mix_method_{trial.number}", [methods[trial.number]]),
            "mix_alpha": trial.suggest_float("mix_alpha", 0.5, 0.5),
        },
        backend="optuna",
        n_trials=3,
    )
    assert dict.fromkeys(used) == dict.fromkeys([("tmix", 0.5), ("erm", 0.0)]) and used[-1] == ("tmix", 0.5)
    # Elsewhere it is a mistake, still.
    with pytest.raises(ValueError, match="alpha"):
        arguments(tmp_path, mix_method="erm", mix_alpha=0.5)


# ---- the arguments ----


def test_the_arguments_survive_json_and_pickling(tmp_path):
    args = arguments(
        tmp_path,
        mix_method="tmix",
        mix_alpha=0.5,
        mix_layers=[1, 2],
        mix_fold=False,
        mix_per="example",
        mix_prob=0.9,
        mix_kwargs='{"pad": "keep", "partner": "same_class"}',
        mix_start=0.1,
        mix_end=0.9,
        head_learning_rate=0.01,
    )
    mix = {f.name for f in dataclasses.fields(args) if f.name.startswith(("mix_", "head_"))}
    assert len(mix) == 12
    names = {f.name for f in dataclasses.fields(args) if f.init}
    settings = {name: value for name, value in json.loads(args.to_json_string()).items() if name in names}
    expected = TMix(alpha=0.5, layers=(1, 2), fold=False, per="example", prob=0.9, pad="keep", partner="same_class")
    for other in (MixTrainingArguments(**settings), pickle.loads(pickle.dumps(args))):
        assert {name: getattr(other, name) for name in mix} == {name: getattr(args, name) for name in mix}
        assert other.make_method() == args.make_method() == expected
        assert other.seed == args.seed and other.optim == args.optim


def test_raw_rows_need_no_schema_and_no_labels_to_be_predicted(tmp_path):
    rows = [{"text": row["sentence"], "label": row["label"]} for row in text_rows(16)]
    trained = MixTrainer(tiny_model(), arguments(tmp_path), train_dataset=rows, processing_class=TOKENIZER)
    trained.train()
    assert len(series(trained, "loss")) == 2
    texts = Dataset.from_list([{"text": row["text"]} for row in rows])
    alone = MixTrainer(tiny_model(), arguments(tmp_path, per_device_train_batch_size=1), processing_class=TOKENIZER)
    expected = trained.predict(rows).predictions
    alone.model.load_state_dict(trained.model.state_dict())
    assert np.allclose(alone.predict(texts).predictions, expected, atol=1e-6)


@pytest.mark.parametrize("recipe", [{"foo": 1}, {"method": "of the future", "hyperparameters": {}}])
def test_a_recipe_that_cannot_be_used_is_named(tmp_path, recipe):
    model = tiny_model()
    model.config.mixtext = recipe
    with pytest.raises(ValueError, match=r"recipe in the config of the model .* Name a method by mix_method"):
        make_trainer(model, arguments(tmp_path))
    assert make_trainer(model, arguments(tmp_path, mix_method="erm")).method == ERM()
