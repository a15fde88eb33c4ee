"""Two processes have one model: its buffers, its evaluation, its checkpoints and its end are the same in both."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from agreeing import loss_of_rows, prepare_command

from mixtext_hf.training.whole_checkpoints import newest_whole


pytestmark = pytest.mark.distributed
HERE = Path(__file__).parent
SECONDS = 180


def launch(folder: Path, parts: Sequence[str], options: Sequence[str] | None = None) -> subprocess.Popen:
    """The parts of `agreeing.py`: by `torchrun` with these options, or in two forks of one process."""
    paths = [str(HERE.parent), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if options is None:
        command = [str(HERE / "launched.py"), str(free_port()), "agreeing"]
    else:
        command = ["-m", "torch.distributed.run", *options, str(HERE / "agreeing.py")]
    folder.mkdir(exist_ok=True)
    with (folder / "said").open("a") as said:
        words = [sys.executable, *command, str(folder), *parts]
        return subprocess.Popen(words, env=environment, stdout=said, stderr=said, text=True)


def wait_until(holds: Callable[[], bool], launcher: subprocess.Popen, said: Path) -> None:
    end = time.monotonic() + SECONDS
    while not holds():
        assert launcher.poll() is None and time.monotonic() < end, said.read_text()[-5000:]
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def results(folder: Path, *launched: subprocess.Popen) -> list[dict]:
    """Of both ranks, when the launchers have ended."""
    statuses = [one.wait(timeout=SECONDS) for one in launched]
    assert not any(statuses), (folder / "said").read_text()[-5000:]
    return [json.loads((folder / f"rank{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_node")
    parts = ["texts", "batch_norm", "resuming", "kept", "kept_texts", "loss_of_rows", "sharded", "signals"]
    return results(folder, launch(folder, parts))


def test_the_evaluated_model_is_the_saved_one(ranks):
    one, other = (rank["batch_norm"] for rank in ranks)
    assert one == other
    assert np.array(one["predicted"]) == pytest.approx(np.array(one["by the saved one"]), abs=1e-6)
    assert one["losses"][-1] == one["test_loss"] == pytest.approx(one["loss by the saved one"])


def test_puzzlemix_on_batch_norms_resumes_bit_for_bit_from_every_step(ranks):
    one, other = (rank["resuming"] for rank in ranks)
    if not one["resumes"]:
        pytest.skip("this release of transformers cannot resume several processes on the CPU")
    assert one == other and one["different"] == {"1": [], "2": [], "3": []}


def test_kept_saliency_is_that_of_all_processes(ranks):
    """Though each draws mixes of its own, and some steps of one mix nothing."""
    one, other = (rank["kept"] for rank in ranks)
    assert one == other
    epochs = one["whole"]["epochs"]
    assert len(epochs) == 18 and min(epochs) >= 0 and max(epochs) > 1
    if not one["resumes"]:
        pytest.skip("this release of transformers cannot resume several processes on the CPU")
    assert one["resumed"] == one["whole"]


@pytest.mark.parametrize("method", ["ssmix", "puzzle_tmix"])
def test_kept_saliency_of_texts_is_that_of_all_processes(ranks, method):
    """Both make the pass of what is due, or none, whoever has something to look at."""
    one, other = (rank["kept_texts"][method] for rank in ranks)
    passes = [found.pop("passes") for found in (one, other)]
    assert one == other
    epochs = one["whole"]["epochs"]
    assert epochs[:3] == [-1] * 3 and len(epochs) == 18 and min(epochs[3:]) >= 0 and max(epochs) > 1
    steps = [[step for step, _ in made] for made in passes]
    assert steps[0] == steps[1] and len(set(map(steps[0].count, steps[0]))) > 1
    # One looks at a text for company.
    assert passes[0] != passes[1]
    if not one["resumes"]:
        pytest.skip("this release of transformers cannot resume several processes on the CPU")
    assert one["resumed"] == one["whole"]


def test_the_loss_of_an_evaluation_counts_every_labelled_row_once(ranks, tmp_path):
    alone = loss_of_rows(tmp_path)
    assert ranks[0]["loss_of_rows"] == ranks[1]["loss_of_rows"]
    assert alone.keys() == ranks[0]["loss_of_rows"].keys() and len(alone) == 7
    for name, (evaluated, predicted, of_rows) in alone.items():
        assert evaluated == predicted == pytest.approx(of_rows, rel=1e-5), name
        assert ranks[0]["loss_of_rows"][name] == pytest.approx([evaluated, predicted, of_rows], rel=1e-5), name


def test_layers_that_are_spread_over_processes_mix_as_whole_ones(ranks):
    for rank in ranks:
        assert rank["sharded"]["names"] and rank["sharded"]["apart"] < 1e-5 * rank["sharded"]["size"]
    assert ranks[0]["sharded"]["buffers"] == ranks[1]["sharded"]["buffers"]


def test_a_signal_to_one_process_ends_both_at_one_step_with_one_checkpoint(ranks):
    assert ranks[0]["signals"] == ranks[1]["signals"] and len(ranks[0]["signals"]) == 3
    for status, step, kept, checkpoints in ranks[0]["signals"].values():
        assert status == 128 + signal.SIGTERM and 3 <= step <= 12 and checkpoints == [kept] == [f"checkpoint-{step}"]


@pytest.mark.deep
def test_two_nodes_train_what_one_with_two_processes_does(ranks, tmp_path):
    endpoint = f"--rdzv_endpoint=127.0.0.1:{free_port()}"
    options = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", endpoint, "--local_addr=127.0.0.1"]
    folder = tmp_path / "nodes"
    found = results(folder, *(launch(folder, ["texts", "whole_command"], options) for _ in range(2)))
    assert found[0]["texts"] == found[1]["texts"] == ranks[0]["texts"] == ranks[1]["texts"]
    assert found[0]["texts"]["erm"] != found[0]["texts"]["tmix"]
    for method in ("erm", "tmix"):
        assert newest_whole(folder / method) == (folder / method / "checkpoint-3", {})
    # A command that is done has left the group: else one process in twenty would end as if it had failed.
    assert [rank["whole_command"] for rank in found] == [{"status": None, "left": []}] * 2


@pytest.mark.deep
def test_torchrun_that_is_ended_ends_the_command_with_a_checkpoint(tmp_path):
    """As where a job is cancelled: all processes are told, and their launcher tells them again."""
    prepare_command(tmp_path)
    launcher = launch(tmp_path, ["command"], ["--nproc_per_node=2", f"--master_port={free_port()}"])
    marks = [tmp_path / f"trains{rank}" for rank in (0, 1)]
    output = tmp_path / "said"
    wait_until(lambda: all(mark.is_file() and mark.read_text() for mark in marks), launcher, output)
    for mark in marks:
        os.kill(int(mark.read_text()), signal.SIGTERM)
    wait_until(lambda: output.read_text().count("SIGTERM: this step is finished") == 2, launcher, output)
    launcher.send_signal(signal.SIGTERM)
    launcher.wait(timeout=SECONDS)
    said = output.read_text()
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text())["command"] == {"status": 143, "left": []}, said[
            -5000:
        ]
    checkpoint, damaged = newest_whole(tmp_path / "out")
    assert checkpoint is not None and not damaged and f"{checkpoint} is kept. To go on: torchrun " in said
