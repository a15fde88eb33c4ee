"""Trained models reach the Hub, and from there plain transformers, PEFT and this package, in processes of their own."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import transformers
from hub_server import TOKEN, HubServer
from packaging.version import Version, parse
from PIL import Image
from processes import run_python
from table_files import write_table
from tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer
from transformers import AutoModelForImageClassification

from mixtext_hf.hub.fingerprint import is_generated


COMMON = [
    "--use_cpu=true",
    "--per_device_train_batch_size=4",
    "--logging_steps=1",
    "--disable_tqdm=true",
    "--learning_rate=1e-3",
    "--max_steps=4",
    "--do_train",
    "--do_eval",
]
PUSHED = [
    "--push_to_hub",
    "--hub_model_id=user/model",
    "--hub_strategy=every_save",
    "--save_steps=2",
    "--save_total_limit=1",
]
# What a stranger does: nothing of this package can be imported.
STRANGER = """
import json, sys
sys.modules["mixtext_hf"] = None
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
name, text = sys.argv[1:3]
model, tokenizer = AutoModelForSequenceClassification.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(name)
logits = model(**tokenizer([text], return_tensors="pt")).logits[0].tolist()
answer = pipeline("text-classification", name, top_k=None)([text])[0]
print(json.dumps({"class": type(model).__name__, "logits": logits, "pipeline": answer}))
"""
CARD = """
import json, sys
from huggingface_hub import ModelCard, __version__
card = ModelCard.load(sys.argv[1])
# huggingface_hub 1 asks huggingface.co, whatever HF_ENDPOINT says; pushing has asked the server itself.
if int(__version__.split(".")[0]) > 1:
    card.validate()
results = [[r.dataset_split, r.metric_type, r.metric_value] for r in card.data.eval_results]
print(json.dumps({"tags": card.data.tags, "task": card.data.pipeline_tag, "results": results, "text": card.text}))
"""
RECIPE = """
import json, sys
from mixtext_hf import MixableModelForImageClassification, MixableModelForSequenceClassification
kind = MixableModelForImageClassification if "image" in sys.argv[2:] else MixableModelForSequenceClassification
model = kind.from_pretrained(sys.argv[1])
print(json.dumps({"recipe": model.config.mixtext, "depth": model.mixer.depth}))
"""


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("texts")
    generator = np.random.default_rng(0)
    rows = [
        {
            "text": " ".join(f"w{n}" for n in generator.integers(0, VOCAB_SIZE - 5, 6)),
            "label": ("ham", "spam", "egg")[i % 3],
        }
        for i in range(24)
    ]
    return [
        f"--train_file={write_table(folder / 'train.csv', rows[:12])}",
        f"--validation_file={write_table(folder / 'dev.csv', rows[12:])}",
    ]


def start(hub, home, code, *argv, token=TOKEN):
    """A new process with the local Hub; its last line as JSON, if it has one."""
    home.mkdir(exist_ok=True)
    return run_python(code, *argv, environment=hub.environment(home, token=token))


def answer(*args, **options):
    done = start(*args, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def command(hub, home, *words, token=TOKEN):
    return start(hub, home, "from mixtext_hf.cli.main import main; main()", *words, token=token)


def logits_of(folder, text):
    from transformers import AutoModelForSequenceClassification

    inputs = tiny_tokenizer()([text], return_tensors="pt")
    with torch.no_grad():
        return AutoModelForSequenceClassification.from_pretrained(folder).eval()(**inputs).logits[0].tolist()


def test_a_text_model_is_pushed_while_it_trains_and_at_the_end(hub, base, texts, tmp_path):
    out = tmp_path / "out"
    words = ["train-text", *texts, f"--model_name_or_path={base}", f"--output_dir={out}", "--max_seq_length=16"]
    method = ["--mix_method=tmix", "--mix_alpha=0.5", "--mix_layers", "1", "2"]
    done = command(hub, tmp_path / "home", *words, *method, *COMMON, *PUSHED)
    assert done.returncode == 0, done.stderr
    repo = hub.repos["user/model"]
    messages = [commit.message for commit in repo.commits]
    assert messages[0] == "initial commit" and messages[-1] == "End of training"
    assert "Training in progress, step 2" in messages
    assert set(repo.files) == {
        ".gitattributes",
        "README.md",
        "all_results.json",
        "config.json",
        "eval_results.json",
        "model.safetensors",
        "reliability_diagram.png",
        "run.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "train_results.json",
        "trainer_state.json",
        "training_curve.png",
    }
    for name, content in repo.files.items():
        assert name == ".gitattributes" or (out / name).read_bytes() == content, name
    # Not the weights of the end under another name.
    progress = next(commit for commit in repo.commits if commit.message == "Training in progress, step 2")
    assert progress.files["model.safetensors"] != repo.files["model.safetensors"]
    assert "in progress" in progress.files["README.md"].decode() and is_generated(progress.files["README.md"].decode())
    assert not list(out.glob("_push-*"))

    found = answer(hub, tmp_path / "stranger", STRANGER, "user/model", "w1 w2 w3", token=None)
    assert found["class"] == "BertForSequenceClassification"
    assert found["logits"] == pytest.approx(logits_of(out, "w1 w2 w3"), abs=1e-6)
    assert {one["label"] for one in found["pipeline"]} == {"ham", "spam", "egg"}

    card = answer(hub, tmp_path / "reader", CARD, "user/model")
    results = json.loads((out / "all_results.json").read_text())
    measured = {metric: value for split, metric, value in card["results"]}
    assert measured["accuracy"] == results["eval_accuracy"] and measured["ece"] == results["eval_ece"]
    assert card["task"] == "text-classification" and {"tmix", "mixtext_hf"} <= set(card["tags"])
    assert 'pipeline("text-classification", "user/model")' in card["text"]
    assert "mixtext-hf train-text" in card["text"] and TOKEN not in card["text"]

    restored = answer(hub, tmp_path / "second", RECIPE, "user/model")
    assert restored["recipe"]["method"] == "tmix"
    assert restored["recipe"]["hyperparameters"]["alpha"] == 0.5
    assert restored["recipe"]["hyperparameters"]["layers"] == [1, 2]

    # Training goes on from the Hub, with the recipe that came with the model.
    more = ["train-text", *texts, "--model_name_or_path=user/model", f"--output_dir={tmp_path / 'more'}", *COMMON]
    done = command(hub, tmp_path / "third", *more, "--save_strategy=no", "--max_seq_length=16")
    assert done.returncode == 0, done.stderr
    run = json.loads((tmp_path / "more" / "run.json").read_text())
    assert (run["method"], run["hyperparameters"]["alpha"]) == ("tmix", 0.5)


def test_an_image_model_is_pushed(hub, tmp_path):
    out = tmp_path / "out"
    generator = np.random.default_rng(0)
    for split in ("train", "validation"):
        for name in ("dark", "light", "grey"):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for i in range(4):
                pixels = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "pictures" / split / name / f"{i}.png")
    words = ["train-image", f"--dataset_name={tmp_path / 'pictures'}", f"--output_dir={out}"]
    done = command(
        hub, tmp_path / "home", *words, "--model_name_or_path=small-resnet", "--mix_method=cutmix", *COMMON, *PUSHED
    )
    assert done.returncode == 0, done.stderr
    assert {"model.safetensors", "preprocessor_config.json", "README.md"} <= set(hub.repos["user/model"].files)
    code = STRANGER.split("name, text")[0] + (
        "from transformers import AutoModelForImageClassification, AutoImageProcessor\n"
        "import torch, json, sys\n"
        "model = AutoModelForImageClassification.from_pretrained(sys.argv[1]).eval()\n"
        "pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)[:, : model.config.num_channels]\n"
        "print(json.dumps(model(pixel_values=pixels).logits[0].tolist()))\n"
    )
    there = answer(hub, tmp_path / "stranger", code, "user/model", token=None)
    here = AutoModelForImageClassification.from_pretrained(out).eval()
    pixels = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)[:, : here.config.num_channels]
    assert there == pytest.approx(here(pixel_values=pixels).logits[0].tolist(), abs=1e-6)
    assert answer(hub, tmp_path / "second", RECIPE, "user/model", "image")["recipe"]["method"] == "cutmix"
    card = answer(hub, tmp_path / "reader", CARD, "user/model")
    assert card["task"] == "image-classification" and "cutmix" in card["tags"]


LORA = """
import sys
from peft import LoraConfig, get_peft_model
sys.path.insert(0, sys.argv[4])
from runs import arguments, tiny_rows
from tiny import tiny_tokenizer
from transformers import AutoModelForSequenceClassification
from mixtext_hf import MixTrainer
import torch
base, out, repo = sys.argv[1:4]
names = {0: "ham", 1: "spam", 2: "egg"}
model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=3, id2label=names)
model = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", target_modules=["query"], modules_to_save=["classifier"]))
args = arguments(out, hub_model_id=repo, push_to_hub=True, hub_strategy="every_save", save_strategy="steps", save_steps=2)
trainer = MixTrainer(model=model, args=args, train_dataset=tiny_rows(32), processing_class=tiny_tokenizer())
trainer.train()
trainer.push_to_hub(language="en", tags=["mine"])
model.eval()
print(model(input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3)).logits[0].tolist())
"""
LOAD_LORA = """
import json, sys
sys.modules["mixtext_hf"] = None
import torch
from peft import PeftModel
from transformers import AutoConfig, AutoModelForSequenceClassification
config = AutoConfig.from_pretrained(sys.argv[1])
base = AutoModelForSequenceClassification.from_pretrained(sys.argv[2], config=config)
model = PeftModel.from_pretrained(base, sys.argv[1]).eval()
logits = model(input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3)).logits[0].tolist()
auto = AutoModelForSequenceClassification.from_pretrained(sys.argv[1], config=config).eval()
again = auto(input_ids=torch.tensor([[5, 6, 7]]), attention_mask=torch.ones(1, 3)).logits[0].tolist()
print(json.dumps({"logits": logits, "again": again, "names": config.id2label}))
"""


def test_an_adapter_is_pushed(hub, base, tmp_path, request):
    pytest.importorskip("peft")
    tests = request.config.rootpath / "tests"
    trained = answer(hub, tmp_path / "home", LORA, base, tmp_path / "out", "user/adapter", tests)
    repo = hub.repos["user/adapter"]
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json", "README.md"} <= set(repo.files)
    assert "model.safetensors" not in repo.files
    assert is_generated(repo.files["README.md"].decode())
    loaded = answer(hub, tmp_path / "stranger", LOAD_LORA, "user/adapter", base, token=None)
    assert loaded["logits"] == pytest.approx(trained, abs=1e-5) and loaded["names"]["2"] == "egg"
    if parse(transformers.__version__) >= Version(
        "5.23"
    ):  # older ones leave a classifier that was trained whole as it was
        assert loaded["again"] == pytest.approx(trained, abs=1e-5)
    assert answer(hub, tmp_path / "second", RECIPE, "user/adapter")["recipe"]["method"] == "tmix"
    card = ModelCardText(repo)
    assert (
        card.metadata["library_name"] == "peft"
        and card.metadata["language"] == "en"
        and "mine" in card.metadata["tags"]
    )


class ModelCardText:
    def __init__(self, repo):
        from huggingface_hub import ModelCard

        self.metadata = ModelCard(repo.files["README.md"].decode()).data.to_dict()


ALONE = """
import sys
from mixtext_hf import MixableModelForSequenceClassification
model = MixableModelForSequenceClassification.from_pretrained(sys.argv[1])
model.config.mixtext = {"version": "0", "method": "tmix", "hyperparameters": {"alpha": 0.25}}
model.push_to_hub("user/alone")
"""


def test_a_model_pushes_itself(hub, tmp_path):
    folder = tmp_path / "model"
    tiny_model("bert").save_pretrained(folder)
    done = start(hub, tmp_path / "home", ALONE, folder)
    assert done.returncode == 0, done.stderr
    assert {"config.json", "model.safetensors"} <= set(hub.repos["user/alone"].files)
    assert answer(hub, tmp_path / "second", RECIPE, "user/alone")["recipe"]["hyperparameters"] == {"alpha": 0.25}


def test_checkpoints_are_pushed_for_training_to_go_on(hub, base, texts, tmp_path):
    words = ["train-text", *texts, f"--model_name_or_path={base}", f"--output_dir={tmp_path / 'out'}", *COMMON]
    pushed = [
        "--push_to_hub",
        "--hub_model_id=model",
        "--hub_strategy=checkpoint",
        "--save_steps=2",
        "--hub_always_push=true",
    ]
    private = ["--max_seq_length=16", "--hub_private_repo=true", "--hub_revision=trial", f"--hub_token={TOKEN}"]
    done = command(hub, tmp_path / "home", *words, *pushed, *private, token=None)
    assert done.returncode == 0, done.stderr
    repo = hub.repos["user/model"]
    assert repo.private
    files = repo.branches["trial"][-1].files
    assert {"last-checkpoint/optimizer.pt", "last-checkpoint/trainer_state.json", "model.safetensors"} <= set(files)
    assert not any(re.search(r"training_args|\.csv$", name) for name in files)
    assert not any(TOKEN.encode() in content for content in files.values())
    assert not any(TOKEN.encode() in path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert TOKEN not in done.stdout + done.stderr
