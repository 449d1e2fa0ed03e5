"""The least image that suits a data set's pictures: what it keeps and saves; when none does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas import NasError, predict, search, train
from nas.audit import read_space_of
from nas.data.common_shape import KEPT_SCALE, SUITED_SHARE, picture_sizes, suiting
from nas.data.dataset import read_data
from nas.data.images import fit_frame
from nas.space.image_size import ImageSize, Rectangle, is_multiple, of_sides, sides
from nas.study.on_disk.run import read_settings


def of(*shapes: tuple[int, int]) -> np.ndarray:
    return np.array(shapes, np.int64)


@pytest.mark.parametrize(
    ("shape", "square", "size"),
    [
        ((1280, 720), 320, "320x192"),
        ((1920, 1080), 640, "640x352"),
        ((640, 480), 320, "320x256"),
        ((640, 480), 384, "384x288"),
        ((480, 640), 384, "288x384"),
        ((720, 1280), 320, "192x320"),
        ((4000, 200), 320, "320x32"),
        ((500, 500), 320, "320"),
        ((640, 620), 320, "320"),
    ],
)
def test_the_least_rectangle_of_a_camera(shape: tuple[int, int], square: int, size: str) -> None:
    choice = suiting(of(*[shape] * 5), square)
    assert str(choice.size) == size
    assert choice.shrunk == 0
    assert choice.padding <= choice.square_padding + 1e-9
    assert choice.is_rectangle == (size != "320")
    assert size in choice.told()


@given(
    st.lists(st.tuples(st.integers(50, 3000), st.integers(50, 3000)), min_size=1, max_size=60),
    st.integers(2, 20).map(lambda n: 32 * n),
)
def test_nearly_all_pictures_keep_their_scale_and_no_less_would_do(
    shapes: list[tuple[int, int]], square: int
) -> None:
    pictures = of(*shapes)
    choice = suiting(pictures, square)
    assert is_multiple(choice.size, 32)
    assert max(sides(choice.size)) == square
    if not choice.is_rectangle:
        assert choice.padding == pytest.approx(choice.square_padding)
        return

    def kept(size: ImageSize) -> float:
        scales = []
        for width, height in shapes:
            wide, high = (side / square for side in sides(size)[::-1])
            scales.append(min(wide / width, high / height) * max(width, height))
        return float(np.mean(np.array(scales) >= KEPT_SCALE - 1e-9))

    across = float((pictures[:, 0] > pictures[:, 1]).mean())
    down = float((pictures[:, 1] > pictures[:, 0]).mean())
    assert kept(choice.size) >= SUITED_SHARE - min(across, down) - 1e-9
    high, wide = sides(choice.size)
    less = of_sides(high - 32, wide) if wide > high else of_sides(high, wide - 32)
    if min(sides(less)) >= 32:
        assert kept(less) < 1


def test_pictures_that_lie_both_ways_leave_a_square_and_are_told() -> None:
    choice = suiting(of(*[(640, 480)] * 80, *[(480, 640)] * 20), 320)
    assert choice.size == 320
    assert "80% of the pictures are wider than high, 20% higher than wide" in choice.told()
    few = suiting(of(*[(640, 480)] * 98, *[(480, 640)] * 2), 320)
    assert few.size == Rectangle(width=320, height=256)
    assert "2% of the pictures are shown smaller" in few.told()


def test_padding_is_that_of_the_frames() -> None:
    choice = suiting(of((640, 480), (640, 360)), 320)
    frames = [fit_frame(*shape, choice.size) for shape in ((640, 480), (640, 360))]
    high, wide = sides(choice.size)
    filled = np.mean([frame[2] * frame[3] / (high * wide) for frame in frames])
    assert choice.padding == pytest.approx(1 - filled)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a data set of a camera's pictures, 4:3, some stored on their side."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val"):
        (tmp_path / part / "images").mkdir(parents=True)
        (tmp_path / part / "labels").mkdir()
        for index in range(8):
            picture = np.full((60, 80, 3), 90, np.uint8)
            cv2.rectangle(picture, (10 + index, 10), (40 + index, 40), (250, 40, 40), -1)
            name = f"{index}.png"
            cv2.imwrite(str(tmp_path / part / "images" / name), picture)
            box = f"0 {(25 + index) / 80} {25 / 60} {30 / 80} {30 / 60}\n"
            (tmp_path / part / "labels" / f"{index}.txt").write_text(box)
    (tmp_path / "data.yaml").write_text("train: train/images\nval: val/images\nnames: [red]\n")
    return tmp_path


def test_pictures_are_read_as_they_are_shown(home: Path) -> None:
    pictures = picture_sizes(read_data(home / "data.yaml"))
    assert pictures.tolist() == [[80, 60]] * 8
    # An EXIF orientation of 6: stored lying, shown standing.
    content = cv2.imencode(".jpg", np.zeros((60, 80, 3), np.uint8))[1].tobytes()
    tiff = (
        b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"
        + bytes(4)
    )
    exif = b"Exif\x00\x00" + tiff
    turned = content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    for file in (home / "train" / "images").iterdir():
        file.unlink()
    for index in range(8):
        (home / "train" / "images" / f"{index}.jpg").write_bytes(turned)
    pictures = picture_sizes(read_data(home / "data.yaml"))
    assert pictures.tolist() == [[60, 80]] * 8


def test_a_training_takes_the_size_that_suits(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = train.Arguments(
        models=(Path("yolov5n"),), data="data.yaml", image_size="auto", epochs=1,
        pretrained="none", run=str(home / "run"),
    )  # fmt: skip
    size = train.size_of(arguments, read_data("data.yaml"), [])
    assert size == Rectangle(width=320, height=256)
    assert "320x256 (width x height) instead of 320" in capsys.readouterr().err


def test_a_prediction_says_what_the_rectangle_saves(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path("yolov5n")
    predict.run(predict.Arguments(model=model, image_size="auto", data="data.yaml"))
    said = capsys.readouterr()
    assert "320x256 saves" in said.out
    assert "estimated; 90 % intervals" in said.out
    assert "padding 25% -> 6%" in said.err
    for flags in ({"image_size": "auto"}, {"data": "data.yaml"}):
        with pytest.raises(NasError, match="--data: it names the pictures"):
            predict.run(predict.Arguments(model=model, **flags))  # type: ignore[arg-type]


def test_a_search_has_rectangles_for_its_squares_resumes_and_can_be_audited(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = search.Arguments(
        space="grid", data="data.yaml", image_size="auto", budget=6, proxy="fake",
        run=str(home / "run"), baselines=False,
    )  # fmt: skip
    search.run(arguments)
    first = (home / "run" / "trials.csv").read_text()
    assert "a middling detector of the space takes" in capsys.readouterr().err
    search.run(arguments)
    assert (home / "run" / "trials.csv").read_text() == first
    space = read_space_of(read_settings(home / "run"))
    assert space.options()["image_size"][:2] == ("128x96", "192x160")
    assert all(f",{size}," in first or size not in first for size in ("128x96", "192x160"))
    models = [path.name for path in (home / "run" / "models").glob("*.yaml")]
    assert models
    assert all("x" in name.split("-")[1] for name in models)
