"""Methods compared over seeds and numbers of labels, on texts or images: `mixtext-hf compare`.

```bash
mixtext-hf compare text --methods erm tmix --seeds 0 1 2 3 4 --labeled_per_class 10 50 --output_dir comparison \
    --train_file train.csv --test_file test.csv --model_name_or_path bert-base-uncased --max_steps 200
```

Every run has a folder of its own in `output_dir/runs`, named after its settings and a hash of its whole configuration. Runs
that are there already are kept, so that the same command goes on where it was killed; started several times, on one machine or
on several that share the folder, it spreads the runs. All end in the same table, csv files and figures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from transformers import HfArgumentParser

from .comparing import Comparison
from .comparison_plan import ComparisonSettings, WrongRun
from .failures import reporting_failures
from .parsing import Parser, parse, reporting_bad_input, share_out
from .planned_run import KINDS, make_kind


def make_parser() -> HfArgumentParser:
    """The parser of the command's own arguments; all others go to `train-text` or `train-image`."""
    parser = Parser(
        [ComparisonSettings],
        prog="mixtext-hf compare",
        usage="mixtext-hf compare {text,image} --methods METHOD [METHOD ...] --output_dir FOLDER [--seeds ...] [...]",
        description="Compare methods over seeds and numbers of labels, in runs that can be killed, resumed and spread over "
        "machines. All further arguments go to every run: see `mixtext-hf train-text --help` and `train-image --help`.",
    )
    parser.add_argument("kind", choices=KINDS, help="What is classified.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = make_parser()
    with reporting_bad_input(parser):
        try:
            comparison = make_comparison(parser, argv)
            comparison.check()
        except WrongRun as wrong:
            parser.prog = f"{parser.prog}: {wrong.run}"
            raise wrong.error from None
    with reporting_failures(parser.prog):
        comparison.run()
        report = comparison.finish()
        print(f"\n{report.table}\n{', '.join(report.files)} in {report.output_dir}")


def make_comparison(parser: HfArgumentParser, argv: Sequence[str] | None = None) -> Comparison:
    """The comparison that the arguments describe; those of every run are parsed, and nothing is loaded."""
    argv = list(sys.argv[1:] if argv is None else argv)
    kind = make_kind(argv[0] if argv and argv[0] in KINDS else KINDS[0])
    own, flags = share_out(parser, kind.parser, argv)
    # Raises where the first word names no kind.
    settings: ComparisonSettings = parse(parser, own)[0]
    return Comparison(kind, settings, flags)


if __name__ == "__main__":
    main()
