"""The GLUE tasks as data: which columns hold the text, which metrics the benchmark reports, which splits it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mixtext_hf.problem_types import REGRESSION, SINGLE_LABEL


@dataclass(frozen=True)
class GlueTask:
    """
    One task of the GLUE benchmark (Wang et al., 2018), with the column and split names of the Hub's `nyu-mll/glue`.

    Args:
        name (`str`): Name of the task, also the configuration name on the Hub.
        text (`str`): Column of the (first) text.
        text_pair (`str`, *optional*): Column of the second text.
        metrics (`tuple[str, ...]`): The metrics GLUE reports for the task.
        problem_type (`str`): `"single_label_classification"` or `"regression"`.
        validation_splits (`tuple[str, ...]`): Names of the validation splits.
        test_splits (`tuple[str, ...]`): Names of the test splits; their labels are hidden on the Hub.
        official (`Mapping[str, str]`): Names of columns in the benchmark's own files, and what they are called here.
        without_header (`tuple[str, ...]`): The columns of those of its own files that have no header.
    """

    name: str
    text: str
    text_pair: str | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    problem_type: str = SINGLE_LABEL
    validation_splits: tuple[str, ...] = ("validation",)
    test_splits: tuple[str, ...] = ("test",)
    official: Mapping[str, str] = field(default_factory=dict)
    without_header: tuple[str, ...] = ()

    def renamed(self, column_names: Sequence[str]) -> dict[str, str]:
        """Of the columns of one of the benchmark's own files those that have another name here."""
        if self.text in column_names:
            pairs = {name: new for name, new in self.official.items() if new == "label"}
        else:
            pairs = dict(self.official)
        return {name: new for name, new in pairs.items() if name in column_names and new not in column_names}

    def names_without_header(self, first: Sequence[str]) -> tuple[str, ...] | None:
        """The names of the columns if the cells of a first line are no header."""
        is_row = len(first) == len(self.without_header) > 0 and self.text not in first
        return self.without_header if is_row else None


_TASKS = (
    GlueTask("sst2", "sentence"),
    GlueTask(
        "cola",
        "sentence",
        metrics=("matthews_correlation",),
        without_header=("source", "label", "acceptability", "sentence"),
    ),
    GlueTask(
        "mrpc",
        "sentence1",
        "sentence2",
        metrics=("accuracy", "f1"),
        official={"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"},
    ),
    GlueTask("qqp", "question1", "question2", metrics=("accuracy", "f1"), official={"is_duplicate": "label"}),
    GlueTask(
        "stsb",
        "sentence1",
        "sentence2",
        metrics=("pearson", "spearman"),
        problem_type=REGRESSION,
        official={"score": "label"},
    ),
    GlueTask(
        "mnli",
        "premise",
        "hypothesis",
        validation_splits=("validation_matched", "validation_mismatched"),
        test_splits=("test_matched", "test_mismatched"),
        official={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
    ),
    GlueTask("qnli", "question", "sentence"),
    GlueTask("rte", "sentence1", "sentence2"),
    GlueTask("wnli", "sentence1", "sentence2"),
)

GLUE_TASKS: dict[str, GlueTask] = {task.name: task for task in _TASKS}
