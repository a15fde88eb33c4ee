"""Hold rows of a training file out, to choose settings on: `python scripts/hold_out.py train.parquet rest.parquet held_out.parquet`.

A fifth of each class, of which at most 2,000 rows are kept; the same ones every time.
"""

import argparse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mixtext_hf._files import whole_file


def hold_out(table: pa.Table, column: str, *, most: int) -> tuple[pa.Table, pa.Table]:
    """The rest, in the order of `table`, and the rows that were held out."""
    labels = np.asarray(table[column])
    rng = np.random.default_rng(12345)
    classes = (np.flatnonzero(labels == one) for one in range(labels.max() + 1))
    held = np.concatenate([rng.permutation(rows)[: len(rows) // 5] for rows in classes])
    rest = np.setdiff1d(np.arange(len(labels)), held)
    return table.take(rest), table.take(np.sort(np.random.default_rng(0).permutation(held)[:most]))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train_file")
    parser.add_argument("rest_file")
    parser.add_argument("held_out_file")
    parser.add_argument("--label_column", default="label", help="Of integer classes from 0 on.")
    parser.add_argument("--most", type=int, default=2000, help="Rows that are held out, at most.")
    args = parser.parse_args()
    rest, held = hold_out(pq.read_table(args.train_file), args.label_column, most=args.most)
    for part, path in ((rest, args.rest_file), (held, args.held_out_file)):
        with whole_file(path) as partial:
            pq.write_table(part, partial)


if __name__ == "__main__":
    main()
