"""A Ray cluster on this machine, and the end of one of its processes. benchmarks/embed_ray.py uses it too."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


@contextmanager
def two_nodes() -> Iterator[None]:
    """A cluster of two nodes with a core each, to which this process is connected. Nothing is reported to anybody."""
    with patch.dict(os.environ, RAY_USAGE_STATS_ENABLED="0"):
        ray: Any = import_module("ray")
        cluster_utils: Any = import_module("ray.cluster_utils")

        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        try:
            cluster.add_node(**NODE)
            ray.init(cluster.address, logging_level="ERROR", log_to_driver=False)
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()


def kill_one_process(title: str = "ray::MapWorker") -> int:
    """Kill a process of the cluster by its title, as a lack of memory would. Returns its number; 0 if there is none.

    The default title is that of a process that embeds chunks.
    """
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cmdline").read_bytes().startswith(title.encode()):
                os.kill(int(process.name), signal.SIGKILL)
                return int(process.name)
    return 0
