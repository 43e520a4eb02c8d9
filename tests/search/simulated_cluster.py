"""A Ray cluster of several nodes on this machine, with fake GPUs and token authentication.

Run as a program it is the cluster, told by lines on its standard input; `simulated_cluster` starts
it. It is a process of its own because a process knows one Ray at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

TOKEN = "token-of-the-simulated-cluster-0123456789"
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0",
}  # fmt: skip


class SimulatedCluster:
    """The cluster as a test holds it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Of the program below."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout
        self.process = process
        self.address = self._answer()

    def add(self) -> None:
        """A node of two CPUs and one GPU joins."""
        self._tell("add")

    def lose(self) -> None:
        """The node that joined first is gone, without grace."""
        self._tell("lose")

    def _tell(self, line: str) -> None:
        self._stdin.write(f"{line}\n")
        self._stdin.flush()
        assert self._answer() == line

    def _answer(self) -> str:
        """The next line that is meant for us; Ray prints others."""
        while line := self._stdout.readline():
            if line.startswith("> "):
                return line[2:].strip()
        raise AssertionError("the simulated cluster ended")


@contextmanager
def simulated_cluster(nodes: int) -> Iterator[SimulatedCluster]:
    """A head that runs no trials, and nodes with fake GPUs."""
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    try:
        cluster = SimulatedCluster(process)
        for _ in range(nodes):
            cluster.add()
        yield cluster
    finally:
        process.communicate(timeout=60)


def main() -> None:
    """Be the cluster until standard input ends."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    print(f"> {cluster.address}", flush=True)
    nodes = []
    for line in sys.stdin:
        if line.strip() == "add":
            nodes.append(cluster.add_node(num_cpus=2, num_gpus=1))
        else:
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        print(f"> {line.strip()}", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main()
