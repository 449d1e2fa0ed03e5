"""Which images a pass shows: each once, or those with rare classes more often.

Repeat factors after LVIS (arXiv 1908.03195, appendix B): a class that a share f of the images shows
asks for max(1, sqrt(t / f)) of each of them, and an image is wanted as often as its rarest class
asks. Here t is the commonest class's share, the exponent a setting, and a pass keeps its length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nas.data.images import ImageSet


def image_weights(part: ImageSet, power: float) -> NDArray[np.float64]:
    """How often (N,) a pass shows each image, 1 on average.

    power   0: each once; 1: classes would be equally frequent if each image showed but one
    """
    count, classes = len(part), len(part.names)
    if power == 0 or len(part.boxes) == 0:
        return np.ones(count)
    shows = np.zeros((count, classes), np.bool_)
    shows[np.repeat(np.arange(count), np.diff(part.starts)), part.classes] = True
    share = shows.mean(axis=0)
    asked = np.where(share > 0, (share.max() / np.maximum(share, 1 / count)) ** power, 1.0)
    weights = np.where(shows, asked, 1.0).max(axis=1)
    return np.asarray(weights * (count / weights.sum()), np.float64)


def order_of_pass(weights: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The images (N,) of a pass in random order, each as often as its weight, rounded.

    Systematic sampling (one random offset), so that weights of 1 show each image exactly once.
    """
    count = len(weights)
    order = rng.permutation(count)
    if (weights == 1).all():
        return order
    edges = np.cumsum(weights[order])
    places = np.arange(count) + rng.random()
    found = order[np.minimum(np.searchsorted(edges, places, side="right"), count - 1)]
    return np.asarray(rng.permutation(found), np.int64)


def classes_without_boxes(part: ImageSet) -> tuple[str, ...]:
    """The names of the classes that no box of a part has: nothing teaches them."""
    counts = np.bincount(part.classes, minlength=len(part.names))
    return tuple(name for name, count in zip(part.names, counts, strict=True) if count == 0)
