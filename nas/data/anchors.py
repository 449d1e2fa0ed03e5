"""Anchors fitted to a data set: k-means on widths and heights, then a genetic refinement.

The idea is YOLOv5's: what counts is not the distance to a cluster's centre but whether the loss
can assign a box at all, that is whether some anchor is within a ratio of four in both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans

from nas.data.images import ImageSet

RATIO_THRESHOLD: Final = 4.0
"""An anchor fits a box if neither side differs by more than this factor: the loss's threshold."""

GOOD_RECALL: Final = 0.98
"""Anchors whose best possible recall reaches this are left as they are (YOLOv5's rule)."""

SMALLEST_SIDE: Final = 2.0
"""Boxes thinner than this, in pixels, are not fitted to."""

GENERATIONS: Final = 1000
MUTATION_SHARE: Final = 0.9
MUTATION_STRENGTH: Final = 0.1

Anchors = tuple[tuple[float, ...], ...]
"""One tuple (w, h, w, h, w, h) in pixels for each level, as in a model YAML."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnchorFit:
    """Anchors and how well they suit the boxes that they were held against."""

    anchors: Anchors
    recall: float
    """Best possible recall: the share of boxes that at least one anchor fits."""
    fitness: float
    """Mean over boxes of the best ratio to an anchor, 0 where none fits, 1 where one is equal."""


def box_sizes(part: ImageSet) -> NDArray[np.float64]:
    """Widths and heights (M, 2) of a part's boxes in pixels at its image size."""
    return part.boxes[:, 2:] - part.boxes[:, :2]


def assess_anchors(anchors: Anchors, sizes: NDArray[np.float64]) -> AnchorFit:
    """How well anchors suit boxes of `sizes` (M, 2); both in pixels at the same image size."""
    best = _best_ratio(np.array(anchors, np.float64).reshape(-1, 2), sizes)
    fits = best > 1 / RATIO_THRESHOLD
    return AnchorFit(
        anchors=anchors, recall=float(fits.mean()), fitness=float((best * fits).mean())
    )


def fit_anchors(
    sizes: NDArray[np.float64], levels: int = 3, each: int = 3, *, seed: int
) -> AnchorFit:
    """Anchors for boxes of `sizes` (M, 2) in pixels, sorted by area into levels, P3 first.

    With fewer distinct sizes than anchors the missing ones are spread around those that exist.
    Raises ValueError without any box. Deterministic by seed.
    """
    count = levels * each
    usable = sizes[(sizes >= SMALLEST_SIDE).all(axis=1)]
    if len(usable) == 0:
        usable = np.maximum(sizes, SMALLEST_SIDE)
    if len(usable) == 0:
        raise ValueError("anchors are fitted to at least one box; got none")
    rng = np.random.default_rng(seed)
    start = _clusters(usable, count, rng)
    best = _evolve(start, usable, rng)
    ordered = best[np.argsort(best.prod(axis=1), kind="stable")]
    rounded = np.round(ordered, 1).reshape(levels, 2 * each)
    return assess_anchors(tuple(tuple(map(float, level)) for level in rounded), usable)


def _best_ratio(anchors: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each box (M,) the best over anchors of the worst ratio of a side, in 0..1."""
    ratio = sizes[:, None] / anchors[None]
    worst = np.minimum(ratio, 1 / ratio).min(axis=2)
    best: NDArray[np.float64] = worst.max(axis=1)
    return best


def _fitness(anchors: NDArray[np.float64], sizes: NDArray[np.float64]) -> float:
    """What the genetic refinement raises; see AnchorFit.fitness."""
    best = _best_ratio(anchors, sizes)
    return float((best * (best > 1 / RATIO_THRESHOLD)).mean())


def _clusters(
    sizes: NDArray[np.float64], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Centres (count, 2) of the sizes by k-means, in units of their standard deviation."""
    distinct = np.unique(sizes, axis=0)
    if len(distinct) <= count:
        extra = distinct[rng.integers(0, len(distinct), count - len(distinct))]
        return np.concatenate([distinct, extra * rng.uniform(0.7, 1.4, extra.shape)])
    spread = np.maximum(sizes.std(axis=0), 1e-6)
    centres = kmeans(sizes / spread, count, iter=30, rng=rng)[0] * spread
    if len(centres) < count:  # k-means drops clusters that end up empty
        extra = distinct[rng.integers(0, len(distinct), count - len(centres))]
        centres = np.concatenate([centres, extra])
    return np.asarray(centres, np.float64)


def _evolve(
    anchors: NDArray[np.float64], sizes: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """The anchors after random multiplications, each kept only if it raises the fitness."""
    if len(sizes) > 5000:  # enough to tell anchors apart, and the cost of a generation
        sizes = sizes[rng.permutation(len(sizes))[:5000]]
    best, best_fitness = anchors, _fitness(anchors, sizes)
    for _ in range(GENERATIONS):
        mutated = rng.random(anchors.shape) < MUTATION_SHARE
        strength = rng.random() * MUTATION_STRENGTH
        factor = 1 + mutated * strength * rng.standard_normal(anchors.shape)
        candidate = np.maximum(best * np.clip(factor, 0.3, 3.0), SMALLEST_SIDE)
        fitness = _fitness(candidate, sizes)
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
    return best
