"""The saliency of the tokens of a text kept from an earlier visit, in place of a pass through the network in every step.

Kept is a number for each position, counted from the first word of the text: how it is padded, and to which length, changes nothing.
"""

from __future__ import annotations

import torch

from mixtext_hf.mixing import has_label
from mixtext_hf.mixing.saliency import is_degenerate

from .base import Step
from .kept_rows import FOUND, archive_of, check_visits, keep, rows_due, visits_of


_DUE = "texts_due"


def texts_due(step: Step, every: int) -> torch.Tensor | None:
    """
    Which texts of a batch must be looked at, see [`rows_due`]: texts without a label have no saliency, and where nothing is mixed
    none is asked for. All processes find it out together, once a step.

    Raises:
        `ValueError`: if nobody says which rows these are.
    """
    check_visits(step, every, "train by MixTrainer on rows that have numbers, give a loop's own Step `visits`")
    if _DUE not in step.asked:
        _, made = _archive(step)
        mixes = not step.plan.is_identity
        step.asked[_DUE] = rows_due(step, made, every, has_label(step.labels).cpu() & mixes)
    return step.asked[_DUE]


@torch.no_grad()
def keep_texts(step: Step, chosen: torch.Tensor, measured: torch.Tensor) -> None:
    """
    Keep the saliency of some texts, in units of its mean over the words: gradients shrink as a network learns.

    Of a text whose saliency is 0 everywhere, or not finite, nothing is learnt: it keeps what it had, at first 1 at every word.

    Args:
        step ([`Step`]): Of the batch.
        chosen (`torch.Tensor` of shape `(n,)`, int64, on the host): The rows of the batch, of which a process may have none.
        measured (`torch.Tensor` of shape `(n, T)`, float32, >= 0): Their saliency, 0 at what is no word.
    """
    assert step.segments is not None
    is_word = step.segments[chosen.to(measured.device)] > 0
    mean = measured.sum(dim=1) / is_word.sum(dim=1).clamp(min=1)
    unknown = is_degenerate(measured.unsqueeze(2)) | ~((mean >= torch.finfo(mean.dtype).tiny) & (mean < torch.inf))
    found = torch.where(unknown.unsqueeze(1), _kept(step, chosen), measured / mean.unsqueeze(1))
    # The longest text of all processes, from its first word to its last.
    places = torch.arange(measured.shape[1], device=measured.device) - _first_word(is_word)
    longest = (places + 1).where(is_word, 0).amax().view(1) if len(chosen) else places.new_zeros(1)
    kept, made = _archive(step, at_least=int(step.gather(longest).max()))
    columns = torch.arange(kept.shape[1], device=measured.device)
    at = _first_word(is_word) + columns
    inside = at < measured.shape[1]
    found = found.gather(1, at.clamp(max=measured.shape[1] - 1)).where(inside, 0.0)
    keep(step, chosen, found, kept, made)


def kept_texts(step: Step) -> torch.Tensor:
    """The saliency `(B, T)` of the texts of a batch as it is kept, float32: in units of the mean of each, 0 at what is no word."""
    return _kept(step, torch.arange(len(step.labels)))


def _kept(step: Step, chosen: torch.Tensor) -> torch.Tensor:
    assert step.segments is not None
    device = step.segments.device
    is_word = step.segments[chosen.to(device)] > 0
    kept, made = _archive(step)
    rows = visits_of(step)[0][chosen]
    if not kept.shape[1]:
        return is_word.float()
    found, is_kept = kept[rows].to(device).float(), (made[rows] >= 0).to(device)
    at = torch.arange(is_word.shape[1], device=device) - _first_word(is_word)
    inside = (at >= 0) & (at < kept.shape[1])
    found = found.gather(1, at.clamp(0, kept.shape[1] - 1)).where(inside & is_kept.unsqueeze(1), 1.0)
    return found.where(is_word, 0.0)


def _first_word(is_word: torch.Tensor) -> torch.Tensor:
    """Where each text `(n, T)` has its first word, `(n, 1)` int64; 0 if it has none."""
    return is_word.int().argmax(dim=1, keepdim=True)


def _archive(step: Step, at_least: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """What is kept, see [`archive_of`], widened to so many positions where it has fewer."""
    known = step.archive.get(FOUND)
    width = known.shape[1] if known is not None and known.dim() == 2 and len(known) == step.num_rows else 0
    kept, made = archive_of(step, width)
    if at_least > width:
        step.archive[FOUND] = torch.nn.functional.pad(kept, (0, at_least - width))
    return step.archive[FOUND], made
