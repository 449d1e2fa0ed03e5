"""One line a figure that a change of the house's layout must leave as it is, to the last digit.

    python benchmarks/unchanged.py > before.txt      # at one commit
    python benchmarks/unchanged.py | diff before.txt -    # at another

For random detectors of three spaces: their digests, their blocks, every block of the space, and
what each table answers for them (those that lack are named); for each hand-designed detector its
ncnn and ONNX graphs in fp32 and int8. Each line ends in 16 hex digits of all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas import NasError
from nas.emit.ncnn import emit_ncnn
from nas.emit.onnx import emit_onnx
from nas.latency.device import TableKey
from nas.latency.load import load_table_model
from nas.space.blocks import blocks
from nas.space.ops import model_graph
from nas.space.references import reference_files
from nas.space.search_space import Candidate, SearchSpace, read_space
from nas.space.spec import read_spec
from nas.terminal import command_line

KEYS = (
    TableKey(device="rpi4", threads=4),
    TableKey(device="rpi4", runtime="onnxruntime", threads=4),
    TableKey(device="host"),
    TableKey(device="fake"),
)
"""An estimated table of each runtime, this machine's own, and the fake board's."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the digests of predictions, blocks and graphs."""

    detectors: int = 200
    """Random ones of each space."""
    spaces: tuple[str, ...] = ("fused_mbconv", "mixed", "grid")
    """Search spaces by name."""
    image_size: int = 320
    """Pixels, of the hand-designed detectors."""


def run(arguments: Arguments) -> None:
    """Prints them."""
    for name in arguments.spaces:
        space, rng = read_space(name), np.random.default_rng(0)
        drawn = [space.random(rng) for _ in range(arguments.detectors)]
        for what, value in of_space(space, drawn):
            print(f"{name}, {what}: {digest(value)}")
        for key in KEYS:
            print(f"{name}, {key}: {of_table(key, space, drawn)}")
    for path in reference_files():
        print(f"{path.stem}: {digest(list(of_graph(path.stem, arguments.image_size)))}")


def of_space(space: SearchSpace, drawn: list[Candidate]) -> Iterator[tuple[str, Any]]:
    """What is built: digests and blocks."""
    yield "digest", space.digest
    yield "architectures", [one.digest for one in drawn]
    yield "their blocks", [[b.key() for b in blocks(one.spec, one.image_size)] for one in drawn]
    yield "every block", [block.key() for block in space.blocks()]


def of_table(key: TableKey, space: SearchSpace, drawn: list[Candidate]) -> str:
    """What the table answers for all of them, and their mean (ms)."""
    try:
        model = load_table_model(key, space=space)
    except NasError:
        return "no table"
    found = [model.predict(one.spec, one.image_size) for one in drawn]
    told = [[repr(one.ms), repr(one.low_ms), repr(one.high_ms), one.kind.value] for one in found]
    return f"{np.mean([one.ms for one in found]):.6f} ms, {digest(told)}"


def of_graph(name: str, image_size: int) -> Iterator[str]:
    """The files of a hand-designed detector's graph."""
    graph = model_graph(read_spec(name), image_size)
    for precision in ("fp32", "int8"):
        yield emit_ncnn(graph, precision)
        yield emit_onnx(graph, precision).content.hex()


def digest(value: Any) -> str:
    """16 hex digits of a value."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


if __name__ == "__main__":
    command_line(Arguments, run)
