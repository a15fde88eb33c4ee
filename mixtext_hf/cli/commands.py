"""The commands by their names: the module of each, which is imported when it is called, and what it is for in a line."""

from __future__ import annotations


COMMANDS = {
    "train-text": (
        "text_tasks",
        "fine-tune a classifier of texts or of their words, or a regressor, with a mixing method",
    ),
    "train-image": ("train_image", "train an image classifier with a mixing method"),
    "predict": ("predict", "predict with any classifier: a file with one row an input"),
    "compare": ("compare", "compare methods over seeds and numbers of labels, in runs that can be resumed"),
    "evaluate": ("evaluate", "measure any classifier and write a report: calibration, robustness, other data"),
    "push": ("push", "push the folder of a trained model to the Hub, with its card"),
    "export": ("export", "export any classifier to ONNX, compared with PyTorch"),
    "space": ("space", "make the folder of a Space that shows a classifier: a Gradio app"),
    "demo": ("demo", "compare plain training, TMix and MixText on the embedded example"),
    "demo-vision": ("demo_vision", "compare ERM and PuzzleMix on handwritten digits"),
    "augment-text": ("augment_text", "write other wordings of texts into columns beside them"),
    "guess-labels": ("guess_labels", "guess the classes of unlabelled texts into columns beside them"),
    "benchmark": ("benchmark.command", "time and memory of each method against a plain step"),
    "show-mixes": ("show_mixes", "pictures of what each method makes of two examples, or of a batch of a run"),
}

# What they have finished is kept, and they do the rest when they are started again.
RESUMABLE = ("compare", "augment-text", "guess-labels")
