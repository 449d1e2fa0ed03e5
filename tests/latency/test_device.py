"""Every device in the box is readable, and a wrong file is one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.latency.device import ROOT, DeviceError, TableKey, check_key, read_device
from nas.latency.reach.choice import runner_for
from nas.latency.reach.runner import BoardError, FakeRunner, LocalRunner
from nas.latency.reach.ssh_runner import SshRunner

NAMES = sorted(path.parent.name for path in ROOT.glob("*/device.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_the_devices_in_the_box(name: str) -> None:
    device = read_device(name)
    assert device.name == name
    assert device.title
    assert "ncnn" in device.runtimes
    assert "fp32" in device.runtimes["ncnn"]
    # Whatever has no text to be known by is this machine, or none at all.
    assert bool(device.recognise) == (name not in ("host", "fake"))
    assert device.cores is None or max(device.threads, default=1) <= device.cores
    # What is meant without --threads is offered, and one's own machine or the fake board get one.
    assert device.default_threads in (device.threads or [1])
    assert (device.default_threads == 1) == (name in ("host", "fake"))
    assert device.key("ncnn", "fp32").threads == device.default_threads
    assert device.key("ncnn", "fp32", 2).threads == 2


@pytest.mark.parametrize(
    ("model", "compatible", "name"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4\0", "raspberrypi,4-model-b\0brcm,bcm2711\0", "rpi4"),
        ("Raspberry Pi 5 Model B Rev 1.0\0", "raspberrypi,5-model-b\0brcm,bcm2712\0", "rpi5"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "raspberrypi,3-model-b-plus\0", "rpi3b+"),
        ("Radxa ROCK 5B\0", "radxa,rock-5b\0rockchip,rk3588\0", "orange-pi-5"),
        ("NVIDIA Jetson Nano Developer Kit\0", "nvidia,p3450-0000\0", "jetson-nano"),
    ],
)
def test_a_board_knows_itself(model: str, compatible: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "model").write_text(model)
    (tmp_path / "compatible").write_text(compatible)
    boards = [read_device(one) for one in NAMES if one not in ("host", "fake")]
    assert [board.name for board in boards if board.is_here(tmp_path)] == [name]


def test_a_board_that_is_not_here_is_reached_where_its_file_says() -> None:
    said: list[str] = []
    runner = runner_for(read_device("rpi4"), say=said.append)
    assert isinstance(runner, SshRunner)
    assert runner.login.host == "pi@raspberrypi.local"
    assert "pi@raspberrypi.local" in said[0]


def test_a_given_host_goes_first_and_nothing_is_said() -> None:
    said: list[str] = []
    runner = runner_for(read_device("rpi4"), "me@board", said.append)
    assert isinstance(runner, SshRunner)
    assert (runner.login.host, said) == ("me@board", [])


def test_a_board_that_is_nowhere_asks_where_it_is() -> None:
    with pytest.raises(BoardError, match="Say where it is: --host"):
        runner_for(read_device("jetson-nano"))


@pytest.mark.parametrize("name", ["host", "fake"])
def test_what_is_no_board_takes_no_host(name: str) -> None:
    with pytest.raises(BoardError, match=r"^--host: .*Leave --host out"):
        runner_for(read_device(name), "pi@raspberrypi.local")


@pytest.mark.parametrize("host", ["-oProxyCommand=rm", "", "pi @board", "pi@board\n"])
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(BoardError, match="user@name"):
        runner_for(read_device("rpi4"), host)


def test_the_device_file_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (ROOT.parent / "docs" / "boards.md").read_text()
    text = page.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "my-board").mkdir()
    (tmp_path / "my-board" / "device.yaml").write_text(text)
    device = read_device("my-board", tmp_path)
    assert device.has_host()
    assert device.is_named_in("Radxa ROCK Pi 4C")


def test_a_board_without_a_device_tree_is_known_by_its_host(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    text = (ROOT / "host" / "device.yaml").read_text()
    (tmp_path / "box" / "device.yaml").write_text(f"{text}default_host: box\n")
    assert isinstance(runner_for(read_device("box", tmp_path)), SshRunner)


def test_host_is_here_and_fake_is_fake() -> None:
    assert isinstance(runner_for(read_device("host")), LocalRunner)
    assert isinstance(runner_for(read_device("fake")), FakeRunner)


def test_an_unknown_device_names_those_there() -> None:
    with pytest.raises(DeviceError, match=r"Known here: .*fake.*host"):
        read_device("toaster")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("]", "plain YAML"),
        ("7", "is a mapping"),
        ("format: 1\ntitle: x", "device.yaml, soc: Field required"),
        ("format: 2\ntitle: x\nsoc: y\nruntimes: {ncnn: [fp32]}", "format"),
        ("format: 1\ntitle: x\nsoc: y\nruntimes: {ncnn: [fp8]}", "runtimes.ncnn.0"),
        ("format: 1\ntitle: x\nsoc: y\nruntimes: {tflite: [fp32]}", "runtimes"),
        ("format: 1\ntitle: x\nsoc: y\ncolour: red\nruntimes: {ncnn: [fp32]}", "colour"),
        ("format: 1\ntitle: x\nsoc: y\ncores: 0\nruntimes: {ncnn: [fp32]}", "cores"),
    ],
)
def test_a_wrong_file_is_one_message(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "device.yaml").write_text(content)
    with pytest.raises(DeviceError, match=message) as caught:
        read_device("x", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"runtime": "tflite"}, "its runtimes are ncnn"),
        ({"precision": "int4"}, "its precisions in ncnn are"),
        ({"threads": 3}, "its thread counts are 1, 2, 4"),
        ({"threads": 0}, "thread"),
    ],
)
def test_a_key_that_the_device_lacks_is_refused(
    changed: dict[str, str | int], message: str
) -> None:
    key = TableKey(**{"device": "fake", **changed})  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=message):
        check_key(key, read_device("fake"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_devices_file_may_be_saved_by_any_system(encoding: str, tmp_path: Path) -> None:
    text = (ROOT / "rpi4" / "device.yaml").read_text(encoding="utf-8")
    (tmp_path / "rpi4").mkdir()
    (tmp_path / "rpi4" / "device.yaml").write_bytes(text.encode(encoding))
    assert read_device("rpi4", tmp_path) == read_device("rpi4")


@pytest.mark.parametrize("content", ["title: 树莓派".encode("gbk"), b"\xff\x00\x01", bytes(9)])
def test_a_devices_file_of_other_bytes_is_one_message(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rpi4").mkdir()
    (tmp_path / "rpi4" / "device.yaml").write_bytes(content)
    with pytest.raises(DeviceError, match=r"Save it as UTF-8|plain YAML"):
        read_device("rpi4", tmp_path)
