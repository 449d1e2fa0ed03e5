"""Trains detectors on a data set, for as long as they deserve.

    python -m nas.train runs/a/models/NAME.yaml --data my.yaml
    python -m nas.train MODEL.yaml OTHER.yaml --data my.yaml --seeds 0 1 2 --epochs 50

Each model and seed gets a folder in runs/<run>/ with best.pt, last.pt and metrics.csv. After Ctrl-C
or a kill the same command goes on from the last epoch, and so does `--resume runs/<run>`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import tyro

from nas import NasError
from nas.terminal import RUNS, command_line, cores, run_folder, say, show_table

if TYPE_CHECKING:
    from nas.data.dataset import DataConfig
    from nas.data.images import ImageSet
    from nas.detector.builder import Detector
    from nas.detector.pretrained.seed import Seed
    from nas.space.image_size import ImageSize
    from nas.space.spec import ModelSpec
    from nas.training.on_disk.checkpoint import Checkpoint
    from nas.training.on_disk.folder import RunSettings, TrainingFolder
    from nas.training.recipe import Recipe

AUTO: Final = "auto"
"""The image size that the data's pictures decide."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Train detectors on a data set; the same command resumes."""

    models: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Model YAMLs in YOLOv5 form; classes, and anchors that fit poorly, become the data's."""
    data: str = "shapes"
    """A YOLO data.yaml, or `shapes`, the built-in drawn data set."""
    epochs: int | None = None
    """Passes over the training part; by default the recipe's, else 100."""
    image_size: str | None = None
    """Pixels: 320 is a square, 320x192 is 320 wide and 192 high, each a multiple of 32; by default
    the models' own, else 320. auto: the least rectangle of that longer side that suits the data's
    pictures."""
    weights: Path | None = None
    """A best.pt to start from: all its weights that fit by name and shape."""
    pretrained: str | None = None
    """What the detector is cut from: starter, lite2, none or a file of weights. By default starter
    wherever it has counterparts (MBConv and FusedMBConv stages), and none beside --weights. lite2
    is a backbone alone. A file is a state dict of timm's or torchvision's EfficientNet,
    EfficientNetV2, MobileNetV2 or V3, or a best.pt or starter.pt of ours, of which neck and head
    are cut too."""
    recipe: str | None = None
    """small, yolov5, or a YAML of every other knob: the fields of nas/training/settings.py and
    recipe.py. By default small where weights were trained before, yolov5 from scratch."""
    seeds: tuple[int, ...] = (0,)
    """Each model is trained once with each seed."""
    run: str | None = None
    """The run's name, or its folder; by default from the other flags, so that they resume it."""
    resume: Path | None = None
    """The folder of an interrupted run, to go on with as it was begun; no other flag beside it."""


def run(arguments: Arguments) -> None:
    """Reads and checks everything, trains each model with each seed, and prints their grades."""
    import cv2

    from nas.data.dataset import load_part, read_data
    from nas.space.image_size import read_image_size
    from nas.training.on_disk.folder import check_run, open_run, read_run
    from nas.training.on_disk.ready import check_trainings
    from nas.training.precision import describe_device, training_device
    from nas.training.recipe import parse_recipe

    cv2.setNumThreads(1)  # batches are made side by side already
    specs: dict[str, ModelSpec] = {}
    if arguments.resume is None:
        check(arguments)
        data = read_data(arguments.data)
        specs = read_models(arguments.models, data)
        folder, settings = ask(arguments, data, size_of(arguments, data, [*specs.values()]))
    else:
        refuse_other_flags(arguments)
        folder, settings = arguments.resume, read_run(arguments.resume)
        data = read_data(settings.data)
        settings = replace(settings, data_digest=data.digest)
    tell(data)
    recipe = parse_recipe(settings.recipe, f"{folder}: recipe")
    start = read_start(settings)
    check_run(folder, settings)
    seed = read_seed(settings, [*specs.values()], data.names)
    check_frozen(recipe, settings)
    image_size = read_image_size(settings.image_size, f"{folder}: image_size")
    train_set = load_part(data, "train", image_size, threads=cores())
    val_set = load_part(data, "val", image_size, threads=cores())
    test_set = read_test(data, image_size)
    trainings = plan(folder, specs, arguments.seeds, train_set)
    check_trainings(folder, trainings, recipe, start, train_set)
    with open_run(folder, settings):
        for training in trainings:
            training.begin()
        device = training_device()
        say(f"on {describe_device(device, amp=recipe.amp, cpu_bf16=recipe.cpu_bf16)}")
        for training in trainings:
            train_one(training, recipe, start or seed, train_set, val_set)
        show(trainings, data, image_size, test_set)


def check(arguments: Arguments) -> None:
    """NasError for flags that make no sense."""
    epochs, seeds = arguments.epochs, arguments.seeds
    rules = {
        "models": (arguments.models, "at least one model YAML is given", "none"),
        "--epochs": (epochs is None or epochs >= 1, "there is at least 1 epoch", epochs),
        "--seeds": (
            seeds and min(seeds) >= 0 and len(set(seeds)) == len(seeds),
            "seeds are different numbers, at least 0",
            " ".join(map(str, seeds)) or "none",
        ),
        "--pretrained": (
            arguments.pretrained in (None, "none") or arguments.weights is None,
            "a training starts from a seed or from --weights, not from both",
            arguments.pretrained,
        ),
    }
    for flag, (holds, rule, got) in rules.items():
        if not holds:
            raise NasError(flag, rule, str(got), "See --help")


def refuse_other_flags(arguments: Arguments) -> None:
    """NasError for flags that --resume would ignore."""
    if arguments != Arguments(resume=arguments.resume):
        raise NasError(
            "--resume",
            "a run is resumed as it was begun",
            "other flags beside it",
            "Give --resume alone, or repeat the command that began the run",
        )


def check_frozen(recipe: Recipe, settings: RunSettings) -> None:
    """NasError for a recipe that would freeze what knows nothing."""
    if recipe.frozen_stages and settings.weights is None and settings.pretrained == "none":
        raise NasError(
            "recipe: frozen_stages",
            "frozen stages have weights that were trained before",
            f"{recipe.frozen_stages} frozen from a random start",
            "Give --pretrained or --weights, or frozen_stages: 0",
        )


def ask(arguments: Arguments, data: DataConfig, image_size: ImageSize) -> tuple[Path, RunSettings]:
    """The run's folder, and what all trainings in it share, as the flags ask for."""
    from nas.space.image_size import written
    from nas.training.on_disk.folder import RunSettings
    from nas.training.recipe import read_recipe

    pretrained = pretrained_of(arguments)
    knows_pictures = arguments.weights is not None or pretrained != "none"
    recipe = read_recipe(arguments.recipe, arguments.epochs, knows_pictures=knows_pictures)
    is_file = Path(arguments.data).exists()
    settings = RunSettings(
        data=str(Path(arguments.data).resolve()) if is_file else arguments.data,
        data_digest=data.digest,
        image_size=written(image_size),
        weights=None if arguments.weights is None else str(arguments.weights.resolve()),
        pretrained=pretrained,
        recipe=asdict(recipe),
    )
    if arguments.run is not None:
        return run_folder(arguments.run), settings
    length = f"{recipe.epochs}e" if recipe.steps is None else f"{recipe.steps}steps"
    parts = ["train", data.name, f"{image_size}px", length]
    named = (arguments.recipe, arguments.weights)
    parts += [Path(one).stem for one in named if one is not None]
    parts += [] if arguments.pretrained is None else [f"from-{Path(arguments.pretrained).stem}"]
    return RUNS / re.sub(r"[^\w.-]+", "_", "-".join(parts)), settings


def size_of(arguments: Arguments, data: DataConfig, specs: list[ModelSpec]) -> ImageSize:
    """The image size that is asked for, or that suits the data's pictures."""
    from nas.data.common_shape import suited
    from nas.space.spec import image_size_of

    if arguments.image_size != AUTO:
        return image_size_of(arguments.image_size, specs)
    choice = suited(data, image_size_of(None, specs))
    say(choice.told())
    return choice.size


def read_models(paths: tuple[Path, ...], data: DataConfig) -> dict[str, ModelSpec]:
    """The models by name, each with the data's number of classes."""
    from nas.space.spec import read_spec, with_classes

    specs: dict[str, ModelSpec] = {}
    for path in paths:
        if path.stem in specs:
            raise NasError(
                str(path),
                "the models' file names differ",
                f"a second {path.stem}",
                "Rename one: a training's folder is named after its model",
            )
        spec = read_spec(path)
        if spec.num_classes != data.num_classes:
            say(f"{path.stem}: {data.num_classes} classes, as {data.name} has ({spec.num_classes})")
        specs[path.stem] = with_classes(spec, data.num_classes)
    return specs


def fit_to(spec: ModelSpec, name: str, train_set: ImageSet) -> ModelSpec:
    """The model at the set's image size, with anchors fitted to it if its own suit it poorly."""
    from nas.data.anchors import GOOD_RECALL, assess_anchors, box_sizes, fit_anchors
    from nas.space.spec import with_anchors

    spec = replace(spec, image_size=train_set.image_size)
    if not spec.anchors:
        return spec
    sizes = box_sizes(train_set)
    levels, per_level = len(spec.anchors), len(spec.anchors[0]) // 2
    if spec.has_open_anchors:
        fit = fit_anchors(sizes, levels, per_level, seed=0)
        say(f"{name}: {per_level} anchors a level, fitted to the data (recall {fit.recall:.1%})")
        return with_anchors(spec, fit.anchors)
    own = assess_anchors(spec.anchors, sizes)
    if own.recall >= GOOD_RECALL:
        say(f"{name}: its anchors suit the data (best possible recall {own.recall:.1%})")
        return spec
    fit = fit_anchors(sizes, levels, per_level, seed=0)
    if fit.fitness <= own.fitness:
        say(f"{name}: its anchors stay; none better were found (recall {own.recall:.1%})")
        return spec
    say(f"{name}: anchors fitted to the data (recall {own.recall:.1%} -> {fit.recall:.1%})")
    return with_anchors(spec, fit.anchors)


def plan(
    folder: Path, specs: dict[str, ModelSpec], seeds: tuple[int, ...], train_set: ImageSet
) -> list[TrainingFolder]:
    """What is to be trained: each model with each seed, and what the folder holds already."""
    from nas.space.spec import dump_spec
    from nas.training.on_disk.folder import TrainingFolder, read_trainings

    planned = {}
    if not specs or any(folder.glob("*/model.yaml")):
        planned = {training.name: training for training in read_trainings(folder)}
    for name, spec in specs.items():
        model = dump_spec(fit_to(spec, name, train_set))
        for seed in seeds:
            planned[f"{name}-s{seed}"] = TrainingFolder(
                folder=folder / f"{name}-s{seed}",
                model=model,
                seed=seed,
                names=train_set.names,
                image_size=train_set.image_size,
            )
    return [planned[name] for name in sorted(planned)]


def read_test(data: DataConfig, image_size: ImageSize) -> ImageSet | None:
    """The test part, read before the training so that what is wrong with it is said now."""
    from nas.data.dataset import load_part
    from nas.data.images import DataError

    if "test" not in data.parts:
        return None
    try:
        return load_part(data, "test", image_size, cores())
    except DataError as error:
        say(f"going on without the test part. {error}")
        return None


def tell(data: DataConfig) -> None:
    """What the parts of the data hold."""
    for tally in data.tallies:
        say(f"{data.name}, {tally}")


def read_start(settings: RunSettings) -> Checkpoint | None:
    """The checkpoint that the trainings start from."""
    from nas.training.on_disk.checkpoint import load_checkpoint

    return None if settings.weights is None else load_checkpoint(Path(settings.weights))


def pretrained_of(arguments: Arguments) -> str:
    """A name, none, or the absolute path of a file: what the settings keep of --pretrained."""
    from nas.places import STARTER, seed_name

    if arguments.pretrained is None:
        return STARTER if arguments.weights is None else "none"
    return seed_name(arguments.pretrained)


def read_seed(settings: RunSettings, specs: list[ModelSpec], names: tuple[str, ...]) -> Seed | None:
    """The seed that the trainings start from; a file that is asked for must fit every model."""
    from nas.detector.builder import build_detector
    from nas.detector.pretrained.load import cut, load_seed
    from nas.places import NAMED

    if settings.pretrained == "none":
        return None
    seed = load_seed(settings.pretrained)
    for spec in specs if settings.pretrained not in NAMED else []:
        cut(seed, build_detector(spec), names=names, must_fit=True)
    return seed


def train_one(
    files: TrainingFolder,
    recipe: Recipe,
    start: Checkpoint | Seed | None,
    train_set: ImageSet,
    val_set: ImageSet,
) -> None:
    """Trains one model with one seed, from where it was stopped if it was."""
    import torch

    from nas.space.spec import parse_written
    from nas.training.display import follow
    from nas.training.loop import train
    from nas.training.precision import training_device

    state = files.state()
    if state is not None and state["step"] == recipe.total_steps(len(train_set)):
        say(f"{files.name}: trained already")
        return
    torch.manual_seed(files.seed)
    detector = recipe.build(parse_written(files.model, str(files.folder)))
    whole_rows = 0
    if start is not None and state is None:
        recipe, whole_rows = begin(start, detector, files, recipe, train_set)
    device = training_device()
    workers = min(8, cores()) if device == "cuda" else int(cores() > 1)
    steps = recipe.total_steps(len(train_set))
    with follow(files.name, steps, 0 if state is None else state["step"]) as on_step:
        train(
            detector,
            train_set,
            val_set,
            recipe,
            seed=files.seed,
            device=device,
            workers=workers,
            on_step=on_step,
            on_lap=files.keep,
            state=state,
            whole_rows=whole_rows,
        )


def begin(
    start: Checkpoint | Seed,
    detector: Detector,
    files: TrainingFolder,
    recipe: Recipe,
    train_set: ImageSet,
) -> tuple[Recipe, int]:
    """Fills a new training's weights from a checkpoint or a seed, and says what it took.

    Returns the recipe as it goes on from there, and how many of the first rows came whole.
    """
    from nas.detector.pretrained.seed import Seed
    from nas.places import NAMED
    from nas.training.beginning import begin_with

    if not isinstance(start, Seed):
        return take_over(start, detector, files.name, recipe)
    report = begin_with(
        start,
        detector,
        train_set,
        recipe,
        seed_number=files.seed,
        must_fit=start.name not in NAMED,
    )
    for line in report.lines():
        say(f"{files.name}: {line}")
    recipe = replace(recipe, priors_from_data=False) if report.keeps_classes else recipe
    return recipe, len(report.freezable)


def take_over(
    start: Checkpoint, detector: Detector, name: str, recipe: Recipe
) -> tuple[Recipe, int]:
    """Loads the weights that fit; the recipe leaves a head alone that came with them."""
    from nas.training.on_disk.ready import fitting_weights

    own = detector.state_dict()
    fitting = fitting_weights(start, detector, name)
    detector.load_state_dict(fitting, strict=False)
    say(f"{name}: {len(fitting)} of {len(own)} tensors start from the given weights")
    head = f"model.{len(detector.model) - 1}."
    has_head = all(key in fitting for key in own if key.startswith(head) and key.endswith("bias"))
    lacking = [int(key.split(".")[1]) for key in own if key not in fitting]
    recipe = replace(recipe, priors_from_data=False) if has_head else recipe
    return recipe, min(lacking, default=len(detector.model))


def show(
    trainings: list[TrainingFolder],
    data: DataConfig,
    image_size: ImageSize,
    test_set: ImageSet | None,
) -> None:
    """Prints the grades of every best.pt, on the validation part and, if there is one, on test."""
    from rich.table import Table

    from nas.training.metrics import evaluate_detector
    from nas.training.on_disk.checkpoint import load_checkpoint

    table = Table(title=f"{data.name}, {image_size} px, weights best on val")
    for heading in ("training", "val mAP50-95", "val mAP50"):
        table.add_column(heading)
    if test_set is not None:
        table.add_column("test mAP50-95")
        table.add_column("test mAP50")
    for files in trainings:
        best = load_checkpoint(files.best)
        figures = [best.map50_95, best.map50]
        if test_set is not None:
            grades = evaluate_detector(best.build(), test_set)
            figures += [grades.map50_95, grades.map50]
        table.add_row(files.name, *("-" if one is None else f"{one:.3f}" for one in figures))
    show_table(table)
    say(f"weights: {', '.join(str(files.best) for files in trainings)}")


if __name__ == "__main__":
    command_line(Arguments, run)
