"""What is said of the best model, and of all else that goes by evaluations in training: whether there are any, and which number counts."""

from __future__ import annotations

from typing import Any

from transformers import TrainingArguments

from mixtext_hf.evaluation.measures.loading import is_greater_better


# They lower the learning rate where evaluations show that it is time.
_BY_EVALUATIONS = ("reduce_lr_on_plateau", "greedy")
_LARGE = 1_000_000
_HOW = "eval_strategy='epoch' or 'steps' with data to evaluate on"


def settle_best_metric(args: TrainingArguments) -> None:
    """Which way `metric_for_best_model` is better, where nobody says: transformers takes all but losses for better if greater."""
    if args.metric_for_best_model is not None and args.greater_is_better is None:
        args.greater_is_better = is_greater_better(args.metric_for_best_model)


def check_best_model(args: TrainingArguments) -> None:
    """
    Look whether there will be an evaluation to go by, and a checkpoint of the model that it was of.

    Args:
        args (`TrainingArguments`): Before transformers has looked at them.

    Raises:
        `ValueError`: that names the argument.
    """
    evaluated, saved, rate = (_value(v) for v in (args.eval_strategy, args.save_strategy, args.lr_scheduler_type))
    if evaluated == "no":
        needs = {
            "load_best_model_at_end=True needs evaluations to tell which model is the best": args.load_best_model_at_end,
            "save_strategy='best' needs evaluations to tell which model is the best": saved == "best",
            f"lr_scheduler_type={rate!r} goes by evaluations in training": rate in _BY_EVALUATIONS,
        }
        for need, is_there in needs.items():
            if is_there:
                raise ValueError(f"{need}, and there are none (eval_strategy='no'): give {_HOW}, or leave it out.")
    if saved == "best" and args.metric_for_best_model is None and not args.load_best_model_at_end:
        raise ValueError(
            "save_strategy='best' needs the number that counts: give metric_for_best_model, such as 'loss'."
        )
    if not args.load_best_model_at_end or saved == "best":
        return
    if evaluated != saved:
        raise ValueError(
            f"load_best_model_at_end=True needs a checkpoint of each model that is evaluated, and eval_strategy={evaluated!r} and "
            f"save_strategy={saved!r} differ: give both the same, or save_strategy='best'."
        )
    between, kept = args.eval_steps or args.logging_steps, args.save_steps
    if evaluated == "steps" and not _is_multiple(kept, between):
        raise ValueError(
            f"load_best_model_at_end=True needs a checkpoint of a model that is evaluated, and save_steps={kept:g} is no multiple of "
            f"eval_steps={between:g}: give save_steps={between:g}, or save_strategy='best'."
        )


def check_best_metric(args: TrainingArguments, compute_metrics: Any) -> None:
    """Raise `ValueError` where the best model goes by a metric and nothing but the loss is measured."""
    wanted = (args.metric_for_best_model or "loss").removeprefix("eval_")
    is_used = args.load_best_model_at_end or _value(args.save_strategy) == "best"
    if is_used and compute_metrics is None and wanted != "loss" and not wanted.endswith("_loss"):
        raise ValueError(
            f"metric_for_best_model={args.metric_for_best_model!r} is not measured, only the loss is: give compute_metrics, such as "
            "make_compute_metrics('single_label_classification'), or metric_for_best_model='loss'."
        )


def _is_multiple(steps: float, of: float) -> bool:
    if (steps < 1) != (of < 1):
        return False  # a share of all steps and a number of them: nothing says so
    return round(steps * _LARGE) % max(round(of * _LARGE), 1) == 0


def _value(name: Any) -> str:
    return str(getattr(name, "value", name))
