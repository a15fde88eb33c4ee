"""`MixTrainer`: the Trainer of transformers, with a method that turns a batch into its losses.

Only what mixing needs is changed: a step draws a plan, the loss is computed outside the model by one function, and its
scale is that of the mean over the global batch, however that is split into micro-batches and processes. Evaluation never
mixes.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, set_seed
from transformers.trainer_utils import TrainOutput

from mixtext_hf._quiet import holding_back
from mixtext_hf.data.labels.mapping import LabelMap
from mixtext_hf.hub.facts import CardData
from mixtext_hf.methods import MixMethod, MixText, Step, Watch
from mixtext_hf.mixing import MixPlan
from mixtext_hf.models import make_mixable
from mixtext_hf.models.any_classifier import Classifier, takes_pixels
from mixtext_hf.models.class_names import agree_on_names
from mixtext_hf.models.cls_attention import ClsAttention
from mixtext_hf.models.mixable import mixer_of
from mixtext_hf.models.stack import patch_size_of, unwrap
from mixtext_hf.models.stored_temperature import recipe_of_config
from mixtext_hf.models.token_kinds import TokenKinds

from .arguments import MixTrainingArguments
from .best_model import check_best_metric
from .card import describe
from .checks import (
    attention_for,
    check_arguments,
    check_backward_passes,
    check_before_training,
    check_layers,
    check_partners,
    check_task,
    check_watching,
)
from .data_handed_over import as_rows, as_splits, check_model, check_processor
from .finite import FiniteWatch
from .guesses import make_guesses
from .head_rate import head_rate, set_head_rate
from .hub import HubTrainer
from .images import check_images, check_normalisation, normalisation
from .last_batch import check_batches
from .loading import LoadingTrainer
from .long_tail import check_long_tail, loss_for_long_tail
from .memory import Memory
from .neighbours import find_neighbours
from .one_step import step_of
from .own_folder import in_own_folder
from .padding import settle_padding
from .resuming import as_finished, checkpoint_of
from .saving import SavingTrainer
from .settling import loss_for, method_for, plan_for, recipe_of
from .steps import warn_of_steps
from .stopping import StopWell
from .terms import Terms, total
from .unlabeled import SetEpoch, check_semi_supervised
from .visits import check_kept_texts
from .words import kinds_for


logger = logging.getLogger(__name__)


class MixTrainer(LoadingTrainer, SavingTrainer, HubTrainer):
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

    A tokenizer of a decoder, whose head reads the last token of a text, is made to pad on the left where hidden states are mixed, and gets a
    padding token where it has none: in place, and with a warning, so that it is saved so.

    `card_data` holds what the card of the model says beside what the trainer sees for itself, see [`~mixtext_hf.hub.CardData`]:
    `trainer.card_data.language = "en"`.
    """

    args: MixTrainingArguments
    # `compute_loss` returns the micro-batch's share of the global mean, times the accumulation steps by which the
    # Trainer divides.
    loss_is_scaled_for_ga = False

    # Where the frozen encoder's features are kept beyond this run, for others with the same texts.
    features_folder: Path | None = None
    data_fingerprint: dict[str, Any] | None = None
    # Whether this trainer warns of what has no effect in a run of its length; those that train for its guesses do not.
    says_what_steps_come_to = True
    _is_made = False
    _in_search = False
    _watch: Watch | None = None
    _label_shares: torch.Tensor | None = None
    _pixel_mean: torch.Tensor | None = None
    _pixel_std: torch.Tensor | None = None
    _attention: ClsAttention | None = None
    _token_kinds: TokenKinds | None = None

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
        check_arguments(args, compute_loss_func)
        self.args = args
        if args.push_to_hub and args.process_index == 0:
            self.destination.check_token()
        self.card_data = CardData(model_name="")
        self._given_method = method
        self._trains = train_dataset is not None
        self.unlabeled_dataset = as_rows(unlabeled_dataset, "unlabeled_dataset")
        # What the classes of `guesser="checkpoint:..."` mean, where they have other names.
        self.guesser_label_map: LabelMap = {}
        self._set_epoch = SetEpoch()
        self._memory = Memory()
        self._terms = Terms(args)
        self._finite = FiniteWatch(self)
        self.stop = StopWell(self)
        self.data_collator = data_collator
        self.train_dataset, self.eval_dataset, self.processing_class = train_dataset, eval_dataset, processing_class
        if model is not None:
            # Before the Trainer makes its folder.
            self._adopt(model)
            self._settle_data(data_collator)
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
        # An `evaluate` of somebody's own may return more than `compute_metrics`.
        if train_dataset is not None and type(self).evaluate is MixTrainer.evaluate:
            check_best_metric(args, self.compute_metrics)
        # Otherwise the Trainer counts labels in its own way and hands the count to models that ignore it.
        self.model_accepts_loss_kwargs = False
        if model is None:
            self._settle_data(data_collator)
        for callback in (self._set_epoch, self._memory, self._finite, self.stop):
            self.add_callback(callback)
        self._is_made = True

    # ---- settle: the model, the method, the data ----

    def call_model_init(self, trial: Any = None) -> nn.Module:
        model = super().call_model_init(trial)
        # In a search the arguments are still those of the last trial; `_hp_search_setup` settles with the new ones.
        self._adopt(model, settle=not self._is_made)
        return model

    def _adopt(self, model: nn.Module, *, settle: bool = True) -> None:
        """Look at the model, and settle the method and the task's loss for it."""
        inner = unwrap(model)
        agree_on_names(inner.config)
        self._adopted = model
        self.mixer: Classifier = Classifier(inner)
        self._takes_pixels = takes_pixels(inner)
        self._config: Any = inner.config
        self._patch_size = patch_size_of(inner.config) if self._takes_pixels else None
        self._recipe = recipe_of_config(self._config)
        if settle:
            self._settle()

    def _settle(self) -> None:
        """Everything that depends on the model and the arguments together; checked before training starts."""
        self.method = method_for(
            self.mixer.model, self.args, given=self._given_method, recipe=self._recipe, in_search=self._in_search
        )
        if self.method.needs_layers or mixer_of(self.mixer.model) is not None:
            self.mixer = make_mixable(self._adopted)
        elif self.method.watches_states:
            # All that the embeddings do is seen there; of other models what their tokens are looked up as, whoever asks.
            with suppress(ValueError):
                self.mixer = make_mixable(self._adopted)
        check_layers(self.method, self.mixer)
        self._attention = attention_for(self.method, self.mixer.model, self.args)
        check_backward_passes(self.args, self.method.name, self.method.most_passes)
        if self._trains:
            check_partners(self.method, self.args, self.train_dataset)
            check_watching(self.method, self.mixer, self.args)
        self.loss = loss_for(self.mixer.model, self.args)
        check_task(self.method, self.loss)
        check_long_tail(self.args, self.loss, self.method, in_search=self._in_search)
        if isinstance(self.method, MixText) and self._trains:
            check_semi_supervised(self.method, self.loss, self.unlabeled_dataset, self.args)

    def _settle_data(self, collator: Any) -> None:
        """The collator and the unlabelled texts for this model and method, and what takes them and the device to see."""
        self._choose_collator(collator)
        settle_padding(self)
        self._check_unlabeled()
        self._token_kinds = kinds_for(self)
        if self._takes_pixels:
            rows, collator = self.train_dataset, self.data_collator
            check_images(rows, collator, self.method, self.args, patch_size=self._patch_size)
            check_normalisation(rows, collator, self.processing_class, self._num_channels, self.method, self.args)
        else:
            check_kept_texts(self.train_dataset, self.method, self.args)
        check_before_training(self)
        self.loss = loss_for_long_tail(self, warns=True)

    # ---- a run: guesses, the first step, the optimiser ----

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
        # With it goes the temperature of the weights before.
        self._config.mixtext = recipe_of(self.method)
        if output is None:
            if self.says_what_steps_come_to:
                warn_of_steps(self)
            if self.learns_from_guesses:
                if self.guesses is None:
                    self._make_guesses(resume=bool(resume_from_checkpoint))
                # What was drawn at random on the way to the guesses, if they were not there, shall not tell.
                set_seed(self.args.seed)
            find_neighbours(self)
            # What differs from the run of the checkpoint was said by `check_same_run`.
            try:
                with self.stop.listening(), holding_back("do not match the ones in", ["transformers.trainer_utils"]):
                    output = super().train(checkpoint, *args, **kwargs)
            finally:
                if self._attention is not None:
                    self._attention.remove()
            self.stop.check_reached_end()
            if self.model is not None:
                self._share_buffers()
                self._finite.check_weights()
            output = TrainOutput(output.global_step, output.metrics["train_loss"], output.metrics)
        if self._memory.skipped_steps:
            output.metrics["skipped_steps"] = self._memory.skipped_steps
        return output

    def _make_guesses(self, *, resume: bool) -> None:
        # The rounds before are trained by this class, not by one derived from it.
        self.guesses = make_guesses(self, MixTrainer, resume=resume)

    def _hp_search_setup(self, trial: Any) -> None:
        # Runs at the start of every `train()`; a trial of a hyperparameter search changes `args` here.
        super()._hp_search_setup(trial)
        self._in_search = trial is not None
        self._settle()
        settle_padding(self)
        if self._in_search:
            check_batches(self)  # of the size that the trial has drawn
        self._token_kinds = kinds_for(self)
        self._start_anew()
        self._config.mixtext = recipe_of(self.method)

    def _start_anew(self) -> None:
        """Forget an earlier training of this trainer, and put what a step needs on the device: a copy in the middle of one waits."""
        self.is_resumed = False
        self._labels_are_checked = False
        self._terms = Terms(self.args)
        self._memory.load({})
        self._finite.start()
        self.mixer.reset()
        self.loss = loss_for_long_tail(self)
        if self._attention is not None:
            self._attention.install()  # before the model is compiled
        shares = self._shares_of_labels()
        self._label_shares = None if shares is None else torch.tensor(shares, device=self.args.device)
        self._watch = self.method.watch(shares)
        if self._takes_pixels:
            self._pixel_mean, self._pixel_std = normalisation(
                self.data_collator, self.processing_class, self._num_channels, self.method, self.args
            )

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        is_given = self.optimizer is not None
        optimizer = super().create_optimizer(model)
        rate = self._memory.head_learning_rate = self.head_learning_rate
        if rate is not None and not is_given:
            set_head_rate(optimizer, self.mixer.head_parameters(), rate)
        return optimizer

    @property
    def head_learning_rate(self) -> float | None:
        """Of everything outside the base model; `None`: that of all parameters. See [`~.head_rate.head_rate`]."""
        given = self.args.head_learning_rate
        if given is None and self.is_resumed:
            # The model may come from the checkpoint, where its head is new no longer.
            return self._memory.head_learning_rate
        return head_rate(given, self.args.learning_rate, head_is_new=self.mixer.head_is_new)

    # ---- one step ----

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        try:
            return super().training_step(*args, **kwargs)
        except BaseException:
            self.mixer.reset()
            raise

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
        loss, logits = self._plain_loss(model, inputs)
        # Whatever else a model returns (attentions, states of an encoder) is not gathered.
        return (loss, {"logits": logits}) if return_outputs else loss

    def _training_loss(self, model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
        """Runs backward on each loss of the method but the last, which the Trainer does; returns what they add up to."""
        plan = self.draw_plan(inputs).to(self.args.device)
        self._micro_step += 1
        step = self.make_step(model, inputs, plan)
        scale = self._share_of_batch(step.labels)
        losses = self.method.losses(step)
        passes = self.method.passes_of(step)
        check_backward_passes(self.args, self.method.name, passes)
        early: torch.Tensor | None = None
        for _ in range(passes - 1):
            with self.accelerator.no_sync(model=model):
                terms = next(losses)
                loss = total(terms) * scale
                self.accelerator.backward(loss / self.current_gradient_accumulation_steps)
            early = loss.detach() if early is None else early + loss.detach()
            self._see(terms, step)
        terms = next(losses)
        self._see(terms, step)
        self._terms.add_plan(plan)
        loss = total(terms) * scale
        return loss if early is None else loss + early

    def draw_plan(self, inputs: dict[str, Any]) -> MixPlan:
        """
        Draw the plan of this micro-batch: a pure function of (seed, optimiser step, micro-step, rank), so that a resumed
        run mixes as the uninterrupted one, and every process draws its own.
        """
        progress = self.state.global_step / max(self.state.max_steps, 1)
        if not self.method.mixes or not self.args.mix_start <= progress < self.args.mix_end:
            return MixPlan.identity(len(inputs["labels"]))
        rng = np.random.default_rng(
            [self.args.seed, self.state.global_step, self._micro_step, self.args.process_index]
        )
        patch_size, num_views = self._patch_size, self.args.num_views
        return plan_for(
            self.method, inputs, depth=self.mixer.depth, num_views=num_views, rng=rng, patch_size=patch_size
        )

    def make_step(self, model: nn.Module, inputs: dict[str, Any], plan: MixPlan) -> Step:
        """What the method is told of a batch."""
        return step_of(self, model, inputs, plan)

    def _see(self, terms: dict[str, torch.Tensor], step: Step) -> None:
        self._finite.see_terms(terms, step.inputs)
        self._terms.add(terms)

    # ---- log, and say what was done ----

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            self._finite.check_terms()
            if "grad_norm" in logs:
                self._finite.check_gradient_norm(logs["grad_norm"])
            logs = {**logs, **self._summary()}
        if "train_loss" in logs:
            # The Trainer knows the steps since it was resumed.
            loss_sum = self._memory.loss_so_far(self._total_loss_scalar)
            if loss_sum is not None:
                logs["train_loss"] = loss_sum / self.state.global_step
        super().log(logs, start_time)

    def _summary(self) -> dict[str, float]:
        """What the method makes of the averages of the window; says aloud what its watch finds in them."""
        averages, counts = self._terms.averages()
        progress = self.state.global_step / max(self.state.max_steps, 1)
        alarm = self._watch(averages, counts, progress) if self._watch is not None else None
        if alarm is not None and self.is_world_process_zero():
            logger.warning("Step %d: %s", self.state.global_step, alarm)
        return self.method.summarise(averages)

    # ---- describe ----

    def describe_model(self, folder: Path) -> CardData:
        return describe(self, folder)
