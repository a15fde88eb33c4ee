"""Tables as people have them, made at random, with what is right: `python tests/dirty_tables.py --count 3000`.

A table of texts with quotes, delimiters, line breaks, letters of many alphabets, words such as NA, and classes such as 001 is
written in a random dialect, and some are damaged. The loader must give exactly the rows that were written, or one error of ours
that names the file, and the line where the damage is in one. Anything else is printed, and ends in exit status 1.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import io
import json
import logging
import lzma
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mixtext_hf.cli.failures import is_own
from mixtext_hf.data import load_text_datasets


WORDS = [
    *[
        "the",
        "parcel",
        "never",
        "came",
        "twice",
        "and",
        "nobody",
        "told",
        "me",
        "why",
        "it",
        "costs",
        "so",
        "much",
        "NA",
        "None",
        "null",
        "nan",
        "007",
        "42",
        "1.50",
    ],
    *["façade", "naïve", "Straße", "чай", "東京", "🙂", "é", 'said "no"', '5" wide', "it's", "#1", "", "\\n"],
]
CLASSES = [
    ["ham", "spam"],
    ["001", "010", "100"],
    ["true", "false"],
    ["NA", "None", "ok"],
    ["2020-01-01", "2021-12-31"],
    ["0", "1", "2"],
    ["1.0", "2.0"],
    ["1.", "10.", "9."],
    ["9223372036854775808", "9223372036854775809"],
    ["+1", "-x"],
    ["a, b", "c; d"],
]
DAMAGES = (
    "short_row",
    "long_row",
    "bad_byte",
    "zero_byte",
    "cut_packing",
    "header_twice",
    "header_only",
    "open_quote",
)


@dataclass
class Table:
    """What was written, and what must come of it."""

    path: Path
    rows: list[tuple[str, str]]  # texts and classes
    damage: str | None  # None: the rows must be right
    lines: tuple[int, ...] = ()  # one of which an error must name


def make_table(folder: Path, seed: int) -> Table:
    """The table of a seed, written to a file of the folder."""
    rng = random.Random(seed)
    if rng.random() < 0.2:
        return _make_json(folder, seed, rng)
    delimiter = rng.choice([",", ",", "\t", ";", "|"])
    suffix = rng.choice([".csv", ".csv", ".txt"]) if delimiter != "\t" else rng.choice([".tsv", ".csv", ".txt"])
    quoted = rng.random() < 0.7
    rows = _rows(rng, delimiter, quoted)
    names = ["text", "label"]
    order = rng.sample(range(3), 3)
    table = [
        [row[i] for i in order]
        for row in (("text", "label", "note"), *((t, c, f"n{i}") for i, (t, c) in enumerate(rows)))
    ]
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    if end == "\r":
        table = [[cell.replace("\n", "\r") for cell in row] for row in table]
        rows = [(t.replace("\n", "\r"), c) for t, c in rows]
    damage = rng.choice(DAMAGES) if rng.random() < 0.35 else None
    if damage == "header_twice":
        table[0] = [names[0], names[0], names[1]]
    if damage == "header_only":
        table = table[:1]
    lines: tuple[int, ...] = ()
    written = [_line(row, delimiter, rng, quoted) for row in table]
    victim = rng.randrange(1, len(written)) if len(written) > 1 else 0
    if damage in ("short_row", "long_row"):
        cells = table[victim][:-1] if damage == "short_row" else [*table[victim], "more"]
        written[victim] = _line(cells, delimiter, rng, quoted)
    if damage == "open_quote":
        # Never closed, in a row that has a cell too few without it.
        quoted_cells = [f'"{table[victim][0].replace(chr(34), "")}', *table[victim][1:-1]]
        written[victim] = delimiter.join(cell.replace(end, " ") for cell in quoted_cells)
    first = 1 + sum(line.count(end[-1]) + 1 for line in written[:victim])
    if damage in ("short_row", "long_row", "open_quote", "zero_byte", "bad_byte"):
        lines = tuple(range(first, first + written[victim].count(end[-1]) + 1))
    if damage == "zero_byte":
        written[victim] = written[victim][:1] + "\0" + written[victim][1:]
    text = end.join(written) + (end if rng.random() < 0.8 else "")
    encoding = "utf-8" if damage == "bad_byte" else rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32"])
    data = text.encode(encoding)
    if damage == "bad_byte":
        at = len(end.join(written[:victim]).encode()) + len(end)
        data = data[:at] + b"\xff" + data[at:]
    packing = (
        rng.choice(["", "", "", ".gz", ".bz2", ".xz"])
        if damage != "cut_packing"
        else rng.choice([".gz", ".bz2", ".xz"])
    )
    path = folder / f"table{seed}{suffix}{packing}"
    packings: dict[str, Callable[[bytes], bytes]] = {
        "": bytes,
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
    }
    data = packings[packing](data)
    if damage == "cut_packing":
        data = data[: rng.randrange(len(data) // 2, len(data) - 1)]
    path.write_bytes(data)
    return Table(path, rows, damage, lines)


def check(table: Table) -> str:
    """What came of it, in a word; an `AssertionError` says what is wrong."""
    try:
        data = load_text_datasets(train_file=str(table.path), problem_type="single_label_classification")
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert table.damage is not None, f"refused, though nothing is wrong: {said}"
        assert is_own(error), f"{type(error).__name__} of a library: {said}"
        assert table.path.name in said, f"the file is not named: {said}"
        named = [int(number) for number in re.findall(r"line (\d+)", said)]
        assert not table.lines or set(named) & set(table.lines), f"not one of the lines {table.lines}: {said}"
        return f"refused: {table.damage}"
    assert table.damage is None, f"{table.damage} was not seen"
    assert data.train is not None
    found = [(row["text"], data.label_names[row["label"]]) for row in data.train]
    assert found == table.rows, (
        f"other rows: {[pair for pair in zip(found, table.rows, strict=False) if pair[0] != pair[1]][:2]}"
    )
    return "right"


def _text(rng: random.Random, breaks: str, delimiter: str | None) -> str:
    words = rng.choices(WORDS, k=rng.randint(1, 12))
    text = " ".join(words)
    if delimiter is not None and rng.random() < 0.4:
        text = text.replace(" ", f"{delimiter} ", rng.randint(1, 3))
    for _ in range(rng.randint(1, 3) if breaks and rng.random() < 0.3 else 0):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + breaks + text[at:]
    return text


def _rows(rng: random.Random, delimiter: str | None, quoted: bool) -> list[tuple[str, str]]:
    classes = rng.choice(CLASSES)
    if delimiter is not None and not quoted:
        classes = [name.replace(",", "").replace(";", "") for name in classes]
    labels = [*classes, *rng.choices(classes, k=rng.randint(0, 30))]
    rng.shuffle(labels)
    texts = [_text(rng, "\n" if quoted else "", delimiter if quoted else None) for _ in labels]
    if delimiter is not None and not quoted:
        # A file without quotes: there are some, and the first one does not close.
        texts[0] = f'"{texts[0]}'
        texts = [text if text.count('"') != 2 or text[-1] != '"' else f"{text}." for text in texts]
    return list(zip(texts, labels, strict=True))


def _line(row: list[str], delimiter: str, rng: random.Random, quoted: bool) -> str:
    if not quoted:
        return delimiter.join(row)
    file = io.StringIO()
    quoting: Any = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerow(row)
    return file.getvalue().removesuffix("\r\n")


def _make_json(folder: Path, seed: int, rng: random.Random) -> Table:
    rows = _rows(rng, None, True)
    objects: list[Any] = [{"text": text, "label": label, "note": i} for i, (text, label) in enumerate(rows)]
    damage = rng.choice(["cut_row", "no_object", "key_twice", "mixed", "bad_byte"]) if rng.random() < 0.35 else None
    as_lines = rng.random() < 0.7 or damage is not None
    victim = rng.randrange(1, len(rows))
    if damage == "mixed":
        objects[victim]["text"] = 5
    if damage == "no_object":
        objects[victim] = ["text", "label"]
    if not as_lines:
        text = json.dumps(objects, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1]))
        if rng.random() < 0.3:
            text = f'{{"data": {text}}}'
    else:
        lines = [json.dumps(item, ensure_ascii=rng.random() < 0.5) for item in objects]
        if damage == "cut_row":
            lines[victim] = lines[victim][: len(lines[victim]) // 2]
        if damage == "key_twice":
            lines[victim] = '{"text": "a", "text": "b", "label": "x"}'
        text = "\n".join(lines) + "\n"
    data = text.encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"]) if damage != "bad_byte" else "utf-8")
    if damage == "bad_byte":
        parts = data.split(b"\n")
        parts[victim] = parts[victim][:12] + b"\xfe" + parts[victim][12:]
        data = b"\n".join(parts)
    packing = rng.choice(["", "", ".gz"])
    path = folder / f"table{seed}.{'jsonl' if as_lines else 'json'}{packing}"
    path.write_bytes(gzip.compress(data) if packing else data)
    return Table(path, rows, damage, (victim + 1,) if damage is not None else ())


def main() -> int:
    """Make and read `--count` tables, and print how they fared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    outcomes: Counter[str] = Counter()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.first, args.first + args.count):
            table = make_table(Path(folder), seed)
            try:
                outcomes[check(table)] += 1
            except Exception as error:  # whatever it is, it is what is looked for
                failed += 1
                print(f"seed {seed} ({table.path.name}, {table.damage}): {type(error).__name__}: {str(error)[:600]}")
            table.path.unlink()
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:6} {outcome}")
    print(f"{args.count} tables, {failed} wrong.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
