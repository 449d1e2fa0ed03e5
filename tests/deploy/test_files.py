"""What is exported computes what torch computes; a file that doesn't is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from nas.data.images import letterbox
from nas.deploy.check import (
    Comparison,
    WrongFileError,
    compare,
    run_ncnn,
    run_onnx,
)
from nas.deploy.decode import in_layout, layout_of
from nas.deploy.ncnn import to_ncnn
from nas.deploy.onnx import to_onnx
from nas.deploy.parts import ROUNDING
from nas.deploy.picture import picture
from nas.deploy.weights import (
    DeployError,
    Precision,
    as_stored,
    convolution_weights,
    random_detector,
)
from nas.detector.builder import Detector
from nas.detector.head import Detect
from nas.space.ops import OpKind, model_graph
from tests.deploy.detectors import (
    SIZE,
    SPACE_NAMES,
    candidate,
    reference,
    set_of_blocks,
    small,
    usable_size,
)

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def ncnn_outputs(
    detector: Detector, precision: Precision, folder: Path, size: int = SIZE
) -> list[NDArray[np.float32]]:
    model = to_ncnn(detector, size, precision)
    (folder / "m.param").write_text(model.param)
    (folder / "m.bin").write_bytes(model.bin)
    return run_ncnn(folder / "m.param", folder / "m.bin", picture(size))


def opencv_boxes(content: bytes, size: int, folder: Path) -> list[NDArray[np.float32]]:
    (folder / "m.onnx").write_bytes(content)
    net = cv2.dnn.readNetFromONNX(str(folder / "m.onnx"))
    net.setInput(picture(size))
    return [np.asarray(net.forward(), np.float32)]


def compared(
    detector: Detector, precision: Precision, folder: Path, size: int = SIZE
) -> list[Comparison]:
    """Boxes and maps of ONNX Runtime, boxes of OpenCV, maps of ncnn, held against torch.

    WrongFileError where they differ.
    """
    image, found = picture(size), []
    for has_boxes in (True, False):
        content = to_onnx(detector, size, precision, has_boxes=has_boxes)
        outputs = run_onnx(content, image)
        found.append(compare(detector, precision, image, outputs, "m.onnx", has_boxes=has_boxes))
        if has_boxes:
            boxes = opencv_boxes(content, size, folder)
            found.append(compare(detector, precision, image, boxes, "OpenCV", has_boxes=True))
    outputs = ncnn_outputs(detector, precision, folder, size)
    found.append(compare(detector, precision, image, outputs, "m.param", has_boxes=False))
    return found


@pytest.mark.parametrize("name", set_of_blocks())
def test_every_reference_leaves_torch_unchanged(name: str, tmp_path: Path) -> None:
    size = usable_size(name)
    for one in compared(reference(name, size), "fp32", tmp_path, size):
        assert one.max_error <= ROUNDING * max(one.largest, 1)
        assert one.largest > 0.5


@pytest.mark.parametrize("name", ["yolov5n", "v5lite-g", "yolov8n"])
def test_fp16_files_hold_what_they_store(name: str, tmp_path: Path) -> None:
    compared(reference(name), "fp16", tmp_path)


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_random_detectors_of_each_space_leave_torch_unchanged(space: str, tmp_path: Path) -> None:
    compared(candidate(space, 0), "fp32", tmp_path)


def test_fp16_rounds_the_filters_and_nothing_else(tmp_path: Path) -> None:
    detector = small()
    graph = model_graph(detector.spec, SIZE)
    for full, half in zip(
        convolution_weights(detector, graph),
        convolution_weights(detector, graph, "fp16"),
        strict=True,
    ):
        assert np.array_equal(full.filters.astype(np.float16), half.filters)
        assert np.array_equal(full.bias, half.bias)
    sizes = {p: len(to_ncnn(detector, SIZE, p).bin) for p in PRECISIONS}
    filters = sum(op.weights for op in graph.ops)
    # Half of what the filters take, but for odd ones' padding.
    assert 0 <= sizes["fp16"] - (sizes["fp32"] - 2 * filters) <= 2 * len(graph.ops)
    rounded = ncnn_outputs(detector, "fp16", tmp_path)
    exact = ncnn_outputs(detector, "fp32", tmp_path)
    differences = [np.abs(a - b).max() for a, b in zip(rounded, exact, strict=True)]
    assert 0 < max(differences) < 0.2


def test_weights_beyond_fp16_are_refused() -> None:
    detector = small()
    with torch.no_grad():
        detector.head.m[0].weight[0, 0] = 1e5  # type: ignore[union-attr,index,operator]
    to_ncnn(detector, SIZE, "fp32")
    with pytest.raises(DeployError, match=r"65504.*1e\+05"):
        to_ncnn(detector, SIZE, "fp16")


def test_one_wrong_number_in_a_file_is_seen() -> None:
    detector = small()
    model = onnx.ModelProto.FromString(to_onnx(detector, SIZE, has_boxes=False))
    graph = model_graph(detector.spec, SIZE)
    names = [f"w{op.output}" for op in graph.ops if op.kind is OpKind.CONVOLUTION]
    for name in (names[0], names[len(names) // 2], names[-1]):
        wrong = onnx.ModelProto()
        wrong.CopyFrom(model)
        (tensor,) = (one for one in wrong.graph.initializer if one.name == name)
        numbers = np.frombuffer(tensor.raw_data, np.float32).copy()
        numbers[0] += 1
        tensor.raw_data = numbers.tobytes()
        outputs = run_onnx(wrong.SerializeToString(), picture(SIZE))
        with pytest.raises(WrongFileError, match="the outputs equal torch's"):
            compare(detector, "fp32", picture(SIZE), outputs, "m.onnx", has_boxes=False)


def faint(name: str, num_classes: int) -> Detector:
    """A reference whose scores are all near their priors, far below a hundredth."""
    return tamed(reference(name, SIZE, num_classes), 0.01)


def lively(name: str, num_classes: int) -> Detector:
    return tamed(reference(name, SIZE, num_classes))


def torchs_outputs(
    detector: Detector, precision: Precision, *, has_boxes: bool
) -> list[NDArray[np.float32]]:
    stored, image = as_stored(detector, precision), torch.from_numpy(picture(SIZE))
    with torch.no_grad():
        boxes = in_layout(stored(image), layout_of(detector))
        return [one.numpy() for one in ([boxes] if has_boxes else stored.maps(image))]


def channels_of(detector: Detector, *, has_boxes: bool) -> tuple[list[int], list[int], list[int]]:
    """Where an output's sides, objectness and classes are, of one anchor."""
    head = detector.head
    sides = 4 if has_boxes or isinstance(head, Detect) else 4 * head.bins
    first = sides + isinstance(head, Detect)
    return (
        list(range(sides)),
        list(range(sides, first)),
        list(range(first, first + head.num_classes)),
    )


def reordered(
    detector: Detector, outputs: list[NDArray[np.float32]], order: list[int], *, has_boxes: bool
) -> list[NDArray[np.float32]]:
    """The outputs, their channels in another order."""
    if has_boxes:
        axis = 2 if layout_of(detector) == "yolov5" else 1
        return [np.take(one, order, axis) for one in outputs]
    parts = [one.reshape(-1, len(order), *one.shape[2:]) for one in outputs]
    return [part[:, order].reshape(one.shape) for part, one in zip(parts, outputs, strict=True)]


@pytest.mark.parametrize("has_boxes", [True, False], ids=["boxes", "maps"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("name", "num_classes"), [("yolov5n", 2), ("yolov5n", 20), ("yolov8n", 2), ("yolov8n", 80)]
)
@pytest.mark.parametrize("make", [faint, lively])
def test_channels_in_another_order_are_seen_whatever_their_size(
    make: Callable[[str, int], Detector],
    name: str,
    num_classes: int,
    precision: Precision,
    has_boxes: bool,
) -> None:
    detector = make(name, num_classes)
    right = torchs_outputs(detector, precision, has_boxes=has_boxes)
    compare(detector, precision, picture(SIZE), right, "right", has_boxes=has_boxes)
    sides, objectness, classes = channels_of(detector, has_boxes=has_boxes)
    step = len(sides) // 4
    x, y, size = sides[:step], sides[step : 2 * step], sides[2 * step :]
    orders = {
        "classes reversed": [*sides, *objectness, *reversed(classes)],
        "classes rolled": [*sides, *objectness, *classes[1:], classes[0]],
        "x and y": [*y, *x, *size, *objectness, *classes],
        "all off by one": np.roll([*sides, *objectness, *classes], 1).tolist(),
    }
    if objectness:
        orders["objectness"] = [*sides, classes[0], *objectness, *classes[1:]]
    for told, order in orders.items():
        outputs = reordered(detector, right, order, has_boxes=has_boxes)
        with pytest.raises(WrongFileError, match=f"{told}: the outputs equal torch's"):
            compare(detector, precision, picture(SIZE), outputs, told, has_boxes=has_boxes)


@pytest.mark.parametrize("name", ["yolov5n", "yolov8n"])
def test_boxes_of_another_scale_and_shares_that_are_logits_are_seen(name: str) -> None:
    detector = lively(name, 3)
    (right,) = torchs_outputs(detector, "fp32", has_boxes=True)
    rows = right if layout_of(detector) == "yolov5" else right.transpose(0, 2, 1)
    sides, scores, last = np.s_[..., :4], np.s_[..., 4:], np.s_[..., -1:]
    for told, place, change in (
        ("twice as large", sides, lambda part: 2 * part),
        ("a hundredth larger", sides, lambda part: 1.01 * part),
        ("shares of the image", sides, lambda part: part / SIZE),
        ("half a cell aside", sides, lambda part: part + 4),
        ("no sigmoid", scores, lambda part: np.log(part / (1 - part))),
        ("no sigmoid of a class", last, lambda part: np.log(part / (1 - part))),
        ("two sigmoids", scores, lambda part: 1 / (1 + np.exp(-part))),
        ("nothing there", scores, np.zeros_like),
    ):
        wrong = rows.copy()
        wrong[place] = change(rows[place])
        outputs = [wrong if rows is right else wrong.transpose(0, 2, 1)]
        with pytest.raises(WrongFileError, match=f"{told}: the outputs equal torch's"):
            compare(detector, "fp32", picture(SIZE), outputs, told, has_boxes=True)


def test_outputs_that_are_no_numbers_or_of_another_shape_are_seen() -> None:
    detector = small()
    outputs = run_onnx(to_onnx(detector, SIZE, has_boxes=False), picture(SIZE))
    broken = [np.full_like(one, np.nan) for one in outputs]
    for wrong in (broken, outputs[:-1], [one[:, :-1] for one in outputs]):
        with pytest.raises(WrongFileError):
            compare(detector, "fp32", picture(SIZE), wrong, "m.onnx", has_boxes=False)


def test_a_file_that_ncnn_cannot_load_is_refused(tmp_path: Path) -> None:
    model = to_ncnn(small(), SIZE)
    (tmp_path / "m.param").write_text(model.param.replace("Convolution", "Konvolution"))
    (tmp_path / "m.bin").write_bytes(model.bin)
    with pytest.raises(WrongFileError, match="ncnn loads the file"):
        run_ncnn(tmp_path / "m.param", tmp_path / "m.bin", picture(SIZE))


def test_an_export_is_the_same_every_time() -> None:
    first, second = small(), small()
    assert to_onnx(first, SIZE) == to_onnx(second, SIZE)
    assert to_ncnn(first, SIZE) == to_ncnn(second, SIZE)


def test_random_detectors_have_signals_that_live() -> None:
    detector = random_detector(reference("yolov5n").spec, SIZE)
    with torch.no_grad():
        maps = detector.maps(torch.from_numpy(picture(SIZE)))
        other = detector.maps(torch.from_numpy(picture(SIZE, seed=1)))
    assert all(float((a - b).std()) > 0.01 for a, b in zip(maps, other, strict=True))
    momenta = {m.momentum for m in detector.modules() if isinstance(m, nn.BatchNorm2d)}
    assert momenta == {0.03}


def test_stored_weights_leave_the_detector_alone() -> None:
    detector = small()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    as_stored(detector, "fp16")
    after = detector.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def tamed(detector: Detector, factor: float = 0.1) -> Detector:
    """The detector with smaller logits: at random weights most scores would be 0 or 1."""
    with torch.no_grad():
        for module in detector.head.modules():
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                module.weight.mul_(factor)
    return detector


def as_rows(output: NDArray[np.float32], layout: str) -> NDArray[np.float32]:
    """Boxes of either layout as (1, N, 4 + classes): centre x, y, width, height, scores."""
    if layout == "yolov8":
        return output.transpose(0, 2, 1)
    return np.concatenate((output[..., :4], output[..., 4:5] * output[..., 5:]), -1)


def kept_boxes(output: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
    """Boxes after suppression, (n, 6): centre x, y, width, height, score, class; best first."""
    scores = output[0, :, 4:]
    best, classes = scores.max(1), scores.argmax(1)
    over = best >= threshold
    boxes = output[0, over, :4].astype(np.float64)
    corners = boxes.copy()
    corners[:, :2] -= boxes[:, 2:] / 2
    kept = np.asarray(
        cv2.dnn.NMSBoxes(corners.tolist(), best[over].tolist(), threshold, 0.45), np.int64
    )
    columns = (boxes, best[over, None], classes[over, None])
    return np.concatenate(columns, 1)[kept.reshape(-1)]


def unmatched(some: NDArray[np.float64], others: NDArray[np.float64]) -> int:
    """How many of the boxes (n, 6) are not among the others."""
    near = np.abs(some[:, None] - others[None]) <= 1e-2 + 1e-4 * np.abs(others[None])
    return int((~near.all(2).any(1)).sum())


@pytest.mark.data
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("name", "shape"), [("yolov5n", (6300, 8)), ("yolov8n", (7, 2100))])
def test_opencv_and_onnx_runtime_find_the_boxes_that_torch_finds(
    name: str, shape: tuple[int, int], precision: Precision, shared: Path, tmp_path: Path
) -> None:
    file = sorted((shared / "datasets" / "bccd").rglob("*.jpg"))[0]
    square, _ = letterbox(np.asarray(cv2.imread(str(file)), np.uint8)[:, :, ::-1], 320)
    image = np.ascontiguousarray(square.transpose(2, 0, 1)[None], np.float32) / 255
    detector = tamed(reference(name, 320))
    layout = layout_of(detector)
    path = tmp_path / "m.onnx"
    path.write_bytes(to_onnx(detector, 320, precision))
    with torch.no_grad():
        boxes = as_stored(detector, precision)(torch.from_numpy(image))
    expected = as_rows(in_layout(boxes, layout).numpy(), layout)
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(image)
    scores = expected[0, :, 4:].max(1)
    threshold = float(np.sort(scores)[-200:-198].mean())
    kept = kept_boxes(expected, threshold)
    assert 5 < len(kept) < 200
    for output in (net.forward(), run_onnx(path, image)[0]):
        assert output.shape == (1, *shape)
        found = as_rows(output, layout)
        assert np.abs(found[..., 4:] - expected[..., 4:]).max() < 1e-4
        assert np.allclose(found[..., :4], expected[..., :4], rtol=1e-4, atol=1e-2)
        # Two scores, or an overlap and its limit, may lie closer than rounding: then suppression
        # keeps the one box here and the other there.
        again = kept_boxes(found, threshold)
        assert unmatched(again, kept) + unmatched(kept, again) <= 0.1 * len(kept)
