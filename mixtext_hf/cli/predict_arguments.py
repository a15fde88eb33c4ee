"""The arguments of `mixtext-hf predict` beside its model: which inputs, and what is written of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from mixtext_hf.data.images.checks import CHECK_IMAGES_HELP, CheckImages, skip_broken_argument
from mixtext_hf.data.tables.text_files import delimiter_argument, encoding_argument
from mixtext_hf.evaluation.prediction_file import (
    PREDICTION_SUFFIXES,
)


@dataclass
class PredictArguments:
    """Which inputs, and what is written of them."""

    output_file: str = field(
        default="predictions.csv", metadata={"help": f"The file to write: {', '.join(PREDICTION_SUFFIXES)}."}
    )
    overwrite_output_file: bool = field(default=False, metadata={"help": "Replace output_file if it is there."})
    top_k: int | None = field(
        default=None, metadata={"help": "Write only the likeliest so many classes, not the probabilities of all."}
    )
    temperature: float | None = field(
        default=None,
        metadata={
            "help": "Logits are divided by it, which changes the confidence and no prediction; that stored with the model if not "
            "given, 1: none."
        },
    )
    escape_formulas: bool = field(
        default=False, metadata={"help": "Put a ' before cells that a spreadsheet would take for formulas (csv, tsv)."}
    )
    delimiter: str | None = delimiter_argument()
    encoding: str | None = encoding_argument()
    text_column: str | None = field(
        default=None, metadata={"help": "That of the training, or recognised by its name, if not given."}
    )
    text_pair_column: str | None = field(default=None, metadata={"help": "Column of the second text of a pair."})
    image_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    check_images: CheckImages = field(default="headers", metadata={"help": CHECK_IMAGES_HELP})
    skip_broken_images: bool = skip_broken_argument()
    label_column: str | None = field(
        default=None,
        metadata={
            "help": "True labels, if there are any, stand beside the predictions. Recognised by its name if not given; several, "
            "with commas, for multi-label."
        },
    )
    label_map: str | None = field(
        default=None,
        metadata={
            "help": "JSON, YAML or csv file of `name in the true labels: name in the model`; a name that goes to nothing is no true "
            "label."
        },
    )
    label_separator: str | None = field(
        default=None,
        metadata={
            "help": "Between the true labels of a row, such as '|', where a model for several has them in one string."
        },
    )
    id_column: str | None = field(
        default=None,
        metadata={
            "help": "Column that names the rows; if not given one called id, idx, index, guid or ..._id without repeats, or else "
            "the number of the row in the file, from 0."
        },
    )
    problem_type: str | None = field(
        default=None, metadata={"help": "What the model's config says, or else one class an example, if not given."}
    )
    max_seq_length: int | None = field(
        default=None,
        metadata={
            "help": "Longer texts are cut to this many tokens; as in training where run.json beside the model says so, or "
            "else what the model takes, at most 512."
        },
    )
    max_predict_samples: int | None = field(
        default=None, metadata={"help": "Predict only so many rows, chosen at random, in the order of the file."}
    )
    seed: int = field(default=0, metadata={"help": "Of the choice of rows."})
    per_device_eval_batch_size: int = field(default=32, metadata={"help": "Rows of a batch."})
    dataloader_num_workers: int = field(default=0, metadata={"help": "Processes that prepare batches."})
    use_cpu: bool = field(default=False, metadata={"help": "Not the accelerator, where there is one."})
    disable_tqdm: bool = field(default=False, metadata={"help": "Show no progress bar."})
