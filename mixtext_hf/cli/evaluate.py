"""Measure a trained classifier, whoever trained it, and write a report: `mixtext-hf evaluate`.

```bash
mixtext-hf evaluate --model_name_or_path out --validation_file dev.csv --test_file test.csv --output_dir report
```

Any text or image classifier of transformers, or an adapter of PEFT on one: accuracy, calibration before and after temperature
scaling, robustness, detection of other data. Writes `report.html`, which needs nothing beside it, `report.json` and
`predictions.npz`.
"""

from __future__ import annotations

import json
import logging
import os
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import HfArgumentParser

from mixtext_hf._files import whole_file
from mixtext_hf._lock import FolderLock
from mixtext_hf.data.described_rows import DescribedRows, find_id_column
from mixtext_hf.data.images.arrays import to_array
from mixtext_hf.data.labels.classes import LABEL
from mixtext_hf.evaluation.assessing import Assessor
from mixtext_hf.evaluation.measures.mistakes import thumbnail
from mixtext_hf.evaluation.report.page import as_json, render_report, summarise
from mixtext_hf.problem_types import SINGLE_LABEL
from mixtext_hf.version import versions

from .classifier import ModelArguments, TrainedClassifier
from .evaluate_tokens import TokenEvaluation
from .evaluation_inputs import (
    LOGITS,
    NUMBERS,
    REPORT,
    DataArguments,
    EvaluationInputs,
    ReportArguments,
    check_arguments,
)
from .failures import reporting_failures
from .logs import set_up_logging
from .parsing import Parser, command_line, parse, reporting_bad_input
from .temperature import store_in_folder


logger = logging.getLogger(__name__)

# Of a text among the mistakes, and between the texts of a pair.
MOST_CHARACTERS, SPACE_BETWEEN = 400, " ‖ "


def make_parser() -> HfArgumentParser:
    """The parser of [`ModelArguments`], [`DataArguments`] and [`ReportArguments`]."""
    return Parser(
        [ModelArguments, DataArguments, ReportArguments],
        prog="mixtext-hf evaluate",
        description="Measure a text or image classifier: accuracy, calibration, robustness; as one HTML page.",
    )


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the command; returns what `report.json` holds."""
    parser = make_parser()
    set_up_logging()
    with reporting_bad_input(parser):
        evaluation = make_evaluation(*parse(parser, argv)[:3], command=command_line(parser, argv))
    stored = None
    with reporting_failures(parser.prog), FolderLock(evaluation.output_dir):
        report = evaluation()
        if isinstance(evaluation, Evaluation) and evaluation.args.store_temperature:
            stored = store_in_folder(evaluation.name, report["temperature"], evaluation.validation_name)
    print("\n".join([*report["summary"], *([] if stored is None else [stored])]))
    print(f"Report: {evaluation.output_dir / (REPORT if isinstance(evaluation, Evaluation) else NUMBERS)}")
    return report


def make_evaluation(
    model_args: ModelArguments, data_args: DataArguments, report_args: ReportArguments, *, command: str
) -> Evaluation | TokenEvaluation:
    """The run of the command: of a model that has a label for each row, or for each word of a text."""
    check_arguments(model_args, data_args, report_args)
    classifier = TrainedClassifier(model_args)
    if classifier.modality == "token":
        return TokenEvaluation(classifier, data_args, report_args, command=command)
    return Evaluation(model_args, data_args, report_args, command=command, classifier=classifier)


class Evaluation(EvaluationInputs):
    """One run of the command, from the logits to the report."""

    def __call__(self) -> dict[str, Any]:
        names = self.data.label_names
        assessor = Assessor(self.model, self.collator, self.problem_type, names, self.args, self.left_out)
        found = assessor.assess(self.split, self.validation, self.ood_rows)
        for mistake in found.results.get("surest_mistakes", ()):
            mistake |= self._shown(mistake["row"])
        if self.modality == "text":
            self._note_long_texts()
        report = {
            "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": self.command,
            "versions": versions(),
            "device": _name_of(self.device),
            "model": self._about_model(),
            "data": self._about_data(),
            "settings": self._settings(assessor.top_k),
            **found.measures(),
            "memorisation": self.memorisation,
        }
        report = as_json({**report, "summary": summarise(report)})
        page = render_report(
            report,
            logits=found.arrays["logits"],
            references=found.arrays["references"],
            ood_logits=found.arrays.get("ood_logits"),
            thumbnails=self._thumbnails(report),
        )
        self._write(report, page, found.arrays)
        return report

    def _shown(self, row: int) -> dict[str, Any]:
        """The id of a row or its number in the file, and its texts or the path of its image."""
        images = self.modality == "image"
        columns = [self.data.image_column] if images else self.data.columns.texts
        described = DescribedRows(
            self.split,
            texts=() if images else columns,
            image=columns[0] if images else None,
            problem_type=self.problem_type,
            label_names=self.data.label_names,
            id_column=find_id_column(self.split, [*columns, LABEL]),
            numbers=self.data.rows.get(self.split_name),
        )
        ids, inputs, _ = described.slice(row, row + 1)
        shown = SPACE_BETWEEN.join(str(column[0].as_py()) for column in inputs)
        kind = "row" if described.id_column is None else described.id_column
        return {"id": f"{kind} {ids[0].as_py()}", "shown": textwrap.shorten(shown, MOST_CHARACTERS, placeholder=" …")}

    def _thumbnails(self, report: Mapping[str, Any]) -> dict[int, str]:
        if self.modality != "image":
            return {}
        rows = [mistake["row"] for mistake in report["results"].get("surest_mistakes", ())]
        return {row: thumbnail(to_array(self.split[row][self.data.image_column])) for row in rows}

    def _note_long_texts(self) -> None:
        """How many texts were cut; one pass of the tokenizer, without the model."""
        columns = self.data.columns.texts
        texts = [self.split[column][:] for column in columns]
        lengths = [len(ids) for ids in self.classifier.tokenizer(*texts, truncation=False, verbose=False)["input_ids"]]
        cut = sum(length > self.classifier.max_length for length in lengths)
        self.notes.append(
            f"Texts were cut to {self.classifier.max_length} tokens, which concerns {cut:,} of {len(lengths):,} of the {self.split_name} split."
        )

    def _about_model(self) -> dict[str, Any]:
        recipe = getattr(self.config, "mixtext", None)
        return {
            "name_or_path": self.name,
            "identity": self.classifier.identity,
            "revision": None if os.path.isdir(self.name) else self.model_args.model_revision,
            "commit": getattr(self.config, "_commit_hash", None),
            "architecture": type(self.model).__name__,
            "modality": self.modality,
            "num_parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "problem_type": self.problem_type,
            "label_names": self.data.label_names,
            "is_adapter": self.classifier.adapter is not None,
            "method": recipe.get("method") if isinstance(recipe, Mapping) else None,
        }

    def _about_data(self) -> dict[str, Any]:
        source = self.data.source
        files = {kind.removesuffix("_file"): names for kind, names in source.get("files", {}).items()}
        ood_files = [] if self.ood is None else self.ood.source["files"]["test_file"]
        return {
            "split": self.split_name,
            "validation_split": self.validation_name,
            "matched_by": self.matching.how,
            "matching": self.matching.sentence,
            "notes": self.notes,
            "files": {**files, **({"other data": ood_files} if ood_files else {})},
            "ood_files": ood_files,
            "dataset": source.get("dataset"),
            "source": source,
        }

    def _settings(self, top_k: list[int]) -> dict[str, Any]:
        a = self.args
        return {
            "n_bins": a.n_bins,
            "top_k": top_k if self.problem_type == SINGLE_LABEL else None,
            "robustness_samples": a.robustness_samples,
            "epsilon": a.epsilon,
            "pgd_steps": a.pgd_steps,
            "pgd_step_size": a.pgd_step_size,
            "embedding_epsilon": a.embedding_epsilon,
            "seed": a.seed,
            "max_seq_length": self.classifier.max_length if self.modality == "text" else None,
            "skip": a.skip,
        }

    def _write(self, report: Mapping[str, Any], page: str, arrays: Mapping[str, NDArray]) -> None:
        """All three files under other names first, the page last: whoever sees it sees a whole report."""
        with ExitStack() as moved:
            # The last one in is the first one out.
            names = (REPORT, NUMBERS, LOGITS)
            partial = {name: moved.enter_context(whole_file(self.output_dir / name)) for name in names}
            # Without allow_pickle, which numpy 2.0 would store; to the types of later ones each could be meant as it.
            stored: dict[str, Any] = {**arrays}
            np.savez_compressed(partial[LOGITS], **stored)
            partial[NUMBERS].write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            partial[REPORT].write_text(page, encoding="utf-8")


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


if __name__ == "__main__":
    main()
