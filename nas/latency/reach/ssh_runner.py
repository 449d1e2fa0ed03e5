"""Times packs on a board over ssh: looks at it, brings it its runtime once, runs board.py there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from nas.latency.device import Device, TableKey
from nas.latency.on_board import board, install
from nas.latency.reach.diagnosis import diagnose
from nas.latency.reach.facts import HEALTH, Facts
from nas.latency.reach.login import Login
from nas.latency.reach.pack import Pack, pack_lines
from nas.latency.reach.runner import BoardError, Line, checked_lines, path_refused
from nas.latency.reach.wheels import environment_name, fetch_wheels
from nas.latency.reach.whole_path import PROGRAM, PathLine, PathPack, path_lines, path_payload

BOARD: Final = Path(board.__file__)
INSTALL: Final = Path(install.__file__)

UPLOAD_S: Final = 1800.0
"""Some 35 MB go to a board once: longer than this is no connection to time over."""


class SshRunner:
    """Runs board.py on a host that ssh reaches, with runtimes that it puts there itself.

    say    is told what takes time before the first line comes
    cache  the folder that keeps wheels here (default: in the user's cache folder)
    """

    def __init__(
        self,
        device: Device,
        login: Login,
        say: Callable[[str], None] = lambda text: None,
        cache: Path | None = None,
    ) -> None:
        self.device = device
        self.login = login
        self.say = say
        self.cache = cache

    def run(self, pack: Pack) -> Iterator[Line]:
        """Times the pack's jobs there; what was done to get there counts in its time limit."""
        begin = time.monotonic()
        python = self.ready(pack.key)
        if pack.seconds is not None:
            left = max(0.0, pack.seconds - (time.monotonic() - begin))
            pack = replace(pack, seconds=left)
        payload = (f"{line}\n".encode() for line in pack_lines(pack))
        threads = pack.key.threads
        with self.login.running(BOARD, payload, python=python, threads=threads) as session:
            lines = session.lines()
            yield from checked_lines(lines, session.failure, pack, self.login.host)

    def follow(self, pack: PathPack) -> Iterator[PathLine]:
        """Times all that a picture goes through there."""
        python = self.ready(pack.key)
        host, threads = self.login.host, pack.key.threads
        with self.login.running(
            PROGRAM, path_payload(pack), python=python, threads=threads
        ) as session:
            lines = session.lines()
            yield from path_lines(lines, lambda reason: path_refused(host, reason), session.failure)

    def ready(self, key: TableKey) -> str:
        """The interpreter there that has the runtime; BoardError where the board can't have it."""
        facts = look(self.login)
        for finding in diagnose(facts, self.device, is_remote=True, threads=(key.threads,)):
            if finding.level == "fault":
                where = f"{self.login.host}, {finding.what}"
                raise BoardError(where, finding.rule, finding.got, finding.remedy)
            if finding.level == "warning":
                self.say(f"{self.login.host}: {finding}")
        name = environment_name(key.runtime, facts)
        folder = f"{facts.cache}/{name}"
        if name not in facts.environments:
            self._install(key.runtime, facts, folder)
        return f"{folder}/bin/python"

    def _install(self, runtime: str, facts: Facts, folder: str) -> None:
        wheels = fetch_wheels(runtime, facts, self.cache)
        size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
        self.say(f"{self.login.host}: bringing {runtime} there ({size:.0f} MB, into {folder})")
        answer = self.login.ask(INSTALL, packed(wheels), [folder], UPLOAD_S)
        if "installed" in answer:
            return
        host = self.login.host
        remedies = {
            "space": f"Make room there: ssh {host} df -h {facts.cache}",
            "venv": f"Give its Python the rest: ssh -t {host} sudo apt install python3-venv",
        }
        remedy = remedies.get(answer["lack"], "Look at the folder's rights there, or try again")
        raise BoardError(
            f"{self.login.host}, {folder}", f"{runtime} is put there", answer["refusal"], remedy
        )


def look(login: Login, with_runtimes: bool = False) -> Facts:
    """The facts of a host; with_runtimes: what nas.profile put there is tried too (seconds)."""
    asked = ["environments"] if with_runtimes else []
    return Facts.model_validate(login.ask(HEALTH, arguments=asked))


def packed(wheels: Sequence[Path]) -> Iterator[bytes]:
    """Wheels as install.py reads them."""
    for wheel in wheels:
        content = wheel.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        header = {"name": wheel.name, "size": len(content), "sha256": digest}
        yield json.dumps(header).encode() + b"\n"
        yield content
    yield b"\n"
