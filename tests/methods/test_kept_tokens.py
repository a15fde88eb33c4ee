"""SSMix and PuzzleMix in hidden states with the saliency of a text kept from an earlier visit, against steps written out in loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import DEPTH, VOCAB_SIZE, tiny_model, tiny_tokenizer
from two_streams import two_stream_logits

from mixtext_hf.functional import MixedLoss, MixPlan, make_mixable, paste_spans, text_segments, token_kinds
from mixtext_hf.methods import PuzzleTMix, SSMix, Step
from mixtext_hf.methods.kept_tokens import keep_texts, kept_texts, texts_due
from mixtext_hf.mixing.sentence_puzzle import sentence_puzzle
from mixtext_hf.mixing.spans import state_saliency, token_saliency


CLS, SEP, PAD = 2, 3, 0
ROWS = 10
LOSS = MixedLoss("single_label_classification", 3)
INDEX = torch.tensor([2, 0, 3, 1])


def texts():
    """Of 2 to 13 words; every third a pair."""
    generator = np.random.default_rng(4)
    found = []
    for row in range(ROWS):
        words = [int(generator.integers(2, 8)) for _ in range(1 + (row % 3 == 0))]
        found.append(
            [CLS, *(one for count in words for one in (*generator.integers(5, VOCAB_SIZE, count).tolist(), SEP))]
        )
    return found


TEXTS = texts()
LABELS = [row % 3 for row in range(ROWS)]


def batch_of(rows, *, length=None, left=False):
    length = max(len(TEXTS[row]) for row in rows) if length is None else length
    ids = torch.full((len(rows), length), PAD)
    for number, row in enumerate(rows):
        start = length - len(TEXTS[row]) if left else 0
        ids[number, start : start + len(TEXTS[row])] = torch.tensor(TEXTS[row])
    mask = (ids != PAD).long()
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


def segments_of(batch):
    return text_segments(batch["input_ids"], batch["attention_mask"], *token_kinds(tiny_tokenizer()), sentences=2)


def step_of(model, rows, epoch, plan, archive, *, labels=None, batch=None, **about):
    """A step of a loop of one's own, the passes that it makes, and what it notes."""
    mixer, passes, noted = make_mixable(model), [], {}
    batch = batch_of(rows) if batch is None else batch
    labels = torch.tensor([LABELS[row] for row in rows]) if labels is None else labels

    def forward(inputs, plan=None, *, dropout=True):
        passes.append(len(inputs["input_ids"]))
        with mixer.applying(plan):
            return model(**inputs).logits

    def watching(inputs, layer=0):
        with mixer.watching(layer) as watched:
            return forward(inputs), watched

    about = {
        "visits": torch.tensor([[row, epoch] for row in rows]),
        "num_rows": ROWS,
        "archive": archive,
        "segments": segments_of(batch),
        "watching_forward": watching,
        "note": noted.update,
        **about,
    }
    return Step(forward, batch, labels, plan, LOSS, **about), passes, noted


def run(method, step):
    """The terms; and that as many passes are made as were said."""
    expected, terms, passes = method.passes_of(step), {}, 0
    for some in method.losses(step):
        sum(some.values()).backward()
        terms |= {name: value.detach() for name, value in some.items()}
        passes += 1
    assert passes == expected
    return terms


def plan_of(method, layer=None):
    lam = torch.full((4,), 0.9) if isinstance(method, SSMix) else torch.tensor([0.3, 0.6, 0.5, 0.8])
    return MixPlan(INDEX, lam, layer=layer, pad="mix" if isinstance(method, SSMix) else "keep")


# ---- a run written out ----


def saliency_alone(model, row, label, layer):
    """Of the words of one text by itself, from the first on; 0 at special tokens in between."""
    batch = batch_of([row])
    outputs = model(**batch, output_hidden_states=True)
    states = outputs.hidden_states[layer or 0]
    (gradient,) = torch.autograd.grad(F.cross_entropy(outputs.logits, torch.tensor([label])), states)
    segments = segments_of(batch)
    if layer is None:
        saliency = token_saliency(gradient, segments)
    else:
        saliency = state_saliency(gradient, states.detach(), segments)
    is_word = segments[0] > 0
    return saliency[0][int(is_word.int().argmax()) :], is_word[int(is_word.int().argmax()) :]


BATCHES = [
    (0, [0, 1, 2, 3]), (0, [4, 5, 6, 7]),
    (1, [2, 8, 0, 5]), (1, [3, 1, 9, 4]),
    (2, [8, 9, 6, 2]), (2, [8, 6, 9, 2]),
    (3, [0, 2, 8, 1]), (3, [7, 6, 5, 4]),
    (4, [8, 9, 0, 1]),
]  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [
        SSMix(saliency_every=3, share=0.4),
        SSMix(saliency_every=2, share=0.3, contiguous=False, clean_lam=0.5),
        PuzzleTMix(saliency_every=3),
        PuzzleTMix(saliency_every=2, n_labels=2, clean_lam=2.0, beta=0.02),
    ],
    ids=["windows", "tokens", "puzzle 3", "puzzle 2"],
)
def test_what_is_kept_and_what_is_minimised_over_epochs(method):
    """Rows come in other company each time, and some for the first time in a later epoch."""
    model, archive, kept = tiny_model("bert").eval(), {}, {}
    seen_due = set()
    for number, (epoch, rows) in enumerate(BATCHES):
        layer = None if isinstance(method, SSMix) else 1 + number % (DEPTH - 1)
        plan = plan_of(method, layer)
        batch, labels = batch_of(rows), torch.tensor([LABELS[row] for row in rows])
        segments = segments_of(batch)
        due = [i for i, row in enumerate(rows) if row not in kept or epoch - kept[row][0] >= method.saliency_every]
        seen_due.add(len(due))
        saliency = torch.zeros(segments.shape)
        for i, row in enumerate(rows):
            if i in due:
                found, is_word = saliency_alone(model, row, LABELS[row], layer)
                kept[row] = (epoch, (found / found[is_word].mean()).half().float(), is_word)
            else:
                found = kept[row][1]
            first = int((segments[i] > 0).int().argmax())
            saliency[i, first : first + len(found)] = found
        if isinstance(method, SSMix):
            pasted = paste_spans(
                batch["input_ids"], INDEX, segments, sentences=2, saliency=saliency, share=method.share,
                contiguous=method.contiguous,
            )  # fmt: skip
            weight = pasted.weight
            logits = model(**{**batch, "input_ids": pasted.input_ids}).logits
        else:
            z, weight = sentence_puzzle(
                saliency, INDEX, plan.lam, segments, attention_mask=batch["attention_mask"], pad="keep",
                n_labels=method.n_labels, beta=method.beta,
            )  # fmt: skip
            logits = two_stream_logits(model, batch, INDEX, 1 - z, layer)
        logs = logits.log_softmax(dim=1)
        total = len(rows) + method.clean_lam * len(due)
        mixed = sum(-weight[i] * logs[i, labels[i]] - (1 - weight[i]) * logs[i, labels[INDEX[i]]] for i in range(4))
        clean = F.cross_entropy(model(**batch).logits, labels, reduction="none")[due].sum()

        step, passes, noted = step_of(model, rows, epoch, plan, archive)
        terms = run(method, step)
        torch.testing.assert_close(terms["loss_supervised"], (mixed / total).detach(), rtol=1e-4, atol=1e-6)
        assert passes == ([len(due), 4] if due else [4]) and ("loss_clean" in terms) == bool(due)
        if due:
            torch.testing.assert_close(
                terms["loss_clean"], (method.clean_lam * clean / total).detach(), rtol=1e-4, atol=1e-6
            )
        assert noted["saliency_undefined"] == 0
        model.zero_grad()
    assert {0, 4} < seen_due and len(seen_due) > 2
    made = [kept[row][0] for row in range(ROWS)]
    assert archive["saliency_epoch"].tolist() == made
    for row, (_, values, is_word) in kept.items():
        (words,) = is_word.nonzero(as_tuple=True)
        torch.testing.assert_close(archive["saliency"][row, words].float(), values[words], rtol=2e-3, atol=1e-3)
    assert archive["saliency"].dtype == torch.float16
    # From the first word to the last of the longest.
    assert archive["saliency"].shape == (ROWS, max(map(len, TEXTS)) - 2)


def test_with_all_texts_due_a_step_is_that_of_one_that_keeps_nothing():
    for plain, method in ((SSMix(), SSMix(saliency_every=4)), (PuzzleTMix(), PuzzleTMix(saliency_every=4))):
        found = []
        for one in (plain, method):
            model = tiny_model("bert").eval()
            plan, archive, asked = plan_of(one, None if isinstance(one, SSMix) else 2), {}, []

            def average(value, asked=asked):
                asked.append(value)
                return value

            step, _, _ = step_of(model, [0, 1, 2, 3], 0, plan, archive, average=average)
            assert one.passes_of(step) == 2
            terms = run(one, step)
            # The processes agree once a step on whether any of them has a text that is due.
            assert len(asked) == (one is method)
            found.append((terms, {name: p.grad for name, p in model.named_parameters()}))
        torch.testing.assert_close(found[0][0], found[1][0])
        for name, gradient in found[0][1].items():
            torch.testing.assert_close(gradient, found[1][1][name])
        again, _, _ = step_of(model, [0, 1, 2, 3], 1, plan, archive)
        assert plain.passes_of(again) == 2 and method.passes_of(again) == 1


# ---- padding, and what is kept ----


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("length", [None, 30])
@pytest.mark.parametrize("kept_left", [False, True])
def test_a_kept_saliency_moves_with_the_padding(left, length, kept_left):
    archive, rows = {}, [0, 1, 2, 3]
    plan = plan_of(SSMix())
    first, _, _ = step_of(tiny_model(), rows, 0, plan, archive, batch=batch_of(rows, left=kept_left))
    numbers = torch.rand(4, first.segments.shape[1]).where(first.segments > 0, 0.0)
    keep_texts(first, torch.arange(4), numbers)
    other = rows[::-1]
    second, _, _ = step_of(tiny_model(), other, 1, plan, archive, batch=batch_of(other, left=left, length=length))
    assert texts_due(second, 4) is None
    found = kept_texts(second)
    assert found.shape == second.segments.shape and not found[second.segments == 0].any()
    for row in range(4):
        own, again = numbers[row][first.segments[row] > 0], found[3 - row][second.segments[3 - row] > 0]
        torch.testing.assert_close(again, own / own.mean(), rtol=1e-3, atol=1e-3)


def test_longer_texts_widen_what_is_kept():
    archive = {}
    rows = sorted(range(ROWS), key=lambda row: len(TEXTS[row]))
    short, long = rows[:4], rows[-4:]
    kept = []
    for epoch, some in enumerate((short, long)):
        step, _, _ = step_of(tiny_model(), some, epoch, plan_of(SSMix()), archive)
        keep_texts(step, torch.arange(4), torch.rand(step.segments.shape).where(step.segments > 0, 0.0))
        kept.append(kept_texts(step))
        assert archive["saliency"].shape == (ROWS, max(len(TEXTS[row]) for row in some) - 2)
    again, _, _ = step_of(tiny_model(), short, 2, plan_of(SSMix()), archive)
    assert torch.equal(kept_texts(again), kept[0]) and kept[0].any()


def test_texts_without_words_and_without_a_saliency():
    archive, rows = {}, [0, 1, 2, 3]
    batch = batch_of(rows)
    batch["input_ids"][1, 1:] = SEP
    step, _, _ = step_of(tiny_model(), rows, 0, plan_of(SSMix()), archive, batch=batch)
    numbers = torch.rand(step.segments.shape).where(step.segments > 0, 0.0)
    keep_texts(step, torch.arange(4), numbers)
    before = kept_texts(step)
    assert not before[1].any() and torch.isfinite(before).all()
    for nothing in (0.0, float("nan"), float("inf")):
        keep_texts(step, torch.tensor([2]), torch.full((1, numbers.shape[1]), nothing))
        assert torch.equal(kept_texts(step), before)
    # Of a first visit that told nothing: every word is as salient as any other.
    fresh, _, _ = step_of(tiny_model(), rows, 0, plan_of(SSMix()), {})
    keep_texts(fresh, torch.arange(4), torch.zeros(step.segments.shape))
    assert torch.equal(kept_texts(fresh), (fresh.segments > 0).float()) and texts_due(fresh, 2) is None


def test_what_was_kept_of_other_data_is_not_taken():
    archive = {}
    step, _, _ = step_of(tiny_model(), [0, 1, 2, 3], 0, plan_of(SSMix()), archive)
    keep_texts(step, torch.arange(4), torch.rand(step.segments.shape))
    assert texts_due(step, 2) is None
    step, _, _ = step_of(tiny_model(), [0, 1, 2, 3], 0, plan_of(SSMix()), archive, num_rows=ROWS + 1)
    assert texts_due(step, 2).tolist() == [0, 1, 2, 3]


# ---- labels, steps that mix nothing, other processes ----


def test_texts_without_a_label_are_never_due():
    model, archive = tiny_model("bert").eval(), {}
    labels = torch.tensor([0, -100, 1, 2])
    method = SSMix(saliency_every=2, share=0.4)
    step, passes, _ = step_of(model, [0, 1, 2, 3], 0, plan_of(method), archive, labels=labels)
    terms = run(method, step)
    assert passes == [3, 4] and archive["saliency_epoch"][:4].tolist() == [0, -1, 0, 0]
    clean = F.cross_entropy(model(**step.inputs).logits, labels)
    torch.testing.assert_close(terms["loss_clean"], clean.detach() / 2)
    plain, _, _ = step_of(model, [0, 1, 2, 3], 0, plan_of(method), {}, labels=labels)
    torch.testing.assert_close(run(SSMix(share=0.4), plain), terms)
    hidden, passes, _ = step_of(model, [4, 5, 6, 7], 0, plan_of(method), archive, labels=torch.full((4,), -100))
    assert run(method, hidden)["loss_supervised"] == 0 and passes == [4]


@pytest.mark.parametrize("method", [SSMix(saliency_every=2), PuzzleTMix(saliency_every=2)], ids=["ssmix", "puzzle"])
def test_a_step_that_mixes_nothing_looks_at_nothing_unless_another_process_does(method):
    model, archive, rows = tiny_model("bert").eval(), {}, [0, 1, 2, 3]
    identity = MixPlan.identity(4)
    step, passes, _ = step_of(model, rows, 0, identity, archive)
    plain = run(method, step)
    assert passes == [4] and archive["saliency_epoch"].max() == -1

    def gather(value):
        """Another process has found something of row 7, which is longer than all here."""
        if value.dim() == 1:
            return torch.tensor([int(value), 20])
        other = torch.tensor([[7, 0]]) if value.shape[1] == 2 else torch.arange(20.0).half()[None]
        return torch.cat([value, other.to(value.dtype)])

    for plan in (identity, plan_of(method, None if isinstance(method, SSMix) else 1)):
        others = {**archive, "saliency_epoch": torch.zeros(ROWS, dtype=torch.int32)}
        others["saliency_epoch"][7] = -1
        step, passes, _ = step_of(model, rows, 1, plan, others, average=lambda value: value + 0.5, gather=gather)
        terms = run(method, step)
        assert passes == [1, 4] and terms["loss_clean"] == 0
        assert others["saliency_epoch"].tolist() == [0] * 10 and others["saliency"].shape == (ROWS, 20)
        assert others["saliency"][7].tolist() == list(range(20))
        if plan is identity:
            assert terms["loss_supervised"] == plain["loss_supervised"]


# ---- refused ----


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SSMix, {"saliency_every": 0}, "saliency_every must be a whole number >= 1, got 0"),
        (SSMix, {"saliency_every": 2.0}, r"saliency_every must be a whole number >= 1, got 2\.0"),
        (SSMix, {"saliency_every": 4, "saliency": "random"}, "saliency_every=4 saves passes .* saliency='random' takes none"),
        (PuzzleTMix, {"saliency_every": 4, "saliency": "random"}, "saliency_every=4 saves passes"),
        (PuzzleTMix, {"saliency_every": 4, "gamma": 0.5}, r"gamma=0\.5 compares hidden states .* saliency_every=4 saves"),
    ],
)  # fmt: skip
def test_bad_input(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_a_loop_that_does_not_say_which_rows_it_holds_is_told():
    method = SSMix(saliency_every=4)
    step, _, _ = step_of(tiny_model(), [0, 1, 2, 3], 0, plan_of(method), {}, visits=None)
    for ask in (method.passes_of, lambda step: next(method.losses(step))):
        with pytest.raises(
            ValueError, match=r"saliency_every=4 keeps the saliency of a row by its number.*Step `visits`"
        ):
            ask(step)


def test_the_formula_says_what_is_kept():
    for kind in (SSMix, PuzzleTMix):
        assert kind().formula in kind(saliency_every=4).formula and "due" not in kind().formula
        assert kind(saliency_every=4).formula.endswith("(rows + clean_lam due rows)")
    assert not SSMix().keeps_rows and SSMix(saliency_every=2).keeps_rows
