"""`show-mixes` of a batch of a run: finished or still to be made, on images and on texts, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_config, tiny_tokenizer

from mixtext_hf.cli import batch_pictures, train_image
from mixtext_hf.cli.batch_pictures import BatchPage, BatchSettings, show_batch
from mixtext_hf.cli.show_mixes import main
from mixtext_hf.mixing import MixPlan
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.training.mixed_batch import mixed_batch


COMMON = ["--use_cpu", "--per_device_train_batch_size=6", "--max_steps=3"]


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def drawn(monkeypatch):
    """The pages that were drawn: their batches, and what they are about."""
    pages = []

    def draw(page, path):
        pages.append(page)
        path.write_bytes(b"page")

    monkeypatch.setattr(BatchPage, "draw", draw)
    return pages


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of pictures."""
    root = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for name in ("dark", "light"):
        (root / "train" / name).mkdir(parents=True)
        for i in range(6):
            pixels = generator.integers(0, 256, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / "train" / name / f"{i}.png")
    return str(root)


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("model"))
    torch.manual_seed(0)
    tiny_tokenizer().save_pretrained(path)
    MixableModelForSequenceClassification.from_config(tiny_config("bert")).save_pretrained(path)
    return path


@pytest.fixture
def image_flags(folder):
    return [*COMMON, f"--dataset_name={folder}", "--model_name_or_path=small-resnet", "--mix_method=puzzlemix"]


def refused(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([*argv])
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("mixtext-hf show-mixes: error: ")
    return said


def train(folder, argv):
    train_image.main(
        [
            *argv,
            "--do_train",
            "--report_to=none",
            "--disable_tqdm=true",
            "--save_strategy=no",
            f"--output_dir={folder}",
        ]
    )


# ---- the page ----


@pytest.mark.pictures
def test_a_batch_of_a_run_that_is_still_to_be_made(tmp_path, capsys, image_flags):
    main(["image", *image_flags, "--rows", "3", "--output_dir", str(tmp_path / "new" / "mixes")])
    path = tmp_path / "new" / "mixes" / "batch.png"
    assert capsys.readouterr().out.splitlines() == [str(path)]
    with Image.open(path) as page:
        page.load()
        assert page.format == "PNG" and min(page.size) > 600
    assert [item.name for item in tmp_path.iterdir() if item.name != "cache"] == ["new"]


@pytest.mark.pictures
def test_a_batch_of_texts(tmp_path, text_model):
    rows = "".join(f"w{i} w{i + 1} $x,{'abc'[i % 3]}\n" for i in range(8))
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}")
    data = {"train_file": tmp_path / "train.csv", "model_name_or_path": text_model}
    path = show_batch(tmp_path, kind="text", rows=4, mix_method="tmix", use_cpu=True, max_steps=1, **data)
    with Image.open(path) as page:
        assert page.size[0] > 980


def test_the_finished_run_is_made_again(tmp_path, drawn, image_flags):
    out = tmp_path / "out"
    train(out, [*image_flags, "--seed=5"])
    log = json.loads((out / "trainer_state.json").read_text())["log_history"]
    assert show_batch(tmp_path / "mixes", run=out, rows=2).read_bytes() == b"page"
    main(["--run", str(out), "--output_dir", str(tmp_path / "mixes"), "--step", "2"])
    main(["--run", str(out), "--output_dir", str(tmp_path / "mixes"), "--trained"])
    first, third, trained = (page.batch for page in drawn)
    weights = [entry["mix_weight"] for entry in log if "mix_weight" in entry]
    assert [first.weight.mean().item(), third.weight.mean().item()] == pytest.approx(
        [weights[0], weights[2]], abs=1e-5
    )
    # The same rows and the same draws, seen by another network.
    assert torch.equal(first.inputs["pixel_values"], trained.inputs["pixel_values"])
    assert torch.equal(first.plan.lam, trained.plan.lam)
    assert "the weights that the run ended with" in drawn[2]._foot() and "weights of step 0" in drawn[0]._foot()
    state = drawn[2].run.trainer.model.state_dict()
    again = train_image.MixableModelForImageClassification.from_pretrained(out).state_dict()
    name = "classifier.1.weight"
    assert torch.equal(state[name], again[name])
    assert not torch.equal(state[name], drawn[0].run.trainer.model.state_dict()[name])


@pytest.fixture
def page(drawn, tmp_path, image_flags):
    show_batch(tmp_path, kind="image", rows=4, **{flag.lstrip("-").partition("=")[0]: True for flag in ["--use_cpu"]},
               per_device_train_batch_size=6, max_steps=3, dataset_name=image_flags[3].partition("=")[2],
               model_name_or_path="small-resnet", mix_method="cutmix", mix_per="example")  # fmt: skip
    return drawn[-1]


def test_rows_have_images_masks_and_named_labels(page):
    columns, rows = page._image_rows()
    assert [name for name, _ in columns] == ["own", "partner", "the mix", "mask"]
    assert len(rows) == 4
    for number, row in enumerate(rows):
        own, partner, mixed = row.images
        weight = row.mask[..., None]
        assert float(row.mask.mean()) == pytest.approx(row.labels.weight, abs=1e-5)
        assert {row.labels.own, row.labels.partner} <= {"dark", "light", None}
        assert row.labels.about.startswith(f"row {number}, with ")
        if partner is not None:
            np.testing.assert_allclose(mixed, weight * own + (1 - weight) * partner, atol=1e-5)
    assert "4 of the 6 rows" in page._about() and "λ is drawn for each row" in page._about()


def test_rows_that_are_not_mixed_say_so(page):
    page.plan = page.batch.plan
    unmixed = replace(page.batch, plan=MixPlan.identity(6), weight=torch.ones(6))
    still = BatchPage(page.run, unmixed, page.settings)
    assert "This step draws no mix" in still._about()
    labels = still._labels(1)
    assert labels.partner is None and labels.weight == 1 and labels.about == "row 1, with no partner"


def test_pixels_that_nobody_normalised_are_drawn_all_the_same(page):
    unknown = BatchPage(page.run, replace(page.batch, pixel_mean=None, pixel_std=None), page.settings)
    _, rows = unknown._image_rows()
    assert all(0 <= image.min() <= image.max() <= 1 for row in rows for image in row.images if image is not None)
    assert "Nothing says how pixels were normalised" in unknown._foot()


def test_half_of_the_rows_are_unlabelled_where_there_are_some(tmp_path, drawn, text_model):
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"w{i},{'abc'[i % 3]}\n" for i in range(12)))
    (tmp_path / "more.csv").write_text("text\n" + "".join(f"w{i} w{i + 1}\n" for i in range(20)))
    show_batch(
        tmp_path, kind="text", rows=4, mix_method="mixtext", train_file=tmp_path / "train.csv", use_cpu=True, max_steps=2,
        unlabeled_file=tmp_path / "more.csv", model_name_or_path=text_model, per_device_train_batch_size=3,
    )  # fmt: skip
    (page,) = drawn
    assert page.rows == [0, 1, 3, 4]
    assert [page._label(row) for row in page.rows[2:]] == ["a guess"] * 2
    assert page._text_row(0).own.startswith("w")


@pytest.fixture
def texts(tmp_path, text_model):
    rows = "".join(f"w{i} w{i + 1} w{i + 2} w{40 - i},{'abc'[i % 3]}\n" for i in range(12))
    (tmp_path / "train.csv").write_text(f"text,label\n{rows}")
    return {"kind": "text", "train_file": tmp_path / "train.csv", "model_name_or_path": text_model, "use_cpu": True,
            "max_steps": 1, "per_device_train_batch_size": 6}  # fmt: skip


@pytest.mark.pictures
@pytest.mark.parametrize("name", ["ssmix", "puzzle_tmix"])
def test_a_batch_of_texts_token_by_token(tmp_path, texts, name):
    with Image.open(show_batch(tmp_path, rows=3, mix_method=name, **texts)) as page:
        assert min(page.size) > 600


def test_rows_of_ssmix_show_the_ids_that_the_network_sees(tmp_path, drawn, texts):
    show_batch(tmp_path, rows=6, mix_method="ssmix", mix_kwargs={"share": 0.5}, **texts)
    (page,) = drawn
    tokenizer, batch = page.run.trainer.processing_class, page.batch
    for number in page.rows:
        row = page._token_row(number)
        mixed = [
            (row.own if share == 1 else row.partner).tokens[int((row.own if share == 1 else row.partner).source[at])]
            for at, share in enumerate(row.mask)
            if row.seen[at]
        ]
        real = batch.inputs["attention_mask"][number].bool()
        assert mixed == tokenizer.convert_ids_to_tokens(batch.tokens[number][real].tolist())
        assert row.labels.weight == pytest.approx(float(batch.weight[number]))
        assert row.own.share.sum() == pytest.approx(1, abs=1e-6)
    assert "give way to words of its partner" in page._about() and "Bars: the share of each token" in page._about()
    assert "A head that has learnt nothing" in page._foot()


def test_rows_of_puzzle_tmix_show_its_mask(tmp_path, drawn, texts):
    show_batch(tmp_path, rows=6, mix_method="puzzle_tmix", mix_kwargs={"saliency": "random"}, **texts)
    (page,) = drawn
    for number in page.rows:
        row, length = page._token_row(number), int(page.batch.inputs["attention_mask"].sum(dim=1).max())
        np.testing.assert_array_equal(row.mask, page.batch.masks[number][:length].numpy())
    assert "Hidden states are mixed at layer" in page._about() and "by chance, which the bars show" in page._about()
    assert "learnt nothing" not in page._foot()


def test_a_step_that_mixes_no_texts_shows_them_plainly(tmp_path, monkeypatch, texts):
    plain = []
    monkeypatch.setattr(batch_pictures, "draw_text_batch", lambda rows, path, words: plain.append((rows, words)))
    show_batch(tmp_path, rows=2, mix_method="ssmix", mix_start=0.9, **texts)
    ((rows, words),) = plain
    assert len(rows) == 2 and "This step draws no mix" in words.about


# ---- what is refused ----


@pytest.mark.parametrize(
    "options, message",
    [
        (["--run", "nowhere"], "--run nowhere: there is no run.json, which a run writes when it has trained"),
        (["--step", "2"], "Name the run to draw a batch of"),
        (["image", "--rows", "0"], "--rows must be at least 1, got 0"),
        (["image", "--step", "-1"], "--step must be at least 0, got -1"),
        (["image", "--trained"], "--trained takes the weights that a run ended with: name it by --run FOLDER"),
        (["image", "--run", "x"], "either --run FOLDER, or text or image and its arguments"),
        (["--run", "x", "--trained", "--step", "2"], "--step 2 trains the steps before it, and --trained"),
        (["--run", "x", "--lam", "0.3"], "--lam is for a pair, and --run draws a batch of a run"),
        (["image", "--mix_method", "mixup9"], "mixup9"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, message):
    assert message in refused(capsys, *options, "--output_dir", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_step_that_the_run_has_not(tmp_path, capsys, image_flags):
    said = refused(capsys, "image", *image_flags, "--step=3", f"--output_dir={tmp_path / 'out'}")
    assert "step=3: the run has 3 steps" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "record, message",
    [
        ("{", "run.json does not say by which command the run was made"),
        ('{"command": null}', "run.json does not say by which command the run was made"),
        ('{"command": "mixtext-hf compare text"}', "it was made by compare, and not by train-text or train-image"),
    ],
)
def test_records_of_no_run(tmp_path, capsys, record, message):
    (tmp_path / "run.json").write_text(record)
    assert message in refused(capsys, "--run", str(tmp_path))
    (tmp_path / "run.json").write_text('{"command": "mixtext-hf train-image"}')
    assert "holds no weights" in refused(capsys, "--run", str(tmp_path), "--trained")


def test_arguments_beside_a_run_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mix_method was given beside run='out'"):
        show_batch(tmp_path, run="out", mix_method="mixup")


def test_what_the_run_was_started_by(tmp_path):
    command = "torchrun --nproc_per_node 2 --no_python mixtext-hf train-image --seed 3 --resume_from_checkpoint True"
    (tmp_path / "run.json").write_text(json.dumps({"command": command}))
    kind, flags = batch_pictures._of_folder(tmp_path)
    assert kind.name == "image" and flags == ["--seed", "3"]


def test_the_library_calls_are_the_same(drawn, tmp_path, image_flags):
    """The page shows what [`mixed_batch`] makes of the trainer of the same run."""
    show_batch(tmp_path, kind="image", per_device_train_batch_size=6, max_steps=3, use_cpu=True, mix_method="puzzlemix",
               dataset_name=image_flags[3].partition("=")[2], model_name_or_path="small-resnet")  # fmt: skip
    run = train_image.make_run([*image_flags, "--do_train", "--report_to=none", f"--output_dir={tmp_path / 'out'}"])
    batch = mixed_batch(run.trainer)
    assert torch.equal(batch.images, drawn[0].batch.images) and drawn[0].settings == BatchSettings()
