"""What is written is whole or absent, and all of the package writes by the same functions."""

from __future__ import annotations

import ast
import errno
import os
import signal
from pathlib import Path

import pytest

import mixtext_hf
from mixtext_hf._files import PARTIAL, check_writable, remove_partial, whole_file, whole_files, write_json, write_text


PACKAGE = Path(mixtext_hf.__file__).parent


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def full(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a file system that takes no files from anybody")
def test_a_folder_that_takes_no_files_is_refused(tmp_path):
    """Also by who has all rights, as in a container."""
    with pytest.raises(ValueError, match=r"out='/proc/no/such': nothing can be written into /proc: name another"):
        check_writable(Path("/proc/no/such"), "out")
    check_writable(tmp_path / "new" / "folder")
    assert not list(tmp_path.iterdir())


def test_a_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.json"
    with whole_file(path) as partial:
        partial.write_text("new")
        assert partial.suffix == ".json" and partial.parent == path.parent and not path.exists()
    assert path.read_text() == "new" and names(tmp_path) == ["new", "new/a.json"]
    write_json(path, {"b": 1, "a": "ä"})
    assert path.read_text() == '{\n  "b": 1,\n  "a": "\\u00e4"\n}\n'
    write_text(path, "a\r\nä\n")
    assert path.read_bytes() == "a\r\nä\n".encode()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("wrong")])
def test_what_was_there_stays_if_it_cannot_be_written(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)), whole_file(path) as partial:
        partial.write_text("ne")
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_what_the_disk_says_late_counts(tmp_path, monkeypatch):
    """Some file systems take what is written, and say at its end that there is no room."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    with pytest.raises(OSError, match="No space"), whole_files(tmp_path) as partial:
        (partial / "a.txt").write_text("new")
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_files_take_their_places_together(tmp_path):
    (tmp_path / "config.json").write_text("old")
    with pytest.raises(OSError, match="No space"), whole_files(tmp_path) as partial:
        (partial / "config.json").write_text("new")
        full()
    assert names(tmp_path) == ["config.json"] and (tmp_path / "config.json").read_text() == "old"
    with whole_files(tmp_path) as partial:
        (partial / "config.json").write_text("new")
        (partial / "templates").mkdir()
        (partial / "templates" / "one.jinja").write_text("1")
        assert (tmp_path / "config.json").read_text() == "old"
    assert names(tmp_path) == ["config.json", "templates", "templates/one.jinja"]
    assert (tmp_path / "config.json").read_text() == "new"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_leaves_the_old_file_and_what_it_left_can_be_removed(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    child = os.fork()
    if child == 0:
        with whole_files(tmp_path) as files, whole_file(tmp_path / "a.txt") as partial:
            (files / "b.txt").write_text("new")
            partial.write_text("ne")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert (tmp_path / "a.txt").read_text() == "old" and not (tmp_path / "b.txt").exists()
    assert sum(name.startswith(PARTIAL) for name in os.listdir(tmp_path)) == 2
    remove_partial(tmp_path)
    assert names(tmp_path) == ["a.txt"]


def writes(call: ast.Call) -> bool:
    """Whether a call writes to a file under a name that it is given."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "open":
        mode = [*call.args, *(word.value for word in call.keywords if word.arg == "mode")]
        return any(isinstance(one, ast.Constant) and set(str(one.value)) & set("wax+") for one in mode)
    writers = {"write_text", "write_bytes", "savefig", "save_file", "save_pretrained", "save_to_json", "write_table"}
    writers |= {"savez", "savez_compressed", "dump", "ParquetWriter", "to_parquet", "to_csv", "rename"}
    of_modules = {("np", "save"), ("torch", "save"), ("os", "replace")}
    module = getattr(getattr(call.func, "value", None), "id", "")
    return name in writers or (module, name) in of_modules


# All others write to `partial`, which `whole_file` gives.
_OTHERS = {
    ("data/texts/augment_file.py", "writer.write_table"),  # of a writer to `partial`
    ("cli/guess_labels.py", "writer.write_table"),
    ("cli/help_texts.py", "(TEXTS / f'{command}.txt').write_text"),  # part of the package, for `make help-texts`
    ("cli/planned_run.py", "(self.folder / LOG).open"),  # read while it is written
    ("evaluation/prediction_file.py", "self.path.open"),  # its writers are given `partial`
    ("evaluation/prediction_file.py", "pq.ParquetWriter"),
    ("evaluation/prediction_file.py", "self._parquet.write_table"),
    ("evaluation/report/plots.py", "figure.savefig"),  # into memory
    ("training/memory.py", "save_file"),  # into a checkpoint, whose manifest comes last
    ("training/guesses/shared.py", "mark.write_text"),  # gone in a moment
}


def test_nobody_else_writes_files():
    found = set()
    for path in PACKAGE.rglob("*.py"):
        if path.name == "_files.py":
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        for call in filter(writes, calls):
            if "partial" not in ast.unparse(call) and ast.unparse(call.func) != "write_text":
                found.add((path.relative_to(PACKAGE).as_posix(), ast.unparse(call.func)))
    assert found == _OTHERS
