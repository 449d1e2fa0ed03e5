"""What tests of several kinds of grader share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from postgres_server import programs, server

from tests.conftest import absent

if TYPE_CHECKING:
    from distributed import Client


@pytest.fixture(scope="session")
def dask_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a cluster of four workers here, their cache apart (marker `cluster`)."""
    from tests.study.cluster.local import local_cluster

    cache = tmp_path_factory.mktemp("workers") / "cache"
    with local_cluster(4, {"XDG_CACHE_HOME": str(cache)}) as client:
        yield client


@pytest.fixture(scope="session")
def new_database() -> Iterator[Callable[[], str]]:
    """What gives the URL of an empty database of a PostgreSQL server (marker `cluster`)."""
    if programs() is None:
        absent("no PostgreSQL (Debian's package postgresql)", "NAS_REQUIRE_POSTGRES")
    with server() as make:
        yield make
