"""The examples of the pages of the commands: what a reader copies first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """
    An example of a command.

    Args:
        command (`str`): Lines of a shell.
        text (`str`): What it leaves behind and where to read on, Markdown.
        before (`str`): A comment that holds what has to be there, which readers do not see.
    """

    command: str
    text: str
    before: str = ""


_TRAINED = """<!-- before
mixtext-hf train-text --train_file train.csv --validation_file dev.csv --test_file test.csv \\
  --model_name_or_path bert-base-uncased --mix_method tmix --labeled_per_class 10 --max_steps 2 \\
  --do_train --do_eval --do_predict --output_dir out
-->"""

EXAMPLES = {
    "train-text": Example(
        """mixtext-hf train-text --train_file train.csv --validation_file dev.csv --test_file test.csv \\
  --model_name_or_path bert-base-uncased --mix_method tmix --labeled_per_class 10 \\
  --learning_rate 5e-5 --lr_scheduler_type constant --max_steps 200 \\
  --do_train --do_eval --do_predict --output_dir out""",
        """`out/` then holds the model and its tokenizer, `all_results.json`, `predictions.csv`, `reliability_diagram.png`, `run.json`
and a model card. Without data and model of your own the command trains the embedded MiniLM on the embedded example. Guides:
[Text](../guides/text.md), [Unlabelled text](../guides/unlabeled.md), [Tags for words](../guides/tokens.md) (`--task ner`).""",
    ),
    "train-image": Example(
        """mixtext-hf train-image --train_file train.parquet --validation_file dev.parquet --test_file test.parquet \\
  --model_name_or_path google/vit-base-patch16-224 --ignore_mismatched_sizes --mix_method puzzlemix \\
  --image_augmentations flip crop:16 --num_train_epochs 20 \\
  --do_train --do_eval --do_predict --output_dir out""",
        """`--dataset_name photos` takes a folder of images with one folder a class. Guides: [Images](../guides/images.md),
[PuzzleMix](../guides/puzzlemix.md).""",
    ),
    "predict": Example(
        "mixtext-hf predict out new.csv --output_file predictions.csv",
        """`predictions.csv` has a row for each row of `new.csv`, with the likeliest class, its confidence and the probabilities. Guide:
[Predict](../guides/predict.md).""",
        _TRAINED,
    ),
    "compare": Example(
        """mixtext-hf compare text --methods erm tmix --seeds 0 1 2 3 4 --labeled_per_class 10 \\
  --train_file train.csv --test_file test.csv --model_name_or_path bert-base-uncased \\
  --max_steps 200 --output_dir comparison""",
        """`comparison/table.md` has the means, the differences from `erm` and their intervals. A comparison that was ended goes on with the
same command. Guide: [Compare methods](../guides/compare.md).""",
    ),
    "evaluate": Example(
        """mixtext-hf evaluate --model_name_or_path out --validation_file dev.csv --test_file test.csv \\
  --ood_file other.csv --output_dir report""",
        """`report/report.html` is one page without scripts or requests; `report.json` has its numbers. Guide:
[Evaluate](../guides/evaluate.md).""",
        _TRAINED,
    ),
    "push": Example(
        "mixtext-hf push out --hub_model_id user/name --card_only",
        """This writes the card into the folder, to be looked at. The same command without `--card_only` sends the model: log in first, by
`hf auth login`. Guide: [Hub and cards](../guides/hub.md).""",
        _TRAINED,
    ),
    "export": Example(
        "mixtext-hf export out --onnx onnx",
        """It needs `pip install 'mixtext-hf[export]'`. `onnx/model.onnx` is written once its logits are those of PyTorch. Guide:
[ONNX and Spaces](../guides/delivery.md).""",
        _TRAINED,
    ),
    "space": Example(
        "mixtext-hf space out --output_dir space",
        """`space/` holds the app, the model and what it has to install: `python app.py` there shows it on this machine. Guide:
[ONNX and Spaces](../guides/delivery.md).""",
        _TRAINED,
    ),
    "demo": Example(
        "mixtext-hf demo --seeds 1 --methods erm tmix --output_dir demo",
        """It needs the extra `demo`, no data and no network. `demo/` then holds the models, the table and a reliability diagram. Without
`--seeds` and `--methods` there are three seeds, and MixText with unlabelled texts: some minutes on two cores. [Quickstart](../quickstart.md) goes on from there.""",
    ),
    "demo-vision": Example(
        "mixtext-hf demo-vision --output_dir demo-vision",
        "It needs no data and no network. `demo-vision/` then holds the models, the table and pictures of the mixes.",
    ),
    "augment-text": Example(
        """mixtext-hf augment-text --input_file texts.csv --output_file texts.parquet --back_translate de
mixtext-hf train-text --train_file labelled.csv --unlabeled_file texts.parquet --view_columns back_translation_de \\
  --model_name_or_path bert-base-uncased --mix_method mixtext --max_steps 400 --do_train --output_dir out""",
        """Translation models need `pip install 'mixtext-hf[translate]'`. A command that was ended goes on where it was. Guide:
[Other wordings](../guides/wordings.md).""",
    ),
    "guess-labels": Example(
        """mixtext-hf guess-labels texts.csv guessed.parquet --train_file labelled.csv --model_name_or_path bert-base-uncased
mixtext-hf train-text --train_file labelled.csv --unlabeled_file guessed.parquet \\
  --guesser column --guess_column guess_probabilities \\
  --model_name_or_path bert-base-uncased --mix_method mixtext --max_steps 400 --do_train --output_dir out""",
        "Guide: [Unlabelled text](../guides/unlabeled.md).",
    ),
    "benchmark": Example(
        "mixtext-hf benchmark text --rounds 12 --threads 1",
        "What was measured stands on the page of each [method](../methods/index.md) and under [Scaling](../scaling.md).",
    ),
    "show-mixes": Example(
        """mixtext-hf show-mixes --output_dir mixes
mixtext-hf show-mixes --methods ssmix puzzle_tmix --output_dir mixes-of-texts""",
        """`--image_files a.jpg b.jpg` shows two images of your own, `--text_a` and `--text_b` two texts. A batch of a run is drawn by
`--run FOLDER`, that of a run still to be made by `mixtext-hf show-mixes text` or `image` and the arguments of
[`train-text`](train-text.md) or [`train-image`](train-image.md). Guides: [PuzzleMix](../guides/puzzlemix.md),
[Saliency in texts](../guides/saliency.md).""",
    ),
}
