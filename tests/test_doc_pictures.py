"""The pictures of docs: each is on a page, small, and made by a command that stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pictures
import pytest
from PIL import Image


ROOT = Path(__file__).parent.parent

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES = sorted(path for path in (ROOT / "docs").rglob("*.png"))
_MOST_BYTES = 200_000
# The table of docs/results.md.
COMMANDS = dict(
    re.findall(
        r"^\| `(?P<name>[\w/.-]+\.png)` \| (?P<command>.+) \|$",
        (ROOT / "docs/results.md").read_text(encoding="utf-8"),
        re.M,
    )
)
_PICTURE = re.compile(r"!\[[^\]]*\]\((?P<path>[^)\s]+\.png)[^)]*\)")


def places() -> dict[Path, list[Path]]:
    """The pages of each picture."""
    found: dict[Path, list[Path]] = {}
    for page in PAGES:
        for picture in _PICTURE.finditer(page.read_text(encoding="utf-8")):
            if "://" not in picture["path"]:
                found.setdefault((page.parent / picture["path"]).resolve(), []).append(page)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_picture_is_on_a_page_with_its_command(path):
    name = path.relative_to(ROOT / "docs").as_posix()
    assert places().get(path.resolve()), f"{name} is on no page."
    command = COMMANDS.get(name)
    assert command, f"docs/results.md, Pictures, does not say which command makes {name}."
    assert ("again" in command) == (f"docs/{name}" in pictures.PICTURES)
    assert path.stat().st_size < _MOST_BYTES


def test_pages_show_pictures_that_are_there():
    assert [path for path in places() if not path.is_file()] == []
    assert [name for name in COMMANDS if not (ROOT / "docs" / name).is_file()] == []
    assert [name for name in pictures.PICTURES if not (ROOT / name).is_file()] == []


def test_pictures_of_runs_are_drawn_from_their_files(tmp_path, monkeypatch):
    folder = tmp_path / "docs" / "results" / "noise"
    folder.mkdir(parents=True)
    monkeypatch.setattr(pictures, "ROOT", tmp_path)
    lines = [f"{method},10,{seed},4,0.5,0.1,1.0" for method in ("erm", "tmix") for seed in (0, 1)]
    (folder / "runs.csv").write_text("\n".join(["variant,labeled_per_class,seed,n_examples,accuracy,ECE,NLL", *lines]))
    lines = [f"{method},{seed},{epoch},0.5,0.25" for method in ("erm", "tmix") for seed in (0, 1) for epoch in (1, 2)]
    (folder / "epochs.csv").write_text("\n".join(["variant,seed,epoch,eval_accuracy,noise_memorised", *lines]))
    for draw in (pictures.comparison, pictures.memorisation):
        path = tmp_path / f"{draw.__name__}.png"
        draw("noise", path)
        pictures.with_few_colours(path)
        with Image.open(path) as image:
            assert image.mode == "P"
