"""What a method is: its hyper-parameters with the paper's defaults, how it draws a plan, and its losses.

A method's dataclass is the one source of its hyper-parameters: training arguments, the command line, the config and the
model card are derived from it. A method knows tensors and a `forward` callable, no model class and no trainer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, get_args

import numpy as np
import torch

from mixtext_hf._numbers import is_number
from mixtext_hf.mixing import MixedLoss, MixPlan, PatchAttention, draw_plan
from mixtext_hf.mixing.plan import Padding, Partner, Per, is_layer

from .citation import REGMIXUP, Citation


class Forward(Protocol):
    """Runs the model on inputs without labels under a plan (`None` = unmixed) and returns its logits `(B, C)`."""

    def __call__(
        self, inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = True
    ) -> torch.Tensor: ...


class AttendingForward(Protocol):
    """Runs the model unmixed, as it is trained: its logits `(B, C)`, and what [CLS] attended to in that pass."""

    def __call__(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, PatchAttention]: ...


class Watched(Protocol):
    """The hidden states `(B, T, H)` of a pass without a graph and, after backward on a loss of it, their gradient `(B, T, H)`, float32."""

    states: torch.Tensor | None

    @property
    def gradient(self) -> torch.Tensor: ...


class WatchingForward(Protocol):
    """
    Runs the model unmixed, as it is trained: its logits `(B, C)`, and the hidden states of a layer (0: the embeddings, of which
    alone there are any in a model that is not mixable).
    """

    def __call__(self, inputs: dict[str, Any], layer: int = 0) -> tuple[torch.Tensor, Watched]: ...


class Watch(Protocol):
    """
    Looks at a logging window: the averages over it and all processes, over how many values each was taken, and how much of the run is
    done, in `[0, 1]`. Returns what somebody should be told, `None` if all is well.
    """

    def __call__(self, averages: dict[str, Any], counts: dict[str, int], progress: float = ...) -> str | None: ...


def _as_it_is(value: torch.Tensor) -> torch.Tensor:
    """Where there is one process."""
    return value


def _note_nothing(terms: dict[str, torch.Tensor]) -> None:
    """Where nobody logs."""


def _show_nothing(name: str, value: torch.Tensor) -> None:
    """Where nobody draws."""


@dataclass(frozen=True)
class Step:
    r"""
    What a method is told of one step.

    Args:
        forward ([`Forward`]): Runs the model; with `dropout=False` as in evaluation ([`~MixMethod.needs_evaluation`]).
        inputs (`dict[str, torch.Tensor]`): The batch without its labels.
        labels (`torch.Tensor` of shape `(B,)`, or `(B, C)` with a number for each class):
            The labels of the unmixed rows, -100 (of floats: NaN) where there is none; of tokens `(B, T)`.
        plan ([`MixPlan`]): What this step mixes.
        loss ([`MixedLoss`]): The task's loss on mixed targets.
        text_labels (`torch.Tensor` of shape `(B_u,)`, int64, *optional*):
            Given where the batch has unlabelled texts: their labels as far as somebody knows them (else -100), to
            report how good guesses are and for nothing else. The rows of the batch are then, in this order, the
            labelled ones and each view of all unlabelled texts: `[labelled | originals | view 1 | ... | view K]`.
        text_guesses (`torch.Tensor` of shape `(B_u, C)`, float32, *optional*):
            What was guessed of the unlabelled texts before training, if anything was: probabilities.
        views (`int`): Number of views of an unlabelled text, its original included.
        number (`int`): Optimiser steps done so far.
        total (`int`): Optimiser steps of the whole run.
        label_shares (`torch.Tensor` of shape `(C,)`, float32, *optional*): Of the classes among the labelled rows of the data.
        memory (`dict[str, torch.Tensor]`):
            What the method remembers from step to step, named by it; kept in checkpoints. No gradients.
        average (`Callable`): The mean of a tensor over all processes.
        note (`Callable`): Takes named tensors that are to be logged, averaged, and are no part of the loss.
        show (`Callable`):
            Takes by its name what a picture of the mix is drawn of, and nothing else needs: the `"mask"` `(B, h, w)` of images; of texts
            the `"mask"` `(B, T)`, the share of the row's own token, the `"saliency"` `(B, T)`, and, where tokens move, the `"sources"`
            `(B, T, 2)`: which token of the row, and which of its partner, stands at each position; the `"weight"` `(B,)` of each row's
            own label where the loss is not told of it.
        saliency_forward ([`Forward`], *optional*):
            The model without its wrappers (of several processes, of reduced precision), as in evaluation: for gradients
            with respect to the inputs alone.
        attending_forward ([`AttendingForward`], *optional*):
            For methods whose label weights follow from the pass itself ([`~MixMethod.needs_attention`]); others have none.
        watching_forward ([`WatchingForward`], *optional*):
            For methods that ask how much a token matters to the loss ([`~MixMethod.watches_states`]).
        segments (`torch.Tensor` of shape `(B, T)`, int64, *optional*):
            For methods that mix the tokens themselves ([`~MixMethod.reads_tokens`]): which sentence each belongs to, 0 = none, see
            [`~mixtext_hf.functional.text_segments`].
        pixel_mean, pixel_std (`torch.Tensor` of shape `(C,)`, *optional*):
            What images were normalised with: pixels in `[0, 1]` are `images * std + mean`.
        archive (`dict[str, torch.Tensor]`):
            What the method remembers of every row of the data, named by it: on the host, of any type, the same in all processes;
            kept in checkpoints.
        visits (`torch.Tensor` of shape `(B, 2)`, int64, *optional*):
            The number of each row in the data, below `num_rows`, and the epoch, where the method keeps something by row.
        frames (`torch.Tensor` of shape `(B, 4)`, float32, *optional*):
            Which part of its image each picture shows, given with `visits`, see `mixing/frames.py`.
        num_rows (`int`): Rows that the data has.
        word_starts (`torch.Tensor` of shape `(B, T)`, bool, *optional*):
            Where tokens are classified and some sentences have no labels: the positions at which words begin, which are those of labels.
        token_counts (`tuple[torch.Tensor, torch.Tensor]`, *optional*):
            With `word_starts` in training: labels, and words of sentences without, of the global batch divided by its micro-batches.
        partner_labels (`torch.Tensor` of shape `(B / 2, T)`, int64, *optional*):
            Where partners are fetched ([`~MixMethod.fetches_partners`]): the labels of the second half of the rows, which have none in `labels`.
        gather (`Callable`): The rows `(n, ...)` of all processes in one tensor; each may have another `n`.
        asked (`dict[str, Any]`): What the method has found out in this step, and need not ask all processes again.
    """

    forward: Forward
    inputs: dict[str, Any]
    labels: torch.Tensor
    plan: MixPlan
    loss: MixedLoss
    text_labels: torch.Tensor | None = None
    text_guesses: torch.Tensor | None = None
    views: int = 1
    number: int = 0
    total: int = 1
    label_shares: torch.Tensor | None = None
    memory: dict[str, torch.Tensor] = field(default_factory=dict)
    average: Callable[[torch.Tensor], torch.Tensor] = _as_it_is
    note: Callable[[dict[str, torch.Tensor]], None] = _note_nothing
    show: Callable[[str, torch.Tensor], None] = _show_nothing
    saliency_forward: Forward | None = None
    attending_forward: AttendingForward | None = None
    watching_forward: WatchingForward | None = None
    segments: torch.Tensor | None = None
    pixel_mean: torch.Tensor | None = None
    pixel_std: torch.Tensor | None = None
    archive: dict[str, torch.Tensor] = field(default_factory=dict)
    visits: torch.Tensor | None = None
    frames: torch.Tensor | None = None
    num_rows: int = 0
    word_starts: torch.Tensor | None = None
    token_counts: tuple[torch.Tensor, torch.Tensor] | None = None
    partner_labels: torch.Tensor | None = None
    gather: Callable[[torch.Tensor], torch.Tensor] = _as_it_is
    asked: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """Hyper-parameters under a name, and the training arguments that belong to them."""

    hyperparameters: dict[str, Any]
    training_arguments: dict[str, Any]


@dataclass(frozen=True)
class MixMethod:
    r"""
    Base of all methods. Its fields are the hyper-parameters that they have in common.

    Args:
        alpha (`float`): `lam ~ Beta(alpha, alpha)`; 0 mixes nothing.
        layers (`tuple[int | "head", ...]`, *optional*):
            Layers to draw from, numbered as in the papers (0 = the embeddings, `m` = the output of layer `m`).
            `None` = the method's own set for the depth of the model.
        fold (`bool`): `lam <- max(lam, 1 - lam)`.
        per (`"batch"` or `"example"`): One lambda for the batch, or one for each row.
        prob (`float`): Chance that a step mixes at all; with `per="example"`, that a row is mixed.
        partner (`str`): `"any"`, `"derangement"` (no row meets itself), `"same_class"`, `"other_class"` or `"nearest_length"`.
        pad (`"mix"` or `"keep"`): What happens where only one partner has a real token.
        clean_lam (`float`):
            Weight of the loss on the rows as they are, beside that on the mixed ones, wherever a step mixes (RegMixup, Pinto et
            al. 2022, with 1 / eta in place of their eta on the mixed rows); 0: mixed rows alone. The model sees both in one batch
            of twice the rows, whose statistics a batch norm takes together.
    """

    alpha: float = 1.0
    layers: tuple[int | Literal["head"], ...] | None = None
    fold: bool = False
    per: Per = "batch"
    prob: float = 1.0
    partner: Partner = "any"
    pad: Padding = "mix"
    clean_lam: float = 0.0

    name: ClassVar[str]
    equation: ClassVar[str]
    citation: ClassVar[Citation | None] = None
    mixes: ClassVar[bool] = True
    mixes_pixels: ClassVar[bool] = False
    uses_unlabeled: ClassVar[bool] = False
    labels_texts: ClassVar[bool] = True  # or images: one label a row
    labels_tokens: ClassVar[bool] = True  # one label a token
    aliases: ClassVar[dict[str, str]] = {}  # other names of hyper-parameters, as timm has them
    presets: ClassVar[dict[str, Preset]] = {}

    def __post_init__(self) -> None:
        if not (is_number(self.alpha) and self.alpha >= 0):
            raise ValueError(f"mix_alpha must be a finite number >= 0, got {self.alpha!r}.")
        if not (is_number(self.prob) and 0 <= self.prob <= 1):
            raise ValueError(f"mix_prob must lie in [0, 1], got {self.prob!r}.")
        if not (is_number(self.clean_lam) and self.clean_lam >= 0):
            raise ValueError(f"clean_lam must be a finite number >= 0, got {self.clean_lam!r}.")
        if not isinstance(self.fold, bool):
            raise ValueError(f"mix_fold must be true or false, got {self.fold!r}.")
        for name, allowed in (("per", Per), ("partner", Partner), ("pad", Padding)):
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"mix_{name} must be one of {get_args(allowed)}, got {getattr(self, name)!r}.")
        if self.layers is not None:
            is_list = isinstance(self.layers, Sequence) and not isinstance(self.layers, str)
            if not is_list or not all(is_layer(layer) for layer in self.layers):
                raise ValueError(f"mix_layers must be a list of layer numbers >= 0 or 'head', got {self.layers!r}.")
            if not self.layers:
                raise ValueError("mix_layers is empty: name at least one layer, or leave it out for the method's own.")
            object.__setattr__(self, "layers", tuple(self.layers))

    def layer_set(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        """The layers to draw from in a model of `depth` layers; `None` = this method does not mix inside the model."""
        return self.layers if self.layers is not None else self.default_layers(depth)

    def default_layers(self, depth: int) -> Sequence[int | Literal["head"]] | None:
        """The paper's layers, for a model of `depth` layers."""
        return None

    @property
    def needs_layers(self) -> bool:
        """Whether a model must be mixable inside for this method; any classifier does where it is not."""
        return self.layer_set(12) is not None

    @property
    def needs_attention(self) -> bool:
        """Whether labels are weighed by what [CLS] attends to in the last layer, which a model must have then."""
        return False

    @property
    def reads_tokens(self) -> bool:
        """Whether it mixes token by token, and must know which of them are words."""
        return False

    @property
    def draws_by_token(self) -> bool:
        """Whether what is drawn of a text depends on its length: then `draw` is told `text_length`."""
        return self.reads_tokens

    @property
    def fetches_partners(self) -> bool:
        """Whether rows are mixed with others of the data, and not of the batch: the second half of its rows then (`partner_labels` of [`Step`])."""
        return False

    @property
    def draws_lambda(self) -> bool:
        """Whether the weights of a plan come from `Beta(alpha, alpha)`."""
        return True

    @property
    def watches_states(self) -> bool:
        """Whether a step asks for the gradient of hidden states in a pass that is made anyhow, which a compiled one does not show."""
        return False

    @property
    def keeps_rows(self) -> bool:
        """Whether something is kept of each row of the data, and batches must say which rows they hold (`visits` of [`Step`])."""
        return False

    @property
    def needs_evaluation(self) -> bool:
        """
        Whether a step may run the model as in evaluation. Several processes give each other the statistics of its batch norms
        before every step then: a plan is drawn by each alone, and not all of them may come to that pass.
        """
        return False

    def draw(
        self,
        batch_size: int,
        *,
        depth: int,
        rng: np.random.Generator,
        labels: torch.Tensor | None = None,
        lengths: torch.Tensor | None = None,
        unlabeled: int = 0,
        image_size: tuple[int, int] | None = None,
        text_length: int | None = None,
    ) -> MixPlan:
        """
        Draw this step's plan, see [`draw_plan`], which says what the `labels` `(B,)` and `lengths` `(B,)` are for; the last
        `unlabeled` rows are views of unlabelled texts, images are of `image_size` (height, width), padded texts of `text_length` tokens.
        """
        return draw_plan(
            batch_size,
            alpha=self.alpha,
            layers=self.layer_set(depth),
            rng=rng,
            fold=self.fold,
            per=self.per,
            prob=self.prob,
            pad=self.pad,
            **self.pairing(batch_size, labels, lengths, unlabeled),
        )

    def pairing(
        self, batch_size: int, labels: torch.Tensor | None, lengths: torch.Tensor | None, unlabeled: int
    ) -> dict[str, Any]:
        """Which rows may be partners, as the arguments `partner`, `labels` `(B,)` and `lengths` `(B,)` of [`draw_plan`]."""
        return {"partner": self.partner, "labels": labels, "lengths": lengths}

    def passes(self, plan: MixPlan) -> int:
        """How many losses [`~MixMethod.losses`] yields under this plan: one where nothing is mixed."""
        return 1 if plan.is_identity else self.most_passes

    def passes_of(self, step: Step) -> int:
        """
        The same of a whole step, where it also depends on what is kept of its rows. Asked before `losses`, by all processes in every step.
        """
        return self.passes(step.plan)

    @property
    def most_passes(self) -> int:
        """The most that [`~MixMethod.passes`] says of any plan: some ways to train can make one backward pass in a step."""
        return 1

    def losses(self, step: Step) -> Iterator[dict[str, torch.Tensor]]:
        r"""
        The losses of one step, each a dict of named terms (means over the rows, scalars with a graph) whose sum is
        minimised. The trainer runs backward on each as it comes, so that no two graphs are alive at once.
        """
        # A row that has no label, or whose partner has none, stays itself.
        plan = step.plan.among(step.loss.rows_with_label(step.labels))
        yield self.supervised(step, step.inputs, plan, plan.lam, inside=plan)

    def supervised(
        self,
        step: Step,
        inputs: dict[str, Any],
        plan: MixPlan,
        weight: torch.Tensor | Callable[[PatchAttention], torch.Tensor],
        *,
        inside: MixPlan | None = None,
    ) -> dict[str, torch.Tensor]:
        """
        The loss of the mixed rows and, with `clean_lam`, that of the rows as they are, behind them in the same batch.

        Args:
            step ([`Step`]): Its inputs are those of the rows as they are.
            inputs (`dict[str, torch.Tensor]`): The inputs of the mixed rows; those of the step where the model mixes.
            plan ([`MixPlan`]): The partners.
            weight (`torch.Tensor` of shape `(B,)`, float32, or a `Callable`): The realised weight of each row's own label, or what
                makes it of the attention of [CLS] to the mixed rows.
            inside ([`MixPlan`], *optional*): What the model mixes by; `None`: its inputs are mixed already.
        """
        rows = len(step.labels)
        both = self.sees_clean_rows and not step.plan.is_identity
        if both:
            inputs = {name: _followed_by(value, step.inputs[name], rows) for name, value in inputs.items()}
            inside = None if inside is None else inside.extended(rows)
        if callable(weight):
            if step.attending_forward is None:
                raise TypeError(
                    f"{self.name} weighs labels by what [CLS] attends to, and the step has no `attending_forward` that would tell it."
                )
            logits, attention = step.attending_forward(inputs)
            weight = weight(attention._replace(weights=attention.weights[:rows]))
        else:
            logits = step.forward(inputs, inside)
        terms = {"loss_supervised": step.loss(logits[:rows], step.labels, plan.index, weight)}
        return {"loss_clean": self.clean_lam * step.loss(logits[rows:], step.labels), **terms} if both else terms

    @property
    def sees_clean_rows(self) -> bool:
        """Whether [`~MixMethod.supervised`] shows the model the rows as they are, beside the mixed ones."""
        return self.clean_lam > 0

    def summarise(self, averages: dict[str, Any]) -> dict[str, float]:
        """What is logged of the averages of a logging window: numbers as they are, of tensors (lists) what they tell."""
        return averages

    def watch(self, label_shares: Sequence[float] | None = None) -> Watch | None:
        """
        Something that looks at every logging window of a run; `None` = nothing needs to be watched.

        Args:
            label_shares (`Sequence[float]`, *optional*): Shares of the classes among the labelled rows.
        """
        return None

    def hyperparameters(self) -> dict[str, Any]:
        """All hyper-parameters, JSON-serialisable."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def refuse_mixing(self) -> None:
        """Raise `ValueError` if one of the hyper-parameters of mixing was given to a method that does not mix."""
        for one in fields(MixMethod):
            default = type(self).__dataclass_fields__[one.name].default
            if getattr(self, one.name) != default:
                raise ValueError(
                    f"mix_{one.name}={getattr(self, one.name)} was given, but {self.name} does not mix: name a mixing "
                    "method or drop it."
                )

    @property
    def formula(self) -> str:
        """What is trained, with these hyper-parameters: the method's equation, and the loss on clean rows where there is one."""
        return self.equation + (f"\nL = l(mixed rows) + {self.clean_lam:g} l(clean rows)" if self.clean_lam else "")

    @property
    def further_citations(self) -> tuple[Citation, ...]:
        """The papers that options follow which are in use."""
        return (REGMIXUP,) if self.sees_clean_rows else ()

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The names of the hyper-parameters."""
        return tuple(f.name for f in fields(cls))


def _followed_by(mixed: Any, clean: Any, rows: int) -> Any:
    """Both, one below the other, where they are of a value for each of the `rows`; what is one for all stays."""
    return torch.cat([mixed, clean]) if is_by_row(mixed, rows) else mixed


def is_by_row(value: Any, rows: int) -> TypeGuard[torch.Tensor]:
    """Whether an input of the model has a value for each of so many rows."""
    return isinstance(value, torch.Tensor) and value.shape[:1] == (rows,)


def scaled_layers(layers: Sequence[int], depth: int, of: int = 12) -> tuple[int, ...]:
    """Layer numbers of a model of `of` layers for one of `depth`: round-half-up(depth * m / of), without repeats."""
    return tuple(sorted({(2 * depth * layer + of) // (2 * of) for layer in layers}))
