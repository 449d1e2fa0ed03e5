"""The way to a scheduler: encrypted or within this machine, or refused in one message."""

from __future__ import annotations

import re
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from nas.study.cluster.connection import ClusterError, check_address, connected, is_safe


@pytest.mark.parametrize(
    "address",
    ["tls://10.0.0.5:8786", "tls://scheduler:8786", "tcp://127.0.0.1:8786", "127.0.0.1:8786",
     "localhost:8786", "tcp://[::1]:8786"],
)  # fmt: skip
def test_tls_or_loopback(address: str) -> None:
    check_address(address)
    assert is_safe(address)


@pytest.mark.parametrize(
    "address", ["tcp://10.0.0.5:8786", "scheduler:8786", "tcp://127.0.0.1.evil.org:8786"]
)
def test_an_open_way_is_refused(address: str) -> None:
    with pytest.raises(ClusterError, match=r"^--cluster .*encrypted .*got an open one to"):
        check_address(address)
    assert not is_safe(address)


@pytest.mark.parametrize(
    "address", ["", "tls://", "tls://host", "tls://host:many", "ws://host:8786", "tls:host:8786"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ClusterError, match="is tls://HOST:PORT"):
        check_address(address)


def test_certificates_that_are_not_named_are_said(tmp_path: Path) -> None:
    nothing = {"ca-file": None, "client": {"cert": None, "key": None}}
    with (
        dask.config.set({"distributed.comm.tls": nothing}),
        pytest.raises(ClusterError, match=r"no distributed\.comm\.tls\.ca-file, .*client\.key\."),
        connected("tls://127.0.0.1:1"),
    ):
        pass
    lost = {"ca-file": str(tmp_path / "ca.pem"), "client": {"cert": "c.pem", "key": "k.pem"}}
    with (
        dask.config.set({"distributed.comm.tls": lost}),
        pytest.raises(ClusterError, match=re.escape(f"no such file: {tmp_path}/ca.pem, c.pem")),
        connected("tls://127.0.0.1:1"),
    ):
        pass


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.study.cluster.connection.PATIENCE_S", 1)
    with (
        pytest.raises(ClusterError, match=r"a scheduler answers there within 1 seconds"),
        connected("tcp://127.0.0.1:1"),
    ):
        pass


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore:Couldn't detect a suitable IP address")  # without a network
def test_a_scheduler_that_listens_to_others_is_refused() -> None:
    with (
        LocalCluster(
            n_workers=0, host="0.0.0.0", protocol="tcp://", dashboard_address="127.0.0.1:0"
        ) as cluster,
        pytest.raises(ClusterError, match="listens to this machine alone"),
        connected(f"tcp://127.0.0.1:{cluster.scheduler.port}"),
    ):
        pass
