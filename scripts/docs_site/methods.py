"""A page a method, made of its dataclass and a few hand-written lines in `notes/`, and the table of all of them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from mixtext_hf.methods import METHODS, AugMix, MixMethod, Preset
from mixtext_hf.models.cls_attention import ATTENDING_MODEL_TYPES

from .api import documented, whole_name
from .blocks_of_methods import blocks_of
from .costs import Cost, costs_of
from .docstrings import Item, read, with_references
from .markdown import arguments_table, block, bullets, listed, page, paragraph, table


NOTES = Path(__file__).parent / "notes"
BENCHMARKS = Path(__file__).resolve().parents[2] / "docs" / "results" / "benchmark"
HEADINGS = {
    "texts": "Labelled texts",
    "unlabelled": "Labelled and unlabelled texts",
    "tokens": "Tagged words",
    "images": "Images",
}
# A value of each hyper-parameter that is not its default: a method that refuses it has no use for it.
_OTHER_VALUES: dict[str, Any] = {
    "alpha": 0.5,
    "layers": (1,),
    "per": "example",
    "prob": 0.5,
    "partner": "derangement",
    "clean_lam": 0.5,
    "mix_with": "embed_mixup",
    "mix_within": "kind",
}
_LETTER_OF = {
    "alpha": "α",  # noqa: RUF001
    "beta": "β",
    "gamma": "γ",  # noqa: RUF001
    "eta": "η",
    "mu": "μ",
    "temperature": "T",
    "lambda_u": "λ_u",
}
# Those of all methods that have an argument of their own.
_OF_ARGUMENTS = ("alpha", "layers", "fold", "per", "prob")
# Letters and signs of the papers, for what an equation is written with in ASCII.
_SIGNS = {
    r"\b(?:lam|lambda)(?![a-z])": "λ",
    r"\balpha(?![a-z])": "α",  # noqa: RUF001
    r"\bbeta(?![a-z])": "β",
    r"\bgamma(?![a-z])": "γ",  # noqa: RUF001
    r"\beta(?![a-z])": "η",
    r"\btau(?![a-z])": "τ",
    r"\bxi(?![a-z])": "ξ",
    r"\bpsi(?![a-z])": "ψ",
    r"\bphi(?![a-z])": "φ",
    r"\bsum(?![a-z])": "Σ",
    r"<-": "←",
    r">=": "≥",
    r"\^2": "²",
    r"\bin \{": "∈ {",
}


@dataclass(frozen=True)
class Note:
    """
    What is written by hand of a method.

    Args:
        mixes (`str`): What is mixed, in a few words.
        defaults (`tuple[str, ...]`): The hyper-parameters that the table of all methods shows.
        text (`str`): When it helps and when not, Markdown.
    """

    mixes: str
    defaults: tuple[str, ...]
    text: str


def note_of(name: str) -> Note:
    """The note of a method."""
    head, _, text = (NOTES / f"{name}.md").read_text(encoding="utf-8").partition("\n\n")
    told = dict(line.split(":", 1) for line in head.splitlines())
    return Note(told["mixes"].strip(), tuple(told["defaults"].split()), text.strip())


def pages() -> dict[str, str]:
    """The pages, by their names below `docs/`."""
    return {"methods/index.md": _index(), **{f"methods/{name}.md": _page(kind) for name, kind in METHODS.items()}}


def kind_of(method: type[MixMethod]) -> str:
    """Which of `HEADINGS` it stands under."""
    if method.mixes_pixels:
        return "images"
    if method.uses_unlabeled:
        return "unlabelled"
    return "texts" if method.labels_texts else "tokens"


# ---- the table of all ----


def _index() -> str:
    parts = [
        "# Methods",
        paragraph(
            "What `--mix_method` takes, and `mix_method` of [`MixTrainingArguments`](../api/training.md#mixtext_hf.MixTrainingArguments). Each "
            "name has a page: what is minimised, its hyper-parameters and presets, what a step costs, when it helps and when not."
        ),
        paragraph(
            "λ is the weight of a row's own label, drawn from Beta(α, α) unless the page says otherwise; the partner has 1 − λ. Layers are "  # noqa: RUF001
            "numbered as in the papers: 0 is the output of the embeddings, `m` that of the `m`-th layer, and what is given for 12 layers is "
            "scaled to the depth of the model."
        ),
        block(
            "python",
            "from mixtext_hf.methods import METHODS, make_method\n\n"
            "print(*METHODS)\n"
            'print(make_method("tmix").hyperparameters())',
        ),
        paragraph(
            "[Compare methods](../guides/compare.md) says how to find out which one is better on your own data."
        ),
    ]
    for key, heading in HEADINGS.items():
        rows = [
            (f"[`{name}`]({name}.md)", note_of(name).mixes, _defaults_in_short(kind), _paper_in_short(kind))
            for name, kind in METHODS.items()
            if kind_of(kind) == key
        ]
        parts += [f"## {heading}", table(("method", "what is mixed", "defaults", "paper"), rows), _AFTER.get(key, "")]
    return page(*parts)


_AFTER = {
    "texts": paragraph(
        "`erm` and the methods that mix hidden states without reading tokens train image classifiers as well: see [`erm`](erm.md) and "
        "[`manifold_mixup`](manifold_mixup.md)."
    ),
    "unlabelled": paragraph("[Unlabelled text](../guides/unlabeled.md) says who guesses, and how."),
    "tokens": paragraph(
        f"{listed([f'`{name}`' for name, kind in METHODS.items() if kind.labels_tokens and not kind.mixes_pixels])} train taggers of words: "
        "see [Tags for words](../guides/tokens.md)."
    ),
    "images": paragraph("[Images](../guides/images.md) and [PuzzleMix](../guides/puzzlemix.md) show them at work."),
}


def _defaults_in_short(method: type[MixMethod]) -> str:
    default = {one.name: one.default for one in fields(method)}
    shown = []
    for name in note_of(method.name).defaults:
        if name == "fold":
            shown.append("λ ← max(λ, 1 − λ)")  # noqa: RUF001
        elif name == "layers":
            shown.append(f"layers {_layers_of_12(method)}")
        else:
            shown.append(f"{_LETTER_OF.get(name, f'`{name}`')} {_value(default[name]).strip('`')}")
    return ", ".join(shown)


def _paper_in_short(method: type[MixMethod]) -> str:
    cited = method.citation
    return "" if cited is None else f"[{cited.short_authors} {cited.year}]({cited.url})"


# ---- the page of one ----


def _page(method: type[MixMethod]) -> str:
    note, (first, *more) = note_of(method.name), _linked(read(method.__doc__ or "").text).split("\n\n")
    return page(
        f"# {method.name}",
        paragraph(first),
        *blocks_of(method, kind_of(method)),
        "## When it helps, and when not",
        *map(paragraph, note.text.split("\n\n")),
        *(("## How it works", *map(paragraph, more)) if more else ()),
        "## What it takes",
        _facts(method),
        "## What is minimised",
        block("text", _wrapped(in_signs(method().formula))),
        paragraph(_LETTERS[kind_of(method)]),
        "## Hyper-parameters",
        _hyperparameters(method),
        _presets(method),
        "## What a step costs",
        _costs(costs_of(method.name, BENCHMARKS)),
        _papers(method),
    )


_LETTERS = {
    "texts": "x_i is a row and x_j its partner, y their labels, h_m the hidden states at layer m, l the loss of the task.",
    "unlabelled": "x are labelled texts with labels y, x_u unlabelled ones with K other wordings, y_u what is learnt of a guess.",
    "tokens": "x_i is a sentence, y_i the tags of its words, h_m the hidden states at layer m.",
    "images": "x_i is an image and x_j its partner (0 and 1 where they are two), y their labels, M and z masks.",
}


def in_signs(equation: str) -> str:
    """An equation of the package with the signs of the papers."""
    for pattern, sign in _SIGNS.items():
        equation = re.sub(pattern, sign, equation)
    return equation


def _wrapped(equation: str) -> str:
    """A line for each of its parts, and several for a long one."""
    lines = equation.replace(",  ", ",\n").splitlines()
    wrapped = [
        textwrap.wrap(line, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
        for line in lines
    ]
    return "\n".join(line for part in wrapped for line in part)


def _facts(method: type[MixMethod]) -> str:
    file = method.__module__.replace(".", "/") + ".py"
    return bullets(
        [
            f"**Mixes** {note_of(method.name).mixes}.",
            f"**Data:** {_data(method)}.",
            f"**Models:** {_models(method)}.",
            f"**Source:** `{file}`, class [`{method.__name__}`](../api/methods.md#mixtext_hf.{method.__name__}).",
        ]
    )


def _data(method: type[MixMethod]) -> str:
    kinds = []
    if method.uses_unlabeled:
        kinds.append("labelled and unlabelled texts, one class a text")
    elif method.labels_texts and not method.mixes_pixels:
        kinds.append("texts with one class, several classes or a score each")
    if method.labels_tokens and not method.mixes_pixels:
        kinds.append(
            "tagged words"
            + (" (with `online` alone: guesses of the model in training)" if method.uses_unlabeled else "")
        )
    if issubclass(method, AugMix):
        kinds.append("images with one class each")
    elif method.mixes_pixels or (method.labels_texts and not method.uses_unlabeled and not method().reads_tokens):
        kinds.append("images")
    return "; ".join(kinds)


def _models(method: type[MixMethod]) -> str:
    one = method()
    if one.needs_attention:
        return (
            f"vision transformers whose head reads a [CLS] token: {listed([f'`{kind}`' for kind in ATTENDING_MODEL_TYPES])}; with `area_share` "
            "1 any image classifier"
        )
    if one.needs_layers:
        return "types whose layers can be mixed: see [Models](../models.md)"
    if method.mixes_pixels:
        return "any image classifier of transformers that returns logits and reads pixels; SigLIP 2 in patches and ImageGPT are refused"
    if one.reads_tokens:
        return "any text classifier of transformers that reads ids of tokens"
    return "any text classifier of transformers" if method.uses_unlabeled else "any classifier of transformers"


def _layers_of_12(method: type[MixMethod]) -> str:
    layers = method().default_layers(12)
    if layers is None:
        return ""
    if "head" in layers:
        return "`head`"
    # In code: braces at the end of a cell are read as its attributes.
    named = f"{layers[0]}, .., {layers[-1]}" if isinstance(layers, range) else ", ".join(map(str, layers))
    return f"`{{{named}}}`{'' if layers == (0,) else ' of 12'}"


# ---- hyper-parameters ----


def hyperparameters(method: type[MixMethod]) -> list[str]:
    """The names of those that the method has a use for."""
    refused = {name for name in method.field_names() if _refuses(method, name)}
    if "mix_with" in refused:
        refused.add("mix_with_kwargs")
    return [name for name in method.field_names() if name not in refused]


def _refuses(method: type[MixMethod], name: str) -> bool:
    default = getattr(method(), name)
    others = {**_OTHER_VALUES, "fold": not method().fold, "pad": "mix" if method().pad == "keep" else "keep"}
    if name not in others:
        return False
    try:
        method(**{name: default if others[name] == default else others[name]})
    except ValueError:
        return True
    return False


def _hyperparameters(method: type[MixMethod]) -> str:
    names = hyperparameters(method)
    if not names:
        return "It has none."
    common = MixMethod.field_names()
    default = {one.name: one.default for one in fields(method)}
    rows = {name: (f"`{name}`", _default(method, name, default[name]), _meaning(method, name)) for name in names}
    own = [row for name, row in rows.items() if name not in common]
    shared = [row for name, row in rows.items() if name in common]
    heads = ("name", "default", "meaning")
    aliases = [f"`{alias}` (of `{own_name}`)" for alias, own_name in method.aliases.items() if own_name in names]
    return page(
        paragraph(_how_to_give(names)),
        "### Its own" if own and shared else "",
        arguments_table(heads, own),
        "### Of all methods" if own and shared else "",
        arguments_table(heads, shared),
        paragraph(f"timm's names serve too: {listed(aliases)}.") if aliases else "",
    )


def _how_to_give(names: list[str]) -> str:
    """How the hyper-parameters are given, in a sentence."""
    flags = [f"`--mix_{name}`" for name in names if name in _OF_ARGUMENTS]
    others = [name for name in names if name not in _OF_ARGUMENTS]
    alike = "are" if len(flags) > 1 else "is"
    told = (
        [f"{listed([flag.replace('--mix_', '') for flag in flags])} {alike} given as {listed(flags)}"] if flags else []
    )
    if others:
        told.append(f"{'the others' if flags else 'all'} in `--mix_kwargs`, as JSON by their names")
    return f"On the command line {', '.join(told)}; the arguments of `MixTrainingArguments` have the same names."


def _default(method: type[MixMethod], name: str, default: Any) -> str:
    if name == "layers" and default is None:
        return _layers_of_12(method)
    return _value(default)


def _value(value: Any) -> str:
    if value is MISSING or value is None:
        return "none"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return f"`{list(value)}`"
    return (
        f"`{value:g}`" if isinstance(value, float) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
    )


def _meaning(method: type[MixMethod], name: str) -> str:
    """The item of the first class that says something of it, the method's own first."""
    for kind in method.__mro__:
        for item in read(kind.__doc__ or "").items("Args"):
            if name in item.kinds and kind.__module__.startswith("mixtext_hf"):
                return _linked(f"{_type(item, name)}{item.text}")
    raise ValueError(f"no docstring says what {name} of {method.name} is")


def _type(item: Item, name: str) -> str:
    kind = re.sub(r",? ?\*optional\*", "", item.kinds[name])
    return f"({kind}) " if kind else ""


def _linked(text: str) -> str:
    """With the references of docstrings as links to the pages of the API."""
    places = documented()

    def link(name: str) -> str | None:
        whole = whole_name(name, places)
        return None if whole is None else f"(../api/{places[whole]}#{whole})"

    return with_references(text, link)


def _presets(method: type[MixMethod]) -> str:
    if not method.presets:
        return ""
    first = next(name for name, preset in method.presets.items() if preset.hyperparameters)
    return page(
        "## Presets",
        paragraph(
            f"`--mix_preset {first}` sets hyper-parameters and, on the command line, training arguments; what is given beside it wins. In "
            f'Python the arguments are `**find_preset("{method.name}", "{first}").training_arguments`.'
        ),
        bullets(f"`{name}`: {_preset(preset)}." for name, preset in method.presets.items()),
    )


def _preset(preset: Preset) -> str:
    told = [_settings(preset.hyperparameters) or "the defaults"]
    if preset.training_arguments:
        told.append(f"training arguments {_settings(preset.training_arguments)}")
    return "; ".join(told)


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"`{name}={_written(value)}`" for name, value in settings.items())


def _written(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else _value(value).strip('`"')


# ---- costs and papers ----


def _costs(costs: list[Cost]) -> str:
    if not costs:
        return "It was not measured."
    parts = []
    for key in dict.fromkeys((cost.command, cost.file) for cost in costs):
        command, file = key
        rows = [
            (f"`{cost.label}`", f"{cost.time:.2f}", f"{cost.memory:.2f}")
            for cost in costs
            if (cost.command, cost.file) == key
        ]
        parts += [
            table(("step", "time, ratio to erm", "peak memory, ratio to erm"), rows),
            paragraph(f"From `docs/{file}`" + (f", which `{command}` wrote." if command else ".")),
        ]
    return page(*parts)


def _papers(method: type[MixMethod]) -> str:
    papers = ([] if method.citation is None else [method.citation]) + list(method().further_citations)
    if not papers:
        return ""
    return page(
        "## Papers" if len(papers) > 1 else "## Paper",
        bullets(f"{str(one).removesuffix(one.url)}[{one.url}]({one.url})" for one in papers),
        *(block("text", one.bibtex()) for one in papers),
    )
