"""The paper of a method: what a model card and `CITATION.cff` say of it."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Citation:
    """
    A paper: what a model card and `CITATION.cff` say of a method.

    Args:
        authors (`str`): As `"Chen, J., Yang, Z. and Yang, D."`.
        title (`str`): Its title.
        venue (`str`): The conference or the journal; `"arXiv"` if neither.
        year (`int`): When it appeared there.
        url (`str`): Where to read it.
        kind (`"inproceedings"`, `"article"` or `"misc"`): What BibTeX calls it.
    """

    authors: str
    title: str
    venue: str
    year: int
    url: str
    kind: Literal["inproceedings", "article", "misc"] = "inproceedings"

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}). {self.title}. {self.venue}. {self.url}"

    def author_list(self) -> list[str]:
        """
        The authors one by one, each as `"Family, Initials"`.

        Raises:
            `ValueError`: if `authors` is no list of such names.
        """
        parts = self.authors.replace(" and ", ", ").split(", ")
        if len(parts) % 2 or not all(parts):
            raise ValueError(f"authors must be as 'Chen, J., Yang, Z. and Yang, D.', got {self.authors!r}.")
        return [f"{family}, {initials}" for family, initials in zip(parts[::2], parts[1::2], strict=True)]

    @property
    def short_authors(self) -> str:
        """The authors as a text refers to them: `"Chen et al."`."""
        families = [name.split(", ")[0] for name in self.author_list()]
        return " and ".join(families) if len(families) < 3 else f"{families[0]} et al."

    def bibtex(self) -> str:
        """The entry for a bibliography, its title with all its capitals."""
        first = self.author_list()[0].split(", ")[0]
        words = re.findall(r"\w+", self.title)
        word = next((word for word in words if word.lower() not in ("a", "an", "on", "the")), "")
        held_by = {"inproceedings": "booktitle", "article": "journal", "misc": "howpublished"}[self.kind]
        entries = {
            "title": f"{{{_tex(self.title)}}}",
            "author": _tex(" and ".join(self.author_list())),
            held_by: _tex(self.venue),
            "year": str(self.year),
            "url": self.url,
        }
        width = max(map(len, entries))
        lines = [f"@{self.kind}{{{_ascii(first)}{self.year}{_ascii(word)},"]
        lines += [f"  {name:<{width}} = {{{value}}}," for name, value in entries.items()]
        return "\n".join([*lines, "}"])


def _tex(text: str) -> str:
    return re.sub(r"[&%$#_{}]", r"\\\g<0>", text)


def _ascii(text: str) -> str:
    """The letters and digits of a word for a key: lower case, without accents."""
    decomposed = unicodedata.normalize("NFKD", text).lower()
    return "".join(character for character in decomposed if character.isascii() and character.isalnum())


# Of `clean_lam`, which all methods have.
REGMIXUP = Citation(
    authors="Pinto, F., Yang, H., Lim, S.-N., Torr, P. H. S. and Dokania, P. K.",
    title="Using Mixup as a Regularizer Can Surprisingly Improve Accuracy & Out-of-Distribution Robustness",
    venue="NeurIPS",
    year=2022,
    url="https://arxiv.org/abs/2206.14502",
)
