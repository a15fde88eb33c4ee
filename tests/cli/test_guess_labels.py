"""`guess-labels` from files to the file it writes, whenever it is ended, and what it must refuse."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from table_files import write_table
from tiny import tiny_image_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, BertForTokenClassification

from mixtext_hf.cli import guessers, train_text
from mixtext_hf.cli.guess_labels import main


NAMES = ("ant", "bee", "cat")


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model("bert").base_model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def rows(count: int, seed: int = 0) -> list[dict]:
    """A class has thirteen words of its own."""
    rng = np.random.default_rng(seed)
    return [
        {
            "id": 100 + i,
            "text": " ".join(f"w{13 * (i % 3) + int(j)}" for j in rng.integers(0, 13, int(rng.integers(4, 9)))),
            "label": NAMES[i % 3],
        }
        for i in range(count)
    ]


@pytest.fixture
def files(tmp_path) -> dict[str, str]:
    return {
        "labelled": write_table(tmp_path / "labelled.csv", rows(12, seed=1)),
        "texts": write_table(tmp_path / "texts.csv", rows(50)),
        "out": str(tmp_path / "guessed.parquet"),
    }


def arguments(files, base, *more: str) -> list[str]:
    return [
        files["texts"],
        files["out"],
        f"--train_file={files['labelled']}",
        *([] if base is None else [f"--model_name_or_path={base}"]),
        "--max_seq_length=16",
        "--chunk_size=20",
        "--device=cpu",
        *more,
    ]


def test_guesses_stand_beside_the_texts_and_serve_training(files, base, tmp_path, capsys):
    main(arguments(files, base))
    said = capsys.readouterr().out
    table = pq.read_table(files["out"]).to_pylist()
    assert [row["text"] for row in table] == [row["text"] for row in rows(50)] and table[7]["id"] == 107
    right = 0
    for number, row in enumerate(table):
        probabilities = row["guess_probabilities"]
        assert tuple(probabilities) == NAMES and sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert row["guess"] == max(probabilities, key=probabilities.get)
        right += row["guess"] == NAMES[number % 3]
    assert f"Right, where the class is known: {right / 50:.1%}" in said and "Guessed by" in said
    assert not (tmp_path / "guessed.parquet.part").exists()

    run = train_text.make_run(
        [
            f"--train_file={files['labelled']}",
            f"--unlabeled_file={files['out']}",
            f"--model_name_or_path={base}",
            "--mix_method=mixtext",
            "--guess_column=guess_probabilities",
            "--surest=1.0",
            "--max_seq_length=16",
            "--per_device_train_batch_size=4",
            "--max_steps=2",
            "--do_train",
            "--save_strategy=no",
            f"--output_dir={tmp_path / 'out'}",
        ]
    )
    run()
    learnt = run.trainer.guesses.table.probabilities
    np.testing.assert_allclose(learnt, [list(row["guess_probabilities"].values()) for row in table], atol=1e-6)
    about = json.loads((tmp_path / "out" / "run.json").read_text())
    assert about["guesses"][0]["accuracy"] == pytest.approx(right / 50)
    assert json.loads((tmp_path / "out" / "all_results.json").read_text())["guess_accuracy"] == pytest.approx(
        right / 50
    )
    assert "guessed before training" in (tmp_path / "out" / "README.md").read_text()


def test_it_goes_on_where_it_was_ended(files, base, tmp_path, monkeypatch, capsys):
    main(arguments(files, base))
    whole = pq.read_table(files["out"])
    (tmp_path / "guessed.parquet").unlink()
    plain, calls = guessers.Gaussian.look_at, 0

    def ending(self, texts):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return plain(self, texts)

    monkeypatch.setattr(guessers.Gaussian, "look_at", ending)
    with pytest.raises(KeyboardInterrupt):
        main(arguments(files, base))
    assert not (tmp_path / "guessed.parquet").exists()
    monkeypatch.setattr(guessers.Gaussian, "look_at", plain)
    capsys.readouterr()
    main(arguments(files, base))
    assert "40 of 50 texts are done" in capsys.readouterr().out
    assert pq.read_table(files["out"]).equals(whole)


def test_a_teacher_guesses(files, tmp_path):
    model = tiny_model(seed=2)
    model.config.id2label = dict(enumerate(("cat", "ant", "bee")))
    model.config.label2id = {name: i for i, name in model.config.id2label.items()}
    model.save_pretrained(tmp_path / "teacher")
    tiny_tokenizer().save_pretrained(tmp_path / "teacher")
    main([files["texts"], files["out"], f"--guesser=checkpoint:{tmp_path / 'teacher'}", "--device=cpu"])
    row = pq.read_table(files["out"]).to_pylist()[3]
    teacher = AutoModelForSequenceClassification.from_pretrained(tmp_path / "teacher").eval()
    with torch.no_grad():
        p = teacher(**tiny_tokenizer()(row["text"], return_tensors="pt")).logits.softmax(dim=-1)[0].tolist()
    assert row["guess_probabilities"] == pytest.approx(dict(zip(("cat", "ant", "bee"), p, strict=True)), abs=1e-5)


def save_teacher(folder, names) -> str:
    """Of [`tiny_model`] with seed 2; its outputs have these names."""
    model = tiny_model(seed=2, num_labels=len(names))
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("names", [("Cat", " ANT", "bee"), ("K", "a", "b")])
def test_a_teacher_whose_classes_are_written_otherwise(files, tmp_path, caplog, names):
    caplog.set_level("INFO", "mixtext_hf")
    flags, needs_map = [], names[0] == "K"
    if needs_map:
        (tmp_path / "map.json").write_text('{"k": "cat", "A": "ant", "b": "bee"}')
        flags = [f"--label_map={tmp_path / 'map.json'}"]
    teacher = save_teacher(tmp_path / "teacher", names)
    common = [f"--guesser=checkpoint:{teacher}", "--device=cpu"]
    main([files["texts"], str(tmp_path / "plain.parquet"), *common])
    main([files["texts"], files["out"], *common, f"--train_file={files['labelled']}", *flags])
    plain = pq.read_table(tmp_path / "plain.parquet").column("guess_probabilities").to_pylist()
    found = pq.read_table(files["out"]).column("guess_probabilities").to_pylist()
    for row, other in zip(found, plain, strict=True):
        assert list(row) == list(NAMES)
        expected = dict(zip(("cat", "ant", "bee"), other.values(), strict=True))
        assert row == pytest.approx(expected, abs=1e-6)
    assert needs_map or "'ant' for ' ANT', 'cat' for 'Cat'" in caplog.text


def test_several_classes_of_a_teacher_may_mean_one(files, tmp_path, capsys):
    teacher = save_teacher(tmp_path / "teacher", ("1", "2", "4", "5"))
    (tmp_path / "map.csv").write_text("1,bad\n2,bad\n4,good\n5,good\n")
    common = [f"--guesser=checkpoint:{teacher}", "--device=cpu"]
    main([files["texts"], str(tmp_path / "plain.parquet"), *common])
    main([files["texts"], files["out"], *common, f"--label_map={tmp_path / 'map.csv'}"])
    plain = pq.read_table(tmp_path / "plain.parquet").column("guess_probabilities").to_pylist()
    for row, other in zip(pq.read_table(files["out"]).to_pylist(), plain, strict=True):
        expected = {"bad": other["1"] + other["2"], "good": other["4"] + other["5"]}
        assert row["guess_probabilities"] == pytest.approx(expected, abs=1e-6)
        assert row["guess"] == max(expected, key=expected.get)
    # Names that neither the teacher nor the texts have.
    (tmp_path / "map.csv").write_text("six,bad\n")
    for more in ([], [f"--train_file={files['labelled']}"]):
        with pytest.raises(SystemExit):
            main([files["texts"], str(tmp_path / "x.parquet"), *common, f"--label_map={tmp_path / 'map.csv'}", *more])
        assert "`label_map` changes no label of the data" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("LABEL_0", "LABEL_1", "LABEL_2"), ("ant", "bee", "dog"), ("ant", "Ant", "cat")])
def test_a_teacher_of_other_classes_is_refused(files, tmp_path, capsys, names):
    teacher = save_teacher(tmp_path / "teacher", names)
    with pytest.raises(SystemExit):
        main([files["texts"], files["out"], f"--guesser=checkpoint:{teacher}", f"--train_file={files['labelled']}"])
    error = capsys.readouterr().err
    assert f"has the classes {', '.join(names)}, those of the labelled rows are ant, bee, cat" in error
    assert "--label_map" in error and not Path(files["out"]).exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--guesser=oracle"], ["oracle", "gaussian", "checkpoint:FOLDER_OR_ID"]),
        (["--guesser=checkpoint:"], ["names no checkpoint"]),
        (["--guess_shares=0.5,0.5"], ["guess_shares has 2 numbers", "3 classes"]),
        (["--guess_shares=even"], ["guess_shares", "uniform", "even"]),
        (["--text_column=nowhere"], ["--text_column nowhere"]),
        (["--max_seq_length=1000"], ["--max_seq_length 1000"]),
        (["--batch_size=0"], ["--batch_size must be at least 1"]),
        (["--guess_shares=0.9,0.2,0.3"], ["[0.9, 0.2, 0.3], which sum to 1.4"]),
        (["--model_name_or_path=."], ["model_name_or_path='.' is a folder without config.json"]),
        (["--guesser=checkpoint:."], ["guesser='checkpoint:.' is a folder without config.json"]),
        (["--guesser=checkpoint:x", "--guess_names=True"], ["--guess_names is for --guesser gaussian"]),
        (["--guesser=checkpoint:x", "--labeled_per_class=2"], ["--labeled_per_class is for --guesser gaussian"]),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(files, base, tmp_path, capsys, monkeypatch, more, words):
    monkeypatch.chdir(tmp_path)
    if any("checkpoint:" in word for word in more):
        base = None  # the encoder is for the other one
    with pytest.raises(SystemExit) as ended:
        main(arguments(files, base, *more))
    error = capsys.readouterr().err
    assert ended.value.code == 2 and all(word in error for word in words), error
    assert not (tmp_path / "guessed.parquet").exists()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (BertForTokenClassification, ["guesser='checkpoint:", "gives each word a tag", "BertForTokenClassification"]),
        ("image", ["guesser='checkpoint:", "a classifier of images", "a model of texts is needed"]),
        ("several", ["guesser='checkpoint:", "multi_label_classification", "one class a text"]),
        ("score", ["guesser='checkpoint:", "regression", "one class a text"]),
    ],
)
def test_a_teacher_of_another_task_is_refused(files, tmp_path, capsys, kind, words):
    # Its head would be drawn at random, or its outputs would be taken for what they are not.
    if kind == "image":
        model = tiny_image_model("vit")
    elif isinstance(kind, str):
        model = tiny_model(
            **{"several": {"problem_type": "multi_label_classification"}, "score": {"num_labels": 1}}[kind]
        )
    else:
        model = kind(tiny_model().config)
    model.save_pretrained(tmp_path / "teacher")
    tiny_tokenizer().save_pretrained(tmp_path / "teacher")
    with pytest.raises(SystemExit) as ended:
        main([files["texts"], files["out"], f"--guesser=checkpoint:{tmp_path / 'teacher'}", "--device=cpu"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and all(word in error for word in words), error
    assert not Path(files["out"]).exists()


def test_files_by_name_are_said_to_have_a_place(files, capsys):
    with pytest.raises(SystemExit):
        main(["--input_file", files["texts"], "--output_file", files["out"]])
    assert "input_file is given by its place, without --input_file: usage: " in capsys.readouterr().err


def test_files_are_not_overwritten_unasked(files, base, tmp_path, capsys):
    main(arguments(files, base))
    before = (tmp_path / "guessed.parquet").read_bytes()
    for argv, word in (
        (arguments(files, base), "exists already"),
        ([files["out"], str(tmp_path / "again.parquet"), *arguments(files, base)[2:]], "--overwrite_columns"),
        ([files["texts"], str(tmp_path / "again.csv"), *arguments(files, base)[2:]], "is a .parquet file"),
    ):
        with pytest.raises(SystemExit):
            main(argv)
        assert word in capsys.readouterr().err
    assert (tmp_path / "guessed.parquet").read_bytes() == before
    no_labels = [argument for argument in arguments(files, base) if not argument.startswith("--train_file")]
    with pytest.raises(SystemExit):
        main([*no_labels, "--overwrite_output_file"])
    assert "needs labelled texts: give --train_file" in capsys.readouterr().err


def test_files_in_another_dialect(files, base, tmp_path):
    for name in ("labelled", "texts"):
        table = datasets.load_dataset("csv", data_files=files[name], split="train")
        lines = ["id^text^label", *("^".join(map(str, row.values())) for row in table)]
        Path(files[name]).write_text("\n".join(lines).replace("w1 ", "ç "), encoding="utf-16-le")
    more = ["--delimiter=^", "--encoding=utf-16-le"]
    main(arguments(files, base, *more))
    table = pq.read_table(files["out"])
    assert table.num_rows == 50 and any("ç" in text for text in table["text"].to_pylist())
    assert set(table["guess"].to_pylist()) <= set(NAMES)


def test_files_that_are_read_are_not_written_over(files, base, tmp_path, capsys):
    labelled = write_table(tmp_path / "labelled.parquet", rows(12))
    before = Path(labelled).read_bytes()
    for given in ({"labelled": labelled}, {"texts": f"{files['texts']},{labelled}"}):
        with pytest.raises(SystemExit) as ended:
            main(arguments({**files, **given, "out": labelled}, base, "--overwrite_output_file"))
        assert ended.value.code == 2 and "is a file that is read, and would be lost" in capsys.readouterr().err
        assert Path(labelled).read_bytes() == before
    # One alone only gets more columns.
    main(arguments({**files, "texts": labelled, "out": labelled}, base, "--overwrite_output_file"))
    assert pq.read_table(labelled).column_names == ["id", "text", "label", "guess", "guess_probabilities"]


def test_one_text_is_no_cluster(files, base, tmp_path, capsys):
    files["texts"] = write_table(tmp_path / "one.csv", rows(1))
    with pytest.raises(SystemExit) as ended:
        main(arguments(files, base))
    assert ended.value.code == 2 and "one.csv has one text, and clusters need at least two" in capsys.readouterr().err
    assert not list(tmp_path.glob("guessed*"))


def test_a_column_of_texts_that_one_of_the_files_lacks_is_named_with_the_file(files, base, tmp_path, capsys):
    body = [{"body": row["text"], "label": row["label"]} for row in rows(12)]
    files["labelled"] = write_table(tmp_path / "body.csv", body)
    with pytest.raises(SystemExit):
        main(arguments(files, base, "--text_column=body"))
    assert (
        "--text_column body: " + files["texts"] + " has no such column, but id, text, label" in capsys.readouterr().err
    )


def test_empty_texts_are_said(files, base, tmp_path, caplog):
    for name, count in (("labelled", 12), ("texts", 10)):
        some = [{**row, "text": row["text"] if i > 2 else " " * i} for i, row in enumerate(rows(count))]
        files[name] = write_table(tmp_path / f"{name}.csv", some)
    main(arguments(files, base))
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any(f"3 of the 10 texts of {files['texts']} are empty or blank" in line for line in said)
    assert any("3 " in line and "train" in line and "blank" in line for line in said), said
    assert pq.read_table(files["out"]).num_rows == 10


@pytest.mark.parametrize("kind", ["image", "tokens"])
def test_encoders_of_another_kind_make_no_noise(files, tmp_path, capfd, kind):
    model = tiny_image_model("vit") if kind == "image" else BertForTokenClassification(tiny_model().config)
    model.save_pretrained(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(tmp_path / "encoder")
    capfd.readouterr()
    if kind == "image":
        with pytest.raises(SystemExit):
            main(arguments(files, tmp_path / "encoder"))
        assert "is a classifier of images" in (said := capfd.readouterr().err)
    else:
        main(arguments(files, tmp_path / "encoder"))
        said = capfd.readouterr().err
    assert "LOAD REPORT" not in said
