"""`MixTrainer`: the Trainer of transformers, with a method that turns a batch into its losses.

Only what mixing needs is changed: a step draws a plan, the loss is computed outside the model by one function, and its
scale is that of the mean over the global batch, however that is split into micro-batches and processes. Evaluation never
mixes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput

from mixtext_hf._compat import reload_renamed_weights
from mixtext_hf._quiet import holding_back
from mixtext_hf.data.two_streams import UnlabeledTexts
from mixtext_hf.hub.card import CardData
from mixtext_hf.methods import PIXELS, AugMix, MixMethod, MixText, Step, Watch
from mixtext_hf.mixing import MixedLoss, MixPlan, has_label
from mixtext_hf.mixing.targets import ProblemType
from mixtext_hf.models import make_mixable
from mixtext_hf.models.any_classifier import Classifier, logits_of, takes_pixels
from mixtext_hf.models.mixable import mixer_of
from mixtext_hf.models.modes import evaluating, full_precision
from mixtext_hf.models.stack import unwrap
from mixtext_hf.version import __version__

from .arguments import MixTrainingArguments
from .card import describe, versions
from .checks import check_backward_passes, check_before_training
from .data_handed_over import as_rows, as_splits, check_model, check_processor
from .evaluating import EvaluatingTrainer, without_labels
from .finite import FiniteWatch
from .guesses import Guesses, labels_of, make_guesses
from .hub import HubTrainer
from .images import normalisation
from .last_batch import check_batches
from .loading import LoadingTrainer
from .memory import Memory
from .own_folder import in_own_folder
from .ranks import MeanLoss
from .resuming import as_finished, checkpoint_of
from .same_run import identity_of
from .stopping import Stopped, StopWell
from .terms import Terms
from .unlabeled import (
    SetEpoch,
    check_all_labelled,
    check_semi_supervised,
)
from .whole_checkpoints import begin, finish, newest_whole, remove_older


logger = logging.getLogger(__name__)

# A head that nobody has trained yet is hardly moved by the steps that are right for the pretrained weights below it. The
# size is that of the MixText code (Chen et al., 2020); measured in docs/results.md.
NEW_HEAD_LEARNING_RATE = 1e-3
_TEXTS_ARE_MIXED = "texts: use embed_mixup, tmix or manifold_mixup"


class MixTrainer(EvaluatingTrainer, LoadingTrainer, HubTrainer):
    r"""
    Trains a model with a mixing method; every argument of `transformers.Trainer` keeps its meaning.

    Args:
        model (`PreTrainedModel` or `PeftModel`, *optional*):
            A classifier; made mixable in place if the method mixes hidden states and it is not yet. Either this or
            `model_init`.
        args ([`MixTrainingArguments`]): Names the method and its hyper-parameters.
        method ([`MixMethod`], *optional*):
            A method object, in place of the one that `args` names; `mix_start` and `mix_end` of `args` still hold.
        data_collator (`Callable`, *optional*):
            Not given, with a tokenizer as `processing_class`: [`MixDataCollator`], which tokenises raw text columns
            (recognised by their names) and passes ready `input_ids` through. With an image processor: [`ImageCollator`], which
            does the same for images and ready `pixel_values`; training images are then augmented as `args` says.
        unlabeled_dataset (`datasets.Dataset` or `Sequence[dict]`, *optional*):
            Unlabelled texts, for the methods that learn from them; others leave them alone, with a warning. Its views
            are named by `args`. A label column only serves to report how many guesses are right.

    The loss of a step and its gradient are those of the mean over all labelled rows of the global batch (the consistency
    loss: over all unlabelled rows), for every method and any accumulation and world size. (The plain Trainer multiplies both by the accumulation steps and by the
    world size for most text classifiers: https://github.com/huggingface/transformers/issues/47688.)

    `card_data` holds what the card of the model says beside what the trainer sees for itself, see [`~mixtext_hf.hub.CardData`]:
    `trainer.card_data.language = "en"`.
    """

    args: MixTrainingArguments
    _signature_columns: list[str] | None  # type: ignore[assignment]  # the base class says `None` alone
    # `compute_loss` returns the micro-batch's share of the global mean, times the accumulation steps by which the
    # Trainer divides.
    loss_is_scaled_for_ga = False

    def __init__(
        self,
        model: PreTrainedModel | nn.Module | None = None,
        args: MixTrainingArguments | None = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        model_init: Callable[..., PreTrainedModel] | None = None,
        compute_loss_func: Callable | None = None,
        *positional: Any,
        method: MixMethod | None = None,
        unlabeled_dataset: Any = None,
        **kwargs: Any,
    ):
        check_model(model)
        check_processor(processing_class)
        train_dataset = as_rows(train_dataset, "train_dataset")
        eval_dataset = as_splits(eval_dataset, "eval_dataset")
        args = MixTrainingArguments("tmp_trainer") if args is None else args
        if not isinstance(args, MixTrainingArguments):
            raise TypeError(f"`args` must be MixTrainingArguments, got {type(args).__name__}.")
        if compute_loss_func is not None:
            raise ValueError(
                "`compute_loss_func` would replace the loss on mixed targets: put it in a MixMethod instead."
            )
        if args.n_gpu > 1:
            raise ValueError(
                f"{args.n_gpu} GPUs are visible to one process, which means DataParallel: a batch cut into pieces cannot "
                f"be mixed. Start one process for each: `torchrun --nproc_per_node {args.n_gpu} script.py ...` or "
                "`accelerate launch script.py ...`; or set CUDA_VISIBLE_DEVICES=0."
            )
        self.args = args
        if args.push_to_hub and args.process_index == 0:
            self.destination.check_token()
        self.card_data = CardData(model_name="")
        self._given_method = method
        self._trains = train_dataset is not None
        self.unlabeled_dataset = as_rows(unlabeled_dataset, "unlabeled_dataset")
        self.unlabeled_texts: UnlabeledTexts | None = None
        self.guesses: Guesses | None = None
        # Where the frozen encoder's features are kept beyond this run, for others with the same texts.
        self.features_folder: Path | None = None
        self.data_fingerprint: dict[str, Any] | None = None
        self._set_epoch = SetEpoch()
        self._watch: Watch | None = None
        self._memory = Memory()
        self._evaluated: MeanLoss | None = None
        self._finite = FiniteWatch(self)
        self.stop = StopWell(self)
        self._label_shares: torch.Tensor | None = None
        self._has_warned_of_unused = False
        self._is_made = False
        self._in_search = False
        self.is_resumed = False
        self._learns_image_columns = False
        self._terms = Terms(args)
        self._micro_step = 0
        self._labelled_rows: torch.Tensor | None = None
        self._labels_are_checked = False
        self._pixel_mean: torch.Tensor | None = None
        self._pixel_std: torch.Tensor | None = None
        self.data_collator = data_collator
        self.train_dataset, self.eval_dataset, self.processing_class = train_dataset, eval_dataset, processing_class
        if model is not None:
            # Before the Trainer makes its folder.
            self._adopt(model)
            self._choose_collator(data_collator)
            self._check_unlabeled()
            check_before_training(self)
        with warnings.catch_warnings():
            # What it says of its own label smoothing does not hold here: `MixedLoss` smooths multi-label targets too.
            warnings.filterwarnings("ignore", message="Label smoothing is not compatible with multi-label")
            super().__init__(
                model,
                args,
                self.data_collator,
                train_dataset,
                eval_dataset,
                processing_class,
                model_init,
                compute_loss_func,
                *positional,
                **kwargs,
            )
        # Otherwise the Trainer counts labels in its own way and hands the count to models that ignore it.
        self.model_accepts_loss_kwargs = False
        if model is None:
            self._choose_collator(data_collator)
            self._check_unlabeled()
            check_before_training(self)
        self.add_callback(self._set_epoch)
        self.add_callback(self._memory)
        self.add_callback(self._finite)
        self.add_callback(self.stop)
        self._is_made = True

    # ---- the model and the method ----

    @in_own_folder
    def train(self, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        """
        Train, as `Trainer.train` does; where the method learns from guesses made before training, these are made first, or read
        if an earlier start of the same run made them.

        Raises:
            [`Stopped`]: a `KeyboardInterrupt`, after the step in which Ctrl-C or SIGTERM came; a checkpoint was written then.
            [`NonFinite`]: where a loss, a gradient or a weight is not finite.
            [`BrokenCheckpoint`]: if there is no whole checkpoint to go on with.
            [`FolderInUse`]: if another process trains into `output_dir`.
        """
        self.remove_staged()
        checkpoint = checkpoint_of(self, resume_from_checkpoint)
        output = None if checkpoint is None else as_finished(self, checkpoint)
        if output is None:
            if self.learns_from_guesses:
                if self.guesses is None:
                    self.guesses = make_guesses(self, resume=bool(resume_from_checkpoint))
                # What was drawn at random on the way to the guesses, if they were not there, shall not tell.
                set_seed(self.args.seed)
            # What differs from the run of the checkpoint was said by `check_same_run`.
            with self.stop.listening(), holding_back("do not match the ones in", ["transformers.trainer_utils"]):
                output = super().train(checkpoint, *args, **kwargs)
            if self.stop.number is not None and self.state.global_step < self.state.max_steps:
                kept, _ = newest_whole(Path(str(self.args.output_dir)))
                raise Stopped(self.stop.number, self.state.global_step, kept)
            if self.model is not None:
                self._share_buffers()
                self._finite.check_weights()
            output = TrainOutput(output.global_step, output.metrics["train_loss"], output.metrics)
        if self._memory.skipped_steps:
            output.metrics["skipped_steps"] = self._memory.skipped_steps
        return output

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self._finite.check_weights()
        before = self._memory.loss_before
        self._memory.loss_sum = None if before is None else before + self._total_loss_scalar + self._tr_loss.item()
        if self.args.should_save:
            begin(folder)
        # Older checkpoints go when this one is whole.
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            finish(folder, {"step": self.state.global_step, "versions": versions(), "run": identity_of(self)})
            if limit is not None:
                remove_older(folder.parent, keep=limit, best=self.state.best_model_checkpoint)

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        self._share_buffers()
        self._finite.check_weights()
        super().save_model(*args, **kwargs)

    def call_model_init(self, trial: Any = None) -> nn.Module:
        model = super().call_model_init(trial)
        # In a search the arguments are still those of the last trial; `_hp_search_setup` settles with the new ones.
        self._adopt(model, settle=not self._is_made)
        return model

    def _adopt(self, model: nn.Module, *, settle: bool = True) -> None:
        """Look at the model, and settle the method and the task's loss for it."""
        inner = unwrap(model)
        config = inner.config
        self._adopted = model
        self.mixer: Classifier = Classifier(inner)
        self._takes_pixels = takes_pixels(inner)
        self._recipe = getattr(config, "mixtext", None)
        self._config: Any = config
        if settle:
            self._settle()

    def _settle(self) -> None:
        """Everything that depends on the model and the arguments together; checked before training starts."""
        if self._given_method is not None and self.args.named_in_method:
            raise ValueError(
                f"A method object was given, and the arguments name {', '.join(self.args.named_in_method)} as well: say it "
                f"in one place, {type(self._given_method).__name__}(...) or the arguments."
            )
        self.method = self._given_method or self.args.make_method(
            self._recipe,
            default="mixup" if self._takes_pixels else "tmix",
            in_search=self._in_search,
        )
        if self.method.mixes_pixels and not self._takes_pixels:
            what = "ids of colours: use erm" if self._config.model_type == "imagegpt" else _TEXTS_ARE_MIXED
            raise ValueError(
                f"{self.method.name} mixes the pixels of images, and {type(self.mixer.model).__name__} reads {what}."
            )
        if self.method.mixes_pixels and self._config.model_type == "siglip2":
            raise ValueError(
                f"{type(self.mixer.model).__name__} reads images as patches of different numbers, which {self.method.name} cannot mix: "
                "use erm, or a model of images of one size, such as google/siglip2-base-patch16-224."
            )
        if self.method.uses_unlabeled and self._takes_pixels:
            raise ValueError(
                f"{self.method.name} learns from texts, and {type(self.mixer.model).__name__} reads images: use mixup, "
                "cutmix, puzzlemix or manifold_mixup."
            )
        if self.method.needs_layers or mixer_of(self.mixer.model) is not None:
            self.mixer = make_mixable(self._adopted)
        if self.method.needs_layers:
            self.mixer.check_pad(self.method.pad)
        for layer in self.method.layer_set(self.mixer.depth) or ():
            try:
                self.mixer.check_layer(layer)
            except ValueError as error:
                raise ValueError(f"mix_layers: {error} Without mix_layers the method takes its own.") from error
        check_backward_passes(self.args, self.method.name, self.method.most_passes)
        mixes = self.method.mixes and self.method.alpha > 0
        needs_pairs = (
            self._trains and mixes and not (isinstance(self.method, MixText) and self.method.mix_within == "all")
        )
        if needs_pairs and self.args.per_device_train_batch_size == 1:
            raise ValueError(
                f"per_device_train_batch_size=1 leaves {self.method.name} nothing to mix a row with: use at least 2 "
                "(and fewer gradient_accumulation_steps for the same total), or mix_method='erm'."
            )
        self.loss = MixedLoss(
            problem_type=_problem_type(self._config),
            num_labels=self._config.num_labels,
            label_smoothing=self.args.label_smoothing_factor,
        )
        if isinstance(self.method, AugMix) and self.loss.problem_type != "single_label_classification":
            raise ValueError(
                f"augmix compares distributions over classes, but the task is {self.loss.problem_type}: use mixup, cutmix or "
                "manifold_mixup."
            )
        if isinstance(self.method, MixText) and self._trains:
            check_semi_supervised(self.method, self.loss, self.unlabeled_dataset, self.args)
        needs_classes = self.method.partner in ("same_class", "other_class")
        if self.method.mixes and needs_classes and self.loss.problem_type != "single_label_classification":
            raise ValueError(
                f"partner={self.method.partner!r} pairs rows by their one class, but the task is "
                f"{self.loss.problem_type}: use 'any' or 'nearest_length'."
            )

    def _hp_search_setup(self, trial: Any) -> None:
        # Runs at the start of every `train()`; a trial of a hyperparameter search changes `args` here.
        super()._hp_search_setup(trial)
        self._in_search = trial is not None
        self._settle()
        if self._in_search:
            check_batches(self)  # of the size that the trial has drawn
        self._terms = Terms(self.args)
        self.is_resumed = False
        # On the device from the beginning, as all that a step needs: a copy in the middle of a step waits for the device.
        shares = self._shares_of_labels()
        self._label_shares = None if shares is None else torch.tensor(shares, device=self.args.device)
        self._watch = self.method.watch(shares)
        self._memory.load({})
        self._finite.start()
        self.mixer.reset()
        self._labels_are_checked = False
        if self._takes_pixels:
            mean, std = normalisation(self.data_collator, self.processing_class, self._num_channels, self.method)
            self._pixel_mean = None if mean is None else mean.to(self.args.device)
            self._pixel_std = None if std is None else std.to(self.args.device)
        self._config.mixtext = {
            "version": __version__,
            "method": self.method.name,
            "hyperparameters": self.method.hyperparameters(),
        }

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        is_given = self.optimizer is not None
        optimizer = super().create_optimizer(model)
        head_learning_rate = self._memory.head_learning_rate = self.head_learning_rate
        if head_learning_rate is not None and not is_given:
            head = {id(parameter) for parameter in self.mixer.head_parameters()}
            if not head:
                raise ValueError(
                    "head_learning_rate was given, but the model has no parameters outside its base model."
                )
            optimizer.param_groups[:] = _split_groups(optimizer.param_groups, head, head_learning_rate)
        return optimizer

    @property
    def head_learning_rate(self) -> float | None:
        """
        Of everything outside the base model: as given, else at least [`NEW_HEAD_LEARNING_RATE`] where the head is new on a
        pretrained base model. `None`: that of all parameters.
        """
        given, of_all = self.args.head_learning_rate, self.args.learning_rate
        if given is None and self.is_resumed:
            # The model may come from the checkpoint, where its head is new no longer.
            return self._memory.head_learning_rate
        if given is not None or not self.mixer.head_is_new or not 0 < of_all < NEW_HEAD_LEARNING_RATE:
            return given
        return NEW_HEAD_LEARNING_RATE

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

    # ---- one step ----

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        try:
            return super().training_step(*args, **kwargs)
        except BaseException:
            self.mixer.reset()
            raise

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        """
        Draw the plan of this micro-batch: a pure function of (seed, optimiser step, micro-step, rank), so that a resumed
        run mixes as the uninterrupted one, and every process draws its own.
        """
        batch_size = len(inputs["labels"])
        texts = inputs.get("text_labels")
        progress = self.state.global_step / max(self.state.max_steps, 1)
        if not self.method.mixes or not self.args.mix_start <= progress < self.args.mix_end:
            return MixPlan.identity(batch_size)
        rng = np.random.default_rng(
            [self.args.seed, self.state.global_step, self._micro_step, self.args.process_index]
        )
        needs = self.method.partner
        mask = inputs.get("attention_mask")
        images = inputs.get(PIXELS)
        return self.method.draw(
            batch_size,
            depth=self.mixer.depth,
            rng=rng,
            labels=inputs["labels"] if needs in ("same_class", "other_class") else None,
            lengths=mask.sum(dim=1) if needs == "nearest_length" and mask is not None else None,
            unlabeled=0 if texts is None else len(texts) * self.args.num_views,
            image_size=None if images is None else (images.shape[-2], images.shape[-1]),
        )

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The task's loss. In training: of the mixed batch, as its share of the global mean; in evaluation: plain."""
        if model.training:
            if return_outputs:
                raise ValueError("A mixed batch has no outputs of its own rows: return_outputs is for evaluation.")
            return self._training_loss(model, inputs)
        inputs, labels = without_labels(inputs), inputs["labels"]
        # Without labels the head neither chooses a loss nor writes its choice into the config.
        logits = logits_of(model(**inputs))
        losses, counts = self.loss.of_rows(logits, labels)
        if self._evaluated is not None:
            self._evaluated.add(losses, counts)
        loss = self.loss.mean(losses, counts)
        # Whatever else a model returns (attentions, states of an encoder) is not gathered.
        return (loss, {"logits": logits}) if return_outputs else loss

    def _training_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        plan = self.draw_plan(inputs).to(self.args.device)
        self._micro_step += 1
        text_labels, text_guesses = inputs.get("text_labels"), inputs.get("text_guesses")
        inputs, labels = without_labels(inputs), inputs["labels"]

        def forward(inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = True) -> torch.Tensor:
            if not dropout:
                self._share_buffers()
            with self.mixer.applying(plan), nullcontext() if dropout else evaluating(model):
                return logits_of(model(**inputs))

        def saliency_forward(
            inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = False
        ) -> torch.Tensor:
            # Wrappers of several processes expect a backward pass through their parameters, and a compiled model has a
            # gradient of its own: neither here. Pixels stay float32 in the graph, whatever the weights are in.
            inner = self.accelerator.unwrap_model(model, keep_torch_compile=False)
            self._share_buffers()
            inputs = {**inputs, PIXELS: inputs[PIXELS].to(inner.dtype)}
            mode = nullcontext() if dropout else evaluating(inner)
            with self.mixer.applying(plan), mode, full_precision(inner):
                return logits_of(inner(**inputs))

        scale = self._loss_scale(labels)
        losses = self.method.losses(
            Step(
                forward=forward,
                inputs=inputs,
                labels=labels,
                plan=plan,
                loss=self.loss,
                text_labels=text_labels,
                text_guesses=text_guesses,
                views=self.args.num_views,
                number=self.state.global_step,
                total=max(self.state.max_steps, 1),
                label_shares=self._label_shares,
                memory=self._memory.tensors,
                average=self._average,
                note=self._terms.add,
                saliency_forward=saliency_forward,
                pixel_mean=self._pixel_mean,
                pixel_std=self._pixel_std,
            )
        )
        early: torch.Tensor | None = None
        passes = self.method.passes(plan)
        check_backward_passes(self.args, self.method.name, passes)
        for _ in range(passes - 1):
            with self.accelerator.no_sync(model=model):
                terms = next(losses)
                loss = _sum(terms) * scale
                self.accelerator.backward(loss / self.current_gradient_accumulation_steps)
            early = loss.detach() if early is None else early + loss.detach()
            self._see(terms, inputs)
        terms = next(losses)
        self._see(terms, inputs)
        self._terms.add({"mix_lambda": plan.lam.mean()})
        if isinstance(plan.layer, int):
            self._terms.add({"mix_layer": torch.full((), float(plan.layer), device=self.args.device)})
        loss = _sum(terms) * scale
        return loss if early is None else loss + early

    def _see(self, terms: dict[str, torch.Tensor], inputs: dict[str, Any]) -> None:
        self._finite.see_terms(terms, inputs)
        self._terms.add(terms)

    def _average(self, value: torch.Tensor) -> torch.Tensor:
        """The mean over all processes."""
        if self.args.world_size == 1:
            return value
        averaged: torch.Tensor = self.accelerator.reduce(value, reduction="mean")
        return averaged

    def _shares_of_labels(self) -> list[float] | None:
        """Of the classes among the labelled rows, for methods that learn from unlabelled ones too."""
        if not isinstance(self.method, MixText) or self.train_dataset is None or self.loss is None:
            return None
        check_all_labelled(self.train_dataset, self.data_collator, self.loss.num_labels)
        labels = labels_of(self.train_dataset, self.data_collator)
        counts = np.bincount(labels, minlength=self.loss.num_labels)
        return [float(count) for count in counts / counts.sum()]

    def _loss_scale(self, labels: torch.Tensor) -> torch.Tensor | float:
        """What turns the mean over this micro-batch into its share of the mean over the global batch.

        Gradients are averaged over processes, and the Trainer divides by the accumulation steps: both are undone here.
        """
        if self._labelled_rows is None:
            return 1.0
        if self.args.world_size == self.current_gradient_accumulation_steps == 1:
            # All rows of the global batch are here, if there are any.
            return self._labelled_rows.clamp(max=1)
        rows = has_label(labels).sum()
        return (
            rows * self.args.world_size * self.current_gradient_accumulation_steps / self._labelled_rows.clamp(min=1)
        )

    def _mean_loss(self, of_this_start: float) -> float:
        """Over all steps of the run; the Trainer knows those since it was resumed."""
        before = self._memory.loss_before
        return of_this_start if before is None else (before + self._total_loss_scalar) / self.state.global_step

    # ---- the card and logging ----

    def describe_model(self, folder: Path) -> CardData:
        return describe(self, folder)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self._finite.check_terms()
            if "grad_norm" in logs:
                self._finite.check_gradient_norm(logs["grad_norm"])
            logs = {**logs, **self._summary()}
        if "train_loss" in logs:
            logs["train_loss"] = self._mean_loss(logs["train_loss"])
        super().log(logs, start_time)

    def _summary(self) -> dict[str, float]:
        """What the method makes of the averages of the window; says aloud what its watch finds in them."""
        averages, counts = self._terms.averages()
        alarm = self._watch(averages, counts) if self._watch is not None else None
        if alarm is not None and self.is_world_process_zero():
            logger.warning("Step %d: %s", self.state.global_step, alarm)
        return self.method.summarise(averages)


def _sum(terms: dict[str, torch.Tensor]) -> torch.Tensor:
    values = list(terms.values())
    return torch.stack(values).sum() if len(values) > 1 else values[0]


def _problem_type(config: Any) -> ProblemType:
    """The task as the config says it, else as transformers would read it off `num_labels` and integer labels."""
    if config.problem_type is not None:
        return config.problem_type
    return "regression" if config.num_labels == 1 else "single_label_classification"


def _split_groups(groups: list[dict[str, Any]], head: set[int], head_learning_rate: float) -> list[dict[str, Any]]:
    """Each parameter group in two: encoder with its own learning rate, head with `head_learning_rate`."""
    split = []
    for group in groups:
        inside = [p for p in group["params"] if id(p) in head]
        outside = [p for p in group["params"] if id(p) not in head]
        split.append({**group, "params": outside})
        split.append({**group, "params": inside, "lr": head_learning_rate})
    return [group for group in split if group["params"]]
