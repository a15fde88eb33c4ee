"""A folder belongs to one process at a time, and to nobody when that is gone, however it went."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from forks import FORK, wait_for
from runs import arguments, make_trainer, tiny_rows
from tiny import tiny_model

from mixtext_hf._files import PARTIAL
from mixtext_hf._lock import OWNER, FolderLock
from mixtext_hf.cli.push import main as push
from mixtext_hf.errors import FolderInUse, RunError


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def held(folder: Path) -> multiprocessing.Process:
    """A process that has the folder."""

    def hold():
        with FolderLock(folder):
            (folder / "ready").touch()
            time.sleep(60)

    process = FORK.Process(target=hold)
    process.start()
    wait_for(folder / "ready")
    return process


def test_another_process_is_refused_and_told_whose_it_is(tmp_path):
    process = held(tmp_path)
    try:
        with pytest.raises(
            FolderInUse, match=rf"{tmp_path} is in use by process {process.pid} on .*: wait for it"
        ) as error:
            FolderLock(tmp_path).take()
        assert isinstance(error.value, RunError)
    finally:
        process.kill()
        process.join()
    with FolderLock(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / OWNER).read_text()
    assert not (tmp_path / OWNER).exists()


def test_a_killed_process_blocks_nobody_and_its_unfinished_files_go(tmp_path):
    process = held(tmp_path)
    (tmp_path / f"{PARTIAL}1-a.txt").touch()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with FolderLock(tmp_path):
        assert not [*tmp_path.glob(f"{PARTIAL}*")]


def test_a_process_may_take_its_own_folder_again(tmp_path):
    one, other = FolderLock(tmp_path), FolderLock(tmp_path)
    with one:
        one.take()
        thread = threading.Thread(target=other.take)
        thread.start()
        thread.join()
        assert other.is_held
    assert (tmp_path / OWNER).exists()
    other.give_back()
    other.give_back()
    assert not (tmp_path / OWNER).exists()
    process = held(tmp_path)
    process.kill()
    process.join()


def test_a_process_that_was_forked_off_is_another_one(tmp_path):
    def take():
        try:
            FolderLock(tmp_path).take()
        except FolderInUse:
            os._exit(7)

    with FolderLock(tmp_path):
        process = FORK.Process(target=take)
        process.start()
        process.join()
    assert process.exitcode == 7


def test_two_trainers_in_two_processes(tmp_path):
    """From Python too; one after the other in one process may share the folder."""
    trainer = make_trainer(tiny_model("bert"), arguments(tmp_path, max_steps=1), tiny_rows(16))
    process = held(tmp_path)
    try:
        with pytest.raises(FolderInUse, match=f"process {process.pid}"):
            trainer.train()
    finally:
        process.kill()
        process.join()
    trainer.train()
    make_trainer(tiny_model("bert"), arguments(tmp_path, max_steps=1), tiny_rows(16)).train()
    assert not (tmp_path / OWNER).exists()


def test_a_folder_that_is_trained_into_is_not_pushed(tmp_path, capsys):
    tiny_model().save_pretrained(tmp_path)
    process = held(tmp_path)
    try:
        with pytest.raises(SystemExit) as end:
            push([str(tmp_path), "--card_only", "True"])
        assert end.value.code == 1 and f"{tmp_path} is in use by process {process.pid}" in capsys.readouterr().err
        assert not (tmp_path / "README.md").exists()
    finally:
        process.kill()
        process.join()
    push([str(tmp_path), "--card_only", "True"])
    assert (tmp_path / "README.md").exists()
