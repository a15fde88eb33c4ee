"""Training stops where a number is not finite: at the step, with the name of what it was, before anything is saved.

On a CPU of one process every step is looked at as it comes. Elsewhere a look costs a wait for the device, so flags gather there
and are read every `_EVERY` steps, at logging, before saving and at the end.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from mixtext_hf.errors import RunError

from .whole_checkpoints import newest_whole


if TYPE_CHECKING:
    from .trainer import MixTrainer

logger = logging.getLogger(__name__)

_EVERY = 50
_NEVER = -1
_TEXTS, _CHARACTERS = 3, 60


class NonFinite(RunError, FloatingPointError):
    """Training was stopped because a loss, a gradient or a weight was infinite or not a number."""


class FiniteWatch(TrainerCallback):
    """
    Looks at the losses, gradients and weights of a trainer.

    Args:
        trainer ([`MixTrainer`]): Whose.
    """

    def __init__(self, trainer: MixTrainer):
        self.trainer = trainer
        # The first step in which each term was not finite, on the device.
        self._first: dict[str, torch.Tensor] = {}

    def start(self) -> None:
        """Forget what an earlier training of this trainer saw."""
        self._first.clear()

    # ---- what is looked at ----

    def see_terms(self, terms: dict[str, torch.Tensor], inputs: dict[str, Any]) -> None:
        """
        The terms of the loss of a micro-batch.

        Raises:
            [`NonFinite`]: if one is not finite, where looking costs no wait.
        """
        step = self.trainer.state.global_step + 1
        at_once = self._looks_at_once
        for name, value in terms.items():
            if at_once:
                if not math.isfinite(number := value.detach().sum().item()):
                    self._stop(f"{name} is {number:g}", step, inputs)
                continue
            is_wrong = ~torch.isfinite(value.detach()).all()
            first = self._first.get(name)
            if first is None:
                first = torch.full((), _NEVER, dtype=torch.int64, device=value.device)
            self._first[name] = torch.where((first == _NEVER) & is_wrong, step, first)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave out a step whose gradient is not finite, if some may be left out."""
        if args.skip_nonfinite_steps == 0:
            return
        gradients = [p.grad for p in self.trainer.mixer.model.parameters() if p.grad is not None]
        if _are_finite(gradients):
            return
        memory = self.trainer._memory
        memory.skipped_steps += 1
        step = state.global_step + 1
        if memory.skipped_steps > args.skip_nonfinite_steps:
            self._stop(
                f"the gradient is not finite, for the {memory.skipped_steps}th time (skip_nonfinite_steps="
                f"{args.skip_nonfinite_steps})",
                step,
            )
        logger.warning("Step %d is left out: its gradient is not finite.", step)
        for parameter in self.trainer.mixer.model.parameters():
            parameter.grad = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._looks_at_once and state.global_step % _EVERY == 0:
            self.check_terms()

    # ---- when ----

    @property
    def _looks_at_once(self) -> bool:
        args = self.trainer.args
        return args.device.type == "cpu" and args.world_size == 1 and args.skip_nonfinite_steps == 0

    def check_terms(self) -> None:
        """
        Read the flags, in all processes.

        Raises:
            [`NonFinite`]: in all of them, if a term was not finite in one.
        """
        if self._looks_at_once or self.trainer.args.skip_nonfinite_steps:
            return
        own = {name: int(step) for name, step in self._first.items() if step != _NEVER}
        everywhere = gather_object([own]) if self.trainer.args.world_size > 1 else [own]
        found = min(((step, name) for steps in everywhere for name, step in steps.items()), default=None)
        if found is not None:
            self._stop(f"{found[1]} was not finite", found[0])

    def check_gradient_norm(self, norm: float) -> None:
        """
        Raises:
            [`NonFinite`]: if a norm that is logged is not finite. (With fp16 the scaler leaves such steps out by itself.)
        """
        args = self.trainer.args
        if not math.isfinite(norm) and not args.fp16 and not args.skip_nonfinite_steps:
            self._stop(f"the norm of the gradient is {norm}", self.trainer.state.global_step)

    def check_weights(self) -> None:
        """
        Before they are saved.

        Raises:
            [`NonFinite`]: in all processes, if a weight of one is not finite.
        """
        self.check_terms()
        trainer = self.trainer
        model: Any = trainer.model
        weights = {name: value.detach() for name, value in model.named_parameters() if value.is_floating_point()}
        wrong = None
        # One wait for the device; the name is looked for only where there is something to name.
        if not _are_finite([*weights.values()]):
            wrong = next(name for name, value in weights.items() if not _are_finite([value]))
        everywhere = gather_object([wrong]) if trainer.args.world_size > 1 else [wrong]
        wrong = next((name for name in everywhere if name is not None), None)
        if wrong is not None:
            self._stop(f"the weights {wrong} are not finite", trainer.state.global_step)

    # ---- what is said ----

    def _stop(self, what: str, step: int, inputs: dict[str, Any] | None = None) -> None:
        args = self.trainer.args
        kept = newest_whole(Path(str(args.output_dir)))[0]
        raise NonFinite(
            f"Training was stopped in step {step}: {what}.{self._texts(inputs)} Lower learning_rate={args.learning_rate:g}, clip "
            "by max_grad_norm, or look for such numbers in the data; skip_nonfinite_steps=N leaves out up to N steps. "
            + (f"The last checkpoint is {kept}." if kept is not None else "Nothing was saved.")
        )

    def _texts(self, inputs: dict[str, Any] | None) -> str:
        """The first rows of the batch, as far as they can be read."""
        decode = getattr(self.trainer.processing_class, "decode", None)
        ids = (inputs or {}).get("input_ids")
        if decode is None or ids is None:
            return ""
        rows = [decode(row, skip_special_tokens=True)[:_CHARACTERS] for row in ids[:_TEXTS]]
        more = f" and {len(ids) - _TEXTS} more" if len(ids) > _TEXTS else ""
        return f" Its batch: {', '.join(map(repr, rows))}{more}."


def _are_finite(tensors: list[torch.Tensor]) -> bool:
    """Whether all are, with one wait for each device that they are on."""
    flags: dict[torch.device, list[torch.Tensor]] = {}
    for value in tensors:
        flags.setdefault(value.device, []).append(torch.isfinite(value).all())
    return all(bool(torch.stack(of_device).all()) for of_device in flags.values())
