"""`TrainingArguments` with the fields that all mixing methods share; everything in it is JSON-serialisable."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, get_args

from transformers import TrainingArguments

from mixtext_hf.data.images.augmentations import make_image_augmentations
from mixtext_hf.data.texts.augmenters import make_augmenter
from mixtext_hf.guessing import check_shares
from mixtext_hf.methods import METHODS, MixMethod, by_own_names, find_preset, make_method
from mixtext_hf.mixing.targets import LossKind

from .best_model import check_best_model, settle_best_metric
from .long_tail_arguments import LongTailArguments
from .ranges import check_pixel_statistics, check_ranges


_DEFAULT = "tmix"
_COMMON = ("alpha", "layers", "fold", "per", "prob")
_LOGGING_STEPS, _EVAL_STEPS = 0.05, 500
# The shares of guesses that rounds learn from.
_SUREST = (0.6, 0.7, 0.8, 0.9)


@dataclass(repr=False)  # that of transformers shows no token
class MixTrainingArguments(LongTailArguments, TrainingArguments):
    r"""
    The arguments of `transformers.TrainingArguments`, those of [`LongTailArguments`], and:

    Args:
        mix_method (`str`, *optional*):
            `"erm"`, `"tmix"`, `"manifold_mixup"`, `"embed_mixup"`, `"pooled_mixup"`, for texts `"ssmix"` or `"puzzle_tmix"`, or with unlabelled texts
            `"mixtext"` or `"uda"`; for images `"mixup"`, `"cutmix"`, `"mixup_cutmix"`, `"resizemix"`, `"augmix"`, `"puzzlemix"`, `"maskmix"`,
            `"manifold_mixup"`, or for vision transformers `"transmix"`. Not given: the method that the model was last trained with (`config.mixtext`), else `"tmix"`
            (`"mixup"` for a model of images).
        mix_preset (`str`, *optional*):
            Hyper-parameters of the method under a name, behind those given here: `"paper"`, `"official_code"` or `"ours"`
            for `"mixtext"`; `"paper"` for `"ssmix"`; `"cifar"`, `"tiny_imagenet"` (each also with `_adversarial` behind) or `"imagenet"` for
            `"puzzlemix"`. The training arguments that belong to them, such as learning rates, are set by the command line
            alone; in Python: `MixTrainingArguments(..., **find_preset(method, preset).training_arguments)`.
        mix_alpha (`float`, *optional*): `lam ~ Beta(alpha, alpha)`; not given: the method's own.
        mix_layers (`list[int]`, *optional*): Layers to draw from, 0 = the embeddings, `m` = the output of layer `m`.
        mix_fold (`bool`, *optional*): `lam <- max(lam, 1 - lam)`.
        mix_per (`str`, *optional*): `"batch"` or `"example"`: how many lambdas a step draws.
        mix_prob (`float`, *optional*): Chance that a step mixes at all; with `mix_per="example"`, that a row is mixed.
        mix_kwargs (`dict` or JSON `str`, *optional*): Further hyper-parameters of the method, such as
            `{"pad": "keep", "partner": "same_class"}`, or for `"mixtext"` what it mixes by:
            `{"mix_with": "ssmix", "mix_with_kwargs": {"share": 0.2}}`.
        mix_start (`float`, *optional*, defaults to 0.0): Fraction of training at which mixing begins.
        mix_end (`float`, *optional*, defaults to 1.0): Fraction of training at which it ends.
        mix_loss (`str`, *optional*):
            What single-label tasks are trained with: `"ce"`, cross-entropy, if not given, or `"bce"`, binary cross-entropy of the
            softmax, as in the official code of PuzzleMix for CIFAR and Tiny-ImageNet. Evaluation has cross-entropy always.
        per_device_unlabeled_batch_size (`int`, *optional*):
            Unlabelled texts in a batch beside its `per_device_train_batch_size` labelled ones; not given: twice as many.
        view_columns (`list[str]`, *optional*):
            Columns of the unlabelled data with another wording of the text each, such as back-translations.
        augmenters (`list[str]`, *optional*):
            Views made on the fly: `"word_dropout"`, `"span_swap"`, `"word_swap"`, each with its strength behind a colon
            (`"word_dropout:0.2"`).
        guesser (`str`, *optional*):
            Who guesses the classes of unlabelled texts: `"gaussian"` (the default: clusters of the frozen encoder's features,
            together with a classifier of the labelled rows, once for all texts before training), `"checkpoint:FOLDER_OR_ID"` (a
            text classifier of transformers as teacher), `"column"` (see `guess_column`), or `"model"` (the model in training, in
            every step, as in the MixText paper).
        guess_column (`str`, *optional*):
            Column of the unlabelled data with a guess for each text: a class, a list of probabilities, or a mapping from
            classes to probabilities.
        guess_shares (`str`, *optional*, defaults to `"auto"`):
            Shares of the classes among the unlabelled texts, for `"gaussian"`: `"uniform"`, `"labelled"` (as among the labelled
            rows), `"estimated"`, numbers with commas in the order of the classes, or `"auto"`: chosen on the labelled rows.
        guess_names (`bool`, *optional*):
            Whether the names of the classes are evidence, for `"gaussian"`; not given: where labelled rows do not speak
            against it.
        guess_rounds (`int`, *optional*, defaults to 1):
            How often texts are guessed and a model is trained on the guesses, from the first weights each time.
        surest (`list[float]`, *optional*):
            The share of the guesses of each class, the surest, that is learnt from, by round; the last one serves all rounds
            after. Not given: 0.6, 0.7, 0.8, 0.9.
        guess_warm_up_steps (`int`, *optional*):
            Steps in which the first classifier learns from the labelled rows, before it guesses; 0: the frozen encoder guesses
            alone. Not given: 200.
        image_augmentations (`list[str]`, *optional*):
            Augmentations of raw training images, in this order: `"flip"`, `"crop:4"` (padded by 4 pixels, cropped to its
            size), whose pixels are those of the data; `"random_resized_crop:0.08"` (a piece of at least that share), in place
            of the image processor's resizing; then, at the size of the model, `"rand_augment:9"` (magnitude of 30), `"augmix:3"`
            (severity) and `"erasing:0.25"` (probability). Drawn for each image and epoch, whatever the number of workers.
        pixel_mean, pixel_std (`list[float]`, *optional*):
            What pixels in `[0, 1]` were normalised by, a number a channel, where images come ready from a transform of your own:
            PuzzleMix compares pixels, and its adversarial noise is in grey levels. Not given: those of the image processor.
        head_learning_rate (`float`, *optional*):
            Learning rate of everything outside the base model. Not given: `learning_rate` for all, and at least 1e-3 for
            a head that `from_pretrained` of this package put anew on a pretrained base model.
        resume_changed (`bool`, *optional*, defaults to `False`):
            Go on with a checkpoint although what shapes the weights (the method, the data, a learning rate, the number of
            processes, ...) is not what it was.
        resume_weights_alone (`bool`, *optional*, defaults to `False`):
            Go on with a checkpoint that lacks the state of the optimiser, the schedule or the random numbers, as
            `save_only_model` leaves it: training then goes on otherwise than it would have.
        skip_nonfinite_steps (`int`, *optional*, defaults to 0):
            How many steps may be left out because their gradient is infinite or not a number; one more stops training. Every
            step then waits for the device.
        logging_steps (`int` or `float`, *optional*, defaults to 0.05):
            Below 1 it is a share of all steps: some twenty lines, however long training is. (In transformers: 500 steps.)
            `eval_steps` are then 500 unless given, as there.
        max_grad_norm (`float`, *optional*, defaults to 0.0):
            Gradients are not clipped unless asked for, as in the code of the papers. (In transformers: 1.0. With Adam,
            clipping the large gradients of the first steps makes the later steps larger and the model less calibrated.)
    """

    mix_method: str | None = field(
        default=None,
        metadata={
            "help": "erm, tmix, manifold_mixup, embed_mixup, pooled_mixup; for texts ssmix, puzzle_tmix; with unlabelled texts mixtext or uda; for images "
            "mixup, cutmix, mixup_cutmix, resizemix, augmix, puzzlemix, maskmix, manifold_mixup, and for vision transformers "
            "transmix. Not given: the method that the model was last trained with, else tmix (mixup for images)."
        },
    )
    mix_preset: str | None = field(
        default=None,
        metadata={
            "help": "Hyper-parameters and training arguments under a name; others given win. mixtext: paper, official_code, ours; "
            "ssmix: paper; mixup: regmixup; puzzlemix: cifar, tiny_imagenet (and each with _adversarial behind), imagenet."
        },
    )
    mix_alpha: float | None = field(
        default=None, metadata={"help": "lambda ~ Beta(alpha, alpha); 0 mixes nothing. Not given: the method's own."}
    )
    mix_layers: list[int] | None = field(
        default=None,
        metadata={
            "help": "Layers to draw from: 0 = the embeddings, m = the output of layer m. Not given: the method's own, "
            "scaled to the depth of the model."
        },
    )
    mix_fold: bool | None = field(
        default=None, metadata={"help": "lambda <- max(lambda, 1 - lambda). Not given: the method's own."}
    )
    mix_per: str | None = field(default=None, metadata={"help": "One lambda per 'batch' or per 'example'."})
    mix_prob: float | None = field(
        default=None, metadata={"help": "Chance that a step (mix_per example: a row) is mixed."}
    )
    mix_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": 'Further hyper-parameters of the method as JSON, such as \'{"pad": "keep"}\', or of mixtext what it mixes by: '
            '\'{"mix_with": "ssmix"}\' (tmix, embed_mixup, ssmix, puzzle_tmix).'
        },
    )
    mix_start: float = field(default=0.0, metadata={"help": "Fraction of training at which mixing begins."})
    mix_end: float = field(default=1.0, metadata={"help": "Fraction of training at which mixing ends."})
    mix_loss: str | None = field(
        default=None,
        metadata={"help": "Train with ce (cross-entropy, if not given) or bce (binary cross-entropy of the softmax)."},
    )
    per_device_unlabeled_batch_size: int | None = field(
        default=None,
        metadata={"help": "Unlabelled texts in a batch beside the labelled ones; twice as many if not given."},
    )
    view_columns: list[str] | None = field(
        default=None,
        metadata={"help": "Columns of the unlabelled data with another wording each, such as back-translations."},
    )
    augmenters: list[str] | None = field(
        default=None,
        metadata={"help": "Views made on the fly: word_dropout, span_swap, word_swap; strength behind a colon."},
    )
    guesser: str | None = field(
        default=None,
        metadata={
            "help": "Who guesses the classes of unlabelled texts: gaussian (the default), checkpoint:FOLDER_OR_ID, column, or "
            "model (the one in training, in every step)."
        },
    )
    guess_column: str | None = field(
        default=None,
        metadata={"help": "Column of the unlabelled data with a guess each: a class, or probabilities."},
    )
    guess_shares: str = field(
        default="auto",
        metadata={
            "help": "Shares of the classes among unlabelled texts: auto, uniform, labelled, estimated, or numbers with commas."
        },
    )
    guess_names: bool | None = field(
        default=None,
        metadata={"help": "Take the names of the classes as evidence; where it helps the labelled rows if not given."},
    )
    guess_rounds: int = field(
        default=1, metadata={"help": "How often to guess and train, from the first weights each time."}
    )
    surest: list[float] | None = field(
        default=None,
        metadata={
            "help": "Share of the guesses of each class that is learnt from, by round; 0.6 0.7 0.8 0.9 if not given."
        },
    )
    guess_warm_up_steps: int | None = field(
        default=None,
        metadata={"help": "Steps of the classifier of the labelled rows that guesses too; 200 if not given, 0: none."},
    )
    image_augmentations: list[str] | None = field(
        default=None,
        metadata={
            "help": "Augmentations of raw training images: flip, crop:4 (pad by 4 pixels, then crop), random_resized_crop:0.08 (smallest "
            "share); after they are resized: rand_augment:9 (magnitude of 30), augmix:3 (severity), erasing:0.25 (probability)."
        },
    )
    pixel_mean: list[float] | None = field(
        default=None,
        metadata={
            "help": "Mean of each channel that pixels in [0, 1] were normalised by; the image processor's if not given."
        },
    )
    pixel_std: list[float] | None = field(default=None, metadata={"help": "The same for the standard deviations."})
    head_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of everything outside the base model. Not given: that of all, and at least 1e-3 for a head "
            "that is new on a pretrained model."
        },
    )
    resume_changed: bool = field(
        default=False,
        metadata={
            "help": "Go on with a checkpoint although method, data or arguments that shape the weights have changed."
        },
    )
    resume_weights_alone: bool = field(
        default=False,
        metadata={"help": "Go on with a checkpoint that lacks the state of optimiser, schedule or random numbers."},
    )
    skip_nonfinite_steps: int = field(
        default=0,
        metadata={
            "help": "Leave out up to so many steps whose gradient is infinite or not a number; one more stops training."
        },
    )
    logging_steps: float = field(
        default=_LOGGING_STEPS,
        metadata={"help": "Steps between two lines of the log; below 1 their share of all steps."},
    )
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Log 0 in place of a loss that is not finite. Off here: such a loss stops training."},
    )
    max_grad_norm: float = field(
        default=0.0, metadata={"help": "Clip gradients to this norm; 0, the default here as in the papers, does not."}
    )

    def __post_init__(self) -> None:
        if isinstance(self.mix_kwargs, str):
            self.mix_kwargs = _parse_object(self.mix_kwargs)
        check_ranges(self)
        settle_best_metric(self)
        if self.eval_steps is None and self.logging_steps == _LOGGING_STEPS:
            # As in transformers: not as often as a line is logged.
            self.eval_steps = _EVAL_STEPS
        check_best_model(self)
        self._settle_long_tail()
        super().__post_init__()
        if not 0 <= self.mix_start < self.mix_end <= 1:
            raise ValueError(
                f"mix_start={self.mix_start} and mix_end={self.mix_end} must satisfy 0 <= mix_start < mix_end <= 1: "
                "they are fractions of training."
            )
        if not 0 <= self.label_smoothing_factor < 1:
            raise ValueError(f"label_smoothing_factor must lie in [0, 1), got {self.label_smoothing_factor}.")
        if self.mix_loss not in (None, *get_args(LossKind)):
            raise ValueError(f"mix_loss must be one of {get_args(LossKind)}, got {self.mix_loss!r}.")
        self._check_guesses()
        for name in ("view_columns", "augmenters", "image_augmentations", "surest", "pixel_mean", "pixel_std"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a list, got {getattr(self, name)!r}: put it in brackets.")
        check_pixel_statistics(self.pixel_mean, self.pixel_std)
        for augmenter in self.augmenters or ():
            make_augmenter(augmenter)
        make_image_augmentations(self.image_augmentations or ())
        if not self._waits_for_the_model():
            self.make_method()

    def _check_guesses(self) -> None:
        name = self.guesser_name
        if name not in ("gaussian", "model", "column") and not name.removeprefix("checkpoint:").strip():
            raise ValueError("guesser='checkpoint:' names no checkpoint: write checkpoint:FOLDER_OR_ID.")
        if name not in ("gaussian", "model", "column") and not name.startswith("checkpoint:"):
            raise ValueError(
                f"guesser={self.guesser!r} is none: choose from gaussian, checkpoint:FOLDER_OR_ID, column (with guess_column) or model."
            )
        if (name == "column") != (self.guess_column is not None):
            raise ValueError(
                f"guesser={self.guesser!r} and guess_column={self.guess_column!r}: a column is named where, and only where, it "
                "holds the guesses."
            )
        if self.guess_rounds < 1:
            raise ValueError(f"guess_rounds must be at least 1, got {self.guess_rounds}.")
        if self.guess_rounds > 1 and name != "gaussian":
            raise ValueError(
                f"guess_rounds={self.guess_rounds} makes guesses again, but those of guesser={name!r} stay: drop it."
            )
        if self.guess_warm_up_steps is not None and self.guess_warm_up_steps < 0:
            raise ValueError(f"guess_warm_up_steps must be at least 0, got {self.guess_warm_up_steps}.")
        if isinstance(self.surest, list):
            wrong = [one for one in self.surest if not 0 < one <= 1]
            if wrong or not self.surest:
                raise ValueError(f"surest must be shares in (0, 1], one for each round, got {self.surest}.")
        given = self.guess_shares_given
        if isinstance(given, str):
            check_shares(given, 2)

    @property
    def guesser_name(self) -> str:
        """Who guesses, if the method learns from guesses that are made before training."""
        if self.guesser is not None:
            return self.guesser
        return "gaussian" if self.guess_column is None else "column"

    @property
    def guess_shares_given(self) -> Any:
        """The shares of the classes as [`~mixtext_hf.guessing.fit_frozen_guesser`] takes them."""
        return read_shares(self.guess_shares)

    def surest_share(self, number: int) -> float:
        """The share of the guesses of each class that round `number`, from 1, learns from."""
        shares = self.surest or list(_SUREST)
        return shares[min(number, len(shares)) - 1]

    def __getstate__(self) -> dict[str, Any]:
        # What the Trainer pickles beside every checkpoint is to hold no secret.
        return {**self.__dict__, "hub_token": None}

    def __copy__(self) -> MixTrainingArguments:
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __deepcopy__(self, memo: dict[int, Any]) -> MixTrainingArguments:
        copied = memo[id(self)] = object.__new__(type(self))
        copied.__dict__.update(deepcopy(self.__dict__, memo))
        return copied

    def _waits_for_the_model(self) -> bool:
        """Whether no method is named and `mix_kwargs` has names that only the method of the model can have."""
        names = set(self.mix_kwargs or ()) if isinstance(self.mix_kwargs, dict) else set()
        known = {name for method in METHODS.values() for name in (*method.field_names(), *method.aliases)}
        unnamed = self.mix_method is None and self.mix_preset is None
        return unnamed and names <= known and not names <= set(METHODS[_DEFAULT].field_names())

    @property
    def unlabeled_batch_size(self) -> int:
        """Unlabelled texts in a batch."""
        return self.per_device_unlabeled_batch_size or 2 * self.per_device_train_batch_size

    @property
    def num_views(self) -> int:
        """Views of an unlabelled text, the original included."""
        return 1 + len(self.view_columns or ()) + len(self.augmenters or ())

    @property
    def named_in_method(self) -> list[str]:
        """Those of the arguments that describe the method and were given."""
        names = ("mix_method", "mix_preset", *(f"mix_{name}" for name in _COMMON), "mix_kwargs")
        return [name for name in names if getattr(self, name) is not None]

    def make_method(
        self, recipe: dict[str, Any] | None = None, *, default: str = _DEFAULT, in_search: bool = False
    ) -> MixMethod:
        """
        The method that these arguments name.

        Args:
            default (`str`): The method where neither they nor `recipe` name one.
            recipe (`dict`, *optional*):
                `config.mixtext` of the model: its method and hyper-parameters serve when `mix_method` is not given.
            in_search (`bool`):
                Whether the method is one of several that a search tries: what says how to mix is then not for one that does not.
        """
        given = {name: value for name in _COMMON if (value := getattr(self, f"mix_{name}")) is not None}
        if in_search and self.mix_method in METHODS and not METHODS[self.mix_method].mixes:
            given = {}
        extra = self.mix_kwargs or {}
        if not isinstance(extra, dict):
            raise ValueError(f'mix_kwargs must be a JSON object such as \'{{"pad": "keep"}}\', got {extra!r}.')
        twice = sorted(set(given) & set(extra))
        if twice:
            raise ValueError(f"{', '.join(twice)} given both in mix_kwargs and as mix_{twice[0]}: give it once.")
        if self.mix_method is None and self.mix_preset is None and recipe is not None:
            try:
                named = by_own_names(recipe["method"], {**given, **extra})
                named |= self._who_guesses(recipe["method"], named)
                return make_method(recipe["method"], **{**recipe["hyperparameters"], **named})
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"The recipe in the config of the model (`mixtext`) cannot be used: {error} Name a method by mix_method "
                    "to do without it."
                ) from error
        name = self.mix_method or default
        preset = {} if self.mix_preset is None else find_preset(name, self.mix_preset).hyperparameters
        named = by_own_names(name, {**given, **extra})
        return make_method(name, **{**preset, **named, **self._who_guesses(name, named)})

    def _who_guesses(self, name: str, named: dict[str, Any]) -> dict[str, Any]:
        """Whether the model in training guesses, where `guesser` says so or says otherwise."""
        if self.guesser is None and self.guess_column is None:
            return {}
        if name not in METHODS or not METHODS[name].uses_unlabeled:
            return {}
        online = self.guesser_name == "model"
        if named.get("online", online) != online:
            raise ValueError(
                f"guesser={self.guesser_name!r} and mix_kwargs say different things of who guesses (online={named['online']}): "
                "give one of them."
            )
        return {"online": online}


def read_shares(text: str) -> str | list[float]:
    """Shares of classes as one types them: a word, or numbers with commas."""
    try:
        return [float(part) for part in text.strip("[]() ").split(",")]
    except ValueError:
        return text


def _parse_object(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_given_once)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'mix_kwargs is no JSON ({error}), got {text!r}: write an object such as \'{{"pad": "keep"}}\'.'
        ) from error


def _given_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"mix_kwargs has {twice!r} twice: give it once.")
    return dict(pairs)
