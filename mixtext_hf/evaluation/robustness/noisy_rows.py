"""How the accuracy of a classifier falls on noisy texts, on corrupted images and under attack: dicts for the report.

`text_noise.py`, `corruptions.py` and `attacks.py` say what the noises and attacks are; here they are run over rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.images.resize import AT_SIZE
from mixtext_hf.evaluation.measures.metrics import accuracy, expected_calibration_error, softmax
from mixtext_hf.evaluation.measures.validation import Checked, check_probability_pair
from mixtext_hf.evaluation.predicting import Rows

from .attacks import embedding_fgsm_accuracy, robust_accuracies
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt, corruptions_for
from .text_noise import LEVELS, NOISES, add_noise


# From rows, and what they are for the progress bar, to logits and labels.
Predict = Callable[[Rows, str], tuple[NDArray, NDArray | None]]
Resize = Callable[[np.ndarray], np.ndarray]


class NoisyTexts:
    """
    Rows with noise in their texts, made when they are read.

    Args:
        rows ([`~mixtext_hf.evaluation.predicting.Rows`]): With the columns of texts.
        columns (`Sequence[str]`): These columns. The texts of a pair get noise of their own each.
        indices (`Sequence[int]`): Of the rows in their split, from which the noise is drawn.
        name (`str`): One of [`NOISES`].
        level (`int`): From 1 to 5.
        seed (`int`): At least 0.
    """

    def __init__(
        self, rows: Rows, columns: Sequence[str], indices: Sequence[int], *, name: str, level: int, seed: int
    ):
        self.rows, self.columns, self.indices = rows, columns, indices
        self.name, self.level, self.seed = name, level, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = dict(self.rows[place])
        for number, column in enumerate(self.columns):
            index = int(self.indices[place]) * len(self.columns) + number
            row[column] = add_noise(row[column], self.name, self.level, seed=self.seed, index=index)
        return row


class CorruptedImages:
    """
    Rows with corrupted images, made when they are read: at the size of the model, as ImageNet-C has them, or as they are stored.

    Args:
        rows ([`~mixtext_hf.evaluation.predicting.Rows`]): With the column of images.
        column (`str`): This column.
        channels (`int`): 1, or 3: grey images then get three channels, as others beside them have.
        indices (`Sequence[int]`): Of the rows in their split, from which the corruption is drawn.
        name (`str`): One of [`CORRUPTIONS`].
        severity (`int`): From 1 to 5.
        seed (`int`): At least 0.
        resize (`Callable`, *optional*): Brings an image to the size of the model, as [`ModelResize`] does.
    """

    def __init__(
        self,
        rows: Rows,
        column: str,
        channels: int,
        indices: Sequence[int],
        *,
        name: str,
        severity: int,
        seed: int,
        resize: Resize | None = None,
    ):
        self.rows, self.column, self.channels, self.indices = rows, column, channels, indices
        self.resize = resize
        self.name, self.severity, self.seed = name, severity, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> dict[str, Any]:
        row = dict(self.rows[place])
        image = to_array(row[self.column])
        if image.shape[2] == 1 and self.channels == 3:
            image = np.repeat(image, 3, axis=2)
        if self.resize is not None:
            image = self.resize(image)
            row[AT_SIZE] = True
        index = int(self.indices[place])
        row[self.column] = corrupt(image, self.name, self.severity, seed=self.seed, index=index)
        return row


def under_text_noise(
    predict: Predict,
    rows: Rows,
    columns: Sequence[str],
    indices: Sequence[int],
    *,
    seed: int = 0,
    n_bins: int = 15,
) -> dict[str, Any]:
    """
    Accuracy and calibration error on texts with each of [`NOISES`] at each level.

    Args:
        predict (`Callable`): From rows and a title to logits `(N, C)` and labels `(N,)`, in the order of the rows.
        rows, columns, indices, seed: As for [`NoisyTexts`].
        n_bins (`int`, *optional*, defaults to 15): Bins of the calibration error.

    Returns:
        `dict[str, Any]`: by the name of each noise, `unit` and `levels`, a list of `level`, `share`, `accuracy`, `ece`.
    """
    return {
        name: {
            "unit": noise.unit,
            "levels": [
                {
                    "level": level,
                    "share": noise.shares[level - 1],
                    **_measured(
                        predict,
                        NoisyTexts(rows, columns, indices, name=name, level=level, seed=seed),
                        f"{name} {level}",
                        n_bins,
                    ),
                }
                for level in LEVELS
            ],
        }
        for name, noise in NOISES.items()
    }


def under_corruptions(
    predict: Predict,
    rows: Rows,
    column: str,
    channels: int,
    indices: Sequence[int],
    *,
    resize: Resize | None = None,
    seed: int = 0,
    n_bins: int = 15,
) -> dict[str, Any]:
    """
    Accuracy and calibration error on images with each of [`CORRUPTIONS`] at each severity.

    Args:
        predict (`Callable`): As for [`under_text_noise`].
        rows, column, channels, indices, resize, seed: As for [`CorruptedImages`]. With one channel, those that need colours are
            left out.
        n_bins (`int`, *optional*, defaults to 15): Bins of the calibration error.

    Returns:
        `dict[str, Any]`: by the name of each corruption, `levels`, a list of `level`, `accuracy` and `ece`.

    Raises:
        ValueError: If there are other than one or three channels.
    """
    return {
        name: {
            "levels": [
                {
                    "level": severity,
                    **_measured(
                        predict,
                        CorruptedImages(
                            rows, column, channels, indices, name=name, severity=severity, seed=seed, resize=resize
                        ),
                        f"{name} {severity}",
                        n_bins,
                    ),
                }
                for severity in SEVERITIES
            ]
        }
        for name in corruptions_for(channels)
    }


def left_out_corruptions(channels: int) -> list[str]:
    """The corruptions that images of so many channels cannot have."""
    return [name for name in CORRUPTIONS if name not in corruptions_for(channels)]


def mean_by_level(noises: Mapping[str, Mapping[str, Any]]) -> list[float]:
    """The mean accuracy over the noises at levels 1 to 5."""
    return [
        float(np.mean([noise["levels"][level]["accuracy"] for noise in noises.values()]))
        for level in range(len(LEVELS))
    ]


def under_image_attacks(
    model: nn.Module,
    batches: Callable[[str], Any],
    *,
    epsilons: Sequence[float],
    steps: int,
    step_size: float | None,
    mean: torch.Tensor,
    std: torch.Tensor,
) -> list[dict[str, float]]:
    """
    Accuracy under FGSM and PGD ([`robust_accuracies`]) at several strengths.

    Args:
        model (`nn.Module`): In float32.
        batches (`Callable`): From a title to the batches, anew each time.
        epsilons (`Sequence[float]`): In grey levels of 255.
        steps (`int`): Of PGD, after the one of FGSM.
        step_size (`float`, *optional*): In grey levels of 255; `2.5 epsilon / steps` if not given, the rule of Madry et al.
            (2018), with which PGD reaches the edge of the ball from anywhere in it and can still move there.
        mean, std (`torch.Tensor` of shape `(C,)`): What the images were normalised with.

    Returns:
        `list[dict]`: of `epsilon`, `step_size`, `clean`, `fgsm` and `pgd`, by rising `epsilon`.
    """
    rows = []
    for epsilon in sorted(epsilons):
        size = min(255.0, 2.5 * epsilon / max(steps, 1)) if step_size is None else step_size
        found = robust_accuracies(
            model,
            batches(f"FGSM and PGD {epsilon:g}/255"),
            epsilon=epsilon / 255,
            step_size=size / 255,
            steps=steps,
            mean=mean,
            std=std,
        )
        rows.append(
            {"epsilon": epsilon, "step_size": size, "clean": found.clean, "fgsm": found.fgsm, "pgd": found.pgd}
        )
    return rows


def under_embedding_attack(
    model: nn.Module, batches: Callable[[str], Any], *, epsilons: Sequence[float]
) -> list[dict[str, float]]:
    """
    Accuracy under [`~mixtext_hf.evaluation.robustness.attacks.embedding_fgsm`], in the l2 norm.

    Args:
        model (`nn.Module`): In float32.
        batches (`Callable`): From a title to the batches.
        epsilons (`Sequence[float]`): In lengths of one word embedding.

    Returns:
        `list[dict]`: of `epsilon` and `accuracy`, by rising `epsilon`, 0 (as they are) the first.
    """
    found = embedding_fgsm_accuracy(model, batches("FGSM at word embeddings"), epsilons=sorted(epsilons))
    return [{"epsilon": epsilon, "accuracy": share} for epsilon, share in found.items()]


def _measured(predict: Predict, rows: Rows, title: str, n_bins: int) -> dict[str, float]:
    logits, labels = predict(rows, title)
    if labels is None:
        raise ValueError("`rows` have no labels: evaluate a split that has labels.")
    return measured(logits, labels, n_bins)


def measured(logits: NDArray, labels: NDArray, n_bins: int = 15) -> dict[str, float]:
    """`accuracy` and `ece` of logits `(N, C)` and classes `(N,)`."""
    probabilities, references = check_probability_pair(softmax(logits), labels)
    decided = Checked(logits.argmax(axis=1), references, "labels")
    pair = Checked(probabilities, references, "probabilities")
    return {
        "accuracy": accuracy(predictions=decided, references=references),
        "ece": expected_calibration_error(probabilities=pair, references=references, n_bins=n_bins),
    }
