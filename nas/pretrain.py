"""Teaches a starter: one detector of the seed's widths, whose neck and head others are cut from.

    python -m nas.pretrain                                    # on drawings, without any file
    python -m nas.pretrain --data A.yaml B.yaml drawings --minutes 60
    python -m nas.train MODEL.yaml --data my.yaml --pretrained runs/pretrain/starter.pt

All sets are taught at once, their classes kept apart. It leaves starter.pt (half precision, at most
12 MB) and starter.md, which says what it was taught on, how, and under which licences. After Ctrl-C
or a kill the same command goes on. Give figures only on sets that a starter has not seen.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nas import NasError
from nas.terminal import command_line, cores, run_folder, say

if TYPE_CHECKING:
    from nas.data.dataset import DataConfig
    from nas.detector.builder import Detector
    from nas.training.pretraining.folder import PretrainFolder
    from nas.training.pretraining.sets import TaughtSet
    from nas.training.pretraining.written import TaughtOn
    from nas.training.recipe import Recipe

RECIPE: Final[dict[str, Any]] = {
    "optimizer": "adamw",
    "lr": 0.002,
    "batch_size": 16,
    "weight_decay": 0.01,
    "first_row_lr": 0.1,
    "frozen_stages": 2,
    "cpu_bf16": True,
    "closing_share": 0.15,
    "recalibration_batches": 10,
}
"""What a recipe leaves out. The backbone knows pictures already, and learns the more slowly."""

COPIES: Final = 6
"""last.pt holds weights, their average and two moments; a new one is written beside the old."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach a starter for neck and head; the same command resumes."""

    data: tuple[str, ...] = ("drawings",)
    """data.yaml files, `drawings` and `shapes`, taught together; their training parts teach."""
    space: str = "fused_mbconv"
    """The search space whose widest neck and head are taught; a name or a YAML."""
    image_size: int = 192
    """Pixels of the square image, a multiple of 32."""
    epochs: int | None = None
    """Passes over all sets (2,048 pictures of the drawings are one); by default 30."""
    minutes: float | None = None
    """Instead of epochs: teach for about so long, by the speed that this machine shows."""
    recipe: Path | None = None
    """A YAML of every other knob, as of nas.train."""
    seed: int = 0
    """Of everything random."""
    run: str = "pretrain"
    """The run's name, or its folder."""


def run(arguments: Arguments) -> None:
    """Reads and checks everything, teaches, grades and writes the starter."""
    import cv2
    import torch

    from nas.data.dataset import read_data
    from nas.space.search_space import read_space
    from nas.training.pretraining.folder import PretrainFolder, PretrainSettings
    from nas.training.pretraining.layout import starter_spec
    from nas.training.pretraining.mixture import outline
    from nas.training.pretraining.sets import taught_sets

    cv2.setNumThreads(1)  # batches are made side by side already
    check(arguments)
    recipe = read_settings(arguments)
    space = read_space(arguments.space)
    starter_spec(space, 1)
    configs = [read_data(one) for one in arguments.data]
    refuse_twins(configs)
    folder = PretrainFolder(
        folder=run_folder(arguments.run),
        settings=PretrainSettings(
            data=[
                str(Path(one).resolve()) if Path(one).exists() else one for one in arguments.data
            ],
            digests=[one.digest for one in configs],
            space=space.name,
            space_digest=space.digest,
            image_size=arguments.image_size,
            seed=arguments.seed,
            recipe=asdict(recipe),
            minutes=arguments.minutes,
        ),
    )
    folder.check()
    sets = taught_sets(configs, arguments.image_size, cores(), arguments.seed)
    names = outline(sets, arguments.image_size).names
    torch.manual_seed(arguments.seed)
    detector = recipe.build(starter_spec(space, len(names)))
    begin_with_seed(detector, folder)
    with folder.held():
        started, core_started = time.perf_counter(), time.process_time()
        taught = teach(detector, sets, names, recipe, folder)
        spent = (time.perf_counter() - started, time.process_time() - core_started)
        grades = grade(taught, configs, sets, arguments)
        finish(taught, names, folder, recipe, grades, spent)


def check(arguments: Arguments) -> None:
    """NasError for flags that make no sense."""
    epochs, minutes, size = arguments.epochs, arguments.minutes, arguments.image_size
    both = epochs is not None and minutes is not None
    rules = {
        "--data": (arguments.data, "at least one set is given", "none"),
        "--epochs": (epochs is None or epochs >= 1, "there is at least 1 epoch", epochs),
        "--minutes": (
            (minutes is None or minutes > 0) and not both,
            "a time above 0 is given, and no --epochs beside it",
            f"{minutes:g}" + (f" and {epochs} epochs" if both else "") if minutes else "0",
        ),
        "--image-size": (
            size >= 64 and size % 32 == 0, "it is a multiple of 32, the largest stride, from 64 on",
            size,
        ),
        "--seed": (arguments.seed >= 0, "a seed is at least 0", arguments.seed),
    }  # fmt: skip
    for flag, (holds, rule, got) in rules.items():
        if not holds:
            raise NasError(flag, rule, str(got), "See --help")


def refuse_twins(configs: list[DataConfig]) -> None:
    """NasError where two sets have one name, since their classes could not be told apart."""
    names = [one.name for one in configs]
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise NasError(
            "--data", "every set is given once, and they have names of their own",
            ", ".join(twins), "Leave one out, or rename its folder",
        )  # fmt: skip


def read_settings(arguments: Arguments) -> Recipe:
    """The recipe, with this command's own values for what its file leaves out."""
    from nas.documents import read_yaml
    from nas.training.recipe import RecipeError, parse_recipe

    where = "recipe" if arguments.recipe is None else str(arguments.recipe)
    own = None if arguments.recipe is None else read_yaml(arguments.recipe, "a recipe", RecipeError)
    if own is not None and not isinstance(own, dict):
        raise RecipeError(where, "a recipe is a mapping of settings", type(own).__name__)
    document = RECIPE | (own or {})
    if arguments.epochs is not None or "epochs" not in document:
        document["epochs"] = arguments.epochs or 30
    if arguments.epochs is not None:
        document["steps"] = None
    elif document.get("steps") is not None:
        document["epochs"] = None
    return parse_recipe(document, where)


def begin_with_seed(detector: Detector, folder: PretrainFolder) -> None:
    """Fills stem and stages from Lite2's weights. NasError where they don't fit, or no room is."""
    from nas.detector.pretrained.load import cut, load_seed
    from nas.training.on_disk.written import check_room

    weights = sum(value.nbytes for value in detector.state_dict().values())
    there = folder.last.stat().st_size if folder.last.exists() else 0
    check_room(folder.folder, COPIES * weights - there)
    for line in cut(load_seed("lite2"), detector, must_fit=True).lines():
        say(line)


def teach(
    detector: Detector,
    sets: tuple[TaughtSet, ...],
    names: tuple[str, ...],
    recipe: Recipe,
    folder: PretrainFolder,
) -> Detector:
    """The averaged weights after all steps, from where the teaching was stopped if it was."""
    from nas.training.display import follow
    from nas.training.loop import train
    from nas.training.precision import describe_device, training_device
    from nas.training.pretraining.mixture import mixed_plan, outline

    settings, device = folder.settings, training_device()
    part = outline(sets, settings.image_size)
    workers = cores() if device == "cuda" else int(cores() > 1)
    say(f"{describe_device(device, amp=recipe.amp, cpu_bf16=recipe.cpu_bf16)}; {workers} processes")
    state = folder.state() if folder.steps is not None else None
    if folder.steps is None:
        folder.begin(count_steps(detector, sets, recipe, folder, device, workers))
    assert folder.steps is not None
    recipe = replace(recipe, epochs=None, steps=folder.steps)
    plan = mixed_plan(detector, sets, part, recipe, settings.seed)
    done = 0 if state is None else state["step"]
    with follow("starter", folder.steps, done) as on_step:
        return train(
            detector, part, None, recipe, seed=settings.seed, device=device, workers=workers,
            on_step=on_step, on_lap=lambda end: folder.keep(end, names, settings.image_size),
            state=state, plan=plan,
        ).detector  # fmt: skip


def count_steps(
    detector: Detector,
    sets: tuple[TaughtSet, ...],
    recipe: Recipe,
    folder: PretrainFolder,
    device: str,
    workers: int,
) -> int:
    """The steps in all: those of the recipe, or as many as fit into the minutes."""
    from nas.training.pretraining.mixture import outline
    from nas.training.pretraining.speed import steps_per_second

    settings = folder.settings
    part = outline(sets, settings.image_size)
    if settings.minutes is None:
        return recipe.total_steps(len(part))
    seconds = 60 * settings.minutes
    trial = min(20.0, 0.08 * seconds)
    rate = steps_per_second(detector, sets, part, recipe, trial, device=device, workers=workers)
    steps = max(1, round(rate * (seconds - trial)))
    say(f"{rate:.2f} steps a second: {steps} steps in {settings.minutes:g} minutes")
    return steps


def grade(
    detector: Detector,
    configs: list[DataConfig],
    sets: tuple[TaughtSet, ...],
    arguments: Arguments,
) -> list[TaughtOn]:
    """What the starter reaches on its own sets' validation parts, and where these come from."""
    from nas.data.dataset import load_part
    from nas.training.pretraining.grades import grade_set
    from nas.training.pretraining.sets import describe
    from nas.training.pretraining.written import TaughtOn, licence_of

    found, first = [], 0
    for data, config, taught in zip(arguments.data, configs, sets, strict=True):
        part = load_part(config, "val", arguments.image_size, cores())
        grades = grade_set(detector, part, first)
        licence, source = licence_of(data)
        found.append(
            TaughtOn(
                name=taught.name, about=describe(taught), licence=licence, source=source,
                digest=config.digest, map50_95=round(grades.map50_95, 4),
                map50=round(grades.map50, 4),
            )
        )  # fmt: skip
        first += len(taught.classes)
    return found


def finish(
    detector: Detector,
    names: tuple[str, ...],
    folder: PretrainFolder,
    recipe: Recipe,
    grades: list[TaughtOn],
    spent: tuple[float, float],
) -> None:
    """Writes the starter and its text, and says how to use it."""
    import torch

    from nas.training.precision import describe_device, training_device
    from nas.training.pretraining.written import Origin, save_starter

    settings = folder.settings
    device = describe_device(training_device(), amp=recipe.amp, cpu_bf16=recipe.cpu_bf16)
    assert folder.steps is not None
    origin = Origin(
        command=command_of(settings.data),
        date=datetime.now(timezone.utc).date().isoformat(),
        seed_weights="lite2 (EfficientNet-Lite2 on ImageNet, Apache-2.0)",
        space=settings.space,
        image_size=settings.image_size,
        steps=folder.steps,
        batch_size=recipe.batch_size,
        seed=settings.seed,
        device=device,
        core_seconds=round(spent[1], 1),
        seconds=round(spent[0], 1),
        torch=str(torch.__version__),
        recipe=asdict(recipe),
        sets=grades,
    )
    size = save_starter(folder.starter, detector.cpu(), names, settings.image_size, origin)
    for one in grades:
        print(f"{one.about}: val mAP50-95 {one.map50_95:.3f}, mAP50 {one.map50:.3f}")
    print(f"{folder.starter} ({size / 1e6:.1f} MB), and {folder.starter.with_suffix('.md')}")


def command_of(data: list[str]) -> str:
    """The command as it was given, without the folders that lie above its files."""
    places = {one: f"{Path(one).parent.name}/{Path(one).name}" for one in data if os.sep in one}
    words = [
        places.get(str(Path(word).resolve()), Path(word).name if os.sep in word else word)
        for word in sys.argv[1:]
    ]
    return shlex.join(["python", "-m", "nas.pretrain", *words])


if __name__ == "__main__":
    command_line(Arguments, run)
