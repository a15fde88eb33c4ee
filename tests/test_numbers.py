"""
Numbers in the prose of README.md and of all pages of docs follow from the files in docs/results.

The rule. A *number* is a decimal outside code, tables, links and comments, one of points ("2 points"), or on
pages of results a percentage. It has to be, rounded as it is written, one of these of the runs whose tables stand in the
same section (where it has none, in the section that it is part of, and else on the page; a page without tables speaks of
those of README.md, and of the pages of results that it links to):

- the mean or the standard deviation of a method, or the value of one of its seeds;
- the difference of two methods in the mean or in a seed, without its sign;
- the difference of a method to `erm` in a `results.csv`, or an end of its interval;
- what a method gains from one table of the section to another, in the mean;
- a number in the columns of a table of lines, or what two of them differ by;
- what an `epochs.csv` has of a method at an epoch, in the mean.

Where a paragraph, or an item of a list, speaks of points ("2.8 points"), its numbers of one digit are hundredths of
accuracy. Where it names methods of the runs in code (`tmix`), its numbers are theirs; a number is of the metric that is
named last before it in the paragraph. On pages of results every decimal counts, elsewhere those that look measured: three
digits, or points.

Settings stand in code. What EXCEPTIONS lists is written and is no measurement of these runs, each with the reason.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tables


ROOT = Path(__file__).parent.parent

# What is written and is no measurement of these runs, by the page.
_OF_SETFIT = "against SetFit, whose runs are of that page alone: test_the_table_beside_setfit"
EXCEPTIONS: dict[str, dict[str, str]] = {
    "docs/coming_from/setfit.md": dict.fromkeys(("0.840", "2.6", "2.7", "3.6"), _OF_SETFIT),
    "docs/results/unlabeled.md": {"0.884": "the table of the MixText paper"},
}
_COLUMNS = {
    "eval_accuracy": "accuracy",
    "eval_ece": "ECE",
    "eval_nll": "NLL",
    "predict_entity_f1": "F1",
    "predict_accuracy": "accuracy",
    "predict_token_accuracy": "accuracy",
    "predict_ece": "ECE",
    "predict_nll": "NLL",
}
# The longer one first, which holds the other.
_METRICS = ("balanced accuracy", "accuracy", "ECE", "NLL", "F1")


Block = tuple[str, str, str]


@dataclass(frozen=True)
class Number:
    """A number as it is written, its unit ("points", "%" or none), and the metric that is named last before it."""

    text: str
    unit: str
    metric: str | None

    def is_one_of(self, values: np.ndarray) -> bool:
        digits = len(self.text.partition(".")[2])
        scale = 100.0 if self.unit else 1.0
        off = np.abs(scale * np.abs(values) - float(self.text))
        return bool((off <= 0.5 * 10.0**-digits + 1e-9).any())


# ---- the prose ----


def sections(text: str) -> list[tuple[str, list[Block]]]:
    """The page from heading to heading, each with the tables that it speaks of."""
    # A comment in a block of code is no heading.
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    heads = [*re.finditer(r"^(#+) .*$", text, flags=re.MULTILINE)]
    ends = [*(head.start() for head in heads), len(text)]
    of_page = blocks_of(text)
    found, levels = [(text[: ends[0]], of_page)], {0: of_page}
    for head, end in zip(heads, ends[1:], strict=True):
        level, part = len(head[1]), text[head.end() : end]
        levels = {other: blocks for other, blocks in levels.items() if other < level}
        levels[level] = blocks_of(part) or levels[max(levels)]
        found.append((part, levels[level]))
    return found


def blocks_of(text: str) -> list[Block]:
    """The tables of a text: kind, folder, and what else is asked."""
    return [(found["kind"], found["folder"], found["told"]) for found in tables.BLOCK.finditer(text)]


def units(section: str) -> list[str]:
    """Its paragraphs and items of lists, without tables and comments."""
    section = re.sub(r"<!--.*?-->", "", section, flags=re.DOTALL)
    section = "\n".join("" if line.lstrip().startswith("|") else line for line in section.splitlines())
    return [unit.strip() for unit in re.split(r"\n\s*\n|\n(?=\s*[-*] )", section) if unit.strip()]


def numbers(unit: str, *, every_decimal: bool) -> list[Number]:
    """The numbers of a paragraph."""
    prose = re.sub(r"`[^`]*`|\[https://[^\]]*\]\([^)]*\)|!?\[([^\]]*)\]\([^)]*\)|<[^>]*>", r" \1 ", unit)
    says_points = re.search(r"\d points?\b", prose) is not None
    found = []
    for number in re.finditer(r"(?<![\w.])(\d+)(\.\d+)?(?!\w|\.\d|[ \u00a0]?%)", prose):
        digits = len(number[2] or ".") - 1
        behind = prose[number.end() :]
        is_points = re.match(r" points?\b", behind) is not None or (digits == 1 and says_points)
        if is_points or digits >= (1 if every_decimal else 3):
            words = re.findall("|".join(_METRICS), prose[: number.start()])
            found.append(Number(number[0], "points" if is_points else "", words[-1] if words else None))
    for share in re.finditer(
        r"(?<![\w.])(\d+(?:\.\d+)?)[ \u00a0]%(?! interval| bootstrap| of the time)", prose if every_decimal else ""
    ):
        found.append(Number(share[1], "%", None))
    return found


# ---- what the runs say ----


Values = dict[str, dict[str, dict[int, float]]]


def measured(kind: str, folder: str, told: str) -> list[tuple[str, Values]]:
    """For each folder of a table, by metric, method and seed, what was measured."""
    runs = ROOT / "docs" / "results" / folder
    if kind == "overview":
        return [
            (path.relative_to(runs.parents[0]).as_posix(), of_runs(path))
            for path in sorted(runs.iterdir())
            if path.is_dir()
        ]
    if kind == "lines":
        return [(folder, of_lines(runs, [word.split("=")[0] for word in told.split()]))]
    if kind != "results":
        return [(folder, of_runs(runs))]
    values: Values = {}
    for method, of_seeds in tables.results_of(runs).items():
        for seed, found in of_seeds.items():
            for key in (word.split("=")[0] for word in told.split()):
                values.setdefault(_COLUMNS.get(key, key), {}).setdefault(method, {})[seed] = found[key]
    return [(folder, values)]


def of_runs(runs: Path) -> Values:
    values: Values = {}
    for row in tables.rows_of(runs):
        for metric in _METRICS:
            if metric in row:
                values.setdefault(metric, {}).setdefault(row["variant"], {})[int(row["seed"])] = float(row[metric])
    return values


def of_lines(files: Path, columns: list[str]) -> Values:
    """The columns of numbers of `FILE*.csv`, but the seeds, by variant; a line without a seed is that of seed 0."""
    values: Values = {}
    for path in sorted(files.parent.glob(f"{files.name}*.csv")):
        for line in tables.lines_of(path):
            for column in {*columns} - {"seed"}:
                if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", line[column]):
                    of_variant = values.setdefault(column, {}).setdefault(line["variant"], {})
                    of_variant[int(line.get("seed", 0))] = float(line[column])
    return values


def intervals(folder: str) -> list[tuple[str, str, float]]:
    """Metric, method and number: the differences of a `results.csv`, and the ends of their intervals."""
    path = ROOT / "docs" / "results" / folder / "results.csv"
    lines = tables.lines_of(path) if path.is_file() else []
    return [
        (line["metric"], line["variant"], float(line[end]))
        for line in lines
        for end in ("difference", "low", "high")
        if line[end]
    ]


def epochs(folder: str) -> list[tuple[str, float]]:
    """Method and number: the means over the seeds, of each column of an `epochs.csv` at each epoch."""
    path = ROOT / "docs" / "results" / folder / "epochs.csv"
    found: dict[tuple[str, str, str], list[float]] = {}
    for line in tables.lines_of(path) if path.is_file() else []:
        for column in line.keys() - {"variant", "seed", "epoch"}:
            if line[column]:
                found.setdefault((line["variant"], line["epoch"], column), []).append(float(line[column]))
    return [(method, float(np.mean(values))) for (method, _, _), values in found.items()]


class Runs:
    """What the tables of a section are made of."""

    def __init__(self, blocks: list[Block]):
        self.of_folders: dict[str, Values] = {}
        for kind, folder, told in blocks:
            self.of_folders.update(measured(kind, folder, told))
        self.methods = {
            method for values in self.of_folders.values() for of_metric in values.values() for method in of_metric
        }
        self.metrics = {metric for values in self.of_folders.values() for metric in values}
        self.intervals = [told for folder in self.of_folders for told in intervals(folder)]
        self.epochs = [told for folder in self.of_folders for told in epochs(folder)]

    def candidates(self, methods: set[str], metrics: set[str]) -> np.ndarray:
        """All that may be said of these methods by these metrics."""
        found: list[float] = []
        means: dict[tuple[str, str], list[float]] = {}
        for values in self.of_folders.values():
            for metric in metrics & values.keys():
                told = {method: of for method, of in values[metric].items() if method in methods}
                for method, of_seeds in told.items():
                    every = [*of_seeds.values()]
                    found += [*every, float(np.mean(every))]
                    found += [float(np.std(every, ddof=1))] if len(every) > 1 else []
                    means.setdefault((metric, method), []).append(float(np.mean(every)))
                for one, other in itertools.combinations(told.values(), 2):
                    found += [one[seed] - other[seed] for seed in one.keys() & other.keys()]
                    found.append(float(np.mean([*one.values()]) - np.mean([*other.values()])))
        for several in means.values():
            found += [one - other for one, other in itertools.combinations(several, 2)]
        found += [number for metric, method, number in self.intervals if metric in metrics and method in methods]
        found += [number for method, number in self.epochs if method in methods]
        return np.array(found)


def wrong(text: str, *, is_of_results: bool, exceptions: dict[str, str] | None = None) -> list[str]:
    """The numbers of a page that do not follow from its runs, each with its paragraph."""
    found = []
    for part, blocks in sections(text):
        runs = Runs(blocks)
        for unit in units(part):
            named = {method for method in runs.methods if f"`{method}`" in unit} or runs.methods
            for number in numbers(unit, every_decimal=is_of_results):
                if number.text in (exceptions or {}):
                    continue
                of = {number.metric} if number.metric else {*runs.metrics}
                of = {"accuracy", "balanced accuracy"} if number.unit == "points" else of
                if not number.is_one_of(runs.candidates(named, of)):
                    found.append(f"{f'{number.text} {number.unit}'.strip()}: {' '.join(unit.split())}")
    return found


# ---- tests ----


OF_RESULTS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("results*/*.md")} | {
    "docs/results.md"
}
# Those with sweeps and benchmarks have tests of their own.
OTHERS = {"docs/scaling.md", "docs/results/benchmark/README.md", "docs/changelog.md"}
DOCS = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md") if path.name != "table.md"}
PAGES = sorted({"README.md", "examples/README.md", *DOCS, *tables.pages()} - OTHERS)


@pytest.mark.parametrize("page", PAGES)
def test_numbers_in_the_prose_follow_from_the_runs(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    if not blocks_of(text):
        # A page without tables speaks of those of README.md, and of what it links to.
        linked = {
            ((ROOT / page).parent / link).resolve() for link in re.findall(r"\]\(([\w./-]*results/\w+\.md)", text)
        }
        others = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(linked)))
        text += "\n# Tables\n" + "\n".join(
            f"<!-- {kind}: {folder}{told} -->\n<!-- end -->" for kind, folder, told in blocks_of(others)
        )
    found = wrong(text, is_of_results=page in OF_RESULTS, exceptions=EXCEPTIONS.get(page))
    assert not found, "\n".join(f"{page}:{line_of(said, text)}: {said}" for said in found)


def line_of(said: str, text: str) -> int:
    """Where the paragraph begins that is said to be wrong."""
    words = said.partition(": ")[2].split()[:8]
    start = re.search(r"\s+".join(map(re.escape, words)), text)
    return text[: start.start()].count("\n") + 1 if start else 1


def test_the_table_beside_setfit():
    """Its lines are the first seeds of the runs, that of SetFit is of its scores; so is what is said of it."""
    text = (ROOT / "docs" / "coming_from" / "setfit.md").read_text(encoding="utf-8")
    table = {
        method: dict(zip(("accuracy", "ECE", "NLL"), (cells.split(", ") for cells in line.split(" | ")), strict=True))
        for method, line in re.findall(r"^\| (\w+) \| (?:40|and) [^|]*\| (0\.[\d., |]+) \|$", text, re.MULTILINE)
    }
    assert len(table) == 7
    runs = of_runs(ROOT / "docs" / "results" / "ag_news")
    scores = of_lines(ROOT / "docs" / "results" / "setfit" / "scores", ["accuracy", "ECE", "NLL", "confidence"])
    for metric, of_setfit in scores.items():
        runs.setdefault(metric, {}).update(of_setfit)
    for method, told in table.items():
        for metric, cells in told.items():
            assert cells == [f"{runs[metric][method][seed]:.3f}" for seed in range(3)], (method, metric)
    right, sure = (np.mean([*runs[metric]["SetFit"].values()]) for metric in ("accuracy", "confidence"))
    assert f"right in {100 * right:.0f} % of the texts and claims {100 * sure:.0f} %" in text
    accuracy = {method: np.array([float(cell) for cell in told["accuracy"]]) for method, told in table.items()}
    setfit = accuracy["SetFit"]
    ahead = np.concatenate([setfit - accuracy["erm"], setfit - accuracy["tmix"]])
    assert f"{setfit.mean():.3f} on average, against {accuracy['erm'].mean():.3f} of `erm`" in text
    assert f"(by {100 * ahead.min():.1f} to {100 * ahead.max():.1f} points)" in text
    means = [
        np.mean([runs["accuracy"][method][seed] for seed in range(3)]) for method in ("frozen_gaussian", "mixtext")
    ]
    more = [100 * (mean - setfit.mean()) for mean in means]
    assert f"{more[0]:.1f} points more on average, and `mixtext` in {more[1]:.1f}" in " ".join(text.split())


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    folder = tmp_path / "docs" / "results" / "set"
    folder.mkdir(parents=True)
    lines = ["variant,labeled_per_class,seed,steps,accuracy,ECE,NLL"]
    lines += [f"erm,10,{seed},5,{0.5 + seed / 10},0.2,1.0" for seed in (0, 1)]
    lines += [f"tmix,10,{seed},5,{0.6 + seed / 5},0.1,0.75" for seed in (0, 1)]
    (folder / "runs.csv").write_text("\n".join(lines) + "\n")
    (folder / "results.csv").write_text(
        "variant,metric,mean,difference,low,high,wins,n_seeds\ntmix,accuracy,0.7,0.15,0.083,0.217,2,2\n"
    )
    return lambda prose: wrong(f"# A\n<!-- table: set -->\n<!-- end -->\n{prose}\n", is_of_results=True)


@pytest.mark.parametrize(
    "prose",
    [
        "`tmix` is 15 points above `erm` (10 to 20), 95 % of the time.",
        "`tmix` is 15.0 points above it (interval 8.3 to 21.7).",
        "In the mean `tmix` has 0.700, by seed 0.600 and 0.800, and an ECE of 0.100.",
        "- its NLL is lower by 0.25\n- and its accuracy 0.141 in deviation",
        "`a 0.4` is a setting, and so is `--lam 0.3`; 95 % interval, 95 % bootstrap interval",
        "`tmix` is right in 70 % and `erm` in 55.0 %.",
        "```bash\n# 0.9\nrun --alpha 0.4\n```",
    ],
)
def test_what_follows_from_the_runs(made_up, prose):
    assert made_up(prose) == []


@pytest.mark.parametrize(
    ("prose", "said"),
    [
        ("`tmix` is 16 points above `erm`.", "16 points"),
        ("`erm` has 0.700.", "0.700"),
        ("An ECE of 0.75.", "0.75"),
        ("`tmix` is right in 71 %.", "71 %"),
        ("It is 1.5 times as dear.", "1.5"),
        ("`tmix` gains (`erm` has less) 15.0 points (8.3 to 21.9).", "21.9 points"),
    ],
)
def test_what_does_not_follow_from_the_runs(made_up, prose, said):
    (found,) = made_up(prose)
    assert found.startswith(f"{said}: ")
    assert line_of(found, f"# A\n\n{prose}\n") == 3


@pytest.mark.parametrize(
    ("prose", "n_wrong"), [("It leaves 0.68 and 1.0 nats, 0.84 in the mean.", 0), ("It leaves 0.9 nats.", 1)]
)
def test_numbers_of_lines(tmp_path, made_up, prose, n_wrong):
    (tmp_path / "docs" / "results" / "set" / "guesses.csv").write_text(
        "variant,seed,chosen,nats\nmixtext,0,a,0.68\nmixtext,1,b,1.0\nmixtext,2,none,\n"
    )
    page = f"# A\n<!-- lines: set/guesses chosen=by nats=nats -->\n<!-- end -->\n{prose}\n"
    assert len(wrong(page, is_of_results=True)) == n_wrong
