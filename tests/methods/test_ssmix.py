"""SSMix as a method: what it draws, what it refuses, and its losses by chance. A whole step by the gradient: training/test_ssmix.py."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_batch, tiny_model, tiny_tokenizer
from waits import no_waits

from mixtext_hf.functional import (
    MixedLoss,
    MixPlan,
    make_mixable,
    mixed_cross_entropy,
    paste_spans,
    text_segments,
    token_kinds,
    token_saliency,
)
from mixtext_hf.methods import SSMix, Step, find_preset, make_method
from mixtext_hf.mixing import SpanDraws
from mixtext_hf.training import MixTrainingArguments


LABELS = torch.tensor([0, 2, 1, 2])
WAYS = {
    "windows": {},
    "tokens": {"contiguous": False},
    "windows by chance": {"saliency": "random"},
    "tokens by chance": {"saliency": "random", "contiguous": False},
}


def draw(method, rows=8, seed=0, **about):
    return method.draw(rows, depth=0, rng=np.random.default_rng(seed), **about)


def segments_of(batch):
    return text_segments(batch["input_ids"], batch["attention_mask"], *token_kinds(tiny_tokenizer()), sentences=2)


def step_with(model, batch, plan, labels=LABELS, **about):
    """A step of a loop of one's own."""
    mixer = make_mixable(model)

    def watching(inputs, layer=0):
        with mixer.watching(layer) as watched:
            return model(**inputs).logits, watched

    def forward(inputs, plan=None, *, dropout=True):
        assert plan is None
        return model(**inputs).logits

    loss = MixedLoss("single_label_classification", 3)
    return Step(forward, batch, labels, plan, loss, watching_forward=watching, segments=segments_of(batch), **about)


# ---- what it is ----


def test_defaults():
    method = make_method("ssmix")
    assert method == SSMix() and method.hyperparameters() == {
        "alpha": 1.0, "layers": None, "fold": False, "per": "batch", "prob": 1.0, "partner": "any", "pad": "mix",
        "clean_lam": 1.0, "saliency_every": 1, "share": 0.1, "saliency": "gradient", "contiguous": True,
    }  # fmt: skip
    assert method.mixes and not method.needs_layers and method.further_citations == ()
    assert SSMix(saliency="random").further_citations == ()
    again = make_method("ssmix", **json.loads(json.dumps(SSMix(share=0.3, contiguous=False).hyperparameters())))
    assert again == SSMix(share=0.3, contiguous=False)
    assert SSMix(saliency="random", contiguous=False).formula.endswith(
        "\ns_i, s_j drawn by chance\ns_i, s_j of single tokens"
    )


def test_the_preset_is_the_papers_as_one_run(tmp_path):
    preset = find_preset("ssmix", "paper")
    assert make_method("ssmix", **preset.hyperparameters) == SSMix()
    args = MixTrainingArguments(str(tmp_path), mix_method="ssmix", mix_preset="paper", **preset.training_arguments)
    # 3 of 8 epochs are plain.
    assert args.mix_start * 8 == 3 and args.learning_rate == args.head_learning_rate == 5e-5
    assert args.get_warmup_steps(1000) == 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 0.0}, r"share must lie in \(0, 1\], got 0\.0"),
        ({"share": 1.5}, r"share must lie in \(0, 1\], got 1\.5"),
        ({"share": float("nan")}, r"share must lie in \(0, 1\], got nan"),
        ({"share": "0.1"}, r"share must lie in \(0, 1\], got '0\.1'"),
        ({"saliency": "edges"}, r"saliency must be one of \('gradient', 'random'\), got 'edges'"),
        ({"contiguous": 1}, "contiguous must be true or false, got 1"),
        ({"clean_lam": 0.0}, 'clean_lam=0 leaves out .* where the saliency comes from.*or saliency="random"'),
        ({"clean_lam": -1.0}, r"clean_lam must be a finite number >= 0, got -1\.0"),
        ({"alpha": 0.2}, r"mix_alpha=0\.2 was given, but ssmix draws no lambda: give `share`"),
        ({"fold": True}, "mix_fold=True was given, but ssmix replaces tokens.*draw a lambda.*drop it"),
        ({"layers": (2,)}, r"mix_layers=\(2,\) was given, but ssmix replaces tokens.*such as tmix; drop it"),
        ({"pad": "keep"}, "mix_pad=keep was given, but ssmix replaces tokens.*such as tmix; drop it"),
    ],
)
def test_bad_input(given, message):
    with pytest.raises(ValueError, match=message):
        make_method("ssmix", **given)


# ---- what is drawn ----


@pytest.mark.parametrize("way", WAYS)
def test_a_plan_says_who_mixes_and_what_chance_says(way):
    method = SSMix(share=0.25, **WAYS[way])
    plan = draw(method, text_length=12)
    assert plan.lam.tolist() == [0.75] * 8 and plan.layer is None
    assert plan.index.tolist() == draw(SSMix(), text_length=12).index.tolist()
    again = draw(method, text_length=12)
    if way == "windows by chance":
        assert plan.detail.numbers.shape == (8, 2, 2) and torch.equal(plan.detail.numbers, again.detail.numbers)
    elif way == "tokens by chance":
        assert plan.detail.numbers.shape == (8, 12) and torch.equal(plan.detail.numbers, again.detail.numbers)
        assert len(plan.detail.numbers.unique()) == 96
    else:
        assert plan.detail is None
    assert draw(SSMix(alpha=0.0, **WAYS[way]), text_length=12).is_identity
    assert draw(SSMix(prob=0.0, **WAYS[way]), text_length=12).is_identity
    assert draw(SSMix(alpha=0.0, **WAYS[way]), text_length=12).detail is None


@pytest.mark.parametrize("way", ["windows by chance", "tokens by chance"])
def test_longer_padding_changes_no_draw(way):
    method, (short, long) = SSMix(**WAYS[way]), (9, 40)
    one, other = draw(method, text_length=short), draw(method, text_length=long)
    assert torch.equal(one.index, other.index)
    assert torch.equal(one.detail.numbers, other.detail.numbers[:, :short])
    batch = tiny_batch((9, 6, 8, 4, 9, 7, 5, 9))
    made = []
    for plan, shift in ((one, 0), (other, 0), (other, 31)):
        length = short if plan is one else long
        padded = {name: F.pad(value, (shift, length - short - shift)) for name, value in batch.items()}
        pasted = paste_spans(
            padded["input_ids"], plan.index, segments_of(padded), sentences=2, draws=plan.detail.numbers, share=0.4,
            contiguous=method.contiguous,
        )  # fmt: skip
        made.append((pasted.input_ids[:, shift : shift + short], pasted.weight))
    assert not torch.equal(made[0][0], batch["input_ids"])
    for ids, weight in made[1:]:
        assert torch.equal(ids, made[0][0]) and torch.equal(weight, made[0][1])


def test_rows_that_are_not_mixed_stay_so():
    plan = draw(SSMix(prob=0.5, per="example"), rows=64)
    mixed = plan.lam < 1
    assert 16 < mixed.sum() < 48 and plan.lam[mixed].unique().tolist() == [np.float32(0.9)]
    assert torch.equal(plan.index[~mixed], torch.arange(64)[~mixed])


def test_a_share_below_the_digits_of_a_weight_still_mixes():
    plan = draw(SSMix(share=1e-12))
    assert not plan.is_identity and (plan.lam < 1).all()
    assert (draw(SSMix(share=1.0)).lam == 0).all()


def test_single_tokens_by_chance_need_to_know_how_many():
    with pytest.raises(ValueError, match="ssmix draws a number for each token: give text_length"):
        draw(SSMix(saliency="random", contiguous=False))


# ---- its losses ----


@pytest.mark.parametrize("clean_lam", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("way", ["windows by chance", "tokens by chance"])
def test_by_chance_clean_and_mixed_rows_share_a_pass(way, clean_lam):
    model, batch = tiny_model().eval(), tiny_batch()
    method = SSMix(share=0.3, clean_lam=clean_lam, **WAYS[way])
    plan = draw(method, rows=4, seed=2, text_length=12)
    noted = {}
    (terms,) = method.losses(step_with(model, batch, plan, note=noted.update))
    assert method.passes(plan) == method.most_passes == 1
    mixed = paste_spans(
        batch["input_ids"], plan.index, segments_of(batch), sentences=2, draws=plan.detail.numbers, share=0.3,
        contiguous=method.contiguous,
    )  # fmt: skip
    assert (mixed.weight < 1).sum() == (plan.index != torch.arange(4)).sum() > 1
    logits = model(**{**batch, "input_ids": mixed.input_ids}).logits
    expected = mixed_cross_entropy(logits, LABELS, plan.index, mixed.weight) / (1 + clean_lam)
    torch.testing.assert_close(terms["loss_supervised"], expected)
    assert ("loss_clean" in terms) == (clean_lam > 0)
    if clean_lam:
        clean = clean_lam / (1 + clean_lam) * F.cross_entropy(model(**batch).logits, LABELS)
        torch.testing.assert_close(terms["loss_clean"], clean)
    assert noted["mix_weight"] == mixed.weight.mean()


def test_a_loop_of_ones_own_makes_the_step_of_the_method():
    batch, plan = tiny_batch(), MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.9))
    model = tiny_model().eval()
    noted = {}
    for terms in SSMix().losses(step_with(model, batch, plan, note=noted.update)):
        sum(terms.values()).backward()
    by_method = {name: parameter.grad for name, parameter in model.named_parameters()}

    model = tiny_model().eval()
    segments = segments_of(batch)
    with make_mixable(model).watching() as watched:
        clean = F.cross_entropy(model(**batch).logits, LABELS)
    (clean / 2).backward()
    saliency = token_saliency(watched.gradient, segments)
    mixed = paste_spans(batch["input_ids"], plan.index, segments, sentences=2, saliency=saliency)
    logits = model(**{**batch, "input_ids": mixed.input_ids}).logits
    (mixed_cross_entropy(logits, LABELS, plan.index, mixed.weight) / 2).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, by_method[name])
    assert noted["mix_weight"] == mixed.weight.mean() < 1 and noted["saliency_undefined"] == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_row_without_a_label_is_neither_mixed_nor_a_partner(way):
    model, batch, labels = tiny_model().eval(), tiny_batch(), torch.tensor([0, -100, 1, 2])
    seen = []

    class Seeing(SSMix):
        def supervised(self, step, inputs, plan, weight, **about):
            seen.append((inputs["input_ids"], weight))
            return super().supervised(step, inputs, plan, weight, **about)

    plan = MixPlan(torch.tensor([1, 0, 3, 2]), torch.full((4,), 0.9))
    if "chance" in way:
        plan = MixPlan(plan.index, plan.lam, detail=SpanDraws(torch.rand(4, *((2, 2) if "windows" in way else (12,)))))
    for terms in Seeing(**WAYS[way]).losses(step_with(model, batch, plan, labels)):
        sum(terms.values()).backward()
    ((ids, weight),) = seen
    changed = (ids != batch["input_ids"]).any(dim=1)
    assert not changed[:2].any() and weight[:2].tolist() == [1, 1] and (weight[2:] < 1).all()


def test_a_saliency_that_is_not_finite_is_counted():
    model, batch, noted = tiny_model().eval(), tiny_batch(), {}
    plan = MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.9))
    losses = SSMix().losses(step_with(model, batch, plan, note=noted.update))
    (1e38 * next(losses)["loss_clean"] * 1e30).backward()
    next(losses)
    assert noted["saliency_undefined"] > 0


def test_what_a_step_lacks_is_named():
    step = step_with(tiny_model(), tiny_batch(), MixPlan(torch.tensor([1, 2, 3, 0]), torch.full((4,), 0.9)))
    with pytest.raises(TypeError, match="ssmix mixes words alone, and the step has no `segments`"):
        next(SSMix().losses(replace(step, segments=None)))
    with pytest.raises(TypeError, match=r"ssmix asks how much a token matters.*no `watching_forward`"):
        next(SSMix().losses(replace(step, watching_forward=None)))
    losses = SSMix().losses(step)
    next(losses)
    with pytest.raises(RuntimeError, match="call backward on the loss of this pass first"):
        next(losses)


@pytest.mark.parametrize("way", WAYS)
def test_a_step_does_not_wait_for_the_device(way):
    method = SSMix(**WAYS[way])
    weight = torch.zeros(20, 3, device="meta", requires_grad=True)
    drawn = draw(method, rows=4, text_length=12)

    class Watched:
        gradient = torch.zeros(4, 12, 5, device="meta")
        states = None

    def forward(inputs, plan=None, *, dropout=True):
        return weight[inputs["input_ids"]].mean(dim=1)

    with no_waits():
        step = Step(
            forward,
            {"input_ids": torch.zeros(4, 12, dtype=torch.int64, device="meta")},
            torch.zeros(4, dtype=torch.int64, device="meta"),
            drawn.to("meta"),
            MixedLoss("single_label_classification", 3),
            watching_forward=lambda inputs, layer=0: (forward(inputs), Watched()),
            segments=torch.zeros(4, 12, dtype=torch.int64, device="meta"),
        )
        for terms in method.losses(step):
            sum(terms.values()).backward()
