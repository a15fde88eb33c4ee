"""Hostile checkpoints: nothing of them is executed, and the error names the file and the way out. Ordinary ones load."""

from __future__ import annotations

import json
import os
import pickle
import re
from functools import cache
from pathlib import Path

import pytest
import torch
from hub_server import HubServer, Repo
from processes import run_python
from safetensors.torch import save_file
from tiny import DEPTH, tiny_batch, tiny_image_model, tiny_images, tiny_model, tiny_tokenizer, widen
from transformers import AutoModelForSequenceClassification

from mixtext_hf.cli import train_image, train_text
from mixtext_hf.cli.classifier import ModelArguments, TrainedClassifier
from mixtext_hf.cli.named_model import load_config
from mixtext_hf.cli.run_arguments import HubArguments
from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.models import (
    MeanPoolingForSequenceClassification,
    MixableModelForImageClassification,
    MixableModelForSequenceClassification,
    checkpoint,
)
from mixtext_hf.models.checkpoint import check_checkpoint, check_image_processor, check_tokenizer
from mixtext_hf.models.checkpoint_contents import RefusedCheckpoint
from mixtext_hf.models.renamed_weights import reload_renamed_weights


peft = pytest.importorskip("peft")

load = MixableModelForSequenceClassification.from_pretrained
INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 0.9, 0.8])


class Bomb:
    """A pickle that makes a file when it is executed."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return Path.touch, (Path(self.target),)


@pytest.fixture
def sentinel(tmp_path):
    """A file that is there once something was executed."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "the checkpoint was executed"


@pytest.fixture
def folder(tmp_path):
    """An ordinary checkpoint, to be spoilt."""
    folder = tmp_path / "model"
    tiny_model("bert").save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def bomb(path, sentinel):
    torch.save(Bomb(sentinel), path)
    # It would go off.
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert not sentinel.exists()


def edit(path, **values):
    content = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**content, **values}))


def code(folder, sentinel):
    """A module that makes the sentinel when it is imported."""
    (folder / "evil.py").write_text(f"open({str(sentinel)!r}, 'w').close()\n")


def refused(name, *parts, load=load, **arguments):
    """The loaders refuse, and the message has all these parts."""
    with pytest.raises(RefusedCheckpoint) as error:
        load(name, **arguments)
    for part in parts:
        assert part in str(error.value), f"{part!r} is not in {error.value}"


def logits(model, batch=None):
    with torch.no_grad():
        return model.eval()(**(batch or tiny_batch())).logits


# ---- pickles ----


def test_the_bomb_goes_off_where_nothing_protects(tmp_path):
    torch.save(Bomb(tmp_path / "executed"), tmp_path / "bomb.bin")
    torch.load(tmp_path / "bomb.bin", weights_only=False)
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("file", ["pytorch_model.bin", "weights.pt", "pytorch_model-00001-of-00002.bin", "a.pth"])
def test_pickles_are_refused(folder, sentinel, file):
    (folder / "model.safetensors").unlink()
    bomb(folder / file, sentinel)
    refused(folder, file, "weights_only=True", "safetensors", "revision", "use_safetensors=False")
    refused(str(folder), file, load=lambda name: load_config(name, HubArguments()))
    refused(folder, file, use_safetensors=None)
    refused(str(folder / file), file, config=tiny_model().config)


def test_the_remedy_of_the_message_works(folder, monkeypatch):
    expected = logits(load(folder))
    weights = load(folder).state_dict()
    (folder / "model.safetensors").unlink()
    # Tied, as a language model has them.
    torch.save({**weights, "tied": weights["classifier.weight"]}, folder / "pytorch_model.bin")
    with pytest.raises(RefusedCheckpoint) as error:
        load(folder)
    command = re.search('python -c "(.*?)"; ', str(error.value))[1]
    monkeypatch.chdir(folder)
    done = run_python(command, environment=os.environ)
    assert done.returncode == 0, done.stderr
    assert torch.equal(logits(load(folder)), expected)


def test_whoever_asks_for_pickles_gets_them_read_as_data(folder, sentinel):
    weights = load(folder).state_dict()
    expected = logits(load(folder))
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert torch.equal(logits(load(folder, use_safetensors=False)), expected)
    bomb(folder / "pytorch_model.bin", sentinel)
    with pytest.raises(pickle.UnpicklingError):
        load(folder, use_safetensors=False)


def test_files_of_a_trainer_are_no_weights(folder, sentinel):
    for file in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        bomb(folder / file, sentinel)
    load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load(folder)


def test_pickles_by_other_names_in_the_config(folder, sentinel):
    bomb(folder / "adapter_model.bin", sentinel)
    edit(folder / "config.json", transformers_weights="adapter_model.bin")
    refused(folder, "adapter_model.bin", "weights_only=True")
    edit(folder / "config.json", transformers_weights="../adapter_model.safetensors")
    refused(folder, "config.json", "transformers_weights", "../adapter_model.safetensors")


# ---- code ----


@pytest.mark.parametrize("auto", ["AutoConfig", "AutoModelForSequenceClassification"])
def test_code_is_not_run(folder, sentinel, auto):
    code(folder, sentinel)
    edit(folder / "config.json", model_type="evil", auto_map={auto: "evil.Evil"})
    for options in ({}, {"trust_remote_code": None}, {"trust_remote_code": False}):
        refused(folder, "config.json", "auto_map", "'evil'", "trust_remote_code=True", **options)
    refused(str(folder), "auto_map", load=lambda name: load_config(name, HubArguments()))


def test_code_beside_a_known_type_is_left_alone(folder, sentinel, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    expected = logits(load(folder))
    code(folder, sentinel)
    names = ("AutoConfig", "AutoModelForSequenceClassification", "AutoTokenizer")
    edit(folder / "config.json", auto_map=dict.fromkeys(names, "evil.Evil"))
    model = load(folder)
    assert type(model).__module__.startswith("transformers.") and torch.equal(logits(model), expected)
    assert load_config(str(folder), HubArguments())[0].model_type == "bert"
    # A class of models that transformers does not have for the type.
    edit(folder / "config.json", model_type="t5gemma2_text", auto_map=dict.fromkeys(names, "evil.Evil"))
    with pytest.raises(ValueError, match=r"trust_remote_code|auto_map"):
        load(folder)


def test_code_runs_for_whoever_has_read_it(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    assert check_checkpoint(folder, trust_remote_code=True).has_weights


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation_internal", "experts_implementation"])
def test_kernels_from_the_hub_are_code(folder, key):
    before = (folder / "config.json").read_text()
    values = {key: "someone/kernel@main:attention"}
    for where in (values, {"text_config": values}, {key: {"": "someone/kernel"}}):
        (folder / "config.json").write_text(before)
        edit(folder / "config.json", **where)
        refused(folder, "config.json", key, "someone/kernel", "trust_remote_code=True")


def test_modules_of_adapters_are_not_imported(folder, sentinel, tmp_path, monkeypatch):
    code(tmp_path, sentinel)
    monkeypatch.syspath_prepend(tmp_path)
    adapter = save_adapter(folder, tmp_path)
    edit(adapter / "adapter_config.json", megatron_core="evil", megatron_config={"a": 1})
    refused(adapter, "adapter_config.json", "megatron_core='evil'", "Remove it")


@pytest.mark.parametrize("tokenizer", [["evil.Evil", None], {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}])
def test_code_of_tokenizers_and_image_processors_is_not_run(
    folder, tmp_path, sentinel, tokenizer, capsys, monkeypatch
):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked on the terminal"))
    code(folder, sentinel)
    edit(folder / "tokenizer_config.json", auto_map=tokenizer, tokenizer_class="Evil")
    (tmp_path / "train.csv").write_text("text,label\n" + "a b,x\nc d,y\n" * 4)
    options = ["--do_train", "--output_dir", str(tmp_path / "out"), "--model_name_or_path", str(folder)]
    # transformers has a class of its own for either, and takes that.
    texts = [*options, "--train_file", str(tmp_path / "train.csv"), "--max_seq_length", "16"]
    run = train_text.make_run([*texts, "--ignore_mismatched_sizes"])
    assert type(run.tokenizer).__module__.startswith("transformers.")
    tiny_image_model("vit").save_pretrained(folder)
    edit(
        folder / "preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.Evil"}, image_processor_type="Evil"
    )
    with pytest.raises(SystemExit):
        train_image.make_run([*options, "--dataset_name", "digits"])
    assert "trust_remote_code" in capsys.readouterr().err


# ---- names of files ----


OUTSIDE = [
    "../outside.safetensors",
    "a/../../outside.safetensors",
    "..\\outside.safetensors",
    "x\0.safetensors",
    "",
    3,
]


@pytest.mark.parametrize("shard", [*OUTSIDE, "/", "shards.bin"])
def test_shards_lie_inside(folder, tmp_path, sentinel, shard):
    weights = load(folder).state_dict()
    shard = str(tmp_path / "outside.safetensors") if shard == "/" else shard
    save_file(weights, tmp_path / "outside.safetensors", {"format": "pt"})
    bomb(folder / "shards.bin", sentinel)
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(folder, "model.safetensors.index.json", repr(shard) if isinstance(shard, str) else "3", "weight_map")
    with pytest.raises(RefusedCheckpoint, match="weight_map"):
        reload_renamed_weights(tiny_model(), folder)


def test_an_index_is_one(folder):
    (folder / "model.safetensors").unlink()
    for content in ({}, {"weight_map": []}, {"weight_map": {}, "metadata": 1}):
        (folder / "model.safetensors.index.json").write_text(json.dumps(content))
        refused(folder, "model.safetensors.index.json", "weight_map", "anew")


def test_other_configs_lie_inside_and_are_checked_too(folder, tmp_path, sentinel):
    (tmp_path / "config.1.0.0.json").write_text((folder / "config.json").read_text())
    edit(folder / "config.json", configuration_files=["../config.1.0.0.json"])
    refused(folder, "config.json", "configuration_files", "../config.1.0.0.json", "without a path")
    code(folder, sentinel)
    edit(folder / "config.1.0.0.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    edit(folder / "config.json", configuration_files=["config.1.0.0.json"])
    refused(folder, "config.1.0.0.json", "auto_map")


@pytest.mark.parametrize(
    "values",
    [
        {"vocab": "/etc/passwd"},
        {"vocab": "../secret"},
        {"merges": "../secret"},
        {"init_inputs": ["../secret"]},
        {"gguf_file": "../secret"},
        {"fast_tokenizer_files": ["tokenizer.json", "../tokenizer.1.0.json"]},
    ],
)
def test_files_of_tokenizers_lie_inside(folder, values):
    edit(folder / "tokenizer_config.json", **values)
    refused(folder, "tokenizer_config.json", next(iter(values)), "without a path", load=check_tokenizer)


def test_what_tokenizers_do_not_open_may_be_anywhere(folder):
    edit(folder / "tokenizer_config.json", special_tokens_map_file="/root/.cache/x", vocab={"..": 0, "/": 1})
    check_tokenizer(folder)


@pytest.fixture
def asked(monkeypatch):
    """The checkpoints that are checked, in their order."""
    names = []
    find = checkpoint._config_file

    def spy(files):
        names.append(files.name)
        return find(files)

    monkeypatch.setattr(checkpoint, "_config_file", spy)
    return names


@pytest.mark.parametrize("with_config", [True, False])
def test_a_classifier_and_its_base_are_checked_once(folder, tmp_path, asked, with_config):
    adapter = save_adapter(folder, tmp_path)
    arguments = ModelArguments(str(adapter))
    if not with_config:
        (adapter / "config.json").unlink()
        arguments.num_labels = 5
    asked.clear()
    TrainedClassifier(arguments).load("single_label_classification", torch.device("cpu"))
    assert asked == [str(adapter), str(folder)]


def test_a_training_checks_its_model_once(folder, tmp_path, asked):
    (tmp_path / "train.csv").write_text("text,label\n" + "a b,x\nc d,y\n" * 4)
    options = ["--do_train", "--use_cpu", "--output_dir", str(tmp_path / "out"), "--model_name_or_path", str(folder)]
    options += ["--train_file", str(tmp_path / "train.csv"), "--max_seq_length", "16", "--mix_layers", "1"]
    train_text.make_run([*options, "--ignore_mismatched_sizes"])
    assert asked == [str(folder)]


@pytest.mark.parametrize(
    "how", [{"use_safetensors": False}, {"trust_remote_code": True}, {"revision": "v2"}, {"variant": "fp16"}]
)
def test_a_check_answers_for_what_it_was_asked_alone(folder, tmp_path, asked, how):
    found = check_checkpoint(folder, token=None)
    assert found.answers(str(folder)) and found.answers(folder, use_safetensors=None, trust_remote_code=None)
    assert not found.answers(folder, **how) and not found.answers(tmp_path)
    lenient = check_checkpoint(folder, **how)
    asked.clear()
    MixableModelForSequenceClassification.without_hooks(folder, checked=[lenient])
    assert asked == [str(folder)], "what was asked with other arguments is asked again"
    MixableModelForSequenceClassification.without_hooks(folder, checked=[lenient, found])
    assert asked == [str(folder)]


def test_the_commands_check_tokenizers_and_image_processors(folder, tmp_path, capsys):
    (tmp_path / "train.csv").write_text("text,label\n" + "a b,x\nc d,y\n" * 4)
    options = ["--do_train", "--output_dir", str(tmp_path / "out"), "--model_name_or_path", str(folder)]
    edit(folder / "tokenizer_config.json", vocab="../secret")
    with pytest.raises(SystemExit):
        train_text.make_run([*options, "--train_file", str(tmp_path / "train.csv")])
    assert "tokenizer_config.json" in (said := capsys.readouterr().err) and "'../secret'" in said
    tiny_image_model("vit").save_pretrained(folder)
    (folder / "preprocessor_config.json").write_bytes(b"[1, 2]")
    with pytest.raises(SystemExit):
        train_image.make_run([*options, "--dataset_name", "digits"])
    assert "preprocessor_config.json" in (said := capsys.readouterr().err) and "where an object" in said


# ---- JSON ----


@cache
def broken(kind):
    deep = 100_000
    return {
        "huge": lambda: b'{"a": "' + b" " * (33 * 2**20) + b'"}',
        "deep": lambda: b'{"a": ' + b"[" * deep + b"]" * deep + b"}",
        "deeper than copies can go": lambda: b'{"a": ' + b'{"a": ' * 300 + b"1" + b"}" * 301,
        "no JSON": lambda: b"{'a': 1}",
        "empty": lambda: b"",
        "no text": lambda: b'\xff\xfe{"a": 1}',
        "no object": lambda: b"[1, 2]",
        "a number too long": lambda: b'{"a": ' + b"1" * 5000 + b"}",
    }[kind]()


PARTS = {
    "huge": ("33 MiB", "at most 32 MiB"),
    "deep": ("nested too deep",),
    "deeper than copies can go": ("nested too deep", "64"),
    "no JSON": ("not valid JSON",),
    "empty": ("not valid JSON",),
    "no text": ("not valid JSON",),
    "no object": ("list", "object"),
    "a number too long": ("not valid JSON",),
}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize(
    "file, check",
    [
        ("config.json", load),
        ("config.json", lambda name: load_config(str(name), HubArguments())),
        ("adapter_config.json", load),
        ("model.safetensors.index.json", load),
        ("tokenizer_config.json", check_tokenizer),
        ("special_tokens_map.json", check_tokenizer),
        ("preprocessor_config.json", check_image_processor),
        ("processor_config.json", check_image_processor),
    ],
)
def test_broken_json(folder, kind, file, check):
    (folder / file).write_bytes(broken(kind))
    refused(folder, file, str(folder), *PARTS[kind], load=check)


def test_tokenizers_may_be_large(folder):
    with (folder / "tokenizer.json").open("rb+") as file:
        file.truncate(60 * 2**20)
    check_tokenizer(folder)
    with (folder / "tokenizer.json").open("rb+") as file:
        file.truncate(300 * 2**20)
    refused(folder, "tokenizer.json", "300 MiB", "256", load=check_tokenizer)


@pytest.mark.parametrize(
    "values, part",
    [
        ({"num_labels": 10**12, "id2label": None}, "num_labels=1000000000000"),
        ({"text_config": {"num_labels": 10**9}}, "num_labels=1000000000"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers=1000000000"),
        ({"depths": [1, 10**9]}, "depths=1000000000"),
        ({"hidden_size": 10**10}, "hidden_size=10000000000"),
        ({"vocab_size": 1e300}, "vocab_size=1e+300"),
        ({"vocab_size": float("inf")}, "vocab_size=inf"),
        ({"hidden_size": 10**6, "intermediate_size": 10**6}, "a matrix of 1,000,000 by 1,000,000"),
    ],
)
def test_absurd_sizes(folder, values, part):
    edit(folder / "config.json", **values)
    refused(folder, "config.json", part, "another checkpoint")
    refused(folder, "config.json", load=lambda name: load_config(str(name), HubArguments()))


def test_many_classes_are_not_absurd(folder):
    names = {str(i): f"a class with a long name, number {i}" for i in range(22_000)}
    edit(folder / "config.json", id2label=names, label2id={**{v: int(k) for k, v in names.items()}, "layers": 21_999})
    model = load(folder, ignore_mismatched_sizes=True)
    assert model.config.num_labels == 22_000 and model.classifier.out_features == 22_000


# ---- ordinary checkpoints ----


def test_ordinary_checkpoints_load(folder, tmp_path):
    model = load(folder)
    expected = logits(model)
    torch.testing.assert_close(expected, logits(tiny_model("bert")), rtol=1e-4, atol=1e-5)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    assert torch.equal(logits(load(tmp_path / "shards")), expected)
    model.save_pretrained(tmp_path / "repo" / "inner")
    assert torch.equal(logits(load(tmp_path / "repo", subfolder="inner")), expected)
    model.save_pretrained(tmp_path / "half", variant="fp16")
    assert torch.equal(logits(load(tmp_path / "half", variant="fp16")), expected)
    model.save_pretrained(tmp_path / "half shards", variant="fp16", max_shard_size="20KB")
    assert torch.equal(logits(load(tmp_path / "half shards", variant="fp16")), expected)
    assert check_checkpoint(tmp_path / "half shards", variant="fp16").has_weights


def test_links_are_followed(folder, tmp_path):
    """As in the cache of the Hub, where files are links to their content."""
    for path in list(folder.iterdir()):
        path.rename(tmp_path / f"blob {path.name}")
        path.symlink_to(f"../blob {path.name}")
    load(folder)
    check_tokenizer(folder)


def test_the_head_of_the_paper_loads(folder, tmp_path):
    model = MeanPoolingForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True).eval()
    model.save_pretrained(tmp_path / "head")
    loaded = load(tmp_path / "head")
    assert type(loaded) is MeanPoolingForSequenceClassification and torch.equal(logits(loaded), logits(model))
    (tmp_path / "head" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "head" / "pytorch_model.bin")
    refused(tmp_path / "head", "pytorch_model.bin")


def test_images_are_checked_as_texts_are(tmp_path, sentinel):
    model = tiny_image_model("vit")
    model.save_pretrained(tmp_path / "vit")
    read = MixableModelForImageClassification.from_pretrained
    assert torch.equal(logits(read(tmp_path / "vit"), tiny_images("vit")), logits(model, tiny_images("vit")))
    (tmp_path / "vit" / "model.safetensors").unlink()
    bomb(tmp_path / "vit" / "pytorch_model.bin", sentinel)
    refused(tmp_path / "vit", "pytorch_model.bin", load=read)


# ---- adapters ----

RECIPE = {"version": "1", "method": "tmix", "hyperparameters": {"mix_layers": [1, 2]}}


def adapted(base, targets=("query", "value"), saved=("classifier",), num_labels=5, task_type="SEQ_CLS", kind=None):
    """A model of PEFT on the checkpoint `base`, and with other classes where their layer is saved whole."""
    read = kind or MixableModelForSequenceClassification
    model = read.from_pretrained(base, num_labels=num_labels, ignore_mismatched_sizes=True)
    model.config.mixtext = RECIPE
    model.config.id2label = {i: f"class {i}" for i in range(num_labels)}
    config = peft.LoraConfig(
        r=4, task_type=task_type, target_modules=list(targets), modules_to_save=saved and list(saved)
    )
    model = peft.get_peft_model(model, config).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.2)
    return model


def save_adapter(base, tmp_path, **options):
    model = adapted(base, **options)
    model.save_pretrained(tmp_path / "adapter")
    model.get_base_model().config.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


ADAPTERS = {
    "head saved whole": {},
    "head adapted": {"targets": ("query", "classifier"), "saved": None, "num_labels": 3, "task_type": None},
}


@pytest.mark.parametrize("options", ADAPTERS.values(), ids=list(ADAPTERS))
def test_an_adapter_brings_its_classes_and_recipe_along(folder, tmp_path, options):
    saved = adapted(folder, **options)
    saved.save_pretrained(tmp_path / "adapter")
    saved.get_base_model().config.save_pretrained(tmp_path / "adapter")
    loaded = load(tmp_path / "adapter").eval()
    plain = tiny_model("bert")
    assert type(loaded) is type(plain) and loaded.config.mixtext == RECIPE
    assert loaded.config.num_labels == saved.config.num_labels and loaded.config.id2label[1] == "class 1"
    assert torch.equal(logits(loaded), logits(saved))
    assert loaded.active_adapters() == ["default"]
    for layer in (0, 2, DEPTH, "head"):
        with make_mixable(saved).applying(MixPlan(INDEX, LAM, layer=layer)):
            expected = logits(saved)
        with loaded.mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
            torch.testing.assert_close(logits(loaded), expected, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(expected, logits(saved), atol=1e-3)


def test_an_adapter_comes_back_as_from_the_auto_class(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path, **ADAPTERS["head adapted"])
    loaded = load(adapter)
    (adapter / "config.json").unlink()
    plain = AutoModelForSequenceClassification.from_pretrained(adapter, num_labels=3)
    assert type(plain) is type(loaded) and list(plain.state_dict()) == list(loaded.state_dict())
    assert all(torch.equal(plain.state_dict()[name], value) for name, value in loaded.state_dict().items())
    assert [p.requires_grad for p in plain.parameters()] == [p.requires_grad for p in loaded.parameters()]
    assert plain.name_or_path == loaded.name_or_path == str(folder)
    # Without config.json beside it, the classes are those of the base model, or as said.
    assert torch.equal(logits(load(adapter, num_labels=3)), logits(plain))
    assert load(adapter).config.num_labels == 3 and not hasattr(load(adapter).config, "mixtext")


def test_arguments_win_over_the_config_beside_an_adapter(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path)
    assert load(adapter, problem_type="multi_label_classification").config.problem_type == "multi_label_classification"
    assert load(adapter, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert load(adapter, adapter_name="mine").active_adapters() == ["mine"]
    config = load(adapter).config
    config.mixtext = {"version": "2"}
    assert load(adapter, config=config).config.mixtext == {"version": "2"}


def test_an_adapter_of_other_sizes_than_its_model(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path, **{**ADAPTERS["head adapted"], "num_labels": 3})
    edit(adapter / "config.json", id2label={str(i): str(i) for i in range(7)}, label2id={})
    with pytest.raises(RuntimeError, match=r"classifier\.bias.*ignore_mismatched_sizes=True"):
        load(adapter)


def test_an_adapter_for_the_head_of_the_paper(folder, tmp_path):
    head = MeanPoolingForSequenceClassification.from_pretrained(folder, ignore_mismatched_sizes=True)
    config = peft.LoraConfig(r=4, target_modules=["query"], modules_to_save=["classifier"], init_lora_weights=False)
    model = peft.get_peft_model(head, config).eval()
    widen(model.base_model.model.classifier, 0.2)
    model.save_pretrained(tmp_path / "adapter")
    head.config.save_pretrained(tmp_path / "adapter")
    loaded = load(tmp_path / "adapter")
    assert type(loaded) is MeanPoolingForSequenceClassification
    torch.testing.assert_close(logits(loaded), logits(model))


def test_an_adapter_of_an_image_classifier(tmp_path):
    tiny_image_model("vit").save_pretrained(tmp_path / "vit")
    read = MixableModelForImageClassification
    model = adapted(tmp_path / "vit", ("q_proj", "v_proj", "query", "value"), task_type=None, kind=read)
    model.save_pretrained(tmp_path / "adapter")
    model.get_base_model().config.save_pretrained(tmp_path / "adapter")
    loaded = read.from_pretrained(tmp_path / "adapter").eval()
    assert loaded.config.mixtext == RECIPE and loaded.config.num_labels == 5
    expected = logits(model, tiny_images("vit"))
    assert torch.equal(logits(loaded, tiny_images("vit")), expected)
    with loaded.mixer.applying(MixPlan(INDEX, LAM, layer="head")):
        mixed = LAM[:, None] * expected + (1 - LAM[:, None]) * expected[INDEX]
        torch.testing.assert_close(logits(loaded, tiny_images("vit")), mixed, rtol=1e-4, atol=1e-4)


def test_an_adapter_in_a_subfolder(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path)
    expected = logits(load(adapter))
    (tmp_path / "repo").mkdir()
    adapter.rename(tmp_path / "repo" / "inner")
    assert torch.equal(logits(load(tmp_path / "repo", subfolder="inner")), expected)


def test_a_whole_model_with_an_adapter_in_one_folder(folder, tmp_path):
    adapter = save_adapter(folder, tmp_path, num_labels=3)
    expected = logits(load(adapter))
    for path in adapter.glob("adapter*"):
        path.rename(folder / path.name)
    edit(folder / "adapter_config.json", base_model_name_or_path="nowhere/to-be-found")
    assert torch.equal(logits(load(folder)), expected)


def test_pickled_adapters_are_refused(folder, tmp_path, sentinel):
    adapter = save_adapter(folder, tmp_path)
    (adapter / "adapter_model.safetensors").unlink()
    bomb(adapter / "adapter_model.bin", sentinel)
    refused(adapter, "adapter_model.bin", "weights_only=True", "adapter_model.safetensors")
    refused(str(adapter), "adapter_model.bin", load=lambda name: load_config(name, HubArguments()))
    (adapter / "config.json").unlink()
    refused(adapter, "adapter_model.bin")
    elsewhere = tmp_path / "model" / "lora"
    adapter.rename(elsewhere)
    refused(folder, "adapter_model.bin", adapter_kwargs={"subfolder": "lora"})


def test_the_model_of_an_adapter_is_checked_as_well(folder, tmp_path, sentinel):
    adapter = save_adapter(folder, tmp_path)
    code(folder, sentinel)
    edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    refused(adapter, "config.json", str(folder), "auto_map")
    (folder / "model.safetensors").unlink()
    edit(folder / "config.json", model_type="bert")
    bomb(folder / "pytorch_model.bin", sentinel)
    refused(adapter, "pytorch_model.bin", str(folder))


@pytest.mark.parametrize("base", [None, "", 3, "itself"])
def test_an_adapter_of_nothing_or_of_itself(folder, tmp_path, base):
    adapter = save_adapter(folder, tmp_path)
    edit(adapter / "adapter_config.json", base_model_name_or_path=str(adapter) if base == "itself" else base)
    refused(adapter, "adapter_config.json", "base_model_name_or_path", "Hub id")


# ---- the Hub ----

LOAD = """
import sys
import torch
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.models.checkpoint_contents import RefusedCheckpoint
try:
    model = MixableModelForSequenceClassification.from_pretrained(sys.argv[1], **eval(sys.argv[2])).eval()
except (OSError, RefusedCheckpoint) as error:
    sys.exit(f"{type(error).__name__} {error}")
print("loaded", model.config.num_labels, getattr(model.config, "mixtext", None))
"""


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


def push(hub, repo, folder):
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.repos[repo] = hub.repos.get(repo) or Repo()
    return hub.repos[repo].commit(f"a push to {repo}", files).oid


def load_in_a_process(hub, home, name, **arguments):
    return run_python(LOAD, name, repr(arguments), environment=hub.environment(home))


def test_hostile_repositories(hub, folder, tmp_path, sentinel):
    good = push(hub, "user/model", folder)
    code(folder, sentinel)
    edit(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    push(hub, "user/code", folder)
    (folder / "model.safetensors").unlink()
    edit(folder / "config.json", model_type="bert")
    torch.save(Bomb(sentinel), folder / "pytorch_model.bin")
    push(hub, "user/model", folder)

    home = tmp_path / "home"
    done = load_in_a_process(hub, home, "user/code")
    assert done.returncode == 1 and "RefusedCheckpoint config.json of 'user/code'" in done.stderr, done.stderr
    done = load_in_a_process(hub, home, "user/model")
    assert done.returncode == 1 and "RefusedCheckpoint pytorch_model.bin of 'user/model'" in done.stderr, done.stderr
    assert not any(re.search(r"evil\.py|pytorch_model|safetensors", line) for line in hub.requests), hub.requests
    # The revision that the message advises to look for.
    done = load_in_a_process(hub, home, "user/model", revision=good)
    assert done.returncode == 0 and "loaded 3" in done.stdout, done.stderr
    hub.requests.clear()
    done = load_in_a_process(hub, home, "user/model", revision=good, local_files_only=True)
    assert done.returncode == 0 and "loaded 3" in done.stdout, done.stderr
    # transformers 5.17 itself asks for an adapter.
    assert [line for line in hub.requests if not line.endswith("/resolve/main/adapter_config.json")] == []
    done = load_in_a_process(hub, home, "user/nowhere")
    assert done.returncode == 1 and "OSError 'user/nowhere' is no folder" in done.stderr, done.stderr


def test_adapters_on_the_hub(hub, folder, tmp_path, sentinel):
    adapter = save_adapter(folder, tmp_path)
    push(hub, "user/base", folder)
    edit(adapter / "adapter_config.json", base_model_name_or_path="user/base")
    good = push(hub, "user/adapter", adapter)
    (adapter / "adapter_model.safetensors").unlink()
    torch.save(Bomb(sentinel), adapter / "adapter_model.bin")
    push(hub, "user/adapter", adapter)
    home = tmp_path / "home"
    done = load_in_a_process(hub, home, "user/adapter")
    assert done.returncode == 1 and "RefusedCheckpoint adapter_model.bin of 'user/adapter'" in done.stderr, done.stderr
    assert not any("adapter_model" in line for line in hub.requests)
    hub.requests.clear()
    done = load_in_a_process(hub, home, "user/adapter", revision=good, cache_dir=str(tmp_path / "cache"))
    assert done.returncode == 0 and "loaded 5" in done.stdout and "'method': 'tmix'" in done.stdout, done.stderr
    # One look at each of both repositories is what the check adds.
    assert sum(line.startswith("GET /api/models/user/") and "revision" not in line for line in hub.requests) <= 4
    assert len(os.listdir(tmp_path / "cache")) >= 2
