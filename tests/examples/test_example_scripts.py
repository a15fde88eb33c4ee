"""The scripts of `examples/`, each run as it stands, with a tiny random model and two steps."""

from __future__ import annotations

import re
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from forks import FORK
from PIL import Image
from tiny import tiny_model, tiny_tokenizer
from transformers import AutoModelForImageClassification, AutoModelForSequenceClassification

from mixtext_hf import load_text_datasets


EXAMPLES = Path(__file__).parent.parent.parent / "examples"
LIBRARIES = ("numpy", "scipy", "torch", "sklearn", "matplotlib", "networkx", "pyarrow", "huggingface_hub")
NUMBER = r"\d\.\d{3}"

pytestmark = pytest.mark.skipif(FORK is None, reason="an example runs in a process that is forked off")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("bert"))
    tiny_model("bert", num_labels=len(LIBRARIES)).save_pretrained(folder)
    tokenizer = tiny_tokenizer(["the", "a", "of", "array", "graph"])
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _corpus():
    """Read once: the processes that are forked off have it."""
    load_text_datasets(dataset_name="docstrings")


def run(name: str, folder: Path, *arguments: str) -> str:
    """What a script prints."""
    process = FORK.Process(target=_run, args=(name, folder, arguments))
    process.start()
    process.join(120)
    printed = (folder / "printed").read_text(encoding="utf-8")
    assert process.exitcode == 0, printed
    return printed


def _run(name: str, folder: Path, arguments: tuple[str, ...]) -> None:
    sys.argv = [name, "--max_steps=2", f"--output_dir={folder / 'out'}", *arguments]
    with (folder / "printed").open("w", encoding="utf-8") as printed, redirect_stdout(printed):
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_few_labels(tmp_path, tiny_bert):
    printed = run("few_labels", tmp_path, f"--model_name_or_path={tiny_bert}", "--labeled_per_class=2")
    assert f"16 labelled texts, 1000 test texts, classes: {', '.join(LIBRARIES)}" in printed
    for method in ("erm", "tmix"):
        assert re.search(rf"^{method} +{NUMBER} +{NUMBER} +{NUMBER}$", printed, re.MULTILINE)
        model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / method)
        assert model.config.id2label == dict(enumerate(LIBRARIES)) and model.config.mixtext["method"] == method
    assert re.search(rf"weighted graph\.': {{'label': '({'|'.join(LIBRARIES)})', 'score': 0\.", printed)


def test_unlabeled_text(tmp_path, tiny_bert):
    more = ("--labeled_per_class=3", "--unlabeled_per_class=10")
    printed = run("unlabeled_text", tmp_path, f"--model_name_or_path={tiny_bert}", *more)
    assert "24 labelled texts, 80 without labels, 1000 test texts" in printed
    surest = re.search(r"Learnt from the surest (\d+) of 80 guesses", printed)
    assert surest is not None and 40 <= int(surest[1]) < 80
    assert len(re.findall(rf"^  ({'|'.join(LIBRARIES)}) +\d\.\d\d  \(is ", printed, re.MULTILINE)) >= 5
    for what in ("the guesser, unlabelled texts", "its surest guesses", "the trained model, test texts"):
        assert re.search(rf"^{what} +accuracy {NUMBER}  ECE {NUMBER}$", printed, re.MULTILINE)
    assert AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").config.mixtext["method"] == "mixtext"


def test_images(tmp_path):
    printed = run("images", tmp_path, "--labeled_per_class=4")
    assert "40 images to train on, 360 to test on, of (32, 32, 1) pixels" in printed
    for method in ("erm", "cutmix", "puzzlemix"):
        assert re.search(rf"^{method} +{NUMBER} +{NUMBER} +{NUMBER}$", printed, re.MULTILINE)
        model = AutoModelForImageClassification.from_pretrained(tmp_path / "out" / method)
        assert model.config.num_labels == 10
    with Image.open(tmp_path / "out" / "mixes" / "methods.png") as picture:
        assert picture.format == "PNG"
    assert "methods.png" in printed


def test_own_loop(tmp_path, tiny_bert):
    printed = run("own_loop", tmp_path, f"--model_name_or_path={tiny_bert}", "--labeled_per_class=2")
    assert "texts are mixed behind one of the layers [3, 4]" in printed
    assert re.search(rf"^step   2  loss {NUMBER}  lambda 0\.\d\d  layer [34]$", printed, re.MULTILINE)
    assert re.search(rf"1000 test texts: accuracy {NUMBER}, ECE {NUMBER}; the model is in ", printed)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert plain.config.num_labels == len(LIBRARIES) and not hasattr(plain.config, "mixtext")


def test_evaluate_and_compare(tmp_path, tiny_bert):
    more = ("--labeled_per_class=2", "--seeds", "0", "1")
    printed = run("evaluate_and_compare", tmp_path, f"--model_name_or_path={tiny_bert}", *more)
    assert re.search(rf"^\| 2 \| tmix \| {NUMBER} ± {NUMBER} \|", printed, re.MULTILINE)
    assert re.search(r"temperature \d+\.\d\d by 200 texts", printed)
    assert re.search(rf"^accuracy +{NUMBER}, which", printed, re.MULTILINE)
    for name in ("ece", "nll"):
        assert re.search(rf"^{name} +{NUMBER}, at the temperature {NUMBER}$", printed, re.MULTILINE)
    page = tmp_path / "out" / "report" / "report.html"
    assert page.is_file() and f"Report: {page}" in printed


def test_each_script_says_what_it_prints():
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 5
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 130, script.name
        assert f"python examples/{script.name}" in text and f"`{script.name}`" in table
