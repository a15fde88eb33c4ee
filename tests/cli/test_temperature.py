"""The temperature of a trained classifier: found on validation rows alone, stored with it, used by `predict`, gone with more training."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from table_files import write_table
from tiny import IMAGE_SIZE, tiny_image_model, tiny_model, tiny_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mixtext_hf.cli import evaluate, predict, push, train_image, train_text
from mixtext_hf.evaluation import apply_temperature, expected_calibration_error, fit_temperature, softmax
from mixtext_hf.models.embedded import small_image_processor


NAMES = ["ham", "spam", "egg"]
WORDS = [f"w{i}" for i in range(3, 40)]
QUIET = ["--disable_tqdm=true", "--use_cpu"]
STEPS = [*QUIET, "--save_strategy=no", "--max_steps=2", "--max_seq_length=16", "--logging_steps=100"]


def rows(count, seed=0, labels=NAMES):
    """Texts whose first word tells the label, but for every fourth."""
    rng = np.random.default_rng(seed)
    first = [f"w{i % 3 if i % 4 else rng.integers(3)}" for i in range(count)]
    return [{"text": " ".join([w, *rng.choice(WORDS, size=6)]), "label": labels[i % 3]} for i, w in enumerate(first)]


def flags(**values):
    return [f"--{name}={value}" for name, value in values.items()]


def mixtext_of(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8")).get("mixtext", {})


def logits_of(folder, texts):
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return np.stack([model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts])


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with data, a base model and a run of `train-text` on them that was evaluated."""
    folder = tmp_path_factory.mktemp("work")
    for name, count, seed in (("train", 60, 0), ("dev", 40, 1), ("test", 50, 2)):
        write_table(folder / f"{name}.csv", rows(count, seed))
    base = tiny_model("bert").base_model
    base.save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    learnt = ["--max_steps=60", "--learning_rate=3e-3", f"--model_name_or_path={folder / 'base'}"]
    train(folder, "out", *learnt, "--do_eval", "--do_predict", test_file=folder / "test.csv")
    return folder


def train(folder, out, *more, **files):
    named = {"train_file": folder / "train.csv", "validation_file": folder / "dev.csv", **files}
    settings = flags(model_name_or_path=folder / "out", output_dir=folder / out)
    last = {word.split("=")[0]: word for word in (*settings, *flags(**named), *STEPS, "--mix_method=erm", *more)}
    return train_text.main([*last.values(), "--do_train"])


# ---- found and stored ----


def test_it_is_that_of_the_validation_rows(here):
    validation = rows(40, 1)
    logits = logits_of(here / "out", [row["text"] for row in validation])
    expected = fit_temperature(logits, [["egg", "ham", "spam"].index(row["label"]) for row in validation])
    found = mixtext_of(here / "out")
    assert found["temperature"] == pytest.approx(expected, rel=1e-3) and 0.02 < expected < 50
    assert found["temperature_fitted_on"] == {"split": "validation", "rows": 40} and found["method"] == "erm"


def test_predict_has_the_ece_that_evaluate_reports(here, tmp_path, capsys):
    out, test = here / "out", here / "test.csv"
    argv = [*flags(model_name_or_path=out, test_file=test, output_dir=tmp_path / "report"), *QUIET]
    report = evaluate.main([*argv, "--skip", "robustness"])
    stored = report["stored_temperature"]
    assert stored["value"] == mixtext_of(out)["temperature"] and stored["origin"] == "fitted on 40 rows of validation"
    assert f"{stored['metrics']['ece']:.3f}" in " ".join(report["summary"])
    assert "stored temperature" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()
    tables = {}
    for name, more in {"stored": [], "plain": ["--temperature=1"], "hot": ["--temperature=7"]}.items():
        file = tmp_path / f"{name}.parquet"
        predict.main([str(out), str(test), f"--output_file={file}", *QUIET, *more])
        tables[name] = pq.read_table(file).to_pydict()
        said = capsys.readouterr().out
        assert ("stored with the model (fitted on 40 rows of validation)" in said) == (name == "stored")
        assert tables[name]["prediction"] == tables["stored"]["prediction"]
        labels = ["egg", "ham", "spam"]
        chances = np.stack([tables[name][f"probability_{label}"] for label in labels], axis=1).astype(np.float64)
        references = [labels.index(row["label"]) for row in rows(50, 2)]
        ece = expected_calibration_error(
            probabilities=chances / chances.sum(axis=1, keepdims=True), references=references
        )
        if name != "hot":
            measured = stored["metrics"] if name == "stored" else report["results"]["metrics"]
            assert ece == pytest.approx(measured["ece"], abs=1e-5)
    assert tables["stored"]["confidence"] != tables["plain"]["confidence"]
    # What `--do_predict` wrote is the same file.
    lines = (out / "predictions.csv").read_text(encoding="utf-8").splitlines()
    assert [float(line.split(",")[4]) for line in lines[1:]] == pytest.approx(tables["stored"]["confidence"], abs=1e-4)


def test_rows_that_were_learnt_from_or_measured_do_not_count(here, caplog):
    mixed = write_table(here / "mixed.csv", [*rows(60)[:10], *rows(40, 1), *rows(50, 2)[:5]])
    train(here, "mixed", validation_file=mixed, test_file=here / "test.csv")
    assert mixtext_of(here / "mixed")["temperature_fitted_on"]["rows"] == 40
    for name in ("train", "test"):
        caplog.clear()
        with caplog.at_level("INFO"):
            train(
                here,
                "same",
                "--overwrite_output_dir",
                validation_file=here / f"{name}.csv",
                test_file=here / "test.csv",
            )
        assert "temperature" not in mixtext_of(here / "same")
        assert f"--validation_file and --{name}_file both name" in caplog.text
    # The test split stands in for a validation split that is not there: for measuring, not for this.
    argv = flags(train_file=here / "train.csv", test_file=here / "test.csv", output_dir=here / "test_alone")
    train_text.main([*argv, *STEPS, f"--model_name_or_path={here / 'out'}", "--do_train", "--do_eval"])
    assert "temperature" not in mixtext_of(here / "test_alone")


def test_an_optimum_that_is_none_is_not_stored(here, caplog):
    few = write_table(here / "few.csv", [{"text": "w1 w9 w8", "label": "spam"}])
    with caplog.at_level("INFO"):
        train(here, "few", validation_file=few)
    assert "temperature" not in mixtext_of(here / "few") and "No temperature is stored" in caplog.text


def test_several_labels_have_none(here):
    several = [{"text": row["text"], "ham": i % 2, "egg": (i + 1) % 3 % 2} for i, row in enumerate(rows(30))]
    files = {f"{name}_file": write_table(here / f"several_{name}.csv", several) for name in ("train", "validation")}
    base = f"--model_name_or_path={here / 'base'}"
    train(here, "several", base, "--do_eval", "--label_column=ham,egg", **files)
    assert "temperature" not in mixtext_of(here / "several")
    with pytest.raises(SystemExit):
        predict.main([str(here / "several"), str(here / "test.csv"), "--temperature=2", *QUIET])


def test_images_have_one(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("dev", 18)):
        for i in range(count):
            path = tmp_path / "pictures" / split / NAMES[i % 3] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 120, (*IMAGE_SIZE, 3)) + np.eye(3, dtype=int)[(i + (i > 12)) % 3] * 100
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    model = tiny_image_model("vit")
    model.save_pretrained(tmp_path / "vit")
    small_image_processor(IMAGE_SIZE, 3).save_pretrained(tmp_path / "vit")
    argv = flags(dataset_name=tmp_path / "pictures", model_name_or_path=tmp_path / "vit", output_dir=tmp_path / "out")
    more = ["--do_train", "--mix_method=mixup", "--max_steps=6", "--save_strategy=no", "--new_head", *QUIET]
    train_image.main([*argv, *more])
    assert mixtext_of(tmp_path / "out")["temperature_fitted_on"] == {"split": "validation", "rows": 18}


# ---- gone with more training ----


def test_more_training_forgets_it(here):
    argv = [*flags(train_file=here / "train.csv", output_dir=here / "more"), *STEPS]
    train_text.main([*argv, f"--model_name_or_path={here / 'out'}", "--save_strategy=steps", "--do_train"])
    assert mixtext_of(here / "more")["method"] == "erm" and "temperature" not in mixtext_of(here / "more")
    # A finished run that is gone on with trains nothing, and its model is written once more.
    again = [*argv, f"--model_name_or_path={here / 'out'}", "--save_strategy=steps", "--do_train"]
    train_text.main([*again, "--resume_from_checkpoint=True"])
    assert "temperature" not in mixtext_of(here / "more")


# ---- stored by `evaluate` ----


@pytest.fixture
def foreign(here, tmp_path):
    """A classifier that does not say who trained it."""
    model = AutoModelForSequenceClassification.from_pretrained(here / "out")
    del model.config.mixtext
    model.save_pretrained(tmp_path / "foreign")
    tiny_tokenizer().save_pretrained(tmp_path / "foreign")
    return tmp_path / "foreign"


def evaluated(here, model, out, *more, **files):
    named = {"validation_file": here / "dev.csv", "test_file": here / "test.csv", **files}
    argv = flags(model_name_or_path=model, output_dir=out, **{k: v for k, v in named.items() if v is not None})
    return evaluate.main([*argv, *QUIET, "--skip", "robustness", *more])


def test_evaluate_stores_it_where_it_is_asked_to(here, foreign, tmp_path):
    before = (foreign / "config.json").read_text(encoding="utf-8")
    evaluated(here, foreign, tmp_path / "report")
    assert (foreign / "config.json").read_text(encoding="utf-8") == before
    before = json.loads((foreign / "config.json").read_text(encoding="utf-8"))
    report = evaluated(here, foreign, tmp_path / "report", "--store_temperature")
    found = mixtext_of(foreign)
    assert found["temperature"] == report["temperature"]["value"]
    assert found["temperature_fitted_on"] == {"split": "validation", "rows": 40}
    after = json.loads((foreign / "config.json").read_text(encoding="utf-8"))
    assert {**after, "mixtext": None} == {**before, "mixtext": None}
    again = evaluated(here, foreign, tmp_path / "report")
    assert again["stored_temperature"]["metrics"] == report["temperature"]["metrics"]
    # It is no recipe: who trains it on names a method, or has the default.
    argv = flags(train_file=here / "train.csv", model_name_or_path=foreign, output_dir=tmp_path / "more")
    train_text.main([*argv, *STEPS, "--max_steps=1", "--do_train"])
    assert set(mixtext_of(tmp_path / "more")) == {"version", "method", "hyperparameters"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"validation_file": None}, "not fitted, for there is no labelled validation split"),
        ({"validation_file": "train.csv"}, "is what the model was trained on"),
        ({"model": "out/../base"}, "config.json|classifier|classes|outputs|labels"),
    ],
)
def test_what_evaluate_cannot_store_is_said_before(here, tmp_path, capsys, files, said):
    model = here / files.get("model", "out")
    named = {name: value and here / value for name, value in files.items() if name != "model"}
    with pytest.raises(SystemExit):
        evaluated(here, model, tmp_path / "report", "--store_temperature", **named)
    assert re.search(said, capsys.readouterr().err) and not (tmp_path / "report").exists()


# ---- wrong ones ----


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf"])
def test_a_temperature_that_is_none_is_refused(here, tmp_path, capsys, given):
    with pytest.raises(SystemExit):
        predict.main([str(here / "out"), str(here / "test.csv"), f"--temperature={given}", *QUIET])
    assert "--temperature is" in capsys.readouterr().err


@pytest.mark.parametrize("stored", ["hot", True, 0, [1.5]])
def test_a_stored_one_that_is_none_is_refused_with_a_way_out(here, tmp_path, capsys, stored):
    shutil.copytree(here / "out", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    config["mixtext"]["temperature"] = stored
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    argv = [str(tmp_path / "model"), str(here / "test.csv"), f"--output_file={tmp_path / 'p.csv'}", *QUIET]
    with pytest.raises(SystemExit):
        predict.main(argv)
    assert "config.mixtext['temperature']" in capsys.readouterr().err
    predict.main([*argv, "--temperature=1"])


# ---- in the card ----


def test_the_lines_of_the_card_give_the_confidences_of_predict(here, tmp_path, monkeypatch, capsys):
    card = (here / "out" / "README.md").read_text(encoding="utf-8")
    usage, tempered = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)[:2]
    assert "fitted on 40 rows of validation" in card
    monkeypatch.chdir(here)
    scope = {}
    exec(usage, scope)
    exec(tempered, scope)
    text = write_table(tmp_path / "one.csv", [{"text": "A text."}])
    predict.main([str(here / "out"), str(text), f"--output_file={tmp_path / 'one.parquet'}", *QUIET])
    found = pq.read_table(tmp_path / "one.parquet").to_pylist()[0]
    shown = dict(zip([one["label"] for one in scope["found"]], scope["probabilities"].tolist(), strict=True))
    assert shown == pytest.approx({name: found[f"probability_{name}"] for name in NAMES}, abs=1e-5)


def test_a_card_that_is_pushed_has_the_one_that_is_stored_now(here, tmp_path):
    shutil.copytree(here / "out", tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    config["mixtext"] |= {"temperature": 3.25, "temperature_fitted_on": {"split": "dev", "rows": 7}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    push.main([str(tmp_path / "model"), "--card_only"])
    assert "3.2500, fitted on 7 rows of dev," in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")


def test_no_temperature_changes_a_prediction():
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(2000, 3)) * 10.0 ** rng.integers(-6, 4, size=(2000, 1))).astype(np.float32)
    logits[:500, 1] = np.nextafter(logits[:500, 0], np.float32(np.inf))
    for temperature in (0.01, 0.3, 3.0, 100.0):
        chances = apply_temperature(logits, temperature)
        assert (chances.argmax(axis=1) == softmax(logits).argmax(axis=1))[500:].all()
        assert (chances.max(axis=1) == chances[np.arange(2000), logits.argmax(axis=1)]).all()
