"""Folders that detect.py finds its models in, pictures for them, and how boxes are compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from nas.data.drawn import NAMES, parts
from nas.deploy.decode import layout_of
from nas.deploy.ncnn import to_ncnn
from nas.deploy.on_board import detect
from nas.deploy.onnx import output_names, to_onnx
from nas.deploy.report import Exported, ExportReport
from nas.deploy.weights import Precision, random_detector
from nas.detector.anchor_free import AnchorFreeDetect
from nas.detector.builder import Detector
from nas.detector.head import Detect
from nas.space.spec import parse_spec, with_classes
from nas.training.metrics import Detections, to_input
from tests.light_heads import FORMS, model_text

SIZE = 96
HEADS = ("Detect, [nc, anchors]", *FORMS)
"""With anchors, and every form without."""

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def detector_of(head: str, rarity: float = 0.0) -> Detector:
    """One for the drawn set, untaught, whose probabilities spread over 0 to 1.

    rarity  by how much their logits are lowered: with 3 a picture has a handful of boxes
    """
    text = model_text(head) + ("anchors: 3\n" if "anchors" in head else "")
    spec = with_classes(parse_spec(text), len(NAMES))
    detector = random_detector(spec, SIZE)
    head_, seen = detector.head, parts()["val"].load(SIZE, 1).images[:8]
    with torch.no_grad():
        for level, output in enumerate(detector.maps(to_input(seen, torch.device("cpu")))):
            if isinstance(head_, Detect):
                last = head_.m[level]
                score = np.tile(np.arange(head_.num_outputs) >= 4, head_.num_anchors)
            else:
                last = head_.cv3[level][-1]
                output, score = output[:, 4 * head_.bins :], np.ones(head_.num_classes, bool)
            logits = output - last.bias.view(1, -1, 1, 1)
            scale = torch.where(torch.from_numpy(score), 2.0, 1.0) / logits.std(dim=(0, 2, 3))
            last.weight.mul_(scale.view(-1, 1, 1, 1))
            lower = torch.from_numpy(rarity * score)
            last.bias.copy_(-logits.mean(dim=(0, 2, 3)) * scale - lower)
    return detector


def write_bundle(folder: Path, detector: Detector, size: int = SIZE) -> Path:
    """A folder with ONNX and ncnn files in both precisions, report.json and detect.py."""
    folder.mkdir(parents=True, exist_ok=True)
    exported = []
    for precision in PRECISIONS:
        (folder / f"m-{precision}.onnx").write_bytes(to_onnx(detector, size, precision))
        model = to_ncnn(detector, size, precision)
        (folder / f"m-{precision}.ncnn.param").write_text(model.param)
        (folder / f"m-{precision}.ncnn.bin").write_bytes(model.bin)
        exported += [
            Exported(
                format="ncnn",
                precision=precision,
                files=(f"m-{precision}.ncnn.param", f"m-{precision}.ncnn.bin"),
                input="in0",
                outputs=output_names(detector, has_boxes=False),
                holds="maps",
            ),
            Exported(
                format="onnx",
                precision=precision,
                files=(f"m-{precision}.onnx",),
                input="images",
                outputs=output_names(detector, has_boxes=True),
                holds=f"{layout_of(detector)} boxes",
            ),
        ]
    head = detector.head
    report = ExportReport(
        model="m",
        digest="0",
        image_size=size,
        classes=NAMES,
        anchors=detector.spec.anchors,
        strides=tuple(head.strides),
        head="anchor-free" if isinstance(head, AnchorFreeDetect) else "anchors",
        bins=head.bins if isinstance(head, AnchorFreeDetect) else 0,
        weights="random",
        map50_95=None,
        exported=tuple(exported),
    )
    (folder / "report.json").write_text(json.dumps(report.document(folder)))
    shutil.copy(detect.__file__, folder / "detect.py")
    return folder


def write_pictures(folder: Path, count: int) -> Path:
    """Drawn pictures of many shapes as a YOLO data set; the path of its data.yaml."""
    drawn = parts()["val"].load(160, 1)
    for part in ("train", "val"):
        (folder / "images" / part).mkdir(parents=True)
        (folder / "labels" / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        height, width = rng.integers(40, 161, 2)
        picture = drawn.images[index][:height, :width]
        name = folder / "images" / "val" / f"{index:03d}.png"
        assert cv2.imwrite(str(name), picture[..., ::-1])
        (folder / "labels" / "val" / f"{index:03d}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    shutil.copy(name, folder / "images" / "train")
    shutil.copy(folder / "labels" / "val" / f"{name.stem}.txt", folder / "labels" / "train")
    names = "".join(f"  - {one}\n" for one in NAMES)
    text = f"train: images/train\nval: images/val\nnames:\n{names}"
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


def between(scores: NDArray[np.float64]) -> float:
    """A confidence that five to fifteen of the scores (n,), best first, lie above, and none near.

    Of hundreds of boxes that overlap at random some lie so near a threshold that rounding decides.
    """
    gaps = scores[5:15] - scores[6:16]
    place = 5 + int(gaps.argmax())
    return float(scores[place] + scores[place + 1]) / 2


def stray(found: detect.FoundBoxes, right: Detections) -> tuple[float, float]:
    """By how many pixels, and by how much score, boxes differ at most.

    Each box is held against the nearest of its class on the other side; one that has none there is
    as far off as it scores.
    """
    pixels, shares = 0.0, 0.0
    sides = (
        (found.boxes, found.scores, found.classes),
        (right.boxes, right.scores, right.classes),
    )
    for mine, theirs in (sides, sides[::-1]):
        for box, score, kind in zip(*mine, strict=True):
            same = theirs[2] == kind
            if not same.any():
                shares = max(shares, float(score))
                continue
            distances = np.abs(theirs[0][same] - box).max(axis=1)
            differences = np.abs(theirs[1][same] - score)
            # Clipped boxes may be equal: the one of like score is meant.
            nearest = int((distances + 100 * differences).argmin())
            pixels = max(pixels, float(distances[nearest]))
            shares = max(shares, float(differences[nearest]))
    return pixels, shares


def rgb(path: Path) -> NDArray[np.uint8]:
    """A picture's pixels as detect.py reads them."""
    found = detect.read_picture(path)
    assert not isinstance(found, str), found
    return found
