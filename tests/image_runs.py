"""Tiny training runs on images, of one process or several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from runs import arguments, group_plan, series
from tiny import IMAGE_SIZE, tiny_image_model

from mixtext_hf.methods import MixMethod, PuzzleMix
from mixtext_hf.mixing import Blocks, Boxes, MixPlan
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer


def image_rows(count: int, size: tuple[int, int] = IMAGE_SIZE, seed: int = 3) -> list[dict[str, Any]]:
    """Raw images, uint8, of 3 classes."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    return [{"image": image, "label": i % 3} for i, image in enumerate(images)]


def make_image_trainer(
    output_dir: str | Path,
    rows: Any = None,
    *,
    model: Any = None,
    kind: type[MixTrainer] = MixTrainer,
    method: MixMethod | None = None,
    callbacks: Any = (),
    eval_dataset: Any = None,
    size: tuple[int, int] = IMAGE_SIZE,
    **settings: Any,
) -> Any:
    """A trainer of a tiny ViT on 32 raw images, if nothing else is given."""
    return kind(
        tiny_image_model("vit") if model is None else model,
        arguments(output_dir, **settings),
        train_dataset=image_rows(32) if rows is None else rows,
        eval_dataset=eval_dataset,
        processing_class=small_image_processor(size, 3),
        method=method,
        callbacks=[*callbacks],
    )


class GivenPlanTrainer(MixTrainer):
    """
    Mixes by `group_plan`, in four blocks a side or a box at one place: the same mix however a batch is cut into pieces of 4 k
    rows.
    """

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        plan = replace(group_plan(len(inputs["labels"])), layer=None)
        boxes = Boxes(torch.tensor([[8, 40, 4, 24]] * len(plan)))
        return replace(plan, detail=Blocks(4) if isinstance(self.method, PuzzleMix) else boxes)


def run_images(output_dir: str | Path, batch: int, accumulation: int, method: MixMethod) -> dict[str, list[float]]:
    """Losses and gradient norms of an epoch."""
    trainer = make_image_trainer(
        output_dir,
        kind=GivenPlanTrainer,
        method=method,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
    )
    trainer.train()
    return {"loss": series(trainer, "loss"), "grad_norm": series(trainer, "grad_norm")}
