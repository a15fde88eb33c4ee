"""What a user installs: the wheel, somewhere else, used without the source tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mixtext_hf import __version__


ROOT = Path(__file__).parent.parent

_USE = """
import sys
from pathlib import Path
import mixtext_hf
assert Path(mixtext_hf.__file__).is_relative_to(Path(sys.argv[1])), mixtext_hf.__file__
assert "torch" not in sys.modules, "import mixtext_hf alone must stay light"
assert (Path(mixtext_hf.__file__).parent / "py.typed").is_file()
import evaluate
from mixtext_hf.evaluation import metric_path
from mixtext_hf.evaluation.measures.loading import METRIC_NAMES
for name in METRIC_NAMES:
    assert Path(metric_path(name)).is_relative_to(Path(sys.argv[1])), name
ece = evaluate.load(metric_path("ece")).compute(predictions=[[0.9, 0.1], [0.4, 0.6]], references=[0, 0])["ece"]
assert abs(ece - 0.35) < 1e-9, ece
from transformers import BertConfig, BertForSequenceClassification
import numpy, torch
from mixtext_hf.functional import draw_plan, make_mixable
sizes = dict(vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
model = BertForSequenceClassification(BertConfig(**sizes, num_labels=3)).eval()
mixer = make_mixable(model)
inputs = {"input_ids": torch.arange(12).view(4, 3)}
with mixer.applying(draw_plan(4, alpha=1.0, layers=[1], rng=numpy.random.default_rng(0))):
    mixed = model(**inputs).logits
assert not torch.equal(mixed, model(**inputs).logits)
from mixtext_hf.cli.main import main
main(["--version"])
"""


@pytest.mark.package
def test_the_wheel_works_elsewhere(tmp_path):
    source = tmp_path / "source"  # a build leaves its traces in the source tree
    shutil.copytree(ROOT / "mixtext_hf", source / "mixtext_hf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(target), "HF_HOME": str(tmp_path / "cache")}
    used = subprocess.run(
        [sys.executable, "-c", _USE, str(target)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert used.returncode == 0, used.stderr
    assert used.stdout.strip().splitlines()[-1] == __version__
