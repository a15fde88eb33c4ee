"""A run goes on from the newest checkpoint that is whole, and says which ones it passed over and why."""

from __future__ import annotations

import logging
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from runs import arguments, assert_same_weights, make_trainer, tiny_rows, weights
from tiny import tiny_model

from mixtext_hf.training.whole_checkpoints import (
    MANIFEST,
    UNFINISHED,
    BrokenCheckpoint,
    begin,
    checkpoints_of,
    newest_whole,
    remove_older,
    why_not_whole,
)


def trainer_in(folder, **settings):
    given = {"max_steps": 6, "learning_rate": 1e-3, "save_strategy": "steps", "save_steps": 2, **settings}
    return make_trainer(tiny_model("bert", dropout=0.1), arguments(folder, **given), tiny_rows(32))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of six steps with a checkpoint every two, and its weights."""
    folder = tmp_path_factory.mktemp("trained")
    trainer = trainer_in(folder)
    trainer.train()
    return folder, weights(trainer.model)


@pytest.fixture
def ended(trained, tmp_path):
    """That run, ended after its fifth step: the checkpoints 2 and 4."""
    shutil.copytree(trained[0], tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "checkpoint-6")
    return tmp_path / "out"


FILES = (
    "config.json",
    "model.safetensors",
    "optimizer.pt",
    "rng_state.pth",
    "scheduler.pt",
    "trainer_state.json",
    "training_args.bin",
)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(content)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "missing": Path.unlink,
    "halved": halve,
    "empty": lambda path: path.write_bytes(b""),
    "flipped": flip,
}


def test_every_checkpoint_ends_in_a_manifest_of_its_files(trained):
    for checkpoint in checkpoints_of(trained[0]):
        assert why_not_whole(checkpoint) is None and not (checkpoint / UNFINISHED).exists()
        assert {path.name for path in checkpoint.iterdir()} >= {*FILES, MANIFEST}
    assert [path.name for path in checkpoints_of(trained[0])] == ["checkpoint-6", "checkpoint-4", "checkpoint-2"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_any_damage_of_any_file_is_seen_and_named(ended, name, damage):
    DAMAGES[damage](ended / "checkpoint-4" / name)
    if (name, damage) == (MANIFEST, "missing"):
        assert why_not_whole(ended / "checkpoint-4") is None  # as one of plain transformers, and its files are whole
        return
    found, passed = newest_whole(ended)
    assert found == ended / "checkpoint-2"
    if (name, damage) != (MANIFEST, "flipped"):  # that may be the digest of another file
        assert name in passed["checkpoint-4"]
    with pytest.raises(BrokenCheckpoint, match="is no whole checkpoint: "):
        trainer_in(ended).train(resume_from_checkpoint=str(ended / "checkpoint-4"))


@pytest.mark.parametrize("damage", ["unfinished", "optimizer.pt", "trainer_state.json", "model.safetensors"])
def test_a_run_goes_on_from_the_newest_whole_one_bit_for_bit(ended, trained, caplog, damage):
    broken = ended / "checkpoint-4"
    if damage == "unfinished":
        (broken / UNFINISHED).touch()
        (broken / MANIFEST).unlink()
    else:
        (broken / damage).unlink()
    trainer = trainer_in(ended)
    with caplog.at_level(logging.WARNING):
        trainer.train(resume_from_checkpoint=True)
    assert f"{broken} is passed over: " in caplog.text
    assert_same_weights(weights(trainer.model), trained[1])
    # Written anew on the way, and whole.
    assert [why_not_whole(path) for path in checkpoints_of(ended)] == [None] * 3


def test_none_that_is_whole_is_an_error_that_says_why(ended):
    for checkpoint in checkpoints_of(ended):
        (checkpoint / "scheduler.pt").unlink()
    with pytest.raises(
        BrokenCheckpoint, match=r"holds no whole checkpoint \(checkpoint-4: scheduler.pt is missing; checkpoint-2"
    ):
        trainer_in(ended).train(resume_from_checkpoint=True)


def test_a_run_that_was_ended_before_its_first_checkpoint_starts_again(ended, trained, caplog):
    shutil.rmtree(ended / "checkpoint-2")
    begin(ended / "checkpoint-4")
    trainer = trainer_in(ended)
    with caplog.at_level(logging.WARNING):
        trainer.train(resume_from_checkpoint=True)
    assert "starts from its beginning" in caplog.text
    assert_same_weights(weights(trainer.model), trained[1])


def test_a_model_without_a_checkpoint_is_not_trained_over(ended):
    shutil.rmtree(ended)
    trainer = trainer_in(ended)
    trainer.save_model()
    with pytest.raises(BrokenCheckpoint, match=r"holds a model \(config.json\) and no checkpoint"):
        trainer.train(resume_from_checkpoint=True)


@pytest.mark.parametrize("damage", ["halved", "empty"])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json"]
)
def test_damage_without_a_manifest_is_seen_as_far_as_files_tell(ended, name, damage):
    (ended / "checkpoint-4" / MANIFEST).unlink()
    DAMAGES[damage](ended / "checkpoint-4" / name)
    assert name in newest_whole(ended)[1]["checkpoint-4"]


def test_a_flipped_bit_in_an_archive_without_a_manifest_is_seen(ended):
    (ended / "checkpoint-4" / MANIFEST).unlink()
    path = ended / "checkpoint-4" / "optimizer.pt"
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<HH", content, largest.header_offset + 26)
    content[largest.header_offset + 30 + name + extra + largest.file_size // 2] ^= 1
    path.write_bytes(content)
    assert newest_whole(ended)[1] == {"checkpoint-4": "optimizer.pt is damaged"}


def test_weights_alone_are_gone_on_with_only_if_asked_for(tmp_path):
    trainer_in(tmp_path, save_only_model=True).train()
    shutil.rmtree(tmp_path / "checkpoint-6")
    with pytest.raises(
        BrokenCheckpoint, match=r"has no optimizer\.pt, scheduler\.pt, rng_state\.pth.*resume_weights_alone=True"
    ):
        trainer_in(tmp_path).train(resume_from_checkpoint=True)
    trainer = trainer_in(tmp_path, resume_weights_alone=True)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 6


def test_a_save_that_fails_in_the_middle_leaves_a_mark_and_the_older_ones(tmp_path, monkeypatch):
    trainer = trainer_in(tmp_path, save_total_limit=1)
    plain = type(trainer)._save_rng_state

    def full(self, output_dir):
        if "checkpoint-4" in output_dir:
            raise OSError(28, "No space left on device")
        plain(self, output_dir)

    monkeypatch.setattr(type(trainer), "_save_rng_state", full)
    with pytest.raises(OSError, match="No space left"):
        trainer.train()
    assert trainer.args.save_total_limit == 1
    assert newest_whole(tmp_path) == (tmp_path / "checkpoint-2", {"checkpoint-4": "it was not finished"})


def test_as_many_checkpoints_as_wanted_stay(tmp_path):
    trainer_in(tmp_path, save_total_limit=1).train()
    assert [path.name for path in checkpoints_of(tmp_path)] == ["checkpoint-6"]


def test_the_best_one_stays_beside_the_newest(tmp_path):
    for step in (2, 10, 4, 6):
        (tmp_path / f"checkpoint-{step}").mkdir()
    remove_older(tmp_path, keep=3, best=str(tmp_path / "checkpoint-2"))
    assert [path.name for path in checkpoints_of(tmp_path)] == ["checkpoint-10", "checkpoint-6", "checkpoint-2"]
    remove_older(tmp_path, keep=1, best=str(tmp_path / "checkpoint-2"))
    assert [path.name for path in checkpoints_of(tmp_path)] == ["checkpoint-10", "checkpoint-2"]
    remove_older(tmp_path / "none", keep=1, best=None)


def test_a_checkpoint_is_an_ordinary_one(trained):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(trained[0] / "checkpoint-6")
    assert all(torch.equal(value, trained[1][name]) for name, value in model.state_dict().items())
