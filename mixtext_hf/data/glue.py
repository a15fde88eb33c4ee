"""The GLUE tasks as data: which columns hold the text, which metrics the benchmark reports, which splits it has."""

from dataclasses import dataclass


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
    """

    name: str
    text: str
    text_pair: str | None = None
    metrics: tuple[str, ...] = ("accuracy",)
    problem_type: str = "single_label_classification"
    validation_splits: tuple[str, ...] = ("validation",)
    test_splits: tuple[str, ...] = ("test",)


_TASKS = (
    GlueTask("sst2", "sentence"),
    GlueTask("cola", "sentence", metrics=("matthews_correlation",)),
    GlueTask("mrpc", "sentence1", "sentence2", metrics=("accuracy", "f1")),
    GlueTask("qqp", "question1", "question2", metrics=("accuracy", "f1")),
    GlueTask("stsb", "sentence1", "sentence2", metrics=("pearson", "spearman"), problem_type="regression"),
    GlueTask(
        "mnli",
        "premise",
        "hypothesis",
        validation_splits=("validation_matched", "validation_mismatched"),
        test_splits=("test_matched", "test_mismatched"),
    ),
    GlueTask("qnli", "question", "sentence"),
    GlueTask("rte", "sentence1", "sentence2"),
    GlueTask("wnli", "sentence1", "sentence2"),
)

GLUE_TASKS: dict[str, GlueTask] = {task.name: task for task in _TASKS}
