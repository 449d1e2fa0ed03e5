"""Times of blocks that were never timed, from those that were: an analytic model and its residual.

Two layers. A sum of physical terms (multiply-accumulates by kind of kernel, numbers moved by kind
of op, weights read, ops started), whose rates are found by non-negative least squares on relative
errors: it extrapolates sensibly and needs few rows. Over it a Gaussian process on the logarithm
of the ratio, which knows what a sum can't (how well a shape fits the vector width, the cache, a
Winograd kernel): it interpolates between like shapes, and says how sure it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from nas.space.blocks import Block
from nas.space.modules import MODULES
from nas.space.ops import Graph, Op, OpKind, expand

Array = NDArray[np.float64]

TERMS: Final = (
    "start",
    "convolutions",
    "other ops",
    "MACs dense",
    "MACs dense, stride 2",
    "MACs 1x1",
    "MACs depthwise",
    "MACs depthwise, stride 2",
    "MACs on channels not of 16",
    "MACs on channels not of 8",
    "maps read by convolutions",
    "maps written by convolutions",
    "weights read",
    "activations",
    "adds and products",
    "concats",
    "pools",
    "upsamples",
)
"""Names of the physical terms of a graph: counts, millions of MACs, millions of numbers."""

_AT: Final = {name: i for i, name in enumerate(TERMS)}


def terms(graph: Graph) -> Array:
    """The physical terms of a graph, shape (len(TERMS),): counts, 1e6 MACs, 1e6 numbers moved."""
    found = np.zeros(len(TERMS))
    found[_AT["start"]] = 1
    for op in graph.ops:
        found += op_terms(op)
    return found


def op_terms(op: Op) -> Array:
    """An op's part in the terms of its graph, shape (len(TERMS),)."""
    found = np.zeros(len(TERMS))
    read = sum(shape.elements for shape in op.shapes_in) / 1e6
    written = op.elements_out / 1e6
    if op.kind is not OpKind.CONVOLUTION:
        found[_AT["other ops"]] += 1
        name, amount = {
            OpKind.ACTIVATION: ("activations", written),
            OpKind.ADD: ("adds and products", written),
            OpKind.MULTIPLY: ("adds and products", written),
            OpKind.CONCAT: ("concats", written),
            OpKind.MAX_POOL: ("pools", op.kernel * written),
            OpKind.GLOBAL_POOL: ("pools", read),
            OpKind.UPSAMPLE: ("upsamples", written),
            OpKind.SLICE: ("concats", written),
            OpKind.PAD: ("concats", written),
            OpKind.SPACE_TO_DEPTH: ("concats", written),
            OpKind.SPLIT: ("concats", written),
            OpKind.SHUFFLE: ("concats", written),
        }[op.kind]
        found[_AT[name]] += amount
        return found
    million = op.macs / 1e6
    found[_AT["convolutions"]] += 1
    kind = "depthwise" if op.groups > 1 else "dense" if op.kernel > 1 else "1x1"
    strided = ", stride 2" if op.stride > 1 and kind != "1x1" else ""
    found[_AT[f"MACs {kind}{strided}"]] += million
    channels = (op.shapes_in[0].channels, op.shape_out.channels)
    if any(count % 16 for count in channels):
        found[_AT["MACs on channels not of 16"]] += million
    if any(count % 8 for count in channels):
        found[_AT["MACs on channels not of 8"]] += million
    found[_AT["maps read by convolutions"]] += read
    found[_AT["maps written by convolutions"]] += written
    found[_AT["weights read"]] += op.weights / 1e6
    return found


@lru_cache(maxsize=65536)
def _block_terms(block: Block) -> Array:
    return terms(expand(block))


def block_terms(blocks: Sequence[Block]) -> Array:
    """The physical terms of blocks, shape (n, len(TERMS))."""
    return np.stack([_block_terms(block) for block in blocks])


def shape_features(blocks: Sequence[Block]) -> Array:
    """Where blocks stand for the Gaussian process, shape (n, features): logarithms and kinds.

    Distances are in natural logarithms of widths, map size and terms; a different module, kernel,
    stride or remainder by the vector width counts like a large step in one of them.
    """
    return np.stack([_block_features(block) for block in blocks])


@lru_cache(maxsize=65536)
def _block_features(block: Block) -> Array:
    graph = expand(block)
    channels = [shape.channels for op in graph.ops for shape in (*op.shapes_in, op.shape_out)]
    hidden = max(channels, default=block.channels_out)
    widths = (sum(block.channels_in), hidden, block.channels_out)
    kinds = [2.0 * (block.module == name) for name in MODULES]
    remainders = [
        value
        for width in widths
        for value in (0.5 * (width % 16 != 0), 0.5 * (width % 8 != 0), 0.5 * (width % 4 != 0))
    ]
    return np.array(
        [
            *np.log(widths),
            # The geometric mean of the sides: a square's own.
            0.5 * (np.log(block.height) + np.log(block.width)),
            np.log(block.kernel),
            2.0 * (block.stride - 1),
            np.log(block.expand_ratio),
            1.0 * (block.se_ratio > 0),
            np.log(max(block.depth, 0.5)),
            0.5 * block.shortcut,
            1.0 * (block.operator == "dense"),
            *remainders,
            *kinds,
        ]
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoothness:
    """How far the Gaussian process carries what it saw: the length of its kernel, and its noise.

    error  mean absolute relative error, each block predicted from the others (a fraction)
    """

    length: float
    noise: float
    error: float


@dataclass(frozen=True, kw_only=True)
class CostModel:
    """A fitted cost model.

    rates     ms for one unit of each term, shape (len(TERMS),), none negative
    features, weights   where the measured blocks stand, and what each adds to the log of a ratio
    """

    rates: Array
    features: Array
    weights: Array
    smoothness: Smoothness

    def predict(self, blocks: Sequence[Block]) -> Array:
        """Predicted ms for blocks, shape (n,)."""
        base = block_terms(blocks) @ self.rates
        near = kernel(shape_features(blocks), self.features, self.smoothness.length)
        return np.asarray(base * np.exp(near @ self.weights), dtype=np.float64)


def fit_rates(matrix: Array, ms: Array) -> Array:
    """Rates (ms per unit, none negative) that least-squares the relative errors."""
    # Imported here: half a second that a table with every block measured does without.
    from scipy.optimize import nnls

    scale = np.maximum(matrix.max(axis=0), 1e-12)
    rates, _ = nnls(matrix / scale / ms[:, None], np.ones(len(ms)))
    return np.asarray(rates / scale, dtype=np.float64)


def kernel(first: Array, second: Array, length: float) -> Array:
    """Matern 3/2 correlations between shapes, (n, m): rough, as times over shapes are."""
    squares = (first**2).sum(1)[:, None] + (second**2).sum(1)[None, :] - 2 * first @ second.T
    scaled = np.sqrt(3 * np.maximum(squares, 0)) / length
    return np.asarray((1 + scaled) * np.exp(-scaled), dtype=np.float64)


def fit_cost_model(
    blocks: Sequence[Block], ms: Sequence[float], smoothness: Smoothness | None = None
) -> CostModel:
    """The cost model of measured blocks (ms each); at least a dozen of them make sense.

    `smoothness` is chosen by leaving one out, unless it is known from an earlier fit.
    """
    times = np.asarray(ms, dtype=np.float64)
    matrix = block_terms(blocks)
    rates = fit_rates(matrix, times)
    residual = np.log(times / np.maximum(matrix @ rates, 1e-9))
    features = shape_features(blocks)
    chosen = smoothness or _choose_smoothness(features, residual)
    covariance = kernel(features, features, chosen.length)
    covariance[np.diag_indices_from(covariance)] += chosen.noise
    return CostModel(
        rates=rates,
        features=features,
        weights=np.asarray(np.linalg.solve(covariance, residual), dtype=np.float64),
        smoothness=chosen,
    )


def _choose_smoothness(features: Array, residual: Array) -> Smoothness:
    """The best of a grid, on at most 600 blocks evenly taken (the work grows with the cube)."""
    step = max(1, len(residual) // 600)
    some, wanted = features[::step], residual[::step]
    return min(
        (
            Smoothness(
                length=length, noise=noise, error=_leave_one_out(some, wanted, length, noise)
            )
            for length in (1.0, 2.0, 4.0, 8.0, 16.0)
            for noise in (0.001, 0.003, 0.01, 0.03, 0.1)
        ),
        key=lambda found: found.error,
    )


def _leave_one_out(features: Array, residual: Array, length: float, noise: float) -> float:
    """Mean absolute error of each residual from all others (Rasmussen & Williams, eq. 5.12)."""
    inverse = np.linalg.inv(kernel(features, features, length) + noise * np.eye(len(residual)))
    errors = (inverse @ residual) / np.diag(inverse)
    return float(np.mean(np.abs(errors)))


def order_of_worth(blocks: Sequence[Block], usage: Array) -> NDArray[np.int64]:
    """Indices of blocks, the one most worth timing first.

    Greedy: the next block is the one whose time the model is least sure about, given those before
    it, weighted by how much of a random network's time it makes (usage times its terms' cost at
    typical rates). That is a pivoted Cholesky decomposition of the weighted covariance.
    """
    features = shape_features(blocks)
    typical = np.array([0.005, 0.003, 0.002, 0.02, 0.02, 0.02, 0.1, 0.1, 0, 0, *([0.4] * 8)])
    cost = block_terms(blocks) @ typical
    worth = np.sqrt(np.maximum(usage, usage[usage > 0].min() / 2)) * cost
    covariance = kernel(features, features, 4.0) * worth[:, None] * worth[None, :]
    return _pivots(covariance, limit=1000)


def _pivots(covariance: Array, limit: int) -> NDArray[np.int64]:
    """The order of pivots; after `limit` of them the rest by what uncertainty they have left."""
    left = np.diag(covariance).copy()
    steps = min(limit, len(left))
    rows = np.zeros((steps, len(left)))
    order = []
    for step in range(steps):
        pivot = int(np.argmax(left))
        order.append(pivot)
        row = covariance[pivot] - rows[:step].T @ rows[:step, pivot]
        rows[step] = row / np.sqrt(max(left[pivot], 1e-12))
        left = np.where(left < 0, left, np.maximum(left - rows[step] ** 2, 0))
        left[pivot] = -1
    rest = np.argsort(-left, kind="stable")
    return np.concatenate([np.array(order, dtype=np.int64), rest[: len(left) - steps]])
