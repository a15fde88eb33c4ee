"""`train-text --task ner` from its arguments to its files, and `predict` and `evaluate` of what it trains."""

from __future__ import annotations

import json

import pytest
from datasets import Dataset
from sentences import TAGS, conll, piece_tokenizer, sentences, token_model
from tiny import tiny_model
from transformers import pipeline

from mixtext_hf.cli import evaluate, export, predict, space, text_tasks, train_text


@pytest.fixture
def files(tmp_path):
    model = tmp_path / "model"
    # An encoder without a head, as they are pretrained.
    token_model().bert.save_pretrained(model)
    piece_tokenizer().save_pretrained(model)
    return {
        "model_name_or_path": str(model),
        "train_file": conll(tmp_path / "train.conll", sentences(24)),
        "validation_file": conll(tmp_path / "dev.conll", sentences(10, seed=4)),
        "test_file": conll(tmp_path / "test.conll", sentences(10, seed=5), between=" "),
    }


def command(files, out, *flags, **changed):
    settings = {
        "task": "ner",
        "output_dir": str(out),
        "max_steps": 3,
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **files,
        **changed,
    }
    return [*(f"--{name}={value}" for name, value in settings.items() if value is not None), *flags]


def refused(argv, capsys):
    with pytest.raises(SystemExit):
        text_tasks.main(argv)
    return " ".join(capsys.readouterr().err.split())


def test_a_run_and_all_that_is_made_of_it(files, tmp_path, capsys):
    out = tmp_path / "out"
    results = text_tasks.main(
        command(files, out, "--do_train", "--do_eval", "--do_predict", mix_method="lada", labeled_sentences=12)
    )
    for name in ("eval_entity_f1", "eval_token_accuracy", "eval_ece", "predict_entity_f1"):
        assert 0 <= results[name] <= 1
    assert results["eval_nll"] == pytest.approx(results["eval_loss"], abs=1e-5) and results["train_samples"] == 12
    assert json.loads((out / "all_results.json").read_text())["eval_entity_f1"] == results["eval_entity_f1"]

    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["BertForTokenClassification"] and list(config["id2label"].values()) == TAGS
    assert config["mixtext"]["method"] == "lada" and config.get("problem_type") is None
    card = (out / "README.md").read_text()
    assert "pipeline_tag: token-classification" in card and "gives each word of a text one of 3 tags" in card
    assert 'pipeline("token-classification"' in card and "MixableModelForTokenClassification.from_pretrained" in card
    assert pipeline("token-classification", str(out))("abc d")

    predicted = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [one["tokens"] for one in predicted] == [row["tokens"] for row in sentences(10, seed=5)]
    assert [one["true_tags"] for one in predicted] == [
        [TAGS[tag] for tag in row["ner_tags"]] for row in sentences(10, seed=5)
    ]

    # The same model, by the commands for models of anybody.
    predict.main(
        [str(out), files["test_file"], "--output_file", str(tmp_path / "p.jsonl"), "--use_cpu", "--disable_tqdm"]
    )
    again = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [one["tags"] for one in again] == [one["tags"] for one in predicted]
    predict.main(
        [str(out), files["test_file"], "--output_file", str(tmp_path / "p.conll"), "--use_cpu", "--disable_tqdm"]
    )
    first = (tmp_path / "p.conll").read_text().split("\n\n")[0].splitlines()
    assert [tuple(line.split("\t")) for line in first] == list(
        zip(predicted[0]["tokens"], predicted[0]["true_tags"], predicted[0]["tags"], strict=True)
    )
    arguments = ["--model_name_or_path", str(out), "--test_file", files["test_file"], "--use_cpu", "--disable_tqdm"]
    report = evaluate.main([*arguments, "--output_dir", str(tmp_path / "report")])
    for name, value in report["results"].items():
        assert value == pytest.approx(results[f"predict_{name}"], abs=1e-6)
    assert report["entities"]["PER"]["support"] > 0 and (tmp_path / "report" / "report.json").is_file()
    with pytest.raises(SystemExit):
        evaluate.main([*arguments, "--output_dir", str(tmp_path / "report"), "--ood_file", "x.csv"])
    assert "gives each word a tag" in capsys.readouterr().err
    for flag, said in (
        (f"--validation_file={files['validation_file']}", "one split is measured"),
        ("--max_eval_samples=3", "max_eval_samples"),
    ):
        with pytest.raises(SystemExit):
            evaluate.main([*arguments, "--output_dir", str(tmp_path / "new"), flag])
        assert said in capsys.readouterr().err

    # A temperature, ONNX and an app are of whole texts and images.
    assert "temperature" not in config["mixtext"]
    for main, argv in (
        (evaluate.main, [*arguments, "--output_dir", str(tmp_path / "new"), "--store_temperature"]),
        (
            predict.main,
            [str(out), files["test_file"], "--output_file", str(tmp_path / "new.jsonl"), "--temperature=2"],
        ),
        (export.main, [str(out), "--onnx", str(tmp_path / "new")]),
        (space.main, [str(out), "--output_dir", str(tmp_path / "new")]),
    ):
        with pytest.raises(SystemExit):
            main(argv)
        assert "gives each word a tag" in capsys.readouterr().err
    assert not [*tmp_path.glob("new*")]

    check_columns_of_tags(out, tmp_path, capsys)

    # It goes on as a classifier of words, and is none of texts.
    text_tasks.main(command(files, tmp_path / "more", "--do_train", model_name_or_path=str(out), mix_method="tmix"))
    with pytest.raises(SystemExit):
        train_text.main(
            [
                "--model_name_or_path",
                str(out),
                "--train_file",
                "x.csv",
                "--do_train",
                "--output_dir",
                str(tmp_path / "t"),
            ]
        )
    assert "gives each word a tag (BertForTokenClassification)" in capsys.readouterr().err


def check_columns_of_tags(out, tmp_path, capsys):
    """What --label_column names, and what a file of a word a line can hold."""
    (tmp_path / "pos.conll").write_text("a B-PER NNP\nb O VB\n")

    def tell(file, output, *flags):
        predict.main(
            [
                str(out),
                str(tmp_path / file),
                "--output_file",
                str(tmp_path / output),
                "--use_cpu",
                "--disable_tqdm",
                *flags,
            ]
        )
        return (tmp_path / output).read_text()

    assert json.loads(tell("pos.conll", "pos.jsonl", "--label_column=2"))["true_tags"] == ["B-PER", "O"]
    rows = {"tokens": [["a", "b"], ["c"]], "ner_tags": [["O", None], None]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "some.parquet")
    lines = [line.split("\t")[:-1] for line in tell("some.parquet", "some.conll").splitlines() if line]
    assert lines == [["a", "O"], ["b", "_"], ["c", "_"]]
    Dataset.from_dict({"tokens": [["a\tb", "c"]]}).to_parquet(tmp_path / "tab.parquet")
    for file, output, flags, said in (
        ("pos.conll", "none.jsonl", [], "has the tag 'NNP'"),
        ("pos.conll", "none.jsonl", ["--label_column=x"], "--label_column x: there is no such column"),
        ("some.parquet", "none.jsonl", ["--label_column=x"], "--label_column x: there is no such column"),
        ("tab.parquet", "none.conll", [], "Sentence 0 has the word 'a\\tb'"),
    ):
        with pytest.raises(SystemExit):
            tell(file, output, *flags)
        assert said in capsys.readouterr().err and not (tmp_path / output).exists()


def test_the_others_are_learnt_from_without_tags(files, tmp_path):
    flags = ("--do_train", "--labeled_sentences=12", "--per_device_unlabeled_batch_size=4")
    results = text_tasks.main(
        command(files, tmp_path / "out", *flags, mix_method="mixtext", mix_preset="official_code")
    )
    assert results["unlabeled_samples"] == 12 and results["train_samples"] == 12


def test_words_that_are_cut_are_said(files, tmp_path, caplog):
    text_tasks.main(command(files, tmp_path / "out", "--do_train", mix_method="erm", max_seq_length=6))
    assert "words of the train split have no part in it" in caplog.text


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"task": "tagging"}, "--task tagging: choose text, ner or token_classification"),
        ({"labeled_per_class": 2}, "use --labeled_sentences"),
        ({"label_column": "x"}, "use --tags_column or --tag_column"),
        ({"head": "mean_pooling"}, "--head mean_pooling is of whole texts"),
        ({"mix_method": "ssmix"}, "ssmix mixes whole texts or images"),
        ({"mix_method": "mixtext"}, "online=True"),
        ({"mix_method": "erm", "unlabeled_file": "x.conll"}, "is for methods that learn from unlabelled texts"),
        ({"metrics": "accuracy"}, "--metrics accuracy is none of tokens"),
        ({"metric_for_best_model": "eval_f1"}, "--metric_for_best_model eval_f1 is not measured"),
        ({"train_file": None, "test_file": None, "validation_file": None}, "no embedded example"),
        ({"tag_column": 7}, "--tag_column 7 is none of tags"),
        ({"imbalance": 50}, "--imbalance 50.0 is of whole texts"),
        (
            {"class_weights": "balanced"},
            "class_weights='balanced' is of the one class that a row has, and here each token has a label",
        ),
        ({"sampler": "balanced"}, "sampler='balanced' is of the one class that a row has"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(files, tmp_path, capsys, changed, said):
    assert said in refused(command(files, tmp_path / "out", "--do_train", **changed), capsys)


def test_models_and_tasks_that_do_not_belong_together(files, tmp_path, capsys):
    assert "gives no tags to words" in refused(command(files, tmp_path / "out", "--do_predict"), capsys)
    texts = tmp_path / "texts"
    tiny_model().save_pretrained(texts)
    piece_tokenizer().save_pretrained(texts)
    assert "gives no tags to words (BertForSequenceClassification)" in refused(
        command(files, tmp_path / "out", "--do_eval", model_name_or_path=str(texts)), capsys
    )
    argv = command(files, tmp_path / "out", "--do_train", task=None, tag_column=2)
    assert "--tag_column 2 is for --task ner" in refused(argv, capsys)
