"""A training step of MixText as the program of its authors makes it (https://github.com/SALT-NLP/MixText), for BERT.

What `mixtext-hf benchmark mixtext` measures against. Written out over the model's own layers and nothing of this package,
so that each can be tested against the other. As there: three passes for the guesses, both streams of the mix run up to
the mixing layer, the originals twice in the batch, no attention mask. Otherwise than there: the head is the model's own.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import BertForSequenceClassification


def official_losses(
    model: BertForSequenceClassification,
    labeled: torch.Tensor,
    labels: torch.Tensor,
    german: torch.Tensor,
    russian: torch.Tensor,
    original: torch.Tensor,
    *,
    index: torch.Tensor,
    lam: float,
    layer: int,
    temperature: float = 0.5,
) -> tuple[torch.Tensor, torch.Tensor]:
    r"""
    `L_x` and `L_u` of one step, scalars with a graph; the program minimises `L_x + w(t) lambda_u L_u`.

    The batch is `[labeled | german | russian | original | original]`. The last chunk only runs along: its partners are
    itself, and no loss reads it.

    Args:
        model (`BertForSequenceClassification`): Not mixable: without hooks.
        labeled (`torch.Tensor` of shape `(B, L)`, int64): Token ids of the labelled texts.
        labels (`torch.Tensor` of shape `(B,)`, int64): Their classes.
        german, russian, original (`torch.Tensor` of shape `(B_u, L)`, int64): Token ids of the unlabelled texts.
        index (`torch.Tensor` of shape `(B + 4 B_u,)`, int64): The partner of each row.
        lam (`float`): The weight of the row itself.
        layer (`int`): Mix the output of this layer, 0 = the embeddings.
        temperature (`float`, *optional*, defaults to 0.5): `T` of the sharpening.
    """
    guesses = guess_labels(model, (german, russian, original), temperature)
    input_ids = torch.cat([labeled, german, russian, original, original])
    targets = torch.cat([F.one_hot(labels, guesses.shape[1]).float(), guesses, guesses, guesses, guesses])

    logits = two_stream_logits(model, input_ids, input_ids[index], lam, layer)
    mixed_targets = lam * targets + (1 - lam) * targets[index]

    log_probabilities = F.log_softmax(logits, dim=1)
    supervised, unlabeled = slice(0, len(labeled)), slice(len(labeled), -len(original))
    loss_x = -torch.mean(torch.sum(log_probabilities[supervised] * mixed_targets[supervised], dim=1))
    loss_u = F.kl_div(log_probabilities[unlabeled], mixed_targets[unlabeled], reduction="batchmean")
    return loss_x, loss_u


@torch.no_grad()
def guess_labels(
    model: BertForSequenceClassification, wordings: tuple[torch.Tensor, ...], temperature: float
) -> torch.Tensor:
    """The sharpened mean of the predictions `(B_u, C)` for all wordings: a pass for each, in the mode the model is in."""
    predictions = []
    for input_ids in wordings:
        hidden_states = model.bert.embeddings(input_ids)
        for bert_layer in model.bert.encoder.layer:
            hidden_states = bert_layer(hidden_states)
        predictions.append(torch.softmax(_head(model, hidden_states), dim=1))
    sharpened = (sum(predictions) / len(predictions)) ** (1 / temperature)
    return sharpened / sharpened.sum(dim=1, keepdim=True)


def two_stream_logits(
    model: BertForSequenceClassification,
    input_ids: torch.Tensor,
    partner_ids: torch.Tensor,
    lam: float,
    layer: int,
) -> torch.Tensor:
    """Both streams through the layers up to `layer`, their mix through the others: logits `(N, C)`."""
    hidden_states = model.bert.embeddings(input_ids)
    partner_states = model.bert.embeddings(partner_ids)
    if layer == 0:
        hidden_states = lam * hidden_states + (1 - lam) * partner_states
    for number, bert_layer in enumerate(model.bert.encoder.layer, start=1):
        hidden_states = bert_layer(hidden_states)
        if number <= layer:
            partner_states = bert_layer(partner_states)
        if number == layer:
            hidden_states = lam * hidden_states + (1 - lam) * partner_states
    return _head(model, hidden_states)


def _head(model: BertForSequenceClassification, hidden_states: torch.Tensor) -> torch.Tensor:
    pooler = model.bert.pooler
    assert pooler is not None  # a model for token classification has none
    return model.classifier(model.dropout(pooler(hidden_states)))
