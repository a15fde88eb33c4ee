"""PuzzleMix in hidden states: a step against its parts written out, on a tiny model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import DEPTH, tiny_batch, tiny_model
from two_streams import two_stream_logits

from mixtext_hf.functional import MixPlan, make_mixable
from mixtext_hf.methods import PuzzleTMix, Step, make_method
from mixtext_hf.methods.token_mix import Seen
from mixtext_hf.mixing import MixedLoss, SpanDraws
from mixtext_hf.mixing.sentence_puzzle import sentence_puzzle
from mixtext_hf.mixing.spans import state_saliency, text_segments
from mixtext_hf.models.any_classifier import logits_of


LOSS = MixedLoss("single_label_classification", 3)
LABELS = torch.tensor([0, 1, 2, 1])
INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 0.5, 0.8])
CLS, SEP = 1, 2


def texts():
    batch = tiny_batch()
    batch["input_ids"][:, 0] = CLS
    for row, length in enumerate(batch["attention_mask"].sum(dim=1)):
        batch["input_ids"][row, length - 1] = SEP
    batch["input_ids"][2, 4] = SEP  # A pair.
    return batch


def segments_of(batch):
    return text_segments(batch["input_ids"], batch["attention_mask"], [0, CLS, SEP], sentences=2)


def step_of(model, mixer, batch, plan, labels=LABELS, **about):
    def forward(inputs, plan=None, *, dropout=True):
        with mixer.applying(plan):
            return logits_of(model(**inputs))

    def watching(inputs, layer=0):
        with mixer.watching(layer) as watched:
            return forward(inputs), watched

    noted = {}
    about = {"segments": segments_of(batch), "watching_forward": watching, "note": noted.update, **about}
    return Step(forward, batch, labels, plan, LOSS, **about), noted


def run(method, step):
    terms = {}
    for some in method.losses(step):
        sum(some.values()).backward()
        terms.update({name: value.detach() for name, value in some.items()})
    return terms


def saliency_written_out(model, batch, layer):
    """|gradient| |state| of every token, by autograd on what the model says of itself."""
    outputs = model(**batch, output_hidden_states=True)
    states = outputs.hidden_states[layer]
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(outputs.logits, LABELS), states)
    saliency = torch.zeros(states.shape[:2])
    for row in range(4):
        for token in range(states.shape[1]):
            saliency[row, token] = gradient[row, token].norm() * states[row, token].norm()
    return saliency, states.detach(), outputs.logits.detach()


@pytest.mark.parametrize("layer", [0, 1, DEPTH - 1])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": 1.0, "n_labels": 2, "special": "own"},
        {"label_weight": "saliency", "beta": 0.0, "pad": "mix"},
        {"clean_lam": 0.25, "eta": 0.0},
    ],
    ids=str,
)
def test_a_step_is_its_parts_written_out(layer, settings):
    model, batch = tiny_model("bert").eval(), texts()
    method = PuzzleTMix(layers=(layer,), **settings)
    saliency, states, clean_logits = saliency_written_out(model, batch, layer)
    z, weight = sentence_puzzle(
        saliency,
        INDEX,
        LAM,
        segments_of(batch),
        attention_mask=batch["attention_mask"],
        hidden_states=states,
        n_labels=method.n_labels,
        beta=method.beta,
        gamma=method.gamma,
        eta=method.eta,
        pad=method.pad,
        special=method.special,
        label_weight=method.label_weight,
    )
    assert len(z.unique()) >= 2
    logs = two_stream_logits(model, batch, INDEX, 1 - z, layer).log_softmax(dim=1)
    mixed = sum(
        -weight[row] * logs[row, LABELS[row]] - (1 - weight[row]) * logs[row, LABELS[INDEX[row]]] for row in range(4)
    )
    clean = torch.nn.functional.cross_entropy(clean_logits, LABELS)

    plan = MixPlan(INDEX, LAM, layer=layer, pad=method.pad)
    step, noted = step_of(model, make_mixable(model), batch, plan)
    terms = run(method, step)
    share = method.clean_lam / (1 + method.clean_lam)
    torch.testing.assert_close(terms["loss_clean"], share * clean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(terms["loss_supervised"], (1 - share) * mixed / 4, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(noted["mix_weight"], weight.mean())


def test_the_scale_of_the_loss_and_what_backward_left_before_change_nothing():
    model, batch = tiny_model("bert").eval(), texts()
    plan = MixPlan(INDEX, LAM, layer=1, pad="keep")
    step, _ = step_of(model, make_mixable(model), batch, plan)
    expected = run(PuzzleTMix(), step)["loss_supervised"]
    losses = PuzzleTMix().losses(step)
    for number, some in enumerate(losses):
        (1024 * sum(some.values())).backward()
        if number:
            torch.testing.assert_close(some["loss_supervised"].detach(), expected)


@pytest.mark.parametrize("xi", [0.0, 0.05, 10.0])
@pytest.mark.parametrize("label_weight", ["count", "saliency"])
def test_salient_tokens_may_move(xi, label_weight):
    model, batch = tiny_model("bert").eval(), texts()
    plan = MixPlan(INDEX, LAM, layer=1, pad="keep")
    step, _ = step_of(model, make_mixable(model), batch, plan)
    share, _, _ = saliency_written_out(model, batch, 1)
    seen = seen_at(model, batch, 1, step.segments)
    still, weight = PuzzleTMix(label_weight=label_weight).mask(plan, seen, step)
    moved, moved_weight = PuzzleTMix(label_weight=label_weight, xi=xi).mask(plan, seen, step)
    assert torch.equal(moved.own, still.own)
    segments = segments_of(batch)
    stays = torch.arange(12).expand(4, -1)
    rows = (torch.arange(4), INDEX)
    for source, row, shown in zip(moved.sources, rows, (moved.own, 1 - moved.own), strict=True):
        # Of the same sentence, in order, and no less salient where it is shown.
        assert torch.equal(segments[row].gather(1, source), segments[row])
        before, after = (share[row].gather(1, s) for s in (stays, source))
        real = segments[row] > 0
        assert ((after - before) * shown * real).sum(dim=1).min() > -1e-6
    if xi == 10:
        assert all(torch.equal(source, stays) for source in moved.sources)
    if xi == 10 or label_weight == "count":
        torch.testing.assert_close(moved_weight, weight)
    if xi == 0:
        assert not all(torch.equal(source, stays) for source in moved.sources)
    run(PuzzleTMix(label_weight=label_weight, xi=xi), step)


def seen_at(model, batch, layer, segments):
    with make_mixable(model).watching(layer) as watched:
        loss = torch.nn.functional.cross_entropy(model(**batch).logits, LABELS)
    loss.backward()
    return Seen(state_saliency(watched.gradient, watched.states, segments), watched.states)


def test_chance_in_place_of_saliency_takes_one_pass():
    model, batch = tiny_model("bert").eval(), texts()
    numbers = torch.rand(4, batch["input_ids"].shape[1] + 3, generator=torch.Generator().manual_seed(0))
    plan = MixPlan(INDEX, LAM, layer=1, pad="keep", detail=SpanDraws(numbers))
    mixer = make_mixable(model)
    step, noted = step_of(model, mixer, batch, plan, watching_forward=None)
    method = PuzzleTMix(saliency="random", clean_lam=0.5)
    assert method.passes(plan) == 1 and method.sees_clean_rows
    terms = run(method, step)

    z, weight = sentence_puzzle(
        numbers[:, :-3],
        INDEX,
        LAM,
        step.segments,
        attention_mask=batch["attention_mask"],
        pad="keep",
    )
    logits = two_stream_logits(model, batch, INDEX, 1 - z, layer=1)
    torch.testing.assert_close(terms["loss_supervised"], LOSS(logits, LABELS, INDEX, weight).detach() / 1.5)
    clean = torch.nn.functional.cross_entropy(model(**batch).logits, LABELS)
    torch.testing.assert_close(terms["loss_clean"], clean.detach() / 3)
    assert "saliency_undefined" not in noted
    drawn = method.draw(4, depth=4, rng=np.random.default_rng(0), text_length=7).detail.numbers
    longer = method.draw(4, depth=4, rng=np.random.default_rng(0), text_length=9).detail.numbers
    assert drawn.shape == (4, 7) and torch.equal(longer[:, :7], drawn)


def test_rows_without_a_label_stay_as_they_are():
    model, batch = tiny_model("bert").eval(), texts()
    labels = torch.tensor([0, -100, 2, 1])
    plan = MixPlan(INDEX, LAM, layer=1, pad="keep")
    step, noted = step_of(model, make_mixable(model), batch, plan, labels)
    run(PuzzleTMix(), step)
    # Rows 0 and 2, 2 and 3 are pairs; row 1 and its admirer stay.
    assert noted["masks"] == 2


def test_without_a_mix_it_is_plain_training():
    model, batch = tiny_model("bert").eval(), texts()
    step, noted = step_of(model, make_mixable(model), batch, MixPlan.identity(4))
    terms = run(PuzzleTMix(), step)
    expected = torch.nn.functional.cross_entropy(model(**batch).logits, LABELS)
    torch.testing.assert_close(terms["loss_supervised"], expected.detach())
    assert list(terms) == ["loss_supervised"] and not noted


def test_order_and_padding_change_nothing():
    model, batch = tiny_model("bert").eval(), texts()
    plan = MixPlan(INDEX, LAM, layer=1, pad="keep")
    step, _ = step_of(model, make_mixable(model), batch, plan)
    expected = run(PuzzleTMix(gamma=0.5, xi=0.1), step)["loss_supervised"]
    order = torch.tensor([3, 1, 0, 2])
    where = torch.argsort(order)
    moved = {name: torch.nn.functional.pad(value, (0, 5))[order] for name, value in batch.items()}
    plan = MixPlan(where[INDEX[order]], LAM[order], layer=1, pad="keep")
    step, _ = step_of(model, make_mixable(model), moved, plan, LABELS[order])
    found = run(PuzzleTMix(gamma=0.5, xi=0.1), step)["loss_supervised"]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"beta": -1}, "beta must be a finite number >= 0, got -1"),
        ({"n_labels": 1}, "n_labels must be a whole number >= 2, got 1"),
        ({"n_labels": True}, "n_labels must be a whole number >= 2, got True"),
        ({"xi": -0.1}, "xi must be a finite number >= 0, or null where nothing is moved, got -0.1"),
        ({"special": "none"}, r"special must be one of \('lam', 'own'\), got 'none'"),
        ({"label_weight": "mass"}, "label_weight must be one of"),
        ({"clean_lam": 0.0}, "clean_lam=0 leaves out the loss on the texts as they are"),
        ({"layers": [2, "head"]}, r"mix_layers=\[2, 'head'\]: the head reads one vector a text"),
    ],
)
def test_what_is_wrong_is_named(settings, said):
    with pytest.raises(ValueError, match=said):
        make_method("puzzle_tmix", **settings)
