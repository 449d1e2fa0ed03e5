"""A board over a real ssh on loopback: each mistake is one message, each cut leaves all whole."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas import doctor
from nas.latency.device import Device, TableKey, read_device
from nas.latency.measured.campaign import block_job
from nas.latency.reach.choice import check_reached
from nas.latency.reach.facts import facts_here
from nas.latency.reach.pack import Pack
from nas.latency.reach.runner import BoardError, Line
from nas.latency.reach.ssh_runner import SshRunner, look
from nas.latency.reach.wheels import PINS, environment_name
from nas.latency.reach.whole_path import PathPack
from nas.study.after.whole_path import bundle_files
from tests.board.conftest import Start
from tests.board.host import Sshd, free_port, know_host, make_key, until
from tests.latency.on_board.test_board import BLOCKS, QUICK, pack
from tests.study.boards import candidates_of

pytestmark = pytest.mark.board

ANY = Device(
    format=1, name="any", title="any machine", soc="any", runtimes={"ncnn": ["fp32"]},
    default_host="board",
)  # fmt: skip


def asked(**changed: Any) -> Pack:
    return replace(pack(tuple(map(block_job, BLOCKS))), **changed)


def run(sshd: Sshd, device: Device = ANY, **options: Any) -> list[Line]:
    return list(SshRunner(device, sshd.login(), **options).run(asked()))


def has_runtimes(sshd: Sshd) -> None:
    """Gives the host this interpreter's runtimes, as if they had been brought there."""
    sshd.put("python3", f'exec {sys.executable} "$@"')
    folder = sshd.cache / environment_name("ncnn", facts_here()) / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (folder / "python").chmod(0o755)


def says_of_itself(sshd: Sshd, **changed: Any) -> None:
    """Makes the host's python3 tell changed facts, whatever it is asked."""
    facts = {**facts_here().model_dump(), **changed}
    (sshd.folder / "facts.json").write_text(json.dumps(facts))
    sshd.put("python3", f"cat > /dev/null; cat {sshd.folder / 'facts.json'}")


def test_all_that_a_picture_goes_through_is_timed_there(sshd: Sshd) -> None:
    has_runtimes(sshd)
    space = candidates_of("tiny")
    candidate = space.rebuild({n: o[0] for n, o in space.space.options().items()})
    key = TableKey(device="any")
    pack = PathPack(
        key=key, files=bundle_files(candidate, key, None), runs=2, seconds=0.2, slice_s=0.1
    )
    runner = SshRunner(ANY, sshd.login())
    check_reached(runner, key)
    lines = list(runner.follow(pack))
    kinds = [line["line"] for line in lines]
    assert kinds[:2] == ["hello", "apart"]
    assert set(kinds[2:-1]) == {"slice"}
    assert kinds[-1] == "bye"
    assert all(min(values) > 0 for values in lines[1]["ms"].values())
    damaged = replace(pack, files={**pack.files, "model.bin": b""})
    with pytest.raises(BoardError, match=r"the board runs detect\.py and the model; got "):
        list(runner.follow(damaged))


# ---------------------------------------------------------------- who is there


def test_an_unknown_host_key_is_not_taken(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").write_text("")
    with pytest.raises(BoardError, match=r"host key is known here.*fingerprint.*: ssh board"):
        run(sshd)
    assert (sshd.folder / "known_hosts").read_text() == ""


def test_a_changed_host_key_is_not_taken(sshd: Sshd) -> None:
    make_key(sshd.folder / "other")
    know_host(sshd.folder, sshd.port, sshd.folder / "other.pub")
    with pytest.raises(BoardError, match=r"HAS CHANGED.*ssh-keygen.*-R"):
        run(sshd)


def test_a_refused_key(sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(BoardError, match=r"Permission denied.*ssh-copy-id board"):
        run(sshd)


def test_a_port_where_nobody_listens(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(BoardError, match=r"Connection refused.*Switch ssh on"):
        run(sshd)


def test_a_name_without_an_address(sshd: Sshd) -> None:
    runner = SshRunner(ANY, sshd.login("-o", "HostName=board.invalid"))
    with pytest.raises(BoardError, match=r"Could not resolve hostname board.invalid.*address"):
        list(runner.run(asked()))


def test_a_port_that_is_not_ssh(sshd: Sshd, tmp_path: Path) -> None:
    import http.server
    import threading

    with http.server.HTTPServer(
        ("127.0.0.1", free_port()), http.server.BaseHTTPRequestHandler
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        login = sshd.login("-o", f"Port={server.server_port}", "-o", "ConnectTimeout=3")
        with pytest.raises(BoardError) as raised:
            look(login)
        server.shutdown()
    assert raised.value.where == "board"


# ---------------------------------------------------------------- what is there


def test_a_board_without_python(start: Start) -> None:
    sshd = start(path="")
    (sshd.bin / "env").symlink_to(str(shutil.which("env")))
    with pytest.raises(BoardError, match=r"python3.*No such file.*apt install python3"):
        run(sshd)


def test_a_login_that_is_not_for_commands(start: Start) -> None:
    with pytest.raises(BoardError, match=r"for git only.*Try it by hand"):
        run(start(force_command="echo for git only"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"python": "3.6.15"}, r"3.9 to 3.\d+; got 3.6.15.*newer python3"),
        ({"bits": 32, "machine": "armv7l"}, r"64-bit Linux.*32-bit userland on armv7l"),
        ({"bits": 32, "machine": "aarch64"}, r"its kernel has 64 bits"),
        ({"libc": "", "libc_version": ""}, r"need glibc 2.27"),
        ({"cores_allowed": 0}, r"1 threads have a core each"),
    ],
)
def test_a_board_that_cannot_run_the_runtimes(
    changed: dict[str, Any], message: str, sshd: Sshd
) -> None:
    says_of_itself(sshd, **changed)
    with pytest.raises(BoardError, match=message):
        run(sshd)


def test_the_wrong_board(sshd: Sshd) -> None:
    says_of_itself(sshd, board="Raspberry Pi 3 Model B Rev 1.2", compatible=["raspberrypi,3"])
    with pytest.raises(BoardError, match=r"Raspberry Pi 4.*got Raspberry Pi 3 .*--device"):
        run(sshd, read_device("rpi4"))


def toy_wheels(folder: Path, ncnn: str) -> Path:
    """A folder of kept wheels whose ncnn holds that source; 1 MB."""
    facts = facts_here()
    python = "".join(map(str, facts.python_version))
    kept = folder / f"cp{python}-{facts.machine}-glibc{facts.libc_version}"
    kept.mkdir(parents=True)
    for name, source in (("numpy", ""), ("ncnn", ncnn)):
        path = kept / f"{name}-{PINS[facts.python_version][name]}-toy.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}/__init__.py", source)
            archive.writestr(f"{name}/ballast", os.urandom(2**20))
    return folder


def test_a_full_disk(sshd: Sshd, tmp_path: Path) -> None:
    sshd.put("python3", f'ulimit -f 100; exec {sys.executable} "$@"')
    with pytest.raises(BoardError, match=r"put there; got OSError.*Make room there: ssh board df"):
        run(sshd, cache=toy_wheels(tmp_path / "kept", ""))
    assert list(sshd.cache.iterdir()) == []


def test_a_folder_that_is_not_ours_to_write(sshd: Sshd, tmp_path: Path) -> None:
    (sshd.cache.parent).mkdir()
    sshd.cache.write_text("a file is in the way")
    sshd.put("python3", f'exec {sys.executable} "$@"')
    with pytest.raises(BoardError, match=r"put there; got .*Error.*rights"):
        run(sshd, cache=toy_wheels(tmp_path / "kept", ""))


def test_a_runtime_that_fails_to_load(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sshd.put("python3", f'exec {sys.executable} "$@"')
    kept = toy_wheels(tmp_path / "kept", "raise ImportError('libgomp.so.1: no such file')\n")
    said: list[str] = []
    with pytest.raises(BoardError, match=r"(numpy|libgomp).*nas.doctor"):
        run(sshd, cache=kept, say=said.append)
    assert "bringing ncnn there (2 MB" in said[-1]
    # The doctor says the same, and how to be rid of it.
    monkeypatch.setenv("PATH", str(sshd.client()), prepend=":")
    doctor.run(doctor.Arguments(host="board", json=True))
    told = json.loads(capsys.readouterr().out)
    found = next(one for one in told["findings"] if one["what"] == "runtimes")
    assert found["level"] == "fault"
    assert "libgomp.so.1" in found["got"]
    assert f"rm -r {sshd.cache}/ncnn-" in found["remedy"]


# ---------------------------------------------------------------- a board that works


def test_a_chatty_login_disturbs_nothing(start: Start) -> None:
    script = (
        'echo Welcome; echo "{}"; echo more >&2; printf half; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    )
    sshd = start(force_command=script)
    has_runtimes(sshd)
    lines = run(sshd)
    assert [lines[0]["line"], lines[-1]["line"]] == ["hello", "bye"]
    assert len({line["job"] for line in lines if line["line"] == "timing"}) == len(BLOCKS)


def test_a_board_without_a_thermometer_cannot_keep_cool(sshd: Sshd) -> None:
    has_runtimes(sshd)
    if look(sshd.login()).temp_c is not None:
        pytest.skip("this machine has a thermometer")
    runner = SshRunner(ANY, sshd.login())
    with pytest.raises(BoardError, match="--max-temp-c: board says how warm it is"):
        list(runner.run(asked(timing=replace(QUICK, max_temp_c=60.0))))


def test_whoever_stops_reading_stops_the_board(sshd: Sshd) -> None:
    has_runtimes(sshd)
    lines = SshRunner(ANY, sshd.login()).run(asked())
    assert next(lines)["line"] == "hello"
    assert sshd.at_work()
    lines.close()
    assert until(lambda: not sshd.at_work())


def test_a_cut_connection_is_told_and_stops_the_board(sshd: Sshd) -> None:
    has_runtimes(sshd)
    lines = SshRunner(ANY, sshd.login()).run(asked())
    assert next(lines)["line"] == "hello"
    sshd.cut()
    with pytest.raises(BoardError, match=r"connection holds.*the same command resumes"):
        list(lines)
    assert until(lambda: not sshd.at_work())


def test_a_silent_connection_is_noticed(sshd: Sshd) -> None:
    has_runtimes(sshd)
    # Three silences of 1 s here, of 5 s otherwise.
    login = sshd.login("-o", "ServerAliveInterval=1")
    lines = SshRunner(ANY, login).run(asked(timing=replace(QUICK, min_samples=5, cap_s=60.0)))
    assert next(lines)["line"] == "hello"
    sshd.freeze()
    begin = time.monotonic()
    with pytest.raises(BoardError, match=r"not responding.*the same command resumes"):
        list(lines)
    assert time.monotonic() - begin < 30
    sshd.cut()
    assert until(lambda: not sshd.at_work(), seconds=120)


def test_the_doctor_looks_there(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has_runtimes(sshd)
    monkeypatch.setenv("PATH", str(sshd.client()), prepend=":")
    doctor.run(doctor.Arguments(host="board"))
    told = capsys.readouterr().out
    assert told.startswith("board: ")
    assert "\nok       operating system: " in told
    assert "\nok       runtimes: numpy " in told
