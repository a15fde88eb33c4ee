"""MixText where each token has a label: guesses of the model in training for the words of unlabelled sentences, mixed with all others.

The words of several views do not meet position by position, and so there are no views here beside the original.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from mixtext_hf.mixing import TokenLoss, to_token_targets

from .base import Step
from .guessed_targets import GuessedTargets


def token_losses(method: GuessedTargets, step: Step, weight: float) -> Iterator[dict[str, torch.Tensor]]:
    r"""
    The losses of one step: that of the labelled sentences, a mean over their labels, and that of the others, a mean over their words,
    both on mixed targets: over those of the global batch (`token_counts` of the step), else of this batch. A guess is aligned and sharpened
    for each word as for each text elsewhere.

    Args:
        method ([`GuessedTargets`]): How guesses become targets.
        step ([`Step`]): With `word_starts`; the rows are `[labelled | unlabelled]`.
        weight (`float`): Of the loss of the unlabelled sentences.
    """
    loss = step.loss
    if not isinstance(loss, TokenLoss) or step.text_labels is None or step.word_starts is None:
        raise ValueError(f"{method.name} was given a batch without unlabelled sentences: give `unlabeled_dataset`.")
    labelled = len(step.labels) - len(step.text_labels)
    words = step.word_starts[labelled:]
    with torch.no_grad():
        inputs = {name: value[labelled:] for name, value in step.inputs.items()}
        guess = step.forward(inputs, None, dropout=method.guess_dropout)[words].float().softmax(dim=-1)
    # All processes take part in the running mean: one whose sentences have no word (no piece of one) adds what the guesses are drawn to.
    some = guess if len(guess) else method.shares_wanted(step, loss.num_labels, guess.device).unsqueeze(0)
    guessed = method.balanced(step, some)[0][: len(guess)]
    if len(guess):
        step.note(
            {
                "guess_entropy": torch.special.entr(guess).sum(dim=-1).mean(),
                "guess_texts": torch.full((), float(len(guess)), device=guess.device),
                "guess_share": guessed.mean(dim=0),
            }
        )
    targets = to_token_targets(step.labels, num_labels=loss.num_labels)
    targets[labelled:][words] = guessed
    known = torch.cat([loss.rows_with_label(step.labels[:labelled]), words.any(dim=1)])
    plan = step.plan.among(known)
    logits = step.forward(step.inputs, plan)
    mixed = torch.lerp(targets[plan.index], targets, plan.lam.view(-1, 1, 1))
    step.note({"unlabeled_weight": torch.full((), weight, device=logits.device)})
    # A micro-batch has more words than another, and its words no more weight.
    counts = step.token_counts or (loss.count(step.labels).clamp(min=1), words.sum().clamp(min=1))
    supervised = loss.of_targets(logits[:labelled], mixed[:labelled]).sum() / counts[0]
    own, prediction = mixed[labelled:], logits[labelled:].float().log_softmax(dim=-1)
    # Of a position that one sentence has a word at: the divergence of the whole distribution, with the weight of that sentence.
    whole = own / own.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(own.dtype).tiny)
    divergence = (torch.xlogy(own, whole) - own * prediction).sum() / counts[1]
    yield {"loss_supervised": supervised, "loss_unlabeled": weight * divergence}
