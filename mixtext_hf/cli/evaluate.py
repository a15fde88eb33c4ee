"""Measure a trained classifier, whoever trained it, and write a report: `mixtext-hf evaluate`.

```bash
mixtext-hf evaluate --model_name_or_path user/name --validation_file dev.csv --test_file test.csv --output_dir report
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
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import HfArgumentParser

from mixtext_hf._files import whole_file
from mixtext_hf._lock import FolderLock
from mixtext_hf.data.described_rows import DescribedRows, find_id_column
from mixtext_hf.data.image_arrays import to_array
from mixtext_hf.data.image_collator import pixel_statistics
from mixtext_hf.data.image_resize import model_resize
from mixtext_hf.data.labels import LABEL
from mixtext_hf.evaluation.from_logits import (
    MAX_CONFUSION_CLASSES,
    assess_classes,
    assess_ood,
    assess_scores,
    assess_several_labels,
    assess_temperature,
    usual_top_k,
)
from mixtext_hf.evaluation.mistakes import thumbnail
from mixtext_hf.evaluation.noisy_rows import (
    left_out_corruptions,
    mean_by_level,
    measured,
    under_corruptions,
    under_embedding_attack,
    under_image_attacks,
    under_text_noise,
)
from mixtext_hf.evaluation.predicting import batches_of, by_length, predict
from mixtext_hf.evaluation.report import as_json, render_report, summarise
from mixtext_hf.problem_types import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from mixtext_hf.version import versions

from .classifier import ModelArguments
from .evaluation_inputs import LOGITS, NUMBERS, REPORT, DataArguments, EvaluationInputs, ReportArguments
from .failures import reporting_failures
from .logs import set_up_logging
from .parsing import Parser, command_line, parse, reporting_bad_input


logger = logging.getLogger(__name__)

# Of a text among the mistakes, and between the texts of a pair.
MOST_CHARACTERS, SPACE_BETWEEN = 400, " ‖ "
_NOT_ONE_CLASS = {
    REGRESSION: "the model predicts a number, no classes with probabilities: there is nothing to calibrate, and no right or wrong "
    "prediction whose share could fall.",
    MULTI_LABEL: "the model gives any number of labels to an example: these measures are of classifiers with one class an "
    "example.",
}


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
        evaluation = Evaluation(*parse(parser, argv)[:3], command=command_line(parser, argv))
    with reporting_failures(parser.prog), FolderLock(evaluation.output_dir):
        report = evaluation()
    print("\n".join(report["summary"]))
    print(f"Report: {evaluation.output_dir / REPORT}")
    return report


class Evaluation(EvaluationInputs):
    """One run of the command, from the logits to the report."""

    def __call__(self) -> dict[str, Any]:
        logits, references = self._predict(self.split, self.split_name)
        assert references is not None
        arrays = {"logits": logits, "references": references}
        if self.validation is not None:
            of_validation = self._predict(self.validation, str(self.validation_name))
            arrays |= {"validation_logits": of_validation[0], "validation_references": np.asarray(of_validation[1])}
        if self.ood_rows is not None:
            arrays["ood_logits"] = self._predict(self.ood_rows, "other data")[0]
        report = self._measure(arrays)
        report = as_json({**report, "summary": summarise(report)})
        page = render_report(
            report,
            logits=logits,
            references=references,
            ood_logits=arrays.get("ood_logits"),
            thumbnails=self._thumbnails(report),
        )
        self._write(report, page, arrays)
        return report

    def _measure(self, arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        temperature = self._measure_temperature(arrays)
        results = self._measure_results(arrays)
        robustness = self._measure_robustness()
        ood = None
        if "ood_logits" in arrays:
            value = None if temperature is None else temperature["value"]
            ood = assess_ood(arrays["logits"], arrays["ood_logits"], temperature=value)
        if self.modality == "text":
            self._note_long_texts()
        return {
            "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "command": self.command,
            "versions": versions(),
            "device": _name_of(self.device),
            "model": self._about_model(),
            "data": self._about_data(),
            "settings": self._settings(),
            "results": results,
            "temperature": temperature,
            "robustness": robustness,
            "ood": ood,
            "memorisation": self.memorisation,
            "left_out": self.left_out,
        }

    def _measure_results(self, arrays: Mapping[str, NDArray]) -> dict[str, Any]:
        logits, references, names = arrays["logits"], arrays["references"], self.data.label_names
        if self.problem_type == REGRESSION:
            self.left_out["calibration"] = f"Left out: {_NOT_ONE_CLASS[REGRESSION]}"
            return assess_scores(logits, references)
        if self.problem_type == MULTI_LABEL:
            self.left_out["calibration"] = f"Left out: {_NOT_ONE_CLASS[MULTI_LABEL]}"
            return assess_several_labels(logits, references, label_names=names)
        if len(names) > MAX_CONFUSION_CLASSES:
            self.left_out["confusion_matrix"] = (
                f"left out, for more than {MAX_CONFUSION_CLASSES} classes cannot be told apart in it; {LOGITS} has what it is "
                "made of."
            )
        found = assess_classes(logits, references, label_names=names, top_k=self._top_k(), n_bins=self.args.n_bins)
        for mistake in found["surest_mistakes"]:
            mistake |= self._shown(mistake["row"])
        return found

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

    def _top_k(self) -> list[int]:
        given = self.args.top_k
        return list(usual_top_k(self.data.num_labels) if given is None else given)

    def _measure_temperature(self, arrays: Mapping[str, NDArray]) -> dict[str, Any] | None:
        if self.validation is None:
            return None
        return assess_temperature(
            arrays["logits"],
            arrays["references"],
            validation_logits=arrays["validation_logits"],
            validation_references=arrays["validation_references"],
            n_bins=self.args.n_bins,
        )

    def _measure_robustness(self) -> dict[str, Any] | None:
        if self.problem_type != SINGLE_LABEL:
            self.left_out["robustness"] = f"Left out: {_NOT_ONE_CLASS[self.problem_type]}"
            return None
        skipped = {part for part in ("noise", "attacks") if {part, "robustness"} & set(self.args.skip)}
        if len(skipped) == 2:
            self.left_out["robustness"] = "Left out by --skip."
            return None
        for part in skipped:
            self.left_out[part] = "left out by --skip."
        indices = self._chosen_rows()
        rows = self.split.select(indices)
        clean, labels = self._predict(rows, "robustness")
        assert labels is not None
        noise = None if "noise" in skipped else self._measure_noise(rows, indices)
        attacks = {} if "attacks" in skipped else self._measure_attacks(rows)
        return {
            "kind": "corruptions" if self.modality == "image" else "text_noise",
            "samples": len(indices),
            "clean": measured(clean, labels, self.args.n_bins),
            "noise": noise,
            "mean_by_level": None if noise is None else mean_by_level(noise),
            "image_attacks": attacks.get("image_attacks"),
            "embedding_attack": attacks.get("embedding_attack"),
        }

    def _chosen_rows(self) -> list[int]:
        count = min(self.args.robustness_samples, len(self.split))
        return np.sort(np.random.default_rng(self.args.seed).permutation(len(self.split))[:count]).tolist()

    def _measure_noise(self, rows: Dataset, indices: list[int]) -> dict[str, Any] | None:
        settings = {"seed": self.args.seed, "n_bins": self.args.n_bins}
        if self.modality == "text":
            order = by_length([rows[column][:] for column in self.data.columns.texts])
            predict_noisy = partial(self._predict, order=order)
            return under_text_noise(predict_noisy, rows, self.data.columns.texts, indices, **settings)
        channels = self.data.num_channels
        if channels not in (1, 3):
            self.left_out["noise"] = (
                f"not measured, for the images have {channels} channels, and corruptions are of grey and RGB images."
            )
            return None
        missing = left_out_corruptions(channels)
        if missing:
            self.left_out["corruptions"] = f"Not for grey images: {', '.join(missing)}."
        resize = model_resize(self.classifier.processor, self.classifier.channels)
        return under_corruptions(
            self._predict, rows, self.data.image_column, channels, indices, resize=resize, **settings
        )

    def _measure_attacks(self, rows: Dataset) -> dict[str, Any]:
        args = self.args
        order = by_length([rows[column][:] for column in self.data.columns.texts]) if self.modality == "text" else None
        batches = partial(self._batches, rows, order)
        try:
            if self.modality == "text":
                found = under_embedding_attack(self.model, batches, epsilons=args.embedding_epsilon)
                return {"embedding_attack": found}
            mean, std = pixel_statistics(self.classifier.processor, self.classifier.channels or self.data.num_channels)
            return {
                "image_attacks": under_image_attacks(
                    self.model,
                    batches,
                    epsilons=args.epsilon,
                    steps=args.pgd_steps,
                    step_size=args.pgd_step_size,
                    mean=mean,
                    std=std,
                )
            }
        except (ValueError, RuntimeError) as error:
            # A model that cannot be attacked, such as one without gradients or with too large ones for the memory, can be
            # measured all the same; the report says what is missing and why.
            logger.warning("No attack: %s", error)
            self.left_out["attacks"] = f"not measured: {error}"
            return {}

    def _batches(self, rows: Dataset, order: list[int] | None, title: str) -> Any:
        return batches_of(
            self._needed(rows),
            self.collator,
            batch_size=self.args.per_device_eval_batch_size,
            order=order,
            num_workers=self.args.dataloader_num_workers,
            title=None if self.args.disable_tqdm else title,
        )

    def _predict(
        self, rows: Any, title: str, order: list[int] | None = None
    ) -> tuple[NDArray[np.float32], NDArray | None]:
        if order is None and self.modality == "text" and isinstance(rows, Dataset):
            order = by_length([rows[column][:] for column in self.data.columns.texts])
        return predict(
            self.model,
            self._needed(rows),
            self.collator,
            batch_size=self.args.per_device_eval_batch_size,
            order=order,
            num_workers=self.args.dataloader_num_workers,
            title=None if self.args.disable_tqdm else title,
        )

    def _needed(self, rows: Any) -> Any:
        if not isinstance(rows, Dataset):
            return rows
        columns: Any = self.collator
        return rows.select_columns([name for name in rows.column_names if name in columns.columns])

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

    def _settings(self) -> dict[str, Any]:
        a = self.args
        return {
            "n_bins": a.n_bins,
            "top_k": self._top_k() if self.problem_type == SINGLE_LABEL else None,
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
            np.savez_compressed(partial[LOGITS], allow_pickle=False, **arrays)
            partial[NUMBERS].write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            partial[REPORT].write_text(page, encoding="utf-8")


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type.upper()


if __name__ == "__main__":
    main()
