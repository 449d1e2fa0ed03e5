"""Checkpoints from and to the tools that pickle whole models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas import NasError
from nas.detector.builder import build_detector
from nas.integrations.pickles import PickledModel
from nas.space.spec import ModelSpec
from nas.training.checkpoint import Checkpoint, make_checkpoint, save_checkpoint


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


def keep(checkpoint: Checkpoint, target: Path) -> str:
    """Writes a checkpoint of ours, and its model YAML beside it; returns a line about them."""
    save_checkpoint(target, checkpoint)
    beside = target.with_suffix(".yaml")
    beside.write_text(checkpoint.model, encoding="utf-8")
    classes = ", ".join(checkpoint.names)
    count = len(checkpoint.weights)
    return f"{target}, {beside}: {count} tensors, {checkpoint.image_size} px, {classes}"


def save_pickled(content: dict[str, Any], target: Path) -> None:
    """Writes a checkpoint of theirs, whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        torch.save(content, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


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
