"""Data: loading texts and images, choosing few labelled examples, collating batches. No model, no trainer."""

from .collator import MixDataCollator
from .columns import TextColumns, recognise_columns
from .docstrings import DEFAULT_PACKAGES, docstring_corpus
from .few_shot import few_shot_split
from .glue import GLUE_TASKS, GlueTask
from .image_collator import ImageCollator
from .images import ImageDatasets, load_image_datasets
from .label_noise import corrupt_labels
from .labels import has_labels
from .summary import DataSummary, summarise_data
from .text import TextDatasets, load_text_datasets


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
    "corrupt_labels",
    "docstring_corpus",
    "few_shot_split",
    "has_labels",
    "load_image_datasets",
    "load_text_datasets",
    "recognise_columns",
    "summarise_data",
]
