"""Launched with `torchrun --nproc_per_node 2 two_processes.py FOLDER`: trains in several ways, writes what each rank saw.

`test_two_processes.py` starts it and compares its results with one process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from runs import (
    RecordingTrainer,
    TwoLosses,
    arguments,
    make_trainer,
    partly_labelled_rows,
    run,
    series,
    tiny_rows,
    weights,
)
from tiny import tiny_model
from transformers import Trainer


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    runs = {}
    for method in ("erm", "tmix"):
        for batch, accumulation in ((8, 1), (4, 2)):
            runs[f"{method} {batch}x{accumulation}"] = run(folder, batch, accumulation, mix_method=method)
    for batch, accumulation in ((8, 1), (4, 2)):
        runs[f"two losses {batch}x{accumulation}"] = run(folder, batch, accumulation, method=TwoLosses())
    runs["uneven labels"] = uneven_labels(folder)
    results = {"runs": runs, "random": random_plans(folder)}
    (folder / f"rank{rank}.json").write_text(json.dumps(results), encoding="utf-8")
    torch.distributed.destroy_process_group()


def uneven_labels(folder: Path) -> dict[str, list[float]]:
    """Rank 1 sees labels in a half of its rows only: a mean of the two ranks' means would be another number."""
    args = arguments(folder, mix_method="erm", train_sampling_strategy="sequential")
    trainer = make_trainer(tiny_model("bert"), args, partly_labelled_rows())
    trainer.train()
    return {"loss": series(trainer, "loss"), "grad_norm": series(trainer, "grad_norm")}


def random_plans(folder: Path) -> dict[str, object]:
    """TMix as it is: what each rank drew, what was logged, and where the weights ended."""
    args = arguments(folder, mix_method="tmix", mix_layers=[0, 1, 2, 3, 4], logging_steps=2)
    trainer = make_trainer(tiny_model("bert", dropout=0.1), args, tiny_rows(64), kind=RecordingTrainer)
    assert isinstance(trainer, Trainer) and args.world_size == 2
    trainer.train()
    return {
        "lam": [plan.lam[0].item() for _, _, plan in trainer.plans],
        "layer": [plan.layer for _, _, plan in trainer.plans],
        "index": [plan.index.tolist() for _, _, plan in trainer.plans],
        "logged_lam": series(trainer, "mix_lambda"),
        "logged_layer": series(trainer, "mix_layer"),
        "weights": {name: value.double().sum().item() for name, value in weights(trainer.model).items()},
    }


if __name__ == "__main__":
    main()
