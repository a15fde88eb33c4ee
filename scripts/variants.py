"""Ways to learn from guesses that were tried and are no part of the package: what they gave is in docs/results/defaults.md.

`python scripts/variants.py VARIANT ARGUMENTS OF train-text` trains `mixtext` in a variant, and prints what it measured on the test
file, which `all_results.json` has too. The guesses are made by the first run into an `--output_dir`, and serve all variants that are run
into the same one with `--overwrite_output_dir`.

- `none`: as it is.
- `average`: the weights at the end are a moving average of those of the steps (decay 0.99).
- `regmixup`: the batch once more without mixing, with the same weight (RegMixup, Pinto et al., 2022).
- `margins`: trained twice. What the first model says of the guessed texts at five moments of its training gives each a mean margin,
  that of its guess over the next class (AUM, Pleiss et al., 2020; MarginMatch, Sosea and Caragea, 2023); the lowest 15 % of each class
  are left out when the second is trained, from the first weights.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback

from mixtext_hf.cli.train_text import TextRun, make_run
from mixtext_hf.methods import MixText, Step
from mixtext_hf.mixing import MixPlan
from mixtext_hf.training.guesses import model_of, run_over
from mixtext_hf.training.guesses.running import classifier_of, select


_DECAY, _MOMENTS, _LEFT_OUT = 0.99, 5, 0.15


class Average(TrainerCallback):
    """The moving average of the weights, in the model when training ends."""

    def __init__(self) -> None:
        self.weights: dict[str, torch.Tensor] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        # At first the plain mean: nothing of the first weights stays.
        keep = min(_DECAY, 1 - 1 / state.global_step)
        for name, value in model.named_parameters():
            value = value.detach()
            if state.global_step == 1:
                self.weights[name] = value.clone()
            else:
                self.weights[name].lerp_(value, 1 - keep)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        model.load_state_dict(self.weights, strict=False)


@dataclass(frozen=True)
class RegMixup(MixText):
    """[`MixText`] with the batch once more, unmixed."""

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        (mixed,) = super().losses(step)
        (clean,) = super().losses(replace(step, plan=MixPlan.identity(len(step.labels)).to(step.labels.device)))
        yield {name: (value + clean[name]) / 2 for name, value in mixed.items()}


class Margins(TrainerCallback):
    """Of each guessed text, at some moments: how far its guess is ahead of the next class in the model in training."""

    def __init__(self, run: TextRun):
        self.run = run
        self.seen: list[np.ndarray] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % max(1, state.max_steps // _MOMENTS) == 0:
            trainer = self.run.trainer
            assert trainer.guesses is not None
            rows = trainer.guesses.rows
            pieces = run_over(
                trainer, select(trainer.unlabeled_dataset, rows), classifier_of(model_of(trainer), trainer)
            )
            said = np.concatenate(list(pieces))
            guess = trainer.guesses.table.probabilities[rows].argmax(axis=1)
            own = said[np.arange(len(said)), guess].copy()
            said[np.arange(len(said)), guess] = -np.inf
            self.seen.append(own - said.max(axis=1))

    def kept(self) -> np.ndarray:
        """The rows that are left, of each class."""
        guesses = self.run.trainer.guesses
        assert guesses is not None
        rows, margin = guesses.rows, np.mean(self.seen, axis=0)
        guess = guesses.table.probabilities[rows].argmax(axis=1)
        lowest = np.array([np.quantile(margin[guess == one], _LEFT_OUT) for one in range(guess.max() + 1)])
        return rows[margin > lowest[guess]]


def main() -> None:
    """Run the command."""
    variant, argv = sys.argv[1], sys.argv[2:]
    run = make_run(argv)
    trainer = run.trainer
    if variant == "regmixup":
        own = trainer.method
        assert isinstance(own, MixText)
        trainer.method = RegMixup(**{f.name: getattr(own, f.name) for f in fields(own)})
        trainer._settle = lambda: None  # type: ignore[method-assign]  # it would go back to the method of the arguments
    elif variant == "average":
        trainer.add_callback(Average())
    elif variant == "margins":
        margins = Margins(run)
        first = copy.deepcopy(model_of(trainer).state_dict())
        trainer.add_callback(margins)
        run.train()
        guesses = trainer.guesses
        kept = margins.kept()
        run = make_run([*argv, "--overwrite_output_dir"])
        run.trainer.guesses = guesses
        guesses.__dict__["rows"] = kept
        model_of(run.trainer).load_state_dict(first)
    elif variant != "none":
        raise SystemExit(f"{variant!r} is no variant:\n\n{__doc__}")
    run.train()
    for split in run.data.test.values():
        measured = run.trainer.predict(split, metric_key_prefix="predict").metrics
        assert measured is not None
        run.trainer.save_metrics("predict", measured)
        print(variant, {name: round(measured[f"predict_{name}"], 4) for name in ("accuracy", "ece", "nll")})


if __name__ == "__main__":
    main()
