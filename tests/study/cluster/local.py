"""A Dask cluster on this machine: its scheduler in this process, its workers beside it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from distributed import Client, LocalCluster

from nas.study.cluster.connection import connected
from nas.study.cluster.grader import workers_of


@contextmanager
def local_cluster(count: int, environment: Mapping[str, str] | None = None) -> Iterator[Client]:
    """A client of so many workers of one thread each; a worker that dies is started again."""
    with (
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env=dict(environment or {}),
        ) as cluster,
        connected(cluster.scheduler_address) as client,
    ):
        client.wait_for_workers(count, timeout=60)
        yield client


def pids(client: Client) -> dict[str, int]:
    """The process of each worker, by address."""
    found = client.run(os.getpid, on_error="ignore")
    return {address: int(pid) for address, pid in found.items()}


def kill(client: Client, addresses: list[str]) -> None:
    """As the system's memory killer does it."""
    known = pids(client)
    for address in addresses:
        if address in known:
            os.kill(known[address], signal.SIGKILL)


def addresses(client: Client) -> list[str]:
    """Of the workers that are there."""
    return sorted(workers_of(client))
