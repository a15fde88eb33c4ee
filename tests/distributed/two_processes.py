"""Launched on two processes, `two_processes.py FOLDER`: trains in several ways, writes what each rank saw.

`test_two_processes.py` starts it and compares its results with one process.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from agreeing import threads_of_the_group
from image_runs import image_rows, make_image_trainer, run_images
from runs import (
    RecordingTrainer,
    StopAt,
    TwoLosses,
    arguments,
    make_trainer,
    partly_labelled_rows,
    run,
    series,
    tiny_rows,
    weights,
)
from sentences import run_sentences
from tiny import tiny_image_model, tiny_model

from mixtext_hf.data.images.collator import pixel_statistics
from mixtext_hf.evaluation.robustness.attacks import adversarial_accuracy, fgsm
from mixtext_hf.methods import ERM, MixText, Mixup, PuzzleMix, SSMix, TMix, TransMix
from mixtext_hf.mixing import MixPlan
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.guesses import shared as shared_guesses
from mixtext_hf.training.ranks import leave_group


LONG_TAIL: dict[str, Any] = {"mix_method": "tmix", "class_weights": [1, 3, 9], "logit_adjustment": 0.5}


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    runs = {}
    for method in ("erm", "tmix"):
        for batch, accumulation in ((8, 1), (4, 2)):
            runs[f"{method} {batch}x{accumulation}"] = run(folder, batch, accumulation, mix_method=method)
    for batch, accumulation in ((8, 1), (4, 2)):
        runs[f"two losses {batch}x{accumulation}"] = run(folder, batch, accumulation, method=TwoLosses())
    for batch, accumulation in ((8, 1), (4, 2)):
        runs[f"long tail {batch}x{accumulation}"] = run(folder, batch, accumulation, **LONG_TAIL)
    runs["drawn alike 8x1"] = drawn_alike(folder, 8)
    runs["uneven labels"] = uneven_labels(folder)
    runs["consistency 8x1"] = consistency(folder, 8)
    for name in ("ssmix", "puzzle_tmix"):
        runs[f"mix with {name} 8x1"] = mix_with(folder, 8, name)
    for clean_lam in (0.0, 0.5):
        for batch, accumulation in ((8, 1), (4, 2)):
            puzzlemix = PuzzleMix(clean_lam=clean_lam)
            runs[f"puzzlemix {clean_lam} {batch}x{accumulation}"] = run_images(folder, batch, accumulation, puzzlemix)
            mixup, tmix = Mixup(clean_lam=clean_lam), TMix(clean_lam=clean_lam)
            runs[f"mixup {clean_lam} {batch}x{accumulation}"] = run_images(folder, batch, accumulation, mixup)
            runs[f"tmix {clean_lam} {batch}x{accumulation}"] = run(folder, batch, accumulation, method=tmix)
    for batch, accumulation in ((8, 1), (4, 2)):
        runs[f"ssmix {batch}x{accumulation}"] = run(folder, batch, accumulation, method=SSMix())
        runs[f"transmix {batch}x{accumulation}"] = run_images(folder, batch, accumulation, TransMix())
    for of_tokens in (ERM(), TMix()):
        runs[f"tokens {of_tokens.name} 8x1"] = run_sentences(folder, 8, 1, of_tokens)
    results = {
        "runs": runs,
        "random": random_plans(folder),
        "chance": [mixes_by_chance(folder, clean_lam) for clean_lam in (0.0, 1.0)],
        "two streams": two_streams(folder),
        "rounds": rounds(folder),
        "column": guesses_of_a_column(folder),
        "fgsm": fgsm_accuracy(folder, 4),
    }
    (folder / f"rank{rank}.json").write_text(json.dumps(results), encoding="utf-8")
    leave_group()
    assert not threads_of_the_group()


def drawn_alike(folder: Path, batch: int) -> dict[str, list[float]]:
    """Rows of three classes, of which one has most, drawn so that all come up alike; also called in one process."""
    rows = [{**row, "label": (0, 0, 0, 1, 0, 0, 2, 0)[i % 8]} for i, row in enumerate(tiny_rows(48))]
    args = arguments(folder, mix_method="erm", sampler="balanced", per_device_train_batch_size=batch)
    trainer = make_trainer(tiny_model("bert"), args, rows)
    trainer.train()
    return {"loss": series(trainer, "loss"), "grad_norm": series(trainer, "grad_norm")}


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
    assert isinstance(trainer, RecordingTrainer) and args.world_size == 2
    trainer.train()
    return {
        "lam": [plan.lam[0].item() for _, _, plan in trainer.plans],
        "layer": [plan.layer for _, _, plan in trainer.plans],
        "index": [plan.index.tolist() for _, _, plan in trainer.plans],
        "logged_lam": series(trainer, "mix_lambda"),
        "logged_layer": series(trainer, "mix_layer"),
        "weights": {name: value.double().sum().item() for name, value in weights(trainer.model).items()},
    }


def mixes_by_chance(folder: Path, clean_lam: float) -> dict[str, object]:
    """PuzzleMix of a network with batch norms: whether each step of this rank mixed, and where weights and statistics ended."""
    torch.manual_seed(0)
    trainer = make_image_trainer(
        folder,
        image_rows(96),
        model=tiny_image_model("resnet"),
        kind=RecordingTrainer,
        method=PuzzleMix(prob=0.5, clean_lam=clean_lam),
        per_device_train_batch_size=4,
    )
    trainer.train()
    state = {name: value.double().sum().item() for name, value in trainer.model.state_dict().items()}
    return {"mixed": [plan.detail is not None for _, _, plan in trainer.plans], "state": state}


def consistency(folder: Path, batch: int) -> dict[str, list[float]]:
    """MixText without mixing, on rows that both ranks together see in the order of one process; also called there."""
    trainer = make_trainer(
        tiny_model("bert"),
        arguments(folder, per_device_train_batch_size=batch, per_device_unlabeled_batch_size=batch),
        tiny_rows(48),
        method=MixText(
            online=True, align="off", temperature=0.5, view_weights="all", alpha=0.0, ramp_steps=2, margin_weight=0.3
        ),
        unlabeled_dataset=unlabelled_rows(64),
    )
    trainer.train()
    return {name: series(trainer, name) for name in ("loss", "grad_norm", "loss_unlabeled", "guess_accuracy")}


class PairsTrainer(MixTrainer):
    """Mixes rows of one kind two by two: the same however a batch is cut into pairs."""

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        rows = len(inputs["labels"])
        layer = self.method.layer_set(4)
        return MixPlan(torch.arange(rows) ^ 1, torch.full((rows,), 0.7), layer=None if layer is None else 2)


def mix_with(folder: Path, batch: int, name: str) -> dict[str, list[float]]:
    """MixText that mixes by the saliency of tokens, on rows that both ranks together see in the order of one process; also called there."""
    trainer = make_trainer(
        tiny_model("bert"),
        arguments(folder, per_device_train_batch_size=batch, per_device_unlabeled_batch_size=batch),
        tiny_rows(48),
        kind=PairsTrainer,
        method=MixText(online=True, align="off", mix_with=name, margin_weight=0.3, ramp_steps=2),  # type: ignore[arg-type]
        unlabeled_dataset=unlabelled_rows(64),
    )
    trainer.train()
    names = ("loss", "grad_norm", "loss_unlabeled", "loss_clean_unlabeled", "mix_weight")
    return {name: series(trainer, name) for name in names}


def unlabelled_rows(count: int) -> list[dict[str, object]]:
    """Rows that can be told apart: the first two tokens spell their number. Their labels are known and not used."""
    rows = tiny_rows(count, seed=8)
    return [{**row, "input_ids": [5 + i // 40, 5 + i % 40, *row["input_ids"][2:]]} for i, row in enumerate(rows)]


def fgsm_accuracy(folder: Path, batch: int) -> dict[str, object]:
    """Of 21 images, which make no whole number of batches, after a step; and the labels it was counted on. Also called there."""
    rows = image_rows(21)
    trainer = make_image_trainer(
        folder, rows, mix_method="erm", learning_rate=0.0, max_steps=1, per_device_eval_batch_size=batch
    )
    trainer.train()
    trainer.predict(rows)
    seen: list[int] = []

    def gather(tensors: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        tensors = trainer.accelerator.gather_for_metrics(tensors)
        seen.extend(tensors[1].tolist())
        return tensors

    mean, std = pixel_statistics(trainer.processing_class, 3)
    attack = partial(fgsm, epsilon=1 / 255, mean=mean, std=std)
    accuracy = adversarial_accuracy(trainer.model, trainer.get_test_dataloader(rows), attack, gather=gather)
    return {"accuracy": accuracy, "labels": seen}


class SeeingTrainer(RecordingTrainer):
    """Remembers which unlabelled rows every step saw."""

    seen: ClassVar[list[list[int]]]

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        texts = len(inputs["text_labels"])
        first = inputs["input_ids"][-texts:, :2].tolist()
        self.seen.append([40 * (a - 5) + b - 5 for a, b in first])
        return super().draw_plan(inputs)


def two_streams(folder: Path) -> dict[str, object]:
    """MixText uninterrupted, and stopped in the middle of an epoch and resumed."""

    def train(name: str, resume: bool | None = None, callbacks: tuple[StopAt, ...] = ()) -> SeeingTrainer:
        args = arguments(
            folder / name,
            mix_method="mixtext",
            guesser="model",
            per_device_train_batch_size=4,
            per_device_unlabeled_batch_size=7,
            optim="adamw_torch",
            learning_rate=1e-3,
            num_train_epochs=3,
            save_strategy="steps",
            save_steps=1,
        )
        rows = tiny_rows(34)
        SeeingTrainer.seen = []
        trainer = make_trainer(
            tiny_model("bert", dropout=0.1),
            args,
            rows,
            kind=SeeingTrainer,
            unlabeled_dataset=unlabelled_rows(75),
            callbacks=[*callbacks],
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    whole = train("whole")
    seen = list(whole.seen)
    one = weights(whole.model)
    results = {
        "steps": whole.state.global_step,
        "seen": seen,
        "weights": {name: value.double().sum().item() for name, value in one.items()},
        "resumes": True,
    }
    train("stopped", callbacks=(StopAt(6),))
    try:
        resumed = train("stopped", resume=True)
    except RuntimeError as error:
        # Older releases of transformers load to `cpu:0`, which torch does not know: no Trainer resumes there.
        if "tagged with cpu:0" not in str(error):
            raise
        results["resumes"] = False
        return results
    other = weights(resumed.model)
    results["seen again"] = list(resumed.seen)
    results["bit-equal"] = all(torch.equal(one[name], other[name]) for name in one)
    return results


def guesses_of_a_column(folder: Path) -> dict[str, object]:
    """Read by one process for both; refused where the folder is not one for both."""
    rows = [{**row, "said": [0.2, 0.5, 0.3]} for row in unlabelled_rows(40)]

    def make(name: str) -> MixTrainer:
        args = arguments(
            folder / name, mix_method="mixtext", guess_column="said", per_device_unlabeled_batch_size=5, max_steps=2
        )
        return make_trainer(tiny_model("bert"), args, tiny_rows(16), unlabeled_dataset=rows)

    shared = make("column")
    shared.train()
    assert shared.guesses is not None
    shared_guesses._SHARED_WITHIN_SECONDS = 1.0
    try:
        make(f"column of {os.environ['RANK']}").train()
    except ValueError as error:
        return {"guesses": shared.guesses.table.probabilities.astype(float).tolist(), "refused": str(error)}
    raise AssertionError("Two folders were taken for one.")


class Ended(Exception):
    """As a signal would."""


def rounds(folder: Path) -> dict[str, object]:
    """Two rounds of guesses, uninterrupted, and ended in the first round and resumed."""

    def make(name: str) -> MixTrainer:
        args = arguments(
            folder / name,
            mix_method="mixtext",
            per_device_train_batch_size=4,
            per_device_unlabeled_batch_size=5,
            optim="adamw_torch",
            learning_rate=1e-3,
            max_steps=6,
            guess_rounds=2,
            guess_warm_up_steps=3,
            surest=[0.6, 0.9],
            save_strategy="steps",
            save_steps=2,
        )
        model = tiny_model("bert", dropout=0.1)
        return make_trainer(model, args, tiny_rows(34), unlabeled_dataset=unlabelled_rows(75))

    whole = make("rounds whole")
    whole.train()
    one = weights(whole.model)
    assert whole.guesses is not None
    results: dict[str, object] = {
        "weights": {name: value.double().sum().item() for name, value in one.items()},
        "guesses": whole.guesses.table.probabilities.astype(float).sum(axis=0).tolist(),
        "rows": whole.guesses.rows.tolist(),
        "resumes": True,
    }
    count, plain = 0, MixTrainer.training_step

    def counting(self: MixTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        nonlocal count
        count += 1
        # Three warm-ups of three steps, or four, then the first round.
        if count == 3 * 3 + 5:
            raise Ended
        return plain(self, *args, **kwargs)

    MixTrainer.training_step = counting  # type: ignore[method-assign]
    try:
        make("rounds ended").train()
    except Ended:
        results["ended"] = True
    finally:
        MixTrainer.training_step = plain  # type: ignore[method-assign]
    resumed = make("rounds ended")
    try:
        resumed.train(resume_from_checkpoint=True)
    except RuntimeError as error:
        if "tagged with cpu:0" not in str(error):
            raise
        results["resumes"] = False
        return results
    other = weights(resumed.model)
    results["bit-equal"] = all(torch.equal(one[name], other[name]) for name in one)
    return results


if __name__ == "__main__":
    main()
