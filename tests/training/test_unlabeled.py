"""Semi-supervised training: two streams in one trainer, what it logs, and what it refuses."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import tracemalloc

import pyarrow as pa
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from runs import RecordingTrainer, StopAt, arguments, assert_same_weights, make_trainer, series, tiny_rows, weights
from tiny import tiny_model, tiny_tokenizer
from transformers import DataCollatorWithPadding

from mixtext_hf.data import MixDataCollator
from mixtext_hf.methods import UDA, MixText, TMix
from mixtext_hf.training import MixTrainer


WORDS = [f"w{i}" for i in range(40)]


def online_mixtext(**given):
    """The model in training guesses, and what else is as in the paper and its code."""
    own = {"align": "off", "alpha": 16.0, "temperature": 0.5, "ramp_steps": None, "view_weights": "all"}
    return MixText(online=True, **{**own, **given})


def online_uda(**given):
    return UDA(online=True, **{"align": "off", "temperature": 0.5, "ramp_steps": None, **given})


def texts(count, *, views=(), label=None, seed=0):
    """Sentences of 4 to 9 words; the views hold the same words backwards."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        length = int(torch.randint(4, 10, (1,), generator=generator))
        words = [WORDS[int(j)] for j in torch.randint(len(WORDS), (length,), generator=generator)]
        row = {"text": " ".join(words), **{name: " ".join(words[::-1]) for name in views}}
        if label is not None:
            row["label"] = label(i)
        rows.append(row)
    return rows


def labelled_texts(count=24):
    return texts(count, label=lambda i: i % 3, seed=1)


def semi_supervised(
    output_dir, method=None, *, unlabelled=None, rows=None, dropout=0.0, kind=RecordingTrainer, **settings
):
    callbacks = settings.pop("callbacks", ())
    settings = {"per_device_train_batch_size": 4, "per_device_unlabeled_batch_size": 6, **settings}
    if method is None:
        settings.setdefault("mix_method", "mixtext")
        settings.setdefault("guesser", "model")
    trainer = make_trainer(
        tiny_model(dropout=dropout),
        arguments(output_dir, **settings),
        labelled_texts() if rows is None else rows,
        kind=kind,
        method=method,
        callbacks=[*callbacks],
        unlabeled_dataset=texts(30, views=("de", "ru")) if unlabelled is None else unlabelled,
    )
    return trainer


def test_a_batch_holds_labelled_rows_and_the_views_of_the_others(tmp_path):
    trainer = semi_supervised(tmp_path, view_columns=["de", "ru"], augmenters=["word_dropout:0.3"])
    loader = trainer.get_train_dataloader()
    assert len(loader) == 6
    for batch in loader:
        assert len(batch["labels"]) == 4 + 6 * 4 == len(batch["input_ids"]) == len(batch["attention_mask"])
        assert bool((batch["labels"][:4] >= 0).all()) and bool((batch["labels"][4:] == -100).all())
        assert batch["text_labels"].tolist() == [-100] * 6
        original, de, ru = (batch["input_ids"][4 + 6 * view : 10 + 6 * view] for view in range(3))
        mask = batch["attention_mask"][4:10]
        for row, backwards, length in zip(original, de, mask.sum(dim=1), strict=True):
            assert row[1 : length - 1].tolist() == backwards[1 : length - 1].flip(0).tolist()
        assert torch.equal(de, ru)
        dropped = batch["attention_mask"][22:].sum(dim=1)
        assert bool((dropped <= mask.sum(dim=1)).all()) and bool((dropped < mask.sum(dim=1)).any())


@pytest.mark.parametrize("name", ["mixtext", "uda"])
def test_it_trains_and_leaves_an_ordinary_model(tmp_path, name):
    trainer = semi_supervised(tmp_path, mix_method=name, view_columns=["de", "ru"], num_train_epochs=2)
    before = weights(trainer.model)
    trainer.train()
    assert trainer.state.global_step == 12
    after = weights(trainer.model)
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(before[key], after[key]) for key in before)
    trainer.save_model()
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"] and config.get("problem_type") is None
    assert config["mixtext"]["method"] == name and config["mixtext"]["hyperparameters"]["online"] is True
    # The terms add up to the loss.
    total = [
        sum(terms) for terms in zip(series(trainer, "loss_supervised"), series(trainer, "loss_unlabeled"), strict=True)
    ]
    assert series(trainer, "loss") == pytest.approx(total, rel=1e-4)
    assert series(trainer, "unlabeled_weight") == [1.0] * 12
    assert not series(trainer, "guess_accuracy") and len(series(trainer, "guess_entropy")) == 12


def test_known_labels_are_reported_and_nothing_else(tmp_path):
    ends = []
    for label in (None, lambda i: i % 3, lambda i: -1 if i % 2 else 0):
        unlabelled = texts(30, views=("de",), label=label)
        trainer = semi_supervised(tmp_path, unlabelled=unlabelled, view_columns=["de"], lr_scheduler_type="linear")
        trainer.train()
        ends.append((weights(trainer.model), series(trainer, "guess_accuracy")))
    assert_same_weights(ends[0][0], ends[1][0])
    assert_same_weights(ends[0][0], ends[2][0])
    assert ends[0][1] == [] and len(ends[1][1]) == 6
    assert all(0 <= value <= 1 for value in ends[1][1] + ends[2][1])


def test_the_unlabelled_labels_may_be_a_class_label_column(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["a", "b", "c"]), "extra": Value("int64")})
    rows = [{**row, "extra": 1} for row in texts(30, label=lambda i: i % 3)]
    trainer = semi_supervised(tmp_path, unlabelled=Dataset.from_list(rows, features=features))
    trainer.train()
    assert len(series(trainer, "guess_accuracy")) == 6


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(("workers", "stops"), [(0, (2, 7, 12)), (2, (9,))])
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, workers, stops):
    def train(folder, callbacks=(), resume=None):
        trainer = semi_supervised(
            folder,
            online_mixtext(margin_weight=0.1, ramp_steps=5),
            dropout=0.1,
            view_columns=["de"],
            augmenters=["span_swap", "word_dropout:0.3"],
            optim="adamw_torch",
            learning_rate=1e-3,
            lr_scheduler_type="linear",
            gradient_accumulation_steps=2,
            num_train_epochs=5,
            save_strategy="steps",
            save_steps=1,
            dataloader_num_workers=workers,
            callbacks=callbacks,
        )
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    whole = train(tmp_path / "whole")
    assert whole.state.global_step == 15
    for stop in stops:
        folder = tmp_path / f"stopped_at_{stop}"
        if stop == stops[0]:
            assert train(folder, [StopAt(stop)]).state.global_step == stop
        else:  # as if the undisturbed run had been killed
            shutil.copytree(tmp_path / "whole" / f"checkpoint-{stop}", folder / f"checkpoint-{stop}")
        resumed = train(folder, resume=True)
        assert_same_weights(weights(whole.model), weights(resumed.model))
        logged = series(whole, "loss_unlabeled")
        assert series(resumed, "loss_unlabeled")[-3:] == logged[-3:]


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 2), (2, 4)])
def test_accumulated_steps_make_the_trajectory_of_one(tmp_path, batch, accumulation):
    """Without mixing a batch and its pieces hold the same rows, so losses and gradients agree to rounding."""

    def run(batch, accumulation):
        trainer = semi_supervised(
            tmp_path,
            online_uda(ramp_steps=0, margin_weight=0.3),
            unlabelled=texts(32, views=("de",)),
            view_columns=["de"],
            per_device_train_batch_size=batch,
            per_device_unlabeled_batch_size=batch,
            gradient_accumulation_steps=accumulation,
        )
        trainer.train()
        return [
            series(trainer, name) for name in ("loss", "grad_norm", "loss_unlabeled", "loss_margin", "guess_entropy")
        ]

    for one, other in zip(run(8, 1), run(batch, accumulation), strict=True):
        assert len(one) == 3 and other == pytest.approx(one, rel=1e-4)


def test_reduced_precision_keeps_the_gradient_of_the_encoder(tmp_path):
    """Autocast keeps casted weights; those that the guess casts without gradient must not serve the training pass."""
    changes = []
    for bf16 in (False, True):
        trainer = semi_supervised(
            tmp_path, online_uda(ramp_steps=0), bf16=bf16, max_steps=1, learning_rate=1.0, view_columns=["de"]
        )
        before = weights(trainer.model)
        trainer.train()
        after = weights(trainer.model)
        changes.append(torch.cat([(after[name] - before[name]).flatten() for name in before]))
    assert torch.cosine_similarity(*changes, dim=0) > 0.99
    assert float(changes[1].norm()) == pytest.approx(float(changes[0].norm()), rel=0.05)


def test_supervised_methods_leave_the_unlabelled_texts_alone(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        trainer = semi_supervised(tmp_path / "given", TMix())
        trainer.train()
    said = [record.getMessage() for record in caplog.records if "unlabeled_dataset" in record.getMessage()]
    assert len(said) == 1 and "tmix" in said[0] and "not used" in said[0] and "mixtext" in said[0]
    plain = make_trainer(
        tiny_model(), arguments(tmp_path / "none", per_device_train_batch_size=4), labelled_texts(), method=TMix()
    )
    plain.train()
    assert_same_weights(weights(trainer.model), weights(plain.model))


def test_a_collapse_is_told_once_there_are_enough_texts(tmp_path, caplog):
    settings = {"view_columns": ["de"], "logging_steps": 1, "num_train_epochs": 8, "learning_rate": 1e-9}
    trainer = semi_supervised(tmp_path, online_mixtext(temperature=0.5, ramp_steps=0), **settings)
    with torch.no_grad():
        trainer.model.classifier.bias[1] = 50.0
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            trainer.train()
        said = [record.getMessage() for record in caplog.records if "collapse" in record.getMessage()]
        # 17 steps of 6 texts.
        assert len(said) == 1 and said[0].startswith("Step 17: ")
        assert "temperature (now 0.5" in said[0] and "lambda_u" in said[0]
    assert series(trainer, "guess_largest_share")[0] > 0.99 and series(trainer, "guess_balance")[0] < 0.01


def test_a_watch_tells_again_only_after_all_was_well():
    watch, counts = online_mixtext().watch(), {"guess_texts": 10}
    told = []
    for share in (0.95, 0.95, 0.6, 0.91, 0.95):
        told.append(watch({"guess_share": [share, 1 - share], "guess_texts": 12.0}, counts))
    assert [alarm is not None for alarm in told] == [True, False, False, True, False]
    assert watch({"mix_lambda": 0.5}, {}) is None
    assert TMix().watch() is None


def test_overlapping_texts_are_counted(tmp_path, caplog):
    unlabelled = [*texts(30), *({"text": f" {row['text']} "} for row in labelled_texts()[:5])]
    trainer = semi_supervised(tmp_path, unlabelled=unlabelled, max_steps=1)
    with caplog.at_level(logging.WARNING):
        trainer.train()
        # Once, and not at all where somebody has said so before.
        trainer.get_train_dataloader()
        told = semi_supervised(tmp_path, unlabelled=unlabelled, max_steps=1)
        told.overlap_is_told = True
        told.get_train_dataloader()
    said = [record.getMessage() for record in caplog.records if "are labelled texts too" in record.getMessage()]
    assert len(said) == 1 and said[0].startswith("5 of the 35 unlabelled texts")


def test_a_single_labelled_row_a_batch_still_has_partners(tmp_path):
    trainer = semi_supervised(tmp_path, per_device_train_batch_size=1, max_steps=2)
    trainer.train()
    assert trainer.state.global_step == 2
    with pytest.raises(ValueError, match="per_device_train_batch_size=1"):
        semi_supervised(tmp_path, online_mixtext(mix_within="kind"), per_device_train_batch_size=1)


def test_twice_as_many_unlabelled_texts_by_default(tmp_path):
    trainer = semi_supervised(tmp_path, per_device_unlabeled_batch_size=None)
    batch = next(iter(trainer.get_train_dataloader()))
    assert len(batch["text_labels"]) == 8


def test_tokenised_rows_serve_without_views(tmp_path):
    rows = [{name: row[name] for name in ("input_ids", "attention_mask")} for row in tiny_rows(20, seed=5)]
    trainer = semi_supervised(tmp_path, rows=tiny_rows(12), unlabelled=rows)
    trainer.train()
    assert trainer.state.global_step == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"unlabelled": []}, ["unlabeled_dataset", "empty", "tmix"]),
        ({"unlabelled": texts(5)}, ["5 unlabelled rows", "6 of a batch", "per_device_unlabeled_batch_size"]),
        ({"view_columns": ["fr"]}, ["view_columns 'fr'", "text, de, ru", "augment-text"]),
        (
            {"view_columns": ["label"], "unlabelled": Dataset.from_list(texts(9, label=lambda i: 0))},
            ["'label'", "int64", "not str"],
        ),
        (
            {
                "view_columns": ["de"],
                "unlabelled": Dataset.from_list([*texts(9, views=["de"]), {"text": "w1", "de": None}]),
            },
            ["'de'", "None in 1 rows", "empty strings"],
        ),
        ({"mix_kwargs": {"temperature": 0}}, ["temperature", "positive", "0"]),
        ({"mix_kwargs": {"temperature": -1.0}}, ["temperature", "-1.0"]),
        ({"mix_kwargs": {"view_weights": [0, 0]}, "view_columns": ["de"]}, ["view_weights", "[0, 0]", "weight > 0"]),
        ({"mix_kwargs": {"view_weights": [1, 1]}}, ["view_weights has 2", "1 views"]),
        ({"augmenters": ["shuffle"]}, ["shuffle", "word_dropout"]),
        ({"per_device_unlabeled_batch_size": 0}, ["per_device_unlabeled_batch_size", "0"]),
        ({"per_device_train_batch_size": 25}, ["24 labelled rows", "25 of a batch", "per_device_train_batch_size"]),
        ({"unlabelled": tiny_rows(20), "augmenters": ["span_swap"]}, ["tokenised", "raw text"]),
        ({"accelerator_config": {"dispatch_batches": True}}, ["dispatch_batches", "accelerator_config"]),
        ({"mix_kwargs": {"partner": "same_class"}}, ["same_class", "mixtext", "'any'"]),
        ({"view_columns": "de"}, ["view_columns", "'de'", "list"]),
        ({"data_seed": -1}, ["data_seed", "-1"]),
        ({"train_sampling_strategy": "sequential"}, ["train_sampling_strategy='sequential'", "leave it out"]),
        ({"unlabelled": tiny_rows(20)}, ["unlabeled_dataset", "tokenised", "train_dataset"]),
        ({"unlabelled": {"a": texts(20), "b": texts(9)}}, ["unlabeled_dataset", "dict of splits", "a, b"]),
        ({"unlabelled": ({"text": "w1"} for _ in range(9))}, ["unlabeled_dataset", "by number", "generator"]),
        ({"mix_preset": "fast"}, ["mix_preset='fast'", "mixtext", "paper", "official_code"]),
        ({"mix_preset": "paper", "mix_method": "tmix"}, ["mix_preset='paper'", "tmix", "none"]),
    ],
    ids=range(23),
)
def test_what_is_wrong_is_said_before_training(tmp_path, settings, said):
    with pytest.raises((ValueError, TypeError)) as raised:
        semi_supervised(tmp_path / "out", **settings)
    for part in said:
        assert part in str(raised.value), (part, str(raised.value))
    assert not (tmp_path / "out").exists()


def test_views_without_a_use_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        semi_supervised(tmp_path, TMix(), view_columns=["de"])
    assert any("view_columns and augmenters" in record.getMessage() for record in caplog.records)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        semi_supervised(tmp_path, online_mixtext())
    assert any("no views beside the originals" in record.getMessage() for record in caplog.records)
    with pytest.raises(ValueError, match=r"uda asks for the same prediction.*view_columns or augmenters"):
        semi_supervised(tmp_path, online_uda())


def test_a_recipe_with_weights_needs_no_views_to_predict(tmp_path):
    settings = {"mix_kwargs": {"view_weights": [0, 1]}, "view_columns": ["de"], "num_train_epochs": 1}
    trained = semi_supervised(tmp_path / "a", mix_method="mixtext", **settings)
    trained.train()
    args = arguments(tmp_path / "b")
    again = MixTrainer(trained.model, args, eval_dataset=labelled_texts(6), processing_class=tiny_tokenizer())
    assert again.method.view_weights == (0.0, 1.0)
    assert again.evaluate()["eval_loss"] > 0


def test_hyperparameters_alone_change_the_recipe_of_the_model(tmp_path):
    model = tiny_model()
    model.config.mixtext = {
        "version": "0",
        "method": "mixtext",
        "hyperparameters": online_mixtext(lambda_u=0.5).hyperparameters(),
    }
    args = arguments(tmp_path, mix_kwargs={"temperature": 0.3})
    trainer = make_trainer(model, args, labelled_texts(), unlabeled_dataset=texts(20))
    assert trainer.method == online_mixtext(lambda_u=0.5, temperature=0.3)
    with pytest.raises(ValueError, match="tmix has no hyper-parameter 'temperature'"):
        make_trainer(tiny_model(), args, labelled_texts())


class OutOfMemory(RecordingTrainer):
    """Runs out of memory with more than so many rows."""

    def training_step(self, model, inputs, *args, **kwargs):
        self.rows = getattr(self, "rows", [])
        self.rows.append((len(inputs["labels"]), len(inputs["text_labels"])))
        if len(inputs["labels"]) > 10:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return super().training_step(model, inputs, *args, **kwargs)


def test_a_batch_that_does_not_fit_shrinks_in_proportion(tmp_path):
    settings = {"auto_find_batch_size": True, "per_device_train_batch_size": 8, "per_device_unlabeled_batch_size": 16}
    trainer = semi_supervised(
        tmp_path, online_mixtext(), unlabelled=texts(40), kind=OutOfMemory, max_steps=2, **settings
    )
    trainer.train()
    labelled, unlabelled = trainer.rows[-1]
    assert trainer.rows[0] == (24, 16) and labelled <= 10
    assert unlabelled == pytest.approx(2 * (labelled - unlabelled), abs=2)


class OnlyByNumber(torch.utils.data.Dataset):
    """Rows for which asking beyond the last is no IndexError."""

    def __init__(self, rows):
        self.rows = dict(enumerate(rows))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, number):
        return self.rows[number]


def test_data_sets_that_can_only_be_asked_by_number(tmp_path):
    rows, unlabelled = OnlyByNumber(labelled_texts()), OnlyByNumber(texts(30, views=("de",)))
    trainer = MixTrainer(
        tiny_model(),
        arguments(tmp_path, mix_method="mixtext", per_device_train_batch_size=4, view_columns=["de"], max_steps=2),
        data_collator=MixDataCollator(tiny_tokenizer(), text_column="text"),
        train_dataset=rows,
        unlabeled_dataset=unlabelled,
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    assert trainer.state.global_step == 2


def test_columns_that_the_model_does_not_take_are_removed(tmp_path):
    rows = [{**row, "text": "w1"} for row in tiny_rows(12)]
    unlabelled = [{**row, "text": "w2"} for row in tiny_rows(20, seed=5)]
    trainer = MixTrainer(
        tiny_model(),
        arguments(tmp_path, mix_method="mixtext", per_device_train_batch_size=4, max_steps=2),
        data_collator=DataCollatorWithPadding(tiny_tokenizer()),
        train_dataset=Dataset.from_list(rows),
        unlabeled_dataset=Dataset.from_list(unlabelled),
    )
    trainer.train()
    assert trainer.state.global_step == 2


def test_a_search_goes_on_after_a_trial_with_a_bad_value(tmp_path):
    pytest.importorskip("optuna")
    tried = []

    def hp_space(trial):
        temperature = (-1.0, 0.5, 0.7)[trial.number]
        tried.append(temperature)
        trial.suggest_float("learning_rate", 0.01, 0.1)
        return {"mix_kwargs": {"temperature": temperature}}

    trainer = RecordingTrainer(
        args=arguments(tmp_path, mix_method="mixtext", per_device_train_batch_size=4, max_steps=1),
        model_init=lambda: tiny_model(),
        train_dataset=labelled_texts(),
        eval_dataset=labelled_texts(6),
        unlabeled_dataset=texts(30),
        processing_class=tiny_tokenizer(),
    )
    best = trainer.hyperparameter_search(hp_space, n_trials=3, direction="minimize", catch=(ValueError,))
    assert tried == [-1.0, 0.5, 0.7] and best.run_id in ("1", "2")
    assert trainer.method.temperature == 0.7


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{**row, "label": "sports"} for row in labelled_texts()], ["row 0", "'sports'", "class ids"]),
        ([{**row, "label": [0.5, 0.5, 0.0]} for row in labelled_texts()], ["row 0", "list", "class ids"]),
        (
            [{**row, "label": 3 if i == 7 else 0} for i, row in enumerate(labelled_texts())],
            ["row 7", "3", "num_labels=3"],
        ),
    ],
    ids=["names", "soft", "beyond"],
)
def test_wrong_labels_of_the_labelled_rows(tmp_path, rows, said):
    with pytest.raises(ValueError) as raised:
        semi_supervised(tmp_path, rows=rows).train()
    for part in said:
        assert part in str(raised.value)


def test_without_unlabelled_texts_or_for_another_task_it_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mixtext learns from unlabelled texts and has none.*--unlabeled_file"):
        make_trainer(tiny_model(), arguments(tmp_path, mix_method="mixtext"), tiny_rows(8))
    with pytest.raises(ValueError, match="guesses one class for each text, but the task is regression"):
        make_trainer(
            tiny_model(num_labels=1),
            arguments(tmp_path, mix_method="mixtext"),
            tiny_rows(8, "scores"),
            unlabeled_dataset=texts(20),
        )


def test_hidden_labels_in_the_labelled_rows_are_refused(tmp_path):
    rows = [{**row, "label": -1} if i == 3 else row for i, row in enumerate(labelled_texts())]
    with pytest.raises(ValueError, match=r"`train_dataset` has no label in row 3 \(it is -1\).*unlabeled_dataset"):
        semi_supervised(tmp_path, rows=rows).train()


def test_a_preset_stands_behind_what_is_given(tmp_path):
    args = arguments(tmp_path, mix_method="mixtext", mix_preset="official_code", mix_kwargs={"temperature": 0.3})
    method = args.make_method()
    assert method.guess_dropout and method.view_weights == "original" and method.temperature == 0.3
    copy = type(args)(
        **{
            name: value
            for name, value in json.loads(args.to_json_string()).items()
            if name in ("output_dir", "mix_method", "mix_preset", "mix_kwargs")
        }
    )
    assert copy.make_method() == method


def arrow_file(path, block, repeats):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, block.schema) as stream:
        for _ in range(repeats):
            stream.write_table(block, max_chunksize=1000)
    return str(path)


def test_a_text_that_is_not_drawn_takes_no_memory(tmp_path):
    """Some bytes for its number and its hash; a string alone would be fifty and its letters."""
    block = pa.table({"text": [f"{row['text']} number {i}" for i, row in enumerate(texts(1000))]})

    def peak(repeats):
        trainer = MixTrainer(
            tiny_model(),
            arguments(
                tmp_path / "out", mix_method="mixtext", guesser="model", max_steps=2, augmenters=["word_dropout"]
            ),
            train_dataset=labelled_texts(),
            unlabeled_dataset=Dataset.from_file(arrow_file(tmp_path / f"{repeats}.arrow", block, repeats)),
            processing_class=tiny_tokenizer(),
        )
        tracemalloc.start()
        try:
            trainer.train()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)  # what is imported or compiled when it is first needed
    a_text = (peak(40) - peak(1)) / 39_000
    assert a_text < 40, a_text


_MEMORY = """
import sys
sys.path[:0] = {paths!r}
import torch
from datasets import Dataset
from runs import arguments
from tiny import tiny_model, tiny_tokenizer
from transformers import DataCollatorWithPadding
from mixtext_hf.training import MixTrainer

torch.set_num_threads(1)
trainer = MixTrainer(
    tiny_model(),
    arguments({folder!r}, mix_method="mixtext", guesser="model", per_device_train_batch_size=4, max_steps=40, augmenters=["word_dropout"]),
    train_dataset=[{{"text": f"w{{i}} w{{i + 1}} w3", "label": i % 3}} for i in range(24)],
    unlabeled_dataset=Dataset.from_file({file!r}),
    processing_class=tiny_tokenizer(),
)
trainer.train()
print(next(line for line in open("/proc/self/status") if line.startswith("RssAnon")).split()[1])
"""


@pytest.mark.deep
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_two_million_texts_take_no_more_memory_than_twenty_thousand(tmp_path):
    """Memory of the process's own: the system takes back pages of the file that it has mapped when it needs them."""
    block = pa.table({"text": [f"{row['text']} number {i}" for i, row in enumerate(texts(20_000))]})
    peaks = {}
    for repeats in (1, 100):
        path = arrow_file(tmp_path / f"{repeats}.arrow", block, repeats)
        script = _MEMORY.format(paths=sys.path, folder=str(tmp_path / "out"), file=path)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-3000:]
        peaks[repeats] = int(done.stdout.splitlines()[-1])
    assert peaks[100] < 1.1 * peaks[1], peaks


def test_the_trainer_alone_is_enough(tmp_path):
    """No test class in between, a datasets.Dataset on both sides, evaluation as usual."""
    trainer = MixTrainer(
        tiny_model(),
        arguments(
            tmp_path, mix_method="mixtext", per_device_train_batch_size=4, view_columns=["de"], eval_strategy="epoch"
        ),
        train_dataset=Dataset.from_list(labelled_texts()),
        eval_dataset=Dataset.from_list(labelled_texts(9)),
        unlabeled_dataset=Dataset.from_list(texts(30, views=("de",))),
        processing_class=tiny_tokenizer(),
    )
    trainer.train()
    assert len(series(trainer, "eval_loss")) == 1
