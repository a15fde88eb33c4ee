"""The folder of a Space that shows a classifier: a Gradio app that runs on the Hub, and anywhere with `python app.py`."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoConfig

from mixtext_hf._files import check_new_folder, whole_files, write_json, write_text
from mixtext_hf._markdown import one_line, prose
from mixtext_hf.hub.ids import is_hub_id
from mixtext_hf.hub.push import files_to_send
from mixtext_hf.models.checkpoint import check_checkpoint
from mixtext_hf.models.lengths import usable_positions
from mixtext_hf.models.modality import modality_of
from mixtext_hf.models.stored_temperature import stored_temperature
from mixtext_hf.problem_types import REGRESSION, problem_type_of


APP = Path(__file__).with_name("space_app.py")
# The release that the app was tried with; a Space installs it by the header of its README.md.
GRADIO = "6.31.0"
_MODEL, _ABOUT = "model", "space.json"
# What the model was made of and what was measured is no part of an app, and may name paths.
_NOT_COPIED = ("README.md", "run.json", "trainer_state.json")
_LONGEST_TEXT = 512


@dataclass(frozen=True)
class Shown:
    """
    What a Space shows.

    Args:
        modality (`str`): `"text"` or `"image"`.
        base (`str`, *optional*): The id on the Hub of what an adapter lies on.
        model_type (`str`): As its config has it.
        texts (`Sequence[str]`): What to call each text of an input.
        max_length (`int`): Tokens of the longest text.
    """

    modality: str
    base: str | None
    model_type: str
    texts: Sequence[str]
    max_length: int


def make_space(
    model: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    model_id: str | None = None,
    title: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """
    Make the folder of a Space: `app.py`, `requirements.txt`, `README.md` with the header of a Space, `space.json`, and the model.

    Args:
        model (`str`): Folder or Hub id of a classifier of texts or images, or of an adapter on one.
        output_dir (`str`): The folder to make. It is there whole, or not at all.
        model_id (`str`, *optional*): Id on the Hub that the app loads the model from; a model that is named by its id is loaded from there, and a
            folder is copied in if this is not given.
        title (`str`, *optional*): Of the page; the name of the model if not given.
        overwrite (`bool`): Write over a folder that was made before.

    Returns:
        `list[str]`: the files, by their paths in the folder.

    Raises:
        `ValueError`: if the folder holds files, or the model is none that the app can show.
    """
    name, target = os.fspath(model), Path(output_dir)
    check_new_folder("--output_dir", target, overwrite)
    if model_id is not None and not is_hub_id(model_id):
        raise ValueError(f"--model_id {model_id}: give an id of the Hub, user/name.")
    is_folder = os.path.isdir(name)
    if not is_folder and not is_hub_id(name):
        raise ValueError(
            f"MODEL {name!r} is no folder, and no id of the Hub: name the folder of a trained classifier."
        )
    if is_folder and target.is_dir() and target.samefile(name):
        raise ValueError(f"--output_dir {target} is the folder of the model itself: name another.")
    _check_can_replace(target, name)
    shown = look_at(name)
    source = model_id or (None if is_folder else name)
    # Of a folder: what of it is the model, and no path of this machine.
    copied = [one for one in files_to_send(name) if _is_copied(one)] if source is None else []
    said = one_line(title or (source or os.path.basename(os.path.abspath(name))).split("/")[-1])
    about = {
        "title": said,
        "model": source or _MODEL,
        "is_local": source is None,
        "modality": shown.modality,
        "base": shown.base,
        "texts": list(shown.texts),
        "max_length": shown.max_length,
    }
    with whole_files(target) as partial:
        for one in copied:
            (partial / _MODEL / one).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(name) / one, partial / _MODEL / one)
        shutil.copyfile(APP, partial / "app.py")
        write_json(partial / _ABOUT, about, ensure_ascii=False)
        write_text(partial / "requirements.txt", "\n".join(_requirements(shown)) + "\n")
        write_text(partial / "README.md", _readme(said, source, shown))
        made = sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*") if path.is_file())
    # Weights of a model that was here before would be loaded beside those of this one.
    for path in (target / _MODEL).rglob("*"):
        if path.is_file() and path.relative_to(target).as_posix() not in made:
            path.unlink()
    return made


def _check_can_replace(target: Path, model: str) -> None:
    """Raise `ValueError` if the files that are removed from the folder of a model, or written into it, may be somebody's own."""
    place = target / _MODEL
    if place.is_dir() and os.path.isdir(model) and Path(model).resolve().is_relative_to(place.resolve()):
        raise ValueError(
            f"--output_dir {target}: the model itself lies in its {_MODEL}/, where the copy would go: name another."
        )
    if place.exists() and not (target / _ABOUT).is_file():
        raise ValueError(
            f"--output_dir {target} has a {_MODEL}/ and no {_ABOUT}, so that no earlier call made it, and what is in there would be replaced: "
            "name a new folder."
        )


def look_at(name: str) -> Shown:
    """
    What there is to know of a model before an app is made for it.

    Raises:
        `ValueError`: if it is no classifier that plain transformers (with PEFT) loads.
    """
    try:
        found = check_checkpoint(name)
        base = None
        if found.adapter is not None and not (os.path.isdir(name) and found.has_weights):
            base = str(found.adapter.get("base_model_name_or_path") or "")
        if not found.has_config:
            raise ValueError(
                f"MODEL {name!r} has no config.json, and the app needs the names of its classes: save the config beside it."
            )
        config: Any = AutoConfig.from_pretrained(name, trust_remote_code=False)
    except OSError as error:
        raise ValueError(f"MODEL {name!r}: no model could be read there ({str(error).splitlines()[0]}).") from error
    if base is not None and not is_hub_id(base):
        raise ValueError(
            f"MODEL {name!r} is an adapter on {base!r}, which is no id of the Hub, so that the app could not load it: merge the adapter "
            "(model.merge_and_unload()) and save the whole model."
        )
    if getattr(config, "mixtext_head", None) is not None:
        raise ValueError(
            f"MODEL {name!r} has the head {config.mixtext_head!r}, which plain transformers cannot load, and the app has nothing else: train "
            "one with the model's own head."
        )
    if problem_type_of(config) == REGRESSION:
        raise ValueError(f"MODEL {name!r} predicts a number, and the app shows the probabilities of classes.")
    modality = modality_of(name, config, found.adapter, "MODEL")
    if modality == "token":
        raise ValueError(
            f"MODEL {name!r} gives each word a tag, and the app shows the probabilities of classes of whole texts and images."
        )
    # One that is none is found here, not by whoever opens the page.
    stored_temperature(config)
    record = _record(Path(name))
    longest = min(_length(record), usable_positions(config) or _LONGEST_TEXT)
    return Shown(modality, base, config.model_type, _texts(record), longest)


def _record(folder: Path) -> Mapping[str, Any]:
    """What run.json says, if the model lies beside one."""
    path = folder / "run.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}): remove it, or get it again.") from error
    return found if isinstance(found, dict) else {}


def _texts(record: Mapping[str, Any]) -> list[str]:
    columns = record.get("columns")
    named = [one for one in columns if isinstance(one, str)] if isinstance(columns, list) else []
    return [one_line(name) for name in named[:2]] or ["text"]


def _length(record: Mapping[str, Any]) -> int:
    arguments = record.get("data_arguments")
    length = arguments.get("max_seq_length") if isinstance(arguments, dict) else None
    return length if isinstance(length, int) and length > 1 else _LONGEST_TEXT


def _is_copied(name: str) -> bool:
    return name not in _NOT_COPIED and not name.endswith(("_results.json", ".png")) and not name.startswith(".")


def _requirements(shown: Shown) -> list[str]:
    lines = ["torch>=2.11", "transformers>=5.17", "safetensors"]
    lines += ["pillow"] if shown.modality == "image" else []
    lines += ["peft>=0.20"] if shown.base is not None else []
    return [*lines, *(["timm>=1.0.23", "torchvision"] if shown.model_type == "timm_wrapper" else [])]


def _readme(title: str, source: str | None, shown: Shown) -> str:
    header = {
        "title": title,
        "emoji": "🏷️",
        "colorFrom": "blue",
        "colorTo": "green",
        "sdk": "gradio",
        "sdk_version": GRADIO,
        "app_file": "app.py",
        "pinned": False,
        **({"models": [source]} if source is not None else {}),
    }
    front = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    unit = "an image" if shown.modality == "image" else "a text" if len(shown.texts) == 1 else "two texts"
    where = f"from the Hub ({source})" if source is not None else f"from `{_MODEL}/`"
    return "\n".join(
        [
            f"---\n{front}---",
            "",
            f"# {prose(title)}",
            "",
            f"The probabilities that a classifier gives for {unit}. The model is loaded {where}; where a temperature is stored with it, logits are",
            "divided by it.",
            "",
            "To run it here:",
            "",
            "```bash",
            f"pip install gradio=={GRADIO} -r requirements.txt",
            "python app.py",
            "```",
            "",
            "To put it on the Hub as the Space user/name:",
            "",
            "```bash",
            "hf repos create user/name --repo-type space --space-sdk gradio",
            "hf upload user/name . --repo-type space",
            "```",
            "",
        ]
    )
