"""What model, method, task and arguments may be together, as far as it can be said before training; each error names what is
wrong, and what would be right. What an argument may be by itself: `ranges.py`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, Trainer, get_scheduler

from mixtext_hf.methods import LADA, TOKENS, AugMix, MixMethod, MixText
from mixtext_hf.mixing import MixedLoss
from mixtext_hf.models.any_classifier import Classifier, is_adapted, takes_pixels
from mixtext_hf.models.cls_attention import ClsAttention
from mixtext_hf.models.modality import classifies_tokens
from mixtext_hf.problem_types import SINGLE_LABEL, ProblemType

from .arguments import MixTrainingArguments
from .last_batch import check_batches


if TYPE_CHECKING:
    from .trainer import MixTrainer


logger = logging.getLogger(__name__)


# ---- before the model is looked at ----


def check_arguments(args: Any, compute_loss_func: Any) -> None:
    """
    Raise for arguments that are not those of this package, and for what would break a batch or replace its loss.

    Raises:
        `TypeError`: for other arguments than [`MixTrainingArguments`].
        `ValueError`: for a loss function beside the method's, and for several GPUs in one process.
    """
    if not isinstance(args, MixTrainingArguments):
        raise TypeError(f"`args` must be MixTrainingArguments, got {type(args).__name__}.")
    if compute_loss_func is not None:
        raise ValueError("`compute_loss_func` would replace the loss on mixed targets: put it in a MixMethod instead.")
    if args.n_gpu > 1:
        raise ValueError(
            f"{args.n_gpu} GPUs are visible to one process, which means DataParallel: a batch cut into pieces cannot "
            f"be mixed. Start one process for each: `torchrun --nproc_per_node {args.n_gpu} script.py ...` or "
            "`accelerate launch script.py ...`; or set CUDA_VISIBLE_DEVICES=0."
        )


def check_named_once(given: MixMethod | None, args: MixTrainingArguments) -> None:
    """Raise `ValueError` where a method object was given and the arguments describe a method as well."""
    if given is not None and args.named_in_method:
        raise ValueError(
            f"A method object was given, and the arguments name {', '.join(args.named_in_method)} as well: say it "
            f"in one place, {type(given).__name__}(...) or the arguments."
        )


# ---- the method, with the model, the batches and the task ----


def check_kind_of_model(method: MixMethod, model: PreTrainedModel) -> None:
    """Raise `ValueError` where a method for images meets a model of texts, or the other way round, and for images as patches."""
    of_images, name, kind = takes_pixels(model), type(model).__name__, model.config.model_type
    if method.reads_tokens and of_images:
        raise ValueError(
            f"{method.name} replaces tokens of texts, and {name} reads images: use mixup, cutmix, puzzlemix or manifold_mixup."
        )
    if method.reads_tokens and TOKENS not in inspect.signature(model.forward).parameters:
        raise ValueError(
            f"{method.name} replaces the {TOKENS} of texts, and {name} takes none: use erm, or a model that reads ids of tokens."
        )
    if method.mixes_pixels and not of_images:
        what = "ids of colours: use erm" if kind == "imagegpt" else "texts: use embed_mixup, tmix or manifold_mixup"
        raise ValueError(f"{method.name} mixes the pixels of images, and {name} reads {what}.")
    if method.mixes_pixels and kind == "siglip2":
        raise ValueError(
            f"{name} reads images as patches of different numbers, which {method.name} cannot mix: "
            "use erm, or a model of images of one size, such as google/siglip2-base-patch16-224."
        )
    if method.uses_unlabeled and of_images:
        raise ValueError(
            f"{method.name} learns from texts, and {name} reads images: use mixup, cutmix, puzzlemix or manifold_mixup."
        )


def check_kind_of_augmentations(args: MixTrainingArguments, model: PreTrainedModel) -> None:
    """Raise `ValueError` where images are to be augmented, or something is said of their pixels, and the model reads texts."""
    if takes_pixels(model):
        return
    if args.image_augmentations:
        raise ValueError(
            f"image_augmentations={args.image_augmentations} change images, and {type(model).__name__} reads texts: leave them out."
        )
    if args.pixel_mean is not None:
        raise ValueError(
            f"pixel_mean={args.pixel_mean} is of images, and {type(model).__name__} reads texts: leave it out, with pixel_std."
        )


def check_layers(method: MixMethod, mixer: Classifier) -> None:
    """Raise `ValueError` if the model lacks a layer that the method draws from, or cannot treat padding as it asks."""
    if method.needs_layers:
        mixer.check_pad(method.pad)
    for layer in method.layer_set(mixer.depth) or ():
        try:
            mixer.check_layer(layer)
        except ValueError as error:
            raise ValueError(f"mix_layers: {error} Without mix_layers the method takes its own.") from error


def attention_for(method: MixMethod, model: PreTrainedModel, args: MixTrainingArguments) -> ClsAttention | None:
    """
    What tells a method the attention of [CLS]; `None` where it needs none.

    Raises:
        `ValueError`: if the model has none, or is run so that nobody sees it.
    """
    if not method.needs_attention:
        return None
    if args.torch_compile and args.gradient_checkpointing:
        raise ValueError(
            f"{method.name} sees the attention of the last layer, of which a compiled checkpoint shows nothing: leave out "
            "torch_compile=True or gradient_checkpointing=True."
        )
    try:
        return ClsAttention(model)
    except ValueError as error:
        raise ValueError(
            f"{method.name} needs a [CLS] token and an attention in the last layer, by which it weighs labels, and {error}: take one "
            "of these, or weigh labels by area (cutmix, or maskmix with area_share=1)."
        ) from error


def check_watching(method: MixMethod, mixer: Classifier, args: MixTrainingArguments) -> None:
    """
    Raise where nobody sees the states of a pass that the method asks the gradient of.

    Raises:
        `ValueError`: for compiled models, those that read a text twice, and those that do not say what embeds its tokens.
    """
    if not method.watches_states:
        return
    chance = {"ssmix": 'ssmix with saliency="random"', "mixtext": 'mix_with_kwargs={"saliency": "random"} of ssmix'}
    without = "take a method that needs none" + (f", such as {chance[method.name]}." if method.name in chance else ".")
    if args.torch_compile:
        raise ValueError(
            f"{method.name} takes the saliency of a token from the gradient of its embedding, and nothing in a compiled pass shows a "
            f"gradient of its inside: leave out torch_compile=True, or {without}"
        )
    if mixer.model.config.is_encoder_decoder:
        raise ValueError(
            f"{method.name} takes the saliency of a token from the gradient of its embedding, and {type(mixer.model).__name__} reads "
            f"each token twice, in its encoder and in its decoder: {without}"
        )
    with mixer.watching():
        pass  # raises where it cannot


def check_backward_passes(args: MixTrainingArguments, name: str, passes: int) -> None:
    """
    Raise where every backward pass is a step of the optimiser, and there would be several in one step of training.

    Args:
        args ([`MixTrainingArguments`]): Of the run.
        name (`str`): Of the method.
        passes (`int`): How many losses it makes of a batch, one after the other.

    Raises:
        `ValueError`: under DeepSpeed, and with optimisers that update each weight as soon as it has a gradient.
    """
    optim = _value(args.optim)
    steps_by_itself = optim in ("lomo", "adalomo") or optim.endswith("_layerwise")
    if passes == 1 or not (steps_by_itself or args.deepspeed_plugin is not None):
        return
    where, remedy = (
        ("DeepSpeed", "train by DDP or FSDP") if not steps_by_itself else (f"optim={optim!r}", "name another")
    )
    raise ValueError(
        f"{where} steps at every backward pass, and {name} makes {passes} of a batch (PuzzleMix and SSMix do for clean_lam > 0): {remedy}, "
        "or choose a method with one loss."
    )


def check_partners(method: MixMethod, args: MixTrainingArguments, rows: Any) -> None:
    """Raise `ValueError` where a batch of the training `rows` leaves a row nothing to be mixed with."""
    mixes = method.mixes and method.alpha > 0
    has_texts_to_mix_with = isinstance(method, MixText) and method.mix_within == "all"
    if not mixes or has_texts_to_mix_with:
        return
    if isinstance(method, LADA):
        if method.fetches_partners and isinstance(rows, Sized) and len(rows) == 1:
            raise ValueError(
                "There is one training row, and lada mixes it with another: give at least 2, or intra=1, which needs none."
            )
        return
    if args.per_device_train_batch_size == 1:
        raise ValueError(
            f"per_device_train_batch_size=1 leaves {method.name} nothing to mix a row with: use at least 2 "
            "(and fewer gradient_accumulation_steps for the same total), or mix_method='erm'."
        )
    if isinstance(rows, Sized) and len(rows) == 1:
        raise ValueError(
            f"There is one training row, and {method.name} has nothing to mix it with: give at least 2, or mix_method='erm'."
        )


def check_loss_of_task(args: MixTrainingArguments, problem_type: ProblemType, num_labels: int) -> None:
    """Raise `ValueError` where `mix_loss` names a loss that the task cannot have."""
    if args.mix_loss == "bce" and (problem_type != SINGLE_LABEL or num_labels < 2):
        raise ValueError(
            f"mix_loss='bce' compares the softmax of at least 2 classes, of which a row has one; the task is {problem_type} "
            f"with num_labels={num_labels}, which has a loss of its own: leave it out."
        )


def check_task(method: MixMethod, loss: MixedLoss) -> None:
    """Raise `ValueError` for a method that compares or pairs rows by their one class, where the task gives them none or several."""
    weighs = method.uses_unlabeled or (isinstance(method, AugMix) and method.jsd_weight > 0)
    if loss.kind == "bce" and weighs:
        raise ValueError(
            f"mix_loss='bce' is a mean over the classes, and {method.name} weighs its other losses against cross-entropy: leave it out."
        )
    if loss.problem_type == SINGLE_LABEL:
        return
    if isinstance(method, AugMix):
        raise ValueError(
            f"augmix compares distributions over classes, but the task is {loss.problem_type}: use mixup, cutmix or "
            "manifold_mixup."
        )
    if method.mixes and method.partner in ("same_class", "other_class"):
        raise ValueError(
            f"partner={method.partner!r} pairs rows by their one class, but the task is "
            f"{loss.problem_type}: use 'any' or 'nearest_length'."
        )


# ---- what takes the device or the data to see ----


def check_before_training(trainer: MixTrainer) -> None:
    """
    Raise for what takes the device or the data to see.

    Raises:
        `ValueError`: that names the argument.
    """
    args = trainer.args
    if args.fp16 and args.device.type == "cpu":
        raise ValueError(
            "fp16=True needs a GPU, and this runs on the CPU: use bf16=True, which it can do, or neither."
        )
    if args.fsdp and args.device.type == "cpu":
        raise ValueError(
            f"fsdp={args.fsdp} needs a GPU, and this runs on the CPU, where accelerate would leave it out without a word: train "
            "without it, by DDP."
        )
    _check_optimizer(trainer)
    _warn_of_frozen_head(trainer)
    rows = trainer.train_dataset
    batch = args.per_device_train_batch_size * args.world_size
    if args.dataloader_drop_last and isinstance(rows, Sized) and len(rows) < batch:
        raise ValueError(
            f"dataloader_drop_last=True leaves nothing of {len(rows)} training rows in batches of {batch}: drop it, or lower "
            f"per_device_train_batch_size={args.per_device_train_batch_size}."
        )
    check_batches(trainer)


def _warn_of_frozen_head(trainer: MixTrainer) -> None:
    """Say so where an adapter is trained below a head that stays random."""
    model = trainer.mixer.model
    trains = trainer.train_dataset is not None and any(p.requires_grad for p in model.parameters())
    name = trainer.mixer.frozen_head() if trains else None
    if name is None or not is_adapted(model):
        return
    logger.warning(
        "The head of %s (%s) is not trained, only the adapter below it%s: name it in the config of the adapter, "
        "modules_to_save=[%r], or give task_type=%r for a text classifier.",
        type(model).__name__,
        name,
        ", and it is new" if trainer.mixer.head_is_new else "",
        name.split(".")[-1],
        "TOKEN_CLS" if classifies_tokens(model) else "SEQ_CLS",
    )


def _check_optimizer(trainer: MixTrainer) -> None:
    """Make optimiser and schedule of one number, as the trainer will of all: what they lack, they say."""
    args = trainer.args
    if getattr(trainer, "optimizer", None) is None and getattr(trainer, "optimizer_cls_and_kwargs", None) is None:
        try:
            Trainer.get_optimizer_cls_and_kwargs(args, trainer.mixer.model)
        except (ImportError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"optim={_value(args.optim)!r} with optim_args={args.optim_args!r} cannot be made: {_said(error)}"
            ) from error
    if getattr(trainer, "lr_scheduler", None) is None:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=max(args.learning_rate, 1e-8))
        given: Any = args.lr_scheduler_kwargs or {}
        try:
            get_scheduler(
                args.lr_scheduler_type,
                optimizer,
                num_warmup_steps=1,
                num_training_steps=10,
                scheduler_specific_kwargs=given,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"lr_scheduler_type={_value(args.lr_scheduler_type)!r} with lr_scheduler_kwargs={given} cannot be made: "
                f"{_said(error)}"
            ) from error


def _value(name: Any) -> str:
    return str(getattr(name, "value", name))


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") + "."
