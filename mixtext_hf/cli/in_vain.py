"""Arguments that would have no part in a run: who gives them expects something else than what would be done."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from mixtext_hf.methods import METHODS, MixMethod, MixText
from mixtext_hf.training import MixTrainingArguments


_OF_UNLABELED_TEXTS = (
    "unlabeled_file",
    "unlabeled_rest",
    "unlabeled_per_class",
    "per_device_unlabeled_batch_size",
    "view_columns",
    "augmenters",
    "guesser",
    "guess_column",
    "guess_shares",
    "guess_names",
    "guess_rounds",
    "surest",
    "guess_warm_up_steps",
)


_OF_GAUSSIAN = ("guess_shares", "guess_names", "guess_warm_up_steps", "guess_rounds")
_OF_MADE_BEFORE = ("surest",)


def check_none_in_vain(args: MixTrainingArguments, data_args: Any, method: MixMethod) -> None:
    """
    Raise for what is given for unlabelled texts to a method that learns from labelled rows alone, and for a guesser that is not asked.

    Args:
        args ([`MixTrainingArguments`]): Of the run.
        data_args (`dataclass`): Which data.
        method ([`MixMethod`]): That the run trains with.

    Raises:
        `ValueError`: that names the argument, and the methods that it is for.
    """
    usual = {field.name: field.default for field in (*fields(args), *fields(data_args))}
    if isinstance(method, MixText):
        by = "model" if method.online else args.guesser_name
        others = _OF_GAUSSIAN if by != "gaussian" else ()
        for name in (*others, *(_OF_MADE_BEFORE if method.online else ())):
            if getattr(args, name) != usual[name]:
                whose = "gaussian" if name in _OF_GAUSSIAN else "gaussian, checkpoint: or column"
                raise ValueError(f"--{name} is for --guesser {whose}, and here it is {by}: leave it out.")
    if method.uses_unlabeled:
        return
    for name in _OF_UNLABELED_TEXTS:
        value = getattr(data_args, name, getattr(args, name, None))
        # Nothing can be in vain of `--unlabeled_rest False`, or of an empty list.
        if not value or value == usual[name]:
            continue
        users = " and ".join(other for other, kind in METHODS.items() if kind.uses_unlabeled)
        raise ValueError(
            f"--{name} is for methods that learn from unlabelled texts ({users}), and mix_method={method.name!r} learns from labelled rows "
            "alone: name another --mix_method, or leave it out."
        )


def check_rows_are_chosen(args: MixTrainingArguments, data_args: Any) -> None:
    """
    Raise for what says how rows are chosen or named, where nothing asks for them.

    Raises:
        `ValueError`: that names the argument, and the one that it goes with.
    """
    a = data_args
    few = a.labeled_per_class is None and getattr(a, "unlabeled_per_class", None) is None
    in_vain = {
        "--up_to": (a.up_to and few, "lets --labeled_per_class take what there is, and it is not given: give it"),
        f"--id_column {a.id_column}": (
            a.id_column is not None and not args.do_predict,
            "names the rows of predictions.csv: add --do_predict",
        ),
    }
    for argument, (is_so, what) in in_vain.items():
        if is_so:
            raise ValueError(f"{argument} {what}, or leave it out.")
