"""The folder of a Space: the app in it, run with a stand-in for gradio, says what the model says; nothing else is copied."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny import IMAGE_SIZE, tiny_image_model, tiny_model, tiny_tokenizer

from mixtext_hf.cli.space import main
from mixtext_hf.delivery.space import GRADIO, make_space
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.models.stored_temperature import StoredTemperature, store_temperature


NAMES = ["ham", "spam", "egg"]
NAMED = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
FILES = ["README.md", "app.py", "requirements.txt", "space.json"]


@dataclass
class Interface:
    """Takes what `gradio.Interface` is given by the app, and nothing else."""

    fn: Any
    inputs: list[Any]
    outputs: Any
    title: str
    description: str
    api_name: str
    flagging_mode: str

    def launch(self):
        raise AssertionError("a test starts no server")


class Refusal(Exception):
    def __init__(self, message, print_exception=True):
        super().__init__(message)


@pytest.fixture
def gradio(monkeypatch):
    """A stand-in: the page is what it was made of."""
    module: Any = ModuleType("gradio")
    module.Interface, module.Error = Interface, Refusal
    for name in ("Textbox", "Image", "Label"):
        setattr(module, name, lambda **options: options)
    monkeypatch.setitem(sys.modules, "gradio", module)
    return module


def page_of(folder):
    """What the copied app.py makes."""
    spec = importlib.util.spec_from_file_location("space_under_test", folder / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    return app.make_app()[0]


def text_model(**more):
    model = tiny_model(num_hidden_layers=1, **{**NAMED, **more}).eval()
    if model.config.problem_type is None:
        store_temperature(model.config, StoredTemperature(2.5, "validation", 40))
    return model


def save(folder, model, processor, columns=("text", None)):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    record = {
        "columns": list(columns),
        "data_arguments": {"max_seq_length": 8},
        "train_file": "/home/somebody/secret.csv",
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "optimizer.pt").write_text("large")
    return folder


def test_texts(tmp_path, gradio, capsys):
    model, tokenizer = text_model(), tiny_tokenizer()
    folder = save(tmp_path / "model", model, tokenizer)
    main([str(folder), f"--output_dir={tmp_path / 'space'}", "--title=Post: ham & egg"])
    assert ", ".join(FILES) in capsys.readouterr().out
    # By itself: what it was made of may be gone.
    shutil.rmtree(folder)
    made = {
        path.relative_to(tmp_path / "space").as_posix() for path in (tmp_path / "space").rglob("*") if path.is_file()
    }
    of_model = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert made == {*FILES, *(f"model/{name}" for name in of_model)}
    assert not any(b"secret" in (tmp_path / "space" / name).read_bytes() for name in made)
    page = page_of(tmp_path / "space")
    assert (
        page.title == "Post: ham & egg"
        and "2.5" in page.description
        and page.inputs == [{"label": "text", "lines": 3}]
    )
    for text in ("w1 w2 w3", "w4 " * 30):
        with torch.no_grad():
            logits = model(**tokenizer(text, truncation=True, max_length=8, return_tensors="pt")).logits[0]
        assert page.fn(text) == pytest.approx(
            dict(zip(NAMES, (logits / 2.5).softmax(-1).tolist(), strict=True)), abs=1e-5
        )
    with pytest.raises(Refusal, match="Give a text"):
        page.fn("  ")
    header = yaml.safe_load((tmp_path / "space" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert (header["sdk"], header["app_file"], header["sdk_version"]) == ("gradio", "app.py", GRADIO)
    assert header["title"] == "Post: ham & egg" and "models" not in header


def test_pairs_of_texts_and_several_labels(tmp_path, gradio):
    model, tokenizer = text_model(problem_type="multi_label_classification"), tiny_tokenizer()
    folder = save(tmp_path / "model", model, tokenizer, columns=("premise", "hypothesis"))
    make_space(folder, tmp_path / "space")
    page = page_of(tmp_path / "space")
    assert [one["label"] for one in page.inputs] == ["premise", "hypothesis"] and page.description == ""
    with torch.no_grad():
        logits = model(**tokenizer("w1 w2", "w3", return_tensors="pt")).logits[0]
    assert page.fn("w1 w2", "w3") == pytest.approx(dict(zip(NAMES, logits.sigmoid().tolist(), strict=True)), abs=1e-5)


def test_images(tmp_path, gradio):
    model, processor = tiny_image_model("resnet", **NAMED).eval(), small_image_processor(IMAGE_SIZE, 3)
    make_space(save(tmp_path / "model", model, processor), tmp_path / "space")
    page = page_of(tmp_path / "space")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8))
    pixels = processor(images=[picture.convert("RGB")], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = model(pixels).logits[0].softmax(-1)
    assert page.fn(picture) == pytest.approx(dict(zip(NAMES, expected.tolist(), strict=True)), abs=1e-5)
    assert "pillow" in (tmp_path / "space" / "requirements.txt").read_text(encoding="utf-8").split()
    with pytest.raises(Refusal, match="Give an image"):
        page.fn(None)


def test_a_model_of_the_hub_is_not_copied(tmp_path):
    folder = save(tmp_path / "model", text_model(), tiny_tokenizer())
    assert make_space(folder, tmp_path / "space", model_id="user/name") == FILES
    header = yaml.safe_load((tmp_path / "space" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    about = json.loads((tmp_path / "space" / "space.json").read_text(encoding="utf-8"))
    assert header["models"] == ["user/name"] and header["title"] == "name"
    assert (about["model"], about["is_local"], about["max_length"]) == ("user/name", False, 8)


def test_a_folder_that_is_made_again_has_the_new_model_alone(tmp_path):
    folder = save(tmp_path / "model", text_model(), tiny_tokenizer())
    make_space(folder, tmp_path / "space")
    (tmp_path / "space" / "model" / "adapter_config.json").write_text("{}")
    (tmp_path / "space" / "mine.txt").write_text("mine")
    make_space(folder, tmp_path / "space", overwrite=True)
    assert not (tmp_path / "space" / "model" / "adapter_config.json").exists()
    assert (tmp_path / "space" / "mine.txt").read_text() == "mine"


def test_pixels_are_made_as_predict_makes_them(tmp_path, gradio, monkeypatch):
    """Not as torchvision would, where it is there."""
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    asked = []
    load = AutoImageProcessor.from_pretrained
    monkeypatch.setattr(
        AutoImageProcessor, "from_pretrained", lambda name, **more: asked.append(more) or load(name, **more)
    )
    model, processor = tiny_image_model("resnet", **NAMED).eval(), small_image_processor(IMAGE_SIZE, 3)
    make_space(save(tmp_path / "model", model, processor), tmp_path / "space")
    page_of(tmp_path / "space")
    assert asked == [{"backend": "pil"}]


def test_a_model_is_not_written_over_by_its_copy(tmp_path):
    """In a folder of somebody's own, where a model happens to lie in model/."""
    folder = save(tmp_path / "mine" / "model", text_model(), tiny_tokenizer())
    (folder / "optimizer.pt").write_text("kept")
    other = save(tmp_path / "other", text_model(), tiny_tokenizer())
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(ValueError, match="the model itself lies in its model/"):
        make_space(folder, tmp_path / "mine", overwrite=True)
    with pytest.raises(ValueError, match=r"no space\.json, so that no earlier call made it"):
        make_space(other, tmp_path / "mine", overwrite=True)
    assert sorted(path for path in tmp_path.rglob("*")) == before


def refused(capsys, *argv):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in argv])
    assert stopped.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_what_is_refused(tmp_path, capsys):
    folder, out = save(tmp_path / "model", text_model(), tiny_tokenizer()), tmp_path / "space"
    to = f"--output_dir={out}"
    assert "--output_dir is needed" in refused(capsys, folder)
    assert "no folder, and no id of the Hub" in refused(capsys, tmp_path / "nothing", to)
    assert "--model_id alone" in refused(capsys, folder, to, "--model_id=alone")
    own = [f"--output_dir={folder}", "--overwrite_output_dir"]
    assert "the folder of the model itself" in refused(capsys, folder, *own)
    assert "name a new one" in refused(capsys, folder, f"--output_dir={folder}")
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused(capsys, tmp_path / "empty", to)
    score = save(
        tmp_path / "score",
        text_model(num_labels=1, problem_type="regression", id2label={0: "x"}, label2id={"x": 0}),
        tiny_tokenizer(),
    )
    assert "predicts a number" in refused(capsys, score, to)
    headed = text_model()
    headed.config.mixtext_head = "mean_pooling"
    assert "plain transformers cannot load" in refused(capsys, save(tmp_path / "headed", headed, tiny_tokenizer()), to)
    adapter = save(tmp_path / "adapter", text_model(), tiny_tokenizer())
    (adapter / "model.safetensors").rename(adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "/somewhere", "peft_type": "LORA"})
    )
    assert "merge the adapter" in refused(capsys, adapter, to)
    hot = text_model()
    hot.config.mixtext["temperature"] = "hot"
    assert "temperature is a finite number" in refused(capsys, save(tmp_path / "hot", hot, tiny_tokenizer()), to)
    assert not out.exists()
