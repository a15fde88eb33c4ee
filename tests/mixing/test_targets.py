"""Mixed targets and losses against the losses of torch, written out as weighted pairs."""

import math

import pytest
import torch
import torch.nn.functional as F
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from mixtext_hf.functional import MixedLoss, mix_targets, mixed_cross_entropy, soft_cross_entropy
from mixtext_hf.mixing import (
    HIDDEN_SCORE,
    IGNORE_INDEX,
    has_label,
    jensen_shannon_divergence,
    sharpen,
    soft_kl_divergence,
)
from mixtext_hf.mixing.targets import soft_binary_cross_entropy


B, C = 5, 4
INDEX = torch.tensor([2, 0, 1, 4, 3])
LAM = torch.tensor([0.3, 0.6, 0.9, 0.5, 0.05])
LABELS = torch.tensor([0, 3, 1, 1, 2])
LOGITS = torch.randn(B, C, generator=torch.Generator().manual_seed(0)) * 3
OWN, ONES = torch.arange(B), torch.ones(B)

single = MixedLoss("single_label_classification", C)
multi = MixedLoss("multi_label_classification", C)
score = MixedLoss("regression", 1)


@examples(100)
@given(st.data())
def test_single_label_loss_is_the_weighted_pair_of_hard_losses(data):
    batch_size, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 5))
    rows = {"min_size": batch_size, "max_size": batch_size}
    labels = torch.tensor(data.draw(st.lists(st.integers(0, classes - 1), **rows)))
    index = torch.tensor(data.draw(st.permutations(range(batch_size))))
    lam = torch.tensor(data.draw(st.lists(st.floats(0, 1, width=32), **rows)))
    logits = torch.randn(batch_size, classes, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    hard = F.cross_entropy(logits, labels, reduction="none"), F.cross_entropy(logits, labels[index], reduction="none")
    expected = (lam * hard[0] + (1 - lam) * hard[1]).mean()
    torch.testing.assert_close(mixed_cross_entropy(logits, labels, index, lam), expected, rtol=1e-6, atol=1e-6)


def test_multi_label_loss_is_the_weighted_pair_of_hard_losses():
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 1]]).float()
    pair = [F.binary_cross_entropy_with_logits(LOGITS, t, reduction="none").mean(1) for t in (labels, labels[INDEX])]
    expected = (LAM * pair[0] + (1 - LAM) * pair[1]).mean()
    torch.testing.assert_close(multi(LOGITS, labels, INDEX, LAM), expected, rtol=0, atol=1e-6)
    assert torch.equal(multi(LOGITS, labels.long(), INDEX, LAM), multi(LOGITS, labels, INDEX, LAM))


@pytest.mark.parametrize("label_shape", [(B,), (B, 1)], ids=str)
@pytest.mark.parametrize("logit_shape", [(B,), (B, 1)], ids=str)
def test_regression_loss_is_the_squared_error_to_the_mixed_score(label_shape, logit_shape):
    labels, outputs = torch.tensor([0.0, 5.0, 2.5, 1.0, -3.0]), LOGITS[:, 0]
    expected = F.mse_loss(outputs, LAM * labels + (1 - LAM) * labels[INDEX])
    actual = score(outputs.view(logit_shape), labels.view(label_shape), INDEX, LAM)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=0)


def test_soft_cross_entropy_is_that_of_torch():
    targets = torch.softmax(torch.randn(B, C), dim=-1)
    expected = F.cross_entropy(LOGITS, targets, reduction="none")
    torch.testing.assert_close(soft_cross_entropy(LOGITS, targets), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_smoothing_is_that_of_torch(smoothing):
    loss = MixedLoss("single_label_classification", C, smoothing)
    expected = F.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    torch.testing.assert_close(loss(LOGITS, LABELS), expected, rtol=0, atol=1e-6)
    pair = [F.cross_entropy(LOGITS, y, label_smoothing=smoothing, reduction="none") for y in (LABELS, LABELS[INDEX])]
    expected = (LAM * pair[0] + (1 - LAM) * pair[1]).mean()
    actual = mixed_cross_entropy(LOGITS, LABELS, INDEX, LAM, label_smoothing=smoothing)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


def test_label_smoothing_of_multi_label_targets_goes_towards_one_half():
    labels = torch.tensor([[1.0, 0.0, 0.0, 1.0]]).expand(B, C)
    expected = F.binary_cross_entropy_with_logits(LOGITS, labels * 0.8 + 0.1)
    actual = MixedLoss("multi_label_classification", C, 0.2)(LOGITS, labels)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("given", [(), (INDEX, ONES), (OWN, LAM)], ids=["no plan", "lambda 1", "own partner"])
def test_unmixed_losses_are_the_plain_ones(given):
    torch.testing.assert_close(single(LOGITS, LABELS, *given), F.cross_entropy(LOGITS, LABELS), rtol=0, atol=1e-6)
    hot = F.one_hot(LABELS, C).float()
    expected = F.binary_cross_entropy_with_logits(LOGITS, hot)
    torch.testing.assert_close(multi(LOGITS, hot, *given), expected, rtol=0, atol=1e-6)
    expected = F.mse_loss(LOGITS[:, 0], LABELS.float())
    torch.testing.assert_close(score(LOGITS[:, :1], LABELS.float(), *given), expected, rtol=0, atol=1e-6)


TASKS = {
    "single label": (single, LOGITS, LABELS),
    "multi label": (multi, LOGITS, F.one_hot(LABELS, C).float()),
    "regression": (score, LOGITS[:, :1], LABELS.float()),
    "regression (B, 1)": (score, LOGITS[:, :1], LABELS.float()[:, None]),
    "soft targets": (single, LOGITS, torch.softmax(LOGITS.roll(1, 0), dim=-1)),
}


def mixed_losses_by_hand(task, logits, labels, index, lam):
    """The loss of each row `(B,)`."""
    if task.startswith("regression"):
        labels = labels.flatten()
        return (logits.flatten() - lam * labels - (1 - lam) * labels[index]) ** 2
    if task == "multi label":
        own = F.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(dim=1)
        partners = F.binary_cross_entropy_with_logits(logits, labels[index], reduction="none").mean(dim=1)
    else:
        own = F.cross_entropy(logits, labels, reduction="none")
        partners = F.cross_entropy(logits, labels[index], reduction="none")
    return lam * own + (1 - lam) * partners


def hidden(labels):
    """What marks a row without a label among these."""
    return HIDDEN_SCORE if labels.is_floating_point() else IGNORE_INDEX


@pytest.mark.parametrize("task", TASKS)
def test_rows_whose_needed_partner_has_no_label_are_left_out(task):
    loss, logits, labels = TASKS[task]
    unlabelled = labels.clone()
    unlabelled[1] = hidden(labels)
    # Row 2 needs row 1; row 4 would too, but for its lambda of 1.
    index, lam = torch.tensor([2, 0, 1, 4, 1]), torch.tensor([0.3, 0.6, 0.9, 0.5, 1.0])
    logits = logits.clone().requires_grad_()
    actual = loss(logits, unlabelled, index, lam)
    actual.backward()
    expected = mixed_losses_by_hand(task, logits.detach(), labels, index, lam)[[0, 3, 4]].mean()
    torch.testing.assert_close(actual.detach(), expected, rtol=1e-6, atol=1e-6)
    assert torch.equal(logits.grad[1:3], torch.zeros_like(logits.grad[1:3]))
    assert bool((logits.grad[[0, 3, 4]] != 0).any(dim=1).all())


@pytest.mark.parametrize("task", TASKS)
def test_without_any_label_the_loss_is_exactly_0_with_a_gradient_of_0(task):
    loss, logits, labels = TASKS[task]
    logits = logits.clone().requires_grad_()
    value = loss(logits, torch.full_like(labels, hidden(labels)), INDEX, LAM)
    value.backward()
    assert value.item() == 0.0 and torch.equal(logits.grad, torch.zeros_like(logits))


def test_has_label():
    assert has_label(torch.tensor([0, -100, 2])).tolist() == [True, False, True]
    assert has_label(torch.tensor([0.5, -100.0, math.nan])).tolist() == [True, True, False]
    assert has_label(torch.tensor([[0.5], [math.nan]])).tolist() == [True, False]
    assert has_label(torch.tensor([[1.0, 0.0], [math.nan, math.nan], [1.0, math.nan]])).tolist() == [
        True,
        False,
        False,
    ]
    # A row with a gap has no loss that could be written down: it counts as unlabelled.
    assert has_label(torch.tensor([[1, 0], [-100, -100], [1, -100]])).tolist() == [True, False, False]


def test_a_score_of_minus_100_is_one_like_any_other():
    logits = torch.zeros(2, 1, requires_grad=True)
    value = score(logits, torch.tensor([-100.0, math.nan]))
    value.backward()
    assert value.item() == 100**2 and logits.grad.flatten().tolist() == [200.0, 0.0]


def test_negative_labels_other_than_the_mark_are_refused():
    with pytest.raises(RuntimeError, match="non-negative"):
        single(LOGITS, torch.tensor([0, 1, -1, 2, 3]))


def test_soft_targets_are_taken_as_they_are():
    soft = torch.softmax(torch.randn(B, C), dim=-1)
    targets = mix_targets(soft, INDEX, LAM, num_labels=C)
    torch.testing.assert_close(targets, LAM[:, None] * soft + (1 - LAM[:, None]) * soft[INDEX], rtol=0, atol=1e-6)
    torch.testing.assert_close(single(LOGITS, soft), F.cross_entropy(LOGITS, soft), rtol=0, atol=1e-6)
    hot = F.one_hot(LABELS, C).float()
    assert torch.equal(single(LOGITS, hot, INDEX, LAM), single(LOGITS, LABELS, INDEX, LAM))


def test_targets_are_distributions_in_float32_and_nothing_is_changed_in_place():
    labels, before = LABELS.clone(), LABELS.clone()
    targets = mix_targets(labels, INDEX, LAM, num_labels=C)
    assert targets.dtype == torch.float32 and targets.shape == (B, C)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(B))
    assert targets[0].tolist() == pytest.approx([0.3, 0.7, 0.0, 0.0])
    # Both partners of the same class: all of the weight on it.
    labels[2] = labels[0]
    assert mix_targets(labels, INDEX, LAM, num_labels=C)[0].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert torch.equal(LABELS, before)


@pytest.mark.parametrize("task", TASKS)
def test_bfloat16_logits_are_computed_in_float32(task):
    loss, logits, labels = TASKS[task]
    actual = loss(logits.bfloat16(), labels, INDEX, LAM)
    assert actual.dtype == torch.float32
    assert torch.equal(actual, loss(logits.bfloat16().float(), labels, INDEX, LAM))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("two_label", 3), "`problem_type` must be one of .*'regression'.*, got 'two_label'"),
        (("single_label_classification", 3, 1.0), r"`label_smoothing` must lie in \[0, 1\), got 1.0"),
        (("single_label_classification", 3, -0.1), r"`label_smoothing` must lie in \[0, 1\), got -0.1"),
        (("regression", 1, 0.1), "`label_smoothing` smooths over classes and a regression has none: set it to 0"),
        (("single_label_classification", 3, 0.0, "hinge"), r"`kind` must be one of \('ce', 'bce'\), got 'hinge'"),
        (("regression", 1, 0.0, "bce"), "`kind='bce'` compares the softmax of at least 2 classes.*regression"),
        (("single_label_classification", 1, 0.0, "bce"), "`kind='bce'` compares the softmax of at least 2 classes"),
    ],
    ids=str,
)
def test_wrong_losses_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MixedLoss(*arguments)


@pytest.mark.parametrize(
    "labels, num_labels, problem_type",
    [
        (torch.zeros(B, 3), 4, "multi_label_classification"),
        (torch.zeros(B), 4, "multi_label_classification"),
        (torch.zeros(B, 3), 4, "single_label_classification"),
        (torch.zeros(B, 2), 1, "regression"),
    ],
    ids=str,
)
def test_labels_that_do_not_fit_the_task_are_named(labels, num_labels, problem_type):
    message = f"`labels` of shape .*{labels.shape[0]}.* do not fit num_labels={num_labels} of a {problem_type} task"
    with pytest.raises(ValueError, match=message):
        mix_targets(labels, INDEX, LAM, num_labels=num_labels, problem_type=problem_type)


def test_index_and_lam_belong_together():
    loss = MixedLoss("single_label_classification", 3)
    with pytest.raises(ValueError, match="`index` and `lam` belong together"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]), torch.tensor([1, 0]))


# ---- guesses ----


@st.composite
def distributions(draw, min_classes=2):
    """Up to four distributions `(B, C)` as lists, some of them with classes of probability 0."""
    classes = draw(st.integers(min_classes, 5))
    weights = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1.0)), min_size=classes, max_size=classes)
    rows = draw(st.lists(weights.filter(any), min_size=1, max_size=4))
    return [[weight / sum(row) for weight in row] for row in rows]


def sharpened_by_hand(p, temperature):
    """In logarithms relative to the largest, as the powers themselves underflow."""
    powers = [math.exp(math.log(value / max(p)) / temperature) if value > 0 else 0.0 for value in p]
    return [power / sum(powers) for power in powers]


@examples(200)
@given(distributions(min_classes=1), st.sampled_from([0.01, 0.1, 0.3, 0.5, 1.0]))
def test_sharpening_is_a_power_normalised(rows, temperature):
    given = torch.tensor(rows)
    actual = sharpen(given, temperature)
    expected = torch.tensor([sharpened_by_hand(row, temperature) for row in given.tolist()])
    # Rounding of a logarithm weighs 1/T times as much.
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-6 / temperature)
    assert actual.dtype == torch.float32 and torch.equal(given, torch.tensor(rows))
    torch.testing.assert_close(actual.sum(dim=-1), torch.ones(len(rows)))
    if temperature == 1.0:
        torch.testing.assert_close(actual, given, rtol=0, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.5, 4.0, 10.0])
def test_temperatures_above_1_flatten_and_leave_impossible_classes_so(temperature):
    p = [0.7, 0.3, 0.0]
    expected = torch.tensor(sharpened_by_hand(p, temperature))
    torch.testing.assert_close(sharpen(torch.tensor(p), temperature), expected, rtol=0, atol=1e-6)


def test_sharpening_works_on_any_shape_and_dtype_and_keeps_ties():
    p = torch.softmax(torch.randn(2, 3, 4), dim=-1)
    sharp = sharpen(p, 0.5)
    expected = torch.stack([sharpen(row, 0.5) for row in p.flatten(0, 1)]).view_as(p)
    torch.testing.assert_close(sharp, expected)
    assert sharpen(p[0, 0], 0.5).shape == (4,)
    assert sharpen(p.double(), 0.5).dtype == torch.float64
    assert sharpen(torch.full((5,), 0.2), 0.01).tolist() == pytest.approx([0.2] * 5)
    # Towards T = 0 the largest takes all.
    assert sharpen(torch.tensor([0.4, 0.35, 0.25]), 1e-4).tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert sharpen(torch.tensor([1.0, 0.0]), 0.5).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("temperature", [0, -0.5, float("nan")])
def test_temperatures_are_positive(temperature):
    with pytest.raises(ValueError, match=r"`temperature` must be positive, got .*: 1 leaves"):
        sharpen(torch.tensor([0.5, 0.5]), temperature)


@examples(200)
@given(distributions(), st.integers(0, 99))
def test_divergence_is_that_of_the_loop(rows, seed):
    targets = torch.tensor(rows)
    logits = torch.randn(targets.shape, generator=torch.Generator().manual_seed(seed)) * 3
    actual = soft_kl_divergence(logits, targets)
    assert actual.shape == (len(rows),) and actual.dtype == torch.float32
    for value, t, z in zip(actual.tolist(), targets.tolist(), logits.tolist(), strict=True):
        log_total = math.log(sum(math.exp(logit) for logit in z))
        expected = sum(p * (math.log(p) - logit + log_total) for p, logit in zip(t, z, strict=True) if p > 0)
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert value > -1e-6


def test_divergence_is_0_where_the_prediction_meets_the_target():
    torch.testing.assert_close(soft_kl_divergence(LOGITS, LOGITS.softmax(dim=-1)), torch.zeros(B), rtol=0, atol=1e-6)


def test_divergence_from_one_class_is_the_cross_entropy():
    hot = F.one_hot(LABELS, C).float()
    expected = F.cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(soft_kl_divergence(LOGITS, hot), expected, rtol=0, atol=1e-6)


def test_the_gradient_of_the_divergence_is_prediction_minus_target():
    targets = mix_targets(LABELS, INDEX, LAM, num_labels=C)
    logits = LOGITS.clone().requires_grad_()
    soft_kl_divergence(logits, targets).sum().backward()
    torch.testing.assert_close(logits.grad, LOGITS.softmax(dim=-1) - targets, rtol=0, atol=1e-6)


def test_the_divergence_of_bfloat16_logits_is_computed_in_float32():
    targets = LOGITS.roll(1, 0).softmax(dim=-1)
    actual = soft_kl_divergence(LOGITS.bfloat16(), targets)
    assert actual.dtype == torch.float32 and torch.equal(
        actual, soft_kl_divergence(LOGITS.bfloat16().float(), targets)
    )
    # Extreme logits are no reason for a NaN.
    assert bool(soft_kl_divergence(torch.tensor([[1e4, -1e4]]), torch.tensor([[0.0, 1.0]])).isfinite().all())


# ---- several predictions ----


@examples(100)
@given(st.integers(2, 4), st.integers(1, 5), st.integers(0, 99))
def test_jensen_shannon_divergence_is_that_of_the_loop(views, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = [3 * torch.randn(2, classes, generator=generator) for _ in range(views)]
    for row, divergence in enumerate(jensen_shannon_divergence(logits)):
        p = [F.softmax(logit[row].double(), dim=-1) for logit in logits]
        mean = sum(p) / views
        expected = sum(float((q * (q / mean).log()).sum()) for q in p) / views
        assert divergence.item() == pytest.approx(expected, abs=1e-5) and -1e-6 < divergence <= math.log(views)


def test_jensen_shannon_divergence_of_predictions_that_are_sure():
    """Classes whose probability underflows to 0 cost nothing, and leave a finite gradient."""
    apart, alike = torch.tensor([[300.0, 0.0, 1.0]]), torch.tensor([[0.0, 300.0, 1.0]])
    for others, expected in (([apart, apart], 0.0), ([alike, alike], math.log(3) / 3 + 2 / 3 * math.log(1.5))):
        logits = [logit.clone().requires_grad_() for logit in (apart, *others)]
        divergence = jensen_shannon_divergence(logits)
        assert divergence.item() == pytest.approx(expected, abs=1e-6)
        divergence.sum().backward()
        assert all(bool(logit.grad.isfinite().all()) for logit in logits)


def test_the_plain_loss_copies_nothing_to_the_device():
    """A copy from the host waits for the pass that is running there."""

    class Copies(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            moves = function is torch.ops.aten._to_copy.default and kwargs.get("device") is not None
            self.count += moves and torch.device(kwargs["device"]) != args[0].device
            return function(*args, **kwargs)

    labels, logits = torch.zeros(B, 1, device="meta"), torch.zeros(B, 1, device="meta")
    with Copies() as copies:
        assert score(logits, labels).device.type == "meta"
    assert copies.count == 0


# ---- binary cross-entropy of the softmax ----


@examples(100)
@given(st.data())
def test_the_binary_loss_is_that_of_the_official_code(data):
    batch_size, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 7))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    given_logits = torch.randn(batch_size, classes, generator=generator) * data.draw(
        st.sampled_from([0.0, 0.3, 1.0, 2.0])
    )
    labels = torch.randint(classes, (batch_size,), generator=generator)
    index = torch.randperm(batch_size, generator=generator)
    lam = torch.rand(batch_size, generator=generator)
    one_hot = F.one_hot(labels, classes).float()
    # Manifold mixup and PuzzleMix: BCELoss()(softmax(output), reweighted_target).
    logits = given_logits.double().requires_grad_()
    target = (lam.unsqueeze(1) * one_hot + (1 - lam.unsqueeze(1)) * one_hot[index]).double()
    expected = torch.nn.BCELoss()(torch.softmax(logits, dim=1), target)
    ours = given_logits.clone().requires_grad_()
    loss = MixedLoss("single_label_classification", classes, kind="bce")
    actual = loss(ours, labels, index, lam)
    torch.testing.assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)
    gradients = torch.autograd.grad(actual, ours)[0], torch.autograd.grad(expected, logits)[0]
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=1e-4, atol=1e-6)


def test_the_binary_loss_is_finite_however_sure_the_model_is():
    logits = torch.tensor([[500.0, -500.0, 0.0], [0.0, 0.0, 0.0], [40.0, 0.0, 0.0]], requires_grad=True)
    targets = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    losses = soft_binary_cross_entropy(logits, targets)
    # By hand: log p is -1000 and -500; 1 - p of the sure one is e^-500.
    assert losses[0].item() == pytest.approx((1000 + 500) / 3, rel=1e-6)
    assert losses[1].item() == pytest.approx(-(math.log(1 / 3) + 2 * math.log(2 / 3)) / 3, rel=1e-6)
    # 1 - p is 2 e^-40, which a difference in float32 would have for 0.
    assert losses[2].item() == pytest.approx((0.5 * (40 - math.log(2)) + 0.5 * 40) / 3, rel=1e-6)
    assert torch.isfinite(torch.autograd.grad(losses.sum(), logits)[0]).all()


def test_the_binary_loss_has_a_cross_entropy_beside_it():
    loss = MixedLoss("single_label_classification", C, 0.1, kind="bce")
    assert loss.cross_entropy == MixedLoss("single_label_classification", C, 0.1) and loss.size == 2 / C
    assert single.cross_entropy is single and single.size == 1
    smoothed = mix_targets(LABELS, INDEX, LAM, num_labels=C) * 0.9 + 0.1 / C
    expected = torch.nn.BCELoss()(torch.softmax(LOGITS, dim=1), smoothed)
    torch.testing.assert_close(loss(LOGITS, LABELS, INDEX, LAM), expected, rtol=1e-5, atol=1e-6)
