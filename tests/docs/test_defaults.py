"""Defaults of hyper-parameters that guides name in their tables are those of the methods."""

import json
import re

import pytest
from blocks import ROOT

from mixtext_hf.methods import METHODS


GUIDES = ROOT / "docs" / "guides"
# The method of a table: of the page, or of its section.
OF_PAGES = {"unlabeled": "mixtext", "puzzlemix": "puzzlemix"}
# Of the page on images, which says them in words.
IN_WORDS = {
    r"^α ([\d.]+)": "alpha",  # noqa: RUF001
    r"β ([\d.]+)": "beta",
    r"γ ([\d.]+)": "gamma",  # noqa: RUF001
    r"η ([\d.]+)": "eta",
    r"(\d) levels": "n_labels",
    r"weight ([\d.]+)": "jsd_weight",
    r"severity (\d)": "severity",
    r"mixup α ([\d.]+)": "mixup_alpha",  # noqa: RUF001
    r"CutMix α ([\d.]+)": "cutmix_alpha",  # noqa: RUF001
    r"chance ([\d.]+)": "switch_prob",
    r"U\(([\d.]+)": "tau_min",
    r"U\([\d.]+, ([\d.]+)": "tau_max",
}


def default_of(method: str, name: str):
    kind = METHODS[method]
    return getattr(kind(), kind.aliases.get(name, name))


def value_of(text: str):
    text = text.strip().strip("`")
    if text == "none":
        return None
    return tuple(json.loads(f"[{text}]")) if "," in text else json.loads(text)


def wrong_defaults(text: str, page: str) -> tuple[list[str], int]:
    """What is wrong in tables whose second column is called `default`, each with its line; and how many were looked at."""
    wrong, count, method, is_table = [], 0, OF_PAGES.get(page, ""), False
    for number, line in enumerate(text.splitlines(), 1):
        heading = re.fullmatch(r"## (\w+)$", line)
        method = heading[1] if heading and heading[1] in METHODS else method
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        is_table = bool(cells) and (is_table or cells[1:2] == ["default"])
        names = re.findall(r"`(\w+)`", cells[0]) if is_table else []
        values = cells[1].split(", ") if len(names) > 1 else cells[1:2]
        for name, value in zip(names, values, strict=True) if names else ():
            count += 1
            found = default_of(method, name)
            if value_of(value) != found:
                wrong.append(f"docs/guides/{page}.md:{number}: {name} of {method} is {found!r}, and not {value}")
    return wrong, count


@pytest.mark.parametrize("page, least", [("unlabeled", 12), ("puzzlemix", 13), ("saliency", 11)])
def test_defaults_of_tables_are_those_of_the_methods(page, least):
    wrong, count = wrong_defaults((GUIDES / f"{page}.md").read_text(encoding="utf-8"), page)
    assert wrong == []
    assert count >= least


def test_defaults_of_images_are_those_of_the_methods():
    wrong = []
    for number, line in enumerate((GUIDES / "images.md").read_text(encoding="utf-8").splitlines(), 1):
        row = re.fullmatch(r"\| `(\w+)`[^|]*\| [^|]+ \| ([^|]*[\d][^|]*) \|", line)
        for pattern, name in IN_WORDS.items() if row and row[1] in METHODS else ():
            said = re.search(pattern, row[2])
            if said and float(said[1]) != default_of(row[1], name):
                wrong.append(
                    f"docs/guides/images.md:{number}: {name} of {row[1]} is {default_of(row[1], name)}, not {said[1]}"
                )
    assert wrong == []


def test_a_wrong_default_is_seen():
    text = "## ssmix\n\n| `--mix_kwargs` | default | meaning |\n|---|---|---|\n| `share` | 0.2 | of a sentence |\n"
    assert wrong_defaults(text, "page") == (["docs/guides/page.md:5: share of ssmix is 0.1, and not 0.2"], 1)
