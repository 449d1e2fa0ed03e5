"""detect.py on an emulated Raspberry Pi 4: the boxes that this machine finds, and its own messages.

Its times mean nothing.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nas.deploy.on_board import detect
from tests.board.host import MODEL, Sshd
from tests.deploy.on_board.bundles import HEADS, detector_of, rgb, write_bundle, write_pictures

pytestmark = [pytest.mark.board, pytest.mark.slow]


def there(board: Sshd, packages: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """detect.py by ssh, in the bundle's folder on the board."""
    command = (
        f"cd ~/bundle && PYTHONPATH={packages} python3 detect.py {shlex.join(map(str, words))}"
    )
    return subprocess.run(
        ["ssh", "-F", str(board.config), "board", command],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("head", [HEADS[0], HEADS[3]])
def test_it_finds_there_what_it_finds_here(
    head: str, emulated: Sshd, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = emulated.folder / "home"
    shutil.rmtree(home / "bundle", ignore_errors=True)
    bundle = write_bundle(home / "bundle", detector_of(head, rarity=4.0))
    pictures = write_pictures(tmp_path / "data", 3).parent / "images" / "val"
    monkeypatch.setattr(
        detect, "_package", lambda name: None if name == "cv2" else __import__(name)
    )
    count = 0
    for runtime in ("ncnn", "onnxruntime"):
        for precision in ("fp32", "fp16"):
            words = ("--source", pictures, "--json", "--runtime", runtime, "--threads", 1)
            done = there(emulated, packages, *words, "--precision", precision)
            assert done.returncode == 0, done.stderr
            detector = detect.load_detector(bundle, runtime, precision, threads=1)
            for line in map(json.loads, done.stdout.splitlines()):
                found, _ = detector.detect(rgb(pictures / line["picture"]))
                boxes = np.array([one["box"] for one in line["boxes"]]).reshape(-1, 4)
                scores = [one["confidence"] for one in line["boxes"]]
                assert [one["class"] for one in line["boxes"]] == found.classes.tolist()
                assert np.allclose(boxes, found.boxes, atol=0.05)
                assert np.allclose(scores, found.scores, atol=1e-3)
                count += len(scores)
    assert count > 20


def test_it_draws_and_times_there(emulated: Sshd, packages: Path, tmp_path: Path) -> None:
    if not (emulated.folder / "home" / "bundle").exists():
        write_bundle(emulated.folder / "home" / "bundle", detector_of(HEADS[3], rarity=4.0))
    pictures = write_pictures(tmp_path / "data", 2).parent / "images" / "val"
    done = there(emulated, packages, "--source", pictures, "--out", "found", "--save-txt")
    assert done.returncode == 0, done.stderr
    left = emulated.folder / "home" / "bundle" / "found"
    assert {path.name for path in left.glob("*.png")} == {path.name for path in pictures.iterdir()}
    assert len(list((left / "labels").iterdir())) == 2
    done = there(emulated, packages, "--benchmark", 3, "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["machine"] == f"{MODEL} (aarch64)"
    for words, told in (
        (("--source", "camera"), "read by OpenCV, which is not installed here"),
        (("--source", "picamera2"), "sudo apt install python3-picamera2"),
        (("--source", "nothing.jpg"), "there is no such file"),
    ):
        done = there(emulated, packages, *words)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr
