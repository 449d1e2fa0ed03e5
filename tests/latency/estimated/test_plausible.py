"""Figures that cores cannot reach are refused with the likely cause; honest ones never are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from nas.latency.device import TableKey, read_device
from nas.latency.estimated.op_work import OpWork
from nas.latency.estimated.plausible import check_figures
from nas.latency.estimated.public_log import LogError
from nas.latency.estimated.tables import known_networks, read_estimate

KEY = TableKey(device="rpi4", threads=4)
PI = read_device("rpi4")
HONEST = {
    name: one.measured_ms
    for name, one in read_estimate(KEY).networks.items()  # type: ignore[union-attr]
}


def check(ms: dict[str, float], device: str = "rpi4", threads: int = 4) -> list[str]:
    key = TableKey(device=device, threads=threads)
    networks: dict[str, list[OpWork]] = known_networks(list(ms))
    return check_figures(networks, ms, key, read_device(device), "times.csv")


def test_honest_figures_pass() -> None:
    assert check(HONEST) == []


@pytest.mark.parametrize("device", ["rpi4", "rpi5", "rpi-zero-2w", "orange-pi-5", "host"])
def test_seconds_and_microseconds_are_told_for_what_they_are(device: str) -> None:
    slower = 2.5 if device == "rpi-zero-2w" else 1.0
    ms = {name: slower * value for name, value in HONEST.items()}
    with pytest.raises(LogError, match="The times are seconds: multiply them by 1000"):
        check({name: value / 1000 for name, value in ms.items()}, device)
    if device != "host":  # whose clock nobody knows
        with pytest.raises(LogError, match="The times are microseconds: divide them by 1000"):
            check({name: value * 1000 for name, value in ms.items()}, device)


def test_a_network_that_no_core_could_do_is_named() -> None:
    with pytest.raises(LogError, match=r"for vgg16 in 5.4\d* ms\. Is its image size"):
        check({**HONEST, "vgg16": HONEST["vgg16"] / 100})


def test_a_file_of_images_that_were_smaller_is_doubted() -> None:
    (doubt,) = check({name: value / 3.5 for name, value in HONEST.items()})
    assert "image sizes" in doubt


def test_slower_than_any_board_is_doubted_not_refused() -> None:
    (doubt,) = check({name: value * 45 for name, value in HONEST.items()})
    assert "no board known does less" in doubt


def test_more_threads_than_cores_compute_no_more() -> None:
    ms = {name: value / 4.5 for name, value in HONEST.items()}
    with pytest.raises(LogError, match="at most 6"):
        check(ms, threads=16)


@pytest.mark.data
def test_no_public_run_is_refused_or_doubted(shared: Path) -> None:
    runs = json.loads((shared / "benchncnn" / "runs.json").read_text())
    assert len(runs) > 100
    for run in runs:
        clocks = [float(text) for text in re.findall(r"([\d.]+)\s*GHz", run["device"], re.I)]
        is_old = re.search(
            r"A7\b|A5\b|A9\b|A17|A53|A57|A72|A73|Kyro ?[12.(]|Kyro260|FT-2000|Denver", run["device"]
        )
        has_a72_alone = is_old and not re.search("A76|A55|A720|A78", run["device"])
        device = PI.model_copy(
            update={
                "name": "board",
                "clock_mhz": round(1000 * max(clocks)) if clocks else 2600,
                "cores": 64,
                "runtimes": {"ncnn": ["fp32", "int8"] if has_a72_alone else ["fp32", "fp16"]},
            }
        )
        ms = {name: one["min"] for name, one in run["results"].items()}
        networks = known_networks(list(ms))
        key = TableKey(device="board", threads=run["num_threads"])
        assert check_figures(networks, ms, key, device, "log") == [], run["device"]
