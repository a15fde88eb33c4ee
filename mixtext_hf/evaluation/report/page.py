"""The report of an evaluation as one HTML page: no scripts, nothing that is loaded from elsewhere, pictures inside it.

The sentences of the sections stand in `report_template.html`; here are what they need, the pictures, and the summary.
Everything that comes from outside, such as the names of classes, is text: the template escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from mixtext_hf._markdown import one_line
from mixtext_hf.evaluation.measures.metrics import softmax
from mixtext_hf.evaluation.measures.temperature import apply_temperature
from mixtext_hf.evaluation.pictures.plots import reliability_diagram
from mixtext_hf.problem_types import SINGLE_LABEL

from .plots import (
    accuracy_figure,
    as_data_uri,
    confidence_figure,
    confusion_figure,
    memorisation_figure,
)


MINUS, NOTHING, SPACE = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{NO-BREAK SPACE}"
TEMPLATE = Path(__file__).with_name("report_template.html")
# Of more classes the best and the worst are shown.
MOST_CLASSES = 40
# How large pictures are shown where there is room: their letters are then those of the text.
PIXELS_PER_INCH = 100
# Up to this mean distance of confidence from accuracy a model is called neither over- nor underconfident.
CLOSE = 0.01
# By less than this a calibration error is called unchanged.
NO_CHANGE = 0.001

METRICS: dict[str, tuple[str, str]] = {
    "accuracy": ("Accuracy", "share of the examples that are right"),
    "balanced_accuracy": ("Balanced accuracy", "mean over the classes of their recall"),
    "macro_f1": ("Macro F1", "mean over the classes of their F1"),
    "matthews_correlation": ("Matthews correlation (MCC)", f"{MINUS}1 to 1; 0 for chance"),
    "nll": ("Negative log-likelihood (NLL)", "nats an example; smaller is better"),
    "brier": ("Brier score", "0 to 2; smaller is better"),
    "ece": ("Calibration error (ECE)", "bins of equal width"),
    "ece_equal_mass": ("Calibration error, adaptive", "bins of equally many examples"),
    "classwise_ece": ("Classwise calibration error", "mean over all classes"),
    "mce": ("Maximum calibration error", "the worst bin, however few are in it"),
    "f1_micro": ("Micro F1", "all decisions pooled"),
    "f1_macro": ("Macro F1", "mean over the labels of their F1"),
    "subset_accuracy": ("Subset accuracy", "share of the examples with every label right"),
    "pearson": ("Pearson correlation", "of predicted and true values"),
    "spearman": ("Spearman correlation", "of their ranks"),
    "mse": ("Mean squared error", "in the square of the labels' unit"),
}
PERCENT = ("accuracy", "balanced_accuracy", "macro_f1", "f1_micro", "f1_macro", "subset_accuracy")
# What may be left out, with a reason in `left_out`.
PARTS = (
    "temperature",
    "calibration",
    "confusion_matrix",
    "robustness",
    "noise",
    "corruptions",
    "attacks",
    "ood",
    "memorisation",
)
# Of the corruptions: which go into a picture together.
PANELS = (
    ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    ("gaussian_blur", "defocus_blur", "motion_blur", "zoom_blur"),
    ("brightness", "contrast", "saturate"),
    ("elastic_transform", "pixelate", "jpeg_compression"),
)


def summarise(report: Mapping[str, Any]) -> list[str]:
    """
    What a reader must know, in plain sentences with numbers.

    Args:
        report (`Mapping[str, Any]`): What `report.json` holds.

    Returns:
        `list[str]`: sentences, not escaped.
    """
    return list(_sentences(report))


def render_report(
    report: Mapping[str, Any],
    *,
    logits: NDArray,
    references: NDArray,
    ood_logits: NDArray | None = None,
    thumbnails: Mapping[int, str] | None = None,
) -> str:
    """
    The page.

    Args:
        report (`Mapping[str, Any]`): What `report.json` holds.
        logits (`np.ndarray` of shape `(N, C)`): Of the evaluated split, for the pictures.
        references (`np.ndarray` of shape `(N,)`): Its labels.
        ood_logits (`np.ndarray` of shape `(M, C)`, *optional*): Of the other data.
        thumbnails (`Mapping[int, str]`, *optional*): The images of the surest mistakes by their row, as data URIs.

    Returns:
        `str`: HTML, with its pictures.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, number=number, line=one_line, code=_breakable)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        **{"stored_temperature": None, **report, "left_out": {**dict.fromkeys(PARTS), **report["left_out"]}},
        thumbnails={row: Markup(source) for row, source in (thumbnails or {}).items()},
        pictures=_pictures(report, logits, references, ood_logits),
        metric_rows=list(_metric_rows(report)),
        shown_classes=_shown_classes(report["results"].get("classes", [])),
    )


def percent(value: float | None, digits: int = 1) -> str:
    """A share of 1 as `87.3 %`, what is not defined as a dash."""
    return NOTHING if value is None else f"{100 * value:.{digits}f}{SPACE}%".replace("-", MINUS)


def number(value: float | None, digits: int = 3) -> str:
    """A number, what is not defined as a dash."""
    return NOTHING if value is None else f"{value:.{digits}f}".replace("-", MINUS)


# ---- the summary ----


def _sentences(report: Mapping[str, Any]) -> Iterator[str]:
    results = report["results"]
    found = results["metrics"]
    split = report["data"]["split"]
    if report["model"]["problem_type"] != SINGLE_LABEL:
        values = ", ".join(f"{METRICS[name][0]} {_shown_metric(name, value)}" for name, value in found.items())
        yield f"On the {results['samples']:,} examples of the {split} split: {values}."
        return
    low, high = results["accuracy_interval"]
    yield (
        f"The model is right on {percent(found['accuracy'])} of the {results['samples']:,} examples of the {split} split "
        f"(95 % interval {percent(low)} to {percent(high)})."
    )
    yield from results["remarks"]
    yield _about_confidence(results)
    temperature = report["temperature"]
    if temperature is not None:
        after = temperature["metrics"]["ece"]
        change = "less" if temperature["value"] > 1 else "more"
        effect = (
            "improves its calibration"
            if after < found["ece"] - NO_CHANGE
            else "makes its calibration worse"
            if after > found["ece"] + NO_CHANGE
            else "changes its calibration little"
        )
        does = f"makes it {change} confident and {effect}" if abs(temperature["value"] - 1) >= CLOSE else effect
        yield (
            f"A temperature of {number(temperature['value'], 2)}, fitted on {temperature['validation_samples']:,} "
            f"validation examples, {does}: ECE {number(found['ece'])} before, {number(after)} after; no prediction changes."
        )
    stored = report.get("stored_temperature")
    if stored is not None:
        yield (
            f"At the temperature stored with the model, {number(stored['value'], 2)} ({stored['origin']}), by which `mixtext-hf predict` "
            f"divides its logits, the ECE is {number(stored['metrics']['ece'])}."
        )
    yield from _about_robustness(report["robustness"])
    ood = report["ood"]
    if ood is not None:
        yield (
            f"Its confidence tells its own data from the other data set with an AUROC of {number(ood['auroc'])} (0.5 would be "
            f"chance, 1 perfect): on the other it is {percent(ood['mean_confidence_ood'])} sure on average, on its own "
            f"{percent(ood['mean_confidence'])}."
        )
    if report["memorisation"]:
        last = report["memorisation"][-1]
        if "noise_memorised" in last:
            yield (
                f"At the end of its training with wrong labels it had learnt {percent(last['noise_memorised'])} of these by "
                "heart."
            )


def _about_confidence(results: Mapping[str, Any]) -> str:
    calibration, ece = results["calibration"], results["metrics"]["ece"]
    gap = calibration["overconfidence"]
    claims = (
        f"it claims to be right with a probability of {percent(calibration['mean_confidence'])} on average, and is right in "
        f"{percent(results['metrics']['accuracy'])}"
    )
    if abs(gap) <= CLOSE:
        return f"It is neither over- nor underconfident on average: {claims} (ECE {number(ece)})."
    return f"It is {'overconfident' if gap > 0 else 'underconfident'}: {claims} (ECE {number(ece)})."


def _about_robustness(robustness: Mapping[str, Any] | None) -> Iterator[str]:
    if robustness is None:
        return
    clean = robustness["clean"]["accuracy"]
    on = f"Of {robustness['samples']:,} of these examples, {percent(clean)} are right as they are. Of all"
    noises, means = robustness["noise"], robustness["mean_by_level"]
    if noises is not None:
        worst = min(noises, key=lambda name: noises[name]["levels"][-1]["accuracy"])
        yield (
            f"{on}, {percent(means[0])} are still right under the weakest of five levels of noise and {percent(means[-1])} "
            f"under the strongest (means over {len(noises)} kinds); worst is {words(worst)}, with "
            f"{percent(noises[worst]['levels'][-1]['accuracy'])}."
        )
        on = "Of the same examples"
    attacks = robustness["image_attacks"]
    if attacks:
        strongest = attacks[-1]
        yield (
            f"{on}, {percent(strongest['fgsm'])} withstand FGSM and {percent(strongest['pgd'])} withstand PGD that may move "
            f"each pixel by {strongest['epsilon']:g} of 255 grey levels."
        )
    moved = robustness["embedding_attack"]
    if moved:
        yield (
            f"{on}, {percent(moved[-1]['accuracy'])} stay right when their word embeddings are moved against them "
            f"(ε = {moved[-1]['epsilon']:g} lengths of one word embedding)."
        )


def words(name: str) -> str:
    """`gaussian_noise` as it is read."""
    return name.replace("_", " ")


# ---- tables ----


def _metric_rows(report: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    temperature = report["temperature"]
    scaled = {} if temperature is None else temperature["metrics"]
    stored = (report.get("stored_temperature") or {}).get("metrics", {})
    for name, value in report["results"]["metrics"].items():
        title, about = METRICS.get(name) or (
            f"{name.split('_')[1]} likeliest classes (top-{name.split('_')[1]})",
            "share of the examples whose class is among them",
        )
        yield {
            "title": title,
            "about": about,
            "value": _shown_metric(name, value),
            # What depends on the order of the classes alone stays.
            "scaled": _shown_metric(name, scaled[name]) if name in scaled else "the same",
            "stored": _shown_metric(name, stored[name]) if name in stored else "the same",
        }


def _shown_metric(name: str, value: float | None) -> str:
    return percent(value, 2) if name in PERCENT or name.startswith("top_") else number(value, 4)


def _shown_classes(classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(classes) <= MOST_CLASSES:
        return {"rows": list(classes), "note": None}
    ranked = sorted((row for row in classes if row["f1"] is not None), key=lambda row: row["f1"])
    if len(ranked) <= 20:
        note = f"Of {len(classes)} classes those that are true or predicted of an example; all are in report.json."
        return {"rows": ranked, "note": note}
    return {
        "rows": [*ranked[:10], *ranked[-10:]],
        "note": f"Of {len(classes)} classes the ten with the lowest and the ten with the highest F1; all are in report.json.",
    }


# ---- pictures ----


def _pictures(
    report: Mapping[str, Any], logits: NDArray, references: NDArray, ood_logits: NDArray | None
) -> dict[str, dict[str, Any]]:
    pictures: dict[str, Any] = {}
    results, robustness = report["results"], report["robustness"]
    if report["model"]["problem_type"] == SINGLE_LABEL:
        diagrams: dict[str, Any] = {"as it is": (softmax(logits), references)}
        if report["temperature"] is not None:
            value = report["temperature"]["value"]
            diagrams[f"temperature {value:.2f}"] = (apply_temperature(logits, value), references)
        pictures["reliability"] = reliability_diagram(diagrams, n_bins=report["settings"]["n_bins"])
        if results["confusion_matrix"] is not None:
            pictures["confusion"] = confusion_figure(
                results["confusion_matrix"], [row["name"] for row in results["classes"]]
            )
        chance = max(row["support"] for row in results["classes"]) / results["samples"]
        if robustness is not None:
            pictures |= _robustness_pictures(robustness, chance)
        if ood_logits is not None:
            inside, outside = (softmax(values).max(axis=1) for values in (logits, ood_logits))
            names = (f"{report['data']['split']} split", "out of distribution")
            pictures["ood"] = confidence_figure(inside, outside, names=names)
    if report["memorisation"]:
        pictures["memorisation"] = memorisation_figure(report["memorisation"])
    return {
        name: {"source": Markup(as_data_uri(figure)), "width": round(PIXELS_PER_INCH * figure.get_figwidth())}
        for name, figure in pictures.items()
    }


def _robustness_pictures(robustness: Mapping[str, Any], chance: float) -> dict[str, Any]:
    pictures: dict[str, Any] = {}
    clean = robustness["clean"]["accuracy"]
    if robustness["noise"] is not None:
        curves = {
            name: [(0, clean), *((level["level"], level["accuracy"]) for level in noise["levels"])]
            for name, noise in robustness["noise"].items()
        }
        groups = PANELS if robustness["kind"] == "corruptions" else (tuple(curves),)
        panels = [{words(name): curves[name] for name in group if name in curves} for group in groups]
        pictures["noise"] = accuracy_figure(
            [panel for panel in panels if panel], xlabel="level (0: as they are)", chance=chance, ticks=range(6)
        )
    if robustness["image_attacks"]:
        rows = robustness["image_attacks"]
        curves = {
            name.upper(): [(0.0, rows[0]["clean"]), *((row["epsilon"], row[name]) for row in rows)]
            for name in ("fgsm", "pgd")
        }
        pictures["attack"] = accuracy_figure([curves], xlabel="ε (grey levels of 255)")
    if robustness["embedding_attack"]:
        points = [(row["epsilon"], row["accuracy"]) for row in robustness["embedding_attack"]]
        pictures["attack"] = accuracy_figure(
            [{"FGSM at word embeddings": points}], xlabel="ε (lengths of one word embedding)"
        )
    return pictures


def _breakable(value: Any) -> Markup:
    """A command or path that may be broken after a slash, so that it fits on a page."""
    return Markup("/<wbr>").join(Markup.escape(part) for part in one_line(value).split("/"))


def as_json(value: Any) -> Any:
    """The same with Python's own numbers, and `None` for what is no finite number, so that it is JSON."""
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
