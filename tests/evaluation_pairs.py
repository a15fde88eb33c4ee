"""Predictions and references for tests of metrics: ties, missing classes and probabilities of exactly 0 and 1 are common."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@st.composite
def label_pairs(draw: st.DrawFn, n_classes: int | None = None) -> tuple[np.ndarray, ...]:
    """Two label vectors; the classes are drawn from few, so that some are missing on one side or on both."""
    size = draw(st.integers(1, 30))
    labels = st.integers(0, (n_classes or draw(st.integers(1, 6))) - 1)
    return tuple(np.array(draw(st.lists(labels, min_size=size, max_size=size))) for _ in range(2))


@st.composite
def probability_pairs(draw: st.DrawFn, n_classes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distributions from small integers: ties, exact 0 and 1, and confidences on the edges of the bins come often."""
    size, n_classes = draw(st.integers(1, 25)), n_classes or draw(st.integers(2, 5))
    weights = draw(hnp.arrays(np.float64, (size, n_classes), elements=st.integers(0, 5).map(float)))
    weights[weights.sum(axis=1) == 0, 0] = 1.0
    references = draw(hnp.arrays(np.int64, size, elements=st.integers(0, n_classes - 1)))
    return weights / weights.sum(axis=1, keepdims=True), references
