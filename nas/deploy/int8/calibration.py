"""The ranges of a detector's maps, seen on pictures that were prepared as at inference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from nas.deploy.int8.ranges import Histogram, Range, RangeMethod
from nas.deploy.weights import ConvolutionWeights
from nas.emit.onnx import emit_onnx, map_names
from nas.space.ops import Graph

GATE: Final = "_gate"
"""Ends the name of a SiLU's sigmoid, which no tensor of the graph stands for: 0 to 1."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What was seen of each map."""

    histograms: dict[str, Histogram]
    """By the map's name in an ONNX model."""
    pictures: int
    digest: str
    """16 hex digits over the pictures' pixels."""

    def ranges(self, method: RangeMethod, *, is_symmetric: bool) -> dict[str, Range]:
        """The range of each map by its name.

        is_symmetric  maps are stored around 0 (ncnn), not from their least number (ONNX Runtime)
        """
        return {
            name: Range(low=0.0, high=1.0)
            if name.endswith(GATE)
            else histogram.range(method, is_symmetric=is_symmetric)
            for name, histogram in self.histograms.items()
        }


def calibrate(
    graph: Graph,
    weights: tuple[ConvolutionWeights, ...],
    pictures: Pixels,
    tell: Callable[[int], None],
) -> Calibration:
    """What every map of a detector's graph holds on the pictures (N, H, W, 3), RGB.

    tell  is told after each picture how many were seen
    """
    names, session = _session(graph, weights)
    histograms = {name: Histogram() for name in names}
    digest = hashlib.sha256()
    for count, picture in enumerate(pictures, start=1):
        digest.update(np.ascontiguousarray(picture).tobytes())
        image = (picture.transpose(2, 0, 1)[None].astype(np.float32)) / 255
        histograms["in0"].add(image)
        maps = session.run(names[1:], {"in0": image})
        for name, found in zip(names[1:], maps, strict=True):
            histograms[name].add(np.asarray(found, np.float32))
        tell(count)
    return Calibration(
        histograms=histograms, pictures=len(pictures), digest=digest.hexdigest()[:16]
    )


def _session(graph: Graph, weights: tuple[ConvolutionWeights, ...]) -> tuple[list[str], Any]:
    """The names of all maps, the input's first, and the fp32 model that leaves them all."""
    model = onnx.ModelProto.FromString(emit_onnx(graph).content)
    numbers = iter([array for one in weights for array in (one.filters, one.bias)])
    kept = [
        numpy_helper.from_array(next(numbers), one.name)
        if one.data_location == onnx.TensorProto.EXTERNAL
        else one
        for one in model.graph.initializer
    ]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    tensors = set(map_names(graph).values())
    names = ["in0"] + [
        name
        for node in model.graph.node
        for name in node.output
        if name in tensors or name.endswith(GATE)
    ]
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names[1:]
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return names, session
