"""Which method is better, by how much, and how far its confidence can be trusted: `compare`, then one model closely.

One learns: how methods are compared over seeds, how a classifier is measured in Python, what a temperature changes,
and how to write the report of `mixtext-hf evaluate`. Five minutes on one core.

`python examples/evaluate_and_compare.py` prints the table (here without some of its columns), numbers of one of the
models, and the summary of its report:

    | labels a class | method | accuracy | accuracy - erm | ECE | ECE - erm |
    |---|---|---|---|---|---|
    | 10 | erm | 0.587 ± 0.026 |  | 0.225 ± 0.026 |  |
    | 10 | tmix | 0.559 ± 0.027 | -0.028 [-0.050, -0.007] 0/2 | 0.123 ± 0.031 | -0.103 [-0.121, -0.073] 2/2 |

    tmix-labels10-seed0-fe11855f, temperature 1.33 by 200 texts
    accuracy  0.578, which no temperature changes
    ece       0.101, at the temperature 0.053
    nll       1.338, at the temperature 1.283
    ...
    Report: out/evaluate_and_compare/report/report.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mixtext_hf import MixDataCollator, compare, few_shot_split, load_text_datasets
from mixtext_hf.cli import evaluate
from mixtext_hf.evaluation.assessing import AssessmentSettings, assess_classifier


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model_name_or_path", default="minilm", help="Hub id or folder; 'minilm' needs no Hub.")
    parser.add_argument("--labeled_per_class", type=int, default=10)
    parser.add_argument("--max_steps", type=int, default=80)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output_dir", type=Path, default=Path("out/evaluate_and_compare"))
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    # Both methods with every seed: a pair of runs has the same labelled texts, head and batches. Started again, it goes on.
    report = compare(
        "text",
        ["erm", "tmix"],
        args.output_dir / "comparison",
        seeds=args.seeds,
        labeled_per_class=[args.labeled_per_class],
        keep_models=True,
        dataset_name="docstrings",
        model_name_or_path=args.model_name_or_path,
        max_seq_length=64,
        max_steps=args.max_steps,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=64,
        learning_rate=1e-4,
        head_learning_rate=3e-3,
        lr_scheduler_type="constant",
    )
    print(report.table)

    # One of the models, as any classifier of transformers. For the temperature: texts that it has not learnt from.
    run = next(row["run"] for row in report.runs if row["variant"] == "tmix" and row["seed"] == args.seeds[0])
    folder = report.output_dir / "runs" / run
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = load_text_datasets(dataset_name="docstrings", labeled_per_class=args.labeled_per_class, seed=args.seeds[0])
    assert data.rest is not None
    validation, _ = few_shot_split(data.rest, "label", 25, seed=0)
    test = data.test["test"]

    # The numbers, in Python:
    found = assess_classifier(
        model,
        test,
        MixDataCollator(tokenizer, text_column="text", max_length=64),
        validation=validation,
        settings=AssessmentSettings(skip=["robustness"], disable_tqdm=True),
    )
    tempered = found.temperature
    assert tempered is not None
    print(f"\n{run}, temperature {tempered['value']:.2f} by {len(validation)} texts")
    print(f"accuracy  {found.results['metrics']['accuracy']:.3f}, which no temperature changes")
    for name in ("ece", "nll"):
        print(f"{name:8}  {found.results['metrics'][name]:.3f}, at the temperature {tempered['metrics'][name]:.3f}")

    # The page with everything, noise included, which is what `mixtext-hf evaluate` writes:
    files = {"validation_file": validation, "test_file": test}
    for name, split in files.items():
        split.to_parquet(args.output_dir / f"{name}.parquet")
    evaluate.main(
        [
            f"--model_name_or_path={folder}",
            *(f"--{name}={args.output_dir / name}.parquet" for name in files),
            f"--output_dir={args.output_dir / 'report'}",
            "--max_seq_length=64",
            "--robustness_samples=100",
            "--skip=attacks",
            "--disable_tqdm=true",
        ]
    )


if __name__ == "__main__":
    main()
