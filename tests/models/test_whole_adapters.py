"""An adapter of PEFT comes whole, whatever names it was saved under, or it is refused."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_batch, tiny_model
from transformers import AutoModelForSequenceClassification

from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.models.checkpoint import RefusedCheckpoint


peft = pytest.importorskip("peft")

load = MixableModelForSequenceClassification.from_pretrained
HEAD = {"target_modules": ["query", "value"], "modules_to_save": ["classifier"], "task_type": "SEQ_CLS"}
KINDS = {
    "LoRA": lambda: peft.LoraConfig(r=4, **HEAD),
    "DoRA": lambda: peft.LoraConfig(r=4, use_dora=True, **HEAD),
    "LoRA of the head": lambda: peft.LoraConfig(r=4, target_modules=["query", "classifier"]),
    "LoRA and all biases": lambda: peft.LoraConfig(r=4, bias="all", **HEAD),
    "LoRA and some tokens": lambda: peft.LoraConfig(r=4, trainable_token_indices=[1, 2], **HEAD),
    "AdaLoRA": lambda: peft.AdaLoraConfig(total_step=10, **HEAD),
    "RandLoRA": lambda: peft.RandLoraConfig(r=4, **HEAD),
    "IA3": lambda: peft.IA3Config(feedforward_modules=[], **HEAD),
}


def logits(model):
    with torch.no_grad():
        return model.eval()(**tiny_batch()).logits


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "base"
    tiny_model("bert").save_pretrained(folder)
    return folder


def save_adapter(base, folder, config):
    """The logits of a model whose adapter, with weights of its own, is in the folder."""
    model = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(base), config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return logits(model)


@pytest.fixture
def adapter(base, tmp_path):
    save_adapter(base, tmp_path / "adapter", KINDS["LoRA"]())
    return tmp_path / "adapter"


def change(adapter, drop=(), **weights):
    """Weights are left out of the file of an adapter, and others put into it."""
    file = adapter / "adapter_model.safetensors"
    kept = {name: weight for name, weight in load_file(file).items() if not any(part in name for part in drop)}
    save_file({**kept, **weights}, file)


@pytest.fixture
def other_names(monkeypatch):
    """transformers looks for other names than PEFT writes, as it does with peft 0.19."""
    from peft.utils import transformers_weight_conversion

    monkeypatch.setattr(transformers_weight_conversion, "build_peft_weight_mapping", lambda *args, **kwargs: [])


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_of_all_kinds_come_whole(base, tmp_path, kind):
    expected = save_adapter(base, tmp_path / "adapter", KINDS[kind]())
    torch.testing.assert_close(logits(load(tmp_path / "adapter")), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["LoRA", "DoRA", "LoRA of the head", "LoRA and all biases"])
@pytest.mark.parametrize("where", ["alone", "in the folder of its model", "below the folder of its model"])
def test_an_adapter_whose_names_transformers_does_not_find(base, tmp_path, other_names, kind, where):
    expected = save_adapter(base, tmp_path / "adapter", KINDS[kind]())
    if where == "alone":
        found = load(tmp_path / "adapter")
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
        assert not torch.allclose(logits(plain), expected, atol=1e-2)
    else:
        folder = tmp_path / "model"
        shutil.copytree(base, folder)
        below = where == "below the folder of its model"
        shutil.copytree(tmp_path / "adapter", folder / "lora" if below else folder, dirs_exist_ok=True)
        found = load(folder, **({"adapter_kwargs": {"subfolder": "lora"}} if below else {}))
    torch.testing.assert_close(logits(found), expected, rtol=1e-5, atol=1e-5)


def test_its_name_may_be_that_of_a_part_of_the_model(base, tmp_path):
    expected = save_adapter(base, tmp_path / "adapter", KINDS["LoRA"]())
    assert torch.equal(logits(load(tmp_path / "adapter", adapter_name="bert")), expected)


A_LAYER_MORE = {"base_model.model.bert.encoder.layer.9.attention.self.query.lora_A.weight": torch.ones(4, 32)}
PARTS = {
    "a matrix is missing": (
        ("layer.2.attention.self.value.lora_B",),
        {},
        "layer.2.attention.self.value.lora_B.weight",
    ),
    "the head is missing": (("classifier",), {}, "classifier.bias, classifier.weight"),
    "a layer more": ((), A_LAYER_MORE, "layer.9.attention.self.query.lora_A"),
}


@pytest.mark.parametrize("drop, more, named", PARTS.values(), ids=list(PARTS))
@pytest.mark.parametrize("inside", [False, True], ids=["alone", "in the folder of its model"])
def test_a_part_of_an_adapter_is_refused(base, adapter, caplog, monkeypatch, drop, more, named, inside):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    change(adapter, drop, **more)
    if inside:
        shutil.copytree(base, adapter, dirs_exist_ok=True)
    with pytest.raises(RefusedCheckpoint) as caught:
        load(adapter)
    said = str(caught.value)
    assert str(adapter) in said and named in said and "\n" not in said
    for part in (str(base), "base_model_name_or_path", f"peft {peft.__version__} ", "transformers "):
        assert part in said or (inside and part == str(base))
    # Not the table of transformers as well.
    assert "LOAD REPORT" not in caplog.text


def test_another_model_than_its_own_is_refused(base, adapter, tmp_path):
    tiny_model("bert", num_hidden_layers=2).save_pretrained(tmp_path / "shallow")
    config = adapter / "adapter_config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": str(tmp_path / "shallow")})
    )
    with pytest.raises(RefusedCheckpoint, match=r"8 names.*layer\.2\.attention.*base_model_name_or_path"):
        load(adapter)
