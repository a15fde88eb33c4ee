"""What users of transformers hand over: streams, torch data sets, tables, splits, strings; and what they forget."""

from __future__ import annotations

import logging

import datasets
import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from image_runs import image_rows
from runs import TOKENIZER, Rows, arguments, assert_same_weights, make_trainer, series, tiny_rows, weights
from tiny import VOCAB_SIZE, tiny_image_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding

from mixtext_hf.data import MixDataCollator
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer


def texts(count, text="text", label="label", words=5):
    generator = np.random.default_rng(5)
    return [{text: " ".join(f"w{j}" for j in generator.integers(0, 50, words)), label: i % 3} for i in range(count)]


class Stream(torch.utils.data.IterableDataset):
    """May be read only once an epoch: who looks into it uses a row up."""

    def __init__(self, rows, starts=None):
        self.rows, self.starts = rows, [] if starts is None else starts

    def __iter__(self):
        self.starts.append(1)
        return iter(self.rows)


def streamed(rows):
    return Dataset.from_list(rows).to_iterable_dataset()


def generated(rows):
    """A stream that does not say its columns."""
    return datasets.IterableDataset.from_generator(lambda: iter(rows))


def trainer_of(out, train, model=None, **kwargs):
    settings = kwargs.pop("settings", {})
    args = arguments(out, **{"mix_method": "tmix", "max_steps": 2, "per_device_train_batch_size": 4, **settings})
    kwargs = {"processing_class": TOKENIZER, **kwargs}
    return MixTrainer(model or tiny_model(), args, train_dataset=train, **kwargs)


# ---- rows of every kind ----


@pytest.mark.parametrize(
    "kind", [Stream, Rows, streamed, generated, Dataset.from_list], ids=lambda kind: kind.__name__
)
@pytest.mark.parametrize("names", [("text", "label"), ("Sentence", "sentiment")], ids=str)
def test_raw_rows_come_from_anywhere(tmp_path, kind, names):
    rows = texts(16, *names)
    trainer = trainer_of(tmp_path, kind(rows), eval_dataset=kind(rows[:6]))
    trainer.train()
    assert trainer.state.global_step == 2
    assert trainer.evaluate()["eval_loss"] == pytest.approx(trainer.evaluate(rows[:6])["eval_loss"], rel=1e-6)
    output = trainer.predict(kind(rows[:5]))
    np.testing.assert_array_equal(output.label_ids, [0, 1, 2, 0, 1])
    np.testing.assert_array_equal(output.predictions, trainer.predict(rows[:5]).predictions)


def test_a_stream_is_not_looked_into_before_training(tmp_path):
    stream = Stream(texts(16))
    trainer = trainer_of(tmp_path, stream)
    assert stream.starts == []
    trainer.train()
    assert len(stream.starts) == 1


def test_a_stream_needs_a_number_of_steps(tmp_path):
    with pytest.raises(ValueError, match="max_steps"):
        trainer_of(tmp_path, Stream(texts(8)), settings={"max_steps": -1}).train()


def test_a_stream_without_a_text_says_what_it_has(tmp_path):
    trainer = trainer_of(tmp_path, Stream([{"ticket": "w1 w2", "label": 0}] * 8))
    with pytest.raises(ValueError, match=r"they have \['label', 'ticket'\].*tokenise the dataset, or name the column"):
        trainer.train()


@pytest.mark.parametrize("kind", [Rows, streamed, Stream], ids=lambda kind: kind.__name__)
def test_raw_images_come_from_anywhere(tmp_path, kind):
    rows = image_rows(8, (32, 32))
    if kind is streamed:
        rows = [{**row, "image": row["image"].tolist()} for row in rows]
    trainer = MixTrainer(
        tiny_image_model("resnet"),
        arguments(tmp_path, mix_method="cutmix", max_steps=1, per_device_train_batch_size=4),
        train_dataset=kind(rows),
        eval_dataset=kind(rows),
        processing_class=small_image_processor((32, 32), 3),
    )
    trainer.train()
    assert np.isfinite(trainer.evaluate()["eval_loss"])
    assert trainer.predict(kind(rows)).predictions.shape == (8, 3)
    if kind is not Rows:
        trainer.args.image_augmentations = ["flip"]
        with pytest.raises(ValueError, match=r"image_augmentations counts .* is a stream"):
            trainer.train()


# ---- tables and splits ----


def test_tables_of_pandas_and_dicts_of_columns_are_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = texts(8)
    found = []
    for make in (lambda rows: rows, pandas.DataFrame, lambda rows: {k: [row[k] for row in rows] for k in rows[0]}):
        trainer = trainer_of(tmp_path, make(rows), eval_dataset=make(rows[:4]))
        trainer.train()
        loss = trainer.evaluate()["eval_loss"]
        found.append((series(trainer, "loss"), loss, trainer.predict(make(rows[:4])).predictions.tolist()))
        assert trainer.evaluate(make(rows[:4]))["eval_loss"] == loss
    assert found[0] == found[1] == found[2]


def test_of_splits_the_one_is_taken_that_is_meant(tmp_path, caplog):
    rows = Dataset.from_list(texts(8))
    splits = DatasetDict({"train": rows, "test": rows.select(range(3))})
    trainer = trainer_of(tmp_path, splits)
    assert (
        trainer.train_dataset is rows and "`train_dataset` is a DatasetDict: its split 'train' is taken" in caplog.text
    )
    assert len(trainer.predict(splits).predictions) == 3
    assert trainer_of(tmp_path, DatasetDict({"all": rows})).train_dataset is rows
    with pytest.raises(
        ValueError, match=r"`train_dataset` is a DatasetDict of splits \(a, b\): .*train_dataset=data\['a'\]"
    ):
        trainer_of(tmp_path, DatasetDict({"a": rows, "b": rows}))
    # Of those to evaluate on each is.
    metrics = trainer_of(tmp_path, rows, eval_dataset=splits).evaluate()
    assert {"eval_train_loss", "eval_test_loss"} <= set(metrics)


# ---- strings ----


def test_strings_alone_are_texts_without_labels(tmp_path):
    rows, unlabelled = texts(8, "sentence"), [row["text"] for row in texts(12)]
    settings = {"mix_method": "mixtext", "per_device_unlabeled_batch_size": 4, "mix_kwargs": {"online": True}}
    losses = []
    for given in (unlabelled, [{"sentence": text} for text in unlabelled], Dataset.from_dict({"t": unlabelled})["t"]):
        trainer = trainer_of(tmp_path, rows, unlabeled_dataset=given, settings=settings)
        trainer.train()
        losses.append(series(trainer, "loss"))
    assert losses[0] == losses[1] == losses[2]
    np.testing.assert_array_equal(
        trainer.predict(unlabelled[:3]).predictions,
        trainer.predict([{"sentence": text} for text in unlabelled[:3]]).predictions,
    )
    with pytest.raises(TypeError, match=r"Row 1 of a list of texts is None"):
        trainer_of(tmp_path, rows, unlabeled_dataset=["w1", None] * 6, settings=settings)
    with pytest.raises(ValueError, match="tokenised"):
        trainer_of(tmp_path, tiny_rows(8), unlabeled_dataset=unlabelled, settings=settings)


@pytest.mark.parametrize(
    "argument", ["model", "processing_class", "train_dataset", "eval_dataset", "unlabeled_dataset"]
)
def test_a_name_in_place_of_what_it_names_is_said_to_be_one(tmp_path, argument):
    given = {"model": tiny_model(), "train_dataset": texts(8), "processing_class": TOKENIZER, argument: "some/name"}
    with pytest.raises(TypeError, match=rf"`{argument}` is the string 'some/name': load it first, {argument}="):
        MixTrainer(args=arguments(tmp_path), **given)


def test_rows_that_are_no_dicts_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"rows of `train_dataset` are of type tuple: give each as a dict"):
        trainer_of(tmp_path, [("w1 w2", 1)] * 8)


# ---- transforms, and collators of one's own ----


def test_a_transform_reads_the_columns_that_it_needs(tmp_path):
    rows = [{"body": row["text"], "topic": row["label"]} for row in texts(8)]

    def tokenise(batch):
        return {**TOKENIZER(batch["body"]), "labels": batch["topic"]}

    ready = trainer_of(tmp_path / "a", [{**TOKENIZER(row["body"]), "labels": row["topic"]} for row in rows])
    ready.train()
    for name, kwargs in (("own", {"data_collator": DataCollatorWithPadding(TOKENIZER)}), ("ours", {})):
        trainer = trainer_of(tmp_path / name, Dataset.from_list(rows).with_transform(tokenise), **kwargs)
        trainer.train()
        assert trainer.evaluate(Dataset.from_list(rows).with_transform(tokenise))["eval_loss"] > 0
        assert_same_weights(weights(trainer.model), weights(ready.model))


def test_a_transform_to_raw_texts_of_another_name_is_read(tmp_path):
    rows = Dataset.from_list([{"a": "w1", "b": "w2", "label": i % 3} for i in range(8)])
    joined = rows.with_transform(
        lambda batch: {
            "text": [f"{a} {b}" for a, b in zip(batch["a"], batch["b"], strict=True)],
            "label": batch["label"],
        }
    )
    trainer = trainer_of(tmp_path, joined)
    trainer.train()
    plain = [{"text": "w1 w2", "label": 0}]
    np.testing.assert_array_equal(trainer.predict(joined.select([0])).predictions, trainer.predict(plain).predictions)


# ---- what is missing ----


@pytest.mark.parametrize("kind", [list, Rows, streamed, Dataset.from_list], ids=lambda kind: kind.__name__)
def test_raw_texts_without_a_tokenizer_are_refused_at_once(tmp_path, kind):
    message = r"rows of `train_dataset` have no input_ids \(they have text, label\).*processing_class=AutoTokenizer"
    with pytest.raises(ValueError, match=message):
        trainer_of(tmp_path, kind(texts(8)), processing_class=None)
    trainer = make_trainer(tiny_model(), arguments(tmp_path), tiny_rows(8))
    trainer.processing_class = trainer.data_collator = None
    with pytest.raises(ValueError, match=r"rows of `eval_dataset\['dev'\]` have no input_ids"):
        MixTrainer(tiny_model(), arguments(tmp_path), eval_dataset={"dev": kind(texts(8))})
    # Raw images of a trainer without a processor; a tokenizer is none.
    with pytest.raises(
        ValueError, match=r"no pixel_values .*raw images .*it is a .*processing_class=AutoImageProcessor"
    ):
        MixTrainer(
            tiny_image_model("vit"), arguments(tmp_path), train_dataset=image_rows(4), processing_class=TOKENIZER
        )


def test_without_a_tokenizer_ready_rows_still_train(tmp_path):
    rows = [{"input_ids": [5, 6, 7], "attention_mask": [1, 1, 1], "label": i % 3} for i in range(8)]
    trainer = trainer_of(tmp_path, rows, processing_class=None)
    trainer.train()
    with pytest.raises(ValueError, match="rows of `test_dataset` have no input_ids"):
        trainer.predict(["w1 w2"])


@pytest.mark.parametrize("saved, warned", [(None, True), (["classifier"], False)])
def test_an_adapter_that_leaves_the_head_as_it_is_is_warned_of(tmp_path, caplog, saved, warned):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=saved)
    model = peft.get_peft_model(tiny_model(), config)
    trainer_of(tmp_path, tiny_rows(8), model)
    message = "The head of BertForSequenceClassification (classifier) is not trained"
    assert (message in caplog.text) == warned
    assert ("modules_to_save=['classifier']" in caplog.text) == warned


def test_a_head_that_is_frozen_on_purpose_is_nobodys_business(tmp_path, caplog):
    model = tiny_model()
    model.classifier.requires_grad_(False)
    trainer_of(tmp_path, tiny_rows(8), model)
    assert "not trained" not in caplog.text


# ---- lengths ----


def roberta(positions=20):
    return tiny_model("roberta", max_position_embeddings=positions, pad_token_id=0)


def test_raw_texts_are_cut_to_what_the_model_takes(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 10**30
    rows = texts(8, words=40)
    trainer = trainer_of(tmp_path, rows, roberta(), processing_class=tokenizer)
    assert trainer.data_collator.max_length == 19
    trainer.train()
    assert trainer.predict(rows).predictions.shape == (8, 3)
    own = MixDataCollator(tokenizer, "text")
    trainer = trainer_of(tmp_path, rows, roberta(), data_collator=own, processing_class=tokenizer)
    trainer.train()
    assert own.max_length is None
    # A tokenizer that promises too much, as those of RoBERTa's kind saved with 514 do.
    tokenizer.model_max_length = 20
    assert trainer_of(tmp_path, rows, roberta(), processing_class=tokenizer).data_collator.max_length == 19
    tokenizer.model_max_length = 10
    assert trainer_of(tmp_path, rows, roberta(), processing_class=tokenizer).data_collator.max_length is None
    with pytest.raises(ValueError, match="max_length=20 tokens, and RobertaForSequenceClassification takes 19"):
        trainer_of(tmp_path, rows, roberta(), data_collator=MixDataCollator(tokenizer, "text", max_length=20))


@pytest.mark.parametrize("kind", [list, Dataset.from_list], ids=["list", "dataset"])
def test_tokenised_rows_are_looked_at_before_the_first_step(tmp_path, kind):
    rows = tiny_rows(8)
    long = [*rows[:5], {**rows[5], "input_ids": [5] * 25, "attention_mask": [1] * 25}, *rows[6:]]
    with pytest.raises(
        ValueError, match=r"Row 5 of `train_dataset` has 25 tokens, and Roberta\w+ takes 19: .*max_length=19"
    ):
        trainer_of(tmp_path, kind(long), roberta()).train()
    large = [*rows[:3], {**rows[3], "input_ids": [5, VOCAB_SIZE, 5], "attention_mask": [1] * 3}, *rows[4:]]
    message = rf"Row 3 of `eval_dataset` has the token id {VOCAB_SIZE}, .* embeddings for {VOCAB_SIZE}: .*resize_token"
    with pytest.raises(ValueError, match=message):
        trainer_of(tmp_path, kind(rows), eval_dataset=kind(large)).train()


def test_a_tokenizer_that_is_larger_than_the_model_is_refused_for_raw_texts(tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"new{i}" for i in range(VOCAB_SIZE)])
    with pytest.raises(ValueError, match=rf"embeddings for {VOCAB_SIZE}: .*resize_token_embeddings"):
        trainer_of(tmp_path, texts(8), processing_class=tokenizer)
    # Ids that are ready may be of another one.
    trainer_of(tmp_path, tiny_rows(8), processing_class=tokenizer).train()


def test_a_text_model_loaded_by_its_own_class_is_trained(tmp_path):
    """The way that most people come: AutoModel, a data set with its raw columns, a tokenizer."""
    tiny_model().save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base")
    logging.getLogger("mixtext_hf").setLevel(logging.INFO)
    trainer = trainer_of(tmp_path / "out", Dataset.from_list(texts(8)), model)
    trainer.train()
    assert model.mixer is trainer.mixer
