"""A classifier as ONNX: exported by torch, compared with PyTorch in onnxruntime, written whole with what turns inputs into its batches.

Not by `optimum`: optimum-onnx 0.1.0, its newest release, asks for transformers below 4.58.
"""

from __future__ import annotations

import copy
import inspect
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mixtext_hf._files import check_new_folder, whole_files, write_json
from mixtext_hf.data import ImageCollator
from mixtext_hf.errors import RunError
from mixtext_hf.models.any_classifier import takes_pixels
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.lengths import longest_text
from mixtext_hf.models.modes import evaluating
from mixtext_hf.models.stored_temperature import RECIPE, StoredTemperature, stored_temperature, with_temperature
from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL, problem_type_of
from mixtext_hf.version import __version__


FILE, CLASS_NAMES = "model.onnx", "class_names.json"
# How far a logit may be from that of PyTorch, and of large ones, such as scores in the hundreds, what share of the largest.
TOLERANCE, _OF_LARGEST = 1e-4, 1e-5
# Of a text where neither model nor user say otherwise, as in `mixtext-hf predict`.
_LONGEST_TEXT = 512
# A file of protobuf ends at 2 GiB; larger weights lie in a file beside it.
_MOST_BYTES = 1.8 * 2**30
_EXAMPLE_IMAGE = 64


@dataclass(frozen=True)
class ExportedModel:
    """
    What was written.

    Args:
        file (`Path`): The model; what belongs to it lies beside it.
        inputs (`tuple[str, ...]`): Names of its inputs.
        batches (`int`): How many batches were compared with PyTorch.
        largest_difference (`float`): Of any logit in them.
        temperature (`float`, *optional*): That is stored with the model.
        is_folded (`bool`): Whether the logits are divided by it already.
    """

    file: Path
    inputs: tuple[str, ...]
    batches: int
    largest_difference: float
    temperature: float | None
    is_folded: bool


def check_packages() -> None:
    """
    Raises:
        `ImportError`: if a package is missing; it names the extra that brings it.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{error.name} is needed for ONNX: pip install 'mixtext-hf[export]'.") from error


def place_of(path: str | Path) -> tuple[Path, str]:
    """The folder and the name of the file that a path says: `FOLDER/NAME.onnx`, or a folder for `model.onnx`."""
    target = Path(path)
    is_file = target.suffix == ".onnx" and not target.is_dir()
    return (target.parent, target.name) if is_file else (target, FILE)


def temperature_to_fold(config: Any, fold: bool) -> StoredTemperature | None:
    """
    The stored temperature of a classifier with one class an example.

    Raises:
        `ValueError`: if it is to be folded in and there is none.
    """
    found = stored_temperature(config) if problem_type_of(config) == SINGLE_LABEL else None
    if fold and found is None:
        raise ValueError(
            "--fold_temperature: no temperature is stored with the model: train with a validation split, or store one by `mixtext-hf evaluate "
            "--store_temperature`."
        )
    return found


def export_onnx(
    model: Any,
    processor: Any,
    path: str | Path,
    *,
    fold_temperature: bool = False,
    max_length: int | None = None,
    overwrite: bool = False,
) -> ExportedModel:
    """
    Export a classifier of texts or images. Inputs are those of its tokenizer or image processor, with any number of rows, and of tokens;
    the output is `logits` `(batch, C)`, float32.

    Beside the file go tokenizer or image processor, `config.json` and `class_names.json`; the metadata of the file holds the names of the
    classes, the problem type, the greatest length of a text, and the temperature.

    Args:
        model (`PreTrainedModel` or `PeftModel`): On the CPU, in float32; adapters are merged into a copy.
        processor (`PreTrainedTokenizerBase` or an image processor): Of the model.
        path (`str` or `Path`): A folder, or a file `.onnx` in it. It is there whole at the end, or not at all.
        fold_temperature (`bool`): Divide the logits by the stored temperature. The `config.json` beside the file then has none, so that
            nobody divides twice.
        max_length (`int`, *optional*): Tokens of the longest text; what the model takes, at most 512, if not given.
        overwrite (`bool`): Write over the files in the folder.

    Returns:
        [`ExportedModel`]

    Raises:
        `ImportError`: if a package is missing.
        `ValueError`: if the folder holds files, or weights of a model whatever `overwrite` says, the model is not on the CPU, or there is no temperature to fold in.
        [`RunError`]: if torch cannot export the model, or if a logit differs by more than 1e-4 in onnxruntime (of logits above 10: by 1e-5 of the largest);
            nothing is written.
    """
    check_packages()
    folder, name = place_of(path)
    check_new_folder("--onnx", folder, overwrite)
    if weights := sorted(path.name for path in folder.glob("*.safetensors")):
        raise ValueError(
            f"--onnx: {folder} holds a model ({weights[0]}), whose config and tokenizer would be replaced: name another folder, such as "
            f"{folder / 'onnx'}."
        )
    config = model.config
    found = temperature_to_fold(config, fold_temperature)
    divisor = found.value if fold_temperature and found is not None else 1.0
    parameter = next(model.parameters())
    if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        raise ValueError(
            f"The model is on {parameter.device} in {parameter.dtype}: it is exported in float32 on the CPU, model.cpu().float()."
        )
    batches = _batches(model, processor, max_length)
    plain = copy.deepcopy(model).merge_and_unload() if hasattr(model, "merge_and_unload") else model
    inputs = tuple(batches[0])
    logits_of = _Logits(plain, inputs, divisor).eval()
    with evaluating(model), torch.inference_mode():
        expected = [model(**batch).logits.numpy() / divisor for batch in batches]
    with evaluating(plain):
        program = _exported(logits_of, batches[0], config)
    program.model.metadata_props.update(_metadata(config, found, fold_temperature, batches))
    size = sum(one.numel() * one.element_size() for one in plain.parameters())
    with whole_files(folder) as partial:
        program.save(str(partial / name), external_data=size > _MOST_BYTES)
        difference = _largest_difference(partial / name, batches, expected)
        _check_difference(difference, config, divisor, max(float(np.abs(logits).max()) for logits in expected))
        processor.save_pretrained(partial)
        shown = copy.deepcopy(config)
        if fold_temperature:
            setattr(shown, RECIPE, with_temperature(getattr(shown, RECIPE, None), None))
        shown.save_pretrained(partial)
        if problem_type_of(config) != REGRESSION:
            write_json(partial / CLASS_NAMES, names_of_classes(config), ensure_ascii=False)
        has_data = (partial / f"{name}.data").exists()
    if not has_data:
        (folder / f"{name}.data").unlink(missing_ok=True)
    return ExportedModel(
        folder / name, inputs, len(batches), difference, None if found is None else found.value, fold_temperature
    )


class _Logits(nn.Module):
    """A model whose inputs have an order, and whose only output are its logits."""

    def __init__(self, model: nn.Module, inputs: Sequence[str], divisor: float):
        super().__init__()
        self.model, self.inputs, self.divisor = model, inputs, divisor

    def forward(self, *values: torch.Tensor) -> torch.Tensor:
        logits = self.model(**dict(zip(self.inputs, values, strict=True))).logits
        return logits if self.divisor == 1.0 else logits / self.divisor


# ---- inputs ----


def _batches(model: Any, processor: Any, max_length: int | None) -> list[dict[str, torch.Tensor]]:
    """Batches of several sizes, with padding; the first one is what the exporter sees."""
    generator = np.random.default_rng(0)
    if takes_pixels(model):
        return [_images(model, processor, generator, size) for size in (2, 1, 3, 5)]
    longest = longest_text(model.config, processor)
    limit = max_length or min(longest or _LONGEST_TEXT, _LONGEST_TEXT)
    shapes = ((9, 7), (limit,), (3,), (limit // 2, 5, 3, 4, 12), (12, 12, 12), (2, limit))
    return [_texts(model, processor, generator, [max(min(n, limit), 2) for n in lengths]) for lengths in shapes]


def _texts(
    model: Any, tokenizer: Any, generator: np.random.Generator, lengths: Sequence[int]
) -> dict[str, torch.Tensor]:
    """Texts of these numbers of tokens, drawn at random between the special ones."""
    text = " ".join(["a"] * max(lengths))
    taken = [name for name in tokenizer.model_input_names if name in _arguments_of(model)]
    special = set(tokenizer.all_special_ids)
    drawn = [token for token in range(min(len(tokenizer), model.config.vocab_size)) if token not in special]
    rows: dict[str, list[list[int]]] = {name: [] for name in taken}
    for length in lengths:
        found = tokenizer(text, truncation=True, max_length=length, return_special_tokens_mask=True)
        is_special = found["special_tokens_mask"]
        ids = [
            token if fixed or not drawn else int(generator.choice(drawn))
            for token, fixed in zip(found["input_ids"], is_special, strict=True)
        ]
        for name in taken:
            rows[name].append(ids if name == "input_ids" else found[name])
    return {name: values for name, values in tokenizer.pad(rows, return_tensors="pt").items() if name in taken}


def _images(model: Any, processor: Any, generator: np.random.Generator, count: int) -> dict[str, torch.Tensor]:
    sides = [(_EXAMPLE_IMAGE + 8 * i, _EXAMPLE_IMAGE) for i in range(count)]
    pixels = [generator.integers(0, 256, (*side, 3), dtype=np.uint8) for side in sides]
    channels = getattr(model.config, "num_channels", None)
    pictures = [Image.fromarray(image).convert("L" if channels == 1 else "RGB") for image in pixels]
    return ImageCollator(processor, image_column="image", num_channels=channels)([{"image": one} for one in pictures])


def _arguments_of(model: Any) -> set[str]:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return set(inspect.signature(inner.forward).parameters)


# ---- the export, and its comparison ----


def _exported(logits_of: _Logits, batch: Mapping[str, torch.Tensor], config: Any) -> Any:
    batch_axis, sequence_axis = torch.export.Dim("batch"), torch.export.Dim("sequence")
    is_text = "pixel_values" not in batch
    axes = {0: batch_axis, 1: sequence_axis} if is_text else {0: batch_axis}
    try:
        with _without_remarks():
            return torch.onnx.export(
                logits_of,
                tuple(batch.values()),
                dynamo=True,
                dynamic_shapes=(tuple(axes for _ in batch),),
                input_names=list(batch),
                output_names=["logits"],
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        raise RunError(
            f"torch {torch.__version__} cannot export a model of the type {config.model_type!r} with a free number of rows"
            f"{' and tokens' if is_text else ''}: {_reason(error)}. Nothing was written."
        ) from error


def _reason(error: Exception) -> str:
    """The line of an exporter's message that says what failed."""
    lines = [line.strip() for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return f"{type(error.__cause__ or error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


@contextmanager
def _without_remarks() -> Iterator[None]:
    """The exporter tells of packages that it does not need, and of deprecations of its own."""
    asked = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [one.level for one in asked]
    for one in asked:
        one.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            for one, level in zip(asked, before, strict=True):
                one.setLevel(level)


def _metadata(
    config: Any, found: StoredTemperature | None, is_folded: bool, batches: Sequence[Mapping[str, torch.Tensor]]
) -> dict[str, str]:
    problem_type = problem_type_of(config)
    texts = [one["input_ids"].shape[1] for one in batches if "input_ids" in one]
    told = {
        "mixtext_hf": __version__,
        "problem_type": problem_type,
        "class_names": None
        if problem_type == REGRESSION
        else json.dumps(names_of_classes(config), ensure_ascii=False),
        "max_length": max(texts) if texts else None,
        "temperature": None if found is None else repr(found.value),
        "temperature_is_folded": None if found is None else str(is_folded).lower(),
    }
    return {name: str(value) for name, value in told.items() if value is not None}


def _largest_difference(
    file: Path, batches: Sequence[Mapping[str, torch.Tensor]], expected: Sequence[NDArray]
) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    differences = []
    for batch, logits in zip(batches, expected, strict=True):
        (found,) = session.run(["logits"], {name: values.numpy() for name, values in batch.items()})
        same_shape = found.shape == logits.shape
        differences.append(float(np.abs(found - logits).max()) if same_shape else float("inf"))
    return max(differences)


def _check_difference(difference: float, config: Any, divisor: float, largest: float) -> None:
    # A small temperature makes logits large, and their rounding with them. NaN is no agreement.
    allowed = max(TOLERANCE * max(1.0, 1 / divisor), _OF_LARGEST * largest)
    if not difference <= allowed:
        raise RunError(
            f"Exported as ONNX, the model of the type {config.model_type!r} gives other logits than PyTorch, by up to {difference:.3g} "
            f"where {allowed:.3g} is allowed. Nothing was written."
        )
