"""Make the folder of a Space that shows a trained classifier: `mixtext-hf space`.

```bash
mixtext-hf space out --output_dir space
(cd space && pip install gradio -r requirements.txt && python app.py)
```

A page that takes a text, a pair of texts or an image, and shows the probability of each class at the temperature stored with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import HfArgumentParser

from mixtext_hf.delivery.space import make_space

from .parsing import Parser, parse, reporting_bad_input


@dataclass
class SpaceArguments:
    """Where to, and what it shows."""

    output_dir: str | None = field(default=None, metadata={"help": "The folder to make."})
    model_id: str | None = field(
        default=None,
        metadata={
            "help": "Id on the Hub that the app loads the model from; MODEL is copied into the folder if not given."
        },
    )
    title: str | None = field(default=None, metadata={"help": "Of the page; the name of the model if not given."})
    overwrite_output_dir: bool = field(default=False, metadata={"help": "Write over a folder that was made before."})


def make_parser() -> HfArgumentParser:
    """The parser of the model and [`SpaceArguments`]."""
    parser = Parser(
        [SpaceArguments],
        prog="mixtext-hf space",
        usage="mixtext-hf space MODEL --output_dir FOLDER [...]",
        description="Make the folder of a Space (a Gradio app) that shows a text or image classifier; it runs anywhere by python app.py.",
    )
    parser.add_argument("model", metavar="MODEL", help="The folder or Hub id of a classifier.")
    return parser


def main(argv: Sequence[str] | None = None) -> list[str]:
    """Run the command; returns the files that were made."""
    parser = make_parser()
    with reporting_bad_input(parser):
        args, rest = parse(parser, argv)[:2]
        if args.output_dir is None:
            raise ValueError("--output_dir is needed: it names the folder to make.")
        made = make_space(
            rest.model,
            args.output_dir,
            model_id=args.model_id,
            title=args.title,
            overwrite=args.overwrite_output_dir,
        )
    print(f"Made {args.output_dir} with {', '.join(one for one in made if '/' not in one)}")
    print(f"  cd {args.output_dir} && pip install gradio -r requirements.txt && python app.py")
    return made


if __name__ == "__main__":
    main()
