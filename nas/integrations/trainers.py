"""Which of YOLOv5, Ultralytics and MMYOLO train a model YAML, and how much of it; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from nas.integrations.mmyolo import MmyoloError, backbone_levels
from nas.space.modules import SpecError
from nas.space.spec import ModelSpec

Tool = Literal["YOLOv5", "Ultralytics", "MMYOLO"]
Share = Literal["whole", "under its own head", "backbone", "nothing"]

OURS: Final = "Train it with nas.train"
"""What remains for every model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trainer:
    """A tool, and what it trains of a model.

    share   whole: every row as it stands, weights go both ways; under its own head, or backbone:
            what it trains is another detector, whose latency is to be predicted anew
    reason  why it isn't the whole; empty where it is
    """

    tool: Tool
    share: Share
    reason: str = ""


def trainers(spec: ModelSpec, where: str = "model") -> tuple[Trainer, ...]:
    """What each tool trains of a model, through `nas.integrations` (docs/integrations.md)."""
    return (_yolov5(spec), _ultralytics(spec), _mmyolo(spec, where))


def require(spec: ModelSpec, tool: Tool, where: str) -> None:
    """Raises SpecError where a tool trains nothing of a model, with the tools that do."""
    found = {one.tool: one for one in trainers(spec, where)}
    if found[tool].share != "nothing":
        return
    others = [one.tool for one in found.values() if one.share == "whole"]
    remedy = f"{OURS}, or with {' or '.join(others)} (nas.integrations)" if others else OURS
    raise SpecError(where, f"the model is one that {tool} trains", found[tool].reason, remedy)


def sentence(spec: ModelSpec, where: str = "model") -> str:
    """A line for people: what trains the model."""
    found = trainers(spec, where)
    named = ["nas.train", *(_named(one) for one in found if one.share != "nothing")]
    line = f"trained by {', '.join(named)}"
    missing = [f"{one.tool} ({one.reason})" for one in found if one.share == "nothing"]
    return f"{line}; not by {', '.join(missing)}" if missing else line


def _named(one: Trainer) -> str:
    words = {"whole": "", "under its own head": " (under its own head)"}
    return one.tool + words.get(one.share, f" ({one.share} alone)")


def head_name(spec: ModelSpec) -> str:
    """The last row as its YAML has it, such as `Detect, [nc, anchors]`."""
    last = spec.rows[-1]
    return f"{last.module}, [{', '.join(map(str, last.args))}]"


def _yolov5(spec: ModelSpec) -> Trainer:
    if spec.anchors:
        return Trainer(tool="YOLOv5", share="whole")
    reason = f"YOLOv5's Detect has anchors, {head_name(spec)} has none"
    return Trainer(tool="YOLOv5", share="nothing", reason=reason)


def _ultralytics(spec: ModelSpec) -> Trainer:
    if spec.rows[-1].module != "Detect":
        reason = f"it has no {spec.rows[-1].module}"
        return Trainer(tool="Ultralytics", share="nothing", reason=reason)
    if spec.anchors:
        reason = "its head without anchors stands in for Detect, [nc, anchors]"
        return Trainer(tool="Ultralytics", share="under its own head", reason=reason)
    return Trainer(tool="Ultralytics", share="whole")


def _mmyolo(spec: ModelSpec, where: str) -> Trainer:
    try:
        backbone_levels(spec, where)
    except MmyoloError as error:
        return Trainer(tool="MMYOLO", share="nothing", reason=f"{error.rule}; {error.got}")
    reason = "its neck and head stand on the model's backbone"
    return Trainer(tool="MMYOLO", share="backbone", reason=reason)
