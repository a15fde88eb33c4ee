r"""PuzzleMix (Kim, Choo & Song, ICML 2020) carried over to sentences: which of two sentences is shown at each position.

Where `puzzle.py` cuts a grid of blocks this labels a chain of tokens, which dynamic programming does exactly
(`chain.py`). With `z_i` the share of the partner at position `i`, `0` the row itself and `1` its partner, the mask `z`
of [`sentence_puzzle`] minimises

    sum_i [-(1 - z_i) s0_i - z_i s1_i]  +  beta sum_i max(0, 1 + gamma phi_i) (z_i - z_{i+1})^2  -  eta / n sum_i log p(z_i).

All of it is in shares of a sentence's saliency: `s0` and `s1` sum to 1 over the tokens of either sentence, whatever its
length. In an image a boundary grows with the grid; in a sentence a seam is one point, so `beta` is what a seam costs,
at any length. The prior is a mean over the `n` positions that are chosen, as that of PuzzleMix is one over the blocks.
Knows no model: saliency and hidden states come in.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from mixtext_hf._numbers import is_number, is_whole

from .chain import solve_chain
from .plan import Padding
from .puzzle import binomial_prior


Special = Literal["lam", "own"]
LabelWeight = Literal["count", "saliency"]


@torch.no_grad()
def sentence_puzzle(
    saliency: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    segments: torch.Tensor,
    *,
    attention_mask: torch.Tensor | None = None,
    hidden_states: torch.Tensor | None = None,
    n_labels: int = 3,
    beta: float = 0.075,
    gamma: float = 0.0,
    eta: float = 0.2,
    pad: Padding = "keep",
    special: Special = "lam",
    label_weight: LabelWeight = "count",
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    The mask under which each sentence is mixed with its partner, `(1 - z) * h + z * h[index]`, and its label weight: the
    minimum of the sum at the top of this file, exactly.

    A position where both sentences have a token is chosen by the mask. Two neighbours among these are linked, and a
    change of the mask between them is a seam, where both sentences go on in the same segment. Where one of the two has a special
    token nothing is chosen (see `special`); where one has ended see `pad`. A row with `lam = 1` is its own partner,
    and a row that is its own partner has `z = 0` everywhere and weight 1.

    The seam where the row ends and its partner begins costs `beta (1 + gamma phi)` with `phi = d(h0_i, h1_{i+1}) -
    [d(h0_i, h0_{i+1}) + d(h1_i, h1_{i+1})] / 2`, that in the other direction likewise, see [`seam_misfit`]; a fit so
    good that this is below 0 counts as 0. A change of `1/m` costs `1/m^2` of it.

    Args:
        saliency (`torch.Tensor` of shape `(B, T)`, floating, >= 0):
            In any unit; only that of tokens of a sentence counts, see [`token_shares`].
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        lam (`torch.Tensor` of shape `(B,)`, floating, in `[0, 1]`):
            Where the prior expects the weight of the original row; the realised weight follows the saliency too.
        segments (`torch.Tensor` of shape `(B, T)`, int64):
            The sentence that a position belongs to, from 1; 0 = a special token or padding.
        attention_mask (`torch.Tensor` of shape `(B, T)`, *optional*):
            1 or `True` at real tokens: tells padding from special tokens. `None` = every position is real.
        hidden_states (`torch.Tensor` of shape `(B, T, H)`, floating, *optional*):
            Those that will be mixed; only `gamma > 0` looks at them.
        n_labels (`int`, *optional*, defaults to 3): Values that the mask can take: `0, 1/m, .., 1`.
        beta (`float`, *optional*, defaults to 0.075):
            The cost of a seam, as a share of the saliency of a sentence. PuzzleMix charges as much, 1.2 / 16, for a straight boundary
            across the image.
        gamma (`float`, *optional*, defaults to 0):
            Weight of the smoothness of the hidden states, in units of `beta`. PuzzleMix: 0.5.
        eta (`float`, *optional*, defaults to 0.2): Weight of the prior.
        pad (`"keep"` or `"mix"`, *optional*, defaults to `"keep"`):
            Where only one of the two has a real token. `"keep"`: it is shown unscaled, as [`MixPlan`] does. `"mix"`: the
            state of the padding takes part: beside a token of a sentence the mask chooses, padding being a token without
            saliency; beside a special token as for `special`.
        special (`"lam"` or `"own"`, *optional*, defaults to `"lam"`):
            Where either has a special token and nothing is kept. `"lam"`: the constant share `z = 1 - lam`, as TMix
            mixes them (a model reads the class from them). `"own"`: the row's own, `z = 0`.
        label_weight (`"count"` or `"saliency"`, *optional*, defaults to `"count"`):
            The weight of the own label: the share of its tokens in all that is shown, see [`kept_by_count`], or that of its saliency, see
            [`kept_by_saliency`].

    Returns:
        The mask `z` `(B, T)` float32, the share of the PARTNER; and the label weight `(B,)` float32 of the original. Of
        several best masks it is the one that stays with the original longest, read from the first position on. Where
        neither sentence shows a token the weight is that of the special tokens.

    Raises:
        `ValueError`: if a shape, dtype or number is wrong, or (checked on the CPU only, to avoid a device
            synchronisation) if saliency is negative, hidden states are not finite, or padding belongs to a segment.

    Example:

    ```python
    >>> segments = torch.tensor([[0, 1, 1, 1, 1, 0]] * 2)  # [CLS] a film so good [SEP]
    >>> saliency = torch.tensor([[9.0, 0.1, 0.2, 0.3, 0.4, 9.0], [9.0, 0.4, 0.4, 0.1, 0.1, 9.0]])
    >>> index, lam = torch.tensor([1, 0]), torch.full((2,), 0.5)
    >>> z, weight = sentence_puzzle(saliency, index, lam, segments, n_labels=2)
    >>> z
    tensor([[0.5000, 1.0000, 1.0000, 0.0000, 0.0000, 0.5000],
            [0.5000, 0.0000, 0.0000, 1.0000, 1.0000, 0.5000]])
    >>> weight
    tensor([0.5000, 0.5000])
    ```
    """
    _check_options(
        n_labels=n_labels, beta=beta, gamma=gamma, eta=eta, pad=pad, special=special, label_weight=label_weight
    )
    _check_tensors(saliency, index, lam, segments, attention_mask, hidden_states, gamma)
    own = torch.arange(len(index), device=index.device)
    index = torch.where(lam == 1, own, index)
    is_own = (index == own).unsqueeze(1)

    share = token_shares(saliency, segments)
    is_chosen, fixed = _chosen_and_fixed(lam, index, segments, attention_mask, pad, special)
    goes_on = segments[:, 1:] == segments[:, :-1]
    linked = is_chosen[:, 1:] & is_chosen[:, :-1] & goes_on & goes_on[index]

    unary = puzzle_costs(share, index, lam, is_chosen, n_labels, eta)
    misfit = None
    if gamma > 0 and hidden_states is not None:
        misfit = seam_misfit(hidden_states, index, segments > 0)
    pairwise = seam_costs(linked, misfit, n_labels, beta, gamma)
    labels = solve_chain(unary, pairwise, linked)
    z = torch.where(is_chosen, labels / (n_labels - 1), fixed).where(~is_own, 0)

    otherwise = (1 - _special_share(lam, special)).where(~is_own.squeeze(1), 1)
    weight = kept_by_count(z, index, segments, otherwise)
    if label_weight == "saliency":
        weight = kept_by_saliency(z, share, share[index], weight)
    return z, weight


def token_shares(saliency: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    r"""
    The share of each token in the saliency of its row (`s` of Kim et al. 2020), special tokens and padding left out.

    A row sums to 1 over all its tokens, those too which its partner is too short to meet: dropping a word of a short
    sentence loses more of it than dropping one of a long sentence.

    Args:
        saliency (`torch.Tensor` of shape `(B, T)`, floating, >= 0): In any unit.
        segments (`torch.Tensor` of shape `(B, T)`, int64): 0 = no token of a sentence.

    Returns:
        `torch.Tensor` of shape `(B, T)`, float32. Rows whose saliency is 0 everywhere or not finite are uniform; rows
        without any token are 0.
    """
    is_token = segments > 0
    # Sums of float64, rounded to float32 at the end: the amount of padding, which changes the order of a sum, is not seen.
    saliency = saliency.double().where(is_token, 0)
    total = saliency.sum(dim=1, keepdim=True)
    has_information = (total > 0) & (total < torch.inf)
    saliency = saliency.where(has_information, is_token.double())
    return (saliency / saliency.sum(dim=1, keepdim=True)).where(is_token, 0).float()


def seam_misfit(hidden_states: torch.Tensor, index: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
    r"""
    `phi` of a seam (by analogy with the data local smoothness of Kim et al. 2020): how much worse the hidden states on
    its two sides fit than neighbours of the same sentence do there,

        d(h0_i, h1_{i+1}) - [d(h0_i, h0_{i+1}) + d(h1_i, h1_{i+1})] / 2,  d(u, v) = |u - v|^2 / (2 r^2),

    `r^2` the mean square norm of the tokens, averaged over the two sentences. For states of equal norm `d` is 1 minus their
    cosine, and `phi` how much less alike (in cosines) the two sides are than true neighbours.

    Args:
        hidden_states (`torch.Tensor` of shape `(B, T, H)`, floating): In any unit.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        is_token (`torch.Tensor` of shape `(B, T)`, bool): The positions whose norms count.

    Returns:
        `torch.Tensor` of shape `(B, T - 1, 2)`, float32: between positions `i` and `i + 1`, from the row to its partner
        and from the partner to the row. 0 where all norms are.
    """
    states = hidden_states.float()
    partner = states[index]

    def distance(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Squared, of each position to the next, `(B, T - 1)`."""
        return (left[:, :-1] - right[:, 1:]).square().sum(dim=2)

    own = distance(states, states)
    within = (own + own[index]) / 2
    excess = torch.stack([distance(states, partner) - within, distance(partner, states) - within], dim=2)
    square_norm = states.square().sum(dim=2).double().where(is_token, 0).sum(dim=1)
    square_norm = (square_norm / is_token.sum(dim=1).clamp(min=1)).float()
    twice = (square_norm + square_norm[index]).view(-1, 1, 1)
    return torch.where(twice > 0, excess / twice, 0)


def puzzle_costs(
    share: torch.Tensor, index: torch.Tensor, lam: torch.Tensor, is_chosen: torch.Tensor, n_labels: int, eta: float
) -> torch.Tensor:
    r"""
    What each value of the mask costs by itself: the saliency that it shows, negated, and the prior.

    Args:
        share (`torch.Tensor` of shape `(B, T)`, float32): See [`token_shares`].
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        lam (`torch.Tensor` of shape `(B,)`, floating, in `[0, 1]`): The weight that is expected for the original row.
        is_chosen (`torch.Tensor` of shape `(B, T)`, bool): The positions over which the prior is a mean.
        n_labels (`int`): Values of the mask: label `l` shows `l / (n_labels - 1)` of the partner.
        eta (`float`): Weight of the prior, see [`binomial_prior`].

    Returns:
        `torch.Tensor` of shape `(B, T, n_labels)`, float64: 0 where nothing is chosen.
    """
    z = torch.linspace(0, 1, n_labels, dtype=torch.float64, device=share.device)
    share = share.double()
    shown = torch.lerp(share.unsqueeze(2), share[index].unsqueeze(2), z)
    n_chosen = is_chosen.sum(dim=1).clamp(min=1)
    prior = eta * binomial_prior(lam, n_labels).double() / n_chosen.unsqueeze(1)
    return (prior.unsqueeze(1) - shown).where(is_chosen.unsqueeze(2), 0)


def seam_costs(
    linked: torch.Tensor, misfit: torch.Tensor | None, n_labels: int, beta: float, gamma: float
) -> torch.Tensor:
    r"""
    What each two values of the mask cost side by side: `beta max(0, 1 + gamma phi) (z_i - z_{i+1})^2`.

    Args:
        linked (`torch.Tensor` of shape `(B, T - 1)`, bool): Whether there can be a seam.
        misfit (`torch.Tensor` of shape `(B, T - 1, 2)` or `None`): `phi`, see [`seam_misfit`]; `None` = 0.
        n_labels (`int`): Values of the mask.
        beta, gamma (`float`): See [`sentence_puzzle`].

    Returns:
        `torch.Tensor` of shape `(B, T - 1, n_labels, n_labels)`, float64: 0 where nothing is linked.
    """
    z = torch.linspace(0, 1, n_labels, dtype=torch.float64, device=linked.device)
    rise = z - z.unsqueeze(1)
    cost = (beta * rise.square()).expand(*linked.shape, n_labels, n_labels)
    if misfit is not None:
        to_partner, to_own = (1 + gamma * misfit.double()).clamp(min=0).unsqueeze(3).unbind(2)
        cost = cost * torch.where(rise > 0, to_partner.unsqueeze(3), to_own.unsqueeze(3))
    return cost.where(linked.view(*linked.shape, 1, 1), 0)


def kept_by_count(
    z: torch.Tensor, index: torch.Tensor, segments: torch.Tensor, otherwise: torch.Tensor
) -> torch.Tensor:
    r"""
    The label weight of the original by count: the mean of `1 - z` where either sentence has a token.

    Args:
        z (`torch.Tensor` of shape `(B, T)`): The share of the partner at each position.
        index (`torch.Tensor` of shape `(B,)`, int64): The partner of each row.
        segments (`torch.Tensor` of shape `(B, T)`, int64): 0 = no token of a sentence.
        otherwise (`torch.Tensor` of shape `(B,)`): The weight of rows where no position counts.

    Returns:
        `torch.Tensor` of shape `(B,)`, float32.
    """
    is_token = segments > 0
    counts = is_token | is_token[index]
    kept, number = (1 - z.double()).where(counts, 0).sum(dim=1), counts.sum(dim=1)
    return torch.where(number > 0, kept / number, otherwise).float()


def kept_by_saliency(
    z: torch.Tensor, share: torch.Tensor, partner_share: torch.Tensor, otherwise: torch.Tensor
) -> torch.Tensor:
    r"""
    The label weight of the original by saliency: `sum (1 - z) s0 / (sum (1 - z) s0 + sum z s1)`.

    Args:
        z (`torch.Tensor` of shape `(B, T)`): The share of the partner at each position.
        share (`torch.Tensor` of shape `(B, T)`, float32): Of the row's own tokens, where they are shown, see [`token_shares`].
        partner_share (`torch.Tensor` of shape `(B, T)`, float32): Of those of its partner.
        otherwise (`torch.Tensor` of shape `(B,)`): The weight of rows where nothing that is shown has saliency.

    Returns:
        `torch.Tensor` of shape `(B,)`, float32.
    """
    z = z.double()
    kept, taken = ((1 - z) * share.double()).sum(dim=1), (z * partner_share.double()).sum(dim=1)
    return torch.where(kept + taken > 0, kept / (kept + taken), otherwise).float()


def _special_share(lam: torch.Tensor, special: Special) -> torch.Tensor:
    """Of the partner `(B,)`, where a special token stands."""
    return 1 - lam.float() if special == "lam" else torch.zeros_like(lam, dtype=torch.float32)


def _chosen_and_fixed(
    lam: torch.Tensor,
    index: torch.Tensor,
    segments: torch.Tensor,
    attention_mask: torch.Tensor | None,
    pad: Padding,
    special: Special,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the mask is chosen, `(B, T)` bool, and what it is elsewhere, `(B, T)` float32."""
    is_token = segments > 0
    is_real = torch.ones_like(is_token) if attention_mask is None else attention_mask.bool()
    fixed = _special_share(lam, special).unsqueeze(1).expand(segments.shape)
    if pad == "mix":
        takes_part = is_token | ~is_real
        return takes_part & takes_part[index] & (is_token | is_token[index]), fixed
    partner_is_real = is_real[index]
    fixed = fixed.where(is_real == partner_is_real, partner_is_real.float())
    return is_token & is_token[index], fixed


def _check_options(
    *,
    n_labels: int,
    beta: float,
    gamma: float,
    eta: float,
    pad: Padding,
    special: Special,
    label_weight: LabelWeight,
) -> None:
    if not is_whole(n_labels) or n_labels < 2:
        raise ValueError(f"`n_labels` must be at least 2 (the original, the partner), got {n_labels}.")
    for name, value in (("beta", beta), ("gamma", gamma), ("eta", eta)):
        if not is_number(value) or value < 0:
            raise ValueError(f"`{name}` must be a finite number >= 0, got {value}.")
    for name, chosen, choices in (
        ("pad", pad, get_args(Padding)),
        ("special", special, get_args(Special)),
        ("label_weight", label_weight, get_args(LabelWeight)),
    ):
        if chosen not in choices:
            raise ValueError(f"`{name}` must be one of {choices}, got {chosen!r}.")


def _check_tensors(
    saliency: torch.Tensor,
    index: torch.Tensor,
    lam: torch.Tensor,
    segments: torch.Tensor,
    attention_mask: torch.Tensor | None,
    hidden_states: torch.Tensor | None,
    gamma: float,
) -> None:
    if segments.dim() != 2 or segments.dtype != torch.int64:
        raise ValueError(f"`segments` must be int64 of shape (B, T), got {segments.dtype} {tuple(segments.shape)}.")
    shapes: dict[str, tuple[torch.Tensor, tuple[int, ...]]] = {
        "saliency": (saliency, segments.shape),
        "index": (index, segments.shape[:1]),
        "lam": (lam, segments.shape[:1]),
    }
    if attention_mask is not None:
        shapes["attention_mask"] = (attention_mask, segments.shape)
    if hidden_states is not None:
        shapes["hidden_states"] = (hidden_states, (*segments.shape, hidden_states.shape[-1]))
    for name, (values, shape) in shapes.items():
        if values.shape != shape:
            raise ValueError(
                f"`{name}` must have shape {tuple(shape)} for `segments` {tuple(segments.shape)}, got {tuple(values.shape)}."
            )
    if gamma > 0 and hidden_states is None:
        raise ValueError(
            f"`gamma={gamma}` weighs the smoothness of hidden states: give `hidden_states`, or `gamma=0`."
        )
    if segments.device.type != "cpu":
        return
    at_tokens = saliency[segments > 0]
    if bool((at_tokens < 0).any()):
        raise ValueError(
            f"`saliency` must be >= 0, got {at_tokens.min().item()}. A product of gradient and states has a sign: take its size."
        )
    if attention_mask is not None and bool(((segments > 0) & ~attention_mask.bool()).any()):
        raise ValueError("`segments` must be 0 where `attention_mask` is: padding belongs to no sentence.")
    if gamma > 0 and hidden_states is not None and not bool(hidden_states.isfinite().all()):
        row = int((~hidden_states.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise ValueError(
            f"`hidden_states` must be finite, those of row {row} are not. Use `gamma=0` to do without them."
        )
