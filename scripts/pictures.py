"""The pictures of docs, made again: `python scripts/pictures.py` (`make pictures`) draws all, with names behind it those alone.

Those of runs are drawn from the files in docs/results, the others by `mixtext-hf show-mixes`. Each is written with 256 colours at most,
which is what makes photographs small.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import differences
from PIL import Image
from tables import ROOT, lines_of, rows_of

from mixtext_hf._files import whole_file
from mixtext_hf.cli import show_mixes
from mixtext_hf.evaluation.comparison.plots import comparison_figure, memorisation_figure
from mixtext_hf.evaluation.comparison.tables import METRICS, Summary


COLOURS = 256


def comparison(folder: str, picture: Path) -> None:
    """`comparison.png` of `mixtext-hf compare`, from the `runs*.csv` of a folder of docs/results."""
    cells: dict[tuple[int | None, str], list[dict[str, str]]] = {}
    for row in rows_of(ROOT / "docs" / "results" / folder):
        labels = int(row["labeled_per_class"]) if row["labeled_per_class"] else None
        cells.setdefault((labels, row["variant"]), []).append(row)
    summaries = [
        Summary(variant, labels, metric, tuple(float(row[metric]) for row in rows), int(rows[0]["n_examples"]))
        for (labels, variant), rows in cells.items()
        for metric in METRICS
        if metric in rows[0]
    ]
    comparison_figure(summaries, picture, _title(len(next(iter(cells.values())))))


def memorisation(folder: str, picture: Path) -> None:
    """`memorisation.png` of `mixtext-hf compare`, from the `epochs.csv` of a folder of docs/results."""
    histories: dict[str, dict[str, list[dict[str, float]]]] = {}
    for line in lines_of(ROOT / "docs" / "results" / folder / "epochs.csv"):
        entry = {key: float(value) for key, value in line.items() if key not in ("variant", "seed") and value}
        histories.setdefault(line["variant"], {}).setdefault(line["seed"], []).append(entry)
    of_seeds: dict[tuple[int | None, str], list[list[dict[str, float]]]] = {
        (None, variant): [*runs.values()] for variant, runs in histories.items()
    }
    memorisation_figure(of_seeds, picture, _title(len(next(iter(of_seeds.values())))))


def study(folder: str, picture: Path) -> None:
    """The figure of `scripts/differences.py`."""
    if status := differences.main([folder, str(picture)]):
        sys.exit(status)


def mixes(page: str, picture: Path, *flags: str) -> None:
    """A page of `mixtext-hf show-mixes`."""
    with TemporaryDirectory() as elsewhere:
        show_mixes.main([*flags, "--output_dir", elsewhere])
        picture.write_bytes((Path(elsewhere) / page).read_bytes())


def _title(seeds: int) -> str:
    return f"mean ± standard deviation of {seeds} seeds"


SHOWN = ("mixup", "cutmix", "resizemix", "puzzlemix", "augmix")
PICTURES: dict[str, Callable[[Path], None]] = {
    "docs/results/ag_news/comparison.png": lambda picture: comparison("ag_news", picture),
    "docs/compare_ag_news.png": lambda picture: comparison("compare_ag_news", picture),
    "docs/compare_cifar10.png": lambda picture: comparison("cifar10/equal-epochs", picture),
    "docs/memorisation_ag_news.png": lambda picture: memorisation("noise/ag_news", picture),
    "docs/memorisation_fashion_mnist.png": lambda picture: memorisation("noise/fashion_mnist", picture),
    "docs/saliency_differences.png": lambda picture: study("saliency", picture),
    "docs/methods.png": lambda picture: mixes("methods.png", picture, "--methods", *SHOWN),
    "docs/text_tokens.png": lambda picture: mixes("text_tokens.png", picture, "--methods", "ssmix", "puzzle_tmix"),
}


def with_few_colours(picture: Path) -> None:
    """The same picture in a palette of its own."""
    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        dpi = image.info.get("dpi", (150, 150))
    with whole_file(picture) as partial:
        few.save(partial, format="png", optimize=True, dpi=dpi)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", choices=[[], *PICTURES], metavar="PICTURE", help=", ".join(PICTURES))
    for name in parser.parse_args(argv).pictures or PICTURES:
        PICTURES[name](ROOT / name)
        with_few_colours(ROOT / name)
        print(f"{name}: {(ROOT / name).stat().st_size // 1000} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
