"""Push the folder of a trained model to the Hub, with its card: `mixtext-hf push`.

```bash
mixtext-hf push out --hub_model_id user/name
```

What is pushed: weights (safetensors), config, tokenizer or image processor, card, pictures and results; nothing else of the
folder, and no pickles. The folder of a training command gets its card written anew for the repository, any other one a short
card of what its config tells. A card that was written or edited by hand stays as it is, here and there.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoConfig, HfArgumentParser

from mixtext_hf.hub.card import CardData, write_card
from mixtext_hf.hub.push import CARD, Destination, files_to_send
from mixtext_hf.methods import MixMethod, make_method

from .card import recorded_card
from .parsing import Parser, parse, reporting_bad_input
from .run import reporting_failed_push


@dataclass
class PushArguments:
    """Which folder, and where to."""

    hub_model_id: str | None = field(
        default=None, metadata={"help": "user/name, or name alone; the name of the folder if not given."}
    )
    hub_private_repo: bool | None = field(default=None, metadata={"help": "Make the repository a private one."})
    hub_revision: str | None = field(
        default=None, metadata={"help": "Branch to push to, made if it does not exist; the main one if not given."}
    )
    hub_token: str | None = field(
        default=None, metadata={"help": "Token that may write; the one of `hf auth login` or HF_TOKEN if not given."}
    )
    commit_message: str = field(default="Push model", metadata={"help": "Of the commit."})
    overwrite_card: bool = field(
        default=False, metadata={"help": "Replace a card that was written or edited by hand, here and on the Hub."}
    )


def make_parser() -> HfArgumentParser:
    """The parser of the folder and [`PushArguments`]."""
    parser = Parser([PushArguments], prog="mixtext-hf push", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", help="Folder of a saved model or adapter.")
    return parser


def main(argv: Sequence[str] | None = None) -> str:
    """Run the command; returns the address of the repository."""
    parser = make_parser()
    with reporting_bad_input(parser):
        arguments, rest = parse(parser, argv)[:2]
        folder = Path(rest.folder)
        files_to_send(folder)
        destination = Destination(
            arguments.hub_model_id or folder.absolute().name,
            token=arguments.hub_token,
            private=arguments.hub_private_repo,
            revision=arguments.hub_revision,
        )
        destination.check_token()
    with reporting_bad_input(parser), reporting_failed_push():
        destination = destination.open()
        write_pushed_card(folder, destination.repo_id, overwrite=arguments.overwrite_card)
        commit = destination.send(
            folder, commit_message=arguments.commit_message, overwrite_card=arguments.overwrite_card
        )
    address = str(commit.repo_url)
    print(f"Pushed {folder} to {address}")
    return address


def write_pushed_card(folder: Path, repo_id: str, *, overwrite: bool = False) -> None:
    """
    The card of a folder, for the repository that it goes to: of what its training recorded; of its config if nothing was
    recorded and there is no card. One that was written or edited by hand stays, unless `overwrite`.
    """
    recorded = recorded_card(folder)
    if recorded is None and (folder / CARD).exists() and not overwrite:
        return
    data = recorded or card_of_config(folder)
    data.repo_id, data.model_name = repo_id, repo_id.split("/")[-1]
    write_card(folder, data, overwrite=overwrite)


def card_of_config(folder: Path) -> CardData:
    """What the config of a saved model tells of it."""
    if not (folder / "config.json").is_file():
        adapter = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return CardData(
            model_name=folder.absolute().name, base_model=adapter["base_model_name_or_path"], is_adapter=True
        )
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    architecture = (config.architectures or [None])[0]
    is_image = "ImageClassification" in (architecture or "")
    is_regression = config.problem_type == "regression" or config.num_labels == 1
    return CardData(
        model_name=folder.absolute().name,
        method=_method_of(getattr(config, "mixtext", None)),
        modality="image" if is_image else "text",
        problem_type=config.problem_type or ("regression" if is_regression else "single_label_classification"),
        label_names=[] if is_regression else [str(config.id2label[i]) for i in range(config.num_labels)],
        architecture=architecture,
        is_adapter=(folder / "adapter_config.json").is_file(),
        needs_package=getattr(config, "mixtext_head", None) is not None,
    )


def _method_of(recipe: dict[str, Any] | None) -> MixMethod | None:
    return None if recipe is None else make_method(recipe["method"], **recipe["hyperparameters"])


if __name__ == "__main__":
    main()
