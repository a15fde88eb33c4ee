"""The benchmarks: what they compare is what they say, and the commands run."""

from __future__ import annotations

import json
import shlex
import sys
import time
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny import DEPTH, decoder_tokenizer, tiny_batch, tiny_model, tiny_tokenizer

from mixtext_hf.cli.benchmark import command as benchmark
from mixtext_hf.cli.benchmark import measuring
from mixtext_hf.cli.benchmark import mixtext as benchmark_mixtext
from mixtext_hf.cli.benchmark import trainer as benchmark_trainer
from mixtext_hf.cli.benchmark.command import main, make_parser
from mixtext_hf.cli.benchmark.mixtext import (
    OFFICIAL_LENGTH,
    STEPS,
    Round,
    make_rounds,
    make_steps,
    mixtext_trainer,
    official_index,
    official_inputs,
)
from mixtext_hf.cli.benchmark.official_mixtext import official_losses
from mixtext_hf.mixing import MixPlan, draw_plan


LONG = {"max_position_embeddings": 2 * OFFICIAL_LENGTH, "num_labels": 4}
TEXTS = [" ".join(f"w{(i * j) % 40}" for j in range(1, 6 + i % 7)) for i in range(40)]
NO_MEMORY = {"before_mib": 100.0, "peak_mib": 300.0}


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("bert"))
    tiny_model("bert", dropout=0.1, **LONG).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def without_children(monkeypatch):
    """A child process takes seconds to import everything, and a command starts one for each step."""
    for module in (benchmark, benchmark_mixtext):
        monkeypatch.setattr(module, "memory_in_child", lambda argv, step: NO_MEMORY)


def opinionated_model():
    """Without dropout, and with predictions far from uniform: the unlabelled loss is not small."""
    model = tiny_model("bert", **LONG)
    with torch.no_grad():
        model.classifier.weight.mul_(5)
    return model


def unpadded_round(layer: int, seed: int = 0) -> Round:
    """28 texts of one length, mixed across kinds and views."""
    generator = torch.Generator().manual_seed(seed)
    batch = {
        **tiny_batch(lengths=(10,) * 28, seed=seed),
        "labels": torch.tensor([0, 1, 2, 3] + [-100] * 24),
        "text_labels": torch.full((8,), -100),
    }
    lam = torch.full((28,), 0.625)  # exact in float32 and as a Python number
    return Round(3, batch, MixPlan(torch.randperm(28, generator=generator), lam, layer=layer))


def parse(*arguments: str):
    return make_parser().parse_args(["mixtext", *arguments])


# ---- the official procedure and ours are the same computation ----


@pytest.mark.parametrize("layer", [0, 2, 3, DEPTH])
def test_the_official_losses_are_ours(layer):
    ours = opinionated_model()
    official = deepcopy(ours).train()
    round_ = unpadded_round(layer, seed=layer)

    trainer = mixtext_trainer(ours, 10)
    trainer.plan, trainer.state.global_step = round_.plan, round_.number
    ours.train()
    total = trainer.training_step(ours, round_.batch)
    trainer.log({"loss": float(total)})
    logged = trainer.state.log_history[-1]

    loss_x, loss_u = official_losses(official, **official_inputs(round_))
    (loss_x + loss_u).backward()

    assert loss_x.item() == pytest.approx(logged["loss_supervised"], abs=1e-5)
    assert loss_u.item() == pytest.approx(logged["loss_unlabeled"], abs=1e-5)
    assert loss_x > 0.1
    assert loss_u > 0.1
    gradients = {name: parameter.grad for name, parameter in official.named_parameters()}
    assert any(gradient.abs().max() > 1e-2 for gradient in gradients.values())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_losses_depend_on_partners_lambda_and_layer():
    """So that the test above would see a wrong one."""
    model = opinionated_model().train()
    right = official_inputs(unpadded_round(2))
    partners = torch.arange(36)
    for wrong in ({"index": partners}, {"lam": 0.75}, {"layer": 3}, {"temperature": 1.0}):
        losses = [official_losses(model, **inputs) for inputs in (right, {**right, **wrong})]
        assert (losses[0][1] - losses[1][1]).abs() > 1e-3, wrong


def test_official_index():
    plan = draw_plan(28, alpha=16.0, layers=[2], rng=np.random.default_rng(0))
    index = official_index(plan.index)
    assert sorted(index.tolist()) == list(range(36))
    assert index[28:].tolist() == list(range(28, 36))
    assert official_index(torch.arange(28)).tolist() == list(range(36))
    ours = torch.arange(28)
    ours[0] = 4  # the first labelled text with the first original: row 20 of the official batch
    assert official_index(ours)[0] == 20
    ours[12] = 27  # the first of view 1 with the last of view 2
    assert official_index(ours)[4] == 19


# ---- what each step computes ----


def test_each_step_runs_the_rows_that_it_should(tiny_bert, monkeypatch):
    """Counted at the layers: (rows, tokens) of every call."""
    args = parse("--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0", "--seq_length", "24")
    models = []
    load = benchmark_mixtext.load_model
    monkeypatch.setattr(benchmark_mixtext, "load_model", lambda name: models.append(load(name)) or models[-1])
    steps = make_steps(list(STEPS), args)
    assert list(steps) == list(STEPS)
    assert len(models) == 2
    calls = []
    for model in models:
        for layer in model.bert.encoder.layer:
            layer.register_forward_hook(lambda module, args, output: calls.append(tuple(output.shape[:2])))
    (round_,) = make_rounds(args)
    assert round_.length == 24

    def rows_of(name):
        calls.clear()
        steps[name](round_)
        lengths = {length for _, length in calls}
        assert len(lengths) == 1
        return sum(rows for rows, _ in calls), lengths.pop()

    official = 3 * 8 * DEPTH + 36 * (DEPTH + round_.plan.layer)
    assert rows_of("mixtext") == (24 * DEPTH + 28 * DEPTH, 24)
    assert rows_of("official") == (official, 24)
    assert rows_of("official_256") == (official, OFFICIAL_LENGTH)
    assert rows_of("erm") == (8 * DEPTH, 24)


@pytest.mark.parametrize("name", STEPS)
def test_each_step_trains_its_model(tiny_bert, monkeypatch, name):
    args = parse("--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0", "--seq_length", "8")
    models = []
    load = benchmark_mixtext.load_model
    monkeypatch.setattr(benchmark_mixtext, "load_model", lambda name: models.append(load(name)) or models[-1])
    steps = make_steps([name], args)
    (model,) = models
    before = {key: value.clone() for key, value in model.state_dict().items()}
    steps[name](make_rounds(args)[0])
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert {"classifier.weight", "bert.encoder.layer.0.output.dense.weight"} <= moved


def test_rounds_are_reproducible_and_differ(tiny_bert):
    args = parse("--model_name_or_path", tiny_bert, "--rounds", "6", "--warmup", "1")
    rounds, again = make_rounds(args), make_rounds(args)
    assert [round_.number for round_ in rounds] == list(range(7))
    for one, other in zip(rounds, again, strict=True):
        assert torch.equal(one.plan.index, other.plan.index)
        assert all(torch.equal(value, other.batch[name]) for name, value in one.batch.items())
    assert len({round_.plan.layer for round_ in rounds}) > 1
    assert len({float(round_.plan.lam[0]) for round_ in rounds}) == 7
    lengths = torch.cat([round_.batch["attention_mask"].sum(dim=1) for round_ in rounds])
    assert 45 <= lengths.median() <= 55
    assert lengths.max() == 64
    assert all(bool((lam == lam[0]).all()) for lam in (round_.plan.lam for round_ in rounds))


# ---- the commands ----


def test_mixtext_prints_json(tiny_bert, capsys, without_children):
    main(["mixtext", "--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["step"] for row in rows] == ["mixtext", "official", "official_256", "erm"]
    assert [row["rows"] for row in rows] == [28, 36, 36, 8]
    assert [row["tokens"] for row in rows] == [64, 64, 256, 64]
    assert rows[0]["mixtext_time_ratio"] == rows[0]["mixtext_memory_ratio"] == 1
    assert all(row["milliseconds"] > 0 for row in rows)
    assert all(row["mixtext_time_ratio"] > 0 for row in rows)
    assert all(row["steps_mib"] == 200 for row in rows)


def test_mixtext_prints_a_table_on_real_texts(tiny_bert, capsys, without_children, tmp_path):
    file = str(tmp_path / "texts.parquet")
    Dataset.from_dict({"body": TEXTS, "one": TEXTS[::-1], "two": TEXTS}).to_parquet(file)
    options = ["--text_file", file, "--text_column", "body", "--rounds", "1", "--warmup", "0"]
    main(["mixtext", "--model_name_or_path", tiny_bert, *options])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f"texts of {file}, 1 rounds")
    assert [line.split(" | ")[0] for line in lines[4:]] == [f"| {text}" for text in STEPS.values()]
    assert all(line.count("|") == lines[2].count("|") for line in lines[3:])

    args = parse("--model_name_or_path", tiny_bert, *options)
    dropped = make_rounds(args)[0].batch
    assert dropped["attention_mask"].sum(dim=1).max() == dropped["input_ids"].shape[1] <= 13  # [CLS], 11 words, [SEP]
    assert dropped["labels"].tolist()[4:] == [-100] * 24
    named = make_rounds(parse("--model_name_or_path", tiny_bert, *options, "--view_columns", "one", "two"))[0].batch
    assert torch.equal(named["input_ids"][4:12], named["input_ids"][20:28])
    assert not torch.equal(named["input_ids"][4:12], named["input_ids"][12:20])
    assert make_rounds(parse("--model_name_or_path", tiny_bert, *options, "--seq_length", "5"))[0].length == 5


def test_texts_of_a_decoder_end_at_the_same_place(tmp_path, capsys, without_children):
    tiny_model("llama", pad_token_id=1, num_labels=4).save_pretrained(tmp_path)
    decoder_tokenizer().save_pretrained(tmp_path)
    methods = ["--methods", "tmix", "--rounds", "1", "--warmup", "0", "--batch_size", "4", "--seq_length", "12"]
    main(["text", "--model_name_or_path", str(tmp_path), *methods, "--json"])
    assert [row["method"] for row in json.loads(capsys.readouterr().out)] == ["erm", "tmix"]
    args = make_parser().parse_args(["text", "--model_name_or_path", str(tmp_path), *methods])
    batch = benchmark._batch(args, tiny_model("llama", pad_token_id=1, num_labels=4))
    is_token = batch["attention_mask"].bool()
    assert bool(is_token[:, -1].all()) and not bool(is_token[1:, 0].all())
    assert torch.equal(batch["input_ids"] != 1, is_token)


def test_text_compares_the_methods_that_need_no_unlabelled_texts(tiny_bert, capsys, without_children):
    main(["text", "--model_name_or_path", tiny_bert, "--rounds", "2", "--warmup", "1", "--batch_size", "4", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == [
        "erm",
        "tmix",
        "manifold_mixup",
        "embed_mixup",
        "pooled_mixup",
        "ssmix",
        "puzzle_tmix",
    ]
    assert rows[0]["time_ratio"] == 1
    with pytest.raises(SystemExit):
        make_parser().parse_args(["text", "--methods", "mixtext"])


def test_methods_that_keep_their_saliency_measure_in_one_of_so_many_rounds(
    tiny_bert, capsys, monkeypatch, without_children
):
    passes, load = [], benchmark.load_model

    def counted(name):
        model = load(name)
        model.register_forward_pre_hook(lambda *call: passes.append(len(passes)))
        return model

    monkeypatch.setattr(benchmark, "load_model", counted)
    argv = [
        "text",
        "--model_name_or_path",
        tiny_bert,
        "--warmup",
        "2",
        "--batch_size",
        "4",
        "--json",
        "--methods",
        "ssmix",
    ]
    main([*argv, "--rounds", "7", "--saliency_every", "3"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == ["erm", "ssmix", "ssmix_kept"]
    # Kept: twice in the warm-up, and in rounds 0, 3 and 6.
    assert len(passes) == 9 + 2 * 9 + (2 + 3) + 9
    with pytest.raises(SystemExit):
        main([*argv, "--rounds", "2", "--saliency_every", "3"])
    assert "--saliency_every 3 of --rounds 2: give at least 1" in capsys.readouterr().err


def test_so_many_rounds_are_one():
    times = {"erm": [1.0, 3.0, 1.0, 1.0, 9.0], "ssmix_kept": [4.0, 4.0, 2.0, 4.0, 9.0]}
    row = benchmark._row("ssmix_kept", times, dict.fromkeys(times, NO_MEMORY), 2)
    assert row["time_ratio"] == 2.5 and row["milliseconds"] == 3500


@pytest.fixture
def commands(monkeypatch, capsys):
    """What would be run in processes of their own, and is run in this one."""
    commands = []

    def in_this_one(command, **kwargs):
        commands.append(command)
        main(command[3:])
        return SimpleNamespace(stdout=capsys.readouterr().out)

    monkeypatch.setattr(measuring.subprocess, "run", in_this_one)
    return commands


def test_the_memory_of_a_step_is_what_a_process_of_its_own_prints(tiny_bert, commands):
    argv = ["mixtext", "--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0"]
    memory = measuring.memory_in_child(argv, "erm")
    assert commands[0][:3] == [sys.executable, "-m", "mixtext_hf.cli.benchmark.command"]
    assert 50 < memory["before_mib"] <= memory["peak_mib"]


@pytest.mark.deep
def test_memory_in_a_child(tiny_bert):
    argv = ["mixtext", "--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0"]
    memory = benchmark_mixtext.memory_in_child(argv, "official_256")
    assert 50 < memory["before_mib"] < memory["peak_mib"]


@pytest.mark.parametrize("name", benchmark_trainer.CASES)
def test_both_trainers_of_a_pair_put_as_many_rows_through_the_model(name, tmp_path):
    args = make_parser().parse_args(["trainer", "--steps", "2", "--warmup", "0", "--batch_size", "4"])
    seen = []
    for trainer in benchmark_trainer.make_pair(name, args, tmp_path):
        rows = []
        trainer.model.register_forward_pre_hook(
            lambda module, given, kwargs, rows=rows: rows.append(len(next(iter(kwargs.values())))), with_kwargs=True
        )
        trainer.train()
        seen.append(rows)
    expected = benchmark_trainer.rows_of(name, args)
    assert expected == (28 if name.startswith("mixtext") else 4)
    assert seen[0] == [expected] * 2
    # One more pass: for the guesses, for the saliency.
    extra = {"mixtext_online": 8, "puzzlemix": 4}.get(name)
    assert seen[1] == ([expected] if extra is None else [extra, expected]) * 2


def test_the_cost_of_a_step_is_printed(capsys):
    options = ["trainer", "--methods", "erm", "mixtext", "--steps", "4", "--rounds", "2", "--warmup", "1"]
    main([*options, "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [(row["method"], row["rows"]) for row in rows] == [("erm", 4), ("mixtext", 28)]
    assert all(row["plain_ms"] > 0 and row["milliseconds"] > 0 for row in rows)
    main(options)
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[-2:]] == ["| erm", "| mixtext"]
    for wrong, message in (("--rounds", "--rounds is 0"), ("--steps", "--steps is 0: give at least 3")):
        assert message in refused(capsys, [*options, wrong, "0"])


# ---- what is wrong is said before anything runs ----


def refused(capsys, argv):
    """The line with which the command ends."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(argv)
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "Traceback" not in said
    return said.splitlines()[-1]


def test_only_a_bert(tmp_path, capsys):
    folder = str(tmp_path)
    tiny_model("roberta", **LONG).save_pretrained(folder)
    said = refused(capsys, ["mixtext", "--model_name_or_path", folder, "--rounds", "1"])
    assert "is a RobertaForSequenceClassification, and the official procedure is that of a" in said


def test_only_one_that_takes_256_tokens(tmp_path, capsys):
    folder = str(tmp_path)
    tiny_model("bert", num_labels=4).save_pretrained(folder)
    said = refused(capsys, ["mixtext", "--model_name_or_path", folder, "--rounds", "1"])
    assert "takes 64 tokens, and the official procedure pads to 256" in said


@pytest.mark.parametrize(
    "options, message",
    [
        (["--seq_length", "300"], "--seq_length must lie in 4..256, got 300"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--warmup", "-1"], "--warmup is -1"),
        (["--view_columns", "a", "b"], "--view_columns are columns of --text_file, and there is none"),
        (["--text_file", "no.parquet"], "`text_file`: there is no file 'no.parquet'"),
    ],
)
def test_wrong_options(tiny_bert, capsys, options, message):
    assert message in refused(capsys, ["mixtext", "--model_name_or_path", tiny_bert, *options])


def test_a_file_without_the_column(tiny_bert, tmp_path, capsys):
    file = str(tmp_path / "texts.parquet")
    Dataset.from_dict({"body": TEXTS}).to_parquet(file)
    said = refused(capsys, ["mixtext", "--model_name_or_path", tiny_bert, "--text_file", file])
    assert "text column 'text': the unlabelled texts have no such column, they have body" in said


@pytest.mark.deep
def test_guesses_take_little_more_memory_for_thirty_times_the_rows(capsys):
    main(["guesses", "--rows", "2000", "60000", "--dimensions", "32", "--threads", "1", "--json"])
    few, many = (row["peak_mib"] - row["before_mib"] for row in json.loads(capsys.readouterr().out)["guesses"])
    assert many < few + 60, (few, many)


def test_results_go_to_a_file_with_their_command(tiny_bert, tmp_path, capsys, without_children):
    file = tmp_path / "new" / "text.json"
    options = ["text", "--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0", "--methods", "tmix"]
    main([*options, f"--output_file={file}"])
    assert "| tmix |" in capsys.readouterr().out
    report = json.loads(file.read_text())
    assert report["command"] == shlex.join(["mixtext-hf", "benchmark", *options])
    assert [row["method"] for row in report["rows"]] == ["erm", "tmix"]
    assert report["threads"] == torch.get_num_threads() and "torch" in report["versions"]


def test_seconds_of_the_processor(tiny_bert, capsys, monkeypatch, without_children):
    clocks, measure = [], benchmark.interleaved_times

    def noted(steps, rounds, warmup, clock):
        clocks.append(clock)
        return measure(steps, rounds, warmup, clock)

    monkeypatch.setattr(benchmark, "interleaved_times", noted)
    options = ["text", "--model_name_or_path", tiny_bert, "--rounds", "1", "--warmup", "0", "--methods", "tmix"]
    main([*options, "--clock", "processor"])
    main(options)
    assert clocks == [time.process_time, time.perf_counter]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert "--clock processor says nothing of the work of a GPU" in refused(capsys, [*options, "--clock", "processor"])


def test_guesses_are_timed(capsys, commands):
    main(["guesses", "--rows", "2000", "6000", "--dimensions", "32", "--threads", "1", "--json"])
    measured = json.loads(capsys.readouterr().out)["guesses"]
    assert [row["rows"] for row in measured] == [2000, 6000]
    assert all(row["fit_seconds"] > 0 and row["guess_seconds"] > 0 for row in measured)
    main(["guesses", "--rows", "3000", "--dimensions", "16", "--classes", "3", "--threads", "1"])
    out = capsys.readouterr().out
    assert "16 dimensions, 3 classes" in out and "| 3,000 |" in out
