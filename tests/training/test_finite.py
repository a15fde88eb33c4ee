"""A run whose numbers are not finite stops at that step, says why, and saves nothing of it."""

from __future__ import annotations

import json

import pytest
import torch
from image_runs import make_image_trainer
from runs import arguments, make_trainer, tiny_rows, weights
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer

from mixtext_hf.cli.train_text import main
from mixtext_hf.methods import ERM, PuzzleMix
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.finite import NonFinite
from mixtext_hf.training.whole_checkpoints import MANIFEST


class Poisoned(MixTrainer):
    """The gradient (or the loss) of some steps is not a number."""

    steps: tuple[int, ...] = ()
    of = "gradient"

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        if self.state.global_step + 1 in self.steps:
            next(self.model.parameters()).grad.fill_(float("nan"))
        return loss


def poisoned(folder, *steps, **settings):
    args = arguments(folder, max_steps=6, learning_rate=1e-3, **settings)
    trainer = make_trainer(tiny_model("bert"), args, tiny_rows(32), kind=Poisoned)
    trainer.steps = steps
    return trainer


@pytest.mark.parametrize("method", ["erm", "tmix"])
def test_a_run_that_diverges_stops_and_saves_nothing(tmp_path, method):
    args = arguments(
        tmp_path / "out", mix_method=method, learning_rate=1e38, max_steps=50, save_strategy="steps", save_steps=10
    )
    trainer = make_trainer(tiny_model("bert"), args, tiny_rows(32))
    with pytest.raises(
        NonFinite, match=r"stopped in step \d+: .*is (nan|inf).*learning_rate=1e\+38.*Nothing was saved"
    ):
        trainer.train()
    assert trainer.state.global_step < 10 and not [*tmp_path.glob("out/**/*.safetensors")]


def test_the_step_the_term_and_the_texts_are_named(tmp_path):
    trainer = poisoned(tmp_path, 3, save_strategy="steps", save_steps=2, logging_steps=500)
    with pytest.raises(
        NonFinite, match=r"step 4: loss_supervised is nan\. Its batch: '.*The last checkpoint is .*checkpoint-2"
    ):
        trainer.train()


def test_weights_that_the_last_step_spoils_are_not_saved(tmp_path):
    trainer = poisoned(tmp_path, 6, logging_steps=500)
    with pytest.raises(NonFinite, match=r"step 6: the weights .* are not finite"):
        trainer.train()
    with pytest.raises(NonFinite):
        trainer.save_model()
    assert not [*tmp_path.glob("*.safetensors")]


def test_a_logged_norm_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(NonFinite, match="the norm of the gradient is nan"):
        poisoned(tmp_path, 2, logging_steps=1).train()


@pytest.mark.parametrize("every", [1, 50])
def test_where_looking_waits_for_the_device_flags_are_read_later(tmp_path, monkeypatch, every):
    """As on a GPU: at the latest when the run is over."""
    monkeypatch.setattr("mixtext_hf.training.finite.FiniteWatch._looks_at_once", False)
    monkeypatch.setattr("mixtext_hf.training.finite._EVERY", every)
    trainer = poisoned(tmp_path, 2, logging_steps=500)
    with pytest.raises(NonFinite, match=r"step 3: loss_supervised was not finite"):
        trainer.train()
    assert trainer.state.global_step == (3 if every == 1 else 6)


def test_some_steps_may_be_left_out(tmp_path):
    """As if the batch had not been there: the weights do not move, and the run ends with finite ones."""
    trainer = poisoned(tmp_path, 2, 4, skip_nonfinite_steps=2, logging_steps=1)
    seen = []
    plain = trainer.training_step

    def step(*args, **kwargs):
        seen.append(weights(trainer.model))
        return plain(*args, **kwargs)

    trainer.training_step = step
    output = trainer.train()
    assert output.metrics["skipped_steps"] == 2
    for number in (2, 4):
        assert all(torch.equal(value, seen[number - 1][name]) for name, value in seen[number].items())
    assert not all(torch.equal(value, seen[0][name]) for name, value in seen[1].items())
    with pytest.raises(NonFinite, match=r"for the 3th time \(skip_nonfinite_steps=2\)"):
        poisoned(tmp_path, 1, 2, 3, skip_nonfinite_steps=2).train()


def test_steps_left_out_before_a_checkpoint_count_after_it(tmp_path):
    settings = {"skip_nonfinite_steps": 1, "save_strategy": "steps", "save_steps": 3}
    poisoned(tmp_path, 2, **settings).train()
    with pytest.raises(NonFinite, match="for the 2th time"):
        poisoned(tmp_path, 5, **settings).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


@pytest.mark.parametrize("method", [ERM(), PuzzleMix(clean_lam=1.0)])
def test_images_too(tmp_path, method):
    trainer = make_image_trainer(tmp_path, method=method, learning_rate=1e38, max_steps=20)
    with pytest.raises(NonFinite, match="stopped in step"):
        trainer.train()


def test_the_command_says_it_in_a_line_and_fails(tmp_path, capsys):
    tiny_model("bert", num_labels=2).base_model.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    rows = [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 2]} for i in range(40)]
    given = [f"--train_file={write_table(tmp_path / 'train.csv', rows)}", f"--model_name_or_path={tmp_path / 'base'}"]
    flags = [
        "--learning_rate=1e38",
        "--max_steps=30",
        "--max_seq_length=16",
        "--do_train",
        f"--output_dir={tmp_path / 'out'}",
    ]
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*given, *flags])
    assert ended.value.code == 1
    assert "Training was stopped in step" in capsys.readouterr().err.splitlines()[-1]
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert not left & {"config.json", "model.safetensors", "README.md", "all_results.json", "training_curve.png"}, left


def test_states_of_older_checkpoints_are_read(tmp_path):
    trainer = poisoned(tmp_path, save_strategy="steps", save_steps=3)
    trainer.train()
    path = tmp_path / "checkpoint-3" / "trainer_state.json"
    state = json.loads(path.read_text())
    state["stateful_callbacks"]["Memory"]["args"] = {"values": {}}
    path.write_text(json.dumps(state))
    (path.parent / MANIFEST).unlink()
    poisoned(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
