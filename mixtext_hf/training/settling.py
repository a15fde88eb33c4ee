"""What the arguments and a model decide together: the method and its recipe, the loss of the task, and a plan for each batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers import PreTrainedModel

from mixtext_hf.methods import PIXELS, TOKENS, MaskMix, MixMethod
from mixtext_hf.mixing import MixedLoss, MixPlan, TokenLoss
from mixtext_hf.models.any_classifier import takes_pixels
from mixtext_hf.models.modality import classifies_tokens
from mixtext_hf.problem_types import SINGLE_LABEL, problem_type_of
from mixtext_hf.version import __version__

from .arguments import MixTrainingArguments
from .checks import check_kind_of_augmentations, check_kind_of_model, check_loss_of_task, check_named_once
from .token_classification import check_loss_of_tokens, check_method_of_tokens


def method_for(
    model: PreTrainedModel,
    args: MixTrainingArguments,
    *,
    given: MixMethod | None,
    recipe: dict[str, Any] | None,
    in_search: bool,
) -> MixMethod:
    """
    The method that a model is trained with.

    Args:
        model (`PreTrainedModel`): A classifier of texts or of images.
        args ([`MixTrainingArguments`]): Which name a method, or leave it to the model.
        given ([`MixMethod`], *optional*): A method object, in place of the one that `args` names.
        recipe (`dict`, *optional*): What an earlier training left in `config.mixtext`, for where nobody names a method.
        in_search (`bool`): Whether it is one of several that a search tries.

    Raises:
        `ValueError`: if two methods are named, or one that is not for such a model.
    """
    check_named_once(given, args)
    default = "mixup" if takes_pixels(model) else "tmix"
    method = given or args.make_method(recipe, default=default, in_search=in_search)
    check_kind_of_model(method, model)
    check_method_of_tokens(method, model)
    check_kind_of_augmentations(args, model)
    return method


def recipe_of(method: MixMethod) -> dict[str, Any]:
    """What a training leaves in `config.mixtext`, JSON-serialisable."""
    return {"version": __version__, "method": method.name, "hyperparameters": method.hyperparameters()}


def loss_for(model: PreTrainedModel, args: MixTrainingArguments) -> MixedLoss:
    """
    The task's loss on mixed targets, of rows or of tokens.

    Raises:
        `ValueError`: if `mix_loss` is for other tasks.
    """
    config: Any = model.config
    if classifies_tokens(model):
        check_loss_of_tokens(args)
        return TokenLoss(SINGLE_LABEL, config.num_labels, args.label_smoothing_factor)
    task = problem_type_of(config)
    check_loss_of_task(args, task, config.num_labels)
    return MixedLoss(
        problem_type=task,
        num_labels=config.num_labels,
        label_smoothing=args.label_smoothing_factor,
        kind="bce" if args.mix_loss == "bce" else "ce",
    )


def plan_for(
    method: MixMethod,
    inputs: dict[str, Any],
    *,
    depth: int,
    num_views: int,
    rng: np.random.Generator,
    patch_size: tuple[int, int] | None = None,
) -> MixPlan:
    """
    Draw a plan for a micro-batch, of which the method sees what it pairs rows by, and no more.

    Args:
        method ([`MixMethod`]): Which draws.
        inputs (`dict[str, torch.Tensor]`): The batch, its labels among it.
        depth (`int`): Number of layers of the model that can be mixed.
        num_views (`int`): Views of an unlabelled text, the original included.
        rng (`numpy.random.Generator`): Source of all randomness.
        patch_size (pair of `int`, *optional*): Of the patches that the model cuts images into.
    """
    texts, mask, images = inputs.get("text_labels"), inputs.get("attention_mask"), inputs.get(PIXELS)
    needs = method.partner
    sizes: dict[str, Any] = {}
    if isinstance(method, MaskMix) and patch_size is not None:
        sizes["patch_size"] = patch_size
    if method.draws_by_token and TOKENS in inputs:
        sizes["text_length"] = inputs[TOKENS].shape[1]
    return method.draw(
        len(inputs["labels"]),
        depth=depth,
        rng=rng,
        labels=inputs["labels"] if needs in ("same_class", "other_class") else None,
        lengths=mask.sum(dim=1) if needs == "nearest_length" and mask is not None else None,
        unlabeled=0 if texts is None else len(texts) * num_views,
        image_size=None if images is None else (images.shape[-2], images.shape[-1]),
        **sizes,
    )
