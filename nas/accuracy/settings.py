"""How a proxy is set: the door between a name or a YAML and its settings.

    kind: short_training      # every key but this may be left out
    steps: 30
    regrade: null             # the finalists' step, switched off

Here is no torch: a command reads its proxy's settings at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from nas import NasError
from nas.documents import Strict, read_yaml
from nas.places import STARTER


class ProxyError(NasError):
    """A proxy that does not exist, or a YAML of one that cannot be read."""


class Regrade(Strict):
    """How the finalists are graded again, with seeds that the search did not use."""

    share: float = Field(default=0.1, gt=0, le=1)
    """At most this share of the budget goes into it (but `least` gradings at any rate)."""
    least: int = Field(default=6, ge=1)
    """So many gradings may be spent however small the budget is."""
    seeds: int = Field(default=3, ge=1)
    """No finalist is graded under more new seeds than this."""


class Finish(Strict):
    """How the front's picks are taught to the end, under the recipe of nas.train."""

    picks: int = Field(default=3, ge=1)
    """So many points of the front, spread over its latencies, the best among them."""
    steps: int = Field(default=500, ge=1)
    """Optimiser steps of each; nas.train --weights goes on from there."""

    def kind(self, start: str) -> str:
        """What a score is that comes of it, from named weights, none or a file."""
        begin = "nothing" if start == "none" else Path(start).name
        return f"mAP50-95 after {self.steps} steps at its own image size from {begin}"


SHARED: Final = "shared weights"
"""What a pick begins with where the search taught one network for all its candidates."""


def weights_file(folder: Path, digest: str, seed: int) -> Path:
    """Where the weights of an architecture that was taught to the end under a seed lie."""
    return folder / f"{digest}-s{seed}.pt"


class SearchedBy(Strict):
    """What every proxy says of the search that it grades for."""

    of_space_alone: ClassVar[bool] = False
    """Whether it grades the candidates of its space alone, and no hand-designed detector."""

    regrade: Regrade | None = Regrade()
    """The finalists' step; null leaves it out."""
    finish: Finish | None = Finish()
    """What the picks of the front get at the search's end; null leaves them untaught."""
    baselines: int = Field(default=4, ge=0)
    """So many points of the plain grid, and of the hand-designed detectors, are graded too."""
    workers: int | None = Field(default=None, ge=1)
    """Processes that grade side by side; null takes one for each core. Changes no result, and at
    most `in_flight` have work."""
    in_flight: int | None = Field(default=None, ge=1)
    """Candidates that may be graded before the sampler hears of the first: results depend on it,
    so no machine decides it. Null: IN_FLIGHT, or what a resumed run was begun with."""


class ShortTrainingSettings(SearchedBy):
    """Training for some steps at a reduced image size, then the mAP on the validation part."""

    kind: Literal["short_training"] = "short_training"
    image_scale: float = Field(default=2 / 3, gt=0, le=1)
    """The candidate is trained and graded at this share of its image size, to a multiple of 32."""
    steps: int = Field(default=30, ge=1)
    """Optimiser steps for each candidate."""
    batch_size: int = Field(default=8, ge=1)
    """Images in a step."""
    val_images: int | None = Field(default=64, ge=4)
    """Images of the validation part that it is graded on, evenly over it; null takes them all."""
    lr: float | None = Field(default=None, gt=0)
    """Peak learning rate; null takes that of nas.training's recipe for few steps."""
    cpu_bf16: bool = True
    """Convolutions compute in bfloat16 on a processor that has it, at half the cost. Off: a score
    differs less between machines."""
    pretrained: str = STARTER
    """What candidates are cut from: starter, lite2, none, or a file as nas.train reads it. What
    has no counterpart there starts from its own initialisation."""
    frozen_stages: int = Field(default=2, ge=0)
    """Stages that learn nothing, where they came whole from trained weights."""


class SharedWeightsSettings(SearchedBy):
    """One network over the space, taught once; a candidate's weights are read from its own.

    Its space is of stages, and every option of it has weights there (nas.detector.supernet).
    """

    of_space_alone: ClassVar[bool] = True
    kind: Literal["shared_weights"] = "shared_weights"
    image_scale: float = Field(default=2 / 3, gt=0, le=1)
    """Candidates are taught and graded at this share of their image size, to a multiple of 32."""
    steps: int = Field(default=1500, ge=1)
    """Optimiser steps of the network, each with another candidate's weights."""
    batch_size: int = Field(default=8, ge=1)
    """Images in a step."""
    lr: float = Field(default=0.002, gt=0)
    """Peak learning rate."""
    frozen_stages: int = Field(default=2, ge=0)
    """Stages that learn nothing, where they came whole from trained weights."""
    pretrained: str = STARTER
    """What the network begins with: starter, lite2, none, or a file as nas.train reads it."""
    calibration_batches: int = Field(default=6, ge=1)
    """Batches that a candidate's batch norm statistics are measured on, drawn by the seed."""
    val_images: int | None = Field(default=64, ge=4)
    """Images of the validation part that it is graded on, evenly over it; null takes them all."""


class FakeSettings(SearchedBy):
    """A made-up score; see nas.accuracy.fake."""

    kind: Literal["fake"] = "fake"
    finish: Finish | None = None
    """A made-up front is worth no training."""
    noise: float = Field(default=0.01, ge=0)
    """Standard deviation of the noise, in score."""
    seconds: float = Field(default=0.0, ge=0)
    """How long a grading pretends to work."""


class MacsSettings(SearchedBy):
    """The computation alone: what any better score has to beat."""

    kind: Literal["macs"] = "macs"
    regrade: Regrade | None = None
    """No seed changes it."""


class NaswotSettings(SearchedBy):
    """How differently an untrained network answers to different pictures (nas.accuracy.naswot)."""

    kind: Literal["naswot"] = "naswot"
    images: int = Field(default=32, ge=2)
    """Training pictures that it looks at."""


LearningSettings = ShortTrainingSettings | SharedWeightsSettings
"""The proxies that teach, and so begin with weights."""

AnyProxy = LearningSettings | FakeSettings | MacsSettings | NaswotSettings

ProxySettings = Annotated[AnyProxy, Field(discriminator="kind")]

PROXIES: Final[dict[str, type[AnyProxy]]] = {
    "short_training": ShortTrainingSettings,
    "shared_weights": SharedWeightsSettings,
    "fake": FakeSettings,
    "macs": MacsSettings,
    "naswot": NaswotSettings,
}
"""The proxies by name. A new one gets a line here, one in choice.py, and passes the
conformance suite."""

IN_FLIGHT: Final = 8
"""Candidates in flight where nothing else is said. The oldest is told first, so that a slow one
holds up the others; twice the workers keep them at work (LOG.md has what it costs)."""

_ADAPTER: Final[TypeAdapter[AnyProxy]] = TypeAdapter(ProxySettings)


def read_proxy(name_or_path: str | Path) -> AnyProxy:
    """The settings of a proxy: by its name its defaults, or those of a YAML with a `kind`.

    ProxyError names the file, the key, the rule and what was got.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        if str(name_or_path) not in PROXIES:
            raise ProxyError(
                f"--proxy {name_or_path}",
                "a proxy is given by name or as a YAML file",
                "no such name",
                f"There are: {', '.join(PROXIES)}",
            )
        return PROXIES[str(name_or_path)]()
    return parse_proxy(read_yaml(path, "the proxy's YAML", ProxyError), str(path))


def parse_proxy(document: Any, where: str) -> AnyProxy:
    """The settings in a mapping read from YAML; `where` names it in errors (ProxyError)."""
    if not isinstance(document, dict):
        raise ProxyError(where, "a proxy's YAML is a mapping with a kind", type(document).__name__)
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in PROXIES:
        names = ", ".join(PROXIES)
        raise ProxyError(f"{where}, kind", f"the kind is one of {names}", repr(kind))
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        # pydantic puts the union's tag in front of the place.
        place = ".".join(str(part) for part in first["loc"] if part != kind)
        if first["type"] == "extra_forbidden":
            inside: dict[str, type[BaseModel]] = {"regrade": Regrade, "finish": Finish}
            model = (
                inside.get(place.split(".")[0], PROXIES[kind]) if "." in place else PROXIES[kind]
            )
            # A proxy's own keys first, then what every proxy has.
            keys = sorted(model.model_fields, key=lambda name: name in SearchedBy.model_fields)
            known = ", ".join(keys)
            raise ProxyError(f"{where}, {place}", f"the keys are {known}", "unknown") from None
        rule = first["msg"][0].lower() + first["msg"][1:]
        raise ProxyError(f"{where}, {place}", rule, repr(first["input"])) from None
