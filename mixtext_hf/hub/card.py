"""The model card as Markdown: `card_template.md` filled with what is known of a model, in a README.md of its folder.

What is not known is left out, and what somebody wrote by hand is kept.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from mixtext_hf._files import write_text
from mixtext_hf._markdown import code, fenced, link, prose, url_of
from mixtext_hf.methods import MixMethod
from mixtext_hf.problem_types import PROBLEM_TYPES

from .facts import CARD, TRAINING_CURVE, CardData, DataFacts, Emissions
from .fingerprint import is_blank_of_peft, is_generated, mark_of
from .ids import is_hub_id, public, shown_name
from .metadata import front_matter
from .metric_names import is_better_up, measured, metric_name
from .snippets import is_known, loading_lines, tempered_lines, training_lines


logger = logging.getLogger(__name__)

TEMPLATE = Path(__file__).with_name("card_template.md")
# Whose recall is told one by one.
_SHOWN_CLASSES = 20


def make_card(data: CardData) -> ModelCard:
    """
    The model card of what is known of a model.

    Returns:
        [`~huggingface_hub.ModelCard`], which ends in a fingerprint by which [`~mixtext_hf.hub.is_generated`] knows it again.

    Raises:
        ValueError: If `modality` or `problem_type` is unknown, or the method's citation cannot be read.
    """
    if data.modality not in ("text", "image"):
        raise ValueError(f'`modality` must be "text" or "image", got {data.modality!r}.')
    if data.problem_type not in PROBLEM_TYPES:
        raise ValueError(f'`problem_type` must be one of {", ".join(PROBLEM_TYPES)}; got "{data.problem_type}".')
    body = _template().render(_facts(data))
    card = ModelCard(f"{front_matter(data)}\n{body.strip()}\n")
    card.text = f"{card.text.rstrip()}\n\n{mark_of(str(card))}\n"
    return card


@cache  # compiled once, for as many checkpoints as are pushed
def _template() -> Template:
    environment = Environment(
        autoescape=True, finalize=prose, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "code": code,
        "link": link,
        "public": public,
        "count": _count,
        "four": _four_digits,
        "millions": _millions,
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


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
    target = Path(folder) / CARD
    if not overwrite and target.exists():
        # Bytes that are no UTF-8 are none of ours: their replacement has another fingerprint.
        found = target.read_bytes().decode("utf-8", errors="replace")
        if not (is_generated(found) or (data.is_adapter and is_blank_of_peft(found))):
            logger.warning(
                "%s was written or changed by hand and is kept: it does not tell of this run. To replace it by a new model "
                "card, delete it, or say so: --overwrite_card on the command line, overwrite=True in Python.",
                target,
            )
            return False
    write_text(target, str(make_card(data)))
    return True


def _tables(data: CardData) -> list[dict[str, Any]]:
    """One table a split that was measured, with the baseline's numbers beside those of the model."""
    beside = {result.split: result for result in data.baseline or ()}
    tables = []
    for result in data.results:
        baseline = beside.get(result.split)
        rows = [
            {
                "metric": metric_name(name, data.fgsm_epsilon),
                "arrow": {True: "↑", False: "↓", None: ""}[is_better_up(name)],
                "value": value,
                "baseline": None if baseline is None else baseline.metrics.get(name),
            }
            for name, value in measured(result)
        ]
        if rows:
            # Of more classes the mean has to do, which is the balanced accuracy.
            recall = list(result.recall.items()) if len(result.recall) <= _SHOWN_CLASSES else []
            tables.append(
                {
                    "result": result,
                    "baseline": baseline,
                    "rows": rows,
                    "recall": [(code(name), value) for name, value in recall],
                }
            )
    return tables


def _facts(data: CardData) -> dict[str, Any]:
    method, facts = data.method, data.data or DataFacts()
    tables = _tables(data)
    data_url = f"https://huggingface.co/datasets/{facts.hub_id}" if is_hub_id(facts.hub_id) else None
    data_name = _name_of(facts, data_url)
    return {
        "card": data,
        "facts": facts,
        "unit": data.modality,
        "data_set": None if facts.title is None else data_name,
        "data_name": data_name,
        "measured_on": _measured_on(facts, data_name, [table["result"].split for table in tables]),
        "base_url": f"https://huggingface.co/{data.base_model}" if is_hub_id(data.base_model) else None,
        "base": None if data.base_model is None else shown_name(data.base_model),
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
        "equation": None if method is None or not hasattr(method, "equation") else fenced(method.formula, "text"),
        "citation": None if method is None else method.citation,
        "further_citations": [] if method is None else method.further_citations,
        "bibtex": None
        if method is None or method.citation is None
        else fenced("\n\n".join(one.bibtex() for one in (method.citation, *method.further_citations)), "bibtex"),
        "hyperparameters": [] if method is None else _hyperparameters(method),
        "files": [
            (name.removesuffix("_file"), [public(path) for path in paths]) for name, paths in facts.files.items()
        ],
        "sizes": _sizes(data, facts),
        "arguments": [(name, _shown(value)) for name, value in data.training_arguments.items()],
        "curves": [(title, name) for title, name in data.pictures.items() if name == TRAINING_CURVE],
        "diagrams": [(title, name) for title, name in data.pictures.items() if name != TRAINING_CURVE],
        "url_of": url_of,
        "usage": None if data.needs_package else fenced(loading_lines(data), "python"),
        "tempered": None if data.temperature is None or data.needs_package else fenced(tempered_lines(data), "python"),
        "is_known": is_known(data),
        "further": None if method is None and not data.needs_package else fenced(training_lines(data), "python"),
        "duration": None if data.runtime is None else _duration(data.runtime),
        "emitted": _emitted(data.emissions) if data.emissions and math.isfinite(data.emissions.kg_co2eq) else None,
        "energy": None if data.emissions is None else data.emissions.energy_kwh,
        "place": None if data.emissions is None else data.emissions.place,
        "command": None if data.command is None else fenced(data.command, "bash"),
    }


def _hyperparameters(method: MixMethod) -> list[tuple[str, str, str, bool]]:
    """Name, value, default, and whether the two differ; without those that have no part in the method."""
    common = set(MixMethod.field_names())
    without = (set() if method.needs_layers else {"layers", "pad"}) | (
        set() if method.draws_lambda else {"alpha", "fold"}
    )
    idle = common & without if method.mixes else common
    rows = []
    for parameter in fields(method):
        if parameter.name in idle:
            continue
        value, told = getattr(method, parameter.name), method.hyperparameters()[parameter.name]
        has_default = isinstance(parameter.default, (int, float, str, tuple, type(None)))
        rows.append(
            (
                parameter.name,
                _shown(told, parameter.name),
                _shown(parameter.default, parameter.name) if has_default else "",
                has_default and value != parameter.default,
            )
        )
    return rows


def _name_of(facts: DataFacts, url: str | None) -> Markup | None:
    """The data set, or else the files that were learnt from."""
    if facts.title is not None:
        return prose(facts.title) if url is None else link(facts.title, url)
    files = facts.files_of("train")
    return _listed([code(public(name)) for name in files]) if files else None


def _measured_on(facts: DataFacts, data_name: Markup | None, splits: Sequence[str]) -> Markup:
    """Which files or splits were measured."""
    of_data_set = "" if facts.title is None else f" of {data_name}"
    measured_on, held_out = list[Markup](), list[Markup]()
    for split in splits:
        files = facts.files_of(split)
        if facts.held_out and split == "validation" and not files:
            train = _listed([code(public(name)) for name in facts.files_of("train") or ("train",)])
            held_out = [Markup(f"the {100 * facts.held_out:.3g} % of {train}{of_data_set} held out of training")]
        else:
            measured_on += [code(public(name)) for name in files or (split,)]
    whole = [Markup(f"{_listed(measured_on)}{of_data_set}")] if measured_on else []
    return _listed([*held_out, *whole])


def _listed(items: Sequence[Markup]) -> Markup:
    *first, last = items or [Markup()]
    return Markup(f"{', '.join(first)} and {last}") if first else last


def _sizes(data: CardData, facts: DataFacts) -> list[tuple[str, int]]:
    """What was learnt from or measured on."""
    unused = {"rest"} if data.method is None or data.method.uses_unlabeled else {"rest", "unlabeled"}
    return [(name, size) for name, size in facts.sizes.items() if name not in unused]


def _shown(value: Any, name: str = "") -> str:
    if value is None:
        return "the method's own" if name == "layers" else "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(element)}" for key, element in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_shown(element) for element in value)
    return public(str(value))


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
