"""The examples in docstrings do what they say. Models that they name are random ones in folders of that name, with the head of the real ones."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from tiny import tiny_batch, tiny_model
from transformers import BertConfig, BertModel, ViTConfig, ViTForImageClassification

import mixtext_hf
from mixtext_hf import draw_plan, make_mixable


PACKAGE = Path(mixtext_hf.__file__).parent
_PROMPT = re.compile(r"^\s+>>> ", re.MULTILINE)
WITH_EXAMPLES = {
    ".".join(("mixtext_hf", *path.relative_to(PACKAGE).with_suffix("").parts)): len(_PROMPT.findall(source))
    for path in sorted(PACKAGE.rglob("*.py"))
    if _PROMPT.search(source := path.read_text(encoding="utf-8"))
}


class _Parser(doctest.DocTestParser):
    """The fences of Markdown around an example are none of its output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^\s*```\w*$", "", string, flags=re.MULTILINE), name)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    sizes = {"hidden_size": 8, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 8}
    for name in ("bert-base-uncased", "bert-base-cased"):
        BertModel(BertConfig(vocab_size=20, **sizes)).save_pretrained(folder / name)
    vit = ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_labels=1000, **sizes))
    vit.save_pretrained(folder / "google" / "vit-base-patch16-224")
    return folder


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name, models, monkeypatch):
    monkeypatch.chdir(models)
    module = import_module(name)
    known = {**vars(module), "make_mixable": make_mixable, "model": tiny_model(), "batch": tiny_batch()}
    known["plan"] = draw_plan(4, alpha=1.0, layers=[2], rng=np.random.default_rng(0))
    ran = 0
    for example in doctest.DocTestFinder(parser=_Parser()).find(module, extraglobs=known):
        said = []
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=said.append)
        assert result.failed == 0, "".join(said)
        ran += result.attempted
    assert ran == WITH_EXAMPLES[name]


def test_a_wrong_example_is_seen():
    wrong = "```python\n>>> 1 + 1\n3\n```"
    example = _Parser().get_doctest(wrong, {}, "wrong", None, None)
    assert [one.want for one in example.examples] == ["3\n"]
    assert doctest.DocTestRunner().run(example, out=lambda text: None).failed == 1
