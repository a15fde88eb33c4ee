"""The commands on models of timm: trained, measured and asked, with the names of the classes they were trained on."""

from __future__ import annotations

import csv
import json

import datasets
import numpy as np
import pytest
from PIL import Image
from transformers import AutoModelForImageClassification

from mixtext_hf.cli import evaluate, predict, train_image


SIDE = 32
SETTINGS = {"input_size": [3, SIDE, SIDE], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_mode": "center"}
QUIET = ["--use_cpu", "--disable_tqdm=true"]


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rng = np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        for name in ("cat", "dog"):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(4):
                Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    "architecture, settings", [("resnet18", {}), ("vit_tiny_patch16_224", {"img_size": SIDE, "depth": 1})]
)
def test_from_training_to_predictions(timm, tmp_path, pictures, architecture, settings):
    from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig
    from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperForImageClassification

    base, model, report = (tmp_path / name for name in ("base", "model", "report"))
    config = TimmWrapperConfig(
        architecture=architecture, num_labels=2, model_args=settings or None, pretrained_cfg=SETTINGS
    )
    TimmWrapperForImageClassification(config).save_pretrained(base)
    assert json.loads((base / "config.json").read_text())["label_names"] == ["LABEL_0", "LABEL_1"]
    train_image.main(
        [
            *QUIET,
            f"--dataset_name={pictures}",
            f"--model_name_or_path={base}",
            f"--output_dir={model}",
            "--mix_method=puzzlemix",
            "--max_steps=2",
            "--per_device_train_batch_size=4",
            *("--do_train", "--do_eval", "--report_to=none", "--save_strategy=no"),
        ]
    )
    # Plain transformers finds the model, and its classes by their names.
    again = AutoModelForImageClassification.from_pretrained(model)
    assert type(again) is TimmWrapperForImageClassification and again.config.id2label == {0: "cat", 1: "dog"}
    out = tmp_path / "predictions.csv"
    predict.main([*QUIET, str(model), str(pictures / "test"), f"--output_file={out}"])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["cat"] * 4 + ["dog"] * 4
    found = evaluate.main(
        [
            *QUIET,
            f"--model_name_or_path={model}",
            f"--dataset_name={pictures}",
            f"--output_dir={report}",
            *("--skip", "noise"),
        ]
    )
    right = sum(row["prediction"] == row["label"] for row in rows) / len(rows)
    assert found["results"]["metrics"]["accuracy"] == right and found["model"]["label_names"] == ["cat", "dog"]
