"""The page that lies in a bundle, for whoever has the board before them."""

from __future__ import annotations

import shlex
from pathlib import Path

from nas.deploy.report import Exported, ExportReport, FileLatency
from nas.space.image_size import sides


def readme(report: ExportReport, folder: Path, name: str, host: str) -> str:
    """Ten lines of what to do, and a table of the files.

    folder  holds the files; `name` is what it will be called, `host` the board as ssh takes it
    """
    where = word(name)
    rows = "\n".join(row for one in report.exported if (row := _row(one, folder)))
    graded = report.graded_on
    stood = "" if graded is None else f" mAP on {graded.images} images of {graded.data}."
    return f"""\
# {report.model}: finds {_some(report.classes)}

Copy the folder to the board, and install what runs it, once:

    scp -r {where} {host}:
    ssh {host}
    sudo apt install python3-venv python3-numpy python3-opencv
    python3 -m venv --system-site-packages ~/detector
    ~/detector/bin/pip install --no-deps ncnn          # or: onnxruntime

Find (in a picture, a folder, a video, `camera` on USB, `picamera2`, the Pi's own):

    cd {where}
    ~/detector/bin/python detect.py --source picture.jpg --out found
    ~/detector/bin/python detect.py --source picamera2 --frames 100 --out found
    ~/detector/bin/python detect.py --source picamera2 --benchmark 100

| file | MB | mAP50-95 | ms on {_device(report)} |
|---|---|---|---|
{rows}

Input {_size(report)}, RGB.{stood} `detect.py --help` lists the flags.
`report.json` says the rest: digests, versions, how outputs are decoded. `best.pt` goes on in
nas.train.
"""


def word(name: str) -> str:
    """A name as a shell takes it for one word."""
    return shlex.quote(name)


def latency_words(latency: FileLatency | None) -> str:
    """`41 (38 to 44, estimated)`, or that it is unknown."""
    if latency is None or latency.ms is None:
        return "unknown"
    assert latency.low_ms is not None
    assert latency.high_ms is not None
    interval = f"{latency.low_ms:.3g} to {latency.high_ms:.3g}"
    return f"{latency.ms:.3g} ({interval}, {latency.kind})"


def _row(one: Exported, folder: Path) -> str:
    """A model's row; none of what nothing runs alone."""
    if one.grade is None:
        return ""
    size = sum((folder / name).stat().st_size for name in one.files)
    names = ", ".join(f"`{name}`" for name in one.files)
    return (
        f"| {names} | {size / 1e6:.2f} | {one.grade.map50_95:.3f} | {latency_words(one.latency)} |"
    )


def _some(names: tuple[str, ...], most: int = 8) -> str:
    """The first classes, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _device(report: ExportReport) -> str:
    found = [one.latency for one in report.exported if one.latency is not None]
    return f"{found[0].device}, {found[0].threads} threads" if found else "the board"


def _size(report: ExportReport) -> str:
    height, width = sides(report.image_size)
    return f"{width}x{height}"
