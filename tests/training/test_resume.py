"""A run that was stopped and resumed ends in the weights of the uninterrupted one, bit for bit."""

from __future__ import annotations

import shutil

import pytest
from runs import StopAt, arguments, assert_same_weights, make_trainer, tiny_rows, weights
from tiny import tiny_model


def train(output_dir, method, workers, *, callbacks=(), resume=None):
    """44 rows in batches of 4 x 2: epochs of 5 full steps and a shorter one."""
    args = arguments(
        output_dir,
        mix_method=method,
        mix_prob=0.8,
        optim="adamw_torch",
        learning_rate=1e-3,
        head_learning_rate=1e-2,
        lr_scheduler_type="linear",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        num_train_epochs=2,
        save_strategy="steps",
        save_steps=1,
        dataloader_num_workers=workers,
    )
    trainer = make_trainer(tiny_model(dropout=0.1), args, tiny_rows(44), callbacks=[*callbacks])
    trainer.train(resume_from_checkpoint=resume)
    return trainer


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    ("method", "workers", "stops"),
    [
        ("tmix", 0, (2, 6, 9)),
        ("manifold_mixup", 0, (3,)),
        ("tmix", 2, (8,)),
        ("manifold_mixup", 2, (4,)),
        ("ssmix", 0, (3, 7)),
        ("puzzle_tmix", 0, (4,)),
    ],
)
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, method, workers, stops):
    """The first stop is one by a callback; the others find what the undisturbed run had left, as if it had been killed."""
    whole = train(tmp_path / "whole", method, workers)
    assert whole.state.global_step == 12
    drawn = [(step, plan.index.tolist(), plan.lam.tolist(), plan.layer) for step, _, plan in whole.plans]
    for stop in stops:
        folder = tmp_path / f"stopped_at_{stop}"
        if stop == stops[0]:
            stopped = train(folder, method, workers, callbacks=[StopAt(stop)])
            assert stopped.state.global_step == stop
        else:
            shutil.copytree(tmp_path / "whole" / f"checkpoint-{stop}", folder / f"checkpoint-{stop}")
        resumed = train(folder, method, workers, resume=True)
        again = [(step, plan.index.tolist(), plan.lam.tolist(), plan.layer) for step, _, plan in resumed.plans]
        assert again == [plan for plan in drawn if plan[0] >= stop]
        assert_same_weights(weights(whole.model), weights(resumed.model))
