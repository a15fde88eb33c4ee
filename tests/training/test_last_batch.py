"""A last batch of one row where the model has BatchNorm: said, or refused, before training, and nothing of the model changes."""

from __future__ import annotations

import pytest
import torch
from image_runs import image_rows, make_image_trainer
from tiny import tiny_image_model
from torch import nn

from mixtext_hf.training import MixTrainingArguments
from mixtext_hf.training.last_batch import check_last_batch


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


def one_row():
    return {"pixel_values": PIXELS}


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(
        ValueError, match=r"last batch of each epoch \(17 training rows, 8 a batch\).*--max_train_samples 16"
    ):
        check_last_batch(Net(*POOLED), 17, arguments(), one_row)
    with pytest.raises(ValueError, match=r"Every batch has a single row.*batch_size 2 or more"):
        check_last_batch(Net(*POOLED), 17, arguments(1), one_row)


def test_what_is_poor_is_said_and_nothing_changes(caplog):
    model = Net(*WIDE).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    check_last_batch(model, 9, arguments(), one_row)
    assert (
        "BatchNorm takes its statistics of that alone" in caplog.text and "--dataloader_drop_last True" in caplog.text
    )
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
    check_last_batch(model, rows, arguments(**settings), one_row)
    assert caplog.text == ""


def test_the_trainer_says_it_once_before_anything_is_written(tmp_path, caplog):
    """From Python as by the command."""
    settings = {"per_device_train_batch_size": 4, "mix_method": "mixup", "max_steps": 2}
    rows = image_rows(9)
    make_image_trainer(tmp_path / "one", rows, model=tiny_image_model("resnet"), **settings)
    assert caplog.text.count("(9 training rows, 4 a batch) has a single row, and the model's BatchNorm") == 1
    caplog.clear()
    make_image_trainer(tmp_path / "two", rows[:8], model=tiny_image_model("resnet"), **settings)
    make_image_trainer(tmp_path / "three", rows, model=tiny_image_model("vit"), **settings)
    assert "single row" not in caplog.text


def test_the_trainer_refuses_what_cannot_be_trained(tmp_path):
    model = tiny_image_model("resnet")
    model.resnet.pooler = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(model.config.hidden_sizes[-1]))
    with pytest.raises(
        ValueError, match=r"has a single row, on which the model cannot be trained \(Expected more than 1"
    ):
        make_image_trainer(tmp_path / "run", image_rows(9), model=model, per_device_train_batch_size=4)
    assert not (tmp_path / "run").exists()
