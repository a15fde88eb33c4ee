"""A checkpoint is gone on with by the run that wrote it, or on purpose."""

from __future__ import annotations

import json
import shutil

import pytest
from runs import TOKENIZER, StopAt, arguments, assert_same_weights, make_trainer, tiny_rows, weights
from safetensors.torch import load_file
from table_files import write_table
from tiny import tiny_model

from mixtext_hf.cli.train_text import main
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.same_run import AnotherRun
from mixtext_hf.training.whole_checkpoints import MANIFEST


def trainer_in(folder, rows=None, **settings):
    given = {
        "max_steps": 4,
        "learning_rate": 1e-3,
        "save_strategy": "steps",
        "save_steps": 2,
        "mix_method": "tmix",
        "mix_layers": [2, 3],
        **settings,
    }
    return make_trainer(tiny_model("bert"), arguments(folder, **given), tiny_rows(32) if rows is None else rows)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    trainer_in(folder).train()
    return folder


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mix_method": "erm", "mix_layers": None}, "mix_method: tmix then, erm now"),
        ({"mix_alpha": 0.5}, "mix_alpha: 16.0 then, 0.5 now"),
        ({"seed": 5}, "seed: .* then, 5 now"),
        ({"per_device_train_batch_size": 2}, "per_device_train_batch_size: .* then, 2 now"),
        ({"gradient_accumulation_steps": 2}, "gradient_accumulation_steps: 1 then, 2 now"),
        ({"learning_rate": 1e-4}, "learning_rate: 0.001 then, 0.0001 now"),
        ({"max_steps": 8}, "max_steps: 4 then, 8 now"),
        (
            {"max_steps": -1, "num_train_epochs": 2},
            "max_steps: 4 then, not given now; num_train_epochs: not given then, 2 now",
        ),
        ({"lr_scheduler_type": "cosine"}, "lr_scheduler_type: .* then, cosine now"),
        ({"bf16": True}, "bf16: False then, True now"),
        ({"rows": tiny_rows(31)}, r"training rows: 32 \(.*\) then, 31 "),
        ({"rows": tiny_rows(32, seed=8)}, r"training rows: 32 \(.*\) then, 32 "),
    ],
)
def test_another_run_is_refused_and_what_differs_is_listed(trained, settings, said):
    with pytest.raises(AnotherRun, match=f"is of another run .*{said}"):
        trainer_in(trained, **settings).train(resume_from_checkpoint=str(trained / "checkpoint-2"))


def test_several_differences_are_listed_together(trained):
    with pytest.raises(AnotherRun, match=r"learning_rate: .*; seed: .*resume_changed=True"):
        trainer_in(trained, seed=5, learning_rate=0.1).train(resume_from_checkpoint=True)


@pytest.mark.parametrize(
    "settings",
    [
        {"logging_steps": 1},
        {"save_steps": 1, "save_total_limit": 3},
        {"per_device_eval_batch_size": 2},
        {"dataloader_num_workers": 1},
        {"resume_changed": True, "learning_rate": 1e-4},
    ],
)
def test_what_changes_no_weights_may_differ_and_the_rest_on_purpose(trained, settings):
    trainer = trainer_in(trained, **settings)
    trainer.train(resume_from_checkpoint=str(trained / "checkpoint-2"))
    assert trainer.state.global_step == 4


def test_a_hyper_parameter_that_the_checkpoint_does_not_know_had_its_default(trained):
    path = trained / "checkpoint-2" / MANIFEST
    manifest = json.loads(path.read_text())
    assert manifest["about"]["run"].pop("mix_clean_lam") == 0
    path.write_text(json.dumps(manifest))
    trainer_in(trained).train(resume_from_checkpoint=str(trained / "checkpoint-2"))
    with pytest.raises(AnotherRun, match=r"mix_clean_lam: 0\.0 then, 1\.0 now"):
        trainer_in(trained, mix_kwargs={"clean_lam": 1.0}).train(resume_from_checkpoint=str(trained / "checkpoint-2"))


def test_a_checkpoint_of_another_number_of_processes_is_refused(trained, tmp_path):
    path = trained / "checkpoint-2" / MANIFEST
    manifest = json.loads(path.read_text())
    manifest["about"]["run"]["number of processes"] = 2
    path.write_text(json.dumps(manifest))
    with pytest.raises(AnotherRun, match="number of processes: 2 then, 1 now"):
        trainer_in(trained).train(resume_from_checkpoint=str(trained / "checkpoint-2"))


def test_a_checkpoint_that_says_nothing_is_gone_on_with(trained):
    (trained / "checkpoint-2" / MANIFEST).unlink()
    trainer_in(trained, logging_steps=2).train(resume_from_checkpoint=str(trained / "checkpoint-2"))


def test_a_finished_run_trains_nothing_more(tmp_path, monkeypatch):
    """Also where its steps end inside an epoch: six, and an epoch has four."""
    settings = {"max_steps": 6, "per_device_train_batch_size": 8}
    whole = trainer_in(tmp_path, **settings)
    first = whole.train()
    whole.save_state()
    monkeypatch.setattr(MixTrainer, "training_step", None)
    again = trainer_in(tmp_path, **settings)
    output = again.train(resume_from_checkpoint=True)
    assert_same_weights(weights(again.model), weights(whole.model))
    assert output.global_step == again.state.global_step == 6
    assert output.training_loss == first.training_loss == output.metrics["train_loss"]
    assert output.metrics["train_runtime"] == first.metrics["train_runtime"]


def test_what_a_run_that_was_killed_at_its_end_had_no_time_to_remove_goes(tmp_path):
    settings = {"max_steps": 6, "save_steps": 2, "save_total_limit": 2}
    trainer_in(tmp_path, **settings).train()
    shutil.copytree(tmp_path / "checkpoint-4", tmp_path / "checkpoint-2")
    trainer_in(tmp_path, **settings).train(resume_from_checkpoint=True)
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-6"]


def test_the_mean_loss_is_that_of_all_steps_however_often_a_run_was_resumed(tmp_path):
    settings = {"max_steps": 7, "save_steps": 2, "logging_steps": 3}
    whole = trainer_in(tmp_path / "whole", **settings).train()
    for at in (4, 6):
        ended = trainer_in(tmp_path / "ended", **settings)
        ended.add_callback(StopAt(at))
        ended.train(resume_from_checkpoint=at > 4)
    resumed = trainer_in(tmp_path / "ended", **settings)
    output = resumed.train(resume_from_checkpoint=True)
    told = [entry["train_loss"] for entry in resumed.state.log_history if "train_loss" in entry]
    assert output.training_loss == output.metrics["train_loss"] == told[-1]
    assert output.training_loss == pytest.approx(whole.training_loss, rel=1e-6)
    # And where its end was not noted any more.
    finished = trainer_in(tmp_path / "ended", **settings).train(resume_from_checkpoint=True)
    assert finished.training_loss == pytest.approx(whole.training_loss, rel=1e-6)
    assert finished.metrics["epoch"] == output.metrics["epoch"]


def test_a_run_that_was_killed_after_its_last_checkpoint_is_finished_by_the_command(tmp_path):
    tiny_model("bert", num_labels=2).base_model.save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    rows = [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 2]} for i in range(40)]
    given = [f"--train_file={write_table(tmp_path / 'train.csv', rows)}", f"--model_name_or_path={tmp_path / 'base'}"]
    flags = [
        "--max_steps=7",
        "--max_seq_length=16",
        "--do_train",
        "--save_steps=7",
        f"--output_dir={tmp_path / 'out'}",
    ]
    main([*given, *flags])
    results = (tmp_path / "out" / "all_results.json").read_text()
    model = load_file(tmp_path / "out" / "model.safetensors")
    for killed in (False, True):
        if killed:
            for name in (
                "model.safetensors",
                "config.json",
                "all_results.json",
                "train_results.json",
                "trainer_state.json",
            ):
                (tmp_path / "out" / name).unlink()
        main([*given, *flags, "--resume_from_checkpoint=True"])
        assert_same_weights(load_file(tmp_path / "out" / "model.safetensors"), model)
        after = (tmp_path / "out" / "all_results.json").read_text()
        assert (json.loads(after) == json.loads(results)) is not killed
        # How long training took nobody knows any more.
        times = ("runtime", "per_second")
        told, expected = (
            {name: value for name, value in json.loads(one).items() if not name.endswith(times)}
            for one in (after, results)
        )
        assert told == pytest.approx(expected) and told["train_samples"] == 40
