"""ERM against PuzzleMix on handwritten digits, in a few minutes on two cores: `mixtext-hf demo-vision`.

20 images of each digit, a small ResNet from scratch, three seeds. Ends in a table, a reliability diagram, and a page of
pictures that show what each method makes of the same two images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import show_mixes, train_image
from .demo import compare, comparison_parser
from .failures import reporting_failures


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command's few arguments."""
    parser = comparison_parser("demo-vision", __doc__, ["erm", "puzzlemix"])
    parser.add_argument("--num_train_epochs", type=int, default=40, help="Epochs of each run.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = make_parser().parse_args(argv)
    flags = [f"--num_train_epochs={args.num_train_epochs}"]
    with reporting_failures("mixtext-hf demo-vision"):
        compare(train_image.make_run, args, flags, title="20 images of each digit")
    show_mixes.main(["--output_dir", str(Path(args.output_dir) / "mixes")])


if __name__ == "__main__":
    main()
