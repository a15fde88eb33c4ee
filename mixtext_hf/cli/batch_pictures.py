"""Pictures of a batch of a run, as it enters the network: what `mixtext-hf show-mixes --run FOLDER` does, and [`show_batch`]."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from transformers.utils import logging as hf_logging

from mixtext_hf._files import check_writable
from mixtext_hf._messages import check_at_least
from mixtext_hf.evaluation.pictures.batch_drawing import (
    OWN,
    PARTNER,
    ImageRow,
    Labels,
    TextRow,
    Words,
    draw_image_batch,
    draw_text_batch,
)
from mixtext_hf.evaluation.pictures.show_mixes import UNTRAINED, UNTRAINED_ON_TEXTS
from mixtext_hf.evaluation.pictures.token_drawing import TokenRow, draw_token_batch
from mixtext_hf.evaluation.pictures.token_rows import token_row
from mixtext_hf.methods import PIXELS, TOKENS
from mixtext_hf.methods.augmix import VIEWS
from mixtext_hf.methods.constant_masks import is_constant
from mixtext_hf.methods.token_mix import TokenMix
from mixtext_hf.mixing import has_label
from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION
from mixtext_hf.training.mixed_batch import MixedBatch, mixed_batch

from .card import RUN
from .comparison_plan import as_flags
from .making_runs import without_resuming
from .planned_run import KINDS, Kind, make_kind
from .run import Run


PAGE = "batch.png"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# Behind what the run was given: its data, its model and its mixes are of interest, and nothing is kept.
_FORCED = (
    "--do_train=true",
    "--eval_strategy=no",
    "--save_strategy=no",
    "--load_best_model_at_end=false",
    "--push_to_hub=false",
    "--report_to=none",
    "--disable_tqdm=true",
    "--logging_strategy=no",
    "--log_level=error",
)


@dataclass
class BatchSettings:
    """A batch of your own run, in place of a pair"""

    run: str | None = field(
        default=None,
        metadata={
            "help": "Folder of a finished run of train-text or train-image: draw a batch of it. Of a run that is still to be made: "
            "show-mixes image or show-mixes text, and the arguments of that run."
        },
    )
    step: int = field(
        default=0,
        metadata={"help": "Whose batch: the first one of this step of the run. The steps before it are trained."},
    )
    rows: int = field(default=8, metadata={"help": "How many rows of it are drawn."})
    trained: bool = field(
        default=False,
        metadata={
            "help": "With --run: take the weights that the run ended with, which the masks of puzzlemix and the saliency of texts depend on."
        },
    )


def show_batch(
    output_dir: str | os.PathLike[str] = "mixes",
    *,
    run: str | os.PathLike[str] | None = None,
    kind: Literal["text", "image"] | None = None,
    step: int = 0,
    rows: int = 8,
    trained: bool = False,
    **arguments: Any,
) -> Path:
    r"""
    Draw a batch of a run as it enters the network: each row with its partner, what becomes of them, and the weights of their labels.
    The command `mixtext-hf show-mixes` does this, with `--run` or with the arguments of a run.

    The run is really begun and left at that batch, so that rows, augmentations and mixes are its own; nothing of it is written.

    Args:
        output_dir (`str` or `os.PathLike`, *optional*, defaults to `"mixes"`): Where the picture goes.
        run (`str` or `os.PathLike`, *optional*): The folder of a finished run; either this or `kind`.
        kind (`str`, *optional*): What a run classifies that is not made yet, `"text"` or `"image"`.
        step (`int`, *optional*, defaults to 0): Whose batch: the first one of this step. The steps before it are trained.
        rows (`int`, *optional*, defaults to 8): How many rows of it are drawn.
        trained (`bool`, *optional*, defaults to `False`): Whether `run` shall have the weights that it ended with.
        arguments: With `kind` those of the run, by the names of the flags of `mixtext-hf train-text` or `train-image`.

    Returns:
        `Path`: the picture, `batch.png` in `output_dir`.

    Raises:
        `ValueError`, `OSError`, `TypeError`: for wrong arguments, data or models; then nothing is drawn.

    Example:

    ```python
    show_batch("mixes", kind="image", dataset_name="photos", mix_method="cutmix", model_name_or_path="small-resnet")
    ```
    """
    if run is not None and arguments:
        raise ValueError(
            f"{', '.join(arguments)} was given beside run={os.fspath(run)!r}, whose arguments are known: leave it out."
        )
    settings = BatchSettings(None if run is None else os.fspath(run), step, rows, trained)
    verbosity, shows_bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    try:
        return draw_batch(settings, Path(output_dir), None if kind is None else make_kind(kind), as_flags(arguments))
    finally:
        hf_logging.set_verbosity(verbosity)
        if shows_bars:
            hf_logging.enable_progress_bar()


def draw_batch(settings: BatchSettings, output_dir: Path, kind: Kind | None, flags: Sequence[str]) -> Path:
    """[`show_batch`] of a run of this `kind` with these `flags`, or of the one that `settings` names."""
    check_at_least(0, settings, "step")
    check_at_least(1, settings, "rows")
    check_writable(output_dir)
    folder = None if settings.run is None else Path(settings.run)
    if (folder is None) == (kind is None):
        raise ValueError("Name the run to draw a batch of: either --run FOLDER, or text or image and its arguments.")
    if settings.trained and folder is None:
        raise ValueError("--trained takes the weights that a run ended with: name it by --run FOLDER.")
    if settings.trained and settings.step > 0:
        raise ValueError(
            f"--step {settings.step} trains the steps before it, and --trained takes the weights of the end: leave out one of the two."
        )
    if folder is not None:
        if settings.trained and not any((folder / name).is_file() for name in _WEIGHTS):
            raise ValueError(f"--trained: {folder} holds no weights (model.safetensors): leave it out.")
        kind, flags = _of_folder(folder)
    assert kind is not None
    with TemporaryDirectory() as nowhere:
        made = kind.make([*flags, *_FORCED], nowhere)
        if settings.trained:
            made.trainer._load_from_checkpoint(str(folder))
        shown = _rows_of_batch(made, settings.rows)
        batch = mixed_batch(made.trainer, settings.step, shown)
    output_dir.mkdir(parents=True, exist_ok=True)
    path = output_dir / PAGE
    BatchPage(made, batch, settings).draw(path)
    return path


def _of_folder(folder: Path) -> tuple[Kind, list[str]]:
    """What a finished run was, and the arguments that it was given."""
    path = folder / RUN
    if not path.is_file():
        raise ValueError(
            f"--run {folder}: there is no {RUN}, which a run writes when it has trained. Name the --output_dir of such a run, or give its "
            "arguments: show-mixes image or show-mixes text, and the arguments."
        )
    try:
        words = shlex.split(without_resuming(str(json.loads(path.read_text(encoding="utf-8"))["command"])))
        begins = words.index("mixtext-hf") + 1
        name = words[begins].removeprefix("train-")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"--run {folder}: {RUN} does not say by which command the run was made ({error}).") from error
    if name not in KINDS:
        raise ValueError(f"--run {folder}: it was made by {words[begins]}, and not by train-text or train-image.")
    return make_kind(name), words[begins + 1 :]


def _rows_of_batch(run: Run, count: int) -> list[int]:
    """The rows that are drawn: the first ones; of a batch with unlabelled texts half of them from these."""
    args = run.args
    labelled = args.train_batch_size
    if not run.trainer.method.uses_unlabeled:
        return list(range(min(count, labelled, len(run.data.train))))
    first = min(labelled, count - count // 2)
    return [*range(first), *range(labelled, labelled + count - first)]


class BatchPage:
    """
    The page of a batch.

    Args:
        run ([`Run`]): Whose.
        batch ([`MixedBatch`]): The batch.
        settings ([`BatchSettings`]): Which step and how many rows.
    """

    def __init__(self, run: Run, batch: MixedBatch, settings: BatchSettings):
        self.run, self.batch, self.settings = run, batch, settings
        self.method, self.plan = run.trainer.method, batch.plan
        self.rows = [row for row in _rows_of_batch(run, settings.rows) if row < len(batch.plan)]

    def draw(self, path: Path) -> None:
        title = f"{self.method.name}: a batch of the run"
        if PIXELS in self.batch.inputs:
            columns, rows = self._image_rows()
            draw_image_batch(rows, columns, path, Words(title, self._about(), self._foot()))
        elif self._shows_tokens:
            token_rows = [self._token_row(row) for row in self.rows]
            draw_token_batch(token_rows, path, Words(title, self._about(), self._foot()))
        else:
            draw_text_batch(
                [self._text_row(row) for row in self.rows], path, Words(title, self._about(), self._foot())
            )

    @property
    def _shows_tokens(self) -> bool:
        """Whether this step mixes texts token by token."""
        return self.batch.segments is not None and bool(self.batch.masks)

    @property
    def _by_chance(self) -> bool:
        """Whether chance stands for the saliency of tokens."""
        return isinstance(self.method, TokenMix) and not self.method.watches_states

    # ---- the words ----

    def _about(self) -> str:
        plan, count = self.plan, len(self.plan)
        mixed = [row for row in range(count) if self.batch.is_mixed(row)]
        parts = [
            f"Step {self.settings.step}, seed {self.run.args.seed}; {len(self.rows)} of the {count} rows of the batch."
        ]
        if not mixed:
            views = VIEWS in self.batch.inputs
            nothing = "The network sees the row and its views." if views else "Nothing is mixed."
            parts.append("This step draws no mix." if self.method.mixes else nothing)
            return " ".join(parts)
        lams = plan.lam[mixed]
        if self.batch.tokens is not None:
            parts.append(
                "Some words of each text give way to words of its partner; the label weight is the share of the own words."
            )
        elif bool((lams == lams[0]).all()):
            parts.append(f"λ\u00a0=\u00a0{lams[0]:.2f}, drawn for the whole batch.")
        else:
            parts.append("λ is drawn for each row.")
        if plan.layer is not None:
            by = ", by the share of either that each position shows" if self._shows_tokens else ""
            parts.append(f"Hidden states are mixed at {_place(plan.layer)}{by}.")
        elif self.batch.images is not None:
            parts.append("The labels get the weights that the mixed image shows.")
        if self._shows_tokens:
            parts.append(self._of_bars())
        if (blocks := getattr(plan.detail, "block_num", None)) is not None:
            masks = torch.stack([self.batch.masks[row] for row in self.rows if row in mixed])
            constant = int(is_constant(masks).sum()) if len(masks) else 0
            parts.append(f"{blocks} x {blocks} blocks; of {len(masks)} masks {constant} constant.")
        return " ".join(parts)

    def _of_bars(self) -> str:
        """What stands for the saliency of the tokens."""
        if not self._by_chance:
            return "Bars: the share of each token in the saliency of its text, by the gradient of the loss on the texts as they are."
        return "Tokens are chosen by chance" + (", which the bars show." if self.batch.saliency else ".")

    def _foot(self) -> str:
        begun = (
            "the weights that the run ended with"
            if self.settings.trained
            else f"the weights of step {self.settings.step}"
        )
        model = self.run.model_args.model_name_or_path or self.run.default_model
        foot = f"{self.run.unit.capitalize()} of {_source(self.run)}; {model}, {begun}."
        if self.method.name == "puzzlemix":
            foot += f"\n{UNTRAINED}" + " --trained takes the weights that a run ended with." * (
                not self.settings.trained
            )
        if self.batch.saliency and not self.settings.trained and not self._by_chance:
            foot += f"\n{UNTRAINED_ON_TEXTS} --step names a later step, --run FOLDER --trained the weights that a run ended with."
        if PIXELS in self.batch.inputs and self.batch.pixel_mean is None:
            foot += "\nNothing says how pixels were normalised: they are drawn from the darkest to the brightest of the batch."
        return foot

    def _labels(self, row: int) -> Labels:
        if not self.batch.is_mixed(row):
            about = f"row {row}" if self.method.mixes is False else f"row {row}, with no partner"
            return Labels(self._label(row), 1.0, None, about)
        partner, lam = int(self.plan.index[row]), float(self.plan.lam[row])
        weight = float(self.batch.weight[row])
        drawn = "" if abs(weight - lam) < 0.005 or self.batch.tokens is not None else f"λ = {lam:.2f} was drawn"
        return Labels(self._label(row), weight, self._label(partner), f"row {row}, with row {partner}", drawn)

    def _label(self, row: int) -> str:
        labels, data = self.batch.labels, self.run.data
        if row >= len(labels) or not bool(has_label(labels)[row]):
            return "a guess" if row >= len(self.plan) - self.batch.unlabeled else "no label"
        label = labels[row]
        if data.problem_type == REGRESSION:
            return f"{float(label):.4g}"
        if data.problem_type == MULTI_LABEL:
            names = [name for name, given in zip(data.label_names, label.tolist(), strict=True) if given]
            return ", ".join(names) or "none of the classes"
        return str(data.label_names[int(label)])

    # ---- images ----

    def _image_rows(self) -> tuple[list[tuple[str, str]], list[ImageRow]]:
        batch = self.batch
        pixels, views = batch.inputs[PIXELS], batch.inputs.get(VIEWS)
        picture = _Pictures(batch)
        columns = [(OWN, "the row")]
        if self.method.mixes:
            columns.append((PARTNER, "another row"))
        if batch.images is not None:
            columns.append(("the mix", "the network's input"))
        for number in range(0 if views is None else views.shape[1]):
            columns.append((f"view {number + 1}", "of the same image"))
        if batch.masks:
            columns.append(("mask", "who is shown"))
        rows = []
        for row in self.rows:
            images: list[np.ndarray | None] = [picture(pixels[row])]
            if self.method.mixes:
                images.append(picture(pixels[int(self.plan.index[row])]) if batch.is_mixed(row) else None)
            if batch.images is not None:
                images.append(picture(batch.images[row]))
            images += [] if views is None else [picture(view) for view in views[row]]
            mask = batch.masks[row].numpy() if batch.masks else None
            rows.append(ImageRow(images, self._labels(row), mask))
        return columns, rows

    # ---- texts ----

    def _text_row(self, row: int) -> TextRow:
        partner = self._text(int(self.plan.index[row])) if self.batch.is_mixed(row) else None
        return TextRow(self._text(row), self._labels(row), partner)

    def _token_row(self, row: int) -> TokenRow:
        batch, partner = self.batch, int(self.plan.index[row])
        assert batch.segments is not None
        ids, both = batch.inputs[TOKENS], [row, partner]
        is_real = batch.inputs.get("attention_mask", torch.ones_like(ids)).bool()
        return token_row(
            self.run.trainer.processing_class,
            self._labels(row),
            ids[both],
            is_real[both],
            batch.segments[both],
            mask=batch.masks[row],
            # Ids that are mixed keep the attention mask of the row.
            seen=is_real[row] if batch.tokens is not None else is_real[both].any(dim=0),
            saliency=torch.stack([batch.saliency[one] for one in both]) if batch.saliency else None,
            sources=batch.sources.get(row),
            is_mixed=batch.is_mixed(row),
        )

    def _text(self, row: int) -> str:
        """A text as its tokens have it; the two of a pair with a bar between them."""
        inputs = self.batch.inputs
        tokenizer: Any = self.run.trainer.processing_class
        ids = inputs["input_ids"][row]
        if "attention_mask" in inputs:
            ids = ids[inputs["attention_mask"][row].bool()]
        parts: list[list[int]] = [[]]
        for token in ids.tolist():
            if token == tokenizer.sep_token_id:
                parts.append([])
            else:
                parts[-1].append(token)
        texts = (tokenizer.decode(part, skip_special_tokens=True).strip() for part in parts)
        return " | ".join(text for text in texts if text)


class _Pictures:
    """Makes pictures `(H, W, 3)` in `[0, 1]` of normalised pixels `(C, H, W)` of a batch."""

    def __init__(self, batch: MixedBatch):
        mean, std = batch.pixel_mean, batch.pixel_std
        if mean is None or std is None:
            pixels = batch.inputs[PIXELS]
            mean, std = pixels.min(), (pixels.max() - pixels.min()).clamp(min=1e-6)
            self.dark, self.span = mean.view(1, 1, 1), std.view(1, 1, 1)
        else:
            # Of black, and from there to white.
            self.dark, self.span = (-mean / std).view(-1, 1, 1), (1 / std).view(-1, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> np.ndarray:
        image = ((pixels - self.dark) / self.span).clamp(0, 1)
        # Of more than three channels the first ones, of fewer the first.
        image = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
        return image.permute(1, 2, 0).numpy()


def _place(layer: int | str) -> str:
    if layer == 0:
        return "the embeddings"
    return "the input of the head" if layer == "head" else f"layer {layer}"


def _source(run: Run) -> str:
    """Where the rows come from, for a foot."""
    a = run.data_args
    return a.dataset_name or getattr(a, "task_name", None) or a.train_file or "the embedded example"
