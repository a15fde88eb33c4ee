"""Passes over rows: in order, whatever the order in the model; noise that depends on nothing but its row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_image_model, tiny_model, tiny_tokenizer

from mixtext_hf.data import ImageCollator, MixDataCollator
from mixtext_hf.data.images.collator import pixel_statistics
from mixtext_hf.evaluation.predicting import batches_of, by_length, predict
from mixtext_hf.evaluation.robustness.attacks import embedding_fgsm_accuracy, robust_accuracies
from mixtext_hf.evaluation.robustness.corruptions import CORRUPTIONS, corrupt
from mixtext_hf.evaluation.robustness.noisy_rows import (
    CorruptedImages,
    NoisyTexts,
    left_out_corruptions,
    mean_by_level,
    under_corruptions,
    under_embedding_attack,
    under_image_attacks,
    under_text_noise,
)
from mixtext_hf.evaluation.robustness.text_noise import NOISES, add_noise
from mixtext_hf.models.embedded import small_image_processor


WORDS = [f"w{i}" for i in range(40)]


def texts(count=12, seed=0):
    rng = np.random.default_rng(seed)
    rows = [" ".join(rng.choice(WORDS, size=rng.integers(2, 12))) for _ in range(count)]
    return [{"text": text, "label": i % 3} for i, text in enumerate(rows)]


def collator():
    return MixDataCollator(tiny_tokenizer(), text_column="text")


def test_logits_come_back_in_order():
    rows, model = texts(), tiny_model()
    order = by_length([[row["text"] for row in rows]])
    assert order != sorted(order)
    assert [len(rows[place]["text"]) for place in order] == sorted((len(row["text"]) for row in rows), reverse=True)
    logits, labels = predict(model, rows, collator(), batch_size=5, order=order)
    one_by_one = [predict(model, [row], collator(), batch_size=1)[0][0] for row in rows]
    np.testing.assert_allclose(logits, one_by_one, atol=1e-5)
    assert logits.dtype == np.float32 and labels.tolist() == [row["label"] for row in rows]
    assert predict(model, [{"text": "w1"}], collator(), batch_size=1)[1] is None


def test_a_model_is_left_in_its_mode():
    model = tiny_model(dropout=0.5).train()
    first, again = (predict(model, texts(), collator(), batch_size=4)[0] for _ in range(2))
    assert model.training and np.array_equal(first, again)


def test_a_diverged_model():
    model = tiny_model()
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(ValueError, match="NaN or inf for 12 of 12 rows, row 0 the first"):
        predict(model, texts(), collator(), batch_size=4)


def test_noise_depends_on_the_index_alone():
    rows = [{"a": "one two three four five", "b": "one two three four five", "label": 0}] * 2
    noisy = NoisyTexts(rows, ["a", "b"], [7, 3], name="typos", level=5, seed=4)
    assert len(noisy) == 2 and noisy[0] == noisy[0]
    assert noisy[0]["a"] == add_noise(rows[0]["a"], "typos", 5, seed=4, index=14)
    assert noisy[0]["b"] == add_noise(rows[0]["b"], "typos", 5, seed=4, index=15)
    assert noisy[1]["a"] == add_noise(rows[0]["a"], "typos", 5, seed=4, index=6)
    assert rows[0]["a"] == "one two three four five"


def test_corruptions_come_before_the_processor():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 1), dtype=np.uint8)
    grey = CorruptedImages([{"image": image}], "image", 1, [9], name="contrast", severity=2, seed=1)
    np.testing.assert_array_equal(grey[0]["image"], corrupt(image, "contrast", 2, seed=1, index=9))
    coloured = CorruptedImages([{"image": image}], "image", 3, [9], name="saturate", severity=2, seed=1)
    np.testing.assert_array_equal(
        coloured[0]["image"], corrupt(np.repeat(image, 3, axis=2), "saturate", 2, seed=1, index=9)
    )
    assert left_out_corruptions(1) == ["saturate"] and left_out_corruptions(3) == []


def test_every_noise_at_every_level():
    rows, seen = texts(6), []

    def answer(noisy, title):
        seen.append((title, [noisy[i]["text"] for i in range(len(noisy))]))
        # Right for as many rows as the level leaves.
        level = int(title[-1])
        labels = np.array([row["label"] for row in rows])
        said = np.where(np.arange(6) < 6 - level, labels, (labels + 1) % 3)
        return np.eye(3)[said] * 9.0, labels

    found = under_text_noise(answer, rows, ["text"], range(6), seed=2)
    assert list(found) == list(NOISES) and len(seen) == 20
    assert [level["accuracy"] for level in found["swaps"]["levels"]] == pytest.approx(
        [5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )
    assert [level["share"] for level in found["swaps"]["levels"]] == list(NOISES["swaps"].shares)
    assert dict(seen)["typos 5"] == [add_noise(row["text"], "typos", 5, seed=2, index=i) for i, row in enumerate(rows)]
    assert mean_by_level(found) == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_attacks_at_word_embeddings():
    model, rows = tiny_model(), texts()
    batches = list(batches_of(rows, collator(), batch_size=4))
    found = under_embedding_attack(model, lambda title: batches, epsilons=[1.0, 0.2])
    direct = embedding_fgsm_accuracy(model, batches, epsilons=[0.2, 1.0])
    assert [(row["epsilon"], row["accuracy"]) for row in found] == list(direct.items())


def test_corruptions_and_attacks_of_images():
    rng = np.random.default_rng(0)
    rows = [{"image": rng.integers(0, 256, (32, 32, 3), dtype=np.uint8), "label": i % 3} for i in range(4)]
    processor = small_image_processor((32, 32), 3)
    collate, model = ImageCollator(processor), tiny_image_model("resnet")

    def answer(of, title):
        return predict(model, of, collate, batch_size=4)

    found = under_corruptions(answer, rows, "image", 3, range(4), seed=1)
    assert list(found) == list(CORRUPTIONS)
    corrupted = [{"image": corrupt(row["image"], "contrast", 5, seed=1, index=i)} for i, row in enumerate(rows)]
    hits = predict(model, corrupted, collate, batch_size=4)[0].argmax(axis=1) == [row["label"] for row in rows]
    assert found["contrast"]["levels"][4]["accuracy"] == hits.mean()

    batches = list(batches_of(rows, collate, batch_size=4))
    mean, std = pixel_statistics(processor, 3)
    attacks = under_image_attacks(
        model, lambda title: batches, epsilons=[8.0, 2.0], steps=2, step_size=None, mean=mean, std=std
    )
    assert [(row["epsilon"], row["step_size"]) for row in attacks] == [(2.0, 2.5), (8.0, 10.0)]
    direct = robust_accuracies(model, batches, epsilon=8 / 255, step_size=10 / 255, steps=2, mean=mean, std=std)
    assert (attacks[1]["clean"], attacks[1]["fgsm"], attacks[1]["pgd"]) == (direct.clean, direct.fgsm, direct.pgd)
