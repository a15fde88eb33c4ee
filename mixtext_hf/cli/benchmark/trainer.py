"""What `MixTrainer` adds to a step of the plain Trainer, where the model costs next to nothing: `mixtext-hf benchmark trainer`.

Both train random tiny models on the same rows, in short runs that take turns; a step lasts from one end to the next, loading of data
included. The plain Trainer gets as many rows a batch as the method puts through the model. On a busy machine time of the processor
says more than that of the clock.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    PrinterCallback,
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from mixtext_hf.data import MixDataCollator
from mixtext_hf.data.images.collator import ImageCollator
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer, MixTrainingArguments

from .measuring import NUM_LABELS
from .reporting import add_common_arguments, write_report


_WORDS, _IMAGE_SIZE = 200, 32
_VIEWS = ("german", "russian")


@dataclass(frozen=True)
class Case:
    """What is compared: a method as the arguments name it, and whether it reads images or learns from unlabelled texts too."""

    arguments: dict[str, Any]
    takes_images: bool = False
    uses_unlabeled: bool = False


CASES = {
    "erm": Case({"mix_method": "erm"}),
    "tmix": Case({"mix_method": "tmix"}),
    "mixtext": Case({"mix_method": "mixtext", "guess_column": "guess"}, uses_unlabeled=True),
    "mixtext_online": Case({"mix_method": "mixtext", "mix_kwargs": '{"online": true}'}, uses_unlabeled=True),
    "mixup": Case({"mix_method": "mixup"}, takes_images=True),
    "puzzlemix": Case({"mix_method": "puzzlemix"}, takes_images=True),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the sub-command."""
    parser.add_argument("--methods", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--batch_size", type=int, default=4, help="Labelled rows in a batch.")
    parser.add_argument("--unlabeled_batch_size", type=int, default=8, help="Unlabelled texts in a batch, of 3 views.")
    parser.add_argument("--seq_length", type=int, default=16, help="Words of the longest text.")
    parser.add_argument("--steps", type=int, default=40, help="Steps of a run, the first of which are not timed.")
    parser.add_argument("--rounds", type=int, default=10, help="Runs of each trainer.")
    parser.add_argument("--warmup", type=int, default=5, help="Steps of each run before the clock runs.")
    add_common_arguments(parser)


def main(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Run the sub-command."""
    for name, least in (("rounds", 1), ("warmup", 0), ("steps", args.warmup + 2)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} is {getattr(args, name)}: give at least {least}.")
    with tempfile.TemporaryDirectory() as folder:
        pairs = {name: make_pair(name, args, Path(folder)) for name in args.methods}
        times = run_in_turn(pairs, args)
    rows = [_row(name, *times[name], rows_of(name, args)) for name in args.methods]
    write_report(args, argv, rows)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    print(
        f"{args.rounds} runs of {args.steps} steps in turn; milliseconds a step (median of the medians of the runs)\n"
    )
    print(
        "| method | rows a batch | plain Trainer | MixTrainer | difference (median of rounds) | difference in processor time |"
    )
    print("|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['method']} | {row['rows']} | {row['plain_ms']:.2f} | {row['milliseconds']:.2f} | "
            f"{row['added_ms']:+.2f} | {row['added_cpu_ms']:+.2f} |"
        )


def rows_of(name: str, args: argparse.Namespace) -> int:
    """How many rows of a batch go through the model."""
    extra = args.unlabeled_batch_size * (1 + len(_VIEWS)) if CASES[name].uses_unlabeled else 0
    return args.batch_size + extra


def _row(name: str, plain: np.ndarray, mixed: np.ndarray, rows: int) -> dict[str, Any]:
    added = np.median(mixed - plain, axis=0)
    return {
        "method": name,
        "rows": rows,
        "plain_ms": 1000 * np.median(plain[:, 0]),
        "milliseconds": 1000 * np.median(mixed[:, 0]),
        "added_ms": 1000 * added[0],
        "added_cpu_ms": 1000 * added[1],
    }


# ---- the runs ----


def run_in_turn(
    pairs: dict[str, tuple[Trainer, MixTrainer]], args: argparse.Namespace
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """
    Of the plain and of the mixing trainer of each pair: the median seconds of a step in each round, of the clock and of the
    processor, `(rounds, 2)`.
    """
    rng = np.random.default_rng(0)
    clock = Clock()
    times: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {name: ([], []) for name in pairs}
    for trainers in pairs.values():
        for trainer in trainers:
            trainer.remove_callback(PrinterCallback)
            trainer.add_callback(clock)
    for _ in range(args.rounds):
        for name in rng.permutation(list(pairs)):
            for which in rng.permutation(2):
                clock.ends.clear()
                pairs[name][which].train()
                times[name][which].append(np.median(np.diff(clock.ends[args.warmup :], axis=0), axis=0))
    return {name: (np.stack(plain), np.stack(mixed)) for name, (plain, mixed) in times.items()}


class Clock(TrainerCallback):
    """When each step ended: seconds of the clock and of the processor."""

    def __init__(self) -> None:
        self.ends: list[tuple[float, float]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append((time.perf_counter(), time.process_time()))


def make_pair(name: str, args: argparse.Namespace, folder: Path) -> tuple[Trainer, MixTrainer]:
    """The plain Trainer and ours, each with a model of its own, on the same rows."""
    case, make_model = CASES[name], tiny_resnet if CASES[name].takes_images else tiny_bert
    common: dict[str, Any] = {
        "max_steps": args.steps,
        "learning_rate": 1e-5,
        "lr_scheduler_type": "constant",
        "logging_steps": args.steps,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    collator: Any
    if case.takes_images:
        rows: Any = random_images(args.steps * args.batch_size)
        processing: Any = small_image_processor((_IMAGE_SIZE, _IMAGE_SIZE), 3)
        collator = ImageCollator(processing)
    else:
        rows = random_texts(args.steps * args.batch_size, args.seq_length)
        processing = tiny_tokenizer()
        collator = MixDataCollator(processing, text_column="text")
    unlabeled = None
    if case.uses_unlabeled:
        unlabeled = random_texts(args.steps * args.unlabeled_batch_size, args.seq_length, views=True)
    plain = Trainer(
        make_model(),
        TrainingArguments(
            str(folder / f"{name}-plain"),
            per_device_train_batch_size=rows_of(name, args),
            remove_unused_columns=False,
            **common,
        ),
        data_collator=collator,
        train_dataset=random_texts(args.steps * rows_of(name, args), args.seq_length) if unlabeled else rows,
    )
    own = MixTrainingArguments(
        str(folder / name),
        per_device_train_batch_size=args.batch_size,
        per_device_unlabeled_batch_size=args.unlabeled_batch_size,
        view_columns=list(_VIEWS) if case.uses_unlabeled else None,
        **common,
        **case.arguments,
    )
    mixing = MixTrainer(
        make_model(), own, train_dataset=rows, processing_class=processing, unlabeled_dataset=unlabeled
    )
    return plain, mixing


# ---- models and rows ----


def tiny_bert() -> BertForSequenceClassification:
    """Random, of 4 layers of 32 units."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=_WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_hidden_layers=4,
    )
    config.num_labels = NUM_LABELS
    return BertForSequenceClassification(config)


def tiny_resnet() -> ResNetForImageClassification:
    """Random, of 3 stages of one basic block."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 12, 16], depths=[1, 1, 1], layer_type="basic")
    config.num_labels = NUM_LABELS
    return ResNetForImageClassification(config)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Of the words of [`random_texts`]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(_WORDS - 4))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
    )


def random_texts(count: int, longest: int, *, views: bool = False) -> datasets.Dataset:
    """Words at random, with a label, or with views and a guess."""
    rng = np.random.default_rng(0)

    def texts() -> list[str]:
        lengths = rng.integers(max(longest // 2, 1), longest + 1, count)
        return [" ".join(f"w{word}" for word in rng.integers(_WORDS - 4, size=length)) for length in lengths]

    classes = (np.arange(count) % NUM_LABELS).tolist()
    others = {**{name: texts() for name in _VIEWS}, "guess": classes} if views else {"label": classes}
    return datasets.Dataset.from_dict({"text": texts(), **others})


def random_images(count: int) -> list[dict[str, Any]]:
    """Noise, uint8, with a label."""
    images = np.random.default_rng(0).integers(256, size=(count, _IMAGE_SIZE, _IMAGE_SIZE, 3), dtype=np.uint8)
    return [{"image": image, "label": i % NUM_LABELS} for i, image in enumerate(images)]
