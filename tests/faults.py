"""
Runs that are killed at any moment, and gone on with by one command: `python tests/faults.py --kills 100`.

A run is a command in processes of its own. It counts what it does to its folder (files opened for writing, renamed, removed, folders made),
its training steps and its requests to the Hub; a kill (SIGKILL) comes at one of these, drawn at random, or some milliseconds after
it. Then the same command with `--resume_from_checkpoint True` must end well by itself, with the weights of a run that nobody disturbed,
bit for bit, and the same results.

The processes are forks of one that has imported everything already; the Hub is a process of its own on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from hub_server import TOKEN, USER, HubServer
from pixel import save_one_pixel


_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "shutil.rmtree", "shutil.copyfile"}
# Of a run that is disturbed no more; the forks share two cores.
_PATIENCE = 240
# Measured anew by every run.
_TIMES = ("runtime", "per_second", "preparation_time")


@dataclass(frozen=True)
class Case:
    """A command, in so many processes, without its `--output_dir`."""

    name: str
    words: tuple[str, ...]
    ranks: int = 1
    pushes: bool = False


@dataclass(frozen=True)
class Kill:
    """
    At which of the events of process `rank`, and how long after it; SIGKILL ends that process, another signal reaches all
    processes of the run, as from a terminal or a scheduler.
    """

    event: int
    rank: int = 0
    seconds: float = 0.0
    number: int = signal.SIGKILL


def make_cases(folder: Path) -> list[Case]:
    """Their data and models are written into `folder`."""
    import numpy as np
    from table_files import write_table
    from tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer

    base = folder / "base"
    tiny_model("bert", num_labels=2, dropout=0.1).base_model.save_pretrained(base)
    tiny_tokenizer().save_pretrained(base)
    generator = np.random.default_rng(0)

    def rows(count: int) -> list[dict[str, Any]]:
        texts = [" ".join(f"w{i}" for i in generator.integers(0, VOCAB_SIZE - 5, 6)) for _ in range(count)]
        return [{"text": text, "label": ("ham", "spam", "egg")[i % 3]} for i, text in enumerate(texts)]

    train, dev = write_table(folder / "train.csv", rows(24)), write_table(folder / "dev.csv", rows(9))
    pool = write_table(folder / "pool.csv", [{"text": row["text"]} for row in rows(30)])
    common: tuple[str, ...] = (
        "--use_cpu",
        "--disable_tqdm=true",
        "--report_to=none",
        "--save_steps=2",
        "--save_total_limit=2",
        "--max_steps=7",
    )
    common = (*common, "--logging_steps=2", "--learning_rate=1e-3", "--do_train", "--do_eval")
    text: tuple[str, ...] = (
        "train-text",
        *common,
        f"--train_file={train}",
        f"--validation_file={dev}",
        f"--model_name_or_path={base}",
    )
    text = (*text, "--max_seq_length=16", "--per_device_train_batch_size=4")
    mixtext = (
        "--mix_method=mixtext",
        f"--unlabeled_file={pool}",
        "--guess_warm_up_steps=3",
        "--per_device_unlabeled_batch_size=4",
    )
    image: tuple[str, ...] = (
        "train-image",
        *common,
        "--per_device_train_batch_size=4",
        "--max_train_samples=24",
        "--max_predict_samples=20",
    )
    image = (*image, "--model_name_or_path=small-resnet")
    return [
        Case("text erm", (*text, "--mix_method=erm")),
        Case("text tmix", (*text, "--mix_method=tmix"), pushes=True),
        Case("text mixtext", (*text, *mixtext)),
        Case("text mixtext, two rounds", (*text, *mixtext, "--guess_rounds=2")),
        Case("image erm", (*image, "--mix_method=erm")),
        Case("image puzzlemix", (*image, "--mix_method=puzzlemix"), pushes=True),
        Case("text tmix, two ranks", (*text, "--mix_method=tmix"), ranks=2),
        Case("text mixtext, two ranks", (*text, *mixtext), ranks=2),
        Case("image puzzlemix, two ranks", (*image, "--mix_method=puzzlemix"), ranks=2),
    ]


# ---- one run ----


def run(case: Case, folder: Path, *more: str, kill: Kill | None = None) -> tuple[list[int], int, str]:
    """
    Run a case in forks of this process.

    Returns:
        `tuple`: the exit status of each process (negative: the signal that ended it), how many events the first one counted, and
        what was written to stderr.
    """
    output_dir, log, counted = folder / "out", folder / "log.txt", folder / "events"
    words = [*case.words, f"--output_dir={output_dir}", *more]
    if case.pushes:
        words += ["--push_to_hub", f"--hub_model_id={USER}/{folder.name}"]
    port = _free_port()
    with log.open("w") as file:
        children: list[int] = []
        for rank in range(case.ranks):
            work = partial(_work, case, words, rank, port, output_dir, counted, kill)
            children.append(_fork(work, file.fileno(), children[0] if children else 0))
        statuses: dict[int, int] = {}
        end = time.monotonic() + _PATIENCE
        while len(statuses) < len(children):
            for child in children:
                if child not in statuses and (ended := os.waitpid(child, os.WNOHANG))[0]:
                    statuses[child] = os.waitstatus_to_exitcode(ended[1])
                    if statuses[child] < 0:
                        # One that is alone waits for the others: whoever started them ends them all.
                        for other in (one for one in children if one not in statuses):
                            os.kill(other, signal.SIGKILL)
            if time.monotonic() > end:
                for other in (one for one in children if one not in statuses):
                    os.kill(other, signal.SIGKILL)
            time.sleep(0.01)
    events = int(counted.read_text()) if counted.is_file() else 0
    return [statuses[child] for child in children], events, log.read_text(errors="replace")


def _fork(work: Callable[[], None], stderr: int, group: int) -> int:
    """A process of a group of its own, or of that of another one."""
    child = os.fork()
    os.setpgid(child, group)
    if child:
        return child
    status = 99
    try:
        os.dup2(stderr, 1)
        os.dup2(stderr, 2)
        work()
        status = 0
    except SystemExit as exit:
        status = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _work(
    case: Case, words: list[str], rank: int, port: int, output_dir: Path, counted: Path, kill: Kill | None
) -> None:
    if case.ranks > 1:
        numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": case.ranks, "LOCAL_WORLD_SIZE": case.ranks}
        os.environ.update({name: str(value) for name, value in numbers.items()})
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    from mixtext_hf.cli.main import main

    count = _count_events(output_dir, kill if kill is not None and kill.rank == rank else None)
    try:
        main(words)
    finally:
        if rank == 0:
            counted.write_text(str(count()))


def _count_events(output_dir: Path, kill: Kill | None) -> Callable[[], int]:
    """Count from here on; and kill this process in time."""
    from mixtext_hf.training import MixTrainer

    events = 0
    where = str(output_dir)

    def tick() -> None:
        nonlocal events
        events += 1
        if kill is None or events != kill.event:
            return
        process = os.getpid() if kill.number == signal.SIGKILL else -os.getpgrp()
        if kill.seconds == 0:
            os.kill(process, kill.number)
        else:
            threading.Timer(kill.seconds, os.kill, (process, kill.number)).start()

    def see(name: str, args: tuple[Any, ...]) -> None:
        if name == "socket.connect":
            tick()
        elif name in _EVENTS and any(str(one).startswith(where) for one in args[:2]):
            reads = name == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not reads:
                tick()

    plain = MixTrainer.training_step

    def step(self: MixTrainer, *args: Any, **kwargs: Any) -> Any:
        tick()
        return plain(self, *args, **kwargs)

    MixTrainer.training_step = step  # type: ignore[method-assign]  # in a fork of its own
    sys.addaudithook(see)
    return lambda: events


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ---- what is left ----


def left(case: Case, folder: Path, hub_url: str) -> dict[str, Any]:
    """Of a run that ended well: its weights, its results without times, its files, and what is on the Hub."""
    output_dir = folder / "out"
    weights = hashlib.sha256((output_dir / "model.safetensors").read_bytes()).hexdigest()
    results = json.loads((output_dir / "all_results.json").read_text())
    found: dict[str, Any] = {
        "weights": weights,
        "results": {name: value for name, value in results.items() if not name.endswith(_TIMES)},
        "files": sorted(path.name for path in output_dir.iterdir() if path.name != "runs"),
        "checkpoints": sorted(path.name for path in output_dir.glob("checkpoint-*/*")),
    }
    if case.pushes:
        request = Request(
            f"{hub_url}/{USER}/{folder.name}/resolve/main/model.safetensors",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urlopen(request) as answer:
            found["on the Hub"] = hashlib.sha256(answer.read()).hexdigest() == weights
    return found


def check(case: Case, folder: Path, kills: list[Kill], expected: dict[str, Any], hub_url: str) -> str | None:
    """Start a case, kill it, go on with it and kill it again as often as said; what was wrong at the end, if anything."""
    folder.mkdir()
    begun: tuple[str, ...] = ()
    for kill in kills:
        statuses, _, said = run(case, folder, *begun, kill=kill)
        if kill.number != signal.SIGKILL:
            if not {*statuses} <= {0, 128 + kill.number} or "Traceback" in said:
                return f"{kill}: ended with {statuses}: {said[-1500:]}"
            if any(statuses) and "Training on " in said and said.count(" To go on: ") != 1:
                return f"{kill}: it was not said how to go on: {said[-1500:]}"
        elif statuses[kill.rank] not in (0, -signal.SIGKILL):
            return f"{kill}: ended with {statuses}: {said[-1500:]}"
        if (folder / "out").is_dir():
            begun = ("--resume_from_checkpoint", "True")
    statuses, _, said = run(case, folder, *begun)
    if any(statuses):
        return f"{kills}: going on ended with {statuses}: {said[-1500:]}"
    found = left(case, folder, hub_url)
    # Sums of losses in another order.
    losses = [one["results"].pop("train_loss") for one in (found, expected)]
    different = {name: (found[name], value) for name, value in expected.items() if found[name] != value}
    expected["results"]["train_loss"] = losses[1]
    if not math.isclose(*losses, rel_tol=1e-5):
        different["train_loss"] = (losses[0], losses[1])
    return f"{kills}: found and expected differ: {different}" if different else None


def serve(pipe: Any) -> None:
    """A Hub, in a process of its own, until it is ended."""
    with HubServer() as hub:
        # Whoever is killed hangs up.
        hub._server.handle_error = lambda *about: None  # type: ignore[method-assign]
        pipe.send(hub.environment(Path("unused"))["HF_ENDPOINT"])
        signal.pause()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="In all, spread over the cases.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="SIGKILL", help="In place of SIGKILL: SIGINT or SIGTERM.")
    parser.add_argument("--cases", nargs="*", help="Names of cases that are run alone.")
    parser.add_argument("--keep", help="A folder for what is written; not given: a temporary one.")
    args = parser.parse_args()
    root = Path(args.keep or tempfile.mkdtemp(prefix="faults-"))
    root.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    hub = context.Process(target=serve, args=(there,), daemon=True)
    hub.start()
    hub_url = here.recv()
    # Before anything is imported that reads them.
    own = {"HF_ENDPOINT": hub_url, "HF_HOME": str(root / "home"), "HF_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    off = {
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    os.environ.update({**own, **off, "TOKENIZERS_PARALLELISM": "false"})
    os.environ.pop("HF_HUB_OFFLINE", None)

    import numpy as np
    import torch
    from matplotlib.figure import Figure

    import mixtext_hf.cli.train_image
    import mixtext_hf.cli.train_text  # noqa: F401

    torch.set_num_threads(1)
    Figure.savefig = save_one_pixel  # type: ignore[method-assign, assignment]
    # Each training collects garbage: not among what is imported.
    gc.collect()
    gc.freeze()
    (root / "data").mkdir()
    cases = [case for case in make_cases(root / "data") if not args.cases or case.name in args.cases]
    rng = np.random.default_rng(args.seed)
    failed = 0
    for number, case in enumerate(cases):
        folder = root / f"whole-{number}"
        folder.mkdir()
        statuses, events, said = run(case, folder)
        if any(statuses):
            sys.exit(f"{case.name}: undisturbed, it ended with {statuses}: {said[-3000:]}")
        expected = left(case, folder, hub_url)
        share = args.kills // len(cases) + (number < args.kills % len(cases))
        for one in range(share):
            often = 2 if rng.random() < 0.25 else 1
            kills = [
                Kill(
                    event=int(rng.integers(1, events + 1)),
                    rank=int(rng.integers(case.ranks)),
                    seconds=float(rng.choice([0.0, rng.uniform(0.001, 0.05)])),
                    number=signal.Signals[args.signal],
                )
                for _ in range(often)
            ]
            folder = root / f"killed-{number}-{one}"
            wrong = check(case, folder, kills, expected, hub_url)
            if wrong is None:
                shutil.rmtree(folder)
            else:
                failed += 1
                print(f"{case.name}: {folder}: {wrong}", flush=True)
        print(f"{case.name}: {share} kills among {events} events", flush=True)
    hub.terminate()
    if failed:
        sys.exit(f"{failed} of {args.kills} did not go on by themselves")
    if not args.keep:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
