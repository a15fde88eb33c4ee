"""What a [`MixTrainer`] saves, whole or not at all, and how its checkpoints are read again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn
from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from mixtext_hf._files import whole_file, whole_files, write_json
from mixtext_hf.hub.facts import CARD
from mixtext_hf.models.any_classifier import Classifier
from mixtext_hf.models.renamed_weights import reload_renamed_weights
from mixtext_hf.version import versions

from .evaluating import EvaluatingTrainer
from .finite import FiniteWatch
from .memory import Memory
from .same_run import identity_of
from .whole_checkpoints import begin, finish, remove_older


if TYPE_CHECKING:
    from .trainer import MixTrainer


# `model.safetensors`, or `model-00001-of-00002.safetensors` and an index.
_WEIGHTS = re.compile(r"(?P<stem>\w+?)(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


class SavingTrainer(EvaluatingTrainer):
    """A Trainer that saves no weight that is not finite, and no half of a checkpoint."""

    is_resumed = False
    mixer: Classifier
    _finite: FiniteWatch
    _memory: Memory

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._finite.check_weights()
        self._memory.loss_sum = self._memory.loss_so_far(self._total_loss_scalar, self._tr_loss.item())
        with self._written_whole(folder):
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                self._memory.save_archive(folder)

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

    # ---- the model, metrics, state ----

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        self._share_buffers()
        self._finite.check_weights()
        super().save_model(*args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        folder = Path(str(self.args.output_dir) if output_dir is None else output_dir)
        if not self.args.should_save:
            super()._save(output_dir, state_dict=state_dict)
            return
        with whole_files(folder) as partial:
            super()._save(str(partial), state_dict=state_dict)
            if (partial / "adapter_config.json").is_file():
                # The number and names of the classes, and the recipe: an adapter alone does not know them. (A local folder of
                # both is for PEFT and this package: transformers takes it for a whole model. From the Hub it takes the base.)
                self.mixer.model.config.save_pretrained(partial)
            # PEFT writes a card of its own into every folder that it saves to.
            (partial / CARD).unlink(missing_ok=True)
            saved = {path.name for path in partial.iterdir()}
        for path in _superseded(folder, saved):
            path.unlink()

    def save_metrics(self, split: str, metrics: dict[str, float], combined: bool = True) -> None:
        folder = Path(str(self.args.output_dir))
        if not self.is_world_process_zero():
            return
        write_json(folder / f"{split}_results.json", metrics, indent=4, sort_keys=True)
        if combined:
            path = folder / "all_results.json"
            others = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            write_json(path, {**others, **metrics}, indent=4, sort_keys=True)

    def save_state(self) -> None:
        if self.is_world_process_zero():
            with whole_file(Path(str(self.args.output_dir)) / TRAINER_STATE_NAME) as partial:
                self.state.save_to_json(str(partial))


def _superseded(folder: Path, saved: set[str]) -> Iterator[Path]:
    """Weights that an earlier model left, whole or in pieces, beside those that were saved in another form."""
    stems = {found["stem"] for name in saved if (found := _WEIGHTS.fullmatch(name))}
    for path in folder.iterdir():
        found = _WEIGHTS.fullmatch(path.name)
        if found is not None and found["stem"] in stems and path.name not in saved:
            yield path
