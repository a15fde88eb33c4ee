"""What is wrong is said before training starts: the argument, its value, what would be right."""

from __future__ import annotations

import re

import pytest
import torch
from datasets import Dataset
from image_runs import make_image_trainer
from runs import TOKENIZER, Rows, arguments, make_trainer, tiny_rows
from tiny import tiny_config, tiny_model
from transformers import TrainingArguments

from mixtext_hf.methods import TMix
from mixtext_hf.models import make_mixable
from mixtext_hf.training import MixTrainer, MixTrainingArguments


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mix_method": "mixup9"}, ["mix_method", "'mixup9'", "erm, tmix, manifold_mixup, embed_mixup, pooled_mixup"]),
        ({"mix_alpha": -1.0}, ["mix_alpha", "-1.0", ">= 0"]),
        ({"mix_alpha": float("nan")}, ["mix_alpha", "nan", "finite"]),
        ({"mix_method": "erm", "mix_alpha": 1.0}, ["mix_alpha=1.0", "erm does not mix", "drop it"]),
        ({"mix_prob": 1.5}, ["mix_prob", "1.5", "[0, 1]"]),
        ({"mix_per": "foo"}, ["mix_per", "'foo'", "'batch', 'example'"]),
        ({"mix_layers": []}, ["mix_layers is empty", "at least one layer"]),
        ({"mix_layers": [-1]}, ["mix_layers", "[-1]", ">= 0"]),
        ({"mix_start": 0.5, "mix_end": 0.5}, ["mix_start=0.5", "mix_end=0.5", "mix_start < mix_end"]),
        ({"mix_end": 1.5}, ["mix_end=1.5", "<= 1", "fractions"]),
        ({"mix_kwargs": "[1]"}, ["mix_kwargs", "[1]", "JSON object"]),
        ({"mix_kwargs": '{"pad": keep}'}, ["mix_kwargs", '{"pad": keep}', '{"pad": "keep"}']),
        ({"mix_kwargs": {"sigma": 1}}, ["'sigma'", "tmix has no", "alpha, layers, fold, per, prob, partner, pad"]),
        ({"mix_kwargs": {"pad": "zero"}}, ["mix_pad", "'zero'", "'mix', 'keep'"]),
        ({"mix_kwargs": {"alpha": 1.0}, "mix_alpha": 1.0}, ["alpha", "mix_kwargs", "mix_alpha", "once"]),
        ({"label_smoothing_factor": 1.0}, ["label_smoothing_factor", "1.0", "[0, 1)"]),
        ({"label_smoothing_factor": -0.1}, ["label_smoothing_factor", "-0.1", "[0, 1)"]),
        ({"head_learning_rate": 0.0}, ["head_learning_rate", "0.0", "positive"]),
    ],
)
def test_arguments_that_are_wrong_by_themselves(tmp_path, settings, said):
    with pytest.raises(ValueError) as raised:
        arguments(tmp_path / "out", **settings)
    for part in said:
        assert part in str(raised.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "overrides", "said"),
    [
        ({"mix_layers": [2, 5]}, {}, ["mix_layers", "layer 5", "4 layers", "0 (the embeddings)", "4 (the output"]),
        ({"per_device_train_batch_size": 1}, {}, ["per_device_train_batch_size=1", "at least 2", "erm"]),
        ({"label_smoothing_factor": 0.1}, {"num_labels": 1}, ["label_smoothing", "regression", "set it to 0"]),
        (
            {"mix_kwargs": {"partner": "same_class"}},
            {"problem_type": "multi_label_classification"},
            ["partner='same_class'", "multi_label_classification", "'any'"],
        ),
    ],
)
def test_arguments_that_do_not_fit_the_model(tmp_path, settings, overrides, said):
    args = arguments(tmp_path / "out", **settings)
    with pytest.raises(ValueError) as raised:
        make_trainer(tiny_model(**overrides), args)
    for part in said:
        assert part in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_method_given_twice_is_refused(tmp_path):
    args = arguments(tmp_path / "out", mix_method="tmix", mix_alpha=2.0)
    with pytest.raises(ValueError, match=r"method object was given, .* name mix_method, mix_alpha as well"):
        make_trainer(tiny_model(), args, method=TMix())
    assert not (tmp_path / "out").exists()


def test_a_recipe_of_a_deeper_model_is_refused(tmp_path):
    model = tiny_model()
    model.config.mixtext = {"version": "0", "method": "tmix", "hyperparameters": {"layers": [7, 9, 12]}}
    with pytest.raises(ValueError, match=r"layer 7 .* has 4 layers: choose from 0 .* to 4"):
        make_trainer(model, arguments(tmp_path))
    with pytest.raises(ValueError, match="layer 7"):
        make_trainer(tiny_model(), arguments(tmp_path), method=TMix(layers=(7, 9, 12)))


def test_erm_may_train_on_batches_of_one(tmp_path):
    args = arguments(tmp_path, mix_method="erm", per_device_train_batch_size=1, max_steps=2)
    make_trainer(tiny_model(), args).train()


def test_plain_training_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="`args` must be MixTrainingArguments, got TrainingArguments"):
        MixTrainer(tiny_model(), TrainingArguments(str(tmp_path / "out"), report_to="none"))
    assert not (tmp_path / "out").exists()


def test_a_loss_function_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`compute_loss_func` .* MixMethod"):
        make_trainer(tiny_model(), arguments(tmp_path / "out"), compute_loss_func=lambda *_, **__: 0)
    assert not (tmp_path / "out").exists()


def test_data_parallel_is_refused(tmp_path, monkeypatch):
    args = arguments(tmp_path / "out")
    monkeypatch.setattr(MixTrainingArguments, "n_gpu", property(lambda self: 4))
    with pytest.raises(ValueError, match=r"(?s)4 GPUs .*torchrun --nproc_per_node 4 .*CUDA_VISIBLE_DEVICES=0"):
        make_trainer(tiny_model(), args)
    assert not (tmp_path / "out").exists()


def test_a_compiled_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"already compiled: call make_mixable\(model\) first"):
        make_trainer(torch.compile(tiny_model(), backend="eager"), arguments(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_model_type_that_cannot_be_mixed_is_refused(tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_config(
        tiny_config("longformer", attention_window=4, pad_token_id=1)
    )
    with pytest.raises(ValueError, match=r"type 'longformer' cannot be mixed: .*masks"):
        make_trainer(model, arguments(tmp_path / "out"))
    with pytest.raises(ValueError, match="longformer"):
        make_mixable(model)
    assert not (tmp_path / "out").exists()


def with_labels(labels):
    return [{"input_ids": [2, 7, 8, 3], "attention_mask": [1] * 4, "label": label} for label in labels]


@pytest.mark.parametrize(
    ("rows", "overrides", "said"),
    [
        (with_labels([0, 1, 2, 3]), {}, ["label is 3", "num_labels=3", "0 to 2", "number of classes"]),
        (with_labels([0, 1, 2, -7]), {}, ["label is -7", "num_labels=3", "0 to 2"]),
        (with_labels([0.5, 1.0, 2.5, 0.0]), {}, ["floats", "3 classes", "num_labels=1"]),
        (with_labels([[1.0, 0.0, 1.0]] * 4), {}, ["3 numbers", "problem_type", "multi_label_classification"]),
        (
            with_labels([[1.0, 0.0]] * 4),
            {"problem_type": "multi_label_classification"},
            ["labels", "(4, 2)", "num_labels=3"],
        ),
        ([{"input_ids": [2, 7, 3]}] * 4, {}, ["no labels", "input_ids", "'label'"]),
        ([], {}, ["`train_dataset` is empty"]),
        (Dataset.from_list(tiny_rows(4)).select([]), {}, ["`train_dataset` is empty"]),
    ],
    ids=["beyond", "negative", "floats", "lists", "wrong-width", "no-labels", "empty-list", "empty-dataset"],
)
def test_data_that_does_not_fit(tmp_path, rows, overrides, said):
    args = arguments(tmp_path, per_device_train_batch_size=4)
    trainer = make_trainer(tiny_model(**overrides), args, rows)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    with pytest.raises(ValueError) as raised:
        trainer.train()
    for part in said:
        assert part in str(raised.value)
    assert trainer.state.global_step == 0
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


def test_a_class_too_many_in_the_last_row_is_seen_at_the_start(tmp_path):
    rows = Dataset.from_list(with_labels([0, 1, 2, -1] * 10 + [3, None, -100]))
    args = arguments(tmp_path, train_sampling_strategy="sequential", eval_strategy="no")
    trainer = make_trainer(tiny_model(), args, rows)
    with pytest.raises(ValueError, match=r"In row 40 of `train_dataset` a label is 3, but the model has num_labels=3"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_hidden_labels_in_the_column_are_no_classes(tmp_path):
    rows = Dataset.from_list(with_labels([0, 1, 2, -1] * 2 + [None] * 4 + [-100] * 4))
    trainer = make_trainer(tiny_model(), arguments(tmp_path, mix_method="erm"), rows)
    trainer.train()
    assert trainer.state.global_step == 2


@pytest.mark.parametrize("labels", [[None] * 8, [-1, -100] * 4, [None, -1] * 4])
def test_rows_without_any_label_teach_nothing(tmp_path, labels):
    trainer = make_trainer(tiny_model(), arguments(tmp_path), Dataset.from_list(with_labels(labels)))
    with pytest.raises(ValueError, match="`train_dataset` has no label in any row"):
        trainer.train()
    assert trainer.state.global_step == 0


NAN, INF = float("nan"), float("inf")


def of_tensors(features):
    """Somebody's own collator."""
    batch = {name: torch.tensor([row[name] for row in features]) for name in ("input_ids", "attention_mask")}
    return {**batch, "labels": torch.tensor([row["label"] for row in features])}


SCORES, LISTS = {"num_labels": 1}, {"problem_type": "multi_label_classification"}
LAST_ROW = {
    "nan": (SCORES, 0.5, NAN),
    "infinite": (SCORES, 0.5, -INF),
    "too large": (SCORES, 0.5, 1e39),
    "nan in a list": (LISTS, [1.0, 0.0, 1.0], [0.0, NAN, 0.0]),
    "no share": (LISTS, [1.0, 0.0, 1.0], [-100.0] * 3),
    "beyond": ({}, 1, 3),
    "negative": ({}, 1, -7),
    "nan among classes": ({}, 1, NAN),
}


WHERE = [("train", source, fault) for source in ("dataset", "list", "rows", "collator") for fault in LAST_ROW]
WHERE += [("eval", source, fault) for source in ("dataset", "list", "rows", "collator") for fault in ("nan", "beyond")]
# A tensor is of one type: there, all labels are floats, from the first batch on.
WHERE.remove(("train", "collator", "nan among classes"))


@pytest.mark.parametrize(("split", "source", "fault"), WHERE)
def test_a_wrong_label_in_the_last_row_is_named(tmp_path, split, source, fault):
    """Before the first step where the whole column is at hand, else by the batch that it is in."""
    overrides, right, wrong = LAST_ROW[fault]
    good, bad = with_labels([right] * 16), with_labels([right] * 15 + [wrong])
    data = [good, bad] if split == "eval" else [bad, good]
    if source == "dataset":
        data = [Dataset.from_list(rows) for rows in data]
    elif source != "list":
        data = [Rows(rows) for rows in data]
    args = arguments(
        tmp_path,
        mix_method="erm",
        train_sampling_strategy="sequential",
        eval_strategy="steps",
        eval_steps=1,
        remove_unused_columns=False,
    )
    own = {"data_collator": of_tensors} if source == "collator" else {}
    trainer = make_trainer(tiny_model(**overrides), args, data[0], eval_dataset=data[1], **own)
    at_hand = source in ("dataset", "list")
    named = rf"row 15.*`{split}_dataset`|`{split}_dataset`.*row 15" if at_hand else "row 7.*batch|batch.*row 7"
    with pytest.raises(ValueError, match=named):
        trainer.train()
    assert trainer.state.global_step <= (split == "eval" and not at_hand)


@pytest.mark.parametrize("kind", [list, Dataset.from_list, Rows], ids=["list", "dataset", "rows"])
@pytest.mark.parametrize("task", ["scores", "lists"])
def test_rows_whose_label_is_none_carry_no_loss(tmp_path, kind, task):
    overrides, label = {"scores": (SCORES, -100.0), "lists": (LISTS, [1.0, 0.0, 1.0])}[task]
    means = []
    for hidden in (0, 4):
        rows = with_labels([label] * 4 + [None] * hidden)
        args = arguments(tmp_path, mix_method="tmix", remove_unused_columns=False, logging_nan_inf_filter=False)
        trainer = make_trainer(tiny_model(**overrides, hidden_dropout_prob=0.0), args, kind(rows), eval_dataset=rows)
        evaluated = trainer.evaluate()["eval_loss"]
        trainer.train()
        assert all(value.isfinite().all() for value in trainer.model.parameters())
        means.append([evaluated, trainer.state.log_history[-1]["train_loss"]])
    # A score of -100 is learnt as any other.
    assert means[0] == pytest.approx(means[1], rel=1e-4) and (task == "lists" or means[0][0] > 9_000)


def test_a_dataset_whose_format_turns_none_into_nan_says_so(tmp_path):
    rows = Dataset.from_list(with_labels([0.5, None, 1.5, 2.5])).with_format("torch")
    trainer = make_trainer(tiny_model(num_labels=1), arguments(tmp_path), rows)
    with pytest.raises(ValueError, match=r"holds nan in row 1: .*None, in a data set without a format"):
        trainer.train()


@pytest.mark.parametrize("own", [False, True], ids=["ours", "own collator"])
def test_a_pixel_that_is_not_finite_is_named_by_its_batch(tmp_path, own):
    rows = [{"pixel_values": torch.zeros(3, 16, 16), "label": i % 3} for i in range(16)]
    rows[13]["pixel_values"][1, 2, 3] = NAN

    def collate(features):
        return {name: torch.stack([torch.as_tensor(row[of]) for row in features]) for name, of in names.items()}

    names = {"pixel_values": "pixel_values", "labels": "label"}
    trainer = make_image_trainer(
        tmp_path,
        rows,
        size=(16, 16),
        mix_method="erm",
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
    )
    if own:
        trainer.data_collator = collate
    with pytest.raises(ValueError, match="`pixel_values` of row 5 of the batch holds NaN"):
        trainer.train()


def test_raw_data_without_a_label_column_is_refused(tmp_path):
    rows = Dataset.from_list([{"text": "w1 w2", "number": 3}] * 4)
    with pytest.raises(ValueError, match=re.escape("['text', 'number']")):
        MixTrainer(tiny_model(), arguments(tmp_path), train_dataset=rows, processing_class=TOKENIZER)


def test_several_label_columns_are_refused(tmp_path):
    rows = Dataset.from_list([{"text": "w1 w2", "label": 3, "labels": 2}] * 4)
    with pytest.raises(ValueError, match="several columns could be the label"):
        MixTrainer(tiny_model(), arguments(tmp_path), train_dataset=rows, processing_class=TOKENIZER)
