"""`benchmark vision`: each method's step for images, and the parts of PuzzleMix."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny import tiny_image_model
from transformers import ViTConfig

import mixtext_hf
from mixtext_hf.cli.benchmark import mixes
from mixtext_hf.cli.benchmark import vision as benchmark_vision
from mixtext_hf.cli.benchmark.command import main, make_parser
from mixtext_hf.cli.benchmark.measuring import NUM_LABELS
from mixtext_hf.cli.benchmark.mixes import natural_images
from mixtext_hf.cli.benchmark.vision import ON_IMAGES, memory_in_child, resnet18, vit
from mixtext_hf.methods import PuzzleMix


SMALL = ["--batch_size", "4", "--image_size", "32", "--rounds", "2", "--warmup", "1", "--threads", "1"]


@pytest.fixture
def tiny_steps(monkeypatch):
    """A child process takes seconds to import everything, and a ResNet-18 a second for some steps."""
    monkeypatch.setattr(benchmark_vision, "memory_in_child", lambda argv, method: {"peak_mib": 300.0})
    monkeypatch.setattr(benchmark_vision, "resnet18", lambda: tiny_image_model("resnet", num_labels=NUM_LABELS))


def printed(capsys, *argv):
    main(["vision", *argv])
    return capsys.readouterr().out


def test_every_method_for_images_is_compared(tiny_steps, capsys):
    rows = json.loads(printed(capsys, *SMALL, "--json"))
    assert [row["method"] for row in rows] == [name for name in ON_IMAGES if name != "transmix"]
    assert set(ON_IMAGES) == {
        *("erm", "manifold_mixup", "mixup", "cutmix", "mixup_cutmix", "resizemix", "augmix", "puzzlemix"),
        *("transmix", "maskmix"),
    }
    assert rows[0]["ratio to erm"] == rows[0]["median ratio"] == 1
    assert all(row["step ms"] > 0 and row["ratio to erm"] > 0 for row in rows)
    assert all(row["peak memory MiB"] == 300 for row in rows)


def test_a_table_names_the_model_and_the_baseline_is_always_there(tiny_steps, capsys):
    lines = printed(capsys, *SMALL, "--methods", "cutmix").splitlines()
    assert lines[0] == "ResNet-18, batch 4 of 32 px, 2 rounds"
    assert [line.split(" | ")[0] for line in lines[4:]] == ["| erm", "| cutmix"]
    assert all(line.count("|") == lines[2].count("|") for line in lines[3:])


def test_a_vision_transformer_knows_attention(tiny_steps, monkeypatch, capsys):
    monkeypatch.setattr(benchmark_vision, "ViTConfig", partial(ViTConfig, num_hidden_layers=1))
    rows = json.loads(printed(capsys, *SMALL, "--network", "vit", "--methods", "transmix", "--json"))
    assert [row["method"] for row in rows] == ["erm", "transmix"]
    assert printed(capsys, *SMALL, "--network", "vit", "--methods", "maskmix").startswith(
        "ViT of the size of DeiT-Ti, "
    )


def test_a_resnet_knows_none(tiny_steps, capsys):
    with pytest.raises(SystemExit):
        main(["vision", *SMALL, "--methods", "transmix"])
    assert "transmix needs a [CLS] token" in capsys.readouterr().err


def test_hyper_parameters_go_to_the_methods_that_have_them(tiny_steps, capsys, monkeypatch):
    made = {}
    make = benchmark_vision.make_trainer

    def noted(*args, **settings):
        made[settings["mix_method"]] = settings["mix_kwargs"]
        return make(*args, **settings)

    monkeypatch.setattr(benchmark_vision, "make_trainer", noted)
    given = {"clean_lam": 1.0, "saliency": "spectral_residual"}
    printed(capsys, *SMALL, "--methods", "mixup", "augmix", "puzzlemix", "--mix_kwargs", json.dumps(given))
    assert made == {"erm": None, "augmix": None, "mixup": {"clean_lam": 1.0}, "puzzlemix": given}


@pytest.mark.parametrize("wrong", ['{"salience": 1}', "[1]", "{clean_lam}"])
def test_hyper_parameters_that_no_method_has_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        main(["vision", "--mix_kwargs", wrong])
    assert "--mix_kwargs: no " in capsys.readouterr().err


def test_the_parts_of_puzzlemix(capsys):
    options = ["--parts", "--part_sizes", "16", "--batch_size", "2", "--rounds", "2", "--threads", "1", "--json"]
    rows = json.loads(printed(capsys, *options))
    assert [(row["px"], row["blocks"]) for row in rows] == [(16, 2), (16, 4), (16, 8), (16, 16)]
    for row in rows:
        parts = [row[part] for part in ("terms", "cut", "transport", "apply")]
        assert min(parts) > 0 and row["all"] == pytest.approx(sum(parts))
    still = json.loads(printed(capsys, *options, "--t_size", "0"))
    assert all("transport" not in row for row in still)


def test_whole_mixes_have_the_defaults_of_their_methods(monkeypatch):
    assert mixes.cases([28]) == [
        *((28, "puzzlemix", blocks) for blocks in (2, 4)),
        *((28, method, None) for method in ("cutmix", "resizemix")),
    ]
    seen = []
    monkeypatch.setattr(mixes, "puzzle_mix", lambda *tensors, **how: seen.append(how))
    assert all(mixes.seconds_of(*case, batch_size=2, seed=0) > 0 for case in mixes.cases([28]))
    (first, second), defaults = seen, PuzzleMix()
    assert {name: value for name, value in first.items() if name != "block_num"}.items() <= asdict(defaults).items()
    assert first["t_size"] == "auto" and (first["block_num"], second["block_num"]) == (2, 4)


@pytest.mark.deep
def test_another_version_is_timed_in_the_same_run(capsys, tmp_path):
    options = ["--parts", "--part_sizes", "8", "--batch_size", "2", "--rounds", "1", "--threads", "1", "--json"]
    other = tmp_path / "other"
    shutil.copytree(Path(mixtext_hf.__file__).parent, other / "mixtext_hf")
    rows = json.loads(printed(capsys, *options, "--beside", str(other)))
    assert [(row["method"], row["blocks"]) for row in rows] == [
        *(("puzzlemix", blocks) for blocks in (2, 4, 8)),
        *((method, "") for method in ("cutmix", "resizemix")),
    ]
    assert all(row["here ms"] > 0 and row["there ms"] > 0 and row["here / there"] > 0 for row in rows)


def test_a_folder_without_the_package_is_named(capsys, tmp_path):
    with pytest.raises(SystemExit):
        main(["vision", "--parts", "--beside", str(tmp_path)])
    assert f"--beside {tmp_path} holds no mixtext_hf/: name a checkout" in capsys.readouterr().err


def test_the_network_is_a_resnet18():
    model = resnet18()
    # 11,689,512 weights with the 1,000 classes of ImageNet (He et al. 2016, torchvision).
    assert sum(weight.numel() for weight in model.parameters()) == 11_689_512 - (1000 - NUM_LABELS) * 513


@pytest.mark.parametrize("side, patch", [(64, 8), (224, 16)])
def test_the_transformer_is_of_the_size_of_deit_ti(side, patch):
    model = vit(side)
    assert model.config.patch_size == patch
    # 5,717,416 weights with the 1,000 classes of ImageNet (Touvron et al. 2021, timm), of images of 224 pixels.
    patches = (side // patch) ** 2 - 196, 3 * (patch**2 - 16**2)
    assert sum(weight.numel() for weight in model.parameters()) == (
        5_717_416 - (1000 - NUM_LABELS) * 193 + 192 * sum(patches)
    )


def test_images_are_smooth_and_unlike_each_other():
    images = natural_images(4, 32)
    assert images.shape == (4, 3, 32, 32) and images.min() >= 0 and images.max() <= 1
    assert torch.equal(images, natural_images(4, 32))
    beside = images.diff(dim=-1).abs().mean()
    assert beside < 0.5 * (images - images.roll(16, dims=-1)).abs().mean()
    assert (images[0] - images[1]).abs().mean() > 2 * beside


def test_the_memory_of_a_method_is_what_a_process_of_its_own_prints(monkeypatch, capsys):
    monkeypatch.setattr(benchmark_vision, "resnet18", lambda: tiny_image_model("resnet", num_labels=NUM_LABELS))
    main(["vision", *SMALL, "--memory_of=cutmix"])
    memory = json.loads(capsys.readouterr().out)
    assert 50 < memory["before_mib"] <= memory["peak_mib"]


@pytest.mark.deep
def test_memory_in_a_child():
    memory = memory_in_child(["vision", *SMALL], "cutmix")
    assert 50 < memory["before_mib"] < memory["peak_mib"]


@pytest.mark.parametrize(
    "options, message",
    [(["--methods", "tmix"], "invalid choice: 'tmix'"), (["--part_sizes"], "expected at least one argument")],
)
def test_wrong_options(capsys, options, message):
    with pytest.raises(SystemExit):
        make_parser().parse_args(["vision", *options])
    assert message in capsys.readouterr().err
