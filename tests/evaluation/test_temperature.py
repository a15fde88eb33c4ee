"""Temperature scaling against another optimiser, its optimality condition, and the cases without an optimum."""

import warnings

import numpy as np
import pytest
import scipy.optimize
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp

from mixtext_hf.evaluation import apply_temperature, fit_temperature
from mixtext_hf.evaluation.measures import metrics
from mixtext_hf.evaluation.measures.temperature import TEMPERATURE_RANGE


LOWEST, HIGHEST = TEMPERATURE_RANGE


def nll(logits, references, temperature):
    scaled = logits / temperature
    return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(references)), references]))


def classifier(seed, sharpness, n_examples=400, n_classes=4):
    """Logits that are calibrated at T = 1 up to chance, times `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n_examples, n_classes))
    references = np.array([rng.choice(n_classes, p=row) for row in metrics.softmax(logits)])
    return sharpness * logits, references


@st.composite
def problems(draw):
    """Small problems on a grid: ties, constant rows and separable data are common."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(2, 4)))
    logits = draw(hnp.arrays(np.float64, shape, elements=st.integers(-40, 40).map(lambda eighth: eighth / 8)))
    return logits, draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))


def fitted(logits, references):
    """The temperature, and whether there was a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        temperature = fit_temperature(logits, references)
    assert all(item.category is UserWarning for item in caught)
    return temperature, bool(caught)


@pytest.mark.parametrize("seed, sharpness", [(0, 1.0), (1, 3.0), (2, 0.3), (3, 10.0)])
def test_another_optimiser_finds_the_same(seed, sharpness):
    logits, references = classifier(seed, sharpness)
    temperature = fit_temperature(logits, references)
    other = scipy.optimize.minimize_scalar(
        lambda log_t: nll(logits, references, np.exp(log_t)), bounds=np.log(TEMPERATURE_RANGE), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    assert temperature == pytest.approx(np.exp(other.x), rel=1e-5)
    # It is the model's sharpness that is undone, up to the noise of 400 labels.
    assert temperature == pytest.approx(sharpness, rel=0.2)
    grid = np.geomspace(LOWEST, HIGHEST, 2001)
    best = grid[np.argmin([nll(logits, references, t) for t in grid])]
    assert temperature == pytest.approx(best, rel=grid[1] / grid[0] - 1)


def test_the_slope_is_zero_at_the_optimum():
    logits, references = classifier(4, 2.5)
    inverse = 1 / fit_temperature(logits, references)
    probabilities = metrics.softmax(inverse * logits)
    slope = np.mean(np.sum(probabilities * logits, axis=1) - logits[np.arange(len(references)), references])
    assert abs(slope) < 1e-9
    step = 1e-4
    numeric = (
        (nll(logits, references, 1 / (inverse + step)) - nll(logits, references, 1 / (inverse - step))) / 2 / step
    )
    assert abs(numeric) < 1e-6


@examples(150)
@given(problems())
def test_never_worse_than_no_temperature(problem):
    logits, references = problem
    temperature, warned = fitted(logits, references)
    assert LOWEST <= temperature <= HIGHEST
    assert warned == (temperature in TEMPERATURE_RANGE)
    reached = nll(logits, references, temperature)
    for other in (1.0, 0.9 * temperature, 1.1 * temperature):
        if LOWEST <= other <= HIGHEST:
            assert reached <= nll(logits, references, other) + 1e-12


@examples(100)
@given(problems(), st.floats(0.01, 100))
def test_decisions_stay(problem, temperature):
    logits, _ = problem
    probabilities = apply_temperature(logits, temperature)
    assert probabilities.argmax(axis=1).tolist() == logits.argmax(axis=1).tolist()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
    expected = np.exp(logits / temperature - logsumexp(logits / temperature, axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)


@pytest.mark.parametrize("factor", [0.25, 3.0, 17.0])
def test_scaled_logits_scale_the_temperature(factor):
    logits, references = classifier(5, 1.5)
    expected = factor * fit_temperature(logits, references)
    assert fit_temperature(factor * logits, references) == pytest.approx(expected, rel=1e-8)


def test_a_constant_per_row_changes_nothing():
    logits, references = classifier(6, 2.0)
    constants = 50 * np.random.default_rng(0).normal(size=(len(logits), 1))
    expected = fit_temperature(logits, references)
    assert fit_temperature(logits + constants, references) == pytest.approx(expected, rel=1e-8)
    np.testing.assert_allclose(apply_temperature(logits + constants, 2.0), apply_temperature(logits, 2.0), atol=1e-12)


def test_repairs_an_overconfident_model():
    logits, references = classifier(7, 4.0, n_examples=4000)
    temperature = fit_temperature(logits[:2000], references[:2000])
    test = logits[2000:], references[2000:]
    errors = [
        metrics.expected_calibration_error(probabilities=apply_temperature(test[0], t), references=test[1])
        for t in (1.0, temperature)
    ]
    assert errors[1] < 0.3 * errors[0]


# From 1e5 on, every other class has a probability of 0 even at the highest temperature.
@pytest.mark.parametrize("scale", [1.0, 1e-300, 1e4, 1e6, 1e300])
def test_separable_data_end_at_the_lower_bound(scale):
    logits = scale * np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.5, 0.0, 0.5]])
    with pytest.warns(UserWarning, match=r"temperature of 0.01, which is returned.*3 examples"):
        temperature = fit_temperature(logits, [0, 1, 2])
    assert temperature == LOWEST
    assert np.isfinite(apply_temperature(logits, temperature)).all()


@pytest.mark.parametrize(
    "logits, references",
    [
        ([[0.0, 0.0], [3.0, 3.0]], [0, 1]),
        ([[0.0, 1.0], [1.0, 0.0]], [0, 1]),
        ([[0.0, 1.0], [0.0, 1.0]], [0, 1]),
        ([[-1e300, 1e300]], [0]),
    ],
    ids=["constant", "always wrong", "no relation", "huge"],
)
def test_useless_logits_end_at_the_upper_bound(logits, references):
    with pytest.warns(UserWarning, match="tell too little of `references` for a temperature below 100"):
        temperature = fit_temperature(logits, references)
    assert temperature == HIGHEST


def test_errors():
    with pytest.raises(ValueError, match=r"`logits\[0, 1\]` is nan"):
        fit_temperature([[0.0, np.nan]], [0])
    with pytest.raises(ValueError, match=r"`references` must be labels in 0\.\.1.*got 2"):
        fit_temperature([[0.0, 1.0]], [2])
    with pytest.raises(ValueError, match="`logits` and `references` must have the same length, got 1 and 2"):
        fit_temperature([[0.0, 1.0]], [0, 1])
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"`temperature` must be a finite number above 0, got {wrong}"):
            apply_temperature([[0.0, 1.0]], wrong)
    with pytest.raises(ValueError, match=r"`logits\[0, 0\]` is inf"):
        apply_temperature([[np.inf, 1.0]], 1.0)
