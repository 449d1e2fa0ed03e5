"""How near `nas.emit.footprint` is to what ncnn's process takes. Linux alone.

    python benchmarks/footprint.py --space fused_mbconv --count 6
    python benchmarks/footprint.py --precision int8

Each detector has random weights, is loaded and run once on one thread in a process of its own, and
printed with the process's peak of resident memory beside what the graph predicts, both in MB. In
int8 every layer that may compute so does. (fp16 and bf16 are not kept in memory by x86-64.)
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from nas.deploy.int8.ncnn import to_ncnn_int8
from nas.deploy.int8.ranges import Range
from nas.deploy.ncnn import NcnnModel, to_ncnn
from nas.deploy.weights import convolution_weights, random_detector
from nas.emit.footprint import file_bytes, memory_bytes
from nas.emit.int8 import Int8Way, can_be_int8
from nas.space.ops import Graph, model_graph
from nas.space.search_space import Candidate, SearchSpace, read_space

RUN_ONCE = """
import sys
import numpy as np
import ncnn

def kept(key):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(one for one in lines if one.startswith(key)).split()[1])

def peak(height, width):
    numbers = np.random.rand(3, height, width).astype(np.float32)
    image = ncnn.Mat(numbers).clone()
    open("/proc/self/clear_refs", "w").write("5")  # forget the peak so far
    before = kept("VmRSS")
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    net.load_param(sys.argv[1] + ".param")
    net.load_model(sys.argv[1] + ".bin")
    extractor = net.create_extractor()
    extractor.input("in0", image)
    outputs = [extractor.extract(f"out{i}")[1] for i in range(int(sys.argv[4]))]
    return kept("VmHWM") - before

peak(64, 64)  # the runtime's own code comes into memory
print(peak(int(sys.argv[2]), int(sys.argv[3])))
"""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Hold predicted sizes against real files and real memory."""

    space: str = "fused_mbconv"
    """The search space."""
    count: int = 6
    """Detectors: the smallest, the largest, and random ones between."""
    precision: Literal["fp32", "int8"] = "fp32"
    """Of the files."""


def run(arguments: Arguments) -> None:
    """Prints a line for each detector, and the largest error."""
    errors = []
    for candidate in some(read_space(arguments.space), arguments.count):
        graph = model_graph(candidate.spec, candidate.image_size)
        model = written(candidate, graph, arguments.precision)
        size = len(model.param) + len(model.bin)
        is_x86 = platform.machine() == "x86_64"
        predicted = memory_bytes(graph, arguments.precision, is_x86=is_x86)
        real = taken_bytes(graph, model.param, model.bin)
        errors.append(predicted / real - 1)
        print(
            f"{candidate.image_size} px: files"
            f" {file_bytes(graph, arguments.precision) / 1e6:.3f} predicted,"
            f" {size / 1e6:.3f} real; memory {predicted / 1e6:.1f} predicted,"
            f" {real / 1e6:.1f} taken ({errors[-1]:+.0%})"
        )
    print(
        f"memory: mean error {np.mean(np.abs(errors)):.0%}, the worst {max(errors, key=abs):+.0%}"
    )


def written(candidate: Candidate, graph: Graph, precision: str) -> NcnnModel:
    """The files of a detector with random weights; in int8 maps have made-up ranges."""
    detector = random_detector(candidate.spec, candidate.image_size)
    if precision == "fp32":
        return to_ncnn(detector, candidate.image_size)
    tensors = range(max(op.output for op in graph.ops) + 1)
    choice = {op.output: Int8Way.WINOGRAD for op in graph.ops if can_be_int8(op)}
    ranges = dict.fromkeys(tensors, Range(low=-4.0, high=4.0))
    return to_ncnn_int8(graph, convolution_weights(detector, graph), ranges, choice)


def some(space: SearchSpace, count: int) -> list[Candidate]:
    """The smallest and the largest detector of a space, and random ones between."""
    options, rng = space.options(), np.random.default_rng(1)
    least, most = (space.rebuild({n: o[i] for n, o in options.items()}, 3) for i in (0, -1))
    return [least, *(space.random(rng, 3) for _ in range(count - 2)), most]


def taken_bytes(graph: Graph, param: str, weights: bytes) -> int:
    """The peak of a process's resident memory while it loads and runs a detector, before it off."""
    _, height, width = graph.input_shapes[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.with_suffix(".param").write_text(param)
        path.with_suffix(".bin").write_bytes(weights)
        sizes = [str(one) for one in (height, width, len(graph.outputs))]
        done = subprocess.run(
            [sys.executable, "-c", RUN_ONCE, str(path), *sizes],
            capture_output=True,
            text=True,
            check=True,
            # Each freed buffer goes back to the system: what is resident is what is held.
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "32768"},
        )
    return int(done.stdout)


if __name__ == "__main__":
    run(tyro.cli(Arguments, config=(tyro.conf.OmitArgPrefixes,)))
