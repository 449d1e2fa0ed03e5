"""Which layers compute in int8: the search that a file's mAP on validation pictures decides.

1. Every layer that wins milliseconds is int8, but the stem and the head's last convolutions.
2. Where that loses more than half of what may be lost: layers are ranked by how much each alone
   changes the outputs for a millisecond won, and the longest beginning of that ranking whose *file*
   loses no more is searched for by halving.
3. The stem, then the head's last convolutions are int8 too where the file's mAP says no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.deploy.check import Run
from nas.emit.int8 import Int8Choice, Int8Way, can_be_int8
from nas.quantisation.files import RuntimeFiles, to_image
from nas.quantisation.won import WonTable
from nas.space.graph import Graph, Op, OpKind

SHARE: Final = 0.5
"""Of what may be lost, that the search itself uses up: other pictures lose more than those that
the layers were chosen on."""

HARMLESS: Final = 0.001
"""mAP50-95 that the stem, or the head, may lose: less than other pictures would change it by."""

LOOKED_AT: Final = 8
"""Validation pictures on which single layers are compared."""

JUDGED: Final = 12
"""Files that a search grades at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """A file that was graded on the way."""

    what: str
    layers: int
    map50_95: float


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The layers of a file, and its mAP."""

    choice: Int8Choice
    map50_95: float
    fp32_map50_95: float
    tried: tuple[Tried, ...]

    @property
    def lost(self) -> float:
        """mAP50-95 that the file has less than the same runtime's fp32 file."""
        return self.fp32_map50_95 - self.map50_95


@dataclass(kw_only=True)
class Judge:
    """Grades files, and remembers what it graded.

    grade  mAP50-95 of a file that runs, on the validation part
    tell   is told what was graded, and how good that is
    """

    files: RuntimeFiles
    grade: Callable[[Run], float]
    tell: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)

    def fp32(self) -> float:
        return self._noted("fp32", 0, self.files.run_fp32())

    def int8(self, what: str, choice: Int8Choice) -> float:
        return self._noted(what, len(choice), self.files.run_int8(choice))

    def _noted(self, what: str, layers: int, run: Run) -> float:
        found = self.grade(run)
        self.tried.append(Tried(what=what, layers=layers, map50_95=found))
        self.tell(f"{what}, {layers} layers in int8: mAP50-95 {found:.4f}")
        return found


def choose(
    graph: Graph, won: WonTable, judge: Judge, pictures: NDArray[np.uint8], max_drop: float
) -> Chosen:
    """The layers that compute in int8.

    pictures  some of the validation part (N, H, W, 3)
    max_drop  mAP50-95 that the file may lose
    """
    ends = (stem(graph), last_of_head(graph))
    winners = {tensor: one.way for tensor, one in won.of.items() if one.ms > 0}
    choice = {t: way for t, way in winners.items() if all(t not in end for end in ends)}
    before = judge.fp32()
    found = judge.int8("all but the stem and the head's ends", choice)
    if before - found > SHARE * max_drop and choice:
        choice, found = _longest(graph, won, judge, pictures, choice, before - SHARE * max_drop)
    for end, name in zip(ends, ("stem", "head's ends"), strict=True):
        more = {t: winners[t] for t in end if t in winners}
        if not more or not choice or before - found > SHARE * max_drop:
            continue
        tried = judge.int8(f"and the {name}", {**choice, **more})
        if found - tried <= HARMLESS and before - tried <= SHARE * max_drop:
            choice, found = {**choice, **more}, tried
    return Chosen(choice=choice, map50_95=found, fp32_map50_95=before, tried=tuple(judge.tried))


def stem(graph: Graph) -> frozenset[int]:
    """The first convolution, which reads the image."""
    first = next(op for op in graph.ops if op.kind is OpKind.CONVOLUTION)
    return frozenset([first.output])


def last_of_head(graph: Graph) -> frozenset[int]:
    """The convolutions whose numbers are what a detector says: logits and distances."""
    makers: dict[int, Op] = {tensor: op for op in graph.ops for tensor in op.outputs}
    found: set[int] = set()
    ahead = list(graph.outputs)
    while ahead:
        op = makers.get(ahead.pop())
        if op is None:
            continue
        if op.kind is OpKind.CONVOLUTION:
            found.add(op.output)
        else:
            ahead += op.inputs
    return frozenset(found)


def _longest(
    graph: Graph,
    won: WonTable,
    judge: Judge,
    pictures: NDArray[np.uint8],
    winners: dict[int, Int8Way],
    least: float,
) -> tuple[dict[int, Int8Way], float]:
    """The most layers, those first that change least for a millisecond, with a mAP of `least`.

    Where no file has it, the best that was graded.
    """
    changes = sensitivities(judge.files, winners, pictures, judge.tell)
    ranked = sorted(winners, key=lambda tensor: changes[tensor] / won.of[tensor].ms)
    low, high = 0, len(ranked)
    graded: dict[int, float] = {}
    while high - low > max(1, len(ranked) // 16) and len(judge.tried) < JUDGED:
        middle = (low + high) // 2
        graded[middle] = judge.int8(
            f"the {middle} that change least", {t: winners[t] for t in ranked[:middle]}
        )
        if graded[middle] >= least:
            low = middle
        else:
            high = middle
    if low == 0:
        low = max(graded, key=lambda count: graded[count]) if graded else 0
    return {t: winners[t] for t in ranked[:low]}, graded.get(low, least)


def sensitivities(
    files: RuntimeFiles,
    winners: Int8Choice,
    pictures: NDArray[np.uint8],
    tell: Callable[[str], None],
) -> dict[int, float]:
    """How much each layer alone in int8 changes the outputs: the mean square of the change by what
    the outputs vary by, over levels and pictures."""
    images = [to_image(one) for one in pictures[:LOOKED_AT]]
    fp32 = files.run_fp32()
    right = [fp32(image) for image in images]
    found = {}
    for count, (tensor, way) in enumerate(winners.items(), start=1):
        run = files.run_int8({tensor: way})
        changes = [
            float(np.mean((level - before) ** 2)) / max(float(np.var(before)), 1e-12)
            for image, maps in zip(images, right, strict=True)
            for level, before in zip(run(image), maps, strict=True)
        ]
        found[tensor] = float(np.mean(changes))
        if count % max(1, len(winners) // 4) == 0:
            tell(f"single layers compared with fp32: {count} of {len(winners)}")
    return found


def floats_of(graph: Graph, choice: Int8Choice) -> int:
    """How many convolutions stay float, those that can't be int8 among them."""
    return sum(op.kind is OpKind.CONVOLUTION for op in graph.ops) - len(choice)


def never_int8(graph: Graph) -> int:
    """How many convolutions have no int8 form here: grouped ones, and squeeze-and-excite's."""
    return sum(op.kind is OpKind.CONVOLUTION and not can_be_int8(op) for op in graph.ops)
