"""Export a trained classifier to ONNX: `mixtext-hf export`.

```bash
mixtext-hf export out --onnx onnx
```

Any text or image classifier of transformers, or an adapter of PEFT on one, that the exporter of torch can take. Its logits are compared with
those of PyTorch in onnxruntime before anything is written; beside the file go tokenizer or image processor, config and names of the classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import HfArgumentParser

from mixtext_hf._files import check_new_folder
from mixtext_hf.delivery.onnx_export import ExportedModel, check_packages, export_onnx, place_of, temperature_to_fold
from mixtext_hf.problem_types import problem_type_of

from .classifier import ModelArguments, TrainedClassifier
from .failures import reporting_failures
from .logs import set_up_logging
from .parsing import Parser, parse, reporting_bad_input


@dataclass
class ExportArguments:
    """Where to, and how."""

    onnx: str | None = field(
        default=None, metadata={"help": "Folder for model.onnx and what belongs to it, or a file .onnx in it."}
    )
    fold_temperature: bool = field(
        default=False,
        metadata={
            "help": "Divide the logits by the temperature that is stored with the model; else it is in the metadata."
        },
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Tokens of the longest text; as in training where run.json beside the model says so, at most 512."
        },
    )
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write over what an earlier export made."})


def make_parser() -> HfArgumentParser:
    """The parser of the model, [`ModelArguments`] and [`ExportArguments`]."""
    parser = Parser(
        [ExportArguments, ModelArguments],
        prog="mixtext-hf export",
        usage="mixtext-hf export MODEL --onnx FOLDER [...]",
        description="Export a text or image classifier to ONNX, compared with PyTorch in onnxruntime.",
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="The folder or Hub id of a classifier (or --model_name_or_path)."
    )
    return parser


def main(argv: Sequence[str] | None = None) -> ExportedModel:
    """Run the command; returns what was written."""
    parser = make_parser()
    set_up_logging()
    with reporting_bad_input(parser):
        args, model_args, rest = parse(parser, argv)[:3]
        model_args.model_name_or_path = one_model(rest.model, model_args.model_name_or_path)
        if args.onnx is None:
            raise ValueError("--onnx is needed: it names the folder to write to, or a file .onnx in a new folder.")
        check_packages()
        folder, _ = place_of(args.onnx)
        _check_apart(folder, model_args.model_name_or_path)
        check_new_folder("--onnx", folder, args.overwrite_output_dir)
        classifier = TrainedClassifier(model_args)
        if classifier.modality == "token":
            raise ValueError(
                f"MODEL: {classifier.name!r} gives each word a tag, and export is for classifiers of whole texts and images."
            )
        classifier.check_classes()
        temperature_to_fold(classifier.config, args.fold_temperature)
        if args.max_seq_length is not None and classifier.modality == "image":
            raise ValueError(
                f"--max_seq_length {args.max_seq_length}: {classifier.name!r} is an image classifier; leave it out."
            )
        problem_type = problem_type_of(classifier.config)
        model = classifier.load(problem_type, torch.device("cpu"))
        if classifier.modality == "text":
            classifier.text_collator(["text"], args.max_seq_length, problem_type)
            processor, max_length = classifier.tokenizer, classifier.max_length
        else:
            classifier.image_collator("image")
            processor, max_length = classifier.processor, None
    with reporting_failures(parser.prog):
        written = export_onnx(
            model,
            processor,
            args.onnx,
            fold_temperature=args.fold_temperature,
            max_length=max_length,
            overwrite=args.overwrite_output_dir,
        )
    print("\n".join(_summary(classifier.name, written)))
    return written


def one_model(by_place: str | None, by_flag: str | None) -> str:
    """The model, which is named once."""
    named = [name for name in (by_place, by_flag) if name is not None]
    if len(named) != 1:
        raise ValueError(
            f"One model is needed, got {' and '.join(named) or 'none'}: the folder or Hub id of a classifier."
        )
    return named[0]


def _check_apart(folder: Path, model: str) -> None:
    if folder.is_dir() and Path(model).is_dir() and folder.samefile(model):
        raise ValueError(
            f"--onnx: {folder} is the folder of the model itself, whose files would be replaced: name another, such as {folder / 'onnx'}."
        )


def _summary(name: str, written: ExportedModel) -> list[str]:
    lines = [
        f"Exported {name} to {written.file}, with inputs {', '.join(written.inputs)}.",
        f"  In onnxruntime its logits are those of PyTorch, to {written.largest_difference:.1e} on {written.batches} batches.",
    ]
    if written.temperature is not None and written.is_folded:
        lines.append(f"  Logits are divided by the stored temperature, {written.temperature:.4g}, already.")
    elif written.temperature is not None:
        lines.append(
            f"  Divide logits by {written.temperature:.4g} before the softmax: the temperature in the metadata of the file and in config.json."
        )
    return lines


if __name__ == "__main__":
    main()
