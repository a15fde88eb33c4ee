"""How the cost of each method grows: with the batch, the length of the texts, the number of classes, the size of images, and processes; and that of guesses.

Each point is measured once and appended as a line to `docs/results/scaling/points.jsonl`; points that stand there are left out, so that a
run that was ended goes on. `python scripts/scaling.py` measures all that are missing, `--sweeps length` some. Steps of one point are
interleaved in one process of one thread, in an order drawn anew for each round, and compared within their round, in seconds of the
processor; memory is the peak of one process a method, above what it had before it made its model. Runs of several processes are launched
in turn. `scripts/benchmark_tables.py` makes the tables of it in `docs/scaling.md`.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, PrinterCallback, ResNetForImageClassification

from mixtext_hf.cli.benchmark import guesses
from mixtext_hf.cli.benchmark.measuring import interleaved_times, make_trainer, memory_in_this_process
from mixtext_hf.cli.benchmark.mixes import natural_images
from mixtext_hf.cli.benchmark.trainer import Clock, random_images, random_texts, tiny_tokenizer
from mixtext_hf.methods import METHODS, PIXELS, AugMix
from mixtext_hf.methods.augmix import VIEWS
from mixtext_hf.mixing import IGNORE_INDEX
from mixtext_hf.models.embedded import small_image_processor, small_resnet
from mixtext_hf.training import MixTrainer, MixTrainingArguments
from mixtext_hf.training.ranks import leave_group
from mixtext_hf.version import versions


POINTS = Path(__file__).resolve().parent.parent / "docs" / "results" / "scaling" / "points.jsonl"

# Name of a step, the method and its hyper-parameters.
TEXT_STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "erm": ("erm", {}),
    "tmix": ("tmix", {}),
    "ssmix": ("ssmix", {}),
    "puzzle_tmix": ("puzzle_tmix", {}),
    "mixtext": ("mixtext", {}),
    "mixtext, online": ("mixtext", {"online": True}),
}
IMAGE_STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "erm": ("erm", {}),
    "cutmix": ("cutmix", {}),
    "augmix": ("augmix", {}),
    "puzzlemix": ("puzzlemix", {}),
    "puzzlemix, spectral": ("puzzlemix", {"saliency": "spectral_residual"}),
}
TEXT = {"kind": "text", "batch_size": 16, "seq_length": 64, "classes": 4}
IMAGES = {"kind": "images", "batch_size": 32, "image_size": 32, "classes": 10}
SWEEPS: dict[str, list[dict[str, Any]]] = {
    "batch": [{**TEXT, "batch_size": rows} for rows in (8, 16, 32, 64)],
    "length": [{**TEXT, "seq_length": tokens} for tokens in (32, 64, 128, 256)],
    "classes": [{**TEXT, "classes": classes} for classes in (4, 100, 1000, 10_000)],
    "image_batch": [{**IMAGES, "batch_size": rows} for rows in (8, 16, 32, 64)],
    "image_size": [{**IMAGES, "image_size": side} for side in (32, 64, 128)],
    "image_classes": [{**IMAGES, "classes": classes} for classes in (10, 1000, 10_000)],
    "guess_classes": [
        {"kind": "guesses", "unlabelled": 20_000, "dimensions": 384, "classes": classes}
        for classes in (4, 30, 100, 300, 1000)
    ],
    "processes": [
        {"kind": "processes", "processes": processes, "batch_size": rows}
        for processes, rows in ((1, 16), (2, 8), (2, 16))
    ],
}
PROCESS_STEPS = ("erm", "tmix", "ssmix", "mixtext, online", "puzzlemix")
# As malloc.h numbers them.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Of the labelled and unlabelled rows of a MixText step: one in so many is labelled.
_LABELLED = 4


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS), help="What grows.")
    parser.add_argument("--points_file", type=Path, default=POINTS)
    parser.add_argument("--rounds", type=int, default=8, help="Timed steps of each method.")
    parser.add_argument("--warmup", type=int, default=2, help="Steps of each method before the clock runs.")
    parser.add_argument("--launches", type=int, default=2, help="Of the runs of several processes, in turn.")
    parser.add_argument(
        "--quick", action="store_true", help="The smallest point of each sweep, two rounds: to see that it runs."
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.worker:
        train_in_this_process(**json.loads(args.worker))
        return
    if args.quick:
        args.rounds, args.warmup, args.launches = 2, 1, 1
    settings = [point for name in args.sweeps for point in (SWEEPS[name][:1] if args.quick else SWEEPS[name])]
    for point in missing(settings, args.points_file):
        print(json.dumps(point), flush=True)
        rows = MEASURES.get(point["kind"], measure)(point, args)
        add(args.points_file, {**point, "rounds": args.rounds, "versions": versions(), "rows": rows})


def missing(settings: list[dict[str, Any]], file: Path) -> Iterator[dict[str, Any]]:
    """Those points that a file does not have yet, each once."""
    known = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    for point in settings:
        if not any(point.items() <= other.items() for other in known):
            known.append(point)
            yield point


def add(file: Path, point: dict[str, Any]) -> None:
    """Append a line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(point) + "\n")


# ---- steps of one process ----


def measure(point: dict[str, Any], args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a method: milliseconds of a step, the ratio to that of `erm`, and MiB above what the process had before its model."""
    steps = TEXT_STEPS if point["kind"] == "text" else IMAGE_STEPS
    times = in_child(partial(times_of, point, list(steps), args.rounds, args.warmup))
    memory = {name: in_child(partial(memory_of, point, name)) for name in steps}
    rows = []
    for name in steps:
        ratios = [own / plain for own, plain in zip(times[name], times["erm"], strict=True)]
        rows.append(
            {
                "method": name,
                "milliseconds": round(1000 * statistics.median(times[name]), 2),
                "time_ratio": round(statistics.median(ratios), 4),
                "mean_ratio": round(statistics.fmean(ratios), 4),
                "steps_mib": round(memory[name], 1),
                "memory_ratio": round(memory[name] / memory["erm"], 4),
            }
        )
    return rows


def times_of(point: dict[str, Any], names: list[str], rounds: int, warmup: int) -> dict[str, list[float]]:
    """Seconds of the processor of each step in each round."""
    model = make_model(point)
    steps = {name: make_step(model, name, point, rounds + warmup) for name in names}
    return interleaved_times(steps, list(range(warmup + rounds)), warmup, time.process_time)


def memory_of(point: dict[str, Any], name: str) -> float:
    """Peak MiB of a process that makes a model and two steps, above what it had before."""
    give_back_what_is_freed()
    made: list[Callable[[int], None]] = []

    def step(number: int) -> None:
        if not made:
            made.append(make_step(make_model(point), name, point, 2))
        made[0](number)

    memory = memory_in_this_process(step, range(2))
    return memory["peak_mib"] - memory["before_mib"]


def give_back_what_is_freed() -> None:
    """
    Let glibc hand the memory of tensors back at once: what it keeps for later, more for methods of two passes, is no peak of theirs.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, 2**16)


def in_child(work: Callable[[], Any]) -> Any:
    """What `work` returns in a process that begins as this one is, which has never made a step."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def send() -> None:
        sender.send(work())

    child = context.Process(target=send)
    child.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        raise RuntimeError("A process that measures has ended without a result: see its error above.") from None
    finally:
        child.join()


def make_model(point: dict[str, Any]) -> torch.nn.Module:
    """Random: a BERT of 4 layers of 128 units, or the small ResNet of the examples."""
    torch.manual_seed(0)
    if point["kind"] == "images":
        images = small_resnet(3, (point["image_size"], point["image_size"]))
        images.num_labels = point["classes"]
        return ResNetForImageClassification(images)
    return make_bert(point["classes"])


def make_bert(classes: int) -> BertForSequenceClassification:
    """Of 4 layers of 128 units."""
    config = BertConfig(
        vocab_size=1000, hidden_size=128, intermediate_size=512, num_attention_heads=4, num_hidden_layers=4
    )
    config.num_labels = classes
    return BertForSequenceClassification(config)


def make_step(model: torch.nn.Module, name: str, point: dict[str, Any], total: int) -> Callable[[int], None]:
    """One optimiser step, as MixTrainer makes it, on a fixed batch with plans that change from step to step."""
    method, hyperparameters = (TEXT_STEPS if point["kind"] == "text" else IMAGE_STEPS)[name]
    settings: dict[str, Any] = {"mix_method": method, "mix_kwargs": hyperparameters or None}
    uses_unlabeled = METHODS[method].uses_unlabeled
    labelled = point["batch_size"] // _LABELLED if uses_unlabeled else point["batch_size"]
    settings["per_device_train_batch_size"] = labelled
    if uses_unlabeled:
        settings["per_device_unlabeled_batch_size"] = point["batch_size"] - labelled
    trainer = make_trainer(model, total + 1, tokenizer=tiny_tokenizer(), **settings)
    batch = make_images(point) if point["kind"] == "images" else make_texts(point, labelled)
    if isinstance(trainer.method, AugMix):
        batch[VIEWS] = torch.stack([batch[PIXELS].flip(-1), batch[PIXELS].roll(3, dims=-1)], dim=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step(number: int) -> None:
        trainer.state.global_step = number
        trainer.training_step(model, dict(batch))
        optimizer.step()
        optimizer.zero_grad()

    return step


def make_texts(point: dict[str, Any], labelled: int) -> dict[str, torch.Tensor]:
    """Random tokens; the rows behind the labelled ones are unlabelled texts with a guess."""
    rows, longest, classes = point["batch_size"], point["seq_length"], point["classes"]
    rng = np.random.default_rng(0)
    lengths = rng.integers(longest // 2, longest + 1, rows)
    lengths[0] = longest
    is_token = np.arange(longest) < lengths[:, None]
    ids = rng.integers(4, 200, is_token.shape)
    # As the tokenizer says which are none of the text: [CLS] 2, [SEP] 3.
    ids[:, 0], ids[np.arange(rows), lengths - 1] = 2, 3
    labels = rng.integers(classes, size=rows)
    batch = {
        "input_ids": torch.from_numpy(ids * is_token),
        "attention_mask": torch.from_numpy(is_token).long(),
        "labels": torch.from_numpy(labels),
    }
    if labelled < rows:
        batch["labels"][labelled:] = IGNORE_INDEX
        batch["text_labels"] = torch.full((rows - labelled,), IGNORE_INDEX)
        guesses = rng.dirichlet(np.ones(classes), rows - labelled).astype(np.float32)
        batch["text_guesses"] = torch.from_numpy(guesses)
    return batch


def make_images(point: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Low-pass noise."""
    images = natural_images(point["batch_size"], point["image_size"])
    return {PIXELS: images, "labels": torch.arange(point["batch_size"]) % point["classes"]}


def measure_guesses(point: dict[str, Any], args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row: seconds of choosing, fitting and guessing, and MiB above what the process had before."""
    rows = min(point["unlabelled"], 2000) if args.quick else point["unlabelled"]

    def work() -> dict[str, float]:
        found: dict[str, float] = {}

        def step(classes: int) -> None:
            found.update(guesses.measure(rows, point["dimensions"], classes, time.process_time))

        memory = memory_in_this_process(step, [point["classes"]])
        return {**found, "steps_mib": memory["peak_mib"] - memory["before_mib"]}

    return [{name: round(value, 2) for name, value in in_child(work).items()}]


# ---- several processes ----


def measure_processes(point: dict[str, Any], args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row a method: milliseconds of a step of a run of the trainer, the least of the medians of the launches, by clock and processor."""
    steps, warmup = (4, 1) if args.quick else (16, 4)
    launches = [launch(point, steps, warmup) for _ in range(args.launches)]
    return [
        {
            "method": name,
            "milliseconds": round(1000 * min(one[name][0] for one in launches), 2),
            "cpu_milliseconds": round(1000 * min(one[name][1] for one in launches), 2),
        }
        for name in PROCESS_STEPS
    ]


def launch(point: dict[str, Any], steps: int, warmup: int) -> dict[str, list[float]]:
    """Median seconds of a step of each method, by the clock and of the processor, of the first of so many processes of one thread."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "seconds.json"
        asked = {"rows": point["batch_size"], "steps": steps, "warmup": warmup, "file": str(file)}
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(f"--nproc_per_node={point['processes']}", __file__, "--worker", json.dumps(asked)),
        ]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"})
        seconds: dict[str, list[float]] = json.loads(file.read_text(encoding="utf-8"))
        return seconds


def train_in_this_process(rows: int, steps: int, warmup: int, file: str) -> None:
    """Train by each method for some steps; the first process writes the median seconds of a step."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in PROCESS_STEPS:
            clock = Clock()
            trainer = make_run(name, rows, steps, Path(folder) / name)
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(clock)
            trainer.train()
            seconds[name] = np.median(np.diff(clock.ends[warmup:], axis=0), axis=0).tolist()
            del trainer
    if int(os.environ.get("RANK", "0")) == 0:
        Path(file).write_text(json.dumps(seconds), encoding="utf-8")
    leave_group()


def make_run(name: str, rows: int, steps: int, folder: Path) -> MixTrainer:
    """A run of so many steps, of batches of so many rows in each process."""
    torch.manual_seed(0)
    method, hyperparameters = {**IMAGE_STEPS, **TEXT_STEPS}[name]
    uses_unlabeled, takes_images = METHODS[method].uses_unlabeled, METHODS[method].mixes_pixels
    labelled = rows // _LABELLED if uses_unlabeled else rows
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    args = MixTrainingArguments(
        str(folder),
        mix_method=method,
        mix_kwargs=hyperparameters or None,
        per_device_train_batch_size=labelled,
        per_device_unlabeled_batch_size=max(rows - labelled, 1),
        max_steps=steps,
        logging_steps=steps,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    many = steps * rows * processes
    if takes_images:
        model: Any = make_model({**IMAGES, "classes": 4})
        return MixTrainer(
            model, args, train_dataset=random_images(many), processing_class=small_image_processor((32, 32), 3)
        )
    return MixTrainer(
        make_bert(4),
        args,
        train_dataset=random_texts(many, 64),
        processing_class=tiny_tokenizer(),
        unlabeled_dataset=random_texts(many, 64) if uses_unlabeled else None,
    )


# Of the kinds of points that are not steps of one process.
MEASURES = {"processes": measure_processes, "guesses": measure_guesses}


if __name__ == "__main__":
    main()
