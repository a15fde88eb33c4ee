"""`compare` with tiny models: killed, resumed, shared and failed comparisons, and every wrong input it must refuse."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from comparisons import FLAGS, compare_with_others
from table_files import write_table
from tiny import VOCAB_SIZE, tiny_model, tiny_tokenizer

from mixtext_hf.cli import planned_run
from mixtext_hf.cli.compare import main, make_comparison, make_parser
from mixtext_hf.cli.comparison_plan import WITH_ALPHA, WITH_LAYERS
from mixtext_hf.cli.planned_run import PlannedRun
from mixtext_hf.data.in_batches import write_rows
from mixtext_hf.evaluation.measures.metrics import (
    accuracy,
    balanced_accuracy,
    expected_calibration_error,
    negative_log_likelihood,
)
from mixtext_hf.methods import TMix
from mixtext_hf.training import MixTrainer
from mixtext_hf.training.guesses import frozen


DERIVED = ("table.md", "results.csv", "runs.csv")


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    """A model without a head."""
    folder = tmp_path_factory.mktemp("base")
    tiny_model("bert", num_labels=2).base_model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def rows(count: int, seed: int) -> list[dict]:
    """Texts of three classes: a class has words of its own."""
    generator = np.random.default_rng(seed)
    words = generator.integers(0, (VOCAB_SIZE - 5) // 2, (count, 6))
    return [
        {"text": " ".join(f"w{w + 9 * (i % 3)}" for w in row), "label": "abc"[i % 3]} for i, row in enumerate(words)
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    sizes = {"train": 60, "validation": 24, "test": 30}
    return {name: write_table(folder / f"{name}.csv", rows(n, seed)) for seed, (name, n) in enumerate(sizes.items())}


@pytest.fixture(scope="module")
def given(base, files) -> list[str]:
    """What every comparison here is given."""
    data = [f"--train_file={files['train']}", f"--test_file={files['test']}"]
    return ["--labeled_per_class", "4", *data, f"--model_name_or_path={base}", *FLAGS]


def text(out: Path, given: list[str], *more: str) -> list[str]:
    """Two runs, if nothing else is said."""
    return ["text", "--methods", "erm", "tmix", "--seeds", "0", f"--output_dir={out}", *given, *more]


def finished(out: Path) -> dict[str, dict]:
    """The results that are there, by the names of their folders."""
    return {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("runs/*/result.json"))}


def names(out: Path) -> list[str]:
    """The names of the finished runs without their hashes."""
    return [name.rsplit("-", 1)[0] for name in finished(out)]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# ---- what comes out ----


@pytest.fixture(scope="module")
def done(tmp_path_factory, given) -> Path:
    """An undisturbed comparison of 4 runs."""
    out = tmp_path_factory.mktemp("done")
    main(text(out, given, "--seeds", "0", "1"))
    return out


def test_runs_and_their_table(done):
    runs = [f"{method}-labels4-seed{seed}" for method in ("erm", "tmix") for seed in range(2)]
    assert sorted(names(done)) == sorted(runs)
    measured = {}
    for row in read_csv(done / "runs.csv"):
        result = finished(done)[row["run"]]
        assert (row["split"], row["n_examples"], row["steps"]) == ("test", "30", "2")
        assert result["configuration"]["training_arguments"]["seed"] == int(row["seed"])
        with np.load(done / "runs" / row["run"] / "predictions.npz") as arrays:
            p, r = arrays["probabilities"], arrays["references"]
        assert p.shape == (30, 3) and r.tolist() == [i % 3 for i in range(30)]
        numbers = {
            "accuracy": accuracy(predictions=p.argmax(axis=1), references=r),
            "balanced accuracy": balanced_accuracy(predictions=p.argmax(axis=1), references=r),
            "ECE": expected_calibration_error(probabilities=p, references=r),
            "NLL": negative_log_likelihood(probabilities=p, references=r),
        }
        assert {name: float(row[name]) for name in numbers} == numbers
        # As the trainer itself measured them, in float32.
        for name, value in numbers.items():
            assert result["metrics"][f"test_{name.lower().replace(' ', '_')}"] == pytest.approx(value, rel=1e-5)
        measured[row["variant"], int(row["seed"])] = numbers
    assert len({tuple(numbers.values()) for numbers in measured.values()}) == 4
    for row in read_csv(done / "results.csv"):
        values = [measured[row["variant"], seed][row["metric"]] for seed in range(2)]
        assert float(row["mean"]) == pytest.approx(np.mean(values))
        assert float(row["standard_deviation"]) == pytest.approx(np.std(values, ddof=1))
        if row["variant"] == "tmix":
            of_erm = [measured["erm", seed][row["metric"]] for seed in range(2)]
            assert float(row["difference"]) == pytest.approx(np.mean(values) - np.mean(of_erm))
            assert float(row["low"]) <= float(row["difference"]) <= float(row["high"])
    table = (done / "table.md").read_text(encoding="utf-8")
    assert table.splitlines()[3].startswith("| 4 | tmix | ") and "30 rows of the test split" in table
    assert (done / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert not (done / "memorisation.png").exists()


def test_of_a_run_its_result_and_its_log_are_left(done):
    for folder in (done / "runs").glob("*-seed0-*/"):
        left = {path.name for path in folder.iterdir()}
        assert left == {"result.json", "predictions.npz", "output.log", "run.json"}
        assert "train: loss " in (folder / "output.log").read_text()
        assert "mixtext-hf train-text" in json.loads((folder / "run.json").read_text())["command"]


def test_a_finished_comparison_runs_nothing(done, given, monkeypatch, capsys):
    before = {path: path.stat().st_mtime_ns for path in done.glob("runs/*/*")}
    contents = [(done / name).read_bytes() for name in DERIVED]
    monkeypatch.setattr(PlannedRun, "execute", None)
    # Others at work, another order of arguments and what has no effect find the same runs.
    main(text(done, [*given[2:], *given[:2]], "--seeds", "0", "1", "--log_level=info", "--dataloader_num_workers=0"))
    assert {path: path.stat().st_mtime_ns for path in done.glob("runs/*/*")} == before
    assert [(done / name).read_bytes() for name in DERIVED] == contents
    assert contents[0].decode() in capsys.readouterr().out


def test_a_changed_argument_makes_new_runs_and_leaves_the_old(tmp_path, given, files):
    given = [*given, "--methods", "erm"]
    main(text(tmp_path, given))
    before = finished(tmp_path)
    main(text(tmp_path, given, "--learning_rate=2e-2"))
    assert len(finished(tmp_path)) == 2 and before.items() <= finished(tmp_path).items()
    assert {row["run"] for row in read_csv(tmp_path / "runs.csv")} == set(finished(tmp_path)) - set(before)
    # The same path, other rows.
    train = Path(write_table(tmp_path / "train.csv", rows(60, 0)))
    assert [plan.folder.name for plan in plans(text(tmp_path, given, f"--train_file={train}"))] == list(before)
    write_table(train, rows(61, 0))
    assert not {plan.folder.name for plan in plans(text(tmp_path, given, f"--train_file={train}"))} & set(before)


def test_models_and_data_in_folders_are_recognised_by_what_is_in_them(tmp_path, base, given):
    model = tmp_path / "model"
    shutil.copytree(base, model)
    argv = text(tmp_path / "out", given, f"--model_name_or_path={model}")

    def folders() -> list[str]:
        return [plan.folder.name for plan in plans(argv)]

    before = folders()
    (model / "README.md").write_text("a card")
    for path in model.iterdir():
        os.utime(path)
    assert folders() == before
    tiny_model("bert", num_labels=2, seed=1).base_model.save_pretrained(model)
    assert not {*folders()} & {*before}
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    train = Path(write_table(data / "deep" / "train.csv", rows(60, 0)))
    argv = text(tmp_path / "out", ["--labeled_per_class=4", f"--dataset_name={data}", *FLAGS])
    before = folders()
    write_table(train, rows(61, 0))
    assert not {*folders()} & {*before}


def test_variants_labels_and_arguments_of_a_method(tmp_path, given, capsys):
    settings = {
        "methods": ["erm", "tmix"],
        "seeds": [0],
        "labeled_per_class": [2, 4],
        "alphas": [0.5, 2],
        "layer_sets": ["1,2"],
        "method_arguments": {"tmix": {"mix_kwargs": {"partner": "same_class"}}},
        "output_dir": str(tmp_path / "out"),
        "max_predict_samples": 12,
        "max_steps": 1,
    }
    (tmp_path / "compare.yaml").write_text(json.dumps(settings))  # JSON is YAML
    main(["text", *given[2:], f"--config={tmp_path / 'compare.yaml'}", "--alphas", "2", "--max_steps=1"])
    results = finished(tmp_path / "out")
    ends = ("-labels2-seed0", "-labels4-seed0")
    variants = ["erm", "tmix-alpha2-layers1.2"]
    assert names(tmp_path / "out") == [f"{variant}{end}" for variant in variants for end in ends]
    for name, result in results.items():
        given_to = result["configuration"]["training_arguments"]
        found = tuple(given_to[argument] for argument in ("mix_alpha", "mix_layers", "mix_kwargs"))
        assert found == ((None, None, None) if name.startswith("erm") else (2, [1, 2], {"partner": "same_class"}))
        with np.load(tmp_path / "out" / "runs" / name / "predictions.npz") as arrays:
            assert len(arrays["references"]) == 12
            # The same rows whatever the run.
            assert arrays["references"].tolist() == [
                i % 3 for i in np.sort(np.random.default_rng(0).permutation(30)[:12])
            ]
    out = capsys.readouterr().out
    assert "| 4 | tmix, alpha 2, layers 1 2 | " in out and "comparison.png" in out


@pytest.mark.pictures
def test_memorisation_and_kept_models(tmp_path, given, files):
    noise = ["--label_noise=0.4", "--max_steps=-1", "--num_train_epochs=2", "--eval_strategy=epoch"]
    main(
        text(tmp_path, given, *noise, f"--validation_file={files['validation']}", "--keep_models", "--methods", "erm")
    )
    assert (tmp_path / "memorisation.png").read_bytes().startswith(b"\x89PNG")
    for name, result in finished(tmp_path).items():
        for key in ("noise_memorised", "eval_accuracy"):
            assert [entry["epoch"] for entry in result["log_history"] if key in entry] == [1, 2]
        assert (tmp_path / "runs" / name / "model.safetensors").exists()
        card = (tmp_path / "runs" / name / "README.md").read_text(encoding="utf-8")
        assert f"{result['metrics']['test_accuracy']:.3f}" in card


def test_validation_where_there_is_no_test(tmp_path, base, files):
    data = [f"--train_file={files['train']}", f"--validation_file={files['validation']}"]
    main(text(tmp_path, [*data, f"--model_name_or_path={base}", *FLAGS], "--methods", "erm"))
    (result,) = finished(tmp_path).values()
    assert result["split"] == "validation" and names(tmp_path) == ["erm-seed0"]
    table = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "| all | erm | " in table and "No differences: erm is the only method." in table


def test_images(tmp_path):
    flags = ["--use_cpu", "--max_steps=1", "--labeled_per_class", "2", "--max_predict_samples=20"]
    main(["image", "--methods", "erm", "cutmix", "--seeds", "0", f"--output_dir={tmp_path}", *flags])
    assert names(tmp_path) == ["cutmix-labels2-seed0", "erm-labels2-seed0"]
    assert {result["configuration"]["kind"] for result in finished(tmp_path).values()} == {"image"}


# ---- killed, shared and failed ----


@pytest.fixture
def start(monkeypatch):
    """Starts processes that have imported the command already; those that are left are killed."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mixtext_hf.cli.compare", "mixtext_hf.cli.train_text"])
    started = []

    def start_process(target, *args):
        process = context.Process(target=target, args=args)
        process.start()
        started.append(process)
        return process

    yield start_process
    for process in started:
        process.kill()
        process.join()


def test_killed_twice_it_ends_in_the_same_files(tmp_path, given, done, start):
    argv = text(tmp_path, [*given, f"--cache_dir={tmp_path / 'cache'}"], "--seeds", "0", "1")
    kept: dict[str, dict] = {}
    for least in (1, 2):
        process = start(main, argv)
        patience = time.monotonic() + 120
        while len(finished(tmp_path)) < least or len(list(tmp_path.glob("runs/*/output.log"))) == len(
            finished(tmp_path)
        ):
            assert process.is_alive() and time.monotonic() < patience, process.exitcode
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -9 and least <= len(finished(tmp_path)) < 4
        assert not any((tmp_path / name).exists() for name in DERIVED)
        assert kept.items() <= finished(tmp_path).items()
        kept = finished(tmp_path)
        foreign = tmp_path / "runs" / "notes.txt"
        foreign.write_text("not a run")
    times = {path: path.stat().st_mtime_ns for name in kept for path in (tmp_path / "runs" / name).iterdir()}
    process = start(main, argv)
    process.join()
    assert process.exitcode == 0 and foreign.exists()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for name in DERIVED:
        assert (tmp_path / name).read_bytes() == (done / name).read_bytes(), name


def test_two_processes_share_the_runs(tmp_path, given, done, start):
    argv = text(tmp_path, [*given, f"--cache_dir={tmp_path / 'cache'}"], "--seeds", "0", "1")
    processes = [start(compare_with_others, argv, str(tmp_path / "journal"), 2) for _ in range(2)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    lines = [line.split() for line in (tmp_path / "journal").read_text().splitlines()]
    assert {pid for pid, _ in lines} == {str(process.pid) for process in processes}
    assert sorted(name for _, name in lines) == sorted(finished(tmp_path))
    for name in DERIVED:
        assert (tmp_path / name).read_bytes() == (done / name).read_bytes(), name


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path, given, monkeypatch, capsys):
    argv = text(tmp_path, given)
    (tmp_path / "table.md").write_text("that of another comparison")
    train = MixTrainer.train

    def fail(self, *args, **kwargs):
        if self.method.name == "erm":
            raise RuntimeError("the GPU\nfell off")
        return train(self, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(MixTrainer, "train", fail)
        main(argv)
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    (failed,) = (plan.folder for plan in plans(argv) if plan.result() is None)
    assert f"{failed.name} failed: RuntimeError: the GPU fell off" in said
    assert said.splitlines()[-1].startswith(
        "mixtext-hf compare: error: 1 of 2 runs failed, so there is no table: erm-"
    )
    assert "Traceback" in (failed / "output.log").read_text()
    assert names(tmp_path) == ["tmix-labels4-seed0"]
    assert not any((tmp_path / name).exists() for name in (*DERIVED, "comparison.png"))
    main(argv)
    assert len(finished(tmp_path)) == 2 and (tmp_path / "table.md").exists()


def test_unequal_steps_make_no_table(tmp_path, given, capsys):
    epoch = ["--max_steps=-1", "--num_train_epochs=1"]
    batch = '--method_arguments={"tmix": {"per_device_train_batch_size": 2}}'
    for _ in range(2):
        with pytest.raises(SystemExit) as stopped:
            main(text(tmp_path, given, batch, *epoch))
        assert stopped.value.code == 1 and not any((tmp_path / name).exists() for name in DERIVED)
        said = capsys.readouterr().err.splitlines()[-1]
        assert "(3 in erm-labels4-seed0, 6 in tmix-labels4-seed0)" in said and "--max_steps" in said
        # All runs are there now, and the table of some of them does not stay for that of all.
        main(text(tmp_path, given, *epoch, "--methods", "erm"))
        assert (tmp_path / "table.md").exists()


def test_who_comes_late_leaves_the_table_of_others(tmp_path, given, done):
    shutil.copytree(done, tmp_path / "out")
    late = make_comparison(make_parser(), text(tmp_path / "out", given, "--seeds", "0", "1"))
    unfinished, calls = late._unfinished, []

    def seen_before_the_others_were_done() -> list[PlannedRun]:
        calls.append(1)
        return late.plans[:1] if len(calls) == 1 else unfinished()

    late._unfinished = seen_before_the_others_were_done  # type: ignore[method-assign]
    late.check()
    assert all((tmp_path / "out" / name).exists() for name in DERIVED)


def test_half_of_the_predictions_make_no_table(tmp_path, given, done, capsys):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    broken = next(out.glob("runs/tmix-*-seed1-*/predictions.npz"))
    for left in (broken.read_bytes()[:200], b""):
        broken.write_bytes(left)
        with pytest.raises(SystemExit) as stopped:
            main(text(out, given, "--seeds", "0", "1"))
        assert stopped.value.code == 1 and not any((out / name).exists() for name in DERIVED)
        said = capsys.readouterr().err.splitlines()[-1]
        assert f"There is no table: {broken} is not what was written" in said


def test_a_figure_of_other_runs_does_not_stay(tmp_path, given, done):
    shutil.copytree(done, tmp_path / "out")
    (tmp_path / "out" / "memorisation.png").write_bytes(b"")
    main(text(tmp_path / "out", given, "--seeds", "0", "1"))
    assert not (tmp_path / "out" / "memorisation.png").exists()


# ---- wrong input ----


def plans(argv: list[str]) -> list[PlannedRun]:
    return make_comparison(make_parser(), argv).plans


def refused(capsys, argv: list[str]) -> str:
    """The one line that is said of wrong input."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("mixtext-hf compare: ") and ": error: " in line[17:] and captured.out == ""
    return line


@pytest.mark.parametrize(
    "more, said",
    [
        (["--methods", "erm", "lada"], "--methods: lada is of tagged words"),
        (["--methods", "erm", "mixup9"], "--methods: there is no method 'mixup9', choose from erm, tmix"),
        (["--methods", "erm", "erm"], "names something twice"),
        (["--seeds", "1", "1"], "`seeds` names something twice"),
        (["--seeds", "one"], "argument --seeds: invalid int value: 'one'"),
        (["--seeds", "-1"], "`seeds` must be at least 0, got -1"),
        (["--labeled_per_class", "0"], "`labeled_per_class` must be at least 1"),
        (["--labeled_per_class", "21"], "21"),
        (["--alphas", "-1"], "tmix-alpha-1-labels4-seed0: error: mix_alpha must be a finite number >= 0"),
        (["--methods", "erm", "--alphas", "2"], "`alphas` was given, but is for none of erm"),
        (["--layer_sets", "1;2"], "--layer_sets: '1;2' is no list"),
        (["--layer_sets", "9"], "tmix-layers9-labels4-seed0: error: mix_layers"),
        (["--mix_method=tmix"], "--mix_method is not for a comparison: name methods by --methods"),
        (["--mix_alpha", "2"], "--alphas"),
        (["--seed=3"], "give --seeds"),
        (["--do_predict"], "every run is measured"),
        (["--resume_from_checkpoint=True"], "finished runs are kept"),
        (["--push_to_hub"], "--keep_models"),
        (["--method_arguments={"], "--method_arguments is no JSON"),
        (["--method_arguments=[1]"], "must be an object such as"),
        (['--method_arguments={"uda": {}}'], "'uda' is not among --methods, erm, tmix"),
        (['--method_arguments={"tmix": {"max_steps": 3}}'], "'max_steps' of tmix must be the same for all methods"),
        (['--method_arguments={"tmix": {"seed": 3}}'], "'seed' of tmix is not for a comparison: give --seeds"),
        (['--method_arguments={"tmix": {"full_determinism": true}}'], "must be the same for all methods"),
        (['--method_arguments={"tmix": {"colour": 3}}'], "tmix-labels4-seed0: error: "),
        (["--alphas", "2", '--method_arguments={"tmix": {"mix_alpha": 3}}'], "give --alphas"),
        (["--max_predict_samples=1"], "--max_predict_samples must be at least 2"),
        (["--colour=red"], "--colour is no argument of"),
        (["--learning_rate=fast"], "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
        (["--model_name_or_path=nowhere"], "erm-labels4-seed0: error: model_name_or_path='nowhere'"),
        (["--train_file=nowhere.csv"], "nowhere.csv"),
        (["--config=nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
        (["--methods", "erm", "puzzlemix"], "puzzlemix-labels4-seed0: error: puzzlemix mixes the pixels of images"),
        (["--methods", "erm", "mixtext"], "mixtext-labels4-seed0: error: "),
    ],
)
def test_wrong_arguments(tmp_path, capsys, given, more, said):
    out = tmp_path / "out"
    if "mixtext" in more:
        more = [*more, "--per_device_unlabeled_batch_size=0"]
        said = "per_device_unlabeled_batch_size must be at least 1"
    assert said in refused(capsys, text(out, given, *more))
    assert not out.exists()


def test_wrong_data(tmp_path, capsys, base, given, files):
    out = tmp_path / "out"
    train, model = f"--train_file={files['train']}", [f"--model_name_or_path={base}", *FLAGS]
    scores = write_table(tmp_path / "scores.csv", [{"text": "w1 w2", "label": i / 7} for i in range(8)])
    task = [f"--train_file={scores}", f"--test_file={scores}", "--problem_type=regression"]
    assert "the task is regression" in refused(capsys, text(out, [*task, *model]))
    assert "--do_eval needs labelled data" in refused(capsys, text(out, [train, *model]))
    hidden = write_table(tmp_path / "hidden.csv", [{"text": "w1"}, {"text": "w2"}])
    said = refused(capsys, text(out, [train, f"--test_file={hidden}", *model]))
    assert "--do_eval needs labelled data, and the test split has no labels" in said
    fraction = [train, "--validation_split_fraction=0.2", *model]
    said = refused(capsys, text(out, fraction, "--seeds", "0", "1"))
    assert "--validation_split_fraction chooses the rows of the validation split anew for every seed" in said
    assert not out.exists()
    main(text(out, fraction, "--methods", "erm", "--seeds", "0", "1", "--split_seed=0"))
    assert len(finished(out)) == 2


def test_wrong_folders(tmp_path, capsys, given, monkeypatch):
    (tmp_path / "file").write_text("")
    assert "is a file" in refused(capsys, text(tmp_path / "file", given))
    with pytest.raises(SystemExit) as stopped:
        main(["sound", "--methods", "erm", "--output_dir=out"])
    assert stopped.value.code == 2 and "invalid choice: 'sound'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["text"])
    assert "the following arguments are required: --methods" in capsys.readouterr().err
    argv = text(tmp_path / "out", given)
    plan = plans(argv)[0]
    plan.folder.mkdir(parents=True)
    (plan.folder / "predictions.npz").write_bytes(b"")
    (plan.folder / "result.json").write_text('{"configuration": {"version": "0"}}')
    assert "is the result of another run" in refused(capsys, argv)
    (plan.folder / "result.json").write_text("{")
    assert "is not what was written" in refused(capsys, argv)
    assert sorted(path.name for path in plan.folder.iterdir()) == ["predictions.npz", "result.json"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "CUDA_VISIBLE_DEVICES" in refused(capsys, argv)


def test_methods_with_alpha_and_with_layers():
    assert {"tmix", "mixup", "cutmix", "puzzlemix", "transmix", "maskmix", "mixtext"} <= set(WITH_ALPHA)
    assert not {"erm", "uda", "augmix", "resizemix", "ssmix"} & set(WITH_ALPHA)
    assert WITH_LAYERS == ("tmix", "manifold_mixup", "puzzle_tmix", "mixtext")


def test_configurations_hold_no_secrets_and_no_folders(tmp_path, given):
    plan = plans(text(tmp_path, given, "--token=secret-1", "--hub_token=secret-2"))[0]
    written = json.dumps(plan.configuration)
    assert "secret" not in written and str(tmp_path) not in written.replace(given[3], "").replace(given[2], "")


@pytest.mark.parametrize("what", ["a hyper-parameter", "the learning rate of new heads", "the steps before guessing"])
def test_results_of_other_defaults_are_not_taken_for_these(tmp_path, given, monkeypatch, what):
    before = [plan.folder.name for plan in plans(text(tmp_path, given))]
    if what == "a hyper-parameter":
        monkeypatch.setattr(TMix, "hyperparameters", lambda self: {"alpha": 0.123})
    else:
        name = "NEW_HEAD_LEARNING_RATE" if "learning rate" in what else "WARM_UP_STEPS"
        monkeypatch.setattr(planned_run, name, 7)
    after = [plan.folder.name for plan in plans(text(tmp_path, given))]
    assert before[1] != after[1] and (before[0] == after[0]) == (what == "a hyper-parameter")


def test_frozen_features_are_rows_of_the_table(given, tmp_path):
    """They train nothing, and predict by what a guesser fitted on the same features says."""
    main(text(tmp_path / "out", given, "--methods", "frozen", "frozen_gaussian", "erm"))
    table = (tmp_path / "out" / "table.md").read_text()
    assert [line.split("|")[2].strip() for line in table.splitlines() if line.startswith("| ")][1:] == [
        "frozen",
        "frozen_gaussian",
        "erm",
    ]
    found = {
        path.parent.name.split("-")[0]: json.loads(path.read_text())
        for path in tmp_path.glob("out/runs/*/result.json")
    }
    assert found["frozen"]["global_step"] == found["frozen_gaussian"]["global_step"] == 0 < found["erm"]["global_step"]
    assert found["frozen"]["metrics"]["report"]["chosen"].startswith("logistic")
    assert found["frozen_gaussian"]["metrics"]["report"]["chosen"].startswith("Gaussian")
    assert found["frozen"]["configuration"] != found["erm"]["configuration"]


def test_runs_that_guess_the_same_texts_encode_them_once(given, tmp_path, monkeypatch):
    """And what they predict is what each of them predicts alone."""
    made = []
    monkeypatch.setattr(
        frozen, "write_rows", lambda path, *args, **kwargs: (made.append(path), write_rows(path, *args, **kwargs))
    )
    settings = ("--guess_warm_up_steps", "2", "--per_device_unlabeled_batch_size", "2", "--max_steps", "2")

    def predicted(folder, *methods):
        main(text(tmp_path / folder, given, *settings, "--seeds", "0", "1", "--methods", *methods))
        return {
            path.parent.name: np.load(path)["probabilities"]
            for path in sorted(tmp_path.glob(f"{folder}/runs/*/predictions.npz"))
        }

    together = predicted("together", "frozen_gaussian", "uda", "mixtext")
    assert len(together) == 6 and len(made) == 2
    assert not (tmp_path / "together" / "runs" / "features").exists()
    # The tables of guesses are not kept, but who guessed, and how many are right where the labels are known.
    for path in tmp_path.glob("together/runs/*/result.json"):
        guesses = json.loads(path.read_text())["guesses"]
        assert [facts["round"] for facts in guesses] == ([] if path.parent.name.startswith("frozen") else [1])
        for facts in guesses:
            assert (
                facts["chosen"] in facts["why"] and {"classifier_weight", "temperature"} < facts["combination"].keys()
            )
            assert 0 <= facts["accuracy"] <= 1 and len(facts["shares"]) == 3
    alone = predicted("alone", "mixtext")
    assert len(made) == 4
    for name, probabilities in alone.items():
        np.testing.assert_array_equal(probabilities, together[name])
