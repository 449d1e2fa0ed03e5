"""A pickled torch model of another tool, read without running anything of it.

The checkpoints of YOLOv5 and Ultralytics are pickles of whole modules: to load one is to run what
its author put in. Here only tensors are rebuilt; every other class and function that the pickle
names becomes an inert `Shell` that keeps what it was given. So neither the tool is needed, nor
trust in the file.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from nas import NasError


class PickleError(NasError):
    """A file that is no pickled model, or not one that can be read here."""


class Shell:
    """Stands for an object of a class that is not loaded: its state, and nothing that acts."""

    stands_for: ClassVar[str] = ""

    def __init__(self, *arguments: object, **named: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: object) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.__dict__.update(part)

    def __setitem__(self, key: object, value: object) -> None:
        """Entries of a mapping's subclass: not kept."""

    def append(self, value: object) -> None:
        """Entries of a list's subclass: not kept."""

    def extend(self, values: object) -> None:
        """The same, many at once."""


_REBUILT: Final[dict[tuple[str, str], Any]] = {
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
}
"""All that is called: what makes a tensor of a storage, and plain containers."""


class _Unpickler(pickle.Unpickler):
    """Finds what rebuilds tensors, and shells for the rest."""

    def find_class(self, module: str, name: str) -> Any:
        known = _REBUILT.get((module, name))
        if known is not None:
            return known
        return type(name, (Shell,), {"stands_for": f"{module}.{name}"})


def read_pickle(path: Path) -> dict[str, Any]:
    """The mapping in a `.pt` file of torch 1.6 or newer, on the CPU. PickleError otherwise."""
    rule = "the file is a model as torch.save writes it (torch 1.6 or newer)"
    remedy = "Give a best.pt or last.pt"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            damaged = archive.testzip()
    except (OSError, zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, EOFError) as error:
        raise PickleError(str(path), rule, str(error), remedy) from None
    if any(name.endswith("/constants.pkl") for name in names):
        raise PickleError(str(path), rule, "TorchScript", remedy)
    if damaged is not None:
        raise PickleError(str(path), rule, f"damage in its part {damaged}", "Copy it once more")
    reader = ModuleType("reader")
    reader.Unpickler = _Unpickler  # type: ignore[attr-defined]
    try:
        document = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except Exception as error:
        # A pickle may be wrong in any way: what it then raises is about the file.
        raise PickleError(str(path), rule, f"{type(error).__name__}: {error}", remedy) from error
    if not isinstance(document, dict):
        raise PickleError(str(path), rule, type(document).__name__, remedy)
    return document


def state_of(module: Shell, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The state dict of a pickled torch module: names and tensors."""
    state = vars(module)
    passing = state.get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, set) else set()
    for kind in ("_parameters", "_buffers"):
        for name, value in _entries(state, kind):
            if isinstance(value, Tensor) and name not in passing:
                yield f"{prefix}{name}", value.detach()
    for name, child in _entries(state, "_modules"):
        if isinstance(child, Shell):
            yield from state_of(child, f"{prefix}{name}.")


def _entries(state: dict[str, Any], kind: str) -> Iterable[tuple[Any, Any]]:
    """A mapping in a module's state; nothing where something else stands there."""
    found = state.get(kind)
    return found.items() if isinstance(found, dict) else ()


@dataclass(frozen=True, kw_only=True)
class PickledModel:
    """A detector in a checkpoint of YOLOv5 or Ultralytics: the averaged one where there are two."""

    yaml: dict[str, Any]
    """The model YAML as that tool read it, with its own keys."""
    state: dict[str, Tensor]
    """Tensors by name; those of half precision as fp32."""
    names: tuple[str, ...]
    """The class names; empty where the file has none."""
    image_size: int | None
    """Pixels that it was trained at, a square's side as those tools have it, if the file says it
    and they are a multiple of 32."""


def read_model(path: Path, tool: str, options: str) -> PickledModel:
    """The detector in a checkpoint; PickleError where there is none.

    tool     whose checkpoint it ought to be, for the message
    options  the checkpoint's entry in which the training's settings stand
    """
    document = read_pickle(path)
    held = [one for one in map(document.get, ("ema", "model")) if isinstance(one, Shell)]
    model = held[0] if held else None
    if model is None or not isinstance(getattr(model, "yaml", None), dict):
        raise PickleError(
            str(path),
            f"a checkpoint of {tool} holds a pickled model under `ema` or `model`",
            ", ".join(map(str, document)),
            f"Give a best.pt or last.pt of {tool}",
        )
    names = getattr(model, "names", ())
    if isinstance(names, dict):
        names = names.values()
    settings = document.get(options)
    told = settings.get("imgsz") if isinstance(settings, dict) else getattr(settings, "imgsz", None)
    is_size = isinstance(told, int) and told >= 32 and told % 32 == 0
    return PickledModel(
        yaml=vars(model)["yaml"],
        state={
            name: value.float() if value.is_floating_point() else value
            for name, value in state_of(model)
        },
        names=tuple(map(str, names)) if isinstance(names, Iterable) else (),
        image_size=told if is_size else None,
    )
