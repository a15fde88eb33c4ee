"""
Run the blocks of pages and say what each did: `PYTHONPATH=.:tests python tests/docs/run_page.py docs/guides/text.md [...]`.

Small data and tiny models, as in the tests; `--verbose` shows all that the blocks print.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path


# As `conftest.py` does for the tests.
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", CUDA_VISIBLE_DEVICES="")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--verbose", action="store_true", help="Show what the blocks print.")
    args = parser.parse_args()
    import torch
    from blocks import PageError
    from pages import Ran, run_page
    from world import make_world

    torch.set_num_threads(1)
    failed = 0
    with tempfile.TemporaryDirectory(prefix="world-") as folder:
        start = time.monotonic()
        make_world(Path(folder, "world"))
        print(f"(files and models made in {time.monotonic() - start:.1f} s)", flush=True)

        def report(ran: Ran) -> None:
            first = next((line for line in ran.block.code.splitlines() if line.strip()), "")
            said = ran.said.strip().splitlines()
            print(f"{ran.block.place}: {ran.block.language}, {ran.seconds:.1f} s: {first[:80]}")
            for line in said if args.verbose else said[-2:]:
                print(f"    {line if args.verbose else line[:160]}")
            sys.stdout.flush()

        for page in args.pages:
            # A page changes its process.
            child = os.fork()
            if child == 0:
                try:
                    ran = run_page(page.absolute(), Path(folder, "world"), report)
                    print(f"{page}: {len(ran)} blocks, {sum(one.seconds for one in ran):.1f} s: all ran", flush=True)
                    os._exit(0)
                except PageError as error:
                    print(f"\nFAILED {error}", flush=True)
                    os._exit(1)
            failed += os.waitpid(child, 0)[1] != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
