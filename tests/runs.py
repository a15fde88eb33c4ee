"""Tiny training runs that the tests of training, of its invariants and of several processes share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer
from transformers import TrainerCallback

from mixtext_hf.methods import MixMethod
from mixtext_hf.mixing import MixPlan
from mixtext_hf.training import MixTrainer, MixTrainingArguments


MODELS: dict[str, dict[str, Any]] = {
    "classes": {},
    "multi": {"problem_type": "multi_label_classification"},
    "scores": {"num_labels": 1, "problem_type": "regression"},
}
# Arguments of a run that leave what it comes to as it is, or near it.
OTHER_WAYS: dict[str, dict[str, Any]] = {
    "checkpoints": {"gradient_checkpointing": True},
    "reentrant": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
    "bf16": {"bf16": True},
}
LAMBDAS = (0.9, 0.6, 0.7, 0.8)
TOKENIZER = tiny_tokenizer()


def tiny_rows(count: int, labels: str = "classes", seed: int = 3) -> list[dict[str, Any]]:
    """Tokenised rows of 4 to 10 tokens with labels of 3 classes, of 3 columns of 0/1, or a score."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        length = int(torch.randint(4, 11, (1,), generator=generator))
        ids = torch.randint(5, VOCAB_SIZE, (length,), generator=generator).tolist()
        label: Any = {"classes": i % 3, "multi": [float(i % 2), float(i % 3 == 0), 1.0], "scores": i % 5 - 1.5}[labels]
        rows.append({"input_ids": ids, "attention_mask": [1] * length, "label": label})
    return rows


def rows_that_end(count: int) -> list[dict[str, Any]]:
    """Rows that encoder-decoders take: each ends in the one token (2) that says so."""
    rows = tiny_rows(count)
    for row in rows:
        row["input_ids"], row["attention_mask"] = [*row["input_ids"], 2], [*row["attention_mask"], 1]
    return rows


def tokenizer_that_ends() -> Any:
    """The tiny tokenizer with a name for that token: transformers 5.17 takes what a tokenizer does not name out of the config."""
    tokenizer = tiny_tokenizer()
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(2)
    return tokenizer


def partly_labelled_rows() -> list[dict[str, Any]]:
    """32 rows; of every 16, the last four have no label, so that of two halves one has fewer."""
    rows = tiny_rows(32)
    for i, row in enumerate(rows):
        if i % 16 >= 12:
            row["label"] = -1
    return rows


def arguments(output_dir: str | Path, **overrides: Any) -> MixTrainingArguments:
    """
    On the CPU, silent, nothing saved; plain SGD, so that the scale of a gradient is not lost; every step logged, and few of them
    before guessing.
    """
    settings: dict[str, Any] = {
        "use_cpu": True,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "learning_rate": 0.05,
        "guess_warm_up_steps": 4,
        "lr_scheduler_type": "constant",
        "optim": "sgd",
        "max_grad_norm": 1e6,
        "num_train_epochs": 1,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    return MixTrainingArguments(str(output_dir), **{**settings, **overrides})


def make_trainer(
    model: Any,
    args: MixTrainingArguments,
    rows: Any = None,
    *,
    kind: type[MixTrainer] | None = None,
    tokenizer: Any = TOKENIZER,
    **kwargs: Any,
) -> Any:
    """A [`RecordingTrainer`] (or another `kind`) with the tiny tokenizer, on 32 rows if none are given."""
    rows = tiny_rows(32) if rows is None else rows
    return (kind or RecordingTrainer)(model, args, train_dataset=rows, processing_class=tokenizer, **kwargs)


def series(trainer: Any, name: str) -> list[float]:
    """What was logged under this name, step by step."""
    return [entry[name] for entry in trainer.state.log_history if name in entry]


def weights(model: Any) -> dict[str, torch.Tensor]:
    """A copy of the parameters."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, different


def group_plan(batch_size: int, layer: int = 2) -> MixPlan:
    """Partners within groups of four consecutive rows: the same mix however a batch is cut into pieces of 4 k rows."""
    index = [4 * (i // 4) + (i + 1) % 4 if 4 * (i // 4) + 4 <= batch_size else i for i in range(batch_size)]
    lam = [LAMBDAS[i % 4] for i in range(batch_size)]
    return MixPlan(torch.tensor(index), torch.tensor(lam), layer=layer)


class Rows(torch.utils.data.Dataset):
    """Rows that nobody may read before they are needed."""

    def __init__(self, rows: Any):
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class RecordingTrainer(MixTrainer):
    """Remembers every plan with its step and the size of its batch."""

    def __init__(self, *args: Any, **kwargs: Any):
        self.plans: list[tuple[int, int, MixPlan]] = []
        super().__init__(*args, **kwargs)

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        plan = super().draw_plan(inputs)
        self.plans.append((self.state.global_step, len(inputs["labels"]), plan))
        return plan


class GivenPlansTrainer(MixTrainer):
    """Mixes by `group_plan` where its method mixes at all."""

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        batch_size = len(inputs["labels"])
        return group_plan(batch_size) if self.method.mixes else MixPlan.identity(batch_size)


class StopAt(TrainerCallback):
    """Ends the training after so many steps, as a time limit would."""

    def __init__(self, step: int):
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_training_stop = state.global_step == self.step


class SumOfTwo(MixMethod):
    """Both losses of one step in one go: what [`TwoLosses`] must add up to."""

    name = "sum_of_two"
    mixes = False

    def default_layers(self, depth):  # type: ignore[no-untyped-def]
        return (2,)

    def losses(self, step):  # type: ignore[no-untyped-def]
        yield {
            "loss_plain": step.loss(step.forward(step.inputs), step.labels),
            "loss_mixed": 0.5 * step.loss(step.forward(step.inputs, group_plan(len(step.labels))), step.labels),
        }


class TwoLosses(MixMethod):
    """A clean pass, then a mixed one."""

    name = "two_losses"
    mixes = False

    def default_layers(self, depth):  # type: ignore[no-untyped-def]
        return (2,)

    def passes(self, plan):  # type: ignore[no-untyped-def]
        return 2

    def losses(self, step):  # type: ignore[no-untyped-def]
        yield {"loss_plain": step.loss(step.forward(step.inputs), step.labels)}
        yield {"loss_mixed": 0.5 * step.loss(step.forward(step.inputs, group_plan(len(step.labels))), step.labels)}


def run(
    output_dir: str | Path,
    batch: int,
    accumulation: int,
    *,
    labels: str = "classes",
    count: int = 48,
    method: MixMethod | None = None,
    kind: type[MixTrainer] = GivenPlansTrainer,
    **settings: Any,
) -> dict[str, list[float]]:
    """One epoch over `count` rows in their order; loss and norm of the gradient by step, and the loss of evaluation."""
    args = arguments(
        output_dir,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        train_sampling_strategy="sequential",
        **settings,
    )
    model = tiny_model("bert", **MODELS[labels])
    eval_rows = tiny_rows(32, labels, seed=9)
    trainer = make_trainer(model, args, tiny_rows(count, labels), kind=kind, method=method, eval_dataset=eval_rows)
    trainer.train()
    return {
        "loss": series(trainer, "loss"),
        "grad_norm": series(trainer, "grad_norm"),
        "eval_loss": [trainer.evaluate()["eval_loss"]],
    }


def assert_same_trajectory(one: dict[str, list[float]], other: dict[str, list[float]], rel: float = 1e-4) -> None:
    """Step by step, in everything that [`run`] returns."""
    for name, values in one.items():
        assert len(values) == len(other[name]) > 0
        assert other[name] == pytest.approx(values, rel=rel), name
