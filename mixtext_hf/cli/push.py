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

from mixtext_hf._lock import lock_of_a_run
from mixtext_hf.hub.card import write_card
from mixtext_hf.hub.eval_results import eval_result, measured_split, write_eval_result
from mixtext_hf.hub.facts import CARD, CardData
from mixtext_hf.hub.ids import base_model_name
from mixtext_hf.hub.push import Destination, files_to_send
from mixtext_hf.hub.record import method_of_recipe
from mixtext_hf.models.class_names import names_of_classes
from mixtext_hf.models.stored_temperature import StoredTemperature, stored_temperature
from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL, problem_type_of
from mixtext_hf.training.hub import name_of

from .card import RUN, recorded_card, source_of
from .failures import reporting_failures
from .parsing import Parser, parse, reporting_bad_input


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
        default=None,
        repr=False,
        metadata={"help": "Token that may write; the one of `hf auth login` or HF_TOKEN if not given."},
    )
    commit_message: str = field(default="Push model", metadata={"help": "Of the commit."})
    overwrite_card: bool = field(
        default=False, metadata={"help": "Replace a card that was written or edited by hand, here and on the Hub."}
    )
    eval_task_id: str | None = field(
        default=None,
        metadata={
            "help": "Send the result too, as a file .eval_results/*.yaml: the data set on the Hub is a benchmark, and this its task, as "
            "its eval.yaml has it."
        },
    )
    eval_metric: str | None = field(
        default=None,
        metadata={"help": "Which number that file has, such as macro_f1; accuracy for classes if not given."},
    )
    card_only: bool = field(
        default=False, metadata={"help": "Write the card into the folder, to be looked at, and push nothing."}
    )


def make_parser() -> HfArgumentParser:
    """The parser of the folder and [`PushArguments`]."""
    parser = Parser([PushArguments], prog="mixtext-hf push", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", help="Folder of a saved model or adapter.")
    return parser


def main(argv: Sequence[str] | None = None) -> str | None:
    """Run the command; returns the address of the repository, `None` if nothing was to be pushed."""
    parser = make_parser()
    with reporting_bad_input(parser):
        arguments, rest = parse(parser, argv)[:2]
        folder = Path(rest.folder)
        files_to_send(folder)
        destination = Destination(
            arguments.hub_model_id or name_of(folder),
            token=arguments.hub_token,
            private=arguments.hub_private_repo,
            revision=arguments.hub_revision,
        )
        data = card_to_push(folder, overwrite=arguments.overwrite_card)
        measured = _measured(folder, arguments)
        if arguments.card_only:
            with reporting_failures(parser.prog), lock_of_a_run(folder):
                if data is not None:
                    _write_card(folder, data, destination.repo_id, arguments.overwrite_card)
                _write_result(folder, measured, arguments)
            return None
        destination.check_token()
    with reporting_failures(parser.prog), lock_of_a_run(folder):
        destination = destination.open(destination.command(folder, overwrite_card=arguments.overwrite_card))
        if data is not None:
            _write_card(folder, data, destination.repo_id, arguments.overwrite_card)
        _write_result(folder, measured, arguments)
        commit = destination.send(
            folder, commit_message=arguments.commit_message, overwrite_card=arguments.overwrite_card
        )
    address = str(commit.repo_url)
    print(f"Pushed {folder} to {address}")
    return address


def _measured(folder: Path, arguments: PushArguments) -> CardData | None:
    """The card whose result is sent as a file of its own, where one is asked for; `ValueError` if there is none."""
    if arguments.eval_task_id is None:
        if arguments.eval_metric is not None:
            raise ValueError(
                f"--eval_metric {arguments.eval_metric} is of a result that is sent for a benchmark: name its task by --eval_task_id."
            )
        return None
    data = recorded_card(folder)
    if data is None:
        raise ValueError(
            f"--eval_task_id {arguments.eval_task_id}: {folder} holds no {RUN} of a finished run, so that nothing is known of its results."
        )
    eval_result(data, arguments.eval_task_id, arguments.eval_metric)
    split = measured_split(data)
    limit = "max_predict_samples" if split is None or split.split.startswith("test") else "max_eval_samples"
    chosen = source_of(folder).get(limit)
    if chosen is not None:
        raise ValueError(
            f"--eval_task_id {arguments.eval_task_id}: the model was measured on {chosen} rows alone ({limit}), and a benchmark is "
            "measured whole."
        )
    return data


def _write_result(folder: Path, data: CardData | None, arguments: PushArguments) -> None:
    if data is not None and arguments.eval_task_id is not None:
        write_eval_result(folder, data, arguments.eval_task_id, arguments.eval_metric)


def _write_card(folder: Path, data: CardData, repo_id: str, overwrite: bool) -> None:
    data.repo_id, data.model_name = repo_id, repo_id.split("/")[-1]
    write_card(folder, data, overwrite=overwrite)


def card_to_push(folder: Path, *, overwrite: bool = False) -> CardData | None:
    """
    The facts for the card of a folder: what its training recorded; what its config tells if nothing was recorded and there
    is no card, or `overwrite` says to replace it; `None`: the card that is there goes along.
    """
    recorded = recorded_card(folder)
    if recorded is None and (folder / CARD).exists() and not overwrite:
        return None
    data = recorded or card_of_config(folder)
    # One may have been stored since, or another one.
    temperature = _temperature_of(folder)
    data.temperature = None if temperature is None else temperature.value
    data.temperature_origin = None if temperature is None else temperature.origin
    return data


def _temperature_of(folder: Path) -> StoredTemperature | None:
    if not (folder / "config.json").is_file():
        return None
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return stored_temperature(config) if problem_type_of(config) == SINGLE_LABEL else None


def card_of_config(folder: Path) -> CardData:
    """What the config of a saved model tells of it."""
    adapter, base = folder / "adapter_config.json", None
    if adapter.is_file():
        base = base_model_name(json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path"))
    if not (folder / "config.json").is_file():
        return CardData(model_name=name_of(folder), base_model=base, is_adapter=True)
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    architecture = (config.architectures or [None])[0]
    is_image = "ImageClassification" in (architecture or "")
    is_regression = config.problem_type == REGRESSION or config.num_labels == 1
    return CardData(
        model_name=name_of(folder),
        method=method_of_recipe(getattr(config, "mixtext", None)),
        modality="image" if is_image else "text",
        labels_tokens="TokenClassification" in (architecture or ""),
        problem_type=problem_type_of(config),
        label_names=[] if is_regression else names_of_classes(config),
        base_model=base,
        architecture=architecture,
        is_adapter=adapter.is_file(),
        needs_package=getattr(config, "mixtext_head", None) is not None,
    )


if __name__ == "__main__":
    main()
