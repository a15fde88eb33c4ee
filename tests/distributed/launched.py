"""
`launched.py PORT MODULE ARGUMENTS`: calls `main` of a module here in two processes, by the agent that `torchrun --nproc_per_node 2` starts.
They are forks of this process, so that what they need is imported once and not three times.
"""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from importlib import import_module

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def main() -> None:
    port, name, *arguments = sys.argv[1:]
    module = import_module(name)
    sys.argv = [name, *arguments]
    # Each training collects garbage: not among what is imported.
    gc.collect()
    gc.freeze()
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        run_id="none",
        rdzv_backend="static",
        rdzv_endpoint=f"127.0.0.1:{port}",
        rdzv_configs={"rank": 0},
        max_restarts=0,
        monitor_interval=0.1,
        start_method="fork",
    )
    elastic_launch(config, as_started)(module.main)


def as_started(call: Callable[[], None]) -> None:
    """A fork inherits what the agent does on a signal."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    call()


if __name__ == "__main__":
    main()
