"""ONNX: in onnxruntime the logits of PyTorch, whatever the number and the lengths of rows; whole or absent; an honest error otherwise."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import IMAGE_SIZE, WITHOUT_SDPA, tiny_image_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mixtext_hf.cli.export import main
from mixtext_hf.delivery import onnx_export
from mixtext_hf.delivery.onnx_export import TOLERANCE, export_onnx
from mixtext_hf.errors import RunError
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.models.stored_temperature import StoredTemperature, store_temperature


NAMES = ["ham & egg", "spam", "façade"]
TEXTS = ["w1", "w2 w3 w4 w5 w6 w7 w8", "w9 w1 w1", "w30 " * 25]
NAMED = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}


def text_model(family, **more):
    attention = "eager" if family in WITHOUT_SDPA else "sdpa"
    return tiny_model(family, attention, num_hidden_layers=1, **NAMED, **more).eval()


def save(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A BERT with types of tokens and a temperature."""
    model, tokenizer = text_model("bert"), tiny_tokenizer()
    model.config.mixtext = {"version": "0", "method": "erm", "hyperparameters": {}}
    store_temperature(model.config, StoredTemperature(2.5, "validation", 40))
    folder = save(tmp_path_factory.mktemp("models") / "bert", model, tokenizer)
    path = Path(folder) / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    path.write_text(json.dumps(config), encoding="utf-8")
    return folder


def session_of(path):
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_a_text_classifier_with_its_temperature_folded_in(tmp_path, classifier, capsys):
    out = tmp_path / "onnx"
    written = main([classifier, f"--onnx={out}", "--fold_temperature"])
    said = capsys.readouterr().out
    assert str(out / "model.onnx") in said and "divided by the stored temperature, 2.5, already" in said
    assert written.largest_difference <= TOLERANCE and written.batches > 4
    session = session_of(written.file)
    assert [one.name for one in session.get_inputs()] == ["input_ids", "token_type_ids", "attention_mask"]
    assert all(one.shape == ["batch", "sequence"] for one in session.get_inputs())
    # Of what lies beside the file alone, against the model as plain transformers loads it.
    tokenizer, model = (
        AutoTokenizer.from_pretrained(out),
        AutoModelForSequenceClassification.from_pretrained(classifier),
    )
    for texts in (TEXTS, TEXTS[:1], TEXTS[2:], TEXTS * 3):
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            expected = model.eval()(**batch).logits.numpy() / 2.5
        (found,) = session.run(["logits"], {name: values.numpy() for name, values in batch.items()})
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert config["mixtext"] == {"version": "0", "method": "erm", "hyperparameters": {}}, "nobody divides twice"
    assert json.loads((out / "class_names.json").read_text(encoding="utf-8")) == NAMES
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == NAMES and told["problem_type"] == "single_label_classification"
    assert (told["temperature"], told["temperature_is_folded"], told["max_length"]) == ("2.5", "true", "32")


def images(processor, count):
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (30 + i, 40, 3), dtype=np.uint8)) for i in range(count)]
    return processor(images=pictures, return_tensors="pt")["pixel_values"]


@pytest.mark.parametrize("family", ["resnet", pytest.param("vit", marks=pytest.mark.deep)])
def test_an_image_classifier_in_a_file_of_that_name(tmp_path, monkeypatch, family):
    if family == "vit":
        # As of weights that no file of protobuf can hold.
        monkeypatch.setattr(onnx_export, "_MOST_BYTES", 0)
    model, processor = tiny_image_model(family).eval(), small_image_processor(IMAGE_SIZE, 3)
    written = export_onnx(model, processor, tmp_path / "new" / "net.onnx")
    assert written.file == tmp_path / "new" / "net.onnx" and written.inputs == ("pixel_values",)
    assert (tmp_path / "new" / "net.onnx.data").is_file() == (family == "vit")
    assert (tmp_path / "new" / "preprocessor_config.json").is_file() and not list(tmp_path.rglob(".part-*"))
    session = session_of(written.file)
    for count in (1, 2, 7):
        pixels = images(processor, count)
        with torch.no_grad():
            expected = model(pixels).logits.numpy()
        (found,) = session.run(None, {"pixel_values": pixels.numpy()})
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.deep
@pytest.mark.parametrize("family", ["distilbert", "modernbert", "roberta", "albert", "deberta-v2"])
def test_other_text_classifiers(tmp_path, family):
    model, tokenizer = text_model(family), tiny_tokenizer()
    written = export_onnx(model, tokenizer, tmp_path / "onnx")
    session = session_of(written.file)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in written.inputs}
    with torch.no_grad():
        expected = model(**inputs).logits.numpy()
    (found,) = session.run(None, {name: values.numpy() for name, values in inputs.items()})
    np.testing.assert_allclose(found, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.deep
def test_an_adapter_is_merged(tmp_path):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", init_lora_weights=False, target_modules=["query", "value"])
    model = peft.get_peft_model(text_model("bert"), config).eval()
    written = export_onnx(model, tiny_tokenizer(), tmp_path / "onnx")
    assert written.largest_difference <= TOLERANCE and hasattr(model, "merge_and_unload")


# ---- what is refused ----


def refused(capsys, *argv, status=2):
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in argv])
    assert stopped.value.code == status
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_what_is_wrong_is_said_before(tmp_path, classifier, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    out = tmp_path / "out"
    assert "--onnx is needed" in refused(capsys, classifier)
    assert "holds 'mine.txt': name a new one" in refused(capsys, classifier, f"--onnx={tmp_path / 'full'}")
    assert "holds 'mine.txt'" in refused(capsys, classifier, f"--onnx={tmp_path / 'full' / 'a.onnx'}")
    own = ["--overwrite_output_dir", f"--onnx={classifier}"]
    assert "the folder of the model itself" in refused(capsys, classifier, *own)
    assert "One model is needed" in refused(capsys, f"--onnx={out}")
    assert "One model is needed" in refused(capsys, classifier, f"--model_name_or_path={classifier}", f"--onnx={out}")
    plain = save(tmp_path / "plain", text_model("bert"), tiny_tokenizer())
    assert "no temperature is stored" in refused(capsys, plain, f"--onnx={out}", "--fold_temperature")
    assert "--max_seq_length" in refused(capsys, plain, f"--onnx={out}", "--max_seq_length=10000")
    image = save(tmp_path / "vit", tiny_image_model("vit"), small_image_processor(IMAGE_SIZE, 3))
    assert "is an image classifier" in refused(capsys, image, f"--onnx={out}", "--max_seq_length=5")
    assert not out.exists() and [one.name for one in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, classifier, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said = refused(capsys, classifier, f"--onnx={tmp_path / 'out'}")
    assert "onnxruntime is needed for ONNX: pip install 'mixtext-hf[export]'" in said


def test_a_model_that_cannot_be_exported_leaves_nothing(tmp_path, classifier, capsys, monkeypatch):
    def fail(*_, **__):
        raise torch.onnx.errors.OnnxExporterError("Failed to export.\nmore") from ValueError("Cannot view a tensor")

    monkeypatch.setattr(torch.onnx, "export", fail)
    said = refused(capsys, classifier, f"--onnx={tmp_path / 'out'}", status=1)
    assert "cannot export a model of the type 'bert'" in said and "ValueError: Cannot view a tensor" in said
    assert not (tmp_path / "out").exists()


class Saved:
    """What the exporter gives, with nothing in it."""

    def __init__(self):
        self.model = self
        self.metadata_props = {}

    def save(self, path, **_):
        with open(path, "wb") as file:
            file.write(b"nothing")


@pytest.mark.parametrize("difference", [0.1, float("nan")])
def test_other_logits_are_not_written(tmp_path, monkeypatch, difference):
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Saved())
    monkeypatch.setattr(onnx_export, "_largest_difference", lambda *_: difference)
    with pytest.raises(RunError, match=r"gives other logits than PyTorch, by up to .* where 0.0001 is allowed"):
        export_onnx(text_model("bert"), tiny_tokenizer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_of_large_logits_a_share_is_allowed(tmp_path, monkeypatch):
    """A score in the thousands has no digits left for 1e-4."""
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Saved())
    monkeypatch.setattr(onnx_export, "_largest_difference", lambda *_: 0.01)
    model = text_model("bert")
    model.classifier.bias.data[0] = 5000
    export_onnx(model, tiny_tokenizer(), tmp_path / "out")
    model.classifier.bias.data[0] = 900
    with pytest.raises(RunError, match=r"by up to 0.01 where 0.009 is allowed"):
        export_onnx(model, tiny_tokenizer(), tmp_path / "other")


def test_another_model_is_not_written_over(tmp_path):
    """Whose config would lose its temperature."""
    model, tokenizer = text_model("bert"), tiny_tokenizer()
    folder = save(tmp_path / "model", model, tokenizer)
    with pytest.raises(ValueError, match=r"holds a model \(model.safetensors\), whose config and tokenizer would be"):
        export_onnx(model, tokenizer, folder, overwrite=True)


def test_an_earlier_export_is_written_over_when_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: Saved())
    monkeypatch.setattr(onnx_export, "_largest_difference", lambda *_: 0.0)
    model, tokenizer = text_model("bert"), tiny_tokenizer()
    export_onnx(model, tokenizer, tmp_path / "out")
    (tmp_path / "out" / "model.onnx.data").write_text("of a large one")
    with pytest.raises(ValueError, match="--overwrite_output_dir"):
        export_onnx(model, tokenizer, tmp_path / "out")
    export_onnx(model, tokenizer, tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "model.onnx.data").exists()
    with pytest.raises(ValueError, match=r"float32 on the CPU"):
        export_onnx(model.half(), tokenizer, tmp_path / "half")
