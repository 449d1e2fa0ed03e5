"""Shared weights as a file: the space, its classes, and every tensor by its slot; no code."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from nas.detector.faces import SupernetError
from nas.detector.supernet import Supernet
from nas.space.search_space import SearchSpace, SpaceDefinition, SpaceError, make_space
from nas.training.on_disk.written import write_bytes

FORMAT: Final = 1
"""Of the file, and of what is taught: raised wherever the same settings give other weights.
1: the first."""

REMEDY: Final = "Delete it: the same command teaches the weights again"


def write_shared(path: Path, supernet: Supernet, values: Tensor, core_s: float) -> None:
    """Writes weights (size,) whole or not at all. FolderError where they can't be.

    core_s   what teaching them took, in seconds of one core
    """
    _write(
        path,
        {
            "format": FORMAT,
            "space_name": supernet.space.name,
            "space": _content(supernet.space),
            "num_classes": supernet.faces[0].detector.head.num_classes,
            "core_s": core_s,
            "weights": supernet.named(values),
        },
    )


def read_shared(path: Path) -> tuple[Supernet, Tensor]:
    """The supernet of a file, and its weights (size,). SupernetError where it is damaged."""
    document = _read(path)
    try:
        content, name = dict(document["space"]), str(document["space_name"])
        classes = int(document["num_classes"])
        space = make_space(content, name, str(path))
    except (LookupError, TypeError, ValueError, SpaceError) as error:
        raise _damaged(path, f"no space in it ({type(error).__name__})") from error
    supernet = Supernet(space, partial(space.build, num_classes=classes))
    return supernet, _values(path, document, supernet)


def core_seconds(path: Path) -> float | None:
    """What teaching a file's weights took; None of one that was written before this was kept.

    SupernetError where it is damaged.
    """
    found = _read(path).get("core_s")
    return float(found) if isinstance(found, int | float) else None


def check_shared(path: Path, supernet: Supernet) -> None:
    """SupernetError where a file isn't of this supernet: names the first difference."""
    document = _read(path)
    there, here = document.get("space"), _content(supernet.space)
    if there != here:
        where, got = _difference(there if isinstance(there, Mapping) else {}, here)
        raise SupernetError(
            f"{path}: {where}", f"its weights are those of {supernet.space.name}", got, REMEDY
        )
    _values(path, document, supernet)


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Writes a state of `SharedTraining` whole or not at all. FolderError where it can't be."""
    _write(path, {"format": FORMAT, **state})


def read_state(path: Path) -> Mapping[str, Any] | None:
    """A state that was written; None where there is none. SupernetError where it is damaged."""
    return _read(path) if path.exists() else None


def _write(path: Path, document: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(dict(document), content)
    write_bytes(path, content.getbuffer())


def _read(path: Path) -> dict[str, Any]:
    try:
        document: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _damaged(path, str(error.strerror or error)) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path, f"something else ({type(error).__name__})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _damaged(path, "something else")
    return document


def _values(path: Path, document: Mapping[str, Any], supernet: Supernet) -> Tensor:
    """The weights (size,), each tensor of the supernet's shape."""
    given = document.get("weights")
    values = torch.zeros(supernet.size)
    for name, slot in supernet.slots.items():
        value = given.get(name) if isinstance(given, Mapping) else None
        if not isinstance(value, Tensor) or tuple(value.shape) != slot.shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else "none"
            raise SupernetError(
                f"{path}: {name}", f"it holds this tensor of shape {slot.shape}", str(got), REMEDY
            )
        if not bool(torch.isfinite(value).all()):
            raise SupernetError(
                f"{path}: {name}", "weights are finite numbers", "NaN or infinity", REMEDY
            )
        values[slot.start : slot.stop] = value.float().flatten()
    return values


def _content(space: SearchSpace) -> dict[str, Any]:
    assert isinstance(space.definition, SpaceDefinition), "a supernet's space is of stages"
    return space.definition.model_dump(mode="json", exclude_none=True)


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> tuple[str, str]:
    """Where two definitions first differ, and what stands there in the first."""
    for key, wanted in here.items():
        got = there.get(key)
        if key != "stages" and got != wanted:
            return key, str(got)
        if key == "stages":
            stages = got if isinstance(got, list) else []
            for number, stage in enumerate(wanted):
                if number >= len(stages) or stages[number] != stage:
                    return f"stage {number + 1}", str(stages[number : number + 1] or "none")
            if len(stages) > len(wanted):
                return f"stage {len(wanted) + 1}", "a stage more"
    return "space", "another key"


def _damaged(path: Path, got: str) -> SupernetError:
    return SupernetError(
        str(path), f"a file of shared weights has format {FORMAT} and is whole", got, REMEDY
    )
