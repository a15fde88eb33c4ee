"""What is different where tokens are classified and not texts: which methods there are, and which labels are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import torch
from transformers import PreTrainedModel

from mixtext_hf.data.in_batches import column_values
from mixtext_hf.data.tokens.collator import TokenCollator
from mixtext_hf.methods import METHODS, MixMethod, MixText
from mixtext_hf.mixing import IGNORE_INDEX, TokenLoss
from mixtext_hf.models.modality import classifies_tokens

from .arguments import MixTrainingArguments


if TYPE_CHECKING:
    from .trainer import MixTrainer


# ---- the method ----


def check_method_of_tokens(method: MixMethod, model: PreTrainedModel) -> None:
    """
    Raise where a method labels texts and the model tokens, or the other way round.

    Raises:
        `ValueError`: that names the method, or its argument, and those that can be had.
    """
    name = type(model).__name__
    if not classifies_tokens(model):
        if not method.labels_texts:
            raise ValueError(
                f"{method.name} mixes tokens with labels of their own, and {name} has one label for each row: use tmix, or a "
                "...ForTokenClassification (--task ner)."
            )
        return
    if not method.labels_tokens or method.mixes_pixels:
        able = [known for known, kind in METHODS.items() if kind.labels_tokens and not kind.mixes_pixels]
        raise ValueError(
            f"{method.name} mixes whole texts or images, and {name} has a label for each token: use {', '.join(able[:-1])} or {able[-1]}."
        )
    if method.mixes and method.partner in ("same_class", "other_class"):
        raise ValueError(
            f"partner={method.partner!r} pairs rows by their one class, and {name} has a class for each token: use 'any', "
            "'derangement' or 'nearest_length'."
        )
    if isinstance(method, MixText):
        _check_guesses_of_tokens(method)


def _check_guesses_of_tokens(method: MixText) -> None:
    if not method.online:
        raise ValueError(
            f"{method.name} learns from guesses made before training, one for each text, and here each token needs one: have them made by "
            "the model in training, online=True (--mix_kwargs '{\"online\": true}', or --mix_preset official_code)."
        )
    for argument, usual in (
        ("mix_with", ("tmix", "embed_mixup")),
        ("margin_weight", (0.0,)),
        ("confidence_weights", (False,)),
    ):
        value = getattr(method, argument)
        if value not in usual:
            raise ValueError(
                f"{argument}={value!r} of {method.name} is of whole texts, and here tokens have labels: leave it out"
                f"{' (tmix, or embed_mixup)' if argument == 'mix_with' else ''}."
            )


def check_loss_of_tokens(args: MixTrainingArguments) -> None:
    """Raise `ValueError` where `mix_loss` names a loss that tokens do not have."""
    if args.mix_loss == "bce":
        raise ValueError("mix_loss='bce' is of whole texts and images, and here tokens are classified: leave it out.")


# ---- the labels ----


def check_token_column(dataset: Any, argument: str, collator: Any, loss: TokenLoss) -> None:
    """
    Check the labels of all sentences of a data set, where the collator takes a column as it is.

    Raises:
        `ValueError`: that names the row.
    """
    if not isinstance(collator, TokenCollator) or not isinstance(dataset, datasets.Dataset):
        return
    name = next((one for one in collator.label_columns if one in dataset.column_names), None)
    if name is None or dataset.format["type"] == "custom":
        return
    column = dataset.select_columns([name]).with_format("arrow")[:].column(name)
    column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    is_list = any(
        is_kind(column.type) for is_kind in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    )
    numbers = pc.list_flatten(column) if is_list else None
    where = f"The label column {name!r} of `{argument}`"
    if numbers is None or not pa.types.is_integer(numbers.type):
        raise ValueError(
            f"{where} holds {column.type}: labels of tokens are lists of class ids. Read the data by load_token_datasets, which gives "
            "names ids, or map them by model.config.label2id."
        )
    known = pc.and_kleene(pc.not_equal(numbers, IGNORE_INDEX), pc.is_valid(numbers))
    if argument == "train_dataset" and len(column) and not pc.any(known).as_py():
        raise ValueError(
            f"{where} has no label in any row, so that there is nothing to learn: give labelled rows, or another column."
        )
    wrong = pc.and_kleene(known, pc.or_kleene(pc.less(numbers, 0), pc.greater_equal(numbers, loss.num_labels)))
    place = pc.index(pc.fill_null(wrong, False), True).as_py()
    if place >= 0:
        row = pc.list_parent_indices(column)[place].as_py()
        _refuse(numbers[place].as_py(), f"In row {row} of `{argument}` a label", loss)


def check_token_labels(labels: torch.Tensor, loss: TokenLoss) -> None:
    """
    Check the labels `(B, T)` of any batch.

    Raises:
        `ValueError`: if they are not of this shape, or the model has no such class.
    """
    if labels.dim() != 2 or labels.is_floating_point():
        raise ValueError(
            f"The labels of the batch are {labels.dtype} of shape {tuple(labels.shape)}, and a model that classifies tokens needs int64 "
            "(B, T), -100 where a token has no label: collate by TokenCollator, or by DataCollatorForTokenClassification."
        )
    wrong = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= loss.num_labels))
    if bool(wrong.any()):
        row, place = wrong.nonzero()[0].tolist()
        _refuse(int(labels[row, place]), f"In row {row} of the batch, position {place}, a label", loss)


def _refuse(label: int, which: str, loss: TokenLoss) -> None:
    raise ValueError(
        f"{which} is {label}, but the model has num_labels={loss.num_labels} (labels 0 to {loss.num_labels - 1}, -100 for none): load it with "
        "the number of classes of the data."
    )


def shares_of_tokens(trainer: MixTrainer) -> list[float]:
    """The shares of the classes among the labels of the training sentences."""
    assert isinstance(trainer.loss, TokenLoss)
    check_token_column(trainer.train_dataset, "train_dataset", trainer.data_collator, trainer.loss)
    counts = [0] * trainer.loss.num_labels
    columns: Sequence[str] = (
        trainer.data_collator.label_columns if isinstance(trainer.data_collator, TokenCollator) else ("labels",)
    )
    for labels in column_values(trainer.train_dataset, columns):
        for label in labels or ():
            # What is no class, the batch that holds it will say.
            if isinstance(label, int) and 0 <= label < len(counts):
                counts[label] += 1
    total = max(sum(counts), 1)
    return [count / total for count in counts]
