"""The way to a Dask scheduler: TLS, or loopback, and no other.

Whoever reaches a scheduler can run any program on each of its workers. So the way is encrypted and
both ends show a certificate, or it does not leave this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from nas import NasError
from nas.terminal import say

if TYPE_CHECKING:
    from distributed import Client, Security

FLAG: Final = "--cluster"

PATIENCE_S: Final = 10
"""How long a scheduler may take to answer at the beginning."""

GONE: Final = (OSError, asyncio.TimeoutError)
"""What Dask raises where a scheduler or a worker does not answer."""

TLS_KEYS: Final = ("ca-file", "client.cert", "client.key")
"""What Dask's configuration must say of TLS, below distributed.comm.tls."""

HOW: Final = "docs/scaling.md makes them with openssl, step by step"


class ClusterError(NasError):
    """A Dask cluster that can't be reached, isn't safe, or has no worker that may grade."""


def check_address(address: str) -> None:
    """ClusterError for what is no address, and for a way that is neither TLS nor loopback."""
    scheme, host = _parts(address)
    if scheme == "tcp" and not _is_loopback(host):
        raise ClusterError(
            f"{FLAG} {address}",
            "the way to a scheduler is encrypted (tls://), or does not leave this machine"
            " (tcp://127.0.0.1:PORT)",
            f"an open one to {host}",
            f"Start scheduler and workers with certificates: {HOW}",
        )


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler as long as the context lasts. ClusterError where there is none."""
    check_address(address)
    at = f"{FLAG} {address}"
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            at,
            "Dask's package distributed is installed",
            str(error),
            "Run pip install 'pi-detector-nas[cluster]', here and on every worker",
        ) from error
    security = _security(address) if address.startswith("tls://") else None
    # What it logs of lost connections is told here, in a message.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, security=security, timeout=PATIENCE_S, set_as_default=False)
    except (*GONE, ValueError, RuntimeError) as error:
        raise ClusterError(
            at,
            f"a scheduler answers there within {PATIENCE_S} seconds",
            " ".join(str(error).split()) or type(error).__name__,
            "Start it with dask scheduler, and see that its certificates are of the same authority"
            if security is not None
            else "Start it with dask scheduler --host 127.0.0.1",
        ) from error
    with client:
        info = client.scheduler_info(n_workers=-1)
        _check_own(at, info["address"])
        count = len(info["workers"])
        say(f"cluster: {address}, {count} worker{'' if count == 1 else 's'}")
        yield client


def is_safe(address: str) -> bool:
    """Whether what listens at an address of Dask's is out of a stranger's reach."""
    scheme, host = _parts(address)
    return scheme == "tls" or _is_loopback(host)


def _check_own(at: str, listens: str) -> None:
    """ClusterError for a scheduler that is reached by loopback and listens to others as well."""
    if not is_safe(listens):
        raise ClusterError(
            at,
            "a scheduler without TLS listens to this machine alone",
            f"one that listens at {listens}",
            "Start it with dask scheduler --host 127.0.0.1, or with certificates",
        )


def _security(address: str) -> Security:
    """The certificates of Dask's own configuration. ClusterError says which are missing."""
    import dask
    from distributed import Security

    found = {key: dask.config.get(f"distributed.comm.tls.{key}", None) for key in TLS_KEYS}
    missing = [f"distributed.comm.tls.{key}" for key, value in found.items() if not value]
    lost = [f"{value}" for value in found.values() if value and not Path(value).is_file()]
    if missing or lost:
        raise ClusterError(
            f"{FLAG} {address}",
            "Dask's configuration names the certificates of this side",
            f"no {', '.join(missing)}" if missing else f"no such file: {', '.join(lost)}",
            f"Write them into ~/.config/dask/tls.yaml: {HOW}",
        )
    return Security(require_encryption=True)


def _parts(address: str) -> tuple[str, str]:
    """Scheme and host of an address. ClusterError where it is none."""
    try:
        split = urlsplit(address if "://" in address else f"tcp://{address}")
        host, port = split.hostname, split.port
    except ValueError:
        host, port = None, None
    if not host or port is None or split.scheme not in ("tls", "tcp"):
        raise ClusterError(
            f"{FLAG} {address}",
            "a scheduler's address is tls://HOST:PORT, or tcp://127.0.0.1:PORT",
            repr(address),
            "dask scheduler prints it when it starts",
        )
    return split.scheme, host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name: whoever answers to it
