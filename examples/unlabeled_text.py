"""Ten labelled texts a class and 2,000 without labels: MixText, the guesses it learns from, and the guesser alone.

One learns: how unlabelled texts are handed over, where the guesses are and how good they are, and to ask whether
training on them is worth more than the guesser by itself. Three minutes on one core. Here, with 80 steps, it is not: on
the unlabelled texts the guesser is as accurate, and better calibrated. `python examples/unlabeled_text.py` prints,
beside the log,

    80 labelled texts, 2000 without labels, 1000 test texts

    Learnt from the surest 1203 of 2000 guesses. Some of them:
      huggingface_hub 0.78  (is huggingface_hub)  Terminate a sandbox, a whole shared host, or everything (--a
      sklearn         0.64  (is sklearn)  Splitter for finding the best split on dense data.
      numpy           0.64  (is numpy)  Returns the cross product of 3-element vectors. If x1 and/or
      ...

    the guesser, unlabelled texts        accuracy 0.647  ECE 0.038
    its surest guesses                   accuracy 0.774  ECE 0.047
    the trained model, unlabelled texts  accuracy 0.638  ECE 0.130
    the trained model, test texts        accuracy 0.628  ECE 0.125
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from datasets import Dataset
from transformers import AutoTokenizer, set_seed

from mixtext_hf import (
    MixableModelForSequenceClassification,
    MixDataCollator,
    MixTrainer,
    MixTrainingArguments,
    load_text_datasets,
)
from mixtext_hf.evaluation import accuracy, expected_calibration_error, softmax
from mixtext_hf.models import minilm_path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model_name_or_path", default="minilm", help="Hub id or folder; 'minilm' needs no Hub.")
    parser.add_argument("--labeled_per_class", type=int, default=10)
    parser.add_argument("--unlabeled_per_class", type=int, default=250)
    parser.add_argument("--max_steps", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, default=Path("out/unlabeled_text"))
    return parser.parse_args()


def measure(name: str, probabilities: np.ndarray, labels: np.ndarray) -> None:
    """Print the accuracy and the calibration error of probabilities `(N, C)`."""
    right = accuracy(predictions=probabilities.argmax(axis=1), references=labels)
    error = expected_calibration_error(probabilities=probabilities, references=labels)
    print(f"{name:35}  accuracy {right:.3f}  ECE {error:.3f}")


def main() -> None:
    args = parse_args()
    name = minilm_path() if args.model_name_or_path == "minilm" else args.model_name_or_path
    data = load_text_datasets(
        dataset_name="docstrings",
        labeled_per_class=args.labeled_per_class,
        unlabeled_per_class=args.unlabeled_per_class,
        seed=args.seed,
    )
    unlabeled, test = data.unlabeled, data.test["test"]
    assert data.train is not None and unlabeled is not None
    print(f"{len(data.train)} labelled texts, {len(unlabeled)} without labels, {len(test)} test texts")

    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(name)
    model = MixableModelForSequenceClassification.from_pretrained(
        name, num_labels=len(data.label_names), id2label=dict(enumerate(data.label_names))
    )
    training = MixTrainingArguments(
        str(args.output_dir),
        mix_method="mixtext",
        guess_warm_up_steps=0,  # the frozen encoder guesses alone: the fastest choice
        max_steps=args.max_steps,
        per_device_train_batch_size=8,
        per_device_unlabeled_batch_size=8,
        per_device_eval_batch_size=64,
        learning_rate=1e-4,
        head_learning_rate=3e-3,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to="none",
        seed=args.seed,
    )
    trainer = MixTrainer(
        model=model,
        args=training,
        data_collator=MixDataCollator(tokenizer, text_column="text", max_length=64),
        train_dataset=data.train,
        unlabeled_dataset=unlabeled,
        processing_class=tokenizer,
    )
    trainer.train()  # guesses the class of every unlabelled text first, then trains
    trainer.save_model()

    # The guesses: a distribution over the classes for each text, of which the surest of each class were learnt from.
    guesses = trainer.guesses
    assert guesses is not None
    print(f"\nLearnt from the surest {len(guesses.rows)} of {len(guesses.table)} guesses. Some of them:")
    for row in guesses.rows[:: max(len(guesses.rows) // 5, 1)]:
        probabilities = guesses.table.probabilities[row]
        best = int(probabilities.argmax())
        truth = data.label_names[unlabeled[int(row)]["label"]]
        text = unlabeled[int(row)]["text"][:60]
        print(f"  {data.label_names[best]:15} {probabilities[best]:.2f}  (is {truth})  {text}")

    # The corpus knows the labels that training never saw. Guesser and model, on the same texts:
    print()
    labels = np.asarray(unlabeled["label"][:])
    measure("the guesser, unlabelled texts", np.asarray(guesses.table.probabilities), labels)
    measure("its surest guesses", np.asarray(guesses.table.probabilities[guesses.rows]), labels[guesses.rows])
    measure("the trained model, unlabelled texts", predict(trainer, unlabeled), labels)
    measure("the trained model, test texts", predict(trainer, test), np.asarray(test["label"][:]))


def predict(trainer: MixTrainer, rows: Dataset) -> np.ndarray:
    """Probabilities `(N, C)`."""
    return softmax(trainer.predict(rows).predictions)


if __name__ == "__main__":
    main()
