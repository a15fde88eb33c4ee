"""Ctrl-C and SIGTERM end a run after a whole step, with a checkpoint, and it goes on as if nothing had happened."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
import threading
from types import SimpleNamespace

import pytest
from runs import arguments, assert_same_weights, make_trainer, tiny_rows, weights
from safetensors.torch import load_file
from table_files import write_table
from tiny import tiny_model, tiny_tokenizer
from transformers import TrainerControl, TrainerState

from mixtext_hf.cli import main as cli
from mixtext_hf.cli.making_runs import going_on
from mixtext_hf.training import MixTrainer, stopping
from mixtext_hf.training.stopping import Stopped
from mixtext_hf.training.whole_checkpoints import newest_whole


@pytest.fixture(autouse=True)
def _as_in_a_terminal():
    """Whoever started the tests, such as a shell in the background, may have Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Told(MixTrainer):
    """Gets a signal in the middle of a step."""

    number, step, times = signal.SIGINT, 3, 1
    sent = False

    def training_step(self, *args, **kwargs):
        loss = super().training_step(*args, **kwargs)
        if self.state.global_step + 1 == self.step and not self.sent:
            self.sent = True
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)
        return loss


def told(folder, **settings):
    args = arguments(folder, max_steps=6, learning_rate=1e-3, **settings)
    return make_trainer(tiny_model("bert", dropout=0.1), args, tiny_rows(32), kind=Told)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_signal_ends_after_the_step_and_the_run_goes_on_bit_for_bit(tmp_path, number, accumulation):
    settings = {"gradient_accumulation_steps": accumulation}
    whole = told(tmp_path / "whole", **settings)
    whole.step = 0
    whole.train()
    before = signal.getsignal(number)
    trainer = told(tmp_path / "out", **settings)
    trainer.number = number
    with pytest.raises(
        Stopped, match=f"Stopped by {signal.Signals(number).name} after step 3: .*checkpoint-3 is kept"
    ) as ended:
        trainer.train()
    assert ended.value.exit_code == 128 + number and isinstance(ended.value, KeyboardInterrupt)
    assert signal.getsignal(number) is before
    assert newest_whole(tmp_path / "out") == (tmp_path / "out" / "checkpoint-3", {})
    again = told(tmp_path / "out", **settings)
    again.step = 0
    again.train(resume_from_checkpoint=True)
    assert_same_weights(weights(again.model), weights(whole.model))


def test_a_training_that_saves_nothing_says_so(tmp_path, caplog):
    """Such as that of a classifier that guesses, on the way to another."""
    trainer = told(tmp_path / "out")
    trainer.stop.saves = False
    with pytest.raises(Stopped, match="after step 3 of a classifier that guesses, which is trained anew") as ended:
        trainer.train()
    assert ended.value.checkpoint is None and newest_whole(tmp_path / "out")[0] is None
    assert "SIGINT: this step is finished; once more" in caplog.text


def test_workers_of_the_loader_hear_it_too_and_stay(tmp_path):
    """A terminal sends Ctrl-C to all processes in the foreground."""
    trainer = told(tmp_path, dataloader_num_workers=1)
    trainer.step = 0

    def step(*args, **kwargs):
        if trainer.state.global_step == 2:
            for process in [*multiprocessing.active_children(), multiprocessing.current_process()]:
                os.kill(process.pid, signal.SIGINT)
        return MixTrainer.training_step(trainer, *args, **kwargs)

    trainer.training_step = step
    with pytest.raises(Stopped, match=r"after step 3: .*checkpoint-3 is kept"):
        trainer.train()


def test_a_second_one_ends_at_once(tmp_path):
    trainer = told(tmp_path)
    trainer.times = 2
    with pytest.raises(KeyboardInterrupt) as ended:
        trainer.train()
    assert not isinstance(ended.value, Stopped)
    assert not [*tmp_path.glob("checkpoint-*")]


@pytest.mark.parametrize("seconds", [0.0, 5.0])
def test_a_sigterm_that_a_launcher_hands_on_is_no_second_one(tmp_path, monkeypatch, seconds):
    """Both the launcher and its processes are told where a job is cancelled."""
    monkeypatch.setattr(stopping, "_SAME_WITHIN_SECONDS", seconds)
    ended, before = [], signal.getsignal(signal.SIGTERM)
    trainer = told(tmp_path)
    trainer.number, trainer.times = signal.SIGTERM, 2
    # In place of the end of this process.
    monkeypatch.setattr(signal, "raise_signal", ended.append)
    with pytest.raises(Stopped, match=r"SIGTERM after step 3: .*checkpoint-3 is kept"):
        trainer.train()
    assert ended == ([signal.SIGTERM] if seconds == 0 else [])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("takes", "every"), [(0.01, 10), (1.0, 5), (60.0, 1)])
def test_several_processes_ask_each_other_in_time(tmp_path, monkeypatch, takes, every):
    """A launcher kills after 30 seconds. What comes while they ask is heard when they ask again."""
    now, asked = [0.0], []
    trainer = told(tmp_path)
    stop = trainer.stop

    def gather(own):
        asked.append(step)
        stop._heard = signal.SIGTERM
        return [*own, (None, takes)]

    monkeypatch.setattr(stopping, "gather_object", gather)
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    args, state, control = SimpleNamespace(world_size=2), TrainerState(max_steps=100), TrainerControl()
    for step in range(1, 30):
        now[0] += takes / 2
        state.global_step = step
        stop.on_step_end(args, state, control)
        if control.should_training_stop:
            break
    assert asked == [1, 2] and stop.number == signal.SIGTERM and control.should_save
    assert stop._next == 2 + every


def test_one_in_the_last_step_changes_nothing(tmp_path):
    trainer = told(tmp_path)
    trainer.step = 6
    trainer.train()
    assert trainer.state.global_step == 6


def test_handlers_of_others_are_left_alone(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        trainer = told(tmp_path)
        trainer.number = signal.SIGTERM
        trainer.train()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM] and trainer.state.global_step == 6


def test_training_in_a_thread_listens_to_nothing(tmp_path):
    trainer = told(tmp_path)
    trainer.step = 0
    thread = threading.Thread(target=trainer.train)
    thread.start()
    thread.join()
    assert trainer.state.global_step == 6


def test_the_command_says_in_a_line_how_to_go_on_and_that_does(tmp_path, capsys, monkeypatch):
    tiny_model("bert", num_labels=2).base_model.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    rows = [{"text": f"w{i % 7} w{i % 5}", "label": "ab"[i % 2]} for i in range(40)]

    def command(out):
        given = [
            f"--train_file={write_table(tmp_path / 'train.csv', rows)}",
            f"--model_name_or_path={tmp_path / 'base'}",
        ]
        flags = ["--max_steps=6", "--max_seq_length=16", "--do_train", "--save_strategy=no", "--report_to=none"]
        return ["train-text", *given, *flags, f"--output_dir={tmp_path / out}"]

    cli.main(command("whole"))
    with monkeypatch.context() as patch:
        patch.setattr("mixtext_hf.cli.train_text.MixTrainer", Told)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(command("out"))
    assert ended.value.code == 130
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("Stopped by SIGINT after step 3: ") and "checkpoint-3 is kept." in said
    words = shlex.split(said.split("To go on: ")[1])
    assert words[0] == "mixtext-hf"
    cli.main(words[1:])
    one, other = (load_file(tmp_path / out / "model.safetensors") for out in ("whole", "out"))
    assert_same_weights(one, other)


def test_how_to_go_on():
    typed = "mixtext-hf train-text --output_dir 'a b' --resume_from_checkpoint last --overwrite_output_dir"
    assert going_on(typed) == "mixtext-hf train-text --output_dir 'a b' --resume_from_checkpoint True"
    assert going_on("x --resume_from_checkpoint=True --seed 1") == "x --seed 1 --resume_from_checkpoint True"


def test_other_commands_end_in_a_line_too(monkeypatch, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    for name, said in (("evaluate", "Interrupted"), ("compare", "Interrupted; the same command goes on where it was")):
        module = cli.import_module(f"mixtext_hf.cli.{name}")
        monkeypatch.setattr(module, "main", interrupted)
        with pytest.raises(SystemExit) as ended:
            cli.main([name])
        assert ended.value.code == 130 and capsys.readouterr().err == f"{said}\n"
