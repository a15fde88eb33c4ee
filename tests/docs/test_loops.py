"""The loops of README and guides, as they stand there, against MixTrainer with the same plans."""

import re

import pytest
import torch
from blocks import ROOT, PageError, blocks_of, documents
from tiny import tiny_batch, tiny_model

from mixtext_hf import MixTrainer, MixTrainingArguments, TMix


STEPS = 5
NAMES = ("plain-loop", "accelerate-loop")


def _blocks(path):
    try:
        return blocks_of(path)
    except PageError:
        return []


LOOPS = [
    pytest.param(block.code, id=f"{block.page}:{block.name}")
    for path in documents()
    for block in _blocks(path)
    if block.name in NAMES
]


def batches():
    generator = torch.Generator().manual_seed(3)
    for step in range(STEPS):
        yield {**tiny_batch(seed=step), "labels": torch.randint(0, 3, (4,), generator=generator)}


def run(source: str) -> list[float]:
    losses: list[float] = []
    source = re.sub(r"(\n    loss = .*)", r"\1\n    losses.append(loss.item())", source)
    namespace = {"model": tiny_model(), "seed": 7, "losses": losses, "batches": list(batches())}
    exec(compile(source, "loop", "exec"), namespace)
    return losses


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    args = MixTrainingArguments(
        str(tmp_path_factory.mktemp("out")),
        seed=7,
        optim="adamw_torch",
        learning_rate=5e-5,
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        per_device_train_batch_size=4,
        max_steps=STEPS,
        logging_steps=1,
        save_strategy="no",
        train_sampling_strategy="sequential",
        disable_tqdm=True,
        report_to="none",
        use_cpu=True,
    )
    rows = [{name: value[i] for name, value in batch.items()} for batch in batches() for i in range(4)]
    trainer = MixTrainer(model=tiny_model(), args=args, method=TMix(alpha=16.0, layers=(2, 3, 4)), train_dataset=rows)
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("source", LOOPS)
def test_the_loop_reaches_the_loss_of_the_trainer(source, trained):
    losses = run(source)
    assert len(losses) == STEPS
    assert len(set(losses)) == STEPS
    torch.testing.assert_close(losses, trained, rtol=0, atol=1e-6)


def test_there_is_a_loop_of_each_kind():
    names = [loop.id.rpartition(":")[2] for loop in LOOPS]
    if not _blocks(ROOT / "docs" / "guides" / "own_loop.md"):
        pytest.xfail("the guide is still to be written")
    assert set(names) == set(NAMES)
