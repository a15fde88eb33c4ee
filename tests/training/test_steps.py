"""Arguments that count in steps, in a run that is too short for them: one line each before its first step."""

from __future__ import annotations

import logging
import math
import re

import pytest
import torch
from runs import arguments, make_trainer, tiny_rows
from tiny import tiny_model

from mixtext_hf.training.steps import steps_of_run, warn_of_steps


LOGGER = "mixtext_hf.training.steps"


def said_of(tmp_path, caplog, count=32, trained=False, **settings):
    trainer = make_trainer(
        tiny_model(), arguments(tmp_path / "out", **settings), tiny_rows(count), eval_dataset=tiny_rows(8)
    )
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        trainer.train() if trained else warn_of_steps(trainer)
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


WARM = {"lr_scheduler_type": "linear", "learning_rate": 0.1}
STEPS = {"eval_strategy": "steps"}
MIXED = {"mix_method": "tmix", "mix_start": 0.9, "num_train_epochs": 1}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**WARM, "warmup_steps": 500}, "warmup_steps=500 is more than the 4 steps of the run: .* rises to 0.0006 and never to 0.1"),
        ({**WARM, "warmup_steps": 5, "max_steps": 1}, "warmup_steps=5 is more than the 1 step of the run: .* rises to 0 "),
        ({"warmup_steps": 2}, "warmup_steps=2 has no effect: lr_scheduler_type='constant' .*'constant_with_warmup'"),
        ({"learning_rate": 0}, "learning_rate=0 trains nothing.*head_learning_rate"),
        ({**STEPS, "eval_steps": 9}, "eval_steps=9 is more than the 4 steps of the run: it is evaluated once, at the end"),
        ({**STEPS, "eval_steps": 1, "eval_delay": 5}, "eval_delay=5 is beyond the 4 steps .*nothing is evaluated"),
        ({"eval_strategy": "epoch", "eval_delay": 2}, "eval_delay=2 is beyond"),
        ({"save_strategy": "steps", "save_steps": 9}, "save_steps=9 is more than the 4 steps .* one checkpoint, at the end"),
        ({"logging_steps": 50}, "logging_steps=50 is more than the 4 steps of the run: no loss is logged"),
        (MIXED, "mix_start=0.9 and mix_end=1 leave no step of 4 to be mixed"),
    ],
)  # fmt: skip
def test_what_a_short_run_makes_of_it(tmp_path, caplog, settings, said):
    (line,) = said_of(tmp_path, caplog, **settings)
    assert re.search(said, line), line


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {**WARM, "warmup_steps": 4},
        {**WARM, "warmup_steps": 0.5},
        {"learning_rate": 0, "head_learning_rate": 0.1},
        {**STEPS, "eval_steps": 4},
        {**STEPS, "eval_steps": 0.5, "eval_delay": 4},
        {"eval_strategy": "epoch", "eval_delay": 5, "max_steps": 100},
        {"save_strategy": "steps", "save_steps": 500},
        {**MIXED, "mix_start": 0.75},
        {**MIXED, "mix_method": "erm"},
    ],
)
def test_nothing_is_said_of_what_has_its_effect(tmp_path, caplog, settings):
    assert not said_of(tmp_path, caplog, **settings)


def test_it_is_said_once_before_the_first_step_and_is_true(tmp_path, caplog):
    settings = {**WARM, "warmup_steps": 8, **STEPS, "eval_steps": 50, "save_strategy": "steps", "save_steps": 50}
    lines = said_of(tmp_path, caplog, trained=True, **settings)
    assert len(lines) == 3 and "rises to 0.0375 and" in lines[0]
    assert [path.name for path in (tmp_path / "out").glob("checkpoint-*")] == ["checkpoint-4"]


def test_an_optimiser_and_a_schedule_that_were_given_are_their_givers_affair(tmp_path, caplog):
    model = tiny_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    args = arguments(tmp_path / "out", learning_rate=0, warmup_steps=900)
    trainer = make_trainer(model, args, tiny_rows(8), optimizers=(optimizer, schedule))
    with caplog.at_level(logging.WARNING, logger=LOGGER):
        warn_of_steps(trainer)
    assert not [record for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("epochs", [1, 1.5])
def test_the_steps_are_those_of_the_trainer(tmp_path, accumulation, drop_last, epochs):
    settings = {
        "gradient_accumulation_steps": accumulation,
        "dataloader_drop_last": drop_last,
        "num_train_epochs": epochs,
    }
    trainer = make_trainer(tiny_model(), arguments(tmp_path / "out", **settings), tiny_rows(29))
    steps = steps_of_run(trainer)
    trainer.train()
    assert steps == trainer.state.global_step
    batches = 3 if drop_last else 4
    assert steps == math.ceil(epochs * math.ceil(batches / accumulation))
