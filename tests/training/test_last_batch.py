"""A last batch of one row where the model has BatchNorm: said, or refused, before training, and nothing of the model changes."""

from __future__ import annotations

import pytest
import torch
from image_runs import image_rows
from runs import arguments as run_arguments
from torch import nn
from unmixable import SIDE, wrapped_net

from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer, MixTrainingArguments
from mixtext_hf.training.last_batch import check_batches, check_last_batch


class Net(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, pixel_values):
        return self.layers(pixel_values)


def arguments(batch=8, **settings):
    return MixTrainingArguments(output_dir="unused", per_device_train_batch_size=batch, use_cpu=True, **settings)


POOLED = (nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3))
WIDE = (nn.BatchNorm2d(3), nn.Dropout(0.5))
PIXELS = torch.rand(1, 3, 4, 4)


def ROW():
    return {"pixel_values": PIXELS}


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(
        ValueError, match=r"last batch of each epoch \(17 training rows, 8 a batch\).*--max_train_samples 16"
    ):
        check_last_batch(Net(*POOLED), 17, arguments(), ROW)
    with pytest.raises(ValueError, match=r"Every batch has a single row.*batch_size=2 or more"):
        check_last_batch(Net(*POOLED), 17, arguments(1), ROW)


def test_what_is_poor_is_said_and_nothing_changes(caplog):
    model = Net(*WIDE).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    check_last_batch(model, 9, arguments(), ROW)
    assert "BatchNorm takes its statistics of that alone" in caplog.text and "dataloader_drop_last=True" in caplog.text
    assert not model.training and torch.equal(random, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("model", "rows", "settings"),
    [
        (Net(*POOLED), 16, {}),
        (Net(*POOLED), 18, {}),
        (Net(*POOLED), 17, {"dataloader_drop_last": True}),
        (Net(nn.LayerNorm(4)), 17, {}),
    ],
    ids=["no rest", "two rows", "dropped", "no BatchNorm"],
)
def test_nothing_is_said_where_nothing_is_wrong(model, rows, settings, caplog):
    check_last_batch(model, rows, arguments(**settings), ROW)
    assert caplog.text == ""


def pooled_net():
    """BatchNorm over a single value of each channel: torch refuses one row."""
    model = wrapped_net()
    model.net.body = nn.Sequential(*POOLED)
    model.net.fc = nn.Linear(3, 3)
    return model


def trainer_of(model, rows, out, **settings):
    args = run_arguments(out, **{"mix_method": "erm", "max_steps": 2, "per_device_train_batch_size": 4, **settings})
    return MixTrainer(model, args, train_dataset=rows, processing_class=small_image_processor((SIDE, SIDE), 3))


def test_a_trainer_refuses_what_cannot_be_trained_before_there_is_a_folder(tmp_path):
    rows = image_rows(5, (SIDE, SIDE))
    with pytest.raises(ValueError, match=r"\(5 training rows, 4 a batch\) has a single row.*one training row less, 4"):
        trainer_of(pooled_net(), rows, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Rows that are ready for the model, and those of a data set of torch, are rows like others.
    ready = [{"pixel_values": torch.rand(3, SIDE, SIDE), "label": 0, "name": "kept by nobody"} for _ in range(5)]
    with pytest.raises(ValueError, match=r"Every batch has a single row.*per_device_train_batch_size=2 or more"):
        trainer_of(pooled_net(), ready, tmp_path / "out", per_device_train_batch_size=1)
    args = run_arguments(tmp_path / "out", mix_method="erm", per_device_train_batch_size=4)
    with pytest.raises(ValueError, match="dataloader_drop_last=True"):
        MixTrainer(pooled_net(), args, train_dataset=ready)
    with pytest.raises(ValueError, match="has a single row"):
        MixTrainer(model_init=pooled_net, args=args, train_dataset=ready)


def test_a_trainer_says_once_what_is_poor_and_trains(tmp_path, caplog):
    trainer_of(wrapped_net(), image_rows(5, (SIDE, SIDE)), tmp_path).train()
    assert caplog.text.count("BatchNorm takes its statistics of that alone") == 1


def test_a_trainer_is_content_where_rows_are_not_alone(tmp_path, caplog):
    rows = image_rows(5, (SIDE, SIDE))
    trainer_of(pooled_net(), rows, tmp_path, mix_method="augmix").train()
    trainer_of(pooled_net(), rows, tmp_path, dataloader_drop_last=True).train()
    assert "single row" not in caplog.text


def test_a_trial_of_a_search_is_told_of_its_batches(tmp_path):
    trainer = trainer_of(pooled_net(), image_rows(6, (SIDE, SIDE)), tmp_path)
    trainer.args.per_device_train_batch_size, trainer._in_search = 5, True
    with pytest.raises(ValueError, match=r"\(6 training rows, 5 a batch\) has a single row"):
        check_batches(trainer)


def test_what_else_is_wrong_with_a_row_is_not_said_to_come_of_its_being_alone(caplog):
    def no_row():
        return {"pixel_values": torch.rand(1, 4, 4, 4)}

    check_last_batch(Net(*WIDE), 9, arguments(), no_row)
    assert "BatchNorm takes its statistics" in caplog.text and "channels" not in caplog.text
