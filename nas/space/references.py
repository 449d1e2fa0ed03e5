"""Hand-designed detectors beside a search space: `search_spaces/reference/*.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nas import places
from nas.space.blocks import layers, strides
from nas.space.image_size import ImageSize, is_multiple, read_image_size
from nas.space.search_space import SPACES, Candidate, SearchSpace, architecture_digest
from nas.space.spec import ModelSpec, read_spec, with_classes

REFERENCES: Final = SPACES / "reference"
"""Where those that ship lie; one's own in nearer places join them (nas.places)."""

_STRIDED_SIZE: Final = 256
"""Pixels; any multiple of a detector's largest stride gives the same strides."""


def reference_size(space: SearchSpace) -> ImageSize:
    """The image size at which they stand beside a space's candidates: its middle one."""
    sizes = space.options()["image_size"]
    return read_image_size(sizes[(len(sizes) - 1) // 2], "image_size")


def reference_files(folder: Path | None = None) -> list[Path]:
    """Their files by name: of a folder, or of every place, the nearest of each name."""
    if folder is not None:
        return sorted(folder.glob("*.yaml"))
    found = places.listed("search_spaces", "reference/*.yaml").values()
    return sorted(found, key=lambda path: path.name)


def as_candidate(spec: ModelSpec, image_size: ImageSize) -> Candidate:
    """A detector that no choices lead to."""
    digest = architecture_digest(spec, image_size)
    return Candidate(spec=spec, image_size=image_size, choices=(), digest=digest)


def fits(spec: ModelSpec, image_size: ImageSize) -> bool:
    """Whether the largest stride of a detector divides both sides of an image size."""
    return is_multiple(image_size, max(strides(layers(spec, _STRIDED_SIZE), _STRIDED_SIZE)))


def read_references(
    space: SearchSpace, num_classes: int, folder: Path | None = None
) -> dict[str, Candidate]:
    """Name -> detector, at the space's middle image size, of those that this size fits.

    SpecError where a file breaks a rule.
    """
    size = reference_size(space)
    specs = {
        path.stem: with_classes(read_spec(path), num_classes) for path in reference_files(folder)
    }
    return {name: as_candidate(spec, size) for name, spec in specs.items() if fits(spec, size)}
