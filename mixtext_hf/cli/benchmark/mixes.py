"""What mixing a batch of images costs, this checkout of the package beside another one, in one run on one machine.

One child process a checkout does what it is told, a mix at a time, so that both meet the same moments of a machine whose speed
drifts. This file runs on its own and asks of a checkout no more than names that an early one has.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from mixtext_hf.methods import METHODS
from mixtext_hf.mixing import MixPlan
from mixtext_hf.mixing.puzzle import fitting_block_nums, puzzle_mix


# What is timed beside PuzzleMix, which is timed by block counts.
OTHERS = ("cutmix", "resizemix")


def natural_images(rows: int, size: int) -> torch.Tensor:
    """Low-pass noise `(rows, 3, size, size)` between 0 and 1: shapes of several sizes, as photographs have."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(rows, 3, size, size)
    for side in (2, 4, 8, 16):
        coarse = torch.randn(rows, 3, side, side, generator=generator) / side
        image += F.interpolate(coarse, size=(size, size), mode="bicubic")
    return torch.sigmoid(4 * image)


def edges_of(images: torch.Tensor) -> torch.Tensor:
    """A saliency `(B, H, W)` of images `(B, C, H, W)` that is as uneven as that of a network: their edges."""
    return (images - F.avg_pool2d(images, 5, stride=1, padding=2)).square().mean(dim=1).sqrt()


def cases(sizes: Sequence[int]) -> list[tuple[int, str, int | None]]:
    """What is timed: sides in pixels, methods, and block counts of PuzzleMix."""
    found: list[tuple[int, str, int | None]] = []
    for size in sizes:
        found += [(size, "puzzlemix", blocks) for blocks in fitting_block_nums((size, size))]
        found += [(size, method, None) for method in OTHERS]
    return found


def seconds_of(size: int, method: str, blocks: int | None, batch_size: int, seed: int) -> float:
    """Seconds of one mix of a batch with the defaults of its method, the saliency given."""
    images = natural_images(batch_size, size)
    rng = np.random.default_rng(seed)
    if blocks is not None:
        settings = METHODS[method]().hyperparameters()
        names = ("n_labels", "beta", "gamma", "eta", "neigh_size", "t_eps", "t_size")
        plan = MixPlan(torch.from_numpy(rng.permutation(batch_size)), torch.from_numpy(rng.random(batch_size)).float())
        saliency, how = edges_of(images), {name: settings[name] for name in names}
        started = time.perf_counter()
        puzzle_mix(images, saliency, plan.index, plan.lam, block_num=blocks, **how)
        return time.perf_counter() - started
    kind: Any = METHODS[method]()
    plan = kind.draw(batch_size, depth=0, rng=rng, image_size=(size, size))
    started = time.perf_counter()
    kind.mix(images, plan)
    return time.perf_counter() - started


def compare(checkout: Path, sizes: Sequence[int], batch_size: int, rounds: int, threads: int) -> list[dict[str, Any]]:
    """
    A row a case: milliseconds of a mix here and in another checkout, the least of all rounds, and the median ratio.

    Args:
        checkout (`Path`): A folder that holds another version of `mixtext_hf/`.
        sizes (`Sequence[int]`): Sides in pixels.
        batch_size (`int`): Images a batch.
        rounds (`int`): How often each case is timed, after one that is not.
        threads (`int`): Of torch, in each process.

    Raises:
        `ValueError`: if the folder holds no package.
    """
    if not (checkout / "mixtext_hf" / "__init__.py").is_file():
        raise ValueError(
            f"--beside {checkout} holds no mixtext_hf/: name a checkout, such as one made by git worktree add {checkout} COMMIT."
        )
    rows = []
    with ExitStack() as stack:
        here, there = (
            stack.enter_context(_child(folder, threads)) for folder in (Path(__file__).parents[3], checkout.resolve())
        )
        for size, method, blocks in cases(sizes):
            times: list[tuple[float, float]] = []
            for seed in range(rounds + 1):
                asked = {"size": size, "method": method, "blocks": blocks, "batch_size": batch_size, "seed": seed}
                # Who comes first takes turns.
                order = (here, there) if seed % 2 else (there, here)
                took = {child: _ask(child, asked) for child in order}
                times.append((took[here], took[there]))
            mine, others = ([1000 * pair[side] for pair in times[1:]] for side in (0, 1))
            ratios = [own / other for own, other in zip(mine, others, strict=True)]
            rows.append(
                {
                    "px": size,
                    "method": method,
                    "blocks": "" if blocks is None else blocks,
                    "here ms": min(mine),
                    "there ms": min(others),
                    "here / there": statistics.median(ratios),
                }
            )
    return rows


@contextmanager
def _child(checkout: Path, threads: int) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, str(Path(__file__).resolve())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout
    ) as child:
        try:
            yield child
        finally:
            assert child.stdin is not None
            child.stdin.close()


def _ask(child: subprocess.Popen[str], asked: dict[str, Any]) -> float:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps(asked) + "\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    if not answer:
        raise RuntimeError(f"The process that times {asked['method']} ended with {child.wait()}: see its error above.")
    return float(answer)


def _answer() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    for line in sys.stdin:
        print(seconds_of(**json.loads(line)), flush=True)


if __name__ == "__main__":
    # The folder of this file holds modules of the names of others.
    sys.path = [entry for entry in sys.path if Path(entry or ".").resolve() != Path(__file__).resolve().parent]
    _answer()
