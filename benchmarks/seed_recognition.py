"""Input scale, padding and epsilon of the seed that ships, by what it recognises.

    python benchmarks/seed_recognition.py --datasets ../shared/datasets

Crops of aquarium's objects that are ImageNet classes are shown to EfficientNet-Lite2, written out
here by torch's functions. Each line is one alternative to (x - 127)/128, TensorFlow's padding and
1e-3: the share of crops whose class comes first, and among the first five. The last lines are what
our detectors are cut to: padding of half the kernel on each side, black behind the border, with
the seed's kernels as they are and mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nas.data.dataset import FileSource, read_data
from nas.detector.pretrained.lite import STRIDES
from nas.places import LITE2, weights_of
from nas.terminal import command_line

KNOWN: Final = {
    "jellyfish": {107},
    "starfish": {327},
    "stingray": {5, 6},
    "penguin": {145},
    "shark": {2, 3, 4},
}
"""Class of aquarium -> ImageNet's. Its puffins are none of them."""

SMALLEST: Final = 60
"""Pixels of an object's longer side."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Print what the seed recognises under several readings of it."""

    datasets: Path
    """The folder with aquarium/data.yaml."""
    size: int = 256
    """Pixels of a crop."""
    most: int = 100
    """Crops of a class, the first in the order of the files."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the weights are read: what is done to pixels 0..255, epsilon, padding."""

    scale: Callable[[Tensor], Tensor] = lambda x: (x - 127) / 128
    eps: float = 1e-3
    is_same: bool = True
    edge: float = 0.0
    is_mirrored: bool = False


def crops(arguments: Arguments) -> tuple[Tensor, list[str]]:
    """Crops (N, 3, S, S), pixels 0..255, RGB, squares 1.3 times their objects; their classes."""
    data = read_data(str(arguments.datasets / "aquarium" / "data.yaml"))
    counts = dict.fromkeys(KNOWN, 0)
    found, classes = [], []
    for part in data.parts.values():
        assert isinstance(part, FileSource)
        for file, labels in zip(part.files, part.labels, strict=True):
            image: NDArray[np.uint8] = np.empty(0, np.uint8)
            for kind, box in zip(labels.classes.tolist(), labels.boxes, strict=True):
                name = data.names[kind]
                if counts.get(name, arguments.most) >= arguments.most:
                    continue
                image = image if image.size else _decoded(file)
                height, width = image.shape[:2]
                left, top, right, bottom = box * (width, height, width, height)
                side = max(right - left, bottom - top)
                if side < SMALLEST:
                    continue
                x, y, reach = (left + right) / 2, (top + bottom) / 2, 0.65 * side
                rows = slice(max(0, int(y - reach)), int(y + reach))
                cut = image[rows, max(0, int(x - reach)) : int(x + reach)]
                way = cv2.INTER_AREA if len(cut) > arguments.size else cv2.INTER_CUBIC
                size = (arguments.size, arguments.size)
                found.append(cv2.resize(np.ascontiguousarray(cut), size, interpolation=way))
                classes.append(name)
                counts[name] += 1
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float(), classes


def _decoded(file: Path) -> NDArray[np.uint8]:
    """An image (H, W, 3), RGB."""
    image = cv2.imread(str(file))
    assert image is not None, file
    return np.ascontiguousarray(image[:, :, ::-1], np.uint8)


def logits(weights: Mapping[str, Tensor], x: Tensor, reading: Reading) -> Tensor:
    """EfficientNet-Lite2's (B, 1000) logits of pixels (B, 3, S, S)."""

    def conv(y: Tensor, name: str, stride: int = 1, groups: int = 1, edge: float = 0.0) -> Tensor:
        w = weights[f"{name}.weight"]
        k = w.shape[-1]
        w = w.flip(-1) if reading.is_mirrored else w
        low = (k - stride) // 2 if reading.is_same else k // 2
        high = k - stride - low if reading.is_same else k // 2
        return F.conv2d(F.pad(y, (low, high) * 2, value=edge), w, None, stride, 0, 1, groups)

    def norm(y: Tensor, name: str) -> Tensor:
        mean, var, gamma, beta = (
            weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(y, mean, var, gamma, beta, False, 0.0, reading.eps)

    y = F.relu6(norm(conv(reading.scale(x), "_conv_stem", 2, edge=reading.edge), "_bn0"))
    index, stage, width = 0, -1, 0
    while f"_blocks.{index}._depthwise_conv.weight" in weights:
        own, z = f"_blocks.{index}.", y
        is_first = len(weights[f"{own}_project_conv.weight"]) != width
        width, stage = len(weights[f"{own}_project_conv.weight"]), stage + is_first
        if f"{own}_expand_conv.weight" in weights:
            z = F.relu6(norm(conv(z, f"{own}_expand_conv"), f"{own}_bn0"))
        stride = STRIDES[stage] if is_first else 1
        z = F.relu6(norm(conv(z, f"{own}_depthwise_conv", stride, z.shape[1]), f"{own}_bn1"))
        z = norm(conv(z, f"{own}_project_conv"), f"{own}_bn2")
        y = z if is_first else y + z
        index += 1
    y = F.relu6(norm(conv(y, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(y, weights["_fc.weight"], weights["_fc.bias"])


def shares(first: Tensor, classes: list[str]) -> str:
    """Top 1 and top 5 of each class and of all, from the first five classes (N, 5)."""
    hits = [
        [int(one) in KNOWN[name] for one in row] for row, name in zip(first, classes, strict=True)
    ]
    text = []
    for name in (*KNOWN, "all"):
        own = [hit for hit, kind in zip(hits, classes, strict=True) if name in (kind, "all")]
        top1, top5 = (sum(any(hit[:k]) for hit in own) / len(own) for k in (1, 5))
        text.append(f"{name} {top1:.2f}/{top5:.2f}")
    return ", ".join(text)


def main(arguments: Arguments) -> None:
    """Prints a line an alternative."""
    weights = torch.load(weights_of(LITE2), map_location="cpu", weights_only=True)
    pictures, classes = crops(arguments)
    pieces = math.ceil(len(pictures) / 16)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    deviation = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    black = -127 / 128
    readings = {
        "as TensorFlow": Reading(),
        "ImageNet's mean and deviation": Reading(scale=lambda x: (x / 255 - mean) / deviation),
        "0..1": Reading(scale=lambda x: x / 255),
        "BGR": Reading(scale=lambda x: (x.flip(1) - 127) / 128),
        "epsilon 1e-5": Reading(eps=1e-5),
        "half the kernel, grey edge": Reading(is_same=False),
        "the same, mirrored": Reading(is_same=False, is_mirrored=True),
        "half the kernel, black edge": Reading(is_same=False, edge=black),
        "the same, mirrored: ours": Reading(is_same=False, edge=black, is_mirrored=True),
    }
    for name, reading in readings.items():
        with torch.no_grad():
            out = torch.cat([logits(weights, part, reading) for part in pictures.chunk(pieces)])
        print(f"{name:32}{shares(out.topk(5, 1).indices, classes)}", flush=True)


if __name__ == "__main__":
    command_line(Arguments, main)
