"""nas.doctor on this machine: findings for people and programs."""

from __future__ import annotations

import json

import pytest

from nas import NasError, doctor
from nas.latency.device import ROOT
from tests.latency.reach.test_diagnosis import PI4


def test_this_machine_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(doctor.Arguments())
    told = capsys.readouterr().out
    assert told.startswith("this machine: ")
    assert "\nok       ncnn: " in told
    assert "fault" not in told


def test_this_machine_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(doctor.Arguments(device="rpi4", json=True))
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"where", "device", "findings", "facts"}
    assert told["device"] == "rpi4"
    board = next(one for one in told["findings"] if one["what"] == "board")
    is_pi = "Raspberry Pi 4" in told["facts"]["board"]
    assert board["level"] == ("ok" if is_pi else "fault")
    assert all(one["remedy"] for one in told["findings"] if one["level"] in ("warning", "fault"))


def test_a_board_is_known_by_its_device_tree() -> None:
    assert doctor.recognised(PI4, ROOT).name == "rpi4"
    unknown = PI4.model_copy(update={"board": "Toaster", "compatible": []})
    assert doctor.recognised(unknown, ROOT).name == "host"


@pytest.mark.parametrize(
    "arguments", [doctor.Arguments(device="toaster"), doctor.Arguments(host="-oProxyCommand=x")]
)
def test_mistakes_are_one_message(arguments: doctor.Arguments) -> None:
    with pytest.raises(NasError):
        doctor.run(arguments)
