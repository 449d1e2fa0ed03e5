"""Laws of images that are wider than high, or higher than wide: framed, varied, taught, graded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.data.anchors import box_sizes
from nas.data.images import ImageSet, Labels, gather, letterbox
from nas.detector.builder import build_detector
from nas.detector.head import Detect
from nas.space.image_size import ImageSize, Rectangle, of_sides, sides
from nas.space.modules import SpecError
from nas.space.spec import parse_spec, with_classes
from nas.training.augment import AugmentSettings, Batch, make_batch
from nas.training.batches import Assignment
from nas.training.growth import GrowthSettings
from nas.training.loop import train
from nas.training.losses.aligned_anchors import reachable
from nas.training.losses.assign import HeadGrid, assign
from nas.training.metrics import Detections, evaluate_detector, grade
from nas.training.on_disk.checkpoint import load_checkpoint, make_checkpoint, save_checkpoint
from nas.training.progress import TrainingError
from nas.training.settings import TrainSettings, short_settings
from nas.training.under_way import head_grid

WIDE, TALL = Rectangle(width=96, height=64), Rectangle(width=64, height=96)
STILL = AugmentSettings(
    mosaic=0, scale=0, translate=0, flip_horizontal=0, hue=0, saturation=0, value=0
)
MODEL = """
nc: 2
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [24, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
head:
  - [[2, 3, 4], 1, {head}]
"""


def scenes(size: ImageSize, count: int = 32, width: int = 120, height: int = 80) -> ImageSet:
    """Pictures of one bright rectangle on grey, red or blue by its class, at an image size."""

    def load(index: int) -> tuple[np.ndarray, Labels]:
        rng = np.random.default_rng(index)
        picture = np.full((height, width, 3), 90, np.uint8)
        w, h = rng.integers(16, 40, 2)
        x, y = rng.integers(0, width - w), rng.integers(0, height - h)
        kind = index % 2
        picture[y : y + h, x : x + w] = (250, 40, 40) if kind else (40, 40, 250)
        box = np.array([[x / width, y / height, (x + w) / width, (y + h) / height]])
        return picture, Labels(classes=np.array([kind]), boxes=box)

    return gather([str(i) for i in range(count)], load, ("blue", "red"), size)


@given(
    width=st.integers(1, 2000),
    height=st.integers(1, 2000),
    size=st.builds(of_sides, *[st.integers(1, 10).map(lambda n: 32 * n)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_a_picture_fills_its_image_and_boxes_come_back(
    width: int, height: int, size: ImageSize
) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    image, (left, top, inner_width, inner_height) = letterbox(picture, size)
    high, wide = sides(size)
    assert image.shape == (high, wide, 3)
    assert inner_width == wide or inner_height == high, "one side is filled"
    assert 0 <= left <= left + inner_width <= wide
    assert 0 <= top <= top + inner_height <= high
    assert abs((wide - inner_width) - 2 * left) <= 1
    assert abs((high - inner_height) - 2 * top) <= 1
    scale = min(wide / width, high / height)
    assert abs(inner_width - width * scale) <= 1
    assert abs(inner_height - height * scale) <= 1
    box = np.array([[0.1, 0.2, 0.7, 0.9]])
    part = gather(
        ["a"], lambda _: (picture, Labels(classes=np.zeros(1, np.int64), boxes=box)), ("a",), size
    )
    assert part.image_size == size
    back = part.to_original(np.zeros(1, np.int64), part.boxes)
    assert np.allclose(back, box * (width, height, width, height), atol=1e-6 * max(width, height))


@pytest.mark.parametrize("size", [WIDE, TALL, 64])
def test_a_still_batch_is_the_letterboxed_part(size: ImageSize) -> None:
    part = scenes(size)
    batch = make_batch(part, np.arange(8), STILL, np.random.default_rng(0))
    assert np.array_equal(batch.images, part.images[:8])
    assert np.allclose(batch.boxes, part.boxes[:8])


@pytest.mark.parametrize("size", [WIDE, TALL])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_a_varied_box_lies_around_what_is_seen_of_its_object(size: ImageSize, seed: int) -> None:
    part = scenes(size)
    calm = AugmentSettings(mosaic=0.5, hue=0, saturation=0, value=0, flip_vertical=0.5)
    batch = make_batch(part, np.arange(4), calm, np.random.default_rng(seed))
    high, wide = sides(size)
    assert batch.images.shape == (4, high, wide, 3)
    assert (batch.boxes >= 0).all()
    assert (batch.boxes <= (wide, high, wide, high)).all()
    for owner, kind, (x0, y0, x1, y1) in zip(batch.owners, batch.classes, batch.boxes, strict=True):
        inside = batch.images[owner, round(y0) : round(y1), round(x0) : round(x1)].astype(int)
        colour = inside[..., 0] - inside[..., 2]
        assert ((colour if kind else -colour) > 60).mean() > 0.6, "the object fills its box"


def pairs_of(grid: HeadGrid, images: int) -> list[tuple[int, int, int, int, int]]:
    """(level, image, anchor, row, column) of each prediction, in the order of their numbers."""
    return [
        (level, image, anchor, row, column)
        for level, stride in enumerate(grid.strides)
        for image in range(images)
        for anchor in range(3)
        for row in range(sides(grid.image_size)[0] // stride)
        for column in range(sides(grid.image_size)[1] // stride)
    ]


@pytest.mark.parametrize("size", [WIDE, TALL])
def test_numbers_of_predictions_are_those_of_the_raw_outputs(size: ImageSize) -> None:
    detector = build_detector(parse_spec(MODEL.format(head="Detect, [nc, anchors]")))
    grid, batch = head_grid(detector, size), random_boxes(size)
    numbered = pairs_of(grid, 3)
    raw = detector.train()(torch.zeros(3, 3, *sides(size)))
    assert [one.shape[2:4] for one in raw] == [*grid.shapes]
    assert sum(grid.cells) * 3 == len(numbered) == sum(one[..., 0].numel() for one in raw)
    centres = (batch.boxes[:, :2] + batch.boxes[:, 2:]) / 2
    found = assign(batch, grid)
    assert len(found.cells) > len(batch.boxes)
    for number, cell in enumerate(found.cells):
        level, image, anchor, row, column = numbered[cell]
        assert found.strides[number] == grid.strides[level]
        assert np.allclose(found.anchors[number], grid.anchors[level, anchor])
        middle = found.boxes[number, :2] + grid.strides[level] * np.array((column, row))
        own = centres[batch.owners == image]
        assert np.abs(own - middle).max(axis=1).min() < 1e-3, "the centre is an object's own"
        assert np.abs(found.boxes[number, :2] / grid.strides[level] - 0.5).max() <= 1.0
    reach = reachable(batch, grid)
    for object_, row_ in enumerate(reach.predictions):
        for number, cell in enumerate(row_):
            if not reach.is_real[object_, number]:
                continue
            level, image, anchor, row, column = numbered[cell]
            place = reach.places[object_, number]
            assert image == batch.owners[object_]
            assert np.allclose(place[2:4], grid.anchors[level, anchor])
            corner = grid.strides[level] * np.array((column, row))
            assert np.allclose(place[:2] + corner, centres[object_], atol=1e-3)


def random_boxes(size: ImageSize) -> Batch:
    """Three images' worth of boxes all over them, at their edges too."""
    rng, (high, wide) = np.random.default_rng(3), sides(size)
    low = rng.random((60, 2)) * (wide - 4, high - 4)
    top = low + 3 + rng.random((60, 2)) * 40
    boxes = np.concatenate([low, np.minimum(top, (wide, high))], axis=1)
    return Batch(
        images=np.zeros((3, high, wide, 3), np.uint8),
        owners=np.sort(rng.integers(0, 3, 60)),
        classes=rng.integers(0, 2, 60),
        boxes=boxes,
    )


@pytest.mark.parametrize("head", ["Detect, [nc, anchors]", "Detect, [nc]", "LightDetect, [nc]"])
def test_boxes_are_decoded_in_the_cell_that_they_lie_in(head: str) -> None:
    """A cell of one map alone is told its class: the box comes from that row and column."""
    detector = build_detector(parse_spec(MODEL.format(head=head))).eval()
    maps = [
        torch.zeros(1, detector.head.num_outputs, *shape) for shape in ((8, 12), (4, 6), (2, 3))
    ]
    if isinstance(detector.head, Detect):
        maps = [one.repeat(1, 3, 1, 1) for one in maps]
        raw = [one.view(1, 3, -1, *one.shape[2:]).permute(0, 1, 3, 4, 2) for one in maps]
        decoded = detector.head.decode(raw)
        each = 3
    else:
        decoded, each = detector.head.decode(maps), 1
    first = 0
    for stride, (rows, columns) in zip((8, 16, 32), ((8, 12), (4, 6), (2, 3)), strict=True):
        own = decoded[0, first : first + each * rows * columns, :2].view(each, rows, columns, 2)
        ys, xs = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        assert torch.allclose(own[..., 0], ((xs + 0.5) * stride).float().expand(each, -1, -1))
        assert torch.allclose(own[..., 1], ((ys + 0.5) * stride).float().expand(each, -1, -1))
        first += each * rows * columns
    assert first == decoded.shape[1]


@pytest.mark.parametrize(
    ("head", "assignment"),
    [
        ("Detect, [nc, anchors]", "yolov5"),
        ("Detect, [nc, anchors]", "aligned"),
        ("LightDetect, [nc, None, 1, 8]", "aligned"),
    ],
)
@pytest.mark.parametrize("size", [WIDE, TALL])
def test_a_training_on_rectangles_learns(
    head: str, assignment: Assignment, size: ImageSize
) -> None:
    width, height = (120, 80) if size == WIDE else (80, 120)
    part = scenes(size, 48, width, height)
    spec = parse_spec(MODEL.format(head=head))
    torch.manual_seed(0)
    detector = build_detector(spec)
    recipe = replace(short_settings(120), assignment=assignment, augment=STILL, channels_last=False)
    trained = train(detector, part, None, recipe, seed=0)
    assert evaluate_detector(trained.detector, part).map50 > 0.4


def test_perfect_boxes_grade_alike_on_a_rectangle_and_on_its_square() -> None:
    """Grades are in pixels of the pictures as they came: the frame does not show in them."""
    grades = []
    for size in (WIDE, 96, TALL):
        part = scenes(size)
        found = [
            Detections(
                boxes=part.to_original(np.array([i]), part.boxes[part.of(i)]),
                scores=np.ones(1),
                classes=part.classes[part.of(i)],
            )
            for i in range(len(part))
        ]
        grades.append(grade(found, part))
    assert [one.map50_95 for one in grades] == [1.0, 1.0, 1.0]
    wide, square = scenes(WIDE), scenes(96)
    assert np.allclose(box_sizes(wide), box_sizes(square)), "the same scale"


def test_a_growing_training_keeps_the_shape_as_far_as_strides_allow() -> None:
    growth = GrowthSettings(stages=3, first_size=0.5)
    size = Rectangle(width=320, height=192)
    found = [growth.size_at(step, 30, size, 32) for step in (0, 15, 29)]
    assert found == [Rectangle(width=160, height=96), Rectangle(width=256, height=128), size]
    part = scenes(WIDE)
    recipe = TrainSettings(epochs=None, steps=4, growth=growth, batch_size=4)
    spec = with_classes(parse_spec(MODEL.format(head="Detect, [nc, anchors]")), 2)
    end = train(build_detector(spec), part, None, recipe, seed=0)
    assert np.isfinite(end.laps[-1].box)


def test_a_side_that_is_no_multiple_of_the_stride_is_refused() -> None:
    detector = build_detector(parse_spec(MODEL.format(head="Detect, [nc, anchors]")))
    with pytest.raises(
        TrainingError, match=r"each side is a multiple .* 32; got 320x200\. Use 320x192"
    ):
        head_grid(detector, Rectangle(width=320, height=200))


def test_a_checkpoint_keeps_its_rectangle_and_a_square_its_number(tmp_path: Path) -> None:
    detector = build_detector(parse_spec(MODEL.format(head="Detect, [nc, anchors]")))
    for size, kept in ((WIDE, "96x64"), (64, 64)):
        path = tmp_path / "best.pt"
        save_checkpoint(path, make_checkpoint(detector, ("a", "b"), size))
        assert torch.load(path, weights_only=True)["image_size"] == kept
        assert load_checkpoint(path).image_size == size


def test_a_model_of_another_stride_is_refused_by_its_walk() -> None:
    with pytest.raises(SpecError):
        parse_spec("image_size: 96x60\n" + MODEL.format(head="Detect, [nc, anchors]"))
