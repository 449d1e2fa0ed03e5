"""Checkpoints from and to the tools that pickle whole models."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas import NasError
from nas.detector.builder import build_detector
from nas.files import write_whole
from nas.integrations.pickles import PickledModel
from nas.space.spec import ModelSpec
from nas.training.on_disk.checkpoint import Checkpoint, make_checkpoint, save_checkpoint


def checkpoint_of(
    pickled: PickledModel, spec: ModelSpec, weights: dict[str, Tensor], where: str
) -> Checkpoint:
    """Ours, of a model that we read as `spec`, with exactly these weights.

    NasError where the weights are not those of the model by name and shape.
    """
    detector = build_detector(spec)
    _check_names(where, detector.state_dict(), weights)
    detector.load_state_dict(weights)
    names = pickled.names
    if len(names) != spec.num_classes:
        names = tuple(str(index) for index in range(spec.num_classes))
    size = pickled.image_size or spec.image_size or 640
    return make_checkpoint(detector.eval(), names, size)


def check_target(source: Path, target: Path) -> None:
    """NasError where a checkpoint can't be written to `target`, before any work is done."""
    rule = "the new checkpoint goes to a file of its own, in a folder that is there"
    got = ""
    if target.is_dir():
        got = "a folder"
    elif not target.absolute().parent.is_dir():
        got = f"no folder {target.parent}"
    elif target.exists() and source.exists() and target.samefile(source):
        got = "the file that is read"
    if got:
        raise NasError(str(target), rule, got, "Name another file")


def keep(checkpoint: Checkpoint, target: Path) -> str:
    """Writes a checkpoint of ours, and its model YAML beside it; returns a line about them.

    NasError where another file has the YAML's name, or the disk is full.
    """
    beside = target.with_suffix(".yaml")
    text = checkpoint.model
    if beside.exists() and beside.read_bytes() != text.encode():
        raise NasError(
            str(beside),
            "the model YAML is written beside the weights",
            "another file of that name, which stays",
            "Name another file for the weights, or move that one away",
        )
    with written(target):
        save_checkpoint(target, checkpoint)
        write_whole(beside, text.encode())
    classes = ", ".join(checkpoint.names)
    count = len(checkpoint.weights)
    return f"{target}, {beside}: {count} tensors, {checkpoint.image_size} px, {classes}"


def save_pickled(content: dict[str, Any], target: Path) -> None:
    """Writes a checkpoint of theirs, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with written(target):
        write_whole(target, buffer.getvalue())


@contextmanager
def written(target: Path) -> Iterator[None]:
    """Turns what a disk objects to into one message (torch's writer has RuntimeErrors of its
    own)."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        remedy = "Make room, or name a file where you may write"
        raise NasError(str(target), "the file can be written", reason, remedy) from error


def _check_names(where: str, own: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    shapes = {name: tuple(value.shape) for name, value in own.items()}
    found = {name: tuple(value.shape) for name, value in theirs.items()}
    differing = [name for name in {**shapes, **found} if shapes.get(name) != found.get(name)]
    if differing:
        first = differing[0]
        raise NasError(
            where,
            "the weights are those of the model YAML inside the file, as it is read here",
            f"{first}: {found.get(first, 'absent')} instead of {shapes.get(first, 'nothing')}"
            f" ({len(differing)} of {len(shapes)} tensors differ)",
            "Only models whose rows mean there what they mean here can be brought over",
        )
