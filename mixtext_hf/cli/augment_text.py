"""Write other wordings of texts into columns beside them, for training on their agreement: `mixtext-hf augment-text`.

```bash
mixtext-hf augment-text --input_file texts.csv --output_file augmented.parquet \
    --back_translate de ru --augmenters word_dropout:0.1 span_swap
```

Killed at any moment, the same command goes on where it was and ends in the same file as if it had never been stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from transformers import HfArgumentParser

from mixtext_hf.data.texts.augment_file import AugmentRun, AugmentSettings

from .failures import reporting_failures
from .parsing import Parser, parse, reporting_bad_input


def make_parser() -> HfArgumentParser:
    """The parser of [`AugmentSettings`]."""
    return Parser(
        AugmentSettings,
        prog="mixtext-hf augment-text",
        description="Write other wordings of texts into columns beside them.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = make_parser()
    with reporting_bad_input(parser):
        (args, *_) = parse(parser, argv)
        run = AugmentRun(args)
        run.start()
    with reporting_failures(parser.prog):
        for what, count in run().items():
            print(f"{count} {what}.", file=sys.stderr)
        print(f"{run.output}: {len(run.dataset)} texts with the new columns {', '.join(run.columns)}.")


if __name__ == "__main__":
    main()
