"""YOLOBench's networks as work, from what is published of their architecture.

yolo3    Darknet-53 and YOLOv3's neck in YOLOv5's YAML form
yolo5    YOLOv5 v6.0's backbone and neck
yolo6s   YOLOv6 3.0 (arXiv 2301.05586): EfficientRep, a pyramid pool of the CSP form, and a neck
         that fuses three levels at a time; yolo6m has CSP blocks and the plain pool

Widths are capped at 1024; all have YOLOv8's decoupled head (reg_max 16) for 80 classes, with SiLU
in yolo3 and yolo5 and ReLU in yolo6. The graph is that of an exported ONNX file: ReLU is fused, no
kernel is Winograd's, SiLU is one op in ONNX Runtime and two in TensorFlow Lite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Final

from nas.latency.estimated.op_work import OpWork

Map = tuple[int, int, int]
"""Channels, height, width."""

CLASSES: Final = 80
BINS: Final = 64
MULTIPLES: Final = {"n": (0.33, 0.25), "s": (0.33, 0.5), "m": (0.67, 0.75), "l": (1.0, 1.0)}
PARTS: Final = {"33": 0.33, "67": 0.67, "6": 0.6, "1": 1.0, "25": 0.25, "5": 0.5, "75": 0.75}


def family_of(name: str) -> str:
    """yolo3, yolo5, yolo6s or yolo6m."""
    found = re.match(r"yolo(3|5|6s|6m)", name)
    assert found, name
    return found[0]


@lru_cache(maxsize=2048)
def network(name: str, image_size: int, runtime: str = "onnxruntime") -> tuple[OpWork, ...]:
    """The work of a network by YOLOBench's name (yolo5d33w25, yolo6s-d1w5, yolo3l) in a runtime."""
    family = family_of(name)
    rest = name.removeprefix(family).lstrip("-")
    parts = re.match(r"d(\d+)w(\d+)", rest)
    depth, width = (PARTS[parts[1]], PARTS[parts[2]]) if parts else MULTIPLES[rest]
    activation = "ReLU" if family.startswith("yolo6") else "SiLU"
    drawing = _Drawing(depth, width, activation, has_one_silu=runtime == "onnxruntime")
    families: dict[str, Callable[[_Drawing, Map], list[Map]]] = {
        "yolo3": _yolo3,
        "yolo5": _yolo5,
        "yolo6s": partial(_yolo6, is_csp=False),
        "yolo6m": partial(_yolo6, is_csp=True),
    }
    drawing.head(families[family](drawing, (3, image_size, image_size)))
    return tuple(drawing.work)


class _Drawing:
    """Work while it is drawn, with the multiples of a variant."""

    def __init__(self, depth: float, width: float, activation: str, *, has_one_silu: bool) -> None:
        self.depth, self.width, self.activation = depth, width, activation
        self.has_one_silu = has_one_silu
        self.work: list[OpWork] = []

    def c(self, channels: int) -> int:
        """A width: capped, multiplied, and up to a multiple of 8."""
        return math.ceil(min(channels, 1024) * self.width / 8) * 8

    def n(self, number: int) -> int:
        """A depth, multiplied."""
        return max(round(number * self.depth), 1)

    def _row(
        self,
        kind: str,
        x: Map,
        y: Map,
        *,
        numbers_in: int = 0,
        cells: int = 1,
        stride: int = 1,
        weights: int = 0,
    ) -> Map:
        self.work.append(
            OpWork(
                kind=kind,
                channels_in=x[0],
                channels_out=y[0],
                height=y[1],
                width=y[2],
                cells=cells,
                stride=stride,
                weights=weights,
                numbers_in=numbers_in or math.prod(x),
                numbers_out=math.prod(y),
            )
        )
        return y

    def conv(
        self, x: Map, channels: int, kernel: int = 1, stride: int = 1, *, is_plain: bool = False
    ) -> Map:
        """A convolution, and the activation after it (ReLU is fused)."""
        y = (channels, math.ceil(x[1] / stride), math.ceil(x[2] / stride))
        weights, cells = x[0] * channels * kernel**2, kernel**2
        kind = "1x1" if kernel == 1 else "dense"
        self._row(kind, x, y, cells=cells, stride=stride, weights=weights)
        if not is_plain and self.activation == "SiLU":
            self._row("exponential", y, y)
            if not self.has_one_silu:
                self.product(y)
        return y

    def product(self, x: Map) -> Map:
        """Two equal maps, element by element."""
        return self._row("add", x, x, numbers_in=2 * math.prod(x))

    def concat(self, *maps: Map) -> Map:
        y = (sum(x[0] for x in maps), *maps[0][1:])
        return self._row("move", maps[0], y, numbers_in=math.prod(y))

    def copy(self, x: Map) -> Map:
        return self._row("move", x, x)

    def upsample(self, x: Map) -> Map:
        return self._row("upsample", x, (x[0], 2 * x[1], 2 * x[2]))

    def transpose(self, x: Map, channels: int) -> Map:
        """A transposed 2x2 convolution of stride 2: a 1x1 to four times the channels, spread."""
        self.conv(x, 4 * channels, is_plain=True)
        return self.copy((channels, 2 * x[1], 2 * x[2]))

    def fusion(self, below: Map, level: Map, above: Map, channels: int) -> Map:
        """Three levels of a pyramid as one, of the size of the middle one."""
        raised = self.transpose(below, channels)
        lowered = self.conv(self.conv(above, channels), channels, 3, 2)
        return self.conv(self.concat(raised, self.conv(level, channels), lowered), channels)

    def bottleneck(self, x: Map, channels: int, *, adds: bool, ratio: float = 0.5) -> Map:
        y = self.conv(self.conv(x, int(channels * ratio)), channels, 3)
        return self.product(y) if adds and x[0] == channels else y

    def c3(self, x: Map, channels: int, number: int, *, adds: bool = True) -> Map:
        y = self.conv(x, channels // 2)
        for _ in range(number):
            y = self.bottleneck(y, channels // 2, adds=adds, ratio=1.0)
        return self.conv(self.concat(y, self.conv(x, channels // 2)), channels)

    def sppf(self, x: Map, channels: int) -> Map:
        y = self.conv(x, x[0] // 2)
        for _ in range(3):
            self._row("pool", y, y, cells=25)
        return self.conv(self.concat(y, y, y, y), channels)

    def csp_sppf(self, x: Map, channels: int) -> Map:
        hidden = channels // 2
        y = self.conv(self.conv(self.conv(x, hidden), hidden, 3), hidden)
        for _ in range(3):
            self._row("pool", y, y, cells=25)
        y = self.conv(self.conv(self.concat(y, y, y, y), hidden), hidden, 3)
        return self.conv(self.concat(self.conv(x, hidden), y), channels)

    def head(self, levels: list[Map]) -> None:
        """YOLOv8's decoupled head and what it decodes."""
        boxes, classes = max(16, levels[0][0] // 4, BINS), max(levels[0][0], CLASSES)
        cells = 0
        for x in levels:
            y = self.conv(self.conv(self.conv(x, boxes, 3), boxes, 3), BINS, is_plain=True)
            z = self.conv(self.conv(self.conv(x, classes, 3), classes, 3), CLASSES, is_plain=True)
            self.concat(y, z)
            cells += y[1] * y[2]
        joined = (BINS + CLASSES, cells, 1)
        self.concat(joined)
        self.copy(joined)
        self._row("exponential", (BINS, cells, 1), (BINS, cells, 1))
        self._row("exponential", (CLASSES, cells, 1), (CLASSES, cells, 1))
        self.copy((BINS, cells, 1))
        self.conv((BINS // 4, 4, cells), 1, is_plain=True)
        self.product((4, cells, 1))
        self.concat((CLASSES + 4, cells, 1))


def _yolo5(d: _Drawing, x: Map) -> list[Map]:
    x = d.conv(x, d.c(64), 6, 2)
    x = d.c3(d.conv(x, d.c(128), 3, 2), d.c(128), d.n(3))
    p3 = x = d.c3(d.conv(x, d.c(256), 3, 2), d.c(256), d.n(6))
    p4 = x = d.c3(d.conv(x, d.c(512), 3, 2), d.c(512), d.n(9))
    x = d.sppf(d.c3(d.conv(x, d.c(1024), 3, 2), d.c(1024), d.n(3)), d.c(1024))
    t5 = d.conv(x, d.c(512))
    x = d.c3(d.concat(d.upsample(t5), p4), d.c(512), d.n(3), adds=False)
    t4 = d.conv(x, d.c(256))
    o3 = d.c3(d.concat(d.upsample(t4), p3), d.c(256), d.n(3), adds=False)
    o4 = d.c3(d.concat(d.conv(o3, d.c(256), 3, 2), t4), d.c(512), d.n(3), adds=False)
    o5 = d.c3(d.concat(d.conv(o4, d.c(512), 3, 2), t5), d.c(1024), d.n(3), adds=False)
    return [o3, o4, o5]


def _yolo3(d: _Drawing, x: Map) -> list[Map]:
    def stage(x: Map, channels: int, number: int, *, adds: bool = True) -> Map:
        for _ in range(d.n(number) if number > 1 else 1):
            x = d.bottleneck(x, d.c(channels), adds=adds)
        return x

    x = stage(d.conv(d.conv(x, d.c(32), 3), d.c(64), 3, 2), 64, 1)
    x = stage(d.conv(x, d.c(128), 3, 2), 128, 2)
    p3 = x = stage(d.conv(x, d.c(256), 3, 2), 256, 8)
    p4 = x = stage(d.conv(x, d.c(512), 3, 2), 512, 8)
    x = stage(d.conv(x, d.c(1024), 3, 2), 1024, 4)
    x = d.conv(d.conv(stage(x, 1024, 1, adds=False), d.c(512)), d.c(1024), 3)
    t5 = d.conv(x, d.c(512))
    o5 = d.conv(t5, d.c(1024), 3)
    x = stage(d.concat(d.upsample(d.conv(t5, d.c(256))), p4), 512, 1, adds=False)
    t4 = d.conv(stage(x, 512, 1, adds=False), d.c(256))
    o4 = d.conv(t4, d.c(512), 3)
    x = stage(d.concat(d.upsample(d.conv(t4, d.c(128))), p3), 256, 1, adds=False)
    return [stage(x, 256, 2, adds=False), o4, o5]


def _yolo6(d: _Drawing, x: Map, *, is_csp: bool) -> list[Map]:
    def plain(x: Map, channels: int, number: int) -> Map:
        for _ in range(d.n(number)):
            x = d.conv(x, channels, 3)
        return x

    def csp(x: Map, channels: int, number: int) -> Map:
        hidden = int(channels * 2 / 3)
        y = d.conv(x, hidden)
        for _ in range(max(d.n(number) // 2, 1)):
            y = d.product(d.conv(d.conv(y, hidden, 3), hidden, 3))
        return d.conv(d.concat(y, d.conv(x, hidden)), channels)

    stage = csp if is_csp else plain
    x = d.conv(d.conv(x, d.c(64), 3, 2), d.c(128), 3, 2)
    p2 = x = stage(x, d.c(128), 6)
    p3 = x = stage(d.conv(x, d.c(256), 3, 2), d.c(256), 12)
    p4 = x = stage(d.conv(x, d.c(512), 3, 2), d.c(512), 18)
    x = stage(d.conv(x, d.c(1024), 3, 2), d.c(1024), 6)
    x = d.sppf(x, d.c(1024)) if is_csp else d.csp_sppf(x, d.c(1024))
    t5 = d.conv(x, d.c(256))
    t4 = d.conv(stage(d.fusion(t5, p4, p3, d.c(256)), d.c(256), 12), d.c(128))
    o3 = stage(d.fusion(t4, p3, p2, d.c(128)), d.c(128), 12)
    o4 = stage(d.concat(d.conv(o3, d.c(128), 3, 2), t4), d.c(256), 12)
    o5 = stage(d.concat(d.conv(o4, d.c(256), 3, 2), t5), d.c(512), 12)
    return [o3, o4, o5]
