"""Wrong labels on purpose, to see which methods learn them by heart (`evaluation.measure_memorisation` counts)."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray


NoiseKind = Literal["uniform", "pair"]
NOISE_KINDS: tuple[str, ...] = get_args(NoiseKind)

# What marks a row without a label: -1 on the Hub, -100 in PyTorch's cross-entropy.
HIDDEN_LABELS = (-1, -100)

# Keeps these draws apart from those of `few_shot_split`, keyed [seed, class], and `hold_out`, keyed [seed, class, 1].
_STREAM = 2


def corrupt_labels(
    labels: ArrayLike, num_classes: int, share: float, *, seed: int, kind: NoiseKind = "uniform"
) -> NDArray[np.int64]:
    """
    Give a share of the rows another label than their own.

    Which rows, and which labels, depends on nothing but the arguments, so that all methods of a comparison see the same
    wrong labels. Rows and classes are drawn before the share is looked at: for one seed, a larger share keeps every wrong
    label of a smaller one.

    Args:
        labels (array-like of shape `(N,)`, integer):
            Classes in `0 .. num_classes - 1`. -1 and -100 mark rows without a label; they stay as they are.
        num_classes (`int`):
            The number of classes, at least 2.
        share (`float`):
            In `[0, 1)`. Of the `n` rows with a label, exactly `round(share * n)` (Python's `round`: a half goes to the
            even neighbour) get another label. Papers that replace labels by a uniform draw from *all* classes, as Zhang
            et al. (2018, "mixup", section 3.4) do, have fewer wrong ones: `share * (1 - 1 / num_classes)` on average.
        seed (`int`):
            From 0 on.
        kind (`str`, *optional*, defaults to `"uniform"`):
            `"uniform"`: one of the other classes, each equally likely ("symmetry flipping" in Han et al., 2018,
            "Co-teaching"). `"pair"`: the next class, `k -> k + 1` modulo `num_classes` ("pair flipping" there).

    Returns:
        `np.ndarray` of shape `(N,)`, dtype int64: a new array.

    Raises:
        ValueError: If `labels` are not integers of one dimension, hold a class out of range or no label at all, or if
            another argument is outside what is said above.
    """
    given = np.asarray(labels)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` must be class ids of shape (N,) and an integer dtype, got shape {given.shape} and dtype "
            f"{given.dtype}. Write -1 where a row has no label."
        )
    if num_classes < 2:
        raise ValueError(f"`num_classes` must be at least 2, got {num_classes}: a wrong label needs another class.")
    if not 0.0 <= share < 1.0:
        raise ValueError(f"`share` must lie in [0, 1), got {share}. For 20 % wrong labels, write 0.2.")
    if kind not in NOISE_KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(NOISE_KINDS)}; got {kind!r}.")
    if seed < 0:
        raise ValueError(f"`seed` must not be negative, got {seed}.")

    noisy = given.astype(np.int64)
    rows = np.flatnonzero(~np.isin(noisy, HIDDEN_LABELS))
    if len(rows) == 0:
        raise ValueError(f"`labels` must hold at least one label, got {len(noisy)} rows without one.")
    known = noisy[rows]
    if known.min() < 0 or known.max() >= num_classes:
        wrong = known.min() if known.min() < 0 else known.max()
        raise ValueError(
            f"`labels` must lie in 0..{num_classes - 1} (or be -1 or -100 where a row has no label), got {wrong}. "
            "Check `num_classes`."
        )

    rng = np.random.default_rng([seed, 0, _STREAM])
    order = rng.permutation(len(rows))
    # An offset for every row, used or not, and for either kind: the rows do not depend on `kind`.
    steps = rng.integers(1, num_classes, size=len(rows))
    chosen = order[: round(share * len(rows))]
    step = steps[chosen] if kind == "uniform" else 1
    noisy[rows[chosen]] = (known[chosen] + step) % num_classes
    return noisy
