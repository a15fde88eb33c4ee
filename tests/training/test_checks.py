"""Arguments that would be found wrong late, or never: refused by name, with the value and what would be right."""

from __future__ import annotations

import pytest
import torch
from image_runs import image_rows
from runs import TwoLosses, arguments, assert_same_weights, make_trainer, tiny_rows, weights
from tiny import IMAGE_SIZE, tiny_image_model, tiny_model

from mixtext_hf.evaluation.measures.loading import METRIC_NAMES, is_greater_better
from mixtext_hf.methods import PuzzleMix
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.checks import check_backward_passes


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_steps": 0}, "max_steps must be at least 1, or -1 to train for num_train_epochs"),
        ({"max_steps": -2}, "max_steps must be at least 1, or -1"),
        ({"gradient_accumulation_steps": -1}, "gradient_accumulation_steps must be at least 1, got -1"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps must be at least 1, got 0"),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size must be at least 1, got 0"),
        ({"per_device_eval_batch_size": -8}, "per_device_eval_batch_size must be at least 1, got -8"),
        ({"per_device_unlabeled_batch_size": 0}, "per_device_unlabeled_batch_size must be at least 1, got 0"),
        ({"learning_rate": -1e-5}, "learning_rate must be at least 0, got -1e-05"),
        ({"learning_rate": INF}, "learning_rate must be at least 0, got inf"),
        ({"head_learning_rate": NAN}, "head_learning_rate must be positive, got nan"),
        ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        ({"adam_beta2": 1.0}, r"adam_beta2 must be in \[0, 1\), got 1.0"),
        ({"adam_epsilon": 0.0}, "adam_epsilon must be positive, got 0.0"),
        ({"max_grad_norm": NAN}, "max_grad_norm must be at least 0, got nan"),
        ({"max_steps": -1, "num_train_epochs": 0}, "num_train_epochs must be positive, got 0"),
        ({"warmup_steps": -3}, "warmup_steps must be at least 0, got -3"),
        ({"logging_steps": INF}, "logging_steps must be a number of steps from 1 on, or a part .* got inf"),
        ({"save_steps": 0}, "save_steps must be a number of steps from 1 on, or a part .* got 0"),
        ({"save_total_limit": 0}, "save_total_limit must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0 and below 2.*32, got -1"),
        ({"report_to": "nobody"}, "report_to='nobody' needs a package .* choose from .*none"),
        ({"report_to": ["none", "somebody"]}, "report_to='somebody' needs a package"),
    ],
)
def test_numbers_out_of_range_and_trackers_that_are_not_there(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        arguments(tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"dataloader_drop_last": True, "per_device_train_batch_size": 16},
            "dataloader_drop_last=True leaves nothing of 8",
        ),
        ({"fp16": True}, "fp16=True needs a GPU.*bf16=True"),
        ({"fsdp": "full_shard"}, "fsdp.* needs a GPU.*without it"),
        ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type='cosine_with_min_lr' .*min_lr"),
        (
            {"lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"cycles": 1}},
            "lr_scheduler_type='cosine' with lr_scheduler_kwargs={'cycles': 1} cannot be made: .*cycles",
        ),
        ({"optim": "adamw_bnb_8bit"}, "optim='adamw_bnb_8bit' .* cannot be made: .*bitsandbytes"),
        ({"optim": "galore_adamw"}, "optim='galore_adamw' .* cannot be made"),
    ],
)
def test_what_the_device_the_data_or_another_argument_forbids(tmp_path, settings, said):
    args = arguments(tmp_path / "out", **settings)
    if ("fp16" in settings or "fsdp" in settings) and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match=said):
        make_trainer(tiny_model(), args, tiny_rows(8))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("optim", "said"),
    [
        ("sgd", "DeepSpeed steps at every backward pass"),
        ("lomo", "optim='lomo' steps at every backward pass"),
        ("galore_adamw_layerwise", "optim='galore_adamw_layerwise' steps"),
    ],
)
def test_several_losses_of_a_batch_are_refused_where_each_would_be_a_step(tmp_path, optim, said):
    args = arguments(tmp_path / "out", optim=optim)
    if optim == "sgd":
        # As transformers sets it for `--deepspeed` and `accelerate launch --use_deepspeed`; the package is not needed for that.
        args.deepspeed_plugin = object()
    images = {"train_dataset": image_rows(8), "processing_class": small_image_processor(IMAGE_SIZE, 3)}
    with pytest.raises(ValueError, match=f"{said}.* and puzzlemix makes 2 of a batch"):
        MixTrainer(tiny_image_model(), args, method=PuzzleMix(clean_lam=1.0), **images)
    assert not (tmp_path / "out").exists()
    check_backward_passes(args, "puzzlemix", PuzzleMix(clean_lam=0.0).most_passes)


def test_several_losses_of_a_method_that_does_not_say_so_are_refused_at_the_first_step(tmp_path):
    trainer = make_trainer(tiny_model(), arguments(tmp_path), tiny_rows(8), method=TwoLosses())
    before = weights(trainer.model)
    trainer.args.deepspeed_plugin = object()
    with pytest.raises(ValueError, match="DeepSpeed steps at every backward pass, and two_losses makes 2 of a batch"):
        trainer.train()
    assert_same_weights(weights(trainer.model), before)


def test_usual_arguments_pass(tmp_path):
    usual = {
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr": 1e-6},
        "warmup_steps": 0.1,
        "eval_steps": 0.5,
        "optim": "sgd",
        "dataloader_drop_last": True,
        "save_total_limit": 1,
        "report_to": "none",
    }
    make_trainer(tiny_model(), arguments(tmp_path, **usual), tiny_rows(8)).train()


def test_less_of_an_error_is_better():
    better = {name for name in METRIC_NAMES if is_greater_better(name)}
    assert better == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "f1",
        "matthews_correlation",
        "top_k_accuracy",
        "f1_micro",
        "f1_macro",
        "subset_accuracy",
        "pearson",
        "spearman",
    }
    assert (
        not is_greater_better("eval_nll") and not is_greater_better("eval_dev_ece") and not is_greater_better("loss")
    )
    assert is_greater_better("eval_top_5_accuracy") and is_greater_better("eval_recall")


@pytest.mark.parametrize("name", ["nll", "eval_nll", "ece", "mse", "accuracy"])
def test_the_best_model_is_the_best_by_its_metric(tmp_path, name):
    """The values are made up: worse, best, and in between."""
    better = is_greater_better(name)
    values = iter([0.5, 0.9, 0.7] if better else [0.5, 0.1, 0.3])

    def measure(_):
        return {name.removeprefix("eval_"): next(values)}

    args = arguments(
        tmp_path,
        max_steps=3,
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model=name,
    )
    rows = tiny_rows(8)
    trainer = make_trainer(tiny_model(), args, rows, eval_dataset=rows, compute_metrics=measure)
    trainer.train()
    assert trainer.state.best_global_step == 2 and trainer.state.best_metric == (0.9 if better else 0.1)


def test_who_says_which_way_is_heard(tmp_path):
    assert arguments(tmp_path, metric_for_best_model="nll").greater_is_better is False
    assert arguments(tmp_path, metric_for_best_model="nll", greater_is_better=True).greater_is_better is True


EVERY_STEP = {"eval_strategy": "steps", "save_strategy": "steps", "load_best_model_at_end": True}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"load_best_model_at_end": True},
            "load_best_model_at_end=True needs evaluations .*eval_strategy='no'.*'epoch'",
        ),
        ({"save_strategy": "best", "metric_for_best_model": "loss"}, "save_strategy='best' needs evaluations"),
        (
            {"lr_scheduler_type": "reduce_lr_on_plateau"},
            "lr_scheduler_type='reduce_lr_on_plateau' goes by evaluations",
        ),
        ({**EVERY_STEP, "save_strategy": "epoch"}, "eval_strategy='steps' and save_strategy='epoch' differ"),
        (
            {**EVERY_STEP, "eval_steps": 2, "save_steps": 3},
            "save_steps=3 is no multiple of eval_steps=2: give save_steps=2",
        ),
        ({**EVERY_STEP, "eval_steps": 0.1, "save_steps": 5}, "save_steps=5 is no multiple of eval_steps=0.1"),
        ({"save_strategy": "best", "eval_strategy": "epoch"}, "save_strategy='best' needs .*metric_for_best_model"),
    ],
)
def test_the_best_model_needs_evaluations(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        arguments(tmp_path / "out", **settings)


@pytest.mark.parametrize("steps", [{"eval_steps": 2, "save_steps": 6}, {"eval_steps": 0.1, "save_steps": 0.3}])
def test_checkpoints_at_every_second_evaluation_pass(tmp_path, steps):
    arguments(tmp_path, **EVERY_STEP, **steps)
    arguments(tmp_path, eval_strategy="epoch", save_strategy="best", load_best_model_at_end=True)


def test_the_best_model_goes_by_what_is_measured(tmp_path):
    args = arguments(tmp_path / "out", **EVERY_STEP, metric_for_best_model="accuracy")
    rows = tiny_rows(8)
    with pytest.raises(ValueError, match="metric_for_best_model='accuracy' is not measured, only the loss"):
        make_trainer(tiny_model(), args, rows, eval_dataset=rows)
    make_trainer(tiny_model(), args, rows, eval_dataset=rows, compute_metrics=lambda _: {"accuracy": 0.5})


def test_augmentations_of_images_are_not_for_texts(tmp_path):
    with pytest.raises(ValueError, match=r"image_augmentations=.* change images, and BertForSequenceClassification"):
        make_trainer(tiny_model(), arguments(tmp_path / "out", image_augmentations=["flip"]))
