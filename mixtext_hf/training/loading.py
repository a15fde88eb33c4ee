"""The data side of a [`MixTrainer`]: which collator, which columns, and loaders for rows, images, and labelled rows beside unlabelled
ones.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sized
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase
from transformers.image_processing_base import ImageProcessingMixin

from mixtext_hf.data import MixDataCollator, recognise_columns
from mixtext_hf.data.balanced import BalancedSampler
from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.data.images.rows import ImageRows
from mixtext_hf.data.texts.two_streams import UnlabeledTexts
from mixtext_hf.data.tokens.collator import WORD_STARTS, TokenCollator
from mixtext_hf.data.tokens.columns import recognise_token_columns
from mixtext_hf.data.tokens.neighbours import PairedCollator, PairedRows
from mixtext_hf.data.visits import VisitCollator, VisitedRows
from mixtext_hf.methods import LADA, MixMethod, MixText
from mixtext_hf.mixing import TokenLoss
from mixtext_hf.models.any_classifier import Classifier, no_pixels
from mixtext_hf.models.stack import num_channels
from mixtext_hf.problem_types import REGRESSION

from .arguments import MixTrainingArguments
from .data_handed_over import as_rows, as_rows_of_texts, as_splits, check_readable, column_names, splits_to_evaluate
from .guesses import Guesses, labels_of
from .images import image_collator, image_rows
from .labels import CheckedCollator, CheckedLoaders, check_label_columns, check_labels
from .lengths import check_tokens, fit_to_model
from .long_tail import draw_of
from .padding import check_padded_rows
from .ranks import share_of_global_mean
from .token_classification import shares_of_tokens
from .unlabeled import (
    SetEpoch,
    check_all_labelled,
    check_same_kind,
    data_seed,
    label_columns,
    two_stream_loader,
    two_stream_sampler,
    unlabeled_texts,
    warn_of_overlap,
    warn_of_unused,
)
from .visits import check_kept_texts, epoch_sampler


class LoadingTrainer(CheckedLoaders):
    """A Trainer that reads raw texts and images, and unlabelled texts beside labelled ones."""

    args: MixTrainingArguments
    method: MixMethod
    mixer: Classifier
    unlabeled_dataset: Any
    unlabeled_texts: UnlabeledTexts | None = None
    guesses: Guesses | None = None
    # The rows that are near each, for methods that fetch partners.
    neighbours: NDArray[np.int64] | None = None

    _signature_columns: list[str] | None  # type: ignore[assignment]  # the base class says `None` alone
    _config: Any
    _set_epoch: SetEpoch
    _takes_pixels: bool
    _learns_image_columns = False
    _has_default_collator = False
    _has_warned_of_unused = False
    # Whether it has been said how many unlabelled texts are labelled ones too.
    overlap_is_told = False
    _labels_are_checked = False
    # Of the optimiser step that is made: its labels in all its micro-batches and processes, and how many of these are done.
    _labels_of_step: torch.Tensor | None = None
    # And the words of its sentences without labels, where tokens are classified.
    _words_of_step: torch.Tensor | None = None
    _micro_step = 0

    @property
    def learns_from_guesses(self) -> bool:
        """Whether this trainer trains on guesses that are made before its first step."""
        return self.train_dataset is not None and isinstance(self.method, MixText) and not self.method.online

    def _choose_collator(self, given: Any) -> None:
        self._has_default_collator = False
        if given is not None:
            if isinstance(given, MixDataCollator) and given.text_column is None:
                # It learns the columns from the rows; the caller's own may serve others.
                given = copy.copy(given)
                for dataset in self._rows_to_look_at():
                    if self._name_columns(given, dataset, require_label=dataset is self.train_dataset):
                        break
            self.data_collator = fit_to_model(given, self.mixer.model)
            return
        # A processor of a model of texts and images holds one of each.
        part = "image_processor" if self._takes_pixels else "tokenizer"
        processor = getattr(self.processing_class, part, self.processing_class)
        self._learns_image_columns = not self._rows_to_look_at()
        if isinstance(processor, PreTrainedTokenizerBase) and isinstance(self.loss, TokenLoss):
            self.data_collator = fit_to_model(TokenCollator(processor, **self._raw_columns()), self.mixer.model)
        elif isinstance(processor, PreTrainedTokenizerBase) and not self._takes_pixels:
            collator = MixDataCollator(
                processor, is_regression=self.loss.problem_type == REGRESSION, **self._raw_columns()
            )
            self.data_collator = fit_to_model(collator, self.mixer.model)
        elif isinstance(processor, ImageProcessingMixin) and self._takes_pixels and no_pixels(processor) is None:
            self.data_collator = image_collator(processor, self._rows_to_look_at(), self._num_channels)
        else:
            # That of transformers.
            self._has_default_collator = True
            splits = {"train_dataset": self.train_dataset, **splits_to_evaluate(self.eval_dataset)}
            for argument, rows in splits.items():
                self._check_readable(rows, argument)

    def _check_readable(self, rows: Any, argument: str) -> None:
        check_readable(rows, argument, processor=self.processing_class, takes_pixels=self._takes_pixels)

    def _rows_to_look_at(self) -> list[Any]:
        """The data whose columns the collator must know, that of training first."""
        evaluated = self.eval_dataset
        if isinstance(evaluated, dict):
            evaluated = next(iter(evaluated.values()), None)
        return [dataset for dataset in (self.train_dataset, evaluated) if dataset is not None]

    @property
    def _num_channels(self) -> int | None:
        return num_channels(self._config)

    def _raw_columns(self) -> dict[str, Any]:
        """The text columns of the data, recognised by their names; nothing if it is tokenised already."""
        for dataset in self._rows_to_look_at():
            columns = self._columns_of(dataset, require_label=dataset is self.train_dataset)
            if columns is not None:
                return columns
        return {}

    def _name_columns(self, collator: MixDataCollator, dataset: Any, *, require_label: bool = False) -> bool:
        """
        Those of the collator that nobody has named, before columns that no model takes are removed, and the text with them; whether the
        data tells them.
        """
        named = set(collator.label_columns) & set(column_names(dataset) or ())
        columns = self._columns_of(dataset, require_label=require_label and not named)
        for name, column in (columns or {}).items():
            if getattr(collator, name) is None or (name == "label_column" and not named):
                setattr(collator, name, column)
        return columns is not None

    def _columns_of(self, dataset: Any, *, require_label: bool = False) -> dict[str, Any] | None:
        of_tokens = isinstance(self.loss, TokenLoss)
        return (_columns_of_words if of_tokens else _raw_columns)(dataset, require_label=require_label)

    def _see_columns(self, dataset: Any) -> None:
        """A trainer that was made without data learns the columns from what it is given to evaluate."""
        collator = self.data_collator
        if isinstance(collator, MixDataCollator) and collator.text_column is None:
            # In place: loaders have it already. It is the trainer's own.
            self._name_columns(collator, dataset)
            self._signature_columns = None
        elif isinstance(collator, ImageCollator) and self._learns_image_columns:
            self.data_collator = image_collator(collator.image_processor, [dataset], self._num_channels)
            self._signature_columns = None

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        if not isinstance(eval_dataset, str):  # the name of one of several splits
            eval_dataset = as_splits(eval_dataset, "eval_dataset")
        metrics: dict[str, float] = super().evaluate(eval_dataset, *args, **kwargs)
        return metrics

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        if not isinstance(eval_dataset, str):
            eval_dataset = self._rows_of(eval_dataset, "eval_dataset")
        return super().get_eval_dataloader(eval_dataset)

    def get_test_dataloader(self, test_dataset: Any) -> Any:
        return super().get_test_dataloader(self._rows_of(test_dataset, "test_dataset"))

    def _rows_of(self, handed_over: Any, argument: str) -> Any:
        rows = as_rows(handed_over, argument)
        if self._has_default_collator:
            self._check_readable(rows, argument)
        self._see_columns(rows)
        return as_rows_of_texts(rows, self.data_collator)

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        # What somebody's transform needs of a row nobody else knows.
        if dataset.format["type"] == "custom":
            return dataset
        return super()._remove_unused_columns(dataset, description=description)

    def _get_collator_with_removed_columns(
        self, data_collator: Callable[..., Any], description: str | None = None
    ) -> Callable[..., Any]:
        if isinstance(data_collator, VisitCollator | PairedCollator):
            return data_collator
        # The package's own take from a row what they know, and no more.
        inner = data_collator.collator if isinstance(data_collator, CheckedCollator) else data_collator
        if isinstance(inner, MixDataCollator | ImageCollator):
            return data_collator
        return super()._get_collator_with_removed_columns(data_collator, description=description)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if isinstance(self.data_collator, MixDataCollator | ImageCollator):
            # Columns that the collator turns into model inputs must reach it; it may have learnt more since.
            self._signature_columns = list(
                dict.fromkeys([*(self._signature_columns or ()), *self.data_collator.columns])
            )

    def get_train_dataloader(self) -> Any:
        if isinstance(self.train_dataset, Sized) and len(self.train_dataset) == 0:
            raise ValueError("`train_dataset` is empty: give it at least one row.")
        check_label_columns(self)  # type: ignore[arg-type]
        if not self._takes_pixels and not self._labels_are_checked:
            check_tokens(self)  # type: ignore[arg-type]
            check_padded_rows(self)  # type: ignore[arg-type]
        self._check_unlabeled()
        self._set_epoch.sampler = None
        if self._takes_pixels:
            rows = image_rows(self.train_dataset, self.data_collator, self.method, self.args)
            return super().get_train_dataloader() if rows is None else self._counted_loader(rows)
        texts = self.unlabeled_texts
        if texts is None:
            if self.neighbours is not None and isinstance(self.method, LADA) and self.method.fetches_partners:
                check_kept_texts(self.train_dataset, self.method, self.args)
                return self._counted_loader(
                    PairedRows(self.train_dataset, self.neighbours, self.method.mu, data_seed(self.args))
                )
            if self.train_dataset is not None and self.method.keeps_rows:
                check_kept_texts(self.train_dataset, self.method, self.args)
                return self._counted_loader(VisitedRows(self.train_dataset))
            return super().get_train_dataloader()
        assert isinstance(self.method, MixText)
        if not isinstance(self.loss, TokenLoss):
            check_all_labelled(self.train_dataset, self.data_collator, self.loss.num_labels)
        if self.is_world_process_zero():
            self.method.warn_of_idle_margin(self.loss.num_labels)
            if not self.overlap_is_told and not isinstance(self.loss, TokenLoss):
                warn_of_overlap(self.train_dataset, texts)
            self.overlap_is_told = True
        # Smaller than the arguments say after `auto_find_batch_size` has made it so.
        draw = draw_of(self)  # type: ignore[arg-type]
        sampler = two_stream_sampler(self.train_dataset, texts, self.args, self._train_batch_size, draw)
        self._set_epoch.sampler = sampler
        collator = self._get_collator_with_removed_columns(self.data_collator, description="training")
        columns = label_columns(self.data_collator)
        loader = two_stream_loader(self.train_dataset, texts, sampler, collator, columns, self.args)
        return self.accelerator.prepare(loader)

    def _counted_loader(self, rows: ImageRows | VisitedRows | PairedRows) -> Any:
        """Of rows that are told the epoch in which they are seen."""
        sampler = epoch_sampler(rows, self.args, draw_of(self))  # type: ignore[arg-type]
        self._set_epoch.sampler = sampler
        return self._get_dataloader(
            rows,
            description="Training",
            batch_size=self._train_batch_size,
            sampler_fn=lambda dataset: sampler,
            is_training=True,
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> torch.utils.data.Sampler | None:
        draw = draw_of(self)  # type: ignore[arg-type]
        if draw is None:
            return super()._get_train_sampler(train_dataset)
        self._set_epoch.sampler = BalancedSampler(draw)
        return self._set_epoch.sampler

    def _check_unlabeled(self) -> None:
        """The unlabelled texts for this method, and whether there are enough of them; nothing is read yet."""
        self.unlabeled_texts = None
        if self.train_dataset is None:
            return
        if not self.method.uses_unlabeled:
            if not self._has_warned_of_unused:
                warn_of_unused(self.method, self.unlabeled_dataset, self.args)
            self._has_warned_of_unused = True
            return
        self.unlabeled_dataset = as_rows_of_texts(self.unlabeled_dataset, self.data_collator)
        check_same_kind(self.train_dataset, self.unlabeled_dataset)
        if isinstance(self.loss, TokenLoss) and not isinstance(self.data_collator, TokenCollator):
            raise ValueError(
                f"data_collator={type(self.data_collator).__name__} does not say where the words of sentences without labels begin, which "
                f"{self.method.name} guesses: leave it out, or give a TokenCollator."
            )
        self.unlabeled_texts = unlabeled_texts(self.unlabeled_dataset, self.data_collator, self.args)
        if self.guesses is not None and self.learns_from_guesses:
            self.unlabeled_texts.learn_from(self.guesses.table.probabilities, self.guesses.rows)
        two_stream_sampler(self.train_dataset, self.unlabeled_texts, self.args, self.args.per_device_train_batch_size)

    def _shares_of_labels(self) -> list[float] | None:
        """Of the classes among the labelled rows, for methods that learn from unlabelled ones too."""
        if not isinstance(self.method, MixText) or self.train_dataset is None or self.loss is None:
            return None
        if isinstance(self.loss, TokenLoss):
            return shares_of_tokens(self)  # type: ignore[arg-type]
        check_all_labelled(self.train_dataset, self.data_collator, self.loss.num_labels)
        labels = labels_of(self.train_dataset, self.data_collator)
        counts = np.bincount(labels, minlength=self.loss.num_labels)
        return [float(count) for count in counts / counts.sum()]

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._micro_step = 0
        self._labels_of_step = self._count_labels(batches)
        self._words_of_step = self._count_words(batches)
        return batches, num_items

    def _count_labels(self, batches: list[dict[str, Any]]) -> torch.Tensor | None:
        """How many labels this optimiser step sees, of rows or of tokens, over all its micro-batches and all processes."""
        if not batches:
            return None
        if "labels" not in batches[0]:
            raise ValueError(
                f"The batch has no labels, only {', '.join(batches[0])}: name the label column 'label', or give the "
                "collator its name."
            )
        if not self._labels_are_checked:
            check_labels(batches[0]["labels"], self.loss, self._config.problem_type)
            self._labels_are_checked = True
        return self._sum_of_all([self.loss.count(batch["labels"]) for batch in batches])

    def _count_words(self, batches: list[dict[str, Any]]) -> torch.Tensor | None:
        """How many words the sentences without labels of this optimiser step have; `None` where tokens have no labels, or all have."""
        if not batches or WORD_STARTS not in batches[0] or "text_labels" not in batches[0]:
            return None
        return self._sum_of_all(
            [batch[WORD_STARTS][len(batch["labels"]) - len(batch["text_labels"]) :].sum() for batch in batches]
        )

    def _sum_of_all(self, counts: list[torch.Tensor]) -> torch.Tensor:
        """A scalar: over the micro-batches and all processes."""
        count = reduce(torch.add, counts).to(self.args.device)
        return self.accelerator.reduce(count, reduction="sum") if self.args.world_size > 1 else count

    def counts_of_step(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """The labels, and the words without, of a mean micro-batch of this optimiser step: each at least 1 in the whole; see [`Step`]."""
        if self._labels_of_step is None or self._words_of_step is None:
            return None
        parts = self.args.world_size * self.current_gradient_accumulation_steps
        return self._labels_of_step.clamp(min=1) / parts, self._words_of_step.clamp(min=1) / parts

    def _share_of_batch(self, labels: torch.Tensor) -> torch.Tensor | float:
        """What turns the mean over this micro-batch into its share of the mean over the global batch."""
        if self._labels_of_step is None or self._words_of_step is not None:
            return 1.0  # in the second case the method divides by `counts_of_step`
        parts = self.args.world_size * self.current_gradient_accumulation_steps
        return share_of_global_mean(self.loss.count(labels), self._labels_of_step, parts=parts)


def _columns_of_words(dataset: Any, *, require_label: bool = False) -> dict[str, Any] | None:
    """Names for the columns of words and tags; `None` if the rows are tokenised, or there are none to look at."""
    names = column_names(dataset)
    if names is None or "input_ids" in names:
        return None
    columns = recognise_token_columns(names, require_tags=require_label)
    return {"text_column": columns.tokens, **({} if columns.tags is None else {"label_column": columns.tags})}


def _raw_columns(dataset: Any, *, require_label: bool = False) -> dict[str, Any] | None:
    """Names for the columns of raw text; `None` if the rows are tokenised, or there are none to look at."""
    names = column_names(dataset)
    if names is None or "input_ids" in names:
        return None
    columns = recognise_columns(names, require_label=require_label)
    if isinstance(columns.label, tuple):
        raise ValueError(f"Several label columns, {columns.label}: join them to one column of 0/1 lists first.")
    return {
        "text_column": columns.text,
        "text_pair_column": columns.text_pair,
        "label_column": columns.label or "label",
    }
