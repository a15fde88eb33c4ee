"""The checkpoints of a [`MixTrainer`]: whole ones are written, and read by the names that they were written under."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn
from transformers import PreTrainedModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mixtext_hf.models.renamed_weights import reload_renamed_weights
from mixtext_hf.version import versions

from .evaluating import EvaluatingTrainer
from .finite import FiniteWatch
from .memory import Memory
from .same_run import identity_of
from .whole_checkpoints import begin, finish, remove_older


if TYPE_CHECKING:
    from .trainer import MixTrainer


class SavingTrainer(EvaluatingTrainer):
    """A Trainer that saves no weight that is not finite, and no half of a checkpoint."""

    is_resumed = False
    _finite: FiniteWatch
    _memory: Memory

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._finite.check_weights()
        self._memory.loss_sum = self._memory.loss_so_far(self._total_loss_scalar, self._tr_loss.item())
        with self._written_whole(folder):
            super()._save_checkpoint(model, trial)

    @contextmanager
    def _written_whole(self, folder: Path) -> Iterator[None]:
        """The checkpoint that is written inside this context is marked until it is whole; older ones go only then."""
        args = self.args
        if args.should_save:
            begin(folder)
        limit, args.save_total_limit = args.save_total_limit, None
        try:
            yield
        finally:
            args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if args.should_save:
            about = {
                "step": self.state.global_step,
                "versions": versions(),
                "run": identity_of(cast("MixTrainer", self)),
            }
            finish(folder, about)
            if limit is not None:
                remove_older(folder.parent, keep=limit, best=self.state.best_model_checkpoint)

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        self._share_buffers()
        self._finite.check_weights()
        super().save_model(*args, **kwargs)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.is_resumed = True
        self._memory.load_checkpoint(resume_from_checkpoint)
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        self._reload_renamed(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.state.best_model_checkpoint is not None:
            self._reload_renamed(self.state.best_model_checkpoint)

    def _reload_renamed(self, folder: str, model: nn.Module | None = None) -> None:
        model = self.model if model is None else model
        if isinstance(model, PreTrainedModel) and not self.is_fsdp_enabled and not self.is_deepspeed_enabled:
            reload_renamed_weights(model, folder)
