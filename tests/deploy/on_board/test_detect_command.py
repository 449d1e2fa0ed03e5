"""detect.py as a person runs it: alone in its folder, where nothing of ours is known."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

from nas.data.drawn import NAMES, parts
from nas.data.labels import LabelReader
from nas.deploy.on_board import detect
from tests.deploy.on_board.bundles import (
    HEADS,
    SIZE,
    detector_of,
    rgb,
    write_bundle,
    write_pictures,
)

PACKAGES = ("numpy", "ncnn", "onnxruntime", "cv2", "opencv_python_headless", "PIL", "pillow")


class Board:
    """A virtual environment with some packages and no others, and a bundle."""

    def __init__(self, folder: Path, bundle: Path, packages: tuple[str, ...]) -> None:
        import venv

        self.folder, self.bundle = folder, bundle
        venv.create(folder / "env", with_pip=False, symlinks=True)
        self.site = next((folder / "env").glob("lib/python3*/site-packages"))
        for name in packages:
            for path in Path(sysconfig.get_paths()["purelib"]).glob(f"{name}*"):
                if path.name in (name, f"{name}.libs"):
                    (self.site / path.name).symlink_to(path)

    def module(self, name: str, text: str) -> None:
        """A module of the environment's."""
        (self.site / f"{name}.py").write_text(textwrap.dedent(text))

    def first(self, text: str) -> None:
        """What its Python runs before all else; a distribution may have a sitecustomize already."""
        self.module("first", text)
        (self.site / "first.pth").write_text("import first\n")

    def run(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """detect.py, cut off from this process's environment and from the folder it runs in."""
        command = [self.folder / "env/bin/python", "-I", self.bundle / "detect.py", *words]
        return subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            cwd=cwd or self.folder,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
            check=False,
        )

    def refuses(self, *words: object) -> str:
        """The one message of a run that ends with 2."""
        done = self.run(*words)
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        return done.stderr


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle"), detector_of(HEADS[3], rarity=4.0))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of drawn pictures of many shapes."""
    return write_pictures(tmp_path_factory.mktemp("data"), 6).parent / "images" / "val"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Board:
    return Board(tmp_path_factory.mktemp("board"), bundle, PACKAGES)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_runs_where_nothing_of_ours_is(board: Board, pictures: Path, tmp_path: Path) -> None:
    command = [str(board.folder / "env/bin/python"), "-I", "-c", "import nas"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    done = board.run("--source", pictures, "--out", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in pictures.iterdir())
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == names
    assert all(" before + " in line and " ms" in line for line in done.stdout.splitlines())
    assert "ncnn" in done.stderr
    assert "fp32" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    for name in names:
        before, after = cv2.imread(str(pictures / name)), cv2.imread(str(tmp_path / "out" / name))
        factor = after.shape[0] // before.shape[0]
        assert after.shape[:2] == (before.shape[0] * factor, before.shape[1] * factor)
        assert max(after.shape) >= detect.LEAST_SIDE
        plain = before.repeat(factor, 0).repeat(factor, 1)
        share = (np.abs(after.astype(int) - plain) > 60).any(axis=2).mean()
        assert 0.002 < share < 0.9, name


def test_json_lines_are_what_the_detector_finds(board: Board, pictures: Path) -> None:
    done = lines(board.run("--source", pictures, "--json", "--runtime", "onnxruntime"))
    detector = detect.load_detector(board.bundle, "onnxruntime", threads=1)
    for line in done:
        pixels = rgb(pictures / str(line["picture"]))
        found, _ = detector.detect(pixels)
        assert (line["height"], line["width"]) == pixels.shape[:2]
        assert isinstance(line["boxes"], list)
        assert len(line["boxes"]) == len(found.scores) > 0
        for one, box, score, kind in zip(
            line["boxes"], found.boxes, found.scores, found.classes, strict=True
        ):
            assert (one["class"], one["name"]) == (kind, NAMES[kind])
            assert one["confidence"] == pytest.approx(score, abs=1e-4)
            assert one["box"] == pytest.approx(box, abs=0.02)
        assert isinstance(line["ms"], dict)
        spent = line["ms"]["before"] + line["ms"]["network"] + line["ms"]["after"]
        assert 0 < spent <= line["ms"]["total"] + 0.01


@pytest.mark.parametrize("runtime", ["ncnn", "onnxruntime"])
@pytest.mark.parametrize("decoder", ["cv2", "PIL"])
def test_one_runtime_and_one_decoder_are_enough(
    runtime: str, decoder: str, bundle: Path, board: Board, pictures: Path, tmp_path: Path
) -> None:
    few = Board(tmp_path, bundle, ("numpy", runtime, decoder, "opencv_python_headless", "pillow"))
    done = few.run("--source", pictures, "--json", "--out", tmp_path / "out", "--confidence", 0.5)
    every = board.run("--source", pictures, "--json", "--runtime", runtime, "--confidence", 0.5)
    assert runtime in done.stderr
    count = 0
    for mine, right in zip(lines(done), lines(every), strict=True):
        # A pixel of one grey level more moves a score by little, and a box near a threshold.
        assert isinstance(mine["boxes"], list)
        assert isinstance(right["boxes"], list)
        sure = [one for one in right["boxes"] if one["confidence"] > 0.55]
        for one in sure:
            same = [other for other in mine["boxes"] if other["class"] == one["class"]]
            strays = [np.abs(np.subtract(o["box"], one["box"])).max() for o in same]
            count += min(strays, default=99) < 1.5
        count -= len(sure)
    assert count >= -2
    assert len(list((tmp_path / "out").glob("*.png"))) == 6


def test_label_files_are_read_back_by_the_data_room(
    board: Board, pictures: Path, tmp_path: Path
) -> None:
    done = lines(board.run("--source", pictures, "--json", "--save-txt", "--out", tmp_path))
    reader, count = LabelReader(names=NAMES), 0
    for line in done:
        path = tmp_path / "labels" / f"{Path(str(line['picture'])).stem}.txt"
        rows = [row.rpartition(" ") for row in path.read_text().splitlines()]
        plain = tmp_path / f"{path.stem}-plain.txt"
        plain.write_text("".join(f"{row[0]}\n" for row in rows))
        boxes = line["boxes"]
        assert isinstance(boxes, list)
        found = reader.read(plain)
        sizes = np.array([line["width"], line["height"]] * 2)
        boxes = [one for one in boxes if one["box"][0] < one["box"][2]]
        boxes = [one for one in boxes if one["box"][1] < one["box"][3]]
        # Boxes that are cut at the same edges may be equal: the room reads them once.
        right = np.array([(1000 * one["class"], *one["box"]) for one in boxes]).reshape(-1, 5)
        read = np.column_stack([1000 * found.classes, found.boxes * sizes])
        strays = np.abs(read[:, None] - right).max(axis=2)
        assert strays.min(axis=0, initial=99).max(initial=0) < 0.01
        assert strays.min(axis=1, initial=99).max(initial=0) < 0.01
        count += len(boxes)
        assert [float(row[2]) for row in rows] == pytest.approx(
            [one["confidence"] for one in boxes], abs=1e-4
        )
    assert reader.flaws == []
    assert count > 20


def test_classes_and_thresholds(board: Board, pictures: Path) -> None:
    every = lines(board.run("--source", pictures, "--json"))
    some = lines(board.run("--source", pictures, "--json", "--classes", "ring", "4"))
    sure = lines(board.run("--source", pictures, "--json", "--confidence", 0.7))
    loose = lines(board.run("--source", pictures, "--json", "--iou", 0.1, "--frames", 2))
    assert len(loose) == 2
    counts = [0, 0, 0]
    for line, wanted, best in zip(every, some, sure, strict=True):
        assert isinstance(line["boxes"], list)
        assert isinstance(wanted["boxes"], list)
        assert isinstance(best["boxes"], list)
        assert {one["name"] for one in wanted["boxes"]} <= {"ring", "triangle"}
        above = [one for one in line["boxes"] if one["confidence"] > 0.7]
        assert best["boxes"] == above
        counts = [a + len(b["boxes"]) for a, b in zip(counts, (line, wanted, best), strict=True)]  # type: ignore[arg-type]
    assert counts[0] > counts[1] > 0
    assert counts[0] > counts[2] > 0
    assert isinstance(every[0]["boxes"], list)
    assert isinstance(loose[0]["boxes"], list)
    assert len(loose[0]["boxes"]) < len(every[0]["boxes"])


def test_a_benchmark_adds_up(board: Board, pictures: Path) -> None:
    words = ("--benchmark", 20, "--json", "--threads", 1, "--precision", "fp16")
    (found,) = lines(board.run("--source", pictures, *words))
    ms, samples = found["ms"], found["samples_ms"]
    assert isinstance(ms, dict)
    assert isinstance(samples, dict)
    for name, row in ms.items():
        assert len(samples[name]) == 20
        assert row["min"] == min(samples[name])
        assert row["mean"] == pytest.approx(np.mean(samples[name]))
        assert row["median"] == pytest.approx(np.median(samples[name]))
        assert row["min"] <= row["median"] <= row["p95"] <= max(samples[name])
    for parts_, total in zip(
        zip(samples["before"], samples["network"], samples["after"], strict=True),
        samples["total"],
        strict=True,
    ):
        assert sum(parts_) <= total + 0.001
        assert total <= sum(parts_) + 2
    assert found["frames_per_second"] == pytest.approx(1000 / ms["total"]["mean"])
    assert (found["runtime"], found["precision"], found["threads"]) == ("ncnn", "fp16", 1)
    assert found["input"] == {"width": SIZE, "height": SIZE}
    assert found["pictures"] == 6
    done = board.run("--benchmark", 3)
    assert done.returncode == 0, done.stderr
    assert "640x480" in done.stdout
    assert "frames a second" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[4:9]] == [
        "ms", "before", "network", "after", "total",
    ]  # fmt: skip


def test_a_video_gives_a_video(board: Board, tmp_path: Path) -> None:
    images = parts()["val"].load(160, 1).images
    writer = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 12.0, (160, 160)
    )
    for image in images[:5]:
        writer.write(np.ascontiguousarray(image[..., ::-1]))
    writer.release()
    done = board.run("--source", tmp_path / "film.avi", "--out", tmp_path / "out", "--save-txt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("film-000001.jpg: ")
    assert len(done.stdout.splitlines()) == 5
    film = cv2.VideoCapture(str(tmp_path / "out" / "film.mp4"))
    assert film.get(cv2.CAP_PROP_FPS) == 12
    assert sum(film.read()[0] for _ in range(9)) == 5
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 5


PICAMERA2 = '''
"""As on a Raspberry Pi: what is called RGB888 has blue first in memory."""
import numpy as np


class Picamera2:
    def create_video_configuration(self, main):
        assert main["format"] == "RGB888", main
        self.size = main["size"]
        return {"main": main}

    def configure(self, configuration):
        self.is_configured = True

    def start(self):
        assert self.is_configured

    def capture_array(self, name):
        assert name == "main"
        width, height = self.size
        image = np.zeros((height, width, 3), np.uint8)
        image[:, : width // 2, 2] = 200  # red on the left
        image[:, width // 2 :, 0] = 200  # blue on the right
        return image

    def close(self):
        print("closed", flush=True)
'''


def test_the_pis_camera_has_its_colours_right(bundle: Path, tmp_path: Path) -> None:
    board = Board(tmp_path, bundle, PACKAGES)
    assert "python3-picamera2" in board.refuses("--source", "picamera2")
    board.module("picamera2", PICAMERA2)
    done = board.run("--source", "picamera2", "--frames", 2, "--out", tmp_path / "out",
                     "--confidence", 0.99)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "closed"
    saved = rgb(tmp_path / "out" / "picamera2-000002.jpg")
    assert saved.shape == (480, 640, 3)
    red, blue = saved[400:, 5:300].mean(axis=(0, 1)), saved[400:, 340:].mean(axis=(0, 1))
    assert red[0] > 150 > 60 > red[2]
    assert blue[2] > 150 > 60 > blue[0]
    # And the network is given them so.
    shot = next(iter(detect.open_source(str(tmp_path / "out" / "picamera2-000002.jpg"))))
    assert shot.pixels[400, 100, 0] > shot.pixels[400, 100, 2]
    board.module("picamera2", "raise ValueError('numpy.dtype size changed')")
    told = board.refuses("--source", "picamera2")
    assert "installed, but it fails to load (ValueError: numpy.dtype size changed)" in told
    board.module("picamera2", "class Picamera2:\n    def __init__(self): [][0]\n")
    assert "no camera is found" in board.refuses("--source", "picamera2")


class FakeCapture:
    """OpenCV's VideoCapture of a camera that gives two frames and stops."""

    def __init__(self, number: int, way: int) -> None:
        self.number, self.way, self.left = number, way, 2

    def isOpened(self) -> bool:  # noqa: N802  # OpenCV's name
        return self.number == 1

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        image = np.zeros((8, 8, 3), np.uint8)
        image[..., 0] = 255  # blue
        return (True, image) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.left = -1


def test_a_usb_cameras_frames_are_red_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    source = detect.open_source("camera:1")
    shots = [next(source), next(source)]
    assert [shot.name for shot in shots] == ["camera-000001.jpg", "camera-000002.jpg"]
    assert (shots[0].pixels == [0, 0, 255]).all()
    with pytest.raises(detect.SourceError, match="stopped after 2 pictures"):
        next(source)
    with pytest.raises(detect.SourceError, match="no camera gives pictures there"):
        next(detect.open_source("camera"))


def test_bad_input_gets_one_message(board: Board, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "film.mp4").write_text("no film")
    picture = next(pictures.iterdir())
    told = {
        "there is no such file": ("--source", "no.jpg"),
        "no picture that OpenCV reads": ("--source", tmp_path / "text.jpg"),
        "it holds none": ("--source", tmp_path / "empty"),
        "no video that OpenCV reads": ("--source", tmp_path / "film.mp4"),
        "no camera gives pictures there": ("--source", "camera:7"),
        "a camera has a number": ("--source", "camera:front"),
        "the detector knows 0 disc, 1 ring": ("--source", picture, "--classes", "cat"),
        "the bundle holds ncnn fp32": ("--source", picture, "--precision", "int8"),
        "name a picture": (),
        "name one": ("--source", picture, "--save-txt"),
        "--confidence is in 0..1": ("--source", picture, "--confidence", 2),
        "--threads: at least 1": ("--source", picture, "--threads", 0),
        "leave --out away": ("--source", picture, "--benchmark", 2, "--out", tmp_path / "o"),
        "another folder": ("--source", picture, "--out", pictures),
        "File exists": ("--source", picture, "--out", tmp_path / "text.jpg"),
        "Copy the whole folder": ("--source", picture, "--bundle", tmp_path),
    }
    for message, words in told.items():
        assert message in board.refuses(*words)
    assert not (tmp_path / "o").exists()


def test_one_bad_picture_of_a_folder_is_said_and_passed_by(
    board: Board, pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "some")
    (tmp_path / "some" / "000.png").write_bytes(b"")
    done = board.run("--source", tmp_path / "some")
    assert done.returncode == 0
    assert "000.png: no picture that OpenCV reads; going on without it" in done.stderr
    assert len(done.stdout.splitlines()) == 5
    for path in (tmp_path / "some").iterdir():
        path.write_bytes(b"\xff\xd8nothing")
    done = board.run("--source", tmp_path / "some")
    assert done.returncode == 2
    assert "none of 6 can be read" in done.stderr
    twins = tmp_path / "twins"
    twins.mkdir()
    for name in ("one.png", "one.jpg"):
        shutil.copy(next(pictures.iterdir()), twins / name)
    words = ("--source", twins, "--save-txt", "--out", tmp_path / "out")
    assert "two pictures called one" in board.refuses(*words)


def test_a_runtime_that_is_absent_is_named_with_its_remedy(
    bundle: Path, pictures: Path, tmp_path: Path
) -> None:
    board = Board(tmp_path, bundle, ("numpy", "ncnn", "PIL", "pillow"))
    picture = next(pictures.iterdir())
    told = board.refuses("--source", picture, "--runtime", "onnxruntime")
    assert "onnxruntime: not installed here" in told
    assert "-m pip install onnxruntime" in told
    assert "python3-opencv" in board.refuses("--source", "camera")
    told = Board(tmp_path / "bare", bundle, ("numpy",)).refuses("--source", picture)
    assert "decoded by OpenCV or Pillow" in told
    assert "-m pip install pillow" in told
    told = Board(tmp_path / "few", bundle, ("numpy", "PIL", "pillow")).refuses("--source", picture)
    assert "ncnn: not installed here; onnxruntime: not installed here. " in told
    assert "-m pip install ncnn, or " in told


def test_damaged_bundles_are_named(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    board = Board(tmp_path / "board", shutil.copytree(bundle, tmp_path / "copy"), PACKAGES)
    picture = next(pictures.iterdir())
    for runtime, name in (("ncnn", "m-fp32.ncnn.param"), ("ncnn", "m-fp32.ncnn.bin"),
                          ("onnxruntime", "m-fp32.onnx")):  # fmt: skip
        path = board.bundle / name
        whole = path.read_bytes()
        words = ("--source", picture, "--runtime", runtime)
        for content in (whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
            path.write_bytes(content)
            assert f"{name}: damaged" in board.refuses(*words)
        path.unlink()
        assert f"{name}: report.json names this file" in board.refuses(*words)
        path.write_bytes(whole)
        assert board.run(*words).returncode == 0
    report = board.bundle / "report.json"
    text = report.read_text()
    for content in (text[:100], "[]", "{}", text.replace('"format": 2', '"format": 99'), '"x"'):
        report.write_text(content)
        assert "report.json: " in board.refuses("--source", picture)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_gets_one_message(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    board = Board(tmp_path, bundle, PACKAGES)
    # What the system answers where there is no room, for every file that is written.
    board.first(
        """
        import pathlib

        def full(self, content):
            with open("/dev/full", "wb") as file:
                file.write(content + bytes(1))
                file.flush()

        pathlib.Path.write_bytes = full
        """
    )
    picture = next(pictures.iterdir())
    told = board.refuses("--source", picture, "--out", tmp_path / "out")
    assert "No space left on device" in told
    assert not list((tmp_path / "out").iterdir())


def test_a_reader_that_goes_away_is_nobodys_mistake(board: Board, pictures: Path) -> None:
    command = [board.folder / "env/bin/python", "-I", board.bundle / "detect.py"]
    process = subprocess.Popen(
        [*map(str, command), "--source", str(pictures)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait() == 0, told
    assert "Traceback" not in told
    assert "Exception" not in told


def test_names_that_the_fonts_lack_are_told_by_number() -> None:
    picture = np.full((480, 640, 3), 90, np.uint8)
    found = detect.FoundBoxes(
        np.array([[100.0, 100.0, 300.0, 300.0]]), np.array([0.5]), np.array([1])
    )
    strange = detect.drawn(picture, found, ("a", "数字"))
    plain = detect.drawn(picture, found, ("a", "1"))
    assert np.array_equal(strange, plain)
    assert (plain != picture).any()


def test_labels_do_not_cover_each_other_and_stay_inside() -> None:
    picture = np.full((300, 600, 3), 90, np.uint8)
    boxes = np.array(
        [[0.0, 0.0, 90.0, 200.0], [1.0, 0.0, 91.0, 201.0], [560.0, 250.0, 600.0, 300.0]]
    )
    found = detect.FoundBoxes(boxes, np.array([0.9, 0.8, 0.7]), np.array([0, 1, 2]))
    names = ("a class with a long name", "another", "the third of them")
    canvas = detect.drawn(picture, found, names)
    assert canvas.shape == picture.shape
    for kind in range(3):
        colour = detect._colour(kind)
        share = (canvas == colour).all(axis=2).sum()
        assert share > 900, "a label's ground is seen"


if sys.platform != "linux":  # a venv of links, /dev/full and /dev/video are Linux's
    pytestmark = pytest.mark.skip("Linux alone")
