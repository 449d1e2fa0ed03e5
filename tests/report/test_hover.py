"""An architecture of any space can be read, and says nothing that was not built."""

from __future__ import annotations

import re

import numpy as np
import pytest

from nas.report.hover import readable
from nas.space.modules import MODULES
from nas.space.search_space import read_space


@pytest.mark.parametrize("name", ["fused_mbconv", "tiny", "grid", "shuffle", "compound", "mixed"])
def test_an_architecture_of_any_space_can_be_read(name: str) -> None:
    space, rng = read_space(name), np.random.default_rng(0)
    for _ in range(40):
        candidate = space.random(rng)
        lines = readable(candidate)
        assert lines[0].startswith("image size ")
        stages = [line for line in lines if line.startswith("stage")]
        for line in stages:
            match = re.fullmatch(r"stage\d: (\w+) \d+ x\d+( k\d)?( e[\d.]+)?( SE [\d.]+)?", line)
            assert match, line
            assert not match[2] or "kernel" in (MODULES[match[1]].stage_choices or ())
            assert not match[3] or "expand_ratio" in (MODULES[match[1]].stage_choices or ())
            assert not match[4] or "se_ratio" in (MODULES[match[1]].stage_choices or ())
        asked = {n.split(".")[0] for n, _ in candidate.choices if n.startswith("stage")}
        assert len(stages) == len(asked)
