"""A model of timm through the commands, from a folder to the Hub and back, where timm is installed."""

from __future__ import annotations

import csv
import json

import datasets
import numpy as np
import pytest
import torch
from hub_server import HubServer
from PIL import Image
from runs import assert_same_weights, weights
from transformers import AutoModelForImageClassification

from mixtext_hf.cli.main import main
from mixtext_hf.models import MixableModelForImageClassification


SIDE = 32
ARCHITECTURE, SETTINGS = "vit_tiny_patch16_224", {"img_size": SIDE, "depth": 1}
PIXELS = {"input_size": [3, SIDE, SIDE], "crop_pct": 1.0, "mean": [0.5] * 3, "std": [0.5] * 3, "crop_mode": "center"}
QUIET = ["--use_cpu", "--disable_tqdm=true"]
NAMES = ["dark", "light"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name, brightness in zip(NAMES, (40, 200), strict=True):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(brightness - 30, brightness + 30, (40, 48, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def saved(timm, folder, architecture, settings):
    """A folder as timm's own save on the Hub is: its config names no class of transformers."""
    from timm.models import save_for_hf

    torch.manual_seed(0)
    model = timm.create_model(architecture, num_classes=5, **settings)
    save_for_hf(model, folder, model_args=settings or None, safe_serialization=True)
    assert "architectures" not in json.loads((folder / "config.json").read_text())
    return folder


def train(base, pictures, out, *more):
    """By the command; what the folder holds of the results, and of the config."""
    main(
        [
            *("train-image", f"--model_name_or_path={base}", f"--dataset_name={pictures}", f"--output_dir={out}"),
            *("--do_train", "--max_steps=2", "--per_device_train_batch_size=4", "--report_to=none", *QUIET, *more),
        ]
    )
    return [json.loads((out / name).read_text()) for name in ("all_results.json", "config.json")]


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_from_a_folder_of_timm_to_the_hub(timm, tmp_path, monkeypatch, capsys, pictures):
    folder, out = saved(timm, tmp_path / "base", ARCHITECTURE, SETTINGS), tmp_path / "out"
    more = ("--mix_method=cutmix", f"--image_size={SIDE}", "--do_predict", "--ignore_mismatched_sizes")
    found, config = train(folder, pictures, out, *more)
    assert found["predict_samples"] == 4 and np.isfinite(found["train_loss"])
    assert config["model_type"] == "timm_wrapper" and config["mixtext"]["method"] == "cutmix"

    main(["predict", str(out), str(pictures / "test"), f"--output_file={tmp_path / 'p.csv'}", *QUIET])
    rows = rows_of(tmp_path / "p.csv")
    assert [row["label"] for row in rows] == ["dark", "dark", "light", "light"]
    predicted = [row["prediction"] for row in rows_of(out / "predictions.csv")]
    assert predicted == [row["prediction"] for row in rows]

    main(
        [
            *("evaluate", f"--model_name_or_path={out}", f"--dataset_name={pictures}", "--skip=robustness"),
            *(f"--output_dir={tmp_path / 'report'}", *QUIET),
        ]
    )
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["model"]["architecture"] == "TimmWrapperForImageClassification"
    assert report["model"]["label_names"] == NAMES
    right = np.mean([row["prediction"] == row["label"] for row in rows])
    assert report["results"]["metrics"]["accuracy"] == pytest.approx(right)

    with HubServer() as hub:
        hub.serve_here(monkeypatch, tmp_path)
        main(["push", str(out), "--hub_model_id=user/timm"])
        assert "model.safetensors" in hub.repos["user/timm"].branches["main"][-1].files
        again = MixableModelForImageClassification.without_hooks("user/timm", cache_dir=tmp_path / "cache")
    assert "Pushed" in capsys.readouterr().out
    plain = AutoModelForImageClassification.from_pretrained(out)
    assert again.config.id2label == plain.config.id2label == dict(enumerate(NAMES))
    assert_same_weights(weights(again), weights(plain))


def test_a_wrapper_of_timm_takes_the_names_it_is_trained_on(timm, tmp_path, pictures):
    """As transformers saves it, with the names of other classes and what timm says of pixels."""
    from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig
    from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperForImageClassification

    base, out = tmp_path / "base", tmp_path / "out"
    config = TimmWrapperConfig(architecture="resnet18", num_labels=2, pretrained_cfg=PIXELS)
    TimmWrapperForImageClassification(config).save_pretrained(base)
    assert json.loads((base / "config.json").read_text())["label_names"] == ["LABEL_0", "LABEL_1"]
    more = ("--mix_method=puzzlemix", "--do_eval", "--validation_split_fraction=0.25", "--save_strategy=no")
    found, config = train(base, pictures, out, *more)
    assert np.isfinite(found["eval_loss"]) and config["label_names"] == NAMES
    # Plain transformers finds the model, and its classes by their names.
    again = AutoModelForImageClassification.from_pretrained(out)
    assert type(again) is TimmWrapperForImageClassification and again.config.id2label == dict(enumerate(NAMES))
    main(["predict", str(out), str(pictures / "test"), f"--output_file={tmp_path / 'p.csv'}", *QUIET])
    assert {row["prediction"] for row in rows_of(tmp_path / "p.csv")} <= {*NAMES}


def test_a_folder_of_timm_from_python(timm, tmp_path):
    folder = saved(timm, tmp_path / "base", ARCHITECTURE, SETTINGS)
    model = MixableModelForImageClassification.without_hooks(folder, num_labels=2, ignore_mismatched_sizes=True)
    assert model.config.num_labels == 2 and model.config.model_args["depth"] == 1
    as_it_is = MixableModelForImageClassification.without_hooks(folder)
    assert as_it_is(torch.rand(1, 3, SIDE, SIDE)).logits.shape == (1, 5)
