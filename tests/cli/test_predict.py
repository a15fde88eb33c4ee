"""`predict`: a row for each input, with ids of the file, true labels and the probabilities that the model gives."""

from __future__ import annotations

import csv
import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from table_files import write_table
from tiny import IMAGE_SIZE, tiny_image_model, tiny_model, tiny_tokenizer
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mixtext_hf.cli.predict import main
from mixtext_hf.evaluation.predicting import predict_in_chunks
from mixtext_hf.models.embedded import small_image_processor


NAMES = ["billing", "delivery", "returns"]
QUIET = ["--disable_tqdm=true", "--use_cpu"]


def save(folder, model, processor):
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    torch.manual_seed(0)
    model = tiny_model(id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)})
    tokenizer = tiny_tokenizer()
    with torch.no_grad():
        # Each class is predicted for some texts.
        logits = model.eval()(
            **tokenizer([row["text"] for row in text_rows(50)], padding=True, return_tensors="pt")
        ).logits
        model.classifier.weight.data.mul_(20)
        model.classifier.bias.data = 20 * (model.classifier.bias - logits.mean(dim=0))
    return save(tmp_path_factory.mktemp("bert"), model, tokenizer)


@pytest.fixture(scope="module")
def image_classifier(tmp_path_factory):
    names = ["cat", "dog", "owl"]
    torch.manual_seed(0)
    model = tiny_image_model("vit", id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)})
    return save(tmp_path_factory.mktemp("vit"), model, small_image_processor(IMAGE_SIZE, 3))


def text_rows(count, seed=0):
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(40)]
    return [
        {"ticket_id": f"T{i}", "text": " ".join(rng.choice(words, size=rng.integers(1, 20))), "label": NAMES[i % 3]}
        for i in range(count)
    ]


def read(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(model, file, out, *more):
    return main([str(model), str(file), f"--output_file={out}", *QUIET, *more])


def refused(capsys, *argv, status=2):
    with pytest.raises(SystemExit) as stopped:
        main([*QUIET, *map(str, argv)])
    assert stopped.value.code == status
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mixtext-hf predict: error: ")
    return error.removeprefix("mixtext-hf predict: error: ")


# ---- texts ----


def test_every_row_has_what_the_model_says_of_it(tmp_path, classifier, capsys):
    rows = text_rows(50)
    out = tmp_path / "p.csv"
    written = run(classifier, write_table(tmp_path / "test.csv", rows), out, "--per_device_eval_batch_size=4")
    found = read(out)
    assert list(found[0]) == [
        *("id", "text", "label", "prediction", "confidence"),
        *(f"probability_{name}" for name in NAMES),
    ]
    assert [(row["id"], row["text"], row["label"]) for row in found] == [tuple(row.values()) for row in rows]
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    for row in found:
        with torch.no_grad():
            expected = model(**tokenizer(row["text"], return_tensors="pt")).logits[0].softmax(-1).numpy()
        np.testing.assert_allclose([float(row[f"probability_{name}"]) for name in NAMES], expected, atol=1e-5)
        assert row["prediction"] == NAMES[expected.argmax()]
        assert float(row["confidence"]) == pytest.approx(expected.max(), abs=1e-5)
    right = sum(row["prediction"] == row["label"] for row in found)
    assert (written.rows, written.labelled, written.right) == (50, 50, right) and len(written.counts) > 1
    said = capsys.readouterr().out
    assert f"50 rows predicted by {classifier}: {out}" in said and f"{right / 50:.1%} of the 50 rows" in said


def test_rows_that_are_chosen_keep_their_numbers(tmp_path, classifier):
    rows = [{"text": row["text"]} for row in text_rows(60)]
    path = write_table(tmp_path / "test.csv", rows)
    run(classifier, path, tmp_path / "all.csv")
    run(classifier, path, tmp_path / "some.csv", "--max_predict_samples=7", "--per_device_eval_batch_size=2")
    everything, some = read(tmp_path / "all.csv"), read(tmp_path / "some.csv")
    assert [row["id"] for row in everything] == [str(i) for i in range(60)] and "label" not in everything[0]
    numbers = [int(row["id"]) for row in some]
    assert len(numbers) == 7 and numbers == sorted(set(numbers)) and numbers != list(range(7))
    for row in some:
        of_all = everything[int(row["id"])]
        assert row["text"] == of_all["text"]
        assert float(row["confidence"]) == pytest.approx(float(of_all["confidence"]), abs=1e-5)


@pytest.mark.parametrize("suffix", ["tsv", "jsonl", "parquet"])
def test_other_files_hold_the_same(tmp_path, classifier, suffix):
    path = write_table(tmp_path / "test.csv", text_rows(5))
    run(classifier, path, tmp_path / "p.csv")
    run(classifier, path, tmp_path / f"p.{suffix}")
    expected = [list(row.values()) for row in read(tmp_path / "p.csv")]
    other = tmp_path / f"p.{suffix}"
    if suffix == "parquet":
        found = [list(row.values()) for row in pq.read_table(other).to_pylist()]
    elif suffix == "jsonl":
        found = [list(json.loads(line).values()) for line in other.read_text().splitlines()]
    else:
        found = [line.split("\t") for line in other.read_text().splitlines()[1:]]
    for row, same in zip(found, expected, strict=True):
        assert row[:4] == same[:4] and np.allclose(np.array(row[4:], float), np.array(same[4:], float))


def test_labels_that_the_model_does_not_know_are_shown_and_not_counted(tmp_path, classifier, capsys, caplog):
    rows = [{**row, "label": "refunds" if i == 3 else row["label"]} for i, row in enumerate(text_rows(8))]
    written = run(classifier, write_table(tmp_path / "test.csv", rows), tmp_path / "p.csv")
    assert [row["label"] for row in read(tmp_path / "p.csv")] == [row["label"] for row in rows]
    assert written.labelled == written.right == 0 and "true label" not in capsys.readouterr().out
    assert "not counted: ['refunds']. --label_map says" in caplog.text


def test_labels_are_those_of_the_model_by_name_by_case_and_by_a_map(tmp_path, classifier, capsys, caplog):
    caplog.set_level("INFO", "mixtext_hf")
    other = {"billing": " Billing", "delivery": "DELIVERY", "returns": "sent back"}
    rows = [{**row, "label": other[row["label"]]} for row in text_rows(8)]
    path = write_table(tmp_path / "test.csv", [*rows, {"ticket_id": "T9", "text": "w1", "label": "junk"}])
    (tmp_path / "map.csv").write_text("Sent back,returns\njunk,\n")
    written = run(classifier, path, tmp_path / "p.csv", f"--label_map={tmp_path / 'map.csv'}")
    assert [row["label"] for row in read(tmp_path / "p.csv")] == [*(row["label"] for row in text_rows(8)), ""]
    assert (written.rows, written.labelled) == (9, 8)
    assert "' Billing' for 'billing', 'DELIVERY' for 'delivery'" in caplog.text
    (tmp_path / "map.csv").write_text("refund,returns\n")
    said = refused(
        capsys, classifier, path, f"--output_file={tmp_path / 'q.csv'}", f"--label_map={tmp_path / 'map.csv'}"
    )
    assert "changes no label of the data: it has the names ['refund']" in said and not (tmp_path / "q.csv").exists()
    bare = write_table(tmp_path / "bare.csv", [{"text": "w1"}])
    said = refused(
        capsys, classifier, bare, f"--output_file={tmp_path / 'q.csv'}", f"--label_map={tmp_path / 'map.csv'}"
    )
    assert "has no true labels" in said


def test_a_score_that_is_none_is_said_before_anything_is_predicted(tmp_path, capsys, monkeypatch):
    scores = save(tmp_path / "scores", tiny_model(num_labels=1, problem_type="regression"), tiny_tokenizer())
    for label, shown in (("4.50", 4.5), ("NA", ""), ("2.0", 2.0)):
        rows = [{"text": "w1", "label": "1.0"}, {"text": "w2", "label": label}]
        path = write_table(tmp_path / "test.csv", rows, Features({"text": Value("string"), "label": Value("string")}))
        run(scores, path, tmp_path / "p.csv", "--overwrite_output_file")
        assert [row["label"] and float(row["label"]) for row in read(tmp_path / "p.csv")] == [1.0, shown]
    path = write_table(tmp_path / "test.csv", [{"text": "w1", "label": "1.5"}, {"text": "w2", "label": "good"}])
    monkeypatch.setattr("mixtext_hf.cli.predict.predict", None)
    assert "'label' holds 'good'" in refused(capsys, scores, path, f"--output_file={tmp_path / 'q.csv'}")


def test_a_model_of_scores_has_no_likeliest_classes(tmp_path, capsys):
    scores = save(tmp_path / "scores", tiny_model(num_labels=1), tiny_tokenizer())
    path = write_table(tmp_path / "test.csv", text_rows(4))
    error = refused(capsys, scores, path, "--top_k=2", f"--output_file={tmp_path / 'p.csv'}")
    assert error == "--top_k 2: the model predicts a number, no classes: leave it out."


def test_the_columns_of_the_training_are_taken(tmp_path, classifier):
    record = {"columns": ["body", None], "data_arguments": {"max_seq_length": 5}}
    folder = tmp_path / "model"
    save(folder, AutoModelForSequenceClassification.from_pretrained(classifier), tiny_tokenizer())
    (folder / "run.json").write_text(json.dumps(record))
    rows = [{"text": "w1", "body": row["text"]} for row in text_rows(6)]
    run(folder, write_table(tmp_path / "test.csv", rows), tmp_path / "p.csv")
    assert [row["body"] for row in read(tmp_path / "p.csv")] == [row["body"] for row in rows]


def test_scores_and_several_labels(tmp_path, capsys):
    path = write_table(tmp_path / "test.csv", [{**row, "label": 0.5} for row in text_rows(6)])
    scores = save(tmp_path / "scores", tiny_model(num_labels=1, problem_type="regression"), tiny_tokenizer())
    run(scores, path, tmp_path / "scores.csv")
    found = read(tmp_path / "scores.csv")
    assert list(found[0]) == ["id", "text", "label", "prediction"] and found[0]["label"] == "0.5"
    named = {"id2label": dict(enumerate("abc")), "label2id": {name: i for i, name in enumerate("abc")}}
    several = save(
        tmp_path / "several", tiny_model(**named, problem_type="multi_label_classification"), tiny_tokenizer()
    )
    # 0/1 columns that are called like the classes are the true labels.
    rows = [{"text": row["text"], "c": i % 2, "a": 1, "b": 0} for i, row in enumerate(text_rows(6))]
    run(several, write_table(tmp_path / "several.csv", rows), tmp_path / "several_p.csv")
    found = read(tmp_path / "several_p.csv")
    assert [set(row["label"].split("|")) for row in found] == [{"a"}, {"a", "c"}] * 3
    for row in found:
        likely = [name for name in "abc" if float(row[f"probability_{name}"]) > 0.5]
        assert row["prediction"] == "|".join(likely)
    # What was written, with its labels in one string, read again; and lists that are written as strings.
    lines = [f"w{i},{label}" for i, label in enumerate(["A|c", "b", "-1"])]
    (tmp_path / "again.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    run(several, tmp_path / "again.csv", tmp_path / "again_p.csv", "--label_separator=|")
    assert [row["label"] for row in read(tmp_path / "again_p.csv")] == ["a|c", "b", ""]
    (tmp_path / "lists.csv").write_text("text,label\nw1,\"['c', 'a']\"\nw2,['b']\n")
    run(several, tmp_path / "lists.csv", tmp_path / "lists_p.csv")
    assert [row["label"] for row in read(tmp_path / "lists_p.csv")] == ["c|a", "b"]
    said = refused(capsys, scores, path, f"--output_file={tmp_path / 'q.csv'}", "--label_separator=|")
    assert "--label_separator is for models of several labels a row" in said


def test_one_class_for_all_is_said(tmp_path, capsys):
    model = tiny_model(id2label=dict(enumerate(NAMES)), label2id={name: i for i, name in enumerate(NAMES)})
    model.classifier.bias.data[1] = 50
    folder = save(tmp_path / "model", model, tiny_tokenizer())
    run(folder, write_table(tmp_path / "test.csv", text_rows(6)), tmp_path / "p.csv")
    assert "All rows got the same class, delivery" in capsys.readouterr().out


def test_an_adapter(tmp_path, classifier):
    peft = pytest.importorskip("peft")
    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"], init_lora_weights=False)
    model = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(classifier), config).eval()
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    model.base_model.model.config.save_pretrained(folder)
    path = write_table(tmp_path / "test.csv", text_rows(5))
    run(folder, path, tmp_path / "p.csv")
    inputs = tiny_tokenizer()(read(tmp_path / "p.csv")[4]["text"], return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits[0].softmax(-1).numpy()
    found = [float(read(tmp_path / "p.csv")[4][f"probability_{name}"]) for name in NAMES]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_adapter_without_config_has_no_temperature_of_its_base(tmp_path, classifier, capsys):
    """Which was found for other weights."""
    peft = pytest.importorskip("peft")
    base = AutoModelForSequenceClassification.from_pretrained(classifier)
    base.config.mixtext = {"method": "erm", "temperature": 4.0}
    folder = save(tmp_path / "base", base, tiny_tokenizer())
    adapter = peft.get_peft_model(base, peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"]))
    adapter.peft_config["default"].base_model_name_or_path = str(folder)
    adapter.save_pretrained(tmp_path / "adapter")
    path = write_table(tmp_path / "test.csv", text_rows(3))
    for name, told in ((folder, True), (tmp_path / "adapter", False)):
        run(name, path, tmp_path / "p.csv", f"--tokenizer_name={folder}", "--overwrite_output_file")
        assert ("at the temperature 4 stored" in capsys.readouterr().out) == told


# ---- images ----


def pictures(folder, names=("cat", "dog"), count=3, side=IMAGE_SIZE):
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (*side, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def test_a_folder_of_images(tmp_path, image_classifier):
    folder = pictures(tmp_path / "photos", ("cat", "new", "dog"))
    written = run(image_classifier, folder, tmp_path / "p.csv", "--per_device_eval_batch_size=2")
    found = read(tmp_path / "p.csv")
    assert [row["image"] for row in found] == sorted(map(str, folder.rglob("*.png")))
    # The folder is the true label where it is a class of the model.
    assert [row["label"] for row in found] == ["cat"] * 3 + ["dog"] * 3 + [""] * 3
    assert (written.rows, written.labelled) == (9, 6)
    table = tmp_path / "table.csv"
    table.write_text("image,class\n" + "".join(f"{row['image']},{row['label']}\n" for row in found))
    run(image_classifier, table, tmp_path / "of_table.csv")
    same = read(tmp_path / "of_table.csv")
    assert [row["image"] for row in same] == [row["image"] for row in found]
    assert [row["prediction"] for row in same] == [row["prediction"] for row in found]
    run(image_classifier, f"{folder}/cat/*.png", tmp_path / "cats.csv")
    assert read(tmp_path / "cats.csv") == found[:3]


def test_the_class_of_an_image_is_the_first_folder_called_like_one(tmp_path, image_classifier):
    """Below the folder that is named, as in training: not that of a place or a camera in it."""
    folder = tmp_path / "photos"
    for name in ("test/cat/indoor", "test/dog/dog", "test/dog/cat", "unsorted", "__MACOSX/cat", ".cache/dog"):
        pictures(folder / name, ("",), count=1)
    (folder / "test" / "dog" / "notes.txt").write_text("none of the images")
    run(image_classifier, folder, tmp_path / "p.csv")
    found = {row["image"].removeprefix(f"{folder}/"): row["label"] for row in read(tmp_path / "p.csv")}
    assert found == {
        "test/cat/indoor/0.png": "cat",
        "test/dog/cat/0.png": "dog",
        "test/dog/dog/0.png": "dog",
        "unsorted/0.png": "",
    }
    # The folder of a class itself.
    run(image_classifier, folder / "test" / "dog" / "cat", tmp_path / "cats.csv")
    assert [row["label"] for row in read(tmp_path / "cats.csv")] == ["cat"]


def test_an_image_that_cannot_be_read_is_no_table_beside_the_others(tmp_path, image_classifier, capsys):
    folder = pictures(tmp_path / "photos", ("cat",), count=1)
    (folder / "cat" / "1.heic").write_bytes(b"from a telephone")
    error = refused(capsys, image_classifier, folder, f"--output_file={tmp_path / 'p.csv'}")
    assert "1.heic" in error and not (tmp_path / "p.csv").exists()


def test_images_without_a_path_have_their_number(tmp_path, image_classifier):
    folder = pictures(tmp_path / "photos", ("cat",))
    encoded = [{"image": {"bytes": path.read_bytes(), "path": None}} for path in sorted(folder.rglob("*.png"))]
    path = write_table(tmp_path / "packed.parquet", encoded, Features({"image": ImageFeature()}))
    run(image_classifier, path, tmp_path / "p.csv")
    found = read(tmp_path / "p.csv")
    assert list(found[0])[:3] == ["id", "prediction", "confidence"] and [row["id"] for row in found] == list("012")


def test_a_broken_image_is_named_and_nothing_is_written(tmp_path, image_classifier, capsys):
    folder = pictures(tmp_path / "photos", count=4)
    broken = folder / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    error = refused(capsys, image_classifier, folder, f"--output_file={tmp_path / 'p.csv'}", "--top_k=2")
    assert str(broken) in error and "--skip_broken_images" in error
    assert not (tmp_path / "p.csv").exists() and not list(tmp_path.glob(".part*"))


def test_broken_images_are_left_out_if_asked_for_and_the_others_keep_their_numbers(tmp_path, image_classifier):
    folder = pictures(tmp_path / "photos", count=4)
    broken = folder / "dog" / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    run(image_classifier, folder, tmp_path / "p.csv", "--skip_broken_images")
    found = read(tmp_path / "p.csv")
    assert [int(row["id"]) for row in found] == [0, 1, 2, 3, 4, 5, 7]
    assert all(str(broken) not in row.values() for row in found)


# ---- what it refuses ----


def test_what_is_wrong_is_said_before_the_model_is_loaded(tmp_path, classifier, image_classifier, capsys, monkeypatch):
    path = write_table(tmp_path / "test.csv", text_rows(4))
    out = tmp_path / "p.csv"
    out.write_text("precious")
    new = f"--output_file={tmp_path / 'new.csv'}"
    assert "exists already" in refused(capsys, classifier, path, f"--output_file={out}")
    assert out.read_text() == "precious"
    assert "A model and a file are needed, got " in refused(capsys, classifier)
    assert "A model and a file are needed" in refused(capsys, classifier, path, path)
    assert "has the suffix '.xlsx'" in refused(capsys, classifier, path, "--output_file=p.xlsx")
    assert "--top_k 4: the model has 3 classes" in refused(capsys, classifier, path, new, "--top_k=4")
    assert "--id_column nr: there is no such column" in refused(capsys, classifier, path, new, "--id_column=nr")
    assert "there is no file" in refused(capsys, classifier, tmp_path / "none.csv", new)
    assert "is a file, and no model" in refused(capsys, path, classifier, new)
    itself = [f"--output_file={path}", "--overwrite_output_file"]
    assert "is a file that is read, and would be lost" in refused(capsys, classifier, path, *itself)
    assert "--top_kk is no argument of mixtext-hf predict. Is --top_k meant?" in refused(
        capsys, classifier, path, "--top_kk=1"
    )
    assert "is a folder" in refused(capsys, classifier, tmp_path, new)
    assert "holds no images" in refused(capsys, image_classifier, tmp_path, new)
    assert "is an image classifier; leave it out" in refused(
        capsys, image_classifier, pictures(tmp_path / "p"), new, "--text_column=text"
    )
    assert "no folder with a model" in refused(capsys, tmp_path / "nowhere", path, new)
    assert not (tmp_path / "new.csv").exists()


# ---- chunks ----


class FirstNumber(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return SimpleNamespace(logits=torch.stack([x, -x], dim=1) * self.weight)


@pytest.mark.parametrize("count, size", [(1, 4), (24, 4), (23, 4), (25, 5), (7, 100)])
def test_chunks_are_in_the_order_of_the_rows(count, size):
    rng = np.random.default_rng(count)
    rows = [{"x": float(i)} for i in range(count)]
    seen = []

    def collate(part):
        seen.extend(row["x"] for row in part)
        return {"x": torch.tensor([row["x"] for row in part])}

    lengths = rng.integers(1, 9, count)
    chunks = list(
        predict_in_chunks(FirstNumber(), rows, collate, batch_size=size, batches_in_chunk=3, lengths=lengths)
    )
    assert [first for first, _ in chunks] == list(range(0, count, 3 * size))
    assert np.concatenate([logits for _, logits in chunks])[:, 0].tolist() == list(range(count))
    of_first = lengths[np.array(seen[: 3 * size], dtype=int)]
    assert (np.diff(of_first) <= 0).all()
    assert torch.is_inference_mode_enabled() is False


def test_memory_does_not_grow_with_the_rows():
    class Many:
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __getitem__(self, row):
            return row

    def peak(count):
        def collate(rows):
            return {"x": torch.zeros(len(rows))}

        tracemalloc.start()
        for _ in predict_in_chunks(FirstNumber(), Many(count), collate, batch_size=1000, batches_in_chunk=4):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # What is left is the order, 8 bytes a row, and a copy of a part of it.
    assert peak(200_000) < peak(20_000) + 180_000 * 20


def test_a_row_that_is_not_finite_is_named():
    rows = [{"x": float("nan") if i == 13 else 1.0} for i in range(20)]

    def collate(part):
        return {"x": torch.tensor([row["x"] for row in part])}

    with pytest.raises(ValueError, match="for 1 of 4 rows, row 13 the first"):
        list(predict_in_chunks(FirstNumber(), rows, collate, batch_size=2, batches_in_chunk=2))
