"""Who guesses for `mixtext-hf guess-labels`: a mixture on an encoder's features, or a classifier as teacher. Chunks of texts go in one by one,
and what turns all that was seen of them into probabilities comes out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from mixtext_hf.data import MixDataCollator, load_text_datasets, summarise_data
from mixtext_hf.data.in_batches import run_over
from mixtext_hf.data.labels.class_names import SimilarLabels
from mixtext_hf.data.labels.mapping import read_label_map
from mixtext_hf.data.tables.text_files import delimiter_argument, encoding_argument
from mixtext_hf.guessing import FrozenGuesser, are_content, check_shares, fit_frozen_guesser, sentences_about
from mixtext_hf.models.checkpoint import check_tokenizer
from mixtext_hf.models.embedded import MINILM, minilm_path
from mixtext_hf.models.features import text_features
from mixtext_hf.models.last_token import give_padding_token, is_decoder
from mixtext_hf.models.lengths import DEFAULT_LENGTH, LENGTH_HELP, check_tokenizer_fits, settle_max_length
from mixtext_hf.models.load_report import without_load_report
from mixtext_hf.models.modality import check_modality
from mixtext_hf.models.sentence_checkpoint import read_sentence_modules, transformer_folder
from mixtext_hf.models.sentence_modules import note_sentence_modules, sentence_modules_of, tell_of_features
from mixtext_hf.problem_types import SINGLE_LABEL
from mixtext_hf.training.arguments import read_shares
from mixtext_hf.training.guesses import Teacher, teacher_classes

from .named_model import load_config
from .run_arguments import HubArguments


logger = logging.getLogger(__name__)

# What a teacher makes nothing of.
_OF_GAUSSIAN = ("labeled_per_class", "model_name_or_path", "guess_shares", "guess_names")


@dataclass
class GuessLabelsArguments:
    """Whose guesses, of which texts."""

    guesser: str = field(
        default="gaussian",
        metadata={
            "help": "gaussian: clusters of the encoder's features, anchored by --train_file; checkpoint:FOLDER_OR_ID: a text "
            "classifier of transformers."
        },
    )
    train_file: str | None = field(
        default=None,
        metadata={
            "help": "Labelled texts, for gaussian: parquet, csv, tsv, txt, json or jsonl, texts also as .gz; commas, globs."
        },
    )
    labeled_per_class: int | None = field(
        default=None, metadata={"help": "Take this many of them of each class, as train-text does with the same seed."}
    )
    model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "The encoder, for gaussian: Hub id or folder; 'minilm' (the default) comes with the extra `demo`."
        },
    )
    delimiter: str | None = delimiter_argument()
    encoding: str | None = encoding_argument()
    text_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    label_column: str | None = field(default=None, metadata={"help": "Recognised by its name if not given."})
    label_map: str | None = field(
        default=None,
        metadata={
            "help": "JSON, YAML or csv file of `name in the data, or of a teacher's class: name that is meant`."
        },
    )
    similar_labels: SimilarLabels = field(
        default="refuse",
        metadata={"help": "Names of classes that differ by case or blanks alone: 'refuse', 'merge' or 'keep' them."},
    )
    guess_shares: str = field(
        default="auto",
        metadata={
            "help": "Shares of the classes among the texts: auto, uniform, labelled, estimated, or numbers with commas."
        },
    )
    guess_names: bool | None = field(
        default=None,
        metadata={"help": "Take the names of the classes as evidence; where it helps the labelled rows if not given."},
    )
    max_seq_length: int | None = field(default=None, metadata={"help": LENGTH_HELP})
    batch_size: int = field(default=64, metadata={"help": "Texts that are run at once."})
    chunk_size: int = field(default=2048, metadata={"help": "Texts after which the result is saved."})
    bf16: bool = field(default=False, metadata={"help": "Run the model in bfloat16."})
    seed: int = field(default=0, metadata={"help": "Seed of everything that is drawn at random."})
    device: str | None = field(
        default=None, metadata={"help": "The GPU, if there is one, if not given.", "choices": ("cpu", "cuda")}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where models and copies of the files are kept."})
    overwrite_columns: bool = field(
        default=False, metadata={"help": "Replace columns of the input that have the name of a new one."}
    )
    overwrite_output_file: bool = field(
        default=False, metadata={"help": "Replace output_file, and the unfinished run of another command for it."}
    )


class Gaussian:
    """Features now, the mixture when all are there."""

    def __init__(self, args: GuessLabelsArguments, device: torch.device):
        if args.train_file is None:
            raise ValueError("--guesser gaussian needs labelled texts: give --train_file.")
        data = load_text_datasets(
            train_file=args.train_file,
            label_column=args.label_column,
            label_map=args.label_map,
            similar_labels=args.similar_labels,
            text_column=args.text_column,
            labeled_per_class=args.labeled_per_class,
            seed=args.seed,
            delimiter=args.delimiter,
            encoding=args.encoding,
            cache_dir=args.cache_dir,
        )
        if data.problem_type != SINGLE_LABEL or data.train is None:
            raise ValueError(
                f"--train_file {args.train_file}: guesses are of one class a text, but it is {data.problem_type}."
            )
        if data.columns.text_pair is not None:
            raise ValueError(
                f"--train_file {args.train_file} holds pairs of texts: give --text_column for the one to look at."
            )
        for concern in summarise_data(data).concerns:
            logger.warning("%s", concern)
        self.args, self.data, self.device = args, data, device
        self.label_names = list(data.label_names)
        shares = read_shares(args.guess_shares)
        check_shares(shares, len(self.label_names))
        self.shares: Any = shares
        source = args.model_name_or_path or MINILM
        name = transformer_folder(minilm_path() if source == MINILM and not Path(MINILM).exists() else source)
        where: dict[str, Any] = {"cache_dir": args.cache_dir}
        config, checked = load_config(name, HubArguments(**where))
        check_modality(name, config, "text")
        check_tokenizer(name, **where)
        with without_load_report():  # a head that is there and not needed
            self.model = AutoModel.from_pretrained(name, trust_remote_code=False, **where).eval().to(device)
        note_sentence_modules(self.model, read_sentence_modules(checked.files))
        self.modules = sentence_modules_of(self.model)
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False, **where)
        if is_decoder(self.model.config):
            for sentence in give_padding_token(tokenizer, self.model):
                logger.warning(sentence)
        check_tokenizer_fits(tokenizer, self.model)
        length = settle_max_length(
            "--max_seq_length", args.max_seq_length, self.model.config, tokenizer, self.modules.max_length
        )
        tell_of_features(self.model, tokenizer, length)
        self.collator = MixDataCollator(tokenizer, text_column="text", max_length=length)
        self.why = ""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What its features are a function of."""
        return {"model": self.args.model_name_or_path or MINILM, "features": str(self.modules)}

    def look_at(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Features `(n, D)`."""

        def encode(batch: Mapping[str, Any]) -> torch.Tensor:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.bf16):
                return text_features(self.model, batch)

        rows = [{"text": text} for text in texts]
        return np.concatenate(
            list(run_over(rows, self.collator, encode, device=self.device, batch_size=self.args.batch_size))
        )

    def finish(self, features: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
        """Fit, and give what turns features into probabilities."""
        args, train = self.args, self.data.train
        assert train is not None
        labels = np.asarray(train["label"][:])
        sentences = None
        if args.guess_names or (args.guess_names is None and are_content(self.label_names)):
            written, classes = sentences_about(self.label_names)
            sentences = (self.look_at(written), classes)
        fitted: FrozenGuesser = fit_frozen_guesser(
            features,
            self.look_at(train[self.data.columns.text][:]),
            labels,
            len(self.label_names),
            shares=self.shares,
            sentences=sentences,
            use_names=args.guess_names,
            seed=args.seed,
        )
        self.why = str(fitted.report)
        for note in fitted.report.notes:
            print(note, file=sys.stderr)
        return lambda rows: np.exp(fitted.log_probabilities(rows))


class Taught:
    """A classifier as teacher: probabilities at once."""

    def __init__(self, args: GuessLabelsArguments, device: torch.device):
        name = args.guesser.removeprefix("checkpoint:")
        if not name:
            raise ValueError("--guesser checkpoint: names no checkpoint: write checkpoint:FOLDER_OR_ID.")
        usual = {one.name: one.default for one in fields(args)}
        for one in _OF_GAUSSIAN:
            if getattr(args, one) != usual[one]:
                raise ValueError(f"--{one} is for --guesser gaussian, and a teacher guesses by itself: leave it out.")
        wanted = None
        if args.train_file is not None:
            wanted = load_text_datasets(
                train_file=args.train_file,
                label_column=args.label_column,
                label_map=args.label_map,
                names_of_others=() if args.label_map is None else teacher_classes(name),
                similar_labels=args.similar_labels,
                text_column=args.text_column,
                delimiter=args.delimiter,
                encoding=args.encoding,
            ).label_names
        self.name = name
        self.teacher = Teacher(
            name,
            wanted,
            label_map=read_label_map(args.label_map),
            device=device,
            batch_size=args.batch_size,
            max_length=DEFAULT_LENGTH if args.max_seq_length is None else args.max_seq_length,
        )
        self.label_names = self.teacher.label_names
        self.why = f"the classifier {name} (distillation)"

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What its guesses are a function of."""
        return {"classes": self.label_names}

    def look_at(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities `(n, C)`."""
        rows = Dataset.from_dict({"text": list(texts)})
        return np.concatenate(list(self.teacher.guess(rows, "text", disable_tqdm=True)))

    def finish(self, features: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float64]]:
        """They are there."""
        return lambda rows: rows.astype(np.float64)
