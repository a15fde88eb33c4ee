"""What a trainer knows of its run, for the card of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import MISSING, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from transformers import PreTrainedModel, TrainerState
from transformers.integrations import CodeCarbonCallback
from transformers.trainer_callback import CallbackHandler

from mixtext_hf.evaluation.pictures.plots import has_curves, training_curve
from mixtext_hf.hub.facts import TRAINING_CURVE, CardData, DataFacts, Emissions, SplitResult
from mixtext_hf.hub.ids import base_model_name
from mixtext_hf.hub.record import method_of_recipe
from mixtext_hf.methods import MixMethod
from mixtext_hf.mixing import MixedLoss, TokenLoss
from mixtext_hf.models.any_classifier import Classifier, takes_pixels
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.stored_temperature import stored_temperature
from mixtext_hf.problem_types import REGRESSION
from mixtext_hf.version import versions

from .arguments import MixTrainingArguments
from .hub import name_of
from .long_tail_arguments import LONG_TAIL


# What a user of the model may want to know of its training, whatever it was set to, ...
_TOLD = ("learning_rate", "per_device_train_batch_size", "lr_scheduler_type", "optim", "seed")
# ... and what else shapes the weights, if it was set.
_TOLD_IF_SET = (
    "head_learning_rate",
    "gradient_accumulation_steps",
    "max_steps",
    "num_train_epochs",
    "warmup_steps",
    "lr_scheduler_kwargs",
    "optim_args",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "label_smoothing_factor",
    "bf16",
    "fp16",
    "neftune_noise_alpha",
    "data_seed",
    "mix_preset",
    "mix_start",
    "mix_end",
    "mix_loss",
    "per_device_unlabeled_batch_size",
    "view_columns",
    "augmenters",
    "image_augmentations",
    "pixel_mean",
    "pixel_std",
    *LONG_TAIL,
    "load_best_model_at_end",
    "metric_for_best_model",
)


class Described(Protocol):
    """What of a trainer a card is made of; [`MixTrainer`] has it all."""

    args: MixTrainingArguments
    state: TrainerState
    method: MixMethod
    mixer: Classifier
    loss: MixedLoss
    model: PreTrainedModel | nn.Module | None
    accelerator: Any
    callback_handler: CallbackHandler
    data_collator: Any
    train_dataset: Any
    unlabeled_dataset: Any
    eval_dataset: Any
    card_data: CardData
    hub_model_id: str | None
    is_in_train: bool
    is_resumed: bool

    @property
    def head_learning_rate(self) -> float | None:
        """That of everything outside the base model; `None`: that of all parameters."""


def describe(trainer: Described, folder: Path) -> CardData:
    """
    The facts of a run: those in `trainer.card_data`, and behind them what can be seen of the trainer.

    Args:
        trainer ([`Described`]): After training, or in the middle of it.
        folder (`Path`): Where the model is; the curve of training is drawn into it, and of the pictures of `card_data` those are shown that are
            there.
    """
    args, state = trainer.args, trainer.state
    model = trainer.mixer.model
    config = model.config
    if has_curves(state.log_history):
        training_curve(state.log_history, folder / TRAINING_CURVE)
    repo_id = getattr(trainer, "hub_model_id", None) or args.hub_model_id
    name = (repo_id or name_of(args.output_dir)).split("/")[-1]
    # Of a model that was not trained here, what another training wrote into its config.
    is_trained = state.global_step > 0 or trainer.is_in_train
    method = trainer.method if is_trained else method_of_recipe(getattr(config, "mixtext", None))
    temperature = stored_temperature(config)
    pictures = {**trainer.card_data.pictures, "Training curve": TRAINING_CURVE}
    seen = CardData(
        model_name=name,
        repo_id=repo_id,
        method=method,
        modality="image" if takes_pixels(model) else "text",
        problem_type=trainer.loss.problem_type,
        labels_tokens=isinstance(trainer.loss, TokenLoss),
        label_names=[] if trainer.loss.problem_type == REGRESSION else names_of_classes(config),
        base_model=base_model_name(getattr(config, "_name_or_path", None)),
        architecture=type(model).__name__,
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        max_length=getattr(trainer.data_collator, "max_length", None),
        is_adapter=hasattr(trainer.accelerator.unwrap_model(trainer.model), "peft_config"),
        needs_package=getattr(config, "mixtext_head", None) is not None,
        layers=[] if method is None else [*(method.layer_set(trainer.mixer.depth) or ())],
        temperature=None if temperature is None else temperature.value,
        temperature_origin=None if temperature is None else temperature.origin,
        data=DataFacts(sizes=_sizes(trainer)),
        results=_results(trainer),
        pictures={title: file for title, file in pictures.items() if (folder / file).is_file()},
        **(_course(trainer) if is_trained else {}),
        versions=versions(),
        tags=[*(getattr(model, "model_tags", None) or ())],
    )
    tags = [*seen.tags, *trainer.card_data.tags]
    return replace(seen, **{**_set_fields(trainer.card_data), "pictures": seen.pictures, "tags": tags})


def _course(trainer: Described) -> dict[str, Any]:
    """How far training has come, and what it took; not what only the part since a checkpoint took."""
    args, state = trainer.args, trainer.state
    return {
        "training_arguments": {**told_arguments(args), **_rate_of_head(trainer)},
        "step": state.global_step,
        "max_steps": state.max_steps,
        "epochs": state.epoch,
        "is_finished": not trainer.is_in_train,
        "device": _device(args),
        **({} if trainer.is_resumed else {"runtime": _runtime(state.log_history), "emissions": _emissions(trainer)}),
    }


def _rate_of_head(trainer: Described) -> dict[str, float]:
    rate = trainer.head_learning_rate
    return {} if rate is None else {"head_learning_rate": rate}


def told_arguments(args: MixTrainingArguments) -> dict[str, Any]:
    """The training arguments that a card tells, JSON-serialisable: the most important, and what else is not at its default."""
    defaults = {f.name: f.default for f in fields(args) if f.default is not MISSING}
    told = {}
    for name in (*_TOLD, *_TOLD_IF_SET):
        value = getattr(args, name)
        value = value.value if isinstance(value, Enum) else value
        if name == "num_train_epochs" and args.max_steps > 0:
            continue
        if name in _TOLD or (value != defaults.get(name) and value not in (None, [], {})):
            told[name] = value
    return told


def _set_fields(data: CardData) -> dict[str, Any]:
    """The fields of a card that somebody has filled."""
    empty = CardData(model_name="")
    return {f.name: value for f in fields(data) if (value := getattr(data, f.name)) != getattr(empty, f.name)}


def _sizes(trainer: Described) -> dict[str, int]:
    named: Mapping[str, Any] = {
        "train": trainer.train_dataset,
        "unlabeled": trainer.unlabeled_dataset if trainer.method.uses_unlabeled else None,
    }
    evaluated = trainer.eval_dataset
    splits = evaluated if isinstance(evaluated, dict) else {"validation": evaluated}
    return {name: len(split) for name, split in {**named, **splits}.items() if isinstance(split, Sized)}


def _results(trainer: Described) -> list[SplitResult]:
    """The evaluation of the weights as they are: that after training, or the one at their step."""
    args, state = trainer.args, trainer.state
    history = state.log_history
    ends = [number for number, entry in enumerate(history) if "train_runtime" in entry]
    step: int | None = state.global_step
    if ends and args.load_best_model_at_end and state.best_model_checkpoint is not None:
        step = state.best_global_step
    during = [entry for entry in history[: ends[-1] if ends else None] if entry["step"] == step]
    after = history[ends[-1] :] if ends else []
    return _of_splits(trainer.eval_dataset, after) or _of_splits(trainer.eval_dataset, during)


def _of_splits(evaluated: Any, entries: list[dict[str, float]]) -> list[SplitResult]:
    """The last entry of each split; the names of several stand in those of their metrics."""
    several = (
        {f"eval_{name}_": (name, split) for name, split in evaluated.items()} if isinstance(evaluated, dict) else {}
    )
    results = []
    for prefix, (name, split) in (several or {"eval_": ("validation", evaluated)}).items():
        for entry in reversed(entries):
            if f"{prefix}runtime" in entry:
                metrics = {key.removeprefix(prefix): value for key, value in entry.items() if key.startswith(prefix)}
                results.append(SplitResult(name, metrics, len(split) if isinstance(split, Sized) else None))
                break
    return results


def _runtime(history: list[dict[str, float]]) -> float | None:
    return sum(entry.get("train_runtime", 0.0) for entry in history) or None


def _device(args: MixTrainingArguments) -> str:
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else args.device.type.upper()
    return name if args.world_size == 1 else f"{args.world_size} x {name}"


def _emissions(trainer: Described) -> Emissions | None:
    """What CodeCarbon measured (`--report_to codecarbon`)."""
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, CodeCarbonCallback) and callback.tracker is not None:
            measured = getattr(callback.tracker, "final_emissions_data", None)
            if measured is not None:
                return Emissions(
                    kg_co2eq=measured.emissions,
                    energy_kwh=measured.energy_consumed,
                    country=measured.country_name,
                    region=measured.region,
                )
    return None
