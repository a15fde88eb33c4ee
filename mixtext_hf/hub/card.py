"""The model card: what is known of a model, and the README.md made of it.

Everything that a card says comes from [`CardData`], and what is not known is left out. The sentences stand in
`card_template.md`; here are the facts that they need, the metadata for the Hub, and the rule that what somebody wrote by
hand is kept.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, StrictUndefined, Template

from mixtext_hf._files import write_text
from mixtext_hf.methods import MixMethod

from .markdown import code, fenced, link, one_line, prose, url_of


logger = logging.getLogger(__name__)

README = "README.md"
TEMPLATE = Path(__file__).with_name("card_template.md")
TRAINING_CURVE = "training_curve.png"

SINGLE_LABEL, MULTI_LABEL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


@dataclass(frozen=True)
class SplitResult:
    """
    What was measured on one split.

    Args:
        split (`str`): `"validation"`, `"test"`, or another name.
        metrics (`dict[str, float]`):
            By the names of [`mixtext_hf.evaluation`], without a prefix. Timings and counts of examples are left out.
        samples (`int`, *optional*): Number of examples.
    """

    split: str
    metrics: Mapping[str, float]
    samples: int | None = None


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
    labeled_per_class: int | None = None
    split_seed: int | None = None
    columns: Sequence[str] = ()
    notes: Sequence[str] = ()


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
        label_names (`list[str]`): Names of the classes in the order of their ids; empty for regression.
        base_model (`str`, *optional*):
            Hub id or name of the model that training started from, see [`base_model_name`]; `None` = from scratch. Only what
            looks like a Hub id, with an owner, goes into the metadata.
        architecture (`str`, *optional*): Name of the model's class.
        num_parameters (`int`, *optional*): Number of parameters, those of the base model included.
        max_length (`int`, *optional*): Longest input in tokens in training and evaluation.
        image_size (`tuple[int, int]`, *optional*): Height and width of the images that the model sees, in pixels.
        is_adapter (`bool`): Whether the folder holds a PEFT adapter.
        needs_package (`bool`): Whether only this package can load it.
        layers (`Sequence[int | "head"]`): The layers that were drawn from.
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
    label_names: Sequence[str] = ()
    base_model: str | None = None
    architecture: str | None = None
    num_parameters: int | None = None
    max_length: int | None = None
    image_size: tuple[int, int] | None = None
    is_adapter: bool = False
    needs_package: bool = False
    layers: Sequence[int | str] = ()
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


def make_card(data: CardData) -> ModelCard:
    """
    The model card of what is known of a model.

    Returns:
        [`~huggingface_hub.ModelCard`], which ends in a fingerprint by which [`is_generated`] knows it again.

    Raises:
        ValueError: If `modality` or `problem_type` is unknown, or the method's citation cannot be read.
    """
    if data.modality not in ("text", "image"):
        raise ValueError(f'`modality` must be "text" or "image", got {data.modality!r}.')
    if data.problem_type not in (SINGLE_LABEL, MULTI_LABEL, REGRESSION):
        raise ValueError(
            f'`problem_type` must be one of {SINGLE_LABEL}, {MULTI_LABEL}, {REGRESSION}; got "{data.problem_type}".'
        )
    body = _template().render(_facts(data))
    card = ModelCard(f"---\n{_metadata(data).to_yaml(original_order=_ORDER)}\n---\n\n{body.strip()}\n")
    card.text = f"{card.text.rstrip()}\n\n<!-- mixtext_hf model card, sha256:{_fingerprint(str(card))} -->\n"
    return card


@cache  # compiled once, for as many checkpoints as are pushed
def _template() -> Template:
    environment = Environment(
        autoescape=True, finalize=prose, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "code": code,
        "link": link,
        "public": _public,
        "count": _count,
        "four": _four_digits,
        "millions": _millions,
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def is_generated(text: str) -> bool:
    """
    Whether a README.md is a card of [`make_card`] that nobody changed since.

    Other line ends and space at the end are no change, and neither is what PEFT writes into the card of an adapter when it
    saves one.
    """
    match = _MARK.search(_with_plain_ends(text))
    return match is not None and match["fingerprint"] == _fingerprint(_with_plain_ends(text)[: match.start()])


def write_card(folder: str | os.PathLike[str], data: CardData, *, overwrite: bool = False) -> bool:
    """
    Write a model's card into its folder, whole or not at all.

    A README.md that was written or changed by hand is kept, and a warning says so.

    Args:
        folder (`str` or `os.PathLike`): Where the model lies; made if it is not there.
        data ([`CardData`]): What to say.
        overwrite (`bool`): Whether to replace a README.md that was written by hand as well.

    Returns:
        `bool`, whether it was written.
    """
    target = Path(folder) / README
    if not overwrite and target.exists():
        # Bytes that are no UTF-8 are none of ours: their replacement has another fingerprint.
        found = target.read_bytes().decode("utf-8", errors="replace")
        if not (is_generated(found) or (data.is_adapter and _is_blank_of_peft(found))):
            logger.warning(
                "%s was written or changed by hand and is kept: it does not tell of this run. To replace it by a new model "
                "card, delete it, or say so: --overwrite_card on the command line, overwrite=True in Python.",
                target,
            )
            return False
    write_text(target, str(make_card(data)))
    return True


# ---- the fingerprint ----

_OF_PEFT = r"### Framework versions\n+- PEFT \S+"
_MARK = re.compile(
    rf"\n*<!-- mixtext_hf model card, sha256:(?P<fingerprint>[0-9a-f]{{64}}) -->\s*(?:{_OF_PEFT}\s*)?\Z"
)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def _with_plain_ends(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip()


def _fingerprint(text: str) -> str:
    """Of a card without its mark. PEFT sets the tags and the base model of an adapter's card to its own."""
    plain = _with_plain_ends(text)
    front = _FRONT_MATTER.match(plain)
    if front is not None and "\nlibrary_name: peft\n" in front[0]:
        # A key, and the lines of its value, which are indented or items of a list.
        kept = re.sub(r"^(?:tags|base_model):.*\n(?:[ -] ?(?!--).*\n)*", "", front[0], flags=re.MULTILINE)
        plain = kept + plain[front.end() :]
    return hashlib.sha256(plain.encode("utf-8", errors="replace")).hexdigest()


def _is_blank_of_peft(text: str) -> bool:
    """Whether it is the form, not filled in, that PEFT leaves beside every adapter."""
    blank = ModelCard.from_template(ModelCardData()).text
    front = _FRONT_MATTER.match(_with_plain_ends(text))
    if front is None:
        return False
    body = re.sub(rf"\n*{_OF_PEFT}\s*\Z", "", _with_plain_ends(text)[front.end() :])
    return body.split() == blank.split()


# ---- metadata ----

_ORDER = ["language", "license", "library_name", "pipeline_tag", "tags", "datasets", "base_model", "metrics"]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def _metadata(data: CardData) -> ModelCardData:
    method, facts = data.method, data.data
    tags = ["mixtext_hf", *(["mixup"] if method is not None and method.mixes else [])]
    tags += [*([method.name] if method is not None else []), *data.tags]
    task = f"{data.modality}-classification"
    more: dict[str, Any] = {}
    if data.emissions is not None and math.isfinite(data.emissions.kg_co2eq):
        more["co2_eq_emissions"] = {
            "emissions": 1000 * float(data.emissions.kg_co2eq),
            "source": "codecarbon",
            **({"training_type": _training_type(data)} if method is not None else {}),
            **({"geographical_location": _place(data.emissions)} if _place(data.emissions) else {}),
            **({"hardware_used": one_line(data.device)} if data.device else {}),
        }
    dataset_id = facts.hub_id if facts is not None and is_hub_id(facts.hub_id) else None
    results = [
        EvalResult(
            task_type=task,
            task_name=f"{data.modality.capitalize()} {'regression' if data.problem_type == REGRESSION else 'classification'}",
            # Of local files the Hub can know nothing, and their name may be that of another data set there.
            dataset_type=dataset_id or "local",
            dataset_name=one_line(_name_of(facts) or "unnamed"),
            dataset_config=one_line(facts.config) if dataset_id and facts is not None and facts.config else None,
            dataset_split=one_line(result.split),
            metric_type=_HUB_METRICS.get(name, one_line(name)),
            metric_name=metric_name(name, data.fgsm_epsilon),
            metric_value=float(value),
        )
        for result in data.results
        for name, value in _measured(result)
        if math.isfinite(value)
    ]
    return ModelCardData(
        language=data.language if data.language is None or isinstance(data.language, str) else list(data.language),
        license=data.license,
        library_name="peft" if data.is_adapter else "mixtext_hf" if data.needs_package else "transformers",
        pipeline_tag=task,
        tags=list(dict.fromkeys(map(one_line, tags))),
        datasets=None if dataset_id is None else [dataset_id],
        base_model=data.base_model if is_hub_id(data.base_model) else None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        model_name=one_line(data.model_name) if results else None,
        eval_results=results or None,
        **more,
    )


def is_hub_id(name: str | None) -> bool:
    """Whether it looks like the id of a repository on the Hub, with its owner."""
    return name is not None and _HUB_ID.fullmatch(name) is not None


def base_model_name(name: str | None) -> str | None:
    """What a card calls the model that training started from: its id, or the name of its folder, which is no id."""
    if name and os.path.isdir(name):
        return os.path.basename(os.path.abspath(name))
    return name or None


def _training_type(data: CardData) -> str:
    return "pre-training" if data.base_model is None else "fine-tuning"


def _place(emissions: Emissions) -> str:
    return ", ".join(one_line(part) for part in (emissions.region, emissions.country) if part)


# ---- metrics ----

# Name and whether more is better, in the order of the table.
_METRICS: dict[str, tuple[str, bool]] = {
    "accuracy": ("Accuracy", True),
    "top_k_accuracy": ("Top-2 accuracy", True),
    "macro_f1": ("Macro F1", True),
    "f1": ("F1", True),
    "f1_micro": ("Micro F1", True),
    "f1_macro": ("Macro F1", True),
    "subset_accuracy": ("Subset accuracy", True),
    "matthews_correlation": ("Matthews correlation", True),
    "pearson": ("Pearson correlation", True),
    "spearman": ("Spearman correlation", True),
    "mse": ("Mean squared error", False),
    "nll": ("NLL (nats)", False),
    "brier": ("Brier score (0 to 2)", False),
    "ece": ("ECE (15 bins)", False),
    "ece_equal_mass": ("ECE (15 bins of equal mass)", False),
    "classwise_ece": ("Classwise ECE (15 bins)", False),
    "mce": ("MCE (15 bins)", False),
    "fgsm_accuracy": ("FGSM accuracy", True),
    "loss": ("Loss", False),
}
_HUB_METRICS = {
    "macro_f1": "f1",
    "f1_micro": "f1",
    "f1_macro": "f1",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "brier": "brier_score",
}
_TOP_K = re.compile("top_([1-9][0-9]*)_accuracy")
_NO_METRICS = ("runtime", "samples", "samples_per_second", "steps_per_second", "_time", "epoch")


def metric_name(name: str, fgsm_epsilon: float | None = None) -> str:
    """What a metric is called in a card."""
    if name == "fgsm_accuracy" and fgsm_epsilon is not None:
        return f"FGSM accuracy ({fgsm_epsilon:g}/255)"
    if match := _TOP_K.fullmatch(name):
        return f"Top-{match[1]} accuracy"
    return _METRICS[name][0] if name in _METRICS else one_line(name)


def _is_better_up(name: str) -> bool | None:
    if _TOP_K.fullmatch(name):
        return True
    return _METRICS[name][1] if name in _METRICS else None


def _measured(result: SplitResult) -> list[tuple[str, float]]:
    """The metrics of a split in the order of the table, without timings; the loss only where it is not the NLL once more."""
    order = list(_METRICS)
    kept = [
        (name, value)
        for name, value in result.metrics.items()
        if not name.endswith(_NO_METRICS) and not (name == "loss" and {"nll", "mse"} & set(result.metrics))
    ]

    def position(item: tuple[str, float]) -> float:
        name = "top_k_accuracy" if _TOP_K.fullmatch(item[0]) else item[0]
        return order.index(name) if name in order else len(order)

    return sorted(kept, key=position)


def _tables(data: CardData) -> list[dict[str, Any]]:
    """One table a split that was measured, with the baseline's numbers beside those of the model."""
    beside = {result.split: result for result in data.baseline or ()}
    tables = []
    for result in data.results:
        baseline = beside.get(result.split)
        rows = [
            {
                "metric": metric_name(name, data.fgsm_epsilon),
                "arrow": {True: "↑", False: "↓", None: ""}[_is_better_up(name)],
                "value": value,
                "baseline": None if baseline is None else baseline.metrics.get(name),
            }
            for name, value in _measured(result)
        ]
        if rows:
            tables.append({"result": result, "baseline": baseline, "rows": rows})
    return tables


# ---- what the template is given ----


def _facts(data: CardData) -> dict[str, Any]:
    method, facts = data.method, data.data or DataFacts()
    tables = _tables(data)
    return {
        "card": data,
        "facts": facts,
        "unit": data.modality,
        "data_name": _name_of(facts),
        "data_url": f"https://huggingface.co/datasets/{facts.hub_id}" if is_hub_id(facts.hub_id) else None,
        "base_url": f"https://huggingface.co/{data.base_model}" if is_hub_id(data.base_model) else None,
        "base": None if data.base_model is None else _base_name(data.base_model),
        "labels": [code(name) for name in data.label_names],
        "tables": tables,
        "has_baseline": any(table["baseline"] is not None for table in tables),
        "calibration": [
            short
            for name, short in (("ece", "ECE"), ("nll", "NLL"), ("brier", "Brier score"))
            if any(name in result.metrics for result in data.results)
        ],
        "method": method,
        "method_title": None if method is None else type(method).__name__,
        # A method of somebody's own may have none.
        "equation": None if method is None or not hasattr(method, "equation") else fenced(method.equation, "text"),
        "citation": None if method is None else method.citation,
        "bibtex": None if method is None or method.citation is None else fenced(method.citation.bibtex(), "bibtex"),
        "hyperparameters": [] if method is None else _hyperparameters(method),
        "files": [
            (name.removesuffix("_file"), [_public(path) for path in paths]) for name, paths in facts.files.items()
        ],
        "sizes": _sizes(data, facts),
        "arguments": [(name, _shown(value)) for name, value in data.training_arguments.items()],
        "curves": [(title, name) for title, name in data.pictures.items() if name == TRAINING_CURVE],
        "diagrams": [(title, name) for title, name in data.pictures.items() if name != TRAINING_CURVE],
        "url_of": url_of,
        "usage": None if data.needs_package else fenced(_loading(data), "python"),
        "further": None if method is None and not data.needs_package else fenced(_further(data), "python"),
        "duration": None if data.runtime is None else _duration(data.runtime),
        "emitted": _emitted(data.emissions) if data.emissions and math.isfinite(data.emissions.kg_co2eq) else None,
        "energy": None if data.emissions is None else data.emissions.energy_kwh,
        "place": None if data.emissions is None else _place(data.emissions),
        "command": None if data.command is None else fenced(data.command, "bash"),
    }


def _name_of(facts: DataFacts | None) -> str | None:
    if facts is None:
        return None
    return facts.name or facts.hub_id


def _hyperparameters(method: MixMethod) -> list[tuple[str, str, str, bool]]:
    """Name, value, default, and whether the two differ; without those that have no part in the method."""
    common = set(MixMethod.field_names())
    idle = (common if not method.mixes else {"layers", "pad"} if method.mixes_pixels else set()) & common
    rows = []
    for parameter in fields(method):
        if parameter.name in idle:
            continue
        value = getattr(method, parameter.name)
        has_default = isinstance(parameter.default, (int, float, str, tuple, type(None)))
        rows.append(
            (
                parameter.name,
                _shown(value, parameter.name),
                _shown(parameter.default, parameter.name) if has_default else "",
                has_default and value != parameter.default,
            )
        )
    return rows


def _sizes(data: CardData, facts: DataFacts) -> list[tuple[str, int]]:
    """What was learnt from or measured on."""
    unused = {"rest"} if data.method is None or data.method.uses_unlabeled else {"rest", "unlabeled"}
    return [(name, size) for name, size in facts.sizes.items() if name not in unused]


def _loading(data: CardData) -> str:
    """Lines that load the model with plain transformers (and PEFT) and classify something."""
    name = _quoted(data.repo_id or data.model_name)
    if data.modality == "image":
        auto, processor, task = "AutoModelForImageClassification", "AutoImageProcessor", "image-classification"
        example, options = '"image.png"', list[str]()
    else:
        auto, processor, task = "AutoModelForSequenceClassification", "AutoTokenizer", "text-classification"
        is_pair = data.data is not None and len(data.data.columns) == 2
        example = '{"text": "First text.", "text_pair": "Second text."}' if is_pair else '"A text."'
        top_k = [] if data.problem_type == REGRESSION else ["top_k=None"]
        options = [
            *top_k,
            "truncation=True",
            *([f"max_length={data.max_length}"] if data.max_length is not None else []),
        ]
    call = f"print(classifier({', '.join([example, *options])}))"
    if not data.is_adapter:
        return f'from transformers import pipeline\n\nclassifier = pipeline("{task}", {name})\n{call}'
    given = "image_processor" if data.modality == "image" else "tokenizer"
    return "\n".join(
        [
            "from peft import PeftModel",
            f"from transformers import AutoConfig, {auto}, {processor}, pipeline",
            "",
            f"config = AutoConfig.from_pretrained({name})",
            f"base = {auto}.from_pretrained({_quoted(_base_path(data))}, config=config)",
            f"model = PeftModel.from_pretrained(base, {name})",
            f'classifier = pipeline("{task}", model=model, {given}={processor}.from_pretrained({name}))',
            call,
        ]
    )


def _further(data: CardData) -> str:
    """Lines that load the model with this package and go on training it."""
    name = _quoted(data.repo_id or data.model_name)
    is_image = data.modality == "image"
    mixable = f"MixableModelFor{'Image' if is_image else 'Sequence'}Classification"
    # A method that mixes no hidden states may have trained a model that cannot be mixed.
    load = f"{mixable}.{'from_pretrained' if data.layers or data.needs_package else 'without_hooks'}"
    processor = "AutoImageProcessor" if is_image else "AutoTokenizer"
    packages = [f"from transformers import {'AutoConfig, ' if data.is_adapter else ''}{processor}"]
    if data.is_adapter:
        packages.insert(0, "from peft import PeftModel")
        loading = [
            f"config = AutoConfig.from_pretrained({name})",
            f"base = {load}({_quoted(_base_path(data))}, config=config)",
            f"model = PeftModel.from_pretrained(base, {name}, is_trainable=True)",
        ]
    else:
        loading = [f"model = {load}({name})"]
    return "\n".join(
        [
            *packages,
            "",
            f"from mixtext_hf import {mixable}, MixTrainer, MixTrainingArguments",
            "",
            *loading,
            f"processor = {processor}.from_pretrained({name})",
            'args = MixTrainingArguments("out")',
            "trainer = MixTrainer(model=model, args=args, train_dataset=your_data, processing_class=processor)",
            "trainer.train()",
        ]
    )


def _base_path(data: CardData) -> str:
    """What to load below an adapter: an id, or a place that the reader has to fill in."""
    if is_hub_id(data.base_model):
        return str(data.base_model)
    return f"path/to/{_base_name(data.base_model)}" if data.base_model is not None else "path/to/the/base/model"


def _base_name(base_model: str) -> str:
    """An id as it is, of a path the last component."""
    return base_model if is_hub_id(base_model) else PureWindowsPath(base_model).name or base_model


# ---- values as text ----


def _public(name: str) -> str:
    """A name as it is, and of a path that leads out of the working directory its last component."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.is_absolute() or name.startswith(("~", "..")):
            return path.name
    return name


def _shown(value: Any, name: str = "") -> str:
    if value is None:
        return "the method's own" if name == "layers" else "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(element) for element in value)
    return _public(str(value))


def _four_digits(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "nan"


def _count(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else f"{number:,.2f}"


def _millions(number: int) -> str:
    for size, unit in ((10**9, "B"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:,}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _emitted(emissions: Emissions) -> str:
    kilograms = emissions.kg_co2eq
    return f"{kilograms:.4g} kg" if kilograms >= 1 else f"{1000 * kilograms:.4g} g"


def _quoted(text: str) -> str:
    """A string of Python."""
    plain = one_line(text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


__all__ = ["CardData", "DataFacts", "Emissions", "SplitResult", "is_generated", "make_card", "write_card"]
