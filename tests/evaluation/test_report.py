"""The page and its pictures, for many classes and for names that are not harmless; the sentences of the summary."""

from __future__ import annotations

import base64
import io
import re
import warnings

import numpy as np
import pytest
from PIL import Image

from mixtext_hf.evaluation.measures.from_logits import assess_classes, assess_ood, assess_temperature
from mixtext_hf.evaluation.report.page import as_json, number, percent, render_report, summarise
from mixtext_hf.evaluation.report.plots import (
    accuracy_figure,
    as_data_uri,
    confidence_figure,
    confusion_figure,
    memorisation_figure,
    shown,
)


HOSTILE = [
    "<script>alert(1)</script>",
    "$\\frac{1}{$",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "a\x00b\u202e",
]


def report_of(logits, labels, names, **more):
    """A report as the command makes it, of a text classifier."""
    return {
        "created": "2025-01-01 00:00 UTC",
        "command": "mixtext-hf evaluate --model_name_or_path </code><script>alert(2)</script>",
        "versions": {"torch": "2.0"},
        "device": "CPU",
        "model": {
            "name_or_path": "<b>model</b>",
            "commit": None,
            "architecture": "BertForSequenceClassification",
            "num_parameters": 1000,
            "problem_type": "single_label_classification",
            "is_adapter": False,
            "method": None,
        },
        "data": {
            "split": "test",
            "validation_split": "validation",
            "matching": f"Labels were matched by name ({', '.join(names)}).",
            "notes": [],
            "files": {"test": ["<i>file</i>.csv"]},
            "ood_files": ["other.csv"],
            "dataset": None,
        },
        "settings": {"n_bins": 15, "pgd_steps": 10},
        "results": assess_classes(logits, labels, label_names=names),
        "temperature": None,
        "robustness": None,
        "ood": None,
        "memorisation": [],
        "left_out": {
            "temperature": "not fitted, for no reason.",
            "robustness": "Left out, for no reason.",
            "ood": "Not measured.",
            **({"confusion_matrix": "left out, for a reason."} if len(names) > 100 else {}),
        },
        **more,
    }


def drawn(count, n_classes, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=count)
    logits = rng.normal(size=(count, n_classes))
    logits[np.arange(count), labels] += 1.5
    return scale * logits, labels


def page(report, logits, labels, **more):
    report = as_json({**report, "summary": summarise(report)})
    return render_report(report, logits=logits, references=labels, **more)


def test_names_are_text():
    logits, labels = drawn(60, len(HOSTILE))
    html = page(report_of(logits, labels, HOSTILE), logits, labels)
    tags = set(re.findall(r"<([a-z]+)", html))
    assert "script" not in tags and "b" not in tags and "i" not in tags
    assert html.count("<img") == 2 and "onerror=alert(1)>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html and "{{ 7 * 7 }}" in html
    assert "\x00" not in html and "\u202e" not in html


@pytest.mark.parametrize("n_classes", [2, 40, 100, 101])
def test_any_number_of_classes(n_classes):
    logits, labels = drawn(300, n_classes)
    names = [f"a rather long name of class {i}" for i in range(n_classes)]
    html = page(report_of(logits, labels, names), logits, labels)
    assert len(html) < 3_000_000
    assert html.count("<img") == (1 if n_classes > 100 else 2)
    assert ("left out, for a reason." in html) == (n_classes > 100)
    rows = html[html.index("By class") :].count("a rather long name of class")
    assert rows == (n_classes if n_classes <= 40 else 20)


def test_few_of_many_classes_are_shown_once():
    logits, labels = np.eye(50)[[3, 7, 7, 9]], np.array([3, 7, 8, 9])
    html = page(report_of(logits, labels, [f"class {i}!" for i in range(50)]), logits, labels)
    rows = html[html.index("By class") :]
    assert [rows.count(f"class {i}!") for i in (3, 7, 8, 9, 10)] == [1, 1, 1, 1, 0]
    assert "the ten with" not in rows and "true or predicted" in rows


def robustness(clean=0.8, worst=0.2):
    levels = [
        {"level": i, "share": i / 10, "accuracy": clean - (clean - worst) * i / 5, "ece": 0.1} for i in range(1, 6)
    ]
    return {
        "kind": "text_noise",
        "samples": 50,
        "clean": {"accuracy": clean, "ece": 0.1},
        "noise": {"typos": {"unit": "characters", "levels": levels}},
        "mean_by_level": [level["accuracy"] for level in levels],
        "image_attacks": None,
        "embedding_attack": [{"epsilon": 0.0, "accuracy": clean}, {"epsilon": 0.5, "accuracy": 0.3}],
    }


def test_the_summary_says_what_was_measured():
    logits, labels = drawn(500, 3, scale=4.0)
    val_logits, val_labels = drawn(400, 3, scale=4.0, seed=1)
    other = np.random.default_rng(2).normal(size=(50, 3))
    temperature = assess_temperature(logits, labels, validation_logits=val_logits, validation_references=val_labels)
    report = report_of(
        logits,
        labels,
        ["a", "b", "c"],
        temperature=temperature,
        robustness=robustness(),
        ood=assess_ood(logits, other),
        memorisation=[{"epoch": 1.0, "noise_memorised": 0.25}],
    )
    text = " ".join(summarise(report))
    metrics = report["results"]["metrics"]
    assert f"right on {percent(metrics['accuracy'])} of the 500 examples" in text
    assert "It is overconfident" in text and f"(ECE {number(metrics['ece'])})" in text
    assert f"A temperature of {number(temperature['value'], 2)}, fitted on 400 validation examples" in text
    assert "makes it less confident and improves its calibration" in text
    assert (
        f"{percent(0.68)} are still right under the weakest" in text and f"{percent(0.2)} under the strongest" in text
    )
    assert f"Of the same examples, {percent(0.3)} stay right when their word embeddings" in text
    assert f"an AUROC of {number(report['ood']['auroc'])}" in text
    assert f"learnt {percent(0.25)} of these by heart" in text
    html = page(report, logits, labels, ood_logits=other)
    assert html.count("<img") == 6


@pytest.mark.parametrize(("scale", "word"), [(4.0, "It is overconfident"), (0.2, "It is underconfident")])
def test_over_and_underconfident(scale, word):
    logits, labels = drawn(500, 3, scale=scale)
    assert word in summarise(report_of(logits, labels, ["a", "b", "c"]))[1]


def test_numbers_as_they_are_read():
    assert percent(0.8734) == "87.3\N{NO-BREAK SPACE}%" and percent(None) == "\N{EN DASH}"
    assert number(-0.1234) == "\N{MINUS SIGN}0.123"
    assert as_json({"a": np.float32(0.5), "b": [float("nan"), np.int64(3)], "c": (True, None)}) == {
        "a": 0.5,
        "b": [None, 3],
        "c": [True, None],
    }


def pixels(figure):
    source = as_data_uri(figure)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))


def test_a_matrix_shows_shares_of_rows_and_counts():
    figure = confusion_figure([[90, 10], [0, 5]], ["many", "few"])
    axes = figure.axes[0]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.9, 0.1], [0.0, 1.0]])
    assert [text.get_text() for text in axes.texts] == ["90", "10", "0", "5"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["many", "few"]
    assert axes.get_ylabel() == "true class" and axes.get_xlabel() == "predicted class"


def test_names_in_pictures():
    assert shown("a" * 30) == "a" * 21 + "…" and shown("$x$\n") == r"\$x\$"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels(confusion_figure(np.eye(4, dtype=int), HOSTILE[:4]))


def test_curves_and_histograms():
    figure = accuracy_figure([{"FGSM": [(0, 0.9), (8, 0.2)], "PGD": [(0, 0.9), (8, 0.1)]}], xlabel="grey levels")
    assert [line.get_ydata().tolist() for line in figure.axes[0].lines] == [[0.9, 0.2], [0.9, 0.1]]
    styles = {(line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines}
    assert len(styles) == 2, "told apart without colours"
    assert figure.axes[0].get_xlabel() == "grey levels"
    bars = confidence_figure([0.99] * 4, [0.5, 0.9], names=("in", "out")).axes[0].patches
    assert max(bar.get_height() for bar in bars[:25]) == 1.0 and max(bar.get_height() for bar in bars[25:]) == 0.5
    lines = (
        memorisation_figure([{"epoch": 1, "noise_memorised": 0.1}, {"epoch": 2, "noise_memorised": 0.3}]).axes[0].lines
    )
    assert lines[0].get_xdata().tolist() == [1, 2] and lines[0].get_ydata().tolist() == [0.1, 0.3]
