"""`evaluate` on checkpoints that plain transformers made: every number, the page, and what it must refuse before it runs."""

from __future__ import annotations

import errno
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import datasets
import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from datasets import ClassLabel, Dataset, Features, Value
from table_files import write_table
from tiny import IMAGE_SIZE, tiny_image_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from mixtext_hf.cli import evaluate, evaluation_inputs
from mixtext_hf.cli.evaluate import main
from mixtext_hf.data import MixDataCollator, load_text_datasets
from mixtext_hf.evaluation import apply_temperature, assessing, expected_calibration_error, fit_temperature, softmax
from mixtext_hf.evaluation.assessing import AssessmentSettings, assess_classifier
from mixtext_hf.evaluation.report.page import as_json
from mixtext_hf.evaluation.robustness.text_noise import add_noise
from mixtext_hf.models.embedded import small_image_processor


NAMES = ["<script>alert(1)</script>", "R & B", "$x_$"]
WORDS = [f"w{i}" for i in range(40)]
QUIET = ["--disable_tqdm=true", "--use_cpu"]
NO_NOISE = ["--skip", "robustness"]


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def text_rows(count, labels, seed=0):
    rng = np.random.default_rng(seed)
    # The first word tells the label, but for every fifth text.
    first = [f"w{i % len(labels) if i % 5 else rng.integers(3)}" for i in range(count)]
    rest = [rng.choice(WORDS[3:], size=rng.integers(2, 12)) for _ in range(count)]
    return [{"text": " ".join([first[i], *rest[i]]), "label": labels[i % len(labels)]} for i in range(count)]


def train(folder, model, processor, rows, steps=2):
    """Some steps of a plain Trainer, and what it saves."""
    args = TrainingArguments(
        str(folder),
        max_steps=steps,
        learning_rate=3e-3,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        remove_unused_columns=False,
    )
    trainer = Trainer(model, args, train_dataset=rows, processing_class=processor)
    trainer.train()
    trainer.save_model()
    trainer.save_state()
    return str(folder)


def tokenised(rows, ids):
    tokenizer = tiny_tokenizer()
    return [{**tokenizer(row["text"]), "labels": ids[row["label"]]} for row in rows]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A BERT that this package never saw, with names of classes that are not harmless."""
    ids = {name: i for i, name in enumerate(NAMES)}
    model = tiny_model(id2label=dict(enumerate(NAMES)), label2id=ids)
    return train(
        tmp_path_factory.mktemp("bert"), model, tiny_tokenizer(), tokenised(text_rows(64, NAMES), ids), steps=60
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    return {
        "test": write_table(folder / "test.csv", text_rows(30, NAMES, seed=1)),
        "validation": write_table(folder / "validation.csv", text_rows(24, NAMES, seed=2)),
        "ood": write_table(folder / "ood.csv", text_rows(10, ["up", "down"], seed=3)),
        "numbers": write_table(folder / "numbers.csv", text_rows(30, [0, 1, 2], seed=1)),
    }


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, classifier, files):
    """The whole report of the classifier, once; its folder is not to be changed."""
    out = tmp_path_factory.mktemp("reports") / "report"
    report = main(
        [
            *QUIET,
            f"--model_name_or_path={classifier}",
            f"--test_file={files['test']}",
            f"--validation_file={files['validation']}",
            f"--ood_file={files['ood']}",
            f"--output_dir={out}",
            "--robustness_samples=12",
            "--embedding_epsilon",
            "0.2",
            "1.0",
        ]
    )
    return out, report


def run(out, model, test_file, *more):
    return main([*QUIET, f"--model_name_or_path={model}", f"--test_file={test_file}", f"--output_dir={out}", *more])


# ---- a text classifier ----


def test_the_logits_are_those_of_the_model(evaluated, classifier, files):
    stored = np.load(evaluated[0] / "predictions.npz", allow_pickle=False)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    for seed, count, prefix in ((1, 30, ""), (2, 24, "validation_")):
        rows = text_rows(count, NAMES, seed=seed)
        with torch.no_grad():
            expected = [model(**tokenizer(row["text"], return_tensors="pt")).logits[0].numpy() for row in rows]
        np.testing.assert_allclose(stored[f"{prefix}logits"], expected, atol=1e-5)
        assert stored[f"{prefix}references"].tolist() == [NAMES.index(row["label"]) for row in rows]
    assert stored["logits"].dtype == np.float32 and stored["ood_logits"].shape == (10, 3)


def test_every_number_follows_from_the_logits(evaluated):
    out, report = evaluated
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report
    stored = np.load(out / "predictions.npz", allow_pickle=False)
    logits, labels = stored["logits"], stored["references"]
    found, predictions = report["results"], logits.argmax(axis=1)
    assert found["metrics"]["accuracy"] == reference.accuracy_score(labels, predictions)
    assert found["metrics"]["macro_f1"] == pytest.approx(reference.f1_score(labels, predictions, average="macro"))
    assert found["metrics"]["nll"] == pytest.approx(reference.log_loss(labels, softmax(logits)))
    assert found["confusion_matrix"] == reference.confusion_matrix(labels, predictions).tolist()
    temperature = report["temperature"]
    assert 0.1 < temperature["value"] < 10, "at the end of its range: the model learnt nothing"
    assert temperature["value"] == fit_temperature(stored["validation_logits"], stored["validation_references"])
    scaled = apply_temperature(logits, temperature["value"])
    assert temperature["metrics"]["ece"] == expected_calibration_error(probabilities=scaled, references=labels)
    scores = [softmax(values).max(axis=1) for values in (logits, stored["ood_logits"])]
    auroc = reference.roc_auc_score(np.repeat([1, 0], [30, 10]), np.concatenate(scores))
    assert report["ood"]["auroc"] == pytest.approx(auroc)


def test_the_surest_mistakes_are_shown(evaluated):
    out, report = evaluated
    stored = np.load(out / "predictions.npz", allow_pickle=False)
    probabilities, labels = softmax(stored["logits"]), stored["references"]
    wrong = probabilities.argmax(axis=1) != labels
    found = report["results"]["surest_mistakes"]
    assert len(found) == min(wrong.sum(), 10) > 1
    assert found[0]["confidence"] == probabilities[wrong].max(axis=1).max()
    texts = "".join(Page((out / "report.html").read_text(encoding="utf-8")).text)
    for mistake in found:
        row = text_rows(30, NAMES, seed=1)[mistake["row"]]
        assert (mistake["shown"], mistake["label"]) == (row["text"], row["label"])
        assert mistake["prediction"] == NAMES[probabilities[mistake["row"]].argmax()] != row["label"]
        assert row["text"] in texts and f"row {mistake['row']}" in texts


def test_a_classifier_that_learnt_nothing_is_told(tmp_path, files):
    model = tiny_model(id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)})
    model.classifier.bias.data[1] = 50
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    report = run(tmp_path / "out", tmp_path / "model", files["test"], *NO_NOISE)
    assert report["summary"][1].startswith("All 30 examples are taken for the same class, R & B. Train longer")


def test_the_temperature_does_not_see_the_test_split(tmp_path, evaluated, classifier, files):
    others = write_table(tmp_path / "other.csv", text_rows(30, NAMES[::-1], seed=9))
    report = run(tmp_path / "out", classifier, others, f"--validation_file={files['validation']}", *NO_NOISE)
    assert report["temperature"]["value"] == evaluated[1]["temperature"]["value"]
    assert report["results"] != evaluated[1]["results"]


def test_noise_is_that_of_the_rows(evaluated, classifier):
    found = evaluated[1]["robustness"]
    assert found["samples"] == 12 and found["kind"] == "text_noise" and found["image_attacks"] is None
    indices = np.sort(np.random.default_rng(0).permutation(30)[:12])
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer, rows, hits = AutoTokenizer.from_pretrained(classifier), text_rows(30, NAMES, seed=1), []
    for index in indices.tolist():
        noisy = add_noise(rows[index]["text"], "word_dropout", 5, index=index)
        with torch.no_grad():
            said = model(**tokenizer(noisy, return_tensors="pt")).logits.argmax().item()
        hits.append(NAMES[said] == rows[index]["label"])
    assert found["noise"]["word_dropout"]["levels"][4]["accuracy"] == pytest.approx(np.mean(hits))
    attack = [row["accuracy"] for row in found["embedding_attack"]]
    assert attack[0] == pytest.approx(found["clean"]["accuracy"]) and max(attack) == attack[0]


class Page(HTMLParser):
    """What a browser would load, run or show."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.loaded, self.links, self.text = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src" or (name == "href" and tag != "a"):
                self.loaded.append(value)
            elif name == "href":
                self.links.append(value)
            assert not name.startswith("on"), (tag, name)

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_stands_alone(evaluated):
    html = (evaluated[0] / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags and "link" not in page.tags and "iframe" not in page.tags
    assert page.loaded and all(address.startswith("data:image/png;base64,") for address in page.loaded)
    assert all(link.startswith("https://arxiv.org/abs/") for link in page.links)
    assert not re.search(r"url\(|@import", html)
    assert len(html) < 3_000_000
    assert len(page.loaded) == 5  # reliability, confusions, noise, attack, other data
    for name in NAMES:
        assert any(name in text for text in page.text)
    assert all(sentence in "".join(page.text) for sentence in evaluated[1]["summary"])


def test_the_same_from_python(evaluated, classifier, files):
    """The library below the command, on what the loaders of the package give."""
    out, report = evaluated
    data = load_text_datasets(
        test_file=files["test"], validation_file=files["validation"], label_names=NAMES, problem_type=None
    )
    ood = load_text_datasets(test_file=files["ood"])
    model = AutoModelForSequenceClassification.from_pretrained(classifier)
    collator = MixDataCollator(AutoTokenizer.from_pretrained(classifier), text_column="text")
    settings = AssessmentSettings(robustness_samples=12, embedding_epsilon=[0.2, 1.0], disable_tqdm=True)
    splits = {"validation": data.validation["validation"], "ood": ood.test["test"]}
    found = assess_classifier(model, data.test["test"], collator, **splits, settings=settings)
    stored = np.load(out / "predictions.npz", allow_pickle=False)
    assert found.arrays.keys() == set(stored)
    for name, array in found.arrays.items():
        np.testing.assert_array_equal(array, stored[name])
    for name, value in as_json(found.measures()).items():
        expected = report[name]
        if name == "results":
            # What is shown of a row is for a report to say.
            shown = [{**each, "id": f"row {each['row']}", "shown": ""} for each in expected["surest_mistakes"]]
            expected = {**expected, "surest_mistakes": shown}
        assert value == expected, name
    # The column of the texts is found where nobody names it.
    few = AssessmentSettings(skip=["robustness", "noise", "attacks"], disable_tqdm=True)
    unnamed = assess_classifier(model, data.test["test"], MixDataCollator(collator.tokenizer), settings=few)
    np.testing.assert_array_equal(unnamed.arrays["logits"], stored["logits"])
    for wrong, error, message in (
        ({"settings": AssessmentSettings(n_bins=0)}, ValueError, "--n_bins"),
        ({"problem_type": "ranking"}, ValueError, "problem_type='ranking': choose from"),
        ({"label_names": ["a"]}, ValueError, "label_names are 1, and the model has 3 outputs"),
        ({"validation": ood.test["test"].remove_columns("label")}, ValueError, "validation has no labels"),
    ):
        with pytest.raises(error, match=message):
            assess_classifier(model, data.test["test"], collator, **wrong)
    with pytest.raises(TypeError, match="collator is a function"):
        assess_classifier(model, data.test["test"], lambda rows: {})


def test_the_summary_is_printed(tmp_path, capsys, classifier, files):
    report = run(tmp_path / "out", classifier, files["test"], *NO_NOISE)
    assert capsys.readouterr().out.splitlines() == [*report["summary"], f"Report: {tmp_path / 'out' / 'report.html'}"]
    assert "no labelled validation split" in report["left_out"]["temperature"]
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "no labelled validation split" in html and "Left out by --skip." in html
    assert f"--model_name_or_path={classifier}" in html.replace("<wbr>", "")


def test_files_in_another_dialect(tmp_path, evaluated, classifier, files):
    lines = Path(files["test"]).read_text(encoding="utf-8").replace(",", "^")
    (tmp_path / "test.csv").write_text(lines, encoding="utf-16-le")
    flags = ["--delimiter=^", "--encoding=utf-16-le", *NO_NOISE]
    report = run(tmp_path / "out", classifier, tmp_path / "test.csv", *flags)
    assert report["results"]["metrics"] == evaluated[1]["results"]["metrics"]


def test_strict_data_refuses_what_seems_wrong(tmp_path, capsys, classifier, files):
    rows = text_rows(30, NAMES, seed=1)
    train = write_table(tmp_path / "train.csv", [*text_rows(20, NAMES, seed=8), rows[3]])
    flags = [f"--train_file={train}", *NO_NOISE]
    report = run(tmp_path / "loose", classifier, files["test"], *flags)
    assert any("1 of the 30 texts of test are in train too" in note for note in report["data"]["notes"])
    with pytest.raises(SystemExit):
        run(tmp_path / "strict", classifier, files["test"], *flags, "--strict_data")
    assert "--strict_data: 1 of the 30 texts of test are in train too: remove them" in capsys.readouterr().err
    assert not (tmp_path / "strict" / "report.html").exists()
    run(tmp_path / "well", classifier, files["test"], *NO_NOISE, "--strict_data")


def test_labels_without_names_are_numbers(tmp_path, evaluated, classifier, files):
    found = run(tmp_path / "out", classifier, files["numbers"], *NO_NOISE)
    assert found["data"]["matched_by"] == "number" and evaluated[1]["data"]["matched_by"] == "name"
    assert found["results"]["metrics"] == evaluated[1]["results"]["metrics"]


def test_a_model_without_names(tmp_path, evaluated, classifier):
    shutil.copytree(classifier, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["id2label"], config["label2id"]
    path.write_text(json.dumps({**config, "num_labels": 3}), encoding="utf-8")
    # The data has names, and their numbers count.
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})
    Dataset.from_list(text_rows(30, NAMES, seed=1), features=features).to_parquet(tmp_path / "test.parquet")
    found = run(tmp_path / "out", tmp_path / "model", tmp_path / "test.parquet", *NO_NOISE)
    assert found["data"]["matched_by"] == "number" and "Nothing can check" in found["data"]["matching"]
    assert found["results"]["metrics"] == evaluated[1]["results"]["metrics"]
    assert found["model"]["label_names"] == ["LABEL_0", "LABEL_1", "LABEL_2"]


def test_names_in_another_order_are_found(tmp_path, evaluated, classifier):
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES[::-1])})
    Dataset.from_list(text_rows(30, NAMES, seed=1), features=features).to_parquet(tmp_path / "test.parquet")
    found = run(tmp_path / "out", classifier, tmp_path / "test.parquet", *NO_NOISE)
    assert found["results"] == evaluated[1]["results"] and found["data"]["matched_by"] == "name"


@pytest.mark.parametrize("how", ["case", "map"])
def test_classes_by_other_names(tmp_path, evaluated, classifier, how):
    """The same texts with the classes written otherwise: the same accuracy, and the report says how they were matched."""
    other = {name: f" {name.upper()}" if how == "case" else f"c{i}" for i, name in enumerate(NAMES)}
    rows = [{**row, "label": other[row["label"]]} for row in text_rows(30, NAMES, seed=1)]
    extra = [] if how == "case" else [{"text": "w1", "label": "junk"}]
    test = write_table(tmp_path / "test.parquet", [*rows, *extra])
    flags = []
    if how == "map":
        pairs = {**{name: NAMES[i] for i, name in enumerate(other.values())}, "junk": None}
        (tmp_path / "map.json").write_text(json.dumps(pairs), encoding="utf-8")
        flags = [f"--label_map={tmp_path / 'map.json'}"]
    found = run(tmp_path / "out", classifier, test, *NO_NOISE, *flags)
    assert found["results"]["metrics"] == evaluated[1]["results"]["metrics"]
    said = found["data"]
    assert said["matched_by"] == "name" and ("case and blanks aside" in said["matching"]) == (how == "case")


def test_what_training_logged_of_wrong_labels(tmp_path, classifier, files):
    shutil.copytree(classifier, tmp_path / "model")
    history = [{"epoch": e, "noise_memorised": 0.1 * e, "noise_recovered": 0.5, "step": e} for e in (1, 2, 3)]
    state = {"log_history": [*history, {"epoch": 3, "eval_accuracy": 0.8}]}
    (tmp_path / "model" / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")
    found = run(tmp_path / "out", tmp_path / "model", files["test"], *NO_NOISE)
    assert [row["noise_memorised"] for row in found["memorisation"]] == pytest.approx([0.1, 0.2, 0.3])
    assert "30.0\N{NO-BREAK SPACE}% of these by heart" in found["summary"][-1]
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Memorisation of wrong labels" in html and len(Page(html).loaded) == 3


# ---- other models ----


def test_a_model_for_several_labels(tmp_path):
    names = ["a", "b", "c"]
    model = tiny_model(problem_type="multi_label_classification", id2label=dict(enumerate(names)))
    rows = [
        {"text": row["text"], **{name: int(bit) for name, bit in zip(names, f"{i % 8:03b}", strict=True)}}
        for i, row in enumerate(text_rows(20, [0]))
    ]
    inputs = [{**tiny_tokenizer()(r["text"]), "labels": [float(r[name]) for name in names]} for r in rows]
    folder = train(tmp_path / "model", model, tiny_tokenizer(), inputs)
    test_file = write_table(tmp_path / "test.csv", rows)
    found = run(tmp_path / "out", folder, test_file, "--label_column=a,b,c")
    stored = np.load(tmp_path / "out" / "predictions.npz")
    assert found["results"]["metrics"]["f1_micro"] == pytest.approx(
        reference.f1_score(stored["references"], stored["logits"] > 0, average="micro")
    )
    assert set(found["results"]["metrics"]) == {"f1_micro", "f1_macro", "subset_accuracy", "nll"}
    assert found["temperature"] is None and found["robustness"] is None
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.count("any number of labels") == 2


def test_a_model_of_scores(tmp_path):
    model = tiny_model(num_labels=1, problem_type="regression")
    rows = text_rows(20, [0.5, 1.5, 4.0])
    folder = train(tmp_path / "model", model, tiny_tokenizer(), tokenised(rows, {0.5: 0.5, 1.5: 1.5, 4.0: 4.0}))
    found = run(tmp_path / "out", folder, write_table(tmp_path / "test.csv", rows))
    stored = np.load(tmp_path / "out" / "predictions.npz")
    expected = np.corrcoef(stored["logits"][:, 0], stored["references"])[0, 1]
    assert found["results"]["metrics"]["pearson"] == pytest.approx(expected, rel=1e-5)
    assert "pearson" in found["summary"][0].lower()
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.count("nothing to calibrate") == 2


def test_a_model_that_cannot_be_mixed(tmp_path, files):
    """A decoder, which `make_mixable` refuses; of pairs of texts."""
    model = tiny_model("gpt2", id2label=dict(enumerate(NAMES)), n_embd=32, n_layer=2, n_head=4, n_positions=64)
    model.save_pretrained(tmp_path / "model")
    tokenizer = tiny_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"sentence1": row["text"], "sentence2": "w1 w2", "label": row["label"]} for row in text_rows(9, NAMES)]
    pairs = write_table(tmp_path / "pairs.csv", rows)
    found = run(tmp_path / "out", tmp_path / "model", pairs, "--robustness_samples=6", "--embedding_epsilon=0.5")
    assert found["model"]["architecture"] == "GPT2ForSequenceClassification"
    assert found["robustness"]["noise"] and found["robustness"]["embedding_attack"]


def test_an_adapter(tmp_path, evaluated, classifier, files):
    """Of plain PEFT, without config.json: the base model has another head, the number of classes must be told."""
    from peft import LoraConfig, get_peft_model

    trained = AutoModelForSequenceClassification.from_pretrained(classifier)
    base = trained.base_model
    base.save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    whole = AutoModelForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3)
    whole.classifier.load_state_dict(trained.classifier.state_dict())
    adapter = get_peft_model(whole, LoraConfig(task_type="SEQ_CLS", target_modules=["query"], r=2))
    adapter.save_pretrained(tmp_path / "adapter")
    found = run(tmp_path / "out", tmp_path / "adapter", files["numbers"], *NO_NOISE, "--num_labels=3")
    assert found["model"]["is_adapter"] and found["data"]["matched_by"] == "number"
    # LoRA starts at zero: the numbers are those of the whole model.
    assert found["results"]["metrics"] == pytest.approx(evaluated[1]["results"]["metrics"], abs=1e-5)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A ResNet of a plain Trainer, and images for it."""
    folder = tmp_path_factory.mktemp("resnet")
    rng = np.random.default_rng(0)
    rows = [
        {"image": rng.integers(0, 256, (*IMAGE_SIZE, 3), dtype=np.uint8).tolist(), "label": i % 3} for i in range(8)
    ]
    processor = small_image_processor(IMAGE_SIZE, 3)
    inputs = [
        {"pixel_values": processor(np.array(row["image"], np.uint8))["pixel_values"][0], "labels": row["label"]}
        for row in rows
    ]
    model = train(folder / "model", tiny_image_model("resnet"), processor, inputs)
    return model, write_table(folder / "test.parquet", rows)


def test_an_image_classifier(tmp_path, pictures):
    model, test_file = pictures
    other = shutil.copy(test_file, tmp_path / "other.parquet")
    more = ["--robustness_samples=4", "--epsilon", "2", "8", "--pgd_steps=2", f"--ood_file={other}"]
    found = run(tmp_path / "out", model, test_file, *more)
    assert found["model"]["modality"] == "image" and found["results"]["samples"] == 8
    robustness = found["robustness"]
    assert robustness["kind"] == "corruptions" and len(robustness["noise"]) == 14
    for row in robustness["image_attacks"]:
        assert row["pgd"] <= row["fgsm"] <= row["clean"] == pytest.approx(robustness["clean"]["accuracy"])
    assert found["ood"]["auroc"] == 0.5  # the same images
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    mistakes = found["results"]["surest_mistakes"]
    assert len(page.loaded) == 5 + len(mistakes) > 5 and "Adversarial images" in page.text
    assert all(row["id"] == f"row {row['row']}" for row in mistakes)


def test_other_images_in_a_column_of_another_name(tmp_path, pictures):
    model, test_file = pictures
    other = Dataset.from_parquet(test_file).rename_column("image", "img").select_columns(["img"])
    other.to_parquet(tmp_path / "other.parquet")
    more = [f"--ood_file={tmp_path / 'other.parquet'}", *NO_NOISE]
    assert run(tmp_path / "out", model, test_file, *more)["ood"]["auroc"] == 0.5  # the same images


def test_a_model_saved_in_half_precision(tmp_path, classifier, files):
    """It is measured with weights in float32, in which it can be attacked, and is not changed."""
    model = AutoModelForSequenceClassification.from_pretrained(classifier).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    more = ["--skip=noise", "--robustness_samples=6", "--embedding_epsilon=0.5", "--per_device_eval_batch_size=4"]
    found = run(tmp_path / "out", tmp_path / "model", files["test"], *more)
    with torch.no_grad():
        expected = [
            model.float().eval()(**tiny_tokenizer()(row["text"], return_tensors="pt")).logits[0].numpy()
            for row in text_rows(30, NAMES, seed=1)
        ]
    np.testing.assert_allclose(np.load(tmp_path / "out" / "predictions.npz")["logits"], expected, atol=1e-5)
    assert len(found["robustness"]["embedding_attack"]) == 2 and "attacks" not in found["left_out"]


@pytest.mark.parametrize("kind", [RuntimeError, ValueError])
def test_a_model_that_cannot_be_attacked_is_measured(tmp_path, monkeypatch, classifier, files, kind):
    def fail(*args, **kwargs):
        raise kind("no gradient for this <kernel>")

    monkeypatch.setattr(assessing, "under_embedding_attack", fail)
    found = run(tmp_path / "out", classifier, files["test"], "--skip=noise", "--robustness_samples=4")
    assert "no gradient" in found["left_out"]["attacks"] and found["robustness"]["embedding_attack"] is None
    assert "this &lt;kernel&gt;" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_model_without_a_limit_of_length(tmp_path, classifier, files):
    """XLNet says -1."""
    argv = [f"--model_name_or_path={classifier}", f"--test_file={files['test']}", f"--output_dir={tmp_path / 'out'}"]
    inputs = evaluation_inputs.EvaluationInputs(
        *evaluate.parse(evaluate.make_parser(), [*QUIET, *argv])[:3], command=""
    )
    inputs.classifier.tokenizer.model_max_length, inputs.config.max_position_embeddings = 10**30, -1
    assert inputs.classifier._longest_text(None) == 512


# ---- what it refuses, before the model is run ----


@pytest.fixture
def no_model(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the model was run")

    monkeypatch.setattr(evaluation_inputs, "predict", fail)


def refused(capsys, *argv, status=2):
    with pytest.raises(SystemExit) as stopped:
        main([*QUIET, *argv])
    assert stopped.value.code == status
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mixtext-hf evaluate: error: ")
    return error


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epsilon=0"], "--epsilon: `epsilon` must lie in (0, 1]"),
        (["--epsilon=300"], "--epsilon: `epsilon` must lie in (0, 1]"),
        (["--epsilon", "8", "8"], "--epsilon must be different numbers"),
        (["--pgd_steps=-1"], "`steps` must be a whole number"),
        (["--pgd_step_size=0"], "`step_size` must lie in"),
        (["--embedding_epsilon=-1"], "--embedding_epsilon: "),
        (["--robustness_samples=0"], "--robustness_samples must be at least 1"),
        (["--skip=everything"], "choose from temperature, robustness"),
        (["--n_bins=0"], "--n_bins: "),
        (["--dataloader_num_workers=-1"], "--dataloader_num_workers must be at least 0, got -1"),
        (["--top_k=3"], "--top_k: "),
        (["--max_seq_length=65"], "must lie in 2..32"),
        (["--label_column=text"], "text"),
        (["--text_column=body"], "there is no such column"),
        (["--image_column=image"], "is a text classifier"),
        (["--eval_split=dev"], "the data has the splits test"),
        (["--num_labels=3"], "is for adapters without config.json"),
    ],
)
def test_wrong_arguments(tmp_path, capsys, no_model, classifier, files, flags, message):
    argv = [f"--model_name_or_path={classifier}", f"--test_file={files['test']}", f"--output_dir={tmp_path / 'out'}"]
    assert message in refused(capsys, *argv, *flags)
    assert not (tmp_path / "out").exists()


def test_missing_parts(tmp_path, capsys, no_model, classifier, files):
    model, out = f"--model_name_or_path={classifier}", f"--output_dir={tmp_path / 'out'}"
    test_file = f"--test_file={files['test']}"
    assert "--model_name_or_path is needed" in refused(capsys, test_file, out)
    assert "--output_dir is needed" in refused(capsys, test_file, model)
    assert "There is no data" in refused(capsys, model, out)
    assert "no test split" in refused(capsys, model, out, f"--validation_file={files['validation']}")
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refused(capsys, test_file, out, f"--model_name_or_path={tmp_path / 'empty'}")


def test_labels_that_do_not_match(tmp_path, capsys, no_model, classifier):
    other = write_table(tmp_path / "other.csv", text_rows(6, ["up", "down"]))
    argv = [f"--model_name_or_path={classifier}", f"--output_dir={tmp_path / 'out'}", f"--test_file={other}"]
    error = refused(capsys, *argv)
    assert "['down', 'up']" in error and "R & B" in error
    hidden = write_table(tmp_path / "hidden.csv", text_rows(6, [-1]))
    assert "has no labels, or they are hidden" in refused(capsys, *argv[:2], f"--test_file={hidden}")


def test_other_data_of_another_kind(tmp_path, capsys, no_model, classifier, pictures, files):
    out = f"--output_dir={tmp_path / 'out'}"
    argv = [f"--model_name_or_path={classifier}", out, f"--test_file={files['test']}", f"--ood_file={pictures[1]}"]
    assert "the model takes texts" in refused(capsys, *argv)
    argv = [f"--model_name_or_path={pictures[0]}", out, f"--test_file={pictures[1]}", f"--ood_file={files['ood']}"]
    assert "the model takes images" in refused(capsys, *argv)
    argv = [f"--model_name_or_path={classifier}", out, f"--test_file={files['test']}", "--ood_file=nowhere.csv"]
    assert "`ood_file`: there is no file 'nowhere.csv'" in refused(capsys, *argv)
    argv[-1] = f"--ood_file={files['test']}"
    assert "is a file of the model's own data as well" in refused(capsys, *argv)
    argv[-1] = f"--image_processor_name={pictures[0]}"
    assert "is a classifier of texts; leave it out" in refused(capsys, *argv)


def test_images_of_other_channels(tmp_path, capsys, pictures):
    grey = [{"image": np.zeros((8, 8, 4), np.uint8).tolist(), "label": i % 3} for i in range(3)]
    other = write_table(tmp_path / "rgba.parquet", grey)
    argv = [f"--model_name_or_path={pictures[0]}", f"--test_file={other}", f"--output_dir={tmp_path / 'out'}"]
    assert "cannot be run on the first row of test: Row 0" in refused(capsys, *argv)


def test_what_is_no_classifier_or_not_safe(tmp_path, capsys, no_model, classifier, files):
    base = AutoModelForSequenceClassification.from_pretrained(classifier).base_model
    base.save_pretrained(tmp_path / "base")
    argv = [f"--test_file={files['test']}", f"--output_dir={tmp_path / 'out'}"]
    assert "is no classifier of texts or images" in refused(capsys, *argv, f"--model_name_or_path={tmp_path / 'base'}")
    shutil.copytree(classifier, tmp_path / "pickle")
    (tmp_path / "pickle" / "model.safetensors").rename(tmp_path / "pickle" / "pytorch_model.bin")
    assert "safetensors" in refused(capsys, *argv, f"--model_name_or_path={tmp_path / 'pickle'}")


def test_classes_that_are_not_numbered_from_0(tmp_path, capsys, no_model, classifier, files):
    shutil.copytree(classifier, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "id2label": {"1": "a", "2": "b", "3": "c"}}), encoding="utf-8")
    argv = [f"--model_name_or_path={tmp_path / 'model'}", f"--test_file={files['test']}"]
    assert "id2label" in refused(capsys, *argv, f"--output_dir={tmp_path / 'out'}")


def test_a_config_with_a_value_of_another_type(tmp_path, capsys, no_model, classifier, files):
    shutil.copytree(classifier, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "num_hidden_layers": "two"}), encoding="utf-8")
    argv = [f"--model_name_or_path={tmp_path / 'model'}", f"--test_file={files['test']}"]
    assert "num_hidden_layers" in refused(capsys, *argv, f"--output_dir={tmp_path / 'out'}")


def test_the_temperature_is_not_fitted_on_what_is_measured(tmp_path, capsys, no_model, monkeypatch, classifier, files):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "same.csv").symlink_to(files["test"])
    argv = [f"--model_name_or_path={classifier}", f"--test_file={files['test']}", f"--output_dir={tmp_path / 'out'}"]
    error = refused(capsys, *argv, "--validation_file=same.csv")
    assert "would be fitted on the examples that are measured" in error and "--skip temperature" in error


def test_weights_that_are_cut_off(tmp_path, capsys, no_model, classifier, files):
    shutil.copytree(classifier, tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    argv = [f"--model_name_or_path={tmp_path / 'model'}", f"--test_file={files['test']}"]
    assert "model" in refused(capsys, *argv, f"--output_dir={tmp_path / 'out'}")


def test_a_folder_that_cannot_be_made(tmp_path, capsys, no_model, classifier, files):
    """Known only at the end, the whole run would be lost."""
    argv = [f"--model_name_or_path={classifier}", f"--test_file={files['test']}"]
    (tmp_path / "file").write_text("")
    assert "is a file: name a folder" in refused(capsys, *argv, f"--output_dir={tmp_path / 'file' / 'a' / 'out'}")


def test_predictions_of_another_command_are_kept(tmp_path, capsys, no_model, classifier, files):
    (tmp_path / "predictions.npz").write_bytes(b"of a comparison")
    argv = [f"--model_name_or_path={classifier}", f"--test_file={files['test']}", f"--output_dir={tmp_path}"]
    assert "holds predictions.npz, which is not of this command" in refused(capsys, *argv)


def test_a_broken_log(tmp_path, capsys, no_model, classifier, files):
    shutil.copytree(classifier, tmp_path / "model")
    (tmp_path / "model" / "trainer_state.json").write_text("[", encoding="utf-8")
    argv = [f"--model_name_or_path={tmp_path / 'model'}", f"--test_file={files['test']}", *NO_NOISE]
    assert "trainer_state.json is not valid JSON" in refused(capsys, *argv, f"--output_dir={tmp_path / 'out'}")
    with pytest.raises(AssertionError, match="the model was run"):
        main([*QUIET, *argv, "memorisation", f"--output_dir={tmp_path / 'out'}"])


# ---- what is there already ----


def test_a_report_is_replaced_by_one_of_the_same_model_alone(tmp_path, capsys, evaluated, classifier, files):
    out = tmp_path / "out"
    shutil.copytree(evaluated[0], out)
    before = (out / "report.html").read_bytes()
    shutil.copytree(classifier, tmp_path / "other")
    argv = [f"--test_file={files['test']}", f"--output_dir={out}", *NO_NOISE]
    assert "holds the report of another model" in refused(capsys, *argv, f"--model_name_or_path={tmp_path / 'other'}")
    assert (out / "report.html").read_bytes() == before
    main([*QUIET, *argv, f"--model_name_or_path={classifier}"])
    assert (out / "report.html").read_bytes() != before
    main([*QUIET, *argv, f"--model_name_or_path={tmp_path / 'other'}", "--overwrite_output_dir"])
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["model"]["identity"] == str(
        tmp_path / "other"
    )
    (out / "report.json").write_text("{}", encoding="utf-8")
    assert "which is not of this command" in refused(capsys, *argv, f"--model_name_or_path={classifier}")


def test_a_failure_leaves_the_old_report(tmp_path, capsys, monkeypatch, evaluated, classifier, files):
    out = tmp_path / "out"
    shutil.copytree(evaluated[0], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evaluate.os, "replace", full)
    argv = [f"--model_name_or_path={classifier}", f"--test_file={files['test']}", f"--output_dir={out}", *NO_NOISE]
    assert "The disk is full" in refused(capsys, *argv, status=1)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_arguments_from_a_file(tmp_path, classifier, files):
    config = tmp_path / "evaluate.yaml"
    config.write_text(f"model_name_or_path: {classifier}\ntest_file: {files['test']}\nskip: [robustness]\n")
    report = main([*QUIET, f"--config={config}", f"--output_dir={tmp_path / 'out'}", "--top_k=1"])
    assert report["settings"]["skip"] == ["robustness"] and "top_1_accuracy" in report["results"]["metrics"]
