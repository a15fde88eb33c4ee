"""The metadata of a card, by which the Hub finds a model and shows its results."""

from __future__ import annotations

import math
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mixtext_hf._markdown import one_line
from mixtext_hf.problem_types import REGRESSION

from .facts import CardData, DataFacts
from .ids import is_hub_id, public
from .metric_names import HUB_METRICS, measured, metric_name


_ORDER = ["language", "license", "library_name", "pipeline_tag", "tags", "datasets", "base_model", "metrics"]


def front_matter(data: CardData) -> str:
    """The metadata as YAML between two lines of dashes: how a card begins."""
    return f"---\n{_metadata(data).to_yaml(original_order=_ORDER)}\n---\n"


def _metadata(data: CardData) -> ModelCardData:
    method, facts = data.method, data.data
    tags = ["mixtext_hf", *(["mixup"] if method is not None and method.mixes else [])]
    tags += [*([method.name] if method is not None else []), *data.tags]
    kind = "token" if data.labels_tokens else data.modality
    task = f"{kind}-classification"
    more: dict[str, Any] = {}
    if data.emissions is not None and math.isfinite(data.emissions.kg_co2eq):
        more["co2_eq_emissions"] = {
            "emissions": 1000 * float(data.emissions.kg_co2eq),
            "source": "codecarbon",
            **({"training_type": _training_type(data)} if method is not None else {}),
            **({"geographical_location": data.emissions.place} if data.emissions.place else {}),
            **({"hardware_used": one_line(data.device)} if data.device else {}),
        }
    dataset_id = facts.hub_id if facts is not None and is_hub_id(facts.hub_id) else None
    results = [
        EvalResult(
            task_type=task,
            task_name=f"{kind.capitalize()} {'regression' if data.problem_type == REGRESSION else 'classification'}",
            # Of local files the Hub can know nothing, and their name may be that of another data set there.
            dataset_type=dataset_id or "local",
            dataset_name=one_line(_measured(facts, result.split) or "unnamed"),
            dataset_config=one_line(facts.config) if dataset_id and facts is not None and facts.config else None,
            dataset_split=one_line(result.split),
            metric_type=HUB_METRICS.get(name, one_line(name)),
            metric_name=metric_name(name, data.fgsm_epsilon),
            metric_value=float(value),
        )
        for result in data.results
        for name, value in measured(result)
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


def _measured(facts: DataFacts | None, split: str) -> str | None:
    """What to call the data that a split is of: the data set, or else the files."""
    if facts is None or facts.title is not None:
        return None if facts is None else facts.title
    return ", ".join(map(public, facts.files_of(split) or facts.files_of("train"))) or None


def _training_type(data: CardData) -> str:
    return "pre-training" if data.base_model is None else "fine-tuning"
