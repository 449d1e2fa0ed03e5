"""Detectors to take out of torch."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from nas.deploy.weights import random_detector
from nas.detector.builder import Detector
from nas.space.blocks import layers
from nas.space.references import reference_files
from nas.space.search_space import SPACES, read_space
from nas.space.spec import read_spec, with_classes

SIZE = 96
"""Pixels at which they are exported, but for those that need 128."""

REFERENCES = [path.stem for path in reference_files()]
SPACE_NAMES = sorted(path.stem for path in SPACES.glob("*.yaml"))


def reference_path(name: str) -> Path:
    return SPACES / "reference" / f"{name}.yaml"


def reference(name: str, size: int = SIZE, num_classes: int = 3) -> Detector:
    return random_detector(with_classes(read_spec(reference_path(name)), num_classes), size)


def candidate(space: str, seed: int, **choices: str) -> Detector:
    """A random one of a space, but for these choices (a dot in their names is a `_` here)."""
    read = read_space(space)
    found = read.random(np.random.default_rng(seed), num_classes=3)
    if choices:
        said = {name.replace("_", "."): value for name, value in choices.items()}
        found = read.rebuild({**dict(found.choices), **said}, num_classes=3)
    return random_detector(found.spec, SIZE)


def small() -> Detector:
    """The least of the `tiny` space."""
    space = read_space("tiny")
    return random_detector(space.build(lambda name, options: min(options, key=str)).spec, SIZE)


def set_of_blocks() -> list[str]:
    """The references, of EfficientNet's sizes the first alone: the others have the same blocks."""
    return [name for name in REFERENCES if not re.fullmatch(r"efficientnet-b[1-7]", name)]


def usable_size(name: str) -> int:
    """Pixels of a small image whose maps a reference can join."""
    spec = read_spec(reference_path(name))
    return SIZE if min(layer.height for layer in layers(spec, 256)) >= 8 else 128
