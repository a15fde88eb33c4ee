"""The folder of a run: whether it may be written to, and the files that are written there, each whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset
from numpy.typing import NDArray

from mixtext_hf.data import ImageDatasets, TextDatasets, has_labels
from mixtext_hf.data.described_rows import DescribedRows, find_id_column
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.hub.eval_results import FOLDER as EVAL_RESULTS
from mixtext_hf.training import MixTrainingArguments
from mixtext_hf.training.guesses import ROUNDS
from mixtext_hf.training.hub import remove_staged
from mixtext_hf.training.resuming import OF_A_MODEL, check_begun
from mixtext_hf.training.whole_checkpoints import checkpoints_of


_ROWS_AT_A_TIME = 2048


def check_output_dir(output_dir: Path, args: MixTrainingArguments, overwrite: bool) -> str | bool | None:
    """
    The checkpoint to resume from, if one was asked for (`True`: the newest whole one, or the beginning where the run was ended
    before there was one); an error if `output_dir` holds another run.
    """
    resume = args.resume_from_checkpoint
    if resume is not None and resume.lower() not in ("false", "no"):
        if resume.lower() not in ("true", "yes", "last"):
            if not (Path(resume) / "trainer_state.json").is_file():
                raise ValueError(f"resume_from_checkpoint={resume!r} is no folder with a checkpoint of a Trainer.")
            return resume
        if not checkpoints_of(output_dir):
            check_begun(output_dir, {})
        return True
    found = sorted({path.name for trace in (*OF_A_MODEL, "checkpoint-*") for path in output_dir.glob(trace)})
    if args.do_train and found and not overwrite:
        raise ValueError(
            f"output_dir={output_dir} holds another run ({', '.join(found[:3])}): name another folder, go on with it by "
            "--resume_from_checkpoint True, or replace it by --overwrite_output_dir."
        )
    return None


def remove_results(output_dir: Path) -> None:
    """What another run left: results are added to those that are there, and a resumed run takes the last checkpoint."""
    results = ("all_results.json", "train_results.json", "eval*_results.json", "predict*_results.json")
    pictures = ("reliability_diagram*.png", "training_curve.png")
    for pattern in (*results, *pictures, "predictions*.csv", "run.json", "trainer_state.json"):
        for path in output_dir.glob(pattern):
            path.unlink()
    for path in output_dir.glob("checkpoint-[0-9]*"):
        shutil.rmtree(path)
    shutil.rmtree(output_dir / ROUNDS, ignore_errors=True)
    shutil.rmtree(output_dir / EVAL_RESULTS, ignore_errors=True)
    remove_staged(output_dir)


def describe_rows(
    split: Dataset, name: str, data: TextDatasets | ImageDatasets, id_column: str | None
) -> DescribedRows:
    """What stands beside the predictions for a test split, which is called `name` in `data`."""
    texts = data.columns.texts if isinstance(data, TextDatasets) else ()
    image = None if isinstance(data, TextDatasets) else data.image_column
    return DescribedRows(
        split,
        texts=texts,
        image=image,
        label=LABEL if has_labels(split) else None,
        problem_type=data.problem_type,
        label_names=data.label_names,
        labels_are_ids=True,
        id_column=find_id_column(split, [*texts, LABEL, *([] if image is None else [image])], id_column),
        numbers=data.rows.get(name),
    )


def in_chunks(logits: NDArray) -> Iterator[tuple[int, NDArray]]:
    """As [`predict_in_chunks`](mixtext_hf.evaluation.predicting.predict_in_chunks) gives logits."""
    for first in range(0, len(logits), _ROWS_AT_A_TIME):
        yield first, logits[first : first + _ROWS_AT_A_TIME]
