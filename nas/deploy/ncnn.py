"""A detector as ncnn files: the `.param` that is timed on the board, and the `.bin` beside it.

The input blob is `in0` (RGB, 0..1), the outputs `out0`, `out1`, ... are the raw maps of the levels
from the finest on, (channels, height, width), not decoded.

The `.bin` holds, for each layer with weights, a four-byte tag (0: fp32 follows; 0x01306B47: fp16
follows, padded to four bytes), the filters, and the bias in fp32 (ncnn's `ModelBinFromDataReader`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from nas.deploy.weights import Precision, convolution_weights
from nas.detector.builder import Detector
from nas.emit.ncnn import emit_ncnn
from nas.space.image_size import ImageSize
from nas.space.ops import model_graph

TAGS: Final[dict[Precision, int]] = {"fp32": 0, "fp16": 0x01306B47}
"""What ncnn reads before a layer's filters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NcnnModel:
    """The contents of a `.param` and of its `.bin`."""

    param: str
    bin: bytes


def to_ncnn(detector: Detector, image_size: ImageSize, precision: Precision = "fp32") -> NcnnModel:
    """The detector for images of a size, filters stored as `precision` says."""
    graph = model_graph(detector.spec, image_size)
    parts = []
    for weights in convolution_weights(detector, graph, precision):
        filters = weights.filters.tobytes()
        if precision == "fp16":
            filters = weights.filters.astype("<f2").tobytes()
            filters += bytes(-len(filters) % 4)
        parts += [TAGS[precision].to_bytes(4, "little"), filters]
        parts.append(weights.bias.astype(np.float32).tobytes())
    return NcnnModel(param=emit_ncnn(graph), bin=b"".join(parts))
