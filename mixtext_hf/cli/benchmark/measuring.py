"""How the benchmarks measure: times of interleaved steps, and peak memory in a child process each. Knows no method."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

from mixtext_hf.models.checkpoint import check_checkpoint
from mixtext_hf.models.embedded import MINILM, minilm_path
from mixtext_hf.training import MixTrainer, MixTrainingArguments


T = TypeVar("T")

NUM_LABELS = 4


def model_path(name: str) -> str:
    """What `from_pretrained` takes for a model that the user names."""
    return minilm_path() if name == MINILM else name


def load_model(name: str) -> Any:
    """A classifier with a new head of `NUM_LABELS` classes."""
    config = load_config(model_path(name), num_labels=NUM_LABELS)
    return AutoModelForSequenceClassification.from_pretrained(model_path(name), config=config, trust_remote_code=False)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Of a model that the user names."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(model_path(name), trust_remote_code=False)
    return tokenizer


def load_config(path: str, **settings: Any) -> Any:
    """The config of a checkpoint that is safe to load."""
    check_checkpoint(path)
    return AutoConfig.from_pretrained(path, trust_remote_code=False, **settings)


def make_trainer(
    model: torch.nn.Module,
    total: int,
    *,
    kind: type[MixTrainer] = MixTrainer,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **settings: Any,
) -> MixTrainer:
    """A trainer whose `training_step` can be called for itself, in a run of `total` steps."""
    args = MixTrainingArguments(tempfile.gettempdir(), report_to="none", **settings)
    trainer = kind(model=model, args=args, processing_class=tokenizer)
    trainer.current_gradient_accumulation_steps = 1
    trainer.state.max_steps = total
    return trainer


def interleaved_times(
    steps: Mapping[str, Callable[[T], None]],
    rounds: Sequence[T],
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """
    Seconds of each step in each round: a round makes every step once, in an order drawn anew.

    Args:
        steps (`Mapping[str, Callable]`): Called with the round.
        rounds (`Sequence`): What the steps of a round have in common.
        warmup (`int`): So many rounds at the beginning are not timed.
        clock (`Callable`): What says the seconds; `time.process_time` on a CPU that others use too.
    """
    names = list(steps)
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number, round_ in enumerate(rounds):
        for i in rng.permutation(len(names)):
            start = clock()
            steps[names[i]](round_)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number >= warmup:
                times[names[i]].append(clock() - start)
    return times


def memory_in_child(argv: Sequence[str], step: str) -> dict[str, float]:
    """[`memory_in_this_process`] of one step, in a new process of `mixtext-hf benchmark` with the same arguments."""
    own = [f"--threads={torch.get_num_threads()}", f"--memory_of={step}"]
    command = [sys.executable, "-m", "mixtext_hf.cli.benchmark.command", *argv, *own]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def memory_in_this_process(step: Callable[[T], None], rounds: Sequence[T]) -> dict[str, float]:
    """Peak MiB before the first step (`before_mib`) and after the last (`peak_mib`)."""
    before = _peak_mib()
    for round_ in rounds:
        step(round_)
    return {"before_mib": before, "peak_mib": _peak_mib()}


def _peak_mib() -> float:
    """Peak memory of this process so far: of the GPU where there is one, else the resident set."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        # `ru_maxrss` of a child begins with the size of the process that started it; VmHWM is its own.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
