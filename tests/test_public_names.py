"""A change of a public name or its signature is seen, and made on purpose."""

import difflib

from public_names import LIST, public_names

from mixtext_hf import TMix


def test_public_names_and_signatures_are_those_of_the_list():
    before = LIST.read_text(encoding="utf-8").splitlines()
    changes = "\n".join(difflib.unified_diff(before, public_names().splitlines(), lineterm="", n=0))
    assert not changes, (
        f"{changes}\nIf that is meant, see docs/deprecation.md; then make the list anew: make public-names"
    )


def test_a_changed_default_and_a_new_parameter_are_seen(monkeypatch):
    def mix_tensors(inputs, index, lam, extra=None):
        pass

    before = set(public_names().splitlines())
    monkeypatch.setattr("mixtext_hf.functional.mix_tensors", mix_tensors)
    monkeypatch.setattr(TMix.__dataclass_fields__["alpha"], "default", 3.0)
    changed = set(public_names().splitlines()) - before
    assert {"mix_tensors(inputs, index, lam, extra=None)", "    alpha: float = 3.0"} == changed
