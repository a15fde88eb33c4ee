"""Data: loading texts, sentences of words and images, choosing few labelled examples, collating batches. No model, no trainer."""

from .few_shot import few_shot_split
from .images.collator import ImageCollator
from .images.datasets import ImageDatasets, load_image_datasets
from .labels.classes import has_labels
from .labels.noise import corrupt_labels
from .summary import DataSummary, summarise_data
from .tables.columns import TextColumns, recognise_columns
from .tables.glue import GLUE_TASKS, GlueTask
from .texts.collator import MixDataCollator
from .texts.datasets import TextDatasets, load_text_datasets
from .texts.docstrings import DEFAULT_PACKAGES, docstring_corpus
from .tokens.collator import TokenCollator
from .tokens.datasets import TokenDatasets, load_token_datasets


__all__ = [
    "DEFAULT_PACKAGES",
    "GLUE_TASKS",
    "DataSummary",
    "GlueTask",
    "ImageCollator",
    "ImageDatasets",
    "MixDataCollator",
    "TextColumns",
    "TextDatasets",
    "TokenCollator",
    "TokenDatasets",
    "corrupt_labels",
    "docstring_corpus",
    "few_shot_split",
    "has_labels",
    "load_image_datasets",
    "load_text_datasets",
    "load_token_datasets",
    "recognise_columns",
    "summarise_data",
]
