"""Two texts as the methods that mix token by token make of them, by the saliency of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from transformers import AutoTokenizer

from mixtext_hf.methods import Step
from mixtext_hf.methods.ssmix import SENTENCES
from mixtext_hf.methods.token_mix import TOKENS, TokenMix
from mixtext_hf.mixing import MixedLoss, MixPlan
from mixtext_hf.mixing.spans import text_segments
from mixtext_hf.models import MixableModelForSequenceClassification, make_mixable
from mixtext_hf.models.any_classifier import Classifier, logits_of
from mixtext_hf.models.last_token import pad_on_the_left, without_last_token
from mixtext_hf.models.token_kinds import token_kinds

from .batch_drawing import Labels
from .mix_examples import PARTNERS
from .token_drawing import TokenRow
from .token_rows import token_row


# Of a text, special tokens included.
MOST_TOKENS = 60


@dataclass(frozen=True, eq=False)
class TextPair:
    """
    Two texts and a classifier that has its say on their words.

    Args:
        tokenizer: Of the classifier.
        classifier ([`Classifier`]): As in evaluation; a [`Mixer`] where hidden states are mixed.
        inputs (`dict[str, torch.Tensor]`): Both texts, `(2, L)` each.
        cut (`bool`): Whether tokens are missing at the end.
    """

    tokenizer: Any
    classifier: Classifier
    inputs: dict[str, torch.Tensor]
    cut: bool

    def mix(self, method: TokenMix, lam: float, layer: int | None) -> TokenRow:
        """
        What a method makes of A, with B as its partner: the saliency is that of the class which the model predicts of each.

        Args:
            method ([`TokenMix`]): By its hyper-parameters, with saliency by the gradient.
            lam (`float`): The weight of A that is drawn, where there is one.
            layer (`int`, *optional*): Where hidden states are mixed.
        """
        ids, is_real = self.inputs[TOKENS], self.inputs["attention_mask"].bool()
        segments = text_segments(ids, is_real, *token_kinds(self.tokenizer), sentences=SENTENCES)
        if layer is not None and self.classifier.reads_last_token:
            segments = without_last_token(segments, ids, is_real, self.classifier.model)
        plan = MixPlan(PARTNERS, torch.full((2,), lam), layer=layer, pad=method.pad)
        with self.classifier.watching(layer or 0) as watched:
            logits = self._logits(self.inputs)
        labels, loss = logits.argmax(dim=1), MixedLoss("single_label_classification", logits.shape[1])
        F.cross_entropy(logits, labels).backward()
        shown: dict[str, torch.Tensor] = {}
        step = Step(self._logits, self.inputs, labels, plan, loss, segments=segments, show=shown.__setitem__)
        mixture = method.mix(step, plan, method.look(watched, step, torch.ones(2, dtype=torch.bool)))
        where = "" if layer is None else f", layer {layer}"
        drawn = "" if layer is None else f"λ = {lam:.2f} was asked for"
        return token_row(
            self.tokenizer,
            Labels("A", float(mixture.weight[0]), "B", f"{method.name}{where}", drawn),
            ids,
            is_real,
            segments,
            mask=shown["mask"][0],
            seen=is_real[0] if layer is None else is_real.any(dim=0),
            saliency=shown["saliency"],
            sources=shown["sources"][0] if "sources" in shown else None,
        )

    def _logits(self, inputs: dict[str, Any], plan: MixPlan | None = None, *, dropout: bool = False) -> torch.Tensor:
        return logits_of(self.classifier.model(**inputs))


def read_pair_of_texts(texts: tuple[str, str], name: str, *, mixable: bool, seed: int) -> TextPair:
    """
    Two texts for a classifier.

    Args:
        texts (two `str`): A and B.
        name (`str`): Folder or Hub id of the classifier, whose checkpoint has been checked; a new head is drawn by `seed`.
        mixable (`bool`): Whether its hidden states are to be mixed.

    Raises:
        `ValueError`, `OSError`: if it cannot be loaded, is unsafe to load, or cannot be mixed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model: Any = MixableModelForSequenceClassification.without_hooks(name).eval()
            classifier = make_mixable(model) if mixable else Classifier(model)
        except (ValueError, OSError) as error:
            methods = "puzzle_tmix" if mixable else "ssmix"
            raise type(error)(
                f"--text_model {name}: {error} Its weights are read for ssmix and puzzle_tmix alone: leave out {methods} of --methods to "
                "do without."
            ) from error
    tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    if classifier.reads_last_token:
        pad_on_the_left(tokenizer, model)
    inputs = dict(tokenizer(list(texts), padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"))
    cut = any(len(tokenizer(text)[TOKENS]) > MOST_TOKENS for text in texts)
    return TextPair(tokenizer, classifier, inputs, cut)
