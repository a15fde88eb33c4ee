"""What a model card can say: the facts of a model, its data and its results, each of them only where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mixtext_hf._markdown import one_line
from mixtext_hf.methods import MixMethod
from mixtext_hf.problem_types import SINGLE_LABEL


# The card, in the model's folder and on the Hub, and the picture of its training beside it.
CARD = "README.md"
TRAINING_CURVE = "training_curve.png"


@dataclass(frozen=True)
class SplitResult:
    """
    What was measured on one split.

    Args:
        split (`str`): `"validation"`, `"test"`, or another name.
        metrics (`dict[str, float]`):
            By the names of [`mixtext_hf.evaluation`], without a prefix. Timings and counts of examples are left out.
        samples (`int`, *optional*): Number of examples.
        recall (`dict[str, float]`): Of classes by their names, the share of the examples of each that are predicted as it.
    """

    split: str
    metrics: Mapping[str, float]
    samples: int | None = None
    recall: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class DataFacts:
    """
    Where the data came from and what was chosen of it.

    Args:
        name (`str`, *optional*): What to call the data set.
        hub_id (`str`, *optional*): Its id on the Hub.
        config (`str`, *optional*): Its configuration there.
        files (`dict[str, list[str]]`): Files by what they served as, `"train_file"` or `"train"`. Only the last component
            of an absolute path is printed.
        sizes (`dict[str, int]`): Number of examples of the splits by name, `"unlabeled"` being one of them.
        held_out (`float`, *optional*): Share of the training data that is the validation split.
        labeled_per_class (`int`, *optional*): How many labelled examples of each class were chosen.
        split_seed (`int`, *optional*): Seed of that choice.
        columns (`list[str]`): The columns that the model's inputs are made of; two for pairs of texts.
        notes (`list[str]`): Sentences on anything else.
    """

    name: str | None = None
    hub_id: str | None = None
    config: str | None = None
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    held_out: float | None = None
    labeled_per_class: int | None = None
    split_seed: int | None = None
    columns: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def title(self) -> str | None:
        """What to call the data set, by its name or else by its id; of files that are none, see [`files_of`], there is no name."""
        return self.name or self.hub_id

    def files_of(self, split: str) -> list[str]:
        """The files that hold a split; none of a data set, and of one that was held out of another."""
        kind = split.split("_")[0]
        files = next((list(of) for use, of in self.files.items() if use.removesuffix("_file") == kind), [])
        # Such as the matched and the mismatched one of MNLI.
        several = [name for name in self.sizes if name.split("_")[0] == kind]
        if len(several) > 1 and len(several) == len(files) and split in several:
            return [files[several.index(split)]]
        return files


@dataclass(frozen=True)
class Emissions:
    """
    What training emitted, as codecarbon estimates it.

    Args:
        kg_co2eq (`float`): Kilograms of CO2 equivalents.
        energy_kwh (`float`, *optional*): Energy in kWh.
        country (`str`, *optional*): Where it was used.
        region (`str`, *optional*): Part of the country.
    """

    kg_co2eq: float
    energy_kwh: float | None = None
    country: str | None = None
    region: str | None = None

    @property
    def place(self) -> str:
        """Where the energy was used, as far as it is known."""
        return ", ".join(one_line(part) for part in (self.region, self.country) if part)


@dataclass
class CardData:
    """
    What is known of a model. What is not given is not said.

    Args:
        model_name (`str`): Title of the card, and the model's name in its `model-index`.
        method ([`~mixtext_hf.methods.MixMethod`], *optional*): What it was trained with.
        repo_id (`str`, *optional*): What `from_pretrained` is given in the examples; `model_name` if `None`.
        modality (`"text"` or `"image"`): What it classifies.
        problem_type (`str`): As in its config.
        labels_tokens (`bool`): Whether each word of a text has a class, and not the text.
        label_names (`list[str]`): Names of the classes in the order of their ids; empty for regression.
        base_model (`str`, *optional*):
            Hub id or name of the model that training started from, see [`~mixtext_hf.hub.ids.base_model_name`]; `None` = from scratch. Only what
            looks like a Hub id, with an owner, goes into the metadata.
        architecture (`str`, *optional*): Name of the model's class.
        num_parameters (`int`, *optional*): Number of parameters, those of the base model included.
        max_length (`int`, *optional*): Longest input in tokens in training and evaluation.
        image_size (`tuple[int, int]`, *optional*): Height and width of the images that the model sees, in pixels.
        is_adapter (`bool`): Whether the folder holds a PEFT adapter.
        needs_package (`bool`): Whether only this package can load it.
        layers (`Sequence[int | "head"]`): The layers that were drawn from.
        temperature (`float`, *optional*), temperature_origin (`str`, *optional*): That of its config, and what it was fitted on.
        data ([`DataFacts`], *optional*): What it learnt from and was measured on.
        results (`list[SplitResult]`): What was measured.
        baseline (`list[SplitResult]`, *optional*): The same of a model trained with `erm`.
        baseline_notes (`list[str]`): In what else that model's training differs.
        fgsm_epsilon (`float`, *optional*): Size of the attack behind `fgsm_accuracy`, in grey levels of 255.
        pictures (`dict[str, str]`): Files in the model's folder by their titles.
        training_arguments (`dict[str, Any]`): Those that differ from their defaults.
        step, max_steps (`int`, *optional*), epochs (`float`, *optional*): How far training has come, and how far it is to go.
        is_finished (`bool`): Whether training is over.
        runtime (`float`, *optional*): Its length in seconds.
        device (`str`, *optional*): What it ran on.
        emissions ([`Emissions`], *optional*): What it emitted.
        command (`str`, *optional*): The command that trained the model.
        versions (`dict[str, str]`): Versions of packages.
        language (`str` or `list[str]`, *optional*), license (`str`, *optional*), tags (`list[str]`): As the Hub has them.
    """

    model_name: str
    method: MixMethod | None = None
    repo_id: str | None = None
    modality: Literal["text", "image"] = "text"
    problem_type: str = SINGLE_LABEL
    labels_tokens: bool = False
    label_names: Sequence[str] = ()
    base_model: str | None = None
    architecture: str | None = None
    num_parameters: int | None = None
    max_length: int | None = None
    image_size: tuple[int, int] | None = None
    is_adapter: bool = False
    needs_package: bool = False
    layers: Sequence[int | str] = ()
    temperature: float | None = None
    temperature_origin: str | None = None
    data: DataFacts | None = None
    results: Sequence[SplitResult] = ()
    baseline: Sequence[SplitResult] | None = None
    baseline_notes: Sequence[str] = ()
    fgsm_epsilon: float | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)
    training_arguments: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    max_steps: int | None = None
    epochs: float | None = None
    is_finished: bool = True
    runtime: float | None = None
    device: str | None = None
    emissions: Emissions | None = None
    command: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    language: str | Sequence[str] | None = None
    license: str | None = None
    tags: Sequence[str] = ()
