"""
A newcomer's data: short tickets of six intents, made of templates that share their words, so that few labels leave doubt.

`python tests/tickets.py FOLDER` writes the files that README.md and docs/quickstart.md begin with: `labelled.csv` (40 of uneven
classes), `texts.csv` (2,000 without labels), `dev.csv` (100), `test.csv` (1,000), `answered.csv` (the first 300 of these) and
`new.csv` (the same without labels). For comparisons it writes three seeds: `labelled-S.csv`, `unlabelled-S.csv` (the files of seed 0
are `labelled.csv` and `texts.csv`), `lopsided-S.csv` (ten of the most frequent intent to one of the rarest) and `others-S.csv` (a fifth
of no intent).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np


INTENTS = {
    "cancel order": [
        "please stop my {thing} before it ships",
        "i do not want the {thing} any more",
        "call off the purchase of {thing} from {day}",
        "changed my mind about the {thing}, take it back off the list",
    ],
    "late delivery": [
        "where is my {thing}, it was due on {day}",
        "the {thing} has still not come",
        "tracking for the {thing} has not moved since {day}",
        "i have been waiting for the {thing} since {day}",
    ],
    "refund": [
        "i sent the {thing} back and want my money",
        "the amount for the {thing} is not on my card yet",
        "when do i get paid back for the {thing} returned on {day}",
        "you charged me twice for the {thing}",
    ],
    "broken item": [
        "the {thing} came with a crack",
        "my {thing} stopped working on {day}",
        "a part of the {thing} is missing from the box",
        "the {thing} makes a noise and will not start",
    ],
    "account access": [
        "i cannot sign in to see my {thing}",
        "the code for my account never came on {day}",
        "reset my password please, i need to order {thing}",
        "my profile is locked since {day}",
    ],
    "product question": [
        "does the {thing} come in blue",
        "is the {thing} in stock on {day}",
        "how long does the {thing} last",
        "can the {thing} be used outside",
    ],
}
THINGS = ["lamp", "phone case", "kettle", "jacket", "desk", "headset", "bike light", "printer", "mixer", "tent"]
DAYS = ["monday", "tuesday", "friday", "the weekend", "last week"]
OPENINGS = ["", "hello, ", "hi there, ", "second message: ", "urgent, ", "sorry to bother you, "]
ENDINGS = ["", " thanks", " please help", " what now", " can you check the order", " i paid by card", " it is a gift"]
# Of no intent: what a mailbox holds besides.
OTHERS = [
    "are you hiring for the summer",
    "great service as always",
    "unsubscribe me from this list",
    "the shop on the corner closes at six",
    "our invoice template has a new logo",
]
LOPSIDED = (0.4, 0.24, 0.16, 0.1, 0.06, 0.04)
# As uneven as the first forty tickets that somebody reads.
LABELLED = (11, 9, 7, 6, 4, 3)


def tickets(
    count: int, seed: int, *, shares: tuple[float, ...] | None = None, others: float = 0.0
) -> list[dict[str, str]]:
    """
    Rows `text`, `label`; a tenth of the words is another intent's.

    `shares` are those of the intents (equal ones if not given); a part `others` of the rows has no intent and the label
    "none".
    """
    rng = np.random.default_rng(seed)
    names = [*INTENTS]
    rows = []
    for _ in range(count):
        if rng.random() < others:
            rows.append({"text": rng.choice(OPENINGS) + rng.choice(OTHERS) + rng.choice(ENDINGS), "label": "none"})
            continue
        intent = names[rng.choice(len(names), p=shares)]
        text = rng.choice(INTENTS[intent]).format(thing=rng.choice(THINGS), day=rng.choice(DAYS))
        if rng.random() < 0.35:
            # Two things at once, of which the first is meant.
            other = rng.choice(INTENTS[names[rng.integers(len(names))]])
            text += ", and " + other.format(thing=rng.choice(THINGS), day=rng.choice(DAYS))
        words = text.split()
        kept = [word for word in words if rng.random() > 0.12] or words
        rows.append({"text": rng.choice(OPENINGS) + " ".join(kept) + rng.choice(ENDINGS), "label": intent})
    return rows


def labelled_tickets(seed: int) -> list[dict[str, str]]:
    """Forty tickets, as many of each intent as `LABELLED` says."""
    pool = tickets(2000, seed=1000 + seed)
    chosen: list[dict[str, str]] = []
    for name, count in zip(INTENTS, LABELLED, strict=True):
        chosen += [row for row in pool if row["label"] == name][:count]
    return chosen


def write_all(folder: Path) -> None:
    """What the head of this file names."""

    def write(name: str, rows: list[dict[str, str]], columns: tuple[str, ...] = ("text", "label")) -> None:
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)

    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(3):
        write(f"labelled-{seed}.csv", labelled_tickets(seed))
        write(f"unlabelled-{seed}.csv", tickets(2000, seed))
        write(f"lopsided-{seed}.csv", tickets(2000, seed, shares=LOPSIDED))
        write(f"others-{seed}.csv", tickets(2000, seed, others=0.2))
    test = tickets(1000, seed=99)
    write("test.csv", test)
    write("answered.csv", test[:300])
    write("new.csv", test[:300], ("text",))
    write("labelled.csv", labelled_tickets(0))
    write("texts.csv", tickets(2000, seed=0), ("text",))
    write("dev.csv", tickets(100, seed=98))
    print(
        f"labelled.csv, texts.csv, dev.csv, test.csv, answered.csv, new.csv and files of three seeds are in {folder}"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("One folder is needed: python tests/tickets.py FOLDER")
    write_all(Path(sys.argv[1]))
