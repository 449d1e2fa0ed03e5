"""Laws of detect.py's parts: the same pixels and boxes as those that detectors are graded by."""

from __future__ import annotations

import ast
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.data.images import GREY, letterbox
from nas.deploy.on_board import detect
from nas.deploy.picture import picture
from nas.space.image_size import of_sides
from nas.training import metrics
from tests.deploy.on_board.bundles import HEADS, SIZE, detector_of, stray

SIDES = st.integers(1, 220)


def random_picture(seed: int, height: int, width: int) -> NDArray[np.uint8]:
    """Smooth colours with noise: neither alone would show each mistake."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (5, 5, 3), np.uint8)
    smooth = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    noise = rng.integers(-40, 41, (height, width, 3))
    return np.clip(smooth.astype(int) + noise, 0, 255).astype(np.uint8)


def without(monkeypatch: pytest.MonkeyPatch, *absent: str) -> None:
    """Hides packages from detect.py, as where they are not installed."""
    real = detect._package
    monkeypatch.setattr(detect, "_package", lambda name: None if name in absent else real(name))


def test_it_is_one_file_for_python_3_9_that_imports_nothing_of_ours() -> None:
    text = Path(detect.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    named = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    named |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in named if name.split(".")[0] == "nas"]
    at_import = {
        name.name if isinstance(node, ast.Import) else str(node.module)
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert not at_import & {"cv2", "PIL", "ncnn", "onnxruntime", "picamera2", "numpy.typing"}


def test_its_thresholds_are_those_of_grading() -> None:
    assert detect.GREY == GREY
    assert detect.IOU == metrics.IOU_THRESHOLD
    assert detect.CANDIDATES == metrics.CANDIDATES
    assert detect.MOST_BOXES == metrics.DETECTIONS


@given(
    height=SIDES,
    width=SIDES,
    size=st.sampled_from([(32, 32), (96, 96), (160, 160), (96, 160), (160, 128)]),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_a_letterbox_is_the_data_rooms(
    height: int, width: int, size: tuple[int, int], seed: int
) -> None:
    image = random_picture(seed, height, width)
    right, frame = letterbox(image, of_sides(*size))
    found, found_frame = detect.letterbox(image, *size)
    assert found_frame == frame
    assert np.array_equal(found, right)


@given(height=SIDES, width=SIDES, rows=st.sampled_from([32, 96, 192]), seed=st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_a_picture_lies_whole_in_the_middle_of_a_rectangle(
    height: int, width: int, rows: int, seed: int
) -> None:
    image = random_picture(seed, height, width)
    found, (left, top, inner_width, inner_height) = detect.letterbox(image, rows, 128)
    assert found.shape == (rows, 128, 3)
    assert inner_width == 128 or inner_height == rows
    assert 0 <= 128 - inner_width - 2 * left <= 1
    assert 0 <= rows - inner_height - 2 * top <= 1
    outside = np.ones((rows, 128), bool)
    outside[top : top + inner_height, left : left + inner_width] = False
    assert (found[outside] == GREY).all()
    # The sides' ratio is kept to a pixel, wherever a side is not a single pixel.
    if min(inner_width, inner_height) > 1:
        assert abs(inner_width * height - inner_height * width) <= max(height, width)


@pytest.mark.parametrize("is_grown", [False, True])
def test_without_opencv_pixels_differ_by_one_grey_level_at_most(
    is_grown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    for seed in range(60):
        height, width = rng.integers(2, 120, 2) if is_grown else rng.integers(97, 500, 2)
        if seed == 0 and not is_grown:
            height, width = 144, 192  # half of it: OpenCV rounds its quarters otherwise
        image = random_picture(seed, int(height), int(width))
        right, _ = detect.letterbox(image, 72 if seed == 0 else 120, 96 if seed == 0 else 120)
        with monkeypatch.context() as patch:
            without(patch, "cv2")
            found, _ = detect.letterbox(image, *right.shape[:2])
        strays = np.abs(found.astype(int) - right)
        assert strays.max() <= 1
        assert (strays > 0).mean() < 0.02 + 0.2 * is_grown


def test_the_input_is_what_torch_is_given() -> None:
    image = random_picture(0, 64, 96)
    right = metrics.to_input(image[None], torch.device("cpu"))
    assert np.array_equal(detect.to_input(image), right.contiguous().numpy())


def predictions(seed: int, count: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    rows = [rng.uniform(0, 60, (count, 2)), rng.uniform(5, 40, (count, 2))]
    found = np.concatenate([*rows, np.ones((count, 1)), rng.random((count, 3))], axis=1)
    # Coarse, so that boxes and scores are equal now and then.
    found[:, 5:] = np.round(found[:, 5:], 1)
    found[::7, :4] = np.round(found[::7, :4], -1)
    found[::13, 0] = np.nan
    return found.astype(np.float32)


@given(seed=st.integers(0, 10**6), count=st.integers(0, 600), iou=st.floats(0.1, 1.0))
@settings(max_examples=60, deadline=None)
def test_suppression_is_that_of_grading(seed: int, count: int, iou: float) -> None:
    rows = predictions(seed, count)
    right = metrics.suppress(rows, 0.25, iou)
    kept, kinds = np.nonzero(rows[:, 5:] > 0.25)
    found = detect.suppress(rows[kept, :4], rows[kept, 5 + kinds], kinds, iou)
    assert np.array_equal(found.boxes, right.boxes)
    assert np.array_equal(found.scores, right.scores)
    assert np.array_equal(found.classes, right.classes)


def model(head: str, holds: str) -> tuple[detect.BundleModel, torch.nn.Module]:
    detector = detector_of(head)
    found = detect.BundleModel(
        name="m",
        runtime="ncnn",
        precision="fp32",
        files=(),
        digests=(),
        input="in0",
        outputs=("out0", "out1", "out2"),
        holds=holds,
        height=SIZE,
        width=SIZE,
        classes=("a", "b", "c", "d", "e", "f"),
        strides=(8, 16, 32),
        anchors=detector.spec.anchors,
        bins=0 if detector.spec.anchors else detector.head.bins,  # type: ignore[union-attr, arg-type]
    )
    return found, detector


@pytest.mark.parametrize("confidence", [0.001, 0.25, 0.6])
@pytest.mark.parametrize("head", HEADS)
def test_raw_maps_are_decoded_as_torch_does(head: str, confidence: float) -> None:
    described, detector = model(head, "maps")
    with torch.no_grad():
        x = torch.from_numpy(picture(SIZE))
        maps = [one[0].numpy() for one in detector.maps(x)]  # type: ignore[operator]
        right = metrics.suppress(detector(x)[0].numpy(), confidence)
    pairs = detect.candidates(maps, described, confidence)
    found = detect.suppress(*pairs)
    assert len(right.scores) > 3
    assert np.allclose(found.scores, right.scores, atol=1e-5)
    assert np.array_equal(found.classes, right.classes)
    assert np.allclose(found.boxes, right.boxes, atol=1e-3)


@pytest.mark.parametrize("head", [HEADS[0], HEADS[2]])
def test_only_the_classes_that_are_wanted_are_decoded(head: str) -> None:
    described, detector = model(head, "maps")
    with torch.no_grad():
        maps = [one[0].numpy() for one in detector.maps(torch.from_numpy(picture(SIZE)))]  # type: ignore[operator]
    every = detect.suppress(*detect.candidates(maps, described, 0.05))
    some = detect.suppress(*detect.candidates(maps, described, 0.05, np.array([1, 4])))
    wanted = np.isin(every.classes, [1, 4])
    assert 0 < wanted.sum() < len(wanted)
    # With fewer classes there is room for boxes beyond the hundred best.
    assert np.array_equal(some.boxes[: wanted.sum()], every.boxes[wanted])
    assert np.isin(some.classes, [1, 4]).all()


def test_boxes_come_back_to_the_pictures_pixels() -> None:
    image = random_picture(0, 90, 200)
    _, frame = detect.letterbox(image, 96, 96)
    left, top, width, height = frame
    corners = np.array([[left, top, left + width, top + height], [-9.0, -9.0, 200.0, 200.0]])
    inside = detect.FoundBoxes(corners, np.array([0.5, 0.4]), np.array([0, 1]))
    found = detect.to_picture(inside, frame, 200, 90)
    assert np.allclose(found.boxes, [[0, 0, 200, 90], [0, 0, 200, 90]])


def test_stray_is_no_kinder_than_it_says() -> None:
    """The judge of the tests beside this one: what it must notice."""
    box = np.array([[1.0, 2.0, 30.0, 40.0], [50.0, 60.0, 70.0, 80.0]])
    right = metrics.Detections(boxes=box, scores=np.array([0.9, 0.5]), classes=np.array([0, 1]))
    same = detect.FoundBoxes(box, np.array([0.9, 0.5]), np.array([0, 1]))
    assert stray(same, right) == (0, 0)
    moved = detect.FoundBoxes(box + np.array([0, 0, 2, 0]), same.scores, same.classes)
    assert stray(moved, right)[0] == 2
    lost = detect.FoundBoxes(box[:1], same.scores[:1], same.classes[:1])
    assert stray(lost, right)[1] == 0.5
    other = detect.FoundBoxes(box, same.scores, np.array([0, 2]))
    assert stray(other, right)[1] == 0.5
    doubled = detect.FoundBoxes(box[[0, 0, 1]], np.array([0.9, 0.8, 0.5]), np.array([0, 0, 1]))
    assert stray(doubled, right)[1] == pytest.approx(0.1)
