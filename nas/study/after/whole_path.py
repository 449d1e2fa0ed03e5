"""All that a picture goes through with one point of the front, and how long the board keeps it up.

The point is exported as nas.export does it, with its taught weights where the run has them, and
goes to the board with detect.py, the program of a bundle.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from nas.documents import Strict, read_json
from nas.files import write_whole
from nas.latency.device import TableKey
from nas.latency.reach.runner import Runner
from nas.latency.reach.whole_path import PathPack
from nas.space.search_space import Candidate
from nas.study.after.verification import FOLDER, VerifiedPoint, VerifyError

FILE: Final = "path.json"
"""In the folder of what was timed."""

EXPORTED: Final = ("fp32", "fp16")
"""Precisions in which a point is exported without pictures to calibrate on."""

THROTTLED_SINCE: Final = 0xF
"""Bits of the Pi's `get_throttled` that speak of the present."""


class Slice(Strict):
    """Some seconds of a sustained run: medians of the frames, and the board at their end."""

    at_s: float
    frames: int
    network_ms: float
    total_ms: float
    frames_per_second: float
    temp_c: float | None = None
    mhz: float | None = None


class Sustained(Strict):
    """Frames without a pause, from first to last. network_ms and total_ms: median and p95."""

    seconds: float
    frames: int
    network_ms: tuple[float, float]
    total_ms: tuple[float, float]
    frames_per_second: float
    is_throttled: bool
    slices: tuple[Slice, ...]


class PathTimes(Strict):
    """path.json: what one point's whole path takes on the board.

    name, digest  of the point; weights: taught ones, or random
    picture       its width and height
    steps_ms      step -> median and p95; `together`: all of it in one go
    candidates    boxes before they suppress each other
    resized_by    OpenCV or numpy, whichever the board's Python has
    """

    format: Literal[1] = 1
    name: str
    digest: str
    weights: Literal["taught", "random"]
    picture: tuple[int, int]
    steps_ms: dict[str, tuple[float, float]]
    candidates: int
    resized_by: str
    sustained: Sustained | None


def choose_point(front: Sequence[VerifiedPoint]) -> VerifiedPoint | None:
    """Whose path is timed: the best score of the final front that rather keeps the limit."""
    kept = [p for p in front if p.keeps_limit is None or p.keeps_limit >= 0.5]
    return max(kept or front, key=lambda p: p.row.score, default=None)


def read_path(folder: Path) -> PathTimes | None:
    """What was found of a run's path; None where nothing was timed."""
    path = folder / FOLDER / FILE
    if not path.exists():
        return None
    return read_json(path, PathTimes, "the times of a whole path", VerifyError, lambda: "Delete it")


def time_path(
    folder: Path,
    key: TableKey,
    point: VerifiedPoint,
    candidate: Candidate,
    runner: Runner,
    seconds: float,
    on_done: Callable[[int, int], None],
) -> PathTimes:
    """Times the point's path, then `seconds` of frames without a pause; kept in the run.

    What was found before for this point, and for as long, is not timed again. on_done is told of
    seconds, done and wanted.
    """
    known = read_path(folder)
    if known is not None and known.digest == candidate.digest:
        lasted = known.sustained.seconds if known.sustained else 0.0
        if lasted >= 0.99 * seconds:
            return known
    weights = folder / "models" / f"{point.row.name}.pt"
    pack = PathPack(
        key=key,
        files=bundle_files(candidate, key, weights if weights.exists() else None),
        seconds=seconds,
        network_ms=point.ms,
    )
    steps: dict[str, tuple[float, float]] = {}
    more: dict[str, Any] = {}
    slices: list[dict[str, Any]] = []
    on_done(0, round(seconds))
    for line in runner.follow(pack):
        if line["line"] == "apart":
            steps = {name: _middle_and_p95(values) for name, values in line["ms"].items()}
            more = {"candidates": line["candidates"], "resized_by": line["resized_by"]}
        elif line["line"] == "slice":
            slices.append(line)
            on_done(min(round(line["at_s"]), round(seconds)), round(seconds))
    found = PathTimes(
        name=point.row.name,
        digest=candidate.digest,
        weights="taught" if weights.exists() else "random",
        picture=(pack.width, pack.height),
        steps_ms=steps,
        **more,
        sustained=_sustained(slices) if slices else None,
    )
    write_whole(folder / FOLDER / FILE, found.model_dump_json(indent=1) + "\n")
    return found


def _middle_and_p95(values: Sequence[float]) -> tuple[float, float]:
    middle, high = np.quantile(values, [0.5, 0.95])
    return round(float(middle), 4), round(float(high), 4)


def _sustained(slices: Sequence[dict[str, Any]]) -> Sustained:
    network = [ms for one in slices for ms in one["network_ms"]]
    total = [ms for one in slices for ms in one["total_ms"]]
    return Sustained(
        seconds=round(slices[-1]["at_s"], 1),
        frames=len(total),
        network_ms=_middle_and_p95(network),
        total_ms=_middle_and_p95(total),
        frames_per_second=round(1e3 / float(np.mean(total)), 2),
        is_throttled=any(one["state"].get("throttled", 0) & THROTTLED_SINCE for one in slices),
        slices=tuple(
            Slice(
                at_s=one["at_s"],
                frames=len(one["total_ms"]),
                network_ms=round(float(np.median(one["network_ms"])), 4),
                total_ms=round(float(np.median(one["total_ms"])), 4),
                frames_per_second=round(1e3 / float(np.mean(one["total_ms"])), 2),
                temp_c=one["state"].get("temp_c"),
                mhz=one["state"].get("mhz"),
            )
            for one in slices
            if one["total_ms"]
        ),
    )


def can_be_followed(key: TableKey) -> bool:
    """Whether a point can be exported in the key's precision."""
    return key.precision in EXPORTED


def bundle_files(candidate: Candidate, key: TableKey, weights: Path | None) -> dict[str, bytes]:
    """detect.py, report.json and the model's files, by name."""
    from nas.deploy.decode import layout_of
    from nas.deploy.ncnn import to_ncnn
    from nas.deploy.on_board import detect
    from nas.deploy.onnx import output_names, to_onnx
    from nas.deploy.report import REPORT, Exported, ExportReport, write_report
    from nas.deploy.weights import random_detector
    from nas.detector.anchor_free import AnchorFreeDetect
    from nas.training.on_disk.checkpoint import load_checkpoint

    spec, size = candidate.spec, candidate.image_size
    detector = random_detector(spec, size) if weights is None else load_checkpoint(weights).build()
    names = tuple(str(i) for i in range(spec.num_classes))
    precision: Literal["fp32", "fp16"] = "fp16" if key.precision == "fp16" else "fp32"
    files: dict[str, bytes]
    if key.runtime == "ncnn":
        model = to_ncnn(detector, size, precision)
        files = {"model.param": model.param.encode(), "model.bin": model.bin}
        form, inputs, holds = "ncnn", "in0", "maps"
    else:
        files = {"model.onnx": to_onnx(detector, size, precision, has_boxes=True, names=names)}
        form, inputs, holds = "onnx", "images", f"{layout_of(detector)} boxes"
    head = detector.head
    report = ExportReport(
        model="model",
        digest=candidate.digest,
        image_size=size,
        classes=names,
        anchors=spec.anchors,
        strides=tuple(head.strides),
        head="anchor-free" if isinstance(head, AnchorFreeDetect) else "anchors",
        bins=head.bins if isinstance(head, AnchorFreeDetect) else 0,
        weights="random ones" if weights is None else weights.name,
        map50_95=None,
        exported=(
            Exported(
                format=form, precision=precision, files=tuple(files), input=inputs,
                outputs=output_names(detector, has_boxes=holds != "maps"), holds=holds,
            ),
        ),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        write_report(folder, report)
        files[REPORT] = (folder / REPORT).read_bytes()
    files["detect.py"] = Path(detect.__file__).read_bytes()
    return files


def words_of_path(found: PathTimes) -> list[str]:
    """What a reader should know of it, a sentence each."""
    steps = found.steps_ms
    before = steps["letterbox"][0] + steps["to_input"][0]
    after = steps["candidates"][0] + steps["suppress"][0]
    width, height = found.picture
    lines = [
        f"A picture of {width} x {height} takes {steps['together'][0]:.2f} ms with {found.name}"
        f" ({found.weights} weights; median, p95 {steps['together'][1]:.2f}): letterbox"
        f" {before:.2f} (resized by {found.resized_by}), network {steps['network'][0]:.2f},"
        f" boxes {after:.2f}."
    ]
    kept = found.sustained
    if kept is None:
        return lines
    told = f"Without a pause for {kept.seconds / 60:.1f} minutes: {kept.total_ms[0]:.2f} ms a frame"
    told += f" (median, p95 {kept.total_ms[1]:.2f}), network {kept.network_ms[0]:.2f}"
    told += f" (p95 {kept.network_ms[1]:.2f}), {kept.frames_per_second:.1f} frames a second"
    warm = [one.temp_c for one in kept.slices if one.temp_c is not None]
    if warm:
        told += f", {warm[0]:.0f} to {warm[-1]:.0f} C"
    clocks = [one.mhz for one in kept.slices if one.mhz is not None]
    if clocks and min(clocks) < 0.97 * max(clocks):
        told += f", its clock between {min(clocks):.0f} and {max(clocks):.0f} MHz"
    fifth = max(1, len(kept.slices) // 5)
    first = float(np.median([one.network_ms for one in kept.slices[:fifth]]))
    last = float(np.median([one.network_ms for one in kept.slices[-fifth:]]))
    lines.append(
        f"{told}. From the first fifth to the last the network's time changed by"
        f" {last / first - 1:+.1%}."
    )
    if kept.is_throttled:
        lines.append("The board throttled meanwhile: give it a heat sink or a better supply.")
    return lines
