"""How much of a heat map lies in the box that it explains: Grad-CAM as published, and as here.

    python benchmarks/heat_maps.py WEIGHTS.pt --data DATA.yaml [--boxes 100]

Of the best true boxes, four maps each: gradients averaged over the map (arXiv 1610.02391) or not
(HiResCAM, arXiv 2011.08891), at the map that the box's own level of the head reads, or at the
backbone's last map of the head's finest stride. Beside them the box's share of the picture, which
a map that says nothing would have.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from nas.data.dataset import load_part, read_data
from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.grading.boxes.heat import deepest_fine, logit_of, prediction_of
from nas.grading.boxes.matching import match
from nas.grading.checkpoint_file import open_checkpoint
from nas.training.metrics import detect, to_input


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print the mean share of heat inside the box."""

    weights: Annotated[Path, tyro.conf.Positional]
    """A best.pt of nas.train."""
    data: str
    """The data set that it was taught."""
    part: Literal["train", "val", "test"] = "val"
    """The part whose boxes are explained."""
    boxes: int = 100
    """The best true ones."""


def run(arguments: Arguments) -> None:
    """One line a kind of map."""
    file = open_checkpoint(arguments.weights)
    assert file.detector is not None
    part = load_part(read_data(arguments.data), arguments.part, file.image_size)
    matches = match(list(detect(file.predict, part)), part)
    places = np.nonzero(matches.is_true)[0][: arguments.boxes]
    shares: dict[str, list[float]] = {}
    for place in places:
        image, kind = int(matches.detections.images[place]), int(matches.detections.classes[place])
        box = matches.detections.boxes[place]
        row = prediction_of(file.detector, part, image, (box, kind, float(matches.scores[place])))
        inside = box_mask(part, image, box)
        shares.setdefault("the box's share of the picture", []).append(float(inside.mean()))
        for name, heat in variants(file.detector, part, image, row, kind).items():
            shares.setdefault(name, []).append(share_inside(heat, inside))
    print(f"{arguments.weights.name}, {len(places)} true boxes: mean share of heat inside the box")
    for name, values in shares.items():
        print(f"  {name}: {np.mean(values):.3f}")


def box_mask(part: ImageSet, image: int, box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(S, S) where the box lies in the image's square."""
    left, top, width, height = part.frames[image]
    scale = np.array([width, height]) / part.sizes[image]
    low, high = box[:2] * scale + (left, top), box[2:] * scale + (left, top)
    y, x = np.mgrid[: part.images.shape[1], : part.images.shape[2]] + 0.5
    found: NDArray[np.bool_] = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    return found


def variants(
    detector: Detector, part: ImageSet, image: int, row: int, kind: int
) -> dict[str, torch.Tensor]:
    """The four heat maps (h, w) of a prediction."""
    maps: list[torch.Tensor] = []
    handles = [
        one.register_forward_hook(lambda _, __, out: maps.append(out))
        for one in detector.model[:-1]
    ]
    pixels = to_input(part.images[image][None], torch.device("cpu")).requires_grad_(True)
    features = detector.features(pixels)
    for handle in handles:
        handle.remove()
    raw = detector.head.maps(features)
    level, before = 0, 0
    while row >= (before := before + predictions(raw[level], detector)):
        level += 1
    places = {
        "what the head's level reads": features[level],
        "the backbone's last fine map": deepest_fine(
            maps, part.images.shape[1] // min(detector.head.strides)
        ),
    }
    gradients = torch.autograd.grad(logit_of(detector, raw, row, kind), list(places.values()))
    found = {}
    for (name, seen), gradient in zip(places.items(), gradients, strict=True):
        mean = gradient.mean((2, 3), keepdim=True)
        for how, weights in (("averaged", mean), ("place by place", gradient)):
            found[f"{name}, gradients {how}"] = torch.relu((weights * seen).sum(1))[0].detach()
    return found


def predictions(level: torch.Tensor, detector: Detector) -> int:
    """How many predictions a raw map (1, channels, ny, nx) holds."""
    return level.shape[2] * level.shape[3] * getattr(detector.head, "num_anchors", 1)


def share_inside(heat: torch.Tensor, inside: NDArray[np.bool_]) -> float:
    """The heat inside the mask, of all; 0 where there is none."""
    large = torch.nn.functional.interpolate(
        heat[None, None], size=inside.shape, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    return float(large[inside].sum() / max(float(large.sum()), 1e-12))


if __name__ == "__main__":
    run(tyro.cli(Arguments))
