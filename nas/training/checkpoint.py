"""Checkpoints: plain dicts of tensors, numbers and text that load with `weights_only=True`."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from nas import NasError
from nas.detector.builder import Detector, build_detector
from nas.space.spec import dump_spec, parse_written

FORMAT: Final = 1
"""1: the first."""


class CheckpointError(NasError):
    """A file that is no checkpoint of ours, or one that doesn't suit what it is wanted for."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained detector, and where it was still being trained, what going on takes."""

    model: str
    """The model YAML, with the classes and anchors it was trained with."""
    names: tuple[str, ...]
    """The class names."""
    image_size: int
    """Side of the images it was trained on, in pixels."""
    weights: Mapping[str, Tensor]
    """State dict of the averaged weights: what is graded and exported."""
    map50_95: float | None
    """On the validation part; None if it was not graded."""
    map50: float | None
    training: Mapping[str, Any] | None = None
    """The loop's own state (see nas.training.loop); None in a best.pt."""

    def build(self, where: str = "checkpoint") -> Detector:
        """The detector with these weights, in eval mode on the CPU.

        CheckpointError where a tensor lacks, or has another shape than the model's.
        """
        detector = build_detector(parse_written(self.model, where=where))
        own = {name: tuple(value.shape) for name, value in detector.state_dict().items()}
        held = {name: tuple(value.shape) for name, value in self.weights.items()}
        differing = [name for name in {**own, **held} if own.get(name) != held.get(name)]
        if differing:
            first = differing[0]
            raise CheckpointError(
                where,
                "the weights are those of the model that stands beside them",
                f"{first}: {held.get(first, 'absent')} instead of {own.get(first, 'nothing')}"
                f" ({len(differing)} of {len(own)} tensors differ)",
                "The file is damaged or was edited: give another best.pt or last.pt",
            )
        detector.load_state_dict(dict(self.weights))
        return detector.eval()


def make_checkpoint(
    detector: Detector,
    names: tuple[str, ...],
    image_size: int,
    *,
    map50_95: float | None = None,
    map50: float | None = None,
    training: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """The checkpoint of a detector as it stands."""
    return Checkpoint(
        model=dump_spec(detector.spec),
        names=names,
        image_size=image_size,
        weights=detector.state_dict(),
        map50_95=map50_95,
        map50=map50,
        training=training,
    )


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint whole or not at all."""
    document = {
        "format": FORMAT,
        "model": checkpoint.model,
        "names": list(checkpoint.names),
        "image_size": checkpoint.image_size,
        "weights": {name: value.cpu() for name, value in checkpoint.weights.items()},
        "map50_95": checkpoint.map50_95,
        "map50": checkpoint.map50,
        "training": None if checkpoint.training is None else dict(checkpoint.training),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(document, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint onto the CPU. Raises CheckpointError; runs no code from the file."""
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(
            str(path),
            "a checkpoint is a readable file",
            str(error.strerror or error),
            "Correct the path",
        ) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            str(path),
            "a checkpoint holds tensors, numbers and text alone",
            f"something else ({type(error).__name__})",
            "Give a best.pt or last.pt of nas.train",
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        got = document.get("format", "no format") if isinstance(document, dict) else "no mapping"
        raise CheckpointError(
            str(path),
            f"a checkpoint of nas.train has format {FORMAT}",
            str(got),
            "Give a best.pt or last.pt of this version of nas.train",
        )
    return Checkpoint(
        model=document["model"],
        names=tuple(document["names"]),
        image_size=document["image_size"],
        weights=document["weights"],
        map50_95=document["map50_95"],
        map50=document["map50"],
        training=document["training"],
    )


def check_whole(path: Path) -> None:
    """CheckpointError where bytes of a checkpoint changed since it was written.

    torch.load does not look at the sums that its files keep, and takes such weights as they are.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError) as error:
        damaged = str(error)
    if damaged is not None:
        raise CheckpointError(
            str(path),
            "a checkpoint is as it was written",
            f"damage in its part {damaged}",
            "Copy it once more, or give the other one of best.pt and last.pt",
        )
