"""How long a text may be for a model, and whether the ids of a tokenizer have a row in its embeddings: found in its config and its
tokenizer, where a longer text or a larger id would be an index out of range in the middle of a run.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.configuration_utils import PreTrainedConfig


# Their positions are numbered from `padding_idx + 1` on, so that as many rows of the position embeddings belong to no token.
_NUMBERED_AFTER_PADDING = frozenset(
    {
        "camembert",
        "data2vec-text",
        "esm",
        "ibert",
        "layoutlmv3",
        "lilt",
        "longformer",
        "luke",
        "markuplm",
        "mpnet",
        "roberta",
        "roberta-prelayernorm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xmod",
    }
)
# `tokenizer.model_max_length` is about 1e30 where the tokenizer does not know it.
NO_LIMIT = 1_000_000
# What texts are cut to where nobody says.
DEFAULT_LENGTH = 128
LENGTH_HELP = f"Longer texts are cut to this many tokens; {DEFAULT_LENGTH}, or what the model takes if that is less, if not given."


def usable_positions(config: PreTrainedConfig) -> int | None:
    """
    The longest text in tokens, special ones included, that a model of this config takes; `None` if any.

    With positions that are learned that is how many there are (two fewer than `max_position_embeddings` in RoBERTa); with rotary
    ones, what the config says. Relative ones alone (T5, DeBERTa-v3, XLNet) have no limit.
    """
    if getattr(config, "max_position_embeddings", None) is None and hasattr(config, "get_text_config"):
        config = config.get_text_config()
    # LED counts those of its encoder apart.
    positions = getattr(config, "max_encoder_position_embeddings", getattr(config, "max_position_embeddings", None))
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.model_type in ("deberta", "deberta-v2") and not config.position_biased_input:
        return None
    if config.model_type in _NUMBERED_AFTER_PADDING and getattr(config, "position_embedding_type", None) != "rotary":
        padding = config.pad_token_id if config.model_type != "mpnet" else 1
        return positions - (1 if padding is None else padding) - 1
    return positions


def longest_text(config: PreTrainedConfig, tokenizer: Any) -> int | None:
    """
    What both the model and its tokenizer can take, in tokens; `None` if neither knows a limit.

    Args:
        config (`PreTrainedConfig`): Of the model.
        tokenizer (`PreTrainedTokenizerBase`): One that knows no limit has none.
    """
    known = [usable_positions(config), tokenizer.model_max_length]
    return min((limit for limit in known if limit is not None and limit < NO_LIMIT), default=None)


def embedded_tokens(model: Any) -> int | None:
    """How many token ids have a row in the embeddings of a model of transformers; `None` if it has no such table."""
    try:
        embeddings = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return None
    return embeddings.num_embeddings if isinstance(embeddings, nn.Embedding) else None


def check_tokenizer_fits(tokenizer: Any, model: Any) -> None:
    """
    Raise for a tokenizer with more tokens than the model has embeddings.

    Raises:
        `ValueError`: that says how many each has, and what to do.
    """
    rows, tokens = embedded_tokens(model), len(tokenizer)
    if rows is not None and tokens > rows:
        raise ValueError(
            f"The tokenizer has {tokens} tokens, and {type(model).__name__} embeddings for {rows}: an id from {rows} on would be "
            "an index out of range. Give the tokenizer that belongs to the model (--tokenizer_name), or, if tokens were added on "
            "purpose, model.resize_token_embeddings(len(tokenizer)) before training."
        )


def settle_max_length(
    argument: str, given: int | None, config: PreTrainedConfig, tokenizer: Any, trained: int | None = None
) -> int:
    """
    The length in tokens to cut texts to: the given one, or else 128, or what the model takes or was `trained` on if that is less.

    Raises:
        `ValueError`: that names the `argument`, for a given one that the model does not take.
    """
    if given is not None:
        check_max_length(argument, given, config, tokenizer)
        return given
    known = (DEFAULT_LENGTH, longest_text(config, tokenizer), trained)
    return min(length for length in known if length is not None)


def check_max_length(argument: str, max_length: int, config: PreTrainedConfig, tokenizer: Any) -> None:
    """
    Raise for a length to cut texts to that the model does not take.

    Raises:
        `ValueError`: that names the `argument`, and how long a text may be.
    """
    longest = longest_text(config, tokenizer)
    if max_length > 1 and (longest is None or max_length <= longest):
        return
    named = f"{argument} {max_length}" if argument.startswith("--") else f"{argument}={max_length}"
    if longest is None:
        raise ValueError(f"{named} must be at least 2.")
    raise ValueError(f"{named} must lie in 2..{longest}, which is what the model takes.")
