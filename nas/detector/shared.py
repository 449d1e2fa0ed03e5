"""A supernet's file: its space, its classes and its weights by slot; read as any seed is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from nas.detector.pretrained.seed import Seed, SeedError
from nas.detector.supernet import Supernet
from nas.space.search_space import SpaceError, make_space

FORMAT: Final = 1
"""1: the first."""

REMEDY: Final = "Give the starter.pt of this version of nas.pretrain"


def shared_document(
    supernet: Supernet, weights: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Any]:
    """What is kept of a supernet: tensors, numbers and text alone.

    weights  slot -> tensor of its shape, of any precision; names: the classes
    """
    definition = supernet.space.definition.model_dump(mode="json", exclude_none=True)
    return {
        "format": FORMAT,
        "space": definition,
        "space_name": supernet.space.name,
        "names": list(names),
        "weights": dict(weights),
    }


def is_shared(document: Mapping[str, Any]) -> bool:
    """Whether a file's content is a supernet of ours."""
    return isinstance(document.get("space"), Mapping) and isinstance(
        document.get("weights"), Mapping
    )


def read_shared(document: Mapping[str, Any], where: str) -> Seed:
    """The seed of a supernet's file. SeedError names the tensor or the key that is wrong."""
    names, given = document.get("names"), document["weights"]
    if document.get("format") != FORMAT or not isinstance(names, list) or not names:
        raise SeedError(
            where, f"a starter has format {FORMAT} and class names",
            str(document.get("format", "none"))[:80], REMEDY,
        )  # fmt: skip
    try:
        space = make_space(dict(document["space"]), str(document.get("space_name", "")), where)
    except SpaceError as error:
        raise SeedError(error.where, error.rule, error.got, REMEDY) from error
    supernet = Supernet(space, len(names))
    values = torch.zeros(supernet.size)
    for name, slot in supernet.slots.items():
        value = given.get(name)
        if not isinstance(value, Tensor) or tuple(value.shape) != slot.shape:
            got = tuple(value.shape) if isinstance(value, Tensor) else "none"
            raise SeedError(
                f"{where}: {name}", f"the starter holds its tensor of shape {slot.shape}",
                str(got), REMEDY,
            )  # fmt: skip
        if not bool(torch.isfinite(value).all()):
            raise SeedError(
                f"{where}: {name}", "weights are finite numbers", "NaN or infinity", REMEDY
            )
        values[slot.start : slot.stop] = value.float().flatten()
    supernet.scatter(values)
    return supernet.seed(tuple(map(str, names)), where)
