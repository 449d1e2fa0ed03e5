"""What is sent to a board: a header and emitted graphs, one JSON line each, for board.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from nas.emit import numbers
from nas.emit.ncnn import emit_ncnn
from nas.latency.device import TableKey
from nas.latency.on_board.board import PROTOCOL
from nas.space.ops import Graph, Shape, macs


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """How a board times; what each field does is told in board.py.

    warmup_s is for the machine (before the first job), warmup_runs and ring_warmup_s for each ring.
    max_temp_c   the board pauses above it, until 5 degrees below; None: never
    is_alone     no other profile is at work there meanwhile, after waiting wait_s for it to end
    """

    warmup_s: float = 1.0
    warmup_runs: int = 10
    ring_warmup_s: float = 0.3
    stint: int = 512
    ring_size: int = 32
    whole_ring_size: int = 8
    min_samples: int = 20
    interval: float = 0.02
    cap_s: float = 1.0
    whole_min_samples: int = 10
    whole_cap_s: float = 2.5
    max_temp_c: float | None = None
    cool_s: float = 120.0
    is_alone: bool = False
    wait_s: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One graph to time.

    name              what the board's answer is told by
    is_whole          a whole network: maps go in and come out plain, and it is never left out
    has_plain_output  a part at the end of a network: its output leaves the runtime
    visits            in how many rings it is timed; 0: as a gauge alone
    """

    name: str
    graph: Graph
    is_whole: bool = False
    has_plain_output: bool = False
    visits: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Jobs for one board, runtime, precision and thread count.

    gauges  names of jobs that are timed again in every ring
    seconds  time limit; None: none
    """

    key: TableKey
    jobs: tuple[Job, ...]
    gauges: tuple[str, ...]
    seed: int
    seconds: float | None = None
    timing: Timing = field(default_factory=Timing)


def pack_lines(pack: Pack) -> Iterator[str]:
    """The pack as JSON lines for board.py, header first; graphs are emitted as they are needed."""
    sizes = {(len(job.graph.inputs), len(job.graph.outputs)) for job in pack.jobs}
    header = {
        "protocol": PROTOCOL,
        "runtime": pack.key.runtime,
        "precision": pack.key.precision,
        "threads": pack.key.threads,
        "seed": pack.seed,
        "anchors": list(pack.gauges),
        "seconds": pack.seconds,
        "timing": asdict(pack.timing),
        "numbers": numbers.TOLD,
        "empty": {f"{i}x{o}": _job_line(_empty(i, o), pack.key) for i, o in sorted(sizes)},
    }
    yield json.dumps(header)
    for job in pack.jobs:
        yield json.dumps(_job_line(job, pack.key))


def _job_line(job: Job, key: TableKey) -> dict[str, Any]:
    return {
        "job": job.name,
        "inputs": [list(shape) for shape in job.graph.input_shapes],
        "outputs": len(job.graph.outputs),
        "is_whole": job.is_whole,
        "has_plain_output": job.has_plain_output or job.is_whole,
        "visits": job.visits,
        "macs": macs(job.graph),
        **EMITTERS[key.runtime](job, key.precision),
    }


def _empty(inputs: int, outputs: int) -> Job:
    """A graph of no ops with so many inputs and outputs of one number each."""
    tensors = tuple(range(inputs))
    graph = Graph(
        inputs=tensors,
        input_shapes=(Shape(1, 1, 1),) * inputs,
        ops=(),
        outputs=tuple(i % inputs for i in range(outputs)),
    )
    return Job(name=f"empty {inputs}x{outputs}", graph=graph, has_plain_output=True)


def _ncnn_fields(job: Job, precision: str) -> dict[str, Any]:
    return {"model": emit_ncnn(job.graph, precision)}


def _onnx_fields(job: Job, precision: str) -> dict[str, Any]:
    # Imported here: a profile in ncnn does without onnx.
    from nas.emit.onnx import emit_onnx

    # Parts of an int8 network take and leave uint8 maps; without ops there is nothing to quantise.
    is_inner = precision == "int8" and not job.is_whole and bool(job.graph.ops)
    model = emit_onnx(
        job.graph,
        precision if job.graph.ops else "fp32",
        has_plain_inputs=not is_inner,
        has_plain_outputs=not is_inner or job.has_plain_output,
    )
    return {
        "model": base64.b64encode(model.content).decode(),
        "inputs_are_uint8": is_inner,
        "weights": [
            [one.name, list(one.shape), one.fan_in, one.kind, one.step] for one in model.weights
        ],
    }


EMITTERS: Final[dict[str, Callable[[Job, str], dict[str, Any]]]] = {
    "ncnn": _ncnn_fields,
    "onnxruntime": _onnx_fields,
}
"""Runtime -> the fields of a job that hold its model, in a precision."""
