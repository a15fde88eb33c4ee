"""Training that goes on with a classifier: its outputs keep their classes, whatever the data calls them."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import datasets
import pytest
import torch
from runs import arguments
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer

from mixtext_hf.cli.train_text import make_run
from mixtext_hf.data import MixDataCollator
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.models.new_head import draw_new_head
from mixtext_hf.training import MixTrainer


NAMES = ["World", "Sports", "Tech"]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> str:
    return _save(tmp_path_factory.mktemp("trained"), NAMES)


@pytest.fixture(scope="module")
def nameless(tmp_path_factory) -> str:
    return _save(tmp_path_factory.mktemp("nameless"), [f"LABEL_{i}" for i in range(3)])


def _save(folder: Path, names: list[str]) -> str:
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
    tiny_model("bert", num_labels=len(names), **labels).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def run_on(tmp_path, model, labels, *flags):
    rows = [{"text": f"w{i} w{i + 1}", "label": labels[i % len(labels)]} for i in range(12)]
    path = write_table(tmp_path / "train.parquet", rows)
    return make_run(
        [
            f"--model_name_or_path={model}",
            f"--train_file={path}",
            f"--output_dir={tmp_path / 'out'}",
            *("--do_train", "--use_cpu", "--max_seq_length=16", "--report_to=none", "--mix_method=erm"),
            *flags,
        ]
    )


def refused(capsys, *given) -> str:
    with pytest.raises(SystemExit):
        run_on(*given)
    return capsys.readouterr().err.splitlines()[-1]


def head_of(model) -> torch.Tensor:
    return model.classifier.weight.detach()


def old_head(name: str) -> torch.Tensor:
    return head_of(MixableModelForSequenceClassification.from_pretrained(name))


@pytest.mark.parametrize(
    "labels",
    [["Sports", "Tech", "World"], ["WORLD", "sports ", "Tech"], ["tech", "World"], [2, 0, 1], ["1", "2", "0"]],
)
def test_classes_stay_on_their_outputs(tmp_path, trained, labels, caplog):
    caplog.set_level(logging.INFO, "mixtext_hf")
    run = run_on(tmp_path, trained, labels)
    assert run.data.label_names == NAMES and run.config.id2label == dict(enumerate(NAMES))
    named = [NAMES[int(label)] if str(label).isdigit() else label.strip().title() for label in labels]
    assert [NAMES[i] for i in run.data.train["label"][: len(labels)]] == named
    assert torch.equal(head_of(run.trainer.model), old_head(trained))
    assert ("keeps classes" in caplog.text) == (len(labels) == 2)


@pytest.mark.parametrize(
    "labels", [["no", "yes", "maybe"], ["World", "Sports", "Arts"], ["a", "b"], ["001", "002", "003"]]
)
def test_other_classes_are_refused_with_both_lists(tmp_path, trained, labels, capsys):
    message = refused(capsys, tmp_path, trained, labels)
    assert (
        str(NAMES) in message
        and "does not have: [" in message
        and "--label_map" in message
        and "--new_head" in message
    )
    assert all(repr(label) in message for label in labels)
    assert not (tmp_path / "out").exists()


def test_fewer_numbers_than_classes_say_nothing(tmp_path, trained, capsys):
    message = refused(capsys, tmp_path, trained, [0, 1])
    assert "'World', 'Sports', 'Tech'" in message and "none is 2" in message and "--label_map" in message


def test_a_map_says_which_classes_are_meant(tmp_path, trained):
    (tmp_path / "map.json").write_text(
        json.dumps({"welt": "World", "sport": "Sports", "technik": "Tech", "rest": None})
    )
    labels = ["sport", "welt", "rest", "technik"]
    run = run_on(tmp_path, trained, labels, f"--label_map={tmp_path / 'map.json'}")
    assert [NAMES[i] for i in run.data.train["label"][:3]] == ["Sports", "World", "Tech"] and len(run.data.train) == 9
    assert torch.equal(head_of(run.trainer.model), old_head(trained))
    assert run.describe()["data"]["label_map"]["rest"] is None


@pytest.mark.parametrize("flag", ["--new_head", "--ignore_mismatched_sizes"])
@pytest.mark.parametrize("labels", [["no", "yes", "maybe"], ["a", "b"]])
def test_a_new_head_for_other_classes(tmp_path, trained, flag, labels):
    run = run_on(tmp_path, trained, labels, flag, "--learning_rate=1e-5")
    model = run.trainer.model
    assert model.config.id2label == dict(enumerate(sorted(labels)))
    old = MixableModelForSequenceClassification.from_pretrained(trained)
    assert head_of(model).shape[0] == len(labels) and not torch.isin(head_of(model), head_of(old)).any()
    assert torch.equal(model.bert.pooler.dense.weight, old.bert.pooler.dense.weight)
    # It learns faster, as any head that is new.
    assert run.trainer.head_learning_rate == 1e-3


def test_mismatched_sizes_alone_do_not_take_the_head_from_its_own_classes(tmp_path, trained):
    run = run_on(tmp_path, trained, ["tech", "world", "sports"], "--ignore_mismatched_sizes")
    assert run.data.label_names == NAMES and torch.equal(head_of(run.trainer.model), old_head(trained))


def test_a_model_without_names_goes_on_by_number_and_says_so(tmp_path, nameless, caplog):
    caplog.set_level(logging.INFO, "mixtext_hf")
    run = run_on(tmp_path, nameless, ["x", "y", "z"])
    assert "config names no classes" in caplog.text and run.config.id2label == {0: "x", 1: "y", 2: "z"}
    assert torch.equal(head_of(run.trainer.model), old_head(nameless))


def test_names_that_a_base_model_was_left_with_mean_nothing(tmp_path):
    model = tiny_model("bert", num_labels=2, id2label={0: "x", 1: "y"}, label2id={"x": 0, "y": 1})
    model.bert.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    assert run_on(tmp_path, tmp_path / "base", ["ham", "spam"]).data.label_names == ["ham", "spam"]


def test_look_alikes_in_training_are_merged_by_name(tmp_path, trained, capsys):
    labels = ["World", "WORLD ", "Sports", "Tech"]
    assert "--similar_labels merge" in refused(capsys, tmp_path, trained, labels)
    run = run_on(tmp_path, trained, labels, "--similar_labels=merge")
    assert run.data.label_names == NAMES and run.data.train["label"][:4] == [0, 0, 1, 2]


@pytest.mark.parametrize("family", ["roberta", "distilbert", "deberta-v2"])
def test_a_head_is_drawn_anew_in_every_family(family):
    model = tiny_model(family)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(1)
    new = draw_new_head(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    weights = {name for name in new if name.endswith("weight")}
    assert weights and weights <= changed <= new
    assert not any(name.startswith(f"{model.base_model_prefix}.") for name in new)


def test_no_head_is_drawn_where_there_is_none():
    with pytest.raises(ValueError, match="new_head: of a BertModel it cannot be told"):
        draw_new_head(tiny_model("bert").base_model)


# ---- what is said of the data ----


def test_the_summary_is_said_recorded_and_shown_in_the_card(tmp_path, trained, caplog):
    caplog.set_level(logging.INFO, "mixtext_hf")
    leak = write_table(
        tmp_path / "test.parquet", [{"text": "w0 w1", "label": "World"}, {"text": "w", "label": "Tech"}]
    )
    flags = [f"--test_file={leak}", "--max_steps=1", "--save_strategy=no", "--disable_tqdm=true"]
    run = run_on(tmp_path, trained, NAMES, *flags)
    run()
    assert "Data: train 12, test 2 texts." in caplog.text and "0 % cut at 16 tokens" in caplog.text
    assert "1 of the 2 texts of test are in train too: remove them" in caplog.text
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())["data_summary"]
    assert recorded["shared"]["test"] == {"train": 1} and recorded["splits"]["train"]["classes"] == dict.fromkeys(
        NAMES, 4
    )
    card = (tmp_path / "out" / "README.md").read_text()
    assert "1 of the 2 texts of test are in train too." in card and "Classes in train: 3, of 4 rows each." in card


def test_strict_data_refuses_what_may_be_wrong(tmp_path, trained, capsys, caplog):
    message = refused(capsys, tmp_path, trained, ["World", *["Tech"] * 11, "Sports"], "--strict_data=True")
    # Said once, in the error.
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "--strict_data: The class 'Tech' has" in message and not (tmp_path / "out").exists()
    assert run_on(tmp_path, trained, NAMES, "--strict_data=True").summary.concerns == []


# ---- the trainer itself ----


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (NAMES, None),
        (["world", "SPORTS ", "Tech"], None),
        (["Sports", "Tech", "World"], "refused"),
        (["a", "b", "c"], "warned"),
    ],
)
def test_the_trainer_sees_classes_in_another_order(tmp_path, trained, names, outcome, caplog):
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    rows = datasets.Dataset.from_dict({"text": ["w1 w2"] * 6, "label": [0, 1, 2] * 2}, features=features)
    model = MixableModelForSequenceClassification.from_pretrained(trained)
    collator = MixDataCollator(tiny_tokenizer(), text_column="text", max_length=16)
    args = arguments(tmp_path, mix_method="erm", max_steps=1)
    trainer = MixTrainer(model, args, train_dataset=rows, data_collator=collator)
    if outcome == "refused":
        with pytest.raises(
            ValueError, match=r"\['Sports', 'Tech', 'World'\], those of model.config.id2label \['World'.*align"
        ):
            trainer.train()
    else:
        trainer.train()
    assert ("the head of the one goes on" in caplog.text) == (outcome == "warned")
