"""What a MixText step costs against that of the authors' program and against plain fine-tuning:
`mixtext-hf benchmark mixtext`.

All steps of a round have the same texts, partners, lambda and mixing layer, and each ends with the same optimiser.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertForSequenceClassification

from mixtext_hf.methods import make_method
from mixtext_hf.mixing import MixPlan
from mixtext_hf.models.embedded import MINILM
from mixtext_hf.training import MixTrainer

from .measuring import (
    NUM_LABELS,
    interleaved_times,
    load_config,
    load_model,
    make_trainer,
    memory_in_child,
    memory_in_this_process,
    model_path,
)
from .official_mixtext import official_losses
from .reporting import add_clock, add_common_arguments, clock_of, write_report
from .texts import random_batches, text_batches


# The sizes of Chen et al. 2020, 4.3; all steps but `erm` see the same texts.
LABELED, UNLABELED, VIEWS = 4, 8, 3
ERM_ROWS = 8
OFFICIAL_LENGTH = 256

STEPS = {
    "mixtext": "mixtext",
    "official": "official, padded as mixtext is",
    "official_256": f"official, padded to {OFFICIAL_LENGTH}",
    "erm": f"erm, {ERM_ROWS} texts",
}


@dataclass(frozen=True)
class Round:
    """The batch `[labelled | originals | view 1 | view 2]` of a round, and how it is mixed."""

    number: int
    batch: dict[str, torch.Tensor]
    plan: MixPlan

    @property
    def length(self) -> int:
        """Tokens of a padded row."""
        return self.batch["input_ids"].shape[1]


class PlannedTrainer(MixTrainer):
    """Mixes by the plan that it is given, where its method mixes."""

    plan: MixPlan

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        return self.plan if self.method.mixes else super().draw_plan(inputs)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the sub-command."""
    parser.add_argument("--model_name_or_path", default=MINILM, help="Hub id or folder of a BERT, or 'minilm'.")
    parser.add_argument("--text_file", help="Real texts: parquet, csv or json. Not given: random tokens.")
    parser.add_argument("--text_column", default="text")
    parser.add_argument(
        "--view_columns", nargs=VIEWS - 1, help="Columns with the views. Not given: the text with words left out."
    )
    parser.add_argument(
        "--seq_length",
        type=int,
        help=f"Longest text in tokens; 64 if not given, with --text_file {OFFICIAL_LENGTH}.",
    )
    parser.add_argument("--rounds", type=int, default=15, help="Timed steps of each kind.")
    parser.add_argument("--warmup", type=int, default=2, help="Steps of each kind before the clock runs.")
    add_clock(parser)
    add_common_arguments(parser)
    parser.add_argument("--memory_of", choices=list(STEPS), help=argparse.SUPPRESS)


def main(args: argparse.Namespace, argv: Sequence[str]) -> None:
    """Run the sub-command on its parsed arguments; `argv` are those of `mixtext-hf benchmark`."""
    for name, least in (("rounds", 1), ("warmup", 0)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name} is {getattr(args, name)}: give at least {least}.")
    clock, rounds = clock_of(args), make_rounds(args)
    steps = make_steps([args.memory_of] if args.memory_of else list(STEPS), args)
    if args.memory_of:
        # The dearest round for all steps, and twice: the first makes the state of the optimiser.
        dearest = max(rounds, key=lambda round_: (round_.length, round_.plan.layer))
        print(json.dumps(memory_in_this_process(steps[args.memory_of], [dearest, dearest])))
        return
    times = interleaved_times(steps, rounds, args.warmup, clock)
    memory = {name: memory_in_child(argv, name) for name in STEPS}
    length = int(statistics.median(round_.length for round_ in rounds[args.warmup :]))
    rows = [_row(name, length, times, memory) for name in STEPS]
    write_report(args, argv, rows)
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    texts = f"texts of {args.text_file}" if args.text_file else "random tokens"
    print(
        f"{args.model_name_or_path}, {LABELED} labelled and {UNLABELED} unlabelled texts of {VIEWS} views, {texts}, "
        f"{args.rounds} rounds\n"
    )
    print(
        "| step | rows | tokens a row | step, median ms | mixtext / this (median of rounds) | peak memory MiB | "
        "mixtext / this | steps alone MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {STEPS[row['step']]} | {row['rows']} | {row['tokens']} | {row['milliseconds']:.0f} | "
            f"{row['mixtext_time_ratio']:.3f} | {row['peak_mib']:.0f} | {row['mixtext_memory_ratio']:.3f} | "
            f"{row['steps_mib']:.0f} |"
        )


def _row(name: str, length: int, times: dict[str, list[float]], memory: dict[str, dict[str, float]]) -> dict[str, Any]:
    mixed = LABELED + VIEWS * UNLABELED
    rows = {"mixtext": mixed, "erm": ERM_ROWS}.get(name, mixed + UNLABELED)
    ratios = [mixtext / own for mixtext, own in zip(times["mixtext"], times[name], strict=True)]
    return {
        "step": name,
        "rows": rows,
        "tokens": OFFICIAL_LENGTH if name == "official_256" else length,
        "milliseconds": 1000 * statistics.median(times[name]),
        "mixtext_time_ratio": statistics.median(ratios),
        "peak_mib": memory[name]["peak_mib"],
        "mixtext_memory_ratio": memory["mixtext"]["peak_mib"] / memory[name]["peak_mib"],
        "steps_mib": memory[name]["peak_mib"] - memory[name]["before_mib"],
    }


# ---- the steps ----


def make_steps(names: Sequence[str], args: argparse.Namespace) -> dict[str, Callable[[Round], None]]:
    """The named steps of [`STEPS`]; ours share one model, the official ones another, for hooks would mix there too."""
    steps: dict[str, Callable[[Round], None]] = {}
    if any(name in names for name in ("mixtext", "erm")):
        model = _load_bert(args.model_name_or_path)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        for name, make in (("mixtext", mixtext_trainer), ("erm", erm_trainer)):
            if name in names:
                steps[name] = _our_step(model, make(model, args.warmup + args.rounds), optimizer)
    if any(name in names for name in ("official", "official_256")):
        model = _load_bert(args.model_name_or_path)
        if torch.cuda.is_available():
            model.cuda()  # type: ignore[call-arg]  # its wrapper loses `self`
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
        for name, length in (("official", None), ("official_256", OFFICIAL_LENGTH)):
            if name in names:
                steps[name] = _official_step(model, optimizer, length)
    return {name: steps[name] for name in names}


def mixtext_trainer(model: torch.nn.Module, total: int) -> PlannedTrainer:
    """The trainer of the MixText step, with the losses and the guesses of the paper."""
    return _planned(
        model,
        total,
        mix_method="mixtext",
        mix_preset="paper",
        per_device_train_batch_size=LABELED,
        per_device_unlabeled_batch_size=UNLABELED,
        view_columns=["german", "russian"],
    )


def erm_trainer(model: torch.nn.Module, total: int) -> PlannedTrainer:
    """The trainer of the plain step."""
    return _planned(model, total, mix_method="erm", per_device_train_batch_size=ERM_ROWS)


def _planned(model: torch.nn.Module, total: int, **settings: Any) -> PlannedTrainer:
    trainer = make_trainer(model, total, kind=PlannedTrainer, **settings)
    assert isinstance(trainer, PlannedTrainer)
    return trainer


def _our_step(
    model: torch.nn.Module, trainer: PlannedTrainer, optimizer: torch.optim.Optimizer
) -> Callable[[Round], None]:
    def step(round_: Round) -> None:
        trainer.state.global_step = round_.number
        trainer.plan = round_.plan
        batch = round_.batch if trainer.method.mixes else erm_batch(round_)
        trainer.training_step(model, batch)
        optimizer.step()
        optimizer.zero_grad()

    return step


def erm_batch(round_: Round) -> dict[str, torch.Tensor]:
    """The first texts of the round, as long as all its rows, with made-up labels."""
    batch = {name: value[:ERM_ROWS] for name, value in round_.batch.items() if name != "text_labels"}
    return {**batch, "labels": torch.arange(ERM_ROWS) % NUM_LABELS}


def _official_step(
    model: BertForSequenceClassification, optimizer: torch.optim.Optimizer, length: int | None
) -> Callable[[Round], None]:
    def step(round_: Round) -> None:
        model.train()
        loss_x, loss_u = official_losses(model, **official_inputs(round_, length, model.device))
        (loss_x + loss_u).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def official_inputs(round_: Round, length: int | None = None, device: torch.device | str = "cpu") -> dict[str, Any]:
    """
    A round as [`official_losses`] takes it: the views first, then the originals, and these once more.

    Args:
        round_ ([`Round`]): All rows but the second copy of the originals are mixed as its plan says.
        length (`int`, *optional*): Pad to so many tokens; not given: as the batch is padded.
        device (`torch.device`, *optional*): Where the tensors go.
    """
    input_ids = round_.batch["input_ids"]
    if length is not None:
        input_ids = F.pad(input_ids, (0, length - round_.length))
    labeled, original, german, russian = input_ids.to(device).split([LABELED, UNLABELED, UNLABELED, UNLABELED])
    return {
        "labeled": labeled,
        "labels": round_.batch["labels"][:LABELED].to(device),
        "german": german,
        "russian": russian,
        "original": original,
        "index": official_index(round_.plan.index).to(device),
        "lam": float(round_.plan.lam[0]),
        "layer": round_.plan.layer,
    }


def official_index(index: torch.Tensor) -> torch.Tensor:
    """Partners `(28,)` of our rows as partners `(36,)` of the official ones; the last 8 are their own."""
    ours = torch.arange(len(index))
    views = LABELED + UNLABELED
    ours = torch.cat([ours[:LABELED], ours[views:], ours[LABELED:views]])
    place = torch.empty_like(ours)
    place[ours] = torch.arange(len(ours))
    return torch.cat([place[index[ours]], torch.arange(len(index), len(index) + UNLABELED)])


def _load_bert(name: str) -> BertForSequenceClassification:
    model = load_model(name)
    if not isinstance(model, BertForSequenceClassification):
        raise ValueError(
            f"--model_name_or_path {name!r} is a {type(model).__name__}, and the official procedure is that of a BERT: "
            "name one, such as bert-base-uncased."
        )
    if model.config.max_position_embeddings < OFFICIAL_LENGTH:
        raise ValueError(
            f"--model_name_or_path {name!r} takes {model.config.max_position_embeddings} tokens, and the official "
            f"procedure pads to {OFFICIAL_LENGTH}: name a model that takes as many."
        )
    return model


# ---- the rounds ----


def make_rounds(args: argparse.Namespace) -> list[Round]:
    """The rounds of the warm-up and the timed ones, the same in every process."""
    seq_length = args.seq_length
    if seq_length is None:
        seq_length = OFFICIAL_LENGTH if args.text_file else 64
    if not 4 <= seq_length <= OFFICIAL_LENGTH:
        raise ValueError(f"--seq_length must lie in 4..{OFFICIAL_LENGTH}, got {seq_length}.")
    if args.text_file is None and args.view_columns is not None:
        raise ValueError("--view_columns are columns of --text_file, and there is none: name it, or drop them.")
    path = model_path(args.model_name_or_path)
    config = load_config(path)
    sizes = {"labeled": LABELED, "unlabeled": UNLABELED, "views": VIEWS}
    if args.text_file is None:
        batches = random_batches(seq_length, config.vocab_size, **sizes)
    else:
        batches = text_batches(
            args.text_file,
            seq_length,
            AutoTokenizer.from_pretrained(path, trust_remote_code=False),
            text_column=args.text_column,
            view_columns=args.view_columns or (),
            **sizes,
        )
    method = make_method("mixtext")
    rounds = []
    for number, batch in enumerate(islice(batches, args.warmup + args.rounds)):
        rng = np.random.default_rng([0, number])
        plan = method.draw(len(batch["labels"]), depth=config.num_hidden_layers, rng=rng)
        rounds.append(Round(number, batch, plan))
    return rounds
