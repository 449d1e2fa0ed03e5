"""How fast a detector learns from a few hundred pictures: head, assignment, start and recipe.

    python benchmarks/learning.py --datasets ../shared/datasets --probe ../shared/probe
    python benchmarks/learning.py --sets bccd --seeds 0 --rows today recipe --budget 200
    python benchmarks/learning.py --print

A row is one way of teaching one detector. It gets the same core-seconds (process CPU time on one
thread) as every other: the passes that fit follow from the fastest of a few of its own steps, and
what they then took is written down beside them. The last weights count, nothing is chosen by its
score; validation and test part are graded once. Each result is appended to a CSV at once, and what
stands there is not done again.
"""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import torch
import tyro
from learning_rows import LITE2, ROWS, SCRATCH, STARTER, Row
from rows import append_row, read_rows

from nas import NasError
from nas.data.anchors import GOOD_RECALL, assess_anchors, box_sizes, fit_anchors
from nas.data.dataset import Part, load_part, read_data
from nas.data.images import ImageSet
from nas.detector.builder import Detector
from nas.detector.pretrained.load import load_seed
from nas.space.pan import detect_row
from nas.space.spec import ModelSpec, parse_spec, with_anchors, with_classes
from nas.terminal import command_line
from nas.training.beginning import started
from nas.training.loop import train
from nas.training.metrics import Grades, evaluate_detector
from nas.training.precision import autocast_type
from nas.training.recipe import Recipe
from nas.training.under_way import Training

PARTS: Final[tuple[Part, ...]] = ("train", "val", "test")

PROBE: Final = "probe"
"""What results call the detector of --probe."""

TRIAL_STEPS: Final = 5
"""Steps at each image size, of which the fastest says what a step costs in calm."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Teach the probe's detector in several ways, and print the table of what was reached."""

    datasets: Path = Path("../shared/datasets")
    """The folder of the data sets."""
    probe: Path = Path("../shared/probe")
    """The folder of mid-anchors.yaml and mid-anchor-free.yaml."""
    sets: tuple[str, ...] = ("bccd", "playing-cards", "aquarium")
    """Data sets by their folder's name."""
    rows: tuple[str, ...] = tuple(name for name, row in ROWS.items() if row.start != STARTER)
    """Ways of teaching, by the names in benchmarks/learning_rows.py."""
    starter: Path | None = None
    """Weights of backbone, neck and head that the rows with a starter begin with."""
    seeds: tuple[int, ...] = (0, 1)
    """Each row is taught once with each."""
    budget: float = 200.0
    """Core-seconds of each training, without the final grading."""
    passes: int | None = None
    """Passes of each training, whatever they cost, instead of a budget."""
    width: float = 1.0
    """Multiple of the probe's widths: detectors of unlike size."""
    model: Path | None = None
    """A model YAML that is taught in the probe's place; a row's head is its own then."""
    image_size: int = 192
    """Pixels."""
    out: Path = Path("benchmarks/learning.csv")
    """The CSV that results are appended to."""
    print: Annotated[bool, tyro.conf.arg(name="print")] = False
    """Only print the table of what the CSV holds."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One training, and all that identifies it."""

    set: str
    model: str
    """probe, or the name of the model's file."""
    row: str
    start: str
    """scratch, or the seed's name and 8 digits of the SHA-256 of a starter's file."""
    seed: int
    budget_s: float
    """Core-seconds that the passes were to fit; 0 where their number was given."""
    width: float
    image_size: int
    passes: int
    step_ms: float
    """Fastest steps, in core-milliseconds, the mean over the stages of image size."""
    core_s: float
    """Core-seconds that the training took, without grading."""
    val_map50_95: float
    val_map50: float
    test_map50_95: float | None
    test_map50: float | None
    precision: str
    """What convolutions computed in."""
    torch: str
    date: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it the same training."""
        named = (
            self.set,
            self.model,
            self.row,
            self.start,
            self.seed,
            self.budget_s,
            self.width,
            self.image_size,
            self.passes if self.budget_s == 0 else None,
        )
        return tuple(str(value) for value in named)


def main(arguments: Arguments) -> None:
    """Teaches what the CSV does not hold yet, then prints its table."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    unknown = [name for name in arguments.rows if name not in ROWS]
    if unknown:
        raise NasError("--rows", f"rows are {', '.join(ROWS)}", ", ".join(unknown), "See --help")
    lacking = [name for name in arguments.rows if ROWS[name].start == STARTER]
    if lacking and arguments.starter is None:
        raise NasError("--rows", "rows with a starter have one", ", ".join(lacking), "--starter")
    done = {result.key for result in read_rows(arguments.out, Result)}
    for name in () if arguments.print else arguments.sets:
        data = read_data(str(arguments.datasets / name / "data.yaml"))
        parts: dict[str, ImageSet] = {
            part: load_part(data, part, arguments.image_size)
            for part in PARTS
            if part in data.parts
        }
        for seed in arguments.seeds:
            for row in arguments.rows:
                if key(arguments, name, row, seed) not in done:
                    append_row(arguments.out, teach(arguments, name, row, seed, parts))
    show(read_rows(arguments.out, Result))


def key(arguments: Arguments, name: str, row: str, seed: int) -> tuple[str, ...]:
    """The `Result.key` that a training will have."""
    start = start_name(ROWS[row], arguments.starter)
    asked = (
        budget_of(arguments), arguments.width, arguments.image_size, arguments.passes
    )  # fmt: skip
    named = (name, model_name(arguments), row, start, seed, *asked)
    return tuple(str(value) for value in named)


def budget_of(arguments: Arguments) -> float:
    """Core-seconds that are asked for; 0 where passes are."""
    return arguments.budget if arguments.passes is None else 0.0


def model_name(arguments: Arguments) -> str:
    """What results call the model that is taught."""
    return PROBE if arguments.model is None else arguments.model.stem


def start_name(row: Row, starter: Path | None) -> str:
    """What weights begin with, so that two starters of one name are told apart."""
    if row.start != STARTER or starter is None:
        return row.start
    digest = hashlib.sha256(starter.read_bytes()).hexdigest()[:8]
    return f"{starter.stem}-{digest}"


def teach(
    arguments: Arguments, name: str, row: str, seed: int, parts: dict[str, ImageSet]
) -> Result:
    """Trains and grades one row with one seed."""
    train_set = parts["train"]
    spec = model(arguments, ROWS[row], train_set)
    recipe = ROWS[row].recipe
    weights = arguments.starter if ROWS[row].start == STARTER else Path(ROWS[row].start)
    assert weights is not None
    detector, rows = start(spec, recipe, weights, train_set, seed)
    step_ms = cost(detector, train_set, recipe, seed, rows)
    passes = arguments.passes or fitting(arguments.budget, step_ms, recipe, len(train_set))
    settings = replace(recipe, epochs=passes, steps=None, evaluate_every=0)
    begin = time.process_time()
    detector, rows = start(spec, recipe, weights, train_set, seed)
    trained = train(detector, train_set, None, settings, seed=seed, whole_rows=rows).detector
    core_s = time.process_time() - begin
    val, test = (grades(trained, parts.get(part)) for part in ("val", "test"))
    assert val is not None
    result = Result(
        set=name,
        model=model_name(arguments),
        row=row,
        start=start_name(ROWS[row], arguments.starter),
        seed=seed,
        budget_s=budget_of(arguments),
        width=arguments.width,
        image_size=arguments.image_size,
        passes=passes,
        step_ms=round(step_ms, 2),
        core_s=round(core_s, 1),
        val_map50_95=round(val.map50_95, 4),
        val_map50=round(val.map50, 4),
        test_map50_95=None if test is None else round(test.map50_95, 4),
        test_map50=None if test is None else round(test.map50, 4),
        precision=precision(settings),
        torch=torch.__version__,
        date=datetime.now(timezone.utc).date().isoformat(),
    )
    print(*asdict(result).values(), file=sys.stderr, flush=True)
    return result


def fitting(budget: float, step_ms: float, recipe: Recipe, images: int) -> int:
    """Passes that fit into so many core-seconds."""
    return max(1, int(budget * 1e3 / (step_ms * recipe.epoch_steps(images))))


def model(arguments: Arguments, row: Row, part: ImageSet) -> ModelSpec:
    """The detector of a row, its anchors as nas.train would have them."""
    file = arguments.model
    if file is None:
        name = "mid-anchors" if row.head == "anchors" else "mid-anchor-free"
        file = arguments.probe / f"{name}.yaml"
    text = file.read_text(encoding="utf-8")
    text = text.replace("width_multiple: 1.0", f"width_multiple: {arguments.width}")
    spec = replace(with_classes(parse_spec(text), len(part.names)), image_size=part.image_size)
    if arguments.model is None and row.head == "light":
        p3, p4, p5 = spec.head[-1].source
        light = detect_row("light", (p3, p4, p5), part.image_size)
        spec = replace(spec, head=(*spec.head[:-1], light))
    if not spec.anchors:
        return spec
    sizes = box_sizes(part)
    if assess_anchors(spec.anchors, sizes).recall >= GOOD_RECALL:
        return spec
    return with_anchors(spec, fit_anchors(sizes, seed=0).anchors)


def start(
    spec: ModelSpec, recipe: Recipe, weights: Path, part: ImageSet, seed: int
) -> tuple[Detector, int]:
    """The detector before its first step, and how many of its first rows are wholly a seed's."""
    seeded = None if str(weights) == SCRATCH else load_seed(weights)
    return started(recipe.build, spec, part, recipe, seeded, seed_number=seed)


def cost(detector: Detector, part: ImageSet, recipe: Recipe, seed: int, rows: int) -> float:
    """Core-milliseconds of a step and its batch, in calm; the mean over stages of image size."""
    settings = replace(recipe, epochs=None, steps=recipe.growth.stages * 1000)
    run, stages = Training(detector, part, settings, seed, "cpu", rows), []
    for stage in range(recipe.growth.stages):
        times = []
        for step in range(TRIAL_STEPS):
            run.step = stage * 1000 + step
            begin = time.process_time()
            run.one_step(*run.plan.make(run.step))
            times.append(time.process_time() - begin)
        stages.append(min(times[1:]) * 1e3)
    return float(np.mean(stages))


def precision(settings: Recipe) -> str:
    """The type that convolutions compute in."""
    kind = autocast_type(torch.device("cpu"), amp=settings.amp, cpu_bf16=settings.cpu_bf16)
    return str(kind).removeprefix("torch.")


def grades(detector: Detector, part: ImageSet | None) -> Grades | None:
    """The grades on a part; None without it."""
    return None if part is None else evaluate_detector(detector, part)


def show(results: list[Result]) -> None:
    """Prints a line a row, budget and width: the mean over seeds on each set."""
    sets = list(dict.fromkeys(result.set for result in results))
    print("| model | row | asked | width | " + " | ".join(sets) + " |")
    print("|---|---|---|---|" + "---|" * len(sets))
    groups: dict[tuple[str, str, str, str, float, int], list[Result]] = {}
    for one in results:
        asked = f"{one.budget_s:g} core-s" if one.budget_s else f"{one.passes} passes"
        key = (one.model, one.row, one.start, asked, one.width, one.image_size)
        groups.setdefault(key, []).append(one)
    for (model, row, start, asked, width, _), own in groups.items():
        cells = [cell([one for one in own if one.set == name]) for name in sets]
        label = row if start in (SCRATCH, LITE2) else f"{row} ({start})"
        print(f"| {model} | {label} | {asked} | {width:g} | " + " | ".join(cells) + " |")


def cell(own: list[Result]) -> str:
    """Validation mAP50-95 / mAP50, test mAP50-95 / mAP50, core-seconds, seeds."""
    if not own:
        return "-"

    def mean(values: list[float]) -> str:
        return f"{np.mean(values):.3f}" if values else "-"

    val = f"{mean([r.val_map50_95 for r in own])} / {mean([r.val_map50 for r in own])}"
    tests = [r for r in own if r.test_map50_95 is not None]
    test = f"{mean([r.test_map50_95 or 0.0 for r in tests])}" if tests else "-"
    spread = max(r.val_map50_95 for r in own) - min(r.val_map50_95 for r in own)
    return f"{val} (+-{spread / 2:.3f}), test {test}, {np.mean([r.core_s for r in own]):.0f} s"


if __name__ == "__main__":
    command_line(Arguments, main)
