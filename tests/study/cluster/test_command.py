"""`nas.search --cluster` with TLS, by the very commands of docs/scaling.md."""

from __future__ import annotations

import csv
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.study.checkout import ROOT, command, make_checkout

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

DASK = [sys.executable, "-m", "dask"]


def _block(beginning: str) -> str:
    """The page's one block of commands that begins so."""
    text = (ROOT / "docs" / "scaling.md").read_text()
    blocks = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    (found,) = [b for b in blocks if b.startswith(f"    {beginning}")]
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


@contextmanager
def _running(line: str, where: Path, environment: dict[str, str], sign: str) -> Iterator[None]:
    """A command of Dask's as long as the context lasts, once it has said `sign`."""
    words = line.split()
    assert words[0] == "dask"
    process = subprocess.Popen(
        [*DASK, *words[1:]],
        cwd=where, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = []
        for one in process.stderr:
            said.append(one)
            if sign in one:
                break
        else:
            pytest.fail("".join(said))
        yield
    finally:
        process.terminate()
        process.communicate()


def _trials(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_the_steps_of_the_page(tmp_path: Path) -> None:
    checkout, home = make_checkout(tmp_path), tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(checkout)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    flags = ["--device", "fake", "--space", "tiny", "--data", "pictures/data.yaml"]
    flags += ["--budget", "10", "--proxy", "fast.yaml", "--run"]

    def search(*given: str) -> tuple[int, str]:
        done = subprocess.run(
            command(checkout, "nas.search", *flags, *given),
            cwd=checkout, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stderr

    code, said = search("early", "--cluster", f"tls://{place}")
    assert code == 2, said
    assert "got no distributed.comm.tls.ca-file, " in said
    assert not (checkout / "runs" / "early").exists()

    for beginning in ("mkdir -p ~/.config/dask/tls", "cat > ~/.config/dask/tls.yaml"):
        script = _block(beginning)
        subprocess.run(
            ["bash", "-e", "-c", script], env=environment, check=True, capture_output=True
        )
    scheduler = _block("dask scheduler --protocol tls").replace("8786", place.rpartition(":")[2])
    scheduler = scheduler.replace("127.0.0.1:8787", "127.0.0.1:0") + " --host 127.0.0.1"
    worker = _block("dask worker tls://").replace("192.168.1.10:8786", place)
    worker = worker.replace("--nworkers 4", "--nworkers 2")
    with (
        _running(scheduler, checkout, environment, "Scheduler at:"),
        _running(worker, tmp_path, environment, "Registered to:"),
    ):
        code, said = search("wide", "--cluster", f"tls://{place}")
        assert code == 0, said
        assert "10/10" in said
    assert search("here")[0] == 0
    assert _trials(checkout / "runs" / "wide") == _trials(checkout / "runs" / "here")
