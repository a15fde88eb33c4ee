"""Errors of running are one line with the remedy, and bugs show where they are."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import signal
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets.exceptions import DatasetGenerationError
from forks import FORK, wait_for
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled
from PIL import Image
from runs import arguments, make_trainer, tiny_rows
from safetensors import SafetensorError
from safetensors.torch import load_file
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer

from mixtext_hf._compat import HubClientError
from mixtext_hf._files import PARTIAL
from mixtext_hf._lock import OWNER, FolderLock
from mixtext_hf.cli import main as cli
from mixtext_hf.cli.failures import failure, reporting_failures
from mixtext_hf.cli.parsing import Parser, reporting_bad_input
from mixtext_hf.data.guesses import checked_probabilities
from mixtext_hf.errors import RunError
from mixtext_hf.evaluation.pictures.show_mixes import MixPicturesSettings
from mixtext_hf.hub.push import PushError
from mixtext_hf.training.finite import NonFinite
from mixtext_hf.training.same_run import AnotherRun
from mixtext_hf.training.whole_checkpoints import BrokenCheckpoint, checkpoints_of, why_not_whole


# ---- what is said ----


def raised(function, *args) -> Exception:
    try:
        function(*args)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, said",
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/a.json"), "The disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "The disk is full, or a quota"),
        (OSError(errno.EFBIG, "File too large"), "The disk is full, or a quota or limit"),
        (OSError("1000 requested and 10 written"), "The disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"), "The disk is full"),
        (RuntimeError("basic_ios::clear: iostream error"), "The disk is full"),
        (
            SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
            "The disk is full",
        ),
        (Exception("No space left on device (os error 28)"), "The disk is full"),
        (caused(DatasetGenerationError("An error occurred"), OSError(errno.ENOSPC, "No space")), "The disk is full"),
        (
            OSError("Caught OSError in DataLoader worker 0.\nOriginal Traceback:\nOSError: [Errno 28] No space"),
            "The disk is full",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (MemoryError(), "Out of memory (MemoryError): take a smaller batch (--per_device_train_batch_size"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "Out of memory (CUDA out of memory.",
        ),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Out of memory"),
        (RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"), "Use fewer --dataloader_num_workers."),
        (
            PermissionError(errno.EACCES, "Permission denied", "out/x"),
            "'out/x': give a folder that may be written to.",
        ),
        (OSError(errno.EROFS, "Read-only file system", "out/x"), "'out/x': give a folder that may be written to."),
        (HubClientError("[Errno 111] Connection refused"), "the Hub was not reached, or refused. Try again"),
        (OfflineModeIsEnabled("Cannot reach the Hub"), "the Hub was not reached"),
        (LocalEntryNotFoundError("Not in the cache.\nLook there."), "Not in the cache"),
        (subprocess.CalledProcessError(3, ["x"]), "ended with exit status 3, see above."),
        (raised(torch.empty, 10**15), "Out of memory ("),
        (raised(np.empty, 10**15), "Out of memory ("),
        (raised(checked_probabilities, np.ones((2, 3)), ["a", "b"]), "give one for each."),
        (
            RuntimeError(
                "Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\nx"
            ),
            None,
        ),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"), None),
        (raised(int, "x"), None),
        (raised(np.zeros(3).reshape, 2), None),
        (raised(len, 1), None),
        (KeyError("x"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_is_said(error, said):
    found = failure(error)
    assert found is None if said is None else (said in found and "\n" not in found), found


@pytest.mark.parametrize("kind", [AnotherRun, BrokenCheckpoint, NonFinite, PushError])
def test_the_errors_of_runs_have_one_base(kind, capsys):
    assert issubclass(kind, RunError)
    with pytest.raises(SystemExit) as ended, reporting_failures("mixtext-hf x", lambda: "more"):
        raise kind("what and how")
    assert ended.value.code == 1 and capsys.readouterr().err == "mixtext-hf x: error: what and how\n"


def test_bugs_show_where_they_are():
    for reporting in (reporting_failures("x"), reporting_bad_input(Parser([MixPicturesSettings]))):
        with pytest.raises(TypeError), reporting:
            len(1)


def test_the_disk_is_no_wrong_argument(capsys):
    with pytest.raises(SystemExit) as ended, reporting_bad_input(Parser([MixPicturesSettings], prog="x")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert ended.value.code == 1 and capsys.readouterr().err.startswith("x: error: The disk is full")


def test_the_traceback_is_shown_if_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(cli.DEBUG, "0")
    flags = ["show-mixes", "--image_size=-1", f"--output_dir={tmp_path}"]
    for given, is_shown in ((flags, False), (["--debug", *flags], True)):
        with pytest.raises(SystemExit) as ended:
            cli.main(given)
        said = capsys.readouterr().err
        assert ended.value.code == 2 and ("Traceback" in said) == is_shown
        assert said.splitlines()[-1].startswith("mixtext-hf show-mixes: error: --image_size must be")


# ---- a run ----


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    write_table(folder / "rows.csv", [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 2]} for i in range(40)])
    return folder


def command(given: Path, out: Path, *more: str) -> list[str]:
    files = [f"--train_file={given / 'rows.csv'}", f"--test_file={given / 'rows.csv'}"]
    flags = ["--do_train", "--do_eval", "--do_predict", "--max_steps=4", "--max_seq_length=16", "--report_to=none"]
    quiet = ["--use_cpu", "--disable_tqdm=true", "--log_level=error"]
    return [
        "train-text",
        *files,
        f"--model_name_or_path={given / 'base'}",
        *flags,
        *quiet,
        f"--output_dir={out}",
        *more,
    ]


@pytest.fixture(scope="module")
def whole(given) -> Path:
    cli.main(command(given, given / "whole", "--save_strategy=no"))
    return given / "whole"


def stopped(capsys, argv: list[str], code: int = 1) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    said = capsys.readouterr().err
    assert ended.value.code == code and "Traceback" not in said, said
    (line,) = [line for line in said.splitlines() if "rror" in line]
    assert line == said.splitlines()[-1]
    return line


def check_whole(folder: Path, whole: Path) -> None:
    """Nothing is half, but for a checkpoint that says so."""
    assert not [*folder.rglob(f"{PARTIAL}*")]
    for path in folder.iterdir():
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            Image.open(path).verify()
        elif path.suffix in (".safetensors", ".csv"):
            assert path.read_bytes() == (whole / path.name).read_bytes(), path.name
    for checkpoint in checkpoints_of(folder):
        assert why_not_whole(checkpoint) in (None, "it was not finished")


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root alone")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


# All twenty by MIXTEXT_HF_ALL_FAULTS=1.
SIZES = [
    (strategy, kib)
    for strategy, most in (("no", 270), ("steps", 1250))
    for kib in range(most // 10, most + 1, most // 10)
]
FEW = [("no", 160), ("no", 224), ("steps", 280), ("steps", 840)]


@pytest.mark.skipif(os.name != "posix", reason="mounts a disk")
@pytest.mark.parametrize("strategy, kib", SIZES if os.environ.get("MIXTEXT_HF_ALL_FAULTS") else FEW)
def test_a_full_disk(tmp_path, given, whole, capsys, strategy, kib):
    """One line, nothing half, and the command in the line goes on when there is room."""
    with small_disk(tmp_path / "small", kib):
        out = tmp_path / "small" / "out"
        line = stopped(capsys, command(given, out, f"--save_strategy={strategy}", "--save_steps=2"))
        assert "The disk is full" in line and "free some space" in line
        check_whole(out, whole)
        subprocess.run(["mount", "-o", "remount,size=8m", tmp_path / "small"], check=True)
        found = next((path for path in checkpoints_of(out) if why_not_whole(path) is None), None)
        if found is not None:
            assert f"{found} is kept. To go on: " in line
        else:
            has_model = (out / "config.json").exists()
            assert ("To start anew: " if has_model else "There is no checkpoint yet. To go on: ") in line
        cli.main(shlex.split(line.split(": mixtext-hf ")[1]))
        check_whole(out, whole)
        assert {path.name for path in whole.iterdir()} <= {path.name for path in out.iterdir()}


def test_a_limit_of_the_size_of_files(tmp_path, given, whole, capsys):
    """The results of an earlier run stay where those of a later one cannot be written."""
    out = tmp_path / "out"
    cli.main(command(given, out, "--save_strategy=no", "--seed=1"))
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".safetensors"}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        line = stopped(capsys, command(given, out, "--save_strategy=no", "--overwrite_output_dir"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "a quota or limit reached" in line
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix == ".safetensors"} == before
    assert not [*out.glob(f"{PARTIAL}*")]


@pytest.mark.parametrize("name", ["train-text", "evaluate", "augment-text", "guess-labels", "show-mixes", "demo"])
def test_a_folder_that_cannot_be_written_to(tmp_path, given, whole, capsys, name):
    """Said before anything is trained, measured or drawn. (For root no folder is read-only, but one of a read-only disk.)"""
    (tmp_path / "a-file").touch()
    rows = str(given / "rows.csv")
    locked = tmp_path / "locked"
    with small_disk(locked, 100):
        subprocess.run(["mount", "-o", "remount,ro", locked], check=True)
        for folder, said in (
            (locked, "nothing can be written into"),
            (tmp_path / "a-file", "is a file: name a folder"),
        ):
            argv = {
                "train-text": command(given, folder / "out"),
                "evaluate": [
                    "evaluate",
                    f"--model_name_or_path={given / 'whole'}",
                    f"--test_file={rows}",
                    f"--output_dir={folder / 'out'}",
                ],
                "augment-text": [
                    "augment-text",
                    f"--input_file={rows}",
                    f"--output_file={folder / 'out.parquet'}",
                    "--augmenters=word_swap",
                ],
                "guess-labels": ["guess-labels", rows, str(folder / "out.parquet"), f"--train_file={rows}"],
                "show-mixes": ["show-mixes", f"--output_dir={folder / 'out'}"],
                "demo": ["demo", f"--output_dir={folder / 'out'}"],
            }[name]
            code = 1 if name == "demo" else 2
            line = stopped(capsys, argv, code)
            assert said in line and str(folder) in line, line


def test_two_runs_in_one_folder(tmp_path, given, capsys):
    out = tmp_path / "out"
    first = FORK.Process(
        target=cli.main, args=(command(given, out, "--max_steps=100000", "--save_steps=1", "--save_total_limit=2"),)
    )
    first.start()
    try:
        wait_for(out / "checkpoint-2")
        for more in ([], ["--overwrite_output_dir"], ["--resume_from_checkpoint=True"]):
            line = stopped(capsys, command(given, out, *more))
            assert line.startswith(f"mixtext-hf train-text: error: {out} is in use by process {first.pid} on ")
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.join()
    assert (out / OWNER).exists() and checkpoints_of(out)
    cli.main(command(given, out, "--overwrite_output_dir"))
    assert not (out / OWNER).exists()


def test_other_commands_refuse_a_folder_in_use_too(tmp_path, given, whole, capsys):
    rows = str(given / "rows.csv")
    out = tmp_path / "out"

    def hold():
        with FolderLock(out), FolderLock(tmp_path / "out.parquet.part"):
            (tmp_path / "ready").touch()
            signal.pause()

    holder = FORK.Process(target=hold)
    holder.start()
    try:
        wait_for(tmp_path / "ready")
        for argv in (
            [
                "evaluate",
                f"--model_name_or_path={whole}",
                f"--test_file={rows}",
                f"--output_dir={out}",
                "--skip=robustness",
            ],
            ["augment-text", f"--input_file={rows}", f"--output_file={out}.parquet", "--augmenters=word_swap"],
            ["demo", f"--output_dir={out}"],
        ):
            assert f"is in use by process {holder.pid}" in stopped(capsys, argv)
    finally:
        holder.kill()
        holder.join()


def test_memory_in_the_middle_of_a_run(tmp_path, given, capsys, monkeypatch):
    """What is kept is named, and the line is the last one, after the bar."""

    def hungry(self, *args, **kwargs):
        if self.state.global_step == 3:
            torch.empty(10**15)
        return step(self, *args, **kwargs)

    trainer = "mixtext_hf.cli.train_text.MixTrainer"
    step = cli.import_module("mixtext_hf.training").MixTrainer.training_step
    monkeypatch.setattr(f"{trainer}.training_step", hungry)
    line = stopped(capsys, command(given, tmp_path / "out", "--save_steps=2", "--disable_tqdm=false"))
    assert line.startswith("mixtext-hf train-text: error: Out of memory (")
    assert f"{tmp_path / 'out' / 'checkpoint-2'} is kept. To go on: mixtext-hf train-text" in line


@pytest.mark.parametrize("late", [False, True])
def test_from_python_too_what_was_saved_stays(tmp_path, monkeypatch, late):
    trainer = make_trainer(tiny_model("bert"), arguments(tmp_path), tiny_rows(16))

    def save():
        trainer.save_model()
        trainer.save_state()
        trainer.save_metrics("train", {"train_loss": trainer.state.global_step})

    save()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    # The arguments are the last file of a model.
    monkeypatch.setattr(*(("os.fsync", full) if late else ("torch.save", full)))
    with torch.no_grad():
        trainer.model.classifier.weight.add_(1)
    trainer.state.global_step = 1
    with pytest.raises(OSError, match="No space"):
        trainer.save_model()
    monkeypatch.setattr("os.fsync", full)
    for write in (trainer.save_state, lambda: trainer.save_metrics("train", {"train_loss": 1})):
        with pytest.raises(OSError, match="No space"):
            write()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    save()
    assert json.loads((tmp_path / "all_results.json").read_text()) == {"train_loss": 1}
    assert (tmp_path / "model.safetensors").read_bytes() != before["model.safetensors"]


def test_a_model_in_another_form_takes_the_place_of_the_old_one(tmp_path, given, whole):
    """transformers reads `model.safetensors` first, whichever is the newer one."""
    trainer = make_trainer(tiny_model("bert"), arguments(tmp_path), tiny_rows(16))
    (tmp_path / "README.md").write_text("mine")
    trainer.save_model()
    one = load_file(tmp_path / "model.safetensors")
    save = trainer.model.save_pretrained
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.model.save_pretrained = lambda *args, **kwargs: save(*args, **{**kwargs, "max_shard_size": "60KB"})
        trainer.save_model()
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1 and not (tmp_path / "model.safetensors").exists()
    assert {name for shard in shards for name in load_file(shard)} == set(one)
    del trainer.model.save_pretrained
    trainer.save_model()
    assert [path.name for path in tmp_path.glob("model*")] == ["model.safetensors"]
    assert (tmp_path / "README.md").read_text() == "mine"
