"""`train-image` from images to results, in this process, and what it must refuse before training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny import tiny_image_model, tiny_model
from transformers import AutoModelForImageClassification, ViTForImageClassification

from mixtext_hf.cli import train_image
from mixtext_hf.cli.train_image import main, make_parser, make_run
from mixtext_hf.models.embedded import small_vit
from mixtext_hf.training.card import told_arguments


COMMON = ["--use_cpu", "--disable_tqdm=true", "--report_to=none", "--save_strategy=no"]
QUICK = [*COMMON, "--max_steps=2", "--per_device_train_batch_size=8"]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of pictures that a few steps can tell apart, for training and for test."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for name, brightness in (("dark", 40), ("light", 200)):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = generator.integers(brightness - 30, brightness + 30, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return str(root)


def results(output_dir):
    return json.loads((output_dir / "all_results.json").read_text(encoding="utf-8"))


@pytest.mark.pictures
def test_from_a_folder_of_images_to_predictions(tmp_path, folder):
    out = tmp_path / "out"
    learn = ["--num_train_epochs=6", "--learning_rate=5e-3", "--per_device_train_batch_size=8"]
    argv = [*COMMON, *learn, f"--dataset_name={folder}", "--model_name_or_path=small-resnet", f"--output_dir={out}"]
    main([*argv, "--mix_method=mixup", "--image_augmentations", "flip", "crop:2", "--do_train", "--do_predict"])
    found = results(out)
    assert found["train_samples"] == 24 and found["predict_samples"] == 12
    assert found["predict_accuracy"] == 1.0
    with (out / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 and {row["prediction"] for row in rows} == {"dark", "light"}
    with Image.open(out / "reliability_diagram_test.png") as diagram:
        assert min(diagram.size) > 300
    # The folder that an image lies in is its class.
    assert all(Path(row["image"]).parent.name == row["label"] == row["prediction"] for row in rows)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run["method"] == "mixup" and run["columns"] == ["image"]
    assert run["model_arguments"]["model_name_or_path"] == "small-resnet"

    model = AutoModelForImageClassification.from_pretrained(out)
    assert model.config.id2label == {0: "dark", 1: "light"} and model.config.num_channels == 3
    assert model(pixel_values=torch.rand(1, 3, 32, 32)).logits.shape == (1, 2)

    # The checkpoint and its image processor serve as a model of their own.
    again = tmp_path / "again"
    evaluate = [*COMMON, f"--dataset_name={folder}", f"--model_name_or_path={out}", f"--output_dir={again}"]
    assert main([*evaluate, "--do_predict"])["predict_accuracy"] == 1.0


def test_the_embedded_example(tmp_path):
    run = make_run([*QUICK, f"--output_dir={tmp_path / 'out'}", "--mix_method=puzzlemix"])
    assert len(run.data.train) == 200 and run.data.num_labels == 10 and run.config.num_channels == 1
    assert run.trainer.method.name == "puzzlemix"
    found = run()
    assert found["train_samples"] == 200 and found["eval_samples"] == 360
    assert (tmp_path / "out" / "reliability_diagram.png").is_file()


def test_half_says_what_it_would_be(tmp_path, caplog):
    caplog.set_level("INFO")
    main([*QUICK, f"--output_dir={tmp_path / 'out'}", "--mix_method=puzzlemix", "--learning_rate=0.01"])
    assert "--max_steps 1 --learning_rate 0.02" in caplog.text


def test_images_are_resized(tmp_path, folder, monkeypatch):
    run = make_run(
        [
            *QUICK,
            f"--dataset_name={folder}",
            "--model_name_or_path=small-resnet",
            "--image_size=48",
            f"--output_dir={tmp_path / 'out'}",
            "--do_train",
        ]
    )
    batch = run.trainer.data_collator([run.data.train[0]])
    assert batch["pixel_values"].shape == (1, 3, 48, 48)


@pytest.mark.parametrize(("size", "patch"), [((32, 32), 4), ((16, 48), 2), ((56, 112), 7)])
def test_a_vit_from_scratch_whose_shorter_side_has_eight_patches(size, patch):
    model = ViTForImageClassification(small_vit(3, size)).eval()
    assert model.config.patch_size == patch and min(size) // patch == 8
    with torch.no_grad():
        assert model(pixel_values=torch.rand(2, 3, *size)).logits.isfinite().all()


@pytest.mark.parametrize("size", [(24, 40), (40, 30), (4, 4)])
def test_a_vit_from_scratch_says_which_size_it_wants(size):
    with pytest.raises(ValueError, match=f"they have {size[0]} x {size[1]} pixels: resize them by --image_size"):
        small_vit(3, size)


def test_a_vit_from_scratch_is_trained_by_what_its_attention_says(tmp_path, folder):
    flags = ["--model_name_or_path=small-vit", "--image_size=32", "--mix_method=transmix", "--do_train"]
    run = make_run([*QUICK, f"--dataset_name={folder}", f"--output_dir={tmp_path / 'out'}", *flags])
    run()
    assert run.config.model_type == "vit" and "mix_weight" in run.trainer.state.log_history[0]
    assert "base_model" not in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def saved(path, family, processor):
    tiny_image_model(family, num_labels=2).save_pretrained(path)
    processor.save_pretrained(path)
    return str(path)


@pytest.mark.parametrize("kind", ["ConvNext", "CLIP", "TextNet", "ViT"])
def test_every_kind_of_image_processor_takes_a_size(tmp_path, folder, kind):
    """Some know no height and width, and some would not bring all images to one shape."""
    model = saved(tmp_path / "model", "resnet", getattr(transformers, f"{kind}ImageProcessorPil")())
    out = f"--output_dir={tmp_path / 'out'}"
    run = make_run(
        [*QUICK, f"--dataset_name={folder}", f"--model_name_or_path={model}", "--image_size=48", out, "--do_train"]
    )
    images = [np.zeros((30, 50, 3), np.uint8), np.zeros((70, 40, 3), np.uint8)]
    assert run.trainer.data_collator([{"image": i} for i in images])["pixel_values"].shape == (2, 3, 48, 48)


def test_a_model_of_images_and_text(tmp_path, folder):
    size = {"height": 32, "width": 32}
    model = saved(tmp_path / "model", "clip", transformers.CLIPImageProcessorPil(size=size, crop_size=size))
    argv = [*QUICK, f"--dataset_name={folder}", f"--model_name_or_path={model}", f"--output_dir={tmp_path / 'out'}"]
    found = main([*argv, "--mix_method=puzzlemix", "--do_train", "--do_predict", "--fgsm_epsilon=8"])
    assert "predict_fgsm_accuracy" in found


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--image_size=64"],
            "does not take images of 64 x 64 pixels, to which its image processor brings them, see --image",
        ),
        (["--image_size=33", "--mix_method=puzzlemix"], "Images of 33 x 33 pixels cannot be cut"),
    ],
)
def test_sizes_that_do_not_go_together_are_found_before_training(tmp_path, folder, capsys, flags, message):
    processor = transformers.ViTImageProcessorPil(size={"height": 48, "width": 32})
    model = saved(tmp_path / "model", "vit", processor)
    out = tmp_path / "out"
    argv = [*QUICK, f"--dataset_name={folder}", f"--model_name_or_path={model}", f"--output_dir={out}", "--do_train"]
    with pytest.raises(SystemExit):
        main([*argv, *flags])
    assert message in capsys.readouterr().err
    assert not out.exists() or not any(out.iterdir())


def test_an_encoder_of_texts_is_no_model_of_images(tmp_path, folder, capsys):
    tiny_model("bert").base_model.save_pretrained(tmp_path / "texts")
    argv = [
        f"--dataset_name={folder}",
        f"--model_name_or_path={tmp_path / 'texts'}",
        f"--output_dir={tmp_path / 'out'}",
    ]
    with pytest.raises(SystemExit) as stopped:
        main([*QUICK, *argv, "--do_train"])
    assert stopped.value.code == 2
    assert "texts' is a model of texts (bert), and one of images is needed here" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_arguments():
    parser = make_parser()
    assert parser.prog == "mixtext-hf train-image"
    args = parser.parse_args_into_dataclasses(["--output_dir=x", "--image_augmentations", "flip", "crop:4"])
    assert args[2].image_augmentations == ["flip", "crop:4"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--do_eval"], "model_name_or_path='small-resnet' starts from scratch: add --do_train"),
        (["--do_train", "--mix_method=tmixx"], "Unknown mix_method 'tmixx'"),
        (
            ["--do_train", "--model_name_or_path=small-vit", "--image_size=30"],
            "they have 30 x 30 pixels: resize them by --image_size 32, or to another multiple of 8",
        ),
        (["--do_train", "--mix_method=mixtext"], "mixtext learns from texts"),
        (["--do_train", "--image_augmentations", "rotate"], "rotate"),
        (["--do_train", "--image_size=0"], "--image_size must be at least 4, got 0"),
        (["--do_train", "--image_size=1"], "--image_size must be at least 4, got 1"),
        (["--do_train", "--image_augmentations", "flip", "flip"], "names flip twice: give it once"),
        (["--do_train", "--image_size=100000"], "--image_size 100000 is a side in pixels, of at most 4096"),
        (
            ["--do_train", "--image_augmentations", "crop:100000"],
            "row 0 of the training images: crop:100000 may leave",
        ),
        (["--do_train", "--image_column=picture"], "`image_column` is 'picture', but there is no such column"),
        (["--do_train", "--eval_strategy=epoch"], "needs a validation split"),
        (["--do_train", "--metric_for_best_model=ecee"], "--metric_for_best_model ecee is not measured"),
        (["--do_train", "--gradient_accumulation_steps=0"], "gradient_accumulation_steps must be at least 1, got 0"),
        ([], "Nothing to do"),
    ],
)
def test_bad_input(tmp_path, folder, capsys, flags, message):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stopped:
        main([*QUICK, f"--dataset_name={folder}", "--model_name_or_path=small-resnet", f"--output_dir={out}", *flags])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("mixtext-hf train-image: error: ") and message in error
    assert not out.exists() or not any(out.iterdir())


def test_another_run_is_not_overwritten(tmp_path, folder, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit):
        main(
            [
                *QUICK,
                f"--dataset_name={folder}",
                "--model_name_or_path=small-resnet",
                f"--output_dir={out}",
                "--do_train",
            ]
        )
    assert "holds another run" in capsys.readouterr().err
    assert (out / "config.json").read_text(encoding="utf-8") == "{}"


def test_the_output_dir_must_be_named(capsys, folder):
    with pytest.raises(SystemExit):
        train_image.main([*QUICK, f"--dataset_name={folder}", "--do_train"])
    assert "--output_dir is needed" in capsys.readouterr().err


def test_top_k_and_fgsm_accuracy(tmp_path):
    """Beside the other metrics, on every labelled split, and in the results; the weights are those of a run without."""
    out, plain = tmp_path / "out", tmp_path / "plain"
    learn = [*QUICK, "--mix_method=erm", "--max_steps=30", "--learning_rate=5e-3", "--labeled_per_class=10", "--bf16"]
    few = ["--validation_split_fraction=0.1", "--max_eval_samples=50", "--max_predict_samples=40"]
    flags = ["--metrics", "accuracy", "top_2_accuracy", "top_5_accuracy", "--per_device_eval_batch_size=16"]
    data = [*few, "--dataset_name=digits", "--model_name_or_path=small-resnet", "--do_train", "--do_eval"]
    run = make_run([*learn, *flags, *data, "--do_predict", "--fgsm_epsilon=16", f"--output_dir={out}"])
    assert len(run.data.validation["validation"]) == 50 and len(run.data.test["test"]) == 40
    found = run()
    assert found == {name: value for name, value in results(out).items() if name in found}
    for prefix in ("eval", "predict"):
        assert found[f"{prefix}_accuracy"] <= found[f"{prefix}_top_2_accuracy"] <= found[f"{prefix}_top_5_accuracy"]
        assert 0.1 < found[f"{prefix}_fgsm_accuracy"] < found[f"{prefix}_accuracy"]
    assert json.loads((out / "run.json").read_text(encoding="utf-8"))["data_arguments"]["fgsm_epsilon"] == 16.0

    # The checkpoint alone, in its own loop over single images.
    model = AutoModelForImageClassification.from_pretrained(out).eval()
    hits = []
    for row in run.data.validation["validation"]:
        batch = run.trainer.data_collator([row])
        images = batch["pixel_values"].requires_grad_()
        (gradient,) = torch.autograd.grad(model(**batch).loss, images)
        adversarial = (images + 2 * 16 / 255 * gradient.sign()).clamp(-1, 1)  # the processor maps [0, 1] to [-1, 1]
        hits.append(model(pixel_values=adversarial).logits.argmax().item() == row["label"])
    # One image may lie on a border.
    assert found["eval_fgsm_accuracy"] == pytest.approx(np.mean(hits), abs=0.021)

    main([*learn, *data, f"--output_dir={plain}"])
    assert (plain / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert "eval_fgsm_accuracy" not in results(plain)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--do_predict", "--fgsm_epsilon=0"], "--fgsm_epsilon must lie in (0, 255], in grey levels of 255, got 0.0"),
        (["--do_predict", "--fgsm_epsilon=-8"], "got -8.0"),
        (["--do_predict", "--fgsm_epsilon=nan"], "got nan"),
        (["--do_predict", "--fgsm_epsilon=256"], "got 256.0"),
        (["--do_predict", "--fgsm_epsilon=8/255"], "invalid float value: '8/255'"),
        (["--fgsm_epsilon=8"], "--fgsm_epsilon 8 is for evaluation: add --do_eval or --do_predict"),
        (["--do_predict", "--fgsm_epsilon=8", "--bf16_full_eval"], "leave out --bf16_full_eval"),
        (["--do_predict", "--metrics", "top_2_accuracy"], "`k` must be less than the number of classes, got 2 for 2"),
        (["--do_predict", "--metrics", "top_0_accuracy"], "such as top_5_accuracy"),
    ],
)
def test_bad_metrics(tmp_path, folder, capsys, flags, message):
    out = tmp_path / "out"
    argv = [*QUICK, f"--dataset_name={folder}", "--model_name_or_path=small-resnet", f"--output_dir={out}"]
    with pytest.raises(SystemExit):
        main([*argv, "--do_train", *flags])
    assert message in capsys.readouterr().err
    assert not out.exists() or not any(out.iterdir())


def test_a_checkpoint_in_half_precision_is_not_attacked(tmp_path, folder, capsys):
    half = tmp_path / "half"
    run = make_run(
        [*QUICK, f"--dataset_name={folder}", "--model_name_or_path=small-resnet", f"--output_dir={half}", "--do_train"]
    )
    run.trainer.model.half().save_pretrained(half)
    run.processor.save_pretrained(half)
    with pytest.raises(SystemExit):
        main(
            [
                *QUICK,
                f"--dataset_name={folder}",
                f"--model_name_or_path={half}",
                f"--output_dir={tmp_path / 'out'}",
                "--do_predict",
                "--fgsm_epsilon=8",
            ]
        )
    assert f"model_name_or_path='{half}' is not in float32, which --fgsm_epsilon 8 needs" in capsys.readouterr().err


def test_a_preset_brings_its_training_arguments(tmp_path, folder, caplog):
    caplog.set_level("INFO")
    flags = [*COMMON, f"--dataset_name={folder}", f"--output_dir={tmp_path / 'out'}", "--do_train", "--max_steps=1"]
    flags += ["--mix_method=puzzlemix", "--mix_preset=cifar_adversarial", "--per_device_train_batch_size=6"]
    run = make_run([*flags, "--learning_rate=0.05"])
    args, method = run.args, run.trainer.method
    assert (args.optim, args.optim_args) == ("sgd", "momentum=0.9,nesterov=True")
    assert (args.mix_loss, args.lr_scheduler_type, args.weight_decay) == ("bce", "cosine", 1e-4)
    assert (args.learning_rate, args.per_device_train_batch_size) == (0.05, 6)
    assert (method.adv_p, method.t_size, args.image_augmentations) == (0.1, 4, ["flip", "crop:2"])
    assert run.trainer.loss.kind == "bce"
    assert "mix_preset=cifar_adversarial sets optim=sgd, " in caplog.text and "mix_loss=bce" in caplog.text
    assert "given beside it, and not set: learning_rate, per_device_train_batch_size." in caplog.text
    # What the card says.
    told = told_arguments(args)
    assert (told["mix_preset"], told["mix_loss"]) == ("cifar_adversarial", "bce")
    assert (told["optim_args"], told["image_augmentations"]) == ("momentum=0.9,nesterov=True", ["flip", "crop:2"])
