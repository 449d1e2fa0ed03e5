"""Checkpoints: plain dicts of tensors, numbers and text that load with `weights_only=True`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Final

import torch
from torch import Tensor

from nas import NasError
from nas.detector.builder import Detector, build_detector
from nas.space.image_size import ImageSize, parse_image_size, sides, written
from nas.space.spec import dump_spec, parse_written
from nas.training.on_disk.written import write_bytes

FORMAT: Final = 1
"""1: the first. A rectangle's image size is text, which its first readers refused by name."""

ANOTHER: Final = "Give another best.pt or last.pt of nas.train: this one is damaged"

FORMS: Final[Mapping[str, tuple[type[Any], ...]]] = {
    "model": (str,),
    "names": (list, tuple),
    "image_size": (int, str),
    "weights": (dict,),
    "map50_95": (float, int, NoneType),
    "map50": (float, int, NoneType),
    "training": (dict, NoneType),
}
"""What a checkpoint holds, and of which type."""


class CheckpointError(NasError):
    """A file that is no checkpoint of ours, or one that doesn't suit what it is wanted for."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A trained detector, and where it was still being trained, what going on takes."""

    model: str
    """The model YAML, with the classes and anchors it was trained with."""
    names: tuple[str, ...]
    """The class names."""
    image_size: ImageSize
    """Of the images that it was trained on."""
    weights: Mapping[str, Tensor]
    """State dict of the averaged weights: what is graded and exported."""
    map50_95: float | None
    """On the validation part; None if it was not graded."""
    map50: float | None
    training: Mapping[str, Any] | None = None
    """The loop's own state (see nas.training.loop); None in a best.pt."""
    where: str = field(default="checkpoint", compare=False, repr=False)
    """Its file, for messages."""

    def build(self) -> Detector:
        """The detector with these weights, in eval mode on the CPU.

        CheckpointError where a tensor lacks, or has another shape than the model's.
        """
        spec = parse_written(self.model, where=self.where)
        if spec.num_classes != len(self.names):
            raise CheckpointError(
                self.where,
                f"a checkpoint names the classes of its model ({spec.num_classes})",
                f"{len(self.names)} names",
                ANOTHER,
            )
        detector = build_detector(spec)
        own = {name: tuple(value.shape) for name, value in detector.state_dict().items()}
        held = {name: tuple(value.shape) for name, value in self.weights.items()}
        differing = [name for name in {**own, **held} if own.get(name) != held.get(name)]
        if differing:
            first = differing[0]
            raise CheckpointError(
                self.where,
                "the weights are those of the model that stands beside them",
                f"{first}: {held.get(first, 'absent')} instead of {own.get(first, 'nothing')}"
                f" ({len(differing)} of {len(own)} tensors differ)",
                ANOTHER,
            )
        detector.load_state_dict(dict(self.weights))
        return detector.eval()


def make_checkpoint(
    detector: Detector,
    names: tuple[str, ...],
    image_size: ImageSize,
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
        "image_size": written(checkpoint.image_size),
        "weights": {name: value.cpu() for name, value in checkpoint.weights.items()},
        "map50_95": checkpoint.map50_95,
        "map50": checkpoint.map50,
        "training": None if checkpoint.training is None else dict(checkpoint.training),
    }
    content = io.BytesIO()
    torch.save(document, content)
    write_bytes(path, content.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint onto the CPU. Raises CheckpointError; runs no code from the file."""
    document = _load(path)
    said = document.get("format", "no format") if isinstance(document, dict) else "no mapping"
    if type(said) is not int or said != FORMAT:
        raise CheckpointError(
            str(path),
            f"a checkpoint of nas.train has format {FORMAT}",
            str(said)[:80],
            "Give a best.pt or last.pt of this version of nas.train",
        )
    wrong = [key for key, types in FORMS.items() if not isinstance(document.get(key, ...), types)]
    wrong = wrong or [key for key, holds in _KINDS.items() if not holds(document[key])]
    if wrong:
        raise CheckpointError(
            str(path),
            f"a checkpoint holds {', '.join(FORMS)}",
            f"nothing of use as {', '.join(wrong)}",
            ANOTHER,
        )
    broken = [name for name, one in document["weights"].items() if not torch.isfinite(one).all()]
    if broken:
        raise CheckpointError(
            str(path),
            "the weights of a checkpoint are finite numbers",
            f"{broken[0]} with NaN or infinite ones ({len(broken)} of "
            f"{len(document['weights'])} tensors have such)",
            ANOTHER,
        )
    image_size = parse_image_size(document["image_size"])
    assert image_size is not None, "held against _is_size"
    return Checkpoint(
        model=document["model"],
        names=tuple(document["names"]),
        image_size=image_size,
        weights=document["weights"],
        map50_95=document["map50_95"],
        map50=document["map50"],
        training=document["training"],
        where=str(path),
    )


def _are_weights(value: Any) -> bool:
    """Whether these are tensors."""
    return all(isinstance(one, Tensor) for one in value.values())


def _are_names(value: Any) -> bool:
    """Whether these are class names."""
    return bool(value) and all(isinstance(name, str) for name in value)


def _is_size(value: Any) -> bool:
    """Whether this is an image size."""
    size = parse_image_size(value)
    return size is not None and min(sides(size)) >= 1


_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "names": _are_names,
    "image_size": _is_size,
    "weights": _are_weights,
}


def _load(path: Path) -> Any:
    """What torch finds in the file: tensors, numbers and text, in lists and mappings."""
    try:
        # All of it first: of a file that was cut short torch's own reading tells an error of the
        # disk's kind.
        file = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise CheckpointError(
            str(path),
            "a checkpoint is a readable file",
            str(error.strerror or error),
            "Correct the path",
        ) from error
    try:
        if zipfile.is_zipfile(file):
            # torch reads over a flipped bit; the sums that it wrote beside the tensors don't.
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise _damage(path, damaged)
        file.seek(0)
        return torch.load(file, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except zipfile.BadZipFile as error:
        raise _damage(path, str(error)) from error
    except Exception as error:  # a damaged pickle may raise anything at all
        raise CheckpointError(
            str(path),
            "a checkpoint holds tensors, numbers and text alone, whole",
            f"something else, or a part of it ({type(error).__name__})",
            "Give a best.pt or last.pt of nas.train. Weights that YOLOv5 or Ultralytics trained "
            "are brought here by nas.integrations (docs/integrations.md)",
        ) from error


def _damage(path: Path, part: str) -> CheckpointError:
    return CheckpointError(
        str(path),
        "a checkpoint is as it was written",
        f"damage in its part {part}",
        "Copy it once more, or give the other one of best.pt and last.pt",
    )
