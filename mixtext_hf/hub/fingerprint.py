"""By what a card is known again as one that nobody changed: a hash of its text, in a mark at its end."""

from __future__ import annotations

import hashlib
import re

from huggingface_hub import ModelCard, ModelCardData


_OF_PEFT = r"### Framework versions\n+- PEFT \S+"
_MARK = re.compile(
    rf"\n*<!-- mixtext_hf model card, sha256:(?P<fingerprint>[0-9a-f]{{64}}) -->\s*(?:{_OF_PEFT}\s*)?\Z"
)
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def mark_of(text: str) -> str:
    """The last line of a card: a comment, by which [`is_generated`] sees whether `text`, all that is before it, was changed."""
    return f"<!-- mixtext_hf model card, sha256:{_fingerprint(text)} -->"


def is_generated(text: str) -> bool:
    """
    Whether a README.md is a card of [`~mixtext_hf.hub.make_card`] that nobody changed since.

    Other line ends and space at the end are no change, and neither is what PEFT writes into the card of an adapter when it
    saves one.
    """
    match = _MARK.search(_with_plain_ends(text))
    return match is not None and match["fingerprint"] == _fingerprint(_with_plain_ends(text)[: match.start()])


def is_blank_of_peft(text: str) -> bool:
    """Whether it is the form, not filled in, that PEFT leaves beside every adapter."""
    blank = ModelCard.from_template(ModelCardData()).text
    front = _FRONT_MATTER.match(_with_plain_ends(text))
    if front is None:
        return False
    body = re.sub(rf"\n*{_OF_PEFT}\s*\Z", "", _with_plain_ends(text)[front.end() :])
    return body.split() == blank.split()


def _fingerprint(text: str) -> str:
    """Of a card without its mark. PEFT sets the tags and the base model of an adapter's card to its own."""
    plain = _with_plain_ends(text)
    front = _FRONT_MATTER.match(plain)
    if front is not None and "\nlibrary_name: peft\n" in front[0]:
        # A key, and the lines of its value, which are indented or items of a list.
        kept = re.sub(r"^(?:tags|base_model):.*\n(?:[ -] ?(?!--).*\n)*", "", front[0], flags=re.MULTILINE)
        plain = kept + plain[front.end() :]
    return hashlib.sha256(plain.encode("utf-8", errors="replace")).hexdigest()


def _with_plain_ends(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip()
