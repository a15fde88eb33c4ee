"""
Sentences made of templates, names, places and organisations, whose words have tags: data to see a method at work on.

    python tests/template_sentences.py FOLDER

writes train.conll (400 sentences), dev.conll (100) and test.conll (300), each from a seed of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


FIRST = [
    "Anna",
    "Boris",
    "Clara",
    "David",
    "Elena",
    "Felix",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Klara",
    "Leon",
    "Maria",
    "Nora",
    "Oskar",
    "Paula",
    "Quentin",
    "Rosa",
    "Simon",
    "Tilda",
]
LAST = [
    "Adler",
    "Becker",
    "Conti",
    "Duval",
    "Egger",
    "Ferro",
    "Garcia",
    "Hansen",
    "Ito",
    "Jansen",
    "Keller",
    "Lopez",
    "Moreau",
    "Novak",
    "Okafor",
    "Petrov",
    "Rossi",
    "Silva",
    "Tanaka",
    "Weber",
]
PLACES = [
    "Berlin",
    "Lisbon",
    "New York",
    "Oslo",
    "Cape Town",
    "Lyon",
    "Kyoto",
    "Vienna",
    "San Marino",
    "Quito",
    "Dublin",
    "Riga",
    "Buenos Aires",
    "Accra",
    "Seoul",
]
ORGANISATIONS = [
    "Nordbank",
    "Solaris Labs",
    "Union Steel",
    "Blue River Trust",
    "Orion Motors",
    "Delta Press",
    "Green Valley Foods",
    "Atlas Group",
    "Hanse Lines",
    "City Hospital",
]
TEMPLATES = (
    "PER moved to LOC last year .",
    "ORG opened an office in LOC .",
    "PER works for ORG in LOC .",
    "The report was written by PER .",
    "ORG hired PER as chief engineer .",
    "Shares of ORG fell by two percent .",
    "The train from LOC to LOC was late .",
    "PER met PER at the station in LOC .",
    "In LOC , ORG and ORG signed a contract .",
    "It rained all day and nobody came .",
    "PER left ORG after ten years .",
    "Visitors of LOC like the old harbour .",
)


def template_sentences(count: int, seed: int) -> list[list[tuple[str, str]]]:
    """So many sentences, each a list of words with their tags (IOB2)."""
    rng = np.random.default_rng(seed)

    def entity(kind: str) -> str:
        if kind == "PER":
            first, last = FIRST[rng.integers(len(FIRST))], LAST[rng.integers(len(LAST))]
            return f"{first} {last}" if rng.random() < 0.7 else first
        names = PLACES if kind == "LOC" else ORGANISATIONS
        return names[rng.integers(len(names))]

    made = []
    for _ in range(count):
        words: list[tuple[str, str]] = []
        for word in TEMPLATES[rng.integers(len(TEMPLATES))].split():
            if word not in ("PER", "LOC", "ORG"):
                words.append((word, "O"))
                continue
            words += [(part, f"{'I' if place else 'B'}-{word}") for place, part in enumerate(entity(word).split())]
        made.append(words)
    return made


def write_conll(path: Path, sentences: list[list[tuple[str, str]]]) -> None:
    """A word and its tag a line."""
    path.write_text(
        "\n".join("".join(f"{word}\t{tag}\n" for word, tag in sentence) for sentence in sentences), encoding="utf-8"
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, count) in enumerate({"train": 400, "dev": 100, "test": 300}.items(), start=1):
        write_conll(folder / f"{name}.conll", template_sentences(count, seed))
