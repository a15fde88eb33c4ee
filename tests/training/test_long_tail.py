"""Training on classes that are not equally frequent: what the arguments come to, what they leave alone, and what is refused."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from datasets import Dataset
from image_runs import image_rows, make_image_trainer
from runs import (
    GivenPlansTrainer,
    StopAt,
    arguments,
    assert_same_trajectory,
    assert_same_weights,
    group_plan,
    make_trainer,
    run,
    series,
    tiny_rows,
    weights,
)
from tiny import tiny_model

from mixtext_hf.methods import TMix
from mixtext_hf.training import MixTrainer, MixTrainingArguments
from mixtext_hf.training.guesses.rounds import Rounds
from mixtext_hf.training.long_tail_arguments import read_class_weights
from mixtext_hf.training.mixed_batch import mixed_batch
from mixtext_hf.training.same_run import AnotherRun


SHARES = (24, 6, 2)
BALANCED = [1 / 3 / (count / 32) for count in SHARES]
NEUTRAL = {"class_weights": [2, 2, 2], "logit_adjustment": 0.0, "sampler": "random"}


def tail_rows(shares=SHARES):
    """32 rows of three classes, of which the first is the most frequent; in an order that shows all of them early."""
    rows = tiny_rows(sum(shares))
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(shares)), shares))
    return [{**row, "label": int(label)} for row, label in zip(rows, labels, strict=True)]


def texts(count):
    return [{name: row[name] for name in ("input_ids", "attention_mask")} for row in tiny_rows(count, seed=8)]


def trained(folder, rows=None, *, kind=None, callbacks=(), resume=None, unlabeled=None, model=None, **settings):
    given = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "mix_method": "tmix", **settings}
    trainer = make_trainer(
        tiny_model("bert", dropout=0.1) if model is None else model,
        arguments(folder, **given),
        tail_rows() if rows is None else rows,
        kind=kind,
        callbacks=[*callbacks],
        unlabeled_dataset=unlabeled,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


# ---- nothing is asked for ----


@pytest.mark.parametrize(
    "settings",
    [
        {"mix_method": "erm"},
        {"mix_method": "tmix", "label_smoothing_factor": 0.1},
        {"mix_method": "tmix", "mix_loss": "bce"},
        {"mix_method": "ssmix"},
        {"mix_method": "mixtext", "guesser": "model", "per_device_unlabeled_batch_size": 6},
    ],
    ids=["erm", "tmix", "bce", "ssmix", "mixtext"],
)
def test_equal_weights_and_no_adjustment_change_no_bit(tmp_path, settings):
    unlabeled = texts(24) if settings["mix_method"] == "mixtext" else None
    plain = trained(tmp_path / "plain", unlabeled=unlabeled, **settings)
    same = trained(tmp_path / "same", unlabeled=unlabeled, **settings, **NEUTRAL)
    assert series(plain, "loss") == series(same, "loss")
    assert_same_weights(weights(plain.model), weights(same.model))


@pytest.mark.parametrize("name", ["puzzlemix", "augmix", "cutmix"])
def test_nor_on_images(tmp_path, name):
    plain, same = (
        make_image_trainer(tmp_path / str(i), mix_method=name, **given) for i, given in enumerate(({}, NEUTRAL))
    )
    for trainer in (plain, same):
        trainer.train()
    assert series(plain, "loss") == series(same, "loss")
    assert_same_weights(weights(plain.model), weights(same.model))


# ---- what the loss is ----


@pytest.mark.parametrize(
    ("settings", "of_weights", "tau"),
    [
        ({"class_weights": "balanced"}, BALANCED, 0.0),
        ({"class_weights": [1, 4, 16]}, [count / (80 / 32) for count in (1, 4, 16)], 0.0),
        ({"class_weights": {"LABEL_2": 3}}, [count / (36 / 32) for count in (1, 1, 3)], 0.0),
        ({"logit_adjustment": 1.5}, [1, 1, 1], 1.5),
        ({"class_weights": ["1", "4", "16"], "logit_adjustment": 1}, [count / (80 / 32) for count in (1, 4, 16)], 1.0),
    ],
    ids=["balanced", "list", "names", "adjusted", "both"],
)
def test_the_first_step_is_that_of_a_loop(tmp_path, settings, of_weights, tau):
    """Loss and gradient of a mixed batch, of both partners by their shares, from the logits of the mixed rows."""
    kept = {}

    class Keeps(GivenPlansTrainer):
        def _clip_grad_norm(self, model):
            kept.setdefault("gradient", {name: p.grad.clone() for name, p in model.named_parameters()})
            return super()._clip_grad_norm(model)

    args = arguments(tmp_path, mix_method="tmix", max_steps=1, train_sampling_strategy="sequential", **settings)
    rows = tail_rows()
    trainer = make_trainer(tiny_model("bert"), args, rows, kind=Keeps)
    before = weights(trainer.model)
    trainer.train()

    model = tiny_model("bert")
    model.load_state_dict(before)
    other = make_trainer(model, arguments(tmp_path / "other", mix_method="tmix"), rows)
    batch = other.data_collator(rows[:8])
    labels, plan = batch.pop("labels"), group_plan(8)
    model.train()
    with other.mixer.applying(plan):
        logits = model(**batch).logits
    prior = torch.tensor(SHARES) / 32
    loss = 0.0
    for i in range(8):
        log_p = F.log_softmax(logits[i] + tau * prior.log(), dim=-1)
        own, partner = int(labels[i]), int(labels[plan.index[i]])
        lam = float(plan.lam[i])
        loss = loss - (lam * of_weights[own] * log_p[own] + (1 - lam) * of_weights[partner] * log_p[partner]) / 8
    loss.backward()
    assert series(trainer, "loss")[0] == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(kept["gradient"][name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_it_does_not_hang_on_how_a_batch_is_cut(tmp_path):
    settings = {"mix_method": "tmix", "class_weights": [1, 3, 9], "logit_adjustment": 0.5, "learning_rate": 0.01}
    reference = run(tmp_path, 16, 1, **settings)
    for batch, accumulation in ((8, 2), (4, 4)):
        assert_same_trajectory(reference, run(tmp_path, batch, accumulation, **settings))


def test_evaluation_is_plain(tmp_path):
    rows, evaluated = tail_rows(), tiny_rows(8, seed=5)
    losses = []
    for settings in ({}, {"class_weights": "balanced", "logit_adjustment": 1.0, "remix_kappa": 3.0}):
        args = arguments(tmp_path, learning_rate=0.0, head_learning_rate=1e-12, mix_method="tmix", **settings)
        trainer = make_trainer(tiny_model("bert"), args, rows, eval_dataset=evaluated)
        trainer.train()
        losses.append(trainer.evaluate()["eval_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_the_unlabelled_loss_and_the_first_classifier_stay_as_they_are(tmp_path, monkeypatch):
    made = []
    trained_by = Rounds._trained
    monkeypatch.setattr(Rounds, "_trained", lambda self, *a, **k: made.append(self) or trained_by(self, *a, **k))
    seen = []
    init = MixTrainer.__init__
    monkeypatch.setattr(
        MixTrainer, "__init__", lambda self, *a, **k: init(self, *a, **k) or seen.append(self.args.long_tail_given)
    )
    settings = {"mix_method": "mixtext", "per_device_unlabeled_batch_size": 6, "num_train_epochs": 1}
    plain, tail = (
        trained(
            tmp_path / str(i), unlabeled=texts(24), learning_rate=1e-9, head_learning_rate=1e-9, **settings, **given
        )
        for i, given in enumerate(({}, {"class_weights": "balanced", "logit_adjustment": 1.0}))
    )
    assert made and ["logit_adjustment=1.0" in "".join(given) for given in seen].count(True) == 1
    assert series(plain, "loss_unlabeled")[:3] == pytest.approx(series(tail, "loss_unlabeled")[:3], rel=1e-3)
    assert series(plain, "loss_supervised")[0] != pytest.approx(series(tail, "loss_supervised")[0], rel=1e-3)


def test_remix_in_training(tmp_path):
    plain, remixed = (
        trained(tmp_path / str(i), **given)
        for i, given in enumerate(({"mix_fold": False}, {"mix_fold": False, "remix_kappa": 3}))
    )
    assert series(plain, "loss")[0] != series(remixed, "loss")[0]
    # The same plans, and what the labels weigh is told as it is learnt.
    folder = tmp_path / "batch"
    args = arguments(folder, mix_method="tmix", mix_kwargs={"fold": False}, remix_kappa=3)
    batch = mixed_batch(make_trainer(tiny_model("bert"), args, tail_rows()))
    tail = [
        (float(lam), int(batch.labels[i]), int(batch.labels[batch.plan.index[i]]), float(batch.weight[i]))
        for i, lam in enumerate(batch.plan.lam)
    ]
    for lam, own, partner, weight in tail:
        is_rarer, is_more_frequent = SHARES[partner] >= 3 * SHARES[own], SHARES[own] >= 3 * SHARES[partner]
        expected = 1.0 if is_rarer and 1 - lam < 0.5 else 0.0 if is_more_frequent and lam < 0.5 else lam
        assert weight == pytest.approx(1.0 if own == partner and lam == 1 else expected) or own == partner
    assert any(weight in (0.0, 1.0) and 0 < lam < 1 and own != partner for lam, own, partner, weight in tail)


# ---- the sampler ----


class Sees(MixTrainer):
    """Remembers the labels of every batch."""

    def _training_loss(self, model, inputs):
        self.__dict__.setdefault("seen", []).append(inputs["labels"].tolist())
        return super()._training_loss(model, inputs)


def test_classes_come_up_alike(tmp_path):
    trainer = trained(tmp_path, kind=Sees, sampler="balanced", num_train_epochs=12, mix_method="erm")
    assert trainer.state.global_step == 12 * 8
    counts = np.bincount(np.ravel(trainer.seen), minlength=3)
    assert counts / counts.sum() == pytest.approx([1 / 3] * 3, abs=0.08)
    assert trainer.seen[:8] != trainer.seen[8:16]


CASES = {
    "texts": {},
    "kept saliency": {"mix_method": "ssmix", "mix_kwargs": {"saliency_every": 2}},
    "unlabelled": {"mix_method": "mixtext", "guesser": "model", "per_device_unlabeled_batch_size": 6},
}


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_ends_where_the_uninterrupted_one_does(tmp_path, case):
    """One that was stopped by a callback, and others that find what the undisturbed run had left, in either of two epochs."""
    settings = {
        "sampler": "balanced",
        "save_strategy": "steps",
        "save_steps": 3 if case == "texts" else 11,
        "optim": "adamw_torch",
        "learning_rate": 1e-3,
        "head_learning_rate": 1e-2,
        "logit_adjustment": 0.5,
        "unlabeled": texts(24) if case == "unlabelled" else None,
        **CASES[case],
    }
    whole = trained(tmp_path / "whole", kind=Sees, **settings)
    assert whole.state.global_step == 16
    folder = tmp_path / "again"
    if case == "texts":
        trained(folder, callbacks=[StopAt(3)], kind=Sees, **settings)
    stop = 3 if case == "texts" else 11
    if case != "texts":
        shutil.copytree(tmp_path / "whole" / f"checkpoint-{stop}", folder / f"checkpoint-{stop}")
    resumed = trained(folder, kind=Sees, resume=True, **settings)
    assert resumed.seen == whole.seen[stop:]
    assert_same_weights(weights(whole.model), weights(resumed.model))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_images_that_are_drawn_do_not_hang_on_the_workers(tmp_path):
    rows = [{**row, "label": int(i < 4)} for i, row in enumerate(image_rows(24))]
    seen = []
    for workers in (0, 2):
        trainer = make_image_trainer(
            tmp_path / str(workers),
            rows,
            kind=Sees,
            mix_method="erm",
            sampler="balanced",
            image_augmentations=["crop:4"],
            dataloader_num_workers=workers,
        )
        trainer.train()
        seen.append((trainer.seen, weights(trainer.model)))
    assert seen[0][0] == seen[1][0] and 6 < sum(map(sum, seen[0][0])) < 18
    assert_same_weights(seen[0][1], seen[1][1])


# ---- what is told, and refused ----


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"class_weights": [1, 2, 3]}, r"class_weights: balanced then, \[1.0, 2.0, 3.0\] now"),
        ({"class_weights": None}, "class_weights: balanced then, not given now"),
        ({"logit_adjustment": 1.0}, "logit_adjustment: 0.0 then, 1.0 now"),
        ({"sampler": "balanced"}, "sampler: not given then, balanced now"),
        ({"remix_kappa": 3}, "remix_kappa: not given then, 3 now"),
    ],
)
def test_a_checkpoint_of_other_weights_is_refused(tmp_path_factory, settings, said):
    folder = tmp_path_factory.getbasetemp() / "of_balanced"
    usual = {"class_weights": "balanced", "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    if not folder.exists():
        trained(folder, **usual)
    with pytest.raises(AnotherRun, match=said):
        trained(folder, resume=str(folder / "checkpoint-1"), **{**usual, **settings})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"class_weights": "even"}, "class_weights='even' is neither 'balanced' nor JSON"),
        ({"class_weights": [1, -2, 1]}, r"class_weights must be finite numbers >= 0, got \[1, -2, 1\]"),
        ({"class_weights": ["1", "two"]}, "class_weights must be finite numbers >= 0"),
        ({"class_weights": [0, 0]}, r"class_weights=\[0, 0\] leave no class a weight"),
        ({"class_weights": []}, "class_weights must be finite numbers"),
        ({"class_weights": 3}, "class_weights=3: give 'balanced'"),
        ({"class_weights": '{"a": 1, "a": 2}'}, "class_weights names 'a' twice"),
        ({"class_weights": {1: 2}}, "has other keys than names of classes"),
        ({"logit_adjustment": -1}, "logit_adjustment must be at least 0, got -1"),
        ({"logit_adjustment": float("nan")}, "logit_adjustment must be a finite number"),
        ({"sampler": "even"}, r"sampler must be one of \('random', 'balanced'\), got 'even'"),
        (
            {"sampler": "balanced", "train_sampling_strategy": "sequential"},
            "sampler='balanced' draws the rows at random",
        ),
        ({"remix_kappa": 1}, "remix_kappa must be a number above 1, got 1"),
        ({"remix_kappa": 3, "remix_tau": 2}, r"remix_tau must lie in \[0, 1\], got 2"),
        ({"remix_tau": 0.3}, "remix_tau=0.3 has no part without remix_kappa"),
    ],
)
def test_wrong_arguments_are_named(tmp_path, given, said):
    with pytest.raises(ValueError, match=said):
        MixTrainingArguments(str(tmp_path), **given)


@pytest.mark.parametrize(
    ("settings", "rows", "said"),
    [
        ({"class_weights": [1, 2]}, None, r"class_weights has 2 numbers, \[1.0, 2.0\], but there are 3 classes"),
        ({"class_weights": {"spam": 2}}, None, "class_weights names 'spam', which is no class of the model"),
        (
            {"class_weights": "balanced"},
            (20, 12, 0),
            "divides by the rows of a class, and of .*LABEL_2.* no training row",
        ),
        (
            {"logit_adjustment": 1},
            (20, 12, 0),
            "logit_adjustment=1 takes the logarithm .* of .*LABEL_2.* no training row",
        ),
        ({"class_weights": [0, 0, 1]}, (20, 12, 0), "class_weights=.* are 0 for every class that has training rows"),
        ({"remix_kappa": 3, "mix_method": "erm"}, None, "remix_kappa=3 weighs .* but erm does not mix"),
    ],
)
def test_what_does_not_go_with_the_data_or_the_method(tmp_path, settings, rows, said):
    with pytest.raises(ValueError, match=said):
        make_trainer(tiny_model("bert"), arguments(tmp_path, **settings), tail_rows(rows or SHARES))


@pytest.mark.parametrize("labels", ["multi", "scores"])
@pytest.mark.parametrize(
    "settings",
    [{"class_weights": "balanced"}, {"logit_adjustment": 1}, {"sampler": "balanced"}, {"remix_kappa": 3}],
    ids=lambda settings: next(iter(settings)),
)
def test_other_tasks_are_refused(tmp_path, labels, settings):
    task = {"multi": "multi_label_classification", "scores": "regression"}[labels]
    overrides = {"problem_type": task, **({"num_labels": 1} if labels == "scores" else {})}
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=.* is of the one class that a row has.*{task}"):
        make_trainer(tiny_model("bert", **overrides), arguments(tmp_path, **settings), tiny_rows(8, labels))


@pytest.mark.parametrize("settings", [{"class_weights": "balanced"}, {"sampler": "balanced"}])
def test_a_stream_cannot_be_counted(tmp_path, settings):
    stream = Dataset.from_list(tail_rows()).to_iterable_dataset()
    with pytest.raises(
        ValueError, match="counts the rows of each class before training, and `train_dataset` is a stream"
    ):
        make_trainer(tiny_model("bert"), arguments(tmp_path, max_steps=2, **settings), stream)


def test_rows_whose_label_is_elsewhere_cannot_be_counted(tmp_path):
    rows = [{**row, "kind": row["label"]} for row in tail_rows()]
    for row in rows:
        del row["label"]
    args = arguments(tmp_path, sampler="balanced", remove_unused_columns=False)
    with pytest.raises(ValueError, match="no label in a column called 'label'"):
        make_trainer(tiny_model("bert"), args, rows, data_collator=lambda features: {})


def test_names_in_place_of_classes_are_refused(tmp_path):
    rows = [{**row, "label": "abc"[row["label"]]} for row in tail_rows()]
    with pytest.raises(ValueError, match=r"class_weights='balanced' counts .* the label of row 0 .* give class ids"):
        make_trainer(tiny_model("bert"), arguments(tmp_path, class_weights="balanced"), rows)


def test_soft_labels_have_a_prior_and_no_class_to_draw(tmp_path):
    rows = [{**row, "label": F.one_hot(torch.tensor(row["label"]), 3).float().tolist()} for row in tail_rows()]
    model = tiny_model("bert", problem_type="single_label_classification")
    trainer = make_trainer(model, arguments(tmp_path, logit_adjustment=1), rows)
    prior = torch.tensor(SHARES) / 32
    torch.testing.assert_close(trainer.loss.long_tail.log_prior.exp(), prior)
    with pytest.raises(ValueError, match="sampler='balanced' draws by the one class of a row"):
        make_trainer(model, arguments(tmp_path, sampler="balanced"), rows)


def test_hidden_labels_are_not_counted(tmp_path):
    rows = tail_rows()
    rows = [*rows, *({**row, "label": -100} for row in rows[:9])]
    trainer = trained(tmp_path, rows, kind=Sees, sampler="balanced", class_weights=[1, 1, 4], mix_method="erm")
    # Over the rows as they are drawn, classes are alike.
    assert trainer.loss.long_tail.weights.tolist() == pytest.approx([0.5, 0.5, 2.0])
    assert len(trainer.seen) == 2 * -(-len(rows) // 4) and min(map(min, trainer.seen)) >= 0


def test_two_remedies_at_once_and_a_class_without_rows_are_said(tmp_path, caplog):
    make_trainer(tiny_model("bert"), arguments(tmp_path, class_weights="balanced", logit_adjustment=1), tail_rows())
    assert caplog.text.count("class_weights='balanced' and logit_adjustment=1 each make up for rare classes") == 1
    make_trainer(tiny_model("bert"), arguments(tmp_path, sampler="balanced"), tail_rows((20, 12, 0)))
    assert "sampler='balanced': of LABEL_2 there is no training row" in caplog.text.replace("'LABEL_2'", "LABEL_2")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (None, None),
        ("balanced", "balanced"),
        (["balanced"], "balanced"),
        ("1, 2.5", [1.0, 2.5]),
        (["1,2.5"], [1.0, 2.5]),
        (["1", "2.5"], [1.0, 2.5]),
        ((1, 2.5), [1.0, 2.5]),
        ("[1, 2.5]", [1.0, 2.5]),
        (['{"a": 3}'], {"a": 3.0}),
        ({"a": 3}, {"a": 3.0}),
    ],
)
def test_class_weights_as_they_are_typed(given, read):
    assert read_class_weights(given) == read


def test_a_method_object_and_evaluation_alone(tmp_path):
    trainer = make_trainer(
        tiny_model("bert"), arguments(tmp_path, class_weights="balanced"), tail_rows(), method=TMix(alpha=1.0)
    )
    assert trainer.loss.long_tail.weights.tolist() == pytest.approx(BALANCED)
    alone = MixTrainer(
        tiny_model("bert"),
        arguments(tmp_path, class_weights="balanced"),
        eval_dataset=tiny_rows(4),
        processing_class=trainer.processing_class,
    )
    assert alone.loss.long_tail is None and np.isfinite(alone.evaluate()["eval_loss"])
