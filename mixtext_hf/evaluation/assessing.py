"""What there is to measure of a classifier on the rows of a split: results, calibration, robustness, other data; no report, no files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn

from mixtext_hf._messages import check_at_least
from mixtext_hf.data import ImageCollator, MixDataCollator, has_labels, recognise_columns
from mixtext_hf.data.images.collator import pixel_statistics
from mixtext_hf.data.images.datasets import most_channels
from mixtext_hf.data.images.resize import model_resize
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.models.stored_temperature import stored_temperature
from mixtext_hf.problem_types import MULTI_LABEL, PROBLEM_TYPES, REGRESSION, SINGLE_LABEL

from .measures.from_logits import (
    DEFAULT_N_BINS,
    MAX_CONFUSION_CLASSES,
    assess_classes,
    assess_ood,
    assess_scores,
    assess_several_labels,
    assess_temperature,
    at_temperature,
    usual_top_k,
)
from .measures.validation import check_n_bins, check_top_k
from .predicting import Collator, batches_of, by_length, predict
from .robustness.attacks import check_epsilon, check_epsilons, check_steps
from .robustness.noisy_rows import (
    left_out_corruptions,
    mean_by_level,
    measured,
    under_corruptions,
    under_embedding_attack,
    under_image_attacks,
    under_text_noise,
)


logger = logging.getLogger(__name__)

SKIPPABLE = ("temperature", "robustness", "noise", "attacks", "memorisation")
_NOT_ONE_CLASS = {
    REGRESSION: "the model predicts a number, no classes with probabilities: there is nothing to calibrate, and no right or wrong "
    "prediction whose share could fall.",
    MULTI_LABEL: "the model gives any number of labels to an example: these measures are of classifiers with one class an "
    "example.",
}


@dataclass
class AssessmentSettings:
    """What to measure, and how; the flags of `mixtext-hf evaluate` of these names."""

    skip: list[str] = field(default_factory=list, metadata={"help": f"Leave out some of {', '.join(SKIPPABLE)}."})
    top_k: list[int] | None = field(default=None, metadata={"help": "For top-k accuracy; 5 or 2 if not given."})
    n_bins: int = field(default=DEFAULT_N_BINS, metadata={"help": "Bins of the calibration errors."})
    robustness_samples: int = field(
        default=1000, metadata={"help": "Rows, chosen at random, that noise and attacks are measured on."}
    )
    epsilon: list[float] = field(
        default_factory=lambda: [2.0, 4.0, 8.0],
        metadata={"help": "How far FGSM and PGD may move a pixel, in grey levels of 255; several for a curve."},
    )
    pgd_steps: int = field(default=10, metadata={"help": "Steps of PGD."})
    pgd_step_size: float | None = field(
        default=None, metadata={"help": "In grey levels of 255; 2.5 epsilon / pgd_steps if not given."}
    )
    embedding_epsilon: list[float] = field(
        default_factory=lambda: [0.1, 0.25, 0.5, 1.0],
        metadata={"help": "How far FGSM may move the word embeddings of a text, in lengths of one."},
    )
    seed: int = field(default=0, metadata={"help": "Of the noise, and of the rows it is measured on."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Rows of a batch."})
    dataloader_num_workers: int = field(default=0, metadata={"help": "Processes that prepare batches."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bars."})

    def check(self) -> None:
        """Raise a `ValueError` that names the first setting that is out of its range."""
        unknown = [part for part in self.skip if part not in SKIPPABLE]
        if unknown:
            raise ValueError(f"--skip {' '.join(unknown)}: choose from {', '.join(SKIPPABLE)}.")
        check_at_least(1, self, "robustness_samples", "per_device_eval_batch_size")
        check_at_least(0, self, "seed", "dataloader_num_workers")
        for epsilon in self.epsilon:
            _named("--epsilon", partial(check_epsilon, epsilon / 255))
        if len(set(self.epsilon)) < len(self.epsilon) or not self.epsilon:
            raise ValueError(f"--epsilon must be different numbers in (0, 255], got {self.epsilon}.")
        _named(
            "--pgd_steps and --pgd_step_size",
            lambda: check_steps((1.0 if self.pgd_step_size is None else self.pgd_step_size) / 255, self.pgd_steps),
        )
        _named("--embedding_epsilon", lambda: check_epsilons(self.embedding_epsilon))
        _named("--n_bins", lambda: check_n_bins(self.n_bins))

    def check_task(self, problem_type: str, num_labels: int) -> None:
        """Raise a `ValueError` for a top-k accuracy that the task has not."""
        for k in self.top_k or ():
            if problem_type != SINGLE_LABEL:
                raise ValueError(f"--top_k {k}: the model is for {problem_type}; leave it out.")
            _named("--top_k", partial(check_top_k, k, num_labels))


@dataclass(frozen=True, eq=False)
class Assessment:
    """
    What was measured.

    Args:
        arrays (`dict[str, np.ndarray]`): `logits` `(N, C)` float32 and `references`; where there are such rows also
            `validation_logits`, `validation_references` and `ood_logits`.
        results (`dict`): As [`assess_classes`], [`assess_several_labels`] or [`assess_scores`] gives them.
        temperature, robustness, ood (`dict`, *optional*): Calibration before and after temperature scaling; accuracy and calibration
            under noise and attacks; how well other data is told apart. `None` where not measured.
        left_out (`dict[str, str]`): What was not measured, and why.
        stored_temperature (`dict`, *optional*): Calibration at the temperature that is stored with the model, if one is: `value`,
            `origin`, `metrics` and `calibration`.
    """

    arrays: dict[str, NDArray]
    results: dict[str, Any]
    temperature: dict[str, Any] | None
    robustness: dict[str, Any] | None
    ood: dict[str, Any] | None
    left_out: dict[str, str]
    stored_temperature: dict[str, Any] | None = None

    def measures(self) -> dict[str, Any]:
        """All but the arrays, as the report has it."""
        return {
            "results": self.results,
            "temperature": self.temperature,
            "stored_temperature": self.stored_temperature,
            "robustness": self.robustness,
            "ood": self.ood,
            "left_out": self.left_out,
        }


def assess_classifier(
    model: nn.Module,
    rows: Dataset,
    collator: Collator,
    *,
    validation: Dataset | None = None,
    ood: Dataset | None = None,
    problem_type: str = SINGLE_LABEL,
    label_names: Sequence[str] | None = None,
    settings: AssessmentSettings | None = None,
) -> Assessment:
    """
    Measure a classifier of texts or images, whoever trained it; what `mixtext-hf evaluate` reports.

    Args:
        model (`nn.Module`): A classifier of transformers, on the device that it is to run on.
        rows (`datasets.Dataset`): What it is measured on, with labels in the column `label`, as the data loaders of this package
            give them.
        collator ([`MixDataCollator`] or [`ImageCollator`]): Makes batches of such rows.
        validation (`datasets.Dataset`, *optional*): Rows that the model was not trained on, for the temperature.
        ood (`datasets.Dataset`, *optional*): Rows of another task, with the same columns of inputs; labels are not needed.
        problem_type (`str`, *optional*, defaults to `"single_label_classification"`): As in the config of a model of transformers.
        label_names (`Sequence[str]`, *optional*): Of the outputs; those of the model's config if not given.
        settings ([`AssessmentSettings`], *optional*): What to measure; everything if not given.

    Returns:
        [`Assessment`]

    Raises:
        `ValueError`: if a setting, the problem type or the number of names is wrong, or rows have no labels.
        `TypeError`: if the collator is of another kind.
    """
    settings = AssessmentSettings() if settings is None else settings
    settings.check()
    if problem_type not in PROBLEM_TYPES:
        raise ValueError(f"problem_type={problem_type!r}: choose from {', '.join(PROBLEM_TYPES)}.")
    if not isinstance(collator, (MixDataCollator, ImageCollator)):
        raise TypeError(f"collator is a {type(collator).__name__}: give a MixDataCollator or an ImageCollator.")
    config: Any = model.config
    names = [config.id2label[i] for i in range(config.num_labels)] if label_names is None else list(label_names)
    if problem_type != REGRESSION and len(names) != config.num_labels:
        raise ValueError(
            f"label_names are {len(names)}, and the model has {config.num_labels} outputs: give one for each."
        )
    settings.check_task(problem_type, config.num_labels)
    for name, split in (("rows", rows), ("validation", validation)):
        if split is not None and not has_labels(split):
            raise ValueError(
                f"{name} has no labels in the column {LABEL!r}, or they are hidden: give rows with labels."
            )
    return Assessor(model, collator, problem_type, names, settings).assess(rows, validation, ood)


class Assessor:
    """One assessment: see [`assess_classifier`]. `left_out` fills while it is made, beside what is in it already."""

    def __init__(
        self,
        model: Any,
        collator: MixDataCollator | ImageCollator,
        problem_type: str,
        label_names: Sequence[str],
        settings: AssessmentSettings,
        left_out: dict[str, str] | None = None,
    ):
        self.model, self.collator, self.settings = model, collator, settings
        self.problem_type, self.label_names = problem_type, label_names
        self.left_out = {} if left_out is None else left_out

    def assess(self, rows: Dataset, validation: Dataset | None = None, ood: Dataset | None = None) -> Assessment:
        """See [`assess_classifier`]."""
        self.rows = rows
        logits, references = self.predict(rows, "test")
        assert references is not None
        arrays = {"logits": logits, "references": references}
        if validation is not None:
            of_validation = self.predict(validation, "validation")
            arrays |= {"validation_logits": of_validation[0], "validation_references": np.asarray(of_validation[1])}
        if ood is not None:
            arrays["ood_logits"] = self.predict(ood, "other data")[0]
        temperature = self._temperature(arrays)
        results = self._results(logits, references)
        robustness = self._robustness()
        of_ood = None
        if ood is not None:
            value = None if temperature is None else temperature["value"]
            of_ood = assess_ood(logits, arrays["ood_logits"], temperature=value)
        stored = self._stored_temperature(logits, references)
        return Assessment(arrays, results, temperature, robustness, of_ood, self.left_out, stored)

    @property
    def top_k(self) -> list[int]:
        """The k of the top-k accuracies."""
        given = self.settings.top_k
        return list(usual_top_k(len(self.label_names)) if given is None else given)

    # ---- what is measured ----

    def _temperature(self, arrays: dict[str, NDArray]) -> dict[str, Any] | None:
        if "validation_logits" not in arrays or self.problem_type != SINGLE_LABEL:
            return None
        return assess_temperature(
            arrays["logits"],
            arrays["references"],
            validation_logits=arrays["validation_logits"],
            validation_references=arrays["validation_references"],
            n_bins=self.settings.n_bins,
        )

    def _stored_temperature(self, logits: NDArray, references: NDArray) -> dict[str, Any] | None:
        if self.problem_type != SINGLE_LABEL or "temperature" in self.settings.skip:
            return None
        found = stored_temperature(self.model.config)
        if found is None:
            return None
        measures = at_temperature(logits, references, found.value, n_bins=self.settings.n_bins)
        return {"value": found.value, "origin": found.origin, **measures}

    def _results(self, logits: NDArray, references: NDArray) -> dict[str, Any]:
        if self.problem_type != SINGLE_LABEL:
            self.left_out["calibration"] = f"Left out: {_NOT_ONE_CLASS[self.problem_type]}"
        if self.problem_type == REGRESSION:
            return assess_scores(logits, references)
        if self.problem_type == MULTI_LABEL:
            return assess_several_labels(logits, references, label_names=self.label_names)
        if len(self.label_names) > MAX_CONFUSION_CLASSES:
            self.left_out["confusion_matrix"] = (
                f"left out, for more than {MAX_CONFUSION_CLASSES} classes cannot be told apart in it; the logits have what it is made "
                "of."
            )
        return assess_classes(
            logits, references, label_names=self.label_names, top_k=self.top_k, n_bins=self.settings.n_bins
        )

    def _robustness(self) -> dict[str, Any] | None:
        if self.problem_type != SINGLE_LABEL:
            self.left_out["robustness"] = f"Left out: {_NOT_ONE_CLASS[self.problem_type]}"
            return None
        skipped = {part for part in ("noise", "attacks") if {part, "robustness"} & set(self.settings.skip)}
        if len(skipped) == 2:
            self.left_out["robustness"] = "Left out by --skip."
            return None
        for part in skipped:
            self.left_out[part] = "left out by --skip."
        indices = self._chosen_rows()
        rows = self.rows.select(indices)
        clean, labels = self.predict(rows, "robustness")
        assert labels is not None
        noise = None if "noise" in skipped else self._noise(rows, indices)
        attacks = {} if "attacks" in skipped else self._attacks(rows)
        return {
            "kind": "corruptions" if self._takes_images else "text_noise",
            "samples": len(indices),
            "clean": measured(clean, labels, self.settings.n_bins),
            "noise": noise,
            "mean_by_level": None if noise is None else mean_by_level(noise),
            "image_attacks": attacks.get("image_attacks"),
            "embedding_attack": attacks.get("embedding_attack"),
        }

    def _chosen_rows(self) -> list[int]:
        count = min(self.settings.robustness_samples, len(self.rows))
        return np.sort(np.random.default_rng(self.settings.seed).permutation(len(self.rows))[:count]).tolist()

    def _noise(self, rows: Dataset, indices: list[int]) -> dict[str, Any] | None:
        settings = {"seed": self.settings.seed, "n_bins": self.settings.n_bins}
        if not isinstance(self.collator, ImageCollator):
            predict_noisy = partial(self.predict, order=self._order(rows))
            return under_text_noise(predict_noisy, rows, self._texts, indices, **settings)
        column = self.collator.image_column
        channels = most_channels(self.rows, "test", column)
        if channels not in (1, 3):
            self.left_out["noise"] = (
                f"not measured, for the images have {channels} channels, and corruptions are of grey and RGB images."
            )
            return None
        missing = left_out_corruptions(channels)
        if missing:
            self.left_out["corruptions"] = f"Not for grey images: {', '.join(missing)}."
        resize = model_resize(self.collator.image_processor, self.collator.num_channels)
        return under_corruptions(self.predict, rows, column, channels, indices, resize=resize, **settings)

    def _attacks(self, rows: Dataset) -> dict[str, Any]:
        settings = self.settings
        batches = partial(self._batches, rows, self._order(rows))
        try:
            if not isinstance(self.collator, ImageCollator):
                found = under_embedding_attack(self.model, batches, epsilons=settings.embedding_epsilon)
                return {"embedding_attack": found}
            mean, std = self._pixel_statistics()
            return {
                "image_attacks": under_image_attacks(
                    self.model,
                    batches,
                    epsilons=settings.epsilon,
                    steps=settings.pgd_steps,
                    step_size=settings.pgd_step_size,
                    mean=mean,
                    std=std,
                )
            }
        except (ValueError, RuntimeError) as error:
            # A model that cannot be attacked, such as one without gradients or with too large ones for the memory, can be
            # measured all the same; the report says what is missing and why.
            logger.warning("No attack: %s", error)
            self.left_out["attacks"] = f"not measured: {error}"
            return {}

    # ---- from rows to logits ----

    @property
    def _takes_images(self) -> bool:
        return isinstance(self.collator, ImageCollator)

    @cached_property
    def _texts(self) -> list[str]:
        """The columns of texts."""
        assert isinstance(self.collator, MixDataCollator)
        if self.collator.text_column is None:
            return list(recognise_columns(self.rows.column_names, require_label=False).texts)
        return [name for name in (self.collator.text_column, self.collator.text_pair_column) if name is not None]

    def _pixel_statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        assert isinstance(self.collator, ImageCollator)
        channels = self.collator.num_channels or most_channels(self.rows, "test", self.collator.image_column)
        return pixel_statistics(self.collator.image_processor, channels)

    def _order(self, rows: Any) -> list[int] | None:
        if self._takes_images or not isinstance(rows, Dataset):
            return None
        return by_length([rows[column][:] for column in self._texts])

    def predict(
        self, rows: Any, title: str, order: list[int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray | None]:
        """Logits and labels of rows."""
        return predict(
            self.model,
            self._needed(rows),
            self.collator,
            batch_size=self.settings.per_device_eval_batch_size,
            order=self._order(rows) if order is None else order,
            num_workers=self.settings.dataloader_num_workers,
            title=None if self.settings.disable_tqdm else title,
        )

    def _batches(self, rows: Dataset, order: list[int] | None, title: str) -> Iterator[dict[str, torch.Tensor]]:
        return batches_of(
            self._needed(rows),
            self.collator,
            batch_size=self.settings.per_device_eval_batch_size,
            order=order,
            num_workers=self.settings.dataloader_num_workers,
            title=None if self.settings.disable_tqdm else title,
        )

    def _needed(self, rows: Any) -> Any:
        if not isinstance(rows, Dataset):
            return rows
        # A collator that names no column of texts looks at the rows for it.
        needed = {*self.collator.columns, *(() if self._takes_images else self._texts)}
        return rows.select_columns([name for name in rows.column_names if name in needed])


def _named(argument: str, check: Callable[[], None]) -> None:
    try:
        check()
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from error
