"""Temperature scaling: one number that repairs the confidence of a trained classifier and leaves its decisions alone.

Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", section 4.2. Fit on validation data, apply to test
data; both work on logits and know no model.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .metrics import softmax
from .validation import check_finite, check_labels, check_same_shape


# Where the search ends. At 0.01 a lead of one logit is a probability of 1 - 4e-44, at 100 one of 0.5025:
# an optimum outside says that the logits are of another kind.
TEMPERATURE_RANGE = (0.01, 100.0)


def fit_temperature(logits: ArrayLike, references: ArrayLike) -> float:
    """
    The temperature `T` that minimises the mean negative log-likelihood of `softmax(logits / T)` (Guo et al., 2017, section
    4.2), between 0.01 and 100.

    The likelihood is convex in `1 / T`, so that its derivative, the mean over the examples of `E_p[z] - z_reference`, has
    at most one root; that root is found (Brent's method on `log T`), to some 1e-10 of `T`.

    Two data sets have no such root, and end at a bound of the range **with a warning**: where the reference has the
    highest logit in every row the optimum is `T -> 0`, and 0.01 is returned; where the logits tell nothing of the
    references (constant rows, or worse than chance) it is `T -> inf`, and 100 is returned.

    Args:
        logits (array-like of shape `(N, C)`, finite): Unnormalised log-probabilities on **held-out** data.
        references (array-like of shape `(N,)`, integer): True classes in `0 .. C-1`.

    Returns:
        `float` in `[0.01, 100]`: above 1 for a model that is too confident, below 1 for one that is not confident enough,
        as models trained with mixup can be.

    Raises:
        ValueError: If a logit is NaN or infinite, a reference is out of range, or the numbers of examples differ.

    Example:

    >>> temperature = fit_temperature([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0]], [0, 0, 1])
    >>> round(temperature, 4)  # two thirds are right: 2 / T = ln 2
    2.8854
    """
    from scipy.optimize import brentq

    logits = check_finite("logits", logits, ndim=2)
    references = check_labels("references", references, n_classes=logits.shape[1])
    check_same_shape("logits", logits, references)
    # As distances from the row's largest, which `exp` cannot overflow on.
    below_top = logits - logits.max(axis=1, keepdims=True)
    below_reference = logits - logits[np.arange(len(references)), references][:, None]

    def slope(log_temperature: float) -> float:
        """Derivative of the mean NLL with respect to `1 / T`; it falls as `T` rises."""
        weights = np.exp(below_top * np.exp(-log_temperature))
        return float(np.mean(np.sum(weights * below_reference, axis=1) / np.sum(weights, axis=1)))

    lowest, highest = TEMPERATURE_RANGE
    # Said of the logits themselves, for the slope of large ones that are separated underflows to 0, that of constant rows.
    separated = below_reference.max() <= 0.0 and below_reference.min() < 0.0
    if not separated and slope(np.log(highest)) >= 0.0:
        warnings.warn(
            f"The logits tell too little of `references` for a temperature below {highest:g}, which is returned: the "
            "likelihood is best where all classes are equally likely. Check that the references belong to these logits.",
            stacklevel=2,
        )
        return highest
    if separated or slope(np.log(lowest)) <= 0.0:
        warnings.warn(
            f"The likelihood still rises at a temperature of {lowest:g}, which is returned: the logits separate the "
            f"{len(references)} examples (nearly) without an error. Fit on more examples, and on held-out ones.",
            stacklevel=2,
        )
        return lowest
    return float(np.exp(brentq(slope, np.log(lowest), np.log(highest), xtol=1e-12, rtol=1e-12)))


def fit_with_notes(logits: ArrayLike, references: ArrayLike) -> tuple[float, list[str]]:
    """As [`fit_temperature`], with what it warns of as texts: where there is one, the temperature is a bound and not an optimum."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = fit_temperature(logits, references)
    return value, [str(warning.message) for warning in caught]


def apply_temperature(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """
    `softmax(logits / temperature)` (Guo et al., 2017, section 4.2). The order of the classes in a row stays, so accuracy
    does; only logits so close that their probabilities round to the same float64 become ties.

    Args:
        logits (array-like of shape `(N, C)`, finite): Unnormalised log-probabilities.
        temperature (`float`): Above 0; as `fit_temperature` gives it. 1 leaves the softmax as it is.

    Returns:
        `np.ndarray` of shape `(N, C)`, dtype float64, in `[0, 1]`, each row summing to 1.

    Raises:
        ValueError: If `temperature` is not above 0 or not finite, or a logit is NaN or infinite.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(
            f"`temperature` must be a finite number above 0, got {temperature}. `fit_temperature` finds one; 1 changes "
            "nothing."
        )
    scaled = check_finite("logits", logits, ndim=2) / temperature
    # A small temperature may take large logits beyond what float64 holds.
    return softmax(scaled)
