"""ERM against PuzzleMix on handwritten digits, in a few minutes on two cores: `mixtext-hf demo-vision`.

20 images of each digit, a small ResNet from scratch, three seeds. Ends in a table, a reliability diagram, and a page of
pictures that show what each method makes of the same two images.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from . import show_mixes, train_image
from .demo import compare


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command's few arguments."""
    parser = argparse.ArgumentParser(prog="mixtext-hf demo-vision", description=__doc__.split("\n\n")[0])
    parser.add_argument("--output_dir", default="demo-vision", help="Where models, table and pictures go.")
    parser.add_argument("--seeds", type=int, default=3, help="How many seeds: 0, 1, ...")
    parser.add_argument("--methods", nargs="+", default=["erm", "puzzlemix"], help="Methods to compare.")
    parser.add_argument("--num_train_epochs", type=int, default=40, help="Epochs of each run.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {args.seeds}.")
    compare(
        train_image.make_run, args, [f"--num_train_epochs={args.num_train_epochs}"], title="20 images of each digit"
    )
    show_mixes.main(["--output_dir", str(Path(args.output_dir) / "mixes")])


if __name__ == "__main__":
    main()
