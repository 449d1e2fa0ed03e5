"""The flags of every command, frozen: others rely on them, and each new one is a decision."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module

import pytest

FLAGS = {
    "profile": "device host space runtime precision threads time_limit validate from_log from_csv "
    "max_temp_c",
    "predict": "model data device image_size runtime precision threads json",
    "search": "budget time_limit space data image_size device runtime precision threads "
    "max_latency_ms limit proxy pretrained sampler warm_start seed run storage baselines verify "
    "host cluster",
    "audit": "run count band data storage json",
    "train": "models data epochs image_size weights pretrained recipe resume seeds run",
    "pretrain": "data space image_size epochs minutes recipe seed run",
    "evaluate": "model data part image_size run json",
    "export": "model weights format precision calib max_map_drop outputs image_size bundle data "
    "device run json",
    "doctor": "device host json",
    "verify": "run device host minutes json",
}


@pytest.mark.parametrize("command", FLAGS)
def test_a_command_has_these_flags_and_no_others(command: str) -> None:
    found = [field.name for field in fields(import_module(f"nas.{command}").Arguments)]
    assert sorted(found) == sorted(FLAGS[command].split())
