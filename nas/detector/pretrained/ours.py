"""A best.pt of nas.train as a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.detector.builder import build_detector
from nas.detector.pretrained.seed import Seed, SeedError
from nas.detector.pretrained.starter import seed_of
from nas.space.spec import parse_spec


def is_ours(document: Mapping[str, Any]) -> bool:
    """Whether a file's content is a checkpoint of ours."""
    return isinstance(document.get("model"), str) and isinstance(document.get("weights"), Mapping)


def read_ours(document: Mapping[str, Any], where: str) -> Seed:
    """The seed, with its starter, of a checkpoint. Raises SeedError; half precision is widened."""
    detector = build_detector(parse_spec(document["model"], where=f"{where}: model"))
    own, given = detector.state_dict(), document["weights"]
    for name, value in own.items():
        found = given.get(name)
        if found is None or tuple(found.shape) != tuple(value.shape):
            raise SeedError(
                f"{where}: {name}",
                f"the checkpoint holds its model's tensor of shape {tuple(value.shape)}",
                "none" if found is None else str(tuple(found.shape)),
                "Give a best.pt of this version of nas.train",
            )
    detector.load_state_dict({name: given[name] for name in own})
    return seed_of(detector, tuple(document.get("names", ())), where)
