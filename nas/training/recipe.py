"""A whole recipe for nas.train: how to train, and how to build what is trained; from YAML."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from nas import NasError
from nas.detector.builder import Detector, build_detector
from nas.documents import read_yaml
from nas.space.spec import ModelSpec
from nas.training.augment import AugmentSettings
from nas.training.growth import GrowthSettings
from nas.training.losses.loss import LossSettings
from nas.training.settings import TrainSettings

NESTED: Final[dict[str, type[Any]]] = {
    "loss": LossSettings,
    "augment": AugmentSettings,
    "growth": GrowthSettings,
}
"""The keys under which a mapping of its own stands."""

RECIPES: Final[dict[str, dict[str, Any]]] = {
    "small": {
        "optimizer": "adamw",
        "lr": 0.004,
        "batch_size": 8,
        "frozen_stages": 2,
        "cpu_bf16": True,
        "growth": {"stages": 3, "first_size": 0.67, "first_strength": 0.2},
    },
    "yolov5": {},
}
"""The recipes that have a name. `small`: a few hundred pictures, from weights that know pictures
(found on validation parts: benchmarks/learning.py). `yolov5`: YOLOv5's SGD, from scratch."""


class RecipeError(NasError):
    """A recipe's YAML that can't be read."""


@dataclass(frozen=True, kw_only=True)
class Recipe(TrainSettings):
    """The knobs of a training, and those of the network's parts that only training has."""

    drop_path_rate: float = 0.0
    """Stochastic depth of the last residual block, earlier ones less (EfficientNet has 0.2)."""
    bn_momentum: float = 0.03
    """How fast batch norm's running statistics follow the batches."""

    def __post_init__(self) -> None:
        TrainSettings.__post_init__(self)
        if not 0 <= self.drop_path_rate < 1 or not 0 < self.bn_momentum <= 1:
            raise ValueError("drop_path_rate lies in 0..1 (not 1), bn_momentum in 0..1 (not 0)")

    def build(self, spec: ModelSpec) -> Detector:
        """The network of a description, initialised by torch's global generator."""
        return build_detector(spec, self.drop_path_rate, self.bn_momentum)


def read_recipe(
    asked: str | Path | None, epochs: int | None = None, *, knows_pictures: bool = False
) -> Recipe:
    """The recipe of a name in RECIPES, or of a YAML file of `Recipe`'s fields.

    knows_pictures  whether the training starts from trained weights. `small` is then what holds
                    where nothing is asked, and what a file leaves out; else `yolov5` is. Without
                    such weights nothing is frozen
    epochs          replaces the file's length

    Raises RecipeError.
    """
    is_named = str(asked) in RECIPES
    name = str(asked) if is_named else ("small" if knows_pictures else "yolov5")
    document = dict(RECIPES[name])
    if not knows_pictures:
        document.pop("frozen_stages", None)
    if asked is not None and not is_named:
        document |= _read(Path(asked))
    if epochs is not None:
        document |= {"epochs": epochs, "steps": None}
    elif document.get("steps") is not None:
        document.setdefault("epochs", None)
    return parse_recipe(document, "recipe" if asked is None else str(asked))


def parse_recipe(document: dict[str, Any], where: str) -> Recipe:
    """The recipe that a mapping of `Recipe`'s fields describes. Raises RecipeError."""
    _refuse_unknown(document, Recipe, where)
    for key, kind in NESTED.items():
        if isinstance(document.get(key), dict):
            _refuse_unknown(document[key], kind, f"{where}: {key}")
    try:
        return TypeAdapter(Recipe).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecipeError(
            f"{where}: {place}" if place else where,
            first["msg"].removeprefix("Value error, ").removesuffix("."),
            repr(first["input"]) if place else "",
            "Correct the recipe",
        ) from error


def _refuse_unknown(document: dict[str, Any], kind: type[Any], where: str) -> None:
    """Raises RecipeError for a key that is no field."""
    known = [field.name for field in fields(kind)]
    for key in document:
        if key not in known:
            raise RecipeError(
                where,
                f"the keys are {', '.join(known)}",
                f"the unknown key `{key}`",
                "Remove it or correct its spelling",
            )


def _read(path: Path) -> dict[str, Any]:
    """The mapping that stands in a YAML file."""
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        raise RecipeError(
            f"--recipe {path}", "a recipe is a YAML file, or has a name", "no such name",
            f"There are: {', '.join(RECIPES)}",
        )  # fmt: skip
    document = read_yaml(path, "a recipe", RecipeError)
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise RecipeError(
            str(path),
            "a recipe is a mapping of settings",
            type(document).__name__,
            "Write `key: value`, a line for each setting",
        )
    return document
