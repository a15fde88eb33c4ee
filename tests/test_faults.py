"""A few of the kills of `tests/faults.py`, on one process and on two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


HERE = Path(__file__).parent


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("kills", "cases"),
    [(1, ["text tmix"]), pytest.param(2, ["image puzzlemix, two ranks"], marks=pytest.mark.deep)],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_killed_runs_go_on_by_one_command(tmp_path, kills, cases):
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [
            *(sys.executable, str(HERE / "faults.py"), f"--kills={kills}", f"--keep={tmp_path / 'kept'}"),
            *("--cases", *cases),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    assert f"{cases[0]}: {kills} kills among " in done.stdout
