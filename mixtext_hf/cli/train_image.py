"""Train, evaluate and predict with an image classifier: `mixtext-hf train-image`.

```bash
mixtext-hf train-image --train_file train.parquet --validation_file dev.parquet --model_name_or_path google/vit-base-patch16-224 \
    --ignore_mismatched_sizes --mix_method puzzlemix --image_augmentations flip crop:4 --do_train --do_eval --output_dir out
```

With neither data nor a model named it runs the embedded example: handwritten digits and a small ResNet from scratch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import HfArgumentParser, ResNetConfig, set_seed

from mixtext_hf._messages import check_at_least
from mixtext_hf.data.images.checks import CheckImages, skip_broken_argument
from mixtext_hf.data.images.collator import ImageCollator, pixel_statistics
from mixtext_hf.data.images.datasets import ImageDatasets, load_image_datasets
from mixtext_hf.data.images.resize import LARGEST_SIDE, SMALLEST_SIDE
from mixtext_hf.evaluation.robustness.attack_steps import check_precision
from mixtext_hf.evaluation.robustness.attacks import Attack, adversarial_accuracy, fgsm
from mixtext_hf.methods import PIXELS
from mixtext_hf.models import MixableModelForImageClassification
from mixtext_hf.models.checkpoint import Checkpoint
from mixtext_hf.models.class_names import name_classes
from mixtext_hf.models.embedded import IMAGE_MODELS, SMALL_RESNET, small_image_processor
from mixtext_hf.models.modality import check_modality
from mixtext_hf.models.stack import num_channels
from mixtext_hf.models.stored_temperature import recipe_of_config
from mixtext_hf.models.timm_processor import pretrained_cfg, timm_image_processor
from mixtext_hf.problem_types import SINGLE_LABEL, ProblemType
from mixtext_hf.training import MixTrainer, MixTrainingArguments

from .embedded import DIGITS_DEFAULTS
from .in_vain import check_none_in_vain
from .kept_classes import load_for_training
from .making_runs import make_run_of, run_command
from .named_model import load_config, naming_another_head, task_of
from .parsing import Parser
from .processors import load_image_processor
from .run import Run
from .run_arguments import HubArguments, SelectionArguments


logger = logging.getLogger(__name__)


@dataclass
class ModelArguments(HubArguments):
    """Which model to start from."""

    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Hub id or folder of an image classifier; 'small-resnet' (the default) and 'small-vit' start from scratch."
        },
    )
    image_processor_name: str | None = field(default=None, metadata={"help": "If it is not the model's own."})


@dataclass
class DataArguments(SelectionArguments):
    """Which images, and how many of them."""

    dataset_name: str | None = field(
        default=None,
        metadata={
            "help": "Hub id, or a folder of images with one folder a class (in train, val and test, if there are several "
            "splits); 'digits' is the embedded set."
        },
    )
    image_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    label_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    check_images: CheckImages = field(
        default="headers",
        metadata={
            "help": "How all image files are looked at before training; 'full' decodes every one, which takes longer."
        },
    )
    skip_broken_images: bool = skip_broken_argument()
    image_size: int | None = field(
        default=None,
        metadata={"help": "Side in pixels that images are resized to; that of the image processor if not given."},
    )
    fgsm_epsilon: float | None = field(
        default=None,
        metadata={
            "help": "Also measure the accuracy on images changed by FGSM (Goodfellow et al. 2015), which moves every pixel by "
            "at most this many grey levels of 255: 8 is the usual 8/255. As eval_fgsm_accuracy with --do_eval and "
            "predict_fgsm_accuracy with --do_predict; in float32. Off if not given."
        },
    )


def make_parser() -> HfArgumentParser:
    """The parser of `ModelArguments`, `DataArguments` and [`MixTrainingArguments`]."""
    return Parser(
        [ModelArguments, DataArguments, MixTrainingArguments],
        prog="mixtext-hf train-image",
        description="Train an image classifier with mixup, CutMix, PuzzleMix and their kin.",
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Run the command; returns what `all_results.json` holds."""
    return run_command(make_run, "mixtext-hf train-image", argv)


def make_run(argv: Sequence[str] | None = None) -> ImageRun:
    """The run that the arguments describe, checked and ready to start."""
    return make_run_of(ImageRun, make_parser(), argv, DIGITS_DEFAULTS)


class ImageRun(Run):
    """One run of the command: everything that can be wrong is found on construction, before training starts."""

    model_args: ModelArguments
    data_args: DataArguments
    data: ImageDatasets
    unit = "images"
    default_model = SMALL_RESNET
    base_models: ClassVar[dict[str, str | None]] = dict.fromkeys(IMAGE_MODELS)

    def __init__(self, model_args: ModelArguments, data_args: DataArguments, training_args: MixTrainingArguments):
        super().__init__(model_args, data_args, training_args)
        check_at_least(SMALLEST_SIDE, data_args, "image_size")
        if data_args.image_size is not None and data_args.image_size > LARGEST_SIDE:
            raise ValueError(
                f"--image_size {data_args.image_size} is a side in pixels, of at most {LARGEST_SIDE}: a batch of larger images fits "
                "no memory; the usual sizes are 32 to 512."
            )
        self._check_fgsm_arguments()
        source = model_args.model_name_or_path or SMALL_RESNET
        self.is_new = source in IMAGE_MODELS and not Path(source).exists()
        self.model_name = source
        if self.is_new and not training_args.do_train:
            raise ValueError(
                f"model_name_or_path={source!r} starts from scratch: add --do_train, or name a trained model."
            )
        self.config: Any = ResNetConfig()
        self.checked: list[Checkpoint] = []
        if not self.is_new:
            self.config, found = load_config(source, model_args)
            self.checked.append(found)
        check_modality(source, self.config, "image")
        self.data = self._load_data()
        if self.is_new:
            self.config = IMAGE_MODELS[source](self.data.num_channels, self._new_size())
            self.config.num_labels = self.data.num_labels
        self.check_splits()
        self.summarise(self.data)
        self.processor = self._load_processor()
        self.compute_metrics = self.make_compute_metrics()
        self.trainer = self._make_trainer()
        self.attack = self._make_attack()
        self._check_an_image()

    def _load_data(self) -> ImageDatasets:
        if self.args.do_train:
            recipe = recipe_of_config(self.config)
            check_none_in_vain(self.args, self.data_args, self.args.make_method(recipe, default="mixup"))
        names = None if self.is_new else task_of(self.config)[1]
        if not self.args.do_train:
            # What an output of the model means is for the model to say, not for the data.
            return self._load(names)
        data, self.needs_new_head = load_for_training(
            self._load,
            self.config,
            names,
            new_head=self.model_args.new_head and not self.is_new,
            ignore_mismatched_sizes=self.model_args.ignore_mismatched_sizes,
        )
        return data

    def _load(self, label_names: list[str] | None = None) -> ImageDatasets:
        a = self.data_args
        return load_image_datasets(
            **self.rows_to_train_on(),
            image_column=a.image_column,
            label_names=label_names,
            check_images=a.check_images,
            skip_broken_images=a.skip_broken_images,
        )

    def _new_size(self) -> tuple[int, int]:
        """Height and width of the images of a model from scratch."""
        height, width, _ = self.data.image_shape
        side = self.data_args.image_size
        return (side or height, side or width)

    def _load_processor(self) -> Any:
        a, side = self.model_args, self.data_args.image_size
        if self.is_new and a.image_processor_name is None:
            size = self._new_size()
            if side is None:
                logger.info("Images are resized to %d x %d pixels, as the first one has: see --image_size.", *size)
            return small_image_processor(size, self.config.num_channels)
        of_timm = pretrained_cfg(self.config)
        if of_timm is not None and a.image_processor_name is None:
            if side is not None:
                # The config is where everybody looks for what a model of timm wants.
                self.config.pretrained_cfg = of_timm = {
                    **of_timm,
                    "input_size": [num_channels(self.config), side, side],
                }
            return timm_image_processor(of_timm)
        name = a.image_processor_name or self.model_name
        where: dict[str, Any] = {"cache_dir": a.cache_dir, "revision": a.model_revision}
        load = partial(load_image_processor, name, token=a.token, **where)
        processor = load()
        if side is None:
            return processor
        square = {"height": side, "width": side}
        if "shortest_edge" in (getattr(processor, "size", None) or ()):
            # Some of these understand no other size. The crop brings all images to the same one.
            return load(size={"size": {"shortest_edge": side}, "crop_size": square, "do_center_crop": True})
        return load(size={"size": square, "crop_size": square})

    def _make_trainer(self) -> MixTrainer:
        data, a = self.data, self.model_args
        set_seed(self.args.seed)
        task: ProblemType = SINGLE_LABEL
        self.config.problem_type = task
        self.config.num_labels = data.num_labels
        name_classes(self.config, data.label_names)
        if self.is_new:
            model = MixableModelForImageClassification.from_config(self.config)
        else:
            with naming_another_head(self.model_name, data.num_labels):
                model = MixableModelForImageClassification.without_hooks(
                    self.model_name,
                    config=self.config,
                    cache_dir=a.cache_dir,
                    revision=a.model_revision,
                    token=a.token,
                    ignore_mismatched_sizes=a.ignore_mismatched_sizes or self.needs_new_head,
                    new_head=self.needs_new_head,
                    checked=self.checked,
                )
        return MixTrainer(
            model=model,
            args=self.args,
            data_collator=ImageCollator(
                self.processor,
                image_column=data.image_column,
                label_column="label",
                num_channels=num_channels(self.config),
            ),
            train_dataset=data.train if self.args.do_train else None,
            eval_dataset=next(iter(self.evaluation_splits().values()), None) if data.validation else None,
            processing_class=self.processor,
            compute_metrics=self.compute_metrics,
        )

    def _check_an_image(self) -> None:
        """One image through the image processor and the model: sizes that do not go together are found before training."""
        split = next(iter(self.data.by_name().values()))
        trainer = self.trainer
        pixels = trainer.data_collator([split[0]])[PIXELS]
        height, width = self.image_size = pixels.shape[-2:]
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            return  # the model is in pieces
        model = self._model()
        try:
            with torch.no_grad():
                model.eval()(pixel_values=pixels.to(model.device, model.dtype))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"model_name_or_path={self.model_name!r} does not take images of {height} x {width} pixels, to which its "
                f"image processor brings them, see --image_size: {error}"
            ) from error

    def _check_fgsm_arguments(self) -> None:
        epsilon, args = self.data_args.fgsm_epsilon, self.args
        if epsilon is None:
            return
        if not 0 < epsilon <= 255:
            raise ValueError(
                f"--fgsm_epsilon must lie in (0, 255], in grey levels of 255, got {epsilon}: 8 is the usual 8/255."
            )
        if not (args.do_eval or args.do_predict):
            raise ValueError(f"--fgsm_epsilon {epsilon:g} is for evaluation: add --do_eval or --do_predict.")
        for name in ("bf16_full_eval", "fp16_full_eval"):
            if getattr(args, name):
                raise ValueError(
                    f"--fgsm_epsilon {epsilon:g} needs the model in float32: leave out --{name} (--bf16 and --fp16 may stay)."
                )

    def _make_attack(self) -> Attack | None:
        epsilon, trainer = self.data_args.fgsm_epsilon, self.trainer
        if epsilon is None:
            return None
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            raise ValueError(
                f"--fgsm_epsilon {epsilon:g} needs the whole model in every process, and FSDP and DeepSpeed share it out: "
                "train without it, then evaluate the checkpoint by --do_eval alone, without FSDP and DeepSpeed."
            )
        try:
            check_precision(self._model())
        except ValueError as error:
            raise ValueError(
                f"model_name_or_path={self.model_name!r} is not in float32, which --fgsm_epsilon {epsilon:g} needs: load it by "
                "from_pretrained(..., dtype=torch.float32), save it by save_pretrained, and name that folder."
            ) from error
        channels = num_channels(self.config)
        assert channels is not None
        mean, std = pixel_statistics(self.processor, channels)
        return partial(fgsm, epsilon=epsilon / 255, mean=mean, std=std)

    def more_metrics(self, split: Any, prefix: str) -> dict[str, float]:
        if self.attack is None:
            return {}
        loader = self.trainer.get_test_dataloader(split)
        gather = self.trainer.accelerator.gather_for_metrics
        return {f"{prefix}_fgsm_accuracy": adversarial_accuracy(self._model(), loader, self.attack, gather=gather)}

    def _model(self) -> Any:
        model = self.trainer.model
        assert model is not None
        return model

    def train(self) -> dict[str, float]:
        if self.trainer.method.name == "puzzlemix":
            args = self.args
            length = (
                f"--max_steps {args.max_steps // 2}"
                if args.max_steps > 0
                else f"--num_train_epochs {args.num_train_epochs / 2:g}"
            )
            logger.info(
                "PuzzleMix runs the network twice a step. For as many evaluations of it as the other methods have "
                "(PuzzleMix (half) of the paper): %s --learning_rate %g.",
                length,
                args.learning_rate * 2,
            )
        return super().train()

    def fill_card(self) -> None:
        super().fill_card()
        card = self.trainer.card_data
        card.fgsm_epsilon, card.image_size = self.data_args.fgsm_epsilon, self.image_size

    def columns(self) -> list[str | None]:
        return [self.data.image_column]


if __name__ == "__main__":
    main()
