"""The trainer and the Hub from Python, without the command line: what is pushed, what the card says, what goes wrong."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import sys
import types

import huggingface_hub.utils._http as client
import pytest
from hub_server import TOKEN, Fault, HubServer
from huggingface_hub import ModelCard
from image_runs import image_rows
from runs import arguments, assert_same_weights, tiny_rows, weights
from tiny import tiny_model, tiny_tokenizer
from unmixable import unmixable_image_model

from mixtext_hf.hub.fingerprint import is_generated
from mixtext_hf.hub.push import Destination, PushError, files_to_send
from mixtext_hf.models import MixableModelForImageClassification
from mixtext_hf.models.embedded import small_image_processor
from mixtext_hf.training import MixTrainer


@pytest.fixture(scope="module")
def server():
    with HubServer() as server:
        yield server


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """The local Hub for the client in this process."""
    server.serve_here(monkeypatch, tmp_path)
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    server.repos.clear()
    server.blobs.clear()
    server.faults.clear()
    server.requests.clear()
    return server


def make_trainer(out, model=None, kind=MixTrainer, **options):
    settings = {"hub_model_id": "user/model", "hub_token": TOKEN, "disable_tqdm": True, **options}
    inputs = {name: settings.pop(name) for name in ("eval_dataset", "method") if name in settings}
    return kind(
        model=model or tiny_model("bert"),
        args=arguments(out, **settings),
        train_dataset=tiny_rows(32),
        processing_class=tiny_tokenizer(),
        **inputs,
    )


def saving(**options):
    return {"push_to_hub": True, "hub_strategy": "every_save", "save_strategy": "steps", "save_steps": 2, **options}


# ---- pushes ----


def test_a_branch_that_is_named_at_the_end_is_made(hub, tmp_path):
    trainer = make_trainer(tmp_path / "out")
    trainer.push_to_hub(revision="trial")
    assert "model.safetensors" in hub.repos["user/model"].branches["trial"][-1].files
    trainer.push_to_hub(revision="second", blocking=False).result(60)
    assert set(hub.repos["user/model"].branches) == {"main", "trial", "second"}


@pytest.mark.parametrize("kind", ["timm", "poolformer"])
def test_a_model_that_cannot_be_mixed_is_pushed_and_loaded_again(hub, tmp_path, request, monkeypatch, kind):
    if kind == "timm":
        request.getfixturevalue("timm")
        from transformers.models.timm_wrapper.configuration_timm_wrapper import TimmWrapperConfig
        from transformers.models.timm_wrapper.modeling_timm_wrapper import TimmWrapperForImageClassification

        config = TimmWrapperConfig(
            architecture="vit_tiny_patch16_224", num_labels=3, model_args={"img_size": 32, "depth": 1}
        )
        model = TimmWrapperForImageClassification(config)
    else:
        model = unmixable_image_model(kind)
    args = arguments(tmp_path / "out", mix_method="cutmix", max_steps=1, hub_model_id="user/model", hub_token=TOKEN)
    processor = small_image_processor((32, 32), 3)
    trainer = MixTrainer(model, args, train_dataset=image_rows(8, (32, 32)), processing_class=processor)
    trainer.train()
    trainer.push_to_hub()
    assert "model.safetensors" in hub.repos["user/model"].branches["main"][-1].files
    again = MixableModelForImageClassification.without_hooks("user/model", token=TOKEN, cache_dir=tmp_path / "cache")
    assert type(again) is type(model) and again.config.mixtext["method"] == "cutmix"
    assert_same_weights(weights(again), weights(model))
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'MixableModelForImageClassification.without_hooks("user/model")' in card


def test_what_a_card_does_not_have_is_refused_before_anything_is_saved(hub, tmp_path):
    trainer = make_trainer(tmp_path / "out")
    with pytest.raises(TypeError, match=r"licence.*license"):
        trainer.push_to_hub(licence="mit")
    with pytest.raises(TypeError, match=r"dataset=.*one data set"):
        trainer.push_to_hub(dataset=["a", "b"])
    assert not list((tmp_path / "out").iterdir()) and hub.requests == []


def test_after_a_search_there_is_no_model(hub, tmp_path):
    trainer = make_trainer(tmp_path / "out")
    trainer.model = None  # as `hyperparameter_search` leaves it
    with pytest.raises(ValueError, match="no model to push, as after hyperparameter_search"):
        trainer.push_to_hub()
    assert hub.requests == []


def test_the_names_of_transformers_for_the_facts_of_a_card(hub, tmp_path):
    model = tiny_model("bert")
    model.add_model_tags(["own"])
    trainer = make_trainer(tmp_path / "out", model)
    trainer.push_to_hub(
        finetuned_from="google/some-bert",
        tasks="text-classification",
        dataset="GLUE SST2",
        dataset_tags="nyu-mll/glue",
        dataset_args="sst2",
        tags="mine",
    )
    card = ModelCard(hub.repos["user/model"].files["README.md"].decode())
    assert card.data.base_model == "google/some-bert" and card.data.datasets == ["nyu-mll/glue"]
    assert {"own", "mine"} <= set(card.data.tags)
    assert "GLUE SST2" in card.text and "`sst2`" in card.text


def test_a_repository_that_does_not_open_costs_no_model(hub, tmp_path):
    out = tmp_path / "out"
    trainer = make_trainer(out)
    hub.faults.append(Fault("POST /api/repos/create", status=503))
    with pytest.raises(PushError, match="could not be opened") as error:
        trainer.push_to_hub(overwrite=True)
    assert str(error.value).endswith(f"by: mixtext-hf push {out} --hub_model_id user/model --overwrite_card")
    assert (out / "model.safetensors").is_file()
    card = (out / "README.md").read_bytes()
    hub.faults.clear()
    trainer.push_to_hub()
    assert hub.repos["user/model"].files["README.md"] == card


def test_what_the_hub_does_not_take_in_a_card_ends_no_training(hub, tmp_path, caplog):
    errors = [{"message": '"license" must be one of [a, b]'}]
    hub.faults.append(Fault("POST /api/validate-yaml", status=400, answer={"errors": errors, "warnings": []}))
    out = tmp_path / "out"
    trainer = make_trainer(out, **saving())
    assert trainer.train().global_step == 4
    assert '"license" must be one of [a, b]' in caplog.text and "Training goes on" in caplog.text
    # What the messages name is there still.
    assert f"mixtext-hf push {out / 'checkpoint-2'} " in caplog.text and "_push-" not in caplog.text
    with pytest.raises(PushError, match=r"must be one of \[a, b\]"):
        trainer.push_to_hub()


def test_a_card_edited_on_the_hub_is_named_with_a_folder_that_stays(hub, tmp_path, caplog):
    make_trainer(tmp_path / "first").push_to_hub()
    repo = hub.repos["user/model"]
    repo.commit("edited on the site", {**repo.files, "README.md": b"Mine."})
    trainer = make_trainer(tmp_path / "out", **saving())
    trainer.train()
    assert repo.files["README.md"] == b"Mine."
    assert f"mixtext-hf push {tmp_path / 'out' / 'checkpoint-2'} " in caplog.text and "_push-" not in caplog.text


def test_faults_of_our_own_in_the_background_end_no_training(hub, tmp_path, monkeypatch, caplog):
    def broken(*args, **kwargs):
        raise AttributeError("not foreseen")

    monkeypatch.setattr(Destination, "send", broken)
    trainer = make_trainer(tmp_path / "out", **saving())
    assert trainer.train().global_step == 4
    assert "not foreseen" in caplog.text


def test_a_checkpoint_that_cannot_be_staged_ends_no_training(hub, tmp_path, monkeypatch, caplog):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mixtext_hf.training.hub._link", full)
    out = tmp_path / "out"
    trainer = make_trainer(out, **saving())
    assert trainer.train().global_step == 4
    assert "No space left" in caplog.text and not list(out.glob("_push-*"))


def test_what_a_killed_run_left_is_removed(hub, tmp_path):
    out = tmp_path / "out"
    (out / "_push-old").mkdir(parents=True)
    (out / "_push-old" / "config.json").write_text("{}")
    (out / "_push-notes.txt").write_text("mine")
    make_trainer(out, **saving(save_only_model=True, hub_strategy="checkpoint", hub_always_push=True)).train()
    assert [path.name for path in out.glob("_push-*")] == ["_push-notes.txt"]
    files = hub.repos["user/model"].files
    assert "last-checkpoint/trainer_state.json" in files and "last-checkpoint/optimizer.pt" not in files


# ---- what belongs to a checkpoint ----


def test_only_the_files_of_a_checkpoint_are_sent(tmp_path):
    model = tiny_model("bert")
    model.save_pretrained(tmp_path, max_shard_size="10KB")
    tiny_tokenizer().save_pretrained(tmp_path)
    saved = {path.name for path in tmp_path.iterdir()}
    assert "model.safetensors.index.json" in saved and len(saved) > 5
    for name in ("eval_results.json", "run.json", "a curve.png"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "README.md").write_text("![Curve](a%20curve.png)")
    for name in ("train.json", "credentials.json", "package.json", "passport.png"):
        (tmp_path / name).write_text("{}")
    assert set(files_to_send(tmp_path)) == saved | {"README.md", "eval_results.json", "run.json", "a curve.png"}


# ---- what the card says ----


def card_of(trainer, out):
    trainer.create_model_card(overwrite=True)
    return ModelCard.load(out / "README.md")


class TimesItsSteps(MixTrainer):
    """The first step is the best one."""

    def evaluate(self, *args, **kwargs):
        return {**super().evaluate(*args, **kwargs), "eval_runtime_of_step": self.state.global_step}


def test_the_card_has_the_results_of_the_weights_that_it_is_for(tmp_path):
    out = tmp_path / "out"
    options = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    trainer = make_trainer(
        out,
        kind=TimesItsSteps,
        **options,
        load_best_model_at_end=True,
        metric_for_best_model="runtime_of_step",
        greater_is_better=False,
        eval_dataset=tiny_rows(8, seed=5),
    )
    trainer.train()
    losses = {entry["step"]: entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry}
    assert trainer.state.best_global_step == 1 and losses[1] != losses[4]
    assert [result.metric_value for result in card_of(trainer, out).data.eval_results] == [losses[1]]
    # What is measured afterwards is measured on these weights.
    after = trainer.evaluate(tiny_rows(8, seed=6))["eval_loss"]
    assert after not in losses.values()
    assert [result.metric_value for result in card_of(trainer, out).data.eval_results] == [after]


def test_an_evaluation_of_earlier_weights_is_not_theirs(tmp_path):
    trainer = make_trainer(tmp_path, eval_strategy="steps", eval_steps=3, eval_dataset=tiny_rows(8))
    trainer.train()
    # The last step is evaluated by itself.
    history = trainer.state.log_history
    history[:] = [entry for entry in history if not ("eval_loss" in entry and entry["step"] == 4)]
    assert [entry["step"] for entry in history if "eval_loss" in entry] == [3]
    assert card_of(trainer, tmp_path).data.eval_results is None
    trainer.evaluate()
    assert len(card_of(trainer, tmp_path).data.eval_results) == 1


def test_several_validation_splits_each_have_their_results(tmp_path):
    splits = {"easy": tiny_rows(8), "easy_b": tiny_rows(5, seed=9)}
    trainer = make_trainer(tmp_path, eval_dataset=splits)
    trainer.train()
    measured = trainer.evaluate()
    card = card_of(trainer, tmp_path)
    assert {result.dataset_split: result.metric_value for result in card.data.eval_results} == {
        "easy": measured["eval_easy_loss"],
        "easy_b": measured["eval_easy_b_loss"],
    }
    assert "**Easy**, 8 texts" in card.text and "5 texts" in card.text


def test_a_model_that_was_not_trained_here_is_not_said_to_be(tmp_path):
    trainer = make_trainer(tmp_path / "a")
    card = card_of(trainer, tmp_path / "a")
    assert "tmix" not in card.data.tags and "fine-tuned" not in card.text and "## Training" not in card.text
    model = tiny_model("bert")
    model.config.mixtext = {"version": "0", "method": "manifold_mixup", "hyperparameters": {"alpha": 0.25}}
    card = card_of(make_trainer(tmp_path / "b", model, mix_method="tmix"), tmp_path / "b")
    assert "manifold_mixup" in card.data.tags and "**0.25**" in card.text


def test_the_base_model_is_no_repository_of_the_name_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_model("bert").save_pretrained("runs/first")
    model = type(tiny_model("bert")).from_pretrained("runs/first")
    card = card_of(make_trainer(tmp_path / "out", model), tmp_path / "out")
    assert card.data.base_model is None and "huggingface.co/runs" not in card.text and "`first`" in card.text


def test_the_length_of_a_resumed_run_is_not_that_of_its_end(tmp_path):
    whole = make_trainer(tmp_path / "out", save_strategy="steps", save_steps=2)
    whole.train()
    assert " took " in card_of(whole, tmp_path / "out").text
    resumed = make_trainer(tmp_path / "out", save_strategy="no")
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-2"))
    text = card_of(resumed, tmp_path / "out").text
    assert "4 steps" in text and " took " not in text


def test_a_folder_above_has_a_name(tmp_path, monkeypatch):
    (tmp_path / "my model" / "inside").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "my model" / "inside")
    trainer = make_trainer("..", hub_model_id=None)
    assert "# my model" in card_of(trainer, tmp_path / "my model").text
    with pytest.raises(ValueError, match="hub_model_id='my model' is no name"):
        trainer.push_to_hub()
    assert not (tmp_path / "my model" / "model.safetensors").exists()


@pytest.mark.parametrize("is_measured", [True, False])
def test_emissions_are_those_that_codecarbon_measured(tmp_path, monkeypatch, is_measured):
    class EmissionsTracker:
        """As that of codecarbon 3.3: what was measured is there after `stop`, unless another tracker was running."""

        def __init__(self, output_dir):
            pass

        def start(self):
            pass

        def stop(self):
            if is_measured:
                self.final_emissions_data = types.SimpleNamespace(
                    emissions=0.0025, energy_consumed=0.01, country_name="France", region="bretagne"
                )

    codecarbon = types.ModuleType("codecarbon")
    codecarbon.EmissionsTracker = EmissionsTracker
    monkeypatch.setitem(sys.modules, "codecarbon", codecarbon)
    monkeypatch.setattr("transformers.integrations.integration_utils.is_codecarbon_available", lambda: True)
    trainer = make_trainer(tmp_path, report_to="codecarbon")
    trainer.train()
    card = card_of(trainer, tmp_path)
    found = card.data.to_dict().get("co2_eq_emissions")
    assert ("Emissions" in card.text) is is_measured
    assert (found or {}).get("emissions") == (2.5 if is_measured else None)
    if is_measured:
        assert found["geographical_location"] == "bretagne, France" and found["source"] == "codecarbon"


def test_a_card_of_ones_own_is_kept_and_how_to_replace_it_is_said(tmp_path, caplog):
    (tmp_path / "README.md").write_text("Mine.")
    trainer = make_trainer(tmp_path)
    trainer.create_model_card()
    assert (tmp_path / "README.md").read_text() == "Mine."
    assert "--overwrite_card" in caplog.text and "overwrite=True" in caplog.text
    trainer.create_model_card(overwrite=True)
    assert is_generated((tmp_path / "README.md").read_text())


# ---- the token ----


def test_arguments_show_no_token_and_their_copies_have_it(tmp_path):
    args = arguments(tmp_path, hub_token=TOKEN)
    assert TOKEN not in repr(args) + str(args) + json.dumps(args.to_sanitized_dict(), default=str)
    assert TOKEN.encode() not in pickle.dumps(args)
    assert pickle.loads(pickle.dumps(args)).hub_token is None
    args.mix_kwargs = {"pad": "keep"}
    for copied in (copy.copy(args), copy.deepcopy(args)):
        assert copied.hub_token == TOKEN and copied.to_dict() == args.to_dict()
    assert copy.deepcopy(args).mix_kwargs is not args.mix_kwargs


def test_an_empty_token_is_none(hub, tmp_path):
    trainer = make_trainer(tmp_path / "out", hub_token="")
    with pytest.raises(ValueError, match="needs a token"):
        trainer.push_to_hub()
    assert hub.requests == []


def test_no_token_gets_into_the_log(hub, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    trainer = make_trainer(tmp_path / "out", **saving())
    hub.faults.append(Fault("commit/main", status=500, headers={"X-Error-Message": f"bad {TOKEN}"}, times=1))
    trainer.train()
    trainer.push_to_hub()
    assert TOKEN not in caplog.text
