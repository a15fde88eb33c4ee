"""A process that runs one command of the package after another: JSON lines with its words in (and whether it has the token of the Hub),
with its outcome out.

Many short commands in one process: importing takes longer than a push of a tiny model. The waiting between the tries of the
Hub's client is left out, the tries are not; pictures are of one pixel.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.utils._http as client
import torch
from matplotlib.figure import Figure

from mixtext_hf.cli.main import main


sys.path.append(str(Path(__file__).parents[1]))
from pixel import save_one_pixel


def run(words: list[str]) -> dict[str, object]:
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        # Handlers hold the stream of the command before.
        for handler in list(logging.getLogger().handlers):
            logging.getLogger().removeHandler(handler)
        handler = logging.StreamHandler(err)
        logging.getLogger().addHandler(handler)
        try:
            main(words)
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
        except BaseException:
            traceback.print_exc()
            status = 99
    return {"status": status, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    # The client's module alone: others wait for threads, and would spin.
    client.time = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})  # type: ignore[assignment]
    Figure.savefig = save_one_pixel  # type: ignore[method-assign, assignment]
    # Each training collects garbage: not among what is imported.
    gc.collect()
    gc.freeze()
    answers = sys.stdout
    token = os.environ["HF_TOKEN"]
    for line in sys.stdin:
        words, has_token = json.loads(line)
        # The client looks each time.
        os.environ.pop("HF_TOKEN", None)
        os.environ |= {"HF_TOKEN": token} if has_token else {}
        print(json.dumps(run(words)), file=answers, flush=True)
