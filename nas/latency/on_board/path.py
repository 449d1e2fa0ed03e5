"""Times all that a picture goes through on the machine it runs on, and how that is kept up.

    python path.py < PACK > LINES

One file: Python 3.9+, numpy and one runtime; it imports nothing of the rest of the house. PACK: a
JSON line, then the files of a bundle (detect.py, report.json, a model), each a JSON line with name
and size, and its bytes; a line without a name ends it.

    {"protocol": 1, "runtime": "ncnn", "precision": "fp32", "threads": 1, "width": 640,
     "height": 480, "seed": 0, "runs": 50, "seconds": 600, "slice_s": 10}

LINES: `hello`; `apart`, the milliseconds of each step (letterbox, to_input, network, candidates,
suppress) and of all of it together, every sample; then, where `seconds` are asked for, a `slice`
each `slice_s` with the frames of it (network_ms and total_ms, every frame), clock, temperature and
throttling bits, frame after frame without a pause; `bye`. What computes is the bundle's detect.py.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOL = 1
"""Version of PACK and LINES. 1: the first."""

WARM_UP = 10
"""Pictures before the first that counts."""

Json = dict[str, Any]


def say(line: Json) -> None:
    """Prints a line at once; a reader who has gone ends us here."""
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def unpack(folder: Path) -> Json:
    """Writes the pack's files into the folder, and gives its header."""
    stream = sys.stdin.buffer
    header: Json = json.loads(stream.readline())
    while (line := stream.readline().strip()) and (name := json.loads(line).get("name")):
        (folder / Path(name).name).write_bytes(stream.read(json.loads(line)["size"]))
    return header


def load(folder: Path) -> Any:
    """The bundle's detect.py as a module."""
    spec = importlib.util.spec_from_file_location("detect", folder / "detect.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["detect"] = module
    spec.loader.exec_module(module)
    return module


def picture(header: Json) -> Any:
    """A camera's picture (H, W, 3) of smooth colours with noise over them."""
    rng = np.random.default_rng(header["seed"])
    height, width = header["height"], header["width"]
    rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
    smooth = rng.integers(40, 216, (6, 8, 3))[rows][:, columns]
    noise = rng.integers(-20, 21, (height, width, 3))
    return (smooth + noise).clip(0, 255).astype(np.uint8)


def apart(detect: Any, detector: Any, shot: Any, runs: int) -> Json:
    """The milliseconds of each step, and of all together, of so many runs."""
    names = ("letterbox", "to_input", "network", "candidates", "suppress", "together")
    found: Json = {name: [] for name in names}
    boxes = 0
    for _ in range(runs):
        marks = [time.perf_counter()]
        canvas, frame = detect.letterbox(shot, detector.model.height, detector.model.width)
        marks.append(time.perf_counter())
        image = detect.to_input(canvas)
        marks.append(time.perf_counter())
        outputs = detector.network.run(image)
        marks.append(time.perf_counter())
        pairs = detect.candidates(outputs, detector.model, detector.confidence, detector.classes)
        marks.append(time.perf_counter())
        kept = detect.suppress(*pairs, iou=detector.iou)
        detect.to_picture(kept, frame, shot.shape[1], shot.shape[0])
        marks.append(time.perf_counter())
        boxes = len(pairs[1])
        for name, begin, end in zip(names, marks, marks[1:]):  # noqa: B905  # Python 3.9
            found[name].append(round(1e3 * (end - begin), 4))
        begin = time.perf_counter()
        detector.detect(shot)
        found["together"].append(round(1e3 * (time.perf_counter() - begin), 4))
    resized_by = "OpenCV" if detect._package("cv2") is not None else "numpy"
    return {"line": "apart", "ms": found, "candidates": boxes, "resized_by": resized_by}


def state() -> Json:
    """Clock (MHz), temperature (C) and throttling bits, as far as the board says them."""
    found: Json = {}
    for name, path, divisor in (
        ("mhz", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1000),
        ("temp_c", "/sys/class/thermal/thermal_zone0/temp", 1000),
    ):
        text = read(path)
        if text.lstrip("-").isdigit():
            found[name] = round(int(text) / divisor, 1)
    bits = read("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if bits:
        found["throttled"] = int(bits, 16)
    return found


def read(path: str) -> str:
    """A file's text; empty where this board doesn't say."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def sustain(detector: Any, shot: Any, seconds: float, slice_s: float) -> None:
    """Frame after frame, and a line a slice."""
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        network: list[float] = []
        total: list[float] = []
        start = time.monotonic()
        while time.monotonic() - start < min(slice_s, seconds - elapsed):
            _, took = detector.detect(shot)
            network.append(round(took.network, 4))
            total.append(round(took.total, 4))
        now = time.monotonic()
        say({
            "line": "slice", "at_s": round(now - begin, 2), "seconds": round(now - start, 3),
            "network_ms": network, "total_ms": total, "state": state(),
        })  # fmt: skip


def main() -> int:
    """Runs the pack on stdin; 0 done, 2 refused (a line says why)."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            header = unpack(folder)
            if header["protocol"] != PROTOCOL:
                raise ValueError(f"this path.py speaks protocol {PROTOCOL}")
            detect = load(folder)
            detector = detect.load_detector(
                folder, header["runtime"], header["precision"], header["threads"]
            )
        except (ImportError, ValueError, OSError, LookupError) as error:
            say({"line": "refusal", "reason": f"{type(error).__name__}: {error}"})
            return 2
        except Exception as error:  # detect.py's own, whose class is not ours
            say({"line": "refusal", "reason": str(error)})
            return 2
        say({"line": "hello", "protocol": PROTOCOL, "state": state()})
        shot = picture(header)
        for _ in range(WARM_UP):
            detector.detect(shot)
        say(apart(detect, detector, shot, header["runs"]))
        if header["seconds"]:
            sustain(detector, shot, header["seconds"], header["slice_s"])
        say({"line": "bye"})
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (BrokenPipeError, KeyboardInterrupt):
        sys.exit(130)
